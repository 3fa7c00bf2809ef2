//! Sinks against counterparts that speak their protocols.

pub(crate) mod contract;

mod aws_own;
mod eventbridge;
mod hookdeck;
mod kafka;
mod pubsub;
mod rabbitmq;
mod sqs;
mod webhook;
