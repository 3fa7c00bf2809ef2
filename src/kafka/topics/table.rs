//! The table of our own topics: names, partitions and properties, from settings.
//!
//! Invariant: this is the only place that says what a topic of ours is like.

use crate::config::settings::Settings;
use crate::kafka::errors::Severity;
use crate::kafka::names::Names;

const DAY_MS: i64 = 86_400_000;

/// What a record of ours may need beside the event's own bytes: the header `ph`, reason, outcomes.
const ROOM_BYTES: i64 = 64 * 1024;

/// What a topic takes where nobody says otherwise: the broker's default of `message.max.bytes`.
///
/// <https://kafka.apache.org/documentation/#brokerconfigs_message.max.bytes>
pub const DEFAULT_MAX_MESSAGE_BYTES: i32 = 1_048_588;

/// How many partitions a topic may have beside the number that it is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// More do no harm.
    AtLeast,
    /// Only partition 0 is read: exactly one.
    One,
    /// Exactly one for each lane; the number says how many lanes there are.
    Lanes,
    /// Exactly tiers × lanes: a tier that was removed would hide what waits in it.
    Tiers,
}

/// What a property of a topic must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// The first is set when the topic is made, any of them is fine later.
    OneOf(&'static [&'static str]),
    /// A number that is set when the topic is made; more is fine, and so is -1 (no limit).
    AtLeast(i64),
}

/// One property of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub key: &'static str,
    /// What it must be.
    pub need: Need,
    /// How bad it is when it is not.
    pub severity: Severity,
}

impl Rule {
    /// The value that a new topic gets.
    #[must_use]
    pub fn initial(&self) -> String {
        match &self.need {
            Need::OneOf(values) => values.first().copied().unwrap_or_default().to_owned(),
            Need::AtLeast(number) => number.to_string(),
        }
    }

    fn must(key: &'static str, need: Need) -> Self {
        Self {
            key,
            need,
            severity: Severity::Error,
        }
    }

    fn should(key: &'static str, need: Need) -> Self {
        Self {
            key,
            need,
            severity: Severity::Warning,
        }
    }
}

/// What a topic of ours is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// With how many partitions it is made.
    pub partitions: i32,
    /// How many it may have.
    pub fit: Fit,
    /// Its properties, but those that depend on the number of replicas.
    pub rules: Vec<Rule>,
}

impl TopicSpec {
    /// All properties of a new topic with so many replicas.
    #[must_use]
    pub fn initial(&self, replication: i32) -> Vec<(&'static str, String)> {
        let mut values: Vec<(&'static str, String)> = self
            .rules
            .iter()
            .map(|rule| (rule.key, rule.initial()))
            .collect();
        values.push(("min.insync.replicas", min_insync(replication).to_string()));
        values
    }
}

/// `min.insync.replicas` for so many replicas: one may fail.
#[must_use]
pub(super) fn min_insync(replication: i32) -> i32 {
    (replication - 1).max(1)
}

/// The `max.message.bytes` of topics that carry events from sources that take `largest_source`.
#[must_use]
pub fn with_room(largest_source: i32) -> i32 {
    i32::try_from(i64::from(largest_source) + ROOM_BYTES).unwrap_or(i32::MAX)
}

/// All topics that exist from the start. `max_message_bytes` is what those that carry events must take.
#[must_use]
pub fn specs(settings: &Settings, max_message_bytes: i32) -> Vec<TopicSpec> {
    let names = Names::new(&settings.topics.prefix);
    let lanes = count(settings.topics.lanes);
    let topic = |name: &str, partitions, fit, rules: Vec<Rule>| TopicSpec {
        name: name.to_owned(),
        partitions,
        fit,
        rules: common().into_iter().chain(rules).collect(),
    };
    vec![
        topic(&names.lanes, lanes, Fit::Lanes, vec![]),
        topic(
            &names.destinations,
            1,
            Fit::One,
            vec![
                compact(),
                Rule::must("min.compaction.lag.ms", Need::AtLeast(DAY_MS)),
            ],
        ),
        topic(&names.control, 1, Fit::One, kept_days(7)),
        topic(&names.dedicated, 1, Fit::One, vec![compact()]),
        topic(
            &names.retry,
            tiers(settings).saturating_mul(lanes),
            Fit::Tiers,
            retry_rules(settings, max_message_bytes),
        ),
        topic(
            &names.dead_letter,
            lanes,
            Fit::AtLeast,
            kept_days(30)
                .into_iter()
                .chain([takes(max_message_bytes)])
                .collect(),
        ),
        topic(
            &names.attempts,
            lanes,
            Fit::AtLeast,
            kept_days(7)
                .into_iter()
                .chain([Rule::should(
                    "compression.type",
                    // The producer sends zstd, so its own choice is as good.
                    Need::OneOf(&["zstd", "producer"]),
                )])
                .collect(),
        ),
    ]
}

/// A retry topic of one destination.
#[must_use]
pub fn dedicated_spec(settings: &Settings, name: &str, max_message_bytes: i32) -> TopicSpec {
    TopicSpec {
        name: name.to_owned(),
        partitions: tiers(settings),
        fit: Fit::Tiers,
        rules: common()
            .into_iter()
            .chain(retry_rules(settings, max_message_bytes))
            .collect(),
    }
}

/// Tiers with the one that has no delay.
fn tiers(settings: &Settings) -> i32 {
    i32::try_from(settings.retry.tiers.len() + 1).unwrap_or(i32::MAX)
}

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn common() -> Vec<Rule> {
    vec![
        Rule::must("message.timestamp.type", Need::OneOf(&["LogAppendTime"])),
        Rule::must("retention.bytes", Need::OneOf(&["-1"])),
        Rule::must("unclean.leader.election.enable", Need::OneOf(&["false"])),
    ]
}

fn compact() -> Rule {
    Rule::must("cleanup.policy", Need::OneOf(&["compact"]))
}

/// Deleted after so many days. Whoever wants to keep it for less may; it is said at start.
fn kept_days(days: i64) -> Vec<Rule> {
    vec![
        Rule::must("cleanup.policy", Need::OneOf(&["delete"])),
        Rule::should("retention.ms", Need::AtLeast(days * DAY_MS)),
    ]
}

fn takes(max_message_bytes: i32) -> Rule {
    Rule::must(
        "max.message.bytes",
        Need::AtLeast(i64::from(max_message_bytes)),
    )
}

fn retry_rules(settings: &Settings, max_message_bytes: i32) -> Vec<Rule> {
    vec![
        Rule::must("cleanup.policy", Need::OneOf(&["delete"])),
        Rule::must(
            "retention.ms",
            Need::AtLeast(settings.retry_retention().as_millis()),
        ),
        takes(max_message_bytes),
    ]
}
