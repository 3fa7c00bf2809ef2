use std::sync::{Arc, LazyLock};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::message::{Oversize, message};
use super::{Client, PubSub};
use crate::config::faults::Fault;
use crate::config::settings::Settings;
use crate::domain::attempt::Report;
use crate::domain::ids::DestinationId;
use crate::domain::outcome::Outcome;
use crate::sinks::tests::{NOW_MS, event, guard, settings};
use crate::sinks::{Outgoing, Sink, cloudevents};

/// A private key; making one takes a while.
static KEY: LazyLock<String> = LazyLock::new(|| {
    let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let der: Pkcs8V1Der<'_> = pair.as_der().expect("DER");
    let base64 = STANDARD.encode(der.as_ref());
    format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n")
});

fn key() -> Value {
    json!({
        "type": "service_account", "project_id": "acme-prod", "private_key_id": "1",
        "private_key": *KEY, "client_email": "posthaste@acme-prod.iam.gserviceaccount.com",
        "client_id": "1", "token_uri": "https://oauth2.googleapis.com/token"
    })
}

/// A document with these fields in place of the usual ones.
fn document(fields: &Value) -> Value {
    let mut document = json!({
        "type": "pubsub", "project": "acme-prod", "topic": "orders",
        "auth": {"type": "google_service_account", "json": key()}
    });
    for (name, value) in fields.as_object().expect("fields") {
        document[name] = value.clone();
    }
    document
}

fn faults(fields: &Value, settings: &Settings) -> Vec<Fault> {
    match Sink::parse(&document(fields), settings) {
        Ok(_) => Vec::new(),
        Err(faults) => faults,
    }
}

fn parse(fields: &Value) -> PubSub {
    PubSub::parse(&document(fields), &settings()).expect("valid")
}

#[test]
fn documents_that_are_valid_are_taken() {
    for fields in [
        json!({}),
        json!({"ordering_key": null, "endpoint": null, "attributes": null, "timeout": null, "cloudevents": null}),
        json!({"ordering_key": true, "attributes": {"team": "shop"}, "cloudevents": "binary"}),
        json!({"project": "example.com:acme-prod", "topic": "a.b_c~d+e%25"}),
        json!({"endpoint": "https://europe-west1-pubsub.googleapis.com"}),
        json!({"endpoint": "http://127.0.0.1:8085", "auth": {"type": "none"}}),
        json!({"auth": {"type": "google_default"}}),
    ] {
        let found = faults(&fields, &settings());
        assert!(found.is_empty(), "{fields}: {found:?}");
    }
}

#[test]
fn each_mistake_is_named_with_its_field() {
    let mut other = key();
    other["type"] = "external_account".into();
    other["universe_domain"] = "example.com".into();
    other["private_key"] = "canary".into();
    for (fields, expected) in [
        (json!({"project": null}), "/sink/project: is missing"),
        (json!({"project": "Acme"}), "/sink/project: is no id"),
        (json!({"topic": "projects/acme-prod/topics/orders"}), "/sink/topic: is no id"),
        (json!({"topic": "google"}), "/sink/topic: is no id"),
        (json!({"ordering_key": "yes"}), "/sink/ordering_key: must be `true` or `false`"),
        (json!({"endpoint": "ftp://example.com"}), "/sink/endpoint"),
        (json!({"endpoint": "https://pubsub.googleapis.com/v1"}), "/sink/endpoint: has more than"),
        (json!({"auth": null}), "/sink/auth: is missing"),
        (json!({"auth": "none"}), "/sink/auth: must be an object"),
        (json!({"auth": {"type": "bearer"}}), "/sink/auth/type: is none of"),
        (json!({"auth": {"type": "none"}}), "/sink/auth/type: `none` goes with an `endpoint` only"),
        (
            json!({"auth": {"type": "google_default"}, "endpoint": "https://example.com"}),
            "/sink/auth/type: `google_default` goes with endpoints of Google only",
        ),
        (
            json!({"auth": {"type": "google_default"}, "endpoint": "http://pubsub.googleapis.com"}),
            "/sink/auth/type: `google_default` goes with",
        ),
        (
            json!({"auth": {"type": "google_service_account"}}),
            "/sink/auth/json: is missing",
        ),
        (
            json!({"auth": {"type": "google_service_account", "json": {}}}),
            "/sink/auth/json/private_key: is missing",
        ),
        (
            json!({"auth": {"type": "google_service_account", "json": other}}),
            "/sink/auth/json/type: is not `service_account`",
        ),
        (
            json!({"auth": {"type": "google_service_account", "json": other}}),
            "/sink/auth/json/universe_domain: is not `googleapis.com`",
        ),
        (
            json!({"auth": {"type": "google_service_account", "json": other}}),
            "/sink/auth/json/private_key: is no RSA key",
        ),
        (json!({"attributes": {"team": 1}}), "/sink/attributes/team: must be a string"),
        (json!({"attributes": {"event-id": "x"}}), "/sink/attributes/event-id: is set by"),
        (json!({"attributes": {"ce-id": "x"}}), "/sink/attributes/ce-id: is set by"),
        (json!({"attributes": {"googclient": "x"}}), "/sink/attributes/googclient: is no name"),
        (json!({"attributes": {"": "x"}}), "/sink/attributes/: is no name"),
        (json!({"attributes": {"a": "x".repeat(1025)}}), "/sink/attributes/a: holds 1025 bytes"),
        (json!({"timeout": "61s"}), "/sink/timeout: `61s` is not between"),
        (json!({"cloudevents": "yes"}), "/sink/cloudevents"),
        (json!({"subscription": "x"}), "/sink/subscription: is not known"),
    ] {
        let found = faults(&fields, &settings());
        let shown: Vec<String> = found.iter().map(|f| format!("{}: {}", f.pointer, f.message)).collect();
        assert!(shown.iter().any(|fault| fault.starts_with(expected)), "{expected}: {shown:?}");
        assert!(!shown.concat().contains("canary"));
    }
    let many: serde_json::Map<_, _> = (0..51).map(|n| (format!("a{n}"), "x".into())).collect();
    let found = faults(&json!({"attributes": many}), &settings());
    assert!(found.iter().any(|fault| fault.message.contains("takes 50 attributes at most")));
}

#[test]
fn the_schema_has_the_fields_that_are_read() {
    let schema = super::schema().to_value();
    let names: Vec<&String> = schema["properties"].as_object().expect("fields").keys().collect();
    let found = faults(&json!({"?": 1}), &settings());
    let known: Vec<&str> = found[0].message.split('`').skip(1).step_by(2).collect();
    assert_eq!(names, known);
}

#[test]
fn no_secret_is_shown() {
    let sink = parse(&json!({}));
    let shown = format!("{sink:?}");
    assert!(shown.contains("google_service_account") && !shown.contains("PRIVATE KEY"), "{shown}");
}

#[test]
fn where_the_library_resolves_names_only_the_operator_s_and_google_s_are_asked() {
    let mut settings = settings();
    settings.egress.allow.push("emulator.example.com".to_owned());
    let guard = guard(&settings);
    for (endpoint, allowed) in [
        (Value::Null, true),
        ("https://europe-west1-pubsub.googleapis.com".into(), true),
        ("https://pubsub.googleapis.com.example.com".into(), false),
        ("https://googleapis.com".into(), false),
        ("https://pubsub.googleapis.com:8443".into(), false),
        ("https://example.com".into(), false),
        ("https://93.184.216.34".into(), false),
        ("http://127.0.0.1:8085".into(), true),
        ("http://127.0.0.1:6379".into(), false),
        ("http://10.0.0.1:8085".into(), false),
        ("https://emulator.example.com".into(), true),
    ] {
        let sink = parse(&json!({"endpoint": endpoint}));
        assert_eq!(sink.check_egress(&guard).is_ok(), allowed, "{endpoint}");
    }
}

#[tokio::test]
async fn the_service_s_own_credentials_are_used_only_where_the_operator_says_so() {
    let fields = json!({"auth": {"type": "google_default"}});
    let report = attempt(&parse(&fields)).await;
    assert_eq!(report.outcome, Outcome::Refused);
    assert!(report.error.expect("words").contains("google.allow_default"));

    let mut settings = settings();
    let sink = PubSub::parse(&document(&fields), &settings).expect("valid");
    let fault = sink.check_egress(&guard(&settings)).expect_err("not allowed");
    assert_eq!(fault.pointer, "/sink/auth/type");
    settings.google.allow_default = true;
    let sink = PubSub::parse(&document(&fields), &settings).expect("valid");
    assert_eq!(sink.check_egress(&guard(&settings)), Ok(()));
}

/// One attempt with an event that Pub/Sub takes.
async fn attempt(sink: &PubSub) -> Report {
    let settings = settings();
    let client = Client::new(&settings, Arc::new(guard(&settings))).expect("a client");
    let destination = DestinationId::parse("acme/orders").expect("id");
    let event = event(Some(b"{}"));
    sink.send(&client, outgoing(&event, &destination)).await
}

fn outgoing<'a>(
    event: &'a crate::domain::event::Event,
    destination: &'a DestinationId,
) -> Outgoing<'a> {
    Outgoing {
        event,
        destination,
        attempt: 2,
        replay: None,
        now_ms: NOW_MS,
    }
}

#[tokio::test]
async fn an_endpoint_that_is_not_allowed_gets_nothing() {
    let report = attempt(&parse(&json!({"endpoint": "http://10.0.0.1:8085"}))).await;
    assert_eq!(report.outcome, Outcome::Refused);
}

#[tokio::test]
async fn a_service_that_is_down_is_trouble_of_the_network() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", port.local_addr().expect("an address"));
    drop(port);
    let sink = parse(&json!({"endpoint": endpoint, "timeout": "5s"}));
    let report = attempt(&sink).await;
    assert_eq!(report.outcome, Outcome::Network, "{report:?}");
}

#[tokio::test]
async fn a_service_that_says_nothing_is_given_up_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", silent.local_addr().expect("an address"));
    let sink = parse(&json!({"endpoint": endpoint, "timeout": "100ms"}));
    let report = attempt(&sink).await;
    assert_eq!(report.outcome, Outcome::Network, "{report:?}");
    assert!(report.error.expect("words").contains("time-out"));
}

#[test]
fn a_message_carries_the_bytes_and_what_is_known_of_the_event() {
    let destination = DestinationId::parse("acme/orders").expect("id");
    let mut event = event(Some(b"\x00\xff"));
    event.key = Some(Bytes::from_static(b"customer-1"));
    for (fields, key, own) in [
        (json!({"attributes": {"team": "shop"}}), "", 8),
        (json!({"ordering_key": true, "cloudevents": "binary"}), "customer-1", 12),
    ] {
        let sink = parse(&fields);
        let rendered = cloudevents::render(sink.cloudevents, &event).expect("an event");
        let message = message(&sink, &outgoing(&event, &destination), rendered).expect("fits");
        assert_eq!(&message.data[..], b"\x00\xff");
        assert_eq!(message.ordering_key, key);
        assert_eq!(message.attributes.len(), own, "{:?}", message.attributes);
        for (name, value) in [
            ("event-id", "msg_1"),
            ("event-type", "order.paid"),
            ("event-time", "2026-01-31T08:00:00.25Z"),
            ("tenant", "default"),
            ("posthaste-attempt", "2"),
            ("posthaste-hops", "1"),
            ("content-type", "application/json"),
        ] {
            assert_eq!(message.attributes[name], value);
        }
    }
}

#[tokio::test]
async fn an_oversize_event_is_not_sent() {
    let destination = DestinationId::parse("acme/orders").expect("id");
    let mut event = event(None);
    event.body = Some(vec![b'x'; 10_000_000].into());
    let sink = parse(&json!({}));
    let rendered = cloudevents::render(sink.cloudevents, &event).expect("an event");
    let Err(Oversize(words)) = message(&sink, &outgoing(&event, &destination), rendered) else {
        panic!("too large");
    };
    assert!(words.contains("10000000"), "{words}");
}
