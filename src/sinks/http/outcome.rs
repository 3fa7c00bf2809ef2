//! The table that says how an attempt ended. Pure.

use std::time::Duration;

use crate::domain::outcome::Outcome;

/// What an answer means: its status code, and its `Retry-After` where that could be read.
pub(super) fn of_answer(status: u16, retry_after: Option<Duration>) -> Outcome {
    match (status, retry_after) {
        (200..=299, _) => Outcome::Delivered,
        (300..=399, _) => Outcome::Redirect,
        (410, _) => Outcome::Gone,
        (401 | 403 | 407, _) => Outcome::Auth,
        (404 | 405, _) => Outcome::NotFound,
        (429, _) | (503, Some(_)) => Outcome::Throttled,
        (408 | 425, _) => Outcome::Server,
        (400..=499, _) => Outcome::Rejected,
        _ => Outcome::Server,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_the_outcome_of_the_table() {
        let soon = Some(Duration::ZERO);
        for (statuses, retry_after, expected) in [
            (
                &[200, 201, 202, 204, 206, 226, 299][..],
                None,
                Outcome::Delivered,
            ),
            (&[200, 202], soon, Outcome::Delivered),
            (
                &[300, 301, 302, 303, 304, 307, 308, 399],
                None,
                Outcome::Redirect,
            ),
            (&[301, 303], soon, Outcome::Redirect),
            (&[410], None, Outcome::Gone),
            (&[410], soon, Outcome::Gone),
            (&[401, 403, 407], None, Outcome::Auth),
            (&[404, 405], None, Outcome::NotFound),
            (
                &[
                    400, 402, 406, 409, 411, 413, 415, 418, 422, 426, 428, 431, 451, 499,
                ],
                None,
                Outcome::Rejected,
            ),
            (&[400, 413], soon, Outcome::Rejected),
            (&[429], None, Outcome::Throttled),
            (&[429, 503], soon, Outcome::Throttled),
            (&[503], None, Outcome::Server),
            (
                &[408, 425, 500, 501, 502, 504, 507, 511, 520, 599],
                None,
                Outcome::Server,
            ),
            (&[408, 500, 502], soon, Outcome::Server),
            (&[100, 101, 103, 199], None, Outcome::Server),
            (&[0, 99, 600, 666, 999, u16::MAX], None, Outcome::Server),
        ] {
            for status in statuses {
                assert_eq!(
                    of_answer(*status, retry_after),
                    expected,
                    "{status} {retry_after:?}"
                );
            }
        }
    }
}
