//! Documents of destinations: which are taken, and what is said of the others.

use serde_json::{Value, json};

use super::{BYTES_MAX, DEPTH_MAX, parse, parse_document};
use crate::config::defaults;
use crate::config::faults::Fault;
use crate::domain::destination::{BackoffKind, DeliveryPolicy, Destination, RetryPolicy, Scope};
use crate::domain::filter::Dialect;
use crate::domain::filter::json::Document;

fn read(document: &Value) -> Result<Destination, Vec<Fault>> {
    let value = document.to_string();
    parse_document(value.as_bytes(), &|topic| topic == "orders", &defaults())
}

fn faults(document: &Value) -> Vec<String> {
    let faults = read(document).expect_err("wrong");
    faults.iter().map(ToString::to_string).collect()
}

fn minimal() -> Value {
    json!({"id": "orders", "sink": {"type": "webhook", "url": "https://example.com/hooks"}})
}

/// [`minimal`] with `value` at the JSON pointer of `key`.
fn with(key: &str, value: Value) -> Value {
    let mut document = minimal();
    document
        .as_object_mut()
        .expect("an object")
        .insert(key.to_owned(), value);
    document
}

/// A document with every field, each at its default or asking for nothing.
pub(super) fn full() -> Value {
    json!({
        "tenant": "default",
        "id": "orders",
        "description": "", "metadata": {"team": "a"},
        "enabled": true,
        "sink": {"type": "webhook", "url": "https://example.com/hooks", "signing": {"secret": "whsec_x"}, "timeout": "20s"},
        "subscriptions": [
            {"id": "paid", "topics": ["orders"], "event_types": ["order.*", "**", "*"],
             "filter": {"dialect": "eventbridge", "scope": "body", "rule": {"state": ["paid"]}}},
            {},
        ],
        "delivery": {"concurrency": 8, "rate": null, "ordering": "none"},
        "retry": {"policy": "exponential", "initial": "5s", "multiplier": 2, "max_delay": "12h", "jitter": 0.2,
                  "max_attempts": 16, "max_age": "72h", "rejected": "retry"},
        "circuit": {"enabled": false},
        "disable": {"enabled": false},
        "monitor": null,
        "alerts": {"channels": []},
    })
}

#[test]
fn what_is_left_out_has_its_default() {
    let destination = read(&minimal()).expect("valid");
    assert_eq!(destination.id.as_str(), "default/orders");
    assert!(destination.enabled && destination.subscriptions.is_none());
    assert_eq!(destination.delivery, DeliveryPolicy::default());
    assert_eq!(destination.retry, RetryPolicy::default());

    let full = read(&full()).expect("valid");
    assert_eq!(full.delivery, DeliveryPolicy::default());
    assert_eq!(full.retry, RetryPolicy::default());
    assert_eq!(full.subscriptions.map(|all| all.len()), Some(2));
}

#[test]
fn policies_may_be_a_schedule_and_a_destination_may_be_paused() {
    let mut document = with(
        "retry",
        json!({"policy": "schedule", "delays": ["5s", "1m"]}),
    );
    document["enabled"] = json!(false);
    let destination = read(&document).expect("valid");
    assert!(!destination.enabled);
    assert_eq!(destination.retry.policy, BackoffKind::Schedule);
    assert_eq!(destination.retry.delays.map(|delays| delays.len()), Some(2));
    // A schedule does not ask for `initial`.
    let retry = json!({"policy": "schedule", "delays": ["0s"], "max_delay": "1s"});
    read(&with("retry", retry)).expect("valid");
}

#[test]
fn all_mistakes_of_a_document_are_named_at_once() {
    let document = json!({
        "tenant": "Acme",
        "id": "or ders",
        "metadata": {"a": 1},
        "enabled": "yes",
        "sink": {"url": "https://example.com"},
        "subscriptions": [
            7,
            {"id": "a", "topics": ["orders", "payments"], "event_types": ["a**", "ok"]},
            {"id": "a", "topic": ["orders"], "event_types": []},
        ],
        "delivery": {"concurrency": 0, "rate": "fast", "ordering": "key"},
        "retry": {"policy": "linear", "jitter": 1.5, "max_age": "30d", "max_attempts": "many"},
        "circuit": {"enabled": true},
        "alert": {},
    });
    let mut found = faults(&document);
    found.sort();
    let mut wanted = [
        "/delivery/ordering: \"ordering\": \"key\" is not supported yet; leave it out or write \"none\"",
        "/circuit: \"circuit\" is not supported yet; leave it out or write {\"enabled\":false}",
        "/metadata/a: found 1, expected a string",
        "/enabled: found \"yes\", expected `true` or `false`",
        "/subscriptions/0: found 7, expected an object",
        "/subscriptions/2/topic: there is no such field; did you mean `topics`?",
        "/delivery/rate: `fast` is not a rate; write it like `100/s`, `5/m` or `1000/h`",
        "/retry/policy: found \"linear\", expected \"exponential\" or \"schedule\"",
        "/retry/max_attempts: found \"many\", expected a whole number",
        "/alert: there is no such field; did you mean `alerts`?",
        "/sink/type: is required",
        "/subscriptions/1/topics/1: \"payments\" is not read under `sources`",
        "/subscriptions/1/event_types/0: the segment `a**` of the pattern `a**` has `**` beside other characters; `**` stands alone between dots, `*` is for a part of a segment",
        "/subscriptions/2/id: another subscription is called \"a\" too; one without id is called by its position",
        "/subscriptions/2/event_types: an empty list matches nothing; leave it out to match everything",
        "/delivery/concurrency: 0 is out of range; 1 to 1000 is allowed",
        "/retry/jitter: 1.5 is out of range; 0 to 1 is allowed",
        "/retry/max_age: 30d is out of range; 1ms to 7d is allowed (setting `retry.max_age_max`)",
        "/tenant: tenant `Acme` is not of the form [a-z0-9_-]{1,64}",
        "/id: destination id `or ders` is not of the form [A-Za-z0-9_-]{1,64}",
    ];
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}

#[test]
fn each_rule_of_documents_is_kept() {
    let many = |count: usize| {
        (0..count)
            .map(|n| (n.to_string(), json!("x")))
            .collect::<Value>()
    };
    let subscriptions = |count| json!(vec![json!({}); count]);
    for (document, message) in [
        (json!(5), "found 5, expected an object"),
        (json!([]), "found a list, expected an object"),
        (json!({}), "/id: is required|/sink: is required"),
        (
            with("sink", json!("webhook")),
            "/sink: this is not an object",
        ),
        (
            with("sink", json!({"type": 1})),
            "/sink/type: this is not a string",
        ),
        (
            with("metadata", many(33)),
            "/metadata: there are 33 entries",
        ),
        (
            with("subscriptions", subscriptions(257)),
            "/subscriptions: there are 257",
        ),
        (
            with("subscriptions", json!([{}, {"id": "0"}])),
            "/subscriptions/1/id: another subscription",
        ),
        (
            with("subscriptions", json!([{"id": ""}])),
            "/subscriptions/0/id: \"\" is not of the form",
        ),
        (
            with("subscriptions", json!([{"topics": []}])),
            "/subscriptions/0/topics: an empty list",
        ),
        (
            with("delivery", json!({"concurrency": 1001})),
            "/delivery/concurrency: 1001",
        ),
        (
            with("delivery", json!({"concurrency": -1})),
            "/delivery/concurrency: found -1, expected a whole number",
        ),
        (
            with("delivery", json!({"ordering": "total"})),
            "/delivery/ordering: found \"total\", expected \"none\"",
        ),
        (
            with("retry", json!({"multiplier": 0.5})),
            "/retry/multiplier: 0.5",
        ),
        (
            with("retry", json!({"initial": "0s"})),
            "/retry/initial: 0ms is too short",
        ),
        (
            with("retry", json!({"initial": "13h"})),
            "/retry/initial: 13h is longer than `max_delay`, which is 12h",
        ),
        (
            with("retry", json!({"max_attempts": 0})),
            "/retry/max_attempts: 0",
        ),
        (
            with("retry", json!({"max_age": "0s"})),
            "/retry/max_age: 0ms",
        ),
        (
            with("retry", json!({"policy": "schedule"})),
            "/retry/delays: is required",
        ),
        (
            with("retry", json!({"policy": "schedule", "delays": []})),
            "/retry/delays: there are 0",
        ),
        (
            with(
                "retry",
                json!({"policy": "schedule", "delays": vec!["1s"; 65]}),
            ),
            "/retry/delays: there are 65",
        ),
        (
            with("retry", json!({"delays": ["1s"]})),
            "/retry/delays: this needs the policy",
        ),
        (
            with("retry", json!({"rejected": "drop"})),
            "/retry/rejected: found \"drop\", expected \"retry\" or \"dead-letter\"",
        ),
        (
            with("disable", json!({"enabled": true, "after": 3})),
            "/disable: \"disable\" is not supported yet",
        ),
        (
            with("monitor", json!("health")),
            "/monitor: \"monitor\" is not supported yet",
        ),
        (
            with("alerts", json!({"channels": ["ops"]})),
            "/alerts: \"alerts\" is not supported yet",
        ),
        (
            with("description", json!("x".repeat(BYTES_MAX))),
            "the document has 262",
        ),
    ] {
        assert_eq!(
            faults(&document).len(),
            message.split('|').count(),
            "{:?}",
            faults(&document)
        );
        for (fault, message) in faults(&document).iter().zip(message.split('|')) {
            assert!(fault.starts_with(message), "{fault} should say {message}");
        }
    }
}

/// A document with a subscription for each of the filters.
fn filtering(filters: &[Value]) -> Value {
    let all = filters.iter().map(|filter| json!({"filter": filter}));
    with("subscriptions", all.collect())
}

#[test]
fn a_filter_is_compiled_from_the_text_of_the_document() {
    // Too large for an f64: the tree holds it rounded.
    let document = r#"{"id": "a", "sink": {"type": "webhook"}, "subscriptions": [
        {"filter": null},
        {"filter": {"dialect": "hookdeck", "rule": {"n": 1}}},
        {"filter": {"dialect": "eventbridge", "scope": "envelope", "rule": {"n": [12345678901234567891]}}}]}"#;
    let destination = parse_document(document.as_bytes(), &|_| true, &defaults()).expect("valid");
    let filters: Vec<_> = destination
        .subscriptions
        .into_iter()
        .flatten()
        .map(|subscription| subscription.filter)
        .collect();
    assert!(filters[0].is_none());
    let body = filters[1].as_ref().expect("a filter");
    assert_eq!(
        (body.scope, body.filter.dialect()),
        (Scope::Body, Dialect::Hookdeck)
    );
    let exact = filters[2].as_ref().expect("a filter");
    assert_eq!(exact.scope, Scope::Envelope);
    for (event, taken) in [
        (r#"{"n": 12345678901234567891}"#, true),
        (r#"{"n": 12345678901234567890}"#, false),
    ] {
        let event = Document::parse(event.as_bytes()).expect("JSON");
        assert_eq!(exact.filter.matches(event.root()), taken);
    }
}

#[test]
fn all_mistakes_of_all_filters_are_named_at_once_and_point_into_the_document() {
    let document = filtering(&[
        json!({"dialect": "eventbridge", "rule": {"a": [{"numeric": ["<", 5, ">", 1]}]}}),
        json!({"dialect": "sql", "scope": "headers", "rule": {"a": 1}, "when": 1}),
        json!({"dialect": "hookdeck"}),
        json!("state = 'paid'"),
        json!({"dialect": "shopify", "rule": "state:paid AND (", "scop": "body"}),
        json!({"dialect": "hookdeck", "rule": {"a/b": {"$foo": 1}}}),
        json!({"dialect": "eventbridge", "rule": {"a": "x"}}),
        json!({"dialect": "eventbridge", "scope": "envelope", "rule": {"type": ["order.paid"]}}),
    ]);
    let mut found = faults(&document);
    found.sort();
    let wanted = [
        (
            "/subscriptions/0/filter/rule/a/0/numeric: eventbridge filter: ",
            "[\">=\", 0, \"<\", 10]",
        ),
        (
            "/subscriptions/1/filter/dialect: found \"sql\", expected ",
            "\"eventbridge\", \"hookdeck\" or \"shopify\"",
        ),
        (
            "/subscriptions/1/filter/scope: found \"headers\", expected ",
            "\"body\" or \"envelope\"",
        ),
        (
            "/subscriptions/1/filter/when: there is no such field; there are: ",
            "dialect, scope, rule",
        ),
        ("/subscriptions/2/filter/rule: is required", ""),
        (
            "/subscriptions/3/filter: found \"state = 'paid'\", expected an object",
            "",
        ),
        (
            "/subscriptions/4/filter/rule: shopify filter: column 17: ",
            "",
        ),
        (
            "/subscriptions/4/filter/scop: there is no such field; did you mean `scope`?",
            "",
        ),
        (
            "/subscriptions/5/filter/rule/a~1b/$foo: hookdeck filter: ",
            "$eq",
        ),
        (
            "/subscriptions/6/filter/rule/a: eventbridge filter: ",
            "[\"x\"]",
        ),
    ];
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (found, (begin, words)) in found.iter().zip(wanted) {
        assert!(
            found.starts_with(begin) && found.contains(words),
            "{found} should say {begin}…{words}"
        );
    }
}

#[test]
fn a_filter_on_bodies_that_are_not_looked_into_is_refused() {
    let mut settings = defaults();
    let source = serde_json::from_value(json!({"format": "bytes"})).expect("a source");
    settings.sources.insert("raw".to_owned(), source);
    let document = |topics: Value, scope: &str| {
        let filter = json!({"dialect": "hookdeck", "scope": scope, "rule": {"a": 1}});
        let subscription = json!([{"topics": topics, "filter": filter}]);
        let value = with("subscriptions", subscription).to_string();
        parse_document(value.as_bytes(), &|_| true, &settings)
    };
    document(json!(["raw"]), "envelope").expect("headers can be asked");
    document(json!(["orders"]), "body").expect("JSON");
    let faults = document(json!(["orders", "raw"]), "body").expect_err("one is opaque");
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].pointer, "/subscriptions/0/filter/scope");
    assert!(faults[0].message.contains("raw"), "{}", faults[0]);
}

#[test]
fn a_filter_keeps_the_limits_of_the_settings() {
    let document = filtering(&[json!({"dialect": "eventbridge", "rule": {"a": [1], "b": [2]}})]);
    read(&document).expect("within the defaults");
    let mut settings = defaults();
    settings.filters.fields_max = 1;
    let value = document.to_string();
    let faults = parse_document(value.as_bytes(), &|_| true, &settings).expect_err("two fields");
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].pointer, "/subscriptions/0/filter/rule/b");
    assert!(
        faults[0].message.contains("more than 1 fields"),
        "{}",
        faults[0]
    );
    // The deepest rule that is allowed fits into a document.
    settings.filters.depth_max = 64;
    let deep = format!("{}[1]{}", "{\"a\":".repeat(63), "}".repeat(63));
    let rule: Value = deep.parse().expect("JSON");
    let value = filtering(&[json!({"dialect": "eventbridge", "rule": rule})]).to_string();
    parse_document(value.as_bytes(), &|_| true, &settings).expect("64 levels");
}

#[test]
fn the_key_must_be_that_of_the_document() {
    let value = with("tenant", json!("acme")).to_string();
    let read = |key: Option<&[u8]>| {
        parse(key, value.as_bytes(), &|_| true, &defaults()).map_err(|faults| format!("{faults:?}"))
    };
    assert_eq!(
        read(Some(b"acme/orders")).expect("valid").tenant.as_str(),
        "acme"
    );
    for key in [
        None,
        Some(&b"orders"[..]),
        Some(b"acme/other"),
        Some(b"\xff"),
        Some(b""),
    ] {
        let fault = read(key).expect_err("another key");
        assert!(fault.contains("acme/orders"), "{fault}");
    }
}

#[test]
fn a_wrong_id_is_not_blamed_on_the_key() {
    let value = with("id", json!("a b")).to_string();
    let faults = parse(
        Some(b"default/ab"),
        value.as_bytes(),
        &|_| true,
        &defaults(),
    )
    .expect_err("id");
    let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(pointers, ["/id"]);
}

#[test]
fn what_is_not_plain_json_is_refused() {
    let parse = |text: &str| {
        let faults = parse_document(text.as_bytes(), &|_| true, &defaults()).expect_err(text);
        faults
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("|")
    };
    assert!(parse("").starts_with("this is not JSON"));
    assert_eq!(
        parse(r#"{"id": "a", "sink": {"type": "webhook"}, "id": "b"}"#),
        "/id: is given more than once"
    );
    let deep = format!(
        r#"{{"id": "a", "sink": {{"type": "webhook", "x": {}{}}}}}"#,
        "[".repeat(DEPTH_MAX - 1),
        "]".repeat(DEPTH_MAX - 1)
    );
    assert!(parse(&deep).ends_with("is nested too deeply"));
}

#[test]
fn a_smaller_limit_of_the_settings_is_named() {
    let mut settings = defaults();
    settings.retry.max_age_max = "1d".parse().expect("a duration");
    let value = minimal().to_string();
    let faults = parse_document(value.as_bytes(), &|_| true, &settings).expect_err("72h");
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].pointer, "/retry/max_age");
}

#[test]
fn secrets_of_the_sink_are_not_printed() {
    let destination = read(&full()).expect("valid");
    let shown = format!("{destination:?}");
    assert!(
        shown.contains("webhook") && !shown.contains("whsec") && !shown.contains("example.com"),
        "{shown}"
    );
}
