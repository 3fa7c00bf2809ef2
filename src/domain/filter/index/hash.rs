//! Hashes of paths and values: the keys of the index.
//!
//! A key stands for a path, a use and a value. Two that collide cost a look at a filter, nothing else.
//!
//! Invariant: hashes depend on a secret of the index, so nobody can write rules or events that collide on purpose.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

/// What hashes depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Secret {
    seed: u64,
    factor: u64,
}

impl Default for Secret {
    fn default() -> Self {
        let state = RandomState::new();
        Self {
            seed: state.hash_one(0),
            factor: state.hash_one(1) | 1,
        }
    }
}

impl Secret {
    /// The beginning of every path.
    pub(super) fn root(self) -> u64 {
        self.seed
    }

    /// One more number.
    pub(super) fn with(self, hash: u64, number: u64) -> u64 {
        let product = u128::from(hash ^ number) * u128::from(self.factor);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "both halves are taken, one after the other"
        )]
        let (low, high) = (product as u64, (product >> 64) as u64);
        low ^ high
    }

    /// More bytes.
    pub(super) fn bytes(self, hash: u64, bytes: &[u8]) -> u64 {
        let (words, tail) = bytes.as_chunks::<8>();
        let mut hash = hash;
        for word in words {
            hash = self.with(hash, u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(tail) {
            *to = *from;
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.with(self.with(hash, u64::from_le_bytes(last)), length)
    }

    /// A member's name below a path; a dot within it separates names too.
    pub(super) fn below(self, path: u64, name: &str) -> u64 {
        if !name.as_bytes().contains(&b'.') {
            return self.bytes(path, name.as_bytes());
        }
        let names = name.split('.');
        names.fold(path, |path, name| self.bytes(path, name.as_bytes()))
    }
}

/// For keys that are hashes already, and for small numbers.
pub(super) type ByHash = BuildHasherDefault<Given>;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Given(u64);

impl Hasher for Given {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0.rotate_left(8) ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write_u32(&mut self, number: u32) {
        let spread = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ spread >> 29;
    }
}
