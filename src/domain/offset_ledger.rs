//! Which offsets of one partition need no more work, and from where it would be read again.
//!
//! The router begins every record that it reads, in order, and settles it when nothing more follows from it, in any
//! order. The position goes into the group's commit, what is finished beyond it into the commit's metadata
//! (`commit_metadata`), and from there into the ledger of whoever is assigned the partition next.
//!
//! Invariant: one ledger serves one partition in one assignment; work of an older assignment settles nothing.
//! Invariant: no offset below the position, and none that is given as finished, is unsettled.
//! Invariant: every record of the partition is begun, so that no record lies between two that were begun one after the
//! other. Compaction and transaction markers leave such gaps; they count as finished together with what surrounds them.
//! Invariant: the first entry is unsettled; what is settled at the front is forgotten.

use std::collections::VecDeque;
use std::iter;
use std::ops::RangeInclusive;

/// What is to be done with a record that was just read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Work on it and settle it.
    New,
    /// Nothing: it was finished before the last restart.
    AlreadySettled,
    /// Nothing: its offset is not above the last one that was begun, which is a bug of the caller. Nothing was changed.
    Repeated,
}

/// A record that was begun, at or beyond the position.
#[derive(Debug, Clone, Copy)]
struct Entry {
    offset: i64,
    at_ms: i64,
    bytes: usize,
    settled: bool,
}

/// The records of one partition, from the oldest unsettled one to the newest that was read.
#[derive(Debug, Clone, Default)]
pub struct OffsetLedger {
    /// Ascending by offset.
    entries: VecDeque<Entry>,
    last_begun: Option<i64>,
    /// Finished before the restart and not read again yet: ascending, apart from each other.
    finished: VecDeque<RangeInclusive<i64>>,
    unsettled: usize,
    unsettled_bytes: usize,
}

impl OffsetLedger {
    /// A ledger for a partition that was just assigned. `finished` are the offsets that the commit metadata names as
    /// finished, in any order.
    #[must_use]
    pub fn new(finished: impl IntoIterator<Item = RangeInclusive<i64>>) -> Self {
        let mut ranges: Vec<_> = finished.into_iter().filter(|r| !r.is_empty()).collect();
        ranges.sort_unstable_by_key(|range| *range.start());
        Self {
            finished: joined(ranges.into_iter()).collect(),
            ..Self::default()
        }
    }

    /// Takes in a record that was read: `bytes` is the memory that it holds until it is settled, `at_ms` the time in
    /// milliseconds since 1970.
    pub fn begin(&mut self, offset: i64, bytes: usize, at_ms: i64) -> Begin {
        if self.last_begun.is_some_and(|last| offset <= last) {
            return Begin::Repeated;
        }
        self.last_begun = Some(offset);
        let settled = self.was_finished(offset);
        if settled && self.entries.is_empty() {
            return Begin::AlreadySettled;
        }
        self.entries.push_back(Entry {
            offset,
            at_ms,
            bytes,
            settled,
        });
        if settled {
            return Begin::AlreadySettled;
        }
        self.unsettled += 1;
        self.unsettled_bytes = self.unsettled_bytes.saturating_add(bytes);
        Begin::New
    }

    /// Notes that a record needs no more work. False, and without effect, for what was not begun or is settled already.
    pub fn settle(&mut self, offset: i64) -> bool {
        let Some(entry) = self
            .entries
            .binary_search_by_key(&offset, |entry| entry.offset)
            .ok()
            .and_then(|index| self.entries.get_mut(index))
            .filter(|entry| !entry.settled)
        else {
            return false;
        };
        entry.settled = true;
        self.unsettled -= 1;
        self.unsettled_bytes = self.unsettled_bytes.saturating_sub(entry.bytes);
        while self.entries.front().is_some_and(|entry| entry.settled) {
            self.entries.pop_front();
        }
        true
    }

    /// The offset to commit: the oldest unsettled record, or the one after the last that was begun. `None` until
    /// something was begun.
    #[must_use]
    pub fn position(&self) -> Option<i64> {
        match self.entries.front() {
            Some(oldest) => Some(oldest.offset),
            None => self.last_begun.map(|last| last.saturating_add(1)),
        }
    }

    /// The offset after the last that was begun; `None` until something was begun.
    #[must_use]
    pub fn next_offset(&self) -> Option<i64> {
        self.last_begun.map(|last| last.saturating_add(1))
    }

    /// How many records are begun and not settled.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// The memory that they hold.
    #[must_use]
    pub fn unsettled_bytes(&self) -> usize {
        self.unsettled_bytes
    }

    /// How many records are held from the position on, settled or not: what this ledger's own memory grows with.
    #[must_use]
    pub fn span(&self) -> usize {
        self.entries.len()
    }

    /// When the oldest unsettled record was begun, in milliseconds since 1970.
    #[must_use]
    pub fn oldest_unsettled_ms(&self) -> Option<i64> {
        self.entries.front().map(|oldest| oldest.at_ms)
    }

    /// How many runs of unfinished offsets have finished ones beyond them. Takes time in proportion to the span.
    #[must_use]
    pub fn holes(&self) -> usize {
        self.finished_beyond().count()
    }

    /// The offsets beyond the position that are finished: ascending, apart from each other. Those of before the restart
    /// stay among them until they are read again. Takes time in proportion to the span.
    pub fn finished_beyond(&self) -> impl Iterator<Item = RangeInclusive<i64>> {
        let mut entries = self.entries.iter();
        let settled = iter::from_fn(move || {
            let first = entries.find(|entry| entry.settled)?.offset;
            let last = entries
                .by_ref()
                .take_while(|entry| entry.settled)
                .last()
                .map_or(first, |entry| entry.offset);
            Some(first..=last)
        });
        let unread = self
            .last_begun
            .map_or(i64::MIN, |last| last.saturating_add(1));
        let finished = self
            .finished
            .iter()
            .map(move |range| *range.start().max(&unread)..=*range.end())
            .filter(|range| !range.is_empty());
        joined(settled.chain(finished))
    }

    /// Whether `offset` was finished before the restart; forgets the ranges below it.
    fn was_finished(&mut self, offset: i64) -> bool {
        let below = |range: &RangeInclusive<i64>| *range.end() < offset;
        while self.finished.front().is_some_and(below) {
            self.finished.pop_front();
        }
        self.finished
            .front()
            .is_some_and(|range| range.contains(&offset))
    }
}

/// Joins ranges, ascending by their starts, that overlap or touch.
fn joined(
    ranges: impl Iterator<Item = RangeInclusive<i64>>,
) -> impl Iterator<Item = RangeInclusive<i64>> {
    let mut ranges = ranges.peekable();
    iter::from_fn(move || {
        let (start, mut end) = ranges.next()?.into_inner();
        while let Some(next) = ranges.next_if(|next| *next.start() <= end.saturating_add(1)) {
            end = end.max(*next.end());
        }
        Some(start..=end)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::domain::commit_metadata;

    fn begun(offsets: &[i64]) -> OffsetLedger {
        let mut ledger = OffsetLedger::new([]);
        for offset in offsets {
            assert_eq!(ledger.begin(*offset, 100, 1000 + offset), Begin::New);
        }
        ledger
    }

    fn beyond(ledger: &OffsetLedger) -> Vec<RangeInclusive<i64>> {
        ledger.finished_beyond().collect()
    }

    #[test]
    fn an_entry_takes_at_most_40_bytes() {
        assert!(size_of::<Entry>() <= 40);
    }

    #[test]
    fn the_position_follows_the_oldest_unsettled_record() {
        let mut ledger = begun(&[5, 6, 7, 8]);
        for (settled, position, finished) in [
            (6, 5, vec![6..=6]),
            (8, 5, vec![6..=6, 8..=8]),
            (5, 7, vec![8..=8]),
            (7, 9, vec![]),
        ] {
            assert!(ledger.settle(settled));
            assert_eq!(ledger.position(), Some(position), "after {settled}");
            assert_eq!(beyond(&ledger), finished, "after {settled}");
            assert_eq!(ledger.holes(), finished.len());
        }
    }

    #[test]
    fn nothing_is_committed_before_something_was_begun() {
        let ledger = OffsetLedger::new([7..=9]);
        assert_eq!(ledger.position(), None);
        assert_eq!(ledger.oldest_unsettled_ms(), None);
        assert_eq!(beyond(&ledger), [7..=9]);
    }

    #[test]
    fn numbers_and_bytes_count_the_unsettled_ones_only() {
        let mut ledger = begun(&[5, 6, 7]);
        assert_eq!(
            (
                ledger.unsettled(),
                ledger.unsettled_bytes(),
                ledger.span(),
                ledger.oldest_unsettled_ms()
            ),
            (3, 300, 3, Some(1005))
        );
        assert!(ledger.settle(6));
        assert_eq!(
            (ledger.unsettled(), ledger.unsettled_bytes(), ledger.span()),
            (2, 200, 3)
        );
        assert!(ledger.settle(5));
        assert_eq!(
            (
                ledger.unsettled(),
                ledger.unsettled_bytes(),
                ledger.span(),
                ledger.oldest_unsettled_ms()
            ),
            (1, 100, 1, Some(1007))
        );
    }

    #[test]
    fn what_was_not_begun_or_is_settled_cannot_be_settled() {
        let mut ledger = begun(&[5, 7]);
        assert!(ledger.settle(7));
        for offset in [i64::MIN, 4, 6, 7, 8, i64::MAX] {
            assert!(!ledger.settle(offset), "{offset}");
        }
        assert!(ledger.settle(5));
        assert!(!ledger.settle(5));
        assert_eq!(ledger.unsettled(), 0);
    }

    #[test]
    fn an_offset_that_does_not_ascend_changes_nothing() {
        let mut ledger = begun(&[5, 6]);
        for offset in [6, 5, 0, -1] {
            assert_eq!(ledger.begin(offset, 100, 0), Begin::Repeated);
        }
        assert_eq!((ledger.unsettled(), ledger.span()), (2, 2));
        assert!(ledger.settle(5) && ledger.settle(6));
        assert_eq!(ledger.begin(6, 100, 0), Begin::Repeated);
        assert_eq!(ledger.position(), Some(7));
    }

    #[test]
    fn gaps_between_records_are_finished_with_what_surrounds_them() {
        let mut ledger = begun(&[0, 2, 4, 10, 11]);
        for offset in [2, 4, 11] {
            assert!(ledger.settle(offset));
        }
        assert_eq!(beyond(&ledger), [2..=4, 11..=11]);
        assert!(ledger.settle(0));
        assert_eq!(ledger.position(), Some(10));
    }

    #[test]
    fn what_was_finished_before_is_not_done_again() {
        let mut ledger = OffsetLedger::new([10..=11, 13..=13]);
        for (offset, expected, position) in [
            (10, Begin::AlreadySettled, 11),
            (11, Begin::AlreadySettled, 12),
            (12, Begin::New, 12),
            (13, Begin::AlreadySettled, 12),
            (14, Begin::New, 12),
        ] {
            assert_eq!(ledger.begin(offset, 100, 0), expected, "{offset}");
            assert_eq!(ledger.position(), Some(position), "{offset}");
        }
        assert_eq!((ledger.unsettled(), ledger.unsettled_bytes()), (2, 200));
        assert!(!ledger.settle(13), "it was settled already");
        assert!(ledger.settle(12));
        assert_eq!(ledger.position(), Some(14));
    }

    #[test]
    fn what_was_finished_before_is_kept_until_it_is_read_again() {
        let mut ledger = OffsetLedger::new([12..=14, 20..=29]);
        assert_eq!(ledger.begin(10, 1, 0), Begin::New);
        assert_eq!(ledger.begin(11, 1, 0), Begin::New);
        assert!(ledger.settle(11));
        assert_eq!(
            beyond(&ledger),
            [11..=14, 20..=29],
            "a crash here loses nothing"
        );
        assert_eq!(ledger.begin(12, 1, 0), Begin::AlreadySettled);
        assert!(ledger.settle(10));
        assert_eq!(ledger.position(), Some(13));
        assert_eq!(beyond(&ledger), [13..=14, 20..=29]);
        assert_eq!(
            ledger.begin(25, 1, 0),
            Begin::AlreadySettled,
            "13 to 24 are gone"
        );
        assert_eq!(ledger.position(), Some(26));
        assert_eq!(beyond(&ledger), [26..=29]);
        assert_eq!(ledger.begin(31, 1, 0), Begin::New);
        assert_eq!(beyond(&ledger), []);
    }

    #[test]
    fn finished_ranges_may_come_in_any_order_overlap_and_be_empty() {
        #[expect(
            clippy::reversed_empty_ranges,
            reason = "an empty range is what is tried"
        )]
        let ledger = OffsetLedger::new([9..=12, 3..=4, 8..=7, 5..=5, 10..=11, i64::MAX..=i64::MAX]);
        assert_eq!(beyond(&ledger), [3..=5, 9..=12, i64::MAX..=i64::MAX]);
    }

    /// What a ledger is to know, as simply as possible.
    #[derive(Debug, Default)]
    struct Model {
        /// Begun in this assignment: offset to bytes and time.
        begun: BTreeMap<i64, (usize, i64)>,
        /// Settled ever.
        settled: BTreeSet<i64>,
        /// The position at the last crash.
        base: i64,
    }

    impl Model {
        fn unsettled(&self) -> Vec<i64> {
            let begun = self.begun.keys();
            begun
                .filter(|o| !self.settled.contains(o))
                .copied()
                .collect()
        }

        fn check(&self, ledger: &OffsetLedger, log: &[i64]) {
            let unsettled = self.unsettled();
            let newest = self.begun.keys().next_back().copied();
            let position = unsettled.first().copied().or(newest.map(|o| o + 1));
            assert_eq!(ledger.position(), position);
            assert_eq!(ledger.unsettled(), unsettled.len());
            let bytes: usize = unsettled.iter().map(|o| self.begun[o].0).sum();
            assert_eq!(ledger.unsettled_bytes(), bytes);
            let oldest = unsettled.first().map(|o| self.begun[o].1);
            assert_eq!(ledger.oldest_unsettled_ms(), oldest);
            let held = match unsettled.first() {
                Some(first) => self.begun.range(first..).count(),
                None => 0,
            };
            assert_eq!(ledger.span(), held);
            let ranges: Vec<_> = ledger.finished_beyond().collect();
            assert!(
                ranges.is_sorted_by(|a, b| a.end() + 1 < *b.start()),
                "{ranges:?}"
            );
            for offset in log.iter().filter(|o| **o >= position.unwrap_or(self.base)) {
                let finished = ranges.iter().any(|range| range.contains(offset));
                assert_eq!(finished, self.settled.contains(offset), "offset {offset}");
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Begin,
        Settle(prop::sample::Index),
        Crash,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            10 => Just(Step::Begin),
            10 => any::<prop::sample::Index>().prop_map(Step::Settle),
            1 => Just(Step::Crash),
        ];
        prop::collection::vec(step, 0..200)
    }

    /// A log of records, their offsets ascending with gaps.
    fn logs() -> impl Strategy<Value = Vec<i64>> {
        let gaps = prop::collection::vec(prop_oneof![4 => Just(1), 1 => 2i64..5], 1..60);
        (0i64..1000, gaps).prop_map(|(start, gaps)| {
            let ends = gaps.into_iter().scan(start, |at, gap| {
                *at += gap;
                Some(*at)
            });
            ends.collect()
        })
    }

    proptest! {
        #[test]
        fn the_ledger_equals_a_naive_one_and_a_crash_redoes_exactly_the_unsettled(log in logs(), steps in steps()) {
            let mut ledger = OffsetLedger::new([]);
            let mut model = Model::default();
            let mut unread = log.iter().copied();
            for step in steps {
                match step {
                    Step::Begin => {
                        let Some(offset) = unread.next() else { continue };
                        let bytes = usize::try_from(offset % 7).expect("small");
                        let expected = match model.settled.contains(&offset) {
                            true => Begin::AlreadySettled,
                            false => Begin::New,
                        };
                        prop_assert_eq!(ledger.begin(offset, bytes, offset * 10), expected);
                        model.begun.insert(offset, (bytes, offset * 10));
                    }
                    Step::Settle(index) => {
                        let unsettled = model.unsettled();
                        if unsettled.is_empty() { continue }
                        let offset = *index.get(&unsettled);
                        prop_assert!(ledger.settle(offset));
                        prop_assert!(!ledger.settle(offset));
                        model.settled.insert(offset);
                    }
                    Step::Crash => {
                        let Some(base) = ledger.position() else { continue };
                        let text = commit_metadata::encode("c", "t", base, ledger.finished_beyond(), 3584);
                        ledger = OffsetLedger::new(commit_metadata::decode(&text, "c", "t", base));
                        model.begun.clear();
                        model.base = base;
                        let at = log.partition_point(|offset| *offset < base);
                        unread = log[at..].iter().copied();
                    }
                }
                model.check(&ledger, &log);
            }
        }

        #[test]
        fn where_the_metadata_was_cut_more_is_redone_and_never_less(
            log in logs(),
            settled in prop::collection::vec(any::<bool>(), 60),
            max_bytes in 0usize..60,
        ) {
            let mut ledger = OffsetLedger::new([]);
            let mut unsettled = BTreeSet::new();
            for (offset, settle) in log.iter().zip(settled) {
                prop_assert_eq!(ledger.begin(*offset, 1, 0), Begin::New);
                if !(settle && ledger.settle(*offset)) {
                    unsettled.insert(*offset);
                }
            }
            let base = ledger.position().expect("something was begun");
            let text = commit_metadata::encode("c", "t", base, ledger.finished_beyond(), max_bytes);
            let mut ledger = OffsetLedger::new(commit_metadata::decode(&text, "c", "t", base));
            for offset in log.iter().filter(|offset| **offset >= base) {
                let begin = ledger.begin(*offset, 1, 0);
                prop_assert!(begin == Begin::New || !unsettled.contains(offset));
            }
            prop_assert!(unsettled.first().is_none_or(|first| *first >= base));
        }
    }
}
