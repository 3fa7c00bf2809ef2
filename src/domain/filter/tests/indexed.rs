//! The index says what each of its filters says.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::Filter;
use super::super::index::{FilterIndex, Scratch};
use super::super::json::Document;
use super::compiled;
use super::generated::{event, rule};

fn found(index: &FilterIndex, event: &str) -> Vec<u32> {
    let mut found = vec![99];
    let scratch = &mut Scratch::default();
    let searched = index.matching(event.as_bytes(), &[], scratch, |_| true, &mut found);
    searched.expect("JSON");
    found.sort_unstable();
    let mut of_item = vec![99];
    let document = Document::parse(event.as_bytes()).expect("JSON");
    index.matching_item(document.root(), &[], scratch, |_| true, &mut of_item);
    of_item.sort_unstable();
    assert_eq!(found, of_item, "read on the way or before: {event}");
    found
}

/// Asks each filter about the whole event.
fn scan(filters: &BTreeMap<u32, Arc<Filter>>, event: &str) -> Vec<u32> {
    let document = Document::parse(event.as_bytes()).expect(event);
    let taking = filters
        .iter()
        .filter(|(_, filter)| filter.matches(document.root()));
    taking.map(|(number, _)| *number).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn an_index_finds_the_filters_that_take_an_event(
        rules in prop::collection::vec(rule(), 1..16),
        events in prop::collection::vec(event(), 1..12),
    ) {
        let mut index = FilterIndex::default();
        let mut filters = BTreeMap::new();
        let accepted = rules.iter().filter_map(|(dialect, rule)| compiled(*dialect, rule).ok());
        for (number, filter) in (0..).zip(accepted.map(Arc::new)) {
            index.insert(number, Arc::clone(&filter), usize::MAX);
            filters.insert(number, filter);
        }
        for event in &events {
            prop_assert_eq!(found(&index, event), scan(&filters, event), "{:?} {}", rules, event);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn an_index_after_updates_is_one_built_anew_and_its_copies_stay(
        updates in prop::collection::vec((0u32..12, prop::option::weighted(0.7, rule())), 1..40),
        copied in 0usize..40,
        events in prop::collection::vec(event(), 1..6),
    ) {
        let mut index = FilterIndex::default();
        let mut filters = BTreeMap::new();
        let mut copy = None;
        for (at, (number, update)) in updates.into_iter().enumerate() {
            if at == copied {
                copy = Some((index.clone(), filters.clone()));
            }
            match update.and_then(|(dialect, rule)| compiled(dialect, &rule).ok()) {
                Some(filter) => {
                    let filter = Arc::new(filter);
                    index.insert(number, Arc::clone(&filter), usize::MAX);
                    filters.insert(number, filter);
                }
                None => {
                    index.remove(number);
                    filters.remove(&number);
                }
            }
        }
        let mut anew = FilterIndex::default();
        for (number, filter) in &filters {
            anew.insert(*number, Arc::clone(filter), usize::MAX);
        }
        for event in &events {
            prop_assert_eq!(found(&index, event), scan(&filters, event));
            prop_assert_eq!(found(&anew, event), scan(&filters, event));
            if let Some((index, filters)) = &copy {
                prop_assert_eq!(found(index, event), scan(filters, event));
            }
        }
        for number in filters.keys() {
            index.remove(*number);
        }
        prop_assert!(index.is_empty() && index.is_bare());
    }
}

#[test]
fn only_the_filters_that_are_wanted_are_asked() {
    let mut index = FilterIndex::default();
    for number in 0..4 {
        let filter = compiled(super::super::Dialect::EventBridge, r#"{"a":[1]}"#).expect("valid");
        index.insert(number, Arc::new(filter), usize::MAX);
    }
    let mut numbers = Vec::new();
    let wanted = |number: u32| number.is_multiple_of(2);
    let (event, scratch) = (br#"{"a":1}"#, &mut Scratch::default());
    let searched = index.matching(event, &[3], scratch, wanted, &mut numbers);
    searched.expect("JSON");
    assert_eq!(numbers, [0, 2, 3], "3 is listed");
}

#[test]
fn an_event_that_is_not_json_is_an_error_wherever_the_mistake_is() {
    let mut index = FilterIndex::default();
    let filter = compiled(super::super::Dialect::EventBridge, r#"{"a":[1]}"#).expect("valid");
    index.insert(0, Arc::new(filter), usize::MAX);
    for event in [
        "",
        r#"{"a":1"#,
        r#"{"a":1,"b":[}"#,
        r#"{"b":"\x","a":1}"#,
        r#"{"b":{"c":01},"a":1}"#,
        "{\"b\":\"\u{1}\"}",
        r#"{"a":1} x"#,
    ] {
        let error = Document::parse(event.as_bytes()).expect_err(event);
        let mut numbers = Vec::new();
        let searched = index.matching(
            event.as_bytes(),
            &[],
            &mut Scratch::default(),
            |_| true,
            &mut numbers,
        );
        assert_eq!(searched, Err(error), "{event}");
        assert!(numbers.is_empty());
    }
}

proptest! {
    #[test]
    fn whether_a_text_is_json_does_not_depend_on_what_is_asked(
        text in r#"[\[\]{},:"ab1\\u0-9eE.+ntrufals -]{0,32}"#,
        event in event(),
        cut in 0usize..64,
        byte in any::<u8>(),
    ) {
        let mut index = FilterIndex::default();
        let filter = compiled(super::super::Dialect::EventBridge, r#"{"a":{"b":[1]}}"#).expect("valid");
        index.insert(0, Arc::new(filter), usize::MAX);
        let mut mutated = event.into_bytes();
        let at = cut % (mutated.len() + 1);
        mutated.splice(at..at, [byte]);
        for bytes in [text.as_bytes(), &mutated] {
            let mut numbers = Vec::new();
            let searched = index.matching(bytes, &[], &mut Scratch::default(), |_| true, &mut numbers);
            prop_assert_eq!(searched.err(), Document::parse(bytes).err());
        }
    }
}
