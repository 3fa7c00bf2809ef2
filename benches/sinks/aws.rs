//! SQS and EventBridge on ministack, beside loops of the SDK over a client of reqwest, as ours is. A task of the loop puts
//! ten entries into each request, so that more are in flight than ours: the bare loop at its best.

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region, RuntimeComponents};
use aws_sdk_sqs::error::ConnectorError;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::RetryConfig;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::{Scenario, service};

const BATCH: usize = 10;
const REGION: &str = "us-east-1";

/// What our sinks tell beside the body: the loops send the same.
const TOLD: [(&str, &str); 6] = [
    ("event-id", "events-0-1000-1700000000000"),
    ("event-type", "order.paid"),
    ("event-time", "2026-01-31T08:00:00.25Z"),
    ("tenant", "default"),
    ("posthaste-attempt", "1"),
    ("posthaste-hops", "1"),
];

/// The SDK's requests over reqwest, without more.
#[derive(Debug, Clone)]
struct Plain(reqwest::Client);

impl HttpConnector for Plain {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().expect("a request");
            let (head, body) = request.into_parts();
            let body = Bytes::copy_from_slice(body.bytes().unwrap_or_default());
            let url = head.uri.to_string();
            let request = client.request(head.method, url).headers(head.headers);
            let answer = request.body(body).send().await;
            let answer = answer.map_err(|error| ConnectorError::io(error.into()))?;
            let status = answer.status().as_u16().try_into().expect("a status");
            let body = answer.bytes().await.expect("a body");
            Ok(HttpResponse::new(status, SdkBody::from(body)))
        })
    }
}

impl HttpClient for Plain {
    fn http_connector(
        &self,
        _settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

fn config(url: &str) -> aws_config::SdkConfig {
    let http = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(crate::CONCURRENCY)
        .build()
        .expect("a client");
    let keys = Credentials::new("test", "test", None, None, "bench");
    aws_config::SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(url)
        .credentials_provider(aws_sdk_sqs::config::SharedCredentialsProvider::new(keys))
        .http_client(SharedHttpClient::new(Plain(http)))
        .retry_config(RetryConfig::disabled())
        .build()
}

fn ministack() -> String {
    let facts = service::start("aws/start", &["ministack"]);
    facts.get("url").expect("an address").clone()
}

fn auth() -> Value {
    json!({"type": "aws_keys", "access_key_id": "test", "secret_access_key": "test"})
}

pub(crate) struct Sqs {
    queue_url: String,
    client: aws_sdk_sqs::Client,
}

impl Scenario for Sqs {
    const NAME: &'static str = "sqs";
    type Bare = (
        aws_sdk_sqs::Client,
        String,
        Vec<SendMessageBatchRequestEntry>,
    );

    async fn start() -> Self {
        let client = aws_sdk_sqs::Client::new(&config(&ministack()));
        let made = client.create_queue().queue_name("target").send().await;
        let queue_url = made.expect("the queue is made").queue_url;
        Self {
            queue_url: queue_url.expect("a URL"),
            client,
        }
    }

    fn sink(&self) -> Value {
        json!({"type": "sqs", "queue_url": self.queue_url, "region": REGION, "auth": auth()})
    }

    async fn bare(&self) -> Self::Bare {
        (self.client.clone(), self.queue_url.clone(), Vec::new())
    }

    async fn send((client, queue_url, entries): &mut Self::Bare, _id: &str, body: &Bytes) {
        let text = std::str::from_utf8(body).expect("text");
        let mut entry = SendMessageBatchRequestEntry::builder()
            .id(entries.len().to_string())
            .message_body(text);
        for (name, value) in TOLD {
            let value = MessageAttributeValue::builder()
                .data_type("String")
                .string_value(value);
            entry = entry.message_attributes(name, value.build().expect("complete"));
        }
        entries.push(entry.build().expect("complete"));
        if entries.len() == BATCH {
            let request = client.send_message_batch().queue_url(&*queue_url);
            let sent = request.set_entries(Some(std::mem::take(entries))).send();
            let sent = sent.await.expect("an answer");
            assert_eq!(sent.successful().len(), BATCH);
        }
    }
}

pub(crate) struct EventBridge {
    url: String,
    client: aws_sdk_eventbridge::Client,
}

impl Scenario for EventBridge {
    const NAME: &'static str = "eventbridge";
    type Bare = (aws_sdk_eventbridge::Client, Vec<PutEventsRequestEntry>);

    async fn start() -> Self {
        let url = ministack();
        let client = aws_sdk_eventbridge::Client::new(&config(&url));
        Self { url, client }
    }

    fn sink(&self) -> Value {
        json!({"type": "eventbridge", "endpoint": self.url, "region": REGION, "auth": auth()})
    }

    async fn bare(&self) -> Self::Bare {
        (self.client.clone(), Vec::new())
    }

    async fn send((client, entries): &mut Self::Bare, _id: &str, body: &Bytes) {
        let text = std::str::from_utf8(body).expect("text");
        let entry = PutEventsRequestEntry::builder()
            .source("posthaste")
            .detail_type("order.paid")
            .detail(text)
            .set_resources(Some(
                TOLD.map(|(name, value)| format!("{name}:{value}")).into(),
            ));
        entries.push(entry.build());
        if entries.len() == BATCH {
            let request = client.put_events();
            let sent = request.set_entries(Some(std::mem::take(entries))).send();
            assert_eq!(sent.await.expect("an answer").failed_entry_count(), 0);
        }
    }
}
