//! Which of many filters take an event, without asking each of them.
//!
//! Filters come with their numbers from the index of subscriptions; an event's bytes go in, numbers come out. Each filter
//! stands under the keys of its cheapest necessary condition (`access`); one that has none is asked at every event.
//! An event is read once: what no filter looks at is read past, and each value that is looked at is looked up on the way.
//! Filters found so are then asked themselves.
//!
//! One hash table holds all keys. Equality is a key of path and value. A beginning is a key for its length, of a few
//! lengths; so is an ending, backwards. A text within a text is a key for one part of eight bytes or fewer, the one that
//! fewest other filters use. A range is a key for the smallest block of numbers that holds it, which makes a tree of
//! intervals. So a change touches the shards of its own keys, and a copy of the index shares all the others.
//!
//! Invariant: the table may say too much and never too little; what a filter says itself decides.
//! Invariant: a copy never changes by a change of another one.

mod access;
mod asked;
mod hash;
mod keys;
mod literals;
mod need;
mod paths;
mod postings;
mod probe;

use std::fmt::Write as _;
use std::sync::Arc;

use super::super::persistent::{Map, Set};
use super::Filter;
use super::expression::Expression;
use super::json::{Document, Item, Malformed};
use access::Access;
use hash::{ByHash, Secret};
use keys::Key;
use need::{Lookup, Need};
use paths::{Paths, Use};
use postings::Postings;
use probe::{Collected, Probe};

/// Filters by number.
#[derive(Debug, Clone, Default)]
pub struct FilterIndex {
    secret: Secret,
    filters: Map<u32, Filed, ByHash>,
    table: Map<u64, Postings, ByHash>,
    paths: Paths,
    /// Those that are asked at every event.
    unkeyed: Set<u32>,
}

/// A filter and where it stands.
#[derive(Debug, Clone)]
struct Filed {
    filter: Arc<Filter>,
    /// None: among the unkeyed, listed by others, or nothing can match.
    keys: Box<[Key]>,
}

/// Memory that look-ups reuse.
#[derive(Debug, Default)]
pub struct Scratch {
    collected: Collected,
}

/// So many candidates more are no reason to look for a filter elsewhere.
const FEW: usize = 16;

/// How many candidates fewer a key is worth.
fn weight(need: &Need) -> u64 {
    let short = |bytes: usize| match bytes {
        0..2 => 200,
        2 => 50,
        3 => 10,
        _ => 0,
    };
    match need {
        Need::Text { .. } | Need::AnyCase(_) | Need::Number { .. } | Need::Address(_) => 1,
        Need::Prefix { bytes, .. } | Need::Suffix { bytes, .. } => 2 + short(bytes.len()),
        Need::Contains(bytes) => 6 + short(bytes.len()),
        Need::Range { low, high, .. } if low.is_finite() && high.is_finite() => 100,
        Need::Range { .. } => 250,
        Need::Bool(_) | Need::Null => 300,
        Need::Present => 500,
    }
}

impl FilterIndex {
    /// How many filters there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.filters.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Whether nothing is left of any filter.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.table.is_empty() && self.paths.is_empty() && self.unkeyed.is_empty()
    }

    /// Files a filter under a number, in place of what was there. `beside`: how many others whoever asks would list with
    /// this one if it were not found here. Returns whether it is found here; otherwise it must be listed at each look-up.
    pub fn insert(&mut self, number: u32, filter: Arc<Filter>, beside: usize) -> bool {
        self.remove(number);
        self.paths
            .add(&asked::asked(&filter.expression, self.secret));
        let cost = |lookup: &Lookup<'_>| self.cheapest(lookup).1;
        let access = access::access(&filter.expression, &cost);
        let lookups = access.iter().flat_map(|access| &access.lookups);
        let mut keys: Vec<Key> = lookups.map(|lookup| self.cheapest(lookup).0).collect();
        // Alternatives may end under the same key.
        keys.sort_unstable_by_key(|key| (key.hash, key.interval.map(|i| (i.low, i.high))));
        keys.dedup();
        let alike: usize = match access {
            None => self.unkeyed.len(),
            Some(_) => keys.iter().map(|key| self.standing(key)).sum(),
        };
        let is_found = alike <= beside.saturating_add(FEW);
        if !is_found {
            keys.clear();
        } else if access.is_none() {
            self.unkeyed.insert(number);
        }
        for key in &keys {
            self.add(number, key);
        }
        let keys = keys.into();
        self.filters.entry(number, || Filed { filter, keys });
        is_found
    }

    /// Forgets a number.
    pub fn remove(&mut self, number: u32) {
        let Some(Filed { filter, keys }) = self.filters.remove(&number) else {
            return;
        };
        self.unkeyed.remove(number);
        for key in &keys {
            self.take(number, key);
        }
        self.paths
            .remove(&asked::asked(&filter.expression, self.secret));
    }

    /// Replaces what is in `found` by the numbers of the filters that take an event: of those that are `listed`, and of
    /// those that are found here and `wanted`. Each once, in no order.
    ///
    /// # Errors
    /// If the event is not JSON.
    pub fn matching(
        &self,
        event: &[u8],
        listed: &[u32],
        scratch: &mut Scratch,
        wanted: impl Fn(u32) -> bool,
        found: &mut Vec<u32>,
    ) -> Result<(), Malformed> {
        found.clear();
        let document = self.candidates(event, scratch)?;
        self.ask(document.root(), listed, scratch, wanted, found);
        Ok(())
    }

    /// The same for an event that is there as JSON already.
    pub fn matching_item(
        &self,
        event: Item<'_>,
        listed: &[u32],
        scratch: &mut Scratch,
        wanted: impl Fn(u32) -> bool,
        found: &mut Vec<u32>,
    ) {
        found.clear();
        scratch.collected.clear();
        let mut probe = Probe {
            index: self,
            collected: &mut scratch.collected,
        };
        probe.walk(event);
        scratch.collected.finish();
        self.ask(event, listed, scratch, wanted, found);
    }

    fn ask(
        &self,
        event: Item<'_>,
        listed: &[u32],
        scratch: &Scratch,
        wanted: impl Fn(u32) -> bool,
        found: &mut Vec<u32>,
    ) {
        let collected = scratch.collected.filters.iter().copied();
        let here = collected.chain(self.unkeyed.iter());
        let all = here.filter(|number| wanted(*number));
        let all = all.chain(listed.iter().copied());
        let takes = |filed: &Filed| filed.filter.matches(event);
        found.extend(all.filter(|number| self.filters.get(number).is_some_and(takes)));
    }

    /// How many filters an event makes it ask; 0 for what is not JSON. For measurements.
    #[must_use]
    pub fn asked(&self, event: &[u8]) -> usize {
        let mut scratch = Scratch::default();
        let read = self.candidates(event, &mut scratch);
        read.map_or(0, |_| scratch.collected.filters.len() + self.unkeyed.len())
    }

    /// Reads an event as far as some filter looks at it, and collects the filters that may take it beside the unkeyed.
    fn candidates<'e>(
        &self,
        event: &'e [u8],
        scratch: &mut Scratch,
    ) -> Result<Document<'e>, Malformed> {
        scratch.collected.clear();
        let mut probe = Probe {
            index: self,
            collected: &mut scratch.collected,
        };
        let document = Document::guided(event, &mut probe)?;
        scratch.collected.finish();
        Ok(document)
    }

    /// Of the keys that a look-up can stand under, the one with the fewest filters; and what it costs.
    fn cheapest(&self, lookup: &Lookup<'_>) -> (Key, u64) {
        let path = lookup.path.iter().fold(self.secret.root(), |path, name| {
            self.secret.below(path, name)
        });
        let mut best: Option<(Key, u64)> = None;
        for key in keys::keys(self.secret, path, &lookup.need) {
            let filters = u64::try_from(self.standing(&key)).unwrap_or(u64::MAX);
            if best.is_none_or(|(_, least)| filters < least) {
                best = Some((key, filters));
            }
            if filters == 0 {
                break;
            }
        }
        let (key, filters) = best.expect("every need has a key");
        (key, weight(&lookup.need).saturating_add(filters))
    }

    /// About how many filters a value that meets the key finds.
    fn standing(&self, key: &Key) -> usize {
        let filters = self.table.get(&key.hash).map_or(0, Postings::len);
        // Of the ranges in a block only those are found that hold the value.
        if key.interval.is_some() {
            filters / 8
        } else {
            filters
        }
    }

    fn add(&mut self, number: u32, key: &Key) {
        let new = || Postings::empty(key.interval.is_some());
        self.table.entry(key.hash, new).insert(number, key.interval);
        self.paths.count(key.path, key.way, key.level);
        if key.loose {
            self.paths.count(key.path, Use::Loose, 0);
        }
        if key.list {
            self.paths.count(key.path, Use::List, 0);
        }
    }

    fn take(&mut self, number: u32, key: &Key) {
        let postings = self.table.get_mut(&key.hash);
        if postings.is_some_and(|postings| postings.remove(number, key.interval)) {
            self.table.remove(&key.hash);
        }
        self.paths.uncount(key.path, key.way, key.level);
        if key.loose {
            self.paths.uncount(key.path, Use::Loose, 0);
        }
        if key.list {
            self.paths.uncount(key.path, Use::List, 0);
        }
    }
}

/// How an expression is found in an index that holds no other: one line for each look-up.
pub(super) fn access_path(expression: &Expression) -> String {
    let cost = |lookup: &Lookup<'_>| weight(&lookup.need);
    let Some(Access { lookups, .. }) = access::access(expression, &cost) else {
        return "asked at every event: nothing must be there for it to match".to_owned();
    };
    if lookups.is_empty() {
        return "never asked: nothing matches it".to_owned();
    }
    let mut text = "asked where an event has".to_owned();
    for (index, lookup) in lookups.iter().enumerate() {
        let or = if index > 0 { "or " } else { "" };
        // Writing to a string cannot fail.
        write!(text, "\n  {or}{lookup}").expect("a string grows");
    }
    text
}
