//! The cluster from an administrator's side: what topics there are, and making and deleting them.
//!
//! The broker that is built in for trying out (`rdkafka::mocking`) has no Admin API: there topics are made through its
//! handle, have no properties and are never deleted.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{Producer as _, ThreadedProducer};

use super::eyes::Eyes;
use super::table::TopicSpec;
use super::verify::{Configs, Shape};
use crate::config::settings::Settings;
use crate::kafka::client;
use crate::kafka::commands::Commands;
use crate::kafka::errors::{self, Access, Error, Kind, Operation};
use crate::kafka::topic_ids;

/// How long one question to the cluster may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes a topic with so many partitions in the built-in broker.
pub type MockCreate = Arc<dyn Fn(&str, i32) -> Result<(), String> + Send + Sync>;

/// What answers under `kafka.brokers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its id, if it has one.
    pub id: Option<String>,
    /// How many brokers it has.
    pub brokers: usize,
    /// The topics that we may see.
    pub topics: BTreeMap<String, Shape>,
}

/// Whether a topic was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It was.
    New,
    /// Somebody else was faster.
    Existed,
}

/// Asks and changes the cluster. Cheap to clone.
#[derive(Clone)]
pub struct TopicAdmin {
    /// Changes; nobody reads its log lines, so it writes none.
    admin: Arc<AdminClient<client::LogContext>>,
    /// Asks; remembers why a broker does not answer.
    eyes: Arc<ThreadedProducer<Eyes>>,
    mock: Option<MockCreate>,
    commands: Arc<Commands>,
}

impl fmt::Debug for TopicAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicAdmin")
            .field("brokers", &self.commands.brokers())
            .field("mock", &self.mock.is_some())
            .finish_non_exhaustive()
    }
}

impl TopicAdmin {
    /// Makes the clients; nothing is connected yet.
    ///
    /// # Errors
    /// If librdkafka does not accept the settings.
    pub fn connect(settings: &Settings) -> Result<Self, Error> {
        Self::new(settings, None)
    }

    /// The same for the built-in broker.
    ///
    /// # Errors
    /// If librdkafka does not accept the settings.
    pub fn mock(settings: &Settings, create: MockCreate) -> Result<Self, Error> {
        Self::new(settings, Some(create))
    }

    fn new(settings: &Settings, mock: Option<MockCreate>) -> Result<Self, Error> {
        let commands = Arc::new(Commands::new(&settings.kafka, &settings.topics));
        let explained = |cause| Error::new(cause, &Access::cluster(Operation::Describe), &commands);
        let config = client::config(&settings.kafka);
        let mut silent = config.clone();
        silent.set_log_level(RDKafkaLogLevel::Emerg);
        Ok(Self {
            admin: Arc::new(
                silent
                    .create_with_context(client::LogContext)
                    .map_err(explained)?,
            ),
            eyes: Arc::new(
                config
                    .create_with_context(Eyes::default())
                    .map_err(explained)?,
            ),
            mock,
            commands,
        })
    }

    /// The commands for this cluster.
    #[must_use]
    pub fn commands(&self) -> &Commands {
        &self.commands
    }

    /// Whether topics have properties here: not in the built-in broker.
    #[must_use]
    pub fn has_configs(&self) -> bool {
        self.mock.is_none()
    }

    /// The whole cluster as it is now.
    ///
    /// # Errors
    /// If no broker answers within 10 s, or refuses the connection.
    pub async fn cluster(&self) -> Result<Cluster, Error> {
        self.cluster_within(PATIENCE).await
    }

    /// [`cluster`](Self::cluster) with another limit on the time.
    ///
    /// # Errors
    /// If no broker answers in time, or refuses the connection.
    pub async fn cluster_within(&self, patience: Duration) -> Result<Cluster, Error> {
        self.ask(
            Access::cluster(Operation::Describe),
            patience,
            |eyes, time| {
                let metadata = eyes.client().fetch_metadata(None, time)?;
                Ok(Cluster {
                    id: eyes.client().fetch_cluster_id(time),
                    brokers: metadata.brokers().len(),
                    topics: metadata
                        .topics()
                        .iter()
                        .filter_map(|topic| Some((topic.name().to_owned(), shape(topic)?)))
                        .collect(),
                })
            },
        )
        .await
    }

    /// The cluster's id, if it has one.
    ///
    /// # Errors
    /// If no broker answers in time, or refuses the connection.
    pub async fn cluster_id(&self) -> Result<Option<String>, Error> {
        self.cluster().await.map(|cluster| cluster.id)
    }

    /// The topics whose names begin with `prefix`.
    ///
    /// # Errors
    /// If no broker answers in time, or refuses the connection.
    pub async fn list_topics(&self, prefix: &str) -> Result<BTreeMap<String, Shape>, Error> {
        let mut topics = self.cluster().await?.topics;
        topics.retain(|name, _| name.starts_with(prefix));
        Ok(topics)
    }

    /// One topic; `None` if it does not exist. Unlike [`cluster`](Self::cluster) it tells a topic that is not there
    /// from one that we may not see.
    ///
    /// # Errors
    /// If it may not be seen, or no broker answers in time.
    pub async fn topic(&self, name: &str) -> Result<Option<Shape>, Error> {
        let asked = name.to_owned();
        self.ask(
            Access::topic(Operation::Describe, name),
            PATIENCE,
            move |eyes, time| {
                let metadata = eyes.client().fetch_metadata(Some(&asked), time)?;
                let topic = metadata.topics().iter().find(|topic| topic.name() == asked);
                match topic
                    .and_then(MetadataTopic::error)
                    .map(RDKafkaErrorCode::from)
                {
                    Some(code) if errors::kind_of_code(code) == Kind::TopicMissing => Ok(None),
                    // Not allowed; or a leader is being elected, and it is asked again.
                    Some(code) => Err(KafkaError::Global(code)),
                    None => Ok(topic.and_then(shape)),
                }
            },
        )
        .await
    }

    /// The ids of topics; one that cannot be told is missing.
    pub async fn ids(&self, topics: Vec<Arc<str>>) -> HashMap<Arc<str>, Arc<str>> {
        let eyes = Arc::clone(&self.eyes);
        let asked = tokio::task::spawn_blocking(move || {
            topic_ids::look_up(eyes.client(), &topics, Duration::from_secs(2))
        });
        // Only a stopping runtime gives no answer.
        asked.await.unwrap_or_default()
    }

    /// Answers with an error where a topic does not exist, for whoever is about to do `operation` with it: clients wait
    /// for topics that are not there.
    ///
    /// # Errors
    /// If it does not exist, may not be seen, or no broker answers in time.
    pub async fn must_exist(&self, name: &str, operation: Operation) -> Result<(), Error> {
        match self.topic(name).await? {
            Some(_) => Ok(()),
            None => Err(Error::from_code(
                RDKafkaErrorCode::UnknownTopicOrPartition,
                &Access::topic(operation, name),
                &self.commands,
            )),
        }
    }

    /// The properties of topics that exist. A topic is missing in the answer if its properties may not be read.
    ///
    /// # Errors
    /// If no broker answers in time.
    pub async fn configs(&self, topics: &[&str]) -> Result<BTreeMap<String, Configs>, Error> {
        if topics.is_empty() || self.mock.is_some() {
            return Ok(BTreeMap::new());
        }
        let resources: Vec<ResourceSpecifier<'_>> = topics
            .iter()
            .map(|name| ResourceSpecifier::Topic(name))
            .collect();
        let answer = self
            .admin
            .describe_configs(&resources, &options())
            .await
            .map_err(|cause| {
                Error::new(
                    cause,
                    &Access::cluster(Operation::DescribeConfigs),
                    &self.commands,
                )
            })?;
        // rdkafka drops the error of a single resource: what is refused comes back without entries.
        Ok(answer
            .into_iter()
            .filter_map(Result::ok)
            .filter(|resource| !resource.entries.is_empty())
            .filter_map(|resource| {
                let OwnedResourceSpecifier::Topic(name) = resource.specifier else {
                    return None;
                };
                let entries = resource.entries.into_iter();
                Some((
                    name,
                    entries.filter_map(|e| Some((e.name, e.value?))).collect(),
                ))
            })
            .collect())
    }

    /// Makes a topic. Not for a name that was used before.
    ///
    /// # Errors
    /// If it is not allowed, or the broker does not make it as asked.
    pub async fn create(&self, spec: &TopicSpec, replication: i32) -> Result<Made, Error> {
        if let Some(create) = &self.mock {
            let access = Access::topic(Operation::Create, &spec.name);
            return create(&spec.name, spec.partitions)
                .map(|()| Made::New)
                .map_err(|why| {
                    Error::new(KafkaError::AdminOpCreation(why), &access, &self.commands)
                });
        }
        self.create_topic(spec, replication, &options()).await
    }

    /// Whether [`create`](Self::create) would be allowed and taken as asked; nothing is made.
    ///
    /// # Errors
    /// If it would not.
    pub async fn may_create(&self, spec: &TopicSpec, replication: i32) -> Result<(), Error> {
        if self.mock.is_some() {
            return Ok(());
        }
        self.create_topic(spec, replication, &options().validate_only(true))
            .await
            .map(|_made| ())
    }

    async fn create_topic(
        &self,
        spec: &TopicSpec,
        replication: i32,
        options: &AdminOptions,
    ) -> Result<Made, Error> {
        let values = spec.initial(replication);
        let mut topic = NewTopic::new(
            &spec.name,
            spec.partitions,
            TopicReplication::Fixed(replication),
        );
        for (key, value) in &values {
            topic = topic.set(key, value);
        }
        let answer = self.admin.create_topics([&topic], options).await;
        match first_code(answer) {
            Ok(()) => Ok(Made::New),
            Err(KafkaError::AdminOp(RDKafkaErrorCode::TopicAlreadyExists)) => Ok(Made::Existed),
            Err(cause) => Err(Error::new(
                cause,
                &Access::topic(Operation::Create, &spec.name),
                &self.commands,
            )),
        }
    }

    /// Deletes a topic and everything in it; one that is gone already is fine.
    ///
    /// # Errors
    /// If it is not allowed, or no broker answers in time.
    pub async fn delete_topic(&self, name: &str) -> Result<(), Error> {
        if self.mock.is_some() {
            tracing::debug!(kafka.topic = name, "the built-in broker keeps the topic");
            return Ok(());
        }
        match first_code(self.admin.delete_topics(&[name], &options()).await) {
            Err(KafkaError::AdminOp(RDKafkaErrorCode::UnknownTopicOrPartition)) | Ok(()) => Ok(()),
            Err(cause) => Err(Error::new(
                cause,
                &Access::topic(Operation::Delete, name),
                &self.commands,
            )),
        }
    }

    /// Asks on a thread that may block, again until the time is over; why nobody answered becomes part of the error.
    async fn ask<T: Send + 'static>(
        &self,
        access: Access,
        patience: Duration,
        question: impl Fn(&ThreadedProducer<Eyes>, Duration) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, Error> {
        let eyes = Arc::clone(&self.eyes);
        let asking = tokio::task::spawn_blocking(move || {
            let until = Instant::now() + patience;
            eyes.context().forget();
            loop {
                let left = until.saturating_duration_since(Instant::now());
                let error = match question(&eyes, left.min(Duration::from_secs(1))) {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error,
                };
                let (seen, reason) = eyes.context().seen();
                if seen == Some(Kind::Auth) {
                    return Err((KafkaError::Global(RDKafkaErrorCode::Authentication), reason));
                }
                if errors::kind(&error) != Kind::Unreachable || Instant::now() >= until {
                    return Err((error, reason));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        match asking.await {
            Ok(answer) => answer.map_err(|(cause, reason)| {
                Error::with_reason(cause, reason.as_deref(), &access, &self.commands)
            }),
            // Only when the runtime is shutting down, or the question panicked.
            Err(_stopped) => Err(Error::new(KafkaError::Canceled, &access, &self.commands)),
        }
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE))
}

/// What became of the one topic that was asked for.
fn first_code(
    answer: Result<Vec<rdkafka::admin::TopicResult>, KafkaError>,
) -> Result<(), KafkaError> {
    match answer?.into_iter().next() {
        Some(Err((_, code))) => Err(KafkaError::AdminOp(code)),
        Some(Ok(_)) => Ok(()),
        None => Err(KafkaError::AdminOp(RDKafkaErrorCode::Fail)),
    }
}

/// `None` for a topic that is not there, or not fully.
fn shape(topic: &MetadataTopic) -> Option<Shape> {
    let partitions = topic.partitions();
    if topic.error().is_some() || partitions.is_empty() {
        return None;
    }
    let replicas = partitions.iter().map(|p| p.replicas().len()).min()?;
    Some(Shape {
        partitions: i32::try_from(partitions.len()).ok()?,
        replication: i32::try_from(replicas).ok()?,
    })
}
