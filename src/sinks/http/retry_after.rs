//! `Retry-After`: for how long a receiver asks to be left alone. Pure.
//! <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>

use std::time::{Duration, UNIX_EPOCH};

/// No receiver is waited for longer than this.
const CAP: Duration = Duration::from_secs(24 * 3600);

/// Reads seconds or an HTTP date, which counts from `now_ms` (milliseconds since 1970). A date in the past is 0, more
/// than 24 h are 24 h, anything else is nothing.
pub(super) fn read(value: &[u8], now_ms: i64) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits that do not fit are a long time.
        return Some(text.parse().map_or(CAP, Duration::from_secs).min(CAP));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let now = Duration::from_millis(u64::try_from(now_ms).unwrap_or(0));
    let wait = at.duration_since(UNIX_EPOCH).ok()?.saturating_sub(now);
    Some(wait.min(CAP))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-01-31T08:00:00Z.
    const NOW_MS: i64 = 1_769_846_400_000;

    #[test]
    fn seconds_and_dates_are_read_and_garbage_is_not() {
        for (value, expected) in [
            ("0", Some(0)),
            ("1", Some(1)),
            (" 120 ", Some(120)),
            ("007", Some(7)),
            ("86400", Some(86_400)),
            ("86401", Some(86_400)),
            ("99999999999999999999999999", Some(86_400)),
            ("Sat, 31 Jan 2026 08:00:30 GMT", Some(30)),
            ("Saturday, 31-Jan-26 08:00:30 GMT", Some(30)),
            ("Sat Jan 31 08:00:30 2026", Some(30)),
            ("Sat, 31 Jan 2026 08:00:00 GMT", Some(0)),
            ("Sat, 31 Jan 2026 07:59:59 GMT", Some(0)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Mon, 31 Jan 2028 08:00:00 GMT", Some(86_400)),
            ("", None),
            (" ", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1e3", None),
            ("0x10", None),
            ("soon", None),
            ("30s", None),
            ("1, 2", None),
            ("\u{661}\u{662}", None),
            ("Sat, 31 Feb 2026 08:00:30 GMT", None),
            ("2026-01-31T08:00:30Z", None),
        ] {
            let found = read(value.as_bytes(), NOW_MS);
            assert_eq!(found, expected.map(Duration::from_secs), "{value:?}");
        }
        assert_eq!(read(b"\xff\xfe", NOW_MS), None);
    }

    proptest! {
        #[test]
        fn no_value_is_longer_than_the_cap(value: Vec<u8>, now_ms: i64) {
            prop_assert!(read(&value, now_ms).is_none_or(|wait| wait <= CAP));
        }
    }
}
