//! Filters: which events a subscription takes, in the languages that users bring.
//!
//! A rule comes from a destination's document or the command line. Every dialect compiles to one expression, which one
//! evaluator asks about an event's JSON.
//!
//! Invariant: an accepted rule keeps the limits of [`budget`], and matching takes time in proportion to the event's size
//! times the filter's. Invariant: a text that is not JSON is an error before any filter sees it, never a non-match.

mod address;
pub mod budget;
mod evaluate;
mod eventbridge;
mod expression;
mod hookdeck;
pub mod index;
mod javascript;
pub mod json;
mod number;
mod predicate;
mod regular;
mod search;
mod shopify;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use budget::Limits;
use evaluate::Evaluation;
pub use evaluate::{Condition, FUEL};
use expression::Expression;
use json::{Document, Item};

/// A filter language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Event patterns of Amazon EventBridge: an object.
    EventBridge,
    /// JSON filters of Hookdeck: an object.
    Hookdeck,
    /// Search syntax of Shopify's webhook filters: a string.
    Shopify,
}

impl Dialect {
    /// All, as they are documented.
    pub const ALL: [Self; 3] = [Self::EventBridge, Self::Hookdeck, Self::Shopify];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EventBridge => "eventbridge",
            Self::Hookdeck => "hookdeck",
            Self::Shopify => "shopify",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|dialect| dialect.name() == text)
            .ok_or_else(|| {
                format!("there is no dialect {text:?}; write eventbridge, hookdeck or shopify")
            })
    }
}

/// Why a rule is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct FilterError {
    /// The language that the rule should be in.
    pub dialect: Dialect,
    /// JSON pointer to the mistake in the rule; empty: the rule as a whole, or a text.
    pub pointer: String,
    /// In a text: which character, from 1.
    pub column: Option<usize>,
    /// What was found, what is allowed, an example.
    pub message: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} filter: ", self.dialect)?;
        if let Some(column) = self.column {
            write!(f, "column {column}: ")?;
        } else if !self.pointer.is_empty() {
            write!(f, "{}: ", self.pointer)?;
        }
        f.write_str(&self.message)
    }
}

/// A JSON pointer with one more step.
fn below(pointer: &str, name: impl fmt::Display) -> String {
    let name = name.to_string().replace('~', "~0").replace('/', "~1");
    format!("{pointer}/{name}")
}

/// What a filter says of an event, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Whether the event is taken.
    pub matched: bool,
    /// The condition that decided; `None` if the filter asks nothing.
    pub decided: Option<Condition>,
}

/// A rule that was accepted.
#[derive(Debug, Clone)]
pub struct Filter {
    dialect: Dialect,
    expression: Expression,
}

impl Filter {
    /// Compiles a rule of a destination's document. A number that `f64` rounds should come as text by
    /// [`compile_item`](Self::compile_item), since `rule` may hold it rounded.
    ///
    /// # Errors
    /// If the rule is not of the dialect, or exceeds a limit of [`budget`].
    pub fn compile(dialect: Dialect, rule: &Value) -> Result<Self, FilterError> {
        let text = rule.to_string();
        Self::compile_text(dialect, text.as_bytes())
    }

    /// Compiles a rule that is JSON.
    ///
    /// # Errors
    /// As [`compile`](Self::compile), and if it is not JSON.
    pub fn compile_text(dialect: Dialect, rule: &[u8]) -> Result<Self, FilterError> {
        let document = Document::parse(rule).map_err(|error| FilterError {
            dialect,
            pointer: String::new(),
            column: None,
            message: error.to_string(),
        })?;
        Self::compile_item(dialect, document.root())
    }

    /// Compiles a rule that stands in a JSON document.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn compile_item(dialect: Dialect, rule: Item<'_>) -> Result<Self, FilterError> {
        Self::compile_within(dialect, rule, &Limits::default())
    }

    /// As [`compile_item`](Self::compile_item), with limits of one's own.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn compile_within(
        dialect: Dialect,
        rule: Item<'_>,
        limits: &Limits,
    ) -> Result<Self, FilterError> {
        budget::check(dialect, rule, limits)?;
        let expression = match dialect {
            Dialect::EventBridge => eventbridge::compile(rule, limits),
            Dialect::Hookdeck => hookdeck::compile(rule, limits),
            Dialect::Shopify => shopify::compile(rule, limits),
        }?;
        Ok(Self {
            dialect,
            expression,
        })
    }

    /// The language that it was written in.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether it takes an event.
    #[must_use]
    pub fn matches(&self, event: Item<'_>) -> bool {
        Evaluation::new(event).holds(&self.expression, Some(event))
    }

    /// How an index finds it, for people: the values of an event by which it is looked up.
    #[must_use]
    pub fn access_path(&self) -> String {
        index::access_path(&self.expression)
    }

    /// Whether it takes an event, and which condition decided. Much slower than [`matches`](Self::matches).
    #[must_use]
    pub fn explain(&self, event: Item<'_>) -> Explanation {
        let mut evaluation = Evaluation::explained(event);
        let matched = evaluation.holds(&self.expression, Some(event));
        Explanation {
            matched,
            decided: evaluation.decided(),
        }
    }
}

/// The compiled form, for people.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.expression)
    }
}
