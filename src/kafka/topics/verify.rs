//! Whether a topic that exists is as it must be: from what the broker says of it to findings with the command for each.

use std::collections::BTreeMap;

use super::table::{Fit, Need, Rule, TopicSpec, min_insync};
use crate::kafka::commands::Commands;
use crate::kafka::errors::{Finding, Kind, Severity};

/// The properties of a topic as the broker tells them.
pub type Configs = BTreeMap<String, String>;

/// What a topic looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Its partitions.
    pub partitions: i32,
    /// The replicas of the partition that has the fewest.
    pub replication: i32,
}

/// How many replicas topics should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replication {
    /// So many.
    pub wanted: i32,
    /// Whether somebody asked for it, or it follows from the number of brokers.
    pub asked_for: bool,
}

impl Replication {
    /// What `topics.replication_factor` (0: not set) means with so many brokers.
    #[must_use]
    pub fn new(setting: u32, brokers: usize) -> Self {
        let asked_for = setting > 0;
        let wanted = if asked_for {
            i32::try_from(setting).unwrap_or(i32::MAX)
        } else {
            i32::try_from(brokers.clamp(1, 3)).unwrap_or(3)
        };
        Self { wanted, asked_for }
    }
}

/// Everything that is wrong with a topic. `configs` is `None` where they cannot be read.
#[must_use]
pub fn verify(
    spec: &TopicSpec,
    shape: Shape,
    configs: Option<&Configs>,
    replication: Replication,
    commands: &Commands,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(partitions(spec, shape.partitions, commands));
    findings.extend(replicas(spec, shape.replication, replication));
    if let Some(configs) = configs {
        for severity in [Severity::Error, Severity::Warning] {
            findings.extend(properties(spec, shape, configs, severity, commands));
        }
    }
    findings
}

fn finding(spec: &TopicSpec, severity: Severity, problem: String, fix: String) -> Finding {
    Finding {
        severity,
        kind: Kind::Policy,
        subject: format!("topic {}", spec.name),
        problem,
        fix,
    }
}

fn partitions(spec: &TopicSpec, found: i32, commands: &Commands) -> Option<Finding> {
    let wanted = spec.partitions;
    if found == wanted || (found > wanted && spec.fit == Fit::AtLeast) {
        return None;
    }
    let name = &spec.name;
    let (problem, fix) = match spec.fit {
        Fit::Lanes => (
            format!(
                "has {found} partitions and `topics.lanes` is {wanted}; the number of lanes is fixed once the topics are made"
            ),
            format!("set `topics.lanes = {found}`"),
        ),
        Fit::One => (
            format!("has {found} partitions, but only partition 0 is read"),
            format!(
                "keep what you need of it, delete it ({}) and start again: it is made with 1 partition",
                commands.delete_topic(name)
            ),
        ),
        Fit::Tiers if found > wanted => (
            format!(
                "has {found} partitions, but the settings have only {wanted} (lanes × tiers): what waits in the others would never leave"
            ),
            "put the removed delays back into `retry.tiers`; it may only be appended to".to_owned(),
        ),
        Fit::Tiers | Fit::AtLeast => (
            format!("has {found} partitions, {wanted} are needed"),
            commands.add_partitions(name, wanted),
        ),
    };
    Some(finding(spec, Severity::Error, problem, fix))
}

fn replicas(spec: &TopicSpec, found: i32, replication: Replication) -> Option<Finding> {
    let wanted = replication.wanted;
    if found >= wanted {
        return None;
    }
    // Where it only follows from the number of brokers, adding a broker must not stop anybody from starting.
    let severity = if replication.asked_for {
        Severity::Error
    } else {
        Severity::Warning
    };
    Some(finding(
        spec,
        severity,
        format!("has {found} replicas of a partition, {wanted} are wanted"),
        format!(
            "add replicas with kafka-reassign-partitions.sh, or set `topics.replication_factor = {found}`"
        ),
    ))
}

/// One finding for all properties that are wrong, so that one command puts them right.
fn properties(
    spec: &TopicSpec,
    shape: Shape,
    configs: &Configs,
    severity: Severity,
    commands: &Commands,
) -> Option<Finding> {
    let mut wrong: Vec<String> = Vec::new();
    let mut values: Vec<(&str, String)> = Vec::new();
    for rule in spec.rules.iter().filter(|rule| rule.severity == severity) {
        // A broker that does not know a property cannot be asked for it.
        let Some(found) = configs.get(rule.key) else {
            continue;
        };
        if let Some(needed) = unmet(rule, found) {
            wrong.push(format!("{} is {found}, {needed} is needed", rule.key));
            values.push((rule.key, rule.initial()));
        }
    }
    if severity == Severity::Error
        && let Some(found) = configs.get("min.insync.replicas")
        && let Some(needed) = unmet_insync(found, shape.replication)
    {
        wrong.push(format!("min.insync.replicas is {found}, {needed}"));
        values.push((
            "min.insync.replicas",
            min_insync(shape.replication).to_string(),
        ));
    }
    (!wrong.is_empty()).then(|| {
        finding(
            spec,
            severity,
            wrong.join("; "),
            commands.alter_configs(&spec.name, &values),
        )
    })
}

/// What is needed, where `found` is something else.
fn unmet(rule: &Rule, found: &str) -> Option<String> {
    match &rule.need {
        Need::OneOf(values) => (!values.contains(&found)).then(|| values.join(" or ")),
        Need::AtLeast(least) => {
            let fits = found
                .parse::<i64>()
                .is_ok_and(|found| found >= *least || found == -1);
            (!fits).then(|| format!("at least {least}"))
        }
    }
}

fn unmet_insync(found: &str, replication: i32) -> Option<String> {
    let least = min_insync(replication);
    match found.parse::<i32>() {
        Ok(found) if found > replication => Some(format!(
            "more than the {replication} replicas that there are: nothing can be written"
        )),
        Ok(found) if found >= least => None,
        _ => Some(format!("at least {least} is needed")),
    }
}
