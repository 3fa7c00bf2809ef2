use serde_json::json;

use super::*;
use crate::sinks::fields::Faults;
use crate::sinks::tests::event;

/// The event of the tests with this body, media type and headers.
fn of(body: Option<&'static [u8]>, content_type: &str, headers: &[(&str, &str)]) -> Event {
    let mut event = event(body);
    event.content_type = content_type.into();
    event.headers = headers
        .iter()
        .map(|(name, value)| {
            let value = Bytes::copy_from_slice(value.as_bytes());
            (Box::from(*name), Some(value))
        })
        .collect();
    event
}

fn lines(rendered: &Rendered<'_>) -> Vec<String> {
    let line = |(name, value): &Attribute<'_>| format!("{name}={value}");
    rendered.attributes.iter().map(line).collect()
}

fn json_of(rendered: &Rendered<'_>) -> Value {
    serde_json::from_slice(rendered.body.as_deref().expect("a body")).expect("JSON")
}

#[test]
fn without_a_mode_nothing_changes() {
    for body in [None, Some(&b"\x00\xff"[..])] {
        let event = of(body, "text/plain", &[("ce_id", "x")]);
        let rendered = render(Mode::Off, &event).expect("an event");
        assert_eq!(rendered.content_type, "text/plain");
        assert_eq!(rendered.body.as_deref(), body);
        assert!(rendered.attributes.is_empty());
    }
}

#[test]
fn in_binary_mode_the_attributes_stand_beside_the_bytes() {
    let event = of(Some(b"\x00\xff"), "image/png", &[("trace", "1")]);
    let rendered = render(Mode::Binary, &event).expect("an event");
    assert_eq!(rendered.content_type, "image/png");
    assert_eq!(rendered.body.as_deref(), Some(&b"\x00\xff"[..]));
    assert_eq!(
        lines(&rendered),
        [
            "specversion=1.0",
            "id=msg_1",
            "source=/topics/orders",
            "type=order.paid",
            "time=2026-01-31T08:00:00.25Z",
        ]
    );
}

#[test]
fn what_a_binary_cloud_event_says_itself_is_kept() {
    let headers = [
        ("ce_source", "//shop"),
        ("ce_subject", "o-1"),
        ("ce_subject", "o-2"),
        ("ce_datacontenttype", "text/xml"),
        ("ce_Upper", "no"),
        ("ce_", "no"),
        ("ce_id", "another"),
    ];
    let event = of(Some(b"<a/>"), "text/xml", &headers);
    for (mode, expected) in [
        (Mode::Binary, "source=//shop subject=o-1"),
        (
            Mode::Structured,
            "source=//shop subject=o-1 datacontenttype=text/xml",
        ),
    ] {
        let rendered = render(mode, &event).expect("an event");
        let told = match mode {
            Mode::Structured => json_of(&rendered)
                .as_object()
                .expect("an object")
                .iter()
                .filter(|(name, _)| *name != "data_base64")
                .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
                .collect(),
            _ => lines(&rendered),
        };
        let all =
            "specversion=1.0 id=msg_1 SOURCE type=order.paid time=2026-01-31T08:00:00.25Z REST";
        let (source, rest) = expected.split_once(' ').expect("two parts");
        assert_eq!(
            told.join(" "),
            all.replace("SOURCE", source).replace("REST", rest)
        );
    }
}

#[test]
fn in_structured_mode_json_stands_as_it_is_and_all_else_in_base64() {
    let raw: &[u8] = b" {\"n\": 1.00, \"n\":1e400} ";
    for (content_type, body, member, expected) in [
        (
            "application/json",
            raw,
            "data",
            "{\"n\": 1.00, \"n\":1e400}",
        ),
        ("application/vnd.a+json; v=1", b"[1]", "data", "[1]"),
        ("application/json", b"{", "data_base64", "\"ew==\""),
        ("application/json", b"", "data_base64", "\"\""),
        ("text/plain", b"{}", "data_base64", "\"e30=\""),
        ("", b"\xff", "data_base64", "\"/w==\""),
    ] {
        let event = of(Some(body), content_type, &[]);
        let rendered = render(Mode::Structured, &event).expect("an event");
        assert_eq!(rendered.content_type, STRUCTURED);
        assert!(rendered.attributes.is_empty());
        let text = String::from_utf8(rendered.body.expect("a body").to_vec()).expect("UTF-8");
        let end = format!(",\"{member}\":{expected}}}");
        assert!(text.ends_with(&end), "{text} ends with {end}");
        let head = text.replace(&end, "}");
        let head: Value = serde_json::from_str(&head).expect("JSON");
        let declared = head.get("datacontenttype").and_then(Value::as_str);
        assert_eq!(declared.unwrap_or_default(), content_type);
    }
}

#[test]
fn a_null_body_has_no_data() {
    let event = of(None, "application/json", &[]);
    let rendered = render(Mode::Structured, &event).expect("an event");
    let envelope = json_of(&rendered);
    assert!(envelope.get("data").is_none() && envelope.get("data_base64").is_none());
    let rendered = render(Mode::Binary, &event).expect("an event");
    assert_eq!(rendered.body, None);
}

#[test]
fn a_structured_cloud_event_passes_as_it_is_or_is_taken_apart() {
    let body = br#"{ "specversion":"1.0","id":"msg_1","source":"//shop","type":"order.paid",
        "subject":"o-1","count":3,"gone":null,"data":{"n": 1.00} }"#;
    let event = of(
        Some(body),
        "application/cloudevents+json; charset=utf-8",
        &[],
    );
    let rendered = render(Mode::Structured, &event).expect("an event");
    assert_eq!(rendered.body.as_deref(), Some(&body[..]));
    assert_eq!(rendered.content_type, &*event.content_type);

    let rendered = render(Mode::Binary, &event).expect("an event");
    assert_eq!(rendered.content_type, "application/json");
    assert_eq!(rendered.body.as_deref(), Some(&b"{\"n\": 1.00}"[..]));
    assert_eq!(
        lines(&rendered)[2..],
        [
            "source=//shop",
            "type=order.paid",
            "time=2026-01-31T08:00:00.25Z",
            "count=3",
            "subject=o-1",
        ]
    );
}

#[test]
fn data_that_are_not_json_are_taken_out_of_a_text_or_base64() {
    for (members, content_type, expected) in [
        (
            r#""datacontenttype":"text/plain","data":"a\nb""#,
            "text/plain",
            Some(&b"a\nb"[..]),
        ),
        (r#""data":"a""#, "application/json", Some(b"\"a\"")),
        (
            r#""datacontenttype":"image/png","data_base64":"AP8=""#,
            "image/png",
            Some(b"\x00\xff"),
        ),
        (r#""datacontenttype":"text/plain""#, "text/plain", None),
    ] {
        let body: &'static str = format!("{{{members}}}").leak();
        let event = of(Some(body.as_bytes()), STRUCTURED, &[]);
        let rendered = render(Mode::Binary, &event).expect("an event");
        assert_eq!(rendered.content_type, content_type);
        assert_eq!(rendered.body.as_deref(), expected, "{members}");
    }
}

#[test]
fn an_envelope_that_cannot_be_taken_off_is_malformed() {
    for body in [
        &b"{"[..],
        b"[]",
        br#"{"data_base64":"*"}"#,
        br#"{"data_base64":{}}"#,
        br#"{"subject":[]}"#,
    ] {
        let event = of(Some(body), STRUCTURED, &[]);
        let malformed = render(Mode::Binary, &event).expect_err("malformed");
        assert!(malformed.0.contains("structured CloudEvent"));
    }
    let event = of(None, STRUCTURED, &[]);
    assert!(render(Mode::Binary, &event).is_err());
}

#[test]
fn http_values_are_percent_encoded() {
    for (value, expected) in [
        ("//shop/1", "//shop/1"),
        ("a b", "a%20b"),
        ("100%\"", "100%25%22"),
        ("\u{20ac}\n", "%E2%82%AC%0A"),
    ] {
        assert_eq!(http_value(value), expected);
    }
}

#[test]
fn the_mode_is_read_and_a_wrong_one_named() {
    for (value, expected, faults) in [
        (json!({}), Mode::Off, 0),
        (json!({"cloudevents": null}), Mode::Off, 0),
        (json!({"cloudevents": "binary"}), Mode::Binary, 0),
        (json!({"cloudevents": "structured"}), Mode::Structured, 0),
        (json!({"cloudevents": "Binary"}), Mode::Off, 1),
        (json!({"cloudevents": true}), Mode::Off, 1),
    ] {
        let found = Faults::default();
        let mut fields = Fields::open("/sink".to_owned(), &value, &found).expect("an object");
        assert_eq!(mode(&mut fields), expected, "{value}");
        fields.close();
        let found = found.into_vec();
        assert_eq!(found.len(), faults, "{found:?}");
        assert!(
            found
                .iter()
                .all(|fault| fault.pointer == "/sink/cloudevents")
        );
    }
}
