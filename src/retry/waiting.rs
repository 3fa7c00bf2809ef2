//! What waits in memory of one partition's deliveries: for their due times, and for their turns.
//!
//! Invariant: of the places, half are kept for what is due before any tier would let it go, a quarter for all that waits
//! for its due time; of one destination's deliveries, not more than a quarter wait for their turn.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use tokio::time::Instant;

use crate::domain::ids::DestinationId;

/// One that waits.
#[derive(Debug)]
struct One<W> {
    at: Instant,
    /// For its turn: whose.
    turn: Option<DestinationId>,
    work: W,
}

impl<W> PartialEq for One<W> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl<W> Eq for One<W> {}
impl<W> PartialOrd for One<W> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<W> Ord for One<W> {
    /// The earliest is the greatest, as the heap wants it.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

#[derive(Debug)]
pub(super) struct Waiting<W> {
    places: usize,
    heap: BinaryHeap<One<W>>,
    /// How many of each destination wait for their turn.
    turns: HashMap<DestinationId, usize>,
}

impl<W> Waiting<W> {
    pub(super) fn new(places: usize) -> Self {
        Self {
            places,
            heap: BinaryHeap::new(),
            turns: HashMap::new(),
        }
    }

    /// Whether no other may be added.
    pub(super) fn is_full(&self) -> bool {
        self.heap.len() >= self.places
    }

    /// Whether what can wait in a tier has to.
    pub(super) fn is_half_full(&self) -> bool {
        self.heap.len() >= self.places / 2
    }

    /// Whether one more of a destination may wait for its turn.
    pub(super) fn has_turn_for(&self, destination: &DestinationId) -> bool {
        let own = self.turns.get(destination).copied().unwrap_or_default();
        self.heap.len() < self.places / 4 * 3 && own < self.places / 4
    }

    /// Adds one that waits for its due time.
    pub(super) fn until_due(&mut self, at: Instant, work: W) {
        let turn = None;
        self.heap.push(One { at, turn, work });
    }

    /// Adds one that waits for its turn.
    pub(super) fn until_turn(&mut self, at: Instant, destination: DestinationId, work: W) {
        *self.turns.entry(destination.clone()).or_default() += 1;
        let turn = Some(destination);
        self.heap.push(One { at, turn, work });
    }

    /// When the next one's time comes.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|one| one.at)
    }

    /// Takes one whose time has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<W> {
        if self.next()? > now {
            return None;
        }
        let One { turn, work, .. } = self.heap.pop()?;
        if let Some(destination) = turn
            && let Some(own) = self.turns.get_mut(&destination)
        {
            *own -= 1;
            if *own == 0 {
                self.turns.remove(&destination);
            }
        }
        Some(work)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(name: &str) -> DestinationId {
        DestinationId::parse(name).expect("valid")
    }

    #[test]
    fn the_earliest_comes_first_and_none_before_its_time() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut waiting = Waiting::new(8);
        waiting.until_due(at(20), "second");
        waiting.until_turn(at(10), id("a"), "first");
        waiting.until_due(at(30), "third");
        assert_eq!(waiting.pop(at(9)), None);
        assert_eq!(waiting.next(), Some(at(10)));
        assert_eq!(waiting.pop(at(25)), Some("first"));
        assert_eq!(waiting.pop(at(25)), Some("second"));
        assert_eq!(waiting.pop(at(25)), None);
    }

    #[test]
    fn one_destination_leaves_places_to_the_turns_of_others_and_all_turns_some_to_due_times() {
        let now = Instant::now();
        let mut waiting = Waiting::new(8);
        for name in ["a", "b", "c"] {
            for _ in 0..2 {
                assert!(waiting.has_turn_for(&id(name)), "{name}");
                waiting.until_turn(now, id(name), ());
            }
            assert!(!waiting.has_turn_for(&id(name)), "{name}");
        }
        assert!(!waiting.has_turn_for(&id("d")), "the last two are kept");
        assert!(waiting.is_half_full() && !waiting.is_full());
        waiting.until_due(now, ());
        waiting.until_due(now, ());
        assert!(waiting.is_full());
        while waiting.pop(now).is_some() {}
        assert!(waiting.has_turn_for(&id("a")), "each place is given back");
        assert!(waiting.turns.is_empty());
    }
}
