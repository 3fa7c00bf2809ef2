//! Reads one partition of a source topic and gives each event to its destinations.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;

use super::{Shared, positions};
use crate::catalog::Found;
use crate::dispatch::Work;
use crate::domain::content::Content;
use crate::domain::delivery::{DeadLetterReason, Delivery, Progress};
use crate::domain::event::Event;
use crate::domain::offset_ledger::OffsetLedger;
use crate::domain::subscription_index::Verdict;
use crate::kafka::consumer::Queue;
use crate::kafka::partition::{Partition, Settle};
use crate::kafka::record;
use crate::sinks::prepared::Prepared;
use crate::telemetry::metrics::{FilterResult, SourceMetrics};
use crate::wire::HeaderView;
use crate::wire::source::SourceReader;

/// An event with so many hops through our Kafka destinations goes round in a circle.
const MAX_HOPS: u8 = 8;

/// For how long Kafka is asked for the bounds of a partition.
const LIMIT: Duration = Duration::from_secs(10);

/// After so many records other tasks get their turn.
const TURN: u32 = 64;

pub(super) struct Worker {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    partition: Arc<Partition>,
    reader: Arc<SourceReader>,
    metrics: SourceMetrics,
    found: Found,
    /// The changes of topics that were looked at.
    changes: u64,
}

impl Worker {
    pub(super) fn new(
        shared: &Arc<Shared>,
        queue: Arc<Queue>,
        partition: Arc<Partition>,
    ) -> Option<Self> {
        let (name, source) = shared.parts.settings.source_of(queue.topic())?;
        let reader = {
            let mut readers = shared
                .readers
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let topic = Arc::clone(queue.topic());
            let new = || Arc::new(SourceReader::new(queue.topic(), source));
            Arc::clone(readers.entry(topic).or_insert_with(new))
        };
        Some(Self {
            metrics: shared.parts.metrics.source(name).clone(),
            shared: Arc::clone(shared),
            queue,
            partition,
            reader,
            found: Found::default(),
            changes: 0,
        })
    }

    /// Reads until the assignment ends.
    pub(super) async fn run(mut self) {
        tokio::select! {
            () = self.shared.parts.catalog.loaded() => {}
            () = self.partition.revoked() => return,
        }
        let mut turn = 0;
        let queue = Arc::clone(&self.queue);
        loop {
            self.partition.wait_for_room().await;
            if self.partition.is_revoked() {
                return;
            }
            if self.was_made_again() {
                self.start_over().await;
                continue;
            }
            if self.shared.parts.catalog.is_stale() {
                tokio::select! {
                    () = self.partition.revoked() => return,
                    () = tokio::time::sleep(Duration::from_millis(100)) => continue,
                }
            }
            match queue.try_next() {
                Some(Ok(message)) => {
                    let step = self.take(&message);
                    drop(message);
                    self.finish(step).await;
                }
                Some(Err(error)) => self.note(&error).await,
                None => {
                    turn = 0;
                    tokio::select! {
                        () = self.partition.revoked() => return,
                        () = queue.ready() => {}
                    }
                }
            }
            turn += 1;
            if turn % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Reads a record as far as that needs no waiting.
    fn take(&mut self, message: &BorrowedMessage<'_>) -> Step {
        let now_ms = self.shared.parts.clock.now_ms();
        self.metrics.events_read.inc();
        let bytes = message.payload_len() + message.key_len();
        let Some(settle) = self.partition.begin(message.offset(), bytes + 256, now_ms) else {
            return Step::Nothing;
        };
        // Nothing is copied before a destination is found.
        let headers = record::headers(message);
        let headers: Vec<HeaderView<'_>> = headers.iter().map(|(n, v)| (&**n, *v)).collect();
        let view = record::view(message, self.queue.topic(), &headers);
        let metadata = match self.reader.metadata(&view, now_ms) {
            Ok(metadata) => metadata,
            Err(malformed) => {
                let record = record::copy(message, self.queue.topic());
                let (reason, detail) = (DeadLetterReason::Malformed, malformed.detail);
                return Step::DeadRecord(record, reason, detail, settle);
            }
        };
        if metadata.hops >= MAX_HOPS {
            let detail = format!(
                "the event passed through {} Kafka destinations of ours",
                metadata.hops
            );
            let record = record::copy(message, self.queue.topic());
            return Step::DeadRecord(record, DeadLetterReason::Loop, detail, settle);
        }
        let id = || metadata.id(&view);
        let content = Content::new(self.reader.parts(&view, &metadata, &id));
        let (catalog, found) = (&self.shared.parts.catalog, &mut self.found);
        catalog.matching(&metadata.tenant, &content, found);
        for (dialect, verdict) in found.verdicts.iter() {
            let result = match verdict {
                Verdict::Matched => FilterResult::Matched,
                Verdict::FilteredOut => FilterResult::FilteredOut,
                Verdict::Malformed => FilterResult::Malformed,
            };
            self.metrics.filtered.get(dialect).get(result).inc();
        }
        if found.verdicts.iter().next().is_some() {
            let sample = &self.shared.held_back;
            sample.tell(catalog, &metadata.tenant, &content, &id, now_ms);
        }
        if found.taken.is_empty() && found.malformed.is_empty() {
            self.metrics.events_unmatched.inc();
            settle.done();
            return Step::Nothing;
        }
        self.metrics.events_matched.inc();
        Step::Deliver(Arc::new(metadata.into_event(&view)), now_ms, settle)
    }

    async fn finish(&mut self, step: Step) {
        match step {
            Step::Nothing => {}
            Step::DeadRecord(record, reason, detail, settle) => {
                self.shared
                    .parts
                    .outbox
                    .dead_record(&record, reason, &detail, settle)
                    .await;
            }
            Step::Deliver(event, now_ms, settle) => {
                let found = &mut self.found;
                let one_of_several = found.taken.len() + found.malformed.len() > 1;
                let delivery = |prepared: &Prepared| Delivery {
                    event: Arc::clone(&event),
                    destination: prepared.destination.id.clone(),
                    document_offset: prepared.document_offset,
                    progress: Progress::new(now_ms),
                };
                for (prepared, detail) in found.malformed.drain(..) {
                    let (delivery, reason) = (delivery(&prepared), DeadLetterReason::Malformed);
                    let outbox = &self.shared.parts.outbox;
                    outbox
                        .dead_letter(&delivery, reason, &detail, settle.split())
                        .await;
                }
                for prepared in found.taken.drain(..) {
                    let work = Work {
                        delivery: delivery(&prepared),
                        settle: settle.split(),
                        tier: None,
                        one_of_several,
                    };
                    self.shared.parts.dispatcher.submit(&prepared, work).await;
                }
                settle.done();
            }
        }
    }

    async fn note(&self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::PartitionEOF) => {}
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                self.go_to_oldest().await
            }
            _ => {
                tracing::warn!(kafka.topic = %self.queue.topic(), kafka.partition = self.queue.number(), error = %error, "a source cannot be read");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Whether the topic is another one than that which the partition belongs to.
    fn was_made_again(&mut self) -> bool {
        let changes = self.shared.assigned.changes();
        if changes == self.changes {
            return false;
        }
        let identity = self.shared.assigned.identity(self.queue.topic());
        if identity != *self.partition.identity() {
            return true;
        }
        self.changes = changes;
        false
    }

    /// Reads the topic that was made again from its beginning. What was taken from the old one goes on and settles
    /// nothing here.
    async fn start_over(&mut self) {
        let (shared, before) = (Arc::clone(&self.shared), Arc::clone(&self.partition));
        let started = tokio::task::spawn_blocking(move || {
            let (topic, number) = (before.topic(), before.number());
            let consumer = shared.consumer.get()?;
            let begin = consumer.client().fetch_watermarks(topic, number, LIMIT);
            let begin = begin.and_then(|(low, _)| {
                consumer.go_to(topic, number, rdkafka::Offset::Offset(low))?;
                Ok(low)
            });
            match begin {
                Ok(low) => {
                    let after = Partition::new(
                        Arc::clone(topic),
                        number,
                        shared.assigned.identity(topic),
                        Some(low),
                        OffsetLedger::new([]),
                        shared.bounds(),
                        Arc::clone(&shared.parts.memory),
                    );
                    let held = shared.assigned.replace(&before, Arc::clone(&after));
                    held.then_some(after)
                }
                Err(error) => {
                    tracing::warn!(kafka.topic = %topic, kafka.partition = number, error = %error, "a topic that was made again cannot be read yet");
                    None
                }
            }
        });
        match started.await {
            Ok(Some(after)) => self.partition = after,
            Ok(None) => tokio::select! {
                () = self.partition.revoked() => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            },
            Err(error) => tracing::error!(error = %error, "starting over panicked"),
        }
    }

    /// The position is not in the partition any more: counts what was lost and goes on with the oldest record, unless the
    /// topic was made again.
    async fn go_to_oldest(&self) {
        let (shared, topic, number) = (
            Arc::clone(&self.shared),
            Arc::clone(self.queue.topic()),
            self.queue.number(),
        );
        let position = self.partition.next_offset();
        let identity = Arc::clone(self.partition.identity());
        let moved = tokio::task::spawn_blocking(move || {
            let Some(consumer) = shared.consumer.get() else {
                return;
            };
            shared.note_ids(consumer.client(), std::slice::from_ref(&topic));
            if shared.assigned.identity(&topic) != identity {
                // The reading starts over.
                return;
            }
            match consumer.client().fetch_watermarks(&topic, number, LIMIT) {
                Ok((low, _)) => {
                    if let Some(position) = position
                        && position < low
                    {
                        positions::lost(&shared, &topic, number, position, low);
                    }
                    let moved = consumer.go_to(&topic, number, rdkafka::Offset::Offset(low));
                    if let Err(error) = moved {
                        tracing::error!(kafka.topic = %topic, kafka.partition = number, error = %error, "the position could not be moved to the oldest record");
                    }
                }
                Err(error) => {
                    tracing::error!(kafka.topic = %topic, kafka.partition = number, error = %error, "the oldest offset is not known");
                }
            }
        });
        if moved.await.is_err() {
            tracing::error!("moving a position panicked");
        }
    }
}

/// What a record asks for, once it is read.
enum Step {
    Nothing,
    DeadRecord(crate::wire::RawRecord, DeadLetterReason, String, Settle),
    Deliver(Arc<Event>, i64, Settle),
}
