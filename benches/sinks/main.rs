//! The benchmark of sinks: what a sink sends in a second, and the CPU that an event costs, beside a bare loop of the
//! same client library to the same counterpart.
//!
//! `cargo bench --bench sinks` runs all and prints a table; `-- --only kafka,rabbitmq` runs some, `-- --rounds 1` fewer
//! rounds. Both sides run in this process, in turn, with as many events in flight; figures are medians.
//!
//! Invariant: nothing here asserts a time. A machine that is busy with other things gives other figures.

mod aws;
mod hookdeck;
mod kafka;
mod pubsub;
mod rabbitmq;
mod service;
mod webhook;

#[path = "../delivery/event.rs"]
#[allow(
    dead_code,
    reason = "shared with the other benchmark, which uses more of it"
)]
mod event;
#[path = "../delivery/process.rs"]
#[allow(
    dead_code,
    reason = "shared with the other benchmark, which uses more of it"
)]
mod process;

/// Ends what was started here, however this ends.
#[path = "../../tests/e2e/support/guard.rs"]
#[allow(dead_code, reason = "what is started here runs until the end")]
mod guard;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use posthaste::config;
use posthaste::domain::event::{Event, Origin};
use posthaste::domain::ids::{DestinationId, TenantId};
use posthaste::domain::outcome::Outcome;
use posthaste::egress::Guard;
use posthaste::sinks::{Clients, Outgoing, Sink};
use serde_json::Value;
use tokio::task::JoinSet;

/// Events in flight, ours and the bare loop's.
const CONCURRENCY: usize = 64;

/// How long each side runs in a round.
const LENGTH: Duration = Duration::from_secs(3);

/// One sink with its counterpart.
trait Scenario: Send + Sync + Sized + 'static {
    /// The sink's `type`.
    const NAME: &'static str;

    /// Starts the counterpart and makes the target.
    async fn start() -> Self;

    /// The object `sink` for it.
    fn sink(&self) -> Value;

    /// What one task of the bare loop sends with; there are [`CONCURRENCY`] of them.
    type Bare: Send + 'static;

    /// Makes one; they may share a client.
    async fn bare(&self) -> Self::Bare;

    /// Sends the event `id`, as many bytes as the sink, and waits for its acknowledgement.
    fn send(bare: &mut Self::Bare, id: &str, body: &Bytes) -> impl Future<Output = ()> + Send;
}

/// What the sinks tell beside the body, but for the id, where their protocols have a place for it.
const TOLD: [(&str, &str); 6] = [
    ("event-type", "order.paid"),
    ("event-time", "2026-01-31T08:00:00.25Z"),
    ("tenant", "default"),
    ("posthaste-attempt", "1"),
    ("posthaste-hops", "1"),
    ("content-type", "application/json"),
];

/// `tests/services`.
fn services() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services")
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1).cloned()
    };
    let rounds = after("--rounds").map_or(3, |rounds| rounds.parse().expect("--rounds NUMBER"));
    let only = after("--only");
    let chosen = |name: &str| {
        only.as_ref()
            .is_none_or(|only| only.split(',').any(|one| one == name))
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    println!("| sink | events/s | bare loop | ratio | CPU an event | bare loop |");
    println!("| --- | --- | --- | --- | --- | --- |");
    macro_rules! run {
        ($($scenario:ty),* $(,)?) => {
            $(if chosen(<$scenario>::NAME) {
                runtime.block_on(run::<$scenario>(rounds));
            })*
        };
    }
    run!(
        webhook::Webhook,
        aws::Sqs,
        aws::EventBridge,
        pubsub::PubSub,
        kafka::Kafka,
        rabbitmq::RabbitMq,
        hookdeck::Hookdeck,
    );
}

/// Events a second and microseconds of CPU for each.
#[derive(Debug, Clone, Copy)]
struct Rate {
    per_second: f64,
    cpu_us: f64,
}

async fn run<S: Scenario>(rounds: usize) {
    let scenario = Arc::new(S::start().await);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    // The first round warms up: connections, and code that the counterpart compiles as it goes.
    for _ in 0..=rounds {
        ours.push(through_sink(&*scenario).await);
        bare.push(bare_loop(&*scenario).await);
        eprintln!("  {}: {:?} {:?}", S::NAME, ours.last(), bare.last());
    }
    let (ours, bare) = (median(ours), median(bare));
    println!(
        "| {} | {:.0} | {:.0} | {:.0} % | {:.0} µs | {:.0} µs |",
        S::NAME,
        ours.per_second,
        bare.per_second,
        100.0 * ours.per_second / bare.per_second,
        ours.cpu_us,
        bare.cpu_us
    );
}

/// The medians of all rounds but the first.
fn median(mut rounds: Vec<Rate>) -> Rate {
    rounds.remove(0);
    let middle = |of: fn(&Rate) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Rate {
        per_second: middle(|rate| rate.per_second),
        cpu_us: middle(|rate| rate.cpu_us),
    }
}

async fn through_sink<S: Scenario>(scenario: &S) -> Rate {
    let mut settings = config::defaults();
    settings.egress.allow = vec!["127.0.0.0/8".to_owned()];
    settings.egress.allow_http = true;
    let limit = settings.webhook.dns_timeout.0;
    let guard = Arc::new(Guard::new(&settings.egress, limit).expect("settings"));
    let clients = Arc::new(Clients::new(&settings, &guard).expect("clients"));
    let sink = Arc::new(Sink::parse(&scenario.sink(), &settings).expect("a valid document"));
    let (body, end) = (Bytes::from(event::body(0)), Instant::now() + LENGTH);
    measure(|task| {
        let (clients, sink, body) = (Arc::clone(&clients), Arc::clone(&sink), body.clone());
        async move {
            let destination = DestinationId::parse("default/bench").expect("an id");
            let mut count = 0_u64;
            while Instant::now() < end {
                let event = new_event(&format!("events-{task}-{count}-1700000000000"), &body);
                let report = sink
                    .send(
                        &clients,
                        Outgoing {
                            event: &event,
                            destination: &destination,
                            attempt: 1,
                            replay: None,
                            now_ms: event.time_ms,
                        },
                    )
                    .await;
                assert_eq!(report.outcome, Outcome::Delivered, "{:?}", report.error);
                count += 1;
            }
            count
        }
    })
    .await
}

fn new_event(id: &str, body: &Bytes) -> Event {
    Event {
        id: id.into(),
        event_type: "order.paid".into(),
        tenant: TenantId::default_tenant(),
        time_ms: 1_769_846_400_250,
        hops: 0,
        origin: Origin {
            topic: "orders".into(),
            partition: 0,
            offset: 0,
        },
        key: Some(Bytes::copy_from_slice(id.as_bytes())),
        body: Some(body.clone()),
        headers: Vec::new(),
        content_type: "application/json".into(),
    }
}

async fn bare_loop<S: Scenario>(scenario: &S) -> Rate {
    let mut clients = Vec::with_capacity(CONCURRENCY);
    for _ in 0..CONCURRENCY {
        clients.push(scenario.bare().await);
    }
    let (body, end) = (Bytes::from(event::body(0)), Instant::now() + LENGTH);
    measure(|task| {
        let mut client = clients.pop().expect("one for each task");
        let body = body.clone();
        async move {
            let mut count = 0_u64;
            while Instant::now() < end {
                let id = format!("events-{task}-{count}-1700000000000");
                S::send(&mut client, &id, &body).await;
                count += 1;
            }
            count
        }
    })
    .await
}

/// Runs the tasks; each returns how many events it has sent.
async fn measure<F: Future<Output = u64> + Send + 'static>(
    mut task: impl FnMut(usize) -> F,
) -> Rate {
    let (since, cpu) = (Instant::now(), process::cpu_us("self"));
    let mut tasks = JoinSet::new();
    for number in 0..CONCURRENCY {
        tasks.spawn(task(number));
    }
    let count: u64 = tasks.join_all().await.into_iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let (count, cpu) = (count as f64, (process::cpu_us("self") - cpu) as f64);
    Rate {
        per_second: count / since.elapsed().as_secs_f64(),
        cpu_us: cpu / count.max(1.0),
    }
}
