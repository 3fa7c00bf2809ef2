//! Entries over the network, up to ten in a request.

use std::sync::Arc;

use aws_sdk_eventbridge::operation::RequestId as _;
use aws_sdk_eventbridge::operation::put_events::PutEventsOutput;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use serde_json::json;
use tokio::time::Instant;

use super::{EventBridge, request};
use crate::config::settings::Settings;
use crate::domain::attempt::Report;
use crate::domain::outcome::Outcome;
use crate::egress::Guard;
use crate::sinks::aws::{self, Answer, Service};
use crate::sinks::{ClientsError, Outgoing, cloudevents};

/// The clients that all buses share.
#[derive(Debug)]
pub struct Client(aws::Clients<aws_sdk_eventbridge::Client>);

impl Client {
    pub(in crate::sinks) fn new(
        settings: &Settings,
        guard: Arc<Guard>,
    ) -> Result<Self, ClientsError> {
        aws::Clients::new(settings, guard, aws_sdk_eventbridge::Client::new).map(Self)
    }
}

impl EventBridge {
    /// Makes one attempt.
    pub(in crate::sinks) async fn send(&self, client: &Client, outgoing: Outgoing<'_>) -> Report {
        let started = Instant::now();
        if let Some(words) = self.account.not_allowed() {
            return Report::without_answer(Outcome::Refused, words, started.elapsed());
        }
        let rendered = match cloudevents::render(self.cloudevents, outgoing.event) {
            Ok(rendered) => rendered,
            Err(malformed) => return malformed.report(started.elapsed()),
        };
        let entry = match request::entry(self, &outgoing, &rendered) {
            Ok(entry) => entry,
            Err(unsendable) => return aws::unsendable(unsendable.reason, unsendable.words, started),
        };
        let answer = async {
            let sdk = client.0.get(&self.account).await;
            let own = self.account.is_own();
            let deliver = move |entries| {
                let sdk = sdk.clone();
                aws::deliver(entries, move |entries| put(sdk.clone(), own, entries))
            };
            self.batcher.send(entry.entry, entry.bytes, deliver).await
        };
        aws::report(started, self.timeout, answer).await
    }
}

/// Makes one request.
async fn put(
    sdk: aws_sdk_eventbridge::Client,
    own: bool,
    entries: Vec<PutEventsRequestEntry>,
) -> Result<Vec<Answer>, Answer> {
    let count = entries.len();
    match sdk.put_events().set_entries(Some(entries)).send().await {
        Ok(output) => Ok((0..count).map(|place| answer(&output, place)).collect()),
        Err(error) => Err(aws::of_error(&error, own)),
    }
}

/// What became of the entry at `place`: the answer's entries stand in the order of the request's. Pure.
pub(super) fn answer(output: &PutEventsOutput, place: usize) -> Answer {
    let request_id = output.request_id();
    let entry = output.entries().get(place);
    let failed = |code, message| Service {
        code,
        message,
        sender_fault: None,
    };
    match entry {
        Some(entry) if entry.error_code.is_some() => {
            let (code, message) = (entry.error_code(), entry.error_message());
            let said = json!({"ErrorCode": code, "ErrorMessage": message});
            let service = failed(code.unwrap_or_default(), message);
            aws::of_entry(Some(service), request_id, &said)
        }
        Some(entry) if entry.event_id.is_some() => {
            let said = json!({"EventId": entry.event_id});
            aws::of_entry(None, request_id, &said)
        }
        _ => {
            let service = Service {
                sender_fault: Some(false),
                ..failed("", Some("the answer has neither an id nor an error for it"))
            };
            aws::of_entry(Some(service), request_id, &json!({}))
        }
    }
}
