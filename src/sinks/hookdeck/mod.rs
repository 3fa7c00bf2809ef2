//! Hookdeck Event Gateway: an event as one request to its Publish API.
//! <https://hookdeck.com/docs/api/publish>
//!
//! `config` reads the document once into what every request shares; `request` makes the headers of one attempt; `send`
//! hands both to what sinks over HTTP share, whose table says what an answer means: 2xx is delivered, and a 4xx is
//! retried like one of any receiver.
//!
//! Invariant: the API key stands in one header, which is never shown.

mod config;
mod request;
mod schema;
mod send;

use std::fmt;

use reqwest::header::HeaderMap;

use crate::sinks::cloudevents::Mode;
use crate::sinks::http::Target;

pub use crate::sinks::http::Client;
pub use schema::schema;

/// The largest body that the gateway takes, in bytes.
/// <https://hookdeck.com/docs/sources#content-types>
const BODY_MAX: usize = 10 * 1024 * 1024;

/// The sink of one destination, with all prepared that its requests share.
pub struct Hookdeck {
    target: Target,
    /// The API key, the source's name, custom headers, user agent.
    headers: HeaderMap,
    cloudevents: Mode,
}

impl fmt::Debug for Hookdeck {
    /// Leaves out values of headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hookdeck")
            .field("target", &self.target)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("cloudevents", &self.cloudevents)
            .finish()
    }
}

#[cfg(test)]
mod tests;
