//! Programs that stand in for AWS, run by `tests/services/aws/start`, and what tests ask them: the services' own JSON
//! protocol, without the client library that is under test.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{guard, services, unique};

/// The keys that each of them takes; all others are refused.
pub(crate) const KEYS: (&str, &str) = ("test", "test");

pub(crate) const REGION: &str = "us-east-1";

/// A program, and a test's own connections to it.
pub(crate) struct Aws {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    http: reqwest::Client,
    _server: Arc<Server>,
}

/// A running program. Ended when dropped; those that tests share end with the test binary.
struct Server {
    url: String,
    pid: u32,
}

/// A queue of one.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    pub(crate) url: String,
    pub(crate) arn: String,
}

impl Aws {
    /// SQS and EventBridge with a check of access keys; one bad message of a batch fails alone. Tests share it.
    pub(crate) async fn ministack() -> Self {
        static SHARED: OnceCell<Arc<Server>> = OnceCell::const_new();
        let start = || async { Arc::new(Server::start(&["ministack", "--auth"]).await) };
        Self::of(SHARED.get_or_init(start).await)
    }

    /// SQS and EventBridge without that check, and STS; one bad entry of a request fails alone. Tests share it.
    pub(crate) async fn moto() -> Self {
        static SHARED: OnceCell<Arc<Server>> = OnceCell::const_new();
        let start = || async { Arc::new(Server::start(&["moto"]).await) };
        Self::of(SHARED.get_or_init(start).await)
    }

    /// Faults in front of another one, by [`Aws::faults`].
    pub(crate) async fn microburst(upstream: &str) -> Self {
        Self::of(&Arc::new(
            Server::start(&["microburst", "--upstream", upstream]).await,
        ))
    }

    fn of(server: &Arc<Server>) -> Self {
        let http = reqwest::Client::builder().no_proxy().build();
        Self {
            url: server.url.clone(),
            http: http.expect("a client"),
            _server: Arc::clone(server),
        }
    }
}

impl Server {
    async fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(services().join("aws/start"));
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        let run = tokio::task::spawn_blocking(move || command.output().expect("the script runs"));
        let output = run.await.expect("no panic");
        assert!(output.status.success(), "tests/services/aws/start fails");
        let line = String::from_utf8(output.stdout).expect("UTF-8");
        let facts: HashMap<&str, &str> = line
            .split_whitespace()
            .filter_map(|fact| fact.split_once('='))
            .collect();
        let fact = |name: &str| *facts.get(name).expect("start prints it");
        let pid = fact("pid").parse().expect("a process id");
        guard::process(pid);
        guard::folder(fact("dir").as_ref());
        Self {
            url: fact("url").to_owned(),
            pid,
        }
    }
}

impl Aws {
    /// Asks for an operation, such as `AmazonSQS.CreateQueue`.
    pub(crate) async fn ask(&self, operation: &str, input: &Value) -> Value {
        let (version, service) = match operation.split_once('.') {
            Some(("AmazonSQS", _)) => ("1.0", "sqs"),
            _ => ("1.1", "events"),
        };
        // They look at the key and check no signature.
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0",
            KEYS.0
        );
        let request = self
            .http
            .post(&self.url)
            .header("content-type", format!("application/x-amz-json-{version}"))
            .header("x-amz-target", operation)
            .header("authorization", authorization)
            .body(input.to_string());
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{operation} {input}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Makes a queue of this name.
    pub(crate) async fn queue(&self, name: &str) -> Queue {
        let attributes = match name.ends_with(".fifo") {
            true => json!({"FifoQueue": "true"}),
            false => json!({}),
        };
        let input = json!({"QueueName": name, "Attributes": attributes});
        let made = self.ask("AmazonSQS.CreateQueue", &input).await;
        let url = made.get("QueueUrl").and_then(Value::as_str);
        let url = url.expect("a URL").to_owned();
        let account = url.rsplit('/').nth(1).expect("an account").to_owned();
        Queue {
            url,
            arn: format!("arn:aws:sqs:{REGION}:{account}:{name}"),
        }
    }

    /// Takes all messages out of a queue.
    pub(crate) async fn drain(&self, queue: &Queue) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let input = json!({
                "QueueUrl": queue.url,
                "MaxNumberOfMessages": 10,
                "MessageAttributeNames": ["All"],
                "AttributeNames": ["All"],
                "VisibilityTimeout": 600
            });
            let answer = self.ask("AmazonSQS.ReceiveMessage", &input).await;
            let messages = answer.get("Messages").and_then(Value::as_array);
            let Some(messages) = messages.filter(|messages| !messages.is_empty()) else {
                return all;
            };
            for message in messages {
                let input =
                    json!({"QueueUrl": queue.url, "ReceiptHandle": message["ReceiptHandle"]});
                self.ask("AmazonSQS.DeleteMessage", &input).await;
            }
            all.extend(messages.iter().cloned());
        }
    }

    /// Makes a bus of which every event with the source `posthaste` goes to a queue.
    pub(crate) async fn bus(&self, name: &str) -> Queue {
        let queue = self.queue(&unique("bus")).await;
        let pattern = json!({"source": ["posthaste"]}).to_string();
        for (operation, input) in [
            ("AWSEvents.CreateEventBus", json!({"Name": name})),
            (
                "AWSEvents.PutRule",
                json!({"Name": "all", "EventBusName": name, "EventPattern": pattern}),
            ),
            (
                "AWSEvents.PutTargets",
                json!({"Rule": "all", "EventBusName": name, "Targets": [{"Id": "1", "Arn": queue.arn}]}),
            ),
        ] {
            self.ask(operation, &input).await;
        }
        queue
    }

    /// Begins to record what a moto is asked.
    pub(crate) async fn record(&self) {
        let url = format!("{}/moto-api/recorder/start-recording", self.url);
        let answer = self.http.post(&url).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{answer:?}");
    }

    /// Every request that it was asked since, a line each.
    pub(crate) async fn recording(&self) -> String {
        let url = format!("{}/moto-api/recorder/download-recording", self.url);
        let answer = self.http.get(&url).send().await.expect("an answer");
        answer.text().await.expect("text")
    }

    /// Adds faults to a `microburst`.
    pub(crate) async fn faults(&self, rules: &Value) {
        let url = format!("{}/_microburst/rules", self.url);
        let request = self
            .http
            .patch(&url)
            .header("content-type", "application/json");
        let set = request.body(rules.to_string()).send().await;
        let set = set.expect("an answer");
        assert!(set.status().is_success(), "{set:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stop = services().join("aws/stop");
        let stopped = Command::new(stop).arg(self.pid.to_string()).status();
        // What could not be stopped is the guard's at the end.
        if stopped.is_ok_and(|status| status.success()) {
            guard::ended(self.pid);
        }
    }
}
