//! A destination: where events go, which ones, how fast and how stubbornly.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::filter::Filter;
use super::ids::{DestinationId, TenantId};
use super::units::{Rate, Span};

/// One configured endpoint: the value of a record in `destinations`. Its key is `tenant/id`.
///
/// The sink's own part is kept as JSON here; the sink that it names reads it.
#[derive(Clone)]
pub struct Destination {
    /// `tenant/id`.
    pub id: DestinationId,
    /// Its owner.
    pub tenant: TenantId,
    /// For people.
    pub description: String,
    /// For the platform's own use.
    pub metadata: BTreeMap<String, String>,
    /// Whether it gets events now; those that match meanwhile wait.
    pub enabled: bool,
    /// The object `sink`, with its `type`.
    pub sink: Value,
    /// `None`: every event of the tenant.
    pub subscriptions: Option<Vec<Subscription>>,
    /// How much at once.
    pub delivery: DeliveryPolicy,
    /// How often and how long failures are tried again.
    pub retry: RetryPolicy,
}

/// Of the sink only the type is shown: the rest may hold secrets.
impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination")
            .field("id", &self.id)
            .field("description", &self.description)
            .field("metadata", &self.metadata)
            .field("enabled", &self.enabled)
            .field("sink.type", &self.sink.get("type"))
            .field("subscriptions", &self.subscriptions)
            .field("delivery", &self.delivery)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// Which events a destination receives: all conditions that are given must hold.
#[derive(Debug, Clone, Default)]
pub struct Subscription {
    /// Names it within the destination; its position (from 0) where absent.
    pub id: Option<String>,
    /// Source topics; absent: all.
    pub topics: Option<Vec<String>>,
    /// Event types. `*` alone: all; `*`: any run of characters within one segment (segments are separated by dots);
    /// a segment `**`: one or more segments; absent: all.
    pub event_types: Option<Vec<String>>,
    /// What the event itself must be like; asked last.
    pub filter: Option<SubscriptionFilter>,
}

/// A condition on the event itself.
#[derive(Debug, Clone)]
pub struct SubscriptionFilter {
    /// What of the event it is asked about.
    pub scope: Scope,
    /// The compiled rule.
    pub filter: Arc<Filter>,
}

/// What of an event a filter is asked about.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The body, which must be JSON.
    #[default]
    Body,
    /// The object `{"id", "type", "topic", "key", "time", "headers", "data"}`.
    Envelope,
}

/// How much a destination gets at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeliveryPolicy {
    /// Attempts in flight at once, for each instance.
    #[schemars(range(min = 1, max = 1000))]
    pub concurrency: u32,
    /// At most so many attempts: `100/s`, `5/m`.
    pub rate: Option<Rate>,
    /// Whether deliveries keep the order of the events' keys.
    pub ordering: Ordering,
}

impl Default for DeliveryPolicy {
    fn default() -> Self {
        Self {
            concurrency: 8,
            rate: None,
            ordering: Ordering::None,
        }
    }
}

/// Whether deliveries keep an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ordering {
    /// They do not.
    None,
}

/// When and how often a failed delivery is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// `exponential` grows by `multiplier` from `initial` to `max_delay`; `schedule` takes `delays` in turn.
    pub policy: BackoffKind,
    /// The first delay.
    pub initial: Span,
    /// What each delay is multiplied by for the next one.
    #[schemars(range(min = 1.0, max = 100.0))]
    pub multiplier: f64,
    /// No delay is longer, before jitter.
    pub max_delay: Span,
    /// Each delay is lengthened by a random share of itself, up to this.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub jitter: f64,
    /// For `schedule`: the delay after each failed attempt; the last one repeats.
    #[schemars(length(min = 1, max = 64))]
    pub delays: Option<Vec<Span>>,
    /// Attempts in all, the first included.
    #[schemars(range(min = 1, max = 1000))]
    pub max_attempts: u32,
    /// How long after it was first read an event is still tried.
    pub max_age: Span,
    /// What follows when the receiver refuses the event itself (most 4xx).
    pub rejected: RejectedPolicy,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            policy: BackoffKind::Exponential,
            initial: Span::secs(5),
            multiplier: 2.0,
            max_delay: Span::secs(12 * 3600),
            jitter: 0.2,
            delays: None,
            max_attempts: 16,
            max_age: Span::secs(72 * 3600),
            rejected: RejectedPolicy::Retry,
        }
    }
}

/// How delays grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackoffKind {
    /// By a factor.
    Exponential,
    /// By a list.
    Schedule,
}

/// What follows an attempt that the receiver rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RejectedPolicy {
    /// It is retried like any failure.
    Retry,
    /// It goes to the dead letters.
    DeadLetter,
}
