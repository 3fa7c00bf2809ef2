//! The table that says what became of an entry, from what the service or the SDK says. Pure.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html>
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsResultEntry.html>
//!
//! Invariant: the words hold no credentials. What a service says about them it may spell out (it repeats the request
//! where a signature is wrong), so that is not repeated.

use std::error::Error;
use std::time::Duration;

use aws_sdk_sqs::error::{ErrorMetadata, ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::Bytes;

use crate::domain::attempt::Report;
use crate::domain::outcome::Outcome;
use crate::sinks::http::Failure;

/// How much of a service's own words is kept, in bytes.
const WORDS_KEPT: usize = 200;

/// The header by which the support of AWS finds a request.
const REQUEST_ID: &str = "x-amzn-requestid";

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sinks) struct Answer {
    /// How it ended.
    pub(in crate::sinks) outcome: Outcome,
    /// The HTTP status of the whole answer, if there was one.
    pub(in crate::sinks) status: Option<u16>,
    /// What went wrong, in words for the destination's owner.
    pub(in crate::sinks) error: Option<String>,
    /// The id of the request.
    pub(in crate::sinks) request_id: Option<String>,
    /// What the service said of this entry, as JSON.
    pub(in crate::sinks) said: Bytes,
}

impl Answer {
    /// The report of the attempt.
    pub(super) fn report(self, total: Duration) -> Report {
        let id = self.request_id.map(|id| (REQUEST_ID.to_owned(), id));
        Report {
            outcome: self.outcome,
            status: self.status,
            retry_after: None,
            error: self.error,
            dead_letter: None,
            response_headers: id.into_iter().collect(),
            response_body: self.said,
            first_byte: self.status.map(|_| total),
            total,
        }
    }
}

/// No answer, and why.
pub(in crate::sinks) fn without_answer(outcome: Outcome, error: impl Into<String>) -> Answer {
    Answer {
        outcome,
        status: None,
        error: Some(error.into()),
        request_id: None,
        said: Bytes::new(),
    }
}

/// No answer within the attempt's time limit.
pub(in crate::sinks) fn time_out(limit: Duration) -> Answer {
    let failure = Failure::FirstByteTimeout(limit);
    without_answer(failure.outcome(), failure.to_string())
}

/// What a service says of an entry that it did not take, or of a whole request.
#[derive(Debug, Clone, Copy)]
pub(in crate::sinks) struct Service<'a> {
    /// The error's code.
    pub(in crate::sinks) code: &'a str,
    /// The error's text.
    pub(in crate::sinks) message: Option<&'a str>,
    /// Whose fault it is, where the service says so.
    pub(in crate::sinks) sender_fault: Option<bool>,
}

/// What became of an entry of a request that was answered with 200; `failed`: what the service says of one that it did
/// not take.
pub(in crate::sinks) fn of_entry(
    failed: Option<Service<'_>>,
    request_id: Option<&str>,
    said: &serde_json::Value,
) -> Answer {
    let outcome = failed.map_or(Outcome::Delivered, |service| {
        of_code(None, service.code, service.sender_fault)
    });
    Answer {
        outcome,
        status: Some(200),
        error: failed.map(|service| words(None, &service, outcome)),
        request_id: request_id.map(str::to_owned),
        said: said.to_string().into(),
    }
}

/// What it means that a request failed as a whole. `own`: its credentials come from the service's own chain.
pub(in crate::sinks) fn of_error<E>(error: &SdkError<E, HttpResponse>, own: bool) -> Answer
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(context) => {
            let (err, raw) = (context.err(), context.raw());
            let service = Service {
                code: err.code().unwrap_or_default(),
                message: err.message(),
                sender_fault: None,
            };
            of_response(raw, &service)
        }
        SdkError::ResponseError(context) => {
            let raw = context.raw();
            let message = "the answer cannot be understood";
            let service = Service {
                code: "",
                message: Some(message),
                sender_fault: None,
            };
            of_response(raw, &service)
        }
        other => of_unsent(other, own),
    }
}

fn of_response(raw: &HttpResponse, service: &Service<'_>) -> Answer {
    let status = raw.status().as_u16();
    let outcome = of_code(Some(status), service.code, service.sender_fault);
    Answer {
        outcome,
        status: Some(status),
        error: Some(words(Some(status), service, outcome)),
        request_id: raw.headers().get(REQUEST_ID).map(str::to_owned),
        said: Bytes::new(),
    }
}

/// What it means that a request was not answered, by what caused that: a connection, or the credentials for it.
fn of_unsent(error: &(dyn Error + 'static), own: bool) -> Answer {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return without_answer(failure.outcome(), failure.to_string());
        }
        // Of the request for a role's credentials: what is asked of the service itself is answered, not unsent.
        if let Some(refused) = error.downcast_ref::<ErrorMetadata>() {
            let code = refused.code().unwrap_or_default();
            let outcome = match of_code(None, code, None) {
                throttled @ Outcome::Throttled => throttled,
                _ if code == "InternalFailure" || code == "ServiceUnavailable" => Outcome::Server,
                _ => Outcome::Auth,
            };
            return without_answer(
                outcome,
                format!("the role cannot be assumed: {}", tame(code)),
            );
        }
        cause = error.source();
    }
    if own {
        without_answer(
            Outcome::Internal,
            "the service has no AWS credentials of its own at the moment",
        )
    } else {
        without_answer(Outcome::Refused, "the request cannot be made")
    }
}

/// What an error code means: first by its name, then by the answer's status, then by whose fault it is.
fn of_code(status: Option<u16>, code: &str, sender_fault: Option<bool>) -> Outcome {
    match code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code) {
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "LimitExceededException"
        | "PriorRequestNotComplete"
        | "SlowDown"
        | "KmsThrottled" => return Outcome::Throttled,
        "AccessDenied"
        | "AccessDeniedException"
        | "AuthFailure"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidAccessKeyId"
        | "InvalidAccountIdException"
        | "InvalidAddress"
        | "InvalidClientTokenId"
        | "InvalidSecurity"
        | "InvalidSignatureException"
        | "KmsAccessDenied"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "NotAuthorizedForDetailTypeException"
        | "NotAuthorizedForSourceException"
        | "OptInRequired"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "SignatureDoesNotMatch"
        | "UnauthorizedOperation"
        | "UnrecognizedClientException" => return Outcome::Auth,
        "QueueDoesNotExist"
        | "NonExistentQueue"
        | "QueueDeletedRecently"
        | "KmsNotFound"
        | "ResourceNotFoundException" => return Outcome::NotFound,
        "InternalError"
        | "InternalException"
        | "InternalFailure"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "RequestTimeout"
        | "RequestTimeoutException" => {
            return Outcome::Server;
        }
        _ => {}
    }
    match (status, sender_fault) {
        (Some(300..=399), _) => Outcome::Redirect,
        (Some(401 | 403 | 407), _) => Outcome::Auth,
        (Some(404 | 405), _) => Outcome::NotFound,
        (Some(408 | 425), _) => Outcome::Server,
        (Some(410), _) => Outcome::NotFound,
        (Some(429), _) => Outcome::Throttled,
        (Some(400..=499), _) => Outcome::Rejected,
        (Some(_), _) => Outcome::Server,
        // An entry of a request that was otherwise taken.
        (None, Some(false)) => Outcome::Server,
        (None, _) => Outcome::Rejected,
    }
}

/// `HTTP 400 QueueDoesNotExist: The specified queue does not exist.`
fn words(status: Option<u16>, service: &Service<'_>, outcome: Outcome) -> String {
    let mut words = status.map_or(String::new(), |status| format!("HTTP {status}"));
    if !service.code.is_empty() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(&tame(service.code));
    }
    if let Some(message) = service.message.filter(|_| outcome != Outcome::Auth) {
        if !words.is_empty() {
            words.push_str(": ");
        }
        words.push_str(&tame(message));
    }
    words
}

/// A service's words on one line, not too many.
fn tame(text: &str) -> String {
    let mut tame = String::new();
    for c in text.chars() {
        if tame.len() + c.len_utf8() > WORDS_KEPT {
            break;
        }
        tame.push(if c.is_control() { ' ' } else { c });
    }
    tame
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::error::ConnectorError;
    use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchError as Refused;
    use aws_smithy_types::body::SdkBody;

    use super::*;
    use crate::egress::Refusal;

    fn refused(code: &str, message: &str) -> Refused {
        Refused::generic(ErrorMetadata::builder().code(code).message(message).build())
    }

    fn response(status: u16) -> HttpResponse {
        let mut response = HttpResponse::new(
            status.try_into().expect("a status"),
            SdkBody::from("<html>"),
        );
        response.headers_mut().insert(REQUEST_ID, "r-1");
        response
    }

    #[test]
    fn a_code_decides_then_the_status_then_whose_fault_it_is() {
        use Outcome::*;
        for (status, code, sender_fault, expected) in [
            // Throttling.
            (Some(400), "ThrottlingException", None, Throttled),
            (
                Some(400),
                "AWS.SimpleQueueService.ThrottlingException",
                None,
                Throttled,
            ),
            (Some(403), "RequestThrottled", None, Throttled),
            (Some(503), "SlowDown", None, Throttled),
            (Some(400), "KmsThrottled", None, Throttled),
            (Some(429), "", None, Throttled),
            (None, "ThrottlingException", None, Throttled),
            // Credentials.
            (Some(400), "UnrecognizedClientException", None, Auth),
            (Some(403), "InvalidClientTokenId", None, Auth),
            (Some(400), "AccessDeniedException", None, Auth),
            (Some(400), "ExpiredTokenException", None, Auth),
            (Some(403), "403", None, Auth),
            (Some(401), "", None, Auth),
            (None, "NotAuthorizedForSourceException", None, Auth),
            (None, "AccessDenied", Some(true), Auth),
            // A target that is not there.
            (Some(400), "QueueDoesNotExist", None, NotFound),
            (
                Some(400),
                "AWS.SimpleQueueService.NonExistentQueue",
                None,
                NotFound,
            ),
            (Some(400), "ResourceNotFoundException", None, NotFound),
            (Some(404), "", None, NotFound),
            (Some(405), "", None, NotFound),
            (Some(410), "", None, NotFound),
            // An event, or a request, that is refused.
            (
                Some(400),
                "AWS.SimpleQueueService.BatchRequestTooLong",
                None,
                Rejected,
            ),
            (Some(400), "ValidationException", None, Rejected),
            (Some(413), "", None, Rejected),
            (None, "InvalidMessageContents", Some(true), Rejected),
            (None, "MalformedDetail", None, Rejected),
            (None, "InvalidArgument", None, Rejected),
            // A service in trouble.
            (Some(500), "InternalFailure", None, Server),
            (Some(400), "InternalError", None, Server),
            (Some(503), "ServiceUnavailable", None, Server),
            (Some(502), "", None, Server),
            (Some(408), "", None, Server),
            (Some(200), "", None, Server),
            (None, "InternalFailure", None, Server),
            (None, "Whatever", Some(false), Server),
            // What is not followed.
            (Some(301), "", None, Redirect),
        ] {
            assert_eq!(
                of_code(status, code, sender_fault),
                expected,
                "{status:?} {code} {sender_fault:?}"
            );
        }
    }

    #[test]
    fn an_answer_is_told_with_status_code_words_and_id() {
        let error = SdkError::service_error(
            refused("QueueDoesNotExist", "The specified queue does not exist."),
            response(400),
        );
        assert_eq!(
            of_error(&error, false),
            Answer {
                outcome: Outcome::NotFound,
                status: Some(400),
                error: Some(
                    "HTTP 400 QueueDoesNotExist: The specified queue does not exist.".to_owned()
                ),
                request_id: Some("r-1".to_owned()),
                said: Bytes::new(),
            }
        );
        let error: SdkError<Refused, HttpResponse> =
            SdkError::response_error("not JSON", response(502));
        let answer = of_error(&error, false);
        assert_eq!(
            (answer.outcome, answer.status),
            (Outcome::Server, Some(502))
        );
        assert_eq!(
            answer.error.as_deref(),
            Some("HTTP 502: the answer cannot be understood")
        );
    }

    #[test]
    fn what_a_service_says_about_credentials_is_not_repeated() {
        let echo = "The Canonical String should have been x-amz-security-token:SECRET";
        let error = SdkError::service_error(refused("SignatureDoesNotMatch", echo), response(403));
        let answer = of_error(&error, false);
        assert_eq!(answer.outcome, Outcome::Auth);
        assert_eq!(
            answer.error.as_deref(),
            Some("HTTP 403 SignatureDoesNotMatch")
        );
    }

    #[test]
    fn a_request_that_was_not_answered_is_judged_by_its_cause() {
        let limit = Duration::from_secs(20);
        let connector = |failure: Failure| {
            SdkError::<Refused, HttpResponse>::dispatch_failure(ConnectorError::io(failure.into()))
        };
        let role = |code: &str| {
            // As the SDK wraps it: the refusal of AssumeRole is the cause of the missing credentials.
            let inner = SdkError::<Refused, HttpResponse>::service_error(
                refused(code, "User: arn:aws:iam::1:user/u is not authorized"),
                response(403),
            );
            SdkError::<Refused, HttpResponse>::dispatch_failure(ConnectorError::other(
                inner.into(),
                None,
            ))
        };
        let none = || {
            SdkError::<Refused, HttpResponse>::dispatch_failure(ConnectorError::other(
                "no providers in chain provided credentials".into(),
                None,
            ))
        };
        let unmade = SdkError::<Refused, HttpResponse>::construction_failure("no region");
        for (error, own, outcome, words) in [
            (
                connector(Failure::Connect("connection refused")),
                false,
                Outcome::Network,
                "connection refused",
            ),
            (
                connector(Failure::FirstByteTimeout(limit)),
                false,
                Outcome::Network,
                "time-out after 20 s waiting for the first byte",
            ),
            (
                connector(Failure::Egress(Refusal::Address)),
                true,
                Outcome::Refused,
                Refusal::SENTENCE,
            ),
            (
                connector(Failure::Ours("the service has no free local port")),
                false,
                Outcome::Internal,
                "the service has no free local port",
            ),
            (
                role("AccessDenied"),
                true,
                Outcome::Auth,
                "the role cannot be assumed: AccessDenied",
            ),
            (
                role("Throttling"),
                true,
                Outcome::Throttled,
                "the role cannot be assumed: Throttling",
            ),
            (
                role("ServiceUnavailable"),
                true,
                Outcome::Server,
                "the role cannot be assumed: ServiceUnavailable",
            ),
            (
                none(),
                true,
                Outcome::Internal,
                "the service has no AWS credentials of its own at the moment",
            ),
            (
                unmade,
                false,
                Outcome::Refused,
                "the request cannot be made",
            ),
        ] {
            let answer = of_error(&error, own);
            assert_eq!(
                (answer.outcome, answer.error.as_deref(), answer.status),
                (outcome, Some(words), None)
            );
        }
        assert_eq!(time_out(limit).outcome, Outcome::Network);
    }

    #[test]
    fn an_entry_is_delivered_unless_the_service_says_otherwise() {
        let said = serde_json::json!({"MessageId": "m-1"});
        let answer = of_entry(None, Some("r-1"), &said);
        assert_eq!((answer.outcome, answer.error), (Outcome::Delivered, None));
        assert_eq!(answer.said, said.to_string());
        let failed = Service {
            code: "InvalidMessageContents",
            message: Some("Invalid\ncharacter"),
            sender_fault: Some(true),
        };
        let answer = of_entry(Some(failed), None, &said);
        assert_eq!(answer.outcome, Outcome::Rejected);
        assert_eq!(
            answer.error.as_deref(),
            Some("InvalidMessageContents: Invalid character")
        );
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let long = "ü".repeat(WORDS_KEPT);
        assert_eq!(tame(&long).len(), WORDS_KEPT);
    }
}
