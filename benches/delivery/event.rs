//! The event that all send: 838 bytes of JSON that begin with the time of its publication.

use std::time::Instant;

/// The size of the body.
const BYTES: usize = 838;

/// The secret that every destination signs with.
pub(crate) const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Microseconds since the program began, from 1; 0 stands for: latency is not of interest.
pub(crate) fn stamp(epoch: Instant) -> u64 {
    u64::try_from(epoch.elapsed().as_micros())
        .unwrap_or(u64::MAX)
        .max(1)
}

/// A body that carries `stamp`.
pub(crate) fn body(stamp: u64) -> Vec<u8> {
    let mut body = format!(
        r#"{{"at":"{stamp:016}","type":"order.paid","order":{{"id":"ord_7261","currency":"EUR","total":12900,"lines":[{{"sku":"A-1","quantity":2,"price":4950}},{{"sku":"B-7","quantity":1,"price":3000}}]}},"note":""#
    )
    .into_bytes();
    let end = b"\"}";
    body.resize(BYTES - end.len(), b'x');
    body.extend_from_slice(end);
    body
}

/// Reads the stamp of a body.
pub(crate) fn read_stamp(body: &[u8]) -> u64 {
    let digits = body.get(7..23).unwrap_or_default();
    digits
        .iter()
        .fold(0, |value, digit| value * 10 + u64::from(digit - b'0'))
}
