//! What follows an attempt: done, another one at some time, or a dead letter.
//!
//! A sink's report and the destination's retry policy go in; dispatch writes the records that the verdict asks for.
//!
//! Invariant: another attempt is never due before what the receiver asked for (`Retry-After`).
//! Invariant: the numbers of a delivery's attempts only grow, by one for each that was made.

use std::time::Duration;

use super::attempt::Report;
use super::backoff;
use super::delivery::{DeadLetterReason, PastAttempt, Progress, Trigger};
use super::destination::{RejectedPolicy, RetryPolicy};
use super::outcome::Outcome;

/// For how long a receiver may ask to be left alone; more is cut.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// How much is kept of what ended the last attempt, in bytes.
const ERROR_BYTES: usize = 256;

/// What follows an attempt for its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Nothing: it is delivered.
    Done,
    /// Another attempt.
    Retry {
        /// Not before this, in milliseconds since 1970.
        due_ms: i64,
    },
    /// It is given up.
    DeadLetter(DeadLetterReason),
}

/// What follows an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// For the delivery.
    pub disposition: Disposition,
    /// What is known of the delivery from now on; its trigger and its due time change only where a retry follows.
    pub progress: Progress,
    /// Until when the whole destination is left alone, in milliseconds since 1970; at most 24 h from now.
    pub hold_until_ms: Option<i64>,
}

/// Tells what follows an attempt that started at `started_ms` and ended, as `report` says, at `now_ms`.
///
/// - Delivered: done. Else what the report itself asks to dead-letter is dead-lettered.
/// - Gone and refused are dead letters; rejected is one where the policy says so.
/// - Throttled does not count towards `max_attempts`, so it does not lengthen the backoff either. It holds the whole
///   destination for `Retry-After`; without one for the policy's first delay, as the history of one delivery says
///   nothing about the destination.
/// - Internal is no attempt: neither its number nor its trigger changes, nothing is added to the history. It has a
///   backoff of its own.
/// - Everything else counts, and ends as exhausted with the last of `max_attempts`.
/// - Where the next attempt would be due past `max_age`, the delivery ends as expired now rather than after a wait.
///
/// `jitter` is a random number from 0 to 1.
#[must_use]
pub fn judge(
    policy: &RetryPolicy,
    before: &Progress,
    report: &Report,
    started_ms: i64,
    now_ms: i64,
    jitter: f64,
) -> Verdict {
    let mut progress = after(before, report, started_ms);
    let retry_after = report.retry_after.map(|wait| wait.min(LONGEST_RETRY_AFTER));
    let hold_until_ms = (report.outcome == Outcome::Throttled).then(|| {
        let hold = retry_after.unwrap_or_else(|| backoff::delay(policy, 1, jitter));
        later(now_ms, hold.min(LONGEST_RETRY_AFTER))
    });
    let disposition = ending(policy, &progress, report).unwrap_or_else(|| {
        let wait = wait(policy, &progress, report.outcome, jitter);
        let due_ms = later(now_ms, wait.max(retry_after.unwrap_or_default()));
        if expired(policy, &progress, due_ms) {
            Disposition::DeadLetter(DeadLetterReason::Expired)
        } else {
            Disposition::Retry { due_ms }
        }
    });
    if let Disposition::Retry { due_ms } = disposition {
        progress.due_ms = due_ms;
        if report.outcome != Outcome::Internal {
            progress.trigger = Trigger::Retry;
        }
    }
    Verdict {
        disposition,
        progress,
        hold_until_ms,
    }
}

/// Whether a delivery is too old at `now_ms` to be tried again: longer than `max_age` after it was first seen, without the
/// time in which its destination was not enabled.
#[must_use]
pub fn expired(policy: &RetryPolicy, progress: &Progress, now_ms: i64) -> bool {
    now_ms
        > progress
            .first_seen_ms
            .saturating_add(progress.paused_ms)
            .saturating_add(policy.max_age.as_millis())
}

/// What is known of a delivery after an attempt, whatever follows.
fn after(before: &Progress, report: &Report, started_ms: i64) -> Progress {
    let mut progress = before.clone();
    progress.last_error = report.error.as_deref().map(cut);
    if report.outcome == Outcome::Internal {
        progress.internal = before.internal.saturating_add(1);
        return progress;
    }
    progress.internal = 0;
    progress.attempts = before.attempts.saturating_add(1);
    if report.outcome != Outcome::Throttled {
        progress.counted = before.counted.saturating_add(1);
    }
    progress.remember(PastAttempt {
        number: progress.attempts,
        at: started_ms,
        outcome: report.outcome,
        status: report.status,
        ms: u32::try_from(report.total.as_millis()).unwrap_or(u32::MAX),
    });
    progress
}

/// How a delivery ends with this attempt, if it does whenever the next one would be due.
fn ending(policy: &RetryPolicy, progress: &Progress, report: &Report) -> Option<Disposition> {
    let reason = match (report.outcome, report.dead_letter) {
        (Outcome::Delivered, _) => return Some(Disposition::Done),
        (_, Some(reason)) => reason,
        (Outcome::Gone, None) => DeadLetterReason::Gone,
        (Outcome::Refused, None) => DeadLetterReason::Refused,
        (Outcome::Rejected, None) if policy.rejected == RejectedPolicy::DeadLetter => {
            DeadLetterReason::Rejected
        }
        (Outcome::Throttled | Outcome::Internal, None) => return None,
        (
            Outcome::Redirect
            | Outcome::Auth
            | Outcome::NotFound
            | Outcome::Rejected
            | Outcome::Server
            | Outcome::Network,
            None,
        ) => {
            if progress.counted < policy.max_attempts {
                return None;
            }
            DeadLetterReason::Exhausted
        }
    };
    Some(Disposition::DeadLetter(reason))
}

/// How long the policy waits before the next attempt.
fn wait(policy: &RetryPolicy, progress: &Progress, outcome: Outcome, jitter: f64) -> Duration {
    match outcome {
        Outcome::Internal => backoff::internal(progress.internal),
        Outcome::Throttled => backoff::delay(policy, progress.counted.saturating_add(1), jitter),
        _ => backoff::delay(policy, progress.counted, jitter),
    }
}

/// `now_ms` + `wait`, rounded up to a whole millisecond.
fn later(now_ms: i64, wait: Duration) -> i64 {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    now_ms.saturating_add(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// The begin of `error` that is kept, cut between two characters.
fn cut(error: &str) -> Box<str> {
    let end = error.floor_char_boundary(ERROR_BYTES);
    error.get(..end).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::units::Span;

    const NOW: i64 = 1_700_000_000_000;
    const DAY_MS: i64 = 86_400_000;

    fn report(outcome: Outcome) -> Report {
        Report {
            outcome,
            status: Some(500),
            retry_after: None,
            error: Some("broken".into()),
            dead_letter: None,
            response_headers: Vec::new(),
            response_body: Bytes::new(),
            first_byte: None,
            total: Duration::from_millis(30),
        }
    }

    fn retry_in(seconds: i64) -> Disposition {
        Disposition::Retry {
            due_ms: NOW + seconds * 1000,
        }
    }

    fn judged(policy: &RetryPolicy, before: &Progress, report: &Report) -> Verdict {
        judge(policy, before, report, NOW - 30, NOW, 0.0)
    }

    /// A delivery whose next failed attempt is its fourth, after three that counted.
    fn third() -> Progress {
        Progress {
            attempts: 3,
            counted: 3,
            ..Progress::new(NOW - 60_000)
        }
    }

    #[test]
    fn each_outcome_has_the_disposition_of_the_table() {
        use DeadLetterReason::{Gone, Refused};
        use Disposition::{DeadLetter, Done};
        // outcome, what follows, attempts, counted, whether the destination is held
        let rows = [
            (Outcome::Delivered, Done, 4, 4, None),
            (Outcome::Redirect, retry_in(40), 4, 4, None),
            (Outcome::Gone, DeadLetter(Gone), 4, 4, None),
            (Outcome::Auth, retry_in(40), 4, 4, None),
            (Outcome::NotFound, retry_in(40), 4, 4, None),
            (Outcome::Rejected, retry_in(40), 4, 4, None),
            (Outcome::Throttled, retry_in(40), 4, 3, Some(NOW + 5_000)),
            (Outcome::Server, retry_in(40), 4, 4, None),
            (Outcome::Network, retry_in(40), 4, 4, None),
            (Outcome::Refused, DeadLetter(Refused), 4, 4, None),
            (Outcome::Internal, retry_in(1), 3, 3, None),
        ];
        assert_eq!(rows.map(|row| row.0), Outcome::ALL);
        for (outcome, disposition, attempts, counted, hold) in rows {
            let verdict = judged(&RetryPolicy::default(), &third(), &report(outcome));
            assert_eq!(verdict.disposition, disposition, "{outcome:?}");
            assert_eq!(verdict.progress.attempts, attempts, "{outcome:?}");
            assert_eq!(verdict.progress.counted, counted, "{outcome:?}");
            assert_eq!(verdict.hold_until_ms, hold, "{outcome:?}");
        }
    }

    #[test]
    fn with_the_last_attempt_only_what_counts_is_exhausted() {
        use DeadLetterReason::{Exhausted, Gone, Refused};
        use Disposition::{DeadLetter, Done};
        let policy = RetryPolicy {
            max_attempts: 4,
            ..RetryPolicy::default()
        };
        let rows = [
            (Outcome::Delivered, Done),
            (Outcome::Redirect, DeadLetter(Exhausted)),
            (Outcome::Gone, DeadLetter(Gone)),
            (Outcome::Auth, DeadLetter(Exhausted)),
            (Outcome::NotFound, DeadLetter(Exhausted)),
            (Outcome::Rejected, DeadLetter(Exhausted)),
            (Outcome::Throttled, retry_in(40)),
            (Outcome::Server, DeadLetter(Exhausted)),
            (Outcome::Network, DeadLetter(Exhausted)),
            (Outcome::Refused, DeadLetter(Refused)),
            (Outcome::Internal, retry_in(1)),
        ];
        assert_eq!(rows.map(|row| row.0), Outcome::ALL);
        for (outcome, disposition) in rows {
            let verdict = judged(&policy, &third(), &report(outcome));
            assert_eq!(verdict.disposition, disposition, "{outcome:?}");
        }
    }

    #[test]
    fn a_single_attempt_is_exhausted_at_once_and_a_lowered_limit_too() {
        let policy = RetryPolicy {
            max_attempts: 1,
            ..RetryPolicy::default()
        };
        for before in [Progress::new(NOW), third()] {
            let verdict = judged(&policy, &before, &report(Outcome::Server));
            assert_eq!(
                verdict.disposition,
                Disposition::DeadLetter(DeadLetterReason::Exhausted)
            );
        }
    }

    #[test]
    fn rejected_is_a_dead_letter_where_the_policy_says_so() {
        let policy = RetryPolicy {
            rejected: RejectedPolicy::DeadLetter,
            ..RetryPolicy::default()
        };
        for (outcome, disposition) in [
            (
                Outcome::Rejected,
                Disposition::DeadLetter(DeadLetterReason::Rejected),
            ),
            (Outcome::NotFound, retry_in(40)),
        ] {
            let verdict = judged(&policy, &third(), &report(outcome));
            assert_eq!(verdict.disposition, disposition);
        }
    }

    #[test]
    fn what_the_report_asks_to_dead_letter_is_dead_lettered_unless_delivered() {
        for outcome in Outcome::ALL {
            let report = Report {
                dead_letter: Some(DeadLetterReason::Oversize),
                ..report(outcome)
            };
            let expected = match outcome {
                Outcome::Delivered => Disposition::Done,
                _ => Disposition::DeadLetter(DeadLetterReason::Oversize),
            };
            let verdict = judged(&RetryPolicy::default(), &third(), &report);
            assert_eq!(verdict.disposition, expected, "{outcome:?}");
        }
    }

    #[test]
    fn retry_after_and_backoff_do_not_undercut_each_other() {
        for (outcome, retry_after, due_s, hold) in [
            (Outcome::Throttled, 0, 40, Some(0)),
            (Outcome::Throttled, 10, 40, Some(10_000)),
            (Outcome::Throttled, 3600, 3600, Some(3_600_000)),
            (Outcome::Throttled, 99 * 86_400, 86_400, Some(DAY_MS)),
            (Outcome::Server, 10, 40, None),
            (Outcome::Server, 3600, 3600, None),
            (Outcome::Internal, 10, 10, None),
        ] {
            let report = Report {
                retry_after: Some(Duration::from_secs(retry_after)),
                ..report(outcome)
            };
            let verdict = judged(&RetryPolicy::default(), &third(), &report);
            assert_eq!(
                verdict.disposition,
                retry_in(due_s),
                "{outcome:?} {retry_after}"
            );
            assert_eq!(
                verdict.hold_until_ms,
                hold.map(|ms| NOW + ms),
                "{outcome:?} {retry_after}"
            );
        }
    }

    #[test]
    fn an_old_delivery_that_is_throttled_does_not_hold_its_destination_for_its_own_backoff() {
        let before = Progress {
            attempts: 12,
            counted: 12,
            ..Progress::new(NOW - 1000)
        };
        let verdict = judged(
            &RetryPolicy::default(),
            &before,
            &report(Outcome::Throttled),
        );
        assert_eq!(verdict.disposition, retry_in(5 << 12));
        assert_eq!(verdict.hold_until_ms, Some(NOW + 5_000));
    }

    #[test]
    fn a_hold_is_at_most_a_day() {
        let policy = RetryPolicy {
            initial: Span::secs(7 * 86_400),
            max_delay: Span::secs(7 * 86_400),
            ..RetryPolicy::default()
        };
        let verdict = judged(&policy, &third(), &report(Outcome::Throttled));
        assert_eq!(verdict.hold_until_ms, Some(NOW + DAY_MS));
    }

    #[test]
    fn part_of_a_millisecond_counts_as_a_whole_one() {
        let report = Report {
            retry_after: Some(Duration::from_micros(60_000_001)),
            ..report(Outcome::Throttled)
        };
        let verdict = judged(&RetryPolicy::default(), &third(), &report);
        assert_eq!(verdict.hold_until_ms, Some(NOW + 60_001));
        assert_eq!(
            verdict.disposition,
            Disposition::Retry {
                due_ms: NOW + 60_001
            }
        );
    }

    #[test]
    fn a_delivery_whose_next_attempt_would_be_past_its_age_expires_now() {
        // The fourth delay is 40 s.
        for (max_age_ms, disposition) in [
            (100_000, retry_in(40)),
            (99_999, Disposition::DeadLetter(DeadLetterReason::Expired)),
        ] {
            let policy = RetryPolicy {
                max_age: Span(Duration::from_millis(max_age_ms)),
                ..RetryPolicy::default()
            };
            for outcome in [Outcome::Server, Outcome::Throttled] {
                let verdict = judged(&policy, &third(), &report(outcome));
                assert_eq!(verdict.disposition, disposition, "{outcome:?} {max_age_ms}");
            }
        }
    }

    #[test]
    fn a_throttled_delivery_that_expires_still_holds_its_destination() {
        let report = Report {
            retry_after: Some(Duration::from_secs(3600)),
            ..report(Outcome::Throttled)
        };
        let policy = RetryPolicy {
            max_age: Span::secs(600),
            ..RetryPolicy::default()
        };
        let verdict = judged(&policy, &third(), &report);
        assert_eq!(
            verdict.disposition,
            Disposition::DeadLetter(DeadLetterReason::Expired)
        );
        assert_eq!(verdict.hold_until_ms, Some(NOW + 3_600_000));
    }

    #[test]
    fn exhausted_is_the_reason_where_both_would_do() {
        let policy = RetryPolicy {
            max_attempts: 4,
            max_age: Span::secs(1),
            ..RetryPolicy::default()
        };
        let verdict = judged(&policy, &third(), &report(Outcome::Server));
        assert_eq!(
            verdict.disposition,
            Disposition::DeadLetter(DeadLetterReason::Exhausted)
        );
    }

    #[test]
    fn a_waiting_delivery_expires_after_its_last_millisecond() {
        let policy = RetryPolicy {
            max_age: Span::secs(10),
            ..RetryPolicy::default()
        };
        let progress = Progress::new(NOW);
        for (at, is) in [
            (NOW - 99_000, false),
            (NOW, false),
            (NOW + 10_000, false),
            (NOW + 10_001, true),
        ] {
            assert_eq!(expired(&policy, &progress, at), is, "{at}");
        }
    }

    #[test]
    fn time_in_which_the_destination_was_not_enabled_does_not_count() {
        let policy = RetryPolicy {
            max_age: Span::secs(10),
            ..RetryPolicy::default()
        };
        let mut progress = Progress::new(NOW);
        progress.pause(NOW + 2000);
        progress.pause(NOW + 90_000);
        progress.resume(NOW + 100_000);
        progress.resume(NOW + 200_000);
        assert_eq!(
            (progress.paused_ms, progress.paused_since_ms),
            (98_000, None)
        );
        assert!(!expired(&policy, &progress, NOW + 108_000));
        assert!(expired(&policy, &progress, NOW + 108_001));
        // A clock that was set back adds nothing.
        progress.pause(NOW + 2000);
        progress.resume(NOW);
        assert_eq!(progress.paused_ms, 98_000);
    }

    #[test]
    fn what_is_ours_is_no_attempt_and_has_its_own_backoff_until_an_attempt_is_made() {
        let policy = RetryPolicy::default();
        let mut progress = Progress::new(NOW);
        for (n, seconds) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60)] {
            let verdict = judged(&policy, &progress, &report(Outcome::Internal));
            assert_eq!(verdict.disposition, retry_in(seconds));
            let expected = Progress {
                internal: n,
                due_ms: NOW + seconds * 1000,
                last_error: Some("broken".into()),
                ..Progress::new(NOW)
            };
            assert_eq!(verdict.progress, expected, "the trigger stays, too");
            progress = verdict.progress;
        }
        let verdict = judged(&policy, &progress, &report(Outcome::Network));
        assert_eq!(verdict.disposition, retry_in(5));
        assert_eq!(
            (verdict.progress.internal, verdict.progress.attempts),
            (0, 1)
        );
    }

    #[test]
    fn an_attempt_is_remembered_as_it_was() {
        let verdict = judged(&RetryPolicy::default(), &third(), &report(Outcome::Server));
        let expected = Progress {
            attempts: 4,
            counted: 4,
            trigger: Trigger::Retry,
            due_ms: NOW + 40_000,
            history: vec![PastAttempt {
                number: 4,
                at: NOW - 30,
                outcome: Outcome::Server,
                status: Some(500),
                ms: 30,
            }],
            last_error: Some("broken".into()),
            ..third()
        };
        assert_eq!(verdict.progress, expected);
    }

    #[test]
    fn an_error_is_cut_between_two_characters() {
        for (error, bytes) in [
            ("x".repeat(256), 256),
            ("x".repeat(257), 256),
            (format!("{}é", "x".repeat(255)), 255),
            ("€".repeat(200), 255),
        ] {
            let report = Report {
                error: Some(error.clone()),
                ..report(Outcome::Server)
            };
            let verdict = judged(&RetryPolicy::default(), &third(), &report);
            let kept = verdict.progress.last_error.expect("an error was reported");
            assert_eq!(kept.len(), bytes);
            assert!(error.starts_with(&*kept));
        }
    }

    fn outcomes() -> impl Strategy<Value = Outcome> {
        prop::sample::select(Outcome::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn an_attempt_is_never_due_before_what_was_asked_for_and_jitter_only_lengthens(
            outcome in outcomes(),
            retry_after in prop::option::of((0u64..86_400_000_000).prop_map(Duration::from_micros)),
            counted in 0u32..20,
            internal in 0u32..80,
            jitter in 0.0f64..=1.0,
            max_attempts in 1u32..30,
            max_age_s in 0u64..1_000_000,
        ) {
            let policy = RetryPolicy { max_attempts, max_age: Span::secs(max_age_s), ..RetryPolicy::default() };
            let before = Progress { attempts: counted + 2, counted, internal, ..Progress::new(NOW - 1000) };
            let report = Report { retry_after, ..report(outcome) };
            let without = judge(&policy, &before, &report, NOW - 30, NOW, 0.0);
            let with = judge(&policy, &before, &report, NOW - 30, NOW, jitter);
            if let Disposition::Retry { due_ms } = with.disposition {
                prop_assert!(Duration::from_millis((due_ms - NOW).unsigned_abs()) >= retry_after.unwrap_or_default());
                prop_assert!(due_ms > NOW);
                prop_assert!(!expired(&policy, &with.progress, due_ms));
                prop_assert_eq!(with.progress.due_ms, due_ms);
                let Disposition::Retry { due_ms: earlier } = without.disposition else {
                    return Err(TestCaseError::fail("jitter gave a retry where there was none"));
                };
                prop_assert!(earlier <= due_ms);
            }
            if let Some(hold) = with.hold_until_ms {
                prop_assert!((NOW..=NOW + DAY_MS).contains(&hold));
                prop_assert!(without.hold_until_ms <= with.hold_until_ms);
            }
            prop_assert_eq!(with.hold_until_ms.is_some(), outcome == Outcome::Throttled);
        }

        #[test]
        fn the_numbers_of_a_deliverys_attempts_only_grow(outcomes in prop::collection::vec(outcomes(), 1..60)) {
            let policy = RetryPolicy { max_attempts: 1000, max_age: Span::secs(u32::MAX.into()), ..RetryPolicy::default() };
            let mut progress = Progress::new(NOW);
            for outcome in outcomes {
                let next = judged(&policy, &progress, &report(outcome)).progress;
                let made = u32::from(outcome != Outcome::Internal);
                prop_assert_eq!(next.attempts, progress.attempts + made);
                prop_assert!(next.counted <= next.attempts && next.counted >= progress.counted);
                prop_assert!(next.history.len() <= Progress::HISTORY);
                prop_assert!(next.history.is_sorted_by(|a, b| a.number < b.number));
                if made == 1 {
                    prop_assert_eq!(next.history.last().map(|past| past.number), Some(next.attempts));
                }
                progress = next;
            }
        }

        #[test]
        fn no_numbers_overflow(
            before in any::<(u32, u32, u32, i64)>(),
            now in any::<i64>(),
            total in any::<Duration>(),
            retry_after in any::<Option<Duration>>(),
            outcome in outcomes(),
        ) {
            let (attempts, counted, internal, first_seen_ms) = before;
            let before = Progress { attempts, counted, internal, ..Progress::new(first_seen_ms) };
            let report = Report { total, retry_after, ..report(outcome) };
            let verdict = judge(&RetryPolicy::default(), &before, &report, now, now, 0.5);
            prop_assert!(verdict.progress.attempts >= attempts);
        }
    }
}
