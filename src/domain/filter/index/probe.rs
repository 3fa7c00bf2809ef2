//! Looks up the values of an event while it is read.
//!
//! Invariant: what is collected never exceeds twice the filters of the index, whatever the event.

use std::collections::HashSet;

use super::super::address::address;
use super::super::javascript::to_number;
use super::super::json::{Guide, Item, Kind};
use super::FilterIndex;
use super::hash::ByHash;
use super::keys;
use super::paths::{PathInfo, Use, bit};
use super::postings::{Postings, ordered, upper};

/// What is collected on the way through an event.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Filters that may take the event; sorted and without twins only after [`Collected::finish`].
    pub(super) filters: Vec<u32>,
    /// So many of them were sorted last.
    sorted: usize,
    /// Keys with several filters that were met.
    met: HashSet<u64, ByHash>,
}

impl Collected {
    pub(super) fn clear(&mut self) {
        self.filters.clear();
        self.met.clear();
        self.sorted = 0;
    }

    pub(super) fn finish(&mut self) {
        self.filters.sort_unstable();
        self.filters.dedup();
        self.sorted = self.filters.len();
    }

    fn push(&mut self, filter: u32) {
        self.filters.push(filter);
        if self.filters.len() > 2 * self.sorted + 1024 {
            self.finish();
        }
    }
}

/// Goes with the parser through an event.
#[derive(Debug)]
pub(super) struct Probe<'i, 'c> {
    pub(super) index: &'i FilterIndex,
    pub(super) collected: &'c mut Collected,
}

/// Where in the event the parser is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'i> {
    path: u64,
    info: Option<&'i PathInfo>,
    whole: bool,
}

impl<'i> Guide for Probe<'i, '_> {
    type Place = Place<'i>;

    fn root(&mut self) -> Place<'i> {
        let path = self.index.secret.root();
        let info = self.index.paths.get(path);
        Place {
            path,
            info,
            whole: info.is_some_and(PathInfo::is_whole),
        }
    }

    fn member(&mut self, place: Place<'i>, name: &str) -> Option<Place<'i>> {
        let first = bit(name.bytes().next().unwrap_or(0));
        // A name with dots begins with a name, but for `.a`.
        let known = |info: &PathInfo| info.first_bytes & first != 0 || name.starts_with('.');
        if !place.whole && !place.info.is_some_and(known) {
            return None;
        }
        let path = self.index.secret.below(place.path, name);
        let info = self.index.paths.get(path);
        let whole = place.whole || info.is_some_and(PathInfo::is_whole);
        (whole || info.is_some()).then_some(Place { path, info, whole })
    }

    fn value(&mut self, place: Place<'i>, kind: &Kind<'_>) {
        let Some(info) = place.info.filter(|info| info.is_looked_up()) else {
            return;
        };
        if info.uses(Use::Present) {
            self.key(place.path, Use::Present, 0, 0);
        }
        let mut at = At {
            path: place.path,
            info,
        };
        match kind {
            Kind::Null => at.plain(self, Use::Null, 0),
            Kind::Bool(bool) => {
                at.plain(self, Use::Bool, u64::from(*bool));
                at.prefixes(self, if *bool { "true" } else { "false" });
                if info.uses(Use::Loose) {
                    at.number(self, f64::from(u8::from(*bool)));
                }
            }
            Kind::Number(number) => {
                at.number(self, number.float);
                at.prefixes(self, &number.literal);
            }
            Kind::Text(text) => {
                at.text(self, text);
                if info.uses(Use::List) {
                    let parts = text.split(',').map(str::trim);
                    for part in parts.filter(|part| part.len() < text.len()) {
                        at.text(self, part);
                    }
                }
            }
            Kind::Array | Kind::Object => {}
        }
    }
}

impl<'i> Probe<'i, '_> {
    /// Goes through an event that was read before, in the same way.
    pub(super) fn walk(&mut self, event: Item<'_>) {
        let root = self.root();
        self.walk_from(event, root);
    }

    fn walk_from(&mut self, item: Item<'_>, place: Place<'i>) {
        self.value(place, item.kind());
        for child in item.children() {
            let place = match child.name() {
                Some(name) => self.member(place, name),
                None => Some(place),
            };
            if let Some(place) = place {
                self.walk_from(child, place);
            }
        }
    }

    fn key(&mut self, path: u64, way: Use, level: u32, value: u64) {
        let hash = keys::hash(self.index.secret, path, way, level, value);
        match self.index.table.get(&hash) {
            None | Some(Postings::Ranges(_)) => {}
            Some(Postings::One(filter)) => self.collected.push(*filter),
            Some(Postings::Many(filters)) => {
                if self.collected.met.insert(hash) {
                    filters
                        .iter()
                        .for_each(|filter| self.collected.push(filter));
                }
            }
        }
    }
}

/// One path.
struct At<'i> {
    path: u64,
    info: &'i PathInfo,
}

impl At<'_> {
    fn plain(&mut self, probe: &mut Probe<'_, '_>, way: Use, value: u64) {
        if self.info.uses(way) {
            probe.key(self.path, way, 0, value);
        }
    }

    fn number(&mut self, probe: &mut Probe<'_, '_>, number: f64) {
        self.plain(probe, Use::Number, keys::number(number));
        let number = ordered(number);
        for level in bits(self.info.levels(Use::Range)) {
            let secret = probe.index.secret;
            let hash = keys::hash(secret, self.path, Use::Range, level, upper(number, level));
            if let Some(Postings::Ranges(ranges)) = probe.index.table.get(&hash) {
                ranges.holding(number, level, |filter| probe.collected.push(filter));
            }
        }
    }

    fn text(&mut self, probe: &mut Probe<'_, '_>, text: &str) {
        let (info, secret) = (self.info, probe.index.secret);
        if info.uses(Use::Text) {
            probe.key(self.path, Use::Text, 0, secret.bytes(0, text.as_bytes()));
        }
        if info.uses(Use::AnyCase) {
            let lower = text.to_ascii_lowercase();
            probe.key(
                self.path,
                Use::AnyCase,
                0,
                secret.bytes(0, lower.as_bytes()),
            );
        }
        if info.uses(Use::Address)
            && let Some(address) = address(text)
        {
            probe.key(self.path, Use::Address, 0, keys::address(secret, address));
        }
        if info.uses(Use::Loose) {
            let number = to_number(text);
            if !number.is_nan() {
                self.number(probe, number);
            }
        }
        self.prefixes(probe, text);
        self.affixes(probe, Use::Suffix, text.bytes().rev());
        let lower = |byte: u8| byte.to_ascii_lowercase();
        self.affixes(probe, Use::PrefixAnyCase, text.bytes().map(lower));
        self.affixes(probe, Use::SuffixAnyCase, text.bytes().rev().map(lower));
        for level in bits(info.levels(Use::Gram)) {
            self.grams(probe, level, text.as_bytes());
        }
    }

    fn prefixes(&mut self, probe: &mut Probe<'_, '_>, text: &str) {
        self.affixes(probe, Use::Prefix, text.bytes());
    }

    fn affixes(
        &mut self,
        probe: &mut Probe<'_, '_>,
        way: Use,
        mut bytes: impl Iterator<Item = u8>,
    ) {
        let (mut hash, mut taken) = (0, 0);
        for level in bits(self.info.levels(way)) {
            let length = keys::length(level).unwrap_or(usize::MAX);
            while taken < length {
                let Some(byte) = bytes.next() else { return };
                hash = keys::next_byte(probe.index.secret, hash, byte);
                taken += 1;
            }
            probe.key(self.path, way, level, hash);
        }
    }

    fn grams(&mut self, probe: &mut Probe<'_, '_>, level: u32, text: &[u8]) {
        let Some(size) = usize::try_from(level)
            .ok()
            .and_then(|at| keys::GRAMS.get(at))
        else {
            return;
        };
        let kept = u64::MAX >> (64 - 8 * size);
        let mut packed = 0;
        for (index, byte) in text.iter().enumerate() {
            packed = (packed << 8 | u64::from(*byte)) & kept;
            if index + 1 >= *size {
                probe.key(self.path, Use::Gram, level, packed);
            }
        }
    }
}

/// The bits that are set, from the lowest.
fn bits(mut set: u128) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let lowest = set.trailing_zeros();
        set &= set.wrapping_sub(1);
        (lowest < u128::BITS).then_some(lowest)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::{Dialect, Filter};
    use super::super::Scratch;
    use super::*;

    #[test]
    fn many_values_that_many_filters_want_are_collected_in_bounded_memory() {
        let mut index = FilterIndex::default();
        for number in 0..1000 {
            let rules = [
                format!(r#"{{"a":[{{"numeric":[">",{number}]}}]}}"#),
                r#"{"a":[{"wildcard":"*aaaaaaaa*"}]}"#.to_owned(),
                r#"{"a":[{"prefix":"aa"}]}"#.to_owned(),
            ];
            for (rule, number) in rules.iter().zip(number * 3..) {
                let filter = Filter::compile_text(Dialect::EventBridge, rule.as_bytes());
                index.insert(number, Arc::new(filter.expect("valid")), usize::MAX);
            }
        }
        let text = "a".repeat(10_000);
        let numbers = vec!["999.5"; 2_000].join(",");
        let event = format!(r#"{{"a":["{text}",{numbers},"{text}"]}}"#);
        let (mut scratch, mut found) = (Scratch::default(), Vec::new());
        let searched = index.matching(event.as_bytes(), &[], &mut scratch, |_| true, &mut found);
        searched.expect("JSON");
        assert_eq!(found.len(), 3000);
        assert!(scratch.collected.filters.capacity() <= 4 * (2 * 3000 + 1024));
    }
}
