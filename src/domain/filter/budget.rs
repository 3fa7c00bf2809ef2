//! Limits that a rule keeps, so that no filter can make matching slow or fill the memory.
//!
//! Invariant: a limit is checked when a rule is accepted, never while matching.

use serde::Deserialize;

use super::super::units::ByteSize;
use super::json::{Item, Kind};
use super::regular::{Refused, Regular};
use super::{Dialect, FilterError, below};

/// The longest rule by default, in bytes of JSON without blanks.
pub const MAX_BYTES: usize = 16 << 10;
/// The deepest nesting of a rule by default.
pub const MAX_DEPTH: usize = 32;
/// The most fields of a rule by default, as AWS has it.
pub const MAX_FIELDS: usize = 256;
/// The most combinations of `$or` branches by default:
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html>.
pub const MAX_COMBINATIONS: usize = 1_000;
/// The most fields of all combinations together by default.
pub const MAX_COMBINED_FIELDS: usize = 32_000;
/// The most `*` of a rule by default.
pub const MAX_STARS: usize = 64;
/// The most memory of one compiled regular expression by default, in bytes; its search tables may take as much again.
pub const MAX_REGEX_BYTES: usize = 256 << 10;
/// The most regular expressions of a rule by default.
pub const MAX_REGEXES: usize = 16;

/// What a rule may have at most: the section `filters` of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Its length, in bytes of JSON without blanks.
    pub rule_max: ByteSize,
    /// How deep it is nested.
    pub depth_max: usize,
    /// Its fields.
    pub fields_max: usize,
    /// The combinations of its `$or` branches.
    pub combinations_max: usize,
    /// The fields of all combinations together.
    pub combined_fields_max: usize,
    /// Its `*`.
    pub stars_max: usize,
    /// Its regular expressions.
    pub regexes_max: usize,
    /// The memory of one of them when compiled; its search tables may take as much again.
    pub regex_max: ByteSize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rule_max: ByteSize(MAX_BYTES),
            depth_max: MAX_DEPTH,
            fields_max: MAX_FIELDS,
            combinations_max: MAX_COMBINATIONS,
            combined_fields_max: MAX_COMBINED_FIELDS,
            stars_max: MAX_STARS,
            regexes_max: MAX_REGEXES,
            regex_max: ByteSize(MAX_REGEX_BYTES),
        }
    }
}

/// Checks what holds for all dialects.
pub(super) fn check(dialect: Dialect, rule: Item<'_>, limits: &Limits) -> Result<(), FilterError> {
    let (bytes, most) = (rule.to_string().len(), limits.rule_max.0);
    if bytes > most {
        let message = format!(
            "the rule has {bytes} bytes, more than {most}; split it into several subscriptions"
        );
        return Err(error(dialect, "", message));
    }
    depth(dialect, rule, "", (limits.depth_max, limits.depth_max))
}

fn depth(
    dialect: Dialect,
    item: Item<'_>,
    pointer: &str,
    (left, most): (usize, usize),
) -> Result<(), FilterError> {
    for (index, child) in item.children().enumerate() {
        if child.kind().is_scalar() {
            continue;
        }
        let pointer = match child.name() {
            Some(name) => below(pointer, name),
            None => below(pointer, index),
        };
        let Some(left) = left.checked_sub(1).filter(|left| *left > 0) else {
            let message = format!("is nested deeper than {most} levels");
            return Err(error(dialect, &pointer, message));
        };
        depth(dialect, child, &pointer, (left, most))?;
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
    pub(super) limits: Limits,
    fields: usize,
    stars: usize,
    regexes: usize,
}

impl Spent {
    pub(super) fn new(dialect: Dialect, limits: &Limits) -> Self {
        Self {
            dialect,
            limits: *limits,
            fields: 0,
            stars: 0,
            regexes: 0,
        }
    }

    /// One more field.
    pub(super) fn field(&mut self, pointer: &str) -> Result<(), FilterError> {
        self.fields += 1;
        let most = self.limits.fields_max;
        if self.fields > most {
            let message = format!(
                "the rule has more than {most} fields; split it into several subscriptions"
            );
            return Err(error(self.dialect, pointer, message));
        }
        Ok(())
    }

    /// More `*`.
    pub(super) fn stars(&mut self, pointer: &str, stars: usize) -> Result<(), FilterError> {
        self.stars += stars;
        let most = self.limits.stars_max;
        if self.stars > most {
            let message = format!(
                "the rule has more than {most} `*`; use prefix or suffix where they are enough"
            );
            return Err(error(self.dialect, pointer, message));
        }
        Ok(())
    }

    /// A regular expression; where it stands is `pointer`.
    pub(super) fn regex(
        &mut self,
        pointer: &str,
        pattern: Item<'_>,
    ) -> Result<Regular, FilterError> {
        let refused = |message: String| Err(error(self.dialect, pointer, message));
        let Kind::Text(pattern) = pattern.kind() else {
            let found = pattern.kind().noun();
            return refused(format!(
                "a regular expression is a string, found {found}; write it like \"^ord-[0-9]+$\""
            ));
        };
        self.regexes += 1;
        let most = self.limits.regexes_max;
        if self.regexes > most {
            return refused(format!(
                "the rule has more than {most} regular expressions; join them with `|`"
            ));
        }
        match Regular::accept(pattern, self.limits.regex_max.0) {
            Ok(regular) => Ok(regular),
            Err(Refused::TooLarge(limit)) => refused(format!(
                "the regular expression needs more than {limit} bytes when compiled; use fewer or smaller repetitions"
            )),
            Err(Refused::Syntax(problem)) => {
                let last = problem.lines().last().unwrap_or_default();
                let last = last.strip_prefix("error: ").unwrap_or(last);
                refused(format!(
                    "{pattern:?} is no regular expression: {last}; the syntax is that of Rust's regex, without look-around and back-references, such as \"^ord-[0-9]+$\""
                ))
            }
        }
    }
}
