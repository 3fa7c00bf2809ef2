//! Kafka: clients and their settings, our own topics, and errors in words that say what to do.

pub mod client;
pub mod commands;
pub mod errors;
pub mod permissions;
pub mod publish;
pub mod snapshot;
pub mod topics;
