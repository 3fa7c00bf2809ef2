//! Finds a few JSON pointers in a body in one pass, without building a tree and without copying.
//!
//! Takes the body's bytes and returns the JSON text that stands at each pointer. What no pointer leads to is only
//! skipped: its syntax is checked, its content is not looked at.
//!
//! Pointers are those of [RFC 6901](https://www.rfc-editor.org/rfc/rfc6901).
//!
//! Invariant: where a name stands twice in an object, the last one counts, as for every tree-building parser in use here.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// How many pointers are told apart at most.
pub(super) const SLOTS: usize = 8;

/// A set of pointers, one bit for each.
pub(super) type Slots = u8;

/// The JSON text found for each pointer.
pub(super) type Found<'a> = [Option<&'a str>; SLOTS];

/// Returns the set that holds only `slot`.
pub(super) fn only(slot: usize) -> Slots {
    1 << slot
}

/// The pointers of one source, merged into a tree.
#[derive(Debug, Default)]
pub(super) struct Pointers {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    /// The name in an object, unescaped.
    name: String,
    /// The same as a place in an array, if it can be one.
    index: Option<usize>,
    /// The pointers that end here.
    ending: Slots,
    /// The pointers that end here or deeper.
    within: Slots,
    children: Vec<Node>,
}

impl Pointers {
    /// Adds `pointer` under the number `slot`, below [`SLOTS`]. One that is neither empty nor begins with a slash is
    /// never found.
    pub(super) fn add(&mut self, slot: usize, pointer: &str) {
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return;
        }
        let mut node = &mut self.root;
        node.within |= only(slot);
        for segment in pointer.split('/').skip(1) {
            node = node.child(&segment.replace("~1", "/").replace("~0", "~"));
            node.within |= only(slot);
        }
        node.ending |= only(slot);
    }

    /// Looks for the pointers in `wanted`.
    ///
    /// # Errors
    /// If the body is not one JSON value.
    pub(super) fn find<'a>(
        &self,
        body: &'a [u8],
        wanted: Slots,
    ) -> Result<Found<'a>, serde_json::Error> {
        let mut found = Found::default();
        let mut json = serde_json::Deserializer::from_slice(body);
        Walk {
            node: &self.root,
            wanted,
            found: &mut found,
        }
        .deserialize(&mut json)?;
        json.end()?;
        Ok(found)
    }
}

impl Node {
    fn child(&mut self, name: &str) -> &mut Node {
        let at = self
            .children
            .iter()
            .position(|child| child.name == name)
            .unwrap_or_else(|| {
                self.children.push(Node {
                    name: name.to_owned(),
                    index: array_index(name),
                    ..Node::default()
                });
                self.children.len() - 1
            });
        self.children
            .get_mut(at)
            .expect("found or just pushed at this place")
    }
}

/// Digits without a leading zero.
fn array_index(segment: &str) -> Option<usize> {
    let plain = segment == "0" || !segment.starts_with(['0', '+']);
    segment.parse().ok().filter(|_| plain)
}

/// Walks the value that belongs to `node`.
struct Walk<'n, 'f, 'a> {
    node: &'n Node,
    wanted: Slots,
    found: &'f mut Found<'a>,
}

impl<'a> Walk<'_, '_, 'a> {
    fn set(&mut self, slots: Slots, text: Option<&'a str>) {
        for (slot, found) in self.found.iter_mut().enumerate() {
            if slots & only(slot) != 0 {
                *found = text;
            }
        }
    }
}

impl<'a> DeserializeSeed<'a> for Walk<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(mut self, json: D) -> Result<(), D::Error> {
        let ending = self.node.ending & self.wanted;
        if ending != 0 {
            // A pointer that leads on from here cannot be found beside one that ends in a string or number here.
            let value = <&RawValue as serde::Deserialize>::deserialize(json)?;
            self.set(ending, Some(value.get()));
            Ok(())
        } else if self.node.within & self.wanted == 0 {
            json.deserialize_ignored_any(IgnoredAny).map(drop)
        } else {
            json.deserialize_any(self)
        }
    }
}

impl<'a> Visitor<'a> for Walk<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<M: MapAccess<'a>>(mut self, mut object: M) -> Result<(), M::Error> {
        while let Some(child) = object.next_key_seed(Name(self.node))? {
            match child {
                Some(node) => {
                    self.set(node.within, None);
                    object.next_value_seed(Walk {
                        node,
                        wanted: self.wanted,
                        found: &mut *self.found,
                    })?;
                }
                None => {
                    object.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut array: S) -> Result<(), S::Error> {
        for at in 0_usize.. {
            let child = self
                .node
                .children
                .iter()
                .find(|child| child.index == Some(at));
            let more = match child {
                Some(node) => array.next_element_seed(Walk {
                    node,
                    wanted: self.wanted,
                    found: &mut *self.found,
                })?,
                None => array.next_element::<IgnoredAny>()?.map(drop),
            };
            if more.is_none() {
                break;
            }
        }
        Ok(())
    }

    // Nothing can stand below these.
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Reads a name in an object and tells which child of the node it belongs to.
struct Name<'n>(&'n Node);

impl<'a, 'n> DeserializeSeed<'a> for Name<'n> {
    type Value = Option<&'n Node>;

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'n> Visitor<'_> for Name<'n> {
    type Value = Option<&'n Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.children.iter().find(|child| child.name == name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn find<'a>(pointers: &[&str], body: &'a str) -> Vec<Option<&'a str>> {
        let mut set = Pointers::default();
        for (slot, pointer) in pointers.iter().enumerate() {
            set.add(slot, pointer);
        }
        let mut found = set.find(body.as_bytes(), Slots::MAX).expect(body).to_vec();
        found.truncate(pointers.len());
        found
    }

    #[test]
    fn pointers_are_found_in_one_pass_as_they_are_written() {
        let body = r#" {"a": {"b": [1, {"c~d": "x"}], "e/f": -1.50e3}, "": null, "é": "\u00e9", "z": [[]]} "#;
        for (pointer, expected) in [
            ("/a/b/0", Some("1")),
            ("/a/b/1/c~0d", Some(r#""x""#)),
            ("/a/e~1f", Some("-1.50e3")),
            ("/", Some("null")),
            ("/é", Some(r#""\u00e9""#)),
            ("/z", Some("[[]]")),
            ("/z/0", Some("[]")),
            ("/z/0/0", None),
            ("/a/b/2", None),
            ("/a/b/00", None),
            ("/a/b/-", None),
            ("/a/x", None),
            ("/a/e~1f/x", None),
            ("a", None),
        ] {
            assert_eq!(find(&[pointer], body), [expected], "{pointer}");
        }
        assert_eq!(
            find(&["/a/b/0", "/", "/a/e~1f"], body),
            [Some("1"), Some("null"), Some("-1.50e3")]
        );
        assert_eq!(find(&[""], r#""whole""#), [Some(r#""whole""#)]);
    }

    #[test]
    fn the_last_of_two_equal_names_counts() {
        assert_eq!(find(&["/a"], r#"{"a":1,"a":2}"#), [Some("2")]);
        assert_eq!(find(&["/a/b"], r#"{"a":{"b":1},"a":{}}"#), [None]);
        assert_eq!(find(&["/a/b"], r#"{"a":{"b":1},"a":7}"#), [None]);
    }

    #[test]
    fn what_is_not_one_json_value_is_an_error() {
        let mut set = Pointers::default();
        set.add(0, "/a");
        for body in [
            &b""[..],
            b"{",
            b"{\"a\":1",
            b"{\"a\":1}}",
            b"{\"a\":1} x",
            b"{a:1}",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            b"{\"b\":\"\n\"}",
        ] {
            assert!(set.find(body, only(0)).is_err(), "{body:?}");
        }
    }

    #[test]
    fn what_is_not_wanted_is_not_looked_at() {
        let mut set = Pointers::default();
        set.add(0, "/a");
        set.add(1, "/b");
        let found = set
            .find(b"{\"a\":\"\xff\",\"b\":1,\"c\":\"\xff\"}", only(1))
            .expect("only /b is wanted");
        assert_eq!((found[0], found[1]), (None, Some("1")));
    }

    #[test]
    fn deep_nesting_beside_the_pointer_is_skipped() {
        let body = format!(
            r#"{{"x":{}{},"a":1}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert_eq!(find(&["/a"], &body), [Some("1")]);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c~/\"]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c0~/]{0,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_pointer_finds_what_a_tree_would_give(
            body in any_json(),
            pointer in prop::collection::vec("[a-c0-2]{0,2}|~0|~1", 0..4)
                .prop_map(|segments| segments.iter().map(|s| format!("/{s}")).collect::<String>()),
        ) {
            let text = body.to_string();
            let found = find(&[&pointer], &text)[0]
                .map(|json| serde_json::from_str::<Value>(json).expect("a part of valid JSON"));
            prop_assert_eq!(found.as_ref(), body.pointer(&pointer));
        }
    }
}
