//! Headers that documents choose, for sinks over HTTP. Pure.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use schemars::{Schema, json_schema};

use crate::sinks::fields::Fields;

/// Custom headers at most. With the longest values they stay within what receivers commonly take.
pub(in crate::sinks) const HEADERS_MAX: usize = 32;

/// Bytes of one header's value at most.
pub(in crate::sinks) const VALUE_MAX: usize = 4096;

/// Headers that belong to the connection or the message's framing, beside `proxy-*`, `webhook-*` and `posthaste-*`.
const RESERVED: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What requests say that no document says otherwise.
pub(in crate::sinks) const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("posthaste/", env!("CARGO_PKG_VERSION")));

/// Reads the field `headers`; `more` holds prefixes of names that cannot be chosen either.
pub(in crate::sinks) fn custom_headers(fields: &mut Fields<'_>, more: &[&str]) -> HeaderMap {
    let entries = fields
        .object("headers")
        .map(Fields::entries)
        .unwrap_or_default();
    let mut headers = HeaderMap::with_capacity(entries.len() + 2);
    if entries.len() > HEADERS_MAX {
        let message = format!("takes {HEADERS_MAX} headers at most, not {}", entries.len());
        fields.fault("headers", message);
    }
    for (pointer, name, value) in entries {
        match header(name, value, more) {
            Ok((name, _)) if headers.contains_key(&name) => {
                fields.fault_at(
                    pointer,
                    "stands here twice: upper and lower case do not differ",
                );
            }
            Ok((name, value)) => {
                headers.insert(name, value);
            }
            Err(message) => fields.fault_at(pointer, message),
        }
    }
    headers
}

/// A header that a customer may set.
fn header(name: &str, value: &str, more: &[&str]) -> Result<(HeaderName, HeaderValue), String> {
    let name = header_name(name)?;
    match more
        .iter()
        .find(|prefix| name.as_str().starts_with(**prefix))
    {
        Some(_) => Err(cannot_be_chosen(name.as_str())),
        None => Ok((name, header_value(value)?)),
    }
}

fn cannot_be_chosen(name: &str) -> String {
    format!("`{name}` is set by the service and cannot be chosen")
}

/// Reads the name of a header that a document may choose.
pub(in crate::sinks) fn header_name(name: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_not_a_token| "is not a name of a header".to_owned())?;
    let text = name.as_str();
    let ours = ["proxy-", "webhook-", "posthaste-"];
    if RESERVED.contains(&text) || ours.iter().any(|prefix| text.starts_with(prefix)) {
        return Err(cannot_be_chosen(text));
    }
    Ok(name)
}

/// Reads the value of a header.
pub(in crate::sinks) fn header_value(value: &str) -> Result<HeaderValue, String> {
    if value.len() > VALUE_MAX {
        return Err(format!(
            "holds {} bytes, {VALUE_MAX} are allowed",
            value.len()
        ));
    }
    // Bytes from 0x80 on are allowed by RFC 9110 and read differently by every receiver.
    let visible = value
        .bytes()
        .all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    let value = HeaderValue::from_str(value).ok().filter(|_| visible);
    value.ok_or_else(|| "holds characters other than visible ASCII and blanks".to_owned())
}

/// The schema of the field `headers`.
pub(in crate::sinks) fn headers_schema(reserved: &str) -> Schema {
    json_schema!({
        "description": format!("Headers of every request. Those of the connection, {reserved} cannot be set."),
        "type": ["object", "null"],
        "maxProperties": HEADERS_MAX,
        "additionalProperties": {"type": "string", "maxLength": VALUE_MAX},
        "default": {}
    })
}
