use lapin::types::AMQPValue;
use serde_json::{Value, json};

use super::*;
use crate::domain::event::Event;
use crate::domain::ids::DestinationId;
use crate::sinks::tests::{NOW_MS, event, guard, settings};
use crate::sinks::{Outgoing, cloudevents};

const URL: &str = "amqps://us%40er:can%2Fary@mq.example.com/sh%2Fop";

fn document(change: Value) -> Value {
    let mut document = json!({"type": "rabbitmq", "url": URL, "exchange": "events"});
    for (name, value) in change.as_object().expect("an object") {
        document[name] = value.clone();
    }
    document
}

fn parsed(change: Value) -> RabbitMq {
    RabbitMq::parse(&document(change), &settings()).expect("valid")
}

#[test]
fn every_mistake_is_named_by_its_field_and_repeats_no_secret() {
    for (change, expected) in [
        (json!({"url": "canary"}), "/sink/url"),
        (json!({"url": "https://u:canary@mq.example.com/"}), "/sink/url"),
        (json!({"url": "amqp://mq.example.com/"}), "/sink/url"),
        (json!({"url": "amqp://canary@mq.example.com/"}), "/sink/url"),
        (json!({"url": "amqp://u:canary@/"}), "/sink/url"),
        (json!({"url": "amqp://u:canary@mq.example.com:0/"}), "/sink/url"),
        (json!({"url": "amqp://u:canary@mq.example.com/?heartbeat=0"}), "/sink/url"),
        (json!({"url": "amqp://u:ca#nary@mq.example.com/"}), "/sink/url"),
        (json!({"url": "amqp://u:canary@mq example.com/"}), "/sink/url"),
        (json!({"exchange": "x".repeat(256)}), "/sink/exchange"),
        (json!({"exchange": null}), "/sink/exchange"),
        (json!({"routing_key": "{key}"}), "/sink/routing_key"),
        (json!({"tls": {"ca": "canary"}}), "/sink/tls"),
        (json!({"tls": {"key": "canary"}}), "/sink/tls"),
        (json!({"url": "amqp://u:canary@mq.example.com/", "tls": {"ca": null, "x": 1}}), "/sink/tls/x"),
        (json!({"timeout": "1ms"}), "/sink/timeout"),
        (json!({"message_max": "1B"}), "/sink/message_max"),
        (json!({"cloudevents": "xml"}), "/sink/cloudevents"),
        (json!({"mandatory": false}), "/sink/mandatory"),
    ] {
        let faults = RabbitMq::parse(&document(change.clone()), &settings()).expect_err("faults");
        let pointers: Vec<&str> = faults.iter().map(|fault| &*fault.pointer).collect();
        assert_eq!(pointers, [expected], "{change}");
        assert!(!format!("{faults:?}").contains("canary"), "{change}");
    }
}

#[test]
fn a_url_is_read_part_by_part_and_not_shown() {
    for (url, port, vhost, tls) in [
        (URL, 5671, "sh/op", true),
        ("amqp://us%40er:can%2Fary@MQ.example.com", 5672, "/", false),
        ("amqp://us%40er:can%2Fary@mq.example.com:1/", 1, "/", false),
        ("amqp://us%40er:can%2Fary@mq.example.com/%2F", 5672, "/", false),
        ("amqp://us%40er:can%2Fary@mq.example.com/a", 5672, "a", false),
    ] {
        let rabbitmq = parsed(json!({"url": url}));
        let endpoint = &rabbitmq.endpoint;
        assert_eq!((&*endpoint.host, endpoint.port), ("mq.example.com", port));
        assert_eq!((&*endpoint.vhost, endpoint.tls.is_some()), (vhost, tls));
        assert_eq!(endpoint.username.expose(), "us@er");
        assert_eq!(endpoint.password.expose(), "can/ary");
        let shown = format!("{rabbitmq:?}");
        assert!(!shown.contains("ary") && !shown.contains("us@er"), "{shown}");
    }
}

#[test]
fn only_hosts_on_the_operator_s_list_are_dialled() {
    let mut settings = settings();
    settings.egress.allow = vec!["mq.example.com:5671".to_owned(), "127.0.0.0/8".to_owned()];
    let guard = guard(&settings);
    for (url, allowed) in [
        ("amqps://u:p@mq.example.com/", true),
        ("amqps://u:p@MQ.example.com./", true),
        ("amqp://u:p@127.0.0.1/", true),
        ("amqp://u:p@mq.example.com/", false),
        ("amqp://u:p@1.1.1.1/", false),
        ("amqp://u:p@[::1]/", false),
    ] {
        let judged = parsed(json!({"url": url})).check_egress(&guard);
        assert_eq!(judged.is_ok(), allowed, "{url}");
    }
}

fn lines(event: &Event, mode: Mode) -> (lapin::BasicProperties, Vec<String>) {
    let destination = DestinationId::parse("acme/hooks").expect("id");
    let outgoing = Outgoing {
        event,
        destination: &destination,
        attempt: 4,
        replay: None,
        now_ms: NOW_MS,
    };
    let rendered = cloudevents::render(mode, event).expect("an event");
    let (properties, _) = message::properties(&outgoing, &rendered).expect("properties");
    let headers = properties.headers().clone().expect("headers");
    let text = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        other => format!("{other:?}"),
    };
    let lines = headers.inner().iter();
    let lines = lines.map(|(name, value)| format!("{name}={}", text(value)));
    (properties.clone(), lines.collect())
}

#[test]
fn the_message_is_persistent_and_says_what_it_is() {
    let mut event = event(Some(b"{}"));
    event.hops = 2;
    event.headers = vec![
        ("trace".into(), Some("1".into())),
        ("null".into(), None),
        ("CC".into(), Some("elsewhere".into())),
        ("posthaste-hops".into(), Some("2".into())),
    ];
    let (properties, headers) = lines(&event, Mode::Off);
    assert_eq!(properties.delivery_mode(), &Some(2));
    assert_eq!(properties.timestamp(), &Some(1_769_846_400));
    assert_eq!(
        headers,
        [
            "event-id=msg_1",
            "event-time=2026-01-31T08:00:00.25Z",
            "event-type=order.paid",
            "null=Void",
            "posthaste-attempt=4",
            "posthaste-hops=3",
            "tenant=default",
            "trace=1",
        ]
    );
    let (_, headers) = lines(&event, Mode::Binary);
    assert!(headers.contains(&"cloudEvents_source=/topics/orders".to_owned()));
}

#[test]
fn what_is_too_long_for_a_property_stands_in_the_headers() {
    let mut event = event(None);
    event.id = "x".repeat(256).into();
    event.time_ms = -1;
    let (properties, headers) = lines(&event, Mode::Off);
    assert_eq!(properties.message_id(), &None);
    assert_eq!(properties.timestamp(), &None);
    assert!(headers.contains(&format!("event-id={}", event.id)));
}

#[test]
fn the_schema_has_the_fields_that_are_read() {
    let schema = schema().to_value();
    let properties = schema["properties"].as_object().expect("properties");
    let mut known: Vec<String> = properties.keys().map(|name| format!("`{name}`")).collect();
    let faults = RabbitMq::parse(&document(json!({"other": 1})), &settings()).expect_err("faults");
    let message = faults.first().map(|fault| fault.message.clone()).unwrap_or_default();
    let (_, read) = message.split_once("known here are ").expect("a list");
    let mut read: Vec<&str> = read.split(", ").collect();
    read.sort_unstable();
    known.sort_unstable();
    assert_eq!(read, known);
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_without_dialling() {
    let settings = settings();
    let guard = std::sync::Arc::new(guard(&settings));
    let client = Client::new(&settings, guard).expect("a client");
    let destination = DestinationId::parse("acme/hooks").expect("id");
    let event = event(Some(&[b'x'; 2000]));
    for (change, outcome, words) in [
        (json!({}), "refused", "operator"),
        (json!({"message_max": "2000B"}), "rejected", "message_max"),
        (json!({"routing_key": "x".repeat(250) + "{type}"}), "rejected", "routing key"),
        (json!({"url": "amqp://u:p@127.0.0.1:1/"}), "network", "connection refused"),
        // Not dialled again so soon; it still says why.
        (json!({"url": "amqp://u:p@127.0.0.1:1/"}), "network", "connection refused"),
    ] {
        let outgoing = Outgoing {
            event: &event,
            destination: &destination,
            attempt: 1,
            replay: None,
            now_ms: NOW_MS,
        };
        let report = parsed(change).send(&client, outgoing).await;
        assert_eq!(report.outcome.as_str(), outcome);
        let error = report.error.unwrap_or_default();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_broker_that_is_silent_is_left_and_its_connection_cut() {
    use tokio::io::AsyncReadExt as _;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let settings = settings();
    let guard = std::sync::Arc::new(guard(&settings));
    let client = Client::new(&settings, guard).expect("a client");
    let destination = DestinationId::parse("acme/hooks").expect("id");
    let event = event(Some(b"{}"));
    let url = format!("amqp://u:p@127.0.0.1:{port}/");
    let sink = parsed(json!({"url": url, "timeout": "100ms"}));
    let outgoing = Outgoing {
        event: &event,
        destination: &destination,
        attempt: 1,
        replay: None,
        now_ms: NOW_MS,
    };
    let report = sink.send(&client, outgoing).await;
    assert_eq!(report.outcome.as_str(), "network");
    let (mut accepted, _) = listener.accept().await.expect("a connection");
    let mut said = Vec::new();
    accepted.read_to_end(&mut said).await.expect("its end");
    assert_eq!(said, b"AMQP\x00\x00\x09\x01");
}
