//! Who may not start another attempt while slots are scarce. No IO, no clock.
//!
//! Invariant: while half of the slots are taken, a destination whose attempts do not end gets no second one: the other
//! half is for those that give their slots back.
//! Invariant: destinations that are known to be slow start no attempt that makes theirs more than half of the slots. So
//! what hangs can take more than half only once, by destinations that were not slow before.

use std::collections::VecDeque;

use super::entry::{Entry, Millis};
use crate::domain::ids::DestinationId;

/// For how long it is remembered that a destination is slow, in milliseconds: longer than an attempt takes at most.
const REMEMBERED: Millis = 10 * 60 * 1000;

/// Keeps slots free for destinations that give them back.
#[derive(Debug)]
pub(crate) struct Crowd {
    /// Half of the slots, at least one.
    half: usize,
    slow_after: Millis,
    /// Destinations that wait until half of the slots are free, each once.
    parked: VecDeque<DestinationId>,
    /// Slow ones that wait until slow ones have less than half of the slots.
    parked_slow: VecDeque<DestinationId>,
    /// Attempts in flight of slow destinations.
    slow_in_flight: usize,
}

impl Crowd {
    pub(crate) fn new(slots: usize, slow_after: Millis) -> Self {
        Self {
            half: slots.div_ceil(2),
            slow_after,
            parked: VecDeque::new(),
            parked_slow: VecDeque::new(),
            slow_in_flight: 0,
        }
    }

    /// Whether a destination has to wait until [`Crowd::free`] names it.
    pub(crate) fn parks<W>(
        &mut self,
        id: &DestinationId,
        entry: &mut Entry<W>,
        in_flight: usize,
        now: Millis,
    ) -> bool {
        let hangs = !entry.started.is_empty() && !entry.is_prompt(now, self.slow_after / 4);
        let many_slow = entry.slow && self.slow_in_flight >= self.half;
        let parks = many_slow || (hangs && in_flight >= self.half);
        if parks && !entry.parked {
            entry.parked = true;
            let parked = if many_slow {
                &mut self.parked_slow
            } else {
                &mut self.parked
            };
            parked.push_back(id.clone());
        }
        parks
    }

    /// Notes that an attempt of a destination started.
    pub(crate) fn started<W>(&mut self, entry: &Entry<W>) {
        self.slow_in_flight += usize::from(entry.slow);
    }

    /// Notes that an attempt of a destination, which stands among its started ones no more, ended.
    pub(crate) fn ended<W>(&mut self, entry: &mut Entry<W>, took: Millis, now: Millis) {
        self.slow_in_flight -= usize::from(entry.slow);
        if took >= self.slow_after {
            self.is_slow(entry, now);
        } else {
            entry.prompt = Some(now);
            if entry.slow {
                entry.slow = false;
                self.slow_in_flight -= entry.started.len();
            }
        }
    }

    /// Notes that a destination is slow.
    pub(crate) fn is_slow<W>(&mut self, entry: &mut Entry<W>, now: Millis) {
        entry.slow_until = now + REMEMBERED;
        if !entry.slow {
            entry.slow = true;
            // Those that it has in flight count from now on.
            self.slow_in_flight += entry.started.len();
        }
    }

    /// As many of the destinations that wait as there is room for; they wait no more.
    pub(crate) fn free(&mut self, in_flight: usize) -> Vec<DestinationId> {
        let free = self.half.saturating_sub(in_flight).min(self.parked.len());
        let slow = self.half.saturating_sub(self.slow_in_flight);
        let slow = slow.min(self.parked_slow.len());
        let slow = self.parked_slow.drain(..slow);
        self.parked.drain(..free).chain(slow).collect()
    }

    /// Attempts in flight of slow destinations.
    #[cfg(test)]
    pub(crate) fn slow_in_flight(&self) -> usize {
        self.slow_in_flight
    }
}
