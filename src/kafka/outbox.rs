//! Writes what follows from an attempt: retries, dead letters, attempt records.
//!
//! Invariant: the ticket of an event is done only when the broker has acknowledged the record that follows from it.
//! Invariant: nothing is given up: what Kafka refuses for good is written elsewhere (its own retry topic → the shared
//! one → dead letter → dead letter without its value), everything else is written again until Kafka takes it.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::runtime::Handle;

use super::names::Names;
use super::partition::Settle;
use super::producer::Producer;
use crate::domain::delivery::{DeadLetterReason, Delivery};
use crate::domain::ids::DestinationId;
use crate::domain::lane::lane_of;
use crate::domain::retry_tier::{Tiers, shared_partition};
use crate::telemetry::metrics::{KafkaClient, Metrics};
use crate::wire::{NewRecord, RawRecord, dead_letter, retry};

/// A destination's own retry topic.
#[derive(Debug)]
struct Announced {
    topic: Arc<str>,
    /// It did not take a record of this instance: the shared one is used until another is announced.
    distrusted: bool,
}

/// Which destinations have a retry topic of their own, as far as this instance has read.
///
/// Invariant: none is written to while this instance cannot confirm what it has read: it may be retired meanwhile.
#[derive(Debug, Default)]
pub struct DedicatedTopics {
    topics: RwLock<HashMap<DestinationId, Announced>>,
    stale: AtomicBool,
}

impl DedicatedTopics {
    /// The destination's own topic, if records may be written to it.
    #[must_use]
    pub fn get(&self, destination: &DestinationId) -> Option<Arc<str>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        let announced = topics.get(destination)?;
        let trusted = !announced.distrusted && !self.stale.load(Ordering::Acquire);
        trusted.then(|| Arc::clone(&announced.topic))
    }

    /// Whether one is announced, be it written to or not.
    #[must_use]
    pub fn is_announced(&self, destination: &DestinationId) -> bool {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.contains_key(destination)
    }

    /// Notes whether what was read may be out of date.
    pub fn set_stale(&self, stale: bool) {
        self.stale.store(stale, Ordering::Release);
    }

    /// Notes an announcement, or with `None` its end.
    pub fn set(&self, destination: DestinationId, topic: Option<Arc<str>>) {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        match topic {
            Some(topic) => topics.insert(
                destination,
                Announced {
                    topic,
                    distrusted: false,
                },
            ),
            None => topics.remove(&destination),
        };
    }

    /// Notes that a topic did not take a record. It stays announced: others may still write to it, so its owner must not
    /// take it for retired.
    fn distrust(&self, destination: &DestinationId, topic: &str) {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(announced) = topics.get_mut(destination)
            && *announced.topic == *topic
        {
            announced.distrusted = true;
        }
    }

    /// All that are announced.
    #[must_use]
    pub fn all(&self) -> Vec<(DestinationId, Arc<str>)> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics
            .iter()
            .map(|(id, announced)| (id.clone(), Arc::clone(&announced.topic)))
            .collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.topics
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where a record goes, and what to do where Kafka refuses it.
#[derive(Debug, Clone)]
enum Place {
    /// A destination's own retry topic; refused: the shared one.
    Dedicated { topic: Arc<str>, tier: u32 },
    /// The shared retry topic; too large: a dead letter.
    Shared { tier: u32 },
    /// The dead letters; too large: without the value.
    DeadLetter { lane: u32 },
    /// Already without the value.
    BareDeadLetter { lane: u32 },
    /// The attempts.
    Attempts { lane: u32 },
}

/// Writes retries, dead letters and attempt records.
#[derive(Debug)]
pub struct Outbox {
    /// For records that hold events: sent soon.
    pub(crate) events: Producer,
    /// For attempt records: batched.
    pub(crate) attempts: Producer,
    names: Names,
    tiers: Tiers,
    lanes: u32,
    dedicated: Arc<DedicatedTopics>,
    metrics: Metrics,
    runtime: Handle,
}

impl Outbox {
    /// Writes through these producers; `runtime` runs what is written again after a refusal.
    #[must_use]
    #[expect(
        clippy::too_many_arguments,
        reason = "called once, with parts that have nothing else in common"
    )]
    pub fn new(
        events: Producer,
        attempts: Producer,
        names: Names,
        tiers: Tiers,
        lanes: u32,
        dedicated: Arc<DedicatedTopics>,
        metrics: Metrics,
        runtime: Handle,
    ) -> Arc<Self> {
        Arc::new(Self {
            events,
            attempts,
            names,
            tiers,
            lanes,
            dedicated,
            metrics,
            runtime,
        })
    }

    /// The tiers.
    #[must_use]
    pub fn tiers(&self) -> &Tiers {
        &self.tiers
    }

    /// The lane of a destination.
    #[must_use]
    pub fn lane(&self, destination: &DestinationId) -> u32 {
        lane_of(destination, self.lanes)
    }

    /// Records that Kafka has not acknowledged yet.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.events.depth() + self.attempts.depth()
    }

    /// Queues a delivery behind the longest tier that is not longer than `wait`.
    pub async fn retry(self: &Arc<Self>, delivery: &Delivery, wait: Duration, settle: Settle) {
        self.to_tier(delivery, self.tiers.tier_for_wait(wait), settle)
            .await;
    }

    /// Queues a delivery in a tier of its choice; 0 is the backlog.
    pub async fn to_tier(self: &Arc<Self>, delivery: &Delivery, tier: u32, settle: Settle) {
        self.metrics.tier(tier as usize).retries_scheduled.inc();
        let place = match self.dedicated.get(&delivery.destination) {
            Some(topic) => Place::Dedicated { topic, tier },
            None => Place::Shared { tier },
        };
        self.put(
            place,
            retry::encode(delivery),
            Some(delivery.destination.clone()),
            settle,
        )
        .await;
    }

    /// Gives a delivery up.
    pub async fn dead_letter(
        self: &Arc<Self>,
        delivery: &Delivery,
        reason: DeadLetterReason,
        detail: &str,
        settle: Settle,
    ) {
        self.metrics.dispatch.dead_letters.get(reason).inc();
        let lane = self.lane(&delivery.destination);
        tracing::warn!(
            destination.id = %delivery.destination,
            event.id = %delivery.event.id,
            attempt.number = delivery.progress.attempts,
            reason = reason.as_str(),
            detail,
            "delivery given up"
        );
        let record = dead_letter::encode(delivery, reason, detail);
        self.put(
            Place::DeadLetter { lane },
            record,
            Some(delivery.destination.clone()),
            settle,
        )
        .await;
    }

    /// Gives a source record up whose metadata cannot be told.
    pub async fn dead_record(
        self: &Arc<Self>,
        record: &RawRecord,
        reason: DeadLetterReason,
        detail: &str,
        settle: Settle,
    ) {
        self.metrics.dispatch.dead_letters.get(reason).inc();
        tracing::warn!(
            kafka.topic = %record.topic,
            kafka.partition = record.partition,
            kafka.offset = record.offset,
            reason = reason.as_str(),
            detail,
            "event given up"
        );
        let lane =
            u32::try_from(record.offset.rem_euclid(i64::from(self.lanes.max(1)))).unwrap_or(0);
        let record = dead_letter::encode_record(record, reason, detail);
        self.put(Place::DeadLetter { lane }, record, None, settle)
            .await;
    }

    /// Writes the record of an attempt.
    pub async fn attempt(
        self: &Arc<Self>,
        destination: &DestinationId,
        value: Vec<u8>,
        settle: Settle,
    ) {
        let record = NewRecord {
            key: Some(destination.as_str().to_owned().into()),
            value: Some(value.into()),
            headers: Vec::new(),
        };
        let lane = self.lane(destination);
        self.put(Place::Attempts { lane }, record, None, settle)
            .await;
    }

    /// Writes a record of the topic `dedicated` and waits until it is acknowledged.
    ///
    /// # Errors
    /// What the broker answered.
    pub async fn announce(&self, record: &NewRecord) -> Result<(), KafkaError> {
        self.events
            .write_acked(&self.names.dedicated, 0, record)
            .await
    }

    async fn put(
        self: &Arc<Self>,
        place: Place,
        record: NewRecord,
        destination: Option<DestinationId>,
        settle: Settle,
    ) {
        let lane = destination.as_ref().map_or(0, |id| self.lane(id));
        let (producer, topic, partition) = match &place {
            Place::Dedicated { topic, tier } => (&self.events, Arc::clone(topic), number(*tier)),
            Place::Shared { tier } => {
                let partition = shared_partition(*tier, lane, self.lanes);
                (&self.events, Arc::clone(&self.names.retry), partition)
            }
            Place::DeadLetter { lane } | Place::BareDeadLetter { lane } => (
                &self.events,
                Arc::clone(&self.names.dead_letter),
                number(*lane),
            ),
            Place::Attempts { lane } => (
                &self.attempts,
                Arc::clone(&self.names.attempts),
                number(*lane),
            ),
        };
        let again = (Arc::clone(self), record.clone(), place);
        let on_ack = Box::new(move |answer: Result<(), KafkaError>| match answer {
            Ok(()) => settle.done(),
            Err(error) => {
                let (outbox, record, place) = again;
                let runtime = outbox.runtime.clone();
                runtime.spawn(outbox.refused(error, place, record, destination, settle));
            }
        });
        producer.write(&topic, partition, &record, on_ack).await;
    }

    /// The dead letter for a retry record that the broker does not take.
    fn too_large(&self, record: NewRecord) -> NewRecord {
        let raw = RawRecord {
            topic: Arc::clone(&self.names.retry),
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            key: record.key,
            value: record.value,
            headers: record.headers,
        };
        let detail = "the broker does not take a record that large";
        match retry::decode(&raw) {
            Ok(delivery) => dead_letter::encode(&delivery, DeadLetterReason::TooLarge, detail),
            Err(_) => dead_letter::encode_record(&raw, DeadLetterReason::TooLarge, detail),
        }
    }

    /// What happens to a record that Kafka refused for good.
    fn refused(
        self: Arc<Self>,
        error: KafkaError,
        place: Place,
        record: NewRecord,
        destination: Option<DestinationId>,
        settle: Settle,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let too_large = matches!(
                error.rdkafka_error_code(),
                Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize)
            );
            self.metrics.kafka.errors.get(KafkaClient::Producer).inc();
            match (place, destination) {
                (Place::Dedicated { topic, tier }, Some(destination)) if !too_large => {
                    tracing::info!(destination.id = %destination, kafka.topic = %topic, error = %error, "the destination's own retry topic took no record; using the shared one");
                    self.dedicated.distrust(&destination, &topic);
                    self.put(Place::Shared { tier }, record, Some(destination), settle)
                        .await;
                }
                (Place::Dedicated { .. } | Place::Shared { .. }, Some(destination))
                    if too_large =>
                {
                    self.metrics
                        .dispatch
                        .dead_letters
                        .get(DeadLetterReason::TooLarge)
                        .inc();
                    let lane = self.lane(&destination);
                    let letter = dead_letter::without_value(self.too_large(record));
                    self.put(
                        Place::BareDeadLetter { lane },
                        letter,
                        Some(destination),
                        settle,
                    )
                    .await;
                }
                (Place::DeadLetter { lane }, destination) if too_large => {
                    let record = dead_letter::without_value(record);
                    self.put(Place::BareDeadLetter { lane }, record, destination, settle)
                        .await;
                }
                (place, destination) => {
                    tracing::error!(place = ?place, error = %error, "kafka does not take a record; trying again in 1 s");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    self.put(place, record, destination, settle).await;
                }
            }
        })
    }
}

fn number(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_took_no_record_is_written_to_no_more_and_stays_announced() {
        let topics = DedicatedTopics::default();
        let id = DestinationId::parse("acme/crm").expect("valid");
        topics.set(id.clone(), Some("r.1".into()));
        topics.distrust(&id, "r.0");
        assert_eq!(topics.get(&id).as_deref(), Some("r.1"));
        topics.distrust(&id, "r.1");
        assert_eq!(topics.get(&id), None);
        assert_eq!(topics.all(), [(id.clone(), "r.1".into())]);
        topics.set(id.clone(), Some("r.2".into()));
        assert_eq!(topics.get(&id).as_deref(), Some("r.2"));
        topics.set_stale(true);
        assert_eq!(topics.get(&id), None, "it may be retired");
        assert!(topics.is_announced(&id));
        topics.set_stale(false);
        assert_eq!(topics.get(&id).as_deref(), Some("r.2"));
    }
}
