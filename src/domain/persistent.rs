//! Collections whose copies share what they have in common, so that a changed copy of a large one costs little.
//!
//! The indexes of subscriptions and filters are made of them: a reader keeps the copy that it has, a writer changes its
//! own, and only the shards that a change touches are copied; where nobody else has a copy, nothing is.
//!
//! Invariant: a copy never changes by a change of another one.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

/// Entries of a shard, on average, before there are twice as many shards.
const SHARD: usize = 32;

/// A hash map in shards.
#[derive(Debug, Clone)]
pub(crate) struct Map<K, V, S = RandomState> {
    /// None, or a power of two of them.
    shards: Vec<Arc<HashMap<K, V, S>>>,
    len: usize,
    hasher: S,
}

impl<K, V, S: Default> Default for Map<K, V, S> {
    fn default() -> Self {
        Self {
            shards: Vec::new(),
            len: 0,
            hasher: S::default(),
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone, S: BuildHasher + Clone> Map<K, V, S> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// The upper half of the hash chooses the shard, since the map in it goes by the lower one.
    fn place<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        let hash = self.hasher.hash_one(key) >> 32;
        usize::try_from(hash).unwrap_or(0) & self.shards.len().wrapping_sub(1)
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shards.get(self.place(key))?.get(key)
    }

    /// The value to change.
    pub(crate) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let place = self.place(key);
        let shard = self.shards.get_mut(place)?;
        // What is not there is no reason to copy.
        shard.contains_key(key).then_some(())?;
        Arc::make_mut(shard).get_mut(key)
    }

    /// The value to change; what `new` makes where there was none.
    pub(crate) fn entry(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        if self.get(&key).is_none() {
            self.len += 1;
            if self.len > self.shards.len() * SHARD {
                self.grow();
            }
        }
        let place = self.place(&key);
        let shard = self.shards.get_mut(place);
        let shard = Arc::make_mut(shard.expect("grown before"));
        shard.entry(key).or_insert_with(new)
    }

    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get(key)?;
        let place = self.place(key);
        self.len -= 1;
        Arc::make_mut(self.shards.get_mut(place)?).remove(key)
    }

    fn grow(&mut self) {
        let shards = (self.shards.len() * 2).max(1);
        let new = || Arc::new(HashMap::with_hasher(self.hasher.clone()));
        let new = (0..shards).map(|_| new()).collect();
        for shard in std::mem::replace(&mut self.shards, new) {
            for (key, value) in Arc::unwrap_or_clone(shard) {
                let place = self.place(&key);
                if let Some(shard) = self.shards.get_mut(place) {
                    Arc::make_mut(shard).insert(key, value);
                }
            }
        }
    }
}

/// The most values of a chunk.
const CHUNK: usize = 512;

/// A set in ascending order, in chunks.
#[derive(Debug, Clone)]
pub(crate) struct Set<T> {
    /// None is empty; all values of one are smaller than those of the next.
    chunks: Vec<Arc<Vec<T>>>,
    len: usize,
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
        }
    }
}

impl<T: Ord + Copy> Set<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().copied())
    }

    /// The chunk that holds a value if any does.
    fn place(&self, value: T) -> usize {
        let behind = |chunk: &Arc<Vec<T>>| chunk.first().is_some_and(|first| *first <= value);
        self.chunks.partition_point(behind).saturating_sub(1)
    }

    pub(crate) fn insert(&mut self, value: T) {
        let place = self.place(value);
        let Some(chunk) = self.chunks.get_mut(place) else {
            self.chunks.push(Arc::new(vec![value]));
            self.len = 1;
            return;
        };
        let Err(at) = chunk.binary_search(&value) else {
            return;
        };
        self.len += 1;
        let chunk = Arc::make_mut(chunk);
        chunk.insert(at, value);
        if chunk.len() > CHUNK {
            // Values often come in ascending order: then full chunks are left behind.
            let cut = if at + 1 == chunk.len() { at } else { CHUNK / 2 };
            let rest = chunk.split_off(cut);
            self.chunks.insert(place + 1, Arc::new(rest));
        }
    }

    pub(crate) fn remove(&mut self, value: T) {
        let place = self.place(value);
        let Some(chunk) = self.chunks.get_mut(place) else {
            return;
        };
        let Ok(at) = chunk.binary_search(&value) else {
            return;
        };
        self.len -= 1;
        let chunk = Arc::make_mut(chunk);
        chunk.remove(at);
        if chunk.is_empty() {
            self.chunks.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_map_does_what_a_plain_one_does_and_copies_stay(
            changes in prop::collection::vec((0u16..300, prop::option::weighted(0.7, any::<u8>())), 0..600),
            copied in 0usize..600,
        ) {
            let (mut map, mut plain) = (Map::<u16, u8>::default(), HashMap::new());
            let mut copy = None;
            for (index, (key, change)) in changes.into_iter().enumerate() {
                if index == copied {
                    copy = Some((map.clone(), plain.clone()));
                }
                match change {
                    Some(value) => {
                        *map.entry(key, || value) = value;
                        plain.insert(key, value);
                    }
                    None => prop_assert_eq!(map.remove(&key), plain.remove(&key)),
                }
                prop_assert_eq!(map.len(), plain.len());
                prop_assert_eq!(map.get_mut(&key).copied(), plain.get(&key).copied());
            }
            for (map, plain) in [Some((map, plain)), copy].into_iter().flatten() {
                let all: HashMap<u16, u8> = map.iter().map(|(key, value)| (*key, *value)).collect();
                prop_assert_eq!(all, plain.clone());
                prop_assert_eq!(map.is_empty(), plain.is_empty());
            }
        }

        #[test]
        fn a_set_does_what_a_plain_one_does_and_copies_stay(
            changes in prop::collection::vec((0u16..2000, prop::bool::weighted(0.8)), 0..3000),
            copied in 0usize..3000,
            ascending in any::<bool>(),
        ) {
            let (mut set, mut plain) = (Set::default(), BTreeSet::new());
            let mut copy = None;
            for (index, (value, there)) in changes.into_iter().enumerate() {
                if index == copied {
                    copy = Some((set.clone(), plain.clone()));
                }
                let value = if ascending && there { u16::try_from(index).expect("small") } else { value };
                if there {
                    set.insert(value);
                    plain.insert(value);
                } else {
                    set.remove(value);
                    plain.remove(&value);
                }
                prop_assert_eq!(set.len(), plain.len());
            }
            for (set, plain) in [Some((set, plain)), copy].into_iter().flatten() {
                prop_assert!(set.iter().eq(plain.iter().copied()));
                prop_assert!(set.iter().rev().eq(plain.iter().rev().copied()));
                prop_assert_eq!(set.is_empty(), plain.is_empty());
            }
        }
    }
}
