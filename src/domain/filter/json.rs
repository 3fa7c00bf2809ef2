//! JSON as filters see it: one flat list of values in the order of the text.
//!
//! A text comes from an event or from a filter's rule; the evaluator and the dialects walk over its [`Item`]s.
//!
//! Invariant: nothing is rounded, merged or reordered: a number keeps its literal beside its `f64`, an object keeps a
//! member that is given twice. Neither reading nor walking recurses deeper than [`MAX_DEPTH`].

mod object;

use std::borrow::Cow;
use std::fmt;

pub use object::Object;

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
        let text = std::str::from_utf8(bytes).map_err(|error| Malformed {
            expected: "UTF-8",
            at: error.valid_up_to(),
        })?;
        let parser = Parser {
            text,
            at: 0,
            nodes: Vec::new(),
            open: Vec::new(),
        };
        let nodes = parser.document()?;
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

struct Parser<'t> {
    text: &'t str,
    at: usize,
    nodes: Vec<Node<'t>>,
    /// Indexes of the arrays and objects that are not closed yet.
    open: Vec<usize>,
}

impl<'t> Parser<'t> {
    fn document(mut self) -> Result<Vec<Node<'t>>, Malformed> {
        self.blank();
        self.value(None)?;
        while let Some(container) = self.open.last().copied() {
            self.blank();
            let kind = self.nodes.get(container).map(|node| &node.kind);
            let object = matches!(kind, Some(Kind::Object));
            let close = if object { b'}' } else { b']' };
            if self.peek() == Some(close) {
                self.at += 1;
                self.open.pop();
                let end = self.nodes.len();
                if let Some(node) = self.nodes.get_mut(container) {
                    node.end = end;
                }
                continue;
            }
            if self.nodes.len() > container + 1 {
                self.sign(b',', if object { "`,` or `}`" } else { "`,` or `]`" })?;
                self.blank();
            }
            let name = if object { Some(self.name()?) } else { None };
            self.value(name)?;
        }
        self.blank();
        if self.at < self.text.len() {
            return Err(self.expected("the end"));
        }
        Ok(self.nodes)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expected(&self, expected: &'static str) -> Malformed {
        Malformed {
            expected,
            at: self.at,
        }
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn sign(&mut self, sign: u8, expected: &'static str) -> Result<(), Malformed> {
        if self.peek() != Some(sign) {
            return Err(self.expected(expected));
        }
        self.at += 1;
        Ok(())
    }

    fn name(&mut self) -> Result<Cow<'t, str>, Malformed> {
        if self.peek() != Some(b'"') {
            return Err(self.expected("a name in quotes"));
        }
        let name = self.string()?;
        self.blank();
        self.sign(b':', "`:`")?;
        self.blank();
        Ok(name)
    }

    fn value(&mut self, name: Option<Cow<'t, str>>) -> Result<(), Malformed> {
        let kind = match self.peek() {
            Some(b'{') => self.container(Kind::Object)?,
            Some(b'[') => self.container(Kind::Array)?,
            Some(b'"') => Kind::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => Kind::Number(self.number()?),
            Some(b't') => self.word("true", Kind::Bool(true))?,
            Some(b'f') => self.word("false", Kind::Bool(false))?,
            Some(b'n') => self.word("null", Kind::Null)?,
            _ => return Err(self.expected("a value")),
        };
        let end = self.nodes.len() + 1;
        self.nodes.push(Node { name, kind, end });
        Ok(())
    }

    fn container(&mut self, kind: Kind<'t>) -> Result<Kind<'t>, Malformed> {
        if self.open.len() >= MAX_DEPTH {
            return Err(self.expected("at most 256 levels, no deeper nesting"));
        }
        self.at += 1;
        self.open.push(self.nodes.len());
        Ok(kind)
    }

    fn word(&mut self, word: &'static str, kind: Kind<'t>) -> Result<Kind<'t>, Malformed> {
        if !self.rest().starts_with(word) {
            return Err(self.expected(word));
        }
        self.at += word.len();
        Ok(kind)
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.expected("a digit"));
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Number<'t>, Malformed> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let literal = self.text.get(start..self.at).unwrap_or_default();
        Ok(Number {
            literal: Cow::Borrowed(literal),
            float: literal.parse().unwrap_or(f64::NAN),
        })
    }

    fn string(&mut self) -> Result<Cow<'t, str>, Malformed> {
        self.at += 1;
        let mut built: Option<String> = None;
        loop {
            let rest = self.rest();
            let plain = rest
                .bytes()
                .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))
                .ok_or(Malformed {
                    expected: "the string's closing quote",
                    at: self.text.len(),
                })?;
            let (plain, _) = rest.split_at(plain);
            self.at += plain.len();
            match (self.peek(), &mut built) {
                (Some(b'"'), None) => {
                    self.at += 1;
                    return Ok(Cow::Borrowed(plain));
                }
                (Some(b'"'), Some(built)) => {
                    self.at += 1;
                    built.push_str(plain);
                    return Ok(Cow::Owned(std::mem::take(built)));
                }
                (Some(b'\\'), _) => {
                    let escaped = self.escape()?;
                    let built = built.get_or_insert_with(String::new);
                    built.push_str(plain);
                    built.push(escaped);
                }
                _ => return Err(self.expected("an escape instead of a control character")),
            }
        }
    }

    /// Reads what a backslash begins.
    fn escape(&mut self) -> Result<char, Malformed> {
        self.at += 1;
        let sign = self.peek();
        let plain = match sign {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.expected("one of `\"\\/bfnrtu`")),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode(&mut self) -> Result<char, Malformed> {
        let first = self.hex()?;
        if (0xd800..0xdc00).contains(&first) && self.rest().starts_with("\\u") {
            let behind = self.at;
            self.at += 1;
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = behind;
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// Reads `u` and four hexadecimal digits.
    fn hex(&mut self) -> Result<u32, Malformed> {
        self.at += 1;
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.expected("a hexadecimal digit"))?;
            self.at += 1;
        }
        Ok(code)
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
