//! Records of `dead-letter`: what was given up, why, and all that is needed to put it back.
//!
//! Written by the router and by a lane's owner; read by people with kcat, by tools and by redriving. The record's key
//! and value are the event's own. Its headers begin with ours, in this order, and the event's own follow untouched:
//!
//! | header | value |
//! | --- | --- |
//! | `ph` | the delivery, as in the retry topics; its `past` holds the outcome of each attempt |
//! | `origin` | in place of `ph` where a source record's metadata could not be told: `topic/partition/offset` |
//! | `reason` | why: [`DeadLetterReason::as_str`] |
//! | `destination` | `tenant/id`; not beside `origin`, since the record was for nobody yet |
//! | `detail` | the same in words, at most 512 bytes |
//!
//! Invariant: our headers are found by their place, so an event's own `ph`, `reason` or `origin` is never taken for ours.

use std::sync::Arc;

use bytes::Bytes;

use super::retry::{PH, pack, unpack};
use super::{NewRecord, RawRecord, WireError, cut, text};
use crate::domain::delivery::{DeadLetterReason, Delivery};
use crate::domain::event::{Headers, Origin};

/// The largest detail, in bytes.
pub const DETAIL_MAX: usize = 512;

/// What [`without_value`] keeps of the event's key, and of its headers together, in bytes; more is left out whole. With
/// our own headers the record then stays below 40 KiB: any broker takes it.
const KEPT_MAX: usize = 16 * 1024;

/// What a header takes in a record beside its name and value, at most: two lengths.
const PER_HEADER: usize = 10;

const ORIGIN: &str = "origin";
const REASON: &str = "reason";
const DESTINATION: &str = "destination";
const DETAIL: &str = "detail";

const OF_DELIVERY: [&str; 4] = [PH, REASON, DESTINATION, DETAIL];
const OF_RECORD: [&str; 3] = [ORIGIN, REASON, DETAIL];

/// A dead letter as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// What was given up.
    pub content: Content,
    /// Why.
    pub reason: DeadLetterReason,
    /// Why, in words.
    pub detail: String,
}

/// What a dead letter holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// One event for one destination.
    Delivery(Box<Delivery>),
    /// A record whose metadata cannot be told.
    Record {
        /// Where it stood.
        origin: Origin,
        /// Its key.
        key: Option<Bytes>,
        /// Its value.
        value: Option<Bytes>,
        /// Its headers.
        headers: Headers,
    },
}

fn plain(name: &str, value: &str) -> (Box<str>, Option<Bytes>) {
    (name.into(), Some(Bytes::copy_from_slice(value.as_bytes())))
}

/// Writes a delivery that is given up. `detail` is cut to 512 bytes.
#[must_use]
pub fn encode(delivery: &Delivery, reason: DeadLetterReason, detail: &str) -> NewRecord {
    let event = &delivery.event;
    let mut headers = Headers::with_capacity(event.headers.len() + OF_DELIVERY.len());
    headers.push((PH.into(), Some(pack(delivery))));
    headers.push(plain(REASON, reason.as_str()));
    headers.push(plain(DESTINATION, delivery.destination.as_str()));
    headers.push(plain(DETAIL, cut(detail, DETAIL_MAX)));
    headers.extend(event.headers.iter().cloned());
    NewRecord {
        key: event.key.clone(),
        value: event.body.clone(),
        headers,
    }
}

/// Writes a record of a source topic whose metadata cannot be told. `detail` is cut to 512 bytes.
#[must_use]
pub fn encode_record(record: &RawRecord, reason: DeadLetterReason, detail: &str) -> NewRecord {
    let origin = format!("{}/{}/{}", record.topic, record.partition, record.offset);
    let mut headers = Headers::with_capacity(record.headers.len() + OF_RECORD.len());
    headers.push(plain(ORIGIN, &origin));
    headers.push(plain(REASON, reason.as_str()));
    headers.push(plain(DETAIL, cut(detail, DETAIL_MAX)));
    headers.extend(record.headers.iter().cloned());
    NewRecord {
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
    }
}

/// Makes a dead letter small enough for any broker: without its value, and without the event's key and headers where
/// those take more than 16 KiB each. The detail says what was left out; `ph` or `origin` say where it still stands.
#[must_use]
pub fn without_value(letter: NewRecord) -> NewRecord {
    let NewRecord {
        mut key,
        value,
        mut headers,
    } = letter;
    let ours = our_headers(&headers).map_or(0, <[_]>::len);
    let mut left_out = Vec::new();
    if let Some(value) = value {
        left_out.push(format!("value of {} bytes", value.len()));
    }
    if let Some(large) = key.take_if(|key| key.len() > KEPT_MAX) {
        left_out.push(format!("key of {} bytes", large.len()));
    }
    let own: usize = headers
        .iter()
        .skip(ours)
        .map(|(name, value)| name.len() + value.as_ref().map_or(0, Bytes::len) + PER_HEADER)
        .sum();
    if own > KEPT_MAX {
        headers.truncate(ours);
        left_out.push(format!("headers of {own} bytes"));
    }
    if !left_out.is_empty() {
        let note = format!("; not kept: {}", left_out.join(", "));
        if let Some((_, detail)) = headers
            .iter_mut()
            .take(ours)
            .find(|(name, _)| **name == *DETAIL)
        {
            let said = String::from_utf8_lossy(detail.as_deref().unwrap_or_default()).into_owned();
            let said = cut(&said, DETAIL_MAX - note.len());
            *detail = Some(Bytes::from(format!("{said}{note}")));
        }
    }
    NewRecord {
        key,
        value: None,
        headers,
    }
}

/// Reads a dead letter.
///
/// # Errors
/// If its headers do not begin as those of dead letters do, or one of them does not hold what belongs there.
pub fn decode(record: &RawRecord) -> Result<DeadLetter, WireError> {
    let ours = our_headers(&record.headers).ok_or(WireError::NoHeader(PH))?;
    let own = record.headers.iter().skip(ours.len()).cloned().collect();
    let value = |at: usize| {
        record
            .headers
            .get(at)
            .and_then(|(_, value)| value.as_deref())
    };
    let content = if ours == OF_DELIVERY {
        Content::Delivery(Box::new(unpack(value(0), record, own)?))
    } else {
        Content::Record {
            origin: origin(text("header `origin`", value(0))?)?,
            key: record.key.clone(),
            value: record.value.clone(),
            headers: own,
        }
    };
    let name = text("header `reason`", value(1))?;
    let reason = DeadLetterReason::ALL
        .into_iter()
        .find(|reason| reason.as_str() == name)
        .ok_or_else(|| WireError::Form {
            what: "header `reason`",
            problem: format!("holds `{}`, which is no reason", cut(name, 64)),
        })?;
    let detail = text("header `detail`", value(ours.len() - 1))?.to_owned();
    Ok(DeadLetter {
        content,
        reason,
        detail,
    })
}

/// The names that the headers begin with, if they begin as those of a dead letter.
fn our_headers(headers: &Headers) -> Option<&'static [&'static str]> {
    let kinds: [&'static [&'static str]; 2] = [&OF_DELIVERY, &OF_RECORD];
    kinds.into_iter().find(|names| {
        headers.len() >= names.len()
            && headers
                .iter()
                .zip(*names)
                .all(|((found, _), expected)| **found == **expected)
    })
}

fn origin(place: &str) -> Result<Origin, WireError> {
    let mut parts = place.rsplitn(3, '/');
    let offset = parts.next().and_then(|offset| offset.parse().ok());
    let partition = parts.next().and_then(|partition| partition.parse().ok());
    match (parts.next(), partition, offset) {
        (Some(topic), Some(partition), Some(offset)) => Ok(Origin {
            topic: Arc::from(topic),
            partition,
            offset,
        }),
        _ => Err(WireError::Form {
            what: "header `origin`",
            problem: format!("holds `{}`, not topic/partition/offset", cut(place, 64)),
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::samples;
    use super::*;

    fn any_reason() -> impl Strategy<Value = DeadLetterReason> {
        prop::sample::select(DeadLetterReason::ALL.to_vec())
    }

    /// Headers one a line, as people see them.
    fn lines(record: &NewRecord) -> String {
        record
            .headers
            .iter()
            .map(|(name, value)| match value.as_deref().map(str::from_utf8) {
                Some(Ok(text)) => format!("{name}={text}\n"),
                Some(Err(_)) => format!(
                    "{name}={}\n",
                    value.as_deref().unwrap_or_default().escape_ascii()
                ),
                None => format!("{name}\n"),
            })
            .collect()
    }

    #[test]
    fn the_headers_are_pinned_by_golden_files() {
        let letter = encode(
            &samples::delivery(),
            DeadLetterReason::Exhausted,
            "16 of 16 attempts failed, the last one as `server`",
        );
        assert_eq!(
            lines(&letter),
            include_str!("../../tests/data/dead-letter-v1.txt")
        );
        let whole = encode_record(
            &samples::record(),
            DeadLetterReason::Malformed,
            "header `tenant` is null",
        );
        assert_eq!(
            lines(&whole),
            include_str!("../../tests/data/dead-letter-record-v1.txt")
        );
    }

    #[test]
    fn a_record_that_was_too_large_keeps_where_it_stood() {
        let mut delivery = samples::delivery();
        let event = Arc::make_mut(&mut delivery.event);
        event.body = Some(Bytes::from(vec![b'x'; 3_000_000]));
        let letter = encode(&delivery, DeadLetterReason::TooLarge, "the broker refused");
        let small = without_value(letter.clone());
        assert_eq!((&small.value, &small.key), (&None, &letter.key));
        let read = decode(&samples::written(small)).expect("just written");
        assert_eq!(
            read.detail,
            "the broker refused; not kept: value of 3000000 bytes"
        );
        let Content::Delivery(kept) = read.content else {
            panic!("a delivery")
        };
        assert_eq!(kept.event.origin, delivery.event.origin);
        assert_eq!(kept.event.headers, delivery.event.headers);
        assert_eq!(kept.progress, delivery.progress);
    }

    #[test]
    fn key_and_headers_that_are_too_large_are_left_out_too() {
        let mut record = samples::record();
        record.key = Some(Bytes::from(vec![b'k'; KEPT_MAX + 1]));
        record.headers = (0..3000).map(|_| (Box::from("h"), None)).collect();
        let letter = encode_record(&record, DeadLetterReason::Malformed, &"é".repeat(600));
        let small = without_value(letter);
        let bytes: usize = small
            .headers
            .iter()
            .map(|(n, v)| n.len() + v.as_ref().map_or(0, Bytes::len))
            .sum();
        assert!(bytes < 1024, "{bytes}");
        let read = decode(&samples::written(small)).expect("just written");
        assert!(read.detail.len() <= DETAIL_MAX);
        assert!(
            read.detail.ends_with(
                "é; not kept: value of 17 bytes, key of 16385 bytes, headers of 33000 bytes"
            ),
            "{}",
            read.detail
        );
        let Content::Record {
            origin,
            key,
            value,
            headers,
        } = read.content
        else {
            panic!("a record")
        };
        assert_eq!(
            (&*origin.topic, origin.partition, origin.offset),
            ("orders", 3, 1042)
        );
        assert_eq!((key, value, headers), (None, None, Vec::new()));
    }

    #[test]
    fn a_null_value_is_not_said_to_be_left_out() {
        let mut record = samples::record();
        record.value = None;
        let letter = encode_record(&record, DeadLetterReason::Malformed, "why");
        assert_eq!(without_value(letter.clone()), letter);
    }

    #[test]
    fn foreign_records_are_told_apart() {
        let reasoned = |origin: &str, reason: &str| {
            let mut record = samples::record();
            record.headers = vec![
                plain(ORIGIN, origin),
                plain(REASON, reason),
                plain(DETAIL, ""),
            ];
            decode(&record)
        };
        assert!(reasoned("a/1/2", "gone").is_ok());
        for (origin, reason, error) in [
            (
                "a/1",
                "gone",
                "header `origin` holds `a/1`, not topic/partition/offset",
            ),
            (
                "a/b/2",
                "gone",
                "header `origin` holds `a/b/2`, not topic/partition/offset",
            ),
            (
                "a/1/2",
                "tired",
                "header `reason` holds `tired`, which is no reason",
            ),
        ] {
            assert_eq!(
                reasoned(origin, reason).expect_err(error).to_string(),
                error
            );
        }
        assert_eq!(
            decode(&samples::record())
                .expect_err("no dead letter")
                .to_string(),
            "header `ph` is missing; something else than posthaste wrote this record"
        );
    }

    proptest! {
        #[test]
        fn decoding_gives_back_a_delivery(
            delivery in samples::any_delivery(),
            reason in any_reason(),
            detail in ".{0,60}",
        ) {
            let letter = samples::written(encode(&delivery, reason, &detail));
            let content = Content::Delivery(Box::new(delivery));
            prop_assert_eq!(
                decode(&letter).expect("just written"),
                DeadLetter { content, reason, detail }
            );
        }

        #[test]
        fn decoding_gives_back_a_record(
            record in samples::any_record(),
            reason in any_reason(),
            detail in ".{0,60}",
        ) {
            let letter = samples::written(encode_record(&record, reason, &detail));
            let content = Content::Record {
                origin: Origin {
                    topic: record.topic,
                    partition: record.partition,
                    offset: record.offset,
                },
                key: record.key,
                value: record.value,
                headers: record.headers,
            };
            prop_assert_eq!(
                decode(&letter).expect("just written"),
                DeadLetter { content, reason, detail }
            );
        }
    }
}
