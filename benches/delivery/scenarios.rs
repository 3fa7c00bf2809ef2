//! What is measured, and the table of it.

mod large;
mod waiting;

use std::time::{Duration, Instant};

use crate::bare;
use crate::event::{self, SECRET};
use crate::instance::Instance;
use crate::kafka::Kafka;
use crate::process;
use crate::receiver::{HOSTS, Receiver};

/// Requests in flight of a bare loop, and the concurrency of the one destination.
pub(crate) const CONCURRENCY: usize = 64;

/// Events that are published and not received yet, at most, in a steady flow to one destination.
const WINDOW: u64 = 1024;

/// The same with many destinations: nearly all of them are attempts in flight then, since each has slots of its own.
const WINDOW_MANY: u64 = 256;

/// For how long the broker's code is compiled at most.
const WARM_UP: Duration = Duration::from_secs(60);
const WARM: Duration = Duration::from_millis(700);
const STEADY: Duration = Duration::from_millis(2500);
const BARE: Duration = Duration::from_millis(1200);

/// The type of the events of the one healthy destination.
const HEALTHY: &str = "healthy.1";

type Scenario = fn(&mut Bench);

/// All scenarios, in their order.
pub(crate) const ALL: [(&str, Scenario); 9] = [
    ("large", large::run),
    ("due", waiting::due),
    ("steady-1", steady_1),
    ("steady-200", |bench| steady_many(bench, 200)),
    ("steady-10000", |bench| steady_many(bench, 10_000)),
    ("latency", latency),
    ("hanging", hanging),
    ("backlog-1", backlog),
    ("drain", waiting::drain),
];

/// What scenarios share.
pub(crate) struct Bench {
    rounds: usize,
    window: u64,
    /// How many retries wait before they are drained.
    retries: u32,
    kafka: Kafka,
    receiver: Receiver,
    number: u64,
    rows: Vec<[String; 4]>,
}

/// What a steady flow gave.
struct Flow {
    per_second: f64,
    cpu_us: f64,
    /// CPU a delivery of the broker.
    kafka_us: f64,
    /// CPU a delivery of this program: publisher and receiver.
    here_us: f64,
    /// Share of the machine that nobody used.
    idle: f64,
    handed_over: f64,
    written: f64,
}

impl Bench {
    pub(crate) fn start(rounds: usize, retries: u32) -> Self {
        Self {
            rounds,
            window: WINDOW,
            retries,
            kafka: Kafka::start(),
            receiver: Receiver::start(),
            number: 0,
            rows: Vec::new(),
        }
    }

    /// Lets the broker's code be compiled, that of retries too: until then it takes several times the CPU.
    pub(crate) fn warm_up(&mut self) {
        let instance = self.with_one("warm-up");
        let hanging = self.hanging();
        instance.destinations(&self.kafka, hanging.into_iter(), 21);
        let body = event::body(0);
        let since = Instant::now();
        while since.elapsed() < WARM_UP {
            let (start, before) = (Instant::now(), self.kafka.compiler_us());
            let flow = self.steady(&instance, |bench, number| {
                bench.feed_beside(&instance, &body, number)
            });
            let compiled =
                float(self.kafka.compiler_us() - before) / 1e6 / start.elapsed().as_secs_f64();
            let (rate, kafka) = (flow.per_second, flow.kafka_us);
            eprintln!(
                "  {rate:.0} deliveries/s, {kafka:.0} µs of the broker's CPU for each, its compiler takes {compiled:.2} cores"
            );
            if compiled < 0.05 {
                return;
            }
        }
    }

    /// Twenty destinations that never answer.
    fn hanging(&self) -> Vec<(String, String)> {
        let document = |id: &str| self.document(id, 2, "hang", 8);
        (0..20)
            .map(|number| format!("hang-{number}"))
            .map(|id| (id.clone(), document(&id)))
            .collect()
    }

    /// An event of the healthy destination; after ten of these one for a hanging one.
    fn feed_beside(&mut self, instance: &Instance, body: &[u8], number: u64) {
        self.send(instance, HEALTHY, body);
        if number.is_multiple_of(10) {
            let hanging = format!("hang.hang-{}", number / 10 % 20);
            self.send(instance, &hanging, body);
        }
    }

    pub(crate) fn print(&self) {
        println!("| figure | Posthaste | beside it | ratio |\n| --- | --- | --- | --- |");
        for [figure, ours, other, ratio] in &self.rows {
            println!("| {figure} | {ours} | {other} | {ratio} |");
        }
    }

    fn row(&mut self, figure: &str, ours: String, other: String, ratio: String) {
        eprintln!("  {figure}: {ours}; {other}; {ratio}");
        self.rows.push([figure.to_owned(), ours, other, ratio]);
    }

    /// A document of a webhook at the receiver.
    fn document(&self, id: &str, host: u8, path: &str, concurrency: usize) -> String {
        self.document_with(id, host, path, concurrency, "")
    }

    /// The same with more members: `,"enabled":false`.
    fn document_with(
        &self,
        id: &str,
        host: u8,
        path: &str,
        concurrency: usize,
        more: &str,
    ) -> String {
        let port = self.receiver.port;
        format!(
            r#"{{"id":"{id}","sink":{{"type":"webhook","url":"http://127.0.0.{host}:{port}/{path}","signing":{{"secret":"{SECRET}"}}}},"subscriptions":[{{"event_types":["{path}.{id}"]}}],"delivery":{{"concurrency":{concurrency}}}{more}}}"#
        )
    }

    /// Documents `from` to `to` of many healthy destinations; the first is 0.
    fn many(&self, from: u32, to: u32) -> Vec<(String, String)> {
        (from..to)
            .map(|number| {
                let host = u8::try_from(number % u32::from(HOSTS)).expect("a small number") + 1;
                let id = number.to_string();
                let document = self.document(&id, host, "many", 8);
                (id, document)
            })
            .collect()
    }

    /// An instance with the one healthy destination.
    fn with_one(&self, name: &str) -> Instance {
        let instance = Instance::start(&self.kafka, name);
        let one = (
            "1".to_owned(),
            self.document("1", 1, "healthy", CONCURRENCY),
        );
        instance.destinations(&self.kafka, std::iter::once(one), 1);
        instance
    }

    fn send(&mut self, instance: &Instance, event_type: &str, body: &[u8]) {
        self.number += 1;
        self.kafka
            .send(&instance.source, self.number, event_type, body, false);
    }

    /// Sends an event that tells when; its latency is noted.
    fn send_stamped(&mut self, instance: &Instance, event_type: &str) {
        self.number += 1;
        let body = event::body(event::stamp(self.receiver.epoch));
        self.kafka
            .send(&instance.source, self.number, event_type, &body, true);
    }

    fn own_records(&self, instance: &Instance) -> i64 {
        self.kafka.records(&format!("{}.", instance.name))
    }

    /// Publishes as fast as events are received. `feed` sends the event of that number, and more if it likes.
    fn steady(&mut self, instance: &Instance, mut feed: impl FnMut(&mut Self, u64)) -> Flow {
        let handed_over = || instance.metric("posthaste_deliveries_handed_over_total");
        let (over, written) = (handed_over(), self.own_records(instance));
        let first = self.receiver.answered();
        let answered = |bench: &Self| bench.receiver.answered() - first;
        let (mut sent, start) = (0, Instant::now());
        let mut begun: Option<(Instant, u64, [u64; 5])> = None;
        let used = |bench: &Self| {
            let [idle, all] = process::machine();
            let (kafka, here) = (bench.kafka.cpu_us(), process::cpu_us("self"));
            [instance.cpu_us(), kafka, here, idle, all]
        };
        let (per_second, [cpu_us, kafka_us, here_us], idle) = loop {
            if begun.is_none() && start.elapsed() > WARM {
                begun = Some((Instant::now(), answered(self), used(self)));
            }
            if let Some((since, count, cpu)) = begun
                && since.elapsed() > STEADY
            {
                let received = float(answered(self) - count);
                let seconds = since.elapsed().as_secs_f64();
                let now = used(self);
                let mut spent = now.iter().zip(cpu).map(|(now, then)| float(now - then));
                let mut next = || spent.next().unwrap_or(f64::NAN);
                let each = [next(), next(), next()].map(|us| us / received.max(1.0));
                let idle = next() / next();
                break (received / seconds, each, idle);
            }
            if sent - answered(self) < self.window {
                feed(self, sent);
                sent += 1;
            } else {
                std::thread::sleep(Duration::from_micros(200));
            }
        };
        if !self.receiver.until(first + sent, Duration::from_secs(20)) {
            eprintln!("  not all events were received within 20 s");
        }
        // Attempt records are written a moment after the receiver has answered.
        std::thread::sleep(Duration::from_millis(100));
        Flow {
            per_second,
            cpu_us,
            kafka_us,
            here_us,
            idle,
            handed_over: (handed_over() - over) / float(sent),
            written: float((self.own_records(instance) - written).unsigned_abs()) / float(sent),
        }
    }

    /// Rounds of the instance and the bare loops in turn, as rows.
    fn beside_bare(
        &mut self,
        name: &str,
        instance: &Instance,
        hosts: u8,
        feed: impl Fn(&mut Self, u64),
    ) {
        let (mut hyper, mut reqwest, mut raw) = (Vec::new(), Vec::new(), Vec::new());
        let mut ours = Vec::new();
        let port = self.receiver.port;
        let bare = |kind| bare::child(kind, port, hosts, BARE);
        for _ in 0..self.rounds {
            hyper.push(bare("hyper"));
            reqwest.push(bare("reqwest"));
            ours.push(self.steady(instance, &feed));
            raw.push(bare("raw"));
        }
        let rate = median(ours.iter().map(|flow| flow.per_second));
        let cpu = median(ours.iter().map(|flow| flow.cpu_us));
        for (kind, runs) in [
            ("hyper", &hyper),
            ("reqwest", &reqwest),
            ("raw socket", &raw),
        ] {
            let bare_rate = median(runs.iter().map(|run| run.per_second));
            let bare_cpu = median(runs.iter().map(|run| run.cpu_us));
            self.row(
                &format!("{name}: deliveries/s, beside a bare loop ({kind})"),
                format!("{rate:.0}"),
                format!("{bare_rate:.0}"),
                format!("{:.0} %", 100.0 * rate / bare_rate),
            );
            self.row(
                &format!("{name}: CPU a delivery, beside a bare loop ({kind})"),
                format!("{cpu:.0} µs"),
                format!("{bare_cpu:.0} µs"),
                format!("{:+.0} µs", cpu - bare_cpu),
            );
        }
        let kafka = median(ours.iter().map(|flow| flow.kafka_us));
        let here = median(ours.iter().map(|flow| flow.here_us));
        let idle = median(ours.iter().map(|flow| flow.idle));
        self.row(
            &format!("{name}: CPU a delivery of the others"),
            format!("Kafka {kafka:.0} µs, publisher and receiver {here:.0} µs"),
            String::new(),
            format!("{:.0} % of the machine idle", 100.0 * idle),
        );
        let written = median(ours.iter().map(|flow| flow.written));
        let over = median(ours.iter().map(|flow| flow.handed_over));
        self.row(
            &format!("{name}: Kafka records written a delivery"),
            format!("{written:.3}"),
            String::new(),
            format!("{:.2} % handed over", 100.0 * over),
        );
    }
}

fn steady_1(bench: &mut Bench) {
    let instance = bench.with_one("steady-1");
    let body = event::body(0);
    bench.beside_bare("1 destination", &instance, 1, |bench, _| {
        bench.send(&instance, HEALTHY, &body);
    });
    for (name, us) in process::threads(&instance.pid()).iter().take(8) {
        eprintln!("  {:>8} ms of CPU in threads {name}", us / 1000);
    }
}

fn steady_many(bench: &mut Bench, count: u32) {
    let instance = Instance::start(&bench.kafka, &format!("steady-{count}"));
    let documents = bench.many(0, count);
    instance.destinations(&bench.kafka, documents.into_iter(), count);
    let types: Vec<String> = (0..count).map(|number| format!("many.{number}")).collect();
    let body = event::body(0);
    let name = format!("{count} destinations");
    bench.window = WINDOW_MANY;
    bench.beside_bare(&name, &instance, HOSTS, |bench, number| {
        // A prime apart, so that neighbours in time are no neighbours in order.
        let chosen = usize::try_from(number * 7919).expect("it fits") % types.len();
        if let Some(event_type) = types.get(chosen) {
            bench.send(&instance, event_type, &body);
        }
    });
    bench.window = WINDOW;
    bench.row(
        &format!("{name}: resident memory under load"),
        format!("{:.0} MB", process::rss_mb(&instance.pid())),
        String::new(),
        String::new(),
    );
}

fn latency(bench: &mut Bench) {
    let instance = bench.with_one("latency");
    // Connections are opened, the broker's code is compiled.
    let plain = event::body(0);
    bench.steady(&instance, |bench, _| {
        bench.send(&instance, HEALTHY, &plain);
    });
    for rate in [100, 1000] {
        let (mut p50, mut p99) = (Vec::new(), Vec::new());
        for _ in 0..bench.rounds {
            bench.receiver.take_latencies();
            let (first, count) = (bench.receiver.answered(), rate * 4);
            let start = Instant::now();
            for number in 0..count {
                let due = start + Duration::from_secs(1) * number / rate;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                bench.send_stamped(&instance, HEALTHY);
            }
            bench
                .receiver
                .until(first + u64::from(count), Duration::from_secs(10));
            let mut latencies = bench.receiver.take_latencies();
            latencies.sort_unstable();
            let at = |share: usize| latencies.get(latencies.len() * share / 100).copied();
            p50.push(float(at(50).unwrap_or(0)) / 1000.0);
            p99.push(float(at(99).unwrap_or(0)) / 1000.0);
        }
        bench.row(
            &format!("publish to receive at {rate} events/s, p50 and p99"),
            format!(
                "{:.1} ms, {:.1} ms",
                median(p50.into_iter()),
                median(p99.into_iter())
            ),
            String::new(),
            String::new(),
        );
    }
}

/// The healthy destination alone, then beside 20 that never answer; these get one event for ten of the healthy one.
fn hanging(bench: &mut Bench) {
    let instance = bench.with_one("hanging");
    let body = event::body(0);
    let alone: Vec<Flow> = (0..bench.rounds)
        .map(|_| {
            bench.steady(&instance, |bench, _| {
                bench.send(&instance, HEALTHY, &body);
            })
        })
        .collect();
    let hanging = bench.hanging();
    instance.destinations(&bench.kafka, hanging.into_iter(), 21);
    let beside: Vec<Flow> = (0..bench.rounds)
        .map(|_| {
            bench.steady(&instance, |bench, number| {
                bench.feed_beside(&instance, &body, number);
            })
        })
        .collect();
    for flow in alone.iter().chain(&beside) {
        let [ours, kafka, here] = [flow.cpu_us, flow.kafka_us, flow.here_us];
        let (rate, idle) = (flow.per_second, flow.idle);
        eprintln!(
            "  {rate:.0}/s; CPU {ours:.0} µs, Kafka {kafka:.0}, publisher and receiver {here:.0}; {idle:.2} idle"
        );
    }
    let [alone, beside] = [alone, beside].map(|flows| median(flows.iter().map(|f| f.per_second)));
    bench.row(
        "healthy destination beside 20 hanging ones, deliveries/s",
        format!("{beside:.0}"),
        format!("{alone:.0} alone"),
        format!("{:.2}× its time alone", alone / beside),
    );
}

/// Events that were published all at once: more than the destination's queue in memory takes.
fn backlog(bench: &mut Bench) {
    let instance = bench.with_one("backlog-1");
    let body = event::body(0);
    let events = 20_000_u32;
    let before = bench.own_records(&instance);
    let (first, start) = (bench.receiver.answered(), Instant::now());
    for _ in 0..events {
        bench.send(&instance, HEALTHY, &body);
    }
    let all = bench
        .receiver
        .until(first + u64::from(events), Duration::from_secs(30));
    let rate = float(bench.receiver.answered() - first) / start.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_millis(100));
    let over = instance.metric("posthaste_deliveries_handed_over_total") / f64::from(events);
    let written = float((bench.own_records(&instance) - before).unsigned_abs());
    bench.row(
        &format!("{events} events at once, 1 destination: deliveries/s"),
        format!("{rate:.0}{}", if all { "" } else { ", not all in 30 s" }),
        format!("{:.2} records a delivery", written / f64::from(events)),
        format!("{:.0} % handed over", 100.0 * over),
    );
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn float(count: u64) -> f64 {
    count as f64
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
