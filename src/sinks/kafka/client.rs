//! Producers of other clusters: made by properties, shared by destinations, dropped when idle.
//!
//! Invariant: one request in flight. A broker that knows nothing of a producer yet takes any first sequence number: when
//! the first request to a new partition fails and one behind it succeeds, the first one's retry is answered as a
//! duplicate and lost.
//! Invariant: a producer ends on its own polling thread; that blocks.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};
use tokio::sync::{Notify, OnceCell, oneshot};

use super::outcome::Trouble;
use crate::config::settings::Settings;
use crate::egress::Guard;
use crate::sinks::ClientsError;
use crate::sinks::cache::{CLIENTS, Cache, IDLE};

/// librdkafka's properties of one producer. Two destinations with the same ones share it.
pub(super) type Properties = Arc<[(&'static str, String)]>;

/// For how long the polling thread waits in one call: see the producer of our own cluster.
const POLL: Duration = Duration::from_secs(1);

/// What all Kafka destinations share.
#[derive(Debug)]
pub struct Client {
    producers: Cache<Properties, Arc<Producer>>,
    pub(super) guard: Arc<Guard>,
    /// The id of the cluster that events are read from, once it is known.
    pub(super) home: OnceLock<String>,
}

impl Client {
    pub(in crate::sinks) fn new(
        _settings: &Settings,
        guard: Arc<Guard>,
    ) -> Result<Self, ClientsError> {
        Ok(Self {
            producers: Cache::new(CLIENTS, IDLE),
            guard,
            home: OnceLock::new(),
        })
    }

    /// Tells the id of the cluster that events are read from; the first word counts.
    pub(in crate::sinks) fn set_home(&self, cluster_id: &str) {
        self.home.get_or_init(|| cluster_id.to_owned());
    }

    /// The producer with these properties.
    pub(super) fn producer(&self, properties: &Properties) -> KafkaResult<Arc<Producer>> {
        self.producers
            .try_get(properties, || Producer::new(properties).map(Arc::new))
    }

    /// Has the next attempt make another producer.
    pub(super) fn forget(&self, properties: &Properties, producer: &Arc<Producer>) {
        self.producers
            .remove_if(properties, |kept| Arc::ptr_eq(kept, producer));
    }
}

/// What the callbacks of a producer write down.
#[derive(Default)]
struct Context {
    /// The trouble since the last acknowledgement.
    trouble: AtomicU8,
    /// Told when credentials are refused.
    refused: Notify,
}

impl ClientContext for Context {
    /// What is in these lines is the operator's business where it is about our cluster; here customers could fill the
    /// log.
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "kafka", facility, "{message}");
    }

    fn error(&self, error: KafkaError, _reason: &str) {
        let trouble = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Authentication) => Trouble::Credentials,
            Some(RDKafkaErrorCode::SSL) => Trouble::Tls,
            Some(RDKafkaErrorCode::Resolve) => Trouble::Name,
            Some(RDKafkaErrorCode::BrokerTransportFailure) => Trouble::Connection,
            // It only sums up those before.
            _ => return,
        };
        self.trouble.store(trouble as u8, Ordering::Relaxed);
        if trouble == Trouble::Credentials {
            self.refused.notify_waiters();
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<oneshot::Sender<KafkaResult<()>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, told: Self::DeliveryOpaque) {
        let answer = match result {
            Ok(_) => {
                self.trouble.store(Trouble::None as u8, Ordering::Relaxed);
                Ok(())
            }
            Err((error, _)) => Err(error.clone()),
        };
        if told.send(answer).is_err() {
            tracing::debug!("nobody waits for this acknowledgement any more");
        }
    }
}

/// A producer of another cluster.
pub(super) struct Producer {
    inner: Arc<BaseProducer<Context>>,
    ended: Arc<AtomicBool>,
    cluster: OnceCell<String>,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

impl Producer {
    fn new(properties: &Properties) -> KafkaResult<Self> {
        let mut config = ClientConfig::new();
        for (name, value) in properties.iter() {
            config.set(*name, value);
        }
        let inner: Arc<BaseProducer<Context>> =
            Arc::new(config.create_with_context(Context::default())?);
        let ended = Arc::new(AtomicBool::new(false));
        let polled = (Arc::clone(&inner), Arc::clone(&ended));
        std::thread::Builder::new()
            .name("poll-sink".to_owned())
            .spawn(move || {
                let (producer, ended) = polled;
                while !ended.load(Ordering::Relaxed) {
                    producer.poll(POLL);
                }
            })
            .map_err(|error| {
                KafkaError::ClientCreation(format!("the polling thread does not start: {error}"))
            })?;
        Ok(Self {
            inner,
            ended,
            cluster: OnceCell::new(),
        })
    }

    /// Writes a record and waits until the broker has acknowledged it, or `message.timeout.ms` has passed.
    ///
    /// # Errors
    /// Why it is not written.
    ///
    /// # Cancel safety
    /// Dropped, the record may still be written.
    pub(super) async fn write(
        &self,
        record: BaseRecord<'_, [u8], [u8], ()>,
    ) -> KafkaResult<()> {
        let (told, mut answer) = oneshot::channel();
        let record = BaseRecord::<'_, [u8], [u8], _> {
            topic: record.topic,
            partition: record.partition,
            payload: record.payload,
            key: record.key,
            timestamp: record.timestamp,
            headers: record.headers,
            delivery_opaque: Box::new(told),
        };
        self.inner.send(record).map_err(|(error, _)| error)?;
        let context = self.inner.context();
        loop {
            tokio::select! {
                answer = &mut answer => return answer.unwrap_or(Err(KafkaError::Canceled)),
                // What waits for a connection that is refused need not wait for its whole time. Nothing of it was sent.
                () = context.refused.notified() => self.inner.purge(PurgeConfig::default().queue().non_blocking()),
            }
        }
    }

    /// What has been wrong since the last acknowledgement.
    pub(super) fn trouble(&self) -> Trouble {
        Trouble::of(self.inner.context().trouble.load(Ordering::Relaxed))
    }

    /// Whether it can never write again.
    pub(super) fn is_fatal(&self) -> bool {
        self.inner.client().fatal_error().is_some()
    }

    /// The cluster's id; `None` where it does not answer in time.
    pub(super) async fn cluster(&self, limit: Duration) -> Option<&str> {
        let ask = || async {
            let inner = Arc::clone(&self.inner);
            let asked = tokio::task::spawn_blocking(move || inner.client().fetch_cluster_id(limit));
            asked.await.ok().flatten().ok_or(())
        };
        self.cluster.get_or_try_init(ask).await.ok().map(String::as_str)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}
