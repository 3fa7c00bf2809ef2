//! What is looked up: a condition on some value at a path, as keys can be made from it and people can read it.

use core::net::IpAddr;
use std::fmt;

/// What a value must be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Need {
    /// Anything.
    Present,
    Null,
    Bool(bool),
    /// A number, or a text or boolean that is one if `loose`.
    Number {
        number: f64,
        loose: bool,
    },
    /// A number within bounds, which belong to it.
    Range {
        low: f64,
        high: f64,
        loose: bool,
    },
    /// A text; a part of one between commas if `list`.
    Text {
        text: String,
        list: bool,
    },
    /// A text in any case, of ASCII only.
    AnyCase(String),
    Address(IpAddr),
    Prefix {
        bytes: Vec<u8>,
        any_case: bool,
        list: bool,
    },
    Suffix {
        bytes: Vec<u8>,
        any_case: bool,
    },
    Contains(Vec<u8>),
}

/// A condition on some value at a path; elements of arrays are at the array's path.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lookup<'f> {
    pub(super) path: Vec<&'f str>,
    pub(super) need: Need,
}

/// For people.
impl fmt::Display for Lookup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match self.path.as_slice() {
            [] => "the event".to_owned(),
            path => path.join("."),
        };
        write!(f, "{path}: {}", self.need)
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let case = |any: &bool| if *any { " in any case" } else { "" };
        match self {
            Self::Present => f.write_str("a value"),
            Self::Null => f.write_str("null"),
            Self::Bool(bool) => write!(f, "{bool}"),
            Self::Number { number, .. } => write!(f, "the number {number}"),
            Self::Range { low, high, .. } => write!(f, "a number from {low} to {high}"),
            Self::Text { text, .. } => write!(f, "{text:?}"),
            Self::AnyCase(text) => write!(f, "{text:?} in any case"),
            Self::Address(address) => write!(f, "the address {address}"),
            Self::Prefix {
                bytes, any_case, ..
            } => write!(f, "begins with {:?}{}", shown(bytes), case(any_case)),
            Self::Suffix { bytes, any_case } => {
                let bytes: Vec<u8> = bytes.iter().rev().copied().collect();
                write!(f, "ends with {:?}{}", shown(&bytes), case(any_case))
            }
            Self::Contains(bytes) => write!(f, "contains {:?}", shown(bytes)),
        }
    }
}
