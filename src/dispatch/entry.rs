//! What dispatch knows of one destination: its two queues, its attempts in flight, its pace.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;

use super::queues::Limits;
use crate::domain::rate_limit::RateLimit;

/// Milliseconds on a clock that never jumps.
pub(crate) type Millis = i64;

/// What a destination's document allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Allowance {
    pub(crate) enabled: bool,
    pub(crate) concurrency: usize,
    /// Attempts a second in this instance.
    pub(crate) rate: Option<f64>,
    /// The document's offset.
    pub(crate) version: i64,
}

/// Fresh from the source topic, or from the retry topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Fresh,
    Backlog,
}

/// A delivery that waits in memory.
#[derive(Debug)]
pub(crate) struct Queued<W> {
    pub(crate) work: W,
    pub(crate) bytes: usize,
    pub(crate) since: Millis,
}

/// How long an attempt is taken to last before one has ended.
const FIRST_GUESS_MS: f64 = 50.0;

/// A destination that starts so many attempts a millisecond is waited for.
const FAST: f64 = 2.0;

/// What is known of one destination while it has something to do.
#[derive(Debug)]
pub(crate) struct Entry<W> {
    pub(crate) allowance: Allowance,
    pub(crate) limit: RateLimit,
    pub(crate) fresh: VecDeque<Queued<W>>,
    pub(crate) backlog: VecDeque<Queued<W>>,
    pub(crate) fresh_bytes: usize,
    /// Attempts in flight: when each started, and its kind.
    pub(crate) started: Vec<(u64, Millis, Kind)>,
    /// How long attempts take, the latest ones counting most.
    attempt_ms: f64,
    pub(crate) last: Kind,
    /// How many deliveries of the backlog that found no room are likely to be in front of the next such one.
    line: f64,
    /// From this time on the line gets shorter.
    line_at: Millis,
    /// When an attempt ended last that was not slow.
    pub(crate) prompt: Option<Millis>,
    /// Its last attempt that ended, or one that has not, is slow.
    pub(crate) slow: bool,
    /// Until when that is remembered while it has nothing to do.
    pub(crate) slow_until: Millis,
    /// Waits until there is room for destinations like it.
    pub(crate) parked: bool,
    /// Has slow attempts while these hold half of all slots.
    pub(crate) blocked: bool,
    pub(crate) in_fresh_ring: bool,
    pub(crate) in_backlog_ring: bool,
    /// The earliest timer that is set for it.
    pub(crate) timer: Option<Millis>,
    /// Told when the backlog's queue has room again.
    pub(crate) room: Arc<Notify>,
    /// Told when a fresh delivery left the queue.
    pub(crate) fresh_room: Arc<Notify>,
}

impl<W> Entry<W> {
    pub(crate) fn new(allowance: Allowance) -> Self {
        Self {
            allowance,
            limit: RateLimit::new(allowance.rate),
            fresh: VecDeque::new(),
            backlog: VecDeque::new(),
            fresh_bytes: 0,
            started: Vec::new(),
            attempt_ms: FIRST_GUESS_MS,
            last: Kind::Backlog,
            line: 0.0,
            line_at: 0,
            prompt: None,
            slow: false,
            slow_until: 0,
            parked: false,
            blocked: false,
            in_fresh_ring: false,
            in_backlog_ring: false,
            timer: None,
            room: Arc::new(Notify::new()),
            fresh_room: Arc::new(Notify::new()),
        }
    }

    /// Takes note of how long an attempt took.
    pub(crate) fn note_attempt(&mut self, took: Millis) {
        self.attempt_ms += (float(took) - self.attempt_ms) / 8.0;
    }

    /// How many attempts it is likely to start in a millisecond, as far as that depends on it alone.
    #[expect(clippy::cast_precision_loss, reason = "attempts in flight are few")]
    fn pace(&self, now: Millis) -> f64 {
        let late = 4.0 * self.attempt_ms + FIRST_GUESS_MS;
        let ages = self.started.iter().map(|(_, at, _)| float(now - at));
        let stuck = ages.filter(|age| *age > late).count();
        let moving = self.allowance.concurrency.saturating_sub(stuck);
        let pace = moving as f64 / self.attempt_ms.max(1.0);
        let rate = self.limit.rate();
        rate.map_or(pace, |rate| pace.min(rate / 1000.0))
    }

    /// Takes a place at the end of the line of those that found no room: how long it is likely to be until there is room,
    /// `most` at most. `None`: it does not move.
    pub(crate) fn take_turn(&mut self, now: Millis, most: Millis) -> Option<Millis> {
        let held = self.limit.held_until(now);
        let pace = self.pace(now);
        if !self.allowance.enabled || self.blocked || pace <= 0.0 {
            return None;
        }
        self.line = (self.line_left(now) + 1.0).min(pace * float(most));
        self.line_at = held.unwrap_or(now);
        #[expect(clippy::cast_possible_truncation, reason = "cut to `most`")]
        let wait = (self.line / pace) as Millis + self.line_at - now;
        Some(wait.min(most))
    }

    /// What is left of the line: it gets shorter as fast as attempts start.
    fn line_left(&self, now: Millis) -> f64 {
        (self.line - self.pace(now) * float((now - self.line_at).max(0))).max(0.0)
    }

    /// Whether a full queue has room again in no time.
    pub(crate) fn is_fast(&self, now: Millis) -> bool {
        self.pace(now) >= FAST
    }

    /// Whether one more fresh delivery of that size finds no room.
    #[expect(clippy::cast_precision_loss, reason = "a queue is short")]
    pub(crate) fn is_full(&self, bytes: usize, limits: &Limits, now: Millis) -> bool {
        let waiting = self.fresh.len();
        let in_time = || self.pace(now) * float(limits.queue_wait);
        self.fresh_bytes + bytes > limits.queue_bytes
            || (waiting >= limits.queue
                && (waiting >= limits.queue_most || waiting as f64 >= in_time()))
    }

    pub(crate) fn flying(&self, kind: Kind) -> usize {
        self.started.iter().filter(|(_, _, k)| *k == kind).count()
    }

    pub(crate) fn queue(&self, kind: Kind) -> &VecDeque<Queued<W>> {
        match kind {
            Kind::Fresh => &self.fresh,
            Kind::Backlog => &self.backlog,
        }
    }

    pub(crate) fn may_start(&self, kind: Kind) -> bool {
        let concurrency = self.allowance.concurrency.max(1);
        if self.queue(kind).is_empty()
            || !self.allowance.enabled
            || (self.blocked && kind == Kind::Fresh)
            || self.started.len() >= concurrency
        {
            return false;
        }
        let other = if kind == Kind::Fresh {
            Kind::Backlog
        } else {
            Kind::Fresh
        };
        let contended = match kind {
            Kind::Fresh => !self.backlog.is_empty() || self.flying(Kind::Backlog) > 0,
            Kind::Backlog => !self.fresh.is_empty(),
        };
        if !contended {
            return true;
        }
        if concurrency == 1 {
            return self.last == other || self.queue(other).is_empty();
        }
        let half = match kind {
            Kind::Fresh => concurrency / 2,
            Kind::Backlog => concurrency - concurrency / 2,
        };
        self.flying(kind) < half
    }

    /// Whether it has ended attempts promptly until `patience` ago: it does not just hold its slots.
    pub(crate) fn is_prompt(&self, now: Millis, patience: Millis) -> bool {
        self.prompt.is_some_and(|at| now - at < patience)
    }

    pub(crate) fn is_idle(&mut self, now: Millis) -> bool {
        self.fresh.is_empty()
            && self.backlog.is_empty()
            && self.started.is_empty()
            // Else a ring would name it once more each time that it comes and goes.
            && !self.in_fresh_ring
            && !self.in_backlog_ring
            && !self.parked
            && !(self.slow && now < self.slow_until)
            && self.limit.is_at_rest(now)
            && self.line_left(now) < 1.0
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds are few")]
fn float(time: Millis) -> f64 {
    time as f64
}
