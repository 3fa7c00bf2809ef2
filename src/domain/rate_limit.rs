//! How fast attempts for one destination may follow each other.
//!
//! The configured rate, the receiver's answers and the time go in; dispatch asks before each attempt and learns when to
//! ask again. A token bucket, whose rate is halved when the receiver asks for less and grows back when it no longer does.
//!
//! Invariant: time comes in as milliseconds since 1970 only. It may jump back: waits keep their lengths then, as far as
//! they were known before.
//! Invariant: nothing is let through before the end of a hold.

use std::time::Duration;

/// The slowest rate, one a day: what is configured below it, as 0 or as no number, is taken as this.
const SLOWEST: f64 = 1.0 / 86_400.0;
/// The rate a second down to which a receiver that asks for less is given less, unless a lower one is configured.
const FLOOR: f64 = 1.0;
/// The rate is halved once in this time at most.
const HALVE_EVERY_MS: i64 = 1_000;
/// The rate is doubled each time that the receiver did not ask for less for this long.
const DOUBLE_EVERY_MS: i64 = 10_000;
/// No hold is longer.
const DAY_MS: i64 = 86_400_000;
/// Times that are earlier than the newest by less than this were read by several threads; beyond it the clock jumped.
const JUMP_MS: i64 = 1_000;
/// What a sum of fractions may miss of a whole token.
const ROUNDING: f64 = 1e-9;
/// How many seconds the observed rate looks back, with the current one.
const OBSERVED_SECONDS: usize = 4;

/// The pace of one destination on one instance.
#[derive(Debug, Clone)]
pub struct RateLimit {
    /// Attempts a second; `None`: unlimited.
    configured: Option<f64>,
    /// Since the receiver asked for less.
    lowered: Option<Lowered>,
    tokens: f64,
    /// The newest time seen.
    now_ms: i64,
    hold_until_ms: i64,
    halved_at_ms: i64,
    /// When the receiver last asked for less, or the rate was last doubled since.
    quiet_since_ms: i64,
    observed: Observed,
}

/// A rate below the configured one.
#[derive(Debug, Clone, Copy)]
struct Lowered {
    /// Attempts a second.
    rate: f64,
    /// When it has grown back to this it ends: the configured rate, or the one observed before it was lowered.
    back_at: f64,
}

impl RateLimit {
    /// A full bucket for `rate` attempts a second, already divided by the instance's share; `None`: unlimited.
    #[must_use]
    pub fn new(rate: Option<f64>) -> Self {
        let mut limit = Self {
            configured: None,
            lowered: None,
            tokens: 0.0,
            now_ms: i64::MIN,
            hold_until_ms: i64::MIN,
            halved_at_ms: i64::MIN,
            quiet_since_ms: i64::MIN,
            observed: Observed::default(),
        };
        limit.set_rate(rate);
        limit
    }

    /// Changes the configured rate, when the document or the instance's share changed. What the receiver asked for stays
    /// in force, and the bucket is not filled up; only what was unlimited starts with a full one.
    pub fn set_rate(&mut self, rate: Option<f64>) {
        let was_unlimited = self.rate().is_none();
        self.configured = rate
            .filter(|rate| *rate != f64::INFINITY)
            .map(|rate| rate.max(SLOWEST));
        if let (Some(rate), Some(lowered)) = (self.configured, &mut self.lowered) {
            lowered.back_at = rate;
            if lowered.rate >= rate {
                self.lowered = None;
            }
        }
        if let Some(rate) = self.rate() {
            let burst = burst(rate);
            self.tokens = if was_unlimited {
                burst
            } else {
                self.tokens.min(burst)
            };
        }
    }

    /// Takes the permission for one attempt.
    ///
    /// At most one second's worth, and at least one, may be taken at once.
    ///
    /// # Errors
    /// If it is too early: the time at which to try again, in milliseconds since 1970 and later than `now_ms`.
    pub fn try_take(&mut self, now_ms: i64) -> Result<(), i64> {
        let now_ms = self.advance(now_ms);
        let rate = self.rate();
        let missing = 1.0 - self.tokens;
        let wait_ms = match rate {
            Some(rate) if missing > ROUNDING => ceil_ms(missing / rate),
            _ => 0,
        };
        let at_ms = now_ms.saturating_add(wait_ms).max(self.hold_until_ms);
        if at_ms > now_ms {
            return Err(at_ms);
        }
        if rate.is_some() {
            self.tokens -= 1.0;
        }
        self.observed.count(now_ms);
        Ok(())
    }

    /// Notes that the receiver asked for less: halves the rate (where none is configured, the one of the last seconds) and
    /// empties the bucket, once a second at most and down to one attempt a second. The rate doubles after each 10 s
    /// without this, holds not counted, until it is back where it was.
    pub fn throttled(&mut self, now_ms: i64) {
        let now_ms = self.advance(now_ms);
        self.quiet_since_ms = now_ms;
        if now_ms.saturating_sub(self.halved_at_ms) < HALVE_EVERY_MS {
            return;
        }
        self.halved_at_ms = now_ms;
        let rate = self
            .rate()
            .unwrap_or_else(|| self.observed.per_second(now_ms));
        let floor = self.configured.unwrap_or(FLOOR).min(FLOOR);
        self.lowered = Some(Lowered {
            rate: (rate / 2.0).max(floor),
            back_at: self.lowered.map_or(rate, |lowered| lowered.back_at),
        });
        self.tokens = 0.0;
    }

    /// Lets nothing through before `until_ms`, at most 24 h from `now_ms`. Never shortens a hold.
    pub fn hold_until(&mut self, until_ms: i64, now_ms: i64) {
        let now_ms = self.advance(now_ms);
        let until_ms = until_ms.min(now_ms.saturating_add(DAY_MS));
        self.hold_until_ms = self.hold_until_ms.max(until_ms);
    }

    /// Until when nothing is let through, if that is later than `now_ms`.
    pub fn held_until(&mut self, now_ms: i64) -> Option<i64> {
        let now_ms = self.advance(now_ms);
        (self.hold_until_ms > now_ms).then_some(self.hold_until_ms)
    }

    /// Whether it would not be told from a new one: nothing is held or lowered, the bucket is full.
    pub fn is_at_rest(&mut self, now_ms: i64) -> bool {
        let now_ms = self.advance(now_ms);
        let full = self
            .rate()
            .is_none_or(|rate| self.tokens + ROUNDING >= burst(rate));
        full && self.lowered.is_none() && self.hold_until_ms <= now_ms
    }

    /// Attempts a second as of the last call; `None`: unlimited.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.lowered.map(|lowered| lowered.rate).or(self.configured)
    }

    /// Brings all up to `now_ms` and returns the time to go by.
    fn advance(&mut self, now_ms: i64) -> i64 {
        let back_ms = self.now_ms.saturating_sub(now_ms);
        if back_ms >= JUMP_MS {
            for at in [
                &mut self.now_ms,
                &mut self.hold_until_ms,
                &mut self.halved_at_ms,
                &mut self.quiet_since_ms,
            ] {
                *at = at.saturating_sub(back_ms);
            }
        }
        let now_ms = self.now_ms.max(now_ms);
        let elapsed_ms = now_ms.saturating_sub(self.now_ms);
        self.now_ms = now_ms;
        if let Some(rate) = self.rate() {
            self.tokens = (self.tokens + seconds(elapsed_ms) * rate).min(burst(rate));
        }
        self.recover();
        now_ms
    }

    /// Doubles a lowered rate for each time that passed without throttling.
    fn recover(&mut self) {
        let Some(lowered) = &mut self.lowered else {
            return;
        };
        let since_ms = self.quiet_since_ms.max(self.hold_until_ms);
        let times = self.now_ms.saturating_sub(since_ms) / DOUBLE_EVERY_MS;
        if times <= 0 {
            return;
        }
        self.quiet_since_ms = since_ms.saturating_add(times.saturating_mul(DOUBLE_EVERY_MS));
        lowered.rate *= 2f64.powi(i32::try_from(times).unwrap_or(i32::MAX));
        if lowered.rate >= lowered.back_at {
            self.lowered = None;
        }
    }
}

/// How many attempts may be made at once: one second's worth, but at least one.
fn burst(rate: f64) -> f64 {
    rate.max(1.0)
}

/// Milliseconds as seconds, from 0 to a day: more fills every bucket.
fn seconds(ms: i64) -> f64 {
    u32::try_from(ms.clamp(0, DAY_MS)).map_or(0.0, f64::from) / 1000.0
}

/// Seconds, at most a little over a day, as whole milliseconds, rounded up and at least 1.
fn ceil_ms(seconds: f64) -> i64 {
    let wait = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    let ms = wait.as_nanos().div_ceil(1_000_000);
    i64::try_from(ms).unwrap_or(i64::MAX).max(1)
}

/// How many attempts were let through in each of the last seconds.
#[derive(Debug, Clone, Default)]
struct Observed {
    /// The newest second, since 1970.
    second: i64,
    /// From the newest second to the oldest.
    counts: [u32; OBSERVED_SECONDS],
}

impl Observed {
    fn count(&mut self, now_ms: i64) {
        self.turn(now_ms);
        if let Some(newest) = self.counts.first_mut() {
            *newest = newest.saturating_add(1);
        }
    }

    /// The rate from the first second with an attempt on, taken over one second at least.
    fn per_second(&mut self, now_ms: i64) -> f64 {
        self.turn(now_ms);
        let Some(oldest) = self.counts.iter().rposition(|count| *count > 0) else {
            return 0.0;
        };
        let since_ms = self
            .second
            .saturating_sub(i64::try_from(oldest).unwrap_or(0))
            * 1000;
        let total: f64 = self.counts.iter().copied().map(f64::from).sum();
        total / seconds(now_ms.saturating_sub(since_ms)).max(1.0)
    }

    fn turn(&mut self, now_ms: i64) {
        let second = now_ms.div_euclid(1000);
        match usize::try_from(second.saturating_sub(self.second)) {
            Ok(passed @ ..OBSERVED_SECONDS) => {
                self.counts.rotate_right(passed);
                self.counts
                    .iter_mut()
                    .take(passed)
                    .for_each(|count| *count = 0);
            }
            _ => self.counts = Default::default(),
        }
        self.second = second;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_700_000_000_000;
    const HOUR_MS: i64 = 3_600_000;
    /// A million years.
    const LONG: i64 = DAY_MS * 365_000_000;

    /// How many are let through at `at_ms`, up to `most`.
    fn takes(limit: &mut RateLimit, at_ms: i64, most: usize) -> usize {
        (0..most)
            .take_while(|_| limit.try_take(at_ms).is_ok())
            .count()
    }

    /// Takes as many as allowed, each at the time that was named, from `from_ms` up to `to_ms`.
    fn takes_over(limit: &mut RateLimit, from_ms: i64, to_ms: i64) -> usize {
        let (mut at_ms, mut taken) = (from_ms, 0);
        while at_ms < to_ms {
            match limit.try_take(at_ms) {
                Ok(()) => taken += 1,
                Err(later_ms) => {
                    assert!(later_ms > at_ms);
                    at_ms = later_ms;
                }
            }
        }
        taken
    }

    #[test]
    fn a_burst_is_one_seconds_worth_and_at_least_one() {
        for (rate, burst, again_ms) in [
            (100.0, 100, 10),
            (2.5, 2, 200),
            (1.0, 1, 1_000),
            (5.0 / 60.0, 1, 12_000),
            (1.0 / 3600.0, 1, HOUR_MS),
        ] {
            let mut limit = RateLimit::new(Some(rate));
            assert_eq!(takes(&mut limit, NOW, 1000), burst, "{rate}");
            assert_eq!(limit.try_take(NOW), Err(NOW + again_ms), "{rate}");
            assert_eq!(
                limit.try_take(NOW + again_ms - 1),
                Err(NOW + again_ms),
                "{rate}"
            );
            assert_eq!(limit.try_take(NOW + again_ms), Ok(()), "{rate}");
            assert_eq!(
                takes(&mut limit, NOW + HOUR_MS * 24, 1000),
                burst,
                "a day fills it, {rate}"
            );
        }
    }

    #[test]
    fn in_the_long_run_the_rate_is_reached_and_kept() {
        for (rate, seconds, expected) in [(100.0, 60, 6100), (3.0, 100, 303), (0.25, 100, 26)] {
            let mut limit = RateLimit::new(Some(rate));
            let taken = takes_over(&mut limit, NOW, NOW + seconds * 1000);
            assert!(
                (expected - 2..=expected).contains(&taken),
                "{rate}: {taken}"
            );
        }
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        for rate in [None, Some(f64::INFINITY)] {
            assert_eq!(takes(&mut RateLimit::new(rate), NOW, 10_000), 10_000);
        }
    }

    #[test]
    fn a_rate_that_is_none_is_one_a_day() {
        for rate in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY, f64::MIN_POSITIVE] {
            let mut limit = RateLimit::new(Some(rate));
            assert_eq!(limit.try_take(NOW), Ok(()));
            assert_eq!(limit.try_take(NOW), Err(NOW + DAY_MS), "{rate}");
        }
    }

    #[test]
    fn throttling_halves_once_a_second_down_to_the_floor() {
        for (configured, rates) in [
            (100.0, vec![50.0, 25.0, 12.5, 6.25, 3.125, 1.5625, 1.0, 1.0]),
            (1.5, vec![1.0, 1.0]),
            (0.5, vec![0.5, 0.5]),
        ] {
            let mut limit = RateLimit::new(Some(configured));
            for (second, rate) in (0..).zip(rates) {
                for ms in [0, 1, 500, 999] {
                    limit.throttled(NOW + second * 1000 + ms);
                    assert_eq!(
                        limit.rate(),
                        Some(rate),
                        "{configured} after {second} s {ms} ms"
                    );
                }
            }
        }
    }

    #[test]
    fn throttling_empties_the_bucket() {
        let mut limit = RateLimit::new(Some(100.0));
        limit.throttled(NOW);
        assert_eq!(limit.try_take(NOW), Err(NOW + 20));
    }

    #[test]
    fn a_lowered_rate_doubles_after_each_10_s_without_throttling() {
        let mut limit = RateLimit::new(Some(100.0));
        for second in 0..3 {
            limit.throttled(NOW + second * 1000);
        }
        let last = NOW + 2000;
        for (ms, rate) in [
            (9_999, 12.5),
            (10_000, 25.0),
            (19_999, 25.0),
            (20_000, 50.0),
            (30_000, 100.0),
            (99_000, 100.0),
        ] {
            assert!(limit.try_take(last + ms).is_ok());
            assert_eq!(limit.rate(), Some(rate), "after {ms} ms");
        }
    }

    #[test]
    fn throttling_begins_the_10_s_anew_even_where_it_does_not_halve() {
        let mut limit = RateLimit::new(Some(100.0));
        limit.throttled(NOW);
        limit.throttled(NOW + 900);
        limit.hold_until(0, NOW + 10_899);
        assert_eq!(limit.rate(), Some(50.0));
        limit.hold_until(0, NOW + 10_900);
        assert_eq!(limit.rate(), Some(100.0));
    }

    #[test]
    fn a_long_quiet_time_makes_up_for_all_halvings_at_once() {
        let mut limit = RateLimit::new(Some(1000.0));
        for second in 0..20 {
            limit.throttled(NOW + second * 1000);
        }
        assert!(limit.try_take(NOW + 365 * DAY_MS).is_ok());
        assert_eq!(limit.rate(), Some(1000.0));
    }

    #[test]
    fn without_a_configured_rate_the_observed_one_is_halved_and_then_unlimited_again() {
        // seconds of traffic, attempts a second, the halved rate, how many times 10 s until it is unlimited
        for (seconds, per_second, halved, doublings) in [
            (10, 40, 20.0, 1),
            (1, 40, 20.0, 1),
            (3, 8, 4.0, 1),
            (10, 1, 1.0, 1),
            (0, 0, 1.0, 1),
        ] {
            let mut limit = RateLimit::new(None);
            for second in 0..seconds {
                assert_eq!(
                    takes(&mut limit, NOW + second * 1000, per_second),
                    per_second
                );
            }
            let end = NOW + seconds * 1000 - 1;
            limit.throttled(end);
            let rate = limit.rate().expect("limited now");
            assert!(
                (rate - halved).abs() < 0.01 * halved,
                "{seconds} s of {per_second}/s: {rate}"
            );
            limit.hold_until(0, end + doublings * 10_000 - 1);
            assert!(limit.rate().is_some());
            limit.hold_until(0, end + doublings * 10_000);
            assert_eq!(limit.rate(), None);
        }
    }

    #[test]
    fn halved_twice_an_observed_rate_doubles_twice_before_it_is_unlimited() {
        let mut limit = RateLimit::new(None);
        assert_eq!(takes(&mut limit, NOW, 400), 400);
        limit.throttled(NOW);
        limit.throttled(NOW + 1000);
        for (ms, rate) in [(1000, Some(100.0)), (11_000, Some(200.0)), (21_000, None)] {
            limit.hold_until(0, NOW + ms);
            assert_eq!(limit.rate(), rate, "after {ms} ms");
        }
    }

    #[test]
    fn a_hold_lets_nothing_through_and_is_never_shortened() {
        for rate in [None, Some(10.0)] {
            let mut limit = RateLimit::new(rate);
            limit.hold_until(NOW + 60_000, NOW);
            limit.hold_until(NOW + 5_000, NOW);
            for ms in [0, 4_999, 5_000, 59_999] {
                assert_eq!(limit.try_take(NOW + ms), Err(NOW + 60_000), "{ms}");
            }
            assert_eq!(limit.try_take(NOW + 60_000), Ok(()));
        }
    }

    #[test]
    fn a_hold_is_at_most_a_day_and_waits_for_a_token_after_it() {
        let mut limit = RateLimit::new(None);
        limit.hold_until(i64::MAX, NOW);
        assert_eq!(limit.try_take(NOW), Err(NOW + DAY_MS));
        let mut limit = RateLimit::new(Some(0.1));
        assert_eq!(limit.try_take(NOW), Ok(()));
        limit.hold_until(NOW + 3_000, NOW);
        assert_eq!(limit.try_take(NOW), Err(NOW + 10_000));
    }

    #[test]
    fn a_hold_does_not_count_as_time_without_throttling() {
        let mut limit = RateLimit::new(Some(100.0));
        limit.throttled(NOW);
        limit.hold_until(NOW + HOUR_MS, NOW);
        for (ms, rate) in [
            (HOUR_MS, 50.0),
            (HOUR_MS + 9_999, 50.0),
            (HOUR_MS + 10_000, 100.0),
        ] {
            assert!(limit.try_take(NOW + ms).is_ok());
            assert_eq!(limit.rate(), Some(rate), "after {ms} ms");
        }
    }

    #[test]
    fn a_changed_rate_keeps_what_the_receiver_asked_for_and_does_not_fill_the_bucket() {
        let mut limit = RateLimit::new(Some(100.0));
        assert_eq!(takes(&mut limit, NOW, 1000), 100);
        limit.set_rate(Some(200.0));
        assert_eq!(limit.try_take(NOW), Err(NOW + 5));
        limit.throttled(NOW);
        for (set, rate) in [
            (Some(300.0), Some(100.0)),
            (Some(80.0), Some(80.0)),
            (None, None),
            (Some(4.0), Some(4.0)),
        ] {
            limit.set_rate(set);
            assert_eq!(limit.rate(), rate, "{set:?}");
        }
        assert_eq!(
            takes(&mut limit, NOW, 1000),
            4,
            "full after it was unlimited"
        );
    }

    #[test]
    fn a_rate_that_is_taken_away_while_lowered_still_grows_back_to_where_it_was() {
        let mut limit = RateLimit::new(Some(100.0));
        limit.throttled(NOW);
        limit.throttled(NOW + 1000);
        limit.set_rate(None);
        for (ms, rate) in [(1000, Some(25.0)), (11_000, Some(50.0)), (21_000, None)] {
            limit.hold_until(0, NOW + ms);
            assert_eq!(limit.rate(), rate, "after {ms} ms");
        }
    }

    #[test]
    fn a_clock_that_jumps_back_lengthens_no_wait() {
        for back_ms in [1_000, HOUR_MS, DAY_MS * 400] {
            let then = NOW - back_ms;
            let mut limit = RateLimit::new(Some(0.5));
            assert_eq!(limit.try_take(NOW), Ok(()));
            assert_eq!(limit.try_take(then), Err(then + 2_000), "{back_ms}");
            assert_eq!(limit.try_take(then + 2_000), Ok(()));

            let mut limit = RateLimit::new(None);
            limit.hold_until(NOW + 60_000, NOW);
            assert_eq!(limit.try_take(NOW + 10_000), Err(NOW + 60_000));
            let later = then + 10_000;
            assert_eq!(limit.try_take(later), Err(later + 50_000), "{back_ms}");
            assert_eq!(limit.try_take(later + 50_000), Ok(()));

            let mut limit = RateLimit::new(Some(100.0));
            limit.throttled(NOW);
            limit.throttled(then);
            assert_eq!(limit.rate(), Some(50.0), "no second has passed");
            limit.throttled(then + 1_000);
            assert_eq!(limit.rate(), Some(25.0));
            limit.hold_until(0, then + 11_000);
            assert_eq!(limit.rate(), Some(50.0));
        }
    }

    #[test]
    fn a_hold_that_is_set_after_the_clock_jumped_back_is_kept() {
        let mut limit = RateLimit::new(None);
        assert_eq!(limit.try_take(NOW), Ok(()));
        let then = NOW - HOUR_MS;
        limit.hold_until(then + 5_000, then);
        assert_eq!(limit.try_take(then + 1), Err(then + 5_000));
    }

    #[test]
    fn threads_that_read_the_clock_in_turn_shorten_no_hold() {
        let mut limit = RateLimit::new(None);
        limit.hold_until(NOW + 60_000, NOW);
        for ms in 1..30_000 {
            assert_eq!(limit.try_take(NOW + ms), Err(NOW + 60_000));
            assert_eq!(limit.try_take(NOW + ms - 1), Err(NOW + 60_000));
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Take,
        Throttled,
        Hold(i64),
        Pass(i64),
    }

    fn steps(longest_pass_ms: i64, longest_hold_ms: i64) -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => Just(Step::Take),
            1 => Just(Step::Throttled),
            1 => (0..longest_hold_ms).prop_map(Step::Hold),
            6 => (0..longest_pass_ms).prop_map(Step::Pass),
        ];
        prop::collection::vec(step, 0..300)
    }

    proptest! {
        #[test]
        fn never_more_than_the_rate_and_never_in_a_hold(rate in 0.01f64..50.0, steps in steps(800, 3000)) {
            let mut limit = RateLimit::new(Some(rate));
            let (mut now, mut held, mut taken) = (NOW, NOW, Vec::new());
            for step in steps {
                match step {
                    Step::Take => match limit.try_take(now) {
                        Ok(()) => {
                            prop_assert!(now >= held);
                            taken.push(now);
                        }
                        Err(later) => prop_assert!(later > now && later >= held),
                    },
                    Step::Throttled => limit.throttled(now),
                    Step::Hold(ms) => {
                        held = held.max(now + ms);
                        limit.hold_until(now + ms, now);
                    }
                    Step::Pass(ms) => now += ms,
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (count, to) in (1u32..).zip(&taken[first..]) {
                    let most = rate.max(1.0) + rate * seconds(to - from) + 0.001;
                    prop_assert!(f64::from(count) <= most, "{} in {} ms", count, to - from);
                }
            }
        }

        #[test]
        fn the_time_it_names_suffices(rate in prop::option::of(0.01f64..5000.0), steps in steps(800, 3000)) {
            let mut limit = RateLimit::new(rate);
            let mut now = NOW;
            for step in steps {
                match step {
                    Step::Take => if let Err(later) = limit.try_take(now) {
                        now = later;
                        prop_assert_eq!(limit.try_take(now), Ok(()));
                    },
                    Step::Throttled => limit.throttled(now),
                    Step::Hold(ms) => limit.hold_until(now + ms, now),
                    Step::Pass(ms) => now += ms,
                }
            }
        }

        #[test]
        fn no_times_lock_it_up_for_longer_than_a_day(
            rate in prop::option::of(any::<f64>()),
            times in prop::collection::vec((-LONG..LONG, steps(LONG / 300, LONG)), 1..5),
        ) {
            let mut limit = RateLimit::new(rate);
            for (mut now, steps) in times {
                for step in steps {
                    match step {
                        Step::Take => if let Err(later) = limit.try_take(now) {
                            prop_assert!(later > now);
                            prop_assert!(later.saturating_sub(now) <= DAY_MS + JUMP_MS);
                        },
                        Step::Throttled => limit.throttled(now),
                        Step::Hold(ms) => limit.hold_until(now + ms, now),
                        Step::Pass(ms) => now += ms,
                    }
                }
            }
        }
    }

    #[test]
    fn a_limit_at_rest_is_as_a_new_one() {
        let mut limit = RateLimit::new(Some(2.0));
        assert!(limit.is_at_rest(0));
        limit.try_take(0).expect("a full bucket");
        assert!(!limit.is_at_rest(0));
        assert!(limit.is_at_rest(1000));
        limit.hold_until(5000, 1000);
        assert_eq!(limit.held_until(1000), Some(5000));
        assert!(!limit.is_at_rest(4999));
        assert_eq!(limit.held_until(5000), None);
        assert!(limit.is_at_rest(5000));
        limit.throttled(6000);
        assert!(!limit.is_at_rest(7000), "its rate is lowered");
    }
}
