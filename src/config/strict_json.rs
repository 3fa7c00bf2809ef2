//! From bytes to a JSON tree; what serde_json would pass over in silence is a fault here.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::faults::{Fault, child};

/// Reads `bytes` as one JSON value in which objects and lists are nested at most `depth` deep.
/// Of a member that is given twice, the last one is in the tree.
///
/// # Errors
/// If it is not JSON.
pub(crate) fn tree(bytes: &[u8], depth: usize) -> Result<(Value, Vec<Fault>), Fault> {
    let faults = RefCell::new(Vec::new());
    let root = Place {
        at: String::new(),
        depth,
        faults: &faults,
    };
    let mut text = serde_json::Deserializer::from_slice(bytes);
    let value = root
        .deserialize(&mut text)
        .and_then(|value| text.end().map(|()| value))
        .map_err(|error| Fault::new("", format!("this is not JSON: {error}")))?;
    Ok((value, faults.into_inner()))
}

struct Place<'f> {
    at: String,
    depth: usize,
    faults: &'f RefCell<Vec<Fault>>,
}

impl Place<'_> {
    fn fault(&self, at: &str, message: &str) {
        self.faults.borrow_mut().push(Fault::new(at, message));
    }

    /// The place of what is inside, or `None` where that is too deep.
    fn inside(&self) -> Option<impl Fn(String) -> Self> {
        let depth = self.depth.checked_sub(1)?;
        let faults = self.faults;
        Some(move |at| Self { at, depth, faults })
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let Some(place) = self.inside() else {
            self.fault(&self.at, "is nested too deeply");
            while elements.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        };
        let mut list = Vec::new();
        while let Some(value) =
            elements.next_element_seed(place(format!("{}/{}", self.at, list.len())))?
        {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let Some(place) = self.inside() else {
            self.fault(&self.at, "is nested too deeply");
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        };
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let at = child(&self.at, &key);
            if object.contains_key(&key) {
                self.fault(&at, "is given more than once");
            }
            object.insert(key, members.next_value_seed(place(at))?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn members_given_twice_are_named() {
        let (value, faults) =
            tree(br#"{"a": 1, "b": [{"c": 1, "c": 2}], "a": 3}"#, 9).expect("JSON");
        assert_eq!(value, json!({"a": 3, "b": [{"c": 2}]}));
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/b/0/c", "/a"]);
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(tree(nested(3).as_bytes(), 3).expect("JSON").1, []);
        let (_, faults) = tree(nested(4).as_bytes(), 3).expect("JSON");
        assert_eq!(faults, [Fault::new("/0/0/0", "is nested too deeply")]);
        let (_, faults) =
            tree(nested(100_000).as_bytes(), 3).expect("passed over without recursion");
        assert_eq!(faults.len(), 1);
    }

    #[test]
    fn what_is_not_json_says_where() {
        for text in ["", "{", "{}}", "[1,]", "nul", "\u{feff}{}"] {
            let fault = tree(text.as_bytes(), 9).expect_err(text);
            assert!(fault.message.contains("line 1 column"), "{fault}");
        }
        tree(&[0xff, 0xfe], 9).expect_err("not UTF-8");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(tree(&bytes, 9).is_ok(), serde_json::from_slice::<Value>(&bytes).is_ok());
        }
    }
}
