use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: i64 = 1_800_000_000_000;

fn source(settings: serde_json::Value) -> Source {
    serde_json::from_value(settings).expect("settings of a source")
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs
        .iter()
        .map(|(name, value)| {
            (
                Box::from(*name),
                Some(Bytes::copy_from_slice(value.as_bytes())),
            )
        })
        .collect()
}

fn record(header: &[(&str, &str)], value: &str) -> RawRecord {
    RawRecord {
        topic: "orders".into(),
        partition: 3,
        offset: 1042,
        timestamp_ms: 1_767_225_600_000,
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: headers(header),
    }
}

fn read(settings: serde_json::Value, record: &RawRecord) -> Result<Event, Malformed> {
    SourceReader::new("orders", &source(settings)).read(record, NOW)
}

fn problem(settings: serde_json::Value, record: &RawRecord) -> String {
    read(settings, record).expect_err("malformed").detail
}

/// Id, type, tenant and time.
fn identity(event: &Event) -> (&str, &str, &str, i64) {
    (
        &event.id,
        &event.event_type,
        event.tenant.as_str(),
        event.time_ms,
    )
}

#[test]
fn an_event_that_says_nothing_is_named_after_its_place() {
    let event = read(json!({}), &record(&[], "not JSON")).expect("nothing asks");
    assert_eq!(
        identity(&event),
        (
            "orders-3-1042-1767225600000",
            "orders",
            "default",
            1_767_225_600_000
        )
    );
    assert_eq!((event.hops, &*event.content_type), (0, "application/json"));
    let bytes = read(json!({"format": "bytes"}), &record(&[], "\0")).expect("nothing asks");
    assert_eq!(&*bytes.content_type, "application/octet-stream");
}

#[test]
fn a_record_without_timestamp_happened_when_it_was_read() {
    let mut record = record(&[], "");
    record.timestamp_ms = -1;
    let event = read(json!({}), &record).expect("nothing asks");
    assert_eq!((&*event.id, event.time_ms), ("orders-3-1042--1", NOW));
}

#[test]
fn the_longest_topic_name_still_gives_an_id_of_256_bytes() {
    let topic = format!("a{}", "x".repeat(248));
    let mut long = record(&[], "");
    long.topic = topic.as_str().into();
    let event = SourceReader::new(&topic, &source(json!({})))
        .read(&long, NOW)
        .expect("nothing asks");
    assert_eq!(event.id.len(), 256);
    assert!(event.id.ends_with("x-3-1042-1767225600000"));
    assert_eq!(*event.event_type, *topic);
}

#[test]
fn the_first_that_is_present_wins() {
    let pointers = json!({"id": "/i", "type": "/t/0", "time": "/at", "tenant": "/who"});
    let body = r#"{"i": 7, "t": ["x"], "at": "2026-01-31T08:00:00.5+01:00", "who": "body"}"#;
    let by_body = ("7", "x", "body", 1_769_842_800_500);
    for (header, expected) in [
        (vec![], by_body),
        (
            vec![("event-id", "e"), ("event-type", "t")],
            ("e", "t", "body", by_body.3),
        ),
        (
            vec![("event-id", "e"), ("ce_id", "c"), ("ce_id", "d")],
            ("c", "x", "body", by_body.3),
        ),
        (
            vec![
                ("event-type", "t"),
                ("ce_type", "c"),
                ("tenant", "head"),
                ("ce_time", "1970-01-01T00:00:01Z"),
            ],
            ("7", "c", "head", 1000),
        ),
    ] {
        let event = read(pointers.clone(), &record(&header, body)).expect(body);
        assert_eq!(identity(&event), expected, "{header:?}");
    }
}

#[test]
fn the_body_is_parsed_only_where_no_header_answers() {
    let pointers = json!({"id": "/id", "tenant": "/tenant"});
    let answered = record(&[("event-id", "e"), ("tenant", "acme")], "not JSON");
    let event = read(pointers.clone(), &answered).expect("headers answer");
    assert_eq!((&*event.id, event.tenant.as_str()), ("e", "acme"));
    assert_eq!(
        problem(pointers.clone(), &record(&[("event-id", "e")], "not JSON")),
        "the value is not JSON (expected ident at line 1 column 2), but the source's `tenant` is at `/tenant` in it"
    );
    let mut null = answered;
    null.value = None;
    assert_eq!(
        read(pointers.clone(), &null).expect("headers answer").body,
        None
    );
    null.headers.clear();
    assert_eq!(
        problem(pointers, &null),
        "the value is null, but the source's `id` is at `/id` in it"
    );
}

#[test]
fn ids_are_taken_as_they_are_written() {
    let pointer = json!({"id": "/id"});
    for (id, expected) in [
        (r#""plain""#, "plain"),
        (r#""\u00e9\n\"x\"""#, ""),
        (r#""\u00e9\"x\"""#, "é\"x\""),
        ("1.50", "1.50"),
        ("-0", "-0"),
        (
            "123456789012345678901234567890",
            "123456789012345678901234567890",
        ),
        ("1e400", "1e400"),
    ] {
        let body = format!(r#" {{"id": {id} , "x": [1]}} "#);
        match read(pointer.clone(), &record(&[], &body)) {
            Ok(event) => assert_eq!(&*event.id, expected),
            Err(error) => assert_eq!(
                (expected, &*error.detail),
                (
                    "",
                    "`/id` in the body, the event's id, holds control characters"
                )
            ),
        }
    }
}

#[test]
fn what_a_pointer_may_not_find_is_named() {
    let pointer = json!({"id": "/a/id"});
    for (body, expected) in [
        (
            "{}",
            "`/a/id` in the body is nothing, but the source's `id` is there",
        ),
        (
            r#"{"a": [1]}"#,
            "`/a/id` in the body is nothing, but the source's `id` is there",
        ),
        (
            r#"{"a": {"id": null}}"#,
            "`/a/id` in the body is null, allowed is a string or a number",
        ),
        (
            r#"{"a": {"id": true}}"#,
            "`/a/id` in the body is a boolean, allowed is a string or a number",
        ),
        (
            r#"{"a": {"id": {}}}"#,
            "`/a/id` in the body is an object, allowed is a string or a number",
        ),
        (
            r#"{"a": {"id": [1]}}"#,
            "`/a/id` in the body is an array, allowed is a string or a number",
        ),
        (
            r#"{"a": {"id": ""}}"#,
            "`/a/id` in the body, the event's id, is empty",
        ),
        (
            r#"{"a": {"id": "\ud800"}}"#,
            "`/a/id` in the body is no text: unexpected end of hex escape at line 1 column 8",
        ),
    ] {
        assert_eq!(
            problem(pointer.clone(), &record(&[], body)),
            expected,
            "{body}"
        );
    }
}

#[test]
fn headers_must_have_their_form() {
    let long = "x".repeat(257);
    for (header, expected) in [
        (("ce_id", ""), "header `ce_id`, the event's id, is empty"),
        (
            ("event-type", &*long),
            "header `event-type`, the event's type, has 257 bytes, at most 256 are allowed",
        ),
        (
            ("event-type", "a\u{85}b"),
            "header `event-type`, the event's type, holds control characters",
        ),
        (
            ("tenant", "Acme"),
            "header `tenant` names no tenant: tenant `Acme` is not of the form [a-z0-9_-]{1,64}",
        ),
        (
            ("tenant", ""),
            "header `tenant` names no tenant: tenant `` is not of the form [a-z0-9_-]{1,64}",
        ),
        (
            ("ce_time", "yesterday"),
            "header `ce_time` is no time; allowed is RFC 3339 like `2026-01-31T08:00:00Z`, or milliseconds since 1970",
        ),
        (
            ("posthaste-hops", "many"),
            "header `posthaste-hops` is not a number",
        ),
        (
            ("posthaste-hops", ""),
            "header `posthaste-hops` is not a number",
        ),
        (
            ("content-type", "text/plain\r\nx: y"),
            "header `content-type` is no media type: at most 256 printable ASCII characters are allowed",
        ),
    ] {
        assert_eq!(problem(json!({}), &record(&[header], "")), expected);
    }
    let x256 = "é".repeat(128);
    let event = read(json!({}), &record(&[("ce_id", &x256)], "")).expect("256 bytes");
    assert_eq!(*event.id, *x256);
}

#[test]
fn null_and_invalid_utf8_are_refused_where_identity_hangs_on_them() {
    for name in [
        "ce_id",
        "event-id",
        "ce_type",
        "event-type",
        "ce_time",
        "tenant",
        "posthaste-hops",
    ] {
        let mut record = record(&[], "");
        record.headers = vec![(name.into(), None)];
        assert_eq!(
            problem(json!({}), &record),
            format!("header `{name}` is null")
        );
        record.headers = vec![(name.into(), Some(Bytes::from_static(b"a\xff")))];
        assert_eq!(
            problem(json!({}), &record),
            format!("header `{name}` is not UTF-8: invalid utf-8 sequence of 1 bytes from index 1")
        );
    }
    let mut other = record(&[], "");
    other.key = Some(Bytes::from_static(b"\xff"));
    other.headers = vec![
        ("content-type".into(), None),
        ("mine".into(), None),
        ("mine".into(), Some(Bytes::from_static(b"\xff"))),
    ];
    let event = read(json!({}), &other).expect("nobody reads these");
    assert_eq!(&*event.content_type, "application/json");
    assert_eq!((event.key, event.headers), (other.key, other.headers));
}

#[test]
fn hops_are_the_most_that_any_header_says() {
    for (header, hops) in [
        (vec![("posthaste-hops", "0")], 0),
        (
            vec![
                ("posthaste-hops", "2"),
                ("posthaste-hops", "7"),
                ("posthaste-hops", "1"),
            ],
            7,
        ),
        (vec![("posthaste-hops", "255")], 255),
        (vec![("posthaste-hops", "99999999999999999999999")], 255),
    ] {
        let event = read(json!({}), &record(&header, "")).expect("numbers");
        assert_eq!(event.hops, hops, "{header:?}");
    }
}

#[test]
fn cloud_events_are_read_in_both_modes() {
    let structured = r#"{"specversion":"1.0","id":"s","source":"/x","type":"order.paid",
        "time":"2026-01-31T08:00:00Z","data":{"id":"inner"}}"#;
    let plain = ("content-type", "application/cloudevents+json");
    let with_parameters = (
        "content-type",
        "Application/CloudEvents+JSON ; charset=utf-8",
    );
    let at = 1_769_846_400_000;
    for format in ["json", "cloudevents"] {
        for content_type in [plain, with_parameters] {
            let record = record(&[content_type], structured);
            let event = read(json!({"format": format}), &record).expect("structured");
            assert_eq!(identity(&event), ("s", "order.paid", "default", at));
            assert_eq!(&*event.content_type, content_type.1);
            assert_eq!(event.body, record.value);
        }
        let header = [
            ("ce_specversion", "1.0"),
            ("ce_id", "b"),
            ("ce_type", "order.sent"),
            ("ce_time", "2026-01-31T08:00:00Z"),
            ("content-type", "application/xml"),
        ];
        let event = read(json!({"format": format}), &record(&header, "<x/>")).expect("binary");
        assert_eq!(identity(&event), ("b", "order.sent", "default", at));
        assert_eq!(&*event.content_type, "application/xml");
    }
    let opaque = read(json!({"format": "bytes"}), &record(&[plain], "not JSON"));
    assert_eq!(
        &*opaque.expect("bytes are opaque").id,
        "orders-3-1042-1767225600000"
    );
}

#[test]
fn pointers_fill_what_a_structured_cloud_event_does_not_say() {
    let settings = json!({"time": "/data/at", "tenant": "/data/owner", "id": "/data/id"});
    let body = r#"{"id":"s","type":"t","time":null,"data":{"at":5,"owner":"acme","id":"inner"}}"#;
    let record = record(&[("content-type", "application/cloudevents+json")], body);
    let event = read(settings, &record).expect("structured");
    assert_eq!(identity(&event), ("s", "t", "acme", 5));
}

#[test]
fn what_is_no_cloud_event_is_refused_where_they_are_expected() {
    let only = json!({"format": "cloudevents"});
    for header in [
        &[][..],
        &[("ce_id", "x")],
        &[("event-id", "x"), ("event-type", "y")],
        &[("content-type", "application/cloudevents-batch+json")],
    ] {
        let detail = problem(only.clone(), &record(header, "{}"));
        assert!(detail.starts_with("no CloudEvent: "), "{detail}");
    }
    let structured = [("content-type", "application/cloudevents+json")];
    for (header, body, expected) in [
        (
            &[("ce_specversion", "1.0")][..],
            "",
            "the CloudEvent has no `id`",
        ),
        (
            &[("ce_specversion", "1.0"), ("ce_id", "x")],
            "",
            "the CloudEvent has no `type`",
        ),
        (&structured, r#"{"id":"x"}"#, "the CloudEvent has no `type`"),
        (
            &structured,
            r#"{"id":"x","type":{}}"#,
            "attribute `type` of the CloudEvent is an object, allowed is a string or a number",
        ),
        (
            &structured,
            "<x/>",
            "the value is not JSON (expected value at line 1 column 1), but it is a structured CloudEvent, whose `id` is in it",
        ),
    ] {
        assert_eq!(problem(only.clone(), &record(header, body)), expected);
    }
    assert_eq!(
        problem(json!({}), &record(&structured, r#"{"type":"t"}"#)),
        "the CloudEvent has no `id`"
    );
}

#[test]
fn times_are_rfc_3339_or_milliseconds() {
    for (text, expected) in [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("1969-12-31T23:59:59.9999Z", Some(-1)),
        (
            "2026-01-31t08:00:00.123456789+00:00",
            Some(1_769_846_400_123),
        ),
        ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
        ("0", Some(0)),
        ("-1", Some(-1)),
        ("1769846400123.75", Some(1_769_846_400_123)),
        ("1769846400123456", None),
        ("9223372036854775807", None),
        ("1.7e12", None),
        ("1.7e", None),
        ("", None),
        ("2026-01-31", None),
        ("2026-01-31 08:00", None),
        ("2026-02-30T08:00:00Z", None),
    ] {
        assert_eq!(time_ms(text), expected, "{text}");
    }
}

#[test]
fn an_event_made_from_a_view_equals_the_one_read_whole() {
    let reader = SourceReader::new("orders", &source(json!({"type": "/t"})));
    for empty in [false, true] {
        let mut record = record(&[("a", "1"), ("ph", ""), ("a", "22")], r#"{"t":"x"}"#);
        record.headers.push(("null".into(), None));
        record.key = Some(Bytes::from_static(b"\xff\xfe"));
        if empty {
            record.key = None;
            record.headers.clear();
        }
        let views = record.header_views();
        let view = record.view(&views);
        let event = reader.metadata(&view, NOW).expect("JSON").into_event(&view);
        assert_eq!(event, reader.read(&record, NOW).expect("JSON"));
        assert_eq!(event.body, record.value);
        assert_eq!(event.headers, record.headers);
    }
}

proptest! {
    #[test]
    fn no_record_makes_the_reader_panic(
        names in prop::collection::vec(
            "ce_id|ce_type|ce_time|tenant|content-type|posthaste-hops|ce_specversion",
            0..4,
        ),
        values in prop::collection::vec(
            prop::option::of(prop_oneof![
                "application/cloudevents\\+json|\\PC{0,9}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..9),
            ]),
            4,
        ),
        body in prop::option::of(prop_oneof![
            "[\\[\\]{}\",:a0-9. nultrefids-]{0,30}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..30),
        ]),
        timestamp_ms in any::<i64>(),
    ) {
        let mut record = record(&[], "");
        record.timestamp_ms = timestamp_ms;
        record.value = body.map(Bytes::from);
        record.headers = names
            .into_iter()
            .zip(values)
            .map(|(name, value)| (name.into(), value.map(Bytes::from)))
            .collect();
        for settings in [
            json!({"id": "/id", "time": "/a"}),
            json!({"format": "cloudevents", "tenant": ""}),
            json!({"format": "bytes"}),
        ] {
            if let Ok(event) = read(settings, &record) {
                prop_assert!((1..=TEXT_MAX).contains(&event.id.len()));
                prop_assert!((1..=TEXT_MAX).contains(&event.event_type.len()));
                prop_assert_eq!(&event.body, &record.value);
                prop_assert_eq!(&event.headers, &record.headers);
            }
        }
    }
}
