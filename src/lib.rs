//! Posthaste delivers events that live in Kafka to the destinations that a platform's customers choose.
//!
//! # One event's path
//!
//! 1. [`router`] reads a record from its partition's own queue ([`kafka::consumer`]), begins its offset in the ledger
//!    ([`kafka::partition`], [`domain::offset_ledger`]) and reads its id, type, tenant and time ([`wire::source`]).
//! 2. [`catalog`] tells which destinations it is for ([`domain::subscription_index`]).
//! 3. [`dispatch`] starts an attempt for each at once where there is room; where there is none, the delivery goes to its
//!    destination's retry topic, partition 0.
//! 4. The sink ([`sinks`]) sends it; every connection passes the guard ([`egress`]). What came of it is an
//!    [`domain::outcome::Outcome`], and what follows a [`domain::disposition::Disposition`].
//! 5. [`kafka::outbox`] writes what follows: the attempt's record; after a failure also a record in the retry topic, in
//!    the tier that fits the wait ([`domain::retry_tier`]), or in the dead letters. When the broker has acknowledged
//!    them, the offset is settled, and the next commit carries it.
//! 6. [`retry`] owns the lane of the destination: it reads the retry topics, lets each record wait for its time and gives
//!    it to dispatch again.
//!
//! # Layers
//!
//! A module imports only from lower layers; modules of one layer never import each other. A test reads the imports.

pub mod domain;

pub mod clock;
pub mod config;

pub mod egress;
pub mod telemetry;
pub mod wire;

pub mod kafka;
pub mod sinks;

pub mod catalog;
pub mod dispatch;

pub mod admin;
pub mod retry;
pub mod router;

pub mod app;
pub mod cli;
pub mod dev;
