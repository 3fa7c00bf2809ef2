use reqwest::header::HeaderMap;

use super::*;
use crate::sinks::cloudevents;
use crate::sinks::webhook::request::{Unsendable, headers};

fn built(
    document: Value,
    change: impl FnOnce(&mut Event, &mut Outgoing<'_>),
) -> Result<HeaderMap, Unsendable> {
    let mut document = document;
    document["url"] = json!("https://example.com/hooks");
    let destination = DestinationId::parse("acme/hooks").expect("id");
    let mut event = event(Some(b"{}"));
    let blank = event.clone();
    let mut outgoing = outgoing(&blank, &destination);
    change(&mut event, &mut outgoing);
    let outgoing = Outgoing {
        event: &event,
        ..outgoing
    };
    let webhook = webhook(document);
    let rendered = cloudevents::render(webhook.cloudevents, &event).expect("an event");
    headers(&webhook, &outgoing, &rendered)
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers.get(name).map(|value| value.as_bytes())
}

#[test]
fn the_attempt_and_the_replay_are_told() {
    let headers = built(json!({}), |_, outgoing| {
        outgoing.attempt = 3;
        outgoing.replay = Some("repair_20260131080000");
    })
    .expect("headers");
    assert_eq!(value(&headers, "webhook-attempt"), Some(&b"3"[..]));
    assert_eq!(
        value(&headers, "webhook-replay"),
        Some(&b"repair_20260131080000"[..])
    );
    assert_eq!(value(&headers, "webhook-signature"), None);
}

#[test]
fn the_content_type_is_the_event_s_unless_the_destination_sets_one() {
    for (declared, document, expected) in [
        ("application/json", json!({}), "application/json"),
        (
            "text/plain; charset=utf-8",
            json!({}),
            "text/plain; charset=utf-8",
        ),
        ("", json!({}), "application/octet-stream"),
        ("text/\nplain", json!({}), "application/octet-stream"),
        (
            "text/plain",
            json!({"headers": {"Content-Type": "application/xml"}}),
            "application/xml",
        ),
    ] {
        let headers =
            built(document, |event, _| event.content_type = declared.into()).expect("headers");
        assert_eq!(
            value(&headers, "content-type"),
            Some(expected.as_bytes()),
            "{declared:?}"
        );
        assert_eq!(headers.get_all("content-type").iter().count(), 1);
    }
}

#[test]
fn identities_are_sent_as_they_are_and_never_break_the_head() {
    let headers =
        built(json!({}), |event, _| event.id = "m\u{fc}-\u{2603}".into()).expect("headers");
    assert_eq!(
        value(&headers, "webhook-id"),
        Some("m\u{fc}-\u{2603}".as_bytes())
    );
    for text in ["a\nb", "a\r\nx: y", "a\0", "a\u{7f}"] {
        assert!(
            built(json!({}), |event, _| event.id = text.into()).is_err(),
            "{text:?}"
        );
        assert!(
            built(json!({}), |event, _| event.event_type = text.into()).is_err(),
            "{text:?}"
        );
        assert!(
            built(json!({}), |_, outgoing| outgoing.replay = Some(text)).is_err(),
            "{text:?}"
        );
    }
}

#[test]
fn each_secret_signs_until_it_expires() {
    let secret = |byte: &str| format!("whsec_{}", byte.repeat(32));
    let document = json!({"signing": {"secrets": [
        {"secret": secret("a")},
        {"secret": secret("b"), "expires_at": "2026-01-31T08:00:00.250Z"},
        {"secret": secret("c"), "expires_at": "2026-01-31T09:00:00.251+01:00"},
        {"secret": secret("d"), "expires_at": "1999-01-01T00:00:00Z"},
        {"secret": secret("e"), "expires_at": null}
    ]}});
    let headers = built(document, |_, _| {}).expect("headers");
    let expected: Vec<String> = ["a", "c", "e"]
        .map(|byte| {
            let secret = crate::domain::secret::Secret::new(secret(byte));
            let key = crate::domain::signature::SigningKey::parse(&secret).expect("key");
            key.sign("msg_1", 1_769_846_400, b"{}")
        })
        .into();
    assert_eq!(
        value(&headers, "webhook-signature"),
        Some(expected.join(" ").as_bytes())
    );
}

#[test]
fn a_destination_may_choose_its_user_agent() {
    let headers = built(json!({"headers": {"User-Agent": "shop/1"}}), |_, _| {}).expect("headers");
    assert_eq!(value(&headers, "user-agent"), Some(&b"shop/1"[..]));
}

#[test]
fn credentials_are_sensitive_headers() {
    for (auth, name, expected) in [
        (
            json!({"type": "basic", "username": "us", "password": "p:w"}),
            "authorization",
            "Basic dXM6cDp3",
        ),
        (
            json!({"type": "bearer", "token": "abc"}),
            "authorization",
            "Bearer abc",
        ),
        (
            json!({"type": "api_key", "header": "X-Key", "value": "k e y"}),
            "x-key",
            "k e y",
        ),
    ] {
        let headers = built(json!({"auth": auth}), |_, _| {}).expect("headers");
        assert_eq!(value(&headers, name), Some(expected.as_bytes()));
        assert!(headers[name].is_sensitive());
    }
    let headers = built(json!({"auth": {"type": "none"}}), |_, _| {}).expect("headers");
    assert_eq!(value(&headers, "authorization"), None);
}

#[test]
fn a_cloud_event_in_binary_mode_has_its_attributes_in_headers() {
    let headers = built(json!({"cloudevents": "binary"}), |event, _| {
        event.id = "m 1%".into();
        event.content_type = "text/plain".into();
    })
    .expect("headers");
    for (name, expected) in [
        ("ce-specversion", "1.0"),
        ("ce-id", "m%201%25"),
        ("ce-source", "/topics/orders"),
        ("ce-type", "order.paid"),
        ("ce-time", "2026-01-31T08:00:00.25Z"),
        ("content-type", "text/plain"),
        ("webhook-id", "m 1%"),
    ] {
        assert_eq!(value(&headers, name), Some(expected.as_bytes()), "{name}");
    }
}

#[test]
fn a_cloud_event_in_structured_mode_has_its_media_type() {
    let headers = built(json!({"cloudevents": "structured"}), |_, _| {}).expect("headers");
    assert_eq!(
        value(&headers, "content-type"),
        Some(&b"application/cloudevents+json"[..])
    );
    assert_eq!(value(&headers, "ce-id"), None);
}

#[test]
fn the_hops_are_told_and_cannot_be_chosen() {
    let headers = built(json!({}), |event, _| event.hops = 7).expect("headers");
    assert_eq!(value(&headers, "posthaste-hops"), Some(&b"8"[..]));
    let sink = json!({"type": "webhook", "url": "https://example.com/", "headers": {"Posthaste-Hops": "0"}});
    assert!(Webhook::parse(&sink, &settings()).is_err());
}
