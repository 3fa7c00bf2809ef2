//! Limits that a rule keeps, so that no filter can make matching slow or fill the memory.
//!
//! Invariant: a limit is checked when a rule is accepted, never while matching.

use regex::{Regex, RegexBuilder};

use super::json::{Item, Kind};
use super::{Dialect, FilterError, below};

/// The longest rule, in bytes of JSON without blanks.
pub const MAX_BYTES: usize = 16 << 10;
/// The deepest nesting of a rule.
pub const MAX_DEPTH: usize = 32;
/// The most fields of a rule, as AWS has it.
pub const MAX_FIELDS: usize = 256;
/// The most combinations of `$or` branches:
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html>.
pub const MAX_COMBINATIONS: usize = 1_000;
/// The most fields of all combinations together.
pub const MAX_COMBINED_FIELDS: usize = 32_000;
/// The most `*` of a rule.
pub const MAX_STARS: usize = 64;
/// The most memory of one compiled regular expression, in bytes; its search tables may take as much again.
pub const MAX_REGEX_BYTES: usize = 256 << 10;
/// The most regular expressions of a rule.
pub const MAX_REGEXES: usize = 16;

/// Checks what holds for all dialects.
pub(super) fn check(dialect: Dialect, rule: Item<'_>) -> Result<(), FilterError> {
    let bytes = rule.to_string().len();
    if bytes > MAX_BYTES {
        let message = format!(
            "the rule has {bytes} bytes, more than {MAX_BYTES}; split it into several subscriptions"
        );
        return Err(error(dialect, "", message));
    }
    depth(dialect, rule, "", MAX_DEPTH)
}

fn depth(dialect: Dialect, item: Item<'_>, pointer: &str, left: usize) -> Result<(), FilterError> {
    for (index, child) in item.children().enumerate() {
        if child.kind().is_scalar() {
            continue;
        }
        let pointer = match child.name() {
            Some(name) => below(pointer, name),
            None => below(pointer, index),
        };
        let Some(left) = left.checked_sub(1).filter(|left| *left > 0) else {
            let message = format!("is nested deeper than {MAX_DEPTH} levels");
            return Err(error(dialect, &pointer, message));
        };
        depth(dialect, child, &pointer, left)?;
    }
    Ok(())
}

/// A refusal that points into JSON.
pub(super) fn error(dialect: Dialect, pointer: &str, message: impl Into<String>) -> FilterError {
    FilterError {
        dialect,
        pointer: pointer.to_owned(),
        column: None,
        message: message.into(),
    }
}

/// What a rule has used up.
#[derive(Debug)]
pub(super) struct Spent {
    dialect: Dialect,
    fields: usize,
    stars: usize,
    regexes: usize,
}

impl Spent {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            fields: 0,
            stars: 0,
            regexes: 0,
        }
    }

    /// One more field.
    pub(super) fn field(&mut self, pointer: &str) -> Result<(), FilterError> {
        self.fields += 1;
        if self.fields > MAX_FIELDS {
            let message = format!(
                "the rule has more than {MAX_FIELDS} fields; split it into several subscriptions"
            );
            return Err(error(self.dialect, pointer, message));
        }
        Ok(())
    }

    /// More `*`.
    pub(super) fn stars(&mut self, pointer: &str, stars: usize) -> Result<(), FilterError> {
        self.stars += stars;
        if self.stars > MAX_STARS {
            let message = format!(
                "the rule has more than {MAX_STARS} `*`; use prefix or suffix where they are enough"
            );
            return Err(error(self.dialect, pointer, message));
        }
        Ok(())
    }

    /// A regular expression; where it stands is `pointer`.
    pub(super) fn regex(&mut self, pointer: &str, pattern: Item<'_>) -> Result<Regex, FilterError> {
        let refused = |message: String| Err(error(self.dialect, pointer, message));
        let Kind::Text(pattern) = pattern.kind() else {
            let found = pattern.kind().noun();
            return refused(format!(
                "a regular expression is a string, found {found}; write it like \"^ord-[0-9]+$\""
            ));
        };
        self.regexes += 1;
        if self.regexes > MAX_REGEXES {
            return refused(format!(
                "the rule has more than {MAX_REGEXES} regular expressions; join them with `|`"
            ));
        }
        let built = RegexBuilder::new(pattern)
            .size_limit(MAX_REGEX_BYTES)
            .dfa_size_limit(MAX_REGEX_BYTES)
            .nest_limit(64)
            .build();
        match built {
            Ok(regex) => Ok(regex),
            Err(regex::Error::CompiledTooBig(limit)) => refused(format!(
                "the regular expression needs more than {limit} bytes when compiled; use fewer or smaller repetitions"
            )),
            Err(problem) => {
                let problem = problem.to_string();
                let last = problem.lines().last().unwrap_or_default();
                let last = last.strip_prefix("error: ").unwrap_or(last);
                refused(format!(
                    "{pattern:?} is no regular expression: {last}; the syntax is that of Rust's regex, without look-around and back-references, such as \"^ord-[0-9]+$\""
                ))
            }
        }
    }
}
