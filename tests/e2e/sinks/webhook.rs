//! Webhooks, against the receiver of the other tests.

use posthaste::domain::outcome::Outcome;
use serde_json::{Value, json};

use super::contract::{Arrived, Counterpart, Fault, contract};
use crate::support::events::NewEvent;
use crate::support::receiver::{Answer, Receiver, Request};
use crate::support::relay::{Mode, Relay};
use crate::support::settings::Settings;
use crate::support::unique;

contract! {
    Webhooks,
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

/// The largest body that the instances of these tests send.
const BODY_MAX: usize = 64 * 1024;

struct Webhooks {
    receiver: Receiver,
    relay: Relay,
}

impl Webhooks {
    fn path(&self, sink: &Value) -> String {
        let url = sink["url"].as_str().expect("a URL");
        url.replace(&self.url(""), "")
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.relay.address)
    }

    /// Answers so from now on, and those that are held.
    fn answer(&self, sink: &Value, answer: Answer) {
        self.receiver.on(&self.path(sink), move |_| answer.clone());
    }
}

impl Counterpart for Webhooks {
    async fn start(_alone: bool) -> Self {
        let receiver = Receiver::start().await;
        let relay = Relay::to(receiver.address());
        Self { receiver, relay }
    }

    fn settings(&self, settings: &mut Settings) {
        settings.set("webhook.body_max", format!("{BODY_MAX}B"));
    }

    async fn target(&self) -> Value {
        let url = self.url(&format!("/{}", unique("target")));
        json!({"type": "webhook", "url": url, "timeout": "1s"})
    }

    async fn arrived(&self, sink: &Value) -> Vec<Arrived> {
        let requests = self.receiver.delivered(&self.path(sink));
        requests.iter().map(arrived).collect()
    }

    async fn inflict(&self, sink: &Value, fault: Fault) -> Value {
        let answer = match fault {
            Fault::Missing => Answer::Status(404),
            Fault::Credentials => Answer::Status(401),
            Fault::Throttled => Answer::With(429, vec![("retry-after", "1".to_owned())]),
            Fault::Down | Fault::Slow => {
                let down = fault == Fault::Down;
                self.relay.set(if down { Mode::Shut } else { Mode::Mute });
                return sink.clone();
            }
        };
        self.answer(sink, answer);
        sink.clone()
    }

    async fn mend(&self, _broken: &Value, sink: &Value, _fault: Fault) -> Value {
        self.relay.set(Mode::Open);
        self.answer(sink, Answer::Status(204));
        sink.clone()
    }

    fn limited(&self, sink: &Value) -> (Value, usize) {
        (sink.clone(), BODY_MAX + 1)
    }

    async fn refusing(&self, sink: &Value, number: usize) -> (Value, NewEvent, Outcome) {
        let bad = NewEvent::numbered(number);
        let id = bad.id().to_owned();
        self.receiver.on(&self.path(sink), move |request| {
            Answer::Status(if request.id() == id { 422 } else { 204 })
        });
        (sink.clone(), bad, Outcome::Rejected)
    }
}

fn arrived(request: &Request) -> Arrived {
    let number = |name| request.header(name).parse().expect("a number");
    Arrived {
        id: request.id().to_owned(),
        event_type: request.header("webhook-event-type").to_owned(),
        attempt: number("webhook-attempt"),
        hops: u8::try_from(number("posthaste-hops")).expect("few hops"),
        body: request.body.to_vec(),
    }
}
