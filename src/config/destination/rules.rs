//! What a destination's document must fulfil beyond its form.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::faults::Findings;
use crate::config::settings::Settings;
use crate::domain::destination::{BackoffKind, RetryPolicy};
use crate::domain::units::Span;

/// The most delays of a schedule.
const DELAYS_MAX: usize = 64;

/// Adds a fault unless `value` is `allowed`.
pub(super) fn within<T>(findings: &mut Findings, at: &str, value: T, allowed: RangeInclusive<T>)
where
    T: PartialOrd + std::fmt::Display,
{
    if !allowed.contains(&value) {
        let (least, most) = (allowed.start(), allowed.end());
        findings.add(
            at,
            format!("{value} is out of range; {least} to {most} is allowed"),
        );
    }
}

/// Finds what is wrong with the retry policy.
pub(super) fn retry(policy: &RetryPolicy, limits: &Settings, findings: &mut Findings) {
    within(
        findings,
        "/retry/multiplier",
        policy.multiplier,
        1.0..=100.0,
    );
    within(findings, "/retry/jitter", policy.jitter, 0.0..=1.0);
    within(
        findings,
        "/retry/max_attempts",
        policy.max_attempts,
        1..=1000,
    );
    let shortest = Span(Duration::from_millis(1));
    if policy.initial < shortest {
        let message = format!(
            "{} is too short; at least {shortest} is allowed",
            policy.initial
        );
        findings.add("/retry/initial", message);
    }
    let longest = limits.retry.max_age_max;
    if !(shortest..=longest).contains(&policy.max_age) {
        let message = format!(
            "{} is out of range; {shortest} to {longest} is allowed (setting `retry.max_age_max`)",
            policy.max_age
        );
        findings.add("/retry/max_age", message);
    }
    if !findings.clean("/retry/policy") {
        return;
    }
    match (policy.policy, policy.delays.as_deref()) {
        (BackoffKind::Exponential, None) => {
            let (initial, most) = (policy.initial, policy.max_delay);
            let known = findings.clean("/retry/initial") && findings.clean("/retry/max_delay");
            if known && initial > most {
                let message = format!("{initial} is longer than `max_delay`, which is {most}");
                findings.add("/retry/initial", message);
            }
        }
        (BackoffKind::Exponential, Some(_)) => {
            findings.add("/retry/delays", "this needs the policy \"schedule\"");
        }
        (BackoffKind::Schedule, None) => {
            findings.add(
                "/retry/delays",
                "is required: the policy \"schedule\" needs it",
            );
        }
        (BackoffKind::Schedule, Some(delays)) => {
            if !(1..=DELAYS_MAX).contains(&delays.len()) {
                let found = delays.len();
                let message = format!("there are {found} delays; 1 to {DELAYS_MAX} are allowed");
                findings.add("/retry/delays", message);
            }
        }
    }
}
