//! The message of one attempt, and whether Pub/Sub takes its like. Pure.
//! <https://cloud.google.com/pubsub/quotas#resource_limits>

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use google_cloud_pubsub::model::Message;

use super::PubSub;
use crate::sinks::Outgoing;
use crate::sinks::attributes::attributes;
use crate::sinks::cloudevents::Rendered;

/// Bytes of one request to publish, and so of one message with all around it.
pub(super) const REQUEST_MAX: usize = 10_000_000;

/// Messages of one request.
pub(super) const MESSAGES_MAX: u32 = 1000;

/// Attributes of one message.
pub(super) const ATTRIBUTES_MAX: usize = 100;

/// Bytes of an attribute's name.
pub(super) const NAME_MAX: usize = 256;

/// Bytes of an attribute's value.
pub(super) const VALUE_MAX: usize = 1024;

/// Bytes of an ordering key.
pub(super) const ORDERING_KEY_MAX: usize = 1024;

/// What tags and lengths add for each part of a message at most.
const FRAMING: usize = 16;

/// What a prefix of names stands for that the service keeps for itself.
pub(super) const RESERVED_PREFIX: &str = "goog";

/// A message that Pub/Sub would refuse for its size; the words name the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Oversize(pub(super) String);

/// Makes the message of one attempt.
///
/// # Errors
/// If it is beyond one of the service's limits.
pub(super) fn message(
    sink: &PubSub,
    outgoing: &Outgoing<'_>,
    rendered: Rendered<'_>,
) -> Result<Message, Oversize> {
    let mut named: Vec<(String, String)> = sink.attributes.clone();
    let own = attributes(outgoing).into_iter();
    named.extend(own.map(|(name, value)| (name.into_owned(), value.into_owned())));
    if !rendered.content_type.is_empty() {
        named.push((
            "content-type".to_owned(),
            rendered.content_type.into_owned(),
        ));
    }
    let events = rendered.attributes.into_iter();
    named.extend(events.map(|(name, value)| (format!("ce-{name}"), value.into_owned())));
    let data = rendered.body.unwrap_or_default();
    let ordering_key = match &outgoing.event.key {
        Some(key) if sink.ordering_key => text(key),
        _ => String::new(),
    };
    check(&sink.topic, &named, &data, &ordering_key)?;
    Ok(Message::new()
        .set_data(data)
        .set_attributes(named)
        .set_ordering_key(ordering_key))
}

/// A key as the text that an ordering key has to be: as it is, or in base64.
fn text(key: &Bytes) -> String {
    match std::str::from_utf8(key) {
        Ok(text) => text.to_owned(),
        Err(_binary) => STANDARD.encode(key),
    }
}

fn check(
    topic: &str,
    attributes: &[(String, String)],
    data: &[u8],
    ordering_key: &str,
) -> Result<(), Oversize> {
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(Oversize(format!(
            "the message has {} attributes, Pub/Sub takes {ATTRIBUTES_MAX}",
            attributes.len()
        )));
    }
    for (name, value) in attributes {
        if name.len() > NAME_MAX {
            return Err(Oversize(format!(
                "the name of an attribute has {} bytes, Pub/Sub takes {NAME_MAX}",
                name.len()
            )));
        }
        if value.len() > VALUE_MAX {
            return Err(Oversize(format!(
                "the attribute `{name}` has {} bytes, Pub/Sub takes {VALUE_MAX}",
                value.len()
            )));
        }
    }
    if ordering_key.len() > ORDERING_KEY_MAX {
        return Err(Oversize(format!(
            "the ordering key has {} bytes, Pub/Sub takes {ORDERING_KEY_MAX}",
            ordering_key.len()
        )));
    }
    let named: usize = attributes
        .iter()
        .map(|(name, value)| name.len() + value.len() + FRAMING)
        .sum();
    let whole = topic.len() + data.len() + ordering_key.len() + named + 4 * FRAMING;
    if whole > REQUEST_MAX {
        return Err(Oversize(format!(
            "the message has {whole} bytes with its attributes, Pub/Sub takes {REQUEST_MAX}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_attribute(name: usize, value: usize) -> Result<(), Oversize> {
        let attribute = ("n".repeat(name), "v".repeat(value));
        check("t", &[attribute], b"", "")
    }

    #[test]
    fn each_limit_is_kept_and_named() {
        let many = |count: usize| vec![("n".to_owned(), String::new()); count];
        for (fits, beyond, limit) in [
            (
                check("t", &many(100), b"", ""),
                check("t", &many(101), b"", ""),
                "100",
            ),
            (check_attribute(256, 0), check_attribute(257, 0), "256"),
            (check_attribute(1, 1024), check_attribute(1, 1025), "1024"),
            (
                check("t", &[], b"", &"k".repeat(1024)),
                check("t", &[], b"", &"k".repeat(1025)),
                "1024",
            ),
            (
                check("t", &[], &vec![0; REQUEST_MAX - 65], ""),
                check("t", &[], &vec![0; REQUEST_MAX - 64], ""),
                "10000000",
            ),
        ] {
            assert_eq!(fits, Ok(()));
            let Err(Oversize(words)) = beyond else {
                panic!("beyond {limit}");
            };
            assert!(words.ends_with(&format!("Pub/Sub takes {limit}")), "{words}");
        }
    }

    #[test]
    fn a_key_that_is_no_text_is_told_in_base64() {
        assert_eq!(text(&Bytes::from_static(b"caf\xc3\xa9")), "caf\u{e9}");
        assert_eq!(text(&Bytes::from_static(b"\xff\x00")), "/wA=");
    }
}
