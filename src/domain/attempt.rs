//! What a sink reports of one attempt.

use std::time::Duration;

use bytes::Bytes;

use super::delivery::DeadLetterReason;
use super::outcome::Outcome;

/// How one attempt went, as far as the sink can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// The protocol's status code, if there was an answer.
    pub status: Option<u16>,
    /// For how long the receiver asked to be left alone, at most 24 h.
    pub retry_after: Option<Duration>,
    /// What went wrong, in words for the destination's owner: no secrets, no addresses behind the guard.
    pub error: Option<String>,
    /// A dead letter at once, with this reason, whatever the retry policy says.
    pub dead_letter: Option<DeadLetterReason>,
    /// The head of the answer: names and values of its headers, cut to what the settings keep.
    pub response_headers: Vec<(String, String)>,
    /// The begin of the answer's body, cut to what the settings keep.
    pub response_body: Bytes,
    /// Until the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// Until the end.
    pub total: Duration,
}

impl Report {
    /// A report without an answer.
    #[must_use]
    pub fn without_answer(outcome: Outcome, error: impl Into<String>, total: Duration) -> Self {
        Self {
            outcome,
            status: None,
            retry_after: None,
            error: Some(error.into()),
            dead_letter: None,
            response_headers: Vec::new(),
            response_body: Bytes::new(),
            first_byte: None,
            total,
        }
    }
}
