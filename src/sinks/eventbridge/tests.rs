use aws_sdk_eventbridge::operation::put_events::PutEventsOutput;
use aws_sdk_eventbridge::types::PutEventsResultEntry;
use bytes::Bytes;
use serde_json::{Value, json};

use super::request::{Entry, Unsendable, entry};
use super::*;
use crate::domain::delivery::DeadLetterReason;
use crate::domain::event::Event;
use crate::domain::ids::DestinationId;
use crate::domain::outcome::Outcome;
use crate::sinks::aws::BYTES_MAX;
use crate::sinks::tests::{event, guard, settings};
use crate::sinks::{Outgoing, cloudevents};

/// A document with some fields changed.
fn document(changes: &Value) -> Value {
    let mut document = json!({
        "type": "eventbridge",
        "region": "eu-west-1",
        "auth": {"type": "aws_keys", "access_key_id": "A", "secret_access_key": "SECRET"}
    });
    for (name, value) in changes.as_object().expect("an object") {
        document[name] = value.clone();
    }
    document
}

fn bus(changes: &Value) -> EventBridge {
    EventBridge::parse(&document(changes), &settings()).expect("valid")
}

const ARN: &str = "arn:aws:events:eu-west-1:123456789012:event-bus/orders";

#[test]
fn a_bus_is_named_or_told_by_its_arn() {
    for (changes, event_bus) in [
        (json!({}), "default"),
        (json!({"event_bus": "orders"}), "orders"),
        (json!({"event_bus": ARN}), ARN),
        (json!({"event_bus": ARN, "region": null}), ARN),
    ] {
        let bus = bus(&changes);
        assert_eq!((&*bus.event_bus, &*bus.source), (event_bus, "posthaste"));
        bus.check_egress(&guard(&settings())).expect("public");
    }
}

#[test]
fn mistakes_name_the_field() {
    for (changes, pointer, words) in [
        (json!({"region": null}), "/sink/region", "is missing"),
        (json!({"event_bus": ARN, "region": "eu-west-2"}), "/sink/region", "the target is in `eu-west-1`"),
        (json!({"event_bus": "a b"}), "/sink/event_bus", "is neither the name"),
        (json!({"event_bus": ""}), "/sink/event_bus", "is neither the name"),
        (json!({"event_bus": 1}), "/sink/event_bus", "must be a string"),
        (json!({"event_bus": "arn:aws:sqs:eu-west-1:1:event-bus/a"}), "/sink/event_bus", "is neither the name"),
        (json!({"source": "aws.ec2"}), "/sink/source", "is not free"),
        (json!({"source": ""}), "/sink/source", "1 to 256"),
        (json!({"detail_type": "x".repeat(129)}), "/sink/detail_type", "1 to 128"),
        (json!({"detail_type": ""}), "/sink/detail_type", "1 to 128"),
        (json!({"cloudevents": "binary"}), "/sink/cloudevents", "write `structured`"),
        (json!({"auth": null}), "/sink/auth", "is missing"),
        (json!({"bus": "x"}), "/sink/bus", "is not known"),
    ] {
        let faults = EventBridge::parse(&document(&changes), &settings()).expect_err("a fault");
        let [fault] = &faults[..] else {
            panic!("{changes}: {faults:?}")
        };
        assert_eq!(fault.pointer, pointer, "{changes}");
        assert!(fault.message.contains(words), "{changes}: {fault:?}");
        assert!(!fault.message.contains("SECRET"));
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
    let changed = document(&json!({"x": 1}));
    let faults = EventBridge::parse(&changed, &settings()).expect_err("a fault");
    for name in &named {
        assert!(faults[0].message.contains(&format!("`{name}`")), "{name}");
    }
    assert_eq!(faults[0].message.matches('`').count(), 2 * named.len());
}

fn made(bus: &EventBridge, event: &Event) -> Result<Entry, Unsendable> {
    let destination = DestinationId::parse("acme/bus").expect("an id");
    let outgoing = Outgoing {
        event,
        destination: &destination,
        attempt: 2,
        replay: None,
        now_ms: 0,
    };
    let rendered = cloudevents::render(bus.cloudevents, event).expect("well formed");
    entry(bus, &outgoing, &rendered)
}

#[test]
fn an_entry_tells_the_event_and_its_resources_who_what_and_how_often() {
    let body = b" {\"n\": 1.00} ";
    let made = made(&bus(&json!({"event_bus": "orders"})), &event(Some(body))).expect("sendable");
    let resources = [
        "event-id:msg_1",
        "event-type:order.paid",
        "event-time:2026-01-31T08:00:00.25Z",
        "tenant:default",
        "posthaste-attempt:2",
        "posthaste-hops:1",
    ];
    assert_eq!(made.entry.resources(), resources);
    assert_eq!(made.entry.source(), Some("posthaste"));
    assert_eq!(made.entry.detail_type(), Some("order.paid"));
    assert_eq!(made.entry.detail(), Some(" {\"n\": 1.00} "));
    assert_eq!(made.entry.event_bus_name(), Some("orders"));
    let time = made.entry.time().expect("a time").to_millis().expect("near");
    assert_eq!(time, event(None).time_ms);
    let told: usize = resources.iter().map(|one| one.len()).sum();
    assert_eq!(
        made.bytes,
        14 + "posthaste".len() + "order.paid".len() + body.len() + told
    );
}

#[test]
fn source_and_detail_type_may_be_chosen_and_the_detail_may_be_an_envelope() {
    let bus = bus(&json!({"source": "shop", "detail_type": "Order Paid", "cloudevents": "structured"}));
    let made = made(&bus, &event(Some(b"{\"n\": 1.00}"))).expect("sendable");
    assert_eq!(made.entry.source(), Some("shop"));
    assert_eq!(made.entry.detail_type(), Some("Order Paid"));
    let detail = made.entry.detail().expect("a detail");
    assert!(detail.contains("\"specversion\":\"1.0\""), "{detail}");
    assert!(detail.ends_with("\"data\":{\"n\": 1.00}}"), "{detail}");
}

#[test]
fn what_no_entry_can_carry_is_not_sent() {
    let bus = bus(&json!({}));
    let mut large = event(None);
    let rest = BYTES_MAX - made(&bus, &event(Some(b"{}"))).expect("sendable").bytes;
    let of = |bytes: usize| Bytes::from(format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8)));
    large.body = Some(of(rest + 2));
    let unsendable = made(&bus, &large).expect_err("too large");
    assert_eq!(unsendable.reason, DeadLetterReason::Oversize);
    assert!(unsendable.words.contains("less than 1048576"));
    large.body = Some(of(rest + 1));
    assert_eq!(made(&bus, &large).expect("sendable").bytes, BYTES_MAX - 1);

    let mut long = event(Some(b"{}"));
    long.event_type = "x".repeat(129).into();
    let unsendable = made(&bus, &long).expect_err("too long");
    assert_eq!(unsendable.reason, DeadLetterReason::Malformed);
}

#[test]
fn each_entry_has_its_own_answer() {
    let failed = |code: &str| PutEventsResultEntry::builder().error_code(code).build();
    let output = PutEventsOutput::builder()
        .failed_entry_count(4)
        .entries(PutEventsResultEntry::builder().event_id("e-0").build())
        .entries(failed("MalformedDetail"))
        .entries(failed("ThrottlingException"))
        .entries(failed("InternalFailure"))
        .entries(failed("NotAuthorizedForSourceException"))
        .entries(PutEventsResultEntry::builder().build())
        .build();
    for (place, outcome) in [
        (0, Outcome::Delivered),
        (1, Outcome::Rejected),
        (2, Outcome::Throttled),
        (3, Outcome::Server),
        (4, Outcome::Auth),
        // What the answer says nothing of is not known to be safe.
        (5, Outcome::Server),
        (6, Outcome::Server),
    ] {
        let answer = send::answer(&output, place);
        assert_eq!((answer.outcome, answer.status), (outcome, Some(200)), "{place}");
        assert_eq!(answer.error.is_none(), outcome == Outcome::Delivered);
    }
    let said: Value = serde_json::from_slice(&send::answer(&output, 0).said).expect("JSON");
    assert_eq!(said["EventId"], "e-0");
}
