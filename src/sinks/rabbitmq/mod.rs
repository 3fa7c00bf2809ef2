//! RabbitMQ: an event as a persistent message of an exchange, over AMQP 0-9-1.
//!
//! `config` reads the document; `message` makes the message; `connection` keeps connections and channels, `stream` what
//! they run over; `send` publishes and waits for the broker's confirm; `outcome` says what came of it.
//!
//! Invariant: acknowledged means that the broker confirmed the message and did not return it: every publish is mandatory,
//! and a message that no queue takes is a failure.
//! Invariant: one message in flight on a channel. Which confirm belongs to which return cannot be told with several, and
//! an error ends all that its channel holds.
//! Invariant: only hosts on the operator's list are dialled, at the address that was vetted.

mod config;
mod connection;
mod message;
mod outcome;
mod schema;
mod send;
mod stream;
mod template;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::units::ByteSize;
use crate::sinks::cloudevents::Mode;

pub use connection::Client;
pub use schema::schema;

/// The sink of one destination.
pub struct RabbitMq {
    endpoint: Arc<connection::Endpoint>,
    exchange: String,
    routing_key: template::Template,
    cloudevents: Mode,
    timeout: Duration,
    message_max: ByteSize,
}

impl fmt::Debug for RabbitMq {
    /// Leaves out what may be secret: user name, password, keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMq")
            .field("host", &self.endpoint.host)
            .field("port", &self.endpoint.port)
            .field("exchange", &self.exchange)
            .field("routing_key", &self.routing_key)
            .field("cloudevents", &self.cloudevents)
            .field("timeout", &self.timeout)
            .field("message_max", &self.message_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
