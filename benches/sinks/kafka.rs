//! Kafka, beside a loop of rdkafka's `FutureProducer` with the same guarantees.

use std::time::Duration;

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};

use crate::{Scenario, TOLD, service};

const TOPIC: &str = "target";

pub(crate) struct Kafka {
    bootstrap: String,
    producer: FutureProducer,
}

impl Scenario for Kafka {
    const NAME: &'static str = "kafka";
    type Bare = FutureProducer;

    async fn start() -> Self {
        let facts = service::start("kafka/start", &[]);
        let bootstrap = facts.get("bootstrap").expect("an address").clone();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &bootstrap);
        let admin: AdminClient<DefaultClientContext> = config.create().expect("a client");
        let topic = NewTopic::new(TOPIC, 4, TopicReplication::Fixed(1));
        let made = admin.create_topics(&[topic], &AdminOptions::new()).await;
        for result in made.expect("the broker answers") {
            result.expect("the topic is made");
        }
        let producer = config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("max.in.flight.requests.per.connection", "1")
            .set("linger.ms", "1")
            .set("partitioner", "murmur2_random")
            .create()
            .expect("a producer");
        Self {
            bootstrap,
            producer,
        }
    }

    fn sink(&self) -> Value {
        json!({"type": "kafka", "brokers": self.bootstrap, "topic": TOPIC})
    }

    async fn bare(&self) -> FutureProducer {
        self.producer.clone()
    }

    async fn send(producer: &mut FutureProducer, id: &str, body: &Bytes) {
        let mut headers = OwnedHeaders::new_with_capacity(8);
        for (key, value) in [("event-id", id)].into_iter().chain(TOLD) {
            let value = Some(value);
            headers = headers.insert(Header { key, value });
        }
        let record = FutureRecord::<str, [u8]>::to(TOPIC);
        let record = record.key(id).payload(body).headers(headers);
        let sent = producer.send(record, Duration::from_secs(10)).await;
        sent.expect("the broker acknowledges it");
    }
}
