//! Posthaste as a whole: the real binary between a real Kafka and a real HTTP receiver.
//!
//! Each test has topics, a group and a receiver of its own on a broker that most of them share, so that they run beside
//! each other. A test fails where Kafka cannot start; none is skipped.

mod support;

mod catalog;
mod cli;
mod crash;
mod crowd;
mod dead_letters;
mod delivery;
mod faults;
mod filters;
mod harness;
mod hostile;
mod retries;
mod security;
mod shared_lanes;
mod sinks;
mod sources;
mod topics;
