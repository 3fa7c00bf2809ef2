//! `posthaste dev`: the whole thing in one process, to try it: a broker, a receiver, three destinations, sample events
//! and a view of what becomes of them.

mod broker;
mod receiver;
mod view;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tokio::sync::watch;

use crate::app::{self, Roles};
use crate::cli::stdout::Stdout;
use crate::clock::Clock;
use crate::config;
use crate::config::settings::Settings;
use crate::kafka::client;
use crate::kafka::names::Names;
use crate::kafka::producer::Producer;
use crate::kafka::topics::{Fit, TopicAdmin, TopicSpec};
use crate::wire::NewRecord;
use broker::Broker;
use view::Account;

/// The source topic of the sample events.
const SOURCE: &str = "orders";
const SAMPLES: [(&str, &str); 3] = [
    (
        "order.created",
        r#"{"order": 1042, "state": "created", "total": "29.90", "currency": "EUR"}"#,
    ),
    (
        "order.paid",
        r#"{"order": 1042, "state": "paid", "total": "29.90", "currency": "EUR"}"#,
    ),
    (
        "order.shipped",
        r#"{"order": 1042, "state": "shipped", "carrier": "post", "parcels": 2}"#,
    ),
];

/// What `posthaste dev` was asked for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A real Kafka instead of the embedded one.
    pub brokers: Option<String>,
    /// Stop publishing after this, wait for what is open, and end.
    pub run_for: Option<Duration>,
}

/// Runs until stopped, or for the time asked. Returns whether every delivery of a sample event was accounted for.
///
/// # Errors
/// If a part does not start.
pub async fn run(options: Options, stop: watch::Receiver<bool>) -> anyhow::Result<bool> {
    let broker = match &options.brokers {
        Some(_) => None,
        None => Some(Broker::start().context("the embedded broker")?),
    };
    let brokers = match (&options.brokers, &broker) {
        (Some(brokers), _) => brokers.clone(),
        (None, Some(broker)) => broker.address()?,
        (None, None) => unreachable!("one of the two is there"),
    };
    let file = SettingsFile(
        std::env::temp_dir().join(format!("posthaste-dev-{}.toml", std::process::id())),
    );
    let settings = Arc::new(settings(&brokers, &file.0)?);
    let receiver = receiver::start().await.context("the sample receiver")?;
    let names = Names::new(&settings.topics.prefix);
    let admin = make_topics(&settings, broker).await?;

    let (end, ended) = watch::channel(false);
    let serving = tokio::spawn(app::serve(
        Arc::clone(&settings),
        Roles::ALL,
        Box::new(move |_| Ok(admin)),
        ended.clone(),
    ));
    let clients = client::config(&settings.kafka);
    let producer = Producer::new(&clients, Clock::system())?;
    let destinations = documents(receiver);
    for document in &destinations {
        let id = document["id"].as_str().unwrap_or_default();
        put(
            &producer,
            &names.destinations,
            &format!("default/{id}"),
            &document.to_string(),
        )
        .await?;
    }
    wait_until_ready(&settings, destinations.len(), &serving).await?;
    let run = format!("ev_{:x}_", std::process::id());
    let lanes = i32::try_from(settings.topics.lanes).unwrap_or(1);
    let account = view::start(&clients, &names.attempts, lanes, run.clone(), false)?;
    let stop = view::or_closed(stop, account.clone());
    explain(&settings, &file.0, receiver)?;

    let published = publish(&producer, &run, options.run_for, stop.clone()).await?;
    let expected = published * destinations.len() as u64;
    let complete = if options.run_for.is_some() {
        settle(account.clone(), expected, stop).await
    } else {
        true
    };
    end.send_replace(true);
    serving.await?.map_err(|error| anyhow::anyhow!("{error}"))?;
    summary(
        &account.borrow(),
        published,
        expected,
        options.run_for.is_some(),
    )?;
    Ok(complete)
}

/// The settings of the trial: everything on loopback, short tiers. They stand in a file, for the other commands.
fn settings(brokers: &str, file: &std::path::Path) -> anyhow::Result<Settings> {
    let text = format!(
        r#"[kafka]
brokers = "{brokers}"
group = "posthaste-dev"
[topics]
prefix = "posthaste-dev."
lanes = 2
[sources.{SOURCE}]
[retry]
tiers = ["1s", "3s", "10s"]
[egress]
allow = ["127.0.0.0/8", "::1/128"]
allow_http = true
[admin]
listen = "127.0.0.1:{port}"
"#,
        port = free_port()?
    );
    std::fs::write(file, text).with_context(|| format!("{}", file.display()))?;
    let sources = config::Sources {
        file: Some(file.to_owned()),
        env: Vec::new(),
        overrides: Vec::new(),
    };
    config::load(&sources).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("settings of the trial: {}", faults.join("; "))
    })
}

/// The usual port of the admin endpoint where it is free, else another.
fn free_port() -> anyhow::Result<u16> {
    let usual = std::net::TcpListener::bind("127.0.0.1:8077");
    let listener = usual.or_else(|_| std::net::TcpListener::bind("127.0.0.1:0"))?;
    Ok(listener.local_addr()?.port())
}

async fn make_topics(settings: &Settings, broker: Option<Broker>) -> anyhow::Result<TopicAdmin> {
    let Some(broker) = broker else {
        let admin = TopicAdmin::connect(settings)?;
        let source = TopicSpec {
            name: SOURCE.to_owned(),
            partitions: 2,
            fit: Fit::AtLeast,
            rules: Vec::new(),
        };
        admin.create(&source, 1).await?;
        return Ok(admin);
    };
    broker.create_topic(SOURCE, 2).map_err(anyhow::Error::msg)?;
    let broker = Arc::new(Mutex::new(broker));
    let served = Arc::downgrade(&broker);
    std::thread::Builder::new()
        .name("dev-broker".to_owned())
        .spawn(move || {
            while let Some(broker) = served.upgrade() {
                broker.lock().unwrap_or_else(PoisonError::into_inner).poll();
                drop(broker);
                std::thread::sleep(Duration::from_millis(100));
            }
        })?;
    let create = move |name: &str, partitions: i32| {
        broker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .create_topic(name, partitions)
    };
    Ok(TopicAdmin::mock(settings, Arc::new(create))?)
}

/// One destination that is well, one that fails at first, one that always fails.
fn documents(receiver: SocketAddr) -> Vec<serde_json::Value> {
    let schedule = |attempts: u32| json!({"policy": "schedule", "delays": ["1s", "3s"], "jitter": 0.0, "max_attempts": attempts});
    let document = |id: &str, retry: serde_json::Value| {
        json!({
            "id": id,
            "sink": {
                "type": "webhook",
                "url": format!("http://{receiver}/{id}"),
                "signing": {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
            },
            "subscriptions": [{"topics": [SOURCE], "event_types": ["order.*"]}],
            "retry": retry,
        })
    };
    vec![
        document("healthy", schedule(5)),
        document("flaky", schedule(5)),
        document("failing", schedule(3)),
    ]
}

async fn put(producer: &Producer, topic: &str, key: &str, value: &str) -> anyhow::Result<()> {
    let record = NewRecord {
        key: Some(key.to_owned().into()),
        value: Some(value.to_owned().into()),
        headers: Vec::new(),
    };
    // The topic may be made a moment later.
    let mut tries = 0;
    loop {
        match producer.write_acked(topic, 0, &record).await {
            Ok(()) => return Ok(()),
            Err(error) if tries >= 20 => return Err(error.into()),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// How many webhook destinations are in force, as the metrics tell.
fn in_force(metrics: &str) -> usize {
    let line = metrics
        .lines()
        .find(|line| line.starts_with("posthaste_catalog_destinations{sink=\"webhook\"}"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or(0)
}

async fn wait_until_ready(
    settings: &Settings,
    destinations: usize,
    serving: &tokio::task::JoinHandle<Result<(), app::Error>>,
) -> anyhow::Result<()> {
    let url = format!("http://{}/readyz", settings.admin.listen);
    let metrics = format!("http://{}/metrics", settings.admin.listen);
    let client = reqwest::Client::builder().no_proxy().build()?;
    let limit = tokio::time::Instant::now() + Duration::from_secs(30);
    let mut last = String::new();
    while tokio::time::Instant::now() < limit && !serving.is_finished() {
        match client.get(&url).send().await {
            Ok(answer) if answer.status().is_success() => {
                let text = client.get(&metrics).send().await?.text().await?;
                // Another process may have taken the port before us; then ours has ended.
                if in_force(&text) >= destinations && !serving.is_finished() {
                    return Ok(());
                }
                "the sample destinations are not in force yet".clone_into(&mut last);
            }
            Ok(answer) => last = answer.text().await.unwrap_or_default(),
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("not ready: {last}")
}

/// The file with the settings of the trial; it is deleted with the value.
struct SettingsFile(PathBuf);

impl Drop for SettingsFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(error = %error, "the settings of the trial could not be deleted");
        }
    }
}

fn explain(settings: &Settings, file: &Path, receiver: SocketAddr) -> io::Result<()> {
    let brokers = &settings.kafka.brokers;
    writeln!(
        Stdout,
        "\
posthaste dev: events from the topic `{SOURCE}` to three destinations: healthy, flaky (fails twice), failing (always).

  broker         {brokers}
  settings       {file}
  readiness      http://{admin}/readyz     metrics  http://{admin}/metrics

Publish an event of your own:
  posthaste publish --config {file} --topic {SOURCE} --type order.paid --data '{{\"order\": 7}}'
  echo '{{\"order\": 7}}' | kcat -b {brokers} -t {SOURCE} -P -H event-type=order.paid
Add a destination of your own (a local http URL works):
  echo '{{\"id\": \"mine\", \"sink\": {{\"type\": \"webhook\", \"url\": \"http://{receiver}/healthy\"}}}}' |
    posthaste destinations --config {file} put -
Go on with your own Kafka:
  posthaste dev --brokers HOST:PORT      then `posthaste serve`, see the README

Each line is one attempt; the time counts from the delivery's first attempt. Stop with Ctrl-C.
",
        admin = settings.admin.listen,
        file = file.display(),
    )
}

/// Publishes a sample event twice a second; returns how many.
async fn publish(
    producer: &Producer,
    run: &str,
    run_for: Option<Duration>,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<u64> {
    let until = run_for.map(|time| tokio::time::Instant::now() + time);
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    let mut published = 0;
    for ((event_type, body), partition) in SAMPLES.iter().cycle().zip([0, 1].into_iter().cycle()) {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            _ = tick.tick() => {}
        }
        if until.is_some_and(|until| tokio::time::Instant::now() >= until) {
            break;
        }
        published += 1;
        let record = NewRecord {
            key: Some(format!("{published}").into()),
            value: Some((*body).into()),
            headers: vec![
                (
                    "event-id".into(),
                    Some(format!("{run}{published:04}").into()),
                ),
                ("event-type".into(), Some((*event_type).into())),
            ],
        };
        producer.write_acked(SOURCE, partition, &record).await?;
    }
    Ok(published)
}

/// Waits until every delivery of a sample event ended, at most a minute.
async fn settle(
    mut account: watch::Receiver<Account>,
    expected: u64,
    mut stop: watch::Receiver<bool>,
) -> bool {
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => false,
        () = tokio::time::sleep(Duration::from_secs(60)) => false,
        found = account.wait_for(|account| account.sample_ended >= expected) => found.is_ok(),
    }
}

fn summary(account: &Account, published: u64, expected: u64, waited: bool) -> io::Result<()> {
    writeln!(
        Stdout,
        "\n{published} sample events published: {} attempts, {} delivered, {} dead letters.",
        account.attempts, account.delivered, account.dead
    )?;
    if waited {
        let open = expected.saturating_sub(account.sample_ended);
        writeln!(
            Stdout,
            "{} of {expected} deliveries accounted for, {open} open.",
            expected - open
        )?;
    }
    Ok(())
}
