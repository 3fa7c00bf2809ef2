//! The headers of one attempt. Pure.
//!
//! The gateway passes them on to what stands behind it.

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::Hookdeck;
use crate::sinks::Outgoing;
use crate::sinks::attributes::attributes;
use crate::sinks::cloudevents::{Rendered, http_value};
use crate::sinks::http::Failure;

/// What receivers of webhooks tell repeated ones by.
const ID: HeaderName = HeaderName::from_static("webhook-id");

/// Builds the headers of one attempt.
///
/// # Errors
/// If what tells of the event cannot stand in a header.
pub(super) fn headers(
    sink: &Hookdeck,
    outgoing: &Outgoing<'_>,
    rendered: &Rendered<'_>,
) -> Result<HeaderMap, Failure> {
    let own = attributes(outgoing);
    let mut headers = HeaderMap::with_capacity(sink.headers.len() + own.len() + 8);
    for (name, value) in &sink.headers {
        headers.insert(name.clone(), value.clone());
    }
    if !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, content_type(&rendered.content_type));
    }
    headers.insert(ID, value(&outgoing.event.id)?);
    for (name, text) in own {
        headers.insert(header_name(&name)?, value(&text)?);
    }
    for (name, text) in &rendered.attributes {
        headers.insert(header_name(&format!("ce-{name}"))?, value(&http_value(text))?);
    }
    Ok(headers)
}

/// The body's media type; the gateway refuses bytes of which none is told.
fn content_type(declared: &str) -> HeaderValue {
    const PLAIN: HeaderValue = HeaderValue::from_static("text/plain");
    match declared {
        "" => PLAIN,
        other => HeaderValue::from_str(other).unwrap_or(PLAIN),
    }
}

fn header_name(text: &str) -> Result<HeaderName, Failure> {
    HeaderName::try_from(text).map_err(|_no_name| UNSENDABLE)
}

fn value(text: &str) -> Result<HeaderValue, Failure> {
    // UTF-8 is sent as it is: RFC 9110 leaves bytes from 0x80 on to sender and receiver.
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_control_character| UNSENDABLE)
}

const UNSENDABLE: Failure =
    Failure::Configuration("what tells of the event cannot stand in a header");
