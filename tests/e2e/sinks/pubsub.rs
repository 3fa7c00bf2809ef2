//! Pub/Sub, against Google's own fake behind a server that checks tokens and keeps limits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use google_cloud_pubsub::model::Message;
use posthaste::domain::outcome::Outcome;
use serde_json::{Value, json};

use super::contract::{Arrived, Counterpart, Fault, contract};
use crate::support::events::{NewEvent, event_id};
use crate::support::kafka::Kafka;
use crate::support::posthaste::Posthaste;
use crate::support::pubsub::PubSub;
use crate::support::relay::{Mode, Relay};
use crate::support::scene::{Scene, with};
use crate::support::{unique, wait};

contract! {
    Topics,
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

type Collected = Arc<Mutex<Vec<Message>>>;

struct Topics {
    server: Arc<PubSub>,
    relay: Relay,
    collected: Mutex<BTreeMap<String, Collected>>,
}

fn topic(sink: &Value) -> &str {
    sink["topic"].as_str().expect("a topic")
}

impl Topics {
    async fn messages(&self, sink: &Value) -> Vec<Message> {
        let collected = {
            let all = self.collected.lock().expect("no holder panics");
            Arc::clone(all.get(topic(sink)).expect("the topic was made"))
        };
        let taken = self.server.publishes(topic(sink)).await;
        let taken = taken.iter().filter(|publish| publish.code == "OK");
        let taken: usize = taken.map(|publish| publish.ids.len()).sum();
        wait::until("the subscriber has read what the server took", async || {
            let messages = collected.lock().expect("no holder panics");
            (messages.len() >= taken).then(|| messages.clone())
        })
        .await
    }
}

impl Counterpart for Topics {
    async fn start(alone: bool) -> Self {
        let server = if alone {
            PubSub::start()
        } else {
            PubSub::shared()
        };
        Self {
            relay: Relay::to(server.address),
            server,
            collected: Mutex::default(),
        }
    }

    async fn target(&self) -> Value {
        let id = unique("topic");
        let collected = self.server.topic(&id).await;
        let mut all = self.collected.lock().expect("no holder panics");
        all.insert(id.clone(), collected);
        PubSub::sink(&id, self.relay.address)
    }

    async fn arrived(&self, sink: &Value) -> Vec<Arrived> {
        self.messages(sink).await.iter().map(arrived).collect()
    }

    async fn inflict(&self, sink: &Value, fault: Fault) -> Value {
        match fault {
            Fault::Missing => return with(sink, &json!({"topic": unique("nothing")})),
            Fault::Credentials => return with(sink, &json!({"auth": PubSub::wrong_auth()})),
            Fault::Throttled => {
                let throttled = json!({"code": "RESOURCE_EXHAUSTED", "times": 1_000_000});
                self.server.fail(&throttled).await;
            }
            Fault::Down => self.relay.set(Mode::Shut),
            Fault::Slow => self.relay.set(Mode::Mute),
        }
        sink.clone()
    }

    async fn mend(&self, _broken: &Value, sink: &Value, fault: Fault) -> Value {
        self.relay.set(Mode::Open);
        if fault == Fault::Throttled {
            self.server.mend().await;
        }
        sink.clone()
    }

    fn limited(&self, sink: &Value) -> (Value, usize) {
        (sink.clone(), 10_000_000)
    }

    async fn refusing(&self, sink: &Value, number: usize) -> (Value, NewEvent, Outcome) {
        let bad = NewEvent::numbered(number);
        let topic = PubSub::name("topics", topic(sink));
        let fault =
            json!({"code": "INVALID_ARGUMENT", "topic": topic, "id": bad.id(), "times": 1_000_000});
        self.server.fail(&fault).await;
        (sink.clone(), bad, Outcome::Rejected)
    }
}

fn arrived(message: &Message) -> Arrived {
    let attribute = |name: &str| message.attributes.get(name).cloned().unwrap_or_default();
    Arrived {
        id: attribute("event-id"),
        event_type: attribute("event-type"),
        attempt: attribute("posthaste-attempt").parse().expect("a number"),
        hops: attribute("posthaste-hops").parse().expect("a number"),
        body: message.data.to_vec(),
    }
}

/// A destination of a topic of its own, and what comes to it.
struct Ordered {
    topics: Topics,
    scene: Scene,
    sink: Value,
}

impl Ordered {
    async fn new(what: &str) -> Self {
        let topics = Topics::start(false).await;
        let sink = with(&topics.target().await, &json!({"ordering_key": true}));
        let scene = Scene::on(Kafka::shared(), what, 1).await;
        let document = json!({
            "sink": sink,
            "retry": {"policy": "schedule", "delays": ["300ms"], "max_attempts": 40, "jitter": 0.0}
        });
        scene.put("topic", &document).await;
        Self {
            topics,
            scene,
            sink,
        }
    }

    async fn until_settled(&self, events: &[NewEvent]) -> Vec<Message> {
        self.scene.publish(events).await;
        let _posthaste = Posthaste::start(&self.scene.settings()).await;
        self.scene.settled().await;
        wait::until("all events", async || {
            let messages = self.topics.messages(&self.sink).await;
            (messages.len() >= events.len()).then_some(messages)
        })
        .await
    }
}

#[tokio::test]
async fn an_event_s_key_is_its_ordering_key() {
    let ordered = Ordered::new("ordering").await;
    let keyed = NewEvent::numbered(0).key("customer-1");
    let binary = NewEvent::numbered(1).key(*b"\xff\x00");
    let mut without = NewEvent::numbered(2);
    without.key = None;
    let messages = ordered.until_settled(&[keyed, binary, without]).await;
    let mut keys: Vec<(String, String)> = messages
        .iter()
        .map(|message| (arrived(message).id, message.ordering_key.clone()))
        .collect();
    keys.sort();
    let expected = [(0, "customer-1"), (1, "/wA="), (2, "")];
    assert_eq!(keys, expected.map(|(n, key)| (event_id(n), key.to_owned())));
}

#[tokio::test]
async fn an_ordering_key_goes_on_after_a_failure() {
    let ordered = Ordered::new("ordering-failure").await;
    let topic = PubSub::name("topics", topic(&ordered.sink));
    let fault = json!({"code": "UNAVAILABLE", "topic": topic, "times": 3});
    ordered.topics.server.fail(&fault).await;
    let events: Vec<_> = (0..20)
        .map(|number| NewEvent::numbered(number).key("customer-1"))
        .collect();
    let messages = ordered.until_settled(&events).await;
    assert_eq!(messages.len(), 20);
    assert!(
        messages
            .iter()
            .all(|message| message.ordering_key == "customer-1")
    );
    let requests = ordered
        .topics
        .server
        .publishes(self::topic(&ordered.sink))
        .await;
    let failed = requests
        .iter()
        .filter(|request| request.code == "Unavailable");
    assert_eq!(
        failed.count(),
        3,
        "nothing is repeated but by our own retries"
    );
}

#[tokio::test]
async fn events_that_come_together_leave_together() {
    let topics = Topics::start(false).await;
    let sink = topics.target().await;
    let scene = Scene::on(Kafka::shared(), "batches", 1).await;
    let document = json!({"sink": sink, "delivery": {"concurrency": 100}});
    scene.put("topic", &document).await;
    let events: Vec<_> = (0..200).map(NewEvent::numbered).collect();
    scene.publish(&events).await;
    let _posthaste = Posthaste::start(&scene.settings()).await;
    scene.settled().await;
    let requests = topics.server.publishes(topic(&sink)).await;
    let sent: usize = requests.iter().map(|request| request.ids.len()).sum();
    assert_eq!(sent, 200);
    assert!(requests.len() < 100, "{} requests", requests.len());
    assert!(
        requests
            .iter()
            .all(|request| request.keys.iter().all(String::is_empty))
    );
}
