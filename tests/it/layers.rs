//! A module imports only from lower layers; modules of one layer never import each other.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::source::{SourceFile, files, read, root};

/// The layer of each module, from the rules up to the process.
const LAYERS: [(&str, u8); 19] = [
    ("domain", 0),
    ("clock", 1),
    ("config", 1),
    ("wire", 2),
    ("egress", 2),
    ("telemetry", 2),
    ("index", 3),
    ("kafka", 3),
    ("sinks", 3),
    ("catalog", 4),
    ("dispatch", 4),
    ("admin", 5),
    ("notify", 5),
    ("replay", 5),
    ("retry", 5),
    ("router", 5),
    ("sidecar", 5),
    ("app", TOP),
    ("cli", TOP),
];

/// What composes the rest: these may also import each other.
const TOP: u8 = 6;
/// Also on top: `lib.rs`, `main.rs`, and the command to try it all.
const ALSO_TOP: [&str; 2] = ["", "dev"];

/// Fakes for tests: they may use everything, and only tests may use them.
const TESTING: &str = "testing";

fn layer(module: &str) -> Option<u8> {
    if ALSO_TOP.contains(&module) {
        return Some(TOP);
    }
    let known = LAYERS.iter().find(|(name, _)| *name == module)?;
    Some(known.1)
}

/// What counts as one module: a folder or file below `src/`; each sink is one by itself.
fn unit(path: &[String]) -> String {
    match path {
        [sinks, name, ..] if sinks == "sinks" && is_sink(name) => format!("sinks/{name}"),
        [first, ..] => first.clone(),
        [] => String::new(),
    }
}

/// Whether a folder of `src/sinks` is a sink: those in the registry. Others hold what several sinks share.
fn is_sink(name: &str) -> bool {
    static REGISTRY: LazyLock<String> = LazyLock::new(|| read("src/sinks/mod.rs"));
    REGISTRY.contains(&format!("\" {name}::")) && root().join("src/sinks").join(name).is_dir()
}

/// What is wrong with `file` importing `path`, if anything is.
fn fault(file: &SourceFile, path: &[String], in_test: bool) -> Option<String> {
    let (from, to) = (unit(&file.module), unit(path));
    let (from_top, to_top) = (
        from.split('/').next().unwrap_or_default(),
        to.split('/').next().unwrap_or_default(),
    );
    if from_top == TESTING {
        return None;
    }
    if to_top == TESTING {
        return (!in_test && !file.test).then(|| "fakes are for tests alone".to_owned());
    }
    // A sink and what all sinks share know each other; two sinks do not.
    let shares = from == to || from_top == to_top && (from == from_top || to == to_top);
    if shares {
        return None;
    }
    let Some(above) = layer(from_top) else {
        return Some(format!(
            "`{from_top}` has no layer; give it one in tests/it/layers.rs"
        ));
    };
    // An item that `lib.rs` itself holds is not a module.
    let below = layer(to_top)?;
    (below >= above && above != TOP)
        .then(|| format!("layer {above} (`{from}`) imports layer {below} (`{to}`)"))
}

fn faults(files: &[SourceFile]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for (path, token) in file.paths() {
            if let Some(fault) = fault(file, &path, token.test) {
                found.push(format!(
                    "{}:{}: crate::{}: {fault}",
                    file.path,
                    token.line,
                    path.join("::")
                ));
            }
        }
    }
    found
}

#[test]
fn modules_import_only_from_lower_layers() {
    let found = faults(&files());
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_module_has_a_layer() {
    for file in files() {
        let module = file.module.first().map_or("", String::as_str);
        assert!(
            module == TESTING || layer(module).is_some(),
            "{}: `{module}` has no layer; give it one in tests/it/layers.rs",
            file.path
        );
    }
}

#[test]
fn an_import_from_the_same_or_a_higher_layer_is_found_with_file_and_line() {
    let file = |path: &str, text: &str| SourceFile::new(path, text);
    let lines = |path, text| faults(&[file(path, text)]);
    assert_eq!(
        lines(
            "src/wire/mod.rs",
            "\nuse crate::{domain::event::Event, kafka::Client};"
        ),
        ["src/wire/mod.rs:2: crate::kafka::Client: layer 2 (`wire`) imports layer 3 (`kafka`)"]
    );
    assert_eq!(
        lines("src/egress/mod.rs", "use super::telemetry::logs;").len(),
        1
    );
    assert_eq!(
        lines("src/router/a.rs", "fn f() { crate::retry::g(); }").len(),
        1
    );
    assert_eq!(
        lines("src/dispatch/mod.rs", "use crate::testing::Broker;").len(),
        1
    );
    assert_eq!(
        lines("src/novelty/mod.rs", "use crate::domain::event;").len(),
        1
    );
    for (path, text) in [
        (
            "src/router/a.rs",
            "use crate::dispatch::x; use super::b; use crate::router::c;",
        ),
        ("src/cli.rs", "use crate::app::run;"),
        ("src/testing/broker.rs", "use crate::router::Router;"),
        (
            "src/dispatch/mod.rs",
            "#[cfg(test)] mod tests { use crate::testing::Broker; }",
        ),
    ] {
        assert_eq!(lines(path, text), Vec::<String>::new());
    }
}

/// Words that stand for IO, async, the clock, randomness or logging.
const NOT_IN_DOMAIN: [&str; 10] = [
    "async",
    "await",
    "axum",
    "rand",
    "rdkafka",
    "reqwest",
    "tokio",
    "tracing",
    "thread",
    "prometheus",
];
/// The same, as `module::item`.
const NOT_IN_DOMAIN_PATHS: [(&str, &str); 6] = [
    ("std", "env"),
    ("std", "fs"),
    ("std", "net"),
    ("std", "process"),
    ("Instant", "now"),
    ("SystemTime", "now"),
];

#[test]
fn domain_has_no_io_async_clock_randomness_or_logging() {
    for file in files().iter().filter(|file| unit(&file.module) == "domain") {
        let code: Vec<_> = file
            .tokens
            .iter()
            .filter(|token| !token.test && !file.test)
            .collect();
        for token in &code {
            assert!(
                !NOT_IN_DOMAIN.contains(&token.text.as_str()),
                "{}:{}: `{}` in domain",
                file.path,
                token.line,
                token.text
            );
        }
        for window in code.windows(3) {
            let path = (window[0].text.as_str(), window[2].text.as_str());
            assert!(
                window[1].text != "::" || !NOT_IN_DOMAIN_PATHS.contains(&path),
                "{}:{}: `{}::{}` in domain",
                file.path,
                window[0].line,
                path.0,
                path.1
            );
        }
    }
}

#[test]
fn the_environment_is_read_by_the_settings_alone() {
    for file in files() {
        if matches!(unit(&file.module).as_str(), "config" | TESTING) {
            continue;
        }
        for window in file
            .tokens
            .windows(3)
            .filter(|window| !window[0].test && !file.test)
        {
            let [env, colons, var] = window else { continue };
            assert!(
                env.text != "env"
                    || colons.text != "::"
                    || !matches!(var.text.as_str(), "var" | "vars" | "var_os" | "vars_os"),
                "{}:{}: `env::{}` outside src/config",
                file.path,
                env.line,
                var.text
            );
        }
    }
}

/// Lines of code that a file has at most; tests and comments do not count.
const FILE_LINES: usize = 400;
/// Files that are longer, and why.
const LONGER: [(&str, &str); 0] = [];

#[test]
fn no_file_is_longer_than_a_person_reads_at_once() {
    let longer: BTreeMap<&str, &str> = LONGER.into();
    let wrong: Vec<String> = files()
        .iter()
        .map(|file| (file.path.as_str(), file.code_lines()))
        .filter(|(path, lines)| (*lines > FILE_LINES) != longer.contains_key(path))
        .map(|(path, lines)| format!("{path}: {lines} lines of code"))
        .collect();
    assert!(
        wrong.is_empty(),
        "{FILE_LINES} lines are the limit; split the file, or correct the list in tests/it/layers.rs\n{}",
        wrong.join("\n")
    );
}
