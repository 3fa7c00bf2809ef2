//! Messages over the network, up to ten in a request.

use std::sync::Arc;

use aws_sdk_sqs::operation::RequestId as _;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use serde_json::json;
use tokio::time::Instant;

use super::{Sqs, request};
use crate::config::settings::Settings;
use crate::domain::attempt::Report;
use crate::domain::outcome::Outcome;
use crate::egress::Guard;
use crate::sinks::aws::{self, Answer, Service};
use crate::sinks::{ClientsError, Outgoing, cloudevents};

/// The clients that all queues share.
#[derive(Debug)]
pub struct Client(aws::Clients<aws_sdk_sqs::Client>);

impl Client {
    pub(in crate::sinks) fn new(
        settings: &Settings,
        guard: Arc<Guard>,
    ) -> Result<Self, ClientsError> {
        aws::Clients::new(settings, guard, aws_sdk_sqs::Client::new).map(Self)
    }
}

impl Sqs {
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
        let message = match request::message(self, &outgoing, rendered) {
            Ok(message) => message,
            Err(unsendable) => return aws::unsendable(unsendable.reason, unsendable.words, started),
        };
        let answer = async {
            let sdk = client.0.get(&self.account).await;
            let (queue_url, own) = (Arc::clone(&self.queue_url), self.account.is_own());
            let deliver = move |entries| {
                let (sdk, queue_url) = (sdk.clone(), Arc::clone(&queue_url));
                aws::deliver(entries, move |entries| {
                    send_batch(sdk.clone(), Arc::clone(&queue_url), own, entries)
                })
            };
            self.batcher
                .send(message.entry, message.bytes, deliver)
                .await
        };
        aws::report(started, self.timeout, answer).await
    }
}

/// Makes one request.
async fn send_batch(
    sdk: aws_sdk_sqs::Client,
    queue_url: Arc<str>,
    own: bool,
    mut entries: Vec<SendMessageBatchRequestEntry>,
) -> Result<Vec<Answer>, Answer> {
    let count = entries.len();
    for (place, entry) in entries.iter_mut().enumerate() {
        entry.id = place.to_string();
    }
    let request = sdk
        .send_message_batch()
        .queue_url(&*queue_url)
        .set_entries(Some(entries));
    match request.send().await {
        Ok(output) => Ok((0..count).map(|place| answer(&output, place)).collect()),
        Err(error) => Err(aws::of_error(&error, own)),
    }
}

/// What became of the entry at `place`. Pure.
pub(super) fn answer(output: &SendMessageBatchOutput, place: usize) -> Answer {
    let id = place.to_string();
    let request_id = output.request_id();
    if let Some(taken) = output.successful().iter().find(|taken| taken.id == id) {
        let said = json!({
            "MessageId": taken.message_id,
            "SequenceNumber": taken.sequence_number,
        });
        return aws::of_entry(None, request_id, &said);
    }
    match output.failed().iter().find(|failed| failed.id == id) {
        Some(failed) => {
            let said = json!({
                "Code": failed.code,
                "Message": failed.message,
                "SenderFault": failed.sender_fault,
            });
            let service = Service {
                code: &failed.code,
                message: failed.message.as_deref(),
                sender_fault: Some(failed.sender_fault),
            };
            aws::of_entry(Some(service), request_id, &said)
        }
        None => {
            let service = Service {
                code: "",
                message: Some("the answer does not name the message"),
                sender_fault: Some(false),
            };
            aws::of_entry(Some(service), request_id, &json!({}))
        }
    }
}
