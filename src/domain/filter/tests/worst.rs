//! What the worst filters and events cost.

use std::time::Instant;

use super::super::Dialect::{EventBridge, Hookdeck, Shopify};
use super::super::budget::{
    MAX_BYTES, MAX_COMBINATIONS, MAX_DEPTH, MAX_FIELDS, MAX_REGEXES, MAX_STARS,
};
use super::super::json::Document;
use super::super::{Dialect, Filter};
use super::{compiled, refused};

#[test]
fn a_rule_keeps_the_limits() {
    let list =
        |n: usize, one: &dyn Fn(usize) -> String| (0..n).map(one).collect::<Vec<_>>().join(",");
    let fields = |n| format!("{{{}}}", list(n, &|i| format!("\"f{i}\":[1]")));
    compiled(EventBridge, &fields(MAX_FIELDS)).expect("as many as allowed");
    refused(
        EventBridge,
        &[(
            &fields(MAX_FIELDS + 1),
            &format!("/f{MAX_FIELDS}"),
            "fields",
        )],
    );

    let stars = |n| format!("{{\"a\":[{{\"wildcard\":\"{}\"}}]}}", "*a".repeat(n));
    compiled(EventBridge, &stars(MAX_STARS)).expect("as many as allowed");
    refused(
        EventBridge,
        &[(&stars(MAX_STARS + 1), "/a/0/wildcard", "`*`")],
    );

    let deep = |n: usize| format!("{}[1]{}", "{\"a\":".repeat(n), "}".repeat(n));
    compiled(EventBridge, &deep(MAX_DEPTH - 1)).expect("as deep as allowed");
    refused(
        EventBridge,
        &[(&deep(MAX_DEPTH), &"/a".repeat(MAX_DEPTH), "deeper")],
    );

    let long = format!("{{\"a\":[\"{}\"]}}", "x".repeat(MAX_BYTES));
    refused(EventBridge, &[(&long, "", "bytes")]);
    let regexes = format!(
        "{{\"a\":[{}]}}",
        list(MAX_REGEXES + 1, &|i| format!("{{\"regex\":\"{i}\"}}"))
    );
    refused(
        EventBridge,
        &[(
            &regexes,
            &format!("/a/{MAX_REGEXES}/regex"),
            "regular expressions",
        )],
    );

    let or = |name: usize| {
        format!(
            "\"x{name}\":{{\"$or\":[{}]}}",
            list(10, &|i| format!("{{\"a{i}\":[1]}}"))
        )
    };
    let thousand = format!("{{{}}}", list(3, &or));
    compiled(EventBridge, &thousand).expect("as many as allowed");
    let more = format!("{{{}}}", list(4, &or));
    let error = compiled(EventBridge, &more).expect_err("too many");
    assert!(
        error.message.contains(&MAX_COMBINATIONS.to_string()),
        "{error}"
    );

    let nested = |n| format!("{}a:1{}", "(".repeat(n), ")".repeat(n));
    compiled(Shopify, &nested(MAX_DEPTH)).expect("as deep as allowed");
    refused(
        Shopify,
        &[(
            &nested(MAX_DEPTH + 1),
            &(MAX_DEPTH + 1).to_string(),
            "deeper",
        )],
    );
}

/// The time of one match in seconds, best of three.
fn cost(filter: &Filter, event: &str) -> f64 {
    let document = Document::parse(event.as_bytes()).expect("JSON");
    let once = || {
        let start = Instant::now();
        std::hint::black_box(filter.matches(document.root()));
        start.elapsed().as_secs_f64()
    };
    (0..3).map(|_| once()).fold(f64::INFINITY, f64::min)
}

/// A rule, what its event is like, and the event of a size.
type Case = (Dialect, String, &'static str, fn(usize) -> String);

/// Rules with events that are worst for them.
fn worst() -> Vec<Case> {
    let elements = |n: usize| {
        format!(
            "{{\"e\":[{}{{}}]}}",
            "{\"f\":1,\"g\":{\"h\":[1,2]}},".repeat(n)
        )
    };
    let nested = |n: usize| {
        let level = format!("[{}", "{\"f\":1},".repeat(n / 200));
        format!("{{\"e\":{}[]{}}}", level.repeat(200), "]".repeat(200))
    };
    let text = |n: usize| format!("{{\"a\":\"{}\"}}", "a".repeat(n * 10));
    let twins = |n: usize| format!("{{{}\"e\":1}}", "\"e\":[{\"f\":1},{\"g\":2}],".repeat(n));
    let dots = |n: usize| format!("{{{}\"e\":1}}", "\"e.f\":1,\"e\":{\"f\":[1]},".repeat(n));
    let pairs = |n: usize| {
        let ids: Vec<String> = (0..n).map(|i| i.to_string()).collect();
        format!(
            "{{\"e\":[{}{{}}],\"ids\":[{}]}}",
            "{\"f\":-1},".repeat(n),
            ids.join(",")
        )
    };
    let fields: Vec<String> = (0..20)
        .map(|i| format!("\"x{i}\":[{{\"exists\":false}},1]"))
        .collect();
    let wild = "*a".repeat(60);
    vec![
        (EventBridge, format!("{{\"e\":{{\"f\":[1],\"z\":[1],{}}}}}", fields.join(",")), "elements", elements),
        (EventBridge, format!("{{\"e\":{{\"f\":[1],\"z\":[1],{}}}}}", fields.join(",")), "nested", nested),
        (EventBridge, "{\"e\":{\"f\":[1],\"g\":[2],\"z\":[3]}}".to_owned(), "twins", twins),
        (EventBridge, "{\"e\":{\"f\":[1],\"z\":[3]}}".to_owned(), "dots", dots),
        (EventBridge, format!("{{\"a\":[{{\"wildcard\":\"{wild}b\"}}]}}"), "text", text),
        (EventBridge, "{\"a\":[{\"regex\":\"(a|aa)*b|(a*)*c$\"}]}".to_owned(), "text", text),
        (Hookdeck, "{\"e\":[{\"f\":2},{\"g\":{\"h\":[3,[4]]}},{\"$or\":[{\"f\":3},{\"$not\":{\"f\":1}}]}]}".to_owned(), "elements", elements),
        (Hookdeck, "{\"e\":{\"$or\":[{\"$eq\":{\"f\":2}},{\"f\":{\"$in\":[3]}}]}}".to_owned(), "nested", nested),
        (Hookdeck, "{\"e\":{\"f\":{\"$in\":{\"$ref\":\"ids\"}}}}".to_owned(), "pairs", pairs),
        (Hookdeck, "{\"e\":{\"f\":{\"$gt\":{\"$ref\":\"e[$index].f\"}}}}".to_owned(), "pairs", pairs),
        (Shopify, "e.f:2 OR e.g.h:>3 OR e.z:x*".to_owned(), "elements", elements),
        (Shopify, "-e.f:1 OR e.z:*".to_owned(), "nested", nested),
    ]
}

#[test]
fn the_worst_filters_are_linear_in_the_event() {
    for (dialect, rule, shape, event) in worst() {
        let filter = compiled(dialect, &rule).unwrap_or_else(|error| panic!("{error}"));
        let (small, large) = (cost(&filter, &event(2_000)), cost(&filter, &event(16_000)));
        // Eight times the event; a quadratic one would take 64 times as long. A bound for what a slow machine adds, and
        // for the references' fuel, which the larger event uses up.
        assert!(
            large < small * 32.0 + 0.5,
            "{dialect} {rule} on {shape}: {small} s, then {large} s"
        );
    }
}

#[test]
fn nesting_to_the_limit_is_survived_by_every_way_through_the_event() {
    let depth = super::super::json::MAX_DEPTH - 1;
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
        let levels = depth / open.matches(['[', '{']).count();
        let event = format!("{{\"a\":{}1{}}}", open.repeat(levels), close.repeat(levels));
        for (dialect, rule) in [
            (EventBridge, r#"{"a":{"a":{"b":[1]}},"a.a":[1]}"#),
            (
                Hookdeck,
                r#"{"a":{"$or":[{"a":2},{"$not":{"a":{"$eq":[]}}}]}}"#,
            ),
            (Hookdeck, r#"{"a":{"$eq":{"a":1}}}"#),
            (Shopify, "a.a.a:2 OR -a:*"),
        ] {
            super::matches(dialect, rule, &event);
        }
    }
}
