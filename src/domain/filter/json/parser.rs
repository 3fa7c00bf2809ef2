//! Reads JSON in one pass, and keeps what is asked for.
//!
//! A guide says at each member of an object whether it is wanted; what is not is read past, judged by the same grammar.
//!
//! Invariant: whether a text is JSON does not depend on the guide. Reading takes time in proportion to the text.

use std::borrow::Cow;

use super::{Kind, MAX_DEPTH, Malformed, Node, Number};

/// Says what is kept of a text.
pub(in super::super) trait Guide {
    /// Where in the text the parser is, as far as the guide needs to know.
    type Place: Copy;

    /// The outermost value, which is always kept.
    fn root(&mut self) -> Self::Place;

    /// A member of an object that is kept; `None`: this member is not.
    fn member(&mut self, place: Self::Place, name: &str) -> Option<Self::Place>;

    /// Sees each value that is kept, before what is inside it. Elements of an array have the array's place.
    fn value(&mut self, place: Self::Place, kind: &Kind<'_>);
}

/// Keeps everything.
pub(super) struct Everything;

impl Guide for Everything {
    type Place = ();

    fn root(&mut self) {}

    fn member(&mut self, (): (), _name: &str) -> Option<()> {
        Some(())
    }

    fn value(&mut self, (): (), _kind: &Kind<'_>) {}
}

/// A member's name and place, where each is of interest.
type Member<'t, P> = (Option<Cow<'t, str>>, Option<P>);

/// An array or object that is not closed yet.
#[derive(Clone, Copy)]
struct Open<P> {
    /// Its node, and its place; `None`: it is not kept.
    kept: Option<(usize, P)>,
    object: bool,
    /// Whether something was read in it.
    begun: bool,
}

pub(super) struct Parser<'t, 'g, G: Guide> {
    text: &'t str,
    at: usize,
    nodes: Vec<Node<'t>>,
    open: Vec<Open<G::Place>>,
    guide: &'g mut G,
}

impl<'t, 'g, G: Guide> Parser<'t, 'g, G> {
    pub(super) fn new(text: &'t str, guide: &'g mut G) -> Self {
        Self {
            text,
            at: 0,
            nodes: Vec::with_capacity(8),
            open: Vec::with_capacity(8),
            guide,
        }
    }

    pub(super) fn document(mut self) -> Result<Vec<Node<'t>>, Malformed> {
        self.blank();
        let root = self.guide.root();
        self.value(None, Some(root))?;
        while let Some(container) = self.open.last_mut() {
            let Open {
                kept,
                object,
                begun,
            } = *container;
            container.begun = true;
            self.blank();
            if self.peek() == Some(if object { b'}' } else { b']' }) {
                self.at += 1;
                self.close();
                continue;
            }
            if begun {
                self.sign(b',', if object { "`,` or `}`" } else { "`,` or `]`" })?;
                self.blank();
            }
            let place = kept.map(|(_, place)| place);
            if object {
                let (name, place) = self.member(place)?;
                self.value(name, place)?;
            } else {
                self.value(None, place)?;
            }
        }
        self.blank();
        if self.at < self.text.len() {
            return Err(self.expected("the end"));
        }
        Ok(self.nodes)
    }

    fn close(&mut self) {
        let end = self.nodes.len();
        if let Some(Open {
            kept: Some((node, _)),
            ..
        }) = self.open.pop()
            && let Some(node) = self.nodes.get_mut(node)
        {
            node.end = end;
        }
    }

    /// Reads a member's name and colon. Only of what is kept is the name of interest.
    fn member(&mut self, place: Option<G::Place>) -> Result<Member<'t, G::Place>, Malformed> {
        if self.peek() != Some(b'"') {
            return Err(self.expected("a name in quotes"));
        }
        let (name, place) = match place {
            Some(place) => {
                let name = self.string()?;
                let place = self.guide.member(place, &name);
                (place.is_some().then_some(name), place)
            }
            None => {
                self.skip_string()?;
                (None, None)
            }
        };
        self.blank();
        self.sign(b':', "`:`")?;
        self.blank();
        Ok((name, place))
    }

    fn value(
        &mut self,
        name: Option<Cow<'t, str>>,
        place: Option<G::Place>,
    ) -> Result<(), Malformed> {
        match (self.peek(), place) {
            (Some(b'{'), _) => self.enter(name, Kind::Object, place),
            (Some(b'['), _) => self.enter(name, Kind::Array, place),
            (Some(b'"'), None) => self.skip_string(),
            (Some(b'"'), Some(place)) => {
                let text = self.string()?;
                self.keep(name, Kind::Text(text), place);
                Ok(())
            }
            (Some(b'-' | b'0'..=b'9'), _) => {
                let literal = self.number()?;
                if let Some(place) = place {
                    let number = Number {
                        literal: Cow::Borrowed(literal),
                        float: literal.parse().unwrap_or(f64::NAN),
                    };
                    self.keep(name, Kind::Number(number), place);
                }
                Ok(())
            }
            (Some(b't'), _) => self.word("true", name, Kind::Bool(true), place),
            (Some(b'f'), _) => self.word("false", name, Kind::Bool(false), place),
            (Some(b'n'), _) => self.word("null", name, Kind::Null, place),
            _ => Err(self.expected("a value")),
        }
    }

    fn keep(&mut self, name: Option<Cow<'t, str>>, kind: Kind<'t>, place: G::Place) {
        self.guide.value(place, &kind);
        let end = self.nodes.len() + 1;
        self.nodes.push(Node { name, kind, end });
    }

    fn enter(
        &mut self,
        name: Option<Cow<'t, str>>,
        kind: Kind<'t>,
        place: Option<G::Place>,
    ) -> Result<(), Malformed> {
        if self.open.len() >= MAX_DEPTH {
            return Err(self.expected("at most 256 levels, no deeper nesting"));
        }
        self.at += 1;
        let object = matches!(kind, Kind::Object);
        let node = self.nodes.len();
        if let Some(place) = place {
            self.keep(name, kind, place);
        }
        self.open.push(Open {
            kept: place.map(|place| (node, place)),
            object,
            begun: false,
        });
        Ok(())
    }

    fn word(
        &mut self,
        word: &'static str,
        name: Option<Cow<'t, str>>,
        kind: Kind<'t>,
        place: Option<G::Place>,
    ) -> Result<(), Malformed> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.expected(word));
        }
        self.at += word.len();
        if let Some(place) = place {
            self.keep(name, kind, place);
        }
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'t [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
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

    fn number(&mut self) -> Result<&'t str, Malformed> {
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
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    /// Reads on to a quote, a backslash or a control character.
    fn plain(&mut self) -> Result<u8, Malformed> {
        let rest = self.rest();
        let unfinished = || Malformed {
            expected: "the string's closing quote",
            at: self.text.len(),
        };
        let plain = plain(rest);
        let next = rest.get(plain).copied().ok_or_else(unfinished)?;
        self.at += plain;
        if next < 0x20 {
            return Err(self.expected("an escape instead of a control character"));
        }
        Ok(next)
    }

    fn skip_string(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        while self.plain()? != b'"' {
            self.escape()?;
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<Cow<'t, str>, Malformed> {
        self.at += 1;
        let mut built: Option<String> = None;
        loop {
            let start = self.at;
            let next = self.plain()?;
            let plain = self.text.get(start..self.at).unwrap_or_default();
            if next == b'"' {
                self.at += 1;
                return Ok(match built {
                    None => Cow::Borrowed(plain),
                    Some(built) => Cow::Owned(built + plain),
                });
            }
            let escaped = self.escape()?;
            let built = built.get_or_insert_default();
            built.push_str(plain);
            built.push(escaped);
        }
    }

    /// Reads what a backslash begins.
    fn escape(&mut self) -> Result<char, Malformed> {
        self.at += 1;
        let plain = match self.peek() {
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
        if (0xd800..0xdc00).contains(&first) && self.rest().starts_with(b"\\u") {
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

/// How many bytes come before a quote, a backslash or a control character. Eight bytes at once.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quotes = zeros(word ^ (ONES * u64::from(b'"')));
        let backslashes = zeros(word ^ (ONES * u64::from(b'\\')));
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        // The lowest mark is right in each; higher ones may be of a carry.
        let found = quotes | backslashes | controls;
        if found != 0 {
            return index * 8 + usize::try_from(found.trailing_zeros() / 8).unwrap_or(0);
        }
    }
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    let before = words.len() * 8;
    before + tail.iter().position(special).unwrap_or(tail.len())
}
