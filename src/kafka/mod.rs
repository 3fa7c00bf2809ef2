//! Kafka: clients, topics, reading and writing records.

pub mod client;
pub mod commit;
pub mod consumer;
pub mod names;
pub mod outbox;
pub mod partition;
pub mod producer;
pub mod record;
pub mod topics;
