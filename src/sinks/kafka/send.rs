//! One attempt.

use std::sync::Arc;
use std::time::Instant;

use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::BaseRecord;

use super::client::{Client, Producer, Properties};
use super::outcome::{self, Trouble};
use super::{Kafka, record};
use crate::domain::attempt::Report;
use crate::domain::delivery::DeadLetterReason;
use crate::domain::outcome::Outcome;
use crate::sinks::Outgoing;
use crate::sinks::cloudevents::{self, Rendered};

/// Why an attempt failed: its outcome, words for the destination's owner, and whether it is a dead letter at once.
struct Failed(Outcome, String, Option<DeadLetterReason>);

impl Failed {
    fn new(outcome: Outcome, words: impl Into<String>) -> Self {
        Self(outcome, words.into(), None)
    }

    fn oversize(words: String) -> Self {
        Self(Outcome::Rejected, words, Some(DeadLetterReason::Oversize))
    }
}

/// What a record is made of.
#[derive(Clone, Copy)]
struct Message<'a> {
    outgoing: &'a Outgoing<'a>,
    rendered: &'a Rendered<'a>,
}

impl<'a> Message<'a> {
    fn record(self, topic: &'a str) -> BaseRecord<'a, [u8], [u8]> {
        let headers = record::headers(self.outgoing, self.rendered);
        let mut record = BaseRecord::to(topic).headers(headers);
        record.key = self.outgoing.event.key.as_deref();
        record.payload = self.rendered.body.as_deref();
        record
    }
}

impl Kafka {
    /// Makes one attempt.
    pub(in crate::sinks) async fn send(&self, client: &Client, outgoing: Outgoing<'_>) -> Report {
        let started = Instant::now();
        let rendered = match cloudevents::render(self.cloudevents, outgoing.event) {
            Ok(rendered) => rendered,
            Err(malformed) => return malformed.report(started.elapsed()),
        };
        let message = Message {
            outgoing: &outgoing,
            rendered: &rendered,
        };
        match self.write(client, message).await {
            Ok(()) => Report {
                outcome: Outcome::Delivered,
                error: None,
                ..Report::without_answer(Outcome::Delivered, "", started.elapsed())
            },
            Err(Failed(outcome, words, dead_letter)) => Report {
                dead_letter,
                ..Report::without_answer(outcome, words, started.elapsed())
            },
        }
    }

    async fn write(&self, client: &Client, message: Message<'_>) -> Result<(), Failed> {
        let record = message.record(&self.topic);
        let bytes = record::size(&record);
        if bytes > self.record_max.0 {
            return Err(Failed::oversize(format!(
                "the record has up to {bytes} bytes, the destination takes {} (its field `record_max`)",
                self.record_max
            )));
        }
        self.check_brokers(client)?;
        let producer = producer(client, &self.properties)?;
        self.check_cluster(client, &producer).await?;
        let written = acknowledged(client, &self.properties, &producer, record).await;
        let Err(error) = written else {
            return Ok(());
        };
        let code = error.rdkafka_error_code();
        if !code.is_some_and(outcome::is_too_large) {
            return Err(failed(&error, producer.trouble()));
        }
        // The topic takes less than the destination says, and the broker refuses the whole batch: alone it tells.
        let alone = alone(&self.properties);
        let producer = self::producer(client, &alone)?;
        let record = message.record(&self.topic);
        let Err(error) = acknowledged(client, &alone, &producer, record).await else {
            return Ok(());
        };
        match error.rdkafka_error_code() {
            Some(code) if outcome::is_too_large(code) => Err(Failed::oversize(format!(
                "the record has up to {bytes} bytes, more than the topic takes (`max.message.bytes`)"
            ))),
            _ => Err(failed(&error, producer.trouble())),
        }
    }

    fn check_brokers(&self, client: &Client) -> Result<(), Failed> {
        for (host, port) in &self.brokers {
            if let Err(refusal) = client.guard.check_listed(host, *port) {
                client.guard.count(refusal);
                return Err(Failed::new(Outcome::Refused, refusal.to_string()));
            }
        }
        Ok(())
    }

    /// Sees to it that a topic of the name of one of ours is in another cluster.
    async fn check_cluster(&self, client: &Client, producer: &Producer) -> Result<(), Failed> {
        if !self.ours {
            return Ok(());
        }
        let Some(cluster) = producer.cluster(self.timeout).await else {
            let words = producer.trouble().words();
            let denied = producer.trouble() == Trouble::Credentials;
            let outcome = if denied { Outcome::Auth } else { Outcome::Network };
            return Err(Failed::new(outcome, words));
        };
        if client.home.get().is_none_or(|home| home == cluster) {
            let words = "the topic is a source of events, or one of the service's own, in this cluster: events would \
                         go round in a circle";
            return Err(Failed::new(Outcome::Refused, words));
        }
        Ok(())
    }
}

/// Writes a record; a producer that is of no use any more is not used again.
async fn acknowledged(
    client: &Client,
    properties: &Properties,
    producer: &Arc<Producer>,
    record: BaseRecord<'_, [u8], [u8]>,
) -> KafkaResult<()> {
    let written = producer.write(record).await;
    if written.is_err() && producer.is_fatal() {
        client.forget(properties, producer);
    }
    written
}

fn producer(client: &Client, properties: &Properties) -> Result<Arc<Producer>, Failed> {
    client.producer(properties).map_err(|error| {
        // Certificates and keys are the destination's; librdkafka repeats none of them.
        Failed::new(Outcome::Refused, format!("no client can be made of this configuration: {error}"))
    })
}

/// The same properties, one record at a time.
fn alone(properties: &Properties) -> Properties {
    let mut alone = properties.to_vec();
    alone.push(("batch.num.messages", "1".to_owned()));
    alone.into()
}

fn failed(error: &KafkaError, trouble: Trouble) -> Failed {
    let Some(code) = error.rdkafka_error_code() else {
        return Failed::new(Outcome::Internal, error.to_string());
    };
    let outcome = outcome::of_error(code, trouble);
    let words = match outcome {
        Outcome::Network | Outcome::Auth if trouble != Trouble::None => trouble.words().to_owned(),
        Outcome::Network => Trouble::None.words().to_owned(),
        _ => code.to_string(),
    };
    Failed::new(outcome, words)
}
