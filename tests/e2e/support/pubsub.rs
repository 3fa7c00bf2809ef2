//! A Pub/Sub, run by `tests/services/pubsub/start`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use google_cloud_auth::credentials::anonymous;
use google_cloud_pubsub::client::Subscriber;
use google_cloud_pubsub::model::Message;
use serde_json::{Value, json};

use super::scene::with;
use super::{guard, run_folder, services, unique};

/// The project of all topics.
const PROJECT: &str = "posthaste-tests";

/// A pair of keys in PEM.
pub(crate) struct Keys {
    private: String,
    public: String,
}

impl Keys {
    fn new() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let private: Pkcs8V1Der<'_> = pair.as_der().expect("DER");
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("DER");
        Self {
            private: pem("PRIVATE KEY", private.as_ref()),
            public: pem("PUBLIC KEY", public.as_ref()),
        }
    }

    /// `auth` of a document.
    fn auth(&self) -> Value {
        json!({"type": "google_service_account", "json": {
            "type": "service_account", "project_id": PROJECT, "private_key_id": "1", "private_key": self.private,
            "client_email": "posthaste@posthaste-tests.iam.gserviceaccount.com"
        }})
    }
}

fn pem(what: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> = base64
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    format!(
        "-----BEGIN {what}-----\n{}\n-----END {what}-----\n",
        lines.join("\n")
    )
}

/// Of the account that may publish.
static KEYS: LazyLock<Keys> = LazyLock::new(Keys::new);

/// Of one that may not.
static WRONG_KEYS: LazyLock<Keys> = LazyLock::new(Keys::new);

/// The file with the public key of the account that may publish.
static PUBLIC: LazyLock<PathBuf> = LazyLock::new(|| {
    let file = run_folder().join(unique("pubsub-public.pem"));
    std::fs::write(&file, &KEYS.public).expect("the key can be written");
    file
});

/// One Pub/Sub that asks for tokens. It is ended when this is dropped or the test binary ends.
pub(crate) struct PubSub {
    pub(crate) address: SocketAddr,
    control: String,
    pid: u32,
    folder: PathBuf,
    http: reqwest::Client,
}

impl PubSub {
    /// The one that all tests share which make no trouble for others.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: LazyLock<Arc<PubSub>> = LazyLock::new(PubSub::start);
        Arc::clone(&SHARED)
    }

    /// One of its own. Blocks until it answers.
    pub(crate) fn start() -> Arc<Self> {
        let output = Command::new(script("start"))
            .arg("--public-key")
            .arg(&*PUBLIC)
            .stdin(Stdio::null())
            .output()
            .expect("the start script runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let line = String::from_utf8(output.stdout).expect("UTF-8");
        let fact = |name: &str| {
            let mut facts = line
                .split_whitespace()
                .filter_map(|fact| fact.split_once('='));
            let found = facts.find(|(found, _)| *found == name);
            found.map_or_else(
                || panic!("start prints `{name}`, not only {line}"),
                |(_, value)| value.to_owned(),
            )
        };
        let (pid, folder) = (
            fact("pid").parse().expect("a process id"),
            PathBuf::from(fact("dir")),
        );
        guard::process(pid);
        guard::folder(&folder);
        Arc::new(Self {
            address: fact("endpoint").parse().expect("an address"),
            control: format!("http://{}", fact("control")),
            pid,
            folder,
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client"),
        })
    }

    /// The object `sink` of the topic of that id, over this address of the server.
    pub(crate) fn sink(topic: &str, at: SocketAddr) -> Value {
        json!({
            "type": "pubsub", "project": PROJECT, "topic": topic,
            "endpoint": format!("http://{at}"), "auth": KEYS.auth(), "timeout": "2s"
        })
    }

    /// The `auth` of an account that may not publish.
    pub(crate) fn wrong_auth() -> Value {
        WRONG_KEYS.auth()
    }

    /// The full name of a topic or subscription.
    pub(crate) fn name(what: &str, id: &str) -> String {
        format!("projects/{PROJECT}/{what}/{id}")
    }

    /// Makes a topic, and a client of the library that collects what comes to it.
    pub(crate) async fn topic(&self, id: &str) -> Arc<Mutex<Vec<Message>>> {
        let subscription = Self::name("subscriptions", id);
        let wanted = json!({"topic": Self::name("topics", id), "subscription": subscription});
        self.post("/topics", &wanted).await;
        let subscriber = Subscriber::builder()
            .with_endpoint(format!("http://{}", self.address))
            .with_credentials(anonymous::Builder::new().build())
            .build()
            .await
            .expect("a subscriber");
        let collected = Arc::<Mutex<Vec<Message>>>::default();
        let collecting = Arc::clone(&collected);
        tokio::spawn(async move {
            let mut messages = subscriber.subscribe(subscription).build();
            while let Some(Ok((message, handler))) = messages.next().await {
                handler.ack();
                collecting.lock().expect("no holder panics").push(message);
            }
        });
        collected
    }

    /// Adds a fault of publishing; see `tests/services/pubsub/main.go`.
    pub(crate) async fn fail(&self, fault: &Value) {
        let method = json!({"method": "/google.pubsub.v1.Publisher/Publish"});
        let fault = with(fault, &method);
        self.post("/faults", &json!([fault])).await;
    }

    /// Ends all faults.
    pub(crate) async fn mend(&self) {
        let url = format!("{}/faults", self.control);
        let answer = self.http.delete(url).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }

    /// The requests to publish to a topic: ids of the messages, ordering keys, status code.
    pub(crate) async fn publishes(&self, id: &str) -> Vec<Publish> {
        let url = format!("{}/publishes", self.control);
        let answer = self.http.get(url).send().await.expect("an answer");
        let text = answer.text().await.expect("a body");
        let all: Vec<Publish> = serde_json::from_str(&text).expect("JSON");
        let topic = Self::name("topics", id);
        all.into_iter()
            .filter(|publish| publish.topic == topic)
            .collect()
    }

    async fn post(&self, path: &str, body: &Value) {
        let url = format!("{}{path}", self.control);
        let answer = self.http.post(url).body(body.to_string()).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 200, "{body}");
    }
}

/// One request to publish, as the server saw it.
#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct Publish {
    topic: String,
    pub(crate) ids: Vec<String>,
    pub(crate) keys: Vec<String>,
    pub(crate) code: String,
}

impl Drop for PubSub {
    fn drop(&mut self) {
        let stopped = Command::new(script("stop"))
            .arg(self.pid.to_string())
            .status();
        let deleted = std::fs::remove_dir_all(&self.folder);
        // A test may be failing right now, and what remains is the guard's at the end.
        if stopped.is_ok_and(|status| status.success()) && deleted.is_ok() {
            guard::ended(self.pid);
        }
    }
}

fn script(name: &str) -> PathBuf {
    let folder: &Path = &services().join("pubsub");
    folder.join(name)
}
