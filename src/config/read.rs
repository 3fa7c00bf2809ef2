//! From a JSON tree to a type that derives `Deserialize`, with all mistakes of form at once.
//!
//! Serde stops at the first mistake. So the tree is read again and again, each time with the value that was wrong
//! replaced by its default or passed over, until the rest fits. Both settings and documents come in through here.
//!
//! Invariant: a fault's pointer resolves in the tree that was read, or names a field that is missing there.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::faults::{Fault, parent};
use super::node::Node;

/// So many mistakes are reported at most.
const MOST: usize = 50;

/// Reads a `T` from `value`. Where a value is wrong or missing, the one at the same place in `fallback` stands in while
/// the rest is read; the first element of a list there stands in for all elements beyond its end. Without a stand-in a
/// value is passed over.
///
/// # Errors
/// All mistakes of form, the first 50 at most.
pub fn parse_all<T: DeserializeOwned>(value: &Value, fallback: &Value) -> Result<T, Vec<Fault>> {
    let Reading { value, faults } = read(value, fallback, Vec::new());
    match value {
        Some(value) if faults.is_empty() => Ok(value),
        _ => Err(faults),
    }
}

/// What could be read of a tree.
#[derive(Debug)]
pub struct Reading<T> {
    /// The value, with stand-ins where there are faults; for rules to find more of them. `None`: nothing is left of it.
    pub value: Option<T>,
    /// The mistakes.
    pub faults: Vec<Fault>,
}

/// As [`parse_all`], and goes on from the faults `known` already: what they point at is not looked into.
#[must_use]
pub fn read<T: DeserializeOwned>(value: &Value, fallback: &Value, known: Vec<Fault>) -> Reading<T> {
    let mut repairs = Repairs {
        fallback,
        made: BTreeMap::new(),
    };
    for fault in known.iter().filter(|fault| !fault.pointer.is_empty()) {
        repairs.mend(&fault.pointer);
    }
    let mut faults = known;
    // Each round repairs one value; a value may be repaired twice before what holds it is given up.
    for _ in 0..MOST * 8 {
        let problem = match T::deserialize(Node::root(value, &repairs)) {
            Ok(value) => {
                return Reading {
                    value: Some(value),
                    faults,
                };
            }
            Err(problem) => problem.into_fault(),
        };
        let pointer = problem.pointer.clone();
        if !repairs.cover(&pointer) {
            faults.push(problem);
        }
        if faults.len() >= MOST {
            faults.push(Fault::new(
                "",
                format!("these are the first {MOST} mistakes; correct them to see the others"),
            ));
            break;
        }
        if !repairs.mend(&pointer) {
            break;
        }
    }
    Reading {
        value: None,
        faults,
    }
}

/// What is read in place of values that are wrong.
pub(super) struct Repairs<'v> {
    fallback: &'v Value,
    made: BTreeMap<String, Repair<'v>>,
}

#[derive(Clone, Copy)]
pub(super) enum Repair<'v> {
    /// This is read in its place.
    Use(&'v Value),
    /// It is passed over.
    Skip,
}

impl<'v> Repairs<'v> {
    /// The repair made at `pointer`.
    pub(super) fn at(&self, pointer: &str) -> Option<Repair<'v>> {
        self.made.get(pointer).copied()
    }

    /// What the fallback has at `pointer`. Its lists go on with their first element, so that elements are replaced and
    /// not passed over: the others keep their positions.
    fn stand_in(&self, pointer: &str) -> Option<&'v Value> {
        pointer
            .split('/')
            .skip(1)
            .try_fold(self.fallback, |value, key| match value {
                Value::Array(list) => key
                    .parse()
                    .ok()
                    .and_then(|at: usize| list.get(at))
                    .or(list.first()),
                _ => value.get(unescaped(key)),
            })
    }

    /// Repairs what is at `pointer`, or what holds it where that did not help. False: nothing is left to repair.
    fn mend(&mut self, pointer: &str) -> bool {
        let mut at = pointer;
        while let Some(holder) = parent(at) {
            let repair = match self.made.get(at) {
                None => self.stand_in(at).map_or(Repair::Skip, Repair::Use),
                Some(Repair::Use(_)) => Repair::Skip,
                Some(Repair::Skip) => {
                    at = holder;
                    continue;
                }
            };
            self.made.insert(at.to_owned(), repair);
            return true;
        }
        false
    }

    /// Whether the value at `pointer`, or one that holds it, was repaired already.
    fn cover(&self, pointer: &str) -> bool {
        let mut at = Some(pointer);
        while let Some(here) = at {
            if self.made.contains_key(here) {
                return true;
            }
            at = parent(here);
        }
        false
    }

    /// The members that stand in for ones missing in the object at `parent_pointer`.
    pub(super) fn added(&self, parent_pointer: &str) -> impl Iterator<Item = (String, &'v Value)> {
        let start = format!("{parent_pointer}/");
        let from = start.clone();
        self.made
            .range(from..)
            .take_while({
                let start = start.clone();
                move |(pointer, _)| pointer.starts_with(&start)
            })
            .filter_map(move |(pointer, repair)| match repair {
                Repair::Use(value) => {
                    let key = pointer.strip_prefix(&start)?;
                    (!key.contains('/')).then(|| (unescaped(key), *value))
                }
                Repair::Skip => None,
            })
    }
}

/// The name that a part of a JSON pointer stands for.
fn unescaped(key: &str) -> String {
    key.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        name: String,
        #[serde(default)]
        inner: Inner,
        #[serde(default)]
        list: Vec<Item>,
        #[serde(default)]
        auth: Option<Auth>,
        #[serde(default)]
        map: BTreeMap<String, u8>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        max_attempts: u32,
        share: f64,
        on: bool,
        mode: Mode,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        #[default]
        Slow,
        Fast,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Item {
        id: u8,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
    enum Auth {
        Basic { username: String },
    }

    fn faults(value: &Value) -> Vec<String> {
        let fallback = json!({"name": "x"});
        parse_all::<Outer>(value, &fallback)
            .expect_err("wrong")
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn all_mistakes_are_named_at_once_in_plain_words() {
        let value = json!({
            "inner": {"max_attempts": "many", "share": true, "on": 1, "mode": "medium", "max_atempts": 1},
            "list": [{"id": 1}, {"id": 256}, {}, 7, {"id": 1, "x": 1}],
            "map": {"a/b": -1, "fine": 1},
            "extra": null,
        });
        assert_eq!(
            faults(&value),
            [
                "/inner/max_attempts: found \"many\", expected a whole number",
                "/inner/share: found true, expected a number",
                "/inner/on: found 1, expected `true` or `false`",
                "/inner/mode: found \"medium\", expected \"slow\" or \"fast\"",
                "/inner/max_atempts: there is no such field; did you mean `max_attempts`?",
                "/list/1/id: found 256, expected a whole number from 0 to 255",
                "/list/2/id: is required",
                "/list/3: found 7, expected an object",
                "/list/4/x: there is no such field; there are: id",
                "/map/a~1b: found -1, expected a whole number from 0 to 255",
                "/extra: there is no such field; there are: name, inner, list, auth, map",
                "/name: is required",
            ]
        );
    }

    #[test]
    fn a_list_is_not_taken_for_an_object() {
        assert_eq!(
            faults(&json!({"name": "a", "inner": []})),
            ["/inner: found a list, expected an object"]
        );
        assert_eq!(
            faults(&json!([])),
            [": found a list, expected an object"].map(|m| &m[2..])
        );
    }

    #[test]
    fn values_under_secret_names_are_not_shown() {
        assert_eq!(
            faults(&json!({"name": "a", "auth": {"type": "basic", "username": 4711}})),
            ["/auth: found a number, expected a string"]
        );
        assert_eq!(
            faults(&json!({"name": "a", "auth": {"type": "hunter2"}})),
            ["/auth/type: found a string, expected \"basic\""]
        );
    }

    #[test]
    fn fields_of_tagged_objects_are_named() {
        assert_eq!(
            faults(&json!({"name": "a", "auth": {"type": "basic"}})),
            ["/auth/username: is required"]
        );
        assert_eq!(
            faults(&json!({"name": "a", "auth": {"type": "basic", "username": "u", "pass": "p"}})),
            ["/auth/pass: there is no such field; there are: username"]
        );
    }

    #[test]
    fn endless_mistakes_end() {
        let list: Vec<Value> = (0..1000).map(|_| json!({"id": "x"})).collect();
        let faults = faults(&json!({"name": "a", "list": list}));
        assert_eq!(faults.len(), MOST + 1);
    }

    #[test]
    fn known_faults_are_not_found_again() {
        let value = json!({"name": 1, "list": [{"id": "x"}]});
        let known = vec![Fault::new("/list/0", "known")];
        let reading: Reading<Outer> = read(&value, &json!({"name": "x"}), known);
        let pointers: Vec<_> = reading.faults.iter().map(|f| f.pointer.as_str()).collect();
        assert_eq!(pointers, ["/list/0", "/name"]);
        assert_eq!(reading.value.map(|outer| outer.name).as_deref(), Some("x"));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            prop::sample::select(vec!["slow", "basic", "x", ""]).prop_map(Value::from),
        ];
        let names = prop::sample::select(vec![
            "name", "inner", "list", "auth", "map", "id", "type", "username", "mode", "share", "~/",
        ]);
        leaf.prop_recursive(4, 32, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((names.clone(), inner), 0..6).prop_map(|members| {
                    let members = members.into_iter().map(|(k, v)| (k.to_owned(), v));
                    Value::Object(members.collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_fault_points_into_the_input_or_at_a_missing_member(value in any_json()) {
            let reading: Reading<Outer> = read(&value, &json!({"name": "x"}), Vec::new());
            for fault in &reading.faults {
                let missing = fault.message == "is required";
                let place = if missing { parent(&fault.pointer).unwrap_or("") } else { &fault.pointer };
                prop_assert!(value.pointer(place).is_some(), "{fault} in {value}");
            }
            let mut pointers: Vec<_> = reading.faults.iter().map(|f| &f.pointer).collect();
            pointers.sort();
            pointers.dedup();
            prop_assert_eq!(pointers.len(), reading.faults.len(), "one fault for a place");
            if value.is_object() {
                prop_assert!(reading.value.is_some());
            }
        }

        #[test]
        fn what_has_no_fault_reads_as_serde_reads_it(value in any_json()) {
            if let Ok(read) = parse_all::<Outer>(&value, &Value::Null) {
                prop_assert_eq!(read, serde_json::from_value(value).expect("serde takes it too"));
            }
        }
    }
}
