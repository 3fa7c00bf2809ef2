//! What a term of a Shopify filter asks of one value.
//!
//! Payloads write prices as strings, so a text that is a number is compared as one.
//!
//! Invariant: numbers are compared as they are written, so long ids are not rounded.

use std::cmp::Ordering;
use std::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::json::{Item, Kind};
use super::number::{compare, is_decimal};

/// How a term compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparator {
    Equal,
    /// It begins like this.
    Prefix,
    /// It is there and not `null`.
    Present,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a value must be, or be written like; bounds belong to a range, and numbers in texts count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Need<'t> {
    Anything,
    Never,
    /// Also as one of several parts between commas if `list`.
    Equal {
        text: &'t str,
        number: Option<f64>,
        list: bool,
    },
    Prefix {
        text: &'t str,
        list: bool,
    },
    Range {
        low: f64,
        high: f64,
    },
}

/// A comparator and what it compares with.
#[derive(Debug, Clone)]
pub(super) struct Term {
    comparator: Comparator,
    wanted: Box<str>,
    number: bool,
    instant: Option<OffsetDateTime>,
    /// The value is a list in a string, separated by commas.
    list: bool,
}

impl Term {
    pub(super) fn new(comparator: Comparator, wanted: &str, list: bool) -> Self {
        Self {
            comparator,
            wanted: wanted.into(),
            number: is_decimal(wanted),
            instant: instant(wanted),
            list,
        }
    }

    /// What a value must be for the term to hold; where that cannot be told in short, anything.
    pub(super) fn need(&self) -> Need<'_> {
        let number = self.number.then(|| self.wanted.parse().unwrap_or(f64::NAN));
        let range = |low: bool| match number {
            Some(_) if self.list => Need::Anything,
            Some(number) if low => Need::Range {
                low: number,
                high: f64::INFINITY,
            },
            Some(number) => Need::Range {
                low: f64::NEG_INFINITY,
                high: number,
            },
            None if self.instant.is_some() => Need::Anything,
            None => Need::Never,
        };
        match self.comparator {
            Comparator::Present => Need::Anything,
            Comparator::Prefix => Need::Prefix {
                text: &self.wanted,
                list: self.list,
            },
            Comparator::Equal if self.instant.is_some() => Need::Anything,
            Comparator::Equal => Need::Equal {
                text: &self.wanted,
                number,
                list: self.list,
            },
            Comparator::Less | Comparator::LessOrEqual => range(false),
            Comparator::Greater | Comparator::GreaterOrEqual => range(true),
        }
    }

    pub(super) fn holds(&self, item: Item<'_>) -> bool {
        let kind = item.kind();
        if self.comparator == Comparator::Present {
            return !matches!(kind, Kind::Null);
        }
        match kind {
            Kind::Number(number) => self.holds_for(&number.literal, true),
            Kind::Bool(bool) => self.holds_for(if *bool { "true" } else { "false" }, false),
            Kind::Text(text) => {
                let parts = || {
                    text.split(',')
                        .any(|part| self.holds_for(part.trim(), false))
                };
                self.holds_for(text, false) || self.list && parts()
            }
            Kind::Null | Kind::Array | Kind::Object => false,
        }
    }

    fn holds_for(&self, found: &str, number: bool) -> bool {
        match self.comparator {
            Comparator::Present => true,
            Comparator::Prefix => found.starts_with(&*self.wanted),
            Comparator::Equal => {
                *self.wanted == *found || self.order(found, number) == Some(Ordering::Equal)
            }
            Comparator::Less => self.order(found, number).is_some_and(Ordering::is_lt),
            Comparator::LessOrEqual => self.order(found, number).is_some_and(Ordering::is_le),
            Comparator::Greater => self.order(found, number).is_some_and(Ordering::is_gt),
            Comparator::GreaterOrEqual => self.order(found, number).is_some_and(Ordering::is_ge),
        }
    }

    /// How `found` stands to what is wanted; `None` if they are not both numbers or both times.
    fn order(&self, found: &str, number: bool) -> Option<Ordering> {
        if self.number {
            return (number || is_decimal(found)).then(|| compare(found, &self.wanted));
        }
        let wanted = self.instant?;
        Some(instant(found)?.cmp(&wanted))
    }
}

/// A time in RFC 3339, or a day, which is its first moment in UTC.
fn instant(text: &str) -> Option<OffsetDateTime> {
    // Longer than any time, so not worth reading.
    if text.len() > 40 {
        return None;
    }
    let day = text.len() == "2026-01-31".len();
    let whole = if day {
        &format!("{text}T00:00:00Z")
    } else {
        text
    };
    // Most texts are no times; that is not a mistake.
    OffsetDateTime::parse(whole, &Rfc3339).ok()
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.comparator {
            Comparator::Present => return f.write_str("any value but null"),
            Comparator::Prefix => return write!(f, "begins with {:?}", self.wanted),
            Comparator::Equal => "=",
            Comparator::Less => "<",
            Comparator::LessOrEqual => "<=",
            Comparator::Greater => ">",
            Comparator::GreaterOrEqual => ">=",
        };
        write!(f, "{sign} {:?}", self.wanted)
    }
}
