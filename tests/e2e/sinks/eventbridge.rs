//! EventBridge, against ministack, and moto for what it does not play: buses that are missing, entries that fail alone.
//! Throttled by microburst. What a bus gets is read from a queue that a rule fills.

use std::collections::HashMap;
use std::sync::Mutex;

use posthaste::domain::outcome::Outcome;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::contract::{Arrived, Counterpart, Fault, contract};
use crate::support::aws::{Aws, KEYS, Queue, REGION};
use crate::support::events::NewEvent;
use crate::support::relay::{Mode, Relay};
use crate::support::scene::with;
use crate::support::settings::Settings;
use crate::support::unique;

contract! {
    Buses,
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

/// Buses of one ministack behind a relay.
struct Buses {
    aws: Aws,
    relay: Relay,
    moto: OnceCell<Aws>,
    /// In front, once it was needed.
    faults: Mutex<Option<Aws>>,
    buses: Mutex<HashMap<String, Bus>>,
}

/// Where what a bus gets is read, and what was read so far, since reading takes it out.
struct Bus {
    queue: Queue,
    moto: bool,
    arrived: Vec<Arrived>,
}

impl Buses {
    async fn moto(&self) -> &Aws {
        self.moto.get_or_init(Aws::moto).await
    }

    fn keep(&self, name: &str, queue: Queue, moto: bool) {
        let bus = Bus {
            queue,
            moto,
            arrived: Vec::new(),
        };
        let mut buses = self.buses.lock().expect("no panic");
        buses.insert(name.to_owned(), bus);
    }

    fn sink(&self, name: &str, endpoint: &str) -> Value {
        json!({
            "type": "eventbridge",
            "event_bus": name,
            "region": REGION,
            "endpoint": endpoint,
            "auth": {"type": "aws_keys", "access_key_id": KEYS.0, "secret_access_key": KEYS.1}
        })
    }
}

impl Counterpart for Buses {
    async fn start(_alone: bool) -> Self {
        let aws = Aws::ministack().await;
        let address = aws.url.trim_start_matches("http://").parse();
        Self {
            relay: Relay::to(address.expect("an address")),
            aws,
            moto: OnceCell::new(),
            faults: Mutex::default(),
            buses: Mutex::default(),
        }
    }

    fn settings(&self, settings: &mut Settings) {
        settings.set("aws.timeout", "1500ms");
    }

    async fn target(&self) -> Value {
        let name = unique("bus");
        let queue = self.aws.bus(&name).await;
        self.keep(&name, queue, false);
        self.sink(&name, &format!("http://{}", self.relay.address))
    }

    async fn arrived(&self, sink: &Value) -> Vec<Arrived> {
        let name = sink["event_bus"].as_str().expect("a name");
        let (queue, moto) = {
            let buses = self.buses.lock().expect("no panic");
            let bus = buses.get(name).expect("it was made");
            (bus.queue.clone(), bus.moto)
        };
        let aws = if moto { self.moto().await } else { &self.aws };
        let new: Vec<Arrived> = aws.drain(&queue).await.iter().map(arrived).collect();
        let mut buses = self.buses.lock().expect("no panic");
        let bus = buses.get_mut(name).expect("it was made");
        bus.arrived.extend(new);
        bus.arrived.clone()
    }

    async fn inflict(&self, sink: &Value, fault: Fault) -> Value {
        let mut broken = sink.clone();
        match fault {
            Fault::Missing => broken = self.sink("nowhere", &self.moto().await.url),
            Fault::Credentials => {
                broken = with(sink, &json!({"auth": {"access_key_id": "AKIAUNKNOWN"}}));
            }
            Fault::Throttled => {
                let faults = Aws::microburst(&self.aws.url).await;
                let rule = json!([{
                    "service": "events",
                    "operation": "PutEvents",
                    "error": {"code": "ThrottlingException"}
                }]);
                faults.faults(&rule).await;
                broken = with(sink, &json!({"endpoint": faults.url}));
                *self.faults.lock().expect("no panic") = Some(faults);
            }
            Fault::Down => self.relay.set(Mode::Shut),
            Fault::Slow => self.relay.set(Mode::Mute),
        }
        broken
    }

    async fn mend(&self, _broken: &Value, sink: &Value, _fault: Fault) -> Value {
        self.relay.set(Mode::Open);
        sink.clone()
    }

    /// Objects as this test writes what it reads: a bus parses them, and its event holds them parsed.
    fn bodies() -> Vec<Vec<u8>> {
        vec![
            r#"{"n":1.5,"e":"é 🦀","deep":{"list":[null,true,"\\"]}}"#
                .as_bytes()
                .to_vec(),
            b"{}".to_vec(),
        ]
    }

    fn limited(&self, sink: &Value) -> (Value, usize) {
        (sink.clone(), 1 << 20)
    }

    /// A number that is JSON and has more digits than moto reads.
    async fn refusing(&self, _sink: &Value, number: usize) -> (Value, NewEvent, Outcome) {
        let name = unique("bus");
        let moto = self.moto().await;
        let queue = moto.bus(&name).await;
        self.keep(&name, queue, true);
        let digits = "1".repeat(5000);
        let bad = NewEvent::numbered(number).body(format!("{{\"n\":{digits}}}"));
        (self.sink(&name, &moto.url), bad, Outcome::Rejected)
    }
}

fn arrived(message: &Value) -> Arrived {
    let body = message["Body"].as_str().expect("a body");
    let event: Value = serde_json::from_str(body).expect("JSON");
    let part = |name: &str| event.get(name).unwrap_or_else(|| panic!("no {name}"));
    let resources = part("resources").as_array().expect("resources");
    let told = |name: &str| {
        let mut told = resources.iter().filter_map(Value::as_str);
        told.find_map(|one| one.strip_prefix(name)?.strip_prefix(':'))
            .expect("it is told")
            .to_owned()
    };
    assert_eq!(part("source"), "posthaste");
    Arrived {
        id: told("event-id"),
        event_type: part("detail-type").as_str().expect("a type").to_owned(),
        attempt: told("posthaste-attempt").parse().expect("a number"),
        hops: told("posthaste-hops").parse().expect("a number"),
        body: part("detail").to_string().into_bytes(),
    }
}
