//! The headers of a source record that say something about its event.
//!
//! Takes a record's headers and picks those that are known by name, case included; of several with one name the first
//! counts, but for the hops.

use super::super::HeaderView;
use super::{Field, Malformed, TEXT_MAX, malformed};

/// A header that is there: its name and its value, which may be null.
pub(super) type Header<'a> = Option<(&'static str, Option<&'a [u8]>)>;

/// The headers that mean something here.
#[derive(Debug, Default)]
pub(super) struct Known<'a> {
    ce_specversion: Header<'a>,
    ce_id: Header<'a>,
    ce_type: Header<'a>,
    ce_time: Header<'a>,
    ce_datacontenttype: Header<'a>,
    event_id: Header<'a>,
    event_type: Header<'a>,
    tenant: Header<'a>,
    content_type: Header<'a>,
    pub(super) hops: u8,
}

impl<'a> Known<'a> {
    /// Picks them; of several with one name the first counts.
    pub(super) fn pick(headers: &[HeaderView<'a>]) -> Result<Self, Malformed> {
        let mut known = Self::default();
        for (name, value) in headers.iter().copied() {
            let (name, place) = match name {
                "ce_specversion" => ("ce_specversion", &mut known.ce_specversion),
                "ce_id" => ("ce_id", &mut known.ce_id),
                "ce_type" => ("ce_type", &mut known.ce_type),
                "ce_time" => ("ce_time", &mut known.ce_time),
                "ce_datacontenttype" => ("ce_datacontenttype", &mut known.ce_datacontenttype),
                "event-id" => ("event-id", &mut known.event_id),
                "event-type" => ("event-type", &mut known.event_type),
                "tenant" => ("tenant", &mut known.tenant),
                "content-type" => ("content-type", &mut known.content_type),
                "posthaste-hops" => {
                    // The most of several, so that a forwarder that appends its own cannot hide ours.
                    known.hops = known.hops.max(hops(value)?);
                    continue;
                }
                _ => continue,
            };
            place.get_or_insert((name, value));
        }
        Ok(known)
    }

    /// The header that answers `field`.
    pub(super) fn answer(&self, field: Field) -> Header<'a> {
        match field {
            Field::Id => self.ce_id.or(self.event_id),
            Field::Type => self.ce_type.or(self.event_type),
            Field::Time => self.ce_time,
            Field::Tenant => self.tenant,
        }
    }

    /// Whether it is a CloudEvent in binary mode.
    pub(super) fn binary(&self) -> bool {
        self.ce_specversion.is_some() || (self.ce_id.is_some() && self.ce_type.is_some())
    }

    /// The content type that is declared; an empty or null one counts as none, since no identity hangs on it.
    pub(super) fn content_type(&self) -> Result<Option<&'a str>, Malformed> {
        let Some((name, Some(value))) = self.content_type.or(self.ce_datacontenttype) else {
            return Ok(None);
        };
        let text = header_text(name, Some(value))?;
        if text.len() > TEXT_MAX || text.bytes().any(|b| !matches!(b, b' '..=b'~' | b'\t')) {
            return Err(malformed(format!(
                "header `{name}` is no media type: at most {TEXT_MAX} printable ASCII characters are allowed"
            )));
        }
        Ok(Some(text).filter(|text| !text.trim().is_empty()))
    }
}

/// Reads the number of hops. One that is no number is malformed and not a loop: nobody can tell how far the event has
/// come, so it is not delivered in either case, and the dead letter then names what is really wrong.
fn hops(value: Option<&[u8]>) -> Result<u8, Malformed> {
    let text = header_text("posthaste-hops", value)?;
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(malformed("header `posthaste-hops` is not a number"));
    }
    // Only digits: what does not fit is too large.
    Ok(text.parse().unwrap_or(u8::MAX))
}

pub(super) fn header_text<'a>(name: &str, value: Option<&'a [u8]>) -> Result<&'a str, Malformed> {
    let value = value.ok_or_else(|| malformed(format!("header `{name}` is null")))?;
    std::str::from_utf8(value)
        .map_err(|error| malformed(format!("header `{name}` is not UTF-8: {error}")))
}
