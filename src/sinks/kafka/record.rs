//! The record of one attempt. Pure.
//!
//! Key, value and headers are the event's own; headers that we set replace those of the same name.

use rdkafka::message::{Header, Headers as _, OwnedHeaders};
use rdkafka::producer::BaseRecord;

use crate::sinks::Outgoing;
use crate::sinks::attributes::attributes;
use crate::sinks::cloudevents::Rendered;

/// The prefix of the attributes of a CloudEvent.
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md#3231-property-names>
const PREFIX: &str = "ce_";

/// What a record takes beside its key, value and headers, at most: the framing of a record and of the batch around it.
/// <https://kafka.apache.org/documentation/#recordbatch>
const FRAMING: usize = 61 + 21;

/// What a header takes beside its name and value, at most.
const HEADER_FRAMING: usize = 10;

/// The headers of one attempt.
pub(super) fn headers(outgoing: &Outgoing<'_>, rendered: &Rendered<'_>) -> OwnedHeaders {
    let mut ours: Vec<(String, &str)> = Vec::with_capacity(16);
    let told = attributes(outgoing);
    ours.extend(told.iter().map(|(name, value)| (name.to_string(), &**value)));
    if !rendered.content_type.is_empty() {
        ours.push(("content-type".to_owned(), &rendered.content_type));
    }
    for (name, value) in &rendered.attributes {
        ours.push((format!("{PREFIX}{name}"), value));
    }
    let own = &outgoing.event.headers;
    let mut headers = OwnedHeaders::new_with_capacity(own.len() + ours.len());
    for (name, value) in own {
        if ours.iter().all(|(known, _)| **known != **name) {
            headers = headers.insert(Header {
                key: name,
                value: value.as_deref(),
            });
        }
    }
    for (name, value) in &ours {
        headers = headers.insert(Header {
            key: name,
            value: Some(*value),
        });
    }
    headers
}

/// The bytes that a record takes at most.
pub(super) fn size(record: &BaseRecord<'_, [u8], [u8]>) -> usize {
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let headers = record.headers.as_ref().into_iter();
    let headers: usize = headers
        .flat_map(|headers| headers.iter())
        .map(|header| header.key.len() + length(header.value) + HEADER_FRAMING)
        .sum();
    FRAMING + length(record.key) + length(record.payload) + headers
}
