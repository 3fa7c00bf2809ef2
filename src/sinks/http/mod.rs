//! What sinks over HTTP share: one exchange with a receiver, and the words for why there was no answer.
//!
//! A request goes out over a client of the guard; the head of its answer, or a [`Failure`], comes back.
//!
//! Invariant: an exchange ends within its time limit, whatever the receiver does.

mod failure;
mod headers;
mod outcome;
mod post;
mod retry_after;

use std::time::Duration;

use reqwest::{Request, Response};
use tokio::time::{Instant, timeout_at};

use crate::egress;

pub(super) use failure::Failure;
pub(super) use headers::{
    AGENT, VALUE_MAX, custom_headers, header_name, header_value, headers_schema,
};
pub use post::Client;
pub(super) use post::Target;

/// Time limits of an exchange.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connecting, TLS included; the client's own limit, for words.
    pub(super) connect: Duration,
    /// From the start until the head of the answer.
    pub(super) first_byte: Duration,
}

/// Sends what `request` makes to `port` and waits for the head of the answer; `started` is when the attempt began.
pub(super) async fn exchange(
    client: &reqwest::Client,
    port: u16,
    limits: Limits,
    started: Instant,
    request: impl Fn() -> Result<Request, Failure>,
) -> Result<Response, Failure> {
    let mut again = true;
    loop {
        let exchange = egress::dialling(port, client.execute(request()?));
        let (result, opened) = timeout_at(started + limits.first_byte, exchange)
            .await
            .map_err(|_elapsed| Failure::FirstByteTimeout(limits.first_byte))?;
        let failure = match result {
            Ok(response) => return Ok(response),
            Err(error) => Failure::of(&error, limits.connect),
        };
        // A receiver may close an idle connection just when a request goes out on it. hyper sends again only what it has
        // not begun to write; after that it cannot tell this from a receiver that read the request, and neither can we:
        // at least once, and receivers know the id.
        if again && !opened && matches!(failure, Failure::Broken(_)) {
            again = false;
            continue;
        }
        return Err(failure);
    }
}
