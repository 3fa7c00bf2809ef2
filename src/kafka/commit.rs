//! The partitions that are assigned now, and the commits of their positions.
//!
//! Invariant: a position is committed with the offsets that are finished beyond it, so that they are not repeated.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
    partitions: Mutex<HashMap<TopicPartition, Arc<Partition>>>,
}

/// What a group committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The position.
    pub position: i64,
    /// Offsets beyond it that are finished.
    pub finished: Vec<RangeInclusive<i64>>,
}

impl Assigned {
    /// None yet. `cluster_id` guards the commit metadata against another cluster's.
    #[must_use]
    pub fn new(cluster_id: String) -> Self {
        Self {
            cluster_id,
            partitions: Mutex::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TopicPartition, Arc<Partition>>> {
        self.partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a partition; one of an older assignment is forgotten.
    pub fn add(&self, partition: Arc<Partition>) {
        self.lock().insert(
            (Arc::clone(partition.topic()), partition.number()),
            partition,
        );
    }

    /// Takes partitions away.
    pub fn remove(&self, partitions: &[TopicPartition]) -> Vec<Arc<Partition>> {
        let mut assigned = self.lock();
        partitions
            .iter()
            .filter_map(|key| assigned.remove(key))
            .collect()
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

    /// Looks up what the group committed for each of `partitions`, in their order. Blocks.
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
            .map(|(topic, number)| {
                let Some(element) = found.find_partition(topic, *number) else {
                    return Ok(None);
                };
                element.error()?;
                Ok(match element.offset() {
                    Offset::Offset(position) => Some(Committed {
                        position,
                        finished: commit_metadata::decode(
                            element.metadata(),
                            &self.cluster_id,
                            topic,
                            position,
                        ),
                    }),
                    _ => None,
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
                    &self.cluster_id,
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
