//! The real Kafka: starting it, topics, producing, counting records.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders, ToBytes};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::{guard, process, services};

const LIMIT: Duration = Duration::from_secs(30);

/// Partitions of a source topic.
const PARTITIONS: i32 = 4;

/// One broker, stopped and deleted at the end.
pub(crate) struct Kafka {
    pub(crate) bootstrap: String,
    pid: u32,
    folder: PathBuf,
    /// Gathers records for 5 ms, as Kafka's own client does by default: for flows.
    batching: ThreadedProducer<DefaultProducerContext>,
    /// Sends each record at once: for latency.
    prompt: ThreadedProducer<DefaultProducerContext>,
    consumer: BaseConsumer,
    runtime: tokio::runtime::Runtime,
}

impl Kafka {
    /// Starts a broker and waits until it answers.
    pub(crate) fn start() -> Self {
        let output = Command::new(services().join("kafka/start"))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .expect("tests/services/kafka/start runs");
        let line = String::from_utf8(output.stdout).expect("text");
        let facts: HashMap<&str, &str> = line
            .split_whitespace()
            .filter_map(|fact| fact.split_once('='))
            .collect();
        let fact = |name: &str| *facts.get(name).expect("start prints it");
        let pid: u32 = fact("pid").parse().expect("a process id");
        let folder = PathBuf::from(fact("dir"));
        guard::process(pid);
        guard::folder(&folder);
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", fact("bootstrap"))
            .set("allow.auto.create.topics", "false");
        let consumer = config.clone().create().expect("a client");
        config
            .set("queue.buffering.max.messages", "1000000")
            .set("topic.metadata.refresh.interval.ms", "1000");
        let producer = |linger: &str| {
            let mut config = config.clone();
            config.set("linger.ms", linger);
            config.create().expect("a producer")
        };
        Self {
            bootstrap: fact("bootstrap").to_owned(),
            pid,
            folder,
            batching: producer("5"),
            prompt: producer("0"),
            consumer,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime"),
        }
    }

    /// Microseconds of CPU that the broker has used.
    pub(crate) fn cpu_us(&self) -> u64 {
        process::cpu_us(&self.pid.to_string())
    }

    /// Microseconds of CPU that the JVM's optimising compiler has used.
    pub(crate) fn compiler_us(&self) -> u64 {
        let threads = process::threads(&self.pid.to_string());
        let compiler = threads.iter().filter(|(name, _)| name.starts_with("C2 "));
        compiler.map(|(_, us)| us).sum()
    }

    /// Makes a source topic.
    pub(crate) fn create(&self, topic: &str) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        let admin: AdminClient<DefaultClientContext> = config.create().expect("a client");
        let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(LIMIT));
        let made = self.runtime.block_on(admin.create_topics([&new], &options));
        for result in made.expect("the broker answers") {
            result.expect("the topic is made");
        }
    }

    /// Sends an event, at once or with others; `number` chooses the partition.
    pub(crate) fn send(
        &self,
        topic: &str,
        number: u64,
        event_type: &str,
        body: &[u8],
        at_once: bool,
    ) {
        let headers = OwnedHeaders::new_with_capacity(1).insert(Header {
            key: "event-type",
            value: Some(event_type),
        });
        let key = number.to_string();
        let key = key.as_str();
        let partition = i32::try_from(number % 4).expect("0 to 3");
        let record = BaseRecord::to(topic)
            .key(key)
            .payload(body)
            .partition(partition)
            .headers(headers);
        let producer = if at_once {
            &self.prompt
        } else {
            &self.batching
        };
        enqueue(producer, record);
    }

    /// Sends a document to a topic of ours.
    pub(crate) fn document(&self, topic: &str, key: &str, value: &str) {
        let record = BaseRecord::to(topic).key(key).payload(value).partition(0);
        enqueue(&self.batching, record);
    }

    /// Sends a document at once.
    pub(crate) fn document_now(&self, topic: &str, key: &str, value: &str) {
        let record = BaseRecord::to(topic).key(key).payload(value).partition(0);
        enqueue(&self.prompt, record);
    }

    /// Waits until all that was sent is acknowledged.
    pub(crate) fn flush(&self) {
        self.batching.flush(LIMIT).expect("kafka acknowledges");
    }

    /// The records that were ever written to topics whose names begin with `prefix`.
    pub(crate) fn records(&self, prefix: &str) -> i64 {
        let metadata = self.consumer.fetch_metadata(None, LIMIT).expect("metadata");
        let topics = metadata.topics().iter();
        topics
            .filter(|topic| topic.name().starts_with(prefix))
            .flat_map(|topic| topic.partitions().iter().map(|p| (topic.name(), p.id())))
            .map(|(topic, partition)| {
                let ends = self.consumer.fetch_watermarks(topic, partition, LIMIT);
                // A retry topic that is just being made does not answer, and holds nothing.
                ends.map_or(0, |(_, end)| end)
            })
            .sum()
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let stopped = Command::new(services().join("kafka/stop"))
            .args(["--now", &self.pid.to_string()])
            .status();
        // What remains is the guard's, which acts when this program has ended.
        if stopped.is_ok_and(|status| status.success()) {
            guard::ended(self.pid);
        }
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("{}: {error}", self.folder.display());
        }
    }
}

fn enqueue(
    producer: &ThreadedProducer<DefaultProducerContext>,
    mut record: BaseRecord<'_, str, impl ToBytes + ?Sized>,
) {
    loop {
        match producer.send(record) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err((error, _)) => panic!("kafka takes the record: {error}"),
        }
    }
}
