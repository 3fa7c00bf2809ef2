//! Records of `dedicated`: which retry topic is a destination's own.
//!
//! Written by a lane's owner, read by everybody. Key `tenant/id`; value `{"topic": "…"}`; a tombstone where the
//! destination has none any more. Compacted. Unknown keys in the value are skipped.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{NewRecord, RawRecord, WireError, text};
use crate::domain::ids::DestinationId;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Whose topic.
    pub destination: DestinationId,
    /// Its name; `None`: there is none any more.
    pub topic: Option<Box<str>>,
}

#[derive(Serialize, Deserialize)]
struct Document<'a> {
    topic: Cow<'a, str>,
}

/// Writes that `topic` belongs to `destination`; `None` writes the tombstone.
#[must_use]
pub fn encode(destination: &DestinationId, topic: Option<&str>) -> NewRecord {
    let value = topic.map(|topic| {
        let document = Document {
            topic: topic.into(),
        };
        Bytes::from(serde_json::to_vec(&document).expect("strings are JSON"))
    });
    NewRecord {
        key: Some(Bytes::copy_from_slice(destination.as_str().as_bytes())),
        value,
        headers: Vec::new(),
    }
}

/// Reads a record of `dedicated`.
///
/// # Errors
/// If the key is no destination, or the value is no such document or names what cannot be a topic.
pub fn decode(record: &RawRecord) -> Result<Announcement, WireError> {
    let key = text("key", record.key.as_deref())?;
    let destination = DestinationId::parse(key)
        .map_err(|source| WireError::Name {
            what: "key",
            source,
        })
        .and_then(|id| {
            // A key without its tenant would be compacted apart from the full one.
            if id.as_str() == key {
                Ok(id)
            } else {
                Err(WireError::Form {
                    what: "key",
                    problem: format!("`{key}` is not of the form tenant/id"),
                })
            }
        })?;
    let topic = match record.value.as_deref() {
        None => None,
        Some(value) => {
            let document: Document<'_> =
                serde_json::from_slice(value).map_err(|source| WireError::Json {
                    what: "value",
                    source,
                })?;
            if !is_topic_name(&document.topic) {
                return Err(WireError::Form {
                    what: "value",
                    problem: "names no topic; allowed are 1 to 249 of [a-zA-Z0-9._-]".to_owned(),
                });
            }
            Some(document.topic.into())
        }
    };
    Ok(Announcement { destination, topic })
}

/// Kafka's rule: <https://github.com/apache/kafka/blob/4.1/clients/src/main/java/org/apache/kafka/common/internals/Topic.java>.
fn is_topic_name(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn crm() -> DestinationId {
        DestinationId::parse("acme/crm").expect("valid")
    }

    fn read(key: Option<&str>, value: Option<&str>) -> Result<Announcement, WireError> {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        decode(&samples::written(NewRecord {
            key: key.map(bytes),
            value: value.map(bytes),
            headers: Vec::new(),
        }))
    }

    #[test]
    fn topic_and_tombstone_are_pinned() {
        let topic = "posthaste.retry.acme.crm.0011aaff";
        let record = encode(&crm(), Some(topic));
        assert_eq!(record.key.as_deref(), Some(&b"acme/crm"[..]));
        assert_eq!(
            record.value.as_deref(),
            Some(&br#"{"topic":"posthaste.retry.acme.crm.0011aaff"}"#[..])
        );
        for (topic, record) in [(Some(topic.into()), record), (None, encode(&crm(), None))] {
            let destination = crm();
            assert_eq!(
                decode(&samples::written(record)).expect("just written"),
                Announcement { destination, topic }
            );
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (key, value, error) in [
            (None, None, "key is null"),
            (Some("crm"), None, "key `crm` is not of the form tenant/id"),
            (Some("a/b/c"), None, "key holds a name that cannot be"),
            (
                Some("a/b"),
                Some(""),
                "value does not hold the JSON that belongs there",
            ),
            (
                Some("a/b"),
                Some("{}"),
                "value does not hold the JSON that belongs there",
            ),
            (
                Some("a/b"),
                Some(r#"{"topic":".."}"#),
                "value names no topic; allowed are 1 to 249 of [a-zA-Z0-9._-]",
            ),
            (
                Some("a/b"),
                Some(r#"{"topic":"ü"}"#),
                "value names no topic; allowed are 1 to 249 of [a-zA-Z0-9._-]",
            ),
        ] {
            assert_eq!(read(key, value).expect_err(error).to_string(), error);
        }
        assert!(read(Some("a/b"), Some(r#"{"topic":"x","later":1}"#)).is_ok());
    }
}
