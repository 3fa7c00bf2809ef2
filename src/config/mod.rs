//! Settings and configuration documents: from text to values that are valid as a whole.
//!
//! Settings come from four sources, later ones over earlier ones: the defaults in `config/default.toml`, the file, the
//! environment, the command line. Documents come from the topic `destinations`, through the catalog.
//!
//! Invariant: a value that leaves this module keeps all its rules; all mistakes of one input are reported together.
//! Invariant: only [`mod@env`] reads the environment.

use std::path::PathBuf;

use serde_json::{Value, json};

use faults::{Fault, Findings, child};
use layers::Layer;
use settings::Settings;

pub mod destination;
pub mod env;
pub mod faults;
mod layers;
mod node;
mod properties;
mod read;
mod rules;
pub mod schema;
pub mod settings;
pub mod sources;
mod strict_json;
#[cfg(test)]
mod tests;
mod words;

pub use properties::ours;
pub use read::{Reading, parse_all, read};

/// Every setting with its default and a comment, as TOML.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Where settings come from beside the defaults; later ones win.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not start with `POSTHASTE__` are passed over. See [`env::variables`].
    pub env: Vec<(String, String)>,
    /// From the command line: dotted keys (`kafka.brokers`, `sources."orders.v1".start`) and values.
    pub overrides: Vec<(String, String)>,
}

/// A further check of the settings, by a part above this one.
pub type Check<'c> = &'c dyn Fn(&Settings) -> Vec<Fault>;

/// Reads the settings.
///
/// # Errors
/// All mistakes, each with where the wrong value was written.
pub fn load(sources: &Sources) -> Result<Settings, Vec<Fault>> {
    load_checked(sources, &[])
}

/// As [`load`], and reports what `checks` find together with the rest.
///
/// # Errors
/// All mistakes, each with where the wrong value was written.
pub fn load_checked(sources: &Sources, checks: &[Check<'_>]) -> Result<Settings, Vec<Fault>> {
    let mut merged = Layer::of_toml(DEFAULTS, None);
    let defaults = merged.tree.clone();
    let file = sources.file.as_deref().map(Layer::of_file);
    let environment = Layer::of_environment(&sources.env, &defaults);
    let overrides = Layer::of_overrides(&sources.overrides, &defaults);
    for mut layer in file.into_iter().chain([environment, overrides]) {
        properties::flatten(&mut layer);
        properties::supersede(&mut merged, &mut layer);
        merged.merge(layer);
    }
    properties::read_files(&mut merged);

    let reading = read::<Settings>(&merged.tree, &defaults, not_supported(&merged.tree));
    let mut findings = Findings::new(reading.faults);
    if let Some(settings) = &reading.value {
        rules::check(settings, &mut findings);
        for fault in checks.iter().flat_map(|check| check(settings)) {
            findings.add(&fault.pointer, fault.message);
        }
    }
    let found = findings.into_vec();
    let mut faults = std::mem::take(&mut merged.faults);
    faults.extend(found.into_iter().map(|fault| merged.with_origin(fault)));
    match reading.value {
        Some(settings) if faults.is_empty() => Ok(settings),
        _ => Err(faults),
    }
}

/// The settings when nothing is set.
///
/// # Panics
/// Never: a test reads them.
#[must_use]
pub fn defaults() -> Settings {
    load(&Sources::default()).expect("the defaults are valid")
}

/// What is documented and not built yet.
fn not_supported(tree: &Value) -> Vec<Fault> {
    let sources = tree.get("sources").and_then(Value::as_object);
    sources
        .into_iter()
        .flatten()
        .filter(|(_, source)| source.get("format") == Some(&json!("avro")))
        .map(|(name, _)| {
            Fault::new(
                child(&child("/sources", name), "format"),
                "\"avro\" is not supported yet; use \"json\", \"cloudevents\" or \"bytes\"",
            )
        })
        .collect()
}
