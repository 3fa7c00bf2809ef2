//! Kafka: an event as a record of a topic in another cluster, or of another topic in the same one.
//!
//! `config` reads the document; `record` makes the record; `client` writes it and waits for the broker's
//! acknowledgement; `outcome` says what came of it.
//!
//! Invariant: acknowledged means that all replicas in sync have it: `acks=all` from an idempotent producer.
//! Invariant: only brokers on the operator's list are dialled first; they name the others, which nothing here can vet.
//! Invariant: nothing is written into a source topic or a topic of our own, in our own cluster.

mod client;
mod config;
mod outcome;
mod record;
mod schema;
mod send;

use std::fmt;
use std::time::Duration;

use crate::domain::units::ByteSize;
use crate::sinks::cloudevents::Mode;

pub use client::Client;
pub use schema::schema;

/// The sink of one destination.
pub struct Kafka {
    /// Host and port of each broker to begin with.
    brokers: Vec<(String, u16)>,
    topic: String,
    /// Settings and sources make this topic ours; it must then be in another cluster.
    ours: bool,
    /// What makes its producer different from others.
    properties: client::Properties,
    cloudevents: Mode,
    timeout: Duration,
    record_max: ByteSize,
}

impl fmt::Debug for Kafka {
    /// Leaves out what may be secret: user names, passwords, keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("cloudevents", &self.cloudevents)
            .field("timeout", &self.timeout)
            .field("record_max", &self.record_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
