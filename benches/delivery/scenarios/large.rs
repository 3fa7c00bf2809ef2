//! Many destinations: memory, the time to be ready, changes, and what reading and matching costs.

use std::time::{Duration, Instant};

use super::{Bench, float, median};
use crate::event;
use crate::instance::Instance;
use crate::process;

const FEW: u32 = 10;
const SIZES: [u32; 3] = [1_000, 10_000, 100_000];

/// Changes that are timed in a round.
const CHANGES: usize = 50;

/// Events that are read and matched in a round.
const EVENTS: u32 = 50_000;

pub(super) fn run(bench: &mut Bench) {
    let few = Instance::start(&bench.kafka, "large-few");
    let documents = bench.many(0, FEW);
    few.destinations(&bench.kafka, documents.into_iter(), FEW);
    let mut many = Instance::start(&bench.kafka, "large-many");
    let mut before = 0;
    for count in SIZES {
        let documents = bench.many(before, count);
        many.destinations(&bench.kafka, documents.into_iter(), count);
        before = count;
        let memory = process::rss_mb(&many.pid());
        bench.row(
            &format!("resident memory, {count} destinations"),
            format!("{memory:.0} MB"),
            String::new(),
            String::new(),
        );
    }
    let (mut starts, mut memory, mut costs) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
    let (mut middle, mut longest) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        many.stop();
        starts.push(many.launch().as_secs_f64());
        memory.push(process::rss_mb(&many.pid()));
        for (instance, costs) in [&few, &many].into_iter().zip(&mut costs) {
            costs.push(matching(bench, instance));
        }
        let mut times: Vec<f64> = (0..CHANGES)
            .map(|number| change(bench, &many, number))
            .collect();
        times.sort_by(f64::total_cmp);
        middle.extend(times.get(times.len() / 2));
        longest.extend(times.last());
    }
    report(bench, before, starts, memory);
    let [few_us, many_us] = costs.map(|costs| median(costs.into_iter()));
    bench.row(
        &format!("reading and matching an event, {before} destinations"),
        format!("{many_us:.1} µs of CPU"),
        format!("{few_us:.1} µs with {FEW}"),
        format!("{:+.0} %", 100.0 * (many_us / few_us - 1.0)),
    );
    let (middle, longest) = (median(middle.into_iter()), median(longest.into_iter()));
    bench.row(
        &format!("a change in force, {before} destinations, p50 and the longest of {CHANGES}"),
        format!("{middle:.1} ms, {longest:.1} ms"),
        String::new(),
        String::new(),
    );
}

fn report(bench: &mut Bench, count: u32, starts: Vec<f64>, memory: Vec<f64>) {
    let (start, memory) = (median(starts.into_iter()), median(memory.into_iter()));
    bench.row(
        &format!("start to ready, {count} destinations"),
        format!("{start:.2} s"),
        String::new(),
        String::new(),
    );
    bench.row(
        &format!("resident memory after a start, {count} destinations"),
        format!("{memory:.0} MB"),
        String::new(),
        String::new(),
    );
}

/// Microseconds of CPU for an event that nobody subscribed to.
fn matching(bench: &mut Bench, instance: &Instance) -> f64 {
    let body = event::body(0);
    let unmatched = |i: &Instance| i.metric("posthaste_events_unmatched_total");
    let (before, cpu) = (unmatched(instance), instance.cpu_us());
    for _ in 0..EVENTS {
        bench.send(instance, "nobody.wants.it", &body);
    }
    instance.until("through with all events", |instance| {
        unmatched(instance) - before >= f64::from(EVENTS)
    });
    float(instance.cpu_us() - cpu) / f64::from(EVENTS)
}

/// Milliseconds from the sending of a document until it is in force, as the metrics tell, which are looked at all the
/// time.
fn change(bench: &Bench, instance: &Instance, number: usize) -> f64 {
    let applied = |i: &Instance| i.metric("posthaste_catalog_applied_offset");
    let before = applied(instance);
    let id = (number * 997).to_string();
    let document = bench.document(&id, 1, "changed", 4 + number % 4);
    let since = Instant::now();
    let topic = format!("{}.destinations", instance.name);
    bench
        .kafka
        .document_now(&topic, &format!("default/{id}"), &document);
    while applied(instance) <= before {
        std::thread::sleep(Duration::from_micros(100));
        assert!(since.elapsed() < Duration::from_secs(30), "it is applied");
    }
    since.elapsed().as_secs_f64() * 1000.0
}
