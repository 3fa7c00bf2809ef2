//! Look-ups as keys of the index's table.

use core::net::IpAddr;

use super::hash::Secret;
use super::need::Need;
use super::paths::Use;
use super::postings::{Interval, ordered};

/// Beginnings and endings are looked up by these lengths only; of a longer one, the rest is left to the filter.
const LENGTHS: [u16; 48] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
    27, 28, 29, 30, 31, 32, 36, 40, 44, 48, 56, 64, 72, 80, 96, 112, 128, 160, 192, 224, 256, 320,
];

/// The length of a level of beginnings and endings.
pub(super) fn length(level: u32) -> Option<usize> {
    let at = usize::try_from(level).unwrap_or(usize::MAX);
    LENGTHS.get(at).map(|length| usize::from(*length))
}

/// Parts of texts are looked up by these numbers of bytes.
pub(super) const GRAMS: [usize; 4] = [1, 2, 4, 8];

/// The most places of a literal that are considered for a part to look up.
const PLACES: usize = 64;

/// A place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) path: u64,
    pub(super) way: Use,
    pub(super) level: u32,
    /// The key in the table.
    pub(super) hash: u64,
    pub(super) loose: bool,
    pub(super) list: bool,
    pub(super) interval: Option<Interval>,
}

/// The key of a value at a path.
pub(super) fn hash(secret: Secret, path: u64, way: Use, level: u32, value: u64) -> u64 {
    let way = (way as u64) << 32 | u64::from(level);
    secret.with(secret.with(path, way), value)
}

/// A number as a value.
pub(super) fn number(number: f64) -> u64 {
    ordered(number)
}

/// An address as a value.
pub(super) fn address(secret: Secret, address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => secret.bytes(4, &address.octets()),
        IpAddr::V6(address) => secret.bytes(6, &address.octets()),
    }
}

/// One more byte of a beginning or an ending.
pub(super) fn next_byte(secret: Secret, hash: u64, byte: u8) -> u64 {
    secret.with(hash, u64::from(byte))
}

/// All keys that a need can stand under; one is enough.
pub(super) fn keys(secret: Secret, path: u64, need: &Need) -> Vec<Key> {
    let (loose, list) = match need {
        Need::Number { loose, .. } | Need::Range { loose, .. } => (*loose, false),
        Need::Text { list, .. } | Need::Prefix { list, .. } => (false, *list),
        _ => (false, false),
    };
    let key = |(way, level, value): (Use, u32, u64)| Key {
        path,
        way,
        level,
        hash: hash(secret, path, way, level, value),
        loose,
        list,
        interval: interval(need),
    };
    match need {
        Need::Contains(bytes) => grams(bytes).into_iter().map(key).collect(),
        _ => vec![key(value(secret, need))],
    }
}

fn interval(need: &Need) -> Option<Interval> {
    match need {
        Need::Range { low, high, .. } => Some(Interval {
            low: ordered(*low),
            high: ordered(*high),
        }),
        _ => None,
    }
}

/// The way, level and value of a need that has one key.
fn value(secret: Secret, need: &Need) -> (Use, u32, u64) {
    let affix = |any_case: &bool, plain, folded, bytes: &[u8]| {
        let (level, value) = affix(secret, bytes);
        (if *any_case { folded } else { plain }, level, value)
    };
    let text = |way, text: &str| (way, 0, secret.bytes(0, text.as_bytes()));
    match need {
        Need::Null => (Use::Null, 0, 0),
        Need::Bool(bool) => (Use::Bool, 0, u64::from(*bool)),
        Need::Number { number: wanted, .. } => (Use::Number, 0, number(*wanted)),
        Need::Range { .. } => {
            let (level, block) = interval(need).map_or((0, 0), Interval::block);
            (Use::Range, level, block)
        }
        Need::Text { text: wanted, .. } => text(Use::Text, wanted),
        Need::AnyCase(wanted) => text(Use::AnyCase, wanted),
        Need::Address(wanted) => (Use::Address, 0, address(secret, *wanted)),
        Need::Prefix {
            bytes, any_case, ..
        } => affix(any_case, Use::Prefix, Use::PrefixAnyCase, bytes),
        Need::Suffix { bytes, any_case } => affix(any_case, Use::Suffix, Use::SuffixAnyCase, bytes),
        Need::Present | Need::Contains(_) => (Use::Present, 0, 0),
    }
}

/// The parts of a literal, of the largest size that it has.
fn grams(literal: &[u8]) -> Vec<(Use, u32, u64)> {
    let fits = |(_, size): &(u32, &usize)| **size <= literal.len();
    let Some((level, size)) = (0..).zip(&GRAMS).filter(fits).last() else {
        return vec![(Use::Present, 0, 0)];
    };
    let grams = literal.windows(*size).take(PLACES);
    grams.map(|gram| (Use::Gram, level, pack(gram))).collect()
}

/// At most eight bytes as a number.
pub(super) fn pack(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |packed, byte| packed << 8 | u64::from(*byte))
}

/// The longest beginning that is looked up: its level and value.
fn affix(secret: Secret, bytes: &[u8]) -> (u32, u64) {
    let (level, length) = (0..)
        .zip(LENGTHS)
        .take_while(|(_, length)| usize::from(*length) <= bytes.len())
        .last()
        .unwrap_or((0, 0));
    let bytes = bytes.iter().take(usize::from(length));
    let hash = |hash, byte: &u8| next_byte(secret, hash, *byte);
    (level, bytes.fold(0, hash))
}
