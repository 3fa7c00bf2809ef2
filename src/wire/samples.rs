//! Values for the tests of this folder: pinned ones for golden files, random ones for properties.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::attempt::{AttemptRecord, Disposition};
use super::{NewRecord, RawRecord};
use crate::domain::delivery::{Delivery, PastAttempt, Progress, Trigger};
use crate::domain::event::{Event, Headers, Origin};
use crate::domain::ids::{DestinationId, TenantId};
use crate::domain::outcome::Outcome;

/// Headers with everything that is awkward: twice the same name, null, empty, not UTF-8.
fn headers() -> Headers {
    vec![
        ("traceparent".into(), Some(Bytes::from_static(b"00-1-2-01"))),
        ("raw".into(), Some(Bytes::from_static(b"\xff\x00"))),
        ("raw".into(), None),
        ("".into(), Some(Bytes::new())),
    ]
}

pub(super) fn record() -> RawRecord {
    RawRecord {
        topic: "orders".into(),
        partition: 3,
        offset: 1042,
        timestamp_ms: 1_767_225_600_000,
        key: Some(Bytes::from_static(b"customer-7")),
        value: Some(Bytes::from_static(b"{\"state\": \"paid\"}")),
        headers: headers(),
    }
}

pub(super) fn delivery() -> Delivery {
    let record = record();
    Delivery {
        event: Arc::new(Event {
            id: "e-17".into(),
            event_type: "order.paid".into(),
            tenant: TenantId::new("acme").expect("valid"),
            time_ms: 1_767_225_600_000,
            hops: 1,
            origin: Origin {
                topic: record.topic,
                partition: record.partition,
                offset: record.offset,
            },
            key: record.key,
            body: record.value,
            headers: record.headers,
            content_type: "application/json".into(),
        }),
        destination: DestinationId::parse("acme/crm").expect("valid"),
        document_offset: 12,
        progress: Progress {
            attempts: 2,
            counted: 2,
            internal: 3,
            trigger: Trigger::Retry,
            first_seen_ms: 1_767_225_600_100,
            paused_ms: 0,
            paused_since_ms: None,
            due_ms: 1_767_225_635_000,
            history: vec![
                PastAttempt {
                    number: 1,
                    at: 1_767_225_600_105,
                    outcome: Outcome::Network,
                    status: None,
                    ms: 5000,
                },
                PastAttempt {
                    number: 2,
                    at: 1_767_225_605_200,
                    outcome: Outcome::Server,
                    status: Some(503),
                    ms: 31,
                },
            ],
            last_error: Some("503 \"Service Unavailable\"".into()),
        },
    }
}

pub(super) fn attempt() -> AttemptRecord<'static> {
    AttemptRecord {
        event_id: "e-17".into(),
        event_type: "order.paid".into(),
        tenant: "acme".into(),
        destination: "acme/crm".into(),
        sink: "webhook".into(),
        attempt: 2,
        trigger: Trigger::Retry,
        outcome: Outcome::Server,
        disposition: Disposition::Retry,
        reason: None,
        status: Some(503),
        error: Some("503 Service Unavailable".into()),
        started_at_ms: 1_767_225_605_200,
        duration_us: 31_250,
        first_byte_us: Some(30_900),
        due_at_ms: Some(1_767_225_635_000),
        first_seen_at_ms: 1_767_225_600_100,
        tier: Some(1),
        retry_after_ms: None,
        response_headers: vec![
            ("content-type".to_owned(), "text/plain".to_owned()),
            ("server".to_owned(), "nginx".to_owned()),
        ]
        .into(),
        response_body: b"try later\n".as_slice().into(),
        body_bytes: 17,
        origin_topic: "orders".into(),
        origin_partition: 3,
        origin_offset: 1042,
        document_offset: 12,
        circuit_epoch: 0,
        replay: None,
        actor: None,
        instance: "posthaste-1".into(),
    }
}

/// The record as it would be read again.
pub(super) fn written(record: NewRecord) -> RawRecord {
    RawRecord {
        topic: "own".into(),
        partition: 0,
        offset: 0,
        timestamp_ms: 0,
        key: record.key,
        value: record.value,
        headers: record.headers,
    }
}

fn any_bytes() -> impl Strategy<Value = Option<Bytes>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from))
}

/// Now and then with a name that we use ourselves.
fn any_headers() -> impl Strategy<Value = Headers> {
    let name = prop_oneof!["ph|reason|destination|detail|origin", "\\PC{0,8}"];
    prop::collection::vec((name.prop_map(Into::into), any_bytes()), 0..6)
}

pub(super) fn any_record() -> impl Strategy<Value = RawRecord> {
    (
        (
            "[a-zA-Z0-9._-]{1,20}",
            0..i32::MAX,
            0..i64::MAX,
            any::<i64>(),
        ),
        (any_bytes(), any_bytes(), any_headers()),
    )
        .prop_map(
            |((topic, partition, offset, timestamp_ms), (key, value, headers))| RawRecord {
                topic: topic.into(),
                partition,
                offset,
                timestamp_ms,
                key,
                value,
                headers,
            },
        )
}

fn any_past() -> impl Strategy<Value = PastAttempt> {
    (
        any::<u32>(),
        any::<i64>(),
        prop::sample::select(Outcome::ALL.to_vec()),
        any::<Option<u16>>(),
        any::<u32>(),
    )
        .prop_map(|(number, at, outcome, status, ms)| PastAttempt {
            number,
            at,
            outcome,
            status,
            ms,
        })
}

fn any_progress() -> impl Strategy<Value = Progress> {
    (
        (any::<u32>(), any::<u32>(), any::<u32>()),
        prop::sample::select(vec![
            Trigger::Event,
            Trigger::Retry,
            Trigger::Replay,
            Trigger::Manual,
        ]),
        (any::<i64>(), any::<i64>()),
        prop::collection::vec(any_past(), 0..=Progress::HISTORY),
        prop::option::of(".{0,64}"),
        (any::<i64>(), any::<Option<i64>>()),
    )
        .prop_map(
            |(
                (attempts, counted, internal),
                trigger,
                (first_seen_ms, due_ms),
                history,
                error,
                (paused_ms, paused_since_ms),
            )| {
                Progress {
                    attempts,
                    counted,
                    internal,
                    trigger,
                    first_seen_ms,
                    paused_ms,
                    paused_since_ms,
                    due_ms,
                    history,
                    last_error: error.map(Into::into),
                }
            },
        )
}

pub(super) fn any_delivery() -> impl Strategy<Value = Delivery> {
    (
        any_record(),
        ("\\PC{0,60}", "\\PC{0,60}", "\\PC{0,60}"),
        (
            "[a-z0-9_-]{1,64}",
            "[a-z0-9_-]{1,64}",
            "[A-Za-z0-9_-]{1,64}",
        ),
        (any::<i64>(), any::<u8>(), any::<i64>()),
        any_progress(),
    )
        .prop_map(
            |(
                record,
                (id, event_type, content_type),
                (tenant, owner, destination),
                (time_ms, hops, document_offset),
                progress,
            )| {
                let owner = TenantId::new(&owner).expect("of the form");
                Delivery {
                    event: Arc::new(Event {
                        id: id.into(),
                        event_type: event_type.into(),
                        tenant: TenantId::new(&tenant).expect("of the form"),
                        time_ms,
                        hops,
                        origin: Origin {
                            topic: record.topic,
                            partition: record.partition,
                            offset: record.offset,
                        },
                        key: record.key,
                        body: record.value,
                        headers: record.headers,
                        content_type: content_type.into(),
                    }),
                    destination: DestinationId::new(&owner, &destination).expect("of the form"),
                    document_offset,
                    progress,
                }
            },
        )
}
