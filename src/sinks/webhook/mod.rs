//! Webhooks: an event as one HTTP POST, signed as Standard Webhooks are.
//!
//! `config` reads the document once into what every request shares; `request` makes the headers of one attempt from it;
//! `send` does the talking; `outcome` says what an answer means.
//!
//! Invariant: the status line decides. What follows it is kept for people and changes no outcome.
//! Invariant: nothing of the receiver's answer is followed, trusted or read without a bound.

mod config;
mod outcome;
mod request;
mod retry_after;
mod schema;
mod send;

use std::fmt;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderMap;

use crate::config::settings::Settings;
use crate::domain::signature::SigningKey;
use crate::domain::units::ByteSize;
use crate::sinks::cloudevents::Mode;

pub use schema::schema;
pub use send::Client;

/// The sink of one destination, with all prepared that its requests share.
pub struct Webhook {
    url: Url,
    port: u16,
    /// Custom headers, authentication, user agent.
    headers: HeaderMap,
    /// Empty: requests are not signed.
    keys: Vec<Key>,
    cloudevents: Mode,
    limits: Limits,
}

/// A signing key and until when it is used, in milliseconds since 1970.
struct Key {
    signing: SigningKey,
    expires_at_ms: Option<i64>,
}

/// What bounds an attempt.
#[derive(Debug, Clone, Copy)]
struct Limits {
    connect: Duration,
    first_byte: Duration,
    total: Duration,
    response_read: usize,
    response_kept: usize,
    body: ByteSize,
}

impl Limits {
    fn new(settings: &Settings, timeout: Duration) -> Self {
        let webhook = &settings.webhook;
        Self {
            connect: webhook.connect_timeout.0,
            first_byte: webhook.first_byte_timeout.0.min(timeout),
            total: timeout,
            response_read: webhook.response_read.0,
            response_kept: webhook.response_kept.0,
            body: webhook.body_max,
        }
    }
}

impl fmt::Debug for Webhook {
    /// Leaves out what may be secret: the query, values of headers, keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("scheme", &self.url.scheme())
            .field("host", &self.url.host_str())
            .field("port", &self.port)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("keys", &self.keys.len())
            .field("cloudevents", &self.cloudevents)
            .field("limits", &self.limits)
            .finish()
    }
}

#[cfg(test)]
mod tests;
