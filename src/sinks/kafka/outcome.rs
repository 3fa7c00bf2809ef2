//! The table that says how an attempt ended. Pure.

use rdkafka::error::RDKafkaErrorCode as Code;

use crate::domain::outcome::Outcome;

/// What a producer has met since the last acknowledgement. Records only time out; this says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing.
    None = 0,
    /// SASL: the broker does not accept who we are.
    Credentials,
    /// TLS: one side does not accept the other.
    Tls,
    /// A broker's name does not resolve.
    Name,
    /// A connection fails or breaks.
    Connection,
}

impl Trouble {
    const ALL: [Self; 5] = [
        Self::None,
        Self::Credentials,
        Self::Tls,
        Self::Name,
        Self::Connection,
    ];

    /// The reverse of `as u8`.
    pub(super) fn of(number: u8) -> Self {
        let found = Self::ALL.into_iter().find(|trouble| *trouble as u8 == number);
        found.unwrap_or(Self::None)
    }

    /// In words, for the destination's owner.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::None => "no broker acknowledged the record in time",
            Self::Credentials => "the broker does not accept the credentials",
            Self::Tls => "the TLS handshake with the broker fails",
            Self::Name => "the name of a broker does not resolve",
            Self::Connection => "no broker can be connected to",
        }
    }
}

/// What it means that a record was not written.
pub(super) fn of_error(code: Code, trouble: Trouble) -> Outcome {
    match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::UnknownTopicId => {
            Outcome::NotFound
        }
        Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::SecurityDisabled => Outcome::Auth,
        Code::ThrottlingQuotaExceeded => Outcome::Throttled,
        Code::MessageSizeTooLarge
        | Code::InvalidMessageSize
        | Code::MessageBatchTooLarge
        | Code::InvalidMessage
        | Code::BadMessage
        | Code::InvalidTimestamp
        | Code::InvalidRecord
        | Code::UnsupportedForMessageFormat
        | Code::PolicyViolation
        | Code::InvalidTopic => Outcome::Rejected,
        // Nothing is sent as long as nobody lets us in.
        Code::MessageTimedOut
        | Code::OperationTimedOut
        | Code::TimedOutQueue
        | Code::PurgeQueue
            if trouble == Trouble::Credentials =>
        {
            Outcome::Auth
        }
        Code::MessageTimedOut
        | Code::OperationTimedOut
        | Code::TimedOutQueue
        | Code::RequestTimedOut
        | Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::NetworkException
        | Code::Resolve
        | Code::SSL => Outcome::Network,
        Code::QueueFull
        | Code::PurgeQueue
        | Code::PurgeInflight
        | Code::DestroyBroker
        | Code::Fatal
        | Code::Fenced
        | Code::State
        | Code::InvalidArgument
        | Code::CriticalSystemResource => Outcome::Internal,
        _ => Outcome::Server,
    }
}

/// Whether the record, or the batch that it was sent in, is larger than the topic takes.
pub(super) fn is_too_large(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_the_outcome_of_the_table() {
        for (codes, expected) in [
            (
                &[
                    Code::UnknownTopic,
                    Code::UnknownTopicOrPartition,
                    Code::UnknownPartition,
                    Code::UnknownTopicId,
                ][..],
                Outcome::NotFound,
            ),
            (
                &[
                    Code::TopicAuthorizationFailed,
                    Code::ClusterAuthorizationFailed,
                    Code::TransactionalIdAuthorizationFailed,
                    Code::Authentication,
                    Code::SaslAuthenticationFailed,
                    Code::UnsupportedSASLMechanism,
                    Code::IllegalSASLState,
                    Code::SecurityDisabled,
                ],
                Outcome::Auth,
            ),
            (&[Code::ThrottlingQuotaExceeded], Outcome::Throttled),
            (
                &[
                    Code::MessageSizeTooLarge,
                    Code::InvalidMessageSize,
                    Code::MessageBatchTooLarge,
                    Code::InvalidMessage,
                    Code::BadMessage,
                    Code::InvalidTimestamp,
                    Code::InvalidRecord,
                    Code::UnsupportedForMessageFormat,
                    Code::PolicyViolation,
                    Code::InvalidTopic,
                ],
                Outcome::Rejected,
            ),
            (
                &[
                    Code::MessageTimedOut,
                    Code::OperationTimedOut,
                    Code::TimedOutQueue,
                    Code::RequestTimedOut,
                    Code::BrokerTransportFailure,
                    Code::AllBrokersDown,
                    Code::NetworkException,
                    Code::Resolve,
                    Code::SSL,
                ],
                Outcome::Network,
            ),
            (
                &[
                    Code::NotEnoughReplicas,
                    Code::NotEnoughReplicasAfterAppend,
                    Code::LeaderNotAvailable,
                    Code::NotLeaderForPartition,
                    Code::BrokerNotAvailable,
                    Code::KafkaStorageError,
                    Code::OutOfOrderSequenceNumber,
                    Code::UnknownProducerId,
                    Code::Unknown,
                ],
                Outcome::Server,
            ),
            (
                &[
                    Code::QueueFull,
                    Code::PurgeQueue,
                    Code::PurgeInflight,
                    Code::DestroyBroker,
                    Code::Fatal,
                    Code::Fenced,
                    Code::State,
                    Code::InvalidArgument,
                    Code::CriticalSystemResource,
                ],
                Outcome::Internal,
            ),
        ] {
            for code in codes {
                assert_eq!(of_error(*code, Trouble::None), expected, "{code:?}");
                assert_eq!(
                    is_too_large(*code),
                    matches!(
                        code,
                        Code::MessageSizeTooLarge
                            | Code::InvalidMessageSize
                            | Code::MessageBatchTooLarge
                    )
                );
            }
        }
    }

    #[test]
    fn what_waited_for_a_connection_that_is_refused_failed_for_the_credentials() {
        for code in [
            Code::MessageTimedOut,
            Code::OperationTimedOut,
            Code::TimedOutQueue,
            Code::PurgeQueue,
        ] {
            assert_eq!(of_error(code, Trouble::Credentials), Outcome::Auth);
            for trouble in [Trouble::Tls, Trouble::Name, Trouble::Connection] {
                assert_ne!(of_error(code, trouble), Outcome::Auth, "{code:?}");
            }
        }
        assert_eq!(
            of_error(Code::UnknownTopic, Trouble::Credentials),
            Outcome::NotFound
        );
    }

    #[test]
    fn trouble_survives_as_a_number() {
        for trouble in Trouble::ALL {
            assert_eq!(Trouble::of(trouble as u8), trouble);
        }
        assert_eq!(Trouble::of(99), Trouble::None);
    }
}
