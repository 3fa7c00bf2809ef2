//! What matching costs: 838-byte events against up to 100,000 filters of one kind, on one core.
//!
//! `cargo bench --bench filters`; `-- --only exact,regex` runs some kinds, `change` and `catalog` are the changes. Nothing
//! is asserted; the table is for `docs/benchmarks.md`.

mod catalog;
mod kinds;
mod memory;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kinds::Kind;
use posthaste::domain::filter::Filter;
use posthaste::domain::filter::index::{FilterIndex, Scratch};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

const SIZES: [u32; 3] = [1_000, 10_000, 100_000];
const EVENTS: u32 = 256;

fn main() {
    let only = std::env::args().skip_while(|arg| arg != "--only").nth(1);
    let chosen = |kind: &Kind| {
        let names = only.as_deref().map(|only| only.split(','));
        names.is_none_or(|mut names| names.any(|name| name == kind.name))
    };
    println!(
        "| kind | 1,000 | 10,000 | 100,000 | 100k : 10k | matches | asked | build of 100k: rules, index | memory |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for kind in kinds::all().iter().filter(|kind| chosen(kind)) {
        row(kind);
    }
    let wanted = |name: &str| only.as_ref().is_none_or(|only| only.contains(name));
    if wanted("change") {
        changes();
    }
    if wanted("catalog") {
        catalog::changes();
    }
}

struct Built {
    index: FilterIndex,
    /// Compiling the rules, and filing them.
    took: [Duration; 2],
    bytes: usize,
}

fn build(kind: &Kind, filters: u32) -> Built {
    let before = memory::used();
    let mut index = FilterIndex::default();
    let mut took = [Duration::ZERO; 2];
    for number in 0..filters {
        let rule = (kind.rule)(number, filters);
        let start = Instant::now();
        let filter = Filter::compile_text(kind.dialect, rule.as_bytes());
        let filter = Arc::new(filter.unwrap_or_else(|error| panic!("{rule}: {error}")));
        let compiled = Instant::now();
        index.insert(number, filter, usize::MAX);
        took[0] += compiled - start;
        took[1] += compiled.elapsed();
    }
    Built {
        index,
        took,
        bytes: memory::used() - before,
    }
}

/// Nanoseconds an event, the least of some rounds, and matches an event.
fn match_all(index: &FilterIndex, events: &[String]) -> (f64, f64) {
    let (mut scratch, mut found) = (Scratch::default(), Vec::new());
    let mut best = f64::INFINITY;
    let mut matches = 0;
    let begun = Instant::now();
    for round in 0..1000 {
        matches = 0;
        let start = Instant::now();
        let mut asked = 0_u32;
        for event in events {
            let searched =
                index.matching(event.as_bytes(), &[], &mut scratch, |_| true, &mut found);
            searched.expect("JSON");
            matches += black_box(&found).len();
            asked += 1;
            if asked > 8 && begun.elapsed() > Duration::from_secs(10) {
                break;
            }
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(asked));
        if round > 3 && begun.elapsed() > Duration::from_millis(500) {
            return (best, matches as f64 / f64::from(asked));
        }
    }
    (best, matches as f64 / events.len() as f64)
}

fn row(kind: &Kind) {
    let mut times = Vec::new();
    let mut last = None;
    for filters in SIZES {
        let events: Vec<String> = (0..EVENTS).map(|n| kinds::event(n, filters)).collect();
        let built = build(kind, filters);
        let (nanoseconds, matches) = match_all(&built.index, &events);
        let candidates = events
            .iter()
            .map(|event| built.index.asked(event.as_bytes()));
        let candidates: usize = candidates.sum();
        times.push(nanoseconds / 1000.0);
        last = Some((built, matches, candidates as f64 / f64::from(EVENTS)));
    }
    let [small, middle, large] = times[..] else {
        return;
    };
    let Some((built, matches, asked)) = last else {
        return;
    };
    let [rules, index] = built.took.map(|took| took.as_secs_f64());
    println!(
        "| {} | {small:.2} µs | {middle:.2} µs | {large:.2} µs | {:.2} | {matches:.1} | {asked:.1} | {rules:.2} s, {index:.2} s | {} MB |",
        kind.name,
        large / middle,
        built.bytes / 1_000_000,
    );
}

/// Of sorted times, in microseconds.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted
        .get(at)
        .map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
}

/// Changes among 100,000 filters of all kinds while events are matched with the copy that was in force before.
fn changes() {
    let filters = 100_000;
    let kinds: Vec<Kind> = kinds::all();
    let mixed: Vec<&Kind> = kinds
        .iter()
        .filter(|kind| kind.name != "negative" && kind.name != "regex")
        .collect();
    let filter = |number: u32| {
        let at = number as usize % mixed.len();
        let kind = mixed.get(at).expect("within");
        let rule = (kind.rule)(number, filters);
        let filter = Filter::compile_text(kind.dialect, rule.as_bytes());
        Arc::new(filter.expect("valid"))
    };
    let mut index = FilterIndex::default();
    for number in 0..filters {
        index.insert(number, filter(number), usize::MAX);
    }
    let events: Vec<String> = (0..EVENTS).map(|n| kinds::event(n, filters)).collect();
    let (mut scratch, mut found) = (Scratch::default(), Vec::new());
    let mut once = |index: &FilterIndex, event: &str| {
        let start = Instant::now();
        let searched = index.matching(event.as_bytes(), &[], &mut scratch, |_| true, &mut found);
        searched.expect("JSON");
        start.elapsed()
    };
    let mut quiet: Vec<Duration> = events
        .iter()
        .cycle()
        .take(20_000)
        .map(|event| once(&index, event))
        .collect();
    let (mut changing, mut change) = (Vec::new(), Vec::new());
    let mut published = Arc::new(index);
    for (event, number) in events.iter().cycle().zip(0..20_000_u32) {
        changing.push(once(&published, event));
        if number.is_multiple_of(20) {
            // As the catalog does it while a reader holds the view.
            let reader = Arc::clone(&published);
            let filter = filter(number + filters);
            let start = Instant::now();
            Arc::make_mut(&mut published).insert(number, filter, usize::MAX);
            change.push(start.elapsed());
            drop(reader);
        }
    }
    for times in [&mut quiet, &mut changing, &mut change] {
        times.sort_unstable();
    }
    println!();
    println!("| among 100,000 filters of all kinds but regex and negative | p50 | p99 | most |");
    println!("| --- | --- | --- | --- |");
    for (name, times) in [
        ("matching an event", &quiet),
        ("matching, a change every 20 events", &changing),
        ("a change, while a reader has the copy before", &change),
    ] {
        let [half, most, all] = [50, 99, 100].map(|percent| percentile(times, percent));
        println!("| {name} | {half:.1} µs | {most:.1} µs | {all:.1} µs |");
    }
}
