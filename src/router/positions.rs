//! Where the reading of a partition starts.
//!
//! Invariant: `start` applies once: as soon as any partition of a source has a committed position, partitions without
//! one appeared later and are read from their beginning.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use super::Shared;
use crate::config::settings::Start;
use crate::kafka::consumer::{Context, TopicPartition};

const LIMIT: Duration = Duration::from_secs(10);

/// Where a partition starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) position: i64,
    pub(super) finished: Vec<RangeInclusive<i64>>,
}

/// Where each of `partitions` starts, in their order. Commits the start of a source that was never read before.
pub(super) fn resolve(
    shared: &Shared,
    consumer: &BaseConsumer<Context>,
    partitions: &[TopicPartition],
) -> KafkaResult<Vec<Position>> {
    let committed = shared.assigned.committed(consumer, partitions)?;
    let mut first_starts: HashMap<Arc<str>, HashMap<i32, i64>> = HashMap::new();
    let mut positions = Vec::with_capacity(partitions.len());
    for ((topic, number), committed) in partitions.iter().zip(committed) {
        let (low, end) = consumer.fetch_watermarks(topic, *number, LIMIT)?;
        let Some(committed) = committed else {
            if !first_starts.contains_key(topic) {
                first_starts.insert(Arc::clone(topic), first_start(shared, consumer, topic)?);
            }
            let start = first_starts
                .get(topic)
                .and_then(|starts| starts.get(number))
                .copied();
            positions.push(Position {
                position: start.unwrap_or(low).max(low),
                finished: Vec::new(),
            });
            continue;
        };
        positions.push(if committed.position < low {
            lost(shared, topic, *number, committed.position, low);
            Position {
                position: low,
                finished: Vec::new(),
            }
        } else if committed.position > end {
            tracing::warn!(
                kafka.topic = %topic, kafka.partition = number, committed = committed.position, end,
                "the committed position lies behind the end: the topic was made again; reading it from its beginning"
            );
            Position {
                position: low,
                finished: Vec::new(),
            }
        } else {
            Position {
                position: committed.position,
                finished: committed.finished,
            }
        });
    }
    Ok(positions)
}

/// Counts and tells what retention deleted before it was read.
pub(super) fn lost(shared: &Shared, topic: &str, number: i32, position: i64, low: i64) {
    let source = shared
        .parts
        .settings
        .source_of(topic)
        .map_or("", |(name, _)| name);
    let count = u64::try_from(low - position).unwrap_or(0);
    shared
        .parts
        .metrics
        .source(source)
        .lost_to_retention
        .inc_by(count);
    tracing::error!(
        kafka.topic = topic,
        kafka.partition = number,
        position,
        oldest = low,
        "records were deleted by the topic's retention before they were read; going on with the oldest"
    );
}

/// Resolves and commits the start of all partitions of a topic that has no committed position at all; empty where it
/// has some, or where the topic appeared after this instance started: then partitions are read from the beginning.
fn first_start(
    shared: &Shared,
    consumer: &BaseConsumer<Context>,
    topic: &Arc<str>,
) -> KafkaResult<HashMap<i32, i64>> {
    let Some((source_name, source)) = shared.parts.settings.source_of(topic) else {
        return Ok(HashMap::new());
    };
    if !shared.existed.contains(&**topic) {
        return Ok(HashMap::new());
    }
    let mut known: Vec<String> = vec![topic.to_string()];
    if source_name.contains('*') {
        let of_source = |name: &&String| {
            shared
                .parts
                .settings
                .source_of(name)
                .is_some_and(|(other, _)| other == source_name)
        };
        known.extend(shared.existed.iter().filter(of_source).cloned());
    }
    for name in &known {
        let numbers = numbers(consumer, name)?;
        let keys: Vec<TopicPartition> = numbers
            .iter()
            .map(|n| (Arc::from(name.as_str()), *n))
            .collect();
        if shared
            .assigned
            .committed(consumer, &keys)?
            .iter()
            .any(Option::is_some)
        {
            return Ok(HashMap::new());
        }
    }
    let mut list = TopicPartitionList::new();
    let mut starts = HashMap::new();
    for number in numbers(consumer, topic)? {
        let (low, end) = consumer.fetch_watermarks(topic, number, LIMIT)?;
        let start = match source.start {
            Start::Latest => end,
            Start::Earliest => low,
            Start::At(ms) => at_time(consumer, topic, number, ms)?.unwrap_or(end),
        };
        list.add_partition_offset(topic, number, Offset::Offset(start))?;
        starts.insert(number, start);
    }
    consumer.commit(&list, CommitMode::Sync)?;
    tracing::info!(
        kafka.topic = %topic, start = ?source.start, positions = ?starts,
        "first start of this source; to start elsewhere, stop all instances and use kafka-consumer-groups --reset-offsets --group {} --topic {topic}",
        shared.parts.settings.kafka.group
    );
    Ok(starts)
}

fn numbers(consumer: &BaseConsumer<Context>, topic: &str) -> KafkaResult<Vec<i32>> {
    let found = consumer.fetch_metadata(Some(topic), LIMIT)?;
    Ok(found
        .topics()
        .first()
        .map(|topic| {
            topic
                .partitions()
                .iter()
                .map(|partition| partition.id())
                .collect()
        })
        .unwrap_or_default())
}

fn at_time(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    number: i32,
    ms: i64,
) -> KafkaResult<Option<i64>> {
    let mut asked = TopicPartitionList::new();
    asked.add_partition_offset(topic, number, Offset::Offset(ms))?;
    let found = consumer.offsets_for_times(asked, LIMIT)?;
    Ok(found
        .find_partition(topic, number)
        .and_then(|element| match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }))
}
