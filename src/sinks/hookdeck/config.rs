//! The object `sink` of a Hookdeck destination.
//!
//! Invariant: all mistakes are found in one reading, and none repeats the API key.

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue, USER_AGENT};
use serde_json::Value;

use super::Hookdeck;
use crate::config::faults::Fault;
use crate::config::settings::Settings;
use crate::egress::{self, Guard};
use crate::sinks::cloudevents;
use crate::sinks::fields::{Fields, read_sink};
use crate::sinks::http::{AGENT, Target, VALUE_MAX, custom_headers};

/// The Publish API.
pub(super) const ENDPOINT: &str = "https://hkdk.events/v1/publish";

/// Names the source that takes the event.
const SOURCE: HeaderName = HeaderName::from_static("x-hookdeck-source-name");

/// Characters of a source's name at most.
pub(super) const SOURCE_MAX: usize = 155;

/// Headers that tell of the event, and those that steer the gateway.
pub(super) const RESERVED: [&str; 5] = ["authorization", "x-hookdeck-", "event-", "tenant", "ce-"];

impl Hookdeck {
    /// Reads the object `sink`.
    ///
    /// # Errors
    /// All mistakes in it, with pointers below `/sink`.
    pub(in crate::sinks) fn parse(sink: &Value, settings: &Settings) -> Result<Self, Vec<Fault>> {
        read_sink(sink, |fields, _| read(fields, settings))
    }

    /// Judges the endpoint by the operator's settings.
    pub(in crate::sinks) fn check_egress(&self, guard: &Guard) -> Result<(), Fault> {
        guard
            .check(&self.target.url)
            .map_err(|refusal| Fault::new("/sink/endpoint", refusal.to_string()))
    }
}

fn read(mut fields: Fields<'_>, settings: &Settings) -> Option<Hookdeck> {
    fields.required_text("type");
    let source = source(&mut fields);
    let key = api_key(&mut fields);
    let url = match egress::parse_url(fields.text("endpoint").unwrap_or(ENDPOINT)) {
        Ok(url) => Some(url),
        Err(refusal) => {
            fields.fault("endpoint", refusal.to_string());
            None
        }
    };
    let mut headers = custom_headers(&mut fields, &RESERVED);
    let timeout = fields.timeout(settings);
    let cloudevents = cloudevents::mode(&mut fields);
    fields.close();
    headers.entry(USER_AGENT).or_insert(AGENT);
    headers.insert(SOURCE, source?);
    headers.insert(AUTHORIZATION, key?);
    Some(Hookdeck {
        target: Target::new(url?, settings, timeout)?,
        headers,
        cloudevents,
    })
}

fn source(fields: &mut Fields<'_>) -> Option<HeaderValue> {
    let name = fields.required_text("source")?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !(1..=SOURCE_MAX).contains(&name.len()) || !name.bytes().all(fits) {
        let message = format!("is no name of a source: 1 to {SOURCE_MAX} letters, digits, `-` and `_`");
        fields.fault("source", message);
        return None;
    }
    HeaderValue::from_str(name).ok()
}

fn api_key(fields: &mut Fields<'_>) -> Option<HeaderValue> {
    let key = fields.required_text("api_key")?;
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    if key.is_empty() || key.len() > VALUE_MAX || !visible {
        fields.fault("api_key", "is empty, too long, or holds characters other than visible ASCII");
        return None;
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {key}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
