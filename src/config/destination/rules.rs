//! What a destination's document must fulfil beyond its form.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::faults::{Findings, child};
use crate::config::settings::Settings;
use crate::config::words;
use crate::domain::destination::{BackoffKind, RetryPolicy, Subscription};
use crate::domain::event_type::Pattern;
use crate::domain::ids::{DestinationId, TenantId};
use crate::domain::units::Span;

/// The most subscriptions of one destination.
pub(super) const SUBSCRIPTIONS_MAX: usize = 256;
/// The most topics, and the most event types, of one subscription.
const LIST_MAX: usize = 256;
/// The most delays of a schedule.
const DELAYS_MAX: usize = 64;

/// Finds what is wrong with the list of subscriptions.
pub(super) fn subscriptions(
    subscriptions: &[Subscription],
    knows_topic: &dyn Fn(&str) -> bool,
    findings: &mut Findings,
) {
    if subscriptions.len() > SUBSCRIPTIONS_MAX {
        let found = subscriptions.len();
        let message = format!("there are {found}; at most {SUBSCRIPTIONS_MAX} are allowed");
        findings.add("/subscriptions", message);
        return;
    }
    let mut ids = BTreeSet::new();
    for (index, subscription) in subscriptions.iter().enumerate() {
        let at = format!("/subscriptions/{index}");
        let given = subscription.id.as_deref();
        let id = given.map_or_else(|| index.to_string(), str::to_owned);
        let id_at = if given.is_some() {
            child(&at, "id")
        } else {
            at.clone()
        };
        // The form of a subscription's id is that of a destination's.
        if DestinationId::new(&TenantId::default_tenant(), &id).is_err() {
            let (id, form) = (words::quoted(&id), DestinationId::FORM);
            findings.add(&id_at, format!("{id} is not of the form {form}"));
        } else if findings.clean(&child(&at, "id")) && !ids.insert(id.clone()) {
            let message = format!(
                "another subscription is called \"{id}\" too; one without id is called by its position"
            );
            findings.add(&id_at, message);
        }
        check_list(
            subscription.topics.as_deref(),
            &child(&at, "topics"),
            findings,
            |topic| {
                (!knows_topic(topic))
                    .then(|| format!("{} is not read under `sources`", words::quoted(topic)))
            },
        );
        check_list(
            subscription.event_types.as_deref(),
            &child(&at, "event_types"),
            findings,
            |pattern| Pattern::parse(pattern).err().map(|error| error.to_string()),
        );
    }
}

/// Checks each element of a list that may be absent, but not empty.
fn check_list(
    list: Option<&[String]>,
    at: &str,
    findings: &mut Findings,
    wrong: impl Fn(&str) -> Option<String>,
) {
    let Some(list) = list else { return };
    if list.is_empty() {
        findings.add(
            at,
            "an empty list matches nothing; leave it out to match everything",
        );
    }
    if list.len() > LIST_MAX {
        findings.add(
            at,
            format!("there are {}; at most {LIST_MAX} are allowed", list.len()),
        );
        return;
    }
    for (index, element) in list.iter().enumerate() {
        if let Some(message) = wrong(element) {
            findings.add(&format!("{at}/{index}"), message);
        }
    }
}

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
