//! SQS, against ministack; throttled by microburst.

use std::collections::HashMap;
use std::sync::Mutex;

use posthaste::domain::outcome::Outcome;
use serde_json::{Value, json};

use super::contract::{Arrived, Counterpart, Fault, contract};
use crate::support::aws::{Aws, KEYS, Queue, REGION};
use crate::support::events::NewEvent;
use crate::support::relay::{Mode, Relay};
use crate::support::scene::with;
use crate::support::settings::Settings;
use crate::support::unique;

contract! {
    Queues,
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

/// Queues of one ministack behind a relay.
struct Queues {
    aws: Aws,
    relay: Relay,
    /// In front, once it was needed.
    faults: Mutex<Option<Aws>>,
    /// What was read, since reading takes it out.
    arrived: Mutex<HashMap<String, Vec<Arrived>>>,
}

impl Queues {
    fn sink(&self, path: &str) -> Value {
        json!({
            "type": "sqs",
            "queue_url": format!("http://{}{path}", self.relay.address),
            "region": REGION,
            "auth": {"type": "aws_keys", "access_key_id": KEYS.0, "secret_access_key": KEYS.1}
        })
    }
}

impl Counterpart for Queues {
    async fn start(_alone: bool) -> Self {
        let aws = Aws::ministack().await;
        let address = aws.url.trim_start_matches("http://").parse();
        Self {
            relay: Relay::to(address.expect("an address")),
            aws,
            faults: Mutex::default(),
            arrived: Mutex::default(),
        }
    }

    fn settings(&self, settings: &mut Settings) {
        settings.set("aws.timeout", "1500ms");
    }

    async fn target(&self) -> Value {
        let queue = self.aws.queue(&unique("queue")).await;
        self.sink(&queue.url.replace(&self.aws.url, ""))
    }

    async fn arrived(&self, sink: &Value) -> Vec<Arrived> {
        let url = sink["queue_url"].as_str().expect("a URL").to_owned();
        let queue = Queue {
            url: url.clone(),
            arn: String::new(),
        };
        let new: Vec<Arrived> = self.aws.drain(&queue).await.iter().map(arrived).collect();
        let mut all = self.arrived.lock().expect("no panic");
        let all = all.entry(url).or_default();
        all.extend(new);
        all.clone()
    }

    async fn inflict(&self, sink: &Value, fault: Fault) -> Value {
        let mut broken = sink.clone();
        match fault {
            Fault::Missing => broken = self.sink("/000000000000/nowhere"),
            Fault::Credentials => {
                broken = with(sink, &json!({"auth": {"access_key_id": "AKIAUNKNOWN"}}));
            }
            Fault::Throttled => {
                let faults = Aws::microburst(&self.aws.url).await;
                let rule = json!([{
                    "service": "sqs",
                    "operation": "SendMessageBatch",
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

    fn bodies() -> Vec<Vec<u8>> {
        vec![
            br#" {"n": 1.00, "e": "\u00e9"} "#.to_vec(),
            "[\"\u{20ac} \u{1f980}\"]".as_bytes().to_vec(),
            b"not JSON,\n\r\ttwo lines & <tags>".to_vec(),
        ]
    }

    fn limited(&self, sink: &Value) -> (Value, usize) {
        (sink.clone(), 1 << 20)
    }

    /// A character that SQS does not take.
    async fn refusing(&self, sink: &Value, number: usize) -> (Value, NewEvent, Outcome) {
        let bad = NewEvent::numbered(number).body("\u{1}");
        (sink.clone(), bad, Outcome::Rejected)
    }
}

fn arrived(message: &Value) -> Arrived {
    let attribute = |name: &str| {
        let value = message.pointer(&format!("/MessageAttributes/{name}/StringValue"));
        let value = value.and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    Arrived {
        id: attribute("event-id"),
        event_type: attribute("event-type"),
        attempt: attribute("posthaste-attempt").parse().expect("a number"),
        hops: attribute("posthaste-hops").parse().expect("a number"),
        body: message["Body"]
            .as_str()
            .expect("a body")
            .as_bytes()
            .to_vec(),
    }
}
