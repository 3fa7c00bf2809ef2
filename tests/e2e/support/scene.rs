//! The world of one test: names of its own on a broker that it may share, so that tests run beside each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::events::NewEvent;
use super::kafka::Kafka;
use super::posthaste::Posthaste;
use super::records::Committed;
use super::settings::Settings;
use super::{unique, wait};

/// Names of one test, and what it does with them.
pub(crate) struct Scene {
    pub(crate) kafka: Arc<Kafka>,
    /// Before the names of its own topics.
    pub(crate) prefix: String,
    pub(crate) group: String,
    /// Its source topic.
    pub(crate) topic: String,
}

impl Scene {
    /// On the shared broker, with a source topic of one partition.
    pub(crate) async fn new(what: &str) -> Self {
        Self::on(Kafka::shared(), what, 1).await
    }

    /// On the given broker, with a source topic of so many partitions.
    ///
    /// The topic `destinations` is made too, as the design says it has to be, so that documents can stand in it before
    /// the first instance starts.
    pub(crate) async fn on(kafka: Arc<Kafka>, what: &str, partitions: i32) -> Self {
        Self::with_source(kafka, what, partitions, &[]).await
    }

    /// The same with properties of the source topic.
    pub(crate) async fn with_source(
        kafka: Arc<Kafka>,
        what: &str,
        partitions: i32,
        properties: &[(&str, &str)],
    ) -> Self {
        let scene = Self::bare(kafka, what);
        scene
            .kafka
            .create_topic(&scene.topic, partitions, properties)
            .await;
        let properties = [
            ("cleanup.policy", "compact"),
            ("min.compaction.lag.ms", "86400000"),
            ("message.timestamp.type", "LogAppendTime"),
            ("retention.bytes", "-1"),
            ("min.insync.replicas", "1"),
            ("unclean.leader.election.enable", "false"),
        ];
        scene
            .kafka
            .create_topic(&scene.own("destinations"), 1, &properties)
            .await;
        scene
    }

    /// Names only; no topic is made.
    pub(crate) fn bare(kafka: Arc<Kafka>, what: &str) -> Self {
        let name = unique(what);
        Self {
            kafka,
            prefix: format!("{name}."),
            group: format!("{name}-group"),
            topic: format!("{name}-events"),
        }
    }

    /// The full name of one of our own topics.
    pub(crate) fn own(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The settings that this test begins with: its source topic is read from the earliest event.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings::new(&self.kafka.bootstrap, &self.group, &self.prefix);
        settings.source(&self.topic, "start", "earliest");
        settings
    }

    /// The same, coming in over the listener with TLS and SASL/SCRAM.
    pub(crate) fn settings_over_sasl(&self) -> Settings {
        let sasl = self.kafka.sasl.clone().expect("a secured broker");
        let mut settings = self.settings();
        settings.set("kafka.brokers", sasl.bootstrap.as_str());
        for (name, value) in sasl.properties() {
            settings.property(name, &value);
        }
        settings
    }

    /// Grants the user of that listener what the handbook tells an operator to grant (`docs/operations.md`).
    pub(crate) fn grant(&self, with_groups: bool) {
        let prefixed = ["--resource-pattern-type", "prefixed"];
        self.kafka.allow(
            &[&["--topic", &self.prefix], &prefixed[..]].concat(),
            &["Create", "Read", "Write", "DescribeConfigs", "Delete"],
        );
        self.kafka
            .allow(&["--topic", &self.topic], &["Read", "DescribeConfigs"]);
        if with_groups {
            self.kafka.allow(
                &[&["--group", &self.group], &prefixed[..]].concat(),
                &["Read"],
            );
        }
    }

    /// Starts an instance with [`Scene::settings`] and waits until it is ready.
    pub(crate) async fn serve(&self) -> Posthaste {
        Posthaste::start(&self.settings()).await
    }

    /// Writes a destination's document, with `id` filled in; returns its offset.
    pub(crate) async fn put(&self, id: &str, document: &Value) -> i64 {
        self.put_for("default", id, document).await
    }

    /// The same for any tenant.
    pub(crate) async fn put_for(&self, tenant: &str, id: &str, document: &Value) -> i64 {
        let document = with(document, &json!({"id": id, "tenant": tenant}));
        self.put_bytes(&format!("{tenant}/{id}"), document.to_string().as_bytes())
            .await
    }

    /// Writes any value under a destination's key; returns its offset.
    pub(crate) async fn put_bytes(&self, key: &str, value: &[u8]) -> i64 {
        self.write(NewEvent::bare(value).key(key)).await
    }

    /// Writes a destination's tombstone; returns its offset.
    pub(crate) async fn delete(&self, id: &str) -> i64 {
        self.write(NewEvent::bare("").null_body().key(format!("default/{id}")))
            .await
    }

    async fn write(&self, record: NewEvent) -> i64 {
        let written = self
            .kafka
            .produce(&self.own("destinations"), &[record])
            .await;
        written.first().expect("one was written").1
    }

    /// Publishes events to the source topic, or those that they name; returns partition and offset of each.
    pub(crate) async fn publish(&self, events: &[NewEvent]) -> Vec<(i32, i64)> {
        self.kafka.produce(&self.topic, events).await
    }

    /// Waits until the instance has applied what stands in `destinations` up to this offset.
    pub(crate) async fn in_force(&self, posthaste: &Posthaste, offset: i64) {
        let offset = i32::try_from(offset).expect("few documents");
        posthaste
            .until_metric("posthaste_catalog_applied_offset", &[], f64::from(offset))
            .await;
    }

    /// Waits until everything in the source topic is settled: the committed positions are the ends.
    pub(crate) async fn settled(&self) {
        self.settled_in(&self.topic).await;
    }

    /// The same for any source topic.
    pub(crate) async fn settled_in(&self, topic: &str) {
        self.settled_up_to(topic, &self.kafka.ends(topic)).await;
    }

    /// Waits until the committed positions of a topic's partitions are these, or beyond.
    pub(crate) async fn settled_up_to(&self, topic: &str, ends: &BTreeMap<i32, i64>) {
        let group = self.kafka.group(&self.group);
        let topics = [(topic.to_owned(), self.kafka.partitions(topic))].into();
        let mut committed = BTreeMap::new();
        let settled = wait::try_until(async || {
            committed = group.committed(&topics);
            ends.iter()
                .all(|(partition, end)| {
                    let found = committed.get(&(topic.to_owned(), *partition));
                    *end == 0 || found.is_some_and(|found| found.offset >= *end)
                })
                .then_some(())
        })
        .await;
        assert!(
            settled.is_some(),
            "{topic} is not settled up to {ends:?}, only to {committed:#?}"
        );
    }

    /// Waits until everything in the retry topics is settled.
    pub(crate) async fn retries_settled(&self) {
        let group = self.kafka.group(&format!("{}.retry", self.group));
        let mut open = BTreeMap::new();
        let settled = wait::try_until(async || {
            let topics = self.kafka.topics(&self.own("retry"));
            let committed = group.committed(&topics);
            open = topics
                .keys()
                .flat_map(|topic| {
                    let ends = self.kafka.ends(topic).into_iter();
                    ends.map(|(partition, end)| ((topic.clone(), partition), end))
                })
                .filter(|(place, end)| {
                    *end > 0 && committed.get(place).is_none_or(|found| found.offset < *end)
                })
                .collect();
            open.is_empty().then_some(())
        })
        .await;
        assert!(
            settled.is_some(),
            "retry topics are not settled up to {open:?}"
        );
    }

    /// What is committed in the source topic's only partition.
    pub(crate) fn committed(&self) -> Option<Committed> {
        let mut found = self
            .kafka
            .group(&self.group)
            .committed(&[(self.topic.clone(), 1)].into());
        found.pop_first().map(|(_, committed)| committed)
    }
}

/// A document for a webhook that is retried soon: after 300 ms, 1 s, 2 s, without jitter.
pub(crate) fn webhook(url: &str) -> Value {
    json!({
        "sink": {"type": "webhook", "url": url},
        "retry": {"policy": "schedule", "delays": ["300ms", "1s", "2s"], "jitter": 0.0}
    })
}

/// `document` with the fields of `more` added or replaced, at any depth.
pub(crate) fn with(document: &Value, more: &Value) -> Value {
    match (document, more) {
        (Value::Object(old), Value::Object(new)) => {
            let mut merged = old.clone();
            for (name, value) in new {
                let value = match old.get(name) {
                    Some(before) => with(before, value),
                    None => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (_, new) => new.clone(),
    }
}
