//! The librdkafka properties in `kafka.properties`: their spelling in TOML and in the environment, values that stand in
//! files, which may not be set, and which may not be shown.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::faults::{Fault, Findings, child};
use super::layers::Layer;

/// Where they stand in the settings.
pub(super) const POINTER: &str = "/kafka/properties";

/// What is set by us, and why.
const OURS: [(&str, &str); 24] = [
    ("bootstrap.servers", "write `kafka.brokers`"),
    ("metadata.broker.list", "write `kafka.brokers`"),
    ("group.id", "write `kafka.group`"),
    (
        "auto.offset.reset",
        "write `sources.<topic>.start`; what retention has overtaken goes on at the oldest that is left",
    ),
    ("auto.commit.interval.ms", "write `ledger.commit_interval`"),
    (
        "enable.auto.commit",
        "a position is committed only when everything before it is settled, else a crash would lose events",
    ),
    (
        "enable.auto.offset.store",
        "a position is committed only when everything before it is settled, else a crash would lose events",
    ),
    (
        "allow.auto.create.topics",
        "our topics are made at start with their partitions and retention; one that a client makes has the wrong ones",
    ),
    ("max.in.flight", IN_FLIGHT),
    ("max.in.flight.requests.per.connection", IN_FLIGHT),
    ("acks", ACKS),
    ("request.required.acks", ACKS),
    (
        "enable.idempotence",
        "without it the producer's own retries would repeat and reorder records",
    ),
    (
        "transactional.id",
        "each instance has one of its own, which fences off the one before it",
    ),
    (
        "isolation.level",
        "only what was committed in Kafka is an event",
    ),
    (
        "partition.assignment.strategy",
        "it is `cooperative-sticky`, so that what stays with an instance goes on during a rebalance; with \
         `group.protocol = \"consumer\"` the broker chooses",
    ),
    (
        "auto.commit.enable",
        "positions are committed when deliveries are settled",
    ),
    ("enable.partition.eof", "it is set for each reader"),
    ("partitioner", "partitions are chosen by lane and tier"),
    ("message.max.bytes", "it follows from the source topics"),
    ("queued.max.messages.kbytes", "it is set for each reader"),
    ("log.queue", "log lines are collected"),
    ("test.mock.num.brokers", "use `posthaste dev`"),
    ("test.mock.broker.rtt", "use `posthaste dev`"),
];

const IN_FLIGHT: &str =
    "with several a new partition may acknowledge records that it does not hold";

const ACKS: &str = "an offset is settled only when all replicas in sync have what follows from it";

/// Whether the value of the property `name` may be secret.
/// Source: the properties marked sensitive in librdkafka 2.12.1, `src/rdkafka_conf.c`; others by their names.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let whole = [
        "sasl.oauthbearer.config",
        "sasl.jaas.config",
        "sasl.username",
    ];
    let parts = ["password", "passphrase", "secret", "token", ".pem"];
    whole.contains(&name.as_str()) || parts.iter().any(|part| name.contains(part))
}

/// The property that the environment's `name` (in lower case) stands for: `_` for `.`.
pub(super) fn from_environment(name: &str) -> String {
    if name == "log_level" {
        return name.to_owned();
    }
    let stem = name
        .strip_suffix("_file")
        .map(|stem| stem.replace('_', "."));
    match stem {
        // `sasl.oauthbearer.assertion.file` is a property itself.
        Some(stem) if is_secret(&stem) => format!("{stem}_file"),
        _ => name.replace('_', "."),
    }
}

/// Turns what TOML makes of `security.protocol = "SSL"`, a table within a table, back into one name, and numbers and
/// booleans into text.
pub(super) fn flatten(layer: &mut Layer) {
    let Some(Value::Object(properties)) = layer.tree.pointer_mut(POINTER) else {
        return;
    };
    let nested = std::mem::take(properties);
    let mut flat = BTreeMap::new();
    collect(nested, "", POINTER, &mut flat);
    let mut twice = Vec::new();
    for (name, mut found) in flat {
        if found.len() > 1 {
            twice.push(child(POINTER, &name));
        }
        if let Some((pointer, value)) = found.pop() {
            properties.insert(name.clone(), value);
            if let Some(origin) = layer.origins.remove(&pointer) {
                layer.origins.insert(child(POINTER, &name), origin);
            }
        }
    }
    for pointer in twice {
        layer.fault(&pointer, "is given more than once");
    }
}

fn collect(
    table: Map<String, Value>,
    prefix: &str,
    pointer: &str,
    flat: &mut BTreeMap<String, Vec<(String, Value)>>,
) {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        let at = child(pointer, &key);
        match value {
            Value::Object(inner) => collect(inner, &format!("{name}."), &at, flat),
            Value::Bool(_) | Value::Number(_) => {
                let text = Value::String(value.to_string());
                flat.entry(name).or_default().push((at, text));
            }
            _ => flat.entry(name).or_default().push((at, value)),
        }
    }
}

/// Lets a property in `upper` replace the file that `lower` names for it, and the other way round.
pub(super) fn supersede(lower: &mut Layer, upper: &mut Layer) {
    let Some(Value::Object(properties)) = upper.tree.pointer(POINTER) else {
        return;
    };
    let names: Vec<String> = properties.keys().cloned().collect();
    for name in &names {
        let twin = match name.strip_suffix("_file") {
            Some(stem) => stem.to_owned(),
            None => format!("{name}_file"),
        };
        if let Some(Value::Object(below)) = lower.tree.pointer_mut(POINTER) {
            below.remove(&twin);
        }
        if name.ends_with("_file") && names.contains(&twin) {
            upper.fault(
                &child(POINTER, name),
                &format!("`{twin}` is set too; leave one of them out"),
            );
        }
    }
}

/// Sets each property whose name ends in `_file` to what is in the file.
pub(super) fn read_files(layer: &mut Layer) {
    let Some(Value::Object(properties)) = layer.tree.pointer_mut(POINTER) else {
        return;
    };
    let twins: Vec<(String, Option<String>)> = properties
        .iter()
        .filter(|(name, _)| name.ends_with("_file"))
        .map(|(name, path)| (name.clone(), path.as_str().map(str::to_owned)))
        .collect();
    let mut faults = Vec::new();
    for (name, path) in twins {
        // What is not text is a fault of form.
        let Some(path) = path else { continue };
        properties.remove(&name);
        let stem = name.trim_end_matches("_file").to_owned();
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text);
                properties.insert(stem, Value::String(text.to_owned()));
            }
            Err(error) => faults.push((name, format!("cannot read `{path}`: {error}"))),
        }
    }
    for (name, message) in faults {
        layer.fault(&child(POINTER, &name), &message);
    }
}

/// Why a librdkafka property cannot be set, if it cannot.
#[must_use]
pub fn ours(name: &str) -> Option<&'static str> {
    OURS.iter()
        .find_map(|(ours, reason)| (*ours == name).then_some(*reason))
}

/// Names what may not be set.
pub(super) fn check(properties: &BTreeMap<String, String>, findings: &mut Findings) {
    for name in properties.keys() {
        let pointer = child(POINTER, name);
        if let Some(reason) = ours(name) {
            findings.add(
                &pointer,
                format!("this property is set by Posthaste: {reason}"),
            );
        } else if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            findings.add(&pointer, "this is not the name of a librdkafka property");
        }
    }
}

impl Layer {
    fn fault(&mut self, pointer: &str, message: &str) {
        let fault = self.with_origin(Fault::new(pointer, message));
        self.faults.push(fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_names_find_their_property() {
        for (name, property) in [
            ("security_protocol", "security.protocol"),
            ("sasl.password", "sasl.password"),
            ("sasl_password_file", "sasl.password_file"),
            ("ssl_key_pem_file", "ssl.key.pem_file"),
            (
                "sasl_oauthbearer_assertion_file",
                "sasl.oauthbearer.assertion.file",
            ),
            ("log_level", "log_level"),
        ] {
            assert_eq!(from_environment(name), property);
        }
    }

    #[test]
    fn what_librdkafka_calls_sensitive_is_secret() {
        for name in [
            "ssl.key.password",
            "ssl.key.pem",
            "ssl.keystore.password",
            "sasl.username",
            "sasl.password",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.private.key.pem",
        ] {
            assert!(is_secret(name), "{name}");
        }
        assert!(!is_secret("security.protocol"));
    }
}
