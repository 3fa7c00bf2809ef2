//! What the settings must fulfil beyond their form.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::faults::{Findings, child};
use super::settings::{Format, Settings, Source, Webhook};
use super::{properties, words};
use crate::domain::filter::budget::Limits;
use crate::domain::units::{ByteSize, Span};

/// The longest name of a topic.
/// Source: Kafka, `org.apache.kafka.common.internals.Topic.MAX_NAME_LENGTH`.
const TOPIC_NAME_MAX: usize = 249;

/// The longest name that we put behind the prefix: `retry.<tenant>.<id>.<8 hex digits>`.
const OWN_NAME_MAX: usize = "retry.".len() + 64 + ".".len() + 64 + ".".len() + 8;

/// The longest `topics.prefix`.
const PREFIX_MAX: usize = TOPIC_NAME_MAX - OWN_NAME_MAX;

/// Our own topics, without the prefix and those that start with `retry.`.
const OWN_NAMES: [&str; 18] = [
    "destinations",
    "status",
    "control",
    "lanes",
    "retry",
    "dedicated",
    "dead-letter",
    "attempts",
    "state",
    "transitions",
    "alerts",
    "audit",
    "tenants",
    "monitors",
    "channels",
    "archives",
    "replays",
    "keys",
];

/// Finds all that is wrong with `settings`.
pub(super) fn check(settings: &Settings, findings: &mut Findings) {
    for range in ranges(settings) {
        if !range.holds {
            let Range {
                value, least, most, ..
            } = &range;
            findings.add(
                range.pointer,
                format!("{value} is out of range; {least} to {most} is allowed"),
            );
        }
    }
    kafka(settings, findings);
    tiers(&settings.retry.tiers, findings);
    relations(settings, findings);
    for (name, source) in &settings.sources {
        check_source(name, source, &settings.topics.prefix, findings);
    }
    properties::check(&settings.kafka.properties, findings);
}

/// One setting that must be within bounds; the texts are what people read.
struct Range {
    pointer: &'static str,
    value: String,
    least: String,
    most: String,
    holds: bool,
}

fn range<T: PartialOrd + ToString>(
    pointer: &'static str,
    value: T,
    allowed: RangeInclusive<T>,
) -> Range {
    Range {
        pointer,
        value: value.to_string(),
        least: allowed.start().to_string(),
        most: allowed.end().to_string(),
        holds: allowed.contains(&value),
    }
}

const fn ms(milliseconds: u64) -> Span {
    Span(Duration::from_millis(milliseconds))
}

const fn minutes(minutes: u64) -> Span {
    Span::secs(60 * minutes)
}

const fn days(days: u64) -> Span {
    Span::secs(86_400 * days)
}

const fn kib(kibibytes: usize) -> ByteSize {
    ByteSize(kibibytes << 10)
}

const fn mib(mebibytes: usize) -> ByteSize {
    ByteSize(mebibytes << 20)
}

/// The bounds stand in the comments of `config/default.toml` too.
fn ranges(settings: &Settings) -> impl Iterator<Item = Range> {
    let topics = topics_and_retry(settings);
    let running = dispatch_and_ledger(settings);
    topics
        .into_iter()
        .chain(running)
        .chain(webhook(&settings.webhook))
        .chain(filters(&settings.filters))
        .chain(aws(settings))
}

fn topics_and_retry(s: &Settings) -> [Range; 8] {
    let (lanes, replicas, r) = (s.topics.lanes, s.topics.replication_factor, &s.retry);
    let (waiting, year) = (r.waiting_per_partition, days(365));
    [
        range("/topics/lanes", lanes, 1..=1024),
        range("/topics/replication_factor", replicas, 0..=32_767),
        range("/retry/max_age_max", r.max_age_max, ms(1)..=year),
        range("/retry/dedicated_topics", r.dedicated_topics, 0..=10_000),
        range("/retry/retire_after", r.retire_after, ms(1)..=year),
        range("/retry/delete_after", r.delete_after, ms(1)..=year),
        range("/retry/waiting_per_partition", waiting, 1..=1_000_000),
        range(
            "/archive/retention",
            s.archive.retention,
            ms(1000)..=days(3650),
        ),
    ]
}

fn dispatch_and_ledger(s: &Settings) -> [Range; 10] {
    let (d, l) = (&s.dispatch, &s.ledger);
    let (commit, revoke) = (l.commit_interval, l.revoke_timeout);
    let (stale, stop) = (s.catalog.stale_after, s.shutdown.timeout);
    [
        range("/dispatch/slots", d.slots, 1..=100_000),
        range("/dispatch/queue", d.queue, 1..=100_000),
        range("/dispatch/queue_wait", d.queue_wait, ms(0)..=minutes(5)),
        range("/dispatch/memory", d.memory, mib(1)..=mib(1 << 20)),
        range("/dispatch/slow_after", d.slow_after, ms(1)..=minutes(10)),
        range("/ledger/events", l.events, 1..=1_000_000),
        range("/ledger/commit_interval", commit, ms(1)..=minutes(1)),
        range("/ledger/revoke_timeout", revoke, ms(0)..=minutes(1)),
        range("/catalog/stale_after", stale, ms(100)..=minutes(5)),
        range("/shutdown/timeout", stop, ms(0)..=minutes(10)),
    ]
}

fn webhook(w: &Webhook) -> [Range; 9] {
    let (connect, first_byte) = (w.connect_timeout, w.first_byte_timeout);
    let (read, kept) = (w.response_read, w.response_kept);
    let (idle_timeout, idle) = (w.pool_idle_timeout, w.pool_idle_per_host);
    [
        range("/webhook/dns_timeout", w.dns_timeout, ms(1)..=minutes(1)),
        range("/webhook/connect_timeout", connect, ms(1)..=minutes(1)),
        range(
            "/webhook/first_byte_timeout",
            first_byte,
            ms(1)..=minutes(10),
        ),
        range("/webhook/timeout_max", w.timeout_max, ms(1)..=minutes(10)),
        range("/webhook/response_read", read, ByteSize(0)..=mib(16)),
        range(
            "/webhook/response_kept",
            kept,
            ByteSize(0)..=ByteSize(24 << 10),
        ),
        range(
            "/webhook/pool_idle_timeout",
            idle_timeout,
            ms(0)..=minutes(60),
        ),
        range("/webhook/pool_idle_per_host", idle, 0..=10_000),
        range("/webhook/body_max", w.body_max, ByteSize(1)..=mib(1024)),
    ]
}

fn filters(f: &Limits) -> [Range; 8] {
    let (rule, regex) = (f.rule_max, f.regex_max);
    let (combinations, combined) = (f.combinations_max, f.combined_fields_max);
    [
        range("/filters/rule_max", rule, ByteSize(64)..=kib(128)),
        range("/filters/depth_max", f.depth_max, 1..=64),
        range("/filters/fields_max", f.fields_max, 1..=4096),
        range("/filters/combinations_max", combinations, 1..=10_000),
        range("/filters/combined_fields_max", combined, 1..=1_000_000),
        range("/filters/stars_max", f.stars_max, 0..=1024),
        range("/filters/regexes_max", f.regexes_max, 0..=256),
        range("/filters/regex_max", regex, kib(1)..=mib(10)),
    ]
}

fn aws(s: &Settings) -> [Range; 4] {
    let (a, day) = (&s.aws, days(1));
    [
        range("/batch/linger", s.batch.linger, ms(0)..=ms(1000)),
        range("/aws/timeout", a.timeout, ms(100)..=minutes(10)),
        range("/aws/clients", a.clients, 1..=100_000),
        range("/aws/client_idle", a.client_idle, ms(1000)..=day),
    ]
}

fn kafka(settings: &Settings, findings: &mut Findings) {
    let brokers = settings.kafka.brokers.split(',').map(str::trim);
    for broker in brokers {
        if broker.is_empty() || broker.contains(char::is_whitespace) {
            findings.add(
                "/kafka/brokers",
                format!(
                    "{} is not a list of brokers; write `host:port`, several with commas",
                    words::quoted(&settings.kafka.brokers)
                ),
            );
        }
    }
    let group = &settings.kafka.group;
    if group.trim().is_empty() || group.len() > 200 || group.contains(char::is_control) {
        findings.add(
            "/kafka/group",
            format!(
                "{} is not a name for a consumer group; 1 to 200 bytes are allowed",
                words::quoted(group)
            ),
        );
    }
    let prefix = &settings.topics.prefix;
    if prefix.is_empty() || prefix.len() > PREFIX_MAX || !prefix.chars().all(in_topic_name) {
        findings.add(
            "/topics/prefix",
            format!(
                "{} cannot start a topic's name; 1 to {PREFIX_MAX} letters, digits, `.`, `_` and `-` are allowed",
                words::quoted(prefix)
            ),
        );
    }
}

fn tiers(tiers: &[Span], findings: &mut Findings) {
    const POINTER: &str = "/retry/tiers";
    if !findings.clean(POINTER) {
        return;
    }
    if !(1..=24).contains(&tiers.len()) {
        findings.add(
            POINTER,
            format!("there are {} tiers; 1 to 24 are allowed", tiers.len()),
        );
    }
    let mut before = None;
    for (index, tier) in tiers.iter().enumerate() {
        let pointer = format!("{POINTER}/{index}");
        if !(ms(1)..=days(30)).contains(tier) {
            findings.add(
                &pointer,
                format!(
                    "{tier} is out of range; {} to {} is allowed",
                    ms(1),
                    days(30)
                ),
            );
        }
        if let Some(before) = before.filter(|before| before >= tier) {
            findings.add(
                &pointer,
                format!("{tier} is not longer than {before} before it; tiers ascend"),
            );
        }
        before = Some(*tier);
    }
}

/// Rules over two settings.
fn relations(settings: &Settings, findings: &mut Findings) {
    let share = settings.dispatch.backlog_share;
    if !(share > 0.0 && share <= 1.0) {
        findings.add(
            "/dispatch/backlog_share",
            format!("{share} is out of range; more than 0, up to 1 is allowed (at 0 nothing would be retried)"),
        );
    }
    let mut ordered = |small: (&str, String), large: (&str, String), holds: bool| {
        if !holds && findings.clean(small.0) && findings.clean(large.0) {
            let name = large.0.trim_start_matches('/').replace('/', ".");
            findings.add(
                small.0,
                format!(
                    "{} must be less than `{name}`, which is {}",
                    small.1, large.1
                ),
            );
        }
    };
    let (ledger, webhook) = (&settings.ledger, &settings.webhook);
    ordered(
        ("/ledger/events", ledger.events.to_string()),
        ("/ledger/span", ledger.span.to_string()),
        ledger.events <= ledger.span,
    );
    ordered(
        ("/webhook/response_kept", webhook.response_kept.to_string()),
        ("/webhook/response_read", webhook.response_read.to_string()),
        webhook.response_kept <= webhook.response_read,
    );
    ordered(
        (
            "/catalog/stale_after",
            settings.catalog.stale_after.to_string(),
        ),
        (
            "/retry/delete_after",
            settings.retry.delete_after.to_string(),
        ),
        settings.catalog.stale_after < settings.retry.delete_after,
    );
    if ledger.span > 100_000_000 {
        findings.add(
            "/ledger/span",
            format!(
                "{} is out of range; at most 100000000 is allowed",
                ledger.span
            ),
        );
    }
}

fn check_source(name: &str, source: &Source, prefix: &str, findings: &mut Findings) {
    let pointer = child("/sources", name);
    let legal = (1..=TOPIC_NAME_MAX).contains(&name.len())
        && name.chars().all(|c| in_topic_name(c) || c == '*')
        && name != "."
        && name != "..";
    let own = name
        .strip_prefix(prefix)
        .is_some_and(|rest| OWN_NAMES.contains(&rest) || rest.starts_with("retry."));
    if !legal {
        findings.add(
            &pointer,
            format!(
                "{} is not a topic's name or pattern; 1 to {TOPIC_NAME_MAX} letters, digits, `.`, `_`, `-` and `*` are \
                 allowed",
                words::quoted(name)
            ),
        );
    } else if own {
        findings.add(
            &pointer,
            "this is one of Posthaste's own topics; events cannot be read from it",
        );
    }
    for (key, path) in [
        ("id", &source.id),
        ("type", &source.event_type),
        ("time", &source.time),
        ("tenant", &source.tenant),
    ] {
        let Some(path) = path else { continue };
        let at = child(&pointer, key);
        if !is_pointer(path) {
            findings.add(
                &at,
                format!(
                    "{} is not a JSON pointer; write it like `/type` or `/data/0/id`, with `~1` for `/` and `~0` for `~` in \
                     a name",
                    words::quoted(path)
                ),
            );
        } else if source.format == Format::Bytes && findings.clean(&child(&pointer, "format")) {
            findings.add(
                &at,
                "bodies of format `bytes` are never looked into; use headers, or format `json`",
            );
        }
    }
}

fn in_topic_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// Whether `text` is a JSON pointer (RFC 6901) to something within a body.
fn is_pointer(text: &str) -> bool {
    let escaped = text
        .split('~')
        .skip(1)
        .all(|after| after.starts_with(['0', '1']));
    text.starts_with('/') && escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comments_state_the_bounds() {
        let text = super::super::DEFAULTS;
        let settings = super::super::defaults();
        for range in ranges(&settings) {
            assert!(range.holds, "{}", range.pointer);
            let (section, key) = range
                .pointer
                .trim_start_matches('/')
                .split_once('/')
                .expect("two");
            let (_, section) = text
                .split_once(&format!("\n[{section}]\n"))
                .expect("its section");
            let (above, _) = section.split_once(&format!("\n{key} = ")).expect(key);
            let comment = above
                .rsplit("\n\n")
                .next()
                .unwrap_or_default()
                .replace("\n# ", " ");
            let bounds = format!("{} to {}", range.least, range.most);
            assert!(
                comment.contains(&bounds),
                "{}: {bounds} in {comment}",
                range.pointer
            );
        }
    }

    #[test]
    fn json_pointers_are_told_from_other_paths() {
        for good in ["/", "/a", "/a/0/b", "/a~1b/~0"] {
            assert!(is_pointer(good), "{good}");
        }
        for bad in ["", "a", "$.a", "/a~", "/a~2"] {
            assert!(!is_pointer(bad), "{bad}");
        }
    }
}
