//! Settings from all sources at once.

use std::path::PathBuf;

use proptest::prelude::*;

use super::settings::{Format, Start};
use super::*;
use crate::domain::filter::budget::Limits;
use crate::domain::units::Span;

mod properties;
mod rules;

/// A file that is gone when the test ends.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, text: &str) -> Self {
        let file = format!("posthaste-config-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(file);
        std::fs::write(&path, text).expect("the temporary folder can be written");
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).expect("it was written");
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn from_file(name: &str, text: &str) -> Result<Settings, Vec<String>> {
    let file = TempFile::new(name, text);
    let path = file.0.display().to_string();
    let sources = Sources {
        file: Some(file.0.clone()),
        ..Sources::default()
    };
    load(&sources).map_err(|faults| {
        let text = |fault: &Fault| fault.to_string().replace(&path, "FILE");
        faults.iter().map(text).collect()
    })
}

fn from_env(variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let sources = Sources {
        env: pairs(variables),
        ..Sources::default()
    };
    load(&sources).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

#[test]
fn the_defaults_are_valid() {
    let settings = defaults();
    assert_eq!(settings.kafka.brokers, "127.0.0.1:9092");
    assert_eq!(settings.topics.prefix, "posthaste.");
    assert_eq!(
        (settings.topics.lanes, settings.topics.replication_factor),
        (8, 0)
    );
    assert!(settings.sources.is_empty());
    let tiers: Vec<String> = settings
        .retry
        .tiers
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        tiers,
        ["5s", "30s", "2m", "10m", "30m", "1h", "3h", "6h", "12h"]
    );
    assert_eq!(
        settings.retry_retention(),
        "9d".parse().expect("a duration")
    );
    assert_eq!(settings.admin.listen.to_string(), "127.0.0.1:8077");
    // What `posthaste filter` goes by without settings.
    assert_eq!(settings.filters, Limits::default());
}

/// A file with every section that people usually write.
#[test]
fn a_usual_file_is_valid() {
    let text = r#"
        [kafka]
        brokers = "127.0.0.1:9092"
        group = "posthaste"
        [kafka.properties]
        [topics]
        prefix = "posthaste."
        lanes = 8
        replication_factor = 1
        [sources.orders]
        format = "cloudevents"
        start = "latest"
        [sources."orders-*"]
        [retry]
        tiers = ["5s", "30s", "2m", "10m", "30m", "1h", "3h", "6h", "12h"]
        [egress]
        allow = ["127.0.0.0/8"]
        allow_http = true
        [admin]
        listen = "127.0.0.1:8077"
    "#;
    let settings = from_file("usual", text).expect("valid");
    let names: Vec<_> = settings.sources.keys().collect();
    assert_eq!(names, ["orders", "orders-*"]);
}

#[test]
fn every_default_has_a_comment() {
    let mut above = "";
    for line in DEFAULTS.lines() {
        let commented = above.starts_with('#');
        assert!(
            !line.contains(" = ") || commented,
            "no comment above: {line}"
        );
        above = line;
    }
}

#[test]
fn later_sources_win() {
    let file = TempFile::new(
        "order",
        "[kafka]\nbrokers = \"file:1\"\ngroup = \"file\"\n[dispatch]\nslots = 1\nqueue = 1\n[sources.a]\nid = \"/a\"\n",
    );
    let settings = load(&Sources {
        file: Some(file.0.clone()),
        env: pairs(&[
            ("POSTHASTE__KAFKA__BROKERS", "env:1"),
            ("posthaste__dispatch__slots", "2"),
            ("POSTHASTE__SOURCES__A__START", "earliest"),
            ("OTHER__KAFKA__GROUP", "ignored"),
        ]),
        overrides: pairs(&[
            ("kafka.brokers", "flag:1"),
            ("sources.\"b.c\".format", "bytes"),
        ]),
    })
    .expect("valid");
    assert_eq!(settings.kafka.brokers, "flag:1");
    assert_eq!(settings.kafka.group, "file");
    assert_eq!((settings.dispatch.slots, settings.dispatch.queue), (2, 1));
    let source = settings.sources.get("a").expect("from both");
    assert_eq!(
        (source.id.as_deref(), source.start),
        (Some("/a"), Start::Earliest)
    );
    assert_eq!(
        settings.sources.get("b.c").map(|b| b.format),
        Some(Format::Bytes)
    );
}

#[test]
fn three_wrong_settings_are_named_in_one_run_with_their_places() {
    let file = TempFile::new(
        "three",
        "[kafka]\nbroker = \"x\"\n\n[retry]\ntiers = [\"5s\", \"1s\"]\n",
    );
    let faults = load(&Sources {
        file: Some(file.0.clone()),
        env: pairs(&[("POSTHASTE__DISPATCH__SLOTS", "many")]),
        overrides: pairs(&[("archive.retention", "7 weeks")]),
    })
    .expect_err("four mistakes");
    let name = file.0.display();
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "/archive/retention: `7 weeks` is not a duration; write it like `250ms`, `20s`, `5m`, `12h` or `7d` \
             (command line, archive.retention)"
                .to_owned(),
            "/dispatch/slots: found \"many\", expected a whole number (environment variable POSTHASTE__DISPATCH__SLOTS)"
                .to_owned(),
            format!(
                "/kafka/broker: there is no such field; did you mean `brokers`? ({name}, line 2)"
            ),
            format!("/retry/tiers/1: 1s is not longer than 5s before it; tiers ascend ({name}, line 5)"),
        ]
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let faults = load(&Sources {
        file: Some("/nowhere/posthaste.toml".into()),
        env: pairs(&[("POSTHASTE__TOPICS__LANES", "0")]),
        ..Sources::default()
    })
    .expect_err("no file");
    assert!(
        faults
            .iter()
            .any(|f| f.message.contains("/nowhere/posthaste.toml")),
        "{faults:?}"
    );
    assert!(
        faults.iter().any(|f| f.pointer == "/topics/lanes"),
        "{faults:?}"
    );
}

#[test]
fn times_to_start_at_may_be_written_as_toml_times() {
    let at = 1_769_846_400_000;
    for start in [
        "\"2026-01-31T08:00:00Z\"",
        "2026-01-31T08:00:00Z",
        "2026-01-31T09:00:00+01:00",
    ] {
        let settings = from_file("start", &format!("[sources.a]\nstart = {start}")).expect(start);
        assert_eq!(
            settings.sources.get("a").map(|a| a.start),
            Some(Start::At(at))
        );
    }
}

#[test]
fn the_environment_can_hold_lists_and_tables() {
    let settings = from_env(&[
        ("POSTHASTE__RETRY__TIERS", "100ms, 1s"),
        ("POSTHASTE__EGRESS__ALLOW", "[\"127.0.0.0/8\"]"),
        ("POSTHASTE__EGRESS__ALLOW_HTTP", "true"),
        (
            "POSTHASTE__SOURCES",
            "{\"Orders.v1\": {\"start\": \"earliest\"}}",
        ),
        ("POSTHASTE__SOURCES__PAID__FORMAT", "bytes"),
    ])
    .expect("valid");
    assert_eq!(
        settings.retry.tiers.first(),
        Some(&Span(std::time::Duration::from_millis(100)))
    );
    assert_eq!(settings.egress.allow, ["127.0.0.0/8"]);
    assert!(settings.egress.allow_http);
    let names: Vec<_> = settings.sources.keys().collect();
    assert_eq!(names, ["Orders.v1", "paid"]);
}

#[test]
fn variables_that_name_nothing_are_refused() {
    for (name, message) in [
        (
            "POSTHASTE__KAFKA__BROKER",
            "did you mean `brokers`? (environment variable POSTHASTE__KAFKA__BROKER)",
        ),
        ("POSTHASTE__", "`POSTHASTE__`: name it"),
        ("POSTHASTE__KAFKA____X", "name it"),
        ("POSTHASTE__KAFKA", "/kafka: this is a table"),
    ] {
        let faults = from_env(&[(name, "x")]).expect_err(name);
        assert!(faults.concat().contains(message), "{faults:?}");
    }
    let both = [
        ("POSTHASTE__KAFKA__GROUP", "a"),
        ("posthaste__kafka__group", "b"),
    ];
    let faults = from_env(&both).expect_err("two cases").concat();
    assert!(faults.contains("is set twice"), "{faults}");
    let bytes = [("POSTHASTE__KAFKA__PROPERTIES__SASL_PASSWORD", "a\u{fffd}")];
    let faults = from_env(&bytes).expect_err("not UTF-8").concat();
    assert!(
        faults.contains("is not UTF-8 text") && !faults.contains('\u{fffd}'),
        "{faults}"
    );
}

#[test]
fn checks_of_other_parts_are_reported_together() {
    let check = |settings: &Settings| {
        let fault = |(index, _)| Fault::new(format!("/egress/allow/{index}"), "wrong");
        settings
            .egress
            .allow
            .iter()
            .enumerate()
            .map(fault)
            .collect()
    };
    let sources = Sources {
        env: pairs(&[
            ("POSTHASTE__EGRESS__ALLOW", "x"),
            ("POSTHASTE__TOPICS__LANES", "0"),
        ]),
        ..Sources::default()
    };
    let faults = load_checked(&sources, &[&check]).expect_err("two mistakes");
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(
        texts
            .concat()
            .contains("/egress/allow/0: wrong (environment variable POSTHASTE__EGRESS__ALLOW)")
    );
}

proptest! {
    #[test]
    fn any_environment_is_survived(
        name in "(KAFKA|kafka|SOURCES|RETRY|[A-Z_.é]{0,6})(__[A-Za-z_.]{0,8}){0,3}",
        value in "[\\[{\"a-z0-9=:,}\\]\\\\ é]{0,12}",
    ) {
        let name = format!("POSTHASTE__{name}");
        let sources = Sources { env: vec![(name.clone(), value)], ..Sources::default() };
        if let Err(faults) = load(&sources) {
            for fault in faults {
                prop_assert!(fault.message.contains(&name), "{fault}");
            }
        }
    }

    #[test]
    fn any_file_is_survived(text in "(\\[?(kafka|retry|sources|a)(\\.(properties|a))?\\]?( ?= ?[\\[\"{0-9a]{0,4})?\n?){0,6}") {
        let faults = from_file("any", &text).err().unwrap_or_default();
        for fault in faults {
            prop_assert!(fault.contains("line"), "{fault}");
        }
    }
}
