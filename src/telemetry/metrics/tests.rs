//! The catalogue as a whole: the convention of names, bounded labels, counters that start at 0.

use std::collections::{BTreeMap, BTreeSet};

use prometheus::proto::{MetricFamily, MetricType};

use super::*;

/// What the last word of a name may be: a base unit, or the plural of what is counted.
const UNITS: [&str; 11] = [
    "seconds",
    "bytes",
    "records",
    "events",
    "attempts",
    "slots",
    "deliveries",
    "destinations",
    "offset",
    "info",
    "total",
];

/// Names whose unit is not their last word, and why.
const EXCEPTIONS: [(&str, &str); 4] = [
    ("posthaste_ledger_holes", "what is counted"),
    (
        "posthaste_retry_topics_dedicated",
        "the topics are what is counted",
    ),
    ("posthaste_lanes_owned", "the lanes are what is counted"),
    ("posthaste_catalog_stale", "yes or no"),
];

fn metrics() -> Metrics {
    Metrics::new(&Sets {
        sinks: vec![
            "webhook",
            "sqs",
            "eventbridge",
            "pubsub",
            "kafka",
            "rabbitmq",
            "hookdeck",
        ],
        sources: vec!["orders", "users-*"],
        tiers: vec![Span::secs(5), Span::secs(30), Span::secs(120)],
        egress_reasons: vec!["private_address", "scheme"],
    })
}

fn families() -> Vec<MetricFamily> {
    metrics().registry.gather()
}

#[test]
fn names_follow_the_convention() {
    for family in families() {
        let name = family.name();
        let counter = family.get_field_type() == MetricType::COUNTER;
        assert_eq!(
            name.ends_with("_total"),
            counter,
            "{name}: `_total` is for counters"
        );
        assert!(
            name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
            "{name}: lower case words with underscores"
        );
        if name.starts_with("process_") {
            continue;
        }
        assert!(name.starts_with("posthaste_"), "{name}: the prefix");
        let unit = name.rsplit('_').next().expect("one word at least");
        assert!(
            UNITS.contains(&unit) || EXCEPTIONS.iter().any(|(except, _)| *except == name),
            "{name}: `{unit}` is not a base unit"
        );
        if family.get_field_type() == MetricType::HISTOGRAM {
            assert_eq!(unit, "seconds", "{name}: what is measured");
        }
    }
}

#[test]
fn help_is_a_sentence_for_people() {
    for family in families() {
        let help = family.help();
        assert!(
            help.ends_with('.') && !help.contains('\n'),
            "{}: {help}",
            family.name()
        );
        assert!(
            help.starts_with(char::is_uppercase),
            "{}: {help}",
            family.name()
        );
    }
}

#[test]
fn labels_are_from_closed_sets() {
    let allowed: BTreeSet<&str> = [
        "sink", "outcome", "source", "tier", "cause", "reason", "kind", "ledger", "result",
        "client", "version", "dialect",
    ]
    .into();
    for family in families() {
        for metric in family.get_metric() {
            for label in metric.get_label() {
                assert!(
                    allowed.contains(label.name()),
                    "{}: {}",
                    family.name(),
                    label.name()
                );
            }
        }
    }
}

#[test]
fn series_stay_few() {
    let mut series = 0;
    for family in families() {
        for metric in family.get_metric() {
            series += match family.get_field_type() {
                // One for each bound, and +Inf, sum and count.
                MetricType::HISTOGRAM => metric.get_histogram().get_bucket().len() + 3,
                _ => 1,
            };
        }
    }
    assert!(
        series < 1_000,
        "{series} series with two sources; none depends on destinations"
    );
}

#[test]
fn every_counter_is_there_from_the_start_at_0() {
    let text = metrics().render();
    for line in [
        "posthaste_deliveries_total{outcome=\"not_found\",sink=\"webhook\"} 0",
        "posthaste_dead_letters_total{reason=\"archive_expired\"} 0",
        "posthaste_deliveries_handed_over_total{cause=\"queue_full\"} 0",
        "posthaste_events_read_total{source=\"users-*\"} 0",
        "posthaste_filter_events_total{dialect=\"shopify\",result=\"filtered_out\",source=\"users-*\"} 0",
        "posthaste_retries_scheduled_total{tier=\"0s\"} 0",
        "posthaste_retries_scheduled_total{tier=\"2m\"} 0",
        "posthaste_commits_total{ledger=\"retry\",result=\"failed\"} 0",
        "posthaste_egress_refused_total{reason=\"scheme\"} 0",
        "posthaste_delivery_latency_seconds_bucket{sink=\"webhook\",le=\"0.001\"} 0",
        "posthaste_delivery_latency_seconds_bucket{sink=\"webhook\",le=\"60\"} 0",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
}

#[test]
fn a_name_stands_once_with_one_help_and_one_type() {
    let text = metrics().render();
    let mut heads = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("# ")) {
        let mut words = line.splitn(4, ' ').skip(1);
        let key = (
            words.next().expect("HELP or TYPE"),
            words.next().expect("a name"),
        );
        *heads.entry(key).or_insert(0) += 1;
    }
    assert!(heads.values().all(|times| *times == 1), "{heads:?}");
}

#[test]
fn a_child_counts_under_its_labels_and_clones_count_together() {
    let metrics = metrics();
    let sink = metrics.clone().sink("webhook").clone();
    sink.deliveries.get(Outcome::Server).inc();
    metrics
        .sink("webhook")
        .deliveries
        .get(Outcome::Server)
        .inc();
    sink.delivery_latency.observe(0.004);
    metrics.tier(1).retries_scheduled.inc();
    metrics.dispatch.in_flight.get(AttemptKind::Backlog).set(3);
    let text = metrics.render();
    for line in [
        "posthaste_deliveries_total{outcome=\"server\",sink=\"webhook\"} 2",
        "posthaste_delivery_latency_seconds_bucket{sink=\"webhook\",le=\"0.005\"} 1",
        "posthaste_retries_scheduled_total{tier=\"5s\"} 1",
        "posthaste_in_flight_attempts{kind=\"backlog\"} 3",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn an_unknown_name_is_counted_and_not_exported() {
    let metrics = metrics();
    metrics
        .sink("carrier-pigeon")
        .deliveries
        .get(Outcome::Delivered)
        .inc();
    metrics.tier(99).retries_scheduled.inc();
    metrics.set_egress_refused("bad mood", 1);
    let text = metrics.render();
    assert!(!text.contains("carrier-pigeon") && !text.contains("bad mood"));
    assert!(!text.contains("outcome=\"delivered\",sink=\"webhook\"} 1"));
}

#[test]
fn what_another_part_counts_is_taken_over_before_each_rendering() {
    let metrics = metrics();
    let total = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(3));
    let seen = total.clone();
    metrics.before_render(move |metrics| {
        metrics.set_egress_refused("scheme", seen.load(std::sync::atomic::Ordering::Relaxed));
    });
    let refused =
        |count: u64| format!("posthaste_egress_refused_total{{reason=\"scheme\"}} {count}\n");
    assert!(metrics.render().contains(&refused(3)));
    assert!(metrics.render().contains(&refused(3)), "not added again");
    total.store(5, std::sync::atomic::Ordering::Relaxed);
    assert!(metrics.clone().render().contains(&refused(5)));
}
