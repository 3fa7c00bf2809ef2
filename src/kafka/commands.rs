//! The commands of Kafka's own tools that put right what is found wrong: from names and values to a line for a shell.

use super::client;
use crate::config::settings;

/// What we do to our own topics.
const OWN_TOPICS: [&str; 6] = [
    "Describe",
    "DescribeConfigs",
    "Create",
    "Delete",
    "Read",
    "Write",
];

/// What we do to source topics; Read includes Describe.
const SOURCE_TOPICS: [&str; 2] = ["Read", "DescribeConfigs"];

/// Writes commands for one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commands {
    brokers: String,
    prefix: String,
    groups: [String; 4],
    principal: String,
    secured: bool,
}

impl Commands {
    /// Commands for the cluster of these settings.
    #[must_use]
    pub fn new(kafka: &settings::Kafka, topics: &settings::Topics) -> Self {
        let property = |name: &str| kafka.properties.get(name).map(String::as_str);
        let secured = property("security.protocol")
            .is_some_and(|protocol| !protocol.eq_ignore_ascii_case("plaintext"));
        let principal = property("sasl.username")
            .or_else(|| property("sasl.oauthbearer.client.id"))
            .map_or_else(
                || "User:PRINCIPAL".to_owned(),
                |name| format!("User:{name}"),
            );
        Self {
            brokers: kafka.brokers.clone(),
            prefix: topics.prefix.clone(),
            groups: client::groups(&kafka.group),
            principal,
            secured,
        }
    }

    /// The brokers that the commands speak to.
    #[must_use]
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Whether `topic` is one of our own.
    #[must_use]
    pub fn is_ours(&self, topic: &str) -> bool {
        !self.prefix.is_empty() && topic.starts_with(&self.prefix)
    }

    /// Sets properties of a topic.
    #[must_use]
    pub fn alter_configs(&self, topic: &str, values: &[(&str, String)]) -> String {
        let values: Vec<String> = values
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        format!(
            "{} --alter --entity-type topics --entity-name {} --add-config {}",
            self.tool("kafka-configs.sh"),
            quoted(topic),
            quoted(&values.join(","))
        )
    }

    /// Raises the number of partitions of a topic.
    #[must_use]
    pub fn add_partitions(&self, topic: &str, partitions: i32) -> String {
        format!(
            "{} --alter --topic {} --partitions {partitions}",
            self.tool("kafka-topics.sh"),
            quoted(topic)
        )
    }

    /// Makes a topic.
    #[must_use]
    pub fn create_topic(&self, topic: &str) -> String {
        format!(
            "{} --create --topic {}",
            self.tool("kafka-topics.sh"),
            quoted(topic)
        )
    }

    /// Deletes a topic and everything in it.
    #[must_use]
    pub fn delete_topic(&self, topic: &str) -> String {
        format!(
            "{} --delete --topic {}",
            self.tool("kafka-topics.sh"),
            quoted(topic)
        )
    }

    /// Allows an operation on a topic, and at once what else is needed there, so that one run of it is enough.
    ///
    /// For one of our own topics it is allowed on all of them, since retry topics come and go.
    #[must_use]
    pub fn allow_on_topic(&self, operation: &str, topic: &str) -> String {
        if self.is_ours(topic) {
            let prefix = quoted(&self.prefix);
            return self.allow(
                &OWN_TOPICS,
                &format!("--topic {prefix} --resource-pattern-type prefixed"),
            );
        }
        let operations: &[&str] = if SOURCE_TOPICS.contains(&operation) || operation == "Describe" {
            &SOURCE_TOPICS
        } else {
            &[operation]
        };
        self.allow(operations, &format!("--topic {}", quoted(topic)))
    }

    /// Allows an operation on a consumer group; on all of ours where it is one of them.
    #[must_use]
    pub fn allow_on_group(&self, operation: &str, group: &str) -> String {
        let group = group.to_owned();
        let groups = if self.groups.contains(&group) {
            self.groups.as_slice()
        } else {
            std::slice::from_ref(&group)
        };
        let groups: Vec<String> = groups
            .iter()
            .map(|group| format!("--group {}", quoted(group)))
            .collect();
        self.allow(&[operation], &groups.join(" "))
    }

    /// Allows an operation on the cluster.
    #[must_use]
    pub fn allow_on_cluster(&self, operation: &str) -> String {
        self.allow(&[operation], "--cluster")
    }

    fn allow(&self, operations: &[&str], resource: &str) -> String {
        let operations: Vec<String> = operations
            .iter()
            .map(|operation| format!("--operation {operation}"))
            .collect();
        format!(
            "{} --add --allow-principal {} {} {resource}",
            self.tool("kafka-acls.sh"),
            quoted(&self.principal),
            operations.join(" ")
        )
    }

    fn tool(&self, name: &str) -> String {
        let mut line = format!("{name} --bootstrap-server {}", quoted(&self.brokers));
        if self.secured {
            // The tools need the credentials of an administrator, which are not ours to know.
            line.push_str(" --command-config admin.properties");
        }
        line
    }
}

/// Quotes what a shell would not take as one plain word.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-:,=/@+%".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn commands(properties: &[(&str, &str)]) -> Commands {
        let properties: BTreeMap<String, String> = properties
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Commands::new(
            &settings::Kafka {
                brokers: "k1:9092,k2:9092".to_owned(),
                group: "posthaste".to_owned(),
                properties,
            },
            &settings::Topics {
                prefix: "posthaste.".to_owned(),
                lanes: 8,
                replication_factor: 0,
            },
        )
    }

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        let plain = commands(&[]);
        let secured = commands(&[
            ("security.protocol", "SASL_SSL"),
            ("sasl.username", "o'neil"),
        ]);
        for (found, expected) in [
            (
                plain.alter_configs(
                    "posthaste.retry",
                    &[
                        ("retention.ms", "777600000".to_owned()),
                        ("cleanup.policy", "delete".to_owned()),
                    ],
                ),
                "kafka-configs.sh --bootstrap-server k1:9092,k2:9092 --alter --entity-type topics \
                 --entity-name posthaste.retry --add-config retention.ms=777600000,cleanup.policy=delete",
            ),
            (
                plain.add_partitions("posthaste.retry", 80),
                "kafka-topics.sh --bootstrap-server k1:9092,k2:9092 --alter --topic posthaste.retry --partitions 80",
            ),
            (
                secured.allow_on_topic("Create", "posthaste.retry"),
                r"kafka-acls.sh --bootstrap-server k1:9092,k2:9092 --command-config admin.properties --add --allow-principal 'User:o'\''neil' --operation Describe --operation DescribeConfigs --operation Create --operation Delete --operation Read --operation Write --topic posthaste. --resource-pattern-type prefixed",
            ),
            (
                plain.allow_on_topic("Read", "orders"),
                "kafka-acls.sh --bootstrap-server k1:9092,k2:9092 --add --allow-principal User:PRINCIPAL \
                 --operation Read --operation DescribeConfigs --topic orders",
            ),
            (
                plain.allow_on_topic("Write", "orders"),
                "kafka-acls.sh --bootstrap-server k1:9092,k2:9092 --add --allow-principal User:PRINCIPAL \
                 --operation Write --topic orders",
            ),
            (
                plain.allow_on_group("Read", "posthaste.lanes"),
                "kafka-acls.sh --bootstrap-server k1:9092,k2:9092 --add --allow-principal User:PRINCIPAL \
                 --operation Read --group posthaste --group posthaste.lanes --group posthaste.retry \
                 --group posthaste.catalog",
            ),
            (
                plain.allow_on_group("Read", "other"),
                "kafka-acls.sh --bootstrap-server k1:9092,k2:9092 --add --allow-principal User:PRINCIPAL \
                 --operation Read --group other",
            ),
        ] {
            assert_eq!(found, expected);
        }
    }
}
