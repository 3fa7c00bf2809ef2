//! One attempt over the network.
//!
//! A signed attempt over http costs 79 allocations; 15 of them are made here and in `request`, the rest by the client.

use tokio::time::Instant;

use super::{Client, Webhook, request};
use crate::domain::attempt::Report;
use crate::domain::delivery::DeadLetterReason;
use crate::domain::outcome::Outcome;
use crate::sinks::http::Failure;
use crate::sinks::{Outgoing, cloudevents};

impl Webhook {
    /// Makes one attempt.
    pub(in crate::sinks) async fn send(&self, client: &Client, outgoing: Outgoing<'_>) -> Report {
        let started = Instant::now();
        let rendered = match cloudevents::render(self.cloudevents, outgoing.event) {
            Ok(rendered) => rendered,
            Err(malformed) => return malformed.report(started.elapsed()),
        };
        let body = rendered.body.clone().unwrap_or_default();
        if body.len() > self.body_max.0 {
            let error = format!(
                "the body has {} bytes, webhooks take {} (setting webhook.body_max)",
                body.len(),
                self.body_max
            );
            return Report {
                dead_letter: Some(DeadLetterReason::Oversize),
                ..Report::without_answer(Outcome::Rejected, error, started.elapsed())
            };
        }
        let headers = || {
            let headers = request::headers(self, &outgoing, &rendered);
            headers.map_err(|unsendable| Failure::Configuration(unsendable.0))
        };
        let now = (started, outgoing.now_ms);
        self.target.post(client, headers, body, now).await
    }
}
