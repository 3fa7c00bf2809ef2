//! Counterparts from `tests/services`: started, and ended with this program.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{guard, services};

/// Runs `tests/services/<script>`; returns what it prints as `name=value`. What it names as `pid`, `epmd` and `dir` is
/// ended and deleted when this program ends.
pub(crate) fn start(script: &str, options: &[&str]) -> HashMap<String, String> {
    let output = Command::new(services().join(script))
        .args(options)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("the script runs");
    let line = String::from_utf8(output.stdout).expect("text");
    let facts: HashMap<String, String> = line
        .split_whitespace()
        .filter_map(|fact| fact.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for name in ["pid", "epmd"] {
        if let Some(pid) = facts.get(name) {
            guard::process(pid.parse().expect("a process id"));
        }
    }
    guard::folder(Path::new(facts.get("dir").expect("a folder")));
    facts
}
