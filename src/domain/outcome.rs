//! How an attempt ended: one enum for retry, metrics, streaks and people.

use serde::{Deserialize, Serialize};

/// How one attempt ended. Sinks map their transport's results to it in one pure function each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The receiver took it: 2xx, a broker's acknowledgement.
    Delivered,
    /// It answered with another address (3xx), which is not followed.
    Redirect,
    /// It said that it will never take anything again (410).
    Gone,
    /// It does not accept our credentials (401, 403, 407).
    Auth,
    /// It does not know the address (404, 405).
    NotFound,
    /// It refused this event (any other 4xx).
    Rejected,
    /// It asked for less (429, 503 with Retry-After).
    Throttled,
    /// It is in trouble (408, 425, 5xx, 1xx, nonsense).
    Server,
    /// It could not be talked to: DNS, connect, TLS, reset, time-out.
    Network,
    /// We did not send: egress guard, invalid configuration, undecryptable secret.
    Refused,
    /// The fault is ours: our proxy, our Kafka, shutdown. Not an attempt.
    Internal,
}

impl Outcome {
    /// All, in the order of the table.
    pub const ALL: [Self; 11] = [
        Self::Delivered,
        Self::Redirect,
        Self::Gone,
        Self::Auth,
        Self::NotFound,
        Self::Rejected,
        Self::Throttled,
        Self::Server,
        Self::Network,
        Self::Refused,
        Self::Internal,
    ];

    /// The name in records, labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Redirect => "redirect",
            Self::Gone => "gone",
            Self::Auth => "auth",
            Self::NotFound => "not_found",
            Self::Rejected => "rejected",
            Self::Throttled => "throttled",
            Self::Server => "server",
            Self::Network => "network",
            Self::Refused => "refused",
            Self::Internal => "internal",
        }
    }
}
