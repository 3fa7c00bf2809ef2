//! Connections to Pub/Sub, shared by destinations, and publishing over them.
//!
//! Invariant: a connection belongs to one endpoint, one set of credentials and one time limit.
//! Invariant: what came of a message is told for it alone: where the service refuses a whole request for what may be one
//! bad message, each is published once more by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use google_cloud_auth::credentials::service_account::{self, AccessSpecifier};
use google_cloud_auth::credentials::{self, Credentials, anonymous};
use google_cloud_gax::error::rpc::Code;
use google_cloud_gax::retry_policy::{NeverRetry, RetryPolicyExt as _};
use google_cloud_pubsub::client::{BasePublisher, Publisher};
use google_cloud_pubsub::error::PublishError;
use google_cloud_pubsub::model::Message;
use tokio::sync::OnceCell;

use super::message::MESSAGES_MAX;
use super::outcome::Failed;
use super::{Auth, PubSub, Sum};
use crate::config::settings::Settings;
use crate::domain::outcome::Outcome;
use crate::egress::Guard;
use crate::sinks::ClientsError;
use crate::sinks::cache::Cache;

/// Connections at most.
const CONNECTIONS: usize = 256;

/// Topics at most, over all connections.
const TOPICS: usize = 4096;

/// A connection or topic that nobody used for this long is given up.
const IDLE: Duration = Duration::from_secs(300);

/// Bytes of messages in one request, unless a single one is larger.
const BATCH_BYTES: u32 = 1_000_000;

/// The library keeps something for each ordering key that it has seen, for as long as the publisher lives
/// (<https://github.com/googleapis/google-cloud-rust/issues/4012>): after so many messages with one it gets another.
const ORDERED_MAX: u32 = 10_000;

/// How often a message is offered whose ordering key the library holds back.
const OFFERS: u32 = 3;

/// Enough to publish, and nothing else of what the account may do.
const SCOPE: &str = "https://www.googleapis.com/auth/pubsub";

/// The clients that all Pub/Sub destinations share.
#[derive(Debug)]
pub struct Client {
    pub(super) guard: Arc<Guard>,
    /// How much of the service's words is kept.
    pub(super) kept: usize,
    linger: Duration,
    connections: Cache<Sum, Arc<OnceCell<BasePublisher>>>,
    topics: Cache<Sum, Arc<Topic>>,
}

/// One topic over one connection.
#[derive(Debug)]
struct Topic {
    together: Publisher,
    alone: Publisher,
    ordered: AtomicU32,
}

impl Client {
    #[allow(
        clippy::unnecessary_wraps,
        reason = "the registry takes any client's error"
    )]
    pub(in crate::sinks) fn new(
        settings: &Settings,
        guard: Arc<Guard>,
    ) -> Result<Self, ClientsError> {
        // The library takes the process's provider; one that stands there already is just as good.
        let _present = rustls::crypto::aws_lc_rs::default_provider()
            .install_default()
            .is_err();
        Ok(Self {
            guard,
            kept: settings.webhook.response_kept.0,
            linger: settings.batch.linger.0,
            connections: Cache::new(CONNECTIONS, IDLE),
            topics: Cache::new(TOPICS, IDLE),
        })
    }

    /// Publishes one message and returns the id that the service gave it. The caller limits the time.
    pub(super) async fn publish(&self, sink: &PubSub, message: Message) -> Result<String, Failed> {
        let topic = self.topic(sink).await?;
        if !message.ordering_key.is_empty()
            && topic.ordered.fetch_add(1, Ordering::Relaxed) >= ORDERED_MAX
        {
            self.topics.remove(&sink.publisher);
        }
        let mut published = publish(&topic.together, message.clone()).await;
        // Not one of these messages was taken.
        if published.as_ref().is_err_and(is_invalid_argument) {
            published = publish(&topic.alone, message).await;
        }
        published.map_err(|error| Failed::of(&error))
    }

    async fn topic(&self, sink: &PubSub) -> Result<Arc<Topic>, Failed> {
        let connection = self.connections.get(&sink.connection, Arc::default);
        let base = connection.get_or_try_init(|| connect(sink)).await?;
        Ok(self.topics.get(&sink.publisher, || {
            let publisher = |messages| {
                base.publisher(&sink.topic)
                    .set_message_count_threshold(messages)
                    .set_byte_threshold(BATCH_BYTES)
                    .set_delay_threshold(self.linger)
                    .build()
            };
            Arc::new(Topic {
                together: publisher(MESSAGES_MAX),
                alone: publisher(1),
                ordered: AtomicU32::new(0),
            })
        }))
    }
}

/// Publishes. After a failure the library holds an ordering key back until it is told to go on: the order of deliveries
/// is kept by whoever gives them out, not here.
async fn publish(publisher: &Publisher, message: Message) -> Result<String, PublishError> {
    let key = message.ordering_key.clone();
    let mut offers = 1;
    loop {
        let published = publisher.publish(message.clone()).await;
        if published.is_err() && !key.is_empty() {
            publisher.resume_publish(&key);
        }
        match published {
            Err(PublishError::OrderingKeyPaused) if offers < OFFERS => offers += 1,
            published => return published,
        }
    }
}

fn is_invalid_argument(error: &PublishError) -> bool {
    let PublishError::Rpc(error) = error else {
        return false;
    };
    let status = error.status();
    status.is_some_and(|status| status.code == Code::InvalidArgument)
}

/// Makes the client; it connects when it is first used.
async fn connect(sink: &PubSub) -> Result<BasePublisher, Failed> {
    let credentials = credentials(&sink.auth)?;
    let built = BasePublisher::builder()
        .with_endpoint(sink.endpoint.as_str())
        // Else a key could name another domain, and the client would ask there.
        .with_universe_domain("googleapis.com")
        .with_credentials(credentials)
        .with_retry_policy(NeverRetry.with_time_limit(sink.timeout))
        .build()
        .await;
    built.map_err(|error| {
        tracing::debug!(error = %error, "no Pub/Sub client could be made");
        Failed::without_answer(Outcome::Internal, "no client could be made")
    })
}

fn credentials(auth: &Auth) -> Result<Credentials, Failed> {
    match auth {
        Auth::None => Ok(anonymous::Builder::new().build()),
        Auth::Default { .. } => credentials::Builder::default().build().map_err(|error| {
            tracing::warn!(error = %error, "the machine has no Google credentials");
            Failed::without_answer(Outcome::Internal, "the service has no Google credentials")
        }),
        Auth::ServiceAccount(key) => service_account::Builder::new(key.clone())
            .with_access_specifier(AccessSpecifier::from_scopes([SCOPE]))
            .build()
            .map_err(|_unreadable| {
                Failed::without_answer(Outcome::Refused, "the key of the service account is unreadable")
            }),
    }
}
