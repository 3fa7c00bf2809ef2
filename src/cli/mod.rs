//! Subcommands: what people type and what they get to read.

use std::fmt;

use crate::kafka::errors::{Error, Kind};

pub mod check;
pub mod destinations;
pub mod publish;
pub mod redact;

/// Exit codes; the numbers from 64 on are those of `sysexits.h`.
pub mod exit {
    /// Done.
    pub const FINE: u8 = 0;
    /// The answer is no.
    pub const NO: u8 = 1;
    /// Wrong usage.
    pub const USAGE: u8 = 64;
    /// Kafka is not reachable.
    pub const UNREACHABLE: u8 = 69;
    /// A bug.
    pub const BUG: u8 = 70;
    /// Wrong settings.
    pub const SETTINGS: u8 = 78;
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// The command was called in a way that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongUsage(pub String);

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUsage {}

/// The exit code for an error that ended a command.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(error) = error.downcast_ref::<Error>() {
        return exit_code_of(error.kind());
    }
    if error.downcast_ref::<WrongUsage>().is_some() {
        return exit::USAGE;
    }
    exit::BUG
}

/// The exit code for trouble with Kafka.
#[must_use]
pub fn exit_code_of(kind: Kind) -> u8 {
    match kind {
        Kind::Unreachable => exit::UNREACHABLE,
        Kind::Settings => exit::SETTINGS,
        Kind::Auth
        | Kind::Acl
        | Kind::TopicMissing
        | Kind::Policy
        | Kind::TooLarge
        | Kind::Other => exit::NO,
    }
}
