use std::collections::BTreeMap;

use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;
use aws_sdk_sqs::types::{BatchResultErrorEntry, SendMessageBatchResultEntry};
use bytes::Bytes;
use serde_json::{Value, json};

use super::request::{Message, Unsendable, message};
use super::*;
use crate::domain::delivery::DeadLetterReason;
use crate::domain::event::Event;
use crate::domain::ids::DestinationId;
use crate::domain::outcome::Outcome;
use crate::sinks::aws::BYTES_MAX;
use crate::sinks::tests::{event, guard, settings};
use crate::sinks::{Outgoing, cloudevents};

const URL: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders";

/// A document with some fields changed.
fn document(changes: &Value) -> Value {
    let mut document = json!({
        "type": "sqs",
        "queue_url": URL,
        "auth": {"type": "aws_keys", "access_key_id": "A", "secret_access_key": "SECRET"}
    });
    for (name, value) in changes.as_object().expect("an object") {
        document[name] = value.clone();
    }
    document
}

fn sqs(changes: &Value) -> Sqs {
    Sqs::parse(&document(changes), &settings()).expect("valid")
}

#[test]
fn the_queue_s_url_tells_region_and_endpoint() {
    for (url, fifo, valid_region) in [
        (URL, false, "eu-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/o.fifo", true, "cn-north-1"),
        ("https://eu-west-1.queue.amazonaws.com/123456789012/orders", false, "eu-west-1"),
        ("https://vpce-0a.sqs.us-east-1.vpce.amazonaws.com/123456789012/a_b-c", false, "us-east-1"),
    ] {
        let read = sqs(&json!({"queue_url": url}));
        assert_eq!((read.fifo, &*read.queue_url), (fifo, url));
        sqs(&json!({"queue_url": url, "region": valid_region}));
        let other = document(&json!({"queue_url": url, "region": "ap-south-2"}));
        let faults = Sqs::parse(&other, &settings()).expect_err(url);
        assert_eq!(faults[0].pointer, "/sink/region");
        read.check_egress(&guard(&settings())).expect(url);
    }
    // Where it does not, the document has to.
    let url = "http://127.0.0.1:4566/000000000000/orders";
    let faults = Sqs::parse(&document(&json!({"queue_url": url})), &settings()).expect_err(url);
    assert_eq!(faults[0].pointer, "/sink/region");
    sqs(&json!({"queue_url": url, "region": "eu-west-1"}));
}

#[test]
fn mistakes_name_the_field() {
    let many: BTreeMap<String, String> =
        (0..4).map(|number| (format!("a{number}"), "x".to_owned())).collect();
    for (changes, pointer, words) in [
        (json!({"queue_url": null}), "/sink/queue_url", "is missing"),
        (json!({"queue_url": "orders"}), "/sink/queue_url", "is not the URL of a queue"),
        (json!({"queue_url": "https://sqs.eu-west-1.amazonaws.com/orders"}), "/sink/queue_url", "is not the URL of a queue"),
        (json!({"queue_url": "https://sqs.eu-west-1.amazonaws.com/1/a.b"}), "/sink/queue_url", "is not the URL of a queue"),
        (json!({"queue_url": "https://sqs.eu-west-1.amazonaws.com/1/o?x=1"}), "/sink/queue_url", "is not the URL of a queue"),
        (json!({"queue_url": "arn:aws:sqs:eu-west-1:1:orders"}), "/sink/queue_url", "another scheme"),
        (json!({"queue_url": "https://a:b@sqs.eu-west-1.amazonaws.com/1/o"}), "/sink/queue_url", "holds a user name"),
        (json!({"auth": null}), "/sink/auth", "is missing"),
        (json!({"url": "x"}), "/sink/url", "is not known"),
        (json!({"cloudevents": "batch"}), "/sink/cloudevents", "is neither"),
        (json!({"attributes": many}), "/sink/attributes", "takes 3 at most, not 4"),
        (json!({"attributes": {"a": "1", "b": "2"}, "cloudevents": "binary"}), "/sink/attributes", "takes 1 at most, not 2"),
        (json!({"attributes": {"event-id": "x"}}), "/sink/attributes", "`event-id` is set by the service"),
        (json!({"attributes": {"AWS.x": "x"}}), "/sink/attributes", "is not free"),
        (json!({"attributes": {"a b": "x"}}), "/sink/attributes", "is not a name"),
        (json!({"attributes": {"a": ""}}), "/sink/attributes", "is empty"),
        (json!({"attributes": {"a": 1}}), "/sink/attributes/a", "must be a string"),
    ] {
        let faults = Sqs::parse(&document(&changes), &settings()).expect_err("a fault");
        // A URL that cannot be read tells no region either.
        let fault = faults.iter().find(|fault| fault.pointer == pointer);
        let fault = fault.unwrap_or_else(|| panic!("{changes}: {faults:?}"));
        assert!(fault.message.contains(words), "{changes}: {fault:?}");
        assert!(!format!("{faults:?}").contains("SECRET"));
    }
}

#[test]
fn the_schema_names_the_fields_that_are_read() {
    let schema = schema().to_value();
    let named: Vec<&String> = schema["properties"]
        .as_object()
        .expect("properties")
        .keys()
        .collect();
    let faults = Sqs::parse(&document(&json!({"x": 1})), &settings()).expect_err("a fault");
    for name in &named {
        assert!(faults[0].message.contains(&format!("`{name}`")), "{name}");
    }
    assert_eq!(faults[0].message.matches('`').count(), 2 * named.len());
}

#[test]
fn a_queue_does_not_show_its_credentials() {
    assert!(!format!("{:?}", sqs(&json!({}))).contains("SECRET"));
}

fn made(sink: &Sqs, event: &Event, replay: Option<&str>) -> Result<Message, Unsendable> {
    let destination = DestinationId::parse("acme/queue").expect("an id");
    let outgoing = Outgoing {
        event,
        destination: &destination,
        attempt: 2,
        replay,
        now_ms: 0,
    };
    let rendered = cloudevents::render(sink.cloudevents, event).expect("well formed");
    message(sink, &outgoing, rendered)
}

/// `name: type value` of each attribute.
fn attributes(message: &Message) -> Vec<String> {
    let attributes = message.entry.message_attributes().expect("attributes");
    let mut lines: Vec<String> = attributes
        .iter()
        .map(|(name, value)| {
            let text = value.string_value().expect("a text");
            format!("{name}: {} {text}", value.data_type())
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn a_message_is_the_body_with_what_is_known_of_the_event_beside_it() {
    let sink = sqs(&json!({"attributes": {"team": "billing"}}));
    let message = made(&sink, &event(Some(b"{\"n\": 1}\n")), Some("repair_1")).expect("sendable");
    assert_eq!(message.entry.message_body(), "{\"n\": 1}\n");
    assert_eq!(message.entry.message_group_id(), None);
    assert_eq!(message.entry.message_deduplication_id(), None);
    let told = attributes(&message);
    assert_eq!(
        told,
        [
            "event-id: String msg_1",
            "event-time: String 2026-01-31T08:00:00.25Z",
            "event-type: String order.paid",
            "posthaste-attempt: Number 2",
            "posthaste-hops: Number 1",
            "posthaste-replay: String repair_1",
            "team: String billing",
            "tenant: String default",
        ]
    );
    // Names, types and values count: without `: ` and the blank between them.
    let counted: usize = told.iter().map(|line| line.len() - 3).sum();
    assert_eq!(message.bytes, "{\"n\": 1}\n".len() + counted);
}

#[test]
fn attributes_of_cloudevents_stand_for_ours_and_fit() {
    let sink = sqs(&json!({"cloudevents": "binary", "attributes": {"team": "billing"}}));
    let message = made(&sink, &event(Some(b"{}")), Some("repair_1")).expect("sendable");
    assert_eq!(
        attributes(&message),
        [
            "ce_id: String msg_1",
            "ce_source: String /topics/orders",
            "ce_specversion: String 1.0",
            "ce_time: String 2026-01-31T08:00:00.25Z",
            "ce_type: String order.paid",
            "posthaste-attempt: Number 2",
            "posthaste-hops: Number 1",
            "posthaste-replay: String repair_1",
            "team: String billing",
            "tenant: String default",
        ]
    );
    let mut extended = event(Some(b"{}"));
    extended.headers = vec![("ce_extension".into(), Some(Bytes::from_static(b"x")))];
    let unsendable = made(&sink, &extended, Some("repair_1")).expect_err("one too many");
    assert_eq!(unsendable.reason, DeadLetterReason::Malformed);
    assert_eq!(unsendable.words, "the message has 11 attributes, SQS takes 10");
}

#[test]
fn a_fifo_queue_gets_the_key_as_group_and_the_id_against_duplicates() {
    let sink = sqs(&json!({"queue_url": format!("{URL}.fifo")}));
    for (key, group) in [
        (None, "acme/queue"),
        (Some(""), "acme/queue"),
        (Some("customer-7"), "customer-7"),
    ] {
        let mut event = event(Some(b"{}"));
        event.key = key.map(|key| Bytes::from_static(key.as_bytes()));
        let message = made(&sink, &event, None).expect("sendable");
        assert_eq!(message.entry.message_group_id(), Some(group));
        assert_eq!(message.entry.message_deduplication_id(), Some("msg_1"));
    }
    // What may not stand in an id stands for itself by its hash.
    let mut event = event(Some(b"{}"));
    event.id = "x".repeat(129).into();
    event.key = Some(Bytes::from_static(b"two words"));
    let message = made(&sink, &event, None).expect("sendable");
    let group = message.entry.message_group_id().expect("a group");
    let id = message.entry.message_deduplication_id().expect("an id");
    assert_eq!((group.len(), id.len()), (64, 64));
    assert_ne!(group, id);
    event.id = "x".into();
    let same = made(&sink, &event, None).expect("sendable");
    assert_eq!(same.entry.message_group_id(), Some(group));
}

#[test]
fn what_no_message_can_carry_is_not_sent() {
    let sink = sqs(&json!({}));
    let bodies: [(Option<Vec<u8>>, DeadLetterReason, &str); 4] = [
        (None, DeadLetterReason::Malformed, "is empty"),
        (Some(vec![]), DeadLetterReason::Malformed, "is empty"),
        (Some(vec![0xff]), DeadLetterReason::Malformed, "is not UTF-8"),
        (
            Some(vec![b'x'; BYTES_MAX]),
            DeadLetterReason::Oversize,
            "SQS takes 1048576",
        ),
    ];
    for (body, reason, words) in bodies {
        let mut event = event(None);
        event.body = body.map(Bytes::from);
        let unsendable = made(&sink, &event, None).expect_err(words);
        assert_eq!(unsendable.reason, reason);
        assert!(unsendable.words.contains(words), "{unsendable:?}");
    }
    // The largest one fits.
    let mut event = event(Some(b"x"));
    let rest = BYTES_MAX - (made(&sink, &event, None).expect("sendable").bytes - 1);
    event.body = Some(Bytes::from(vec![b'x'; rest]));
    assert_eq!(made(&sink, &event, None).expect("sendable").bytes, BYTES_MAX);
}

#[test]
fn each_entry_has_its_own_answer() {
    let taken = SendMessageBatchResultEntry::builder()
        .id("0")
        .message_id("m-0")
        .md5_of_message_body("0")
        .build()
        .expect("complete");
    let failed = |id: &str, code: &str, sender_fault| {
        BatchResultErrorEntry::builder()
            .id(id)
            .code(code)
            .sender_fault(sender_fault)
            .build()
            .expect("complete")
    };
    let output = SendMessageBatchOutput::builder()
        .successful(taken)
        .failed(failed("1", "InvalidMessageContents", true))
        .failed(failed("2", "InternalError", false))
        .failed(failed("3", "RequestThrottled", true))
        .failed(failed("4", "AccessDenied", true))
        .build()
        .expect("complete");
    for (place, outcome) in [
        (0, Outcome::Delivered),
        (1, Outcome::Rejected),
        (2, Outcome::Server),
        (3, Outcome::Throttled),
        (4, Outcome::Auth),
        // One that the answer does not name is not known to be safe.
        (5, Outcome::Server),
    ] {
        let answer = send::answer(&output, place);
        assert_eq!((answer.outcome, answer.status), (outcome, Some(200)), "{place}");
        assert_eq!(answer.error.is_none(), outcome == Outcome::Delivered);
    }
    let said: Value = serde_json::from_slice(&send::answer(&output, 0).said).expect("JSON");
    assert_eq!(said["MessageId"], "m-0");
}
