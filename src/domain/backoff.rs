//! How long a failed delivery waits before it is tried again.
//!
//! A destination's retry policy and the number of failures go in, and a random number that the caller draws.
//!
//! Invariant: jitter only lengthens a delay.

use std::time::Duration;

use super::destination::{BackoffKind, RetryPolicy};
use super::units::Span;

/// The first delay after an attempt that failed by our own fault; it doubles.
const INTERNAL_FIRST: Duration = Duration::from_secs(1);
/// The longest delay after an attempt that failed by our own fault.
const INTERNAL_LONGEST: Duration = Duration::from_secs(60);

/// The delay after the `failures`-th failure (from 1; 0 is taken as 1).
///
/// Exponential: `initial` × `multiplier`^(failures − 1), at most `max_delay`. By a schedule: the delay at that place, the
/// last one from there on; a schedule without delays, which validation refuses, backs off exponentially.
/// Then lengthened by `jitter` × the policy's own jitter × itself.
///
/// `jitter` is a random number from 0 to 1; what lies outside is cut to that, NaN counts as 0.
#[must_use]
pub fn delay(policy: &RetryPolicy, failures: u32, jitter: f64) -> Duration {
    let base = match (policy.policy, policy.delays.as_deref()) {
        (BackoffKind::Schedule, Some(delays @ [.., last])) => scheduled(delays, *last, failures),
        _ => exponential(policy, failures),
    };
    base.saturating_add(times(base, share(jitter) * share(policy.jitter)))
}

/// The delay after the `failures`-th attempt in a row (from 1) that failed by our own fault: 1 s, doubling to 1 minute.
#[must_use]
pub fn internal(failures: u32) -> Duration {
    let doubled = 2u32.saturating_pow(failures.saturating_sub(1));
    INTERNAL_FIRST.saturating_mul(doubled).min(INTERNAL_LONGEST)
}

fn scheduled(delays: &[Span], last: Span, failures: u32) -> Duration {
    let place = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    delays.get(place).unwrap_or(&last).0
}

fn exponential(policy: &RetryPolicy, failures: u32) -> Duration {
    let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
    // `max` takes the number where the other is NaN.
    let factor = policy.multiplier.max(1.0).powi(exponent);
    times(policy.initial.0, factor).min(policy.max_delay.0)
}

/// `duration` × `factor`, the longest there is where that is too much; `factor` is not negative and not NaN.
fn times(duration: Duration, factor: f64) -> Duration {
    if duration.is_zero() {
        return Duration::ZERO; // 0 × ∞ is no number
    }
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

/// Cuts `number` to 0..=1; NaN counts as 0.
fn share(number: f64) -> f64 {
    number.clamp(0.0, 1.0).max(0.0) // `max` takes the number where the other is NaN
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(delays: Option<&[u64]>) -> RetryPolicy {
        RetryPolicy {
            policy: BackoffKind::Schedule,
            delays: delays.map(|delays| delays.iter().map(|s| Span::secs(*s)).collect()),
            ..RetryPolicy::default()
        }
    }

    #[test]
    fn an_exponential_delay_grows_to_its_cap() {
        let policy = RetryPolicy::default();
        for (failures, seconds) in [
            (0, 5),
            (1, 5),
            (2, 10),
            (3, 20),
            (10, 2560),
            (14, 40_960),
            (15, 43_200),
            (16, 43_200),
            (u32::MAX, 43_200),
        ] {
            let expected = Duration::from_secs(seconds);
            assert_eq!(delay(&policy, failures, 0.0), expected, "{failures}");
        }
    }

    #[test]
    fn a_first_delay_above_the_cap_is_cut() {
        let policy = RetryPolicy {
            initial: Span::secs(60),
            max_delay: Span::secs(20),
            ..RetryPolicy::default()
        };
        assert_eq!(delay(&policy, 1, 0.0), Duration::from_secs(20));
    }

    #[test]
    fn a_schedule_is_followed_and_its_last_delay_repeats() {
        let policy = schedule(Some(&[5, 60, 90_000]));
        for (failures, seconds) in [(0, 5), (1, 5), (2, 60), (3, 90_000), (4, 90_000)] {
            let expected = Duration::from_secs(seconds);
            assert_eq!(delay(&policy, failures, 0.0), expected, "{failures}");
        }
    }

    #[test]
    fn an_empty_schedule_backs_off_exponentially() {
        for policy in [schedule(None), schedule(Some(&[]))] {
            assert_eq!(delay(&policy, 2, 0.0), Duration::from_secs(10));
        }
    }

    #[test]
    fn jitter_lengthens_by_up_to_the_policys_share() {
        let policy = RetryPolicy::default();
        for (jitter, millis) in [
            (0.0, 5000),
            (0.5, 5500),
            (1.0, 6000),
            (7.0, 6000),
            (-1.0, 5000),
            (f64::NAN, 5000),
            (f64::INFINITY, 6000),
        ] {
            let expected = Duration::from_millis(millis);
            assert_eq!(delay(&policy, 1, jitter), expected, "{jitter}");
        }
    }

    #[test]
    fn a_fault_of_our_own_waits_a_second_doubling_to_a_minute() {
        for (failures, seconds) in [
            (0, 1),
            (1, 1),
            (2, 2),
            (3, 4),
            (6, 32),
            (7, 60),
            (u32::MAX, 60),
        ] {
            assert_eq!(
                internal(failures),
                Duration::from_secs(seconds),
                "{failures}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_policy_overflows_and_jitter_only_lengthens(
            initial in any::<Duration>(),
            multiplier in prop_oneof![any::<f64>(), 1.0..100.0],
            max_delay in any::<Duration>(),
            share in prop_oneof![any::<f64>(), 0.0..1.0],
            delays in prop::option::of(prop::collection::vec(any::<Duration>().prop_map(Span), 0..4)),
            exponential in any::<bool>(),
            failures in any::<u32>(),
            jitter in prop_oneof![any::<f64>(), 0.0..1.0],
        ) {
            let policy = RetryPolicy {
                policy: if exponential { BackoffKind::Exponential } else { BackoffKind::Schedule },
                initial: Span(initial),
                multiplier,
                max_delay: Span(max_delay),
                jitter: share,
                delays,
                ..RetryPolicy::default()
            };
            let without = delay(&policy, failures, 0.0);
            let with = delay(&policy, failures, jitter);
            prop_assert!(without <= with);
            prop_assert!(with <= without.saturating_mul(2).saturating_add(Duration::from_secs(2048)));
            if exponential {
                prop_assert!(without <= max_delay);
            }
        }
    }
}
