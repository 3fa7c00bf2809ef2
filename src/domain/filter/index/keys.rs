//! Look-ups as keys of the index's table.

use core::net::IpAddr;

use super::access::Need;
use super::hash::Secret;
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
    let key = |way: Use, level: u32, value: u64| Key {
        path,
        way,
        level,
        hash: hash(secret, path, way, level, value),
        loose: false,
        list: false,
        interval: None,
    };
    let one = match need {
        Need::Present => key(Use::Present, 0, 0),
        Need::Null => key(Use::Null, 0, 0),
        Need::Bool(bool) => key(Use::Bool, 0, u64::from(*bool)),
        Need::Number {
            number: wanted,
            loose,
        } => Key {
            loose: *loose,
            ..key(Use::Number, 0, number(*wanted))
        },
        Need::Range { low, high, loose } => {
            let interval = Interval {
                low: ordered(*low),
                high: ordered(*high),
            };
            let (level, block) = interval.block();
            Key {
                loose: *loose,
                interval: Some(interval),
                ..key(Use::Range, level, block)
            }
        }
        Need::Text { text, list } => Key {
            list: *list,
            ..key(Use::Text, 0, secret.bytes(0, text.as_bytes()))
        },
        Need::AnyCase(text) => key(Use::AnyCase, 0, secret.bytes(0, text.as_bytes())),
        Need::Address(wanted) => key(Use::Address, 0, address(secret, *wanted)),
        Need::Prefix {
            bytes,
            any_case,
            list,
        } => {
            let way = if *any_case {
                Use::PrefixAnyCase
            } else {
                Use::Prefix
            };
            let (level, value) = affix(secret, bytes);
            Key {
                list: *list,
                ..key(way, level, value)
            }
        }
        Need::Suffix { bytes, any_case } => {
            let way = if *any_case {
                Use::SuffixAnyCase
            } else {
                Use::Suffix
            };
            let (level, value) = affix(secret, bytes);
            key(way, level, value)
        }
        Need::Contains(bytes) => {
            let fits = |(_, size): &(u32, &usize)| **size <= bytes.len();
            let Some((level, size)) = (0..).zip(&GRAMS).filter(fits).last() else {
                return vec![key(Use::Present, 0, 0)];
            };
            let grams = bytes.windows(*size).take(PLACES);
            return grams
                .map(|gram| key(Use::Gram, level, pack(gram)))
                .collect();
        }
    };
    vec![one]
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
