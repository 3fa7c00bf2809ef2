//! Changes of documents among 100,000 destinations of one tenant, through the whole catalog, while events are matched.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use posthaste::catalog::{Catalog, Documents, Found};
use posthaste::config::{self, Sources};
use posthaste::domain::content::{Body, Content, Parts};
use posthaste::domain::filter::Dialect;
use posthaste::domain::ids::TenantId;
use posthaste::telemetry::metrics::{Metrics, Sets};

use super::kinds::{self, Kind};
use super::{memory, percentile};

const DESTINATIONS: u32 = 100_000;
const CHANGES: u32 = 2_000;

fn empty() -> Arc<Catalog> {
    let sources = Sources {
        file: None,
        env: Vec::new(),
        overrides: Vec::new(),
    };
    let settings = Arc::new(config::load(&sources).expect("the defaults"));
    let metrics = Metrics::new(&Sets {
        sinks: posthaste::sinks::kinds().collect(),
        sources: Vec::new(),
        tiers: settings.retry.tiers.clone(),
        egress_reasons: Vec::new(),
    });
    Catalog::new(Documents::new(settings), metrics)
}

fn document(number: u32, dialect: Dialect, rule: &str) -> String {
    format!(
        r#"{{"id":"d{number}","tenant":"acme","subscriptions":[{{"event_types":["order.*"],"filter":{{"dialect":"{dialect}","rule":{rule}}}}}],"sink":{{"type":"webhook","url":"https://example.com/{number}"}}}}"#
    )
}

/// Puts a destination in force, and makes sure that it is.
fn put(catalog: &Catalog, number: u32, document: &str) -> Duration {
    let key = format!("acme/d{number}");
    let start = Instant::now();
    let changed = catalog.apply(
        Some(key.as_bytes()),
        Some(document.as_bytes()),
        i64::from(number),
    );
    let took = start.elapsed();
    assert!(changed.is_some(), "{document}");
    took
}

/// Tells who takes an event, and how long that took.
fn take(catalog: &Catalog, event: &str, found: &mut Found) -> Duration {
    let tenant = TenantId::new("acme").expect("valid");
    let id = || "e".to_owned();
    let start = Instant::now();
    let content = Content::new(Parts {
        id: &id,
        event_type: "order.paid",
        topic: "orders",
        time_ms: 0,
        key: None,
        headers: &[],
        body: Body::Json(event.as_bytes()),
    });
    catalog.matching(&tenant, &content, found);
    start.elapsed()
}

/// Prints the table of changes.
pub(super) fn changes() {
    let catalog = empty();
    let all = kinds::all();
    let mixed: Vec<&Kind> = all.iter().filter(|kind| kind.name != "negative").collect();
    let rule = |number: u32| {
        let kind = mixed
            .get(number as usize % mixed.len())
            .expect("within the kinds");
        (kind.dialect, (kind.rule)(number, DESTINATIONS))
    };
    let (before, start) = (memory::used(), Instant::now());
    for number in 0..DESTINATIONS {
        let (dialect, rule) = rule(number);
        put(&catalog, number, &document(number, dialect, &rule));
    }
    println!();
    println!(
        "{DESTINATIONS} documents of all kinds but negative, read and in force: {:.1} s, {} MB",
        start.elapsed().as_secs_f64(),
        (memory::used() - before) / 1_000_000
    );
    catalog.set_loaded();
    let events: Vec<String> = (0..256).map(|n| kinds::event(n, DESTINATIONS)).collect();
    let mut found = Found::default();
    let mut quiet: Vec<Duration> = events
        .iter()
        .cycle()
        .take(50_000)
        .map(|event| take(&catalog, event, &mut found))
        .collect();
    let over = AtomicBool::new(false);
    let (mut changing, mut change) = std::thread::scope(|scope| {
        let matching = scope.spawn(|| {
            let mut times = Vec::new();
            for event in events.iter().cycle() {
                times.push(take(&catalog, event, &mut found));
                if over.load(Ordering::Relaxed) {
                    return times;
                }
            }
            times
        });
        let mut found = Found::default();
        let mut times = Vec::new();
        for number in 0..CHANGES {
            let marker = format!(r#"{{"marker":[{number}]}}"#);
            let document = document(number, Dialect::EventBridge, &marker);
            times.push(put(&catalog, number, &document));
            take(&catalog, &format!(r#"{{"marker":{number}}}"#), &mut found);
            assert_eq!(found.taken.len(), 1, "the change is in force");
            std::thread::sleep(Duration::from_millis(1));
        }
        over.store(true, Ordering::Relaxed);
        (matching.join().expect("no panic"), times)
    });
    for times in [&mut quiet, &mut changing, &mut change] {
        times.sort_unstable();
    }
    println!();
    println!("| through the catalog, among 100,000 destinations | p50 | p99 | most |");
    println!("| --- | --- | --- | --- |");
    for (name, times) in [
        ("matching an event", &quiet),
        ("matching, a change every millisecond", &changing),
        (
            "a change, from the document's bytes until it is in force",
            &change,
        ),
    ] {
        let [half, most, all] = [50, 99, 100].map(|percent| percentile(times, percent));
        println!("| {name} | {half:.1} µs | {most:.1} µs | {all:.1} µs |");
    }
}
