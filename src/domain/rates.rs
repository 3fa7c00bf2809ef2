//! How many attempts of one destination succeeded and failed in the last minute, five minutes and hour.
//!
//! Attempts come in with their times; counts over the windows go out. Kept as a ring of buckets for each window: 20
//! buckets of a twentieth of the window, so that a count looks back up to a twentieth less than it says.
//!
//! Invariant: memory does not grow with attempts: three rings of 20 pairs of numbers.
//! Invariant: time only goes forward here; an attempt that is older than the newest counts as of its own time while its
//! bucket is kept, and nowhere after that.

use std::time::Duration;

/// Buckets in a window.
const BUCKETS: usize = 20;

/// The windows that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Window {
    /// A minute, in buckets of 3 s.
    Minute,
    /// Five minutes, in buckets of 15 s.
    FiveMinutes,
    /// An hour, in buckets of 3 min.
    Hour,
}

impl Window {
    /// All of them, shortest first.
    pub const ALL: [Self; 3] = [Self::Minute, Self::FiveMinutes, Self::Hour];

    /// Its length.
    #[must_use]
    pub fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Minute => 60,
            Self::FiveMinutes => 300,
            Self::Hour => 3_600,
        })
    }

    /// The shortest window that is not shorter than `length`; the hour for all that is longer.
    #[must_use]
    pub fn for_length(length: Duration) -> Self {
        let fits = Self::ALL.into_iter().find(|one| one.length() >= length);
        fits.unwrap_or(Self::Hour)
    }

    fn bucket_ms(self) -> i64 {
        match self {
            Self::Minute => 3_000,
            Self::FiveMinutes => 15_000,
            Self::Hour => 180_000,
        }
    }
}

/// What was counted over some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Attempts that succeeded.
    pub succeeded: u64,
    /// Attempts that failed.
    pub failed: u64,
}

impl Count {
    /// All of them.
    #[must_use]
    pub fn total(self) -> u64 {
        self.succeeded + self.failed
    }

    /// Whether at least `ratio` of at least `minimum` attempts failed.
    #[must_use]
    pub fn fails(self, ratio: f64, minimum: u64) -> bool {
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts within an hour are far below 2^52"
        )]
        let (failed, total) = (self.failed as f64, self.total() as f64);
        self.total() >= minimum.max(1) && failed >= ratio * total
    }
}

/// One ring of buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ring {
    /// Number of the newest bucket, counted from 1970.
    newest: i64,
    /// The bucket `n` stands at `n mod BUCKETS`. Saturating: no destination has 4 billion attempts a minute.
    buckets: [(u32, u32); BUCKETS],
}

impl Ring {
    const EMPTY: Self = Self {
        newest: i64::MIN,
        buckets: [(0, 0); BUCKETS],
    };

    fn slot(number: i64) -> usize {
        usize::try_from(number.rem_euclid(BUCKETS as i64)).unwrap_or(0)
    }

    /// Makes `number` the newest bucket, if it is newer, and empties what comes into reach.
    fn advance(&mut self, number: i64) {
        if number <= self.newest {
            return;
        }
        let steps = number.saturating_sub(self.newest);
        if steps >= BUCKETS as i64 {
            self.buckets = [(0, 0); BUCKETS];
        } else {
            for passed in self.newest + 1..=number {
                if let Some(bucket) = self.buckets.get_mut(Self::slot(passed)) {
                    *bucket = (0, 0);
                }
            }
        }
        self.newest = number;
    }

    fn add(&mut self, number: i64, failed: bool) {
        self.advance(number);
        if self.newest.saturating_sub(number) >= BUCKETS as i64 {
            return;
        }
        if let Some(bucket) = self.buckets.get_mut(Self::slot(number)) {
            let count = if failed { &mut bucket.1 } else { &mut bucket.0 };
            *count = count.saturating_add(1);
        }
    }

    fn count(&self) -> Count {
        let mut count = Count::default();
        for (succeeded, failed) in &self.buckets {
            count.succeeded += u64::from(*succeeded);
            count.failed += u64::from(*failed);
        }
        count
    }
}

/// The windows of one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rates {
    minute: Ring,
    five_minutes: Ring,
    hour: Ring,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            minute: Ring::EMPTY,
            five_minutes: Ring::EMPTY,
            hour: Ring::EMPTY,
        }
    }
}

impl Rates {
    /// Counts an attempt that ended at `at_ms`, in milliseconds since 1970.
    pub fn add(&mut self, at_ms: i64, failed: bool) {
        for window in Window::ALL {
            let number = at_ms.div_euclid(window.bucket_ms());
            self.ring_mut(window).add(number, failed);
        }
    }

    /// What ended within `window` before `now_ms`. Where `now_ms` lies before the newest attempt, before that.
    pub fn count(&mut self, window: Window, now_ms: i64) -> Count {
        let number = now_ms.div_euclid(window.bucket_ms());
        let ring = self.ring_mut(window);
        ring.advance(number);
        ring.count()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn ring_mut(&mut self, window: Window) -> &mut Ring {
        match window {
            Window::Minute => &mut self.minute,
            Window::FiveMinutes => &mut self.five_minutes,
            Window::Hour => &mut self.hour,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_attempt_counts_until_its_window_is_over() {
        for window in Window::ALL {
            let length = i64::try_from(window.length().as_millis()).expect("an hour");
            let mut rates = Rates::default();
            let at = 1_800_000_000;
            rates.add(at, true);
            assert_eq!(rates.count(window, at).failed, 1);
            let late = at + length - window.bucket_ms();
            assert_eq!(rates.count(window, late).failed, 1, "{window:?}");
            assert_eq!(rates.count(window, at + length).failed, 0);
        }
    }

    #[test]
    fn half_of_twenty_failed_is_half_and_nineteen_are_too_few() {
        let of = |succeeded, failed| Count { succeeded, failed };
        assert!(of(10, 10).fails(0.5, 20));
        assert!(!of(11, 9).fails(0.5, 20));
        assert!(!of(0, 19).fails(0.5, 20));
        assert!(!of(0, 0).fails(0.0, 0));
    }

    #[test]
    fn a_window_is_chosen_that_is_not_shorter() {
        for (seconds, window) in [
            (1, Window::Minute),
            (60, Window::Minute),
            (61, Window::FiveMinutes),
            (3_600, Window::Hour),
            (86_400, Window::Hour),
        ] {
            assert_eq!(Window::for_length(Duration::from_secs(seconds)), window);
        }
    }

    #[test]
    fn a_clock_that_goes_back_neither_forgets_nor_counts_twice() {
        let mut rates = Rates::default();
        rates.add(100_000, false);
        rates.add(70_000, true);
        rates.add(1_000, true);
        let count = rates.count(Window::Minute, 50_000);
        assert_eq!((count.succeeded, count.failed), (1, 1));
    }

    proptest! {
        #[test]
        fn counts_equal_those_of_a_list(
            steps in prop::collection::vec((0_i64..40_000, any::<bool>()), 1..200),
            pause in 0_i64..4_000_000,
        ) {
            let mut rates = Rates::default();
            let mut list = VecDeque::new();
            let mut now = 5_000_000_000;
            for (step, failed) in steps {
                now += step;
                rates.add(now, failed);
                list.push_back((now, failed));
            }
            now += pause;
            for window in Window::ALL {
                let bucket = window.bucket_ms();
                let oldest = now.div_euclid(bucket) - BUCKETS as i64 + 1;
                let kept = list.iter().filter(|(at, _)| at.div_euclid(bucket) >= oldest);
                let (mut succeeded, mut failed) = (0, 0);
                for (_, one) in kept {
                    if *one { failed += 1 } else { succeeded += 1 }
                }
                prop_assert_eq!(rates.count(window, now), Count { succeeded, failed });
            }
        }
    }
}
