//! The role `retry`: owns lanes, and delivers what waits in their retry topics.
//!
//! The group `<group>.lanes` shares out the partitions of the topic `lanes`. Who holds partition l reads, with a second
//! consumer that is assigned by hand under the group id `<group>.retry`, every tier of that lane in the shared retry
//! topic and the retry topics of the lane's destinations.
//!
//! Invariant: a lane is given up only after its readers stopped and their positions were committed.
//! Invariant: every owned position is committed at least once a minute, so that Kafka does not forget it.

mod dedicated;
mod lanes;
mod reader;
mod waiting;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::consumer::CommitMode;
use rdkafka::error::KafkaResult;
use rdkafka::{ClientConfig, Offset};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::settings::Settings;
use crate::dispatch::Dispatcher;
use crate::domain::ids::DestinationId;
use crate::domain::offset_ledger::OffsetLedger;
use crate::domain::retry_tier::shared_partition;
use crate::kafka::commit::Assigned;
use crate::kafka::consumer::{Queue, SplitConsumer, TopicPartition};
use crate::kafka::names::Names;
use crate::kafka::outbox::{DedicatedTopics, Outbox};
use crate::kafka::partition::{Bounds, Memory, Partition};
use crate::kafka::topics::{self, TopicAdmin};
use crate::telemetry::metrics::{CommitResult, KafkaClient, LedgerOwner, Metrics};
use crate::telemetry::readiness::Readiness;

/// What the role works with.
#[derive(Clone)]
pub struct Parts {
    /// All settings.
    pub settings: Arc<Settings>,
    /// Which destinations there are.
    pub catalog: Arc<Catalog>,
    /// Attempts.
    pub dispatcher: Arc<Dispatcher>,
    /// For what has to wait longer, or is given up.
    pub outbox: Arc<Outbox>,
    /// Which destinations have topics of their own.
    pub dedicated: Arc<DedicatedTopics>,
    /// Makes and deletes topics.
    pub admin: Arc<TopicAdmin>,
    /// The topics as they were found at the start.
    pub topics: Arc<topics::Report>,
    /// The names of topics.
    pub names: Names,
    /// Where to count.
    pub metrics: Metrics,
    /// Where to say what is missing.
    pub readiness: Readiness,
    /// The brokers' time.
    pub clock: Clock,
    /// Guards commit metadata.
    pub cluster_id: String,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parts")
    }
}

/// The readers of one topic's partitions in one lane.
struct Reading {
    /// `None`: the shared topic.
    destination: Option<DestinationId>,
    partitions: Vec<TopicPartition>,
    tasks: Vec<JoinHandle<()>>,
    state: dedicated::State,
}

struct Shared {
    parts: Parts,
    consumer: Arc<SplitConsumer>,
    assigned: Assigned,
    /// What waits in memory for its due time.
    memory: Arc<Memory>,
    lanes: Mutex<HashSet<u32>>,
    /// By topic; the shared topic stands once for each lane.
    readings: Mutex<HashMap<(Arc<str>, u32), Reading>>,
    /// Records seen in the shared topic lately, by destination.
    pressure: Mutex<HashMap<DestinationId, usize>>,
    /// Before this no topic is made: making one failed.
    make_after: Mutex<Option<std::time::Instant>>,
    /// Told when a destination needs a topic, or topics were announced.
    reconcile: Notify,
    runtime: Handle,
    shutdown: watch::Receiver<bool>,
}

/// The role.
pub struct Retry {
    shared: Arc<Shared>,
    lanes: Arc<SplitConsumer>,
}

impl std::fmt::Debug for Retry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Retry")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Retry {
    /// Connects and joins the lanes' group.
    ///
    /// # Errors
    /// If librdkafka refuses the configuration.
    pub fn new(
        parts: Parts,
        config: &ClientConfig,
        shutdown: watch::Receiver<bool>,
    ) -> KafkaResult<Self> {
        let group = &parts.settings.kafka.group;
        let mut records = config.clone();
        records
            .set("group.id", format!("{group}.retry"))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("queued.max.messages.kbytes", "64")
            .set("fetch.message.max.bytes", "65536")
            // Every request names all partitions, hundreds of them: not one for each record that arrives. What waits
            // for a tier is read in time; the backlog may come later by `fetch.wait.max.ms`.
            .set("fetch.min.bytes", "65536");
        let mut lanes = config.clone();
        lanes
            .set("group.id", format!("{group}.lanes"))
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "latest");
        let errors = parts.metrics.kafka.errors.clone();
        let errors = |client: KafkaClient| errors.get(client).clone();
        let consumer = SplitConsumer::new("retry", &records, errors(KafkaClient::Retry))?;
        let consumer = Arc::new(consumer);
        let shared = Arc::new(Shared {
            assigned: Assigned::new(parts.cluster_id.clone()),
            memory: Memory::new(parts.settings.dispatch.memory.0 / 4),
            lanes: Mutex::default(),
            readings: Mutex::default(),
            pressure: Mutex::default(),
            make_after: Mutex::default(),
            reconcile: Notify::new(),
            runtime: Handle::current(),
            consumer,
            shutdown,
            parts,
        });
        shared
            .parts
            .readiness
            .set("lanes", Err("no lanes are assigned yet"));
        let lanes = Arc::new(SplitConsumer::new(
            "lanes",
            &lanes,
            errors(KafkaClient::Lanes),
        )?);
        lanes.subscribe(
            &[&shared.parts.names.lanes],
            lanes::LaneAssignments(Arc::clone(&shared)),
        )?;
        Ok(Self { shared, lanes })
    }

    /// Commits positions and looks after dedicated topics until `shutdown` is told, then gives the lanes up.
    pub async fn run(self) {
        let shared = self.shared;
        let mut shutdown = shared.shutdown.clone();
        let mut commit = every(shared.parts.settings.ledger.commit_interval.0);
        let mut keep = every(Duration::from_secs(5));
        let mut forget = every(Duration::from_secs(60));
        // Beside the commits: what asks Kafka may take long.
        tokio::spawn(look_after(Arc::clone(&shared)));
        loop {
            tokio::select! {
                _ = shutdown.changed() => break,
                _ = commit.tick() => shared.commit(false),
                // What became of an asynchronous commit is not told.
                _ = keep.tick() => shared.commit(true),
                _ = forget.tick() => lock(&shared.pressure).clear(),
            }
        }
        let (lanes, records) = (self.lanes, Arc::clone(&shared.consumer));
        let closed = tokio::task::spawn_blocking(move || {
            lanes.close();
            records.close();
        });
        if closed.await.is_err_and(|error| error.is_panic()) {
            tracing::error!("closing the retry consumers panicked");
        }
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}

/// Makes, reads, retires and deletes dedicated topics, and looks up lags, until the shutdown is told.
async fn look_after(shared: Arc<Shared>) {
    let mut shutdown = shared.shutdown.clone();
    let mut reconcile = every(Duration::from_secs(1));
    let mut observe = every(Duration::from_secs(5));
    let delete_after = shared.parts.settings.retry.delete_after.0;
    let mut look_after =
        every(delete_after.clamp(Duration::from_millis(200), Duration::from_secs(60)));
    loop {
        tokio::select! {
            _ = shutdown.changed() => return,
            _ = reconcile.tick() => dedicated::follow(&shared).await,
            () = shared.reconcile.notified() => dedicated::make(&shared).await,
            _ = look_after.tick() => dedicated::look_after(&shared).await,
            _ = observe.tick() => lanes::observe_lag(&shared).await,
        }
    }
}

impl Shared {
    fn commit(&self, even_unchanged: bool) {
        let sent = self
            .assigned
            .send_all(self.consumer.client(), even_unchanged);
        match sent {
            Ok(0) => {}
            Ok(_) => self.count_commit(CommitResult::Sent),
            Err(error) => {
                self.count_commit(CommitResult::Failed);
                tracing::warn!(error = %error, "retry positions could not be sent");
            }
        }
    }

    fn count_commit(&self, result: CommitResult) {
        let ledgers = self.parts.metrics.ledgers.get(LedgerOwner::Retry);
        ledgers.commits.get(result).inc();
    }

    fn owns(&self, lane: u32) -> bool {
        lock(&self.lanes).contains(&lane)
    }

    /// Starts to read partitions; `from_start`: of a topic that was just made. Blocks.
    fn read(
        self: &Arc<Self>,
        topic: &Arc<str>,
        lane: u32,
        destination: Option<DestinationId>,
        from_start: bool,
    ) -> KafkaResult<()> {
        let tiers = self.parts.outbox.tiers();
        let lanes = self.parts.settings.topics.lanes;
        let partitions: Vec<TopicPartition> = (0..tiers.partitions())
            .map(|tier| match &destination {
                None => (Arc::clone(topic), shared_partition(tier, lane, lanes)),
                Some(_) => (Arc::clone(topic), i32::try_from(tier).unwrap_or(i32::MAX)),
            })
            .collect();
        let committed = if from_start {
            vec![None; partitions.len()]
        } else {
            self.assigned
                .committed(self.consumer.client(), &partitions)?
        };
        let bounds = Bounds {
            events: self.parts.settings.retry.waiting_per_partition * 2 + 1000,
            span: self.parts.settings.ledger.span,
        };
        let mut tasks = Vec::new();
        for (tier, ((topic, number), committed)) in (0..).zip(partitions.iter().zip(committed)) {
            let (position, finished) = committed.map_or((None, Vec::new()), |committed| {
                (Some(committed.position), committed.finished)
            });
            let start = position.map_or(Offset::Beginning, Offset::Offset);
            let ledger = OffsetLedger::new(finished);
            let partition = Partition::new(
                Arc::clone(topic),
                *number,
                self.assigned.identity(topic),
                position,
                ledger,
                bounds,
                Arc::clone(&self.memory),
            );
            let queue: Arc<Queue> = match self.consumer.assign(topic, *number, start) {
                Ok(queue) => queue,
                Err(error) => {
                    // All or nothing: nobody would stop the readers of a part.
                    let part = Reading {
                        destination,
                        partitions: partitions.iter().take(tasks.len()).cloned().collect(),
                        tasks,
                        state: dedicated::State::default(),
                    };
                    self.stop(vec![part], Duration::ZERO, true);
                    return Err(error);
                }
            };
            self.assigned.add(Arc::clone(&partition));
            let reader = reader::Reader::new(
                Arc::clone(self),
                queue,
                partition,
                tier,
                destination.is_some(),
            );
            tasks.push(self.runtime.spawn(reader.run()));
        }
        let reading = Reading {
            destination,
            partitions,
            tasks,
            state: dedicated::State::default(),
        };
        lock(&self.readings).insert((Arc::clone(topic), lane), reading);
        Ok(())
    }

    /// Ends readings: stops them, waits for what is in flight, commits, unassigns. Blocks. Without `commit` where somebody
    /// else may read them already, whose positions must not be set back.
    fn stop(&self, readings: Vec<Reading>, limit: Duration, commit: bool) {
        let keys: Vec<TopicPartition> = readings
            .iter()
            .flat_map(|reading| reading.partitions.iter().cloned())
            .collect();
        let partitions = self.assigned.remove(&keys);
        for partition in &partitions {
            partition.revoke();
        }
        let drained = async {
            self.parts.dispatcher.release_revoked().await;
            for task in readings.into_iter().flat_map(|reading| reading.tasks) {
                if task.await.is_err_and(|error| error.is_panic()) {
                    tracing::error!("a retry reader panicked");
                }
            }
            self.parts.dispatcher.release_revoked().await;
            for partition in &partitions {
                partition.drained().await;
            }
        };
        let drained = self
            .runtime
            .block_on(async { tokio::time::timeout(limit, drained).await });
        if drained.is_err() {
            tracing::warn!(
                "deliveries were still in flight when their lanes were given up; they may be repeated"
            );
        }
        if commit {
            let sent =
                self.assigned
                    .commit(self.consumer.client(), &partitions, true, CommitMode::Sync);
            match sent {
                Ok(_) => self.count_commit(CommitResult::Committed),
                Err(error) => {
                    self.count_commit(CommitResult::Failed);
                    tracing::warn!(error = %error, "retry positions could not be committed when lanes were given up");
                }
            }
        }
        for (topic, number) in keys {
            if let Err(error) = self.consumer.unassign(&topic, number) {
                tracing::warn!(kafka.topic = %topic, kafka.partition = number, error = %error, "a retry partition could not be unassigned");
            }
        }
    }
}
