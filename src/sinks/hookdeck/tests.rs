use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{BODY_MAX, Client, Hookdeck};
use crate::config::faults::Fault;
use crate::domain::attempt::Report;
use crate::domain::delivery::DeadLetterReason;
use crate::domain::event::Event;
use crate::domain::ids::DestinationId;
use crate::domain::outcome::Outcome;
use crate::sinks::tests::{NOW_MS, event, guard, settings};
use crate::sinks::{Outgoing, Sink};

/// A document with these fields in place of the usual ones.
fn document(fields: &Value) -> Value {
    let mut document = json!({"type": "hookdeck", "source": "orders", "api_key": "c4nary"});
    for (name, value) in fields.as_object().expect("fields") {
        document[name] = value.clone();
    }
    document
}

fn faults(fields: &Value) -> Vec<Fault> {
    match Sink::parse(&document(fields), &settings()) {
        Ok(_) => Vec::new(),
        Err(faults) => faults,
    }
}

fn parse(fields: &Value) -> Hookdeck {
    Hookdeck::parse(&document(fields), &settings()).expect("valid")
}

async fn send(sink: &Hookdeck, event: &Event) -> Report {
    let settings = settings();
    let client = Client::new(&settings, Arc::new(guard(&settings))).expect("a client");
    let destination = DestinationId::parse("acme/orders").expect("id");
    let outgoing = Outgoing {
        event,
        destination: &destination,
        attempt: 3,
        replay: Some("repair_20260131080000"),
        now_ms: NOW_MS,
    };
    sink.send(&client, outgoing).await
}

/// A Publish API that answers so, the address of it, and the requests that came.
async fn gateway(status: u16) -> (String, mpsc::UnboundedReceiver<(HeaderMap, Vec<u8>)>) {
    let (tell, told) = mpsc::unbounded_channel();
    let answer = post(move |headers: HeaderMap, body: axum::body::Bytes| async move {
        tell.send((headers, body.to_vec())).expect("the test listens");
        let status = StatusCode::from_u16(status).expect("a status");
        (status, r#"{"request_id": "req_1"}"#)
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = Router::new().route("/v1/publish", answer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}/v1/publish"), told)
}

#[tokio::test]
async fn an_event_is_published_to_its_source_byte_for_byte() {
    let (endpoint, mut requests) = gateway(200).await;
    let fields = json!({"endpoint": endpoint, "headers": {"X-Team": "shop"}});
    let report = send(&parse(&fields), &event(Some(b" {\"n\": 1.00} "))).await;
    assert_eq!(report.outcome, Outcome::Delivered, "{report:?}");
    assert_eq!(&report.response_body[..], br#"{"request_id": "req_1"}"#);
    let (headers, body) = requests.recv().await.expect("a request");
    assert_eq!(body, b" {\"n\": 1.00} ");
    for (name, value) in [
        ("authorization", "Bearer c4nary"),
        ("x-hookdeck-source-name", "orders"),
        ("content-type", "application/json"),
        ("webhook-id", "msg_1"),
        ("event-id", "msg_1"),
        ("event-type", "order.paid"),
        ("event-time", "2026-01-31T08:00:00.25Z"),
        ("tenant", "default"),
        ("posthaste-attempt", "3"),
        ("posthaste-hops", "1"),
        ("posthaste-replay", "repair_20260131080000"),
        ("x-team", "shop"),
    ] {
        assert_eq!(headers.get(name).expect(name), value);
    }
}

#[tokio::test]
async fn a_cloud_event_goes_as_one() {
    let (endpoint, mut requests) = gateway(202).await;
    for (mode, name, value) in [
        ("binary", "ce-id", "msg_1"),
        ("structured", "content-type", "application/cloudevents+json"),
    ] {
        let fields = json!({"endpoint": endpoint, "cloudevents": mode});
        let report = send(&parse(&fields), &event(Some(b"{}"))).await;
        assert_eq!(report.outcome, Outcome::Delivered);
        let (headers, _) = requests.recv().await.expect("a request");
        assert_eq!(headers.get(name).expect(name), value);
    }
}

#[tokio::test]
async fn answers_mean_what_the_table_of_http_says() {
    for (status, expected) in [
        (200, Outcome::Delivered),
        (202, Outcome::Delivered),
        (400, Outcome::Rejected),
        (401, Outcome::Auth),
        (402, Outcome::Rejected),
        (404, Outcome::NotFound),
        (410, Outcome::Gone),
        (413, Outcome::Rejected),
        (422, Outcome::Rejected),
        (429, Outcome::Throttled),
        (500, Outcome::Server),
        (503, Outcome::Server),
    ] {
        let (endpoint, _requests) = gateway(status).await;
        let report = send(&parse(&json!({"endpoint": endpoint})), &event(Some(b"{}"))).await;
        assert_eq!((report.outcome, report.status), (expected, Some(status)));
        assert_eq!(report.dead_letter, None);
    }
}

#[tokio::test]
async fn an_oversize_event_is_not_sent() {
    let (endpoint, mut requests) = gateway(200).await;
    let sink = parse(&json!({"endpoint": endpoint}));
    let mut large = event(None);
    large.body = Some(vec![b' '; BODY_MAX + 1].into());
    let report = send(&sink, &large).await;
    assert_eq!(report.dead_letter, Some(DeadLetterReason::Oversize));
    assert!(report.error.expect("words").contains("10485760"));
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn an_endpoint_that_is_not_allowed_gets_nothing() {
    let sink = parse(&json!({"endpoint": "https://10.0.0.1/v1/publish"}));
    let fault = sink.check_egress(&guard(&settings())).expect_err("private");
    assert_eq!(fault.pointer, "/sink/endpoint");
    let report = send(&sink, &event(Some(b"{}"))).await;
    assert_eq!(report.outcome, Outcome::Refused);
}

#[test]
fn documents_are_taken_and_each_mistake_is_named_with_its_field() {
    for (fields, expected) in [
        (json!({}), None),
        (json!({"endpoint": null, "headers": null, "timeout": "5s", "cloudevents": null}), None),
        (json!({"source": null}), Some("/sink/source: is missing")),
        (json!({"source": "my orders"}), Some("/sink/source: is no name of a source")),
        (json!({"source": ""}), Some("/sink/source: is no name of a source")),
        (json!({"api_key": null}), Some("/sink/api_key: is missing")),
        (json!({"api_key": "c4nary\n"}), Some("/sink/api_key: is empty, too long")),
        (json!({"endpoint": "ftp://example.com"}), Some("/sink/endpoint")),
        (json!({"headers": {"Authorization": "c4nary"}}), Some("/sink/headers/Authorization: `authorization` is set")),
        (json!({"headers": {"x-hookdeck-source-id": "x"}}), Some("/sink/headers/x-hookdeck-source-id")),
        (json!({"headers": {"Event-Id": "x"}}), Some("/sink/headers/Event-Id")),
        (json!({"headers": {"host": "x"}}), Some("/sink/headers/host")),
        (json!({"timeout": 5}), Some("/sink/timeout: must be a string")),
        (json!({"url": "x"}), Some("/sink/url: is not known")),
    ] {
        let shown: Vec<String> = faults(&fields)
            .iter()
            .map(|fault| format!("{}: {}", fault.pointer, fault.message))
            .collect();
        match expected {
            None => assert!(shown.is_empty(), "{fields}: {shown:?}"),
            Some(expected) => assert!(shown.len() == 1 && shown[0].starts_with(expected), "{shown:?}"),
        }
        assert!(!shown.concat().contains("c4nary"));
    }
}

#[test]
fn the_schema_has_the_fields_that_are_read() {
    let schema = super::schema().to_value();
    let names: Vec<&String> = schema["properties"].as_object().expect("fields").keys().collect();
    let found = faults(&json!({"?": 1}));
    let known: Vec<&str> = found[0].message.split('`').skip(1).step_by(2).collect();
    assert_eq!(names, known);
}

#[test]
fn no_secret_is_shown() {
    let shown = format!("{:?}", parse(&json!({})));
    assert!(shown.contains("hkdk.events") && !shown.contains("c4nary"), "{shown}");
}
