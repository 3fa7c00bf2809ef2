//! Composition: which parts there are, how they are joined, and in which order they stop.
//!
//! Stopping, in this order: the roles stop reading and wait for what is in flight (`shutdown.timeout`), then commit and
//! leave their groups; then producers are flushed; then dispatch and the catalog end; the admin endpoint last.

mod roles;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::ClientConfig;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::admin::Admin;
use crate::catalog::reader::{Reader, Topics};
use crate::catalog::{Catalog, Documents};
use crate::clock::Clock;
use crate::config::faults::Fault;
use crate::config::settings::Settings;
use crate::dispatch::{self, Destinations, Dispatcher};
use crate::domain::ids::DestinationId;
use crate::domain::retry_tier::Tiers;
use crate::egress::{Guard, Refusal};
use crate::kafka::client;
use crate::kafka::errors::{Finding, Kind};
use crate::kafka::names::Names;
use crate::kafka::outbox::{DedicatedTopics, Outbox};
use crate::kafka::partition::Memory;
use crate::kafka::producer::Producer;
use crate::kafka::topics::{self, TopicAdmin};
use crate::retry::{self, Retry};
use crate::router::{self, Router};
use crate::sinks::prepared::Prepared;
use crate::sinks::{self, Clients};
use crate::telemetry::metrics::{Metrics, Sets};
use crate::telemetry::readiness::Readiness;

pub use roles::Roles;

/// Why an instance could not run, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings do not fit the machine or the cluster.
    #[error("settings")]
    Settings(Vec<Fault>),
    /// Topics exist and are not as they must be.
    #[error("topics")]
    Topics(Vec<Finding>),
    /// A part failed.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// Where topics are made: at the cluster of the settings, or by a stand-in.
pub type AdminFactory = Box<dyn FnOnce(&Settings) -> anyhow::Result<TopicAdmin> + Send>;

struct Current(Arc<Catalog>);

impl Destinations for Current {
    fn current(&self, id: &DestinationId) -> Option<Arc<Prepared>> {
        self.0.current(id)
    }
}

/// Runs an instance until `stop` is told.
///
/// # Errors
/// If the settings or topics are wrong, or a part fails for good.
pub async fn serve(
    settings: Arc<Settings>,
    roles: Roles,
    admin_factory: AdminFactory,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    let tiers = Tiers::new(&settings.retry.tiers);
    let metrics = Metrics::new(&Sets {
        sinks: sinks::kinds().collect(),
        sources: settings.sources.keys().map(String::as_str).collect(),
        tiers: settings.retry.tiers.clone(),
        egress_reasons: Refusal::ALL
            .iter()
            .map(|refusal| refusal.reason())
            .collect(),
    });
    metrics
        .dispatch
        .slots
        .set(i64::try_from(settings.dispatch.slots).unwrap_or(i64::MAX));
    metrics
        .dispatch
        .memory_limit
        .set(i64::try_from(settings.dispatch.memory.0).unwrap_or(i64::MAX));
    let guard = Arc::new(
        Guard::new(&settings.egress, settings.webhook.dns_timeout.0).map_err(Error::Settings)?,
    );
    metrics.before_render({
        let guard = Arc::clone(&guard);
        move |metrics| {
            guard
                .refused()
                .for_each(|(reason, total)| metrics.set_egress_refused(reason, total))
        }
    });
    let readiness = Readiness::new();
    let (end, ended) = watch::channel(false);

    let admin_task = if roles.admin {
        let server = Admin::bind(settings.admin.listen, metrics.clone(), readiness.clone())
            .await
            .context("the admin endpoint")?;
        let serving = server.run(ended.clone());
        Some(tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(error = %crate::telemetry::error_chain(&error), "the admin endpoint ended");
            }
        }))
    } else {
        None
    };

    readiness.set("kafka", Err("kafka is not reached yet"));
    let topic_admin = Arc::new(admin_factory(&settings)?);
    let names = Names::new(&settings.topics.prefix);
    let (cluster_id, found) = loop {
        let Some(cluster_id) = wait_for_kafka(&topic_admin, &settings, &mut stop).await else {
            return Ok(());
        };
        match topics::ensure(&settings, &topic_admin).await {
            Ok(found) => break (cluster_id, Arc::new(found)),
            Err(findings) if only_unreachable(&findings) => {
                tracing::warn!("kafka went away while its topics were looked at; waiting for it");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(findings) => return Err(Error::Topics(findings)),
        }
    };
    readiness.set("kafka", Ok(()));

    let clock = Clock::system();
    let dedicated = Arc::new(DedicatedTopics::default());
    let (events, attempts) = producers(&settings, found.max_message_bytes, &clock)?;
    let outbox = Outbox::new(
        events.clone(),
        attempts.clone(),
        names.clone(),
        tiers,
        settings.topics.lanes,
        Arc::clone(&dedicated),
        metrics.clone(),
        tokio::runtime::Handle::current(),
    );
    let documents = Documents::new(Arc::clone(&settings));
    let catalog = Catalog::new(documents, metrics.clone());
    let memory = Memory::new(settings.dispatch.memory.0);
    let clients = Clients::new(&settings, &guard)
        .context("the clients of sinks")?
        .at_home_in(&cluster_id);
    let dispatcher = Dispatcher::new(
        &settings.dispatch,
        &settings.ledger,
        Arc::new(Current(Arc::clone(&catalog))),
        dispatch::Parts {
            clients,
            outbox: Arc::clone(&outbox),
            memory: Arc::clone(&memory),
            metrics: metrics.clone(),
            clock: clock.clone(),
            instance: instance_name().into(),
        },
    );
    let reader = Reader::new(
        Arc::clone(&catalog),
        Arc::clone(&dedicated),
        Topics {
            destinations: Arc::clone(&names.destinations),
            dedicated: Arc::clone(&names.dedicated),
        },
        consumer_config(&settings, "catalog")
            .set("group.id", format!("{}.catalog", settings.kafka.group)),
        settings.catalog.stale_after.0,
        Box::new({
            let dispatcher = Arc::clone(&dispatcher);
            move |id| dispatcher.note_change(id)
        }),
    )
    .context("the reader of the configuration topics")?;
    let mut services: Vec<JoinHandle<()>> = vec![
        tokio::spawn(reader.run(ended.clone())),
        tokio::spawn(Arc::clone(&dispatcher).run(ended.clone())),
        tokio::spawn(follow_catalog(
            Arc::clone(&catalog),
            readiness.clone(),
            ended.clone(),
        )),
    ];

    let (drain, draining) = watch::channel(false);
    let mut running: Vec<JoinHandle<()>> = Vec::new();
    if roles.route {
        if settings.sources.is_empty() {
            tracing::warn!(
                "no source topics are set: nothing will be read; add [sources.<topic>] to the settings"
            );
        } else {
            let parts = router::Parts {
                settings: Arc::clone(&settings),
                catalog: Arc::clone(&catalog),
                dispatcher: Arc::clone(&dispatcher),
                outbox: Arc::clone(&outbox),
                memory,
                metrics: metrics.clone(),
                readiness: readiness.clone(),
                clock: clock.clone(),
                cluster_id: cluster_id.clone(),
            };
            let existed = found.sources.values().flatten();
            let existed: Vec<Arc<str>> = existed.map(|topic| Arc::from(&**topic)).collect();
            let ids = topic_admin.ids(existed.clone()).await;
            let existed = existed.into_iter().map(|topic| {
                let id = ids.get(&topic).cloned();
                (topic, id)
            });
            let router = Router::new(
                parts,
                &consumer_config(&settings, "router"),
                existed.collect(),
                draining.clone(),
            )
            .context("the reader of source topics")?;
            running.push(tokio::spawn(router.run()));
        }
    }
    if roles.retry {
        let parts = retry::Parts {
            settings: Arc::clone(&settings),
            catalog: Arc::clone(&catalog),
            dispatcher: Arc::clone(&dispatcher),
            outbox: Arc::clone(&outbox),
            dedicated,
            admin: topic_admin,
            topics: found,
            names,
            metrics,
            readiness: readiness.clone(),
            clock,
            cluster_id,
        };
        let retry = Retry::new(parts, &consumer_config(&settings, "retry"), draining)
            .context("the readers of retry topics")?;
        running.push(tokio::spawn(retry.run()));
    }
    readiness.set(Readiness::START, Ok(()));

    let watched = [events.clone(), attempts.clone()];
    let result = tokio::select! {
        _ = stop.wait_for(|stop| *stop) => Ok(()),
        reason = fatal(&watched) => {
            Err(Error::Failed(anyhow::anyhow!("a producer can write no more and the process has to be started again: {reason}")))
        }
    };
    readiness.set(Readiness::START, Err("stopping"));
    tracing::info!("stopping: no more is read; waiting for what is in flight");
    let until = std::time::Instant::now() + settings.shutdown.timeout.0;
    drain.send_replace(true);
    join(running.drain(..)).await;
    let flushed = tokio::task::spawn_blocking(move || {
        // What is left of the time, and a second for what a last attempt wrote.
        let left = |least| {
            until
                .saturating_duration_since(std::time::Instant::now())
                .max(least)
        };
        let events = events.flush(left(Duration::from_secs(1)));
        (events, attempts.flush(left(Duration::from_secs(1))))
    })
    .await;
    match flushed {
        Ok((Ok(()), Ok(()))) => {
            tracing::info!("stopped: everything read is settled or will be read again")
        }
        _ => tracing::warn!(
            "not all records were acknowledged when the process stopped; their events are read again"
        ),
    }
    end.send_replace(true);
    drop(dispatcher);
    services.extend(admin_task);
    join(services.into_iter()).await;
    result
}

/// Whether Kafka was away, which says nothing about the topics.
fn only_unreachable(findings: &[Finding]) -> bool {
    findings
        .iter()
        .all(|finding| finding.kind == Kind::Unreachable)
}

/// Waits for parts to end, each for a few seconds at most once it was told to.
async fn join(parts: impl Iterator<Item = JoinHandle<()>>) {
    for mut part in parts {
        match tokio::time::timeout(Duration::from_secs(40), &mut part).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error = %error, "a part of the process panicked"),
            Err(_elapsed) => part.abort(),
        }
    }
}

/// Keeps the readiness condition `catalog`.
async fn follow_catalog(
    catalog: Arc<Catalog>,
    readiness: Readiness,
    mut ended: watch::Receiver<bool>,
) {
    readiness.set(
        "catalog",
        Err("the configuration topics are not read to their ends yet"),
    );
    tokio::select! {
        _ = ended.changed() => return,
        () = catalog.loaded() => {}
    }
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        readiness.set(
            "catalog",
            if catalog.is_stale() {
                Err("the configuration topics cannot be confirmed to be read to their ends; intake stands still")
            } else {
                Ok(())
            },
        );
        tokio::select! {
            _ = ended.changed() => return,
            _ = tick.tick() => {}
        }
    }
}

/// Resolves when a producer can never write again.
async fn fatal(producers: &[Producer]) -> String {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tick.tick().await;
        if let Some(reason) = producers.iter().find_map(Producer::fatal_error) {
            return reason;
        }
    }
}

/// Asks for the cluster's id until it answers, or `stop` is told. One line a minute says that it waits.
async fn wait_for_kafka(
    admin: &Arc<TopicAdmin>,
    settings: &Settings,
    stop: &mut watch::Receiver<bool>,
) -> Option<String> {
    let mut told: Option<tokio::time::Instant> = None;
    loop {
        let error = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return None,
            found = admin.cluster_id() => match found {
                Ok(id) => return Some(id.unwrap_or_default()),
                Err(error) => error,
            },
        };
        if told.is_none_or(|at| at.elapsed() > Duration::from_secs(60)) {
            told = Some(tokio::time::Instant::now());
            tracing::warn!(
                brokers = settings.kafka.brokers,
                error = %crate::telemetry::error_chain(&error),
                "kafka cannot be reached; waiting for it"
            );
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return None,
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    }
}

/// The producers: one for records that hold events, sent soon; one for attempt records, batched.
fn producers(
    settings: &Settings,
    max_message: i32,
    clock: &Clock,
) -> anyhow::Result<(Producer, Producer)> {
    let mut events = client::config(&settings.kafka);
    or_default(&mut events, "message.max.bytes", &max_message.to_string());
    or_default(&mut events, "queue.buffering.max.kbytes", "65536");
    let mut attempts = events.clone();
    or_default(&mut events, "linger.ms", "2");
    or_default(&mut attempts, "linger.ms", "10");
    or_default(&mut attempts, "compression.codec", "zstd");
    or_default(&mut attempts, "queue.buffering.max.messages", "200000");
    let events = Producer::new(&events, clock.clone()).context("the producer of events")?;
    let attempts = Producer::new(&attempts, clock.clone()).context("the producer of attempts")?;
    Ok((events, attempts))
}

/// Sets a property that the settings may override.
fn or_default(config: &mut ClientConfig, key: &str, value: &str) {
    if config.get(key).is_none() {
        config.set(key, value);
    }
}

/// What all consumers have in common.
fn consumer_config(settings: &Settings, role: &str) -> ClientConfig {
    let mut config = client::config(&settings.kafka);
    // A full queue would otherwise stall its partition for a second.
    or_default(&mut config, "fetch.queue.backoff.ms", "10");
    or_default(&mut config, "fetch.wait.max.ms", "100");
    or_default(&mut config, "topic.metadata.refresh.interval.ms", "10000");
    or_default(&mut config, "allow.auto.create.topics", "false");
    if config.get("group.protocol") != Some("consumer") {
        or_default(&mut config, "session.timeout.ms", "10000");
        or_default(
            &mut config,
            "partition.assignment.strategy",
            "cooperative-sticky",
        );
    }
    if role == "router" {
        // For each partition, since their queues are split.
        or_default(&mut config, "queued.max.messages.kbytes", "4096");
    }
    config
}

/// Names this process in attempt records: host and process id.
fn instance_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let host = if host.is_empty() { "localhost" } else { host };
    format!("{host}-{}", std::process::id())
}
