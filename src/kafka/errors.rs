//! What Kafka refuses, in words that say what to do: from an error and what was being done to a finding.
//!
//! librdkafka's errors carry neither the operation nor the resource, so the caller's [`Access`] supplies them.

use std::fmt;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde::Serialize;

use super::commands::Commands;

/// What sort of trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// No broker answers, or not in time. It may pass by itself.
    Unreachable,
    /// The broker does not accept who we are, or we do not accept it: SASL, TLS.
    Auth,
    /// An operation on a resource is not allowed.
    Acl,
    /// A topic or partition does not exist.
    TopicMissing,
    /// A topic exists and is not as it must be.
    Policy,
    /// A record is larger than the broker or the topic takes.
    TooLarge,
    /// The client cannot be made with these settings.
    Settings,
    /// Anything else.
    Other,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It works, and somebody should know.
    Warning,
    /// Nothing starts before it is put right.
    Error,
}

/// Something that is not as it should be, and how to put it right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What sort of trouble it is.
    pub kind: Kind,
    /// What it is about: `topic posthaste.retry`, `group posthaste`, `kafka`.
    pub subject: String,
    /// What is wrong, without the subject.
    pub problem: String,
    /// What puts it right: words, or commands one a line.
    pub fix: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; fix: {}", self.subject, self.problem, self.fix)
    }
}

/// What is done to a resource, as Kafka's ACLs name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// See that it exists.
    Describe,
    /// Read its properties.
    DescribeConfigs,
    /// Make it.
    Create,
    /// Delete it.
    Delete,
    /// Consume, or commit for a group.
    Read,
    /// Produce.
    Write,
}

impl Operation {
    /// The name that `kafka-acls.sh` takes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Describe => "Describe",
            Self::DescribeConfigs => "DescribeConfigs",
            Self::Create => "Create",
            Self::Delete => "Delete",
            Self::Read => "Read",
            Self::Write => "Write",
        }
    }
}

/// What an operation is done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// The cluster as a whole.
    Cluster,
    /// A topic, by name.
    Topic(String),
    /// A consumer group, by id.
    Group(String),
}

impl Resource {
    /// A topic.
    #[must_use]
    pub fn topic(name: &str) -> Self {
        Self::Topic(name.to_owned())
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("kafka"),
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Group(id) => write!(f, "group {id}"),
        }
    }
}

/// An operation on a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// What was done.
    pub operation: Operation,
    /// To what.
    pub resource: Resource,
}

impl Access {
    /// `operation` on the topic `name`.
    #[must_use]
    pub fn topic(operation: Operation, name: &str) -> Self {
        Self {
            operation,
            resource: Resource::topic(name),
        }
    }

    /// `operation` on the group `id`.
    #[must_use]
    pub fn group(operation: Operation, id: &str) -> Self {
        Self {
            operation,
            resource: Resource::Group(id.to_owned()),
        }
    }

    /// `operation` on the cluster.
    #[must_use]
    pub fn cluster(operation: Operation) -> Self {
        Self {
            operation,
            resource: Resource::Cluster,
        }
    }
}

/// An error of Kafka with its explanation.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{finding}")]
pub struct Error {
    /// What it means and what to do.
    pub finding: Box<Finding>,
    /// What the client said; the finding tells it already.
    pub cause: KafkaError,
}

impl Error {
    /// Explains `cause`, which ended `access`.
    #[must_use]
    pub fn new(cause: KafkaError, access: &Access, commands: &Commands) -> Self {
        Self::with_reason(cause, None, access, commands)
    }

    /// Explains `cause`, for which a client gave a reason of its own beside.
    #[must_use]
    pub fn with_reason(
        cause: KafkaError,
        reason: Option<&str>,
        access: &Access,
        commands: &Commands,
    ) -> Self {
        Self {
            finding: Box::new(explain(&cause, reason, access, commands)),
            cause,
        }
    }

    /// Explains an error code, which ended `access`.
    #[must_use]
    pub fn from_code(code: RDKafkaErrorCode, access: &Access, commands: &Commands) -> Self {
        Self::new(KafkaError::Global(code), access, commands)
    }

    /// What sort of trouble it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.finding.kind
    }
}

/// The error code in `error`, if it has one.
#[must_use]
pub fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        // The client's own accessor forgets this one.
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// What sort of trouble `error` is.
#[must_use]
pub fn kind(error: &KafkaError) -> Kind {
    match error {
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) | KafkaError::Nul(_) => {
            Kind::Settings
        }
        other => code(other).map_or(Kind::Other, kind_of_code),
    }
}

/// What sort of trouble `code` is.
///
/// Codes: <https://kafka.apache.org/protocol#protocol_error_codes>; negative ones are librdkafka's own.
#[must_use]
pub fn kind_of_code(code: RDKafkaErrorCode) -> Kind {
    use RDKafkaErrorCode as C;
    match code {
        C::BrokerTransportFailure
        | C::Resolve
        | C::AllBrokersDown
        | C::MessageTimedOut
        | C::OperationTimedOut
        | C::TimedOutQueue
        | C::WaitingForCoordinator
        | C::LeaderNotAvailable
        | C::NotLeaderForPartition
        | C::RequestTimedOut
        | C::BrokerNotAvailable
        | C::NetworkException
        | C::CoordinatorLoadInProgress
        | C::CoordinatorNotAvailable
        | C::NotCoordinator
        | C::NotController => Kind::Unreachable,
        C::SSL
        | C::Authentication
        | C::UnsupportedSASLMechanism
        | C::IllegalSASLState
        | C::SaslAuthenticationFailed
        | C::SecurityDisabled => Kind::Auth,
        C::TopicAuthorizationFailed
        | C::GroupAuthorizationFailed
        | C::ClusterAuthorizationFailed
        | C::TransactionalIdAuthorizationFailed => Kind::Acl,
        C::UnknownTopicOrPartition
        | C::UnknownTopic
        | C::UnknownPartition
        | C::UnknownTopicId
        | C::InvalidTopic => Kind::TopicMissing,
        C::MessageSizeTooLarge | C::InvalidMessageSize | C::MessageBatchTooLarge => Kind::TooLarge,
        C::InvalidReplicationFactor | C::PolicyViolation | C::InvalidConfig => Kind::Policy,
        _ => Kind::Other,
    }
}

/// Says what `error` means for `access` and what to do; `reason` is the client's own word for it, where it has one.
#[must_use]
pub fn explain(
    error: &KafkaError,
    reason: Option<&str>,
    access: &Access,
    commands: &Commands,
) -> Finding {
    let kind = kind(error);
    let detail = reason.map_or_else(|| detail(error), tidy);
    let resource = &access.resource;
    let operation = access.operation.as_str();
    let (subject, problem, fix) = match kind {
        Kind::Unreachable => (
            Resource::Cluster.to_string(),
            match resource {
                Resource::Cluster => format!("no answer from {}: {detail}", commands.brokers()),
                other => format!(
                    "no answer from {} ({operation} on {other}): {detail}",
                    commands.brokers()
                ),
            },
            "start Kafka, or correct `kafka.brokers` and the listener settings".to_owned(),
        ),
        Kind::Auth => (
            Resource::Cluster.to_string(),
            format!("{} refused the connection: {detail}", commands.brokers()),
            "correct `security.protocol`, `sasl.*` and `ssl.*` under `kafka.properties`".to_owned(),
        ),
        Kind::Acl => acl(access, commands),
        Kind::TopicMissing => missing(code(error), resource, commands),
        Kind::TooLarge => too_large(resource, commands),
        Kind::Policy => (
            resource.to_string(),
            format!("the broker refuses to make it like this: {detail}"),
            "adapt `topics.replication_factor` to the number of brokers, or the broker's policy on new topics"
                .to_owned(),
        ),
        Kind::Settings => (
            "settings".to_owned(),
            detail,
            "correct `kafka.properties`".to_owned(),
        ),
        Kind::Other => (
            resource.to_string(),
            format!("{operation} failed: {detail}"),
            "see the broker's log".to_owned(),
        ),
    };
    Finding {
        severity: Severity::Error,
        kind,
        subject,
        problem,
        fix,
    }
}

/// Subject, problem and fix of a missing permission.
fn acl(access: &Access, commands: &Commands) -> (String, String, String) {
    let operation = access.operation.as_str();
    let resource = &access.resource;
    let (what, fix) = match resource {
        Resource::Cluster => ("Cluster".to_owned(), commands.allow_on_cluster(operation)),
        Resource::Topic(name) => (
            format!("Topic {name}"),
            commands.allow_on_topic(operation, name),
        ),
        Resource::Group(id) => (
            format!("Group {id}"),
            commands.allow_on_group(operation, id),
        ),
    };
    let or_cluster = if access.operation == Operation::Create {
        " (or on Cluster)"
    } else {
        ""
    };
    (
        resource.to_string(),
        format!("not allowed: {operation} on {what}{or_cluster}"),
        fix,
    )
}

/// Subject, problem and fix of a topic that is not there.
fn missing(
    code: Option<RDKafkaErrorCode>,
    resource: &Resource,
    commands: &Commands,
) -> (String, String, String) {
    let problem = match code {
        Some(RDKafkaErrorCode::UnknownPartition) => "the partition does not exist",
        Some(RDKafkaErrorCode::InvalidTopic) => "is not a valid name of a topic",
        _ => "does not exist",
    };
    let fix = match resource {
        Resource::Topic(name) if commands.is_ours(name) => {
            "start `posthaste serve` once: it makes its topics".to_owned()
        }
        Resource::Topic(name) => commands.create_topic(name),
        Resource::Cluster | Resource::Group(_) => "correct the name".to_owned(),
    };
    (resource.to_string(), problem.to_owned(), fix)
}

/// Subject, problem and fix of a record that is too large.
fn too_large(resource: &Resource, commands: &Commands) -> (String, String, String) {
    let fix = match resource {
        Resource::Topic(name) => format!(
            "raise its limit, and `message.max.bytes` of the brokers where it is lower: {}",
            commands.alter_configs(name, &[("max.message.bytes", "BYTES".to_owned())])
        ),
        Resource::Cluster | Resource::Group(_) => "send less at once".to_owned(),
    };
    let problem = "the record is larger than the topic takes".to_owned();
    (resource.to_string(), problem, fix)
}

/// A reason as librdkafka gives it, without the name of the connection and how long that was in which state.
fn tidy(reason: &str) -> String {
    let reason = reason.split(" (after ").next().unwrap_or(reason);
    match reason.split_once(": ") {
        Some((connection, what)) if connection.contains('/') => what.to_owned(),
        _ => reason.to_owned(),
    }
}

/// What the client said, in its own words: the code's description where there is one.
fn detail(error: &KafkaError) -> String {
    match (error, code(error)) {
        (KafkaError::ClientConfig(_, description, _, _), _)
        | (KafkaError::ClientCreation(description), _) => description.clone(),
        (_, Some(code)) => code.to_string(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::settings;

    fn commands() -> Commands {
        Commands::new(
            &settings::Kafka {
                brokers: "b:9092".to_owned(),
                group: "g".to_owned(),
                properties: BTreeMap::new(),
            },
            &settings::Topics {
                prefix: "posthaste.".to_owned(),
                lanes: 8,
                replication_factor: 0,
            },
        )
    }

    #[test]
    fn reasons_are_told_without_the_inside_of_the_client() {
        for (reason, expected) in [
            (
                "sasl_ssl://k:1/bootstrap: SASL authentication error: no such user (after 3ms in state AUTH_REQ)",
                "SASL authentication error: no such user",
            ),
            (
                "k:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
                "Connect to ipv4#127.0.0.1:1 failed: Connection refused",
            ),
            ("plain words: here", "plain words: here"),
        ] {
            assert_eq!(tidy(reason), expected);
        }
    }

    #[test]
    fn each_error_says_what_and_how_to_go_on() {
        use RDKafkaErrorCode as C;
        let rows: [(KafkaError, Access, Kind, &str, &str); 10] = [
            (
                KafkaError::MetadataFetch(C::BrokerTransportFailure),
                Access::cluster(Operation::Describe),
                Kind::Unreachable,
                "kafka: no answer from b:9092: ",
                "start Kafka",
            ),
            (
                KafkaError::Global(C::SaslAuthenticationFailed),
                Access::cluster(Operation::Describe),
                Kind::Auth,
                "kafka: b:9092 refused the connection",
                "`sasl.*`",
            ),
            (
                KafkaError::AdminOp(C::TopicAuthorizationFailed),
                Access::topic(Operation::Create, "posthaste.retry"),
                Kind::Acl,
                "topic posthaste.retry: not allowed: Create on Topic posthaste.retry (or on Cluster)",
                "--operation Create --operation Delete --operation Read --operation Write --topic posthaste. --resource-pattern-type prefixed",
            ),
            (
                KafkaError::MessageConsumption(C::GroupAuthorizationFailed),
                Access::group(Operation::Read, "g"),
                Kind::Acl,
                "group g: not allowed: Read on Group g",
                "--operation Read --group g",
            ),
            (
                KafkaError::AdminOp(C::ClusterAuthorizationFailed),
                Access::cluster(Operation::Create),
                Kind::Acl,
                "kafka: not allowed: Create on Cluster",
                "--operation Create --cluster",
            ),
            (
                KafkaError::MessageProduction(C::UnknownTopicOrPartition),
                Access::topic(Operation::Write, "orders"),
                Kind::TopicMissing,
                "topic orders: does not exist",
                "kafka-topics.sh --bootstrap-server b:9092 --create --topic orders",
            ),
            (
                KafkaError::MessageProduction(C::UnknownTopicOrPartition),
                Access::topic(Operation::Write, "posthaste.destinations"),
                Kind::TopicMissing,
                "topic posthaste.destinations: does not exist",
                "start `posthaste serve` once",
            ),
            (
                KafkaError::MessageProduction(C::MessageSizeTooLarge),
                Access::topic(Operation::Write, "orders"),
                Kind::TooLarge,
                "topic orders: the record is larger than the topic takes",
                "max.message.bytes=BYTES",
            ),
            (
                KafkaError::ClientCreation("no provider for SASL mechanism GSSAPI".to_owned()),
                Access::cluster(Operation::Describe),
                Kind::Settings,
                "settings: no provider",
                "`kafka.properties`",
            ),
            (
                KafkaError::Global(C::InvalidRecord),
                Access::topic(Operation::Write, "orders"),
                Kind::Other,
                "topic orders: Write failed",
                "broker's log",
            ),
        ];
        for (cause, access, kind, problem, fix) in rows {
            let error = Error::new(cause, &access, &commands());
            let text = error.to_string();
            assert_eq!(error.kind(), kind, "{text}");
            assert!(text.starts_with(problem), "{text}");
            assert!(error.finding.fix.contains(fix), "{text}");
        }
    }
}
