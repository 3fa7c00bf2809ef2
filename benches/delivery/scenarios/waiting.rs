//! Retries: whether they come at their time, and how fast many of them are worked off.

use std::time::{Duration, Instant};

use super::{Bench, CONCURRENCY, float, median};
use crate::event;
use crate::instance::Instance;

/// Retries that wait at the same time for the shortest tier.
const WAITING: usize = 10_000;
const DELAY: Duration = Duration::from_secs(5);

/// First attempts that are compared with.
const FIRST: u32 = 20_000;

/// All first attempts fail, spread over half of the delay.
pub(super) fn due(bench: &mut Bench) {
    let instance = Instance::start(&bench.kafka, "due");
    let retry = r#","retry":{"policy":"schedule","delays":["5s"],"jitter":0}"#;
    let documents: Vec<(String, String)> = (0..10)
        .map(|number| {
            let id = number.to_string();
            let document = bench.document_with(&id, 1 + number, "flaky", 64, retry);
            (id, document)
        })
        .collect();
    instance.destinations(&bench.kafka, documents.into_iter(), 10);
    bench.receiver.take_waits();
    let start = Instant::now();
    for number in 0..WAITING {
        let share = f64::from(u32::try_from(number).expect("small")) / 10_000.0;
        let due = start + DELAY.mul_f64(share / 2.0);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        bench.send_stamped(&instance, &format!("flaky.{}", number % 10));
    }
    let mut most = 0;
    let limit = Instant::now() + DELAY * 4;
    let mut waits = Vec::new();
    while waits.len() < WAITING && Instant::now() < limit {
        most = most.max(bench.receiver.waiting());
        waits.extend(bench.receiver.take_waits());
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut late: Vec<f64> = waits
        .iter()
        .map(|wait| (wait.as_secs_f64() - DELAY.as_secs_f64()) * 1000.0)
        .collect();
    late.sort_by(f64::total_cmp);
    let at = |share: usize| {
        late.get(late.len() * share / 100)
            .copied()
            .unwrap_or(f64::NAN)
    };
    bench.row(
        &format!("retries behind a delay of 5 s, {most} waiting at once: late by, p50 and p99"),
        format!("{:.0} ms, {:.0} ms", at(50), at(99)),
        String::new(),
        format!("{} of {WAITING} came", late.len()),
    );
}

/// Events for a destination that is not enabled wait in its retry topic; then it is.
pub(super) fn drain(bench: &mut Bench) {
    let instance = bench.with_one("drain");
    let body = event::body(0);
    let mut first = Vec::new();
    for _ in 0..bench.rounds {
        first.push(
            bench
                .steady(&instance, |bench, _| {
                    bench.send(&instance, super::HEALTHY, &body)
                })
                .per_second,
        );
    }
    let first = median(first.into_iter());
    let document = |bench: &Bench, more: &str| {
        let document = bench.document_with("2", 1, "drained", CONCURRENCY, more);
        std::iter::once(("2".to_owned(), document))
    };
    instance.destinations(&bench.kafka, document(bench, r#","enabled":false"#), 2);
    let over = |i: &Instance| i.metric("posthaste_deliveries_handed_over_total");
    let before = over(&instance);
    // Until it has a retry topic of its own, what waits is in the shared one.
    for _ in 0..FIRST / 100 {
        bench.send(&instance, "drained.2", &body);
    }
    instance.until("with a retry topic of its own", |instance| {
        instance.metric("posthaste_retry_topics_dedicated") >= 1.0
    });
    let handed = over(&instance) - before;
    let all = bench.retries;
    for _ in 0..all {
        bench.send(&instance, "drained.2", &body);
    }
    bench.kafka.flush();
    instance.until("through with all events", |instance| {
        over(instance) - before - handed >= f64::from(all)
    });
    let (count, since) = (bench.receiver.answered(), Instant::now());
    instance.destinations(&bench.kafka, document(bench, ""), 2);
    let limit = Duration::from_millis(u64::from(all));
    let drained = bench
        .receiver
        .until(count + u64::from(all), limit.max(Duration::from_secs(60)));
    let rate = float(bench.receiver.answered() - count) / since.elapsed().as_secs_f64();
    bench.row(
        &format!("{all} waiting retries of 1 destination, deliveries/s"),
        format!(
            "{rate:.0}{}",
            if drained {
                ""
            } else {
                ", not all came in time"
            }
        ),
        format!("{first:.0} first attempts/s"),
        format!("{:.0} %", 100.0 * rate / first),
    );
}
