//! Our own topics: made at start where they are absent, checked where they are present.
//!
//! What they must be like comes from `table`, what they are like from the broker (`admin`), the comparison from `verify`.
//!
//! Invariant: a topic that exists is never changed; what is wrong with it is said, with the command that puts it right.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::settings::Settings;
use crate::kafka::names::Names;

use super::commands::Commands;
use super::errors::{Access, Error, Finding, Kind, Operation, Severity};

mod admin;
mod eyes;
pub mod sources;
mod table;
mod verify;

pub use admin::{Cluster, Made, MockCreate, TopicAdmin};
pub use table::{
    DEFAULT_MAX_MESSAGE_BYTES, Fit, Need, Rule, TopicSpec, dedicated_spec, specs, with_room,
};
pub use verify::{Configs, Replication, Shape, verify};

/// How long a topic that was made may take until every client can see it.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);

/// What there is after a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The cluster's id, if it has one.
    pub cluster_id: Option<String>,
    /// How many brokers it has.
    pub brokers: usize,
    /// L: how many lanes there are.
    pub lanes: u32,
    /// Replicas of new topics.
    pub replication: i32,
    /// What topics that carry events take, and so the limit of the producers that write to them.
    pub max_message_bytes: i32,
    /// The topics that exist now for each source.
    pub sources: BTreeMap<String, BTreeSet<String>>,
    /// Retry topics of single destinations.
    pub dedicated: Vec<String>,
    /// Topics that were made.
    pub created: Vec<String>,
    /// What somebody should know; it was logged.
    pub warnings: Vec<Finding>,
}

/// What was found before anything is made.
#[derive(Debug, Clone)]
pub struct Survey {
    /// The cluster.
    pub cluster: Cluster,
    /// How many replicas topics should have.
    pub replication: Replication,
    /// The topics that exist now for each source.
    pub sources: BTreeMap<String, BTreeSet<String>>,
    /// What topics that carry events must take.
    pub max_message_bytes: i32,
    /// Topics of ours that exist.
    pub present: Vec<TopicSpec>,
    /// Topics of ours that do not.
    pub absent: Vec<TopicSpec>,
    /// Retry topics of single destinations.
    pub dedicated: Vec<String>,
    /// What is wrong, and what somebody should know.
    pub findings: Vec<Finding>,
}

/// Looks at the cluster, the sources and our own topics; changes nothing.
///
/// # Errors
/// If no broker answers, or refuses the connection. Anything else is a finding.
pub async fn survey(settings: &Settings, admin: &TopicAdmin) -> Result<Survey, Error> {
    let cluster = admin.cluster().await?;
    let prefix = &settings.topics.prefix;
    let replication = Replication::new(settings.topics.replication_factor, cluster.brokers);
    let mut findings = Vec::new();

    let sources = sources::find(settings.sources.keys(), cluster.topics.keys(), prefix);
    for (source, topics) in &sources {
        if topics.is_empty() {
            findings.push(no_topic(source, admin).await?);
        }
    }
    let largest = largest_source(&sources, admin, &mut findings).await?;
    let max_message_bytes = with_room(largest);

    let names = Names::new(prefix);
    let mut settings = settings.clone();
    if let Some(shape) = cluster.topics.get(&*names.lanes) {
        // A wrong number of lanes is one finding; the other topics are judged by the number that there is.
        let all = specs(&settings, max_message_bytes);
        let spec = all.iter().filter(|spec| *spec.name == *names.lanes);
        findings.extend(
            spec.flat_map(|spec| verify(spec, *shape, None, replication, admin.commands())),
        );
        settings.topics.lanes = u32::try_from(shape.partitions).unwrap_or(settings.topics.lanes);
    }
    let dedicated: Vec<String> = cluster
        .topics
        .keys()
        .filter(|name| names.destination_of(name).is_some())
        .cloned()
        .collect();
    let mut present = Vec::new();
    let mut unseen = Vec::new();
    for spec in specs(&settings, max_message_bytes) {
        let list = if cluster.topics.contains_key(&spec.name) {
            &mut present
        } else {
            &mut unseen
        };
        list.push(spec);
    }
    let absent = really_absent(unseen, admin, &mut findings).await?;
    let of_destinations = dedicated
        .iter()
        .map(|name| dedicated_spec(&settings, name, max_message_bytes));
    let all: Vec<TopicSpec> = present.iter().cloned().chain(of_destinations).collect();
    findings.extend(verify_all(&all, &cluster.topics, replication, admin).await?);
    Ok(Survey {
        cluster,
        replication,
        sources,
        max_message_bytes,
        present,
        absent,
        dedicated,
        findings,
    })
}

/// Those of the topics that do not exist; the others are only hidden from us, which is a finding.
async fn really_absent(
    unseen: Vec<TopicSpec>,
    admin: &TopicAdmin,
    findings: &mut Vec<Finding>,
) -> Result<Vec<TopicSpec>, Error> {
    let mut absent = Vec::new();
    for spec in unseen {
        match admin.topic(&spec.name).await {
            Err(error) if error.kind() == Kind::Acl => findings.push(*error.finding),
            Err(error) => return Err(error),
            Ok(_) => absent.push(spec),
        }
    }
    Ok(absent)
}

/// Makes what is absent and checks what is present. Two that do it at once do not disturb each other.
///
/// Source topics need not exist yet.
///
/// # Errors
/// Everything that must be put right first: a topic that is not as it must be, a missing permission, no broker.
pub async fn ensure(settings: &Settings, admin: &TopicAdmin) -> Result<Report, Vec<Finding>> {
    let survey = survey(settings, admin)
        .await
        .map_err(|error| vec![*error.finding])?;
    let mut warnings = only_warnings(survey.findings)?;
    let (created, raced) = make(survey.absent, survey.replication, admin).await?;
    let names: Vec<&str> = created
        .iter()
        .map(String::as_str)
        .chain(raced.iter().map(|spec| spec.name.as_str()))
        .collect();
    let topics = await_topics(&names, admin)
        .await
        .map_err(|finding| vec![finding])?;
    let late = verify_all(&raced, &topics, survey.replication, admin)
        .await
        .map_err(|error| vec![*error.finding])?;
    warnings.extend(only_warnings(late)?);
    for warning in &warnings {
        tracing::warn!(
            fix = warning.fix,
            "{}: {}",
            warning.subject,
            warning.problem
        );
    }
    Ok(Report {
        cluster_id: survey.cluster.id,
        brokers: survey.cluster.brokers,
        lanes: settings.topics.lanes,
        replication: survey.replication.wanted,
        max_message_bytes: survey.max_message_bytes,
        sources: survey.sources,
        dedicated: survey.dedicated,
        created,
        warnings,
    })
}

/// The warnings, if there is nothing worse; else what is worse.
fn only_warnings(findings: Vec<Finding>) -> Result<Vec<Finding>, Vec<Finding>> {
    let (wrong, warnings): (Vec<Finding>, Vec<Finding>) = findings
        .into_iter()
        .partition(|finding| finding.severity == Severity::Error);
    if wrong.is_empty() {
        Ok(warnings)
    } else {
        Err(wrong)
    }
}

/// Makes topics; returns the names of those that were made, and those where somebody else was faster.
async fn make(
    absent: Vec<TopicSpec>,
    replication: Replication,
    admin: &TopicAdmin,
) -> Result<(Vec<String>, Vec<TopicSpec>), Vec<Finding>> {
    let (mut created, mut raced, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for spec in absent {
        match admin.create(&spec, replication.wanted).await {
            Ok(Made::New) => {
                tracing::info!(
                    kafka.topic = spec.name,
                    partitions = spec.partitions,
                    replicas = replication.wanted,
                    "topic made"
                );
                created.push(spec.name);
            }
            Ok(Made::Existed) => raced.push(spec),
            Err(error) => wrong.push(*error.finding),
        }
    }
    if wrong.is_empty() {
        Ok((created, raced))
    } else {
        Err(wrong)
    }
}

/// Makes a retry topic for one destination. `name` is from [`Names::dedicated_retry`] and was never used before.
///
/// # Errors
/// If it is not allowed, the broker does not make it as asked, or a topic of that name exists.
pub async fn create_retry_topic(
    name: &str,
    settings: &Settings,
    report: &Report,
    admin: &TopicAdmin,
) -> Result<(), Error> {
    let spec = dedicated_spec(settings, name, report.max_message_bytes);
    match admin.create(&spec, report.replication).await? {
        Made::New => {
            tracing::info!(
                kafka.topic = name,
                partitions = spec.partitions,
                "topic made"
            );
            Ok(())
        }
        Made::Existed => Err(Error::from_code(
            rdkafka::error::RDKafkaErrorCode::TopicAlreadyExists,
            &Access::topic(Operation::Create, name),
            admin.commands(),
        )),
    }
}

/// Waits until topics that were just made are known to the brokers; returns all topics.
async fn await_topics(
    names: &[&str],
    admin: &TopicAdmin,
) -> Result<BTreeMap<String, Shape>, Finding> {
    let until = tokio::time::Instant::now() + VISIBLE_WITHIN;
    loop {
        let topics = admin
            .cluster()
            .await
            .map_err(|error| *error.finding)?
            .topics;
        let Some(hidden) = names.iter().find(|name| !topics.contains_key(**name)) else {
            return Ok(topics);
        };
        if tokio::time::Instant::now() >= until {
            return Err(Finding {
                severity: Severity::Error,
                kind: Kind::Unreachable,
                subject: format!("topic {hidden}"),
                problem: "was made, but no broker knows it yet".to_owned(),
                fix: "start again; if it stays like this, see the controller's log".to_owned(),
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Checks topics that exist.
async fn verify_all(
    specs: &[TopicSpec],
    topics: &BTreeMap<String, Shape>,
    replication: Replication,
    admin: &TopicAdmin,
) -> Result<Vec<Finding>, Error> {
    let existing: Vec<(&TopicSpec, Shape)> = specs
        .iter()
        .filter_map(|spec| Some((spec, *topics.get(&spec.name)?)))
        .collect();
    let names: Vec<&str> = existing
        .iter()
        .map(|(spec, _)| spec.name.as_str())
        .collect();
    let configs = known_configs(&names, admin).await?;
    let mut findings = Vec::new();
    for (spec, shape) in existing {
        let found = configs.get(&spec.name);
        if found.is_none() && admin.has_configs() {
            if admin.topic(&spec.name).await?.is_none() {
                // A retry topic that its owner deleted just now.
                continue;
            }
            findings.push(no_configs(&spec.name, Severity::Error, admin.commands()));
        }
        findings.extend(verify(spec, shape, found, replication, admin.commands()));
    }
    Ok(findings)
}

/// The properties of topics, asked for twice: a broker may not know yet what another one just made.
async fn known_configs(
    names: &[&str],
    admin: &TopicAdmin,
) -> Result<BTreeMap<String, Configs>, Error> {
    let found = admin.configs(names).await?;
    if found.len() == names.len() || !admin.has_configs() {
        return Ok(found);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    admin.configs(names).await
}

/// The largest `max.message.bytes` of the source topics.
async fn largest_source(
    sources: &BTreeMap<String, BTreeSet<String>>,
    admin: &TopicAdmin,
    findings: &mut Vec<Finding>,
) -> Result<i32, Error> {
    let topics: BTreeSet<&str> = sources.values().flatten().map(String::as_str).collect();
    let topics: Vec<&str> = topics.into_iter().collect();
    let configs = known_configs(&topics, admin).await?;
    let mut largest = DEFAULT_MAX_MESSAGE_BYTES;
    for topic in topics {
        match configs.get(topic) {
            Some(configs) => {
                let bytes = configs
                    .get("max.message.bytes")
                    .and_then(|n| n.parse().ok());
                largest = largest.max(bytes.unwrap_or_default());
            }
            None if admin.has_configs() => {
                let mut finding = no_configs(topic, Severity::Warning, admin.commands());
                finding.problem.push_str(
                    "; its largest record is taken to be the broker's default, larger ones cannot be retried",
                );
                findings.push(finding);
            }
            None => {}
        }
    }
    Ok(largest)
}

fn no_configs(topic: &str, severity: Severity, commands: &Commands) -> Finding {
    let error = Error::from_code(
        rdkafka::error::RDKafkaErrorCode::TopicAuthorizationFailed,
        &Access::topic(Operation::DescribeConfigs, topic),
        commands,
    );
    Finding {
        severity,
        ..*error.finding
    }
}

/// A source without a topic: it may not be there yet, or may not be seen.
async fn no_topic(source: &str, admin: &TopicAdmin) -> Result<Finding, Error> {
    let warning = |finding: Finding| Finding {
        severity: Severity::Warning,
        ..finding
    };
    if !sources::is_pattern(source) {
        match admin.topic(source).await {
            Err(error) if error.kind() == Kind::Acl => return Ok(warning(*error.finding)),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    Ok(Finding {
        severity: Severity::Warning,
        kind: Kind::TopicMissing,
        subject: format!("source {source}"),
        problem: if sources::is_pattern(source) {
            "no topic has a name like this".to_owned()
        } else {
            "the topic does not exist".to_owned()
        },
        fix: if sources::is_pattern(source) {
            "make the topic, or correct the pattern under `sources`".to_owned()
        } else {
            format!(
                "make it ({}), or correct the name under `sources`",
                admin.commands().create_topic(source)
            )
        },
    })
}

#[cfg(test)]
mod tests;
