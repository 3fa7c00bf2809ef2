use serde_json::json;

use super::*;

/// Settings with short time limits that allow what local tests need.
pub(super) fn settings() -> Settings {
    toml::from_str(
        r#"
        sources = {}
        [kafka]
        brokers = "127.0.0.1:9092"
        group = "test"
        properties = {}
        [topics]
        prefix = "test."
        lanes = 8
        replication_factor = 0
        [retry]
        tiers = []
        dedicated_topics = 0
        retire_after = "1d"
        delete_after = "10m"
        waiting_per_partition = 1
        [archive]
        retention = "7d"
        [dispatch]
        slots = 1
        backlog_share = 0.5
        queue = 1
        queue_wait = "1s"
        memory = "1MiB"
        slow_after = "2s"
        [ledger]
        events = 1
        span = 1
        commit_interval = "100ms"
        revoke_timeout = "5s"
        [webhook]
        dns_timeout = "2s"
        connect_timeout = "5s"
        first_byte_timeout = "5s"
        timeout_max = "60s"
        response_read = "64KiB"
        response_kept = "16KiB"
        pool_idle_timeout = "30s"
        pool_idle_per_host = 8
        body_max = "1MiB"
        [egress]
        allow = ["127.0.0.0/8"]
        allow_http = true
        [catalog]
        stale_after = "5s"
        [admin]
        listen = "127.0.0.1:0"
        [shutdown]
        timeout = "20s"
        "#,
    )
    .expect("settings")
}

pub(super) fn guard(settings: &Settings) -> Guard {
    Guard::new(&settings.egress, settings.webhook.dns_timeout.0).expect("egress settings")
}

fn faults(sink: &Value) -> Vec<(String, String)> {
    let settings = settings();
    let faults = Sink::parse(sink, &settings, &guard(&settings)).expect_err("faults");
    faults
        .into_iter()
        .map(|fault| (fault.pointer, fault.message))
        .collect()
}

#[test]
fn a_type_that_is_not_built_is_refused_by_name() {
    for kind in [
        "sqs",
        "eventbridge",
        "pubsub",
        "kafka",
        "rabbitmq",
        "hookdeck",
    ] {
        let message = format!("`\"type\": \"{kind}\"` is not supported yet");
        assert_eq!(
            faults(&json!({"type": kind})),
            [("/sink/type".to_owned(), message)]
        );
    }
}

#[test]
fn an_unknown_type_is_told_the_known_ones() {
    for (sink, pointer, message) in [
        (
            json!({"type": "webhok"}),
            "/sink/type",
            "`webhok` is no type of sink; write one of `webhook`",
        ),
        (json!({"type": 1}), "/sink/type", "must be a string"),
        (
            json!({}),
            "/sink/type",
            "is missing; write one of `webhook`",
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
    let sink = Sink::parse(&sink, &settings, &guard(&settings)).expect("valid");
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
    assert_eq!(types, ["webhook"]);
}
