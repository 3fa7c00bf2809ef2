//! What time it is: for people, by the wall clock; for everything that waits, by the brokers' clock.
//!
//! Waiting compares times that brokers stamped on records (`LogAppendTime`) with now, and times that one instance wrote
//! with what another reads. So it goes by the brokers' time: at first that of our wall clock, then what brokers stamp on
//! the records that we write, and between these stamps by the monotonic clock.
//!
//! Invariant: a step of the wall clock while the process runs moves nothing that waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// For how long a stamp counts at least, in milliseconds. Each says that the brokers' clock is at it or beyond, the more
/// exactly the sooner it came back; so the highest of the last while is the best.
const WINDOW_MS: i64 = 10_000;

/// A stamp that is further from the wall clock than this, in milliseconds, tells no time: a broker that stands in for one
/// may count from its start.
const FAR_MS: i64 = 24 * 3_600_000;

/// Tells the time in milliseconds since 1970. Clones are one clock.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    wall: fn() -> i64,
    started: Instant,
    started_ms: i64,
    /// How far the brokers' clock is ahead of [`Clock::steady_ms`].
    ahead: AtomicI64,
    /// The most that was seen since the window began.
    seen: AtomicI64,
    /// When the window ends.
    until: AtomicI64,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            since.map_or(0, |since| {
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            })
        })
    }

    fn new(wall: fn() -> i64) -> Self {
        Self(Arc::new(Inner {
            wall,
            started: Instant::now(),
            started_ms: wall(),
            ahead: AtomicI64::new(0),
            seen: AtomicI64::new(i64::MIN),
            until: AtomicI64::new(i64::MIN),
        }))
    }

    /// The wall clock: for people and receivers, such as the time that is signed. May step.
    #[must_use]
    pub fn wall_ms(&self) -> i64 {
        (self.0.wall)()
    }

    /// The brokers' time, as far as it is known: for due times, ages and what goes into records.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.steady_ms() + self.0.ahead.load(Ordering::Relaxed)
    }

    /// The time of the start and what has passed since.
    fn steady_ms(&self) -> i64 {
        let passed = self.0.started.elapsed().as_millis();
        self.0.started_ms + i64::try_from(passed).unwrap_or(i64::MAX)
    }

    /// Takes note of the time that a broker has just stamped on a record.
    pub fn note_stamp(&self, stamp_ms: i64) {
        let (inner, steady_ms) = (&*self.0, self.steady_ms());
        let ahead = stamp_ms.saturating_sub(steady_ms);
        if ahead.saturating_abs() > FAR_MS {
            return;
        }
        inner.seen.fetch_max(ahead, Ordering::Relaxed);
        inner.ahead.fetch_max(ahead, Ordering::Relaxed);
        let until = inner.until.load(Ordering::Relaxed);
        if steady_ms < until {
            return;
        }
        let next = steady_ms + WINDOW_MS;
        let mine = inner
            .until
            .compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed);
        if mine.is_ok() {
            // Down to what was seen in the window that ended, or now: the clocks may drift, and the first look at the
            // wall clock may have been wrong.
            let seen = inner.seen.swap(ahead, Ordering::Relaxed);
            inner.ahead.store(seen, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR_MS: i64 = 3_600_000;
    /// 2026-01-31T08:00:00Z.
    const START_MS: i64 = 1_769_846_400_000;

    /// A wall clock for each test, which may set it.
    macro_rules! wall {
        () => {{
            static WALL: AtomicI64 = AtomicI64::new(START_MS);
            (&WALL, Clock::new(|| WALL.load(Ordering::Relaxed)))
        }};
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_of_the_wall_clock_moves_nothing_that_waits() {
        let (wall, clock) = wall!();
        for step in [HOUR_MS, -HOUR_MS] {
            wall.store(START_MS + step, Ordering::Relaxed);
            let before = clock.now_ms();
            tokio::time::advance(Duration::from_secs(7)).await;
            assert_eq!(clock.now_ms(), before + 7000);
            assert_eq!(clock.wall_ms(), START_MS + step, "who signs follows it");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stamp_that_tells_no_time_is_passed_over() {
        let (_, clock) = wall!();
        for stamp in [0, -1, 77_000, i64::MAX, i64::MIN] {
            clock.note_stamp(stamp);
            assert_eq!(clock.now_ms(), START_MS);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_is_wrong_at_the_start_is_put_right_by_the_first_stamp() {
        for wrong in [HOUR_MS, -HOUR_MS] {
            let (_, clock) = wall!();
            clock.note_stamp(START_MS - wrong);
            assert_eq!(clock.now_ms(), START_MS - wrong);
            tokio::time::advance(Duration::from_secs(5)).await;
            assert_eq!(clock.now_ms(), START_MS - wrong + 5000);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stamp_that_comes_back_late_sets_nothing_back() {
        let (_, clock) = wall!();
        clock.note_stamp(START_MS);
        tokio::time::advance(Duration::from_secs(3)).await;
        clock.note_stamp(START_MS + 1000);
        assert_eq!(clock.now_ms(), START_MS + 3000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_drifts_is_followed_both_ways() {
        for drift in [20, -20] {
            let (_, clock) = wall!();
            let mut broker = START_MS;
            for _ in 0..60 {
                tokio::time::advance(Duration::from_secs(1)).await;
                broker += 1000 + drift;
                clock.note_stamp(broker);
            }
            let off = clock.now_ms() - broker;
            assert!((0..=400).contains(&off), "{off} ms off");
        }
    }
}
