//! Whether we may do what we will have to do: asks the brokers without changing anything.
//!
//! Kafka has no question "may I"; each probe does the real thing in a way that cannot have an effect.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};

use super::client;
use super::commands::Commands;
use super::errors::{self, Access, Error, Finding, Kind, Operation};
use crate::config::settings::Settings;

/// How long one probe may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the topic may be read: a fetch at its end.
///
/// Returns what is wrong, `None` if it may be.
pub async fn may_read(settings: &Settings, topic: &str) -> Option<Finding> {
    let access = Access::topic(Operation::Read, topic);
    let (of, name) = (settings.clone(), topic.to_owned());
    let probe = tokio::task::spawn_blocking(move || fetch_at_end(&of, &name));
    judge(
        settings,
        probe.await.unwrap_or(Err(KafkaError::Canceled)),
        &access,
    )
}

/// Whether the consumer group may be used: its positions are asked for. That takes Describe only, which Read includes;
/// to see whether Read is there one would have to join the group and so disturb it.
///
/// `topic` is any topic that may be described. Returns what is wrong, `None` if it may be.
pub async fn may_use_group(settings: &Settings, group: &str, topic: &str) -> Option<Finding> {
    let access = Access::group(Operation::Read, group);
    let (of, id, name) = (settings.clone(), group.to_owned(), topic.to_owned());
    let probe = tokio::task::spawn_blocking(move || ask_for_positions(&of, &id, &name));
    judge(
        settings,
        probe.await.unwrap_or(Err(KafkaError::Canceled)),
        &access,
    )
}

/// Whether the topic may be written to: a record that asks for two acknowledgements, which Kafka refuses as nonsense
/// (only -1, 0 and 1 exist) after it has looked at the permissions, and before it writes anything.
///
/// Returns what is wrong, `None` if it may be.
pub async fn may_write(settings: &Settings, topic: &str) -> Option<Finding> {
    let access = Access::topic(Operation::Write, topic);
    judge(settings, write_nonsense(settings, topic).await, &access)
}

fn judge(settings: &Settings, answer: Result<(), KafkaError>, access: &Access) -> Option<Finding> {
    let commands = Commands::new(&settings.kafka, &settings.topics);
    let cause = answer.err()?;
    Some(*Error::new(cause, access, &commands).finding)
}

async fn write_nonsense(settings: &Settings, topic: &str) -> Result<(), KafkaError> {
    let mut config = client::config(&settings.kafka);
    config
        .set("acks", "2")
        .set("enable.idempotence", "false")
        .set("linger.ms", "0")
        .set("message.timeout.ms", PATIENCE.as_millis().to_string());
    let producer: FutureProducer<Probe> = config.create_with_context(Probe::default())?;
    let record = FutureRecord::<[u8], [u8]>::to(topic).partition(0);
    match producer.send(record, Timeout::After(PATIENCE)).await {
        Ok(_) | Err((KafkaError::MessageProduction(RDKafkaErrorCode::InvalidRequiredAcks), _)) => {
            Ok(())
        }
        Err((cause, _record)) => Err(cause),
    }
}

fn fetch_at_end(settings: &Settings, topic: &str) -> Result<(), KafkaError> {
    let consumer = consumer(settings, &settings.kafka.group)?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::End)?;
    consumer.assign(&partitions)?;
    // The consumer hangs on its drop while a list is alive.
    drop(partitions);
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        match consumer.poll(Duration::from_millis(50)) {
            None => {}
            Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            // The group has its own probe; brokers may come back.
            Some(Err(error))
                if errors::code(&error) == Some(RDKafkaErrorCode::GroupAuthorizationFailed)
                    || errors::kind(&error) == Kind::Unreachable => {}
            Some(Err(error)) => return Err(error),
        }
    }
    Err(KafkaError::MessageConsumption(
        RDKafkaErrorCode::OperationTimedOut,
    ))
}

fn ask_for_positions(settings: &Settings, group: &str, topic: &str) -> Result<(), KafkaError> {
    let consumer = consumer(settings, group)?;
    let until = Instant::now() + PATIENCE;
    loop {
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition(topic, 0);
        let answer = consumer.committed_offsets(partitions, Duration::from_secs(1));
        let answer = answer.map(drop);
        // That the coordinator refuses us is told as an event, while the question itself runs into its time limit.
        while let Some(event) = consumer.poll(Duration::ZERO) {
            consumer.context().note(event.err());
        }
        if consumer.context().refused() {
            return Err(KafkaError::OffsetFetch(
                RDKafkaErrorCode::GroupAuthorizationFailed,
            ));
        }
        match answer {
            Err(error) if errors::kind(&error) == Kind::Unreachable && Instant::now() < until => {}
            other => return other,
        }
    }
}

fn consumer(settings: &Settings, group: &str) -> Result<BaseConsumer<Probe>, KafkaError> {
    let mut config = client::config(&settings.kafka);
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "10");
    config.create_with_context(Probe::default())
}

/// Remembers whether the group was refused; writes no log lines, since the finding says it.
#[derive(Debug, Default)]
struct Probe {
    refused: Mutex<bool>,
}

impl Probe {
    fn note(&self, error: Option<KafkaError>) {
        if error.as_ref().and_then(errors::code) == Some(RDKafkaErrorCode::GroupAuthorizationFailed)
        {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = true;
        }
    }

    fn refused(&self) -> bool {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Probe {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, _: &str) {
        self.note(Some(error));
    }
}

impl ConsumerContext for Probe {}
