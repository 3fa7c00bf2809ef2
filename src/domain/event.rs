//! An event as it is delivered: its bytes, untouched, and what is known about it.

use std::sync::Arc;

use bytes::Bytes;

use super::ids::TenantId;

/// Where a record stands in Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition, from 0.
    pub partition: i32,
    /// The offset, from 0.
    pub offset: i64,
}

/// The headers of a record, in their order; a name may stand twice, a value may be null and need not be UTF-8.
pub type Headers = Vec<(Box<str>, Option<Bytes>)>;

/// One event, taken from a source topic.
///
/// Invariant: `key`, `body` and `headers` are the record's own bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Identifies the event over retries, crashes and replays; 1–256 bytes without control characters.
    pub id: Box<str>,
    /// The category that subscriptions choose by, such as `order.paid`; 1–256 bytes without control characters.
    pub event_type: Box<str>,
    /// Whose destinations may receive it.
    pub tenant: TenantId,
    /// When it happened, in milliseconds since 1970: the producer's word, else the record's timestamp.
    pub time_ms: i64,
    /// How many Kafka destinations of ours it has passed through already.
    pub hops: u8,
    /// The record that it was first read from.
    pub origin: Origin,
    /// The record's key.
    pub key: Option<Bytes>,
    /// The record's value; `None` for a null value.
    pub body: Option<Bytes>,
    /// The record's headers.
    pub headers: Headers,
    /// The media type of `body` as the record or its source declares it.
    pub content_type: Box<str>,
}

impl Event {
    /// The memory that the event's own bytes take, roughly: what budgets count.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.as_ref().map_or(0, Bytes::len) + 48)
            .sum();
        256 + self.id.len()
            + self.event_type.len()
            + self.key.as_ref().map_or(0, Bytes::len)
            + self.body.as_ref().map_or(0, Bytes::len)
            + headers
    }
}
