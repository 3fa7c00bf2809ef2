//! Pub/Sub, beside a loop of the library's `Publisher` with the same batches.

use std::time::Duration;

use bytes::Bytes;
use google_cloud_auth::credentials::anonymous;
use google_cloud_pubsub::client::Publisher;
use google_cloud_pubsub::model::Message;
use serde_json::{Value, json};

use crate::{Scenario, service};

const TOPIC: &str = "projects/posthaste-bench/topics/target";

pub(crate) struct PubSub {
    endpoint: String,
    publisher: Publisher,
}

impl Scenario for PubSub {
    const NAME: &'static str = "pubsub";
    type Bare = Publisher;

    async fn start() -> Self {
        let facts = service::start("pubsub/start", &[]);
        let fact = |name: &str| format!("http://{}", facts.get(name).expect("an address"));
        let subscription = "projects/posthaste-bench/subscriptions/target";
        let wanted = json!({"topic": TOPIC, "subscription": subscription}).to_string();
        let client = reqwest::Client::builder().no_proxy().build();
        let made = client
            .expect("a client")
            .post(format!("{}/topics", fact("control")));
        let made = made.body(wanted).send().await.expect("an answer");
        assert!(made.status().is_success());
        let publisher = Publisher::builder(TOPIC)
            .with_endpoint(fact("endpoint"))
            .with_credentials(anonymous::Builder::new().build())
            .set_message_count_threshold(1000)
            .set_delay_threshold(Duration::from_millis(5))
            .build()
            .await
            .expect("a publisher");
        Self {
            endpoint: fact("endpoint"),
            publisher,
        }
    }

    fn sink(&self) -> Value {
        json!({
            "type": "pubsub", "project": "posthaste-bench", "topic": "target",
            "endpoint": self.endpoint, "auth": {"type": "none"}
        })
    }

    async fn bare(&self) -> Publisher {
        self.publisher.clone()
    }

    async fn send(publisher: &mut Publisher, _id: &str, body: &Bytes) {
        let published = publisher.publish(Message::new().set_data(body.clone()));
        published.await.expect("the service gives it an id");
    }
}
