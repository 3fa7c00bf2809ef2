//! Every metric of the process: name, help text and labels stand once, here.
//!
//! Parts hold the group of metrics that is theirs ([`SinkMetrics`] and so on): all children are resolved when the
//! process starts, so counting is one atomic addition, and every counter is there from the start, at 0.
//!
//! Names are `posthaste_<noun>_<unit>`; `process_*` alone keeps the names that all Prometheus clients share.
//! `docs/operations.md` lists them all; a test compares.
//!
//! Invariant: label values come from closed sets: enums, or names in the settings. Never an id.

mod family;
mod labels;
mod process;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

pub use family::{By, Label, Named};
pub use labels::{AttemptKind, CommitResult, FilterResult, HandOver, KafkaClient, LedgerOwner};
use prometheus::{Gauge, Histogram, IntCounter, IntGauge, Registry, TextEncoder};

use crate::domain::delivery::DeadLetterReason;
use crate::domain::filter::Dialect;
use crate::domain::outcome::Outcome;
use crate::domain::units::Span;
use family::{Scope, metrics};
use process::Process;

/// What is measured in seconds here lies between a millisecond and a minute.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0,
];

metrics! {
    /// What one kind of sink does; label `sink`.
    pub struct SinkMetrics {
        /// Attempts that ended, by outcome; `delivered` counts the deliveries that arrived.
        deliveries: By<Outcome, IntCounter> = "posthaste_deliveries_total";
        /// How long attempts took, from their start to their outcome.
        attempt_seconds: Histogram = "posthaste_attempt_duration_seconds" in SECONDS;
        /// From the event's record in its source topic to its successful delivery.
        delivery_latency: Histogram = "posthaste_delivery_latency_seconds" in SECONDS;
        /// Destinations in force, disabled ones included.
        destinations: IntGauge = "posthaste_catalog_destinations";
    }
}

metrics! {
    /// What happens with the records of one source; label `source`, its key in the settings.
    pub struct SourceMetrics {
        /// Events read from source topics.
        events_read: IntCounter = "posthaste_events_read_total";
        /// Events that are for at least one destination.
        events_matched: IntCounter = "posthaste_events_matched_total";
        /// Events that are for no destination.
        events_unmatched: IntCounter = "posthaste_events_unmatched_total";
        /// Events that filters were asked about, by the filters' dialect and what came of it.
        filtered: By<Dialect, By<FilterResult, IntCounter>> = "posthaste_filter_events_total";
        /// Records between the committed positions and the ends of this instance's partitions.
        lag: IntGauge = "posthaste_source_lag_records";
        /// Records that retention deleted before they were read.
        lost_to_retention: IntCounter = "posthaste_lost_to_retention_total";
    }
}

metrics! {
    /// What waits in one retry tier; label `tier`, its delay: `0s` is partition 0, the backlog.
    pub struct TierMetrics {
        /// Deliveries written to this tier of a retry topic, for whatever cause.
        retries_scheduled: IntCounter = "posthaste_retries_scheduled_total";
        /// Records between the committed positions and the ends of this instance's retry partitions.
        lag: IntGauge = "posthaste_retry_lag_records";
    }
}

metrics! {
    /// What dispatch holds and what becomes of it.
    pub struct DispatchMetrics {
        /// Deliveries written to their retry topic without an attempt, by cause.
        handed_over: By<HandOver, IntCounter> = "posthaste_deliveries_handed_over_total";
        /// Deliveries given up and written to the dead letters, by reason.
        dead_letters: By<DeadLetterReason, IntCounter> = "posthaste_dead_letters_total";
        /// Attempts in flight.
        in_flight: By<AttemptKind, IntGauge> = "posthaste_in_flight_attempts";
        /// Attempts that may be in flight at once, as set.
        slots: IntGauge = "posthaste_attempt_slots";
        /// Deliveries that wait in memory for a slot.
        queued: IntGauge = "posthaste_queued_deliveries";
        /// Memory that events in flight and waiting take.
        memory: IntGauge = "posthaste_memory_bytes";
        /// Memory that they may take, as set.
        memory_limit: IntGauge = "posthaste_memory_limit_bytes";
    }
}

metrics! {
    /// The offset ledgers of one consumer; label `ledger`.
    pub struct LedgerMetrics {
        /// Events read and not settled yet.
        unsettled: IntGauge = "posthaste_ledger_unsettled_events";
        /// Runs of unfinished offsets that have finished ones beyond them: what holds positions back.
        holes: IntGauge = "posthaste_ledger_holes";
        /// The age of the oldest unsettled event since it was read.
        oldest: Gauge = "posthaste_ledger_oldest_unsettled_seconds";
        /// Commits of positions: sent without an answer, or waited for and committed or failed.
        commits: By<CommitResult, IntCounter> = "posthaste_commits_total";
    }
}

metrics! {
    /// The lanes and retry topics of this instance.
    pub struct RetryMetrics {
        /// Destinations that have a retry topic of their own, over all instances.
        dedicated_topics: IntGauge = "posthaste_retry_topics_dedicated";
        /// Lanes that this instance owns.
        lanes_owned: IntGauge = "posthaste_lanes_owned";
    }
}

metrics! {
    /// The configuration as read from its topics.
    pub struct CatalogMetrics {
        /// Documents that do not validate; the last valid version of each stays in force.
        refused_documents: IntCounter = "posthaste_catalog_refused_documents_total";
        /// The newest offset of the topic `destinations` that is in force.
        applied_offset: IntGauge = "posthaste_catalog_applied_offset";
        /// Whether intake stands still because the ends of the configuration topics cannot be confirmed: 1 or 0.
        stale: IntGauge = "posthaste_catalog_stale";
    }
}

metrics! {
    /// Our Kafka clients.
    pub struct KafkaMetrics {
        /// Records that the producer has not seen acknowledged yet.
        producer_queue: IntGauge = "posthaste_producer_queue_records";
        /// Errors that clients report, by client.
        errors: By<KafkaClient, IntCounter> = "posthaste_kafka_errors_total";
    }
}

metrics! {
    /// Sends that the egress guard refused; label `reason`.
    struct EgressMetrics {
        /// Connections that the egress guard refused, by reason.
        refused: IntCounter = "posthaste_egress_refused_total";
    }
}

metrics! {
    /// What is running; label `version`.
    struct BuildMetrics {
        /// Always 1; the label tells the version that runs.
        info: IntGauge = "posthaste_build_info";
    }
}

/// The label values that are known only when the process starts.
#[derive(Debug, Clone, Default)]
pub struct Sets<'a> {
    /// The kinds of sinks.
    pub sinks: Vec<&'a str>,
    /// The keys under `sources`.
    pub sources: Vec<&'a str>,
    /// The retry tiers of the settings, without partition 0.
    pub tiers: Vec<Span>,
    /// The egress guard's reasons.
    pub egress_reasons: Vec<&'a str>,
}

/// All metrics of the process; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    sinks: Named<SinkMetrics>,
    sources: Named<SourceMetrics>,
    tiers: Named<TierMetrics>,
    egress: Named<EgressMetrics>,
    process: Arc<Process>,
    probes: Probes,
    /// What dispatch holds and what becomes of it.
    pub dispatch: DispatchMetrics,
    /// The ledgers of source and of retry topics.
    pub ledgers: By<LedgerOwner, LedgerMetrics>,
    /// Lanes and retry topics.
    pub retry: RetryMetrics,
    /// The configuration.
    pub catalog: CatalogMetrics,
    /// Kafka clients.
    pub kafka: KafkaMetrics,
}

impl Metrics {
    /// Makes every metric with every label value, all at 0.
    ///
    /// # Panics
    /// If a name stands twice in one of the sets.
    #[must_use]
    pub fn new(sets: &Sets<'_>) -> Self {
        let registry = Registry::new();
        let scope = Scope::new(&registry);
        let tiers: Vec<String> = std::iter::once(Span::secs(0))
            .chain(sets.tiers.iter().copied())
            .map(tier_name)
            .collect();
        let tiers: Vec<&str> = tiers.iter().map(String::as_str).collect();
        let build = BuildMetrics::register(&scope.with("version", env!("CARGO_PKG_VERSION")));
        build.info.set(1);
        Self {
            sinks: Named::new(&scope, "sink", &sets.sinks, SinkMetrics::register),
            sources: Named::new(&scope, "source", &sets.sources, SourceMetrics::register),
            tiers: Named::new(&scope, "tier", &tiers, TierMetrics::register),
            egress: Named::new(
                &scope,
                "reason",
                &sets.egress_reasons,
                EgressMetrics::register,
            ),
            process: Arc::new(Process::new(&scope)),
            probes: Probes::default(),
            dispatch: DispatchMetrics::register(&scope),
            ledgers: By::new(&scope, LedgerMetrics::register),
            retry: RetryMetrics::register(&scope),
            catalog: CatalogMetrics::register(&scope),
            kafka: KafkaMetrics::register(&scope),
            registry,
        }
    }

    /// The metrics of one kind of sink; of an unknown one: some that are exported nowhere.
    #[must_use]
    pub fn sink(&self, kind: &str) -> &SinkMetrics {
        self.sinks.get(kind)
    }

    /// The metrics of one source, by its key in the settings; of an unknown one: some that are exported nowhere.
    #[must_use]
    pub fn source(&self, key: &str) -> &SourceMetrics {
        self.sources.get(key)
    }

    /// The metrics of the retry tier with this index; 0 is the backlog, i + 1 is `retry.tiers[i]`.
    /// Of one beyond: some that are exported nowhere.
    #[must_use]
    pub fn tier(&self, index: usize) -> &TierMetrics {
        self.tiers.at(index)
    }

    /// Takes over how many connections were refused with this reason since the process started; the guard counts.
    /// Of an unknown reason: nothing is exported.
    pub fn set_egress_refused(&self, reason: &str, total: u64) {
        raise_to(&self.egress.get(reason).refused, total);
    }

    /// Has `probe` bring values up to date each time before metrics are rendered: those that another part counts for
    /// itself, and those that cost something to tell. It must be quick and must not render.
    pub fn before_render(&self, probe: impl Fn(&Self) + Send + 'static) {
        self.probes.lock().push(Box::new(probe));
    }

    /// All metrics in Prometheus' text format, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        // Held throughout: two probes at once would raise a counter twice.
        let probes = self.probes.lock();
        self.process.refresh();
        for probe in probes.iter() {
            probe(self);
        }
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_else(|error| {
                tracing::error!(error = %super::error_chain(&error), "metrics cannot be rendered");
                String::new()
            })
    }
}

type Probe = Box<dyn Fn(&Metrics) + Send>;

#[derive(Clone, Default)]
struct Probes(Arc<Mutex<Vec<Probe>>>);

impl Probes {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Probe>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes").finish_non_exhaustive()
    }
}

/// Brings a counter to a total that is counted elsewhere; it never falls.
fn raise_to(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

/// A tier's delay as people write it in the settings.
fn tier_name(delay: Span) -> String {
    if delay == Span::secs(0) {
        "0s".to_owned()
    } else {
        delay.to_string()
    }
}

#[cfg(test)]
mod tests;
