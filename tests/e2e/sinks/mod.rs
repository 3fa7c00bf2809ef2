//! Sinks against counterparts that speak their protocols.

pub(crate) mod contract;

mod hookdeck;
mod pubsub;
mod webhook;
