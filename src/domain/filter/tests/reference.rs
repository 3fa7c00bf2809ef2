//! Answers of the reference engines; see `tests/data/filters/README.md`.

use std::sync::Arc;

use super::super::index::{FilterIndex, Scratch};
use super::super::json::{Document, Kind};
use super::super::{Dialect, Filter};

fn agrees(dialect: Dialect, lines: &str) {
    let mut asked = 0;
    for line in lines.lines() {
        let document = Document::parse(line.as_bytes()).expect(line);
        let part = |name| document.root().member(name).expect(line);
        let answer = match Filter::compile_item(dialect, part("rule")) {
            Ok(filter) => Kind::Bool(filter.matches(part("event"))),
            Err(_) => Kind::Text("error".into()),
        };
        assert_eq!(answer, *part("expected").kind(), "{line}");
        asked += 1;
    }
    assert!(asked >= 400, "{asked} lines");
}

#[test]
fn event_patterns_match_as_in_the_reference_engine() {
    let lines = include_str!("../../../../tests/data/filters/eventbridge.jsonl");
    agrees(Dialect::EventBridge, lines);
}

#[test]
fn json_filters_match_as_in_the_reference_engine() {
    let lines = include_str!("../../../../tests/data/filters/hookdeck.jsonl");
    agrees(Dialect::Hookdeck, lines);
}

/// Each rule of a table against each of its events, by itself and all in one index.
fn agrees_with_table(dialect: Dialect, lines: &str) {
    let mut lines = lines.lines();
    let first = lines.next().expect("the events");
    let events = Document::parse(first.as_bytes()).expect("JSON");
    let events = events.root().member("events").expect("the events");
    let mut index = FilterIndex::default();
    let mut expected = vec![Vec::new(); events.children().count()];
    for (number, line) in (0..).zip(lines) {
        let document = Document::parse(line.as_bytes()).expect(line);
        let part = |name| document.root().member(name);
        let filter = Filter::compile_item(dialect, part("rule").expect(line));
        assert_eq!(filter.is_err(), part("error").is_some(), "{line}");
        let Ok(filter) = filter else { continue };
        let takes = part("takes").and_then(|takes| takes.text()).expect(line);
        assert_eq!(takes.len(), expected.len(), "{line}");
        for ((event, takes), expected) in events.children().zip(takes.chars()).zip(&mut expected) {
            assert_eq!(filter.matches(event), takes == '1', "{line} {event}");
            expected.extend((takes == '1').then_some(number));
        }
        index.insert(number, Arc::new(filter), usize::MAX);
    }
    let (mut scratch, mut found) = (Scratch::default(), Vec::new());
    for (event, expected) in events.children().zip(expected) {
        index.matching_item(event, &[], &mut scratch, |_| true, &mut found);
        found.sort_unstable();
        assert_eq!(found, expected, "{event} by an index");
    }
    assert!(index.len() > 100, "{} rules", index.len());
}

#[test]
fn each_value_in_an_event_pattern_takes_what_the_reference_engine_takes() {
    let lines = include_str!("../../../../tests/data/filters/eventbridge-table.jsonl");
    agrees_with_table(Dialect::EventBridge, lines);
}

#[test]
fn each_operator_of_a_json_filter_takes_what_the_reference_engine_takes() {
    let lines = include_str!("../../../../tests/data/filters/hookdeck-table.jsonl");
    agrees_with_table(Dialect::Hookdeck, lines);
}
