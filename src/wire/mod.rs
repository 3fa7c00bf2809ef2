//! Bytes of Kafka records to domain values and back; the shapes stand in `schemas/`.
//!
//! | module | records | read and written by |
//! | --- | --- | --- |
//! | [`source`] | the platform's own topics, read only | router |
//! | [`retry`] | `retry`, `retry.<tenant>.<id>.<suffix>` | router, retry |
//! | [`dead_letter`] | `dead-letter` | router, retry; tools |
//! | [`attempt`] | `attempts` | dispatch; whoever counts outcomes |
//! | [`dedicated`] | `dedicated` | retry; catalog |
//!
//! Invariant: an event's key, value and headers pass through byte for byte.
//! Invariant: topics and partitions are chosen by who writes a record, never here.

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::event::Headers;
use crate::domain::ids::InvalidName;

pub mod attempt;
pub mod dead_letter;
pub mod dedicated;
pub mod retry;
#[cfg(test)]
mod samples;
pub mod source;

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

impl RawRecord {
    /// Its headers, borrowed: what [`RawRecord::view`] takes.
    #[must_use]
    pub fn header_views(&self) -> Vec<HeaderView<'_>> {
        self.headers
            .iter()
            .map(|(name, value)| (&**name, value.as_deref()))
            .collect()
    }

    /// The record, borrowed.
    #[must_use]
    pub fn view<'a>(&'a self, headers: &'a [HeaderView<'a>]) -> RecordView<'a> {
        RecordView {
            topic: &self.topic,
            partition: self.partition,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers,
        }
    }
}

/// A header's name and value.
pub type HeaderView<'a> = (&'a str, Option<&'a [u8]>);

/// One Kafka record, borrowed from the client's buffer: enough to tell whether anybody wants it.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    /// Its topic.
    pub topic: &'a Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds since 1970; negative where it has none.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers, in their order.
    pub headers: &'a [HeaderView<'a>],
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

/// Why a record of an own topic cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The header that every record of this topic begins with is not there.
    #[error("header `{0}` is missing; something else than posthaste wrote this record")]
    NoHeader(&'static str),
    /// A key, value or header has no value at all.
    #[error("{0} is null")]
    Null(&'static str),
    /// A key, value or header does not have its form.
    #[error("{what} {problem}")]
    Form {
        /// Which part of the record.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A name within the record does not have its form.
    #[error("{what} holds a name that cannot be")]
    Name {
        /// Which part of the record.
        what: &'static str,
        /// What is wrong with the name.
        source: InvalidName,
    },
    /// Not JSON, or not the JSON that is expected.
    #[error("{what} does not hold the JSON that belongs there")]
    Json {
        /// Which part of the record.
        what: &'static str,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A later version of Posthaste wrote it.
    #[error(
        "header `ph` has version {found}, this program reads version {known}; upgrade this instance"
    )]
    Version {
        /// The version in the record.
        found: u64,
        /// The version that can be read.
        known: u64,
    },
    /// Avro single-object encoding, but of another schema.
    #[error(
        "attempt record has the schema {found:016x}, this program reads {known:016x}; upgrade this instance"
    )]
    Schema {
        /// The fingerprint in the record.
        found: u64,
        /// The fingerprint that can be read.
        known: u64,
    },
    /// Avro does not take the values, or the bytes do not match the schema.
    #[error("attempt record does not match its schema")]
    Avro(#[source] apache_avro::Error),
    /// The record is larger than its topic's records may be, though all that can be cut was cut.
    #[error("attempt record takes {bytes} bytes without the answer, at most {max} are allowed")]
    TooLarge {
        /// What it takes.
        bytes: usize,
        /// What is allowed.
        max: usize,
    },
}

/// Returns the begin of `text` that takes at most `max` bytes, cut between characters.
fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}

/// Reads a part of a record as text.
fn text<'a>(what: &'static str, bytes: Option<&'a [u8]>) -> Result<&'a str, WireError> {
    std::str::from_utf8(bytes.ok_or(WireError::Null(what))?).map_err(|error| WireError::Form {
        what,
        problem: format!("is not UTF-8: {error}"),
    })
}
