//! The table of topics and what is found wrong with one, without a broker.

use super::*;
use crate::domain::units::Span;

const DAY_MS: i64 = 86_400_000;

pub(crate) fn settings() -> Settings {
    let span = Span::secs;
    let mut settings = crate::config::defaults();
    settings.kafka.brokers = "b:9092".to_owned();
    settings.retry.tiers = vec![span(5), span(30), span(43_200)];
    settings
}

fn commands() -> Commands {
    let settings = settings();
    Commands::new(&settings.kafka, &settings.topics)
}

fn spec(name: &str) -> TopicSpec {
    specs(&settings(), with_room(DEFAULT_MAX_MESSAGE_BYTES))
        .into_iter()
        .find(|spec| spec.name == name)
        .expect("in the table")
}

/// The topic as it is made.
fn made(spec: &TopicSpec, replication: i32) -> (Shape, Configs) {
    let shape = Shape {
        partitions: spec.partitions,
        replication,
    };
    let configs = spec.initial(replication).into_iter();
    (shape, configs.map(|(k, v)| (k.to_owned(), v)).collect())
}

#[test]
fn the_table_of_topics_is_as_designed() {
    let common = "message.timestamp.type=LogAppendTime retention.bytes=-1 unclean.leader.election.enable=false";
    let expected = [
        ("posthaste.lanes", 8, String::new()),
        (
            "posthaste.destinations",
            1,
            format!(" cleanup.policy=compact min.compaction.lag.ms={DAY_MS}"),
        ),
        (
            "posthaste.control",
            1,
            format!(" cleanup.policy=delete retention.ms={}", 7 * DAY_MS),
        ),
        (
            "posthaste.dedicated",
            1,
            " cleanup.policy=compact".to_owned(),
        ),
        (
            "posthaste.retry",
            32,
            format!(
                " cleanup.policy=delete retention.ms={} max.message.bytes=1114124",
                9 * DAY_MS
            ),
        ),
        (
            "posthaste.dead-letter",
            8,
            format!(
                " cleanup.policy=delete retention.ms={} max.message.bytes=1114124",
                30 * DAY_MS
            ),
        ),
        (
            "posthaste.attempts",
            8,
            format!(
                " cleanup.policy=delete retention.ms={} compression.type=zstd",
                7 * DAY_MS
            ),
        ),
    ];
    let found: Vec<(String, i32, String)> =
        specs(&settings(), with_room(DEFAULT_MAX_MESSAGE_BYTES))
            .into_iter()
            .map(|spec| {
                let values: Vec<String> = spec
                    .initial(3)
                    .iter()
                    .map(|(k, v)| format!("{k}={v}"))
                    .collect();
                (spec.name, spec.partitions, values.join(" "))
            })
            .collect();
    let expected: Vec<(String, i32, String)> = expected
        .into_iter()
        .map(|(name, n, rest)| {
            (
                name.to_owned(),
                n,
                format!("{common}{rest} min.insync.replicas=2"),
            )
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_topic_as_it_is_made_passes() {
    for replication in [1, 3] {
        for spec in specs(&settings(), 2_000_000) {
            let (shape, configs) = made(&spec, replication);
            let wanted = Replication::new(0, usize::try_from(replication).expect("positive"));
            assert_eq!(
                verify(&spec, shape, Some(&configs), wanted, &commands()),
                []
            );
        }
    }
}

#[test]
fn each_wrong_property_is_named_with_the_command_that_fixes_it() {
    use Severity::{Error, Warning};
    let rows = [
        (
            "destinations",
            "cleanup.policy",
            "delete",
            Error,
            "cleanup.policy=compact",
        ),
        (
            "destinations",
            "cleanup.policy",
            "compact,delete",
            Error,
            "cleanup.policy=compact",
        ),
        (
            "destinations",
            "min.compaction.lag.ms",
            "0",
            Error,
            "min.compaction.lag.ms=86400000",
        ),
        (
            "destinations",
            "message.timestamp.type",
            "CreateTime",
            Error,
            "message.timestamp.type=LogAppendTime",
        ),
        (
            "dedicated",
            "cleanup.policy",
            "delete",
            Error,
            "cleanup.policy=compact",
        ),
        (
            "retry",
            "retention.ms",
            "604800000",
            Error,
            "retention.ms=777600000",
        ),
        (
            "retry",
            "retention.bytes",
            "1000",
            Error,
            "retention.bytes=-1",
        ),
        (
            "retry",
            "max.message.bytes",
            "1048588",
            Error,
            "max.message.bytes=1114124",
        ),
        (
            "retry",
            "unclean.leader.election.enable",
            "true",
            Error,
            "unclean.leader.election.enable=false",
        ),
        (
            "retry",
            "min.insync.replicas",
            "1",
            Error,
            "min.insync.replicas=2",
        ),
        (
            "retry",
            "min.insync.replicas",
            "4",
            Error,
            "min.insync.replicas=2",
        ),
        (
            "dead-letter",
            "retention.ms",
            "1",
            Warning,
            "retention.ms=2592000000",
        ),
        (
            "attempts",
            "retention.ms",
            "1",
            Warning,
            "retention.ms=604800000",
        ),
        (
            "attempts",
            "compression.type",
            "gzip",
            Warning,
            "compression.type=zstd",
        ),
    ];
    for (topic, key, value, severity, fix) in rows {
        let spec = spec(&format!("posthaste.{topic}"));
        let (shape, mut configs) = made(&spec, 3);
        configs.insert(key.to_owned(), value.to_owned());
        let found = verify(
            &spec,
            shape,
            Some(&configs),
            Replication::new(0, 3),
            &commands(),
        );
        assert_eq!(found.len(), 1, "{topic} {key} {found:?}");
        let finding = &found[0];
        assert_eq!(finding.severity, severity, "{finding}");
        assert_eq!(finding.subject, format!("topic posthaste.{topic}"));
        assert!(
            finding.problem.contains(&format!("{key} is {value}")),
            "{finding}"
        );
        assert_eq!(
            finding.fix,
            format!(
                "kafka-configs.sh --bootstrap-server b:9092 --alter --entity-type topics \
                 --entity-name posthaste.{topic} --add-config {fix}"
            )
        );
    }
}

#[test]
fn all_wrong_properties_of_a_topic_are_put_right_by_one_command() {
    let spec = spec("posthaste.retry");
    let (shape, mut configs) = made(&spec, 1);
    configs.insert("cleanup.policy".to_owned(), "compact".to_owned());
    configs.insert("retention.ms".to_owned(), "1".to_owned());
    let found = verify(
        &spec,
        shape,
        Some(&configs),
        Replication::new(0, 1),
        &commands(),
    );
    assert_eq!(found.len(), 1);
    assert!(
        found[0]
            .fix
            .ends_with("--add-config cleanup.policy=delete,retention.ms=777600000"),
        "{}",
        found[0]
    );
}

#[test]
fn longer_retention_and_room_for_more_are_fine() {
    let spec = spec("posthaste.retry");
    let (shape, mut configs) = made(&spec, 1);
    configs.insert("retention.ms".to_owned(), "-1".to_owned());
    configs.insert("max.message.bytes".to_owned(), "100000000".to_owned());
    assert_eq!(
        verify(
            &spec,
            shape,
            Some(&configs),
            Replication::new(0, 1),
            &commands()
        ),
        []
    );
}

#[test]
fn the_number_of_partitions_is_judged_by_what_they_mean() {
    for (topic, partitions, problem, fix) in [
        ("lanes", 4, "`topics.lanes` is 8", "set `topics.lanes = 4`"),
        (
            "lanes",
            16,
            "`topics.lanes` is 8",
            "set `topics.lanes = 16`",
        ),
        (
            "destinations",
            3,
            "only partition 0 is read",
            "--delete --topic posthaste.destinations",
        ),
        (
            "retry",
            24,
            "32 are needed",
            "--alter --topic posthaste.retry --partitions 32",
        ),
        ("retry", 40, "would never leave", "`retry.tiers`"),
        (
            "attempts",
            4,
            "8 are needed",
            "--alter --topic posthaste.attempts --partitions 8",
        ),
        ("attempts", 16, "", ""),
    ] {
        let spec = spec(&format!("posthaste.{topic}"));
        let shape = Shape {
            partitions,
            replication: 1,
        };
        let found = verify(&spec, shape, None, Replication::new(0, 1), &commands());
        assert_eq!(found.len(), usize::from(!problem.is_empty()), "{found:?}");
        for finding in found {
            assert_eq!(finding.severity, Severity::Error);
            assert!(finding.problem.contains(problem), "{finding}");
            assert!(finding.fix.contains(fix), "{finding}");
        }
    }
}

#[test]
fn too_few_replicas_stop_a_start_only_where_somebody_asked_for_more() {
    let spec = spec("posthaste.retry");
    let (shape, configs) = made(&spec, 1);
    for (setting, brokers, expected) in [
        (0, 1, None),
        (0, 3, Some(Severity::Warning)),
        (1, 3, None),
        (3, 3, Some(Severity::Error)),
    ] {
        let wanted = Replication::new(setting, brokers);
        let found = verify(&spec, shape, Some(&configs), wanted, &commands());
        assert_eq!(
            found.first().map(|f| f.severity),
            expected,
            "{setting} {brokers}"
        );
    }
}

#[test]
fn replication_follows_the_brokers_up_to_three() {
    for (setting, brokers, expected) in [(0, 0, 1), (0, 1, 1), (0, 2, 2), (0, 9, 3), (2, 9, 2)] {
        assert_eq!(Replication::new(setting, brokers).wanted, expected);
    }
}
