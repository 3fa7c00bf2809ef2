//! Rules: what an event, a destination and a delivery are, and what follows from what.
//!
//! Invariant: no IO, no async, no clock, no randomness, no logging; time and random numbers come in as values.

pub mod attempt;
pub mod backoff;
pub mod circuit;
pub mod commit_metadata;
pub mod content;
pub mod delivery;
pub mod destination;
pub mod disposition;
pub mod event;
pub mod event_type;
pub mod failure_streak;
pub mod filter;
pub mod ids;
pub mod lane;
pub mod offset_ledger;
pub mod outcome;
pub(crate) mod persistent;
pub mod rate_limit;
pub mod rates;
pub mod retry_tier;
pub mod secret;
pub mod signature;
pub mod subscription_index;
pub mod units;
