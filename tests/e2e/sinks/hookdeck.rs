//! Hookdeck Event Gateway, against our own receiver, which answers as its Publish API is documented: it takes what comes
//! with the key of the project and the name of a source that is there.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use posthaste::domain::outcome::Outcome;
use serde_json::{Value, json};

use super::contract::{Arrived, Counterpart, Fault, contract};
use crate::support::events::NewEvent;
use crate::support::receiver::{Answer, Receiver, Request};
use crate::support::relay::{Mode, Relay};
use crate::support::scene::with;
use crate::support::unique;

contract! {
    Gateway,
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

const PATH: &str = "/v1/publish";

/// What the gateway answers by.
#[derive(Default)]
struct State {
    sources: BTreeSet<String>,
    throttled: bool,
    bad: Option<String>,
}

impl State {
    fn answer(&self, request: &Request) -> Answer {
        let source = request.header("x-hookdeck-source-name");
        let known = self.sources.contains(source);
        Answer::Status(match request.header("authorization") {
            "Bearer right" if !known => 404,
            "Bearer right" if self.throttled => 429,
            "Bearer right" if self.bad.as_deref() == Some(request.id()) => 422,
            "Bearer right" => 200,
            _ => 401,
        })
    }
}

struct Gateway {
    receiver: Receiver,
    relay: Relay,
    state: Arc<Mutex<State>>,
}

impl Gateway {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().expect("no holder panics"));
    }
}

impl Counterpart for Gateway {
    async fn start(_alone: bool) -> Self {
        let receiver = Receiver::start().await;
        let relay = Relay::to(receiver.address());
        let state = Arc::<Mutex<State>>::default();
        let answering = Arc::clone(&state);
        receiver.on(PATH, move |request| {
            answering.lock().expect("no holder panics").answer(request)
        });
        Self {
            receiver,
            relay,
            state,
        }
    }

    async fn target(&self) -> Value {
        let source = unique("source");
        self.change(|state| {
            state.sources.insert(source.clone());
        });
        let endpoint = format!("http://{}{PATH}", self.relay.address);
        json!({"type": "hookdeck", "source": source, "api_key": "right", "endpoint": endpoint, "timeout": "1s"})
    }

    async fn arrived(&self, sink: &Value) -> Vec<Arrived> {
        let source = sink["source"].as_str().expect("a source");
        let delivered = self.receiver.delivered(PATH);
        let own = delivered
            .iter()
            .filter(|request| request.header("x-hookdeck-source-name") == source);
        own.map(arrived).collect()
    }

    async fn inflict(&self, sink: &Value, fault: Fault) -> Value {
        match fault {
            Fault::Missing => return with(sink, &json!({"source": unique("nothing")})),
            Fault::Credentials => return with(sink, &json!({"api_key": "wrong"})),
            Fault::Throttled => self.change(|state| state.throttled = true),
            Fault::Down => self.relay.set(Mode::Shut),
            Fault::Slow => self.relay.set(Mode::Mute),
        }
        sink.clone()
    }

    async fn mend(&self, _broken: &Value, sink: &Value, _fault: Fault) -> Value {
        self.relay.set(Mode::Open);
        self.change(|state| state.throttled = false);
        sink.clone()
    }

    fn limited(&self, sink: &Value) -> (Value, usize) {
        (sink.clone(), 10 * 1024 * 1024 + 1)
    }

    async fn refusing(&self, sink: &Value, number: usize) -> (Value, NewEvent, Outcome) {
        let bad = NewEvent::numbered(number);
        self.change(|state| state.bad = Some(bad.id().to_owned()));
        (sink.clone(), bad, Outcome::Rejected)
    }
}

fn arrived(request: &Request) -> Arrived {
    Arrived {
        id: request.header("event-id").to_owned(),
        event_type: request.header("event-type").to_owned(),
        attempt: request
            .header("posthaste-attempt")
            .parse()
            .expect("a number"),
        hops: request.header("posthaste-hops").parse().expect("a number"),
        body: request.body.to_vec(),
    }
}
