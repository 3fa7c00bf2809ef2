//! JSON as filters see it: one flat list of values in the order of the text.
//!
//! A text comes from an event or from a filter's rule; the evaluator and the dialects walk over its [`Item`]s. Of an
//! event, an index keeps only what some filter asks for.
//!
//! Invariant: nothing is rounded, merged or reordered: a number keeps its literal beside its `f64`, an object keeps a
//! member that is given twice. Neither reading nor walking recurses deeper than [`MAX_DEPTH`].

mod object;
mod parser;

use std::borrow::Cow;
use std::fmt;

pub use object::Object;
pub(super) use parser::Guide;
use parser::{Everything, Parser};

/// The deepest nesting of arrays and objects.
pub const MAX_DEPTH: usize = 256;

/// A text that is not JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not JSON: {expected} expected at byte {at}")]
pub struct Malformed {
    /// What should stand there.
    pub expected: &'static str,
    /// Bytes before it.
    pub at: usize,
}

/// A number as it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Number<'t> {
    /// The text.
    pub literal: Cow<'t, str>,
    /// The nearest `f64`; infinite if it is too large.
    pub float: f64,
}

/// A value without what is inside it.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind<'t> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number<'t>),
    /// A string, its escapes resolved.
    Text(Cow<'t, str>),
    /// `[…]`.
    Array,
    /// `{…}`.
    Object,
}

impl Kind<'_> {
    /// Whether nothing can be inside it.
    #[must_use]
    pub fn is_scalar(&self) -> bool {
        !matches!(self, Self::Array | Self::Object)
    }

    /// What to call it in a message.
    #[must_use]
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

#[derive(Debug, Clone)]
struct Node<'t> {
    name: Option<Cow<'t, str>>,
    kind: Kind<'t>,
    /// The index of the first node behind this one and all that is inside it.
    end: usize,
}

/// A parsed text.
#[derive(Debug, Clone)]
pub struct Document<'t> {
    nodes: Vec<Node<'t>>,
}

impl<'t> Document<'t> {
    /// Reads `bytes` as one JSON value.
    ///
    /// A surrogate escape without its other half becomes U+FFFD.
    ///
    /// # Errors
    /// If it is not JSON (RFC 8259) in UTF-8, or nested deeper than [`MAX_DEPTH`].
    pub fn parse(bytes: &'t [u8]) -> Result<Self, Malformed> {
        Self::guided(bytes, &mut Everything)
    }

    /// Reads `bytes` likewise, but keeps only what the guide wants.
    pub(super) fn guided<G: Guide>(bytes: &'t [u8], guide: &mut G) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(bytes).map_err(|error| Malformed {
            expected: "UTF-8",
            at: error.valid_up_to(),
        })?;
        let nodes = Parser::new(text, guide).document()?;
        Ok(Self { nodes })
    }

    /// The outermost value.
    #[must_use]
    pub fn root(&self) -> Item<'_> {
        Item {
            nodes: &self.nodes,
            at: 0,
        }
    }
}

/// One value of a document.
#[derive(Debug, Clone, Copy)]
pub struct Item<'d> {
    nodes: &'d [Node<'d>],
    at: usize,
}

impl<'d> Item<'d> {
    /// A `null` of no document.
    #[must_use]
    pub fn null() -> Self {
        Self { nodes: &[], at: 0 }
    }

    /// What it is.
    #[must_use]
    pub fn kind(self) -> &'d Kind<'d> {
        self.nodes
            .get(self.at)
            .map_or(&Kind::Null, |node| &node.kind)
    }

    /// The name that it has in its object.
    #[must_use]
    pub fn name(self) -> Option<&'d str> {
        self.nodes.get(self.at)?.name.as_deref()
    }

    /// Elements of an array or members of an object in their order; nothing for others.
    pub fn children(self) -> impl Iterator<Item = Item<'d>> {
        let end = self.nodes.get(self.at).map_or(0, |node| node.end);
        let mut at = self.at + 1;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let child = Item {
                nodes: self.nodes,
                at,
            };
            at = self.nodes.get(at)?.end;
            Some(child)
        })
    }

    /// The last member with this name: what JavaScript keeps.
    #[must_use]
    pub fn member(self, name: &str) -> Option<Item<'d>> {
        if !matches!(self.kind(), Kind::Object) {
            return None;
        }
        self.children()
            .filter(|child| child.name() == Some(name))
            .last()
    }

    /// Its text, if it is a string.
    #[must_use]
    pub fn text(self) -> Option<&'d str> {
        match self.kind() {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Values in it, itself included.
    #[must_use]
    pub fn size(self) -> usize {
        self.nodes.get(self.at).map_or(0, |node| node.end - self.at)
    }

    /// A copy that stands by itself.
    #[must_use]
    pub fn to_document(self) -> Document<'static> {
        let owned = |text: &Cow<'_, str>| Cow::Owned(text.clone().into_owned());
        let nodes = self.nodes.iter().skip(self.at).take(self.size());
        let nodes = nodes.enumerate().map(|(index, node)| Node {
            name: node.name.as_ref().filter(|_| index > 0).map(owned),
            end: node.end - self.at,
            kind: match &node.kind {
                Kind::Null => Kind::Null,
                Kind::Bool(bool) => Kind::Bool(*bool),
                Kind::Number(number) => Kind::Number(Number {
                    literal: owned(&number.literal),
                    float: number.float,
                }),
                Kind::Text(text) => Kind::Text(owned(text)),
                Kind::Array => Kind::Array,
                Kind::Object => Kind::Object,
            },
        });
        Document {
            nodes: nodes.collect(),
        }
    }
}

/// Writes it as JSON, without blanks, as it was.
impl fmt::Display for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            Kind::Null => f.write_str("null"),
            Kind::Bool(bool) => write!(f, "{bool}"),
            Kind::Number(number) => f.write_str(&number.literal),
            Kind::Text(text) => write!(f, "{}", serde_json::Value::from(text.as_ref())),
            kind => {
                let (open, close) = match kind {
                    Kind::Object => ('{', '}'),
                    _ => ('[', ']'),
                };
                write!(f, "{open}")?;
                for (index, child) in self.children().enumerate() {
                    if index > 0 {
                        f.write_str(",")?;
                    }
                    if let Some(name) = child.name() {
                        write!(f, "{}:", serde_json::Value::from(name))?;
                    }
                    write!(f, "{child}")?;
                }
                write!(f, "{close}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        let document = Document::parse(text.as_bytes()).expect(text);
        document.root().to_string()
    }

    #[test]
    fn a_text_is_shown_as_it_was_with_order_twins_and_literals() {
        for text in [
            "null",
            r#"{"b":1,"a":[true,false,{}],"b":[],"":""}"#,
            "[12345678901234567890123,0.10,-0,1E+400,3.0e2]",
            r#""é\n\"""#,
        ] {
            assert_eq!(shown(text), text);
        }
        assert_eq!(shown(" [ 1 , { \"a\" : null } ] "), r#"[1,{"a":null}]"#);
        assert_eq!(shown(r#""\u00e9\ud83d\ude00\/""#), r#""é😀/""#);
        assert_eq!(shown(r#""\ud800x\ud800\u0041""#), "\"\u{fffd}x\u{fffd}A\"");
    }

    #[test]
    fn what_is_not_json_says_what_is_expected_where() {
        for (text, expected, at) in [
            ("", "a value", 0),
            ("[1,]", "a value", 3),
            ("{\"a\":1,}", "a name in quotes", 7),
            ("{\"a\" 1}", "`:`", 5),
            ("[1 2]", "`,` or `]`", 3),
            ("[] []", "the end", 3),
            ("01", "the end", 1),
            ("1.", "a digit", 2),
            ("nul", "null", 0),
            ("\"a", "the string's closing quote", 2),
            ("\"\\x\"", "one of `\"\\/bfnrtu`", 2),
            ("\"\\u12g4\"", "a hexadecimal digit", 5),
            ("\u{feff}{}", "a value", 0),
            ("NaN", "a value", 0),
        ] {
            let error = Document::parse(text.as_bytes()).expect_err(text);
            assert_eq!(error, Malformed { expected, at }, "{text}");
        }
        Document::parse(&[b'"', 0xff, b'"']).expect_err("not UTF-8");
    }

    #[test]
    fn nesting_is_bounded_without_recursion() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        Document::parse(nested(MAX_DEPTH).as_bytes()).expect("as deep as allowed");
        Document::parse(nested(MAX_DEPTH + 1).as_bytes()).expect_err("too deep");
        Document::parse("[".repeat(1_000_000).as_bytes()).expect_err("too deep");
    }

    #[test]
    fn the_last_of_twins_is_the_member_and_a_copy_stands_by_itself() {
        let document = Document::parse(br#"{"a":1,"b":{"c":[1,2]},"a":2}"#).expect("JSON");
        let root = document.root();
        assert_eq!(
            root.member("a").map(|a| a.to_string()).as_deref(),
            Some("2")
        );
        let copy = root.member("b").expect("there").to_document();
        assert_eq!(copy.root().to_string(), r#"{"c":[1,2]}"#);
        assert_eq!((root.size(), copy.root().size()), (7, 4));
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_as_by_serde(text in r#"[\[\]{},:"a1\\u0-9eE.+ntrufals -]{0,24}"#) {
            let serde = serde_json::from_str::<serde_json::Value>(&text);
            let ours = Document::parse(text.as_bytes());
            if serde.is_ok() {
                prop_assert!(ours.is_ok());
            } else if let Ok(document) = ours {
                // Two texts that serde_json refuses: half a surrogate pair, and what exceeds `f64`.
                let shown = document.root().to_string();
                prop_assert!(text.contains("\\u") || shown.contains(['e', 'E']), "{}", text);
            }
        }

        #[test]
        fn mutated_text_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(document) = Document::parse(&bytes) {
                prop_assert!(Document::parse(document.root().to_string().as_bytes()).is_ok());
            }
        }
    }
}
