//! What is asked at each path of events, so that a value is looked up in no more ways than some filter needs.
//!
//! Invariant: what is counted up when a filter comes is counted down when it goes.

use super::super::super::persistent::Map;
use super::hash::ByHash;

/// A way to look up a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Present,
    Null,
    Bool,
    Number,
    Text,
    AnyCase,
    Address,
    Prefix,
    PrefixAnyCase,
    Suffix,
    SuffixAnyCase,
    Gram,
    Range,
    /// Texts and booleans are numbers too.
    Loose,
    /// The parts of a text between commas are values too.
    List,
}

impl Use {
    const COUNT: usize = 15;
}

/// What filters want at one path.
#[derive(Debug, Clone, Default)]
pub(super) struct PathInfo {
    /// Filters that ask for the path or for something below it.
    filters: u32,
    /// Those that want all that is below.
    whole: u32,
    /// The first bytes of names below, modulo 64; none is taken back before the path goes.
    pub(super) first_bytes: u64,
    /// How many keys use each way at each level.
    counts: Vec<((Use, u32), u32)>,
    levels: Option<Box<[u128; Use::COUNT]>>,
}

impl PathInfo {
    /// At which levels a way is used, as bits.
    pub(super) fn levels(&self, way: Use) -> u128 {
        let levels = self.levels.as_ref();
        let levels = levels.and_then(|levels| levels.get(way as usize));
        levels.copied().unwrap_or(0)
    }

    pub(super) fn uses(&self, way: Use) -> bool {
        self.levels(way) != 0
    }

    /// Whether any way is used.
    pub(super) fn is_looked_up(&self) -> bool {
        self.levels.is_some()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.whole > 0
    }

    fn count(&mut self, way: Use, level: u32) {
        let bit = 1u128.checked_shl(level).unwrap_or(0);
        match self.counts.iter_mut().find(|(key, _)| *key == (way, level)) {
            Some((_, count)) => *count += 1,
            None => self.counts.push(((way, level), 1)),
        }
        if let Some(levels) = self.levels.get_or_insert_default().get_mut(way as usize) {
            *levels |= bit;
        }
    }

    fn uncount(&mut self, way: Use, level: u32) {
        if let Some(at) = self.counts.iter().position(|(key, _)| *key == (way, level)) {
            if let Some((_, count)) = self.counts.get_mut(at) {
                *count -= 1;
                if *count > 0 {
                    return;
                }
            }
            self.counts.swap_remove(at);
        }
        if self.counts.is_empty() {
            self.levels = None;
        } else if let Some(levels) = &mut self.levels
            && let Some(levels) = levels.get_mut(way as usize)
        {
            *levels &= !1u128.checked_shl(level).unwrap_or(0);
        }
    }
}

/// A path that a filter looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    /// Its hash.
    pub(super) path: u64,
    /// The path above it, and the first byte of its name there.
    pub(super) parent: Option<(u64, u8)>,
    /// All that is below it is wanted.
    pub(super) whole: bool,
}

/// Every path that some filter looks at, and those above it.
#[derive(Debug, Clone, Default)]
pub(super) struct Paths {
    infos: Map<u64, PathInfo, ByHash>,
}

impl Paths {
    pub(super) fn get(&self, path: u64) -> Option<&PathInfo> {
        self.infos.get(&path)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.infos.is_empty()
    }

    /// Counts a filter's paths, each of which it gives once.
    pub(super) fn add(&mut self, asked: &[Asked]) {
        for one in asked {
            let info = self.infos.entry(one.path, PathInfo::default);
            info.filters += 1;
            info.whole += u32::from(one.whole);
            if let Some((parent, first)) = one.parent {
                let parent = self.infos.entry(parent, PathInfo::default);
                parent.first_bytes |= bit(first);
            }
        }
    }

    pub(super) fn remove(&mut self, asked: &[Asked]) {
        for one in asked {
            let Some(info) = self.infos.get_mut(&one.path) else {
                continue;
            };
            info.filters -= 1;
            info.whole -= u32::from(one.whole);
            if info.filters == 0 {
                self.infos.remove(&one.path);
            }
        }
    }

    /// Counts a way that a key of an added filter uses.
    pub(super) fn count(&mut self, path: u64, way: Use, level: u32) {
        if let Some(info) = self.infos.get_mut(&path) {
            info.count(way, level);
        }
    }

    pub(super) fn uncount(&mut self, path: u64, way: Use, level: u32) {
        if let Some(info) = self.infos.get_mut(&path) {
            info.uncount(way, level);
        }
    }
}

/// The mark of a name's first byte.
pub(super) fn bit(first: u8) -> u64 {
    1 << (first & 63)
}
