//! Kafka, beside a loop of rdkafka's `FutureProducer` with the same guarantees.

use std::time::Duration;

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};

use crate::{Scenario, service};

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

    async fn send(producer: &mut FutureProducer, body: &Bytes) {
        let record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(TOPIC).payload(body);
        let sent = producer.send(record, Duration::from_secs(10)).await;
        sent.expect("the broker acknowledges it");
    }
}
