//! Who may start an attempt now: slots, bounds for each destination, fairness over destinations. No IO, no clock.
//!
//! Every destination has two short queues: fresh deliveries, straight from their source topic, and backlog, from its
//! retry topic. Two rings hold the destinations that could start one; the rings are walked in turn, so that a
//! destination with much waiting gets no more turns than one with little.
//!
//! Invariant: attempts in flight never exceed the slots; of backlog, never its share; of one destination, never its
//! concurrency. While a destination has both kinds, each has half of its concurrency.
//! Invariant: every queue is bounded in number, bytes and time; what does not fit is given back to be handed over.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;

use super::crowd::Crowd;
use super::entry::{Allowance, Entry, Kind, Millis, Queued};
use crate::domain::ids::DestinationId;
use crate::telemetry::metrics::HandOver;

/// The bounds of all destinations together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) slots: usize,
    pub(crate) backlog_slots: usize,
    /// A queue of this length is always allowed.
    pub(crate) queue: usize,
    /// No queue is longer, however fast its destination is.
    pub(crate) queue_most: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) queue_wait: Millis,
    pub(crate) slow_after: Millis,
}

/// An attempt that may start.
#[derive(Debug)]
pub(crate) struct Start<W> {
    pub(crate) work: W,
    pub(crate) destination: DestinationId,
    pub(crate) token: u64,
    pub(crate) kind: Kind,
}

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum Next<W> {
    Start(Start<W>),
    HandOver(Vec<W>, HandOver),
    Nothing,
}

/// What an attempt's end means for the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    None,
    /// It asked for less; nothing before this time.
    Throttled {
        hold_until: Millis,
    },
}

#[derive(Debug)]
pub(crate) struct Queues<W> {
    limits: Limits,
    entries: HashMap<DestinationId, Entry<W>>,
    fresh_ring: VecDeque<DestinationId>,
    backlog_ring: VecDeque<DestinationId>,
    /// Destinations that may not start before a time.
    timers: BinaryHeap<Reverse<(Millis, DestinationId)>>,
    in_flight: usize,
    backlog_in_flight: usize,
    backlog_turn: bool,
    crowd: Crowd,
    next_token: u64,
    queued: usize,
}

impl<W> Queues<W> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            fresh_ring: VecDeque::new(),
            backlog_ring: VecDeque::new(),
            timers: BinaryHeap::new(),
            in_flight: 0,
            backlog_in_flight: 0,
            backlog_turn: false,
            crowd: Crowd::new(limits.slots, limits.slow_after),
            next_token: 0,
            queued: 0,
        }
    }

    /// Attempts in flight: all, and those of backlog.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        (self.in_flight, self.backlog_in_flight)
    }

    /// Deliveries that wait in memory.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Destinations that something is known of.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn entry(&mut self, id: &DestinationId, allowance: Allowance) -> &mut Entry<W> {
        let entry = self
            .entries
            .entry(id.clone())
            .or_insert_with(|| Entry::new(allowance));
        // Who looked the document up before it changed may come after who told the change.
        if entry.allowance != allowance && entry.allowance.version <= allowance.version {
            if entry.allowance.rate != allowance.rate {
                entry.limit.set_rate(allowance.rate);
            }
            entry.allowance = allowance;
        }
        entry
    }

    /// Takes a fresh delivery, or gives it back with the reason why it cannot wait here.
    pub(crate) fn offer_fresh(
        &mut self,
        id: &DestinationId,
        allowance: Allowance,
        work: W,
        bytes: usize,
        memory_is_short: bool,
        now: Millis,
    ) -> Result<(), (W, HandOver)> {
        let limits = self.limits;
        let entry = self.entry(id, allowance);
        let allowance = entry.allowance;
        if !allowance.enabled {
            return Err((work, HandOver::Paused));
        }
        if entry.blocked {
            return Err((work, HandOver::Slow));
        }
        let held = entry.limit.held_until(now);
        if held.is_some_and(|until| until > now + limits.queue_wait) {
            return Err((work, HandOver::Throttled));
        }
        let waits = !entry.fresh.is_empty() || entry.started.len() >= allowance.concurrency;
        if waits && memory_is_short {
            return Err((work, HandOver::Memory));
        }
        if waits && entry.is_full(bytes, &limits, now) {
            return Err((work, HandOver::QueueFull));
        }
        entry.fresh_bytes += bytes;
        entry.fresh.push_back(Queued {
            work,
            bytes,
            since: now,
        });
        self.queued += 1;
        self.ring(id);
        Ok(())
    }

    /// What tells when a fresh delivery leaves the queue of a destination that is fast: then one is about to.
    pub(crate) fn fresh_room(&self, id: &DestinationId, now: Millis) -> Option<Arc<Notify>> {
        let entry = self.entries.get(id)?;
        entry.is_fast(now).then(|| Arc::clone(&entry.fresh_room))
    }

    /// Takes a delivery of the backlog, or gives it back with what tells when there is room.
    pub(crate) fn offer_backlog(
        &mut self,
        id: &DestinationId,
        allowance: Allowance,
        work: W,
        now: Millis,
    ) -> Result<(), (W, Arc<Notify>)> {
        let entry = self.entry(id, allowance);
        let allowance = entry.allowance;
        let bound = (2 * allowance.concurrency).max(4);
        let held = entry.limit.held_until(now).is_some();
        if !allowance.enabled || held || entry.blocked || entry.backlog.len() >= bound {
            return Err((work, Arc::clone(&entry.room)));
        }
        entry.backlog.push_back(Queued {
            work,
            bytes: 0,
            since: now,
        });
        self.queued += 1;
        self.ring(id);
        Ok(())
    }

    /// How long it is likely to be until there is room for a delivery of the backlog that just found none, by the pace of
    /// its destination and by those that found none before it: `most` at most. `None`: the destination does not move.
    pub(crate) fn backlog_turn(
        &mut self,
        id: &DestinationId,
        now: Millis,
        most: Millis,
    ) -> Option<Millis> {
        self.entries.get_mut(id)?.take_turn(now, most)
    }

    /// Puts a destination into the rings where it has something to start.
    fn ring(&mut self, id: &DestinationId) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        if !entry.in_fresh_ring && entry.may_start(Kind::Fresh) {
            entry.in_fresh_ring = true;
            self.fresh_ring.push_back(id.clone());
        }
        if !entry.in_backlog_ring && entry.may_start(Kind::Backlog) {
            entry.in_backlog_ring = true;
            self.backlog_ring.push_back(id.clone());
        }
    }

    /// The next thing to do: call until it says [`Next::Nothing`].
    pub(crate) fn next(&mut self, now: Millis) -> Next<W> {
        while self.in_flight < self.limits.slots {
            let backlog_may =
                !self.backlog_ring.is_empty() && self.backlog_in_flight < self.limits.backlog_slots;
            let kind = match (self.fresh_ring.is_empty(), backlog_may) {
                (true, false) => return Next::Nothing,
                (false, false) => Kind::Fresh,
                (true, true) => Kind::Backlog,
                (false, true) if self.backlog_turn => Kind::Backlog,
                (false, true) => Kind::Fresh,
            };
            self.backlog_turn = kind == Kind::Fresh;
            let ring = if kind == Kind::Fresh {
                &mut self.fresh_ring
            } else {
                &mut self.backlog_ring
            };
            let Some(id) = ring.pop_front() else {
                return Next::Nothing;
            };
            if let Some(next) = self.take_turn(&id, kind, now) {
                return next;
            }
        }
        Next::Nothing
    }

    fn take_turn(&mut self, id: &DestinationId, kind: Kind, now: Millis) -> Option<Next<W>> {
        let limits = self.limits;
        let entry = self.entries.get_mut(id)?;
        match kind {
            Kind::Fresh => entry.in_fresh_ring = false,
            Kind::Backlog => entry.in_backlog_ring = false,
        }
        if !entry.may_start(kind) {
            return None;
        }
        if self.crowd.parks(id, entry, self.in_flight, now) {
            return None;
        }
        if let Err(again) = entry.limit.try_take(now) {
            // One timer for each destination, however often it is asked meanwhile.
            if entry.timer.is_none_or(|at| again < at) {
                entry.timer = Some(again);
                self.timers.push(Reverse((again, id.clone())));
            }
            if kind == Kind::Fresh && again > now + limits.queue_wait {
                entry.fresh_bytes = 0;
                let works: Vec<W> = entry.fresh.drain(..).map(|queued| queued.work).collect();
                self.queued -= works.len();
                return Some(Next::HandOver(works, HandOver::Throttled));
            }
            return None;
        }
        let queued = match kind {
            Kind::Fresh => entry.fresh.pop_front(),
            Kind::Backlog => entry.backlog.pop_front(),
        }?;
        entry.fresh_bytes = entry.fresh_bytes.saturating_sub(queued.bytes);
        let token = self.next_token;
        entry.started.push((token, now, kind));
        entry.last = kind;
        match kind {
            Kind::Fresh => entry.fresh_room.notify_one(),
            Kind::Backlog => entry.room.notify_one(),
        }
        self.next_token += 1;
        self.queued -= 1;
        self.in_flight += 1;
        self.crowd.started(entry);
        self.backlog_in_flight += usize::from(kind == Kind::Backlog);
        self.ring(id);
        Some(Next::Start(Start {
            work: queued.work,
            destination: id.clone(),
            token,
            kind,
        }))
    }

    /// An attempt ended.
    pub(crate) fn finish(&mut self, id: &DestinationId, token: u64, effect: Effect, now: Millis) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let Some(at) = entry.started.iter().position(|(t, _, _)| *t == token) else {
            return;
        };
        let (_, started, kind) = entry.started.swap_remove(at);
        entry.note_attempt(now - started);
        self.crowd.ended(entry, now - started, now);
        self.in_flight -= 1;
        self.backlog_in_flight -= usize::from(kind == Kind::Backlog);
        if let Effect::Throttled { hold_until } = effect {
            entry.limit.throttled(now);
            entry.limit.hold_until(hold_until, now);
        }
        if entry.is_idle(now) {
            self.entries.remove(id);
        } else {
            self.ring(id);
        }
        self.unpark();
    }

    /// Lets as many of the destinations that wait for it try again as there is room for.
    fn unpark(&mut self) {
        for id in self.crowd.free(self.in_flight) {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.parked = false;
            }
            self.ring(&id);
        }
    }

    /// A destination's document changed: what waits for it follows the new one.
    pub(crate) fn update(&mut self, id: &DestinationId, allowance: Allowance) {
        if self.entries.contains_key(id) {
            self.entry(id, allowance).room.notify_one();
            self.ring(id);
        }
    }

    /// Gives back all that waits for a destination.
    pub(crate) fn take_all(&mut self, id: &DestinationId) -> Vec<W> {
        let Some(entry) = self.entries.get_mut(id) else {
            return Vec::new();
        };
        let fresh = entry.fresh.drain(..);
        let works: Vec<W> = fresh
            .chain(entry.backlog.drain(..))
            .map(|queued| queued.work)
            .collect();
        entry.fresh_bytes = 0;
        entry.room.notify_one();
        self.queued -= works.len();
        works
    }

    /// When a destination that had to wait for its rate may start, if any does.
    pub(crate) fn next_timer(&self) -> Option<Millis> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Puts destinations whose time has come back into the rings.
    pub(crate) fn wake(&mut self, now: Millis) {
        while let Some(Reverse((at, _))) = self.timers.peek() {
            if *at > now {
                return;
            }
            if let Some(Reverse((at, id))) = self.timers.pop() {
                if let Some(entry) = self.entries.get_mut(&id) {
                    if entry.timer == Some(at) {
                        entry.timer = None;
                    }
                    entry.room.notify_one();
                }
                self.ring(&id);
            }
        }
    }

    /// Gives back what has not started and `is_dead`.
    pub(crate) fn take_dead(&mut self, is_dead: impl Fn(&W) -> bool) -> Vec<W> {
        let (mut dead, mut changed) = (Vec::new(), Vec::new());
        for (id, entry) in &mut self.entries {
            let before = dead.len();
            for queue in [&mut entry.fresh, &mut entry.backlog] {
                let (gone, kept): (VecDeque<_>, VecDeque<_>) = std::mem::take(queue)
                    .into_iter()
                    .partition(|queued| is_dead(&queued.work));
                *queue = kept;
                dead.extend(gone.into_iter().map(|queued| queued.work));
            }
            entry.fresh_bytes = entry.fresh.iter().map(|queued| queued.bytes).sum();
            if dead.len() > before {
                changed.push(id.clone());
            }
        }
        self.queued -= dead.len();
        // What one kind left free is the other's.
        for id in changed {
            self.ring(&id);
        }
        dead
    }

    /// Gives back what waited too long, and finds out whom slow attempts block. Call a few times a second.
    pub(crate) fn sweep(&mut self, now: Millis) -> Vec<(W, HandOver)> {
        let limits = self.limits;
        let slow = |entry: &Entry<W>| {
            entry
                .started
                .iter()
                .filter(|(_, at, _)| now - at >= limits.slow_after)
                .count()
        };
        let slow_in_all: usize = self.entries.values().map(slow).sum();
        let short = slow_in_all * 2 >= limits.slots;
        let mut over = Vec::new();
        let mut freed = Vec::new();
        for (id, entry) in &mut self.entries {
            let (was, before) = (entry.blocked, over.len());
            let slow = slow(entry);
            entry.blocked = short && slow > 0;
            if slow > 0 {
                self.crowd.is_slow(entry, now);
            }
            while let Some(oldest) = entry.fresh.front()
                && (entry.blocked || now - oldest.since > limits.queue_wait)
            {
                let cause = if entry.blocked {
                    HandOver::Slow
                } else {
                    HandOver::QueueFull
                };
                if let Some(queued) = entry.fresh.pop_front() {
                    self.queued -= 1;
                    over.push((queued.work, cause));
                }
            }
            entry.fresh_bytes = entry.fresh.iter().map(|queued| queued.bytes).sum();
            if (was && !entry.blocked) || over.len() > before {
                freed.push(id.clone());
            }
        }
        self.entries.retain(|_, entry| !entry.is_idle(now));
        for id in freed {
            if let Some(entry) = self.entries.get(&id) {
                entry.room.notify_one();
            }
            self.ring(&id);
        }
        // Those that were let go last may have had nothing to start, and no end of an attempt lets the next ones go.
        self.unpark();
        over
    }
}

#[cfg(test)]
#[path = "tests/queues.rs"]
mod tests;
