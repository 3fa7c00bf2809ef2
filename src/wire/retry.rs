//! Records of the retry topics: a delivery that waits, written as its event with the header `ph` in front.
//!
//! Written by the router and by a lane's owner, read by the lane's owner. The record's key, value and further headers
//! are the event's own; `ph` is compact JSON that carries all else, at most 4 KiB:
//!
//! ```json
//! {"v":1,"id":"e-17","type":"order.paid","tenant":"acme","time":1767225600000,"ct":"application/json",
//!  "from":["orders",3,1042],"dest":"acme/crm","doc":12,"n":2,"counted":2,"trigger":"retry",
//!  "seen":1767225600100,"due":1767225635000,"past":[{"n":1,"at":1767225600105,"o":"server","s":503,"ms":31}],
//!  "error":"503 Service Unavailable"}
//! ```
//!
//! `hops`, `internal` and `paused` (milliseconds) stand beside them where they are not 0, and `paused_since` while the
//! destination is not enabled. Unknown keys are skipped on reading, so that later
//! versions may add some; what an older reader must not overlook needs a new `v`.
//!
//! Invariant: the first header `ph` is ours; one that the event itself carries follows and survives.
//! Invariant: `decode` gives back what was encoded, but for the oldest past attempts where 4 KiB do not hold them all,
//! and for the end of an error beyond 256 bytes.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{NewRecord, RawRecord, WireError, cut};
use crate::domain::delivery::{Delivery, PastAttempt, Progress, Trigger};
use crate::domain::event::{Event, Headers, Origin};
use crate::domain::ids::{DestinationId, TenantId};

/// The header's name.
pub const PH: &str = "ph";

/// The largest value of the header, in bytes.
pub const PH_MAX: usize = 4096;

/// The version that is written, and the only one that is read.
const VERSION: u64 = 1;

/// The last error is cut to so many bytes.
const ERROR_MAX: usize = 256;

const WHAT: &str = "header `ph`";

#[derive(Serialize, Deserialize)]
struct Packed<'a> {
    v: u64,
    id: Cow<'a, str>,
    #[serde(rename = "type")]
    event_type: Cow<'a, str>,
    tenant: Cow<'a, str>,
    #[serde(rename = "time")]
    time_ms: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    hops: u8,
    #[serde(rename = "ct")]
    content_type: Cow<'a, str>,
    /// Topic, partition and offset.
    #[serde(rename = "from")]
    origin: (Cow<'a, str>, i32, i64),
    #[serde(rename = "dest")]
    destination: Cow<'a, str>,
    #[serde(rename = "doc")]
    document_offset: i64,
    #[serde(rename = "n")]
    attempts: u32,
    counted: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    internal: u32,
    trigger: Trigger,
    #[serde(rename = "seen")]
    first_seen_ms: i64,
    #[serde(rename = "paused", default, skip_serializing_if = "is_zero")]
    paused_ms: i64,
    #[serde(
        rename = "paused_since",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    paused_since_ms: Option<i64>,
    #[serde(rename = "due")]
    due_ms: i64,
    #[serde(rename = "past", default, skip_serializing_if = "<[_]>::is_empty")]
    history: Cow<'a, [PastAttempt]>,
    #[serde(rename = "error", default, skip_serializing_if = "Option::is_none")]
    last_error: Option<Cow<'a, str>>,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// Only the version, to be read before all else.
#[derive(Deserialize)]
struct Version {
    v: u64,
}

/// Writes a delivery for a retry topic.
#[must_use]
pub fn encode(delivery: &Delivery) -> NewRecord {
    let event = &delivery.event;
    let mut headers = Headers::with_capacity(event.headers.len() + 1);
    headers.push((PH.into(), Some(pack(delivery))));
    headers.extend(event.headers.iter().cloned());
    NewRecord {
        key: event.key.clone(),
        value: event.body.clone(),
        headers,
    }
}

/// Reads a delivery from a record of a retry topic.
///
/// # Errors
/// If the header `ph` is missing, is of a later version, or does not hold what belongs there.
pub fn decode(record: &RawRecord) -> Result<Delivery, WireError> {
    let at = record
        .headers
        .iter()
        .position(|(name, _)| **name == *PH)
        .ok_or(WireError::NoHeader(PH))?;
    let mut own = record.headers.clone();
    let (_name, value) = own.remove(at);
    unpack(value.as_deref(), record, own)
}

/// Packs the value of the header `ph`.
///
/// Ids, types and content types take at most 256 bytes each (with escapes twice that) and names less, so that what
/// identifies a delivery always fits; past attempts are dropped first, then the error.
pub(super) fn pack(delivery: &Delivery) -> Bytes {
    let (event, progress) = (&delivery.event, &delivery.progress);
    let mut packed = Packed {
        v: VERSION,
        id: (&*event.id).into(),
        event_type: (&*event.event_type).into(),
        tenant: event.tenant.as_str().into(),
        time_ms: event.time_ms,
        hops: event.hops,
        content_type: (&*event.content_type).into(),
        origin: (
            (&*event.origin.topic).into(),
            event.origin.partition,
            event.origin.offset,
        ),
        destination: delivery.destination.as_str().into(),
        document_offset: delivery.document_offset,
        attempts: progress.attempts,
        counted: progress.counted,
        internal: progress.internal,
        trigger: progress.trigger,
        first_seen_ms: progress.first_seen_ms,
        paused_ms: progress.paused_ms,
        paused_since_ms: progress.paused_since_ms,
        due_ms: progress.due_ms,
        history: Cow::Borrowed(&[]),
        last_error: progress
            .last_error
            .as_deref()
            .map(|error| cut(error, ERROR_MAX).into()),
    };
    let mut history = progress.history.as_slice();
    loop {
        packed.history = Cow::Borrowed(history);
        let json = serde_json::to_vec(&packed).expect("strings and numbers are JSON");
        if json.len() <= PH_MAX {
            return json.into();
        }
        if let [_oldest, later @ ..] = history {
            history = later;
        } else if packed.last_error.take().is_none() {
            return json.into();
        }
    }
}

/// Reads the value of the header `ph`; `own` are the event's headers.
pub(super) fn unpack(
    value: Option<&[u8]>,
    record: &RawRecord,
    own: Headers,
) -> Result<Delivery, WireError> {
    let value = value.ok_or(WireError::Null(WHAT))?;
    let json = |source| WireError::Json { what: WHAT, source };
    let name = |source| WireError::Name { what: WHAT, source };
    let Version { v } = serde_json::from_slice(value).map_err(json)?;
    if v != VERSION {
        return Err(WireError::Version {
            found: v,
            known: VERSION,
        });
    }
    let packed: Packed<'_> = serde_json::from_slice(value).map_err(json)?;
    let (topic, partition, offset) = packed.origin;
    Ok(Delivery {
        event: Arc::new(Event {
            id: packed.id.into(),
            event_type: packed.event_type.into(),
            tenant: TenantId::new(&packed.tenant).map_err(name)?,
            time_ms: packed.time_ms,
            hops: packed.hops,
            origin: Origin {
                topic: topic.into(),
                partition,
                offset,
            },
            key: record.key.clone(),
            body: record.value.clone(),
            headers: own,
            content_type: packed.content_type.into(),
        }),
        destination: DestinationId::parse(&packed.destination).map_err(name)?,
        document_offset: packed.document_offset,
        progress: Progress {
            attempts: packed.attempts,
            counted: packed.counted,
            internal: packed.internal,
            trigger: packed.trigger,
            first_seen_ms: packed.first_seen_ms,
            paused_ms: packed.paused_ms,
            paused_since_ms: packed.paused_since_ms,
            due_ms: packed.due_ms,
            history: packed.history.into_owned(),
            last_error: packed.last_error.map(Into::into),
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::samples;
    use super::*;

    #[test]
    fn the_header_is_pinned_by_a_golden_file() {
        let golden = include_str!("../../tests/data/ph-v1.json");
        let delivery = samples::delivery();
        let record = encode(&delivery);
        assert_eq!(
            std::str::from_utf8(&pack(&delivery)).expect("JSON"),
            golden.trim_end()
        );
        assert_eq!(
            decode(&samples::written(record)).expect("just written"),
            delivery
        );
    }

    #[test]
    fn an_event_that_carries_ph_itself_survives() {
        let mut delivery = samples::delivery();
        let event = Arc::make_mut(&mut delivery.event);
        event
            .headers
            .insert(0, (PH.into(), Some(Bytes::from_static(b"{\"v\":9}"))));
        event.headers.push((PH.into(), None));
        let record = encode(&delivery);
        let names: Vec<&str> = record.headers.iter().map(|(name, _)| &**name).collect();
        assert_eq!((names[0], names[1], names[names.len() - 1]), (PH, PH, PH));
        assert_eq!(
            decode(&samples::written(record)).expect("just written"),
            delivery
        );
    }

    #[test]
    fn the_oldest_past_attempts_go_where_four_kib_do_not_hold_them() {
        let mut delivery = samples::delivery();
        let past = |number| PastAttempt {
            number,
            at: i64::MIN,
            outcome: crate::domain::outcome::Outcome::Throttled,
            status: Some(u16::MAX),
            ms: u32::MAX,
        };
        delivery.progress.history = (0..100).map(|n| past(u32::MAX - 100 + n)).collect();
        let record = encode(&delivery);
        let bytes = record.headers[0].1.as_ref().expect("never null").len();
        assert!((PH_MAX - 120..=PH_MAX).contains(&bytes), "{bytes}");
        let read = decode(&samples::written(record)).expect("just written");
        let kept = read.progress.history.len();
        assert!(kept >= Progress::HISTORY, "{kept}");
        assert_eq!(
            read.progress.history,
            delivery.progress.history[100 - kept..]
        );
        assert_eq!(read.progress.last_error, delivery.progress.last_error);
    }

    #[test]
    fn what_identifies_a_delivery_always_fits() {
        let mut delivery = samples::delivery();
        let event = Arc::make_mut(&mut delivery.event);
        event.id = "\"".repeat(256).into();
        event.event_type = "\\".repeat(256).into();
        event.content_type = "\"".repeat(256).into();
        event.origin.topic = "x".repeat(249).into();
        event.tenant = TenantId::new(&"t".repeat(64)).expect("valid");
        delivery.destination = DestinationId::new(&event.tenant, &"d".repeat(64)).expect("valid");
        delivery.progress.last_error = Some("\u{1}".repeat(1000).into());
        let record = encode(&delivery);
        assert!(record.headers[0].1.as_ref().expect("never null").len() <= PH_MAX);
        let read = decode(&samples::written(record)).expect("just written");
        assert_eq!(read.event, delivery.event);
        assert_eq!(
            read.progress.last_error.as_deref(),
            Some("\u{1}".repeat(256).as_str())
        );
    }

    #[test]
    fn later_versions_and_foreign_records_are_told_apart() {
        let with = |header: &str| {
            let mut record = samples::written(encode(&samples::delivery()));
            record.headers = vec![(PH.into(), Some(Bytes::copy_from_slice(header.as_bytes())))];
            decode(&record).expect_err(header).to_string()
        };
        assert_eq!(
            with(r#"{"v":2,"id":7}"#),
            "header `ph` has version 2, this program reads version 1; upgrade this instance"
        );
        for foreign in ["", "x", "[]", "{}", r#"{"v":1}"#, r#"{"v":-1}"#] {
            assert_eq!(
                with(foreign),
                "header `ph` does not hold the JSON that belongs there"
            );
        }
        let golden = include_str!("../../tests/data/ph-v1.json");
        assert_eq!(
            with(&golden.replace("acme/crm", "acme/c r m")),
            "header `ph` holds a name that cannot be"
        );
        let mut record = samples::written(encode(&samples::delivery()));
        record.headers[0].1 = None;
        assert_eq!(
            decode(&record).expect_err("null").to_string(),
            "header `ph` is null"
        );
        record.headers.clear();
        assert_eq!(
            decode(&record).expect_err("none").to_string(),
            "header `ph` is missing; something else than posthaste wrote this record"
        );
    }

    #[test]
    fn unknown_keys_are_skipped() {
        let golden = include_str!("../../tests/data/ph-v1.json").trim_end();
        let later = golden.replacen("{\"v\":1,", "{\"new\":[{}],\"v\":1,", 1);
        assert_ne!(later, golden);
        let mut record = samples::written(encode(&samples::delivery()));
        record.headers[0].1 = Some(later.into());
        assert_eq!(
            decode(&record).expect("still version 1"),
            samples::delivery()
        );
    }

    proptest! {
        #[test]
        fn decoding_gives_back_what_was_encoded(delivery in samples::any_delivery()) {
            let record = samples::written(encode(&delivery));
            prop_assert!(record.headers[0].1.as_ref().is_some_and(|ph| ph.len() <= PH_MAX));
            prop_assert_eq!(decode(&record).expect("just written"), delivery);
        }
    }
}
