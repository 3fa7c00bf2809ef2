//! Sinks against counterparts that speak their protocols.

pub(crate) mod contract;

mod kafka;
mod rabbitmq;
mod webhook;
