//! The commands of Kafka's own tools that put right what is found wrong: from names and values to a line for a shell.

use crate::config::settings;

/// Writes commands for one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commands {
    brokers: String,
    prefix: String,
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
            principal,
            secured,
        }
    }

    /// The brokers that the commands speak to.
    #[must_use]
    pub fn brokers(&self) -> &str {
        &self.brokers
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

    /// Allows an operation on a topic; on all of ours where it is one of ours, since retry topics come and go.
    #[must_use]
    pub fn allow_on_topic(&self, operation: &str, topic: &str) -> String {
        let resource = if !self.prefix.is_empty() && topic.starts_with(&self.prefix) {
            format!(
                "--topic {} --resource-pattern-type prefixed",
                quoted(&self.prefix)
            )
        } else {
            format!("--topic {}", quoted(topic))
        };
        self.allow(operation, &resource)
    }

    /// Allows an operation on a consumer group.
    #[must_use]
    pub fn allow_on_group(&self, operation: &str, group: &str) -> String {
        self.allow(operation, &format!("--group {}", quoted(group)))
    }

    /// Allows an operation on the cluster.
    #[must_use]
    pub fn allow_on_cluster(&self, operation: &str) -> String {
        self.allow(operation, "--cluster")
    }

    fn allow(&self, operation: &str, resource: &str) -> String {
        format!(
            "{} --add --allow-principal {} --operation {operation} {resource}",
            self.tool("kafka-acls.sh"),
            quoted(&self.principal)
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
                r"kafka-acls.sh --bootstrap-server k1:9092,k2:9092 --command-config admin.properties --add --allow-principal 'User:o'\''neil' --operation Create --topic posthaste. --resource-pattern-type prefixed",
            ),
            (
                plain.allow_on_topic("Read", "orders"),
                "kafka-acls.sh --bootstrap-server k1:9092,k2:9092 --add --allow-principal User:PRINCIPAL \
                 --operation Read --topic orders",
            ),
            (
                plain.allow_on_group("Read", "posthaste"),
                "kafka-acls.sh --bootstrap-server k1:9092,k2:9092 --add --allow-principal User:PRINCIPAL \
                 --operation Read --group posthaste",
            ),
        ] {
            assert_eq!(found, expected);
        }
    }
}
