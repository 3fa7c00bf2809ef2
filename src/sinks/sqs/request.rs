//! The message of one attempt. Pure.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};

use super::Sqs;
use super::config::ATTRIBUTES_MAX;
use crate::domain::delivery::DeadLetterReason;
use crate::sinks::Outgoing;
use crate::sinks::attributes::{Attribute, attributes};
use crate::sinks::aws::BYTES_MAX;
use crate::sinks::cloudevents::Rendered;

/// Characters of a group's id and of a deduplication id at most.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
const ID_MAX: usize = 128;

/// An event that no message can carry; the words are for the destination's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unsendable {
    pub(super) reason: DeadLetterReason,
    pub(super) words: String,
}

/// A message, and its size as SQS counts it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    pub(super) entry: SendMessageBatchRequestEntry,
    pub(super) bytes: usize,
}

/// Builds the message of one attempt. What is no text is not sent: bodies are texts in SQS.
///
/// # Errors
/// If no message can carry the event.
pub(super) fn message(
    sqs: &Sqs,
    outgoing: &Outgoing<'_>,
    rendered: Rendered<'_>,
) -> Result<Message, Unsendable> {
    let malformed = |words: &str| Unsendable {
        reason: DeadLetterReason::Malformed,
        words: words.to_owned(),
    };
    let body = rendered.body.as_deref().unwrap_or_default();
    if body.is_empty() {
        return Err(malformed("the body is empty; SQS takes no empty message"));
    }
    let body = std::str::from_utf8(body)
        .map_err(|_bytes| malformed("the body is not UTF-8; SQS takes text only"))?;
    let told = told(sqs, outgoing, &rendered.attributes);
    if told.len() > ATTRIBUTES_MAX {
        return Err(malformed(&format!(
            "the message has {} attributes, SQS takes {ATTRIBUTES_MAX}",
            told.len()
        )));
    }
    let mut bytes = body.len();
    let mut values = HashMap::with_capacity(told.len());
    for (name, value) in told {
        let kind = if name.ends_with("-attempt") || name.ends_with("-hops") {
            "Number"
        } else {
            "String"
        };
        bytes += name.len() + kind.len() + value.len();
        let value = MessageAttributeValue::builder()
            .data_type(kind)
            .string_value(value)
            .build()
            .map_err(|_incomplete| malformed("an attribute cannot be written"))?;
        values.insert(name, value);
    }
    if bytes > BYTES_MAX {
        return Err(Unsendable {
            reason: DeadLetterReason::Oversize,
            words: format!("the message has {bytes} bytes, SQS takes {BYTES_MAX}"),
        });
    }
    let entry = SendMessageBatchRequestEntry::builder()
        // Its place in the request; set again there.
        .id("0")
        .message_body(body)
        .set_message_attributes(Some(values))
        .set_message_group_id(sqs.fifo.then(|| group(outgoing)))
        .set_message_deduplication_id(sqs.fifo.then(|| id(outgoing.event.id.as_bytes())))
        .build()
        .map_err(|_incomplete| malformed("the message cannot be written"))?;
    Ok(Message { entry, bytes })
}

/// Names and values of the attributes. Those of CloudEvents stand for ours that say the same.
fn told(sqs: &Sqs, outgoing: &Outgoing<'_>, ce: &[Attribute<'_>]) -> Vec<(String, String)> {
    let said = |name: &str| !ce.is_empty() && name.starts_with("event-");
    let mut told = Vec::with_capacity(ATTRIBUTES_MAX);
    for (name, value) in ce {
        told.push((format!("ce_{name}"), value.to_string()));
    }
    for (name, value) in attributes(outgoing) {
        if !said(&name) {
            told.push((name.into_owned(), value.into_owned()));
        }
    }
    told.extend(sqs.attributes.iter().cloned());
    // An empty value would make SQS refuse the message.
    told.retain(|(_, value)| !value.is_empty());
    told
}

/// The group within which a FIFO queue keeps the order: events with the same key; those without are all of one group.
fn group(outgoing: &Outgoing<'_>) -> String {
    match outgoing.event.key.as_ref().filter(|key| !key.is_empty()) {
        Some(key) => id(key),
        None => id(outgoing.destination.as_str().as_bytes()),
    }
}

/// Bytes as an id of SQS: as they are where they may stand there, else as their SHA-256.
fn id(bytes: &[u8]) -> String {
    let fits = (1..=ID_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    match std::str::from_utf8(bytes) {
        Ok(text) if fits => text.to_owned(),
        _ => hex(digest(&SHA256, bytes).as_ref()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
