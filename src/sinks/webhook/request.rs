//! The headers of one attempt. Pure.
//!
//! Names and values that no attempt changes are shared with the prepared sink.

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::{Key, Webhook};
use crate::domain::signature;
use crate::sinks::Outgoing;
use crate::sinks::attributes::{self, HOPS, TEST};
use crate::sinks::cloudevents::{Rendered, http_value};

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const EVENT_TYPE: HeaderName = HeaderName::from_static("webhook-event-type");
const ATTEMPT: HeaderName = HeaderName::from_static("webhook-attempt");
const REPLAY: HeaderName = HeaderName::from_static("webhook-replay");

/// A request that cannot be made; the words are for the destination's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unsendable(pub(super) &'static str);

/// Builds the headers of one attempt, signed for the body of `rendered` that goes with them.
///
/// # Errors
/// If all signing secrets have expired, or an identity of the event cannot stand in a header.
pub(super) fn headers(
    webhook: &Webhook,
    outgoing: &Outgoing<'_>,
    rendered: &Rendered<'_>,
) -> Result<HeaderMap, Unsendable> {
    let event = outgoing.event;
    let timestamp_s = outgoing.now_ms.div_euclid(1000);
    let mut headers = HeaderMap::with_capacity(webhook.headers.len() + 9 + rendered.attributes.len());
    for (name, value) in &webhook.headers {
        headers.insert(name.clone(), value.clone());
    }
    if !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, content_type(&rendered.content_type));
    }
    headers.insert(
        ID,
        identity(&event.id, "the event's id cannot stand in a header")?,
    );
    headers.insert(TIMESTAMP, HeaderValue::from(timestamp_s));
    headers.insert(
        EVENT_TYPE,
        identity(
            &event.event_type,
            "the event's type cannot stand in a header",
        )?,
    );
    headers.insert(ATTEMPT, HeaderValue::from(outgoing.attempt));
    let hops = u16::from(attributes::hops(outgoing));
    headers.insert(HeaderName::from_static(HOPS), HeaderValue::from(hops));
    if let Some(name) = outgoing.replay {
        headers.insert(
            REPLAY,
            identity(name, "the replay's name cannot stand in a header")?,
        );
    }
    if outgoing.is_test() {
        let test = HeaderName::from_static(TEST);
        headers.insert(test, HeaderValue::from_static("true"));
    }
    for (name, value) in &rendered.attributes {
        let unsendable = Unsendable("an attribute of the CloudEvent cannot stand in a header");
        let name = HeaderName::try_from(format!("ce-{name}")).map_err(|_no_name| unsendable)?;
        let value = HeaderValue::try_from(&*http_value(value)).map_err(|_no_value| unsendable)?;
        headers.insert(name, value);
    }
    let body = rendered.body.as_deref().unwrap_or_default();
    if body.is_empty() {
        // hyper sends none for an empty body; a POST should have one: RFC 9110, 8.6.
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if !webhook.keys.is_empty() {
        let mut keys = webhook
            .keys
            .iter()
            .filter(|key| key.is_valid(outgoing.now_ms))
            .peekable();
        if keys.peek().is_none() {
            return Err(Unsendable(
                "all signing secrets of the destination have expired",
            ));
        }
        let keys = keys.map(|key| &key.signing);
        let signatures = signature::signatures(keys, &event.id, timestamp_s, body);
        let value = HeaderValue::try_from(signatures);
        headers.insert(
            SIGNATURE,
            value.map_err(|_not_base64| Unsendable("no signature could be made"))?,
        );
    }
    Ok(headers)
}

impl Key {
    fn is_valid(&self, now_ms: i64) -> bool {
        self.expires_at_ms.is_none_or(|end| now_ms < end)
    }
}

/// The event's own media type; bytes of which none can be told are just bytes.
fn content_type(declared: &str) -> HeaderValue {
    match declared {
        "application/json" => HeaderValue::from_static("application/json"),
        "" => HeaderValue::from_static("application/octet-stream"),
        other => HeaderValue::from_bytes(other.as_bytes())
            .unwrap_or(HeaderValue::from_static("application/octet-stream")),
    }
}

fn identity(text: &str, otherwise: &'static str) -> Result<HeaderValue, Unsendable> {
    // UTF-8 is sent as it is: RFC 9110 leaves bytes from 0x80 on to sender and receiver.
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_control_character| Unsendable(otherwise))
}
