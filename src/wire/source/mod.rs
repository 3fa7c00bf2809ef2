//! Tells what a record of a source topic is: its event's id, type, tenant, time, hops and media type.
//!
//! Takes one borrowed record of a source topic; gives [`Metadata`], by which the router looks for destinations, and
//! from it an [`Event`] once one was found. For each piece of metadata the first that is present wins: a header, the
//! attribute of a structured CloudEvent, the JSON pointer that the source sets, a default.
//!
//! Invariant: the body is parsed only where a pointer or a structured CloudEvent asks for it and no header answers.
//! Invariant: nothing of the record is altered; its bytes are copied once, and only when an event is made of it.

mod headers;
mod pointers;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::headers::{Known, header_text};
use self::pointers::{Found, Pointers, SLOTS, Slots, only};
use super::{RawRecord, RecordView};
use crate::config::settings::{Format, Source};
use crate::domain::content::{Body, Parts};
use crate::domain::event::{Event, Headers, Origin};
use crate::domain::ids::TenantId;

/// The largest event id, event type and content type, in bytes.
const TEXT_MAX: usize = 256;

/// The media type of a structured CloudEvent:
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md#33-structured-content-mode>.
const STRUCTURED: &str = "application/cloudevents+json";

/// A record whose metadata cannot be told: it is dead-lettered whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Malformed {
    /// Which rule the record breaks, and where. Holds nothing of the body but a tenant's name.
    pub detail: String,
}

fn malformed(detail: impl Into<String>) -> Malformed {
    Malformed {
        detail: detail.into(),
    }
}

/// What can be asked of a body; also the places of the answers.
#[derive(Debug, Clone, Copy)]
enum Field {
    Id,
    Type,
    Time,
    Tenant,
}

impl Field {
    const ALL: [Self; 4] = [Self::Id, Self::Type, Self::Time, Self::Tenant];

    /// The name in settings and CloudEvents.
    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Type => "type",
            Self::Time => "time",
            Self::Tenant => "tenant",
        }
    }

    /// Under which number its pointer is looked for.
    fn pointer_slot(self) -> usize {
        self as usize
    }

    /// Under which number its attribute is looked for; CloudEvents have no tenant.
    fn attribute_slot(self) -> Option<usize> {
        match self {
            Self::Id | Self::Type | Self::Time => Some(Self::ALL.len() + self as usize),
            Self::Tenant => None,
        }
    }
}

const _: () = assert!(
    2 * Field::ALL.len() <= SLOTS,
    "each field has two places at most"
);

/// Where a value was found, for messages.
#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    Header(&'static str),
    Attribute(&'static str),
    Pointer(&'a str),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header `{name}`"),
            Self::Attribute(name) => write!(f, "attribute `{name}` of the CloudEvent"),
            Self::Pointer(pointer) => write!(f, "`{pointer}` in the body"),
        }
    }
}

/// Reads the records of one source topic.
#[derive(Debug)]
pub struct SourceReader {
    topic: Box<str>,
    format: Format,
    /// The pointer for each [`Field`].
    pointers: [Option<String>; Field::ALL.len()],
    /// The pointers and the attributes of CloudEvents, by slot.
    lookup: Pointers,
    default_tenant: TenantId,
}

/// What is known of a record before anything is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// The event's id; `None` where nothing names it: [`Metadata::into_event`] then names it after its place.
    pub id: Option<Cow<'a, str>>,
    /// The event's type.
    pub event_type: Cow<'a, str>,
    /// Whose destinations may receive it.
    pub tenant: TenantId,
    /// When it happened, in milliseconds since 1970.
    pub time_ms: i64,
    /// How many Kafka destinations of ours it has passed through; 255 for more.
    pub hops: u8,
    /// The media type of the body.
    pub content_type: Cow<'a, str>,
}

impl SourceReader {
    /// A reader for the records of `topic`, which `source` describes. Its pointers are taken as valid.
    #[must_use]
    pub fn new(topic: &str, source: &Source) -> Self {
        let pointers = [
            source.id.clone(),
            source.event_type.clone(),
            source.time.clone(),
            source.tenant.clone(),
        ];
        let mut lookup = Pointers::default();
        for (field, pointer) in Field::ALL.iter().zip(&pointers) {
            if let Some(pointer) = pointer {
                lookup.add(field.pointer_slot(), pointer);
            }
            if let Some(slot) = field.attribute_slot() {
                lookup.add(slot, &format!("/{}", field.name()));
            }
        }
        Self {
            topic: topic.into(),
            format: source.format,
            pointers,
            lookup,
            default_tenant: TenantId::default_tenant(),
        }
    }

    /// Reads a whole record; `now_ms` stands in where it carries no timestamp.
    ///
    /// # Errors
    /// If its metadata cannot be told.
    pub fn read(&self, record: &RawRecord, now_ms: i64) -> Result<Event, Malformed> {
        let headers = record.header_views();
        let view = record.view(&headers);
        Ok(self.metadata(&view, now_ms)?.assemble(
            &view,
            record.key.clone(),
            record.value.clone(),
            record.headers.clone(),
        ))
    }

    /// Tells a record's metadata without copying it; `now_ms` stands in where it carries no timestamp.
    ///
    /// # Errors
    /// If the metadata cannot be told: a header or a value in the body does not have its form, the body does not parse,
    /// or a pointer leads to nothing, though something asked; or the source holds CloudEvents and this is none.
    pub fn metadata<'a>(
        &'a self,
        record: &RecordView<'a>,
        now_ms: i64,
    ) -> Result<Metadata<'a>, Malformed> {
        let known = Known::pick(record.headers)?;
        let declared = known.content_type()?;
        let structured = self.format != Format::Bytes && declared.is_some_and(is_structured);
        let cloud_event = structured || known.binary();
        if self.format == Format::Cloudevents && !cloud_event {
            return Err(malformed(
                "no CloudEvent: neither header `ce_specversion`, nor `ce_id` and `ce_type`, nor the content type \
                 `application/cloudevents+json` is there, though the source's format is `cloudevents`",
            ));
        }
        let answers = Answers {
            reader: self,
            found: self.ask(record, &known, structured)?,
            known,
            structured,
        };

        let id = answers.text(Field::Id)?;
        let event_type = answers.text(Field::Type)?;
        if structured || self.format == Format::Cloudevents {
            for (field, answer) in [(Field::Id, &id), (Field::Type, &event_type)] {
                if answer.is_none() {
                    let name = field.name();
                    return Err(malformed(format!("the CloudEvent has no `{name}`")));
                }
            }
        }
        let tenant = match answers.raw(Field::Tenant)? {
            Some((place, name)) => TenantId::new(&name)
                .map_err(|error| malformed(format!("{place} names no tenant: {error}")))?,
            None => self.default_tenant.clone(),
        };
        let time_ms = match answers.raw(Field::Time)? {
            Some((place, text)) => time_ms(&text).ok_or_else(|| {
                malformed(format!(
                    "{place} is no time; allowed is RFC 3339 like `2026-01-31T08:00:00Z`, or milliseconds since 1970"
                ))
            })?,
            None if record.timestamp_ms >= 0 => record.timestamp_ms,
            None => now_ms,
        };
        Ok(Metadata {
            id,
            event_type: event_type.unwrap_or(Cow::Borrowed(&self.topic)),
            tenant,
            time_ms,
            hops: answers.known.hops,
            content_type: Cow::Borrowed(declared.unwrap_or(match self.format {
                Format::Json | Format::Cloudevents => "application/json",
                Format::Bytes => "application/octet-stream",
            })),
        })
    }

    /// Parses the body if anything that no header answers is asked of it.
    fn ask<'a>(
        &self,
        record: &RecordView<'a>,
        known: &Known<'a>,
        structured: bool,
    ) -> Result<Found<'a>, Malformed> {
        let mut wanted: Slots = 0;
        let mut first = None;
        for field in Field::ALL {
            if known.answer(field).is_some() {
                continue;
            }
            let attribute = field.attribute_slot().filter(|_| structured);
            let pointer = self.pointer(field).map(|_| field.pointer_slot());
            for slot in attribute.into_iter().chain(pointer) {
                wanted |= only(slot);
                first.get_or_insert((field, slot == field.pointer_slot()));
            }
        }
        let Some((field, by_pointer)) = first else {
            return Ok(Found::default());
        };
        let why = || {
            let name = field.name();
            match self.pointer(field).filter(|_| by_pointer) {
                Some(pointer) => format!("the source's `{name}` is at `{pointer}` in it"),
                None => format!("it is a structured CloudEvent, whose `{name}` is in it"),
            }
        };
        let Some(body) = record.value else {
            return Err(malformed(format!("the value is null, but {}", why())));
        };
        self.lookup
            .find(body, wanted)
            .map_err(|error| malformed(format!("the value is not JSON ({error}), but {}", why())))
    }

    fn pointer(&self, field: Field) -> Option<&str> {
        self.pointers
            .get(field.pointer_slot())
            .and_then(|pointer| pointer.as_deref())
    }
}

/// All that a record says about its metadata.
struct Answers<'a> {
    reader: &'a SourceReader,
    known: Known<'a>,
    found: Found<'a>,
    structured: bool,
}

impl<'a> Answers<'a> {
    /// The first answer that is present.
    fn raw(&self, field: Field) -> Result<Option<(Place<'a>, Cow<'a, str>)>, Malformed> {
        if let Some((name, value)) = self.known.answer(field) {
            let text = header_text(name, value)?;
            return Ok(Some((Place::Header(name), Cow::Borrowed(text))));
        }
        let found = |slot: usize| self.found.get(slot).copied().flatten();
        if self.structured
            // An attribute that is null counts as not set, says the specification.
            && let Some(json) = field.attribute_slot().and_then(found).filter(|json| *json != "null")
        {
            let place = Place::Attribute(field.name());
            return json_text(place, json).map(|text| Some((place, text)));
        }
        if let Some(pointer) = self.reader.pointer(field) {
            let place = Place::Pointer(pointer);
            let name = field.name();
            let json = found(field.pointer_slot()).ok_or_else(|| {
                malformed(format!(
                    "{place} is nothing, but the source's `{name}` is there"
                ))
            })?;
            return json_text(place, json).map(|text| Some((place, text)));
        }
        Ok(None)
    }

    /// The first answer that is present, of the form that ids and types have.
    fn text(&self, field: Field) -> Result<Option<Cow<'a, str>>, Malformed> {
        let Some((place, text)) = self.raw(field)? else {
            return Ok(None);
        };
        let problem = if text.is_empty() {
            "is empty".to_owned()
        } else if text.len() > TEXT_MAX {
            format!("has {} bytes, at most {TEXT_MAX} are allowed", text.len())
        } else if text.chars().any(char::is_control) {
            "holds control characters".to_owned()
        } else {
            return Ok(Some(text));
        };
        let name = field.name();
        Err(malformed(format!("{place}, the event's {name}, {problem}")))
    }
}

fn is_structured(content_type: &str) -> bool {
    let (media_type, _parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    media_type.trim().eq_ignore_ascii_case(STRUCTURED)
}

/// Reads a JSON string, or a number as it is written.
fn json_text<'a>(place: Place<'_>, json: &'a str) -> Result<Cow<'a, str>, Malformed> {
    let kind = match json.bytes().next() {
        Some(b'"') => {
            let inner = json.strip_prefix('"').and_then(|s| s.strip_suffix('"'));
            return match inner.filter(|inner| !inner.contains('\\')) {
                Some(plain) => Ok(Cow::Borrowed(plain)),
                None => serde_json::from_str(json)
                    .map(Cow::Owned)
                    .map_err(|error| malformed(format!("{place} is no text: {error}"))),
            };
        }
        Some(b'-' | b'0'..=b'9') => return Ok(Cow::Borrowed(json)),
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'n') => "null",
        _ => "a boolean",
    };
    Err(malformed(format!(
        "{place} is {kind}, allowed is a string or a number"
    )))
}

/// Reads RFC 3339, or milliseconds since 1970; what is finer is cut off. Years 0 to 9999.
fn time_ms(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let at = match whole.parse::<i64>() {
        Ok(ms) if fraction.bytes().all(|b| b.is_ascii_digit()) => {
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
                .ok()
                .filter(|at| at.year() >= 0)?
        }
        _ => OffsetDateTime::parse(text, &Rfc3339).ok()?,
    };
    i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

impl SourceReader {
    /// What filters may ask about a record; `id` tells the id of its event, see [`Metadata::id`].
    #[must_use]
    pub fn parts<'a>(
        &self,
        record: &RecordView<'a>,
        metadata: &'a Metadata<'a>,
        id: &'a dyn Fn() -> String,
    ) -> Parts<'a> {
        Parts {
            id,
            event_type: &metadata.event_type,
            topic: record.topic,
            time_ms: metadata.time_ms,
            key: record.key,
            headers: record.headers,
            body: match (record.value, self.format) {
                (None, _) => Body::None,
                (Some(_), Format::Bytes) => Body::Opaque,
                (Some(value), Format::Json | Format::Cloudevents) => Body::Json(value),
            },
        }
    }
}

impl Metadata<'_> {
    /// The event's id, also where nothing names it.
    #[must_use]
    pub fn id(&self, record: &RecordView<'_>) -> String {
        match &self.id {
            Some(id) => id.clone().into_owned(),
            None => id_by_place(record).into(),
        }
    }

    /// Makes the event, copying the record's bytes once: they outlive the client's buffer.
    #[must_use]
    pub fn into_event(self, record: &RecordView<'_>) -> Event {
        let values = record.headers.iter().filter_map(|(_, value)| *value);
        let parts = record.key.into_iter().chain(record.value).chain(values);
        let mut all = Vec::with_capacity(parts.clone().map(<[u8]>::len).sum());
        parts.for_each(|part| all.extend_from_slice(part));
        let mut all = Bytes::from(all);
        let mut take = |part: &[u8]| all.split_to(part.len());

        let key = record.key.map(&mut take);
        let body = record.value.map(&mut take);
        let headers = record
            .headers
            .iter()
            .map(|(name, value)| (Box::from(*name), value.map(&mut take)))
            .collect();
        self.assemble(record, key, body, headers)
    }

    fn assemble(
        self,
        record: &RecordView<'_>,
        key: Option<Bytes>,
        body: Option<Bytes>,
        headers: Headers,
    ) -> Event {
        let id = match self.id {
            Some(id) => id.into(),
            None => id_by_place(record),
        };
        Event {
            id,
            event_type: self.event_type.into(),
            tenant: self.tenant,
            time_ms: self.time_ms,
            hops: self.hops,
            origin: Origin {
                topic: Arc::clone(record.topic),
                partition: record.partition,
                offset: record.offset,
            },
            key,
            body,
            headers,
            content_type: self.content_type.into(),
        }
    }
}

/// `<topic>-<partition>-<offset>-<timestamp>`, the same whenever the record is read. A topic's name may take 249 bytes:
/// the begin of one so long is left out, so that the id takes no more than others.
fn id_by_place(record: &RecordView<'_>) -> Box<str> {
    let place = format!(
        "-{}-{}-{}",
        record.partition, record.offset, record.timestamp_ms
    );
    let topic = record.topic;
    let from = topic.ceil_char_boundary((topic.len() + place.len()).saturating_sub(TEXT_MAX));
    [topic.get(from..).unwrap_or_default(), &place]
        .concat()
        .into()
}
