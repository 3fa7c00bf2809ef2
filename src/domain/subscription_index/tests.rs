//! Random subscriptions, and filters after topic and type.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::content::{Body, Parts};
use crate::domain::destination::SubscriptionFilter;
use crate::domain::filter::Filter;
use crate::domain::filter::json::Item;

fn subscription(topics: Option<&[&str]>, event_types: Option<&[&str]>) -> Subscription {
    let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    Subscription {
        id: None,
        topics: topics.map(owned),
        event_types: event_types.map(owned),
        filter: None,
    }
}

fn matching(index: &SubscriptionIndex, topic: &str, event_type: &str) -> Vec<u32> {
    taken(index, &parts(topic, event_type, "null")).taken
}

fn id() -> String {
    "e-1".into()
}

fn parts<'e>(topic: &'e str, event_type: &'e str, body: &'e str) -> Parts<'e> {
    Parts {
        id: &id,
        event_type,
        topic,
        time_ms: 0,
        key: None,
        headers: &[("team", Some(b"a"))],
        body: Body::Json(body.as_bytes()),
    }
}

/// What is found after something else was found.
fn taken(index: &SubscriptionIndex, parts: &Parts<'_>) -> Found {
    let mut found = Found {
        taken: vec![99],
        malformed: vec![(98, String::new())],
        ..Found::default()
    };
    index.matching(&Content::new(*parts), &mut found);
    found
}

#[test]
fn a_slot_is_found_once_whatever_number_of_its_subscriptions_match() {
    let mut index = SubscriptionIndex::default();
    let all_ways = [
        subscription(None, None),
        subscription(Some(&["orders", "orders"]), None),
        subscription(
            None,
            Some(&["*", "**.paid", "order.*", "order.paid", "ord*.*"]),
        ),
    ];
    index.insert(7, Some(&all_ways)).expect("valid");
    index.insert(3, None).expect("valid");
    assert_eq!(matching(&index, "orders", "order.paid"), [3, 7]);
}

#[test]
fn all_conditions_of_a_subscription_must_hold() {
    let mut index = SubscriptionIndex::default();
    for (slot, subscription) in [
        (0, subscription(None, None)),
        (1, subscription(Some(&["orders"]), None)),
        (2, subscription(None, Some(&["order.*"]))),
        (3, subscription(Some(&["orders"]), Some(&["order.paid"]))),
        (
            4,
            subscription(Some(&["users", "orders"]), Some(&["user.*", "*.paid"])),
        ),
        (5, subscription(Some(&["users"]), Some(&["order.paid"]))),
        (6, subscription(Some(&[]), None)),
        (7, subscription(None, Some(&[]))),
    ] {
        index.insert(slot, Some(&[subscription])).expect("valid");
    }
    index.insert(8, Some(&[])).expect("valid");
    for (topic, event_type, expected) in [
        ("orders", "order.paid", vec![0, 1, 2, 3, 4]),
        ("users", "order.paid", vec![0, 2, 4, 5]),
        ("users", "user.new", vec![0, 4]),
        ("other", "order.paid", vec![0, 2]),
        ("other", "other", vec![0]),
    ] {
        assert_eq!(
            matching(&index, topic, event_type),
            expected,
            "{topic} {event_type}"
        );
    }
}

#[test]
fn an_invalid_pattern_leaves_what_was_there() {
    let mut index = SubscriptionIndex::default();
    let valid = [subscription(None, Some(&["a"]))];
    index.insert(1, Some(&valid)).expect("valid");
    let invalid = [subscription(None, Some(&["b", "x**"]))];
    assert!(index.insert(1, Some(&invalid)).is_err());
    assert_eq!(matching(&index, "t", "a"), [1]);
    assert!(matching(&index, "t", "b").is_empty());
}

#[test]
fn the_cost_does_not_grow_with_the_destinations() {
    let cost = |destinations: u32| {
        let mut index = SubscriptionIndex::default();
        for slot in 0..destinations {
            let own = [
                format!("customer-{slot}.*"),
                format!("customer-{slot}*.paid"),
                format!("*.customer-{slot}.**"),
                format!("**.customer-{slot}"),
            ];
            let own: Vec<&str> = own.iter().map(String::as_str).collect();
            let shared = ["order.*", "order.**", "**.paid", "or*.paid", "*.created"];
            let subscriptions = [subscription(None, Some(&[&own[..], &shared].concat()))];
            index.insert(slot, Some(&subscriptions)).expect("valid");
        }
        let mut found = Vec::new();
        let visited = index
            .files
            .any_topic
            .patterns
            .matching("order.paid", &mut found);
        assert!(found.len() >= destinations as usize);
        visited
    };
    assert_eq!(cost(2), cost(2000));
}

fn filtered(dialect: Dialect, scope: Scope, rule: &str) -> Subscription {
    let rule = rule.parse().unwrap_or_else(|_text| rule.into());
    let filter = Filter::compile(dialect, &rule).expect("valid");
    Subscription {
        filter: Some(SubscriptionFilter {
            scope,
            filter: Arc::new(filter),
        }),
        ..Subscription::default()
    }
}

const PAID: &str = r#"{"state": ["paid"]}"#;

/// 0 takes what is paid in each of three languages; 1 asks the envelope; 2 takes `t` and what is paid; 3 everything.
fn filtering() -> SubscriptionIndex {
    let mut index = SubscriptionIndex::default();
    let three = [
        filtered(Dialect::EventBridge, Scope::Body, PAID),
        filtered(Dialect::Hookdeck, Scope::Body, r#"{"state": "paid"}"#),
        filtered(Dialect::Shopify, Scope::Body, "state:paid"),
    ];
    let team = r#"{"headers": {"team": "a"}, "type": {"$startsWith": "order."}}"#;
    let envelope = [filtered(Dialect::Hookdeck, Scope::Envelope, team)];
    let either = [
        subscription(None, Some(&["t"])),
        Subscription {
            id: Some("paid".to_owned()),
            ..filtered(Dialect::EventBridge, Scope::Body, PAID)
        },
    ];
    for (slot, subscriptions) in [(0, &three[..]), (1, &envelope), (2, &either)] {
        index.insert(slot, Some(subscriptions)).expect("valid");
    }
    index.insert(3, None).expect("valid");
    index
}

#[test]
fn a_filter_is_asked_after_topic_and_type_and_one_that_takes_the_event_is_enough() {
    let index = filtering();
    let (paid, new) = (r#"{"state": "paid"}"#, r#"{"state": "new"}"#);
    for (event_type, body, slots) in [
        ("order.paid", paid, &[0, 1, 2, 3][..]),
        ("order.paid", new, &[1, 3]),
        ("t", new, &[2, 3]),
        ("t", paid, &[0, 2, 3]),
    ] {
        let found = taken(&index, &parts("orders", event_type, body));
        assert_eq!(found.taken, slots, "{event_type} {body}");
        assert_eq!(found.malformed, []);
    }
}

#[test]
fn body_and_envelope_are_asked_beside_each_other_in_each_dialect() {
    for (dialect, body, envelope) in [
        (
            Dialect::EventBridge,
            PAID,
            r#"{"headers": {"team": ["a"]}}"#,
        ),
        (
            Dialect::Hookdeck,
            r#"{"state": "paid"}"#,
            r#"{"headers": {"team": "a"}}"#,
        ),
        (Dialect::Shopify, "state:paid", "headers.team:a"),
    ] {
        let mut index = SubscriptionIndex::default();
        for (slot, scope, rule) in [(0, Scope::Body, body), (1, Scope::Envelope, envelope)] {
            let subscriptions = [filtered(dialect, scope, rule)];
            index.insert(slot, Some(&subscriptions)).expect("valid");
        }
        for (body, slots) in [
            (r#"{"state": "paid"}"#, &[0, 1][..]),
            (r#"{"state": "new"}"#, &[1]),
            ("no JSON", &[1]),
        ] {
            let found = taken(&index, &parts("orders", "order.paid", body));
            assert_eq!(found.taken, slots, "{dialect} {body}");
        }
    }
}

#[test]
fn who_asks_about_a_body_that_is_not_json_is_told_what_is_wrong_and_the_others_take_it() {
    let index = filtering();
    let found = taken(&index, &parts("orders", "order.paid", "{\"state\": }"));
    assert_eq!(found.taken, [1, 3]);
    let problem =
        "the value is not JSON: a value expected at byte 10, but the filter of subscription";
    assert_eq!(
        found.malformed,
        [
            (0, format!("{problem} `0` asks about it")),
            (2, format!("{problem} `paid` asks about it")),
        ]
    );
    let found = taken(&index, &parts("orders", "t", "\u{0}"));
    assert_eq!(
        found.taken,
        [2, 3],
        "one that takes it without filter asks nothing"
    );
    assert_eq!(found.malformed.len(), 1);
}

#[test]
fn verdicts_are_told_for_each_dialect_that_was_asked() {
    use Verdict::{FilteredOut, Malformed, Matched};
    let index = filtering();
    let verdicts = |event_type: &str, body: &str| -> Vec<(Dialect, Verdict)> {
        taken(&index, &parts("orders", event_type, body))
            .verdicts
            .iter()
            .collect()
    };
    let [eventbridge, hookdeck, shopify] = Dialect::ALL;
    assert_eq!(
        verdicts("order.paid", r#"{"state": "paid"}"#),
        [
            (eventbridge, Matched),
            (hookdeck, Matched),
            (shopify, Matched)
        ]
    );
    assert_eq!(
        verdicts("order.paid", "{}"),
        [
            (eventbridge, FilteredOut),
            (hookdeck, Matched),
            (shopify, FilteredOut)
        ]
    );
    assert_eq!(
        verdicts("user.paid", ""),
        [
            (eventbridge, Malformed),
            (hookdeck, Malformed),
            (shopify, Malformed)
        ]
    );
    let none = taken(&SubscriptionIndex::default(), &parts("orders", "t", ""));
    assert_eq!(none.verdicts.iter().count(), 0);
}

#[test]
fn what_is_held_back_says_which_condition_decided() {
    let index = filtering();
    let parts = parts("orders", "order.paid", r#"{"state": "new"}"#);
    let held = |slots: &[u32]| {
        let content = Content::new(parts);
        index.held_back(&content, 0, |slot| slots.contains(&slot))
    };
    let found = held(&[1, 2, 3]).expect("2 is held back");
    assert_eq!((found.slot, &*found.subscription), (2, "paid"));
    assert_eq!(found.dialect, Dialect::EventBridge);
    let condition = found.decided.expect("one decided");
    assert_eq!(condition.path, "/state");
    assert_eq!(condition.wanted, "\"paid\"");
    assert_eq!(condition.found.as_deref(), Some("\"new\""));
    assert_eq!(held(&[0]).map(|found| found.slot), Some(0));
    assert_eq!(held(&[1, 3]), None, "these take it");
}

#[test]
fn a_sample_of_what_is_held_back_looks_at_few_destinations_and_at_all_in_time() {
    let mut index = SubscriptionIndex::default();
    for slot in 0..1000 {
        let one = [filtered(Dialect::EventBridge, Scope::Body, PAID)];
        index.insert(slot, Some(&one)).expect("valid");
    }
    let parts = parts("orders", "order.paid", r#"{"state": "new"}"#);
    let content = Content::new(parts);
    let mut told = std::collections::BTreeSet::new();
    for turn in 0..1000 {
        let looked_at = std::cell::Cell::new(0);
        let wants = |slot: u32| {
            looked_at.set(looked_at.get() + 1);
            !told.contains(&slot)
        };
        let held = index.held_back(&content, turn, wants);
        assert!(looked_at.get() <= LOOKED_AT);
        told.extend(held.map(|held| held.slot));
    }
    assert_eq!(told.len(), 1000);
}

#[test]
fn the_content_is_not_looked_into_without_need() {
    let mut index = filtering();
    index.remove(0);
    index.remove(1);
    let unasked = || unreachable!("no envelope is asked for");
    let parts = Parts {
        id: &unasked,
        ..parts("orders", "t", "no JSON")
    };
    assert_eq!(taken(&index, &parts).malformed, []);
}

/// Words of few letters, so that random subscriptions do match.
fn types() -> impl Strategy<Value = String> {
    prop::collection::vec("a|b|ab|é|", 1..4).prop_map(|segments| segments.join("."))
}

fn patterns() -> impl Strategy<Value = String> {
    let segment = "a|b|ab|é|\\*|\\*\\*|a\\*|\\*b|\\*a\\*|a\\*b|\\*é";
    prop_oneof![
        1 => Just("*".to_owned()),
        4 => prop::collection::vec(segment, 1..4).prop_map(|segments| segments.join(".")),
    ]
}

fn topics() -> impl Strategy<Value = String> {
    "[xyz]"
}

fn destinations() -> impl Strategy<Value = Option<Vec<Subscription>>> {
    let subscription = (
        prop::option::of(prop::collection::vec(topics(), 0..3)),
        prop::option::of(prop::collection::vec(patterns(), 0..4)),
        prop::option::weighted(0.3, any::<bool>()),
    )
        .prop_map(|(topics, event_types, filter)| Subscription {
            topics,
            event_types,
            // The events of the property are `null`.
            filter: filter.and_then(|takes| {
                let rule = if takes { "null" } else { "1" };
                filtered(Dialect::Hookdeck, Scope::Body, rule).filter
            }),
            ..Subscription::default()
        });
    prop::option::weighted(0.9, prop::collection::vec(subscription, 0..3))
}

/// Asks each subscription; `takes` is asked what its filter says.
fn scan(
    destinations: &BTreeMap<u32, Option<Vec<Subscription>>>,
    topic: &str,
    event_type: &str,
    takes: &dyn Fn(Option<&SubscriptionFilter>) -> bool,
) -> Vec<u32> {
    let chooses = |subscription: &Subscription| {
        let topics = subscription.topics.as_ref();
        let types = subscription.event_types.as_ref();
        takes(subscription.filter.as_ref())
            && topics.is_none_or(|topics| topics.iter().any(|t| t == topic))
            && types.is_none_or(|types| {
                types
                    .iter()
                    .any(|text| Pattern::parse(text).expect("valid").matches(event_type))
            })
    };
    destinations
        .iter()
        .filter(|(_, subscriptions)| {
            let all = subscriptions.as_ref();
            all.map_or_else(|| takes(None), |all| all.iter().any(chooses))
        })
        .map(|(slot, _)| *slot)
        .collect()
}

proptest! {
    #[test]
    fn the_index_equals_a_scan_before_and_after_updates(
        updates in prop::collection::vec((0u32..12, prop::option::weighted(0.8, destinations())), 1..40),
        events in prop::collection::vec((topics(), types()), 1..12),
    ) {
        let mut index = SubscriptionIndex::default();
        let mut destinations = BTreeMap::new();
        for (slot, update) in updates {
            match update {
                Some(subscriptions) => {
                    index.insert(slot, subscriptions.as_deref()).expect("valid");
                    destinations.insert(slot, subscriptions);
                }
                None => {
                    index.remove(slot);
                    destinations.remove(&slot);
                }
            }
            for (topic, event_type) in &events {
                let takes = |filter: Option<&SubscriptionFilter>| {
                    filter.is_none_or(|filter| filter.filter.matches(Item::null()))
                };
                prop_assert_eq!(
                    matching(&index, topic, event_type),
                    scan(&destinations, topic, event_type, &takes),
                    "{} {}", topic, event_type
                );
                let found = taken(&index, &parts(topic, event_type, "no JSON"));
                let free = scan(&destinations, topic, event_type, &|filter| filter.is_none());
                let asking = scan(&destinations, topic, event_type, &|filter| filter.is_some());
                let asking = asking.into_iter().filter(|slot| !free.contains(slot));
                prop_assert_eq!(&found.taken, &free);
                let malformed = found.malformed.iter().map(|(slot, _)| *slot);
                prop_assert_eq!(malformed.collect::<Vec<_>>(), asking.collect::<Vec<_>>());
            }
        }
        for slot in destinations.keys() {
            index.remove(*slot);
        }
        prop_assert!(index.files.is_empty() && index.of_body.is_empty());
        prop_assert!(index.slots.is_empty() && index.marks.is_empty() && index.filters.is_empty());
    }
}
