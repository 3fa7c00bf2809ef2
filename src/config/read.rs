//! From a JSON tree to a type that derives `Deserialize`, with all mistakes of form at once.
//!
//! Serde stops at the first mistake. So the tree is read again and again, each time with the value that was wrong
//! replaced by its default or passed over, until the rest fits. Both settings and documents come in through here.
//!
//! Invariant: a fault's pointer resolves in the tree that was read, or names a field that is missing there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use super::faults::{Fault, child, parent};
use super::words::{self, Found};

/// So many mistakes are reported at most.
const MOST: usize = 50;

/// Reads a `T` from `value`. Where a value is wrong or missing, the one at the same place in `fallback` stands in while
/// the rest is read.
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
        let root = Node {
            value,
            at: String::new(),
            repairs: Some(&repairs),
        };
        let problem = match T::deserialize(root) {
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
struct Repairs<'v> {
    fallback: &'v Value,
    made: BTreeMap<String, Repair<'v>>,
}

#[derive(Clone, Copy)]
enum Repair<'v> {
    Use(&'v Value),
    Skip,
}

impl<'v> Repairs<'v> {
    /// Repairs what is at `pointer`, or what holds it where that did not help. False: nothing is left to repair.
    fn mend(&mut self, pointer: &str) -> bool {
        let mut at = pointer;
        while let Some(holder) = parent(at) {
            let repair = match self.made.get(at) {
                None => self.fallback.pointer(at).map_or(Repair::Skip, Repair::Use),
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
    fn added(&self, parent_pointer: &str) -> impl Iterator<Item = (String, &'v Value)> {
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
                    (!key.contains('/'))
                        .then(|| (key.replace("~1", "/").replace("~0", "~"), *value))
                }
                Repair::Skip => None,
            })
    }
}

/// A mistake, as serde found it.
#[derive(Debug)]
struct Problem {
    /// Where; `None` until the innermost list or object that holds it has added it.
    at: Option<String>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Mismatch {
        found: Found,
        expected: String,
    },
    UnknownField {
        name: String,
        known: &'static [&'static str],
        /// Whether `at` is the field itself, not the object.
        located: bool,
    },
    Missing(&'static str),
    Said(String),
}

impl Problem {
    fn of(kind: Kind) -> Self {
        Self { at: None, kind }
    }

    fn at(mut self, pointer: &str) -> Self {
        self.at.get_or_insert_with(|| pointer.to_owned());
        self
    }

    /// Adds the place of a field whose name is not allowed.
    fn at_field(mut self, pointer: &str) -> Self {
        if let Kind::UnknownField { located, .. } = &mut self.kind {
            *located = true;
        }
        self.at(pointer)
    }

    fn into_fault(self) -> Fault {
        let at = self.at.unwrap_or_default();
        match self.kind {
            Kind::Mismatch { found, expected } => {
                let shown = if words::may_be_secret(&at) {
                    found.kind
                } else {
                    found.value.as_str()
                };
                Fault::new(at.as_str(), format!("found {shown}, expected {expected}"))
            }
            Kind::UnknownField {
                name,
                known,
                located,
            } => {
                let pointer = if located { at } else { child(&at, &name) };
                Fault::new(pointer, words::unknown_field(&name, known))
            }
            Kind::Missing(name) => Fault::new(child(&at, name), "is required"),
            Kind::Said(message) => Fault::new(at, message),
        }
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<M: Display>(message: M) -> Self {
        Self::of(Kind::Said(message.to_string()))
    }

    fn invalid_type(unexpected: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        let found = Found::new(&unexpected);
        let expected = words::expected(&wanted.to_string(), &found);
        Self::of(Kind::Mismatch { found, expected })
    }

    fn invalid_value(unexpected: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, wanted)
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::of(Kind::Mismatch {
            found: Found::new(&Unexpected::Str(variant)),
            expected: words::one_of(known),
        })
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::of(Kind::UnknownField {
            name: name.to_owned(),
            known,
            located: false,
        })
    }

    fn missing_field(name: &'static str) -> Self {
        Self::of(Kind::Missing(name))
    }
}

/// One value of the tree, and where it stands.
struct Node<'a> {
    value: &'a Value,
    at: String,
    /// `None` within a stand-in.
    repairs: Option<&'a Repairs<'a>>,
}

impl<'a> Node<'a> {
    /// The member or element at `at`, as it is to be read.
    fn inner(&self, at: String, value: &'a Value) -> Option<Self> {
        let made = self.repairs.and_then(|repairs| repairs.made.get(&at));
        match made {
            None => Some(Self {
                value,
                at,
                repairs: self.repairs,
            }),
            Some(Repair::Use(value)) => Some(Self {
                value,
                at,
                repairs: None,
            }),
            Some(Repair::Skip) => None,
        }
    }

    fn elements(&self) -> Option<Elements<'a>> {
        let elements: Vec<Self> = self
            .value
            .as_array()?
            .iter()
            .enumerate()
            .filter_map(|(index, value)| self.inner(format!("{}/{index}", self.at), value))
            .collect();
        Some(Elements(elements.into_iter()))
    }

    fn members(&self) -> Option<Members<'a>> {
        let object = self.value.as_object()?;
        let mut members: Vec<(Cow<'a, str>, Self)> = object
            .iter()
            .filter_map(|(key, value)| {
                let inner = self.inner(child(&self.at, key), value)?;
                Some((Cow::Borrowed(key.as_str()), inner))
            })
            .collect();
        for (key, value) in self.repairs.iter().flat_map(|made| made.added(&self.at)) {
            if !object.contains_key(&key) {
                let at = child(&self.at, &key);
                let stand_in = Self {
                    value,
                    at,
                    repairs: None,
                };
                members.push((Cow::Owned(key), stand_in));
            }
        }
        Some(Members {
            left: members.into_iter(),
            current: None,
        })
    }

    fn unexpected(&self) -> Unexpected<'a> {
        match self.value {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => Unexpected::Unsigned(value),
                (_, Some(value)) => Unexpected::Signed(value),
                _ => Unexpected::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Unexpected::Str(text),
            Value::Array(_) => Unexpected::Seq,
            Value::Object(_) => Unexpected::Map,
        }
    }
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let at = self.at.clone();
        let result = match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => visitor.visit_u64(value),
                (_, Some(value)) => visitor.visit_i64(value),
                _ => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(_) => match self.elements() {
                Some(elements) => visitor.visit_seq(elements),
                None => visitor.visit_unit(),
            },
            Value::Object(_) => match self.members() {
                Some(members) => visitor.visit_map(members),
                None => visitor.visit_unit(),
            },
        };
        result.map_err(|problem| problem.at(&at))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if self.value.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    // Serde would also take a list of the members' values.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let at = self.at.clone();
        match self.members() {
            Some(members) => visitor.visit_map(members),
            None => Err(de::Error::invalid_type(self.unexpected(), &"an object")),
        }
        .map_err(|problem| problem.at(&at))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let at = self.at.clone();
        match (self.value, self.members()) {
            (Value::String(name), _) => {
                let name: StrDeserializer<'_, Problem> = name.as_str().into_deserializer();
                visitor.visit_enum(name)
            }
            (_, Some(members)) => visitor.visit_enum(MapAccessDeserializer::new(members)),
            _ => {
                let expected = words::one_of(variants);
                Err(de::Error::invalid_type(
                    self.unexpected(),
                    &expected.as_str(),
                ))
            }
        }
        .map_err(|problem| problem.at(&at))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct Elements<'a>(std::vec::IntoIter<Node<'a>>);

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        self.0.next().map(|node| located(seed, node)).transpose()
    }
}

struct Members<'a> {
    left: std::vec::IntoIter<(Cow<'a, str>, Node<'a>)>,
    current: Option<Node<'a>>,
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        let Some((key, node)) = self.left.next() else {
            return Ok(None);
        };
        let name: StrDeserializer<'_, Problem> = key.as_ref().into_deserializer();
        let key = seed
            .deserialize(name)
            .map_err(|problem| problem.at_field(&node.at))?;
        self.current = Some(node);
        Ok(Some(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        match self.current.take() {
            Some(node) => located(seed, node),
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
    }
}

/// Reads `node`; whatever is wrong within is at least known to be there.
fn located<'de, S: DeserializeSeed<'de>>(seed: S, node: Node<'de>) -> Result<S::Value, Problem> {
    let at = node.at.clone();
    seed.deserialize(node).map_err(|problem| problem.at(&at))
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
