//! The partitions that are assigned now, and the commits of their positions.
//!
//! Invariant: a position is committed with the offsets that are finished beyond it, so that they are not repeated.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::consumer::{Context, TopicPartition};
use super::partition::Partition;
use crate::domain::commit_metadata;
use crate::telemetry::metrics::LedgerMetrics;

/// The partitions that are assigned now.
#[derive(Debug)]
pub struct Assigned {
    cluster_id: String,
    /// By topic: what guards its commit metadata, where more than the cluster is known.
    identities: Mutex<HashMap<Arc<str>, Arc<str>>>,
    /// Grows when an identity changes.
    changes: AtomicU64,
    partitions: Mutex<HashMap<TopicPartition, Arc<Partition>>>,
    /// Those that were taken away lately, and when.
    former: Mutex<HashMap<TopicPartition, (Instant, Arc<Partition>)>>,
    /// Positions that were committed where more was remembered: from there on all is settled up to where reading starts.
    resumed: Mutex<HashMap<TopicPartition, i64>>,
}

/// For how long it is remembered what was settled in a partition that was taken away.
const REMEMBER: Duration = Duration::from_secs(600);

/// What a group committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The position.
    pub position: i64,
    /// Offsets beyond it that are finished.
    pub finished: Vec<RangeInclusive<i64>>,
    /// It was committed for another topic, which had the same name.
    pub of_another_topic: bool,
}

impl Assigned {
    /// None yet. `cluster_id` guards the commit metadata against another cluster's.
    #[must_use]
    pub fn new(cluster_id: String) -> Self {
        Self {
            cluster_id,
            identities: Mutex::default(),
            changes: AtomicU64::new(0),
            partitions: Mutex::default(),
            former: Mutex::default(),
            resumed: Mutex::default(),
        }
    }

    /// What guards the commit metadata of a topic's partitions: the cluster, and the topic's id where it was noted.
    #[must_use]
    pub fn identity(&self, topic: &Arc<str>) -> Arc<str> {
        let identities = self
            .identities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        identities
            .get(topic)
            .map_or_else(|| Arc::from(&*self.cluster_id), Arc::clone)
    }

    /// Notes the ids that topics have now; tells those that had another one before: they were made again.
    pub fn note_ids(&self, ids: &HashMap<Arc<str>, Arc<str>>) -> Vec<Arc<str>> {
        let mut identities = self
            .identities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut changed = Vec::new();
        for (topic, id) in ids {
            let identity = Arc::from(commit_metadata::identity(&self.cluster_id, Some(id)));
            let before = identities.insert(Arc::clone(topic), Arc::clone(&identity));
            if before.is_some_and(|before| before != identity) {
                changed.push(Arc::clone(topic));
            }
        }
        if !changed.is_empty() {
            self.changes.fetch_add(1, Ordering::Release);
        }
        changed
    }

    /// A number that grows when a topic was made again.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TopicPartition, Arc<Partition>>> {
        self.partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a partition; one of an older assignment is forgotten.
    pub fn add(&self, partition: Arc<Partition>) {
        let key = (Arc::clone(partition.topic()), partition.number());
        if let Some(position) = self.resumed().remove(&key) {
            partition.is_settled_from(position);
        }
        self.lock().insert(key, partition);
    }

    /// Puts a partition in the place of one that is assigned. False where that one is not any more.
    #[must_use]
    pub fn replace(&self, before: &Arc<Partition>, after: Arc<Partition>) -> bool {
        let mut assigned = self.lock();
        let key = (Arc::clone(before.topic()), before.number());
        match assigned.get_mut(&key) {
            Some(held) if Arc::ptr_eq(held, before) => *held = after,
            _ => return false,
        }
        true
    }

    /// Takes partitions away. What was settled in them is remembered for a while: a member that Kafka had lost sight of
    /// may not commit it, and often gets the same partitions again.
    pub fn remove(&self, partitions: &[TopicPartition]) -> Vec<Arc<Partition>> {
        let (mut assigned, mut former) = (self.lock(), self.former());
        let now = Instant::now();
        former.retain(|_, (since, _)| now.duration_since(*since) < REMEMBER);
        partitions
            .iter()
            .filter_map(|key| {
                let partition = assigned.remove(key)?;
                former.insert(key.clone(), (now, Arc::clone(&partition)));
                Some(partition)
            })
            .collect()
    }

    fn former(&self) -> MutexGuard<'_, HashMap<TopicPartition, (Instant, Arc<Partition>)>> {
        self.former.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, for `limit` at most, until nothing is in flight any more of those partitions that were taken away lately and
    /// are asked for: what it settles need not be repeated.
    pub async fn former_settled(&self, asked: impl Fn(&TopicPartition) -> bool, limit: Duration) {
        let open: Vec<Arc<Partition>> = self
            .former()
            .iter()
            .filter(|(key, (_, partition))| partition.live() > 0 && asked(key))
            .map(|(_, (_, partition))| Arc::clone(partition))
            .collect();
        let settled = async {
            for partition in &open {
                partition.drained().await;
            }
        };
        if tokio::time::timeout(limit, settled).await.is_err() {
            tracing::warn!("what is still in flight of partitions that came back is repeated");
        }
    }

    /// What is committed, and what else this process settled before the partition was taken away: that stays settled,
    /// whoever had the partition since.
    fn with_remembered(
        &self,
        key: &TopicPartition,
        identity: &str,
        committed: Option<Committed>,
    ) -> Option<Committed> {
        self.resumed().remove(key);
        let former = self
            .former()
            .get(key)
            .map(|(_, partition)| Arc::clone(partition));
        let Some(former) = former.filter(|former| **former.identity() == *identity) else {
            return committed;
        };
        let base = committed.as_ref().map(|committed| committed.position);
        let Some((position, more)) = former.settled_beyond(base) else {
            return committed;
        };
        self.resumed().insert(key.clone(), base.unwrap_or(0));
        let beyond = |range: RangeInclusive<i64>| position.max(*range.start())..=*range.end();
        let finished = committed.map_or_else(Vec::new, |committed| committed.finished);
        Some(Committed {
            position,
            finished: finished.into_iter().map(beyond).chain(more).collect(),
            of_another_topic: false,
        })
    }

    fn resumed(&self) -> MutexGuard<'_, HashMap<TopicPartition, i64>> {
        self.resumed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, topic: &Arc<str>, number: i32) -> Option<Arc<Partition>> {
        self.lock().get(&(Arc::clone(topic), number)).cloned()
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.lock().values().cloned().collect()
    }

    /// Looks up what the group committed for each of `partitions`, in their order, and adds what this process settled in
    /// them when it had them last. Blocks.
    ///
    /// # Errors
    /// What Kafka answered.
    pub fn committed(
        &self,
        consumer: &BaseConsumer<Context>,
        partitions: &[TopicPartition],
    ) -> KafkaResult<Vec<Option<Committed>>> {
        let mut list = TopicPartitionList::new();
        for (topic, number) in partitions {
            list.add_partition(topic, *number);
        }
        let found = consumer.committed_offsets(list, Duration::from_secs(10))?;
        partitions
            .iter()
            .map(|key| {
                let (topic, number) = key;
                let Some(element) = found.find_partition(topic, *number) else {
                    return Ok(None);
                };
                element.error()?;
                let identity = self.identity(topic);
                let metadata = element.metadata();
                let committed = match element.offset() {
                    Offset::Offset(position) => Some(Committed {
                        position,
                        finished: commit_metadata::decode(metadata, &identity, topic, position),
                        of_another_topic: commit_metadata::is_of_another_topic(metadata, &identity),
                    }),
                    _ => None,
                };
                Ok(match committed {
                    Some(committed) if committed.of_another_topic => Some(committed),
                    committed => self.with_remembered(key, &identity, committed),
                })
            })
            .collect()
    }

    /// Commits what changed in `partitions`, or with `even_unchanged` all positions.
    ///
    /// # Errors
    /// What librdkafka or, for a synchronous commit, Kafka answered.
    pub fn commit(
        &self,
        consumer: &BaseConsumer<Context>,
        partitions: &[Arc<Partition>],
        even_unchanged: bool,
        mode: CommitMode,
    ) -> KafkaResult<usize> {
        let mut list = TopicPartitionList::new();
        let mut count = 0;
        for partition in partitions {
            let topic = partition.topic();
            let next = partition.to_commit(even_unchanged, |position, ledger| {
                commit_metadata::encode(
                    partition.identity(),
                    topic,
                    position,
                    ledger.finished_beyond(),
                    commit_metadata::MAX_BYTES,
                )
            });
            if let Some((position, metadata)) = next {
                let mut element = list.add_partition(topic, partition.number());
                element.set_offset(Offset::Offset(position))?;
                element.set_metadata(metadata);
                count += 1;
            }
        }
        if count == 0 {
            return Ok(0);
        }
        match consumer.commit(&list, mode) {
            Ok(()) => Ok(count),
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::NoOffset) => Ok(0),
            Err(error) => {
                for partition in partitions {
                    partition.commit_again();
                }
                Err(error)
            }
        }
    }

    /// Sends the positions that changed, or with `even_unchanged` all, of the partitions that are assigned now, without
    /// waiting for the answer.
    ///
    /// No partition is taken away meanwhile: a position that is sent after the one that its last owner here committed
    /// could set back what the next one commits.
    ///
    /// # Errors
    /// If librdkafka does not take them.
    pub fn send_all(
        &self,
        consumer: &BaseConsumer<Context>,
        even_unchanged: bool,
    ) -> KafkaResult<usize> {
        let assigned = self.lock();
        let partitions: Vec<Arc<Partition>> = assigned.values().cloned().collect();
        self.commit(consumer, &partitions, even_unchanged, CommitMode::Async)
    }

    /// Brings the metrics of the ledgers up to date, and tells how far each partition is behind its end. Blocks.
    pub fn observe(
        &self,
        consumer: &BaseConsumer<Context>,
        metrics: &LedgerMetrics,
        now_ms: i64,
        mut lag: impl FnMut(&Partition, i64),
    ) {
        let (mut unsettled, mut holes, mut oldest) = (0, 0, None::<i64>);
        for partition in self.all() {
            {
                let ledger = partition.ledger();
                unsettled += ledger.unsettled();
                holes += ledger.holes();
                oldest = [oldest, ledger.oldest_unsettled_ms()]
                    .into_iter()
                    .flatten()
                    .min();
            }
            let limit = Duration::from_secs(2);
            let (topic, number) = (partition.topic(), partition.number());
            if let Ok((low, end)) = consumer.fetch_watermarks(topic, number, limit) {
                lag(
                    &partition,
                    (end - partition.position().unwrap_or(low).max(low)).max(0),
                );
            }
        }
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.unsettled.set(gauge(unsettled));
        metrics.holes.set(gauge(holes));
        let age = oldest.map_or(0, |at| u64::try_from(now_ms - at).unwrap_or(0));
        metrics.oldest.set(Duration::from_millis(age).as_secs_f64());
    }
}
