//! The table that says what an answer of Pub/Sub, or its absence, means. Pure.
//! <https://cloud.google.com/pubsub/docs/reference/error-codes>

use std::time::Duration;

use google_cloud_gax::error::rpc::{Code, Status, StatusDetails};
use google_cloud_pubsub::Error;
use google_cloud_pubsub::error::PublishError;

use crate::domain::outcome::Outcome;

/// No service is waited for longer than this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// How a publish ended that has no message id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) outcome: Outcome,
    /// The number of the gRPC status, where the service answered.
    pub(super) status: Option<u16>,
    /// For the destination's owner: nothing of it is the service's own text.
    pub(super) error: String,
    /// The service's own text.
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
}

impl Failed {
    pub(super) fn without_answer(outcome: Outcome, error: &str) -> Self {
        Self {
            outcome,
            status: None,
            error: error.to_owned(),
            message: String::new(),
            retry_after: None,
        }
    }

    /// Tells what came of a publish.
    pub(super) fn of(error: &PublishError) -> Self {
        match error {
            PublishError::Rpc(error) => Self::of_rpc(error),
            PublishError::OrderingKeyPaused => Self::without_answer(
                Outcome::Internal,
                "not sent: an earlier event with the same ordering key failed",
            ),
            _ => Self::without_answer(Outcome::Internal, "not sent: the client was closed"),
        }
    }

    fn of_rpc(error: &Error) -> Self {
        if let Some(status) = error.status() {
            return Self::of_status(status);
        }
        if error.is_authentication() {
            return Self::of_credentials(error);
        }
        let (outcome, words) = if error.is_timeout() || error.is_exhausted() {
            (Outcome::Network, "time-out waiting for the answer")
        } else if error.is_connect() {
            (Outcome::Network, "no connection could be made")
        } else if error.is_binding() || error.is_serialization() {
            (Outcome::Refused, "the request cannot be made")
        } else if error.is_deserialization() || has_content_type(error) {
            (Outcome::Server, "the answer is not one of Pub/Sub")
        } else {
            (Outcome::Network, "connection ended before an answer")
        };
        Self::without_answer(outcome, words)
    }

    fn of_status(status: &Status) -> Self {
        let number = status.code as i32;
        Self {
            outcome: of_code(status.code),
            status: u16::try_from(number).ok(),
            error: format!("gRPC {} ({number})", status.code.name()),
            message: status.message.clone(),
            retry_after: retry_after(status),
        }
    }

    /// Tokens are signed here, or come from the metadata server of the operator's machine.
    fn of_credentials(error: &Error) -> Self {
        let source = std::error::Error::source(error);
        let cause = source
            .and_then(|cause| cause.downcast_ref::<google_cloud_gax::error::CredentialsError>());
        if cause.is_some_and(google_cloud_gax::error::CredentialsError::is_transient) {
            Self::without_answer(Outcome::Internal, "no token could be had at the moment")
        } else {
            Self::without_answer(Outcome::Auth, "the credentials give no token")
        }
    }
}

/// A reply with a media type that is none of gRPC: a proxy or another service answered.
fn has_content_type(error: &Error) -> bool {
    error
        .http_headers()
        .is_some_and(|headers| headers.contains_key("content-type"))
}

/// What a status means.
pub(super) fn of_code(code: Code) -> Outcome {
    match code {
        Code::Ok => Outcome::Delivered,
        Code::Unauthenticated | Code::PermissionDenied => Outcome::Auth,
        // Unimplemented: something answers there, but it is not Pub/Sub.
        Code::NotFound | Code::Unimplemented => Outcome::NotFound,
        Code::InvalidArgument | Code::OutOfRange | Code::AlreadyExists => Outcome::Rejected,
        Code::ResourceExhausted => Outcome::Throttled,
        Code::DeadlineExceeded => Outcome::Network,
        // Failed precondition: the topic's key or region, which no other event would meet either.
        _ => Outcome::Server,
    }
}

/// For how long the service asks to be left alone, at most 24 h.
/// <https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto>
fn retry_after(status: &Status) -> Option<Duration> {
    status.details.iter().find_map(|detail| match detail {
        StatusDetails::RetryInfo(info) => {
            let delay = info.retry_delay.as_ref()?;
            let seconds = u64::try_from(delay.seconds()).ok()?;
            let nanos = u32::try_from(delay.nanos()).ok()?;
            Some(Duration::new(seconds, nanos).min(RETRY_AFTER_MAX))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use google_cloud_gax::error::CredentialsError;
    use reqwest::header::{HeaderMap, HeaderValue};
    use serde_json::json;

    use super::*;

    #[test]
    fn each_status_has_the_outcome_of_the_table() {
        for (code, expected) in [
            (Code::Ok, Outcome::Delivered),
            (Code::Cancelled, Outcome::Server),
            (Code::Unknown, Outcome::Server),
            (Code::InvalidArgument, Outcome::Rejected),
            (Code::DeadlineExceeded, Outcome::Network),
            (Code::NotFound, Outcome::NotFound),
            (Code::AlreadyExists, Outcome::Rejected),
            (Code::PermissionDenied, Outcome::Auth),
            (Code::ResourceExhausted, Outcome::Throttled),
            (Code::FailedPrecondition, Outcome::Server),
            (Code::Aborted, Outcome::Server),
            (Code::OutOfRange, Outcome::Rejected),
            (Code::Unimplemented, Outcome::NotFound),
            (Code::Internal, Outcome::Server),
            (Code::Unavailable, Outcome::Server),
            (Code::DataLoss, Outcome::Server),
            (Code::Unauthenticated, Outcome::Auth),
        ] {
            assert_eq!(of_code(code), expected, "{}", code.name());
            let status = Status::default().set_code(code).set_message("canary");
            let failed = Failed::of(&PublishError::Rpc(Arc::new(Error::service(status))));
            assert_eq!(failed.outcome, expected);
            assert_eq!(failed.status.map(i32::from), Some(code as i32));
            assert!(failed.error.contains(code.name()) && !failed.error.contains("canary"));
            assert_eq!(failed.message, "canary");
        }
    }

    #[test]
    fn each_failure_has_the_outcome_of_the_table() {
        let broken = || io::Error::from(io::ErrorKind::ConnectionReset);
        let mut html = HeaderMap::new();
        html.insert("content-type", HeaderValue::from_static("text/html"));
        for (error, expected) in [
            (Error::timeout(broken()), Outcome::Network),
            (Error::exhausted(broken()), Outcome::Network),
            (Error::connect(broken()), Outcome::Network),
            (Error::io(broken()), Outcome::Network),
            (
                Error::transport(HeaderMap::new(), broken()),
                Outcome::Network,
            ),
            (Error::transport(html, broken()), Outcome::Server),
            (Error::deser(broken()), Outcome::Server),
            (Error::ser(broken()), Outcome::Refused),
            (Error::binding(broken()), Outcome::Refused),
            (
                Error::authentication(CredentialsError::from_msg(true, "canary")),
                Outcome::Internal,
            ),
            (
                Error::authentication(CredentialsError::from_msg(false, "canary")),
                Outcome::Auth,
            ),
        ] {
            let shown = format!("{error:?}");
            let failed = Failed::of(&PublishError::Rpc(Arc::new(error)));
            assert_eq!(failed.outcome, expected, "{shown}");
            assert_eq!(failed.status, None);
            assert!(!failed.error.contains("canary"));
        }
        for error in [PublishError::OrderingKeyPaused, PublishError::Shutdown] {
            assert_eq!(Failed::of(&error).outcome, Outcome::Internal, "{error}");
        }
    }

    #[test]
    fn the_service_s_wish_to_be_left_alone_is_read() {
        for (delay, expected) in [
            ("3s", Some(Duration::from_secs(3))),
            ("0.250s", Some(Duration::from_millis(250))),
            ("90000s", Some(RETRY_AFTER_MAX)),
            ("-1s", None),
        ] {
            let detail = json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay});
            let detail: StatusDetails = serde_json::from_value(detail).expect("a detail");
            let status = Status::default().set_code(Code::ResourceExhausted);
            assert_eq!(retry_after(&status), None);
            let status = status.set_details([detail]);
            assert_eq!(retry_after(&status), expected, "{delay}");
        }
    }
}
