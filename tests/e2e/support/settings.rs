//! The settings file of one instance.

use std::path::PathBuf;

use toml::{Table, Value};

use super::{free_port, run_folder};

/// Settings as a table that a test changes before it starts an instance.
#[derive(Debug, Clone)]
pub(crate) struct Settings(Table);

impl Settings {
    /// What all tests begin with: short tiers, few lanes, loopback and http allowed, a free port for the admin endpoint.
    pub(crate) fn new(brokers: &str, group: &str, prefix: &str) -> Self {
        let mut settings = Self(Table::new());
        settings
            .set("kafka.brokers", brokers)
            .set("kafka.group", group)
            .property("session.timeout.ms", "6000")
            .property("heartbeat.interval.ms", "500")
            .property("topic.metadata.refresh.interval.ms", "500")
            .set("topics.prefix", prefix)
            .set("topics.lanes", 2)
            .set("retry.tiers", tiers(&["300ms", "1s", "2s"]))
            .set("egress.allow", vec!["127.0.0.0/8"])
            .set("egress.allow_http", true)
            .on_new_port();
        settings
    }

    /// Sets `section.key`.
    pub(crate) fn set(&mut self, path: &str, value: impl Into<Value>) -> &mut Self {
        let (section, key) = path.split_once('.').expect("section.key");
        self.section(section).insert(key.to_owned(), value.into());
        self
    }

    /// Sets a librdkafka property.
    pub(crate) fn property(&mut self, name: &str, value: &str) -> &mut Self {
        let kafka = self.section("kafka");
        inner(kafka, "properties").insert(name.to_owned(), value.into());
        self
    }

    /// Sets a key of a source; the source is made by that.
    pub(crate) fn source(&mut self, topic: &str, key: &str, value: &str) -> &mut Self {
        let sources = self.section("sources");
        inner(sources, topic).insert(key.to_owned(), value.into());
        self
    }

    /// Takes another free port for the admin endpoint: each instance needs its own.
    pub(crate) fn on_new_port(&mut self) -> &mut Self {
        self.set("admin.listen", format!("127.0.0.1:{}", free_port()))
    }

    /// `admin.listen`.
    pub(crate) fn admin(&self) -> String {
        let listen = self.0.get("admin").and_then(|admin| admin.get("listen"));
        listen
            .and_then(Value::as_str)
            .expect("set by `new`")
            .to_owned()
    }

    /// Writes the file for an instance or command of that name.
    pub(crate) fn write(&self, name: &str) -> PathBuf {
        let file = run_folder().join(format!("{name}.toml"));
        std::fs::write(&file, self.0.to_string()).expect("the settings can be written");
        file
    }

    fn section(&mut self, name: &str) -> &mut Table {
        inner(&mut self.0, name)
    }
}

fn inner<'a>(table: &'a mut Table, name: &str) -> &'a mut Table {
    table
        .entry(name)
        .or_insert_with(|| Value::Table(Table::new()))
        .as_table_mut()
        .expect("a section is a table")
}

/// A list of delays as a setting.
pub(crate) fn tiers(delays: &[&str]) -> Value {
    delays
        .iter()
        .copied()
        .map(Value::from)
        .collect::<Vec<_>>()
        .into()
}
