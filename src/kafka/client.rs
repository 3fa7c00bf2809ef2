//! Settings of every client of Kafka, and where their log lines go: from `kafka.*` to librdkafka, from there to `tracing`.
//!
//! Invariant: a client never makes a topic by asking for it.
//! Invariant: one kind of trouble is logged once a minute, however many clients and brokers have it.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::Level;

use super::errors::{self, Kind};
use crate::config::faults::Fault;
use crate::config::ours;
use crate::config::settings::Kafka;

/// The consumer groups that we use, from `kafka.group`: of the sources, `lanes`, the retry topics, the configuration.
#[must_use]
pub fn groups(group: &str) -> [String; 4] {
    ["", ".lanes", ".retry", ".catalog"].map(|role| format!("{group}{role}"))
}

/// The base of every client's settings.
///
/// `kafka.properties` come last and win, except those that the program relies on ([`property_faults`] names them).
/// Who makes a client adds what it needs after that.
#[must_use]
pub fn config(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &kafka.brokers)
        .set("client.id", "posthaste")
        .set("allow.auto.create.topics", "false")
        // Of 10 s: all that waits for a broker would wait so much longer after it came back.
        .set("reconnect.backoff.max.ms", "1000")
        .set_log_level(log_level());
    for (name, value) in &kafka.properties {
        if ours(name).is_none() {
            config.set(name, value);
        }
    }
    config
}

/// The base of a producer's settings: [`config`] with acks from all replicas and retries without duplicates.
#[must_use]
pub fn producer_config(kafka: &Kafka) -> ClientConfig {
    let mut config = config(kafka);
    config.set("acks", "all").set("enable.idempotence", "true");
    config
}

/// What librdkafka says is wrong with `kafka.properties`: unknown, not valid, or not fitting together.
///
/// Touches no network. Values are not shown, since some are secrets.
#[must_use]
pub fn property_faults(kafka: &Kafka) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, value) in &kafka.properties {
        let pointer = format!(
            "/kafka/properties/{}",
            name.replace('~', "~0").replace('/', "~1")
        );
        if ours(name).is_none()
            && let Err(error) = ClientConfig::new().set(name, value).create_native_config()
        {
            let what = match error {
                KafkaError::ClientConfig(_, description, _, _)
                    if !description.contains(value.as_str()) =>
                {
                    description
                }
                _ => format!("the value of `{name}` is not valid"),
            };
            faults.push(Fault::new(pointer, what));
        }
    }
    if faults.is_empty() {
        // What only shows when the properties come together: a missing file, a SASL mechanism without its settings.
        let client: Result<BaseConsumer<LogContext>, KafkaError> = config(kafka)
            .set("group.id", &kafka.group)
            .create_with_context(LogContext);
        if let Err(KafkaError::ClientCreation(description)) = client {
            faults.push(Fault::new("/kafka/properties", description));
        }
    }
    faults
}

/// librdkafka prints what `tracing` would show of it.
fn log_level() -> RDKafkaLogLevel {
    if tracing::enabled!(target: "kafka", Level::DEBUG) {
        RDKafkaLogLevel::Debug
    } else {
        RDKafkaLogLevel::Info
    }
}

/// Sends a client's log lines and errors to `tracing`. Contexts that do more call [`forward_log`] and [`forward_error`].
#[derive(Debug, Clone, Copy, Default)]
pub struct LogContext;

impl ClientContext for LogContext {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        forward_log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        forward_error(&error, reason);
    }
}

impl ConsumerContext for LogContext {}

/// Logs a line of librdkafka; `fac` is its short name for where it comes from.
pub fn forward_log(level: RDKafkaLogLevel, fac: &str, message: &str) {
    let (level, key) = judge_line(level, fac, message);
    emit(level, &key, message);
}

/// Logs an error that a client reports outside of any call.
pub fn forward_error(error: &KafkaError, reason: &str) {
    if errors::code(error) == Some(RDKafkaErrorCode::PartitionEOF) {
        // An answer to whoever asked for it, and no trouble.
        return;
    }
    let (level, key) = match errors::kind(error) {
        Kind::Unreachable => (Level::WARN, UNREACHABLE.to_owned()),
        Kind::Auth => (Level::ERROR, AUTH.to_owned()),
        _ => (
            Level::ERROR,
            errors::code(error).map_or_else(String::new, |code| format!("{code:?}")),
        ),
    };
    emit(level, &key, reason);
}

const UNREACHABLE: &str = "unreachable";
const AUTH: &str = "auth";

/// What librdkafka says in different words when a broker is away.
const AWAY: [&str; 8] = [
    "Connection refused",
    "brokers are down",
    "Disconnected",
    "disconnected",
    "Connection setup timed out",
    "Failed to resolve",
    "Connection reset",
    "No route to host",
];

/// The level of a line, and what kind of trouble it belongs to.
fn judge_line(level: RDKafkaLogLevel, fac: &str, message: &str) -> (Level, String) {
    if AWAY.iter().any(|words| message.contains(words)) {
        return (Level::WARN, UNREACHABLE.to_owned());
    }
    if message.contains("SASL authentication") || message.contains("SSL handshake") {
        return (Level::ERROR, AUTH.to_owned());
    }
    // All properties go to all clients; that a producer ignores a consumer's is as it should be.
    if fac == "CONFWARN" && message.contains("property and will be ignored") {
        return (Level::DEBUG, fac.to_owned());
    }
    let level = match level {
        // It says itself that it goes on: a coordinator that is still loading, for one.
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning if message.ends_with("retrying") => {
            Level::INFO
        }
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => Level::ERROR,
        RDKafkaLogLevel::Warning => Level::WARN,
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => Level::INFO,
        RDKafkaLogLevel::Debug => return (Level::DEBUG, String::new()),
    };
    // Numbers (brokers, partitions, milliseconds) do not make it another kind of trouble.
    let words: String = message
        .chars()
        .filter(|c| !c.is_ascii_digit())
        .take(160)
        .collect();
    (level, format!("{fac} {words}"))
}

fn emit(level: Level, key: &str, message: &str) {
    static LIMITER: OnceLock<Mutex<Limiter>> = OnceLock::new();
    if level == Level::DEBUG {
        // Only where somebody asked for it.
        tracing::debug!(target: "kafka", "{message}");
        return;
    }
    let passed = LIMITER
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .pass(key, Instant::now());
    let Some(held) = passed else { return };
    let repeated = (held > 0).then_some(held);
    match level {
        Level::ERROR => tracing::error!(target: "kafka", repeated, "{message}"),
        Level::WARN => tracing::warn!(target: "kafka", repeated, "{message}"),
        _ => tracing::info!(target: "kafka", repeated, "{message}"),
    }
}

/// Lets one line of each kind pass a minute.
#[derive(Debug, Default)]
struct Limiter {
    kinds: HashMap<String, Kept>,
}

#[derive(Debug)]
struct Kept {
    since: Instant,
    held: u64,
}

impl Limiter {
    const EVERY: Duration = Duration::from_secs(60);
    const KINDS: usize = 256;

    /// Returns how many lines of this kind were held back since the last one, if this one may pass.
    fn pass(&mut self, key: &str, now: Instant) -> Option<u64> {
        if let Some(kept) = self.kinds.get_mut(key) {
            if now.saturating_duration_since(kept.since) < Self::EVERY {
                kept.held += 1;
                return None;
            }
            let held = kept.held;
            *kept = Kept {
                since: now,
                held: 0,
            };
            return Some(held);
        }
        if self.kinds.len() >= Self::KINDS {
            self.kinds
                .retain(|_, kept| now.saturating_duration_since(kept.since) < Self::EVERY);
        }
        if self.kinds.len() >= Self::KINDS {
            return None;
        }
        self.kinds.insert(
            key.to_owned(),
            Kept {
                since: now,
                held: 0,
            },
        );
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn kafka(properties: &[(&str, &str)]) -> Kafka {
        Kafka {
            brokers: "127.0.0.1:1".to_owned(),
            group: "posthaste".to_owned(),
            properties: properties
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect::<BTreeMap<_, _>>(),
        }
    }

    #[test]
    fn properties_win_where_the_program_does_not_rely_on_them() {
        let config = config(&kafka(&[
            ("client.id", "mine"),
            ("allow.auto.create.topics", "true"),
            ("bootstrap.servers", "elsewhere:1"),
        ]));
        assert_eq!(config.get("client.id"), Some("mine"));
        assert_eq!(config.get("allow.auto.create.topics"), Some("false"));
        assert_eq!(config.get("bootstrap.servers"), Some("127.0.0.1:1"));
    }

    #[test]
    fn every_wrong_property_is_named_and_no_value_is_shown() {
        let faults = property_faults(&kafka(&[
            ("linger.ms", "canary"),
            ("no.such.thing", "canary"),
            ("session.timeout.ms", "10000"),
        ]));
        let found: Vec<&str> = faults.iter().map(|f| f.pointer.as_str()).collect();
        assert_eq!(
            found,
            [
                "/kafka/properties/linger.ms",
                "/kafka/properties/no.such.thing"
            ]
        );
        assert!(
            faults.iter().all(|f| !f.message.contains("canary")),
            "{faults:?}"
        );
    }

    #[test]
    fn properties_that_do_not_fit_together_are_a_fault() {
        let faults = property_faults(&kafka(&[("security.protocol", "SASL_PLAINTEXT")]));
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].message.contains("GSSAPI"), "{faults:?}");
        assert_eq!(property_faults(&kafka(&[("linger.ms", "5")])), []);
    }

    #[test]
    fn lines_are_sorted_by_what_they_mean() {
        use RDKafkaLogLevel as L;
        let refused = "[thrd:127.0.0.1:1/bootstrap]: 127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: \
                       Connection refused (after 0ms in state CONNECT)";
        for (level, fac, message, expected, key) in [
            (L::Error, "FAIL", refused, Level::WARN, UNREACHABLE),
            (
                L::Error,
                "ERROR",
                "[thrd:x]: 1/1 brokers are down",
                Level::WARN,
                UNREACHABLE,
            ),
            (
                L::Error,
                "FAIL",
                "x: SASL authentication error: no",
                Level::ERROR,
                AUTH,
            ),
            (
                L::Warning,
                "CONFWARN",
                "Configuration property group.id is a consumer property and will be ignored by this producer instance",
                Level::DEBUG,
                "CONFWARN",
            ),
            (
                L::Warning,
                "MAXPOLL",
                "exceeded by 12ms",
                Level::WARN,
                "MAXPOLL exceeded by ms",
            ),
            (L::Notice, "FENCED", "gone", Level::INFO, "FENCED gone"),
        ] {
            assert_eq!(
                judge_line(level, fac, message),
                (expected, key.to_owned()),
                "{message}"
            );
        }
    }

    #[test]
    fn one_kind_of_trouble_is_logged_once_a_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut limiter = Limiter::default();
        assert_eq!(limiter.pass("a", at(0)), Some(0));
        assert_eq!(limiter.pass("a", at(1)), None);
        assert_eq!(limiter.pass("b", at(1)), Some(0));
        assert_eq!(limiter.pass("a", at(59)), None);
        assert_eq!(limiter.pass("a", at(60)), Some(2));
        assert_eq!(limiter.pass("a", at(61)), None);
    }

    #[test]
    fn kinds_of_trouble_are_bounded() {
        let start = Instant::now();
        let mut limiter = Limiter::default();
        for n in 0..10 * Limiter::KINDS {
            limiter.pass(&n.to_string(), start);
        }
        assert_eq!(limiter.kinds.len(), Limiter::KINDS);
        assert_eq!(limiter.pass("later", start + Limiter::EVERY), Some(0));
        assert_eq!(limiter.kinds.len(), 1);
    }
}
