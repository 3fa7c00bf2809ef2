//! Follows the configuration topics and keeps the view up to date.
//!
//! Invariant: the view counts as loaded when every topic was read to the end that it had.
//! Invariant: once a second the ends are looked up; when they could not be confirmed for `catalog.stale_after`, the
//! view is stale: intake stops until it is not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Message, Offset};
use tokio::sync::{mpsc, watch};

use super::Catalog;
use crate::domain::ids::DestinationId;
use crate::kafka::consumer::{Queue, SplitConsumer};
use crate::kafka::outbox::DedicatedTopics;
use crate::kafka::record;
use crate::telemetry::metrics::KafkaClient;
use crate::wire::dedicated;

/// The topics that are followed, each with one partition.
#[derive(Debug, Clone)]
pub struct Topics {
    /// Documents of destinations.
    pub destinations: Arc<str>,
    /// Retry topics of destinations' own.
    pub dedicated: Arc<str>,
}

/// One topic that is followed.
#[derive(Debug)]
struct Followed {
    queue: Arc<Queue>,
    /// The offset after the last record that was applied.
    next: i64,
    /// Everything before this end is applied.
    confirmed: i64,
    /// The end was reached since it was last looked up; it may lie behind `next`, after control records.
    at_end: bool,
}

/// Told each destination that changed or was deleted after the first load; must not block.
pub type OnChange = Box<dyn Fn(&DestinationId) + Send + Sync>;

/// Reads the topics.
pub struct Reader {
    catalog: Arc<Catalog>,
    dedicated: Arc<DedicatedTopics>,
    topics: Topics,
    consumer: Arc<SplitConsumer>,
    followed: Vec<Followed>,
    stale_after: Duration,
    changed: OnChange,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({:?})", self.topics)
    }
}

/// How many records are applied before other tasks get their turn.
const TURN: usize = 500;

impl Reader {
    /// Connects.
    ///
    /// # Errors
    /// If librdkafka refuses the configuration.
    pub fn new(
        catalog: Arc<Catalog>,
        dedicated: Arc<DedicatedTopics>,
        topics: Topics,
        config: &ClientConfig,
        stale_after: Duration,
        changed: OnChange,
    ) -> KafkaResult<Self> {
        let errors = catalog
            .metrics
            .kafka
            .errors
            .get(KafkaClient::Catalog)
            .clone();
        let mut config = config.clone();
        config
            .set("enable.partition.eof", "true")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed");
        let consumer = Arc::new(SplitConsumer::new("catalog", &config, errors)?);
        let mut followed = Vec::new();
        for topic in [&topics.destinations, &topics.dedicated] {
            followed.push(Followed {
                queue: consumer.assign(topic, 0, Offset::Beginning)?,
                next: 0,
                confirmed: -1,
                at_end: false,
            });
        }
        Ok(Self {
            catalog,
            dedicated,
            topics,
            consumer,
            followed,
            stale_after,
            changed,
        })
    }

    /// Reads until `shutdown` is told.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let mut ends = self.look_up_ends(shutdown.clone());
        let mut confirmed = Instant::now();
        let queues: Vec<Arc<Queue>> = self
            .followed
            .iter()
            .map(|followed| Arc::clone(&followed.queue))
            .collect();
        loop {
            let more = self.apply_some();
            let arrived = async {
                if more {
                    tokio::task::yield_now().await;
                } else {
                    let ready: Vec<_> =
                        queues.iter().map(|queue| Box::pin(queue.ready())).collect();
                    futures_util::future::select_all(ready).await;
                }
            };
            tokio::select! {
                _ = shutdown.changed() => break,
                () = arrived => {}
                found = ends.recv() => {
                    let Some(found) = found else { break };
                    if self.confirm(&found) {
                        confirmed = Instant::now();
                        if !self.catalog.set_loaded() {
                            tracing::info!(destinations = self.catalog.len(), "configuration read");
                        }
                    }
                }
            }
            let loaded = *self.catalog.loaded.borrow();
            self.set_stale(loaded && confirmed.elapsed() > self.stale_after);
        }
        let consumer = Arc::clone(&self.consumer);
        if tokio::task::spawn_blocking(move || consumer.close())
            .await
            .is_err()
        {
            tracing::error!("closing the catalog's consumer panicked");
        }
    }

    /// Looks up the ends on a thread of its own: often until loaded, then once a second.
    fn look_up_ends(&self, shutdown: watch::Receiver<bool>) -> mpsc::Receiver<Vec<Option<i64>>> {
        let (tell, told) = mpsc::channel(1);
        let consumer = Arc::clone(&self.consumer);
        let topics = [
            Arc::clone(&self.topics.destinations),
            Arc::clone(&self.topics.dedicated),
        ];
        let catalog = Arc::clone(&self.catalog);
        tokio::task::spawn_blocking(move || {
            while !*shutdown.borrow() {
                let ends = topics
                    .iter()
                    .map(|topic| {
                        consumer
                            .client()
                            .fetch_watermarks(topic, 0, Duration::from_secs(1))
                            .ok()
                    })
                    .map(|found| found.map(|(_, end)| end))
                    .collect();
                if tell.blocking_send(ends).is_err() {
                    return;
                }
                let pause = if *catalog.loaded.borrow() { 1000 } else { 20 };
                std::thread::sleep(Duration::from_millis(pause));
            }
        });
        told
    }

    /// Applies what has arrived; tells whether there may be more.
    fn apply_some(&mut self) -> bool {
        let mut more = false;
        for index in 0..self.followed.len() {
            let Some(followed) = self.followed.get_mut(index) else {
                continue;
            };
            let queue = Arc::clone(&followed.queue);
            let mut turn = 0;
            while let Some(arrived) = queue.try_next() {
                match arrived {
                    Ok(message) => {
                        self.apply(&message);
                        if let Some(followed) = self.followed.get_mut(index) {
                            followed.next = message.offset() + 1;
                            followed.at_end = false;
                        }
                    }
                    Err(KafkaError::PartitionEOF(_)) => {
                        if let Some(followed) = self.followed.get_mut(index) {
                            followed.at_end = true;
                        }
                    }
                    Err(error) => {
                        tracing::warn!(error = %error, "a configuration topic cannot be read")
                    }
                }
                turn += 1;
                if turn >= TURN {
                    more = true;
                    break;
                }
            }
        }
        more
    }

    /// Whether everything up to these ends is applied.
    fn confirm(&mut self, ends: &[Option<i64>]) -> bool {
        let mut all = true;
        for (index, (followed, end)) in self.followed.iter_mut().zip(ends).enumerate() {
            match end {
                Some(end)
                    if *end <= followed.next || *end == followed.confirmed || followed.at_end =>
                {
                    followed.confirmed = *end;
                    if index == 0 {
                        self.catalog.confirm(*end);
                    }
                }
                _ => all = false,
            }
            followed.at_end = false;
        }
        all
    }

    fn set_stale(&self, stale: bool) {
        self.dedicated.set_stale(stale);
        if self.catalog.stale.swap(stale, Ordering::AcqRel) != stale {
            self.catalog.metrics.catalog.stale.set(i64::from(stale));
            if stale {
                tracing::error!(
                    "the configuration topics cannot be confirmed to be read to their ends; intake stops"
                );
            } else {
                tracing::info!(
                    "the configuration topics are read to their ends again; intake goes on"
                );
            }
        }
    }

    fn apply(&self, message: &BorrowedMessage<'_>) {
        if message.topic() == &*self.topics.destinations {
            let changed = self
                .catalog
                .apply(message.key(), message.payload(), message.offset());
            if let Some(id) = changed
                && *self.catalog.loaded.borrow()
            {
                (self.changed)(&id);
            }
            return;
        }
        match dedicated::decode(&record::copy(message, &self.topics.dedicated)) {
            Ok(announced) => self
                .dedicated
                .set(announced.destination, announced.topic.map(Arc::from)),
            Err(error) => tracing::error!(
                kafka.offset = message.offset(),
                error = %error,
                "a record of the topic `dedicated` cannot be read"
            ),
        }
    }
}
