//! Posthaste delivers events that live in Kafka to the destinations that a platform's customers choose.

pub mod domain;

pub mod clock;
pub mod config;
pub mod wire;

pub mod egress;
pub mod telemetry;

pub mod kafka;
pub mod sinks;

pub mod catalog;
pub mod dispatch;

pub mod admin;
pub mod retry;
pub mod router;

pub mod cli;

#[cfg(feature = "testing")]
pub mod testing;
