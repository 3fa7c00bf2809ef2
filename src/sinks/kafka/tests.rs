use rdkafka::message::Headers as _;
use serde_json::{Value, json};

use super::*;
use crate::domain::ids::DestinationId;
use crate::sinks::tests::{NOW_MS, event, guard, settings};
use crate::sinks::{Outgoing, cloudevents};

fn document(change: Value) -> Value {
    let mut document = json!({"type": "kafka", "brokers": "kafka.example.com:9093", "topic": "target"});
    for (name, value) in change.as_object().expect("an object") {
        document[name] = value.clone();
    }
    document
}

fn parsed(change: Value) -> Kafka {
    Kafka::parse(&document(change), &settings()).expect("valid")
}

fn pointers(change: Value) -> Vec<String> {
    let mut settings = settings();
    settings.kafka.brokers = "Kafka.Example.com:9093,other:1".to_owned();
    settings
        .sources
        .insert("orders-*".to_owned(), serde_json::from_str("{}").expect("a source"));
    let faults = Kafka::parse(&document(change), &settings).expect_err("faults");
    faults.into_iter().map(|fault| fault.pointer).collect()
}

fn property<'a>(kafka: &'a Kafka, name: &str) -> Option<&'a str> {
    let found = kafka.properties.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| value.as_str())
}

#[test]
fn every_mistake_is_named_by_its_field() {
    let sasl = |mechanism: &str| json!({"type": "sasl", "mechanism": mechanism, "username": "u", "password": "p"});
    for (change, expected) in [
        (json!({"brokers": "kafka"}), "/sink/brokers"),
        (json!({"brokers": ""}), "/sink/brokers"),
        (json!({"brokers": "a:1,,b:2"}), "/sink/brokers"),
        (json!({"brokers": "a:0"}), "/sink/brokers"),
        (json!({"brokers": "u@a:1"}), "/sink/brokers"),
        (json!({"brokers": vec!["a:1"; 17].join(",")}), "/sink/brokers"),
        (json!({"topic": ""}), "/sink/topic"),
        (json!({"topic": "a/b"}), "/sink/topic"),
        (json!({"topic": ".."}), "/sink/topic"),
        (json!({"topic": "__consumer_offsets"}), "/sink/topic"),
        (json!({"topic": "orders-eu"}), "/sink/topic"),
        (json!({"topic": "posthaste.destinations"}), "/sink/topic"),
        (json!({"tls": {"ca": "x"}}), "/sink/tls/ca"),
        (json!({"tls": {"cert": "-----BEGIN CERTIFICATE-----"}}), "/sink/tls"),
        (json!({"tls": {"verify": "no"}}), "/sink/tls/verify"),
        (json!({"auth": {"type": "basic"}}), "/sink/auth/type"),
        (json!({"auth": sasl("GSSAPI"), "tls": {}}), "/sink/auth/mechanism"),
        (json!({"auth": sasl("PLAIN")}), "/sink/auth/mechanism"),
        (json!({"auth": {"type": "sasl", "mechanism": "SCRAM-SHA-256", "username": "u"}}), "/sink/auth/password"),
        (json!({"timeout": "1ms"}), "/sink/timeout"),
        (json!({"record_max": "1B"}), "/sink/record_max"),
        (json!({"record_max": 5}), "/sink/record_max"),
        (json!({"cloudevents": "xml"}), "/sink/cloudevents"),
        (json!({"acks": "0"}), "/sink/acks"),
    ] {
        assert_eq!(pointers(change.clone()), [expected], "{change}");
    }
}

#[test]
fn durability_is_not_the_destination_s_choice() {
    let kafka = parsed(json!({"timeout": "3s", "record_max": "2MiB"}));
    for (name, expected) in [
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("max.in.flight.requests.per.connection", "1"),
        ("allow.auto.create.topics", "false"),
        ("message.timeout.ms", "3000"),
        ("message.max.bytes", "2097152"),
        ("batch.size", "2097152"),
        ("security.protocol", "PLAINTEXT"),
        ("bootstrap.servers", "kafka.example.com:9093"),
    ] {
        assert_eq!(property(&kafka, name), Some(expected), "{name}");
    }
}

#[test]
fn tls_and_sasl_decide_on_the_protocol() {
    let sasl = json!({"type": "sasl", "mechanism": "SCRAM-SHA-512", "username": "ann", "password": "canary"});
    for (change, expected) in [
        (json!({"tls": {}}), "SSL"),
        (json!({"auth": sasl}), "SASL_PLAINTEXT"),
        (json!({"auth": sasl, "tls": {}}), "SASL_SSL"),
        (json!({"auth": {"type": "none"}}), "PLAINTEXT"),
    ] {
        let kafka = parsed(change);
        assert_eq!(property(&kafka, "security.protocol"), Some(expected));
        assert!(!format!("{kafka:?}").contains("canary"));
    }
}

#[test]
fn librdkafka_takes_all_properties() {
    let kafka = parsed(json!({"auth": {"type": "sasl", "mechanism": "SCRAM-SHA-512", "username": "u", "password": "p"}, "tls": {}}));
    let mut config = rdkafka::ClientConfig::new();
    for (name, value) in kafka.properties.iter() {
        config.set(*name, value);
    }
    config.create_native_config().expect("known properties");
}

#[test]
fn only_brokers_on_the_operator_s_list_are_dialled() {
    let mut settings = settings();
    settings.egress.allow = vec!["kafka.example.com:9093".to_owned(), "127.0.0.0/8".to_owned()];
    let guard = guard(&settings);
    for (brokers, allowed) in [
        ("kafka.example.com:9093", true),
        ("KAFKA.example.com.:9093", true),
        ("127.0.0.1:9092", true),
        ("kafka.example.com:9094", false),
        ("kafka.example.com:9093,kafka2.example.com:9093", false),
        ("10.0.0.1:9092", false),
        // Public ones too.
        ("1.1.1.1:9092", false),
    ] {
        let kafka = parsed(json!({"brokers": brokers}));
        let judged = kafka.check_egress(&guard);
        assert_eq!(judged.is_ok(), allowed, "{brokers}");
    }
}

#[test]
fn the_record_is_the_event_s_with_what_is_told_of_the_attempt() {
    let destination = DestinationId::parse("acme/hooks").expect("id");
    let mut event = event(Some(b"{}"));
    event.hops = 2;
    event.headers = vec![
        ("trace".into(), Some("1".into())),
        ("posthaste-hops".into(), Some("2".into())),
        ("event-type".into(), Some("other".into())),
        ("null".into(), None),
        ("ce_source".into(), Some("//shop".into())),
    ];
    let outgoing = Outgoing {
        event: &event,
        destination: &destination,
        attempt: 4,
        replay: None,
        now_ms: NOW_MS,
    };
    let lines = |mode| -> Vec<String> {
        let rendered = cloudevents::render(mode, &event).expect("an event");
        let headers = record::headers(&outgoing, &rendered);
        let text = |value: Option<&[u8]>| value.map(|value| String::from_utf8_lossy(value).into_owned());
        headers
            .iter()
            .map(|header| format!("{}={}", header.key, text(header.value).unwrap_or("null".to_owned())))
            .collect()
    };
    let told = [
        "event-id=msg_1",
        "event-type=order.paid",
        "event-time=2026-01-31T08:00:00.25Z",
        "tenant=default",
        "posthaste-attempt=4",
        "posthaste-hops=3",
        "content-type=application/json",
    ];
    let expected = [&["trace=1", "null=null", "ce_source=//shop"], &told[..]].concat();
    assert_eq!(lines(Mode::Off), expected);
    let attributes = [
        "ce_specversion=1.0",
        "ce_id=msg_1",
        "ce_source=//shop",
        "ce_type=order.paid",
        "ce_time=2026-01-31T08:00:00.25Z",
    ];
    let expected = [&["trace=1", "null=null"], &told[..], &attributes].concat();
    assert_eq!(lines(Mode::Binary), expected);
}

#[test]
fn the_size_counts_all_parts_and_never_too_little() {
    let headers = rdkafka::message::OwnedHeaders::new().insert(rdkafka::message::Header {
        key: "name",
        value: Some("value"),
    });
    let mut record = rdkafka::producer::BaseRecord::<[u8], [u8]>::to("t").headers(headers);
    record.key = Some(b"key");
    record.payload = Some(b"body");
    assert_eq!(record::size(&record), 61 + 21 + 3 + 4 + (4 + 5 + 10));
}

#[test]
fn the_schema_has_the_fields_that_are_read() {
    let schema = schema().to_value();
    let properties = schema["properties"].as_object().expect("properties");
    let known: Vec<String> = properties.keys().map(|name| format!("`{name}`")).collect();
    let faults = Kafka::parse(&document(json!({"other": 1})), &settings()).expect_err("faults");
    let message = faults.first().map(|fault| fault.message.clone()).unwrap_or_default();
    let (_, read) = message.split_once("known here are ").expect("a list");
    let mut read: Vec<&str> = read.split(", ").collect();
    let mut known: Vec<&str> = known.iter().map(String::as_str).collect();
    read.sort_unstable();
    known.sort_unstable();
    assert_eq!(read, known);
}

#[tokio::test]
async fn an_unlisted_broker_and_a_large_record_are_not_sent() {
    let settings = settings();
    let guard = std::sync::Arc::new(guard(&settings));
    let client = Client::new(&settings, guard).expect("a client");
    let destination = DestinationId::parse("acme/hooks").expect("id");
    let event = event(Some(&[b'x'; 2000]));
    for (change, outcome, words) in [
        (json!({}), "refused", "operator"),
        (json!({"record_max": "2000B"}), "rejected", "record_max"),
    ] {
        let report = parsed(change)
            .send(
                &client,
                Outgoing {
                    event: &event,
                    destination: &destination,
                    attempt: 1,
                    replay: None,
                    now_ms: NOW_MS,
                },
            )
            .await;
        assert_eq!(report.outcome.as_str(), outcome);
        assert!(report.error.is_some_and(|error| error.contains(words)));
    }
}
