//! CloudEvents 1.0 as an option of every sink: the event's bytes with attributes beside them (binary), or an envelope
//! around them (structured). Pure.
//!
//! Comes in: an event, which may be a CloudEvent of either form already. Goes out: media type, body, and the attributes
//! that the sink writes with the prefix of its protocol.
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>
//!
//! Invariant: the data are the event's own bytes; they are looked into only where an envelope has to be put on or taken
//! off. A structured CloudEvent that is to be sent as one is not touched.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemars::{Schema, json_schema};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::attributes::{Attribute, rfc3339};
use super::fields::Fields;
use crate::domain::attempt::Report;
use crate::domain::delivery::DeadLetterReason;
use crate::domain::event::Event;
use crate::domain::outcome::Outcome;

/// The media type of the structured form.
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>
const STRUCTURED: &str = "application/cloudevents+json";

/// In which form events are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mode {
    /// As they are.
    #[default]
    Off,
    /// The data as they are, the attributes beside them.
    Binary,
    /// A JSON envelope.
    Structured,
}

/// Reads the field `cloudevents`.
pub(super) fn mode(fields: &mut Fields<'_>) -> Mode {
    match fields.text("cloudevents") {
        None => Mode::Off,
        Some("binary") => Mode::Binary,
        Some("structured") => Mode::Structured,
        Some(_) => {
            fields.fault("cloudevents", "is neither `binary` nor `structured`");
            Mode::Off
        }
    }
}

/// The schema of the field `cloudevents`.
pub(super) fn mode_schema() -> Schema {
    json_schema!({
        "description": "Sends CloudEvents 1.0: `binary` as attributes beside the body, `structured` as a JSON envelope \
                        (`application/cloudevents+json`). Absent: the event as it is.",
        "enum": [null, "binary", "structured"],
        "default": null
    })
}

/// What is sent of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rendered<'a> {
    /// The media type of `body`; empty where none is known.
    pub(super) content_type: Cow<'a, str>,
    /// `None` for a null value.
    pub(super) body: Option<Bytes>,
    /// The attributes of the binary form, without the protocol's prefix; else none.
    pub(super) attributes: Vec<Attribute<'a>>,
}

/// A structured CloudEvent that cannot be taken apart; the words are for the destination's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) String);

impl Malformed {
    /// The report of an attempt that ends here.
    pub(super) fn report(self, total: Duration) -> Report {
        Report {
            dead_letter: Some(DeadLetterReason::Malformed),
            ..Report::without_answer(Outcome::Rejected, self.0, total)
        }
    }
}

/// Brings an event into the form that the destination asks for.
///
/// # Errors
/// If it claims to be a structured CloudEvent, is to be sent in binary form, and cannot be taken apart.
pub(super) fn render(mode: Mode, event: &Event) -> Result<Rendered<'_>, Malformed> {
    let as_it_is = || Rendered {
        content_type: (&*event.content_type).into(),
        body: event.body.clone(),
        attributes: Vec::new(),
    };
    match mode {
        Mode::Off => Ok(as_it_is()),
        Mode::Structured if is_structured(&event.content_type) => Ok(as_it_is()),
        Mode::Structured => Ok(Rendered {
            content_type: STRUCTURED.into(),
            body: Some(envelope(event)),
            attributes: Vec::new(),
        }),
        Mode::Binary if is_structured(&event.content_type) => taken_apart(event),
        Mode::Binary => Ok(Rendered {
            attributes: attributes(event),
            ..as_it_is()
        }),
    }
}

/// A value as HTTP headers carry it: what is not visible ASCII, blanks, `"` and `%` are percent-encoded.
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#3132-http-header-values>
pub(super) fn http_value(value: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'%';
    if value.bytes().all(plain) {
        return value.into();
    }
    let mut encoded = String::with_capacity(value.len() + 16);
    for byte in value.bytes() {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded.into()
}

/// The attributes of an event: those that every CloudEvent has, then what its own headers `ce_…` say beside them.
fn attributes(event: &Event) -> Vec<Attribute<'_>> {
    let own = own_attributes(event);
    let source = own.iter().find(|(name, _)| *name == "source");
    let source = source.map_or_else(|| topic_source(event), |(_, value)| (*value).into());
    let mut attributes = context(event, source);
    attributes.extend(own.iter().filter(|(name, _)| !is_context(name)).map(
        |(name, value)| -> Attribute<'_> { (Cow::Owned((*name).to_owned()), (*value).into()) },
    ));
    attributes
}

/// The attributes that every CloudEvent has, and the time.
fn context<'a>(event: &'a Event, source: Cow<'a, str>) -> Vec<Attribute<'a>> {
    let mut attributes: Vec<Attribute<'a>> = Vec::with_capacity(8);
    attributes.push(("specversion".into(), "1.0".into()));
    attributes.push(("id".into(), (&*event.id).into()));
    attributes.push(("source".into(), source));
    attributes.push(("type".into(), (&*event.event_type).into()));
    if let Some(time) = rfc3339(event.time_ms) {
        attributes.push(("time".into(), time.into()));
    }
    attributes
}

/// Whether [`context`], or the media type, says it already.
fn is_context(name: &str) -> bool {
    matches!(
        name,
        "specversion" | "id" | "source" | "type" | "time" | "datacontenttype"
    )
}

/// The source of an event that names none: its topic. Such names need no escaping in a URI.
fn topic_source(event: &Event) -> Cow<'_, str> {
    format!("/topics/{}", event.origin.topic).into()
}

/// The attributes in headers `ce_…`; what has no valid name or is not UTF-8 is none.
fn own_attributes(event: &Event) -> Vec<(&str, &str)> {
    let mut own: Vec<(&str, &str)> = Vec::new();
    for (name, value) in &event.headers {
        if let Some(name) = name.strip_prefix("ce_")
            && let Some(Ok(value)) = value.as_deref().map(std::str::from_utf8)
            && is_name(name)
            && own.iter().all(|(known, _)| *known != name)
        {
            own.push((name, value));
        }
    }
    own
}

/// Lower-case letters and digits, as the specification wants names to be.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn is_structured(content_type: &str) -> bool {
    media_type(content_type).eq_ignore_ascii_case(STRUCTURED)
}

fn is_json(content_type: &str) -> bool {
    let media_type = media_type(content_type).to_ascii_lowercase();
    media_type.ends_with("/json") || media_type.ends_with("+json")
}

fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Puts an event into an envelope. Data that are declared as JSON and are JSON stand in it as they are, all others in
/// base64.
fn envelope(event: &Event) -> Bytes {
    let mut head = Map::new();
    for (name, value) in attributes(event) {
        head.insert(name.into_owned(), value.into());
    }
    if !event.content_type.is_empty() {
        head.insert("datacontenttype".to_owned(), (&*event.content_type).into());
    }
    let mut envelope = Value::Object(head).to_string();
    if let Some(body) = &event.body {
        // It ends with `}`, and something always stands before that.
        envelope.pop();
        let json = is_json(&event.content_type)
            .then(|| serde_json::from_slice::<&RawValue>(body).ok())
            .flatten();
        match json {
            Some(json) => {
                envelope.push_str(",\"data\":");
                envelope.push_str(json.get());
            }
            None => {
                envelope.push_str(",\"data_base64\":\"");
                STANDARD.encode_string(body, &mut envelope);
                envelope.push('"');
            }
        }
        envelope.push('}');
    }
    envelope.into()
}

/// Takes the envelope off.
fn taken_apart(event: &Event) -> Result<Rendered<'_>, Malformed> {
    let wrong = |what: String| Malformed(format!("the event is no structured CloudEvent: {what}"));
    let whole = event.body.clone().unwrap_or_default();
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_slice(&whole).map_err(|error| wrong(error.to_string()))?;
    let text = |name: &str| -> Result<Option<String>, Malformed> {
        let Some(json) = members.get(name).map(|value| value.get()) else {
            return Ok(None);
        };
        match serde_json::from_str(json).map_err(|error| wrong(error.to_string()))? {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text)),
            Value::Bool(_) | Value::Number(_) => Ok(Some(json.to_owned())),
            Value::Array(_) | Value::Object(_) => {
                Err(wrong(format!("`{name}` is neither a text nor a number")))
            }
        }
    };
    let content_type = text("datacontenttype")?.unwrap_or_else(|| "application/json".to_owned());
    let body = match (members.get("data"), text("data_base64")?) {
        (_, Some(base64)) => {
            let data = STANDARD.decode(base64);
            let data = data.map_err(|error| wrong(format!("`data_base64`: {error}")))?;
            Some(Bytes::from(data))
        }
        // Data of another media type stand in JSON as a text.
        (Some(data), None) if !is_json(&content_type) && data.get().starts_with('"') => {
            text("data")?.map(Bytes::from)
        }
        (Some(data), None) => Some(whole.slice_ref(data.get().as_bytes())),
        (None, None) => None,
    };
    let source = text("source")?.map_or_else(|| topic_source(event), Cow::Owned);
    let mut attributes = context(event, source);
    for name in members.keys() {
        if !is_context(name)
            && !matches!(name.as_str(), "data" | "data_base64")
            && let Some(value) = text(name)?
        {
            attributes.push((Cow::Owned(name.clone()), value.into()));
        }
    }
    Ok(Rendered {
        content_type: content_type.into(),
        body,
        attributes,
    })
}

#[cfg(test)]
mod tests;
