//! Webhooks: an event as one HTTP POST, signed as Standard Webhooks are.
//!
//! `config` reads the document once into what every request shares; `request` makes the headers of one attempt from it;
//! `send` hands both to what sinks over HTTP share.

mod config;
mod request;
mod schema;
mod send;

use std::fmt;

use reqwest::header::HeaderMap;

use crate::domain::signature::SigningKey;
use crate::domain::units::ByteSize;
use crate::sinks::cloudevents::Mode;
use crate::sinks::http::Target;

pub use schema::schema;
pub use crate::sinks::http::Client;

/// The sink of one destination, with all prepared that its requests share.
pub struct Webhook {
    target: Target,
    /// Custom headers, authentication, user agent.
    headers: HeaderMap,
    /// Empty: requests are not signed.
    keys: Vec<Key>,
    cloudevents: Mode,
    body_max: ByteSize,
}

/// A signing key and until when it is used, in milliseconds since 1970.
struct Key {
    signing: SigningKey,
    expires_at_ms: Option<i64>,
}

impl fmt::Debug for Webhook {
    /// Leaves out what may be secret: the query, values of headers, keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("target", &self.target)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("keys", &self.keys.len())
            .field("cloudevents", &self.cloudevents)
            .field("body_max", &self.body_max)
            .finish()
    }
}

#[cfg(test)]
mod tests;
