//! A consumer whose partitions are read from queues of their own.
//!
//! One thread polls the main queue, which serves rebalances and errors; each partition is read by whoever holds its
//! [`Queue`]. A partition that must wait is simply not read: `pause()` would throw its prefetched records away.
//!
//! Invariant: a queue is split at each assignment and its handle kept until the next one: librdkafka keeps it split over
//! rebalances, and a dropped handle would silence the partition. Only that of a deleted topic is let go.
//! Invariant: no record reaches the main queue, since queues are split before the assignment begins.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::Notify;

use super::client::{forward_error, forward_log};

/// A topic and a partition number.
pub type TopicPartition = (Arc<str>, i32);

/// Decides where newly assigned partitions start, and finishes those that are taken away.
///
/// Both run on the polling thread and may block: until they return, the rebalance waits.
pub trait Assignments: Send + Sync + 'static {
    /// Returns the offset to start from for each of `partitions`, in their order.
    ///
    /// # Errors
    /// What Kafka answered; the caller waits a second and asks again.
    fn assigned(
        &self,
        consumer: &BaseConsumer<Context>,
        partitions: &[TopicPartition],
    ) -> KafkaResult<Vec<Offset>>;

    /// Told once the partitions are being fetched, with their queues.
    fn started(&self, queues: Vec<Arc<Queue>>);

    /// Ends the work on `partitions`; when it returns, others may read them. `lost`: they were taken without asking.
    fn revoked(&self, consumer: &BaseConsumer<Context>, partitions: &[TopicPartition], lost: bool);
}

/// How often all readers look into their queues, told or not.
const WAKE: Duration = Duration::from_secs(5);

/// What librdkafka calls back.
pub struct Context {
    consumer: OnceLock<Weak<BaseConsumer<Context>>>,
    queues: Mutex<HashMap<TopicPartition, Arc<Queue>>>,
    assignments: OnceLock<Box<dyn Assignments>>,
    errors: IntCounter,
    stopping: AtomicBool,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Context")
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        forward_log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            self.errors.inc();
            forward_error(&error, reason);
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        base: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions: Vec<TopicPartition> = list
            .elements()
            .iter()
            .map(|e| (Arc::from(e.topic()), e.partition()))
            .collect();
        let cooperative = matches!(base.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let result = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assign(base, list, &partitions, cooperative)
        } else {
            if let Some(assignments) = self.assignments.get() {
                assignments.revoked(base, &partitions, base.assignment_lost());
            }
            if cooperative {
                base.incremental_unassign(list)
            } else {
                base.unassign()
            }
        };
        if let Err(error) = result {
            tracing::error!(error = %error, "the assignment could not be changed; partitions stand still until the next rebalance");
        }
    }
}

impl Context {
    /// Has every reader look into its queue.
    fn wake_all(&self) {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        for queue in queues.values() {
            queue.nonempty.notify_one();
        }
    }

    fn assign(
        &self,
        base: &BaseConsumer<Self>,
        list: &mut TopicPartitionList,
        partitions: &[TopicPartition],
        cooperative: bool,
    ) -> KafkaResult<()> {
        let queues: Vec<Arc<Queue>> = partitions
            .iter()
            .filter_map(|(topic, number)| self.split(topic, *number))
            .collect();
        if let Some(assignments) = self.assignments.get() {
            let offsets = loop {
                match assignments.assigned(base, partitions) {
                    Ok(offsets) => break offsets,
                    // Without an answer to the rebalance the consumer could not be closed. Nobody reads what is assigned.
                    Err(_) if self.stopping.load(Ordering::Acquire) && cooperative => {
                        return base.incremental_assign(list);
                    }
                    Err(_) if self.stopping.load(Ordering::Acquire) => return base.assign(list),
                    Err(error) => {
                        tracing::warn!(error = %error, "start positions are not known yet, asking again in 1 s");
                        std::thread::sleep(Duration::from_secs(1));
                    }
                }
            };
            for ((topic, number), offset) in partitions.iter().zip(offsets) {
                list.set_partition_offset(topic, *number, offset)?;
            }
        }
        if cooperative {
            base.incremental_assign(list)?;
        } else {
            base.assign(list)?;
        }
        if let Some(assignments) = self.assignments.get() {
            assignments.started(queues);
        }
        Ok(())
    }

    /// The queue of a partition that is about to be assigned, split off anew: one that was given up before librdkafka knew
    /// its topic is another one the next time, whose records would go to the main queue.
    fn split(&self, topic: &Arc<str>, number: i32) -> Option<Arc<Queue>> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (Arc::clone(topic), number);
        // First, since what it does at its end would undo what the new one does at its begin.
        drop(queues.remove(&key));
        let consumer = self.consumer.get()?.upgrade()?;
        let mut native = consumer.split_partition_queue(topic, number)?;
        let nonempty = Arc::new(Notify::new());
        native.set_nonempty_callback({
            let nonempty = Arc::clone(&nonempty);
            move || nonempty.notify_one()
        });
        let queue = Arc::new(Queue {
            topic: Arc::clone(topic),
            number,
            native,
            nonempty,
        });
        queues.insert(key, Arc::clone(&queue));
        Some(queue)
    }
}

/// The records of one partition, as they arrive.
pub struct Queue {
    topic: Arc<str>,
    number: i32,
    native: PartitionQueue<Context>,
    nonempty: Arc<Notify>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({}/{})", self.topic, self.number)
    }
}

impl Queue {
    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The partition's number.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.number
    }

    /// The next record if one has arrived.
    #[must_use]
    pub fn try_next(&self) -> Option<KafkaResult<BorrowedMessage<'_>>> {
        self.native.poll(Duration::ZERO)
    }

    /// Waits until a record may have arrived. Cancel safe. The polling thread wakes all from time to time, in case that
    /// librdkafka did not call back.
    pub async fn ready(&self) {
        self.nonempty.notified().await;
    }
}

/// A consumer, its polling thread and its queues.
pub struct SplitConsumer {
    inner: Arc<BaseConsumer<Context>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl std::fmt::Debug for SplitConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SplitConsumer")
    }
}

impl SplitConsumer {
    /// Connects; `name` is for logs and the thread, `errors` counts what goes wrong.
    ///
    /// # Errors
    /// If librdkafka refuses the configuration.
    pub fn new(name: &'static str, config: &ClientConfig, errors: IntCounter) -> KafkaResult<Self> {
        let context = Context {
            consumer: OnceLock::new(),
            queues: Mutex::new(HashMap::new()),
            assignments: OnceLock::new(),
            errors,
            stopping: AtomicBool::new(false),
        };
        let inner: Arc<BaseConsumer<Context>> = Arc::new(config.create_with_context(context)?);
        if inner
            .context()
            .consumer
            .set(Arc::downgrade(&inner))
            .is_err()
        {
            unreachable!("a new context has no consumer yet");
        }
        let polled = Arc::clone(&inner);
        let thread = std::thread::Builder::new()
            .name(format!("poll-{name}"))
            .spawn(move || poll(name, &polled))
            .map_err(|error| {
                KafkaError::ClientCreation(format!("the polling thread does not start: {error}"))
            })?;
        Ok(Self {
            inner,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Joins the group for `topics` (`^…`: a regular expression). Call once.
    ///
    /// # Errors
    /// If librdkafka refuses the subscription.
    pub fn subscribe(&self, topics: &[&str], assignments: impl Assignments) -> KafkaResult<()> {
        if self
            .inner
            .context()
            .assignments
            .set(Box::new(assignments))
            .is_err()
        {
            return Err(KafkaError::Subscription("subscribed already".to_owned()));
        }
        self.inner.subscribe(topics)
    }

    /// Starts to read a partition by hand, without a group's assignment.
    ///
    /// # Errors
    /// If librdkafka refuses.
    pub fn assign(&self, topic: &Arc<str>, number: i32, offset: Offset) -> KafkaResult<Arc<Queue>> {
        let queue = self.inner.context().split(topic, number).ok_or_else(|| {
            KafkaError::Subscription(format!("partition {topic}/{number} has no queue"))
        })?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, number, offset)?;
        self.inner.incremental_assign(&list)?;
        Ok(queue)
    }

    /// Ends the reading of a partition that was assigned by hand.
    ///
    /// # Errors
    /// If librdkafka refuses.
    pub fn unassign(&self, topic: &str, number: i32) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, number);
        self.inner.incremental_unassign(&list)
    }

    /// Lets go of the queue of a partition that is not assigned and never will be again: its topic is deleted and its
    /// name not used a second time.
    pub fn forget(&self, topic: &Arc<str>, number: i32) {
        let context = self.inner.context();
        let mut queues = context
            .queues
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let queue = queues.remove(&(Arc::clone(topic), number));
        drop(queues);
        // Without the lock: what librdkafka tells meanwhile may need it.
        drop(queue);
    }

    /// Goes on with a partition from another offset, also where its reading ended with an error: then librdkafka does
    /// not seek.
    ///
    /// # Errors
    /// If librdkafka refuses.
    pub fn go_to(&self, topic: &str, number: i32, offset: Offset) -> KafkaResult<()> {
        self.unassign(topic, number)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, number, offset)?;
        self.inner.incremental_assign(&list)
    }

    /// The client, for committing and looking up offsets.
    #[must_use]
    pub fn client(&self) -> &BaseConsumer<Context> {
        &self.inner
    }

    /// Sends positions without waiting for the answer.
    ///
    /// # Errors
    /// If librdkafka does not take them.
    pub fn commit(&self, positions: &TopicPartitionList, mode: CommitMode) -> KafkaResult<()> {
        self.inner.commit(positions, mode)
    }

    /// Leaves the group: revokes everything (which waits as [`Assignments::revoked`] does) and closes. Blocks.
    pub fn close(&self) {
        self.inner.context().stopping.store(true, Ordering::Release);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the polling thread panicked");
        }
    }
}

/// Serves the main queue until the consumer is closed.
fn poll(name: &str, consumer: &Arc<BaseConsumer<Context>>) {
    let context = consumer.context();
    let mut closing: Option<Instant> = None;
    let mut woken = Instant::now();
    loop {
        if woken.elapsed() > WAKE {
            woken = Instant::now();
            context.wake_all();
        }
        if context.stopping.load(Ordering::Acquire) && closing.is_none() {
            closing = Some(Instant::now());
            // The revocation that this asks for is served by the polls below, and waits as long as it needs.
            if let Err(error) = consumer.close_queue() {
                tracing::warn!(consumer = name, error = %error, "could not leave the group; it ends with the session time-out");
                return;
            }
        }
        match consumer.poll(Duration::from_millis(if closing.is_some() {
            10
        } else {
            100
        })) {
            None => {}
            Some(Ok(message)) => {
                use rdkafka::Message;
                tracing::error!(
                    consumer = name,
                    kafka.topic = message.topic(),
                    kafka.partition = message.partition(),
                    kafka.offset = message.offset(),
                    "a record arrived outside its partition's queue; it is read again after a restart"
                );
            }
            Some(Err(error)) => {
                context.errors.inc();
                note(name, &error);
            }
        }
        if let Some(since) = closing
            && (consumer.closed() || since.elapsed() > Duration::from_secs(30))
        {
            return;
        }
    }
}

fn note(name: &str, error: &KafkaError) {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::PartitionEOF) => {}
        // Once a minute for each kind of trouble.
        _ => forward_error(error, &format!("{name}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::Message;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    use super::*;

    /// The first thing that a queue gives.
    fn next(queue: &Queue) -> Result<i64, Option<RDKafkaErrorCode>> {
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            match queue.native.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(message)) => return Ok(message.offset()),
                Some(Err(error)) => return Err(error.rdkafka_error_code()),
            }
        }
        panic!("nothing arrives");
    }

    #[test]
    fn the_queue_of_a_deleted_topic_is_let_go_and_others_are_read_on() {
        let cluster = MockCluster::new(1).expect("a cluster");
        for topic in ["gone", "stays"] {
            cluster.create_topic(topic, 1, 1).expect("a topic");
        }
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("group.id", "g")
            .set("auto.offset.reset", "earliest");
        let errors = IntCounter::new("errors", "of the test").expect("a counter");
        let consumer = SplitConsumer::new("test", &config, errors).expect("a consumer");
        let queues = ["gone", "stays"].map(|topic| {
            let topic: Arc<str> = topic.into();
            consumer
                .assign(&topic, 0, Offset::Beginning)
                .expect("assigned")
        });
        let [gone, stays] = queues;
        consumer.unassign("gone", 0).expect("unassigned");
        consumer.forget(gone.topic(), 0);
        assert_eq!(Arc::strong_count(&gone), 1, "nobody else holds it");
        drop(gone);
        let producer: BaseProducer = config.create().expect("a producer");
        producer
            .send(
                BaseRecord::<str, str>::to("stays")
                    .partition(0)
                    .payload("x"),
            )
            .expect("room");
        producer.flush(Duration::from_secs(20)).expect("written");
        assert_eq!(next(&stays), Ok(0));
        consumer.close();
    }

    #[test]
    fn a_partition_that_was_given_up_before_its_topic_was_known_is_read_from_its_queue_later() {
        let cluster = MockCluster::new(1).expect("a cluster");
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("group.id", "g")
            .set("allow.auto.create.topics", "false")
            .set("auto.offset.reset", "earliest");
        let errors = IntCounter::new("errors", "of the test").expect("a counter");
        let consumer = SplitConsumer::new("test", &config, errors).expect("a consumer");
        let topic: Arc<str> = "late".into();
        let before = consumer
            .assign(&topic, 0, Offset::Beginning)
            .expect("assigned");
        consumer.unassign("late", 0).expect("unassigned");
        drop(before);
        cluster.create_topic("late", 1, 1).expect("a topic");
        let producer: BaseProducer = config.create().expect("a producer");
        producer
            .send(BaseRecord::<str, str>::to("late").partition(0).payload("x"))
            .expect("room");
        producer.flush(Duration::from_secs(20)).expect("written");
        let queue = consumer
            .assign(&topic, 0, Offset::Beginning)
            .expect("assigned");
        assert_eq!(next(&queue), Ok(0));
        consumer.close();
    }

    #[test]
    fn reading_goes_on_with_the_oldest_record_where_the_position_is_gone() {
        let cluster = MockCluster::new(1).expect("a cluster");
        cluster.create_topic("t", 1, 1).expect("a topic");
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers());
        let producer: BaseProducer = config.create().expect("a producer");
        producer
            .send(BaseRecord::<str, str>::to("t").partition(0).payload("x"))
            .expect("room");
        producer.flush(Duration::from_secs(20)).expect("written");
        config
            .set("group.id", "g")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error");
        let errors = IntCounter::new("errors", "of the test").expect("a counter");
        let consumer = SplitConsumer::new("test", &config, errors).expect("a consumer");
        let topic: Arc<str> = "t".into();
        let queue = consumer
            .assign(&topic, 0, Offset::Offset(1000))
            .expect("assigned");
        assert_eq!(next(&queue), Err(Some(RDKafkaErrorCode::AutoOffsetReset)));
        let seek = consumer
            .client()
            .seek("t", 0, Offset::Offset(0), Duration::from_secs(5));
        assert!(seek.is_err(), "then `go_to` need not do more");
        consumer.go_to("t", 0, Offset::Offset(0)).expect("moved");
        assert_eq!(next(&queue), Ok(0));
        consumer.close();
    }
}
