//! How long a destination has been failing without a success, and when that is enough to disable it.
//!
//! Attempts come in; a state, which the sidecar keeps, and what is worth telling go out.
//!
//! Invariant: a success ends the streak, whatever it was; what says nothing about the destination neither lengthens nor
//! ends it.

use super::outcome::Outcome;

/// Shares of the limit, in percent, at which somebody is told; at the last one the destination is disabled.
pub const THRESHOLDS: [u8; 4] = [50, 70, 90, 100];

/// What an outcome means for the streak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It ends the streak.
    Resets,
    /// It lengthens it.
    Counts,
    /// It lengthens it where the failures so far were not all of this one event: one bad event disables nobody.
    CountsOverSeveralEvents,
    /// The destination is disabled at once.
    Disables,
    /// It says nothing.
    Nothing,
}

/// What `outcome` means for the streak.
#[must_use]
pub fn weight(outcome: Outcome) -> Weight {
    match outcome {
        Outcome::Delivered => Weight::Resets,
        Outcome::Redirect
        | Outcome::Auth
        | Outcome::NotFound
        | Outcome::Server
        | Outcome::Network => Weight::Counts,
        Outcome::Rejected => Weight::CountsOverSeveralEvents,
        Outcome::Gone => Weight::Disables,
        Outcome::Throttled | Outcome::Refused | Outcome::Internal => Weight::Nothing,
    }
}

/// The streak of one destination. The default is that of one that never failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FailureStreak {
    /// Consecutive failures that count.
    length: u32,
    /// When the first of them ended, in milliseconds since 1970.
    since_ms: i64,
    /// The event of the first failure, as a hash.
    first_event: u64,
    /// Whether another event failed too.
    several: bool,
    /// Rejections of the first event, which count as soon as another event fails.
    held_back: u32,
}

/// What is to be told, or done, about a destination that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// So many percent of the failures that disable have been reached.
    Reached(u8),
    /// The streak ended, after so many failures, of which somebody had been told.
    Recovered(u32),
    /// It said that it will never take anything again.
    Gone,
}

impl FailureStreak {
    /// Consecutive failures.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.length
    }

    /// When the first of them ended, in milliseconds since 1970; `None`: it does not fail.
    #[must_use]
    pub fn since_ms(&self) -> Option<i64> {
        (self.length > 0).then_some(self.since_ms)
    }

    /// Takes in an attempt that ended at `at_ms`. `event` is a hash of the event's id, `limit` the number of failures
    /// that disable, or `None` where none do.
    pub fn take(
        &mut self,
        outcome: Outcome,
        event: u64,
        at_ms: i64,
        limit: Option<u32>,
    ) -> Option<Notice> {
        let before = *self;
        match weight(outcome) {
            Weight::Nothing => None,
            Weight::Disables => Some(Notice::Gone),
            Weight::Resets => {
                *self = Self::default();
                let told = limit.and_then(|limit| reached(before.length, limit));
                told.map(|_percent| Notice::Recovered(before.length))
            }
            weight => {
                self.fail(weight, event, at_ms);
                let limit = limit?;
                let now = reached(self.length, limit)?;
                (reached(before.length, limit) != Some(now)).then_some(Notice::Reached(now))
            }
        }
    }

    fn fail(&mut self, weight: Weight, event: u64, at_ms: i64) {
        if self.length == 0 && self.held_back == 0 {
            self.first_event = event;
            self.since_ms = at_ms;
        }
        if event != self.first_event {
            self.several = true;
        }
        if weight == Weight::CountsOverSeveralEvents && !self.several {
            self.held_back = self.held_back.saturating_add(1);
            return;
        }
        let held_back = if self.several {
            std::mem::take(&mut self.held_back)
        } else {
            0
        };
        self.length = self.length.saturating_add(held_back).saturating_add(1);
    }
}

/// The highest threshold that `length` of `limit` failures have reached.
fn reached(length: u32, limit: u32) -> Option<u8> {
    let limit = u64::from(limit.max(1));
    let at = |percent: u8| u64::from(length) * 100 >= limit * u64::from(percent);
    THRESHOLDS
        .into_iter()
        .rev()
        .find(|percent| length > 0 && at(*percent))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Option<u32> = Some(10);

    #[test]
    fn each_outcome_has_its_weight() {
        for (outcome, expected) in [
            (Outcome::Delivered, Weight::Resets),
            (Outcome::Redirect, Weight::Counts),
            (Outcome::Gone, Weight::Disables),
            (Outcome::Auth, Weight::Counts),
            (Outcome::NotFound, Weight::Counts),
            (Outcome::Rejected, Weight::CountsOverSeveralEvents),
            (Outcome::Throttled, Weight::Nothing),
            (Outcome::Server, Weight::Counts),
            (Outcome::Network, Weight::Counts),
            (Outcome::Refused, Weight::Nothing),
            (Outcome::Internal, Weight::Nothing),
        ] {
            assert_eq!(weight(outcome), expected, "{outcome:?}");
        }
    }

    #[test]
    fn each_threshold_is_told_once_and_its_end_too() {
        let mut streak = FailureStreak::default();
        let told: Vec<_> = (0..12)
            .map(|n| streak.take(Outcome::Server, n, 1, LIMIT))
            .collect();
        let mut expected = vec![None; 12];
        for (failures, percent) in [(5, 50), (7, 70), (9, 90), (10, 100)] {
            if let Some(slot) = expected.get_mut(failures - 1) {
                *slot = Some(Notice::Reached(percent));
            }
        }
        assert_eq!(told, expected);
        assert_eq!(streak.since_ms(), Some(1));
        let end = streak.take(Outcome::Delivered, 99, 2, LIMIT);
        assert_eq!(end, Some(Notice::Recovered(12)));
        assert_eq!(streak, FailureStreak::default());
    }

    #[test]
    fn a_short_streak_ends_in_silence() {
        let mut streak = FailureStreak::default();
        for n in 0..4 {
            assert_eq!(streak.take(Outcome::Network, n, 1, LIMIT), None);
        }
        assert_eq!(streak.take(Outcome::Delivered, 9, 1, LIMIT), None);
    }

    #[test]
    fn one_event_that_is_rejected_for_ever_disables_nobody() {
        let mut streak = FailureStreak::default();
        for _attempt in 0..1_000 {
            assert_eq!(streak.take(Outcome::Rejected, 7, 1, LIMIT), None);
        }
        assert_eq!(streak.length(), 0);
        streak.take(Outcome::Rejected, 8, 2, LIMIT);
        assert_eq!(streak.length(), 1_001);
    }

    #[test]
    fn what_says_nothing_changes_nothing() {
        let mut streak = FailureStreak::default();
        streak.take(Outcome::Auth, 1, 1, LIMIT);
        let before = streak;
        for outcome in [Outcome::Throttled, Outcome::Refused, Outcome::Internal] {
            assert_eq!(streak.take(outcome, 2, 3, LIMIT), None);
        }
        assert_eq!(streak, before);
        assert_eq!(streak.take(Outcome::Gone, 2, 3, LIMIT), Some(Notice::Gone));
    }

    proptest! {
        #[test]
        fn thresholds_only_rise_within_a_streak(
            outcomes in prop::collection::vec((0..Outcome::ALL.len(), 0_u64..3), 0..300),
            limit in 1_u32..50,
        ) {
            let mut streak = FailureStreak::default();
            let mut highest = 0;
            for (at, (outcome, event)) in outcomes.into_iter().enumerate() {
                let outcome = *Outcome::ALL.get(outcome).expect("within");
                let at = i64::try_from(at).expect("small");
                match streak.take(outcome, event, at, Some(limit)) {
                    Some(Notice::Reached(percent)) => {
                        prop_assert!(percent > highest);
                        prop_assert!(u64::from(streak.length()) * 100 >= u64::from(limit) * u64::from(percent));
                        highest = percent;
                    }
                    Some(Notice::Recovered(_)) => {
                        prop_assert!(highest > 0);
                        highest = 0;
                    }
                    _ => {}
                }
                if outcome == Outcome::Delivered {
                    prop_assert_eq!(streak.length(), 0);
                    prop_assert_eq!(highest, 0);
                }
            }
        }
    }
}
