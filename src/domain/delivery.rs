//! One event for one destination, and what has happened to it so far.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::ids::DestinationId;
use super::outcome::Outcome;

/// Why an attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The event was just read from its source topic, or waited for capacity since.
    Event,
    /// An earlier attempt failed.
    Retry,
    /// A replay.
    Replay,
    /// A person asked for it.
    Manual,
}

impl Trigger {
    /// The name in records and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Retry => "retry",
            Self::Replay => "replay",
            Self::Manual => "manual",
        }
    }
}

/// What remains known of an attempt that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastAttempt {
    /// Its number, from 1.
    #[serde(rename = "n")]
    pub number: u32,
    /// When it started, in milliseconds since 1970.
    pub at: i64,
    /// How it ended.
    #[serde(rename = "o")]
    pub outcome: Outcome,
    /// The protocol's status code, if there was an answer.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub ms: u32,
}

/// What is known of a delivery beside its event; travels in the header `ph`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Attempts made so far; the next one has this number + 1.
    pub attempts: u32,
    /// Those of them that count towards `max_attempts`.
    pub counted: u32,
    /// Attempts in a row that ended as `internal`, for their backoff.
    pub internal: u32,
    /// Why the next attempt is made.
    pub trigger: Trigger,
    /// When the event was first read, in milliseconds since 1970; `max_age` counts from here.
    pub first_seen_ms: i64,
    /// For how long its destination was not enabled meanwhile, in milliseconds; `max_age` does not count it.
    pub paused_ms: i64,
    /// Since when it waits for its destination to be enabled, in milliseconds since 1970.
    pub paused_since_ms: Option<i64>,
    /// Before when the next attempt must not start, in milliseconds since 1970.
    pub due_ms: i64,
    /// The last attempts, oldest first, at most [`Progress::HISTORY`].
    pub history: Vec<PastAttempt>,
    /// What ended the last attempt, in words, cut to 256 bytes.
    pub last_error: Option<Box<str>>,
}

impl Progress {
    /// How many past attempts are kept: as many as fit into the header beside all else.
    pub const HISTORY: usize = 24;

    /// A delivery that nothing has happened to yet.
    #[must_use]
    pub fn new(now_ms: i64) -> Self {
        Self {
            attempts: 0,
            counted: 0,
            internal: 0,
            trigger: Trigger::Event,
            first_seen_ms: now_ms,
            paused_ms: 0,
            paused_since_ms: None,
            due_ms: now_ms,
            history: Vec::new(),
            last_error: None,
        }
    }

    /// Notes that it waits for its destination to be enabled; from the first time on that this is noted.
    pub fn pause(&mut self, now_ms: i64) {
        self.paused_since_ms.get_or_insert(now_ms);
    }

    /// Notes that its destination is enabled.
    pub fn resume(&mut self, now_ms: i64) {
        if let Some(since) = self.paused_since_ms.take() {
            let paused = now_ms.saturating_sub(since).max(0);
            self.paused_ms = self.paused_ms.saturating_add(paused);
        }
    }

    /// Adds an attempt to the history and forgets the oldest where it is full.
    pub fn remember(&mut self, attempt: PastAttempt) {
        if self.history.len() >= Self::HISTORY {
            self.history.remove(0);
        }
        self.history.push(attempt);
    }
}

/// One event for one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What is delivered.
    pub event: Arc<Event>,
    /// To whom.
    pub destination: DestinationId,
    /// The offset in `destinations` of the document by which it was chosen.
    pub document_offset: i64,
    /// What has happened so far.
    pub progress: Progress,
}

/// Why a delivery was given up; the header `reason` in `dead-letter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterReason {
    /// `max_attempts` failed.
    Exhausted,
    /// `max_age` passed.
    Expired,
    /// The receiver answered 410.
    Gone,
    /// The receiver refused this event and the destination asks not to retry that.
    Rejected,
    /// Not sent: egress guard, invalid configuration.
    Refused,
    /// Something asked for the body's content and it does not parse, or the metadata cannot be told.
    Malformed,
    /// Larger than the sink takes.
    Oversize,
    /// The destination was deleted.
    Deleted,
    /// The event passed through 8 Kafka destinations of ours.
    Loop,
    /// The archive's retention ended before the destination recovered.
    ArchiveExpired,
    /// The broker does not take a record that large.
    TooLarge,
}

impl DeadLetterReason {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Exhausted,
        Self::Expired,
        Self::Gone,
        Self::Rejected,
        Self::Refused,
        Self::Malformed,
        Self::Oversize,
        Self::Deleted,
        Self::Loop,
        Self::ArchiveExpired,
        Self::TooLarge,
    ];

    /// The name in records, labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Expired => "expired",
            Self::Gone => "gone",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::Oversize => "oversize",
            Self::Deleted => "deleted",
            Self::Loop => "loop",
            Self::ArchiveExpired => "archive_expired",
            Self::TooLarge => "too_large",
        }
    }
}
