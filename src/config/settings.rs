//! What the settings mean. Every key has its default and its comment in `config/default.toml`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::properties::is_secret;
use crate::domain::filter::budget::Limits;
use crate::domain::units::{ByteSize, Span};

/// All settings, valid as a whole.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How to reach Kafka.
    pub kafka: Kafka,
    /// Our own topics.
    pub topics: Topics,
    /// The topics that events are read from, by name or pattern (`orders-*`).
    pub sources: BTreeMap<String, Source>,
    /// Retry tiers and topics.
    pub retry: Retry,
    /// Retention of what waits.
    pub archive: Archive,
    /// Attempts at once.
    pub dispatch: Dispatch,
    /// How far the reading of a partition may run ahead of what is settled.
    pub ledger: Ledger,
    /// Attempts over HTTP.
    pub webhook: Webhook,
    /// Attempts that go together.
    pub batch: Batch,
    /// Attempts to AWS.
    pub aws: Aws,
    /// Attempts to Google Cloud.
    pub google: Google,
    /// Which addresses may be sent to.
    pub egress: Egress,
    /// The configuration read from topics.
    pub catalog: Catalog,
    /// What a subscription's filter may have at most.
    pub filters: Limits,
    /// The admin endpoint.
    pub admin: Admin,
    /// Stopping.
    pub shutdown: Shutdown,
}

impl Settings {
    /// How long retry topics keep a record: the longest of `archive.retention`, `retry.max_age_max` and four times the
    /// longest tier, and 2 days more, so that Kafka never deletes what is still to be delivered.
    #[must_use]
    pub fn retry_retention(&self) -> Span {
        let longest_tier = self
            .retry
            .tiers
            .iter()
            .max()
            .map_or(Duration::ZERO, |tier| tier.0);
        let needed = longest_tier
            .saturating_mul(4)
            .max(self.archive.retention.0)
            .max(self.retry.max_age_max.0);
        Span(needed.saturating_add(Duration::from_secs(2 * 86_400)))
    }
}

/// How to reach Kafka.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// `bootstrap.servers`.
    pub brokers: String,
    /// The consumer group; others are derived from it: `<group>.lanes`, `<group>.retry`, `<group>.catalog`.
    pub group: String,
    /// Passed to librdkafka as they are.
    pub properties: BTreeMap<String, String>,
}

/// Values of properties that may be secret are not shown.
impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: BTreeMap<&str, &str> = self
            .properties
            .iter()
            .map(|(name, value)| {
                let shown = if is_secret(name) { "[redacted]" } else { value };
                (name.as_str(), shown)
            })
            .collect();
        f.debug_struct("Kafka")
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("properties", &properties)
            .finish()
    }
}

/// Our own topics.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topics {
    /// Before every name.
    pub prefix: String,
    /// Into how many lanes destinations are shared out; fixed once the topics are made.
    pub lanes: u32,
    /// Replicas of each partition; 0: min(3, brokers).
    pub replication_factor: u32,
}

/// How one source topic is read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// What the values are.
    #[serde(default)]
    pub format: Format,
    /// Where reading starts, once.
    #[serde(default)]
    pub start: Start,
    /// JSON pointer to the event's id in the body.
    #[serde(default)]
    pub id: Option<String>,
    /// JSON pointer to the event's type.
    #[serde(default, rename = "type")]
    pub event_type: Option<String>,
    /// JSON pointer to the event's time (RFC 3339, or milliseconds since 1970).
    #[serde(default)]
    pub time: Option<String>,
    /// JSON pointer to the event's tenant.
    #[serde(default)]
    pub tenant: Option<String>,
}

/// What the values of a source topic are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// JSON; CloudEvents are recognised in it.
    #[default]
    Json,
    /// CloudEvents, binary or structured; anything else is malformed.
    Cloudevents,
    /// Opaque.
    Bytes,
}

/// Where the reading of a source starts, the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With what comes next.
    #[default]
    Latest,
    /// With the oldest that is kept.
    Earliest,
    /// With the first record of this time or later, in milliseconds since 1970.
    At(i64),
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "latest" => Ok(Self::Latest),
            "earliest" => Ok(Self::Earliest),
            _ => OffsetDateTime::parse(&text, &Rfc3339)
                .ok()
                .and_then(|at| i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok())
                .map(Self::At)
                .ok_or_else(|| {
                    serde::de::Error::custom(format!(
                        "`{text}` is not a place to start; write `latest`, `earliest` or a time like `2026-01-31T08:00:00Z`"
                    ))
                }),
        }
    }
}

/// Retry tiers and topics.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// The delays, ascending; partition 0 (no delay) comes before them. May only be appended to.
    pub tiers: Vec<Span>,
    /// The largest `max_age` that a destination may ask for; with others it decides how long retry topics keep.
    pub max_age_max: Span,
    /// How many destinations have a retry topic of their own at most.
    pub dedicated_topics: usize,
    /// A drained dedicated topic of a destination that failed no more for this long is retired.
    pub retire_after: Span,
    /// A retired topic is deleted when nothing was appended for this long.
    pub delete_after: Span,
    /// Deliveries of one retry partition that may wait in memory for their due time.
    pub waiting_per_partition: usize,
}

/// Retention of what waits.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// How long what could not be delivered is kept.
    pub retention: Span,
}

/// Attempts at once.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dispatch {
    /// Attempts in flight in all.
    pub slots: usize,
    /// Of these, attempts of the backlog (retries) at most: a share from 0 to 1.
    pub backlog_share: f64,
    /// Deliveries of one destination that wait in memory for a slot before they are handed over to its retry topic.
    pub queue: usize,
    /// How long one waits so at most.
    pub queue_wait: Span,
    /// The memory that events in flight and waiting may take.
    pub memory: ByteSize,
    /// From this age on an attempt counts as slow; slow ones hold at most half of all slots.
    pub slow_after: Span,
}

/// How far the reading of a partition may run ahead of what is settled.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Unsettled events of one partition at most.
    pub events: usize,
    /// Offsets between the commit position and the newest read, at most.
    pub span: usize,
    /// How often positions are committed.
    pub commit_interval: Span,
    /// How long a revoked partition waits for what is in flight.
    pub revoke_timeout: Span,
}

/// Attempts over HTTP.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Looking up a name.
    pub dns_timeout: Span,
    /// Connecting, TLS included.
    pub connect_timeout: Span,
    /// Until the first byte of the answer.
    pub first_byte_timeout: Span,
    /// The largest `timeout` that a destination may ask for.
    pub timeout_max: Span,
    /// How much of an answer's body is read at most.
    pub response_read: ByteSize,
    /// How much of an answer's body is kept in the attempt record.
    pub response_kept: ByteSize,
    /// An idle connection is closed after this.
    pub pool_idle_timeout: Span,
    /// Idle connections to one host at most.
    pub pool_idle_per_host: usize,
    /// The largest body that is sent.
    pub body_max: ByteSize,
}

/// Attempts that go together, where the protocol takes several in one request.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// How long an event waits for others to the same destination, while a request to it is in flight.
    pub linger: Span,
}

/// Attempts to AWS.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aws {
    /// Whether destinations may have roles assumed with the service's own credentials.
    pub allow_role: bool,
    /// Whether destinations may use the service's own credentials.
    pub allow_default: bool,
    /// An attempt as a whole.
    pub timeout: Span,
    /// Clients of each service that are kept at most, by credentials, region and endpoint.
    pub clients: usize,
    /// A client that was not used for this long is dropped.
    pub client_idle: Span,
}

/// Attempts to Google Cloud.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Google {
    /// Whether destinations may use the service's own credentials.
    pub allow_default: bool,
}

/// Which addresses may be sent to.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    /// Networks, host names and `host:port` that may be reached beside the public ones.
    pub allow: Vec<String>,
    /// Whether `http://` may be used.
    pub allow_http: bool,
}

/// The configuration read from topics.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// Intake stops when the ends of the configuration topics could not be confirmed for this long.
    pub stale_after: Span,
}

/// The admin endpoint.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
}

/// Stopping.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// How long what is in flight may take to finish.
    pub timeout: Span,
}

fn address<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_not_an_address| {
        serde::de::Error::custom(format!(
            "`{text}` is not an address with a port; write it like `127.0.0.1:8077` or `[::1]:8077`"
        ))
    })
}
