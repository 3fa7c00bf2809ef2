//! RabbitMQ destinations, against a real broker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use lapin::message::BasicGetMessage;
use lapin::types::AMQPValue;
use posthaste::domain::outcome::Outcome;
use posthaste::wire::attempt;
use serde_json::{Value, json};

use super::contract::{Arrived, Counterpart, Fault, contract};
use crate::support::events::NewEvent;
use crate::support::rabbitmq::RabbitMq;
use crate::support::relay::{Mode, Relay};
use crate::support::scene::{Scene, with};
use crate::support::{unique, wait};

contract! {
    Broker,
    plays: [
        delivered_and_read_back_byte_for_byte,
        a_repeated_delivery_has_the_same_id,
        target_missing,
        wrong_credentials,
        throttled,
        target_down_and_back,
        slow_target,
        oversize,
        batch_with_one_bad_entry,
        configuration_changed_in_flight,
        shutdown_in_flight,
    ],
    leaves_out: []
}

/// What the queues of the tests get.
const KEY: &str = "order.paid";

struct Broker {
    rabbitmq: Arc<RabbitMq>,
    relay: Relay,
    /// What was taken out of queues, by name.
    taken: Mutex<HashMap<String, Vec<Arrived>>>,
}

impl Broker {
    fn exchange(sink: &Value) -> &str {
        sink["exchange"].as_str().expect("an exchange")
    }
}

impl Counterpart for Broker {
    async fn start(_alone: bool) -> Self {
        let rabbitmq = RabbitMq::shared();
        let relay = Relay::to(rabbitmq.plain);
        Self {
            rabbitmq,
            relay,
            taken: Mutex::default(),
        }
    }

    async fn target(&self) -> Value {
        let name = unique("target");
        self.rabbitmq.declare(&name, KEY).await;
        json!({
            "type": "rabbitmq",
            "url": self.rabbitmq.url("amqp", self.relay.address),
            "exchange": name,
            "timeout": "1s"
        })
    }

    async fn arrived(&self, sink: &Value) -> Vec<Arrived> {
        let name = Self::exchange(sink);
        let fresh = self.rabbitmq.take_all(name).await;
        let mut taken = self.taken.lock().expect("no holder panics");
        let all = taken.entry(name.to_owned()).or_default();
        all.extend(fresh.iter().map(arrived));
        all.clone()
    }

    async fn inflict(&self, sink: &Value, fault: Fault) -> Value {
        match fault {
            Fault::Missing => return with(sink, &json!({"exchange": unique("missing")})),
            Fault::Credentials => {
                let url = sink["url"].as_str().expect("a URL");
                let wrong = url.replace(&self.rabbitmq.password, "wrong");
                return with(sink, &json!({"url": wrong}));
            }
            Fault::Throttled => {
                let name = Self::exchange(sink);
                let full = r#"{"max-length":0,"overflow":"reject-publish"}"#;
                let pattern = format!("^{name}$");
                self.rabbitmq.ctl(&["set_policy", name, &pattern, full]);
            }
            Fault::Down => self.relay.set(Mode::Shut),
            Fault::Slow => self.relay.set(Mode::Mute),
        }
        sink.clone()
    }

    async fn mend(&self, broken: &Value, sink: &Value, fault: Fault) -> Value {
        match fault {
            Fault::Missing => {
                self.rabbitmq.declare(Self::exchange(broken), KEY).await;
                return broken.clone();
            }
            Fault::Throttled => self.rabbitmq.ctl(&["clear_policy", Self::exchange(sink)]),
            Fault::Down | Fault::Slow => self.relay.set(Mode::Open),
            Fault::Credentials => {}
        }
        sink.clone()
    }

    fn limited(&self, sink: &Value) -> (Value, usize) {
        (with(sink, &json!({"message_max": "2000B"})), 2001)
    }

    /// No queue is bound for its type.
    async fn refusing(&self, sink: &Value, number: usize) -> (Value, NewEvent, Outcome) {
        let bad = NewEvent::numbered(number).of_type("order.odd");
        (sink.clone(), bad, Outcome::NotFound)
    }
}

/// A header as text.
fn header(message: &BasicGetMessage, name: &str) -> Option<String> {
    let headers = message.properties.headers().as_ref()?;
    match headers.inner().get(name)? {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
        _ => None,
    }
}

fn arrived(message: &BasicGetMessage) -> Arrived {
    let text = |name| header(message, name).expect("a header");
    Arrived {
        id: text("event-id"),
        event_type: text("event-type"),
        attempt: text("posthaste-attempt").parse().expect("a number"),
        hops: text("posthaste-hops").parse().expect("a number"),
        body: message.data.clone(),
    }
}

#[tokio::test]
async fn a_message_over_tls_is_persistent_and_says_what_it_is() {
    let (scene, broker) = (Scene::new("rabbitmq-tls").await, Broker::start(false).await);
    let rabbitmq = &broker.rabbitmq;
    let sink = broker.target().await;
    let ca = std::fs::read_to_string(&rabbitmq.ca).expect("the authority's certificate");
    let encrypted = with(
        &sink,
        &json!({
            "url": rabbitmq.url("amqps", rabbitmq.tls),
            "tls": {"ca": ca},
            "routing_key": "order.{tenant}",
            "cloudevents": "binary"
        }),
    );
    let name = Broker::exchange(&sink);
    rabbitmq.declare(name, "order.default").await;
    scene.put("target", &json!({"sink": encrypted})).await;
    let _posthaste = scene.serve().await;
    let event = NewEvent::numbered(1)
        .at(1_769_846_400_250)
        .header("trace", "1")
        .header("CC", "elsewhere");
    scene.publish(&[event]).await;
    scene.settled().await;
    let messages = rabbitmq.take_all(name).await;
    let [message] = messages.as_slice() else {
        panic!("one message, not {messages:?}");
    };
    let properties = &message.properties;
    assert_eq!(properties.delivery_mode(), &Some(2));
    let text = |value: &Option<lapin::types::ShortString>| value.as_ref().map(ToString::to_string);
    assert_eq!(text(properties.message_id()).as_deref(), Some("e-00001"));
    assert_eq!(text(properties.kind()).as_deref(), Some("order.paid"));
    assert_eq!(
        text(properties.content_type()).as_deref(),
        Some("application/json")
    );
    assert_eq!(properties.timestamp(), &Some(1_769_846_400));
    assert_eq!(message.routing_key.as_str(), "order.default");
    assert_eq!(header(message, "trace").as_deref(), Some("1"));
    assert_eq!(header(message, "CC"), None, "the broker would obey it");
    assert_eq!(
        header(message, "cloudEvents_id").as_deref(),
        Some("e-00001")
    );
}

#[tokio::test]
async fn a_broker_without_memory_delays_and_loses_nothing() {
    let scene = Scene::new("rabbitmq-memory").await;
    let rabbitmq = RabbitMq::start();
    let name = unique("target");
    rabbitmq.declare(&name, KEY).await;
    rabbitmq.ctl(&["set_vm_memory_high_watermark", "0"]);
    let sink = json!({
        "type": "rabbitmq",
        "url": rabbitmq.url("amqp", rabbitmq.plain),
        "exchange": name,
        "timeout": "1s"
    });
    let retry =
        json!({"policy": "schedule", "delays": ["300ms"], "max_attempts": 20, "jitter": 0.0});
    scene
        .put("target", &json!({"sink": sink, "retry": retry}))
        .await;
    let _posthaste = scene.serve().await;
    scene.publish(&[NewEvent::numbered(1)]).await;
    let mut attempts = scene.kafka.follow(&scene.own("attempts"));
    attempts
        .until("an attempt that was blocked", |records| {
            let values = records.iter().filter_map(|one| one.value.as_deref());
            let mut outcomes =
                values.filter_map(|value| Some(attempt::decode(value).ok()?.outcome));
            outcomes.any(|outcome| outcome == Outcome::Throttled)
        })
        .await;
    rabbitmq.ctl(&["set_vm_memory_high_watermark", "0.4"]);
    let message = wait::until("the message", async || {
        rabbitmq.take_all(&name).await.into_iter().next()
    });
    assert_eq!(arrived(&message.await).id, "e-00001");
}
