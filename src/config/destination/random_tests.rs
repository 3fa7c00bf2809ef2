//! Documents of any shape: nothing panics, and every fault points at something.

use proptest::prelude::*;
use serde_json::Value;

use super::parse;
use super::tests::full;
use crate::config::faults::parent;
use crate::config::{defaults, strict_json};

/// JSON of any shape whose names are often those of documents.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (0.0..2.0).prop_map(Value::from),
        prop::sample::select(vec![
            "", "5s", "9d", "orders", "key", "schedule", "webhook", "1/s", "a**", "é"
        ])
        .prop_map(Value::from),
    ];
    let name = prop::sample::select(vec![
        "tenant",
        "id",
        "metadata",
        "enabled",
        "sink",
        "type",
        "subscriptions",
        "topics",
        "event_types",
        "filter",
        "delivery",
        "concurrency",
        "ordering",
        "retry",
        "policy",
        "delays",
        "max_age",
        "circuit",
        "monitor",
        "a/b~c",
    ]);
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..8).prop_map(|members| members
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect()),
        ]
    })
}

/// Puts `other` in place of the value that is the `at`-th of all, counted modulo their number.
fn mutate(value: &mut Value, at: usize, other: &Value) {
    fn count(value: &Value) -> usize {
        1 + match value {
            Value::Array(list) => list.iter().map(count).sum(),
            Value::Object(object) => object.values().map(count).sum(),
            _ => 0,
        }
    }
    fn replace(value: &mut Value, left: &mut usize, other: &Value) {
        if *left == 0 {
            *value = other.clone();
        }
        *left = left.wrapping_sub(1);
        match value {
            Value::Array(list) => list
                .iter_mut()
                .for_each(|inner| replace(inner, left, other)),
            Value::Object(object) => object
                .values_mut()
                .for_each(|inner| replace(inner, left, other)),
            _ => {}
        }
    }
    let mut left = at % count(value);
    replace(value, &mut left, other);
}

/// Every fault points into the document, or at a field that is missing from an object in it.
fn check_pointers(text: &[u8]) -> Result<(), TestCaseError> {
    let result = parse(
        Some(b"default/orders"),
        text,
        &|topic| topic == "orders",
        &defaults(),
    );
    let Err(faults) = result else { return Ok(()) };
    prop_assert!(!faults.is_empty());
    let tree = strict_json::tree(text, 128)
        .map(|(tree, _)| tree)
        .unwrap_or_default();
    for fault in &faults {
        let missing = fault.message.starts_with("is required");
        let place = if missing {
            parent(&fault.pointer).unwrap_or_default()
        } else {
            &fault.pointer
        };
        prop_assert!(tree.pointer(place).is_some(), "{fault} in {tree}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_json_is_survived(document in any_json()) {
        check_pointers(document.to_string().as_bytes())?;
    }

    #[test]
    fn changed_documents_are_survived(changes in prop::collection::vec((any::<usize>(), any_json()), 1..4)) {
        let mut document = full();
        for (at, other) in &changes {
            mutate(&mut document, *at, other);
        }
        check_pointers(document.to_string().as_bytes())?;
    }

    #[test]
    fn changed_bytes_are_survived(changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4)) {
        let mut text = full().to_string().into_bytes();
        for (at, byte) in changes {
            let at = at % text.len();
            text[at] = byte;
        }
        check_pointers(&text)?;
    }
}
