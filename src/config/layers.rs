//! The sources of settings as trees of JSON values: the file, the environment, the command line, one over the other.
//!
//! Invariant: every value that a user wrote has an origin, so that a fault can say where it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::env;
use super::faults::{Fault, child, parent};
use super::words;

/// One source of settings, or several merged.
#[derive(Debug)]
pub(super) struct Layer {
    /// A tree of tables.
    pub(super) tree: Value,
    /// JSON pointer to where it was written, in words.
    pub(super) origins: BTreeMap<String, String>,
    /// What is wrong with it, with origins.
    pub(super) faults: Vec<Fault>,
}

impl Layer {
    pub(super) fn empty() -> Self {
        Self {
            tree: Value::Object(Map::new()),
            origins: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// What `text` says, in TOML. `name`: where it comes from; `None`: nobody needs to know.
    pub(super) fn of_toml(text: &str, name: Option<&str>) -> Self {
        let mut layer = Self::empty();
        let mut wrong_lines = layer.syntax_faults(text, name);
        if wrong_lines.is_empty() {
            layer.fill(text, name);
            return layer;
        }
        // The parser gives up at some mistakes; without their lines it sees what comes after them.
        let blanked: Vec<&str> = text
            .lines()
            .enumerate()
            .map(|(index, line)| {
                if wrong_lines.contains(&(index + 1)) {
                    ""
                } else {
                    line
                }
            })
            .collect();
        let blanked = blanked.join("\n");
        let mut rest = Self::empty();
        let more = rest.syntax_faults(&blanked, name);
        for (line, fault) in more.into_iter().zip(rest.faults) {
            if !wrong_lines.contains(&line) {
                wrong_lines.push(line);
                layer.faults.push(fault);
            }
        }
        layer.fill(&blanked, name);
        layer
    }

    /// Adds a fault for each mistake of syntax in `text` and returns their lines.
    fn syntax_faults(&mut self, text: &str, name: Option<&str>) -> Vec<usize> {
        let (_, errors) = DeTable::parse_recoverable(text);
        let mut lines = Vec::new();
        for error in errors {
            let line = line(text, error.span().map_or(0, |span| span.start));
            let message = error.message().lines().next().unwrap_or("wrong syntax");
            let place = place(name.unwrap_or("text"), line);
            lines.push(line);
            let fault = Fault::new("", format!("this is not TOML: {message} ({place})"));
            self.faults.push(fault);
        }
        lines
    }

    /// Takes the tree from `text`, as far as it can be read.
    fn fill(&mut self, text: &str, name: Option<&str>) {
        let (table, _) = DeTable::parse_recoverable(text);
        let origins = &mut self.origins;
        self.tree = table_value(table.get_ref(), "", &mut |pointer, start| {
            if let Some(name) = name {
                origins.insert(pointer, place(name, line(text, start)));
            }
        });
    }

    /// The settings file at `path`.
    pub(super) fn of_file(path: &Path) -> Self {
        let name = path.display().to_string();
        match std::fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => Self::of_toml(&text, Some(&name)),
            Ok(Err(_)) => Self::fault_alone(format!("`{name}` is not UTF-8 text")),
            Err(error) => Self::fault_alone(format!("cannot read `{name}`: {error}")),
        }
    }

    /// The environment's variables that start with `POSTHASTE__`.
    pub(super) fn of_environment(variables: &[(String, String)], defaults: &Value) -> Self {
        let mut layer = Self::empty();
        let mut seen = BTreeSet::new();
        let mut named: Vec<_> = variables
            .iter()
            .filter_map(|(name, value)| Some((env::path(name)?, name, value)))
            .collect();
        // A variable for a whole table comes before those for single keys of it.
        named.sort_by_key(|(path, name, _)| (path.len(), *name));
        for (path, name, value) in named {
            if path.iter().any(String::is_empty) {
                let message = "name it POSTHASTE__SECTION__KEY, like POSTHASTE__KAFKA__BROKERS";
                layer
                    .faults
                    .push(Fault::new("", format!("`{name}`: {message}")));
            } else if value.contains(char::REPLACEMENT_CHARACTER) {
                let message = format!("`{name}` is not UTF-8 text");
                layer.faults.push(Fault::new("", message));
            } else if seen.insert(path.clone()) {
                let origin = format!("environment variable {name}");
                layer.merge(Self::of_one(&path, value, &origin, defaults));
            } else {
                let message = format!("`{name}` is set twice, in different case");
                layer.faults.push(Fault::new("", message));
            }
        }
        layer
    }

    /// Dotted keys and their values, as the command line gives them; of one that is given twice the last one counts.
    pub(super) fn of_overrides(overrides: &[(String, String)], defaults: &Value) -> Self {
        let mut layer = Self::empty();
        for (key, value) in overrides {
            match dotted(key) {
                Some(path) => {
                    let origin = format!("command line, {key}");
                    layer.merge(Self::of_one(&path, value, &origin, defaults));
                }
                None => {
                    let message = "write it like `kafka.brokers` or `sources.\"orders.v1\".start`";
                    let key = words::quoted(key);
                    layer.faults.push(Fault::new(
                        "",
                        format!("{key} is not a key; {message} (command line)"),
                    ));
                }
            }
        }
        layer
    }

    fn of_one(path: &[String], text: &str, origin: &str, defaults: &Value) -> Self {
        let mut layer = Self::empty();
        let pointer = path.iter().fold(String::new(), |at, key| child(&at, key));
        let value = typed(&pointer, text, defaults.pointer(&pointer));
        layer.tree = path.iter().rev().fold(value, |inner, key| {
            Value::Object(Map::from_iter([(key.clone(), inner)]))
        });
        layer.origins.insert(pointer, origin.to_owned());
        layer
    }

    fn fault_alone(message: String) -> Self {
        let mut layer = Self::empty();
        layer.faults.push(Fault::new("", message));
        layer
    }

    /// Puts `upper` over this.
    pub(super) fn merge(&mut self, upper: Self) {
        let mut misplaced = Vec::new();
        put_over(&mut self.tree, upper.tree, "", &mut misplaced);
        self.faults.extend(upper.faults);
        for pointer in misplaced {
            let fault = Fault::new(pointer, "this is a table; set its keys");
            self.faults.push(with_origin(fault, &upper.origins));
        }
        self.origins.extend(upper.origins);
    }

    /// Adds to a message where the value that it speaks of was written.
    pub(super) fn with_origin(&self, fault: Fault) -> Fault {
        with_origin(fault, &self.origins)
    }
}

fn with_origin(mut fault: Fault, origins: &BTreeMap<String, String>) -> Fault {
    if let Some(origin) = origin(&fault.pointer, origins) {
        fault.message = format!("{} ({origin})", fault.message);
    }
    fault
}

/// Where the value at `pointer` was written: as a whole, else the first of its parts, else as part of another.
fn origin<'o>(pointer: &str, origins: &'o BTreeMap<String, String>) -> Option<&'o str> {
    if pointer.is_empty() {
        return None;
    }
    let below = format!("{pointer}/");
    let part = || {
        let (found, origin) = origins.range(below.clone()..).next()?;
        found.starts_with(&below).then_some(origin)
    };
    let whole =
        || std::iter::successors(parent(pointer), |at| parent(at)).find_map(|at| origins.get(at));
    origins
        .get(pointer)
        .or_else(part)
        .or_else(whole)
        .map(String::as_str)
}

/// Tables are merged; anything else replaces, but never a table.
fn put_over(lower: &mut Value, upper: Value, at: &str, misplaced: &mut Vec<String>) {
    match (lower, upper) {
        (Value::Object(lower), Value::Object(upper)) => {
            for (key, value) in upper {
                let pointer = child(at, &key);
                match lower.get_mut(&key) {
                    Some(below) => put_over(below, value, &pointer, misplaced),
                    None => {
                        lower.insert(key, value);
                    }
                }
            }
        }
        (Value::Object(_), _) => misplaced.push(at.to_owned()),
        (lower, upper) => *lower = upper,
    }
}

/// The value that `text` stands for where a value like `default` is expected.
fn typed(pointer: &str, text: &str, default: Option<&Value>) -> Value {
    let as_text = || Value::String(text.to_owned());
    let below_properties = parent(pointer) == Some(super::properties::POINTER);
    match default {
        _ if below_properties => as_text(),
        Some(Value::Bool(_)) => text
            .parse()
            .map_or_else(|_not_a_boolean| as_text(), Value::Bool),
        Some(Value::Number(_)) => text
            .parse()
            .map_or_else(|_not_a_number| as_text(), Value::Number),
        Some(Value::Array(_)) if !text.trim_start().starts_with('[') => text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(Value::from)
            .collect(),
        Some(Value::Array(_) | Value::Object(_)) => literal(text).unwrap_or_else(as_text),
        None if text.trim_start().starts_with(['{', '[']) => literal(text).unwrap_or_else(as_text),
        _ => as_text(),
    }
}

/// A value written as JSON or TOML.
fn literal(text: &str) -> Option<Value> {
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    let value = DeValue::parse(text.trim()).ok()?;
    Some(toml_value(value.get_ref(), "", &mut |_, _| {}))
}

/// Splits a dotted key; parts in double quotes may hold dots.
fn dotted(key: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = key;
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        if part.is_empty() || part.contains('"') {
            return None;
        }
        parts.push(part.to_owned());
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(parts),
            None => return None,
        }
    }
}

/// Calls `visit` for each key with its JSON pointer and the position of its name in the text.
fn table_value(table: &DeTable<'_>, at: &str, visit: &mut dyn FnMut(String, usize)) -> Value {
    let members = table
        .iter()
        .map(|(key, value): (&Spanned<_>, &Spanned<_>)| {
            let name = key.get_ref().to_string();
            let pointer = child(at, &name);
            visit(pointer.clone(), key.span().start);
            (name, toml_value(value.get_ref(), &pointer, visit))
        });
    Value::Object(members.collect())
}

fn toml_value(value: &DeValue<'_>, at: &str, visit: &mut dyn FnMut(String, usize)) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_too_large| Value::from(number.as_str()), Value::from),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .ok()
            .and_then(Number::from_f64)
            .map_or_else(|| Value::from(number.as_str()), Value::Number),
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Array(list) => list
            .iter()
            .map(|element| toml_value(element.get_ref(), at, &mut |_, _| {}))
            .collect(),
        DeValue::Table(table) => table_value(table, at, visit),
    }
}

/// The line, from 1, of the byte at `position`.
fn line(text: &str, position: usize) -> usize {
    1 + text
        .bytes()
        .take(position)
        .filter(|byte| *byte == b'\n')
        .count()
}

fn place(name: &str, line: usize) -> String {
    format!("{name}, line {line}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn toml_keeps_where_each_key_stands() {
        let text =
            "[a]\nb = 1\n\n[c.d]\ne = [\n  2026-01-31T08:00:00Z,\n]\n\"x/y\" = { z = 0x10 }\n";
        let layer = Layer::of_toml(text, Some("f.toml"));
        assert_eq!(layer.faults, []);
        assert_eq!(
            layer.tree,
            json!({"a": {"b": 1}, "c": {"d": {"e": ["2026-01-31T08:00:00Z"], "x/y": {"z": 16}}}})
        );
        let of = |pointer: &str| layer.origins.get(pointer).map(String::as_str);
        assert_eq!(of("/a/b"), Some("f.toml, line 2"));
        assert_eq!(of("/c/d/e"), Some("f.toml, line 5"));
        assert_eq!(of("/c/d/x~1y/z"), Some("f.toml, line 8"));
    }

    #[test]
    fn several_mistakes_of_syntax_are_named_with_their_lines() {
        let layer = Layer::of_toml("[a]\nb 1\nc = 2\nd = \nc = 3\n", Some("f.toml"));
        let lines: Vec<_> = layer.faults.iter().map(|f| f.message.as_str()).collect();
        for line in ["line 2", "line 4", "line 5"] {
            assert!(lines.iter().any(|found| found.contains(line)), "{lines:?}");
        }
    }

    #[test]
    fn dotted_keys_may_be_quoted() {
        for (key, parts) in [
            ("kafka.brokers", Some(vec!["kafka", "brokers"])),
            (
                "sources.\"a.b\".start",
                Some(vec!["sources", "a.b", "start"]),
            ),
            ("a", Some(vec!["a"])),
            ("", None),
            ("a.", None),
            (".a", None),
            ("a..b", None),
            ("a.\"b", None),
            ("a.\"b\"c", None),
            ("a\"b", None),
        ] {
            let parts = parts.map(|parts| parts.into_iter().map(str::to_owned).collect());
            assert_eq!(dotted(key), parts, "{key}");
        }
    }

    #[test]
    fn texts_become_what_their_place_asks_for() {
        for (text, default, value) in [
            ("8", json!(1), json!(8)),
            ("many", json!(1), json!("many")),
            ("8", json!("x"), json!("8")),
            ("true", json!(false), json!(true)),
            ("yes", json!(false), json!("yes")),
            ("a, b", json!([]), json!(["a", "b"])),
            ("", json!([]), json!([])),
            ("[\"a\"]", json!([]), json!(["a"])),
            ("['a', ]", json!([]), json!(["a"])),
            ("{a = 1}", json!({}), json!({"a": 1})),
            ("{\"a\": 1}", json!({}), json!({"a": 1})),
            ("a", json!({}), json!("a")),
        ] {
            assert_eq!(typed("/x", text, Some(&default)), value, "{text}");
        }
    }
}
