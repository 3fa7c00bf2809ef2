//! Which filters stand under a key.
//!
//! Invariant: a filter stands under a key once, however often it is added.

use super::super::super::persistent::Set;

/// The filters under one key.
#[derive(Debug, Clone)]
pub(super) enum Postings {
    /// Most keys have one.
    One(u32),
    Many(Set<u32>),
    Ranges(Box<Ranges>),
}

/// Ranges that share their centre, by both bounds.
#[derive(Debug, Clone, Default)]
pub(super) struct Ranges {
    by_low: Set<(u64, u32)>,
    by_high: Set<(u64, u32)>,
}

/// A range of ordered numbers, bounds included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) low: u64,
    pub(super) high: u64,
}

impl Interval {
    /// The smallest block of numbers with equal upper bits that holds the interval: how many lower bits are free, and the
    /// upper ones. Within it, the interval holds the first number of the block's upper half: its centre.
    pub(super) fn block(self) -> (u32, u64) {
        let level = u64::BITS - (self.low ^ self.high).leading_zeros();
        (level, upper(self.low, level))
    }
}

/// A number without its `level` lower bits.
pub(super) fn upper(number: u64, level: u32) -> u64 {
    number.checked_shr(level).unwrap_or(0)
}

/// A float as a number that is ordered likewise; -0 is 0.
pub(super) fn ordered(float: f64) -> u64 {
    let bits = (float + 0.0).to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

impl Postings {
    pub(super) fn empty(ranges: bool) -> Self {
        if ranges {
            Self::Ranges(Box::default())
        } else {
            Self::Many(Set::default())
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(set) => set.len(),
            Self::Ranges(ranges) => ranges.by_low.len(),
        }
    }

    pub(super) fn insert(&mut self, filter: u32, interval: Option<Interval>) {
        match (self, interval) {
            (Self::Ranges(ranges), Some(Interval { low, high })) => {
                ranges.by_low.insert((low, filter));
                ranges.by_high.insert((high, filter));
            }
            (Self::Many(set), _) if !set.is_empty() => set.insert(filter),
            (Self::One(other), _) if *other == filter => {}
            (this @ Self::One(_), _) => {
                let mut set = Set::default();
                if let Self::One(other) = *this {
                    set.insert(other);
                }
                set.insert(filter);
                *this = Self::Many(set);
            }
            (this, _) => *this = Self::One(filter),
        }
    }

    /// Removes a filter; returns whether none is left.
    pub(super) fn remove(&mut self, filter: u32, interval: Option<Interval>) -> bool {
        match (self, interval) {
            (Self::Ranges(ranges), Some(Interval { low, high })) => {
                ranges.by_low.remove((low, filter));
                ranges.by_high.remove((high, filter));
                ranges.by_low.is_empty()
            }
            (Self::One(other), _) => *other == filter,
            (Self::Many(set), _) => {
                set.remove(filter);
                set.is_empty()
            }
            (Self::Ranges(_), None) => false,
        }
    }
}

impl Ranges {
    /// Calls `found` with those that hold a number of their block of this level.
    pub(super) fn holding(&self, number: u64, level: u32, mut found: impl FnMut(u32)) {
        // All hold the centre, so beside it one bound decides.
        let upper_half = level
            .checked_sub(1)
            .is_some_and(|bit| number >> bit & 1 == 1);
        if upper_half {
            let by_high = self.by_high.iter().rev();
            by_high
                .take_while(|(high, _)| *high >= number)
                .for_each(|(_, filter)| found(filter));
        } else {
            let by_low = self.by_low.iter();
            by_low
                .take_while(|(low, _)| *low <= number)
                .for_each(|(_, filter)| found(filter));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn floats_are_ordered_as_numbers() {
        let floats = [
            f64::NEG_INFINITY,
            -2.5,
            -1e-300,
            0.0,
            1e-300,
            1.0,
            2.0,
            f64::INFINITY,
        ];
        assert!(floats.map(ordered).is_sorted());
        assert_eq!(ordered(-0.0), ordered(0.0));
    }

    proptest! {
        #[test]
        fn ranges_are_found_by_the_numbers_that_they_hold(
            ranges in prop::collection::vec((-50i8..50, 0i8..20), 1..40),
            number in -60i8..80,
        ) {
            use std::collections::BTreeMap;
            let mut blocks: BTreeMap<(u32, u64), Postings> = BTreeMap::new();
            let mut expected = Vec::new();
            for (filter, (low, width)) in (0..).zip(ranges) {
                let (low, high) = (f64::from(low), f64::from(low) + f64::from(width));
                if (low..=high).contains(&f64::from(number)) {
                    expected.push(filter);
                }
                let interval = Interval { low: ordered(low), high: ordered(high) };
                let block = blocks.entry(interval.block()).or_insert_with(|| Postings::empty(true));
                block.insert(filter, Some(interval));
            }
            let number = ordered(f64::from(number));
            let mut found = Vec::new();
            for level in 0..=64 {
                if let Some(Postings::Ranges(ranges)) = blocks.get(&(level, upper(number, level))) {
                    ranges.holding(number, level, |filter| found.push(filter));
                }
            }
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
