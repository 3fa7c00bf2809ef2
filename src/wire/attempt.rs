//! Records of `attempts`: what happened in one attempt, so that a person sees why.
//!
//! Written by dispatch, one for each attempt; read by whoever counts or shows outcomes. Key `tenant/id` of the
//! destination; value in [Avro single-object encoding](https://avro.apache.org/docs/1.12.0/specification/#single-object-encoding)
//! with `schemas/attempt.avsc`: two bytes, the schema's fingerprint, the fields.
//!
//! Invariant: a record takes at most 32 KiB; of the answer, only as much is kept as fits.

use std::borrow::Cow;
use std::sync::LazyLock;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use serde::{Deserialize, Serialize};

use super::{WireError, cut};
use crate::domain::delivery::{DeadLetterReason, Trigger};
use crate::domain::outcome::Outcome;

/// The schema, as text.
pub const SCHEMA: &str = include_str!("../../schemas/attempt.avsc");

/// The schema's fingerprint: CRC-64-AVRO of its canonical form, as every reader computes it from the file.
///
/// Not taken from `apache_avro`, whose canonical form keeps braces around `long` where a logical type stands, so that
/// Java finds another number: <https://issues.apache.org/jira/browse/AVRO-4004>.
pub const FINGERPRINT: u64 = 0xac5e_ffb4_c594_6cc9;

/// What stands before the fields: the marker of single-object encoding and the fingerprint, little-endian.
const HEADER: [u8; 10] = {
    let f = FINGERPRINT.to_le_bytes();
    [0xc3, 0x01, f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7]]
};

/// The largest record, in bytes.
pub const RECORD_MAX: usize = 32 * 1024;

/// Where a record would be too large, its error is cut to so many bytes.
const ERROR_MAX: usize = 1024;

/// The most that one number, length or choice takes: a 64-bit number in 7-bit groups.
const NUMBER_MAX: usize = 10;

/// Fields, and the bytes before them, counted generously.
const FIELDS: usize = 40;

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// Nothing: it was delivered.
    Done,
    /// Another attempt.
    Retry,
    /// The delivery is given up.
    DeadLetter,
}

/// One attempt; the fields stand in the schema's order, and mean what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "Attempt")]
pub struct AttemptRecord<'a> {
    /// The event's id.
    pub event_id: Cow<'a, str>,
    /// The event's type.
    pub event_type: Cow<'a, str>,
    /// The destination's owner.
    pub tenant: Cow<'a, str>,
    /// `tenant/id`.
    pub destination: Cow<'a, str>,
    /// The destination's kind, such as `webhook`.
    pub sink: Cow<'a, str>,
    /// Its number, from 1.
    pub attempt: u32,
    /// Why it was made.
    pub trigger: Trigger,
    /// How it ended.
    pub outcome: Outcome,
    /// What follows.
    pub disposition: Disposition,
    /// Why the delivery was given up, if it was.
    pub reason: Option<DeadLetterReason>,
    /// The protocol's status code, if there was an answer.
    pub status: Option<u16>,
    /// What went wrong, in words.
    pub error: Option<Cow<'a, str>>,
    /// When it began, in milliseconds since 1970.
    #[serde(rename = "started_at")]
    pub started_at_ms: i64,
    /// Until it had ended, in microseconds.
    pub duration_us: i64,
    /// Until the first byte of the answer, in microseconds.
    pub first_byte_us: Option<i64>,
    /// When the next attempt is due, in milliseconds since 1970.
    #[serde(rename = "due_at")]
    pub due_at_ms: Option<i64>,
    /// When the event was first read, in milliseconds since 1970.
    #[serde(rename = "first_seen_at")]
    pub first_seen_at_ms: i64,
    /// The retry tier that the delivery was read from; `None`: straight from its source topic.
    pub tier: Option<u16>,
    /// For how long the receiver asked to be left alone, in milliseconds.
    pub retry_after_ms: Option<i64>,
    /// Names and values of the answer's headers.
    pub response_headers: Cow<'a, [(String, String)]>,
    /// The begin of the answer's body.
    #[serde(with = "avro_bytes")]
    pub response_body: Cow<'a, [u8]>,
    /// The size of the event's body.
    pub body_bytes: u32,
    /// The topic of the record that the event was first read from.
    pub origin_topic: Cow<'a, str>,
    /// Its partition.
    pub origin_partition: i32,
    /// Its offset.
    pub origin_offset: i64,
    /// The offset in `destinations` of the document in force.
    pub document_offset: i64,
    /// The circuit's epoch under which it began.
    pub circuit_epoch: i64,
    /// The replay that it belongs to.
    pub replay: Option<Cow<'a, str>>,
    /// Who asked for it.
    pub actor: Option<Cow<'a, str>>,
    /// Which instance made it.
    pub instance: Cow<'a, str>,
}

/// One attempt as it is read.
pub type OwnedAttempt = AttemptRecord<'static>;

/// serde takes `[u8]` for a list of numbers.
mod avro_bytes {
    use std::borrow::Cow;

    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], out: S) -> Result<S::Ok, S::Error> {
        apache_avro::serde::bytes::serialize(bytes, out)
    }

    pub(super) fn deserialize<'a, 'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Cow<'a, [u8]>, D::Error> {
        apache_avro::serde::bytes::deserialize(from).map(Cow::Owned)
    }
}

/// What is prepared once.
struct Codec {
    writer: GenericDatumWriter<'static>,
    reader: GenericDatumReader<'static>,
}

static CODEC: LazyLock<Codec> = LazyLock::new(|| {
    static PARSED: LazyLock<Schema> =
        LazyLock::new(|| Schema::parse_str(SCHEMA).expect("a test parses the schema"));
    Codec {
        writer: GenericDatumWriter::builder(&PARSED)
            .human_readable(false)
            .build()
            .expect("the schema refers to nothing outside"),
        reader: GenericDatumReader::builder(&PARSED)
            .human_readable(false)
            .build()
            .expect("the schema refers to nothing outside"),
    }
});

impl AttemptRecord<'_> {
    /// Appends the record to `out`. Where it would take more than 32 KiB, first the answer's headers and body are cut,
    /// each to no less than half of what there is room for, and an error beyond 1 KiB.
    ///
    /// # Errors
    /// If names and ids alone take more; `out` is then as it was.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        if self.names_bytes() + self.headers_bytes() + self.response_body.len() <= RECORD_MAX {
            self.write(out)
        } else {
            self.cut_to_fit()?.write(out)
        }
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        let before = out.len();
        out.extend_from_slice(&HEADER);
        CODEC
            .writer
            .write_ser(out, self)
            .map(drop)
            .map_err(|error| {
                out.truncate(before);
                WireError::Avro(error)
            })
    }

    /// An upper bound for all but the answer's headers and body.
    fn names_bytes(&self) -> usize {
        let names = [
            &self.event_id,
            &self.event_type,
            &self.tenant,
            &self.destination,
            &self.sink,
            &self.origin_topic,
            &self.instance,
        ];
        let optional = [&self.error, &self.replay, &self.actor];
        FIELDS * NUMBER_MAX
            + names.into_iter().map(|name| name.len()).sum::<usize>()
            + optional
                .into_iter()
                .flatten()
                .map(|text| text.len())
                .sum::<usize>()
    }

    fn headers_bytes(&self) -> usize {
        self.response_headers
            .iter()
            .map(|(name, value)| header_bytes(name, value))
            .sum()
    }

    fn cut_to_fit(&self) -> Result<AttemptRecord<'_>, WireError> {
        let mut record = AttemptRecord {
            response_headers: Cow::Borrowed(&[]),
            response_body: Cow::Borrowed(&[]),
            error: self
                .error
                .as_deref()
                .map(|error| Cow::Borrowed(cut(error, ERROR_MAX))),
            ..self.clone()
        };
        let names = record.names_bytes();
        let room = RECORD_MAX.checked_sub(names).ok_or(WireError::TooLarge {
            bytes: names,
            max: RECORD_MAX,
        })?;
        let for_body = (room / 2).max(room.saturating_sub(self.headers_bytes()));
        let body = self
            .response_body
            .get(..for_body)
            .unwrap_or(&self.response_body);
        let mut for_headers = room - body.len();
        let mut headers = Vec::new();
        for (name, value) in self.response_headers.iter() {
            let Some(for_value) = for_headers.checked_sub(header_bytes(name, "")) else {
                break;
            };
            let kept = cut(value, for_value);
            headers.push((name.clone(), kept.to_owned()));
            for_headers = for_value - kept.len();
            if kept.len() < value.len() {
                break;
            }
        }
        record.response_body = Cow::Borrowed(body);
        record.response_headers = Cow::Owned(headers);
        Ok(record)
    }
}

/// An upper bound for one header of the answer.
fn header_bytes(name: &str, value: &str) -> usize {
    name.len() + value.len() + 2 * NUMBER_MAX
}

/// Reads a record of `attempts`.
///
/// # Errors
/// If it is not in single-object encoding, has another schema, or does not match the schema to its end.
pub fn decode(record: &[u8]) -> Result<OwnedAttempt, WireError> {
    let (marker, rest) = record.split_at_checked(2).unwrap_or_default();
    let Some((fingerprint, mut fields)) = rest
        .split_first_chunk()
        .filter(|_| HEADER.starts_with(marker))
    else {
        return Err(WireError::Form {
            what: "value",
            problem: "is not in Avro single-object encoding".to_owned(),
        });
    };
    let found = u64::from_le_bytes(*fingerprint);
    if found != FINGERPRINT {
        return Err(WireError::Schema {
            found,
            known: FINGERPRINT,
        });
    }
    let attempt = CODEC
        .reader
        .read_deser(&mut fields)
        .map_err(WireError::Avro)?;
    if fields.is_empty() {
        Ok(attempt)
    } else {
        Err(WireError::Form {
            what: "value",
            problem: format!("goes on for {} bytes after its last field", fields.len()),
        })
    }
}

#[cfg(test)]
mod tests {
    use apache_avro::rabin::Rabin;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::samples::attempt as sample;
    use super::*;

    fn encoded(record: &AttemptRecord<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        record.encode(&mut out).expect("fits");
        out
    }

    #[test]
    fn record_and_fingerprint_are_pinned_by_a_golden_file() {
        let golden: String = include_str!("../../tests/data/attempt-v1.hex")
            .split_whitespace()
            .collect();
        let bytes = encoded(&sample());
        let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(digits, golden);
        assert_eq!(decode(&bytes).expect("just written"), sample());
    }

    #[test]
    fn the_fingerprint_is_that_of_the_canonical_form() {
        let canonical = SCHEMA.replace(
            r#"{"type": "long", "logicalType": "timestamp-millis"}"#,
            r#""long""#,
        );
        assert!(!canonical.contains("logicalType"));
        let fingerprint = Schema::parse_str(&canonical)
            .expect("a schema")
            .fingerprint::<Rabin>();
        assert_eq!(fingerprint.bytes, FINGERPRINT.to_le_bytes());
    }

    #[test]
    fn every_nullable_field_has_a_default_and_every_field_a_doc() {
        let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
        let fields = schema["fields"].as_array().expect("fields");
        assert!(fields.len() < FIELDS);
        for field in fields {
            assert!(field["doc"].is_string(), "{field}");
            if field["type"].is_array() {
                assert_eq!(field["type"][0], "null", "{field}");
                assert!(field.get("default").is_some_and(Value::is_null), "{field}");
            }
        }
    }

    #[test]
    fn the_schema_names_what_the_types_name() {
        for (name, expected) in [
            ("outcome", Outcome::ALL.map(Outcome::as_str).as_slice()),
            (
                "reason",
                DeadLetterReason::ALL
                    .map(DeadLetterReason::as_str)
                    .as_slice(),
            ),
        ] {
            let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
            let field = schema["fields"]
                .as_array()
                .and_then(|fields| fields.iter().find(|field| field["name"] == name))
                .expect(name);
            let found = match &field["type"] {
                Value::Array(nullable) => &nullable[1]["symbols"],
                plain => &plain["symbols"],
            };
            assert_eq!(found, &Value::from(expected), "{name}");
        }
        let triggers = [
            Trigger::Event,
            Trigger::Retry,
            Trigger::Replay,
            Trigger::Manual,
        ];
        let dispositions = [
            Disposition::Done,
            Disposition::Retry,
            Disposition::DeadLetter,
        ];
        for at in 0..Outcome::ALL.len() {
            let record = AttemptRecord {
                outcome: Outcome::ALL[at],
                reason: Some(DeadLetterReason::ALL[at]),
                trigger: triggers[at % triggers.len()],
                disposition: dispositions[at % dispositions.len()],
                ..sample()
            };
            assert_eq!(decode(&encoded(&record)).expect("just written"), record);
        }
    }

    #[test]
    fn a_large_answer_is_cut_to_fit() {
        let header = |bytes: usize| vec![("x".to_owned(), "v".repeat(bytes))];
        for (headers, body, kept_headers, kept_body) in [
            (header(10), 100_000, 10..11, 31_000..32_768),
            (header(100_000), 10, 31_000..32_768, 10..11),
            (header(100_000), 100_000, 15_000..16_384, 15_000..16_384),
        ] {
            let record = AttemptRecord {
                response_headers: headers.into(),
                response_body: vec![b'b'; body].into(),
                ..sample()
            };
            let bytes = encoded(&record);
            assert!(bytes.len() <= RECORD_MAX, "{}", bytes.len());
            let read = decode(&bytes).expect("just written");
            assert!(kept_headers.contains(&read.response_headers[0].1.len()));
            assert!(kept_body.contains(&read.response_body.len()));
        }
    }

    #[test]
    fn names_that_alone_are_too_large_are_refused() {
        let record = AttemptRecord {
            actor: Some("a".repeat(RECORD_MAX).into()),
            ..sample()
        };
        let mut out = vec![1, 2, 3];
        let error = record.encode(&mut out).expect_err("too large");
        assert!(matches!(error, WireError::TooLarge { .. }), "{error}");
        assert_eq!(out, [1, 2, 3]);
    }

    #[test]
    fn other_bytes_and_other_schemas_are_told_apart() {
        let good = encoded(&sample());
        let problem = |bytes: &[u8]| decode(bytes).expect_err("not readable").to_string();
        assert_eq!(problem(b""), "value is not in Avro single-object encoding");
        assert_eq!(
            problem(b"{\"json\":true}"),
            "value is not in Avro single-object encoding"
        );
        let mut other = good.clone();
        other[9] ^= 0xff;
        assert!(problem(&other).contains("upgrade this instance"));
        assert_eq!(
            problem(&good[..good.len() - 1]),
            "attempt record does not match its schema"
        );
        assert_eq!(
            problem(&[&good[..], b"x"].concat()),
            "value goes on for 1 bytes after its last field"
        );
    }

    proptest! {
        #[test]
        fn a_record_is_never_larger_than_allowed(
            headers in prop::collection::vec(("[a-z]{0,40}", "\\PC{0,2000}"), 0..40),
            body in prop::collection::vec(any::<u8>(), 0..40_000),
            error in prop::option::of("\\PC{0,3000}"),
        ) {
            let record = AttemptRecord {
                response_headers: headers.into(),
                response_body: body.into(),
                error: error.map(Into::into),
                ..sample()
            };
            let bytes = encoded(&record);
            prop_assert!(bytes.len() <= RECORD_MAX, "{}", bytes.len());
            let read = decode(&bytes).expect("just written");
            prop_assert!(record.response_body.starts_with(&read.response_body));
            prop_assert!(read.response_headers.len() <= record.response_headers.len());
            let whole = record.names_bytes() + record.headers_bytes() + record.response_body.len();
            if whole <= RECORD_MAX {
                prop_assert_eq!(read, record);
            }
        }
    }
}
