//! The table that says how an attempt ended. Pure.

use std::time::Duration;

use lapin::ErrorKind;

use crate::domain::outcome::Outcome;
use crate::egress::Refusal;

/// Why a message was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The guard does not let us.
    #[error("{0}")]
    Egress(Refusal),
    /// No connection could be made of this configuration.
    #[error("{0}")]
    Configuration(String),
    /// The name does not resolve, or the connection is refused.
    #[error("no connection: {0}")]
    Connect(String),
    /// The TLS handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Tls(String),
    /// The broker answered with this code, and these words.
    #[error("the broker answered {0}: {1}")]
    Answer(u16, String),
    /// No queue takes the message: it came back.
    #[error("no queue takes messages with this exchange and routing key")]
    Returned,
    /// The broker did not take the message.
    #[error("the broker did not take the message: a queue is full, or in trouble")]
    Nacked,
    /// Publishers are blocked: the broker lacks memory or disk.
    #[error("the broker blocks publishers: it lacks memory or disk")]
    Blocked,
    /// Nothing came in time.
    #[error("no confirm within {0:?}")]
    Timeout(Duration),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// What was said is not AMQP.
    #[error("the answer is not AMQP: {0}")]
    Nonsense(String),
    /// The fault is ours.
    #[error("{0}")]
    Ours(String),
}

impl Failure {
    /// What the client library says.
    pub(super) fn of(error: &lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(answer) => {
                Self::Answer(answer.get_id(), answer.get_message().to_string())
            }
            ErrorKind::IOError(error) => Self::Broken(error.kind().to_string()),
            ErrorKind::MissingHeartbeatError => Self::Broken("no heartbeat came".to_owned()),
            ErrorKind::InvalidChannelState(..)
            | ErrorKind::InvalidConnectionState(_)
            | ErrorKind::InvalidChannel(_) => Self::Broken("it was closed".to_owned()),
            ErrorKind::ParsingError(error) => Self::Nonsense(error.to_string()),
            ErrorKind::InvalidProtocolVersion(version) => {
                Self::Nonsense(format!("it speaks AMQP {version}"))
            }
            other => Self::Ours(format!("{other:?}")),
        }
    }
}

/// What it means.
pub(super) fn of_failure(failure: &Failure) -> Outcome {
    match failure {
        Failure::Egress(_) | Failure::Configuration(_) => Outcome::Refused,
        Failure::Connect(_) | Failure::Tls(_) | Failure::Timeout(_) | Failure::Broken(_) => {
            Outcome::Network
        }
        Failure::Answer(code, words) => of_answer(*code, words),
        Failure::Returned => Outcome::NotFound,
        Failure::Nacked | Failure::Blocked => Outcome::Throttled,
        Failure::Nonsense(_) => Outcome::Server,
        Failure::Ours(_) => Outcome::Internal,
    }
}

/// What a reply code means.
/// <https://www.rabbitmq.com/amqp-0-9-1-reference.html#constants>
fn of_answer(code: u16, words: &str) -> Outcome {
    match code {
        // CONTENT_TOO_LARGE, PRECONDITION_FAILED
        311 | 406 => Outcome::Rejected,
        // NO_ROUTE, NO_CONSUMERS, INVALID_PATH, NOT_FOUND
        312 | 313 | 402 | 404 => Outcome::NotFound,
        // ACCESS_REFUSED
        403 => Outcome::Auth,
        // NOT_ALLOWED: a virtual host that is not there, or one that is not for us.
        530 if words.contains("not found") => Outcome::NotFound,
        530 => Outcome::Auth,
        _ => Outcome::Server,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError};

    use super::*;

    #[test]
    fn each_failure_has_the_outcome_of_the_table() {
        let words = || "words".to_owned();
        for (failure, expected) in [
            (Failure::Egress(Refusal::Host), Outcome::Refused),
            (Failure::Configuration(words()), Outcome::Refused),
            (Failure::Connect(words()), Outcome::Network),
            (Failure::Tls(words()), Outcome::Network),
            (Failure::Timeout(Duration::from_secs(1)), Outcome::Network),
            (Failure::Broken(words()), Outcome::Network),
            (Failure::Returned, Outcome::NotFound),
            (Failure::Nacked, Outcome::Throttled),
            (Failure::Blocked, Outcome::Throttled),
            (Failure::Nonsense(words()), Outcome::Server),
            (Failure::Ours(words()), Outcome::Internal),
        ] {
            assert_eq!(of_failure(&failure), expected, "{failure}");
        }
    }

    #[test]
    fn each_reply_code_has_the_outcome_of_the_table() {
        for (codes, expected) in [
            (&[311, 406][..], Outcome::Rejected),
            (&[312, 313, 402, 404], Outcome::NotFound),
            (&[403], Outcome::Auth),
            (
                &[320, 405, 501, 502, 503, 504, 505, 506, 540, 541, 0, 999],
                Outcome::Server,
            ),
        ] {
            for code in codes {
                let failure = Failure::Answer(*code, String::new());
                assert_eq!(of_failure(&failure), expected, "{code}");
            }
        }
        for (words, expected) in [
            ("NOT_ALLOWED - vhost none not found", Outcome::NotFound),
            (
                "NOT_ALLOWED - access to vhost 'a' refused for user 'b'",
                Outcome::Auth,
            ),
        ] {
            let failure = Failure::Answer(530, words.to_owned());
            assert_eq!(of_failure(&failure), expected, "{words}");
        }
    }

    #[test]
    fn what_the_client_says_is_understood() {
        let answer = |kind| {
            let error = AMQPError::new(kind, "words".into());
            lapin::Error::from(ErrorKind::ProtocolError(error))
        };
        let broken = io::Error::from(io::ErrorKind::ConnectionReset);
        for (error, expected) in [
            (
                answer(AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)),
                Failure::Answer(404, "words".to_owned()),
            ),
            (
                answer(AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)),
                Failure::Answer(530, "words".to_owned()),
            ),
            (
                ErrorKind::IOError(Arc::new(broken)).into(),
                Failure::Broken("connection reset".to_owned()),
            ),
            (
                ErrorKind::MissingHeartbeatError.into(),
                Failure::Broken("no heartbeat came".to_owned()),
            ),
            (
                ErrorKind::InvalidChannel(1).into(),
                Failure::Broken("it was closed".to_owned()),
            ),
        ] {
            assert_eq!(Failure::of(&error), expected);
        }
        let ours = Failure::of(&ErrorKind::ChannelsLimitReached.into());
        assert_eq!(of_failure(&ours), Outcome::Internal);
    }
}
