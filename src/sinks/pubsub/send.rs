//! One attempt over the network.
//!
//! Invariant: it ends within the destination's time limit.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::config::Refused;
use super::message::{Oversize, message};
use super::outcome::Failed;
use super::{Client, PubSub};
use crate::domain::attempt::Report;
use crate::domain::delivery::DeadLetterReason;
use crate::domain::outcome::Outcome;
use crate::sinks::{Outgoing, cloudevents};

impl PubSub {
    /// Makes one attempt.
    pub(in crate::sinks) async fn send(&self, client: &Client, outgoing: Outgoing<'_>) -> Report {
        let started = Instant::now();
        if let Some(refused) = self.refusal(&client.guard) {
            if let Refused::Egress(refusal) = refused {
                client.guard.count(refusal);
            }
            let words = refused.to_string();
            return Report::without_answer(Outcome::Refused, words, started.elapsed());
        }
        let rendered = match cloudevents::render(self.cloudevents, outgoing.event) {
            Ok(rendered) => rendered,
            Err(malformed) => return malformed.report(started.elapsed()),
        };
        let message = match message(self, &outgoing, rendered) {
            Ok(message) => message,
            Err(Oversize(words)) => {
                return Report {
                    dead_letter: Some(DeadLetterReason::Oversize),
                    ..Report::without_answer(Outcome::Rejected, words, started.elapsed())
                };
            }
        };
        match timeout(self.timeout, client.publish(self, message)).await {
            Ok(Ok(id)) => delivered(id, started.elapsed()),
            Ok(Err(failed)) => undelivered(failed, client.kept, started.elapsed()),
            Err(_elapsed) => {
                let words = format!("time-out after {} ms", self.timeout.as_millis());
                Report::without_answer(Outcome::Network, words, started.elapsed())
            }
        }
    }
}

fn delivered(id: String, total: Duration) -> Report {
    Report {
        outcome: Outcome::Delivered,
        status: Some(0),
        retry_after: None,
        error: None,
        dead_letter: None,
        response_headers: vec![("message-id".to_owned(), id)],
        response_body: Bytes::new(),
        first_byte: Some(total),
        total,
    }
}

fn undelivered(failed: Failed, kept: usize, total: Duration) -> Report {
    let mut message = failed.message.into_bytes();
    message.truncate(kept);
    Report {
        status: failed.status,
        retry_after: failed.retry_after,
        response_body: message.into(),
        first_byte: failed.status.map(|_| total),
        ..Report::without_answer(failed.outcome, failed.error, total)
    }
}
