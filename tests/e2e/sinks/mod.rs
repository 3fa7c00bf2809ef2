//! Sinks against counterparts that speak their protocols.

pub(crate) mod contract;

mod aws_own;
mod eventbridge;
mod hookdeck;
mod pubsub;
mod sqs;
mod webhook;
