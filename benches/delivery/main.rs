//! The delivery benchmark: the real binary and a real Kafka beside a bare client loop, on one machine.
//!
//! `cargo bench --bench delivery` runs all scenarios and prints a table; `-- --only steady-1,latency` runs some,
//! `-- --rounds 1` fewer rounds, `-- --retries 1000000` has more retries waiting before they are drained. Events go from here through Kafka and `posthaste serve` (a child) to a receiver in this process. In each
//! round the bare loop (a child too: this program, started again) sends to the same receiver; figures are medians.
//!
//! Invariant: nothing here asserts a time. A machine that is busy with other things gives other figures.

mod bare;
mod event;
mod instance;
mod kafka;
mod process;
mod receiver;
mod scenarios;

use std::path::{Path, PathBuf};

use scenarios::Bench;

/// Ends what was started here, however this ends.
#[path = "../../tests/e2e/support/guard.rs"]
mod guard;

/// `tests/services`.
fn services() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services")
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "bare") {
        bare::run(&arguments);
        return;
    }
    let after = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1).cloned()
    };
    let rounds = after("--rounds").map_or(3, |rounds| rounds.parse().expect("--rounds NUMBER"));
    let retries = after("--retries").map_or(200_000, |retries| {
        retries.parse().expect("--retries NUMBER")
    });
    let only = after("--only");
    let chosen: Vec<_> = scenarios::ALL
        .iter()
        .filter(|(name, _)| {
            only.as_ref()
                .is_none_or(|only| only.split(',').any(|only| only == *name))
        })
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = scenarios::ALL.iter().map(|(name, _)| *name).collect();
        eprintln!("--only takes some of {}, with commas", names.join(", "));
        std::process::exit(64);
    }
    let mut bench = Bench::start(rounds, retries);
    eprintln!("warm-up");
    bench.warm_up();
    for (name, scenario) in chosen {
        eprintln!("{name}");
        scenario(&mut bench);
    }
    bench.print();
}
