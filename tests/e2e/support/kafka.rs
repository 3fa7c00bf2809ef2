//! A real Kafka broker, run by `tests/services/kafka/start`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::producer::FutureProducer;

use super::{guard, services, signal};

/// Quick to start rather than quick under load: tests ask little of a broker.
const JVM: &str = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1";

/// One broker. It is ended, and its data deleted, when this is dropped or the test binary ends.
pub(crate) struct Kafka {
    /// Of the plain listener.
    pub(crate) bootstrap: String,
    /// Of the SASL_SSL listener, if there is one.
    pub(crate) sasl: Option<Sasl>,
    /// The listener that a proxy is to stand before, if there is one.
    pub(crate) behind: Option<SocketAddr>,
    folder: PathBuf,
    pid: Mutex<u32>,
    /// Made when first used, and anew when partitions were added, which it would not see for minutes.
    pub(super) producer: Mutex<Option<FutureProducer>>,
    pub(super) observer: OnceLock<BaseConsumer>,
}

/// How to come in over the listener with TLS and SASL/SCRAM.
#[derive(Clone)]
pub(crate) struct Sasl {
    pub(crate) bootstrap: String,
    pub(crate) ca: PathBuf,
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Sasl {
    /// The librdkafka properties for it.
    pub(crate) fn properties(&self) -> Vec<(&'static str, String)> {
        vec![
            ("security.protocol", "SASL_SSL".to_owned()),
            ("ssl.ca.location", self.ca.display().to_string()),
            ("sasl.mechanism", "SCRAM-SHA-512".to_owned()),
            ("sasl.username", self.user.clone()),
            ("sasl.password", self.password.clone()),
        ]
    }
}

impl Kafka {
    /// The broker that all tests share which do not stop it.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: LazyLock<Arc<Kafka>> = LazyLock::new(|| Kafka::start(&[]));
        Arc::clone(&SHARED)
    }

    /// The shared broker with a SASL_SSL listener, whose user may do only what ACLs say.
    pub(crate) fn shared_secured() -> Arc<Self> {
        static SHARED: LazyLock<Arc<Kafka>> = LazyLock::new(|| Kafka::start(&["--sasl", "--acl"]));
        Arc::clone(&SHARED)
    }

    /// A broker of its own, with `options` of the start script. Blocks until it answers.
    pub(crate) fn start(options: &[&str]) -> Arc<Self> {
        let facts = start(options);
        let fact = |name: &str| {
            facts
                .get(name)
                .cloned()
                .unwrap_or_else(|| panic!("start prints `{name}`, not only {facts:?}"))
        };
        let folder = PathBuf::from(fact("dir"));
        guard::folder(&folder);
        Arc::new(Self {
            bootstrap: fact("bootstrap"),
            sasl: facts.contains_key("sasl").then(|| Sasl {
                bootstrap: fact("sasl"),
                ca: PathBuf::from(fact("ca")),
                user: fact("user"),
                password: fact("password"),
            }),
            behind: facts
                .get("behind")
                .map(|address| address.parse().expect("an address")),
            folder,
            pid: Mutex::new(fact("pid").parse().expect("a process id")),
            producer: Mutex::new(None),
            observer: OnceLock::new(),
        })
    }

    /// Stops the broker as an administrator would and waits for its end.
    pub(crate) fn stop(&self) {
        let pid = *self.pid.lock().expect("no holder panics");
        run(Command::new(script("stop")).arg(pid.to_string()));
        guard::ended(pid);
    }

    /// Ends the broker as a power cut would, but for what the system has not written to the disk yet.
    pub(crate) fn kill9(&self) {
        let pid = *self.pid.lock().expect("no holder panics");
        run(Command::new(script("stop")).args(["--now", &pid.to_string()]));
        guard::ended(pid);
    }

    /// Stops all its threads where they are, until [`Kafka::thaw`].
    pub(crate) fn freeze(&self) {
        signal(*self.pid.lock().expect("no holder panics"), "STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        signal(*self.pid.lock().expect("no holder panics"), "CONT");
    }

    /// Starts a stopped broker again, with the same port and data.
    pub(crate) fn restart(&self) {
        let folder = self.folder.to_str().expect("a path in UTF-8");
        let facts = start(&["--dir", folder]);
        let pid = facts.get("pid").and_then(|pid| pid.parse().ok());
        *self.pid.lock().expect("no holder panics") = pid.expect("start prints the process id");
    }

    /// Lets the user of the SASL_SSL listener do `operations` on a resource, such as `--topic orders`.
    pub(crate) fn allow(&self, resource: &[&str], operations: &[&str]) {
        self.acl(&["--add", "--allow-principal"], resource, operations);
    }

    /// Forbids it, whatever is allowed.
    pub(crate) fn forbid(&self, resource: &[&str], operations: &[&str]) {
        self.acl(&["--add", "--deny-principal"], resource, operations);
    }

    /// Takes [`Kafka::forbid`] back.
    pub(crate) fn forbid_no_more(&self, resource: &[&str], operations: &[&str]) {
        self.acl(
            &["--remove", "--force", "--deny-principal"],
            resource,
            operations,
        );
    }

    fn acl(&self, change: &[&str], resource: &[&str], operations: &[&str]) {
        let user = &self.sasl.as_ref().expect("a secured broker").user;
        let mut tool = Command::new(script("tool"));
        tool.args([
            "org.apache.kafka.tools.AclCommand",
            "--bootstrap-server",
            &self.bootstrap,
        ])
        .args(change)
        .arg(format!("User:{user}"))
        .args(resource);
        for operation in operations {
            tool.args(["--operation", operation]);
        }
        run(&mut tool);
    }

    /// A client's configuration for the plain listener.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("allow.auto.create.topics", "false")
            // A test that stops its broker goes on soon after it is back.
            .set("reconnect.backoff.max.ms", "500");
        config
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let pid = *self.pid.lock().expect("no holder panics");
        // Its data are deleted next: no need to let it finish.
        let stopped = Command::new(script("stop"))
            .args(["--now", &pid.to_string()])
            .status();
        let deleted = std::fs::remove_dir_all(&self.folder);
        // A test may be failing right now, and what remains is the guard's at the end.
        if stopped.is_ok_and(|status| status.success()) && deleted.is_ok() {
            guard::ended(pid);
        }
    }
}

fn script(name: &str) -> PathBuf {
    services().join("kafka").join(name)
}

/// Runs the start script; returns the facts that it prints.
fn start(options: &[&str]) -> HashMap<String, String> {
    let line = run(Command::new(script("start"))
        .args(options)
        .env("KAFKA_OPTS", JVM));
    let facts = facts_of(&line);
    let pid = facts.get("pid").and_then(|pid| pid.parse().ok());
    guard::process(pid.expect("start prints the process id"));
    facts
}

/// What a start script prints: `name=value` several times in a line.
pub(crate) fn facts_of(line: &str) -> HashMap<String, String> {
    line.split_whitespace()
        .filter_map(|fact| fact.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Runs a command to its end, which must be a good one; returns what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", Path::new(command.get_program()).display()));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}
