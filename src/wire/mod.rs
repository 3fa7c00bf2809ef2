//! Bytes of Kafka records to domain values and back; the shapes stand in `schemas/`.

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::event::Headers;

/// One Kafka record as plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds since 1970: the producer's, or the broker's where the topic says LogAppendTime.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Headers,
}

/// A record to be written; topic and partition are chosen by who writes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewRecord {
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Headers,
}
