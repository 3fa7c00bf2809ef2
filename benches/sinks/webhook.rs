//! Webhooks, beside a loop of reqwest.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::Scenario;

#[path = "../delivery/receiver.rs"]
#[allow(
    dead_code,
    reason = "shared with the other benchmark, which uses more of it"
)]
mod receiver;

pub(crate) struct Webhook {
    receiver: receiver::Receiver,
    client: reqwest::Client,
}

impl Webhook {
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/bench", self.receiver.port)
    }
}

impl Scenario for Webhook {
    const NAME: &'static str = "webhook";
    type Bare = (reqwest::Client, String);

    async fn start() -> Self {
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(crate::CONCURRENCY)
            .build()
            .expect("a client");
        Self {
            receiver: receiver::Receiver::start(),
            client,
        }
    }

    fn sink(&self) -> Value {
        json!({"type": "webhook", "url": self.url()})
    }

    async fn bare(&self) -> (reqwest::Client, String) {
        (self.client.clone(), self.url())
    }

    async fn send((client, url): &mut Self::Bare, id: &str, body: &Bytes) {
        let request = client
            .post(url.as_str())
            .header("content-type", "application/json")
            .header("user-agent", "bare")
            .header("webhook-id", id)
            .header("webhook-timestamp", "1700000000")
            .header("webhook-event-type", "order.paid")
            .header("webhook-attempt", "1")
            .header("posthaste-hops", "1");
        let answer = request.body(body.clone()).send().await;
        let answer = answer.expect("the receiver answers");
        assert!(answer.status().is_success());
        answer.bytes().await.expect("the answer ends");
    }
}
