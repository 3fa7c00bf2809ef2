//! Answers of the reference engines; see `tests/data/filters/README.md`.

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
