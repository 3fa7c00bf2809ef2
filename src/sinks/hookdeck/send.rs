//! One attempt over the network.

use tokio::time::Instant;

use super::{BODY_MAX, Client, Hookdeck, request};
use crate::domain::attempt::Report;
use crate::domain::delivery::DeadLetterReason;
use crate::domain::outcome::Outcome;
use crate::sinks::{Outgoing, cloudevents};

impl Hookdeck {
    /// Makes one attempt.
    pub(in crate::sinks) async fn send(&self, client: &Client, outgoing: Outgoing<'_>) -> Report {
        let started = Instant::now();
        let rendered = match cloudevents::render(self.cloudevents, outgoing.event) {
            Ok(rendered) => rendered,
            Err(malformed) => return malformed.report(started.elapsed()),
        };
        let body = rendered.body.clone().unwrap_or_default();
        if body.len() > BODY_MAX {
            let error = format!("the body has {} bytes, Hookdeck takes {BODY_MAX}", body.len());
            return Report {
                dead_letter: Some(DeadLetterReason::Oversize),
                ..Report::without_answer(Outcome::Rejected, error, started.elapsed())
            };
        }
        let headers = || request::headers(self, &outgoing, &rendered);
        let now = (started, outgoing.now_ms);
        self.target.post(client, headers, body, now).await
    }
}
