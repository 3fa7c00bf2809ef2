//! A compacted topic of one partition as the table that it stands for, read once from its beginning to its end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{self, LogContext};
use super::errors::{self, Access, Error, Kind, Operation};
use super::topics::TopicAdmin;
use crate::config::settings::Settings;

/// The newest record of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its offset: the version.
    pub offset: i64,
    /// Its timestamp, in milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// Its value.
    pub value: Bytes,
}

/// Reads partition 0 of `topic` up to its end as it is now: the newest value of each key, without what was deleted.
///
/// Records without a key say nothing and are left out.
///
/// # Errors
/// If the topic does not exist, may not be read, or its end is not reached within `patience`.
pub async fn read(
    settings: &Settings,
    topic: &str,
    patience: Duration,
) -> Result<BTreeMap<Bytes, Row>, Error> {
    let admin = TopicAdmin::connect(settings)?;
    admin.must_exist(topic, Operation::Read).await?;
    let access = Access::topic(Operation::Read, topic);
    let (settings, topic) = (settings.clone(), topic.to_owned());
    let reading = tokio::task::spawn_blocking(move || read_blocking(&settings, &topic, patience));
    match reading.await {
        Ok(rows) => rows.map_err(|cause| Error::new(cause, &access, admin.commands())),
        Err(_stopped) => Err(Error::new(KafkaError::Canceled, &access, admin.commands())),
    }
}

fn read_blocking(
    settings: &Settings,
    topic: &str,
    patience: Duration,
) -> Result<BTreeMap<Bytes, Row>, KafkaError> {
    let until = Instant::now() + patience;
    let mut config = client::config(&settings.kafka);
    config
        // Only assigned by hand and never committed; a consumer must have one.
        .set("group.id", format!("{}.catalog", settings.kafka.group))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "10");
    let consumer: BaseConsumer<LogContext> = config.create_with_context(LogContext)?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&partitions)?;
    // The consumer hangs on its drop while a list is alive.
    drop(partitions);

    let mut rows = BTreeMap::new();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::OperationTimedOut,
            ));
        }
        match consumer.poll(left.min(Duration::from_millis(100))) {
            None => {}
            Some(Ok(record)) => {
                let Some(key) = record.key().map(Bytes::copy_from_slice) else {
                    continue;
                };
                match record.payload() {
                    Some(value) => {
                        let row = Row {
                            offset: record.offset(),
                            timestamp_ms: record.timestamp().to_millis(),
                            value: Bytes::copy_from_slice(value),
                        };
                        rows.insert(key, row);
                    }
                    None => {
                        rows.remove(&key);
                    }
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(rows),
            Some(Err(error)) if passes(&error) => {}
            Some(Err(error)) => return Err(error),
        }
    }
}

/// Whether to go on after an error: a broker that is away may come back, and the group is not used.
fn passes(error: &KafkaError) -> bool {
    errors::kind(error) == Kind::Unreachable
        || errors::code(error) == Some(RDKafkaErrorCode::GroupAuthorizationFailed)
}
