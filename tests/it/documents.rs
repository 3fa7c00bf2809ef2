//! The documents name what there is.

use std::collections::BTreeSet;

use posthaste::domain::units::Span;
use posthaste::telemetry::metrics::{Metrics, Sets};

use crate::source::{read, root};

const DOCUMENTS: [&str; 6] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "docs/filters.md",
    "docs/operations.md",
    "docs/sinks.md",
];

/// The sections of the settings: the headings of the file with all defaults.
fn sections() -> BTreeSet<String> {
    let defaults: toml::Table = read("config/default.toml").parse().expect("TOML");
    defaults.keys().cloned().collect()
}

#[test]
fn the_readme_names_every_section_of_the_settings() {
    let readme = read("README.md");
    for section in sections() {
        assert!(
            readme.contains(&format!("[{section}]")) || readme.contains(&format!("[{section}.")),
            "README.md does not mention the section [{section}]"
        );
    }
}

#[test]
fn every_setting_has_a_comment() {
    let text = read("config/default.toml");
    let mut commented = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let key = line.split('=').next().unwrap_or_default().trim();
        let is_key = line.contains('=')
            && key
                .chars()
                .all(|c| c.is_alphanumeric() || "_-.\"".contains(c))
            && !line.starts_with('#');
        assert!(
            !is_key || commented || line.contains(" # "),
            "config/default.toml:{}: `{key}` has no comment above or behind it",
            index + 1
        );
        commented = line.starts_with('#');
    }
}

/// Name and type of every metric.
fn metrics() -> BTreeSet<(String, String)> {
    let metrics = Metrics::new(&Sets {
        sinks: vec!["webhook"],
        sources: vec!["orders"],
        tiers: vec![Span::secs(5)],
        egress_reasons: vec!["scheme"],
    });
    metrics
        .render()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect()
}

#[test]
fn the_handbook_lists_every_metric_with_its_type_and_no_other() {
    // Rows of the table: | `name` | type | labels | meaning |
    let listed: BTreeSet<(String, String)> = read("docs/operations.md")
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let name = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
            let kind = *cells.get(2)?;
            let metric = name.starts_with("posthaste_") || name.starts_with("process_");
            (metric && !name.contains(' ')).then(|| (name.to_owned(), kind.to_owned()))
        })
        .collect();
    assert_eq!(listed, metrics());
}

#[test]
fn a_metric_that_a_document_mentions_exists() {
    let names: BTreeSet<String> = metrics().into_iter().map(|(name, _)| name).collect();
    for document in DOCUMENTS {
        for word in read(document).split(|c: char| !(c.is_alphanumeric() || c == '_')) {
            let series = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| word.strip_suffix(suffix));
            assert!(
                !word.starts_with("posthaste_") || names.contains(series.unwrap_or(word)),
                "{document}: there is no metric `{word}`"
            );
        }
    }
}

#[test]
fn the_example_settings_use_known_sections_and_keys() {
    let defaults: toml::Table = read("config/default.toml").parse().expect("TOML");
    let example: toml::Table = read("config/example.toml").parse().expect("TOML");
    for (section, values) in &example {
        let known = defaults.get(section).and_then(toml::Value::as_table);
        let known = known.unwrap_or_else(|| panic!("[{section}] is not a section"));
        // The names of sources and of librdkafka's properties are not ours.
        for key in values.as_table().expect("a section").keys() {
            let free = section == "sources";
            assert!(
                free || known.contains_key(key),
                "{section}.{key} is no setting"
            );
        }
    }
}

#[test]
fn the_command_that_the_readme_names_is_the_one_that_must_pass() {
    const TESTS: &str = "cargo test --workspace";
    assert!(read("README.md").contains(&format!("\n{TESTS}\n")));
    assert!(read(".ci/run").contains(&format!("  {TESTS} ")));
}

#[test]
fn links_between_documents_lead_somewhere() {
    for document in DOCUMENTS {
        let folder = root().join(document);
        let folder = folder.parent().expect("a file has a folder");
        for link in read(document).split("](").skip(1) {
            let target = link.split(')').next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            assert!(
                folder.join(file).exists(),
                "{document}: nothing at {target}"
            );
        }
    }
}
