//! Writes single records and waits for each: for people and commands, not for the path of events.

use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::util::Timeout;
use serde::Serialize;

use super::client::{self, LogContext};
use super::errors::{Access, Error, Operation};
use super::topics::TopicAdmin;
use crate::config::settings::Settings;
use crate::wire::NewRecord;

/// Where a record stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// Writes records one by one.
#[derive(Clone)]
pub struct Publisher {
    producer: FutureProducer<LogContext>,
    admin: TopicAdmin,
    patience: Duration,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher")
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}

impl Publisher {
    /// Makes the producer; nothing is connected yet. A record that is not acknowledged within `patience` has failed.
    ///
    /// # Errors
    /// If librdkafka does not accept the settings.
    pub fn new(settings: &Settings, patience: Duration) -> Result<Self, Error> {
        let admin = TopicAdmin::connect(settings)?;
        let mut config = client::producer_config(&settings.kafka);
        config
            .set("linger.ms", "0")
            .set("message.timeout.ms", patience.as_millis().to_string())
            // As Kafka's Java client: by murmur2 of the key, anywhere without one.
            .set("partitioner", "murmur2_random")
            // The broker and the topic decide what is too large.
            .set("message.max.bytes", "1000000000");
        let producer = config.create_with_context(LogContext).map_err(|cause| {
            Error::new(cause, &Access::cluster(Operation::Write), admin.commands())
        })?;
        Ok(Self {
            producer,
            admin,
            patience,
        })
    }

    /// Writes `record` and waits until all replicas have it. `partition`: where the key does not say it.
    ///
    /// # Errors
    /// If the topic does not exist, may not be written to, the record is too large, or no broker answers in time. After
    /// an `Unreachable` the record may have been written all the same.
    pub async fn write(
        &self,
        topic: &str,
        partition: Option<i32>,
        record: &NewRecord,
    ) -> Result<Place, Error> {
        let access = Access::topic(Operation::Write, topic);
        self.admin.must_exist(topic, Operation::Write).await?;
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in &record.headers {
            headers = headers.insert(Header {
                key,
                value: value.as_deref(),
            });
        }
        let new = FutureRecord::<[u8], [u8]> {
            topic,
            partition,
            payload: record.value.as_deref(),
            key: record.key.as_deref(),
            timestamp: None,
            headers: (!record.headers.is_empty()).then_some(headers),
        };
        let sent = self.producer.send(new, Timeout::After(self.patience)).await;
        match sent {
            Ok(delivery) => Ok(Place {
                topic: topic.to_owned(),
                partition: delivery.partition,
                offset: delivery.offset,
            }),
            Err((cause, _record)) => {
                // A producer that may not write gives up as a whole, and its records say only that.
                let fatal = self.producer.client().fatal_error();
                let cause = fatal.map_or(cause, |(code, _)| KafkaError::MessageProduction(code));
                Err(Error::new(cause, &access, self.admin.commands()))
            }
        }
    }
}
