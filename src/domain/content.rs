//! What filters are asked about: an event's body and its envelope as JSON.
//!
//! Parts come from a record as it lies in the client's buffer; [`super::subscription_index`] asks for what its candidates'
//! filters need.
//!
//! Invariant: nothing is parsed or built before it is asked for, and nothing twice.

use std::cell::OnceCell;
use std::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::destination::Scope;
use super::filter::json::{Document, Item, Kind, Malformed, Object};

/// What is known of an event before a filter asks; all borrowed.
#[derive(Clone, Copy)]
pub struct Parts<'e> {
    /// Tells the event's id; asked only for the envelope.
    pub id: &'e dyn Fn() -> String,
    /// Its type.
    pub event_type: &'e str,
    /// Its source topic.
    pub topic: &'e str,
    /// When it happened, in milliseconds since 1970.
    pub time_ms: i64,
    /// The record's key.
    pub key: Option<&'e [u8]>,
    /// The record's headers, in their order.
    pub headers: &'e [(&'e str, Option<&'e [u8]>)],
    /// The record's value.
    pub body: Body<'e>,
}

impl fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("event_type", &self.event_type)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

/// A record's value, as far as its source says what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'e> {
    /// There is none: the value is null.
    None,
    /// Not to be looked into.
    Opaque,
    /// To be parsed.
    Json(&'e [u8]),
}

/// Why a body cannot be asked about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoJson {
    /// The value is null.
    #[error("the value is null")]
    None,
    /// It is not to be looked into.
    #[error("the value is not looked into: the format of its source is `bytes`")]
    Opaque,
    /// It does not parse.
    #[error("the value is not JSON: {} expected at byte {}", .0.expected, .0.at)]
    Malformed(Malformed),
}

/// An event's body and envelope, each made when it is first asked for.
#[derive(Debug)]
pub struct Content<'e> {
    parts: Parts<'e>,
    body: OnceCell<Result<Document<'e>, NoJson>>,
    envelope: OnceCell<Document<'e>>,
}

impl<'e> Content<'e> {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(parts: Parts<'e>) -> Self {
        Self {
            parts,
            body: OnceCell::new(),
            envelope: OnceCell::new(),
        }
    }

    /// The event's source topic.
    #[must_use]
    pub fn topic(&self) -> &'e str {
        self.parts.topic
    }

    /// The event's type.
    #[must_use]
    pub fn event_type(&self) -> &'e str {
        self.parts.event_type
    }

    /// What a filter of this scope is asked about.
    ///
    /// # Errors
    /// If it is the body and that is not JSON. An envelope there always is.
    pub fn item(&self, scope: Scope) -> Result<Item<'_>, &NoJson> {
        match scope {
            Scope::Body => self.body().as_ref().map(Document::root),
            Scope::Envelope => Ok(self.envelope.get_or_init(|| self.build()).root()),
        }
    }

    /// The body, which nobody has parsed.
    ///
    /// # Errors
    /// If there is none to parse.
    pub fn body_bytes(&self) -> Result<&'e [u8], NoJson> {
        match self.parts.body {
            Body::None => Err(NoJson::None),
            Body::Opaque => Err(NoJson::Opaque),
            Body::Json(bytes) => Ok(bytes),
        }
    }

    fn body(&self) -> &Result<Document<'e>, NoJson> {
        self.body.get_or_init(|| {
            let bytes = self.body_bytes()?;
            Document::parse(bytes).map_err(NoJson::Malformed)
        })
    }

    /// Kafka's null is JSON's null; what cannot be said in JSON is left out: a key or header that is not UTF-8, a body that
    /// is not JSON.
    fn build(&self) -> Document<'e> {
        let parts = &self.parts;
        let mut envelope = Object::new();
        envelope.scalar("id", Kind::Text((parts.id)().into()));
        envelope.scalar("type", Kind::Text(parts.event_type.into()));
        envelope.scalar("topic", Kind::Text(parts.topic.into()));
        if let Some(key) = text(parts.key) {
            envelope.scalar("key", key);
        }
        let nanoseconds = i128::from(parts.time_ms) * 1_000_000;
        let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok();
        if let Some(time) = time.and_then(|time| time.format(&Rfc3339).ok()) {
            envelope.scalar("time", Kind::Text(time.into()));
        }
        let mut headers = Object::new();
        for (name, value) in parts.headers {
            if let Some(value) = text(*value) {
                headers.scalar(*name, value);
            }
        }
        envelope.object("headers", headers);
        match self.body() {
            Ok(body) => envelope.document("data", body),
            Err(NoJson::None) => envelope.scalar("data", Kind::Null),
            Err(NoJson::Opaque | NoJson::Malformed(_)) => {}
        }
        envelope.into_document()
    }
}

fn text(bytes: Option<&[u8]>) -> Option<Kind<'_>> {
    match bytes {
        None => Some(Kind::Null),
        Some(bytes) => {
            let text = std::str::from_utf8(bytes).ok()?;
            Some(Kind::Text(text.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> String {
        "e-1".into()
    }

    fn parts(body: Body<'_>) -> Parts<'_> {
        Parts {
            id: &id,
            event_type: "order.paid",
            topic: "orders",
            time_ms: 1_769_846_400_123,
            key: Some(b"k\"1"),
            headers: &[
                ("x.y", Some(b"a")),
                ("x.y", Some(b"b")),
                ("none", None),
                ("raw", Some(b"\xff")),
            ],
            body,
        }
    }

    fn envelope(parts: Parts<'_>) -> String {
        let content = Content::new(parts);
        let item = content.item(Scope::Envelope).expect("always there");
        item.to_string()
    }

    #[test]
    fn an_envelope_holds_what_is_known_and_the_body() {
        assert_eq!(
            envelope(parts(Body::Json(br#" {"n": 1.50} "#))),
            r#"{"id":"e-1","type":"order.paid","topic":"orders","key":"k\"1","time":"2026-01-31T08:00:00.123Z","headers":{"x.y":"a","x.y":"b","none":null},"data":{"n":1.50}}"#
        );
    }

    #[test]
    fn of_a_header_that_is_given_twice_hookdeck_sees_the_last_and_the_others_see_both() {
        use crate::domain::filter::{Dialect, Filter};
        let content = Content::new(parts(Body::None));
        let item = content.item(Scope::Envelope).expect("always there");
        for (dialect, rule, first, second) in [
            (
                Dialect::EventBridge,
                r#"{"headers": {"x.y": ["?"]}}"#,
                true,
                true,
            ),
            (
                Dialect::Hookdeck,
                r#"{"headers": {"x.y": "?"}}"#,
                false,
                true,
            ),
            (Dialect::Shopify, r#""headers.x.y:?""#, true, true),
        ] {
            for (value, taken) in [("a", first), ("b", second), ("c", false)] {
                let rule = rule.replace('?', value);
                let filter = Filter::compile_text(dialect, rule.as_bytes()).expect("valid");
                assert_eq!(filter.matches(item), taken, "{rule}");
            }
        }
    }

    #[test]
    fn null_is_null_and_what_json_cannot_say_is_left_out() {
        for (key, body, shown) in [
            (
                None,
                Body::None,
                r#""key":null,"time":"1970-01-01T00:00:00Z","headers":{},"data":null}"#,
            ),
            (
                Some(&b"\xff"[..]),
                Body::Opaque,
                r#""topic":"orders","time":"1970-01-01T00:00:00Z","headers":{}}"#,
            ),
            (
                Some(b""),
                Body::Json(b"\x00"),
                r#""key":"","time":"1970-01-01T00:00:00Z","headers":{}}"#,
            ),
        ] {
            let parts = Parts {
                key,
                time_ms: 0,
                headers: &[],
                ..parts(body)
            };
            let found = envelope(parts);
            assert!(found.ends_with(shown), "{found}");
        }
    }

    #[test]
    fn a_body_that_is_not_json_says_what_is_wrong_and_where() {
        for (body, words) in [
            (Body::None, "the value is null"),
            (Body::Opaque, "`bytes`"),
            (
                Body::Json(b"{\"a\":1,}"),
                "not JSON: a name in quotes expected at byte 7",
            ),
            (Body::Json(b""), "expected at byte 0"),
            (Body::Json(b"{\"a\":\"\xff\"}"), "UTF-8 expected at byte 6"),
        ] {
            let content = Content::new(parts(body));
            let problem = content.item(Scope::Body).expect_err(words).to_string();
            assert!(problem.contains(words), "{problem}");
            content.item(Scope::Envelope).expect("there even so");
        }
    }
}
