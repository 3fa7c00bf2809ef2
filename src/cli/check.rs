//! `posthaste check`: whether a start would succeed and everything would be allowed, said before it matters.
//!
//! Invariant: it only reports; it makes, changes and writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use serde::Serialize;

use super::{Output, exit, exit_code_of};
use crate::config::faults::Fault;
use crate::config::settings::Settings;
use crate::domain::ids::DestinationId;
use crate::kafka::client;
use crate::kafka::errors::{Finding, Kind};
use crate::kafka::names::Names;
use crate::kafka::permissions;
use crate::kafka::topics::{self, Survey, TopicAdmin};

/// Probes at once.
const AT_ONCE: usize = 8;

/// Source topics whose permissions are tried at most: a pattern may match thousands.
const SOURCES_TRIED: usize = 50;

/// Everything that is said.
#[derive(Debug, Default, Serialize)]
struct Answer {
    ok: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kafka: Option<Kafka>,
    sources: BTreeMap<String, BTreeSet<String>>,
    topics: Vec<Topic>,
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct Kafka {
    cluster_id: Option<String>,
    brokers: usize,
}

#[derive(Debug, Serialize)]
struct Topic {
    name: String,
    /// False: it is made at start.
    exists: bool,
    partitions: i32,
}

/// Says what is wrong with settings that are not valid; returns the exit code.
///
/// # Errors
/// If it cannot be written.
pub fn wrong_settings(
    faults: Vec<Fault>,
    output: Output,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    let answer = Answer {
        faults,
        ..Answer::default()
    };
    answer.write(output, out)?;
    Ok(exit::SETTINGS)
}

/// Runs the command over settings that are valid; returns the exit code.
///
/// # Errors
/// If the answer cannot be written.
pub async fn run(
    settings: &Settings,
    output: Output,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    let (answer, code) = match look(settings).await {
        Ok(answer) if answer.findings.is_empty() => (answer, exit::FINE),
        Ok(answer) => (answer, exit::NO),
        Err(finding) => {
            let code = exit_code_of(finding.kind);
            let findings = vec![finding];
            (
                Answer {
                    findings,
                    ..Answer::default()
                },
                code,
            )
        }
    };
    let answer = Answer {
        ok: code == exit::FINE,
        ..answer
    };
    answer.write(output, out)?;
    Ok(code)
}

/// Asks Kafka. The error is what prevents any answer.
async fn look(settings: &Settings) -> Result<Answer, Finding> {
    let admin = TopicAdmin::connect(settings).map_err(|error| *error.finding)?;
    let survey = topics::survey(settings, &admin)
        .await
        .map_err(|error| *error.finding)?;
    let mut findings = survey.findings.clone();
    for finding in tried(settings, &admin, &survey).await {
        // What may not even be seen was found before.
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    let topic = |spec: &topics::TopicSpec, exists| Topic {
        name: spec.name.clone(),
        exists,
        partitions: spec.partitions,
    };
    let present = survey.present.iter().map(|spec| topic(spec, true));
    let absent = survey.absent.iter().map(|spec| topic(spec, false));
    Ok(Answer {
        ok: false,
        faults: Vec::new(),
        kafka: Some(Kafka {
            cluster_id: survey.cluster.id,
            brokers: survey.cluster.brokers,
        }),
        topics: present.chain(absent).collect(),
        sources: survey.sources,
        findings,
    })
}

/// Tries every permission that `serve` needs; returns what is refused.
async fn tried(settings: &Settings, admin: &TopicAdmin, survey: &Survey) -> Vec<Finding> {
    let names = Names::new(&settings.topics.prefix);
    let mut probes: Vec<BoxFuture<'_, Option<Finding>>> = Vec::new();
    let sources: BTreeSet<&String> = survey.sources.values().flatten().collect();
    for topic in sources.iter().take(SOURCES_TRIED) {
        probes.push(Box::pin(permissions::may_read(settings, topic)));
    }
    for spec in &survey.present {
        let name = &spec.name;
        probes.push(Box::pin(permissions::may_read(settings, name)));
        let written = [
            &names.retry,
            &names.dedicated,
            &names.dead_letter,
            &names.attempts,
        ];
        if written.iter().any(|topic| ***topic == **name) {
            probes.push(Box::pin(permissions::may_write(settings, name)));
        }
    }
    let example = retry_topic_of_nobody(settings, survey.max_message_bytes);
    let absent: Vec<topics::TopicSpec> = survey.absent.iter().cloned().chain(example).collect();
    for spec in absent {
        let replication = survey.replication.wanted;
        probes.push(Box::pin(async move {
            let refused = admin.may_create(&spec, replication).await.err()?;
            Some(*refused.finding)
        }));
    }
    let any = sources
        .first()
        .map_or(&*names.destinations, |topic| topic.as_str());
    for group in client::groups(&settings.kafka.group) {
        probes.push(Box::pin(async move {
            permissions::may_use_group(settings, &group, any).await
        }));
    }
    futures_util::stream::iter(probes)
        .buffered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await
}

/// Retry topics of single destinations are made later, under names like this one.
fn retry_topic_of_nobody(settings: &Settings, max_message_bytes: i32) -> Option<topics::TopicSpec> {
    let nobody = DestinationId::parse("check").ok()?;
    let name = Names::new(&settings.topics.prefix).dedicated_retry(&nobody, 0);
    Some(topics::dedicated_spec(settings, &name, max_message_bytes))
}

impl Answer {
    fn write(&self, output: Output, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
        match output {
            Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(self)?)?,
            Output::Text => self.write_text(out)?,
        }
        Ok(())
    }

    fn write_text(&self, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
        for fault in &self.faults {
            writeln!(out, "settings: {fault}")?;
        }
        if self.faults.is_empty() {
            writeln!(out, "settings: fine")?;
        }
        if let Some(kafka) = &self.kafka {
            let id = kafka.cluster_id.as_deref().unwrap_or("without an id");
            writeln!(out, "kafka: cluster {id}, {} broker(s)", kafka.brokers)?;
        }
        for (source, topics) in &self.sources {
            let names: Vec<&str> = topics.iter().map(String::as_str).collect();
            match names.as_slice() {
                [] => writeln!(out, "source {source}: no topic")?,
                [name] if name == source => writeln!(out, "source {source}: found")?,
                names => writeln!(out, "source {source}: {}", names.join(", "))?,
            }
        }
        for topic in &self.topics {
            let (name, partitions) = (&topic.name, topic.partitions);
            if topic.exists {
                writeln!(out, "topic {name}: found")?;
            } else {
                writeln!(
                    out,
                    "topic {name}: made at start, {partitions} partition(s)"
                )?;
            }
        }
        let mut said = None;
        for (n, finding) in self.findings.iter().enumerate() {
            if said != Some(&finding.fix) {
                writeln!(out)?;
            }
            said = Some(&finding.fix);
            writeln!(out, "{}: {}", finding.subject, finding.problem)?;
            // Several with one remedy: it is said once, after them.
            if self.findings.get(n + 1).map(|next| &next.fix) != said {
                writeln!(out, "  fix: {}", finding.fix)?;
            }
        }
        match (self.ok, self.findings.len()) {
            (true, _) => writeln!(out, "\nall is fine"),
            (false, 0) => Ok(()),
            (false, 1) if self.findings.iter().any(|f| f.kind == Kind::Unreachable) => Ok(()),
            (false, count) => writeln!(out, "\n{count} finding(s)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::errors::Severity;

    fn written(answer: &Answer, output: Output) -> String {
        let mut out = Vec::new();
        answer.write(output, &mut out).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn each_finding_is_shown_with_its_fix() {
        let answer = Answer {
            kafka: Some(Kafka {
                cluster_id: Some("c1".to_owned()),
                brokers: 1,
            }),
            sources: BTreeMap::from([
                ("orders".to_owned(), BTreeSet::from(["orders".to_owned()])),
                ("missing-*".to_owned(), BTreeSet::new()),
            ]),
            topics: vec![Topic {
                name: "posthaste.retry".to_owned(),
                exists: false,
                partitions: 80,
            }],
            findings: vec![Finding {
                severity: Severity::Error,
                kind: Kind::Acl,
                subject: "group posthaste".to_owned(),
                problem: "not allowed: Read on Group posthaste".to_owned(),
                fix: "kafka-acls.sh …".to_owned(),
            }],
            ..Answer::default()
        };
        assert_eq!(
            written(&answer, Output::Text),
            "settings: fine\nkafka: cluster c1, 1 broker(s)\nsource missing-*: no topic\nsource orders: found\n\
             topic posthaste.retry: made at start, 80 partition(s)\n\n\
             group posthaste: not allowed: Read on Group posthaste\n  fix: kafka-acls.sh …\n\n1 finding(s)\n"
        );
        let json: serde_json::Value =
            serde_json::from_str(&written(&answer, Output::Json)).expect("JSON");
        assert_eq!(json["ok"], false);
        assert_eq!(json["findings"][0]["kind"], "acl");
        assert_eq!(json["kafka"]["cluster_id"], "c1");
    }

    #[test]
    fn all_mistakes_in_settings_are_shown() {
        let faults = vec![
            Fault::new("/kafka/brokers", "is empty"),
            Fault::new("", "too short"),
        ];
        let mut out = Vec::new();
        let code = wrong_settings(faults, Output::Text, &mut out).expect("memory");
        assert_eq!(code, exit::SETTINGS);
        assert_eq!(
            out,
            b"settings: /kafka/brokers: is empty\nsettings: too short\n"
        );
    }
}
