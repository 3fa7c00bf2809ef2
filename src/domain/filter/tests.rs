//! Tables of the three languages, and worst cases.

mod eventbridge;
mod generated;
mod hookdeck;
mod indexed;
mod random;
mod reference;
mod shopify;
mod worst;

use std::sync::Arc;

use super::index::{FilterIndex, Scratch};
use super::json::Document;
use super::{Dialect, Filter, FilterError};

/// Compiles a rule: JSON, or a search text.
fn compiled(dialect: Dialect, rule: &str) -> Result<Filter, FilterError> {
    match dialect {
        Dialect::Shopify => Filter::compile(dialect, &rule.into()),
        _ => Filter::compile_text(dialect, rule.as_bytes()),
    }
}

/// Whether a rule takes an event; explaining and an index must say the same.
fn matches(dialect: Dialect, rule: &str, event: &str) -> bool {
    let filter = compiled(dialect, rule).unwrap_or_else(|error| panic!("{rule}: {error}"));
    let document = Document::parse(event.as_bytes()).expect(event);
    let matched = filter.matches(document.root());
    assert_eq!(
        filter.explain(document.root()).matched,
        matched,
        "{rule} {event}"
    );
    let (mut index, mut found) = (FilterIndex::default(), Vec::new());
    index.insert(7, Arc::new(filter), usize::MAX);
    let scratch = &mut Scratch::default();
    let read = index.matching(event.as_bytes(), &[], scratch, |_| true, &mut found);
    read.expect(event);
    assert_eq!(!found.is_empty(), matched, "{rule} {event} by an index");
    matched
}

/// A rule, events that it takes, events that it does not take.
type Row<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

fn table(dialect: Dialect, rows: &[Row<'_>]) {
    for (rule, taken, others) in rows {
        for event in *taken {
            assert!(matches(dialect, rule, event), "{rule} takes {event}");
        }
        for event in *others {
            assert!(
                !matches(dialect, rule, event),
                "{rule} does not take {event}"
            );
        }
    }
}

/// Rules that are refused, where, and with which words.
fn refused(dialect: Dialect, rows: &[(&str, &str, &str)]) {
    for (rule, pointer, words) in rows {
        let error = compiled(dialect, rule).expect_err(rule);
        let place = error
            .column
            .map_or(error.pointer.clone(), |column| column.to_string());
        assert_eq!(place, *pointer, "{rule}: {error}");
        assert!(error.message.contains(words), "{rule}: {error}");
        assert!(error.to_string().starts_with(dialect.name()), "{error}");
    }
}
