//! Labels with a closed set of values.

use super::family::{Label, label};
use crate::domain::delivery::DeadLetterReason;
use crate::domain::filter::Dialect;
use crate::domain::outcome::Outcome;

/// Why a delivery was handed over to its retry topic without an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HandOver {
    /// Its destination's queue in memory was full, or it waited there for too long.
    QueueFull,
    /// The memory for events was used up.
    Memory,
    /// Slow attempts held their share of all slots, its destination's among them.
    Slow,
    /// Its destination asked for less.
    Throttled,
    /// Its destination is disabled by hand.
    Paused,
}

label!(HandOver, "cause" {
    QueueFull => "queue_full",
    Memory => "memory",
    Slow => "slow",
    Throttled => "throttled",
    Paused => "paused",
});

/// Which of a delivery's attempts is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptKind {
    /// The first one, from memory.
    First,
    /// One from a retry topic.
    Backlog,
}

label!(AttemptKind, "kind" {
    First => "first",
    Backlog => "backlog",
});

/// Whose offsets a ledger keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LedgerOwner {
    /// The router's: source topics.
    Sources,
    /// The lanes': retry topics.
    Retry,
}

label!(LedgerOwner, "ledger" {
    Sources => "sources",
    Retry => "retry",
});

/// What became of a commit of positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommitResult {
    /// The client sent it; what the broker answers to these is not told, so they are sent again and again.
    Sent,
    /// It was waited for, when partitions were given up, and the broker took it.
    Committed,
    /// The client did not send it, or the broker did not take one that was waited for.
    Failed,
}

label!(CommitResult, "result" {
    Sent => "sent",
    Committed => "committed",
    Failed => "failed",
});

/// One of our Kafka clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KafkaClient {
    /// Topics and their settings.
    Admin,
    /// The reader of the configuration topics.
    Catalog,
    /// The member of the group that shares out lanes.
    Lanes,
    /// The writer of all records.
    Producer,
    /// The reader of retry topics.
    Retry,
    /// The reader of source topics.
    Router,
}

label!(KafkaClient, "client" {
    Admin => "admin",
    Catalog => "catalog",
    Lanes => "lanes",
    Producer => "producer",
    Retry => "retry",
    Router => "router",
});

/// What became of an event under the filters of one dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FilterResult {
    /// At least one took it.
    Matched,
    /// None took it.
    FilteredOut,
    /// None took it, and one asked about a body that is no JSON.
    Malformed,
}

label!(FilterResult, "result" {
    Matched => "matched",
    FilteredOut => "filtered_out",
    Malformed => "malformed",
});

impl Label for Dialect {
    const NAME: &'static str = "dialect";
    const VALUES: &'static [Self] = &Self::ALL;

    fn index(self) -> usize {
        self as usize
    }

    fn text(self) -> &'static str {
        self.name()
    }
}

impl Label for Outcome {
    const NAME: &'static str = "outcome";
    const VALUES: &'static [Self] = &Self::ALL;

    fn index(self) -> usize {
        self as usize
    }

    fn text(self) -> &'static str {
        self.as_str()
    }
}

impl Label for DeadLetterReason {
    const NAME: &'static str = "reason";
    const VALUES: &'static [Self] = &Self::ALL;

    fn index(self) -> usize {
        self as usize
    }

    fn text(self) -> &'static str {
        self.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<L: Label + std::fmt::Debug>() {
        for (position, value) in L::VALUES.iter().enumerate() {
            assert_eq!(value.index(), position, "{value:?}");
        }
        let texts: std::collections::BTreeSet<_> = L::VALUES.iter().map(|v| v.text()).collect();
        assert_eq!(texts.len(), L::VALUES.len(), "{}", L::NAME);
    }

    #[test]
    fn every_value_stands_at_its_index_under_its_own_text() {
        check::<HandOver>();
        check::<AttemptKind>();
        check::<LedgerOwner>();
        check::<CommitResult>();
        check::<KafkaClient>();
        check::<FilterResult>();
        check::<Dialect>();
        check::<Outcome>();
        check::<DeadLetterReason>();
    }
}
