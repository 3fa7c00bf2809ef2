//! Amazon EventBridge: an event as an entry of `PutEvents`, acknowledged by the bus.
//!
//! `config` reads the document; `request` makes the entry of one attempt; `send` puts entries into requests of up to ten
//! and gives each its own answer.
//!
//! Invariant: an entry counts as delivered only where the answer has an `EventId` at its place.

mod config;
mod request;
mod schema;
mod send;

use std::time::Duration;

use aws_sdk_eventbridge::types::PutEventsRequestEntry;

use crate::sinks::aws::{Account, Answer};
use crate::sinks::batch::Batcher;
use crate::sinks::cloudevents::Mode;

pub use schema::schema;
pub use send::Client;

/// The sink of one destination.
#[derive(Debug)]
pub struct EventBridge {
    event_bus: String,
    source: String,
    /// `None`: the event's type.
    detail_type: Option<String>,
    cloudevents: Mode,
    account: Account,
    timeout: Duration,
    batcher: Batcher<PutEventsRequestEntry, Answer>,
}

#[cfg(test)]
mod tests;
