//! What can be asked of one value.
//!
//! Invariant: asking takes time in proportion to the value times the predicate; a text is searched once per part of a
//! pattern, never with backtracking.

use core::net::IpAddr;
use std::fmt;

use super::address::{Network, address};
use super::json::{Item, Kind};
use super::number::exact;
use super::regular::Regular;
use super::search::Term;

/// A question to one value.
#[derive(Debug, Clone)]
pub(super) enum Predicate {
    /// It is `null`.
    Null,
    /// It is this boolean.
    Bool(bool),
    /// It is this string.
    Text(Box<str>),
    /// It is this number, or at least written like this.
    Number {
        /// `None`: as an `f64` it would be another number.
        exact: Option<f64>,
        literal: Box<str>,
    },
    /// It is a number within bounds.
    Range(Range),
    /// It is a string that begins like this.
    Prefix { text: Box<str>, any_case: bool },
    /// It is a string that ends like this.
    Suffix { text: Box<str>, any_case: bool },
    /// It is this string, capitals or not.
    AnyCase(Box<str>),
    /// It is a string of this form.
    Glob(Glob),
    /// It is a string in which this is found.
    Regex(Regular),
    /// It is a string that writes this address.
    Address(IpAddr),
    /// It is a string that writes an address of this network.
    Network(Network, Box<str>),
    /// It is a scalar, also `null`.
    Scalar,
    /// It is a scalar, and none of these holds.
    Other(Vec<Predicate>),
    /// It is what a search term asks for.
    Term(Term),
}

/// Bounds of a number; each with whether it is itself within.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Range {
    pub(super) low: Option<(f64, bool)>,
    pub(super) high: Option<(f64, bool)>,
}

impl Range {
    fn contains(&self, number: f64) -> bool {
        let above = |(low, with)| number > low || with && number == low;
        let below = |(high, with)| number < high || with && number == high;
        self.low.is_none_or(above) && self.high.is_none_or(below)
    }
}

impl Predicate {
    /// Whether it holds for a value.
    pub(super) fn holds(&self, item: Item<'_>) -> bool {
        let kind = item.kind();
        match (self, kind) {
            (Self::Null, Kind::Null) => true,
            (Self::Bool(wanted), Kind::Bool(found)) => wanted == found,
            (
                Self::Number {
                    exact: wanted,
                    literal,
                },
                Kind::Number(found),
            ) => **literal == *found.literal || wanted.is_some() && *wanted == exact(found),
            (Self::Range(range), Kind::Number(found)) => {
                exact(found).is_some_and(|number| range.contains(number))
            }
            (Self::Scalar, kind) => kind.is_scalar(),
            (Self::Other(these), kind) => {
                kind.is_scalar() && !these.iter().any(|this| this.holds(item))
            }
            (Self::Term(term), _) => term.holds(item),
            (_, Kind::Text(text)) => self.holds_for_text(text),
            _ => false,
        }
    }

    fn holds_for_text(&self, found: &str) -> bool {
        match self {
            Self::Text(wanted) => **wanted == *found,
            Self::Prefix {
                text,
                any_case: false,
            } => found.starts_with(&**text),
            Self::Suffix {
                text,
                any_case: false,
            } => found.ends_with(&**text),
            Self::Prefix {
                text,
                any_case: true,
            } => behind_any_case(text, found, End::First).is_some(),
            Self::Suffix {
                text,
                any_case: true,
            } => behind_any_case(text, found, End::Last).is_some(),
            Self::AnyCase(text) => behind_any_case(text, found, End::First) == Some(""),
            Self::Glob(glob) => glob.matches(found),
            Self::Regex(regex) => regex.is_match(found),
            Self::Address(wanted) => address(found).as_ref() == Some(wanted),
            Self::Network(network, _) => {
                address(found).is_some_and(|found| network.contains(found))
            }
            _ => false,
        }
    }
}

/// Which end of a text is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    First,
    Last,
}

/// What is left of `found` once `wanted` is taken from an end of it, each character as its capital or its small letter,
/// which may be several characters: `ß` also takes `SS`, but `SS` takes no `ß`.
fn behind_any_case<'t>(wanted: &str, mut found: &'t str, end: End) -> Option<&'t str> {
    let mut chars = wanted.chars();
    loop {
        let next = match end {
            End::First => chars.next(),
            End::Last => chars.next_back(),
        };
        let Some(char) = next else { return Some(found) };
        found = behind(char.to_lowercase(), found, end)
            .or_else(|| behind(char.to_uppercase(), found, end))?;
    }
}

/// What is left once these characters are taken.
fn behind(
    mut wanted: impl DoubleEndedIterator<Item = char>,
    found: &str,
    end: End,
) -> Option<&str> {
    let mut chars = found.chars();
    let same = match end {
        End::First => wanted.all(|char| chars.next() == Some(char)),
        End::Last => wanted.rev().all(|char| chars.next_back() == Some(char)),
    };
    same.then_some(chars.as_str())
}

/// A text with gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob {
    /// What stands between the gaps, in order; a gap may be empty.
    parts: Vec<Box<str>>,
}

impl Glob {
    /// `parts` with a gap between each two.
    pub(super) fn new(parts: Vec<Box<str>>) -> Self {
        Self { parts }
    }

    pub(super) fn parts(&self) -> &[Box<str>] {
        &self.parts
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let (first, between) = match self.parts.as_slice() {
            [] => return text.is_empty(),
            [only] => return **only == *text,
            [first, between @ ..] => (first, between),
        };
        let Some((last, between)) = between.split_last() else {
            return false;
        };
        let Some(mut rest) = text
            .strip_prefix(&**first)
            .and_then(|rest| rest.strip_suffix(&**last))
        else {
            return false;
        };
        for part in between {
            let Some((_, behind)) = rest.split_once(&**part) else {
                return false;
            };
            rest = behind;
        }
        true
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let case = |any: bool| if any { " in any case" } else { "" };
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(bool) => write!(f, "{bool}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number { literal, .. } => f.write_str(literal),
            Self::Range(Range { low, high }) => {
                let equal = |with: bool| if with { "=" } else { "" };
                let low = low.map(|(low, with)| format!(">{} {low}", equal(with)));
                let high = high.map(|(high, with)| format!("<{} {high}", equal(with)));
                let bounds: Vec<String> = low.into_iter().chain(high).collect();
                write!(f, "a number {}", bounds.join(" and "))
            }
            Self::Prefix { text, any_case } => write!(f, "begins with {text:?}{}", case(*any_case)),
            Self::Suffix { text, any_case } => write!(f, "ends with {text:?}{}", case(*any_case)),
            Self::AnyCase(text) => write!(f, "{text:?} in any case"),
            Self::Glob(glob) => write!(f, "looks like {:?}", glob.parts.join("*")),
            Self::Regex(regex) => write!(f, "matches the regular expression {:?}", regex.text()),
            Self::Address(address) => write!(f, "the address {address}"),
            Self::Network(_, text) => write!(f, "an address within {text}"),
            Self::Scalar => f.write_str("any scalar"),
            Self::Other(these) => {
                let these: Vec<String> = these.iter().map(Self::to_string).collect();
                write!(f, "a scalar, but not {}", these.join(" or "))
            }
            Self::Term(term) => write!(f, "{term}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn glob(pattern: &str) -> Glob {
        Glob::new(pattern.split('*').map(Into::into).collect())
    }

    /// The definition, with backtracking.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => {
                (0..=text.len()).any(|skip| naive(rest, text.get(skip..).unwrap_or_default()))
            }
            ([a, pattern @ ..], [b, text @ ..]) => a == b && naive(pattern, text),
            _ => false,
        }
    }

    #[test]
    fn case_is_compared_character_by_character() {
        for (wanted, found, left) in [
            ("É", "é", Some("")),
            ("aBc", "AbC", Some("")),
            ("", "", Some("")),
            ("a", "ab", Some("b")),
            ("ab", "a", None),
            ("STRASSE", "straße", None),
            ("straße", "STRASSE", Some("")),
            ("straße", "STRAßE!", Some("!")),
            ("İ", "i\u{307}", Some("")),
            ("i", "İ", None),
            ("\u{212a}", "k", Some("")),
            ("k", "\u{212a}", None),
            ("ǅ", "ǆ", Some("")),
            ("ǅ", "ǅ", None),
        ] {
            assert_eq!(
                behind_any_case(wanted, found, End::First),
                left,
                "{wanted} {found}"
            );
        }
        for (wanted, found, left) in [
            ("éß", "xÉSS", Some("x")),
            ("ﬃ", "xFFI", Some("x")),
            ("ﬃ", "xIFF", None),
        ] {
            assert_eq!(
                behind_any_case(wanted, found, End::Last),
                left,
                "{wanted} {found}"
            );
        }
    }

    #[test]
    fn no_character_has_two_cases_of_which_one_begins_or_ends_with_the_other() {
        for char in char::MIN..=char::MAX {
            let small: String = char.to_lowercase().collect();
            let capital: String = char.to_uppercase().collect();
            let overlap = |a: &str, b: &str| a != b && (a.starts_with(b) || a.ends_with(b));
            assert!(
                !overlap(&small, &capital) && !overlap(&capital, &small),
                "{char}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_glob_matches_as_defined(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(glob(&pattern).matches(&text), naive(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
