//! Amazon SQS: an event as a message, acknowledged by the queue.
//!
//! `config` reads the document; `request` makes the message of one attempt, with its attributes and what FIFO queues ask
//! for; `send` puts messages into requests of up to ten and gives each its own answer.
//!
//! Invariant: a message counts as delivered only where the answer to `SendMessageBatch` names it as successful.

mod config;
mod request;
mod schema;
mod send;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;

use crate::sinks::aws::{Account, Answer};
use crate::sinks::batch::Batcher;
use crate::sinks::cloudevents::Mode;

pub use schema::schema;
pub use send::Client;

/// The sink of one destination.
#[derive(Debug)]
pub struct Sqs {
    queue_url: Arc<str>,
    fifo: bool,
    /// Message attributes of the document.
    attributes: Vec<(String, String)>,
    cloudevents: Mode,
    account: Account,
    timeout: Duration,
    batcher: Batcher<SendMessageBatchRequestEntry, Answer>,
}

#[cfg(test)]
mod tests;
