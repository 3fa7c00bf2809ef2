//! Events as a platform would publish them.

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::FutureRecord;

/// A record for a source topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewEvent {
    /// `None`: the scene's source topic.
    pub(crate) topic: Option<String>,
    /// `None`: chosen by the key.
    pub(crate) partition: Option<i32>,
    /// When it happened, in milliseconds since 1970; `None`: now.
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl NewEvent {
    /// The event `e-<number>` of type `order.paid` with a small JSON body that tells its number.
    pub(crate) fn numbered(number: usize) -> Self {
        Self::new(&event_id(number)).body(format!(r#"{{"number": {number}}}"#))
    }

    /// The event `id` of type `order.paid`, keyed by its id, with a small JSON body.
    pub(crate) fn new(id: &str) -> Self {
        Self::bare(format!(r#"{{"id": "{id}"}}"#))
            .key(id)
            .header("event-id", id)
            .header("event-type", "order.paid")
    }

    /// A value and nothing else.
    pub(crate) fn bare(value: impl Into<Vec<u8>>) -> Self {
        Self {
            topic: None,
            partition: None,
            timestamp_ms: None,
            key: None,
            value: Some(value.into()),
            headers: Vec::new(),
        }
    }

    pub(crate) fn to(mut self, topic: &str) -> Self {
        self.topic = Some(topic.to_owned());
        self
    }

    pub(crate) fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    pub(crate) fn at(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    pub(crate) fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    pub(crate) fn body(mut self, value: impl Into<Vec<u8>>) -> Self {
        self.value = Some(value.into());
        self
    }

    pub(crate) fn null_body(mut self) -> Self {
        self.value = None;
        self
    }

    /// Replaces the type.
    pub(crate) fn of_type(mut self, event_type: &str) -> Self {
        self.headers.retain(|(name, _)| name != "event-type");
        self.header("event-type", event_type)
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), Some(value.into())));
        self
    }

    pub(crate) fn null_header(mut self, name: &str) -> Self {
        self.headers.push((name.to_owned(), None));
        self
    }

    /// Its event id, where a header tells it.
    pub(crate) fn id(&self) -> &str {
        self.headers
            .iter()
            .find(|(name, _)| name == "event-id")
            .and_then(|(_, value)| value.as_deref())
            .and_then(|value| std::str::from_utf8(value).ok())
            .unwrap_or_default()
    }

    pub(super) fn record<'a>(&'a self, topic: &'a str) -> FutureRecord<'a, [u8], [u8]> {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &self.headers {
            let value = value.as_ref();
            headers = headers.insert(Header { key, value });
        }
        let mut record = FutureRecord::to(topic).headers(headers);
        record.key = self.key.as_deref();
        record.payload = self.value.as_deref();
        record.partition = self.partition;
        record.timestamp = self.timestamp_ms;
        record
    }
}

/// The id of an event by number; ids sort as their numbers do.
pub(crate) fn event_id(number: usize) -> String {
    format!("e-{number:05}")
}

/// Events `e-<number>` for all numbers of a range.
pub(crate) fn numbered(numbers: impl IntoIterator<Item = usize>) -> Vec<NewEvent> {
    numbers.into_iter().map(NewEvent::numbered).collect()
}
