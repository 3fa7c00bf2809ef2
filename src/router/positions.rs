//! Where the reading of a partition starts.
//!
//! Invariant: `start` applies once: as soon as any partition of a source has a committed position, partitions without
//! one appeared later and are read from their beginning.

use std::collections::{HashMap, HashSet};
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
    let topics: HashSet<Arc<str>> = partitions
        .iter()
        .map(|(topic, _)| Arc::clone(topic))
        .collect();
    let topics: Vec<Arc<str>> = topics.into_iter().collect();
    let ids = shared.note_ids(consumer, &topics);
    let committed = shared.assigned.committed(consumer, partitions)?;
    // By source: a pattern's topics start together, since the first one's commit would make the others late ones.
    let mut first_starts: HashMap<&str, HashMap<TopicPartition, i64>> = HashMap::new();
    let mut late = TopicPartitionList::new();
    let mut positions = Vec::with_capacity(partitions.len());
    for ((topic, number), committed) in partitions.iter().zip(committed) {
        let (low, end) = consumer.fetch_watermarks(topic, *number, LIMIT)?;
        let Some(committed) = committed else {
            let source = shared.parts.settings.source_of(topic);
            let mut start = None;
            if let Some((name, source)) = source
                && existed(shared, topic, ids.get(topic))
            {
                if !first_starts.contains_key(name) {
                    let found = first_start(shared, consumer, topic, name, source.start)?;
                    first_starts.insert(name, found);
                }
                let key = (Arc::clone(topic), *number);
                start = first_starts
                    .get(name)
                    .and_then(|starts| starts.get(&key).copied());
            }
            if start.is_none() {
                // At once, so that an instance that starts now does not take this for a topic that was never read.
                late.add_partition_offset(topic, *number, Offset::Offset(low))?;
            }
            positions.push(Position {
                position: start.unwrap_or(low).max(low),
                finished: Vec::new(),
            });
            continue;
        };
        positions.push(if committed.of_another_topic {
            tracing::warn!(
                kafka.topic = %topic, kafka.partition = number, committed = committed.position,
                "the committed position belongs to another topic, which was deleted and made again; reading this one from its beginning"
            );
            Position {
                position: low,
                finished: Vec::new(),
            }
        } else if committed.position < low {
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
    if late.count() > 0 {
        consumer.commit(&late, CommitMode::Sync)?;
    }
    Ok(positions)
}

/// Whether this very topic was there when the instance started: one that was made again under its name appeared later.
fn existed(shared: &Shared, topic: &Arc<str>, id: Option<&Arc<str>>) -> bool {
    match (shared.existed.get(topic), id) {
        (Some(Some(then)), Some(now)) => then == now,
        (found, _) => found.is_some(),
    }
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

/// Resolves and commits the start of all partitions of a source none of whose topics has a committed position; empty
/// where one has: what has none then appeared later, and is read from its beginning.
fn first_start(
    shared: &Shared,
    consumer: &BaseConsumer<Context>,
    topic: &Arc<str>,
    source: &str,
    from: Start,
) -> KafkaResult<HashMap<TopicPartition, i64>> {
    let of_source = |name: &&Arc<str>| {
        let found = shared.parts.settings.source_of(name);
        found.is_some_and(|(other, _)| other == source)
    };
    let mut known: Vec<Arc<str>> = vec![Arc::clone(topic)];
    let others = shared.existed.keys().filter(of_source);
    known.extend(others.filter(|name| *name != topic).cloned());
    let mut keys: Vec<TopicPartition> = Vec::new();
    for name in &known {
        keys.extend(
            numbers(consumer, name)?
                .into_iter()
                .map(|n| (Arc::clone(name), n)),
        );
    }
    if shared
        .assigned
        .committed(consumer, &keys)?
        .iter()
        .any(Option::is_some)
    {
        return Ok(HashMap::new());
    }
    let mut starts = HashMap::new();
    for (name, number) in &keys {
        let (low, end) = consumer.fetch_watermarks(name, *number, LIMIT)?;
        let start = match from {
            Start::Latest => end,
            Start::Earliest => low,
            Start::At(ms) => at_time(consumer, name, *number, ms)?.unwrap_or(end),
        };
        starts.insert((Arc::clone(name), *number), start);
    }
    // Another instance may have started at the same time, and read on from there since.
    let mut list = TopicPartitionList::new();
    for (key, committed) in keys.iter().zip(shared.assigned.committed(consumer, &keys)?) {
        match (committed, starts.get_mut(key)) {
            (Some(committed), Some(start)) => *start = committed.position,
            (None, Some(start)) => {
                list.add_partition_offset(&key.0, key.1, Offset::Offset(*start))?;
            }
            (_, None) => {}
        }
    }
    if list.count() > 0 {
        consumer.commit(&list, CommitMode::Sync)?;
    }
    tracing::info!(
        source, topics = ?known, start = ?from, positions = ?starts,
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
