//! Kafka: clients and their settings, our own topics, reading and writing records, and errors in words that say what to
//! do.

pub mod client;
pub mod commands;
pub mod commit;
pub mod consumer;
pub mod errors;
pub mod names;
pub mod outbox;
pub mod partition;
pub mod permissions;
pub mod producer;
pub mod publish;
pub mod record;
pub mod snapshot;
pub mod topic_ids;
pub mod topics;
