//! The circuit of one destination: whether traffic flows to it, as decided from the outcomes of its attempts.
//!
//! Attempts, monitors, the time and what became of the archive come in; transitions go out. One writer keeps the state
//! and publishes each transition with its epoch; everybody else follows what was published.
//!
//! ```text
//!            trips                   its time is over, or a monitor says up
//!   CLOSED ─────────▶ OPEN ──────────────────────────────▶ HALF_OPEN
//!     ▲                ▲  ▲               a probe failed       │
//!     │ archive empty  │  └────────────────────────────────────┤
//!     │                │ half of the replayed fail             │ 3 successes, or one and an empty archive
//!     └──────────── DRAINING ◀─────────────────────────────────┘
//! ```
//!
//! Invariant: the epoch grows by one with every transition. An attempt counts only if it began under the current one.
//! Invariant: `CLOSED` is reached with an empty archive only, and no state is kept for ever without an attempt in
//! sight: `OPEN` ends by time, `HALF_OPEN` probes, `DRAINING` replays.
//! Invariant: time only goes forward here; a clock that jumps back makes it stand still.

use std::time::Duration;

use super::outcome::Outcome;
use super::rates::Count;

/// Successful probes after which the archive is replayed.
pub const PROBES: u32 = 3;
/// Replayed attempts of which half must succeed.
pub const DRAIN_MINIMUM: u64 = 10;
/// The share of failures among replayed attempts that opens the circuit again.
pub const DRAIN_RATIO: f64 = 0.5;

/// When a circuit opens and for how long: the part `circuit` of a destination's document.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Whether it ever opens by itself.
    pub enabled: bool,
    /// So many consecutive failures open it,
    pub consecutive: u32,
    /// if the first of them lies at least so long before the last.
    pub over: Duration,
    /// This share of failures opens it, from 0 to 1,
    pub ratio: f64,
    /// of at least so many attempts within the window that the caller counts.
    pub minimum: u64,
    /// How long it stays open at first.
    pub open: Duration,
    /// How long at most: each failed recovery doubles the time.
    pub open_max: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            enabled: true,
            consecutive: 10,
            over: Duration::from_secs(10),
            ratio: 0.5,
            minimum: 20,
            open: Duration::from_secs(30),
            open_max: Duration::from_secs(15 * 60),
        }
    }
}

/// What an outcome means for the circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// The destination works. So it does where it refuses one event: the event is at fault.
    Works,
    /// It does not work.
    Fails,
    /// It works, and asks for less: no probe has succeeded, none has failed.
    Waits,
    /// It says nothing about the destination.
    Nothing,
}

/// What `outcome` means for the circuit.
#[must_use]
pub fn sign(outcome: Outcome) -> Sign {
    match outcome {
        Outcome::Delivered | Outcome::Redirect | Outcome::Gone | Outcome::Rejected => Sign::Works,
        Outcome::Auth | Outcome::NotFound | Outcome::Server | Outcome::Network => Sign::Fails,
        Outcome::Throttled => Sign::Waits,
        Outcome::Refused | Outcome::Internal => Sign::Nothing,
    }
}

/// The state that everybody acts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Traffic flows.
    Closed,
    /// None flows; what is due goes to the archive.
    Open,
    /// One attempt at a time, to see.
    HalfOpen,
    /// Traffic flows, and the archive is replayed beside it.
    Draining,
}

impl State {
    /// All of them, in the order in which they are passed.
    pub const ALL: [Self; 4] = [Self::Closed, Self::Open, Self::HalfOpen, Self::Draining];

    /// The name in records, labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Draining => "draining",
        }
    }

    /// Whether deliveries go to the archive instead of the destination.
    #[must_use]
    pub fn archives(self) -> bool {
        matches!(self, Self::Open | Self::HalfOpen)
    }
}

/// Why a circuit changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// So many failures without a success between them.
    Consecutive,
    /// Too large a share of failures.
    Ratio,
    /// A status monitor says *down*.
    MonitorDown,
    /// A status monitor says *up*.
    MonitorUp,
    /// It was open for its time.
    TimeOver,
    /// Somebody asked for a probe.
    Asked,
    /// A probe failed.
    ProbeFailed,
    /// Probes succeeded.
    ProbesSucceeded,
    /// The archive is empty.
    Drained,
    /// Too many of the replayed deliveries failed.
    DrainFailed,
    /// The document turned it off.
    TurnedOff,
}

impl Reason {
    /// The name in records and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Consecutive => "consecutive_failures",
            Self::Ratio => "failure_ratio",
            Self::MonitorDown => "monitor_down",
            Self::MonitorUp => "monitor_up",
            Self::TimeOver => "open_time_over",
            Self::Asked => "asked",
            Self::ProbeFailed => "probe_failed",
            Self::ProbesSucceeded => "probes_succeeded",
            Self::Drained => "archive_drained",
            Self::DrainFailed => "replay_failed",
            Self::TurnedOff => "turned_off",
        }
    }
}

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Before.
    pub from: State,
    /// After.
    pub to: State,
    /// The epoch that begins with it.
    pub epoch: u64,
    /// Why.
    pub reason: Reason,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// What is known beside the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Consecutive failures, and when the first of them ended.
    Closed { failures: u32, since_ms: i64 },
    /// Until when, by the clock; a monitor that says *down* holds it longer.
    Open { until_ms: i64, held: bool },
    /// Probes that succeeded in a row.
    HalfOpen { succeeded: u32 },
    /// Replayed attempts.
    Draining { works: u64, fails: u64 },
}

/// The circuit of one destination. The default is closed, in epoch 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circuit {
    phase: Phase,
    epoch: u64,
    /// When the epoch began.
    since_ms: i64,
    /// When it last left `CLOSED`.
    opened_ms: i64,
    /// How often it opened without having closed in between; the time is doubled for each but the first.
    openings: u32,
    /// The newest time seen.
    now_ms: i64,
}

impl Default for Circuit {
    fn default() -> Self {
        Self {
            phase: Phase::CLOSED,
            epoch: 0,
            since_ms: i64::MIN,
            opened_ms: i64::MIN,
            openings: 0,
            now_ms: i64::MIN,
        }
    }
}

impl Phase {
    const CLOSED: Self = Self::Closed {
        failures: 0,
        since_ms: 0,
    };

    fn state(self) -> State {
        match self {
            Self::Closed { .. } => State::Closed,
            Self::Open { .. } => State::Open,
            Self::HalfOpen { .. } => State::HalfOpen,
            Self::Draining { .. } => State::Draining,
        }
    }
}

impl Circuit {
    /// The state that everybody acts by.
    #[must_use]
    pub fn state(&self) -> State {
        self.phase.state()
    }

    /// The current epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When it last left `CLOSED`, in milliseconds since 1970; `None`: it is closed.
    #[must_use]
    pub fn open_since_ms(&self) -> Option<i64> {
        (self.state() != State::Closed).then_some(self.opened_ms)
    }

    /// When [`Circuit::tick`] may change something by time alone, in milliseconds since 1970.
    #[must_use]
    pub fn next_tick_ms(&self) -> Option<i64> {
        match self.phase {
            Phase::Open {
                until_ms,
                held: false,
            } => Some(until_ms),
            _ => None,
        }
    }

    /// Takes in an attempt that began under `epoch` and ended at `at_ms`. `recent` is what was counted within the
    /// policy's window under the current epoch, this attempt included; `archive_empty` whether nothing waits there.
    pub fn attempt(
        &mut self,
        policy: &Policy,
        epoch: u64,
        outcome: Outcome,
        at_ms: i64,
        recent: Count,
        archive_empty: bool,
    ) -> Option<Transition> {
        let now_ms = self.forward(at_ms);
        if epoch != self.epoch {
            return None;
        }
        let sign = sign(outcome);
        match &mut self.phase {
            Phase::Closed { failures, since_ms } => {
                match sign {
                    Sign::Works => *failures = 0,
                    Sign::Fails => {
                        if *failures == 0 {
                            *since_ms = now_ms;
                        }
                        *failures = failures.saturating_add(1);
                    }
                    Sign::Waits | Sign::Nothing => return None,
                }
                let row = *failures >= policy.consecutive.max(1)
                    && now_ms.saturating_sub(*since_ms) >= millis(policy.over);
                let reason = match sign {
                    Sign::Fails if row => Reason::Consecutive,
                    Sign::Fails if recent.fails(policy.ratio, policy.minimum) => Reason::Ratio,
                    _ => return None,
                };
                policy.enabled.then(|| self.open(policy, reason, false))
            }
            // Under the current epoch nothing begins while it is open.
            Phase::Open { .. } => None,
            Phase::HalfOpen { succeeded } => match sign {
                Sign::Fails => Some(self.open(policy, Reason::ProbeFailed, false)),
                Sign::Works => {
                    *succeeded += 1;
                    let enough = *succeeded >= PROBES || archive_empty;
                    enough.then(|| self.change(DRAINING, Reason::ProbesSucceeded))
                }
                Sign::Waits | Sign::Nothing => None,
            },
            Phase::Draining { works, fails } => {
                match sign {
                    Sign::Works => *works += 1,
                    Sign::Fails => *fails += 1,
                    Sign::Waits | Sign::Nothing => return None,
                }
                let count = Count {
                    succeeded: *works,
                    failed: *fails,
                };
                let fails = sign == Sign::Fails && count.fails(DRAIN_RATIO, DRAIN_MINIMUM);
                fails.then(|| self.open(policy, Reason::DrainFailed, false))
            }
        }
    }

    /// Takes in the time.
    pub fn tick(&mut self, now_ms: i64) -> Option<Transition> {
        let now_ms = self.forward(now_ms);
        match self.phase {
            Phase::Open {
                until_ms,
                held: false,
            } if now_ms >= until_ms => Some(self.change(HALF_OPEN, Reason::TimeOver)),
            _ => None,
        }
    }

    /// Takes in that the destination's status monitor says *down*: it opens, and stays open until the monitor says *up*.
    pub fn monitor_down(&mut self, policy: &Policy, now_ms: i64) -> Option<Transition> {
        self.forward(now_ms);
        if let Phase::Open { held, .. } = &mut self.phase {
            *held = true;
            return None;
        }
        Some(self.open(policy, Reason::MonitorDown, true))
    }

    /// Takes in that the monitor says *up*, or that there is none any more.
    pub fn monitor_up(&mut self, now_ms: i64) -> Option<Transition> {
        self.forward(now_ms);
        matches!(self.phase, Phase::Open { .. }).then(|| self.change(HALF_OPEN, Reason::MonitorUp))
    }

    /// Takes in that somebody asked to try again now.
    pub fn probe(&mut self, now_ms: i64) -> Option<Transition> {
        self.forward(now_ms);
        matches!(self.phase, Phase::Open { .. }).then(|| self.change(HALF_OPEN, Reason::Asked))
    }

    /// Takes in that nothing waits in the archive any more.
    pub fn drained(&mut self, now_ms: i64) -> Option<Transition> {
        self.forward(now_ms);
        matches!(self.phase, Phase::Draining { .. }).then(|| self.close(Reason::Drained))
    }

    /// Takes in that the document turned the circuit off: what was archived is replayed at once.
    pub fn turn_off(&mut self, now_ms: i64) -> Option<Transition> {
        self.forward(now_ms);
        self.state()
            .archives()
            .then(|| self.change(DRAINING, Reason::TurnedOff))
    }

    fn forward(&mut self, now_ms: i64) -> i64 {
        self.now_ms = self.now_ms.max(now_ms);
        self.now_ms
    }

    fn open(&mut self, policy: &Policy, reason: Reason, held: bool) -> Transition {
        if self.state() == State::Closed {
            self.opened_ms = self.now_ms;
        }
        let doubled = 2_u32.saturating_pow(self.openings.min(31));
        let time = policy.open.saturating_mul(doubled);
        let time = time.min(policy.open_max.max(policy.open));
        self.openings = self.openings.saturating_add(1);
        let until_ms = self.now_ms.saturating_add(millis(time));
        self.change(Phase::Open { until_ms, held }, reason)
    }

    fn close(&mut self, reason: Reason) -> Transition {
        self.openings = 0;
        self.change(Phase::CLOSED, reason)
    }

    fn change(&mut self, phase: Phase, reason: Reason) -> Transition {
        let from = self.state();
        self.phase = phase;
        self.epoch += 1;
        self.since_ms = self.now_ms;
        Transition {
            from,
            to: self.state(),
            epoch: self.epoch,
            reason,
            at_ms: self.now_ms,
        }
    }
}

const HALF_OPEN: Phase = Phase::HalfOpen { succeeded: 0 };
const DRAINING: Phase = Phase::Draining { works: 0, fails: 0 };

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
