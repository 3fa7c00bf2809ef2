//! Google Cloud Pub/Sub: an event as one message of a topic.
//!
//! `config` reads the document; `message` makes the message of one attempt and keeps the service's limits; `client` holds
//! the connections that destinations share; `send` publishes and waits for the message's id; `outcome` says what came of
//! it.
//!
//! Invariant: delivered means that the service gave the message an id.
//! Invariant: the library repeats nothing by itself: retries are ours.
//! Invariant: credentials of the operator go to Google only, whatever the document says.

mod client;
mod config;
mod message;
mod outcome;
mod schema;
mod send;

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use url::Url;

use crate::sinks::cloudevents::Mode;

pub use client::Client;
pub use schema::schema;

/// The sink of one destination.
pub struct PubSub {
    /// `projects/…/topics/…`
    topic: String,
    /// Whether the event's key becomes the message's ordering key.
    ordering_key: bool,
    endpoint: Url,
    auth: Auth,
    /// Tells its connection from others: by endpoint, credentials and time limit.
    connection: Sum,
    /// Tells its topic on that connection from others.
    publisher: Sum,
    /// Names and values that every message carries.
    attributes: Vec<(String, String)>,
    cloudevents: Mode,
    /// How long an attempt takes at most.
    timeout: Duration,
}

/// How the service proves who it is.
enum Auth {
    /// Not at all: emulators.
    None,
    /// By what the machine that we run on has: the operator's own identity.
    Default {
        /// Whether the operator's settings let a destination do so.
        allowed: bool,
    },
    /// By the key of a service account.
    ServiceAccount(Value),
}

/// A SHA-256 that stands for values which are secret or long.
type Sum = [u8; 32];

impl fmt::Debug for PubSub {
    /// Leaves out what may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSub")
            .field("topic", &self.topic)
            .field("ordering_key", &self.ordering_key)
            .field("host", &self.endpoint.host_str())
            .field("auth", &self.auth)
            .field("attributes", &self.attributes.len())
            .field("cloudevents", &self.cloudevents)
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Default { .. } => "google_default",
            Self::ServiceAccount(_) => "google_service_account",
        })
    }
}

#[cfg(test)]
mod tests;
