//! Kafka destinations, against a second real broker.

use std::sync::{Arc, LazyLock};

use posthaste::domain::delivery::DeadLetterReason;
use posthaste::domain::outcome::Outcome;
use posthaste::wire::{RawRecord, dead_letter};
use serde_json::{Value, json};

use super::contract::{Arrived, Counterpart, Fault, contract};
use crate::support::events::NewEvent;
use crate::support::kafka::{Kafka, Sasl};
use crate::support::records::header;
use crate::support::scene::{Scene, with};
use crate::support::unique;

contract! {
    Broker,
    plays: [
        delivered_and_read_back_byte_for_byte,
        a_repeated_delivery_has_the_same_id,
        target_missing,
        wrong_credentials,
        target_down_and_back,
        slow_target,
        oversize,
        batch_with_one_bad_entry,
        configuration_changed_in_flight,
        shutdown_in_flight,
    ],
    leaves_out: [
        throttled: "a broker's quotas delay its answers and refuse nothing; slow_target shows what delay does, a unit test THROTTLING_QUOTA_EXCEEDED",
    ]
}

/// What the topics of the tests take at most.
const TOPIC_MAX: usize = 4000;

struct Broker {
    kafka: Arc<Kafka>,
    sasl: Sasl,
}

impl Broker {
    async fn topic(&self, name: &str) {
        let most = TOPIC_MAX.to_string();
        let properties = [("max.message.bytes", most.as_str())];
        self.kafka.create_topic(name, 3, &properties).await;
    }
}

impl Counterpart for Broker {
    async fn start(alone: bool) -> Self {
        static SHARED: LazyLock<Arc<Kafka>> = LazyLock::new(|| Kafka::start(&["--sasl"]));
        let kafka = if alone {
            Kafka::start(&["--sasl"])
        } else {
            Arc::clone(&SHARED)
        };
        let sasl = kafka.sasl.clone().expect("a secured listener");
        Self { kafka, sasl }
    }

    async fn target(&self) -> Value {
        let topic = unique("target");
        self.topic(&topic).await;
        let ca = std::fs::read_to_string(&self.sasl.ca).expect("the authority's certificate");
        json!({
            "type": "kafka",
            "brokers": self.sasl.bootstrap,
            "topic": topic,
            "tls": {"ca": ca},
            "auth": {
                "type": "sasl",
                "mechanism": "SCRAM-SHA-512",
                "username": self.sasl.user,
                "password": self.sasl.password
            },
            "timeout": "2s"
        })
    }

    async fn arrived(&self, sink: &Value) -> Vec<Arrived> {
        let topic = sink["topic"].as_str().expect("a topic");
        let records = self.kafka.read_all(topic).await;
        records.iter().map(arrived).collect()
    }

    async fn inflict(&self, sink: &Value, fault: Fault) -> Value {
        match fault {
            Fault::Missing => with(sink, &json!({"topic": unique("missing")})),
            Fault::Credentials => with(sink, &json!({"auth": {"password": "wrong"}})),
            Fault::Down => {
                self.kafka.stop();
                sink.clone()
            }
            Fault::Slow => {
                self.kafka.freeze();
                sink.clone()
            }
            Fault::Throttled => unreachable!("left out"),
        }
    }

    async fn mend(&self, broken: &Value, sink: &Value, fault: Fault) -> Value {
        match fault {
            Fault::Missing => {
                self.topic(broken["topic"].as_str().expect("a topic")).await;
                broken.clone()
            }
            Fault::Down => {
                self.kafka.restart();
                sink.clone()
            }
            Fault::Slow => {
                self.kafka.thaw();
                sink.clone()
            }
            Fault::Credentials | Fault::Throttled => sink.clone(),
        }
    }

    fn limited(&self, sink: &Value) -> (Value, usize) {
        (with(sink, &json!({"record_max": "2000B"})), 2001)
    }

    /// The document says that the topic takes more than it does: the broker refuses the batch with the large record.
    async fn refusing(&self, sink: &Value, number: usize) -> (Value, NewEvent, Outcome) {
        let large = format!("\"{}\"", "x".repeat(TOPIC_MAX));
        let bad = NewEvent::numbered(number).body(large);
        (sink.clone(), bad, Outcome::Rejected)
    }
}

fn arrived(record: &RawRecord) -> Arrived {
    let text = |name| header(record, name).expect("a header");
    Arrived {
        id: text("event-id").to_owned(),
        event_type: text("event-type").to_owned(),
        attempt: text("posthaste-attempt").parse().expect("a number"),
        hops: text("posthaste-hops").parse().expect("a number"),
        body: record.value.as_deref().expect("a value").to_vec(),
    }
}

#[tokio::test]
async fn key_and_headers_pass_and_a_key_goes_where_the_java_client_would_put_it() {
    let (scene, broker) = (Scene::new("kafka-key").await, Broker::start(false).await);
    let sink = broker.target().await;
    scene.put("target", &json!({"sink": sink})).await;
    let _posthaste = scene.serve().await;
    let event = NewEvent::numbered(1)
        .key("order-21")
        .header("trace", *b"\xff\x00");
    let tombstone = NewEvent::numbered(2).key("order-21").null_body();
    scene.publish(&[event, tombstone]).await;
    scene.settled().await;
    let topic = sink["topic"].as_str().expect("a topic");
    let mut records = broker.kafka.read_all(topic).await;
    // Both are under way at once.
    records.sort_by_key(|one| one.value.is_none());
    // In any order: both were on their way at once.
    let nulls = records.iter().filter(|record| record.value.is_none());
    assert_eq!(
        (records.len(), nulls.count()),
        (2, 1),
        "a null value stays one"
    );
    for record in &records {
        assert_eq!(record.key.as_deref(), Some(&b"order-21"[..]));
        // murmur2("order-21") as Kafka's own client computes it, for three partitions.
        let lane = posthaste::domain::lane::murmur2(b"order-21") & 0x7fff_ffff;
        assert_eq!(u32::try_from(record.partition), Ok(lane % 3));
    }
    let mut headers = records.iter().flat_map(|record| &record.headers);
    let trace = headers.find(|(name, _)| &**name == "trace");
    let trace = trace.and_then(|(_, value)| value.as_deref());
    assert_eq!(trace, Some(&b"\xff\x00"[..]));
}

#[tokio::test]
async fn nothing_is_written_into_a_source_of_the_same_cluster() {
    let scene = Scene::on(Kafka::shared_secured(), "kafka-circle", 1).await;
    // The same cluster by another listener: only its id tells.
    let sasl = scene.kafka.sasl.clone().expect("a secured listener");
    let ca = std::fs::read_to_string(&sasl.ca).expect("the authority's certificate");
    let sink = json!({
        "type": "kafka",
        "brokers": sasl.bootstrap,
        "topic": scene.topic,
        "tls": {"ca": ca},
        "auth": {"type": "sasl", "mechanism": "SCRAM-SHA-512", "username": sasl.user, "password": sasl.password}
    });
    scene.put("circle", &json!({"sink": sink})).await;
    let _posthaste = scene.serve().await;
    scene.publish(&[NewEvent::numbered(1)]).await;
    let mut letters = scene.kafka.follow(&scene.own("dead-letter"));
    let letters = letters.until("a dead letter", |found| !found.is_empty());
    let letter = letters.await.first().expect("there is one").clone();
    let letter = dead_letter::decode(&letter).expect("a dead letter");
    assert_eq!(letter.reason, DeadLetterReason::Refused);
    assert!(letter.detail.contains("circle"), "{}", letter.detail);
    assert_eq!(scene.kafka.ends(&scene.topic), [(0, 1)].into());
}

#[tokio::test]
async fn an_event_that_goes_round_is_dead_lettered_after_eight_hops() {
    let (scene, broker) = (Scene::new("kafka-hops").await, Broker::start(false).await);
    let sink = broker.target().await;
    scene.put("target", &json!({"sink": sink})).await;
    let _posthaste = scene.serve().await;
    let hops = |number, hops: &str| NewEvent::numbered(number).header("posthaste-hops", hops);
    scene.publish(&[hops(1, "8"), hops(2, "7")]).await;
    scene.settled().await;
    let arrived = broker.arrived(&sink).await;
    let told: Vec<_> = arrived.iter().map(|one| (&*one.id, one.hops)).collect();
    assert_eq!(told, [("e-00002", 8)]);
    let letters = scene.kafka.read_all(&scene.own("dead-letter")).await;
    let reasons: Vec<_> = letters.iter().map(|one| header(one, "reason")).collect();
    assert_eq!(reasons, [Some("loop")]);
}
