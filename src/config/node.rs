//! A JSON tree as a serde deserialiser that knows where it is, and serde's errors as faults.
//!
//! Unlike serde_json's own, it takes only objects for structs, and its errors are values, not text.

use std::borrow::Cow;
use std::fmt::{self, Display};

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use super::faults::{Fault, child};
use super::read::{Repair, Repairs};
use super::words::{self, Found};

/// A mistake, as serde found it.
#[derive(Debug)]
pub(super) struct Problem {
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

    /// The mistake in words.
    pub(super) fn into_fault(self) -> Fault {
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
pub(super) struct Node<'a> {
    value: &'a Value,
    at: String,
    /// `None` within a stand-in.
    repairs: Option<&'a Repairs<'a>>,
}

impl<'a> Node<'a> {
    /// The whole of `value`, repaired.
    pub(super) fn root(value: &'a Value, repairs: &'a Repairs<'a>) -> Self {
        Self {
            value,
            at: String::new(),
            repairs: Some(repairs),
        }
    }

    /// The member or element at `at`, as it is to be read.
    fn inner(&self, at: String, value: &'a Value) -> Option<Self> {
        let made = self.repairs.and_then(|repairs| repairs.at(&at));
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
