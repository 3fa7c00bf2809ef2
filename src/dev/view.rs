//! The live view: one line for each attempt, and the account of what became of every delivery.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::sync::watch;

use crate::cli::stdout::Stdout;
use crate::wire::attempt::{self, Disposition, OwnedAttempt};

/// What became of deliveries so far.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) delivered: u64,
    pub(crate) dead: u64,
    /// Deliveries of sample events that ended, one way or the other.
    pub(crate) sample_ended: u64,
    pub(crate) attempts: u64,
    /// Standard output is closed.
    pub(crate) closed: bool,
}

/// Told when `stop` is, or when nobody reads standard output any more.
pub(crate) fn or_closed(
    mut stop: watch::Receiver<bool>,
    mut account: watch::Receiver<Account>,
) -> watch::Receiver<bool> {
    let (tell, told) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            _ = account.wait_for(|account| account.closed) => {}
        }
        tell.send_replace(true);
    });
    told
}

/// Follows the topic of attempts on a thread of its own and prints each.
pub(crate) fn start(
    config: &ClientConfig,
    topic: &str,
    partitions: i32,
    sample_prefix: String,
    quiet: bool,
) -> anyhow::Result<watch::Receiver<Account>> {
    let mut config = config.clone();
    config
        .set("group.id", "posthaste-dev-view")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "10");
    let consumer: BaseConsumer = config.create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        // What earlier runs wrote to a real Kafka is not part of this one.
        let (_, end) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(10))?;
        list.add_partition_offset(topic, partition, Offset::Offset(end))?;
    }
    consumer.assign(&list)?;
    let (tell, told) = watch::channel(Account::default());
    std::thread::Builder::new()
        .name("dev-view".to_owned())
        .spawn(move || follow(&consumer, &tell, &sample_prefix, quiet))?;
    Ok(told)
}

fn follow(
    consumer: &BaseConsumer,
    tell: &watch::Sender<Account>,
    sample_prefix: &str,
    quiet: bool,
) {
    let mut first: HashMap<String, i64> = HashMap::new();
    while !tell.is_closed() {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let Some(Ok(record)) = message.payload().map(attempt::decode) else {
            continue;
        };
        let key = format!("{} {}", record.event_id, record.destination);
        let started = *first.entry(key.clone()).or_insert(record.started_at_ms);
        if !quiet {
            // Nobody looks any more.
            if writeln!(Stdout, "{}", line(&record, started)).is_err() {
                tell.send_modify(|account| account.closed = true);
                return;
            }
        }
        let ended = record.disposition != Disposition::Retry;
        if ended {
            first.remove(&key);
        }
        tell.send_modify(|account| {
            account.attempts += 1;
            match record.disposition {
                Disposition::Done => account.delivered += 1,
                Disposition::DeadLetter => account.dead += 1,
                Disposition::Retry => {}
            }
            account.sample_ended += u64::from(ended && record.event_id.starts_with(sample_prefix));
        });
    }
}

/// One attempt in words; times count from the delivery's first attempt.
fn line(record: &OwnedAttempt, first_started: i64) -> String {
    let status = record
        .status
        .map_or_else(String::new, |status| format!(" {status}"));
    let took = Duration::from_micros(u64::try_from(record.duration_us).unwrap_or(0));
    let since =
        Duration::from_millis(u64::try_from(record.started_at_ms - first_started).unwrap_or(0));
    let (mark, next) = match record.disposition {
        Disposition::Done => ("ok   ", String::new()),
        Disposition::Retry => {
            let wait = record.due_at_ms.map_or(0, |due| due - record.started_at_ms);
            (
                "retry",
                format!(
                    ", again in {:.1} s",
                    Duration::from_millis(u64::try_from(wait).unwrap_or(0)).as_secs_f64()
                ),
            )
        }
        Disposition::DeadLetter => (
            "DEAD ",
            format!(
                ", dead letter: {}",
                record.reason.map_or("?", |reason| reason.as_str())
            ),
        ),
    };
    format!(
        "{mark} +{:>5.1} s  {:<18} {:<15} to {:<16} attempt {} {}{status} in {:.1} ms{next}",
        since.as_secs_f64(),
        record.event_id,
        record.event_type,
        record.destination,
        record.attempt,
        record.outcome.as_str(),
        took.as_secs_f64() * 1000.0,
    )
}
