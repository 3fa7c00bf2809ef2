//! What dispatch knows of one destination: its two queues, its attempts in flight, its pace.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;

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
    pub(crate) last: Kind,
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
            last: Kind::Backlog,
            prompt: None,
            slow: false,
            slow_until: 0,
            parked: false,
            blocked: false,
            in_fresh_ring: false,
            in_backlog_ring: false,
            timer: None,
            room: Arc::new(Notify::new()),
        }
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
    }
}
