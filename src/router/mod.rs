//! The role `route`: reads the source topics and gives each event to the destinations that subscribed to it.
//!
//! A consumer group shares out the partitions; each is read by one task, from its own queue.
//!
//! Invariant: a topic that was made again under its name is read from its beginning: its id is compared at each assignment
//! and every 5 s. Its events that were taken before go on.
//! Invariant: a partition waits only for the bounds of its own ledger, for the memory of all, or while the
//! configuration is stale; never for one destination, but some milliseconds for one that is fast (`dispatch`).

mod held_back;
mod positions;
mod worker;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::{ClientConfig, Offset};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::settings::Settings;
use crate::dispatch::Dispatcher;
use crate::domain::offset_ledger::OffsetLedger;
use crate::kafka::commit::Assigned;
use crate::kafka::consumer::{Assignments, Context, Queue, SplitConsumer, TopicPartition};
use crate::kafka::outbox::Outbox;
use crate::kafka::partition::{Bounds, Memory, Partition};
use crate::kafka::topic_ids;
use crate::telemetry::metrics::{CommitResult, KafkaClient, LedgerOwner, Metrics};
use crate::telemetry::readiness::Readiness;
use crate::wire::source::SourceReader;

/// How often all positions are sent, changed or not.
const KEEP: Duration = Duration::from_secs(1);

/// For how long the last commit of partitions is tried. While others join, a commit waits behind the request to join and
/// is then refused, as one of the generation before; the next one counts. Others join when they have given up what they
/// have to, for which they may wait `ledger.revoke_timeout`.
const FINAL_COMMIT: Duration = Duration::from_secs(10);

/// For how long the ids of topics are waited for.
const IDS: Duration = Duration::from_secs(5);

/// What the role works with.
#[derive(Debug, Clone)]
pub struct Parts {
    /// All settings.
    pub settings: Arc<Settings>,
    /// Who subscribed.
    pub catalog: Arc<Catalog>,
    /// Attempts.
    pub dispatcher: Arc<Dispatcher>,
    /// For what cannot be attempted.
    pub outbox: Arc<Outbox>,
    /// What events may take.
    pub memory: Arc<Memory>,
    /// Where to count.
    pub metrics: Metrics,
    /// Where to say what is missing.
    pub readiness: Readiness,
    /// The brokers' time.
    pub clock: Clock,
    /// Guards commit metadata.
    pub cluster_id: String,
}

/// The state that the polling thread and the workers share.
struct Shared {
    parts: Parts,
    assigned: Assigned,
    workers: Mutex<HashMap<TopicPartition, JoinHandle<()>>>,
    readers: Mutex<HashMap<Arc<str>, Arc<SourceReader>>>,
    held_back: held_back::Sample,
    /// Topics that existed when this instance started, with their ids where these could be told.
    existed: HashMap<Arc<str>, Option<Arc<str>>>,
    consumer: std::sync::OnceLock<Arc<SplitConsumer>>,
    runtime: Handle,
    shutdown: watch::Receiver<bool>,
}

impl Shared {
    /// Ends the reading of partitions and waits for what is in flight.
    async fn finish(&self, partitions: &[Arc<Partition>], limit: Duration) {
        for partition in partitions {
            partition.revoke();
        }
        let workers: Vec<JoinHandle<()>> = {
            let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
            let keys = partitions
                .iter()
                .map(|partition| (Arc::clone(partition.topic()), partition.number()));
            keys.filter_map(|key| workers.remove(&key)).collect()
        };
        let drained = async {
            self.parts.dispatcher.release_revoked().await;
            for worker in workers {
                if worker.await.is_err() {
                    tracing::error!("a worker panicked");
                }
            }
            // What a worker still submitted.
            self.parts.dispatcher.release_revoked().await;
            for partition in partitions {
                partition.drained().await;
            }
        };
        if tokio::time::timeout(limit, drained).await.is_err() {
            let live: usize = partitions.iter().map(|partition| partition.live()).sum();
            tracing::warn!(
                events = live,
                "still in flight when the reading of their partitions ended; they may be repeated"
            );
        }
    }

    /// Commits the positions of partitions that are read no more here, also those that were sent before: what became of
    /// these is not known. Tries again for a while, since the group may be rebalancing. Blocks.
    fn commit_finally(&self, consumer: &BaseConsumer<Context>, partitions: &[Arc<Partition>]) {
        let until = std::time::Instant::now() + FINAL_COMMIT;
        loop {
            // One that is sent in time may be answered late.
            let last = std::time::Instant::now() > until;
            let sent = self
                .assigned
                .commit(consumer, partitions, true, CommitMode::Sync);
            self.count_commit(if sent.is_ok() {
                CommitResult::Committed
            } else {
                CommitResult::Failed
            });
            match sent {
                Ok(_) => return,
                Err(error) if last || consumer.assignment_lost() => {
                    tracing::warn!(error = %error, "the last positions could not be committed; events may be repeated");
                    return;
                }
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            events: self.parts.settings.ledger.events,
            span: self.parts.settings.ledger.span,
        }
    }

    /// Looks up the ids of topics, and tells the workers and the log where one was made again. Blocks.
    fn note_ids(
        &self,
        consumer: &BaseConsumer<Context>,
        topics: &[Arc<str>],
    ) -> HashMap<Arc<str>, Arc<str>> {
        let ids = topic_ids::look_up(consumer.client(), topics, IDS);
        for topic in self.assigned.note_ids(&ids) {
            tracing::error!(
                kafka.topic = %topic,
                "the topic was deleted and made again: what was not read of the old one is gone, the new one is read from its beginning"
            );
        }
        ids
    }

    fn send(&self, consumer: &SplitConsumer, even_unchanged: bool) {
        match self.assigned.send_all(consumer.client(), even_unchanged) {
            Ok(0) => {}
            Ok(_) => self.count_commit(CommitResult::Sent),
            Err(error) => {
                self.count_commit(CommitResult::Failed);
                tracing::warn!(error = %error, "positions could not be sent");
            }
        }
    }

    fn count_commit(&self, result: CommitResult) {
        self.parts
            .metrics
            .ledgers
            .get(LedgerOwner::Sources)
            .commits
            .get(result)
            .inc();
    }
}

/// The role.
pub struct Router {
    shared: Arc<Shared>,
    consumer: Arc<SplitConsumer>,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Router")
    }
}

impl Router {
    /// Connects and joins the group. `existed`: the topics that there were at the start, with their ids where known.
    ///
    /// # Errors
    /// If librdkafka refuses the configuration.
    pub fn new(
        parts: Parts,
        config: &ClientConfig,
        existed: HashMap<Arc<str>, Option<Arc<str>>>,
        shutdown: watch::Receiver<bool>,
    ) -> KafkaResult<Self> {
        let mut config = config.clone();
        config
            .set("group.id", &parts.settings.kafka.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed");
        let shared = Arc::new(Shared {
            assigned: Assigned::new(parts.cluster_id.clone()),
            workers: Mutex::default(),
            readers: Mutex::default(),
            held_back: held_back::Sample::default(),
            existed,
            consumer: std::sync::OnceLock::new(),
            runtime: Handle::current(),
            shutdown,
            parts,
        });
        let errors = shared
            .parts
            .metrics
            .kafka
            .errors
            .get(KafkaClient::Router)
            .clone();
        let consumer = Arc::new(SplitConsumer::new("router", &config, errors)?);
        if shared.consumer.set(Arc::clone(&consumer)).is_err() {
            unreachable!("a new role has no consumer yet");
        }
        let topics: Vec<String> = shared
            .parts
            .settings
            .sources
            .keys()
            .map(|name| subscription(name))
            .collect();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        // Where no source topic is there yet, the group has nothing to answer with: that is warned of, and no reason to
        // wait with all else.
        let assigned = if shared.existed.is_empty() {
            Ok(())
        } else {
            Err("no partitions are assigned yet")
        };
        shared.parts.readiness.set("sources", assigned);
        consumer.subscribe(&topics, RouterAssignments(Arc::clone(&shared)))?;
        Ok(Self { shared, consumer })
    }

    /// Commits positions until `shutdown` is told, then drains and leaves the group.
    pub async fn run(self) {
        let shared = self.shared;
        let mut shutdown = shared.shutdown.clone();
        let mut commit = tokio::time::interval(shared.parts.settings.ledger.commit_interval.0);
        commit.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // What became of an asynchronous commit is not told: librdkafka calls back only where a callback is set, which the
        // crate does not. A rebalance refuses some, so all positions are sent again from time to time.
        let mut keep = tokio::time::interval(KEEP);
        keep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Beside the commits: with Kafka away it takes long.
        tokio::spawn(observe(Arc::clone(&shared), Arc::clone(&self.consumer)));
        loop {
            tokio::select! {
                _ = shutdown.changed() => break,
                _ = commit.tick() => shared.send(&self.consumer, false),
                _ = keep.tick() => shared.send(&self.consumer, true),
            }
        }
        // While still a member of the group, since a commit of one that leaves may be refused.
        let held = shared.assigned.all();
        shared
            .finish(&held, shared.parts.settings.shutdown.timeout.0)
            .await;
        let consumer = Arc::clone(&self.consumer);
        let closed = tokio::task::spawn_blocking(move || {
            shared.commit_finally(consumer.client(), &shared.assigned.all());
            consumer.close();
        });
        if closed.await.is_err_and(|error| error.is_panic()) {
            tracing::error!("closing the router's consumer panicked");
        }
    }
}

/// The subscription for a source: its name, or a regular expression for a pattern.
fn subscription(source: &str) -> String {
    if source.contains('*') {
        let escaped: Vec<String> = source
            .split('*')
            .map(|part| part.replace('.', "\\."))
            .collect();
        format!("^{}$", escaped.join(".*"))
    } else {
        source.to_owned()
    }
}

/// Looks up lags and ids of topics every 5 s until the shutdown is told.
async fn observe(shared: Arc<Shared>, consumer: Arc<SplitConsumer>) {
    let mut shutdown = shared.shutdown.clone();
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = shutdown.changed() => return,
            _ = tick.tick() => observe_lag(&shared, &consumer).await,
        }
    }
}

/// Looks up how far behind each partition is, and whether a topic was made again.
async fn observe_lag(shared: &Arc<Shared>, consumer: &Arc<SplitConsumer>) {
    let (shared, consumer) = (Arc::clone(shared), Arc::clone(consumer));
    let looked = tokio::task::spawn_blocking(move || {
        let mut lags: HashMap<String, i64> = HashMap::new();
        let parts = &shared.parts;
        let ledgers = parts.metrics.ledgers.get(LedgerOwner::Sources);
        let now_ms = parts.clock.now_ms();
        shared
            .assigned
            .observe(consumer.client(), ledgers, now_ms, |partition, lag| {
                if let Some((name, _)) = parts.settings.source_of(partition.topic()) {
                    *lags.entry(name.to_owned()).or_default() += lag;
                }
            });
        let topics: HashSet<Arc<str>> = shared
            .assigned
            .all()
            .iter()
            .map(|partition| Arc::clone(partition.topic()))
            .collect();
        let topics: Vec<Arc<str>> = topics.into_iter().collect();
        shared.note_ids(consumer.client(), &topics);
        for source in parts.settings.sources.keys() {
            let lag = lags.get(source).copied().unwrap_or(0);
            parts.metrics.source(source).lag.set(lag);
        }
    });
    if looked.await.is_err() {
        tracing::error!("looking up lags panicked");
    }
}

struct RouterAssignments(Arc<Shared>);

impl Assignments for RouterAssignments {
    fn assigned(
        &self,
        consumer: &BaseConsumer<Context>,
        partitions: &[TopicPartition],
    ) -> KafkaResult<Vec<Offset>> {
        let shared = &self.0;
        let asked: HashSet<&TopicPartition> = partitions.iter().collect();
        let limit = shared.parts.settings.ledger.revoke_timeout.0;
        shared.runtime.block_on(
            shared
                .assigned
                .former_settled(|key| asked.contains(key), limit),
        );
        let starts = positions::resolve(shared, consumer, partitions)?;
        let bounds = shared.bounds();
        let mut offsets = Vec::with_capacity(starts.len());
        for ((topic, number), start) in partitions.iter().zip(starts) {
            shared.assigned.add(Partition::new(
                Arc::clone(topic),
                *number,
                shared.assigned.identity(topic),
                Some(start.position),
                OffsetLedger::new(start.finished),
                bounds,
                Arc::clone(&shared.parts.memory),
            ));
            offsets.push(Offset::Offset(start.position));
        }
        Ok(offsets)
    }

    fn started(&self, queues: Vec<Arc<Queue>>) {
        let shared = &self.0;
        if *shared.shutdown.borrow() {
            // Given up again in a moment: what would be begun now would be repeated.
            return;
        }
        let mut workers = shared
            .workers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for queue in queues {
            let Some(partition) = shared.assigned.get(queue.topic(), queue.number()) else {
                continue;
            };
            let key = (Arc::clone(queue.topic()), queue.number());
            if let Some(worker) = worker::Worker::new(shared, queue, partition) {
                workers.insert(key, shared.runtime.spawn(worker.run()));
            }
        }
        drop(workers);
        self.tell_share();
        shared.parts.readiness.set("sources", Ok(()));
    }

    fn revoked(&self, consumer: &BaseConsumer<Context>, partitions: &[TopicPartition], lost: bool) {
        let shared = &self.0;
        let taken = shared.assigned.remove(partitions);
        // At a stop, what is in flight was waited for already.
        let stopping = *shared.shutdown.borrow();
        let limit = shared.parts.settings.ledger.revoke_timeout.0;
        let limit = if stopping { Duration::ZERO } else { limit };
        shared.runtime.block_on(shared.finish(&taken, limit));
        if !lost {
            shared.commit_finally(consumer, &taken);
        }
        self.tell_share();
    }
}

impl RouterAssignments {
    /// Tells dispatch which share of the sources' partitions is held here.
    fn tell_share(&self) {
        let shared = &self.0;
        let held = shared.assigned.all();
        let topics: HashSet<&str> = held.iter().map(|partition| &**partition.topic()).collect();
        let Some(consumer) = shared.consumer.get() else {
            return;
        };
        let in_all: usize = topics
            .iter()
            .filter_map(|topic| {
                let found = consumer
                    .client()
                    .fetch_metadata(Some(topic), Duration::from_secs(2))
                    .ok()?;
                Some(found.topics().first()?.partitions().len())
            })
            .sum();
        if in_all > 0 {
            #[expect(clippy::cast_precision_loss, reason = "counts of partitions are small")]
            shared
                .parts
                .dispatcher
                .set_share(held.len() as f64 / in_all as f64);
        }
    }
}
