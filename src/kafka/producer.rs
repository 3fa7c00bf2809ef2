//! Writes records and tells when the broker has acknowledged them.
//!
//! Invariant: one request in flight. A broker that knows nothing of a producer yet takes any first sequence number: when
//! the first request to a partition fails (a new partition whose leader is not ready) and one behind it succeeds, the
//! first one's retry is answered as a duplicate, so it would count as written and be lost.
//! Invariant: idempotent, `acks=all`, without a time limit of its own: a record is retried until Kafka takes it or
//! refuses it for good. Memory is bounded by librdkafka's queue; who finds it full waits.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{ClientContext, Message as _, Timestamp};
use tokio::sync::oneshot;

use super::client::{forward_error, forward_log};
use crate::clock::Clock;
use crate::wire::NewRecord;

/// Called once with the broker's answer, on the producer's thread: must not block.
pub type OnAck = Box<dyn FnOnce(Result<(), KafkaError>) + Send + Sync>;

struct Context {
    clock: Clock,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        forward_log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        forward_error(&error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<OnAck>;

    fn delivery(&self, result: &DeliveryResult<'_>, on_ack: Box<OnAck>) {
        on_ack(match result {
            Ok(record) => {
                if let Timestamp::LogAppendTime(stamp_ms) = record.timestamp() {
                    self.clock.note_stamp(stamp_ms);
                }
                Ok(())
            }
            Err((error, _)) => Err(error.clone()),
        });
    }
}

/// For how long the polling thread waits in one call. librdkafka's waits are whole milliseconds, and the crate spins
/// through what is left of the last one: rarely is better (`ThreadedProducer` does it ten times a second).
const POLL: Duration = Duration::from_secs(1);

/// Writes records to explicit partitions.
#[derive(Clone)]
pub struct Producer {
    inner: Arc<BaseProducer<Context>>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Producer({} in flight)", self.depth())
    }
}

impl Producer {
    /// Connects. `config` says how to batch; durability is set here. `clock` is told the brokers' time.
    ///
    /// # Errors
    /// If librdkafka refuses the configuration.
    pub fn new(config: &ClientConfig, clock: Clock) -> KafkaResult<Self> {
        let mut config = config.clone();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", "0")
            .set("max.in.flight.requests.per.connection", "1")
            .set("allow.auto.create.topics", "false");
        let inner: Arc<BaseProducer<Context>> =
            Arc::new(config.create_with_context(Context { clock })?);
        let polled = Arc::downgrade(&inner);
        std::thread::Builder::new()
            .name("poll-producer".to_owned())
            .spawn(move || {
                while let Some(producer) = polled.upgrade() {
                    producer.poll(POLL);
                }
            })
            .map_err(|error| {
                KafkaError::ClientCreation(format!("the polling thread does not start: {error}"))
            })?;
        Ok(Self { inner })
    }

    /// Records enqueued and not yet acknowledged.
    #[must_use]
    pub fn depth(&self) -> usize {
        usize::try_from(self.inner.in_flight_count()).unwrap_or(0)
    }

    /// Why this producer can never write again, if so: the process has to be restarted.
    #[must_use]
    pub fn fatal_error(&self) -> Option<String> {
        self.inner
            .client()
            .fatal_error()
            .map(|(code, reason)| format!("{code}: {reason}"))
    }

    /// Enqueues a record and returns as soon as there is room for it; `on_ack` is called with the broker's answer, or
    /// at once where the record can never be written.
    ///
    /// # Cancel safety
    /// Dropped while it waits for room, nothing is written and `on_ack` is dropped uncalled.
    pub async fn write(&self, topic: &str, partition: i32, record: &NewRecord, on_ack: OnAck) {
        let mut on_ack = Box::new(on_ack);
        loop {
            match self.enqueue(topic, partition, record, on_ack) {
                Ok(()) => return,
                Err((error, back))
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) =>
                {
                    on_ack = back;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err((error, back)) => return back(Err(error)),
            }
        }
    }

    /// Writes a record and waits for the broker's answer.
    ///
    /// # Errors
    /// What the broker answered.
    pub async fn write_acked(
        &self,
        topic: &str,
        partition: i32,
        record: &NewRecord,
    ) -> Result<(), KafkaError> {
        let (told, answer) = oneshot::channel();
        let on_ack = Box::new(move |result| {
            // Who asked may have given up meanwhile.
            if told.send(result).is_err() {
                tracing::debug!("nobody waits for this acknowledgement any more");
            }
        });
        self.write(topic, partition, record, on_ack).await;
        answer.await.unwrap_or(Err(KafkaError::Canceled))
    }

    fn enqueue(
        &self,
        topic: &str,
        partition: i32,
        record: &NewRecord,
        on_ack: Box<OnAck>,
    ) -> Result<(), (KafkaError, Box<OnAck>)> {
        let mut new =
            BaseRecord::<[u8], [u8], _>::with_opaque_to(topic, on_ack).partition(partition);
        if let Some(key) = &record.key {
            new = new.key(key);
        }
        if let Some(value) = &record.value {
            new = new.payload(value);
        }
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            new = new.headers(
                record
                    .headers
                    .iter()
                    .fold(headers, |headers, (name, value)| {
                        headers.insert(Header {
                            key: name,
                            value: value.as_deref(),
                        })
                    }),
            );
        }
        self.inner
            .send(new)
            .map_err(|(error, record)| (error, record.delivery_opaque))
    }

    /// Waits until everything enqueued is acknowledged, at shutdown. Blocks.
    ///
    /// # Errors
    /// If `limit` passes first.
    pub fn flush(&self, limit: Duration) -> KafkaResult<()> {
        self.inner.flush(limit)
    }
}
