use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::domain::event::Origin;
use crate::domain::ids::TenantId;
use crate::domain::units::{ByteSize, Span};

/// 2026-01-31T08:00:00.250Z.
pub(super) const NOW_MS: i64 = 1_769_846_400_250;

/// Settings with short time limits that allow what local tests need.
pub(super) fn settings() -> Settings {
    let mut settings = crate::config::defaults();
    settings.webhook.first_byte_timeout = Span::secs(5);
    settings.webhook.body_max = ByteSize(1 << 20);
    settings.webhook.pool_idle_per_host = 8;
    settings.egress.allow = vec!["127.0.0.0/8".to_owned()];
    settings.egress.allow_http = true;
    settings
}

pub(super) fn guard(settings: &Settings) -> Guard {
    Guard::new(&settings.egress, settings.webhook.dns_timeout.0).expect("egress settings")
}

/// The event of the tests: `msg_1`, JSON, of 2026-01-31T08:00:00.250Z.
pub(super) fn event(body: Option<&'static [u8]>) -> Event {
    Event {
        id: "msg_1".into(),
        event_type: "order.paid".into(),
        tenant: TenantId::default_tenant(),
        time_ms: NOW_MS,
        hops: 0,
        origin: Origin {
            topic: "orders".into(),
            partition: 0,
            offset: 0,
        },
        key: None,
        body: body.map(Bytes::from_static),
        headers: Vec::new(),
        content_type: "application/json".into(),
    }
}

fn faults(sink: &Value) -> Vec<(String, String)> {
    let settings = settings();
    let faults = Sink::parse(sink, &settings).expect_err("faults");
    faults
        .into_iter()
        .map(|fault| (fault.pointer, fault.message))
        .collect()
}

#[test]
fn an_unknown_type_is_told_the_known_ones() {
    for (sink, pointer, message) in [
        (
            json!({"type": "webhok"}),
            "/sink/type",
            &*format!("`webhok` is no type of sink; write one of {}", known()),
        ),
        (json!({"type": 1}), "/sink/type", "must be a string"),
        (
            json!({}),
            "/sink/type",
            &*format!("is missing; write one of {}", known()),
        ),
        (json!("webhook"), "/sink", "must be an object"),
        (json!(null), "/sink", "must be an object"),
    ] {
        assert_eq!(
            faults(&sink),
            [(pointer.to_owned(), message.to_owned())],
            "{sink}"
        );
    }
}

#[test]
fn a_webhook_is_found_by_its_type() {
    let settings = settings();
    let sink = json!({"type": "webhook", "url": "https://example.com/hooks"});
    let sink = Sink::parse(&sink, &settings).expect("valid");
    assert_eq!(sink.kind(), "webhook");
}

#[test]
fn the_schema_stands_alone_and_names_each_type_that_is_built() {
    let schema = schema().to_value();
    assert!(!schema.to_string().contains("$ref"));
    let types: Vec<&Value> = schema["oneOf"]
        .as_array()
        .expect("types")
        .iter()
        .map(|one| &one["properties"]["type"]["const"])
        .collect();
    assert_eq!(types, kinds().collect::<Vec<_>>());
}
