//! Topics seen from outside: made, written, read whole, followed.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use posthaste::domain::commit_metadata;
use posthaste::wire::RawRecord;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, StreamConsumer};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::{Instant, timeout};

use super::events::NewEvent;
use super::kafka::Kafka;
use super::wait::LIMIT;

/// For requests that the broker answers at once.
const REQUEST: Duration = Duration::from_secs(10);

/// Where a group goes on in one partition, and the note it left there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) metadata: String,
}

impl Committed {
    /// The ranges of offsets beyond the position that the note names as finished.
    pub(crate) fn finished(&self, topic: &str) -> Vec<RangeInclusive<i64>> {
        // The second part of the note is the id of the cluster, which nobody here knows better.
        let cluster = self.metadata.split(';').nth(1).unwrap_or_default();
        commit_metadata::decode(&self.metadata, cluster, topic, self.offset)
    }
}

impl Kafka {
    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("an admin client")
    }

    /// A client that only asks.
    fn observer(&self) -> &BaseConsumer {
        self.observer.get_or_init(|| self.consumer("observer"))
    }

    fn consumer(&self, group: &str) -> BaseConsumer {
        self.client()
            .set("group.id", group)
            .create()
            .expect("a consumer")
    }

    /// Makes a topic with the given properties, and waits until the broker tells about it.
    pub(crate) async fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        properties: &[(&str, &str)],
    ) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in properties {
            topic = topic.set(key, value);
        }
        let made = self
            .admin()
            .create_topics(&[topic], &AdminOptions::new())
            .await;
        for result in made.expect("the broker answers") {
            result.expect("the topic can be made");
        }
        super::wait::until("the new topic is known", async || {
            self.topics(name).contains_key(name).then_some(())
        })
        .await;
    }

    /// Deletes a topic, and waits until the broker tells of it no more.
    pub(crate) async fn delete_topic(&self, name: &str) {
        let deleted = self
            .admin()
            .delete_topics(&[name], &AdminOptions::new())
            .await;
        for result in deleted.expect("the broker answers") {
            result.expect("the topic can be deleted");
        }
        super::wait::until("the deleted topic is gone", async || {
            (!self.topics(name).contains_key(name)).then_some(())
        })
        .await;
        *self.producer.lock().expect("no holder panics") = None;
    }

    /// Gives a topic more partitions, up to `partitions`, and waits until the broker tells about them.
    pub(crate) async fn add_partitions(&self, name: &str, partitions: usize) {
        let wanted = NewPartitions::new(name, partitions);
        let made = self
            .admin()
            .create_partitions(&[wanted], &AdminOptions::new())
            .await;
        for result in made.expect("the broker answers") {
            result.expect("partitions can be added");
        }
        super::wait::until("the new partitions are known", async || {
            (self.partitions(name) == count(partitions)).then_some(())
        })
        .await;
        *self.producer.lock().expect("no holder panics") = None;
    }

    /// Deletes the records of a partition below an offset, as retention does.
    pub(crate) async fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let mut wanted = TopicPartitionList::new();
        wanted
            .add_partition_offset(topic, partition, Offset::Offset(before))
            .expect("a valid position");
        let deleted = self
            .admin()
            .delete_records(&wanted, &AdminOptions::new())
            .await;
        for element in deleted.expect("the broker answers").elements() {
            element.error().expect("records can be deleted");
        }
    }

    /// The properties of a topic that are not the broker's defaults, and all others.
    pub(crate) async fn topic_properties(&self, name: &str) -> BTreeMap<String, String> {
        let asked = self
            .admin()
            .describe_configs(&[ResourceSpecifier::Topic(name)], &AdminOptions::new())
            .await;
        let mut properties = BTreeMap::new();
        for resource in asked.expect("the broker answers") {
            for entry in resource.expect("the topic can be described").entries {
                properties.insert(entry.name, entry.value.unwrap_or_default());
            }
        }
        properties
    }

    /// The topics whose names begin with `prefix`, with their numbers of partitions.
    pub(crate) fn topics(&self, prefix: &str) -> BTreeMap<String, i32> {
        let metadata = self.observer().fetch_metadata(None, REQUEST);
        metadata
            .expect("the broker answers")
            .topics()
            .iter()
            .filter(|topic| topic.name().starts_with(prefix))
            .map(|topic| (topic.name().to_owned(), count(topic.partitions().len())))
            .collect()
    }

    /// How many partitions a topic has.
    pub(crate) fn partitions(&self, topic: &str) -> i32 {
        let metadata = self.observer().fetch_metadata(Some(topic), REQUEST);
        let metadata = metadata.expect("the broker answers");
        let partitions = metadata
            .topics()
            .first()
            .map_or(0, |topic| topic.partitions().len());
        assert!(partitions > 0, "the topic {topic} exists");
        count(partitions)
    }

    /// The offset that the next record of each partition gets.
    pub(crate) fn ends(&self, topic: &str) -> BTreeMap<i32, i64> {
        (0..self.partitions(topic))
            .map(|partition| (partition, self.bounds(topic, partition).1))
            .collect()
    }

    /// The first offset of a partition, and the one that its next record gets.
    fn bounds(&self, topic: &str, partition: i32) -> (i64, i64) {
        let asked = self.observer().fetch_watermarks(topic, partition, REQUEST);
        asked.expect("the broker answers")
    }

    /// The positions of a group, to be asked for again and again.
    pub(crate) fn group(&self, id: &str) -> Group {
        Group(self.consumer(id))
    }

    fn producer(&self) -> FutureProducer {
        let mut producer = self.producer.lock().expect("no holder panics");
        producer
            .get_or_insert_with(|| {
                self.client()
                    .set("linger.ms", "0")
                    // What it writes again after a fault stands there once.
                    .set("enable.idempotence", "true")
                    .set("message.timeout.ms", "60000")
                    // More than any topic of the tests takes.
                    .set("message.max.bytes", "20000000")
                    .create()
                    .expect("a producer")
            })
            .clone()
    }

    /// Writes all events and waits until the broker has them; returns partition and offset of each.
    pub(crate) async fn produce(&self, topic: &str, events: &[NewEvent]) -> Vec<(i32, i64)> {
        let producer = self.producer();
        let sent = events.iter().map(|event| {
            producer.send(event.record(event.topic.as_deref().unwrap_or(topic)), LIMIT)
        });
        join_all(sent)
            .await
            .into_iter()
            .map(|sent| {
                sent.map(|sent| (sent.partition, sent.offset))
                    .expect("the broker takes the record")
            })
            .collect()
    }

    /// Writes any record and waits until the broker has it.
    pub(crate) async fn send(&self, record: FutureRecord<'_, [u8], [u8]>) {
        let sent = self.producer().send(record, LIMIT).await;
        sent.expect("the broker takes the record");
    }

    /// All records that a topic holds now, by partition and offset.
    pub(crate) async fn read_all(&self, topic: &str) -> Vec<RawRecord> {
        let partitions = [(topic.to_owned(), self.partitions(topic))].into();
        self.read_topics(&partitions).await
    }

    /// All records that the topics, given with their numbers of partitions, hold now; by topic, partition and offset.
    pub(crate) async fn read_topics(&self, topics: &BTreeMap<String, i32>) -> Vec<RawRecord> {
        let mut ends = BTreeMap::new();
        for (topic, partitions) in topics {
            for partition in 0..*partitions {
                let (begin, end) = self.bounds(topic, partition);
                if begin < end {
                    ends.insert((topic.clone(), partition), end);
                }
            }
        }
        let mut follower = self.reader(ends.keys());
        let end = Instant::now() + LIMIT;
        while !ends.is_empty() {
            assert!(
                Instant::now() < end,
                "not within {LIMIT:?}: all records of {ends:?}"
            );
            if let Some(record) = follower.step().await {
                let place = (record.topic.to_string(), record.partition);
                if ends
                    .get(&place)
                    .is_some_and(|end| record.offset + 1 >= *end)
                {
                    ends.remove(&place);
                }
            }
        }
        let mut records = follower.records;
        records.sort_by(|one, other| {
            (&one.topic, one.partition, one.offset).cmp(&(
                &other.topic,
                other.partition,
                other.offset,
            ))
        });
        records
    }

    /// Reads a topic from its begin and goes on with what comes.
    pub(crate) fn follow(&self, topic: &str) -> Follower {
        let partitions = (0..self.partitions(topic)).map(|partition| (topic.to_owned(), partition));
        self.reader(partitions.collect::<Vec<_>>().iter())
    }

    fn reader<'a>(&self, partitions: impl Iterator<Item = &'a (String, i32)>) -> Follower {
        let consumer: StreamConsumer = self
            .client()
            .set("group.id", "observer")
            .set("enable.auto.commit", "false")
            .create()
            .expect("a consumer");
        let mut assigned = TopicPartitionList::new();
        for (topic, partition) in partitions {
            assigned
                .add_partition_offset(topic, *partition, Offset::Beginning)
                .expect("a valid position");
        }
        consumer.assign(&assigned).expect("an assignment");
        Follower {
            consumer,
            records: Vec::new(),
        }
    }
}

/// What a group has committed.
pub(crate) struct Group(BaseConsumer);

impl Group {
    /// Its positions in the topics, given with their numbers of partitions; by topic and partition.
    pub(crate) fn committed(
        &self,
        topics: &BTreeMap<String, i32>,
    ) -> BTreeMap<(String, i32), Committed> {
        let mut asked = TopicPartitionList::new();
        for (topic, partitions) in topics {
            for partition in 0..*partitions {
                asked.add_partition(topic, partition);
            }
        }
        let answered = self
            .0
            .committed_offsets(asked, REQUEST)
            .expect("the broker answers");
        let mut found = BTreeMap::new();
        for element in answered.elements() {
            if let Offset::Offset(offset) = element.offset() {
                let metadata = element.metadata().to_owned();
                let place = (element.topic().to_owned(), element.partition());
                found.insert(place, Committed { offset, metadata });
            }
        }
        // A consumer that is dropped before such a list hangs (librdkafka).
        drop(answered);
        found
    }
}

/// Reads a topic as it grows.
pub(crate) struct Follower {
    consumer: StreamConsumer,
    /// What was read so far; ordered within each partition.
    pub(crate) records: Vec<RawRecord>,
}

impl Follower {
    /// Reads on until the condition holds for what was read; fails after [`LIMIT`].
    pub(crate) async fn until(
        &mut self,
        what: &str,
        holds: impl Fn(&[RawRecord]) -> bool,
    ) -> &[RawRecord] {
        let end = Instant::now() + LIMIT;
        while !holds(&self.records) {
            assert!(
                Instant::now() < end,
                "not within {LIMIT:?}: {what}; read {:#?}",
                self.records
            );
            self.step().await;
        }
        &self.records
    }

    /// Waits for one record, or a second.
    async fn step(&mut self) -> Option<&RawRecord> {
        match timeout(Duration::from_secs(1), self.consumer.recv()).await {
            Err(_elapsed) => None,
            Ok(Ok(message)) => {
                self.records.push(raw(&message));
                self.records.last()
            }
            Ok(Err(error)) => {
                eprintln!("while reading: {error}");
                None
            }
        }
    }
}

fn raw(message: &BorrowedMessage<'_>) -> RawRecord {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers
            .iter()
            .map(|header| (header.key.into(), header.value.map(Bytes::copy_from_slice)))
            .collect()
    });
    RawRecord {
        topic: message.topic().into(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or_default(),
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
        headers,
    }
}

/// The value of a record's first header of that name, as text.
pub(crate) fn header<'a>(record: &'a RawRecord, name: &str) -> Option<&'a str> {
    let (_, value) = record.headers.iter().find(|(found, _)| &**found == name)?;
    std::str::from_utf8(value.as_ref()?).ok()
}

fn count(partitions: usize) -> i32 {
    i32::try_from(partitions).expect("few partitions")
}
