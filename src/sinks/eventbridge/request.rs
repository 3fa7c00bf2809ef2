//! The entry of one attempt. Pure.

use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::value::RawValue;

use super::EventBridge;
use super::config::DETAIL_TYPE_MAX;
use crate::domain::delivery::DeadLetterReason;
use crate::sinks::Outgoing;
use crate::sinks::attributes::attributes;
use crate::sinks::aws::BYTES_MAX;
use crate::sinks::cloudevents::Rendered;

/// What a time counts for in an entry's size.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html>
const TIME_BYTES: usize = 14;

/// An event that no entry can carry; the words are for the destination's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unsendable {
    pub(super) reason: DeadLetterReason,
    pub(super) words: String,
}

/// An entry, and its size as EventBridge counts it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) entry: PutEventsRequestEntry,
    pub(super) bytes: usize,
}

/// Builds the entry of one attempt. `Resources`, the only part of an entry that is free beside the body, has what is known
/// of the event, as `name:value`.
///
/// # Errors
/// If no entry can carry the event.
pub(super) fn entry(
    bus: &EventBridge,
    outgoing: &Outgoing<'_>,
    rendered: &Rendered<'_>,
) -> Result<Entry, Unsendable> {
    let event = outgoing.event;
    let detail_type = bus.detail_type.as_deref().unwrap_or(&event.event_type);
    let length = detail_type.chars().count();
    if length > DETAIL_TYPE_MAX {
        return Err(Unsendable {
            reason: DeadLetterReason::Malformed,
            words: format!(
                "the event's type has {length} characters, EventBridge takes {DETAIL_TYPE_MAX}; set `detail_type`"
            ),
        });
    }
    let detail = detail(rendered.body.as_deref().unwrap_or_default());
    let resources: Vec<String> = attributes(outgoing)
        .into_iter()
        .map(|(name, value)| format!("{name}:{value}"))
        .collect();
    let bytes = TIME_BYTES
        + bus.source.len()
        + detail_type.len()
        + detail.len()
        + resources.iter().map(String::len).sum::<usize>();
    if bytes >= BYTES_MAX {
        return Err(Unsendable {
            reason: DeadLetterReason::Oversize,
            words: format!("the entry has {bytes} bytes, EventBridge takes less than {BYTES_MAX}"),
        });
    }
    let entry = PutEventsRequestEntry::builder()
        .time(DateTime::from_millis(event.time_ms))
        .source(&*bus.source)
        .set_resources(Some(resources))
        .detail_type(detail_type)
        .detail(detail)
        .event_bus_name(&*bus.event_bus)
        .build();
    Ok(Entry { entry, bytes })
}

/// A body as a JSON object: as it is where it is one, else within one, as `data` where it is JSON or text and as
/// `data_base64` where not.
fn detail(body: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(body) else {
        return format!("{{\"data_base64\":\"{}\"}}", STANDARD.encode(body));
    };
    if text.is_empty() {
        return "{\"data\":null}".to_owned();
    }
    match serde_json::from_str::<&RawValue>(text) {
        Ok(json) if json.get().starts_with('{') => text.to_owned(),
        Ok(json) => format!("{{\"data\":{}}}", json.get()),
        Err(_not_json) => format!("{{\"data\":{}}}", Value::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_no_object_stands_in_one() {
        for (body, expected) in [
            (&b" {\"n\": 1.00,\t\"n\": 2} \n"[..], " {\"n\": 1.00,\t\"n\": 2} \n"),
            (b"{}", "{}"),
            (b"[1, 2.0]", "{\"data\":[1, 2.0]}"),
            (b" \"a\" ", "{\"data\":\"a\"}"),
            (b"12345678901234567890123", "{\"data\":12345678901234567890123}"),
            (b"null", "{\"data\":null}"),
            (b"", "{\"data\":null}"),
            (b"{\"n\": 1", "{\"data\":\"{\\\"n\\\": 1\"}"),
            (b"{} {}", "{\"data\":\"{} {}\"}"),
            ("\"ü\"\u{1}".as_bytes(), "{\"data\":\"\\\"ü\\\"\\u0001\"}"),
            (b"\xff\x00", "{\"data_base64\":\"/wA=\"}"),
        ] {
            assert_eq!(detail(body), expected);
            let read: Value = serde_json::from_str(&detail(body)).expect("JSON");
            assert!(read.is_object());
        }
    }
}
