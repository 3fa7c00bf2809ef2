//! What sinks of AWS share: who signs, over which connections, in which batches, and what an answer means.
//!
//! `config` reads the part of a document that says region, endpoint and credentials into an [`Account`]; `clients` gives
//! the SDK's client for it, over `connector`; `deliver` makes a request for several entries; `answer` says what came of
//! each.
//!
//! Invariant: every connection of the SDK that a customer's document leads to passes the guard; only those of the
//! operator's own credential chain (instance metadata and the like, at addresses that the operator's environment names) do
//! not.
//! Invariant: the SDK retries nothing; what follows a failure is the delivery's retry policy's business.

mod answer;
mod clients;
mod config;
mod connector;

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

pub(in crate::sinks) use answer::{Answer, Service, of_entry, of_error, time_out, without_answer};
pub(in crate::sinks) use clients::Clients;
pub(in crate::sinks) use config::{
    Account, account, auth_schema, check_egress, endpoint_schema, region_schema,
};

use crate::domain::attempt::Report;
use crate::domain::delivery::DeadLetterReason;
use crate::domain::outcome::Outcome;
use crate::sinks::batch::{self, Batcher};

/// Entries of one request, of `SendMessageBatch` as of `PutEvents`.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>
/// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>
const ENTRIES_MAX: usize = 10;

/// Bytes of one entry, and of all entries of one request.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html>
pub(in crate::sinks) const BYTES_MAX: usize = 1 << 20;

/// A batcher by the limits of AWS.
pub(in crate::sinks) fn batcher<E: Send + 'static>(linger: Duration) -> Batcher<E, Answer> {
    Batcher::new(batch::Limits {
        entries: ENTRIES_MAX,
        bytes: BYTES_MAX,
        linger,
    })
}

/// Makes a request for `entries`. Where the service refuses it as a whole, one of them may be to blame: then each is sent
/// alone, so that the others do not suffer.
pub(in crate::sinks) async fn deliver<E, F>(
    entries: Vec<E>,
    request: impl Fn(Vec<E>) -> F,
) -> Vec<Answer>
where
    E: Clone,
    F: Future<Output = Result<Vec<Answer>, Answer>>,
{
    let count = entries.len();
    if count == 1 {
        return request(entries).await.unwrap_or_else(|answer| vec![answer]);
    }
    match request(entries.clone()).await {
        Ok(answers) => answers,
        Err(answer) if answer.outcome == Outcome::Rejected => {
            let mut answers = Vec::with_capacity(count);
            for entry in entries {
                match request(vec![entry]).await {
                    Ok(alone) => answers.extend(alone),
                    Err(answer) => answers.push(answer),
                }
            }
            answers
        }
        Err(answer) => vec![answer; count],
    }
}

/// Waits for an entry's answer until the attempt's time limit, and reports it.
pub(in crate::sinks) async fn report(
    started: Instant,
    limit: Duration,
    answer: impl Future<Output = Option<Answer>>,
) -> Report {
    let answer = match timeout_at(started + limit, answer).await {
        Ok(Some(answer)) => answer,
        Ok(None) => without_answer(Outcome::Internal, "the request ended without an answer"),
        Err(_elapsed) => time_out(limit),
    };
    answer.report(started.elapsed())
}

/// Reports on an event that is not sent because no request can carry it.
pub(in crate::sinks) fn unsendable(
    reason: DeadLetterReason,
    error: impl Into<String>,
    started: Instant,
) -> Report {
    Report {
        dead_letter: Some(reason),
        ..Report::without_answer(Outcome::Rejected, error, started.elapsed())
    }
}

#[cfg(test)]
mod tests;
