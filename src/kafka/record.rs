//! A consumed message as plain data.
//!
//! The crate's own header iterator panics on a header name that is not UTF-8, which any producer may write; so the
//! headers are read here.

use std::ffi::CStr;
use std::sync::Arc;

use bytes::Bytes;
use rdkafka::Message;
use rdkafka::bindings as native;
use rdkafka::message::BorrowedMessage;

use crate::domain::event::Headers;
use crate::wire::RawRecord;

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
        headers: headers(message),
    }
}

#[expect(
    unsafe_code,
    reason = "the safe iterator panics on header names that are not UTF-8"
)]
fn headers(message: &BorrowedMessage<'_>) -> Headers {
    let mut list = std::ptr::null_mut();
    // SAFETY: the message pointer is valid while `message` is borrowed.
    let found = unsafe { native::rd_kafka_message_headers(message.ptr(), &raw mut list) };
    if found != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Headers::new();
    }
    // SAFETY: `list` was set by the successful call above and belongs to the message.
    let count = unsafe { native::rd_kafka_header_cnt(list) };
    let mut headers = Headers::with_capacity(count);
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
        // SAFETY: librdkafka ends names with NUL, and gives `length` readable bytes where `value` is not null.
        let (name, value) = unsafe {
            (
                CStr::from_ptr(name).to_string_lossy(),
                (!value.is_null()).then(|| {
                    Bytes::copy_from_slice(std::slice::from_raw_parts(value.cast::<u8>(), length))
                }),
            )
        };
        headers.push((name.into(), value));
    }
    headers
}
