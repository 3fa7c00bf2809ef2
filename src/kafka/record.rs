//! A consumed message as plain data, copied or where it lies.
//!
//! The crate's own header iterator panics on a header name that is not UTF-8, which any producer may write; so the
//! headers are read here.

use std::borrow::Cow;
use std::ffi::CStr;
use std::sync::Arc;

use bytes::Bytes;
use rdkafka::Message;
use rdkafka::bindings as native;
use rdkafka::message::BorrowedMessage;

use crate::wire::{HeaderView, RawRecord, RecordView};

/// Copies a message out of librdkafka's buffer. `topic` is shared by all records of a partition.
///
/// A header name that is not UTF-8 is kept with the replacement character, as Kafka's Java client reads it.
#[must_use]
pub fn copy(message: &BorrowedMessage<'_>, topic: &Arc<str>) -> RawRecord {
    RawRecord {
        topic: Arc::clone(topic),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
        headers: headers(message)
            .into_iter()
            .map(|(name, value)| (name.into(), value.map(Bytes::copy_from_slice)))
            .collect(),
    }
}

/// The message where it lies in librdkafka's buffer; `header_views` are its [`headers`].
#[must_use]
pub fn view<'a>(
    message: &'a BorrowedMessage<'_>,
    topic: &'a Arc<str>,
    header_views: &'a [HeaderView<'a>],
) -> RecordView<'a> {
    RecordView {
        topic,
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
        key: message.key(),
        value: message.payload(),
        headers: header_views,
    }
}

/// The message's headers, in its buffer; names that are not UTF-8 as in [`copy`].
#[must_use]
#[expect(
    unsafe_code,
    reason = "the safe iterator panics on header names that are not UTF-8"
)]
pub fn headers<'a>(message: &'a BorrowedMessage<'_>) -> Vec<(Cow<'a, str>, Option<&'a [u8]>)> {
    let mut list = std::ptr::null_mut();
    // SAFETY: the message pointer is valid while `message` is borrowed.
    let found = unsafe { native::rd_kafka_message_headers(message.ptr(), &raw mut list) };
    if found != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Vec::new();
    }
    // SAFETY: `list` was set by the successful call above and belongs to the message.
    let count = unsafe { native::rd_kafka_header_cnt(list) };
    let mut headers = Vec::with_capacity(count);
    for index in 0..count {
        let mut name = std::ptr::null();
        let mut value = std::ptr::null();
        let mut length = 0;
        // SAFETY: `list` is valid, the out-pointers are live locals.
        let found = unsafe {
            native::rd_kafka_header_get_all(
                list,
                index,
                &raw mut name,
                &raw mut value,
                &raw mut length,
            )
        };
        if found != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
            break;
        }
        // SAFETY: librdkafka ends names with NUL, and gives `length` readable bytes where `value` is not null; both
        // belong to the message, which stays as it is while it is borrowed.
        let header = unsafe {
            (
                CStr::from_ptr(name).to_string_lossy(),
                (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), length)),
            )
        };
        headers.push(header);
    }
    headers
}
