//! Search syntax of Shopify's webhook filters.
//!
//! Grammar: <https://shopify.dev/docs/api/usage/search-syntax>; OR binds tighter than AND, two terms side by side are
//! joined by AND. Decided here, where the documentation is silent: each condition finds its own element of an array; a
//! negated condition holds where the field is missing or no element meets it; `field:*` asks for a value that is not
//! `null`; texts that are numbers or RFC 3339 times are compared as such; of a field named `tags` each part between commas
//! is a value too.
//!
//! Invariant: parsing recurses once per parenthesis, at most `depth_max` deep.

use std::sync::Arc;

use super::budget::{Limits, Spent};
use super::expression::{Expression, Leaf, Tree};
use super::json::Item;
use super::predicate::Predicate;
use super::search::{Comparator, Term};
use super::{Dialect, FilterError};

/// Compiles a search text.
pub(super) fn compile(rule: Item<'_>, limits: &Limits) -> Result<Expression, FilterError> {
    let Some(text) = rule.text() else {
        let message = format!(
            "a filter is a string, found {}; write it like \"type:Music AND price:>=10.00\"",
            rule.kind().noun()
        );
        return Err(super::budget::error(Dialect::Shopify, "", message));
    };
    let mut parser = Parser {
        chars: text.chars().collect(),
        at: 0,
        spent: Spent::new(Dialect::Shopify, limits),
    };
    let expression = parser.query(0)?;
    if parser.peek().is_some() {
        return Err(parser.refused(
            parser.at,
            "`)` without `(` before it; remove it, or write `\\)` for the sign itself",
        ));
    }
    Ok(expression)
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    spent: Spent,
}

/// What joins two terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connective {
    And,
    Or,
}

/// A value as it is written.
struct Written {
    text: String,
    /// It ends with a `*` that is no literal.
    prefix: bool,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn refused(&self, at: usize, message: impl Into<String>) -> FilterError {
        FilterError {
            dialect: Dialect::Shopify,
            pointer: String::new(),
            column: Some(at + 1),
            message: message.into(),
        }
    }

    fn blank(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    /// Reads terms up to the end or a closing parenthesis: an AND of ORs.
    fn query(&mut self, depth: usize) -> Result<Expression, FilterError> {
        let mut groups = vec![vec![self.term(depth)?]];
        loop {
            self.blank();
            if matches!(self.peek(), None | Some(')')) {
                break;
            }
            let connective = self.connective();
            let term = self.term(depth)?;
            match groups.last_mut().filter(|_| connective == Connective::Or) {
                Some(group) => group.push(term),
                None => groups.push(vec![term]),
            }
        }
        let groups = groups.into_iter();
        let groups = groups.map(|group| one_or(group, Expression::Any)).collect();
        Ok(one_or(groups, Expression::All))
    }

    /// Takes a word if it stands here by itself.
    fn word(&mut self, word: &str) -> bool {
        let end = self.at + word.len();
        let here = self
            .chars
            .get(self.at..end)
            .is_some_and(|chars| chars.iter().copied().eq(word.chars()));
        let alone = self
            .chars
            .get(end)
            .is_none_or(|c| c.is_whitespace() || matches!(c, '(' | ')'));
        if here && alone {
            self.at = end;
        }
        here && alone
    }

    fn connective(&mut self) -> Connective {
        if self.word("OR") {
            return Connective::Or;
        }
        self.word("AND");
        Connective::And
    }

    fn term(&mut self, depth: usize) -> Result<Expression, FilterError> {
        self.blank();
        let start = self.at;
        for connective in ["AND", "OR"] {
            if self.word(connective) {
                return Err(self.refused(start, format!("a condition is expected, found {connective}; it stands between two conditions, such as type:Music {connective} status:active")));
            }
        }
        let negated = if self.peek() == Some('-') {
            self.at += 1;
            if self.peek().is_none_or(char::is_whitespace) {
                return Err(self.refused(
                    start,
                    "`-` has no blank behind it; write it like -status:draft",
                ));
            }
            true
        } else if self.word("NOT") {
            self.blank();
            true
        } else {
            false
        };
        let inner = if self.peek() == Some('(') {
            self.group(depth)?
        } else {
            self.condition(negated)?
        };
        Ok(if negated {
            Expression::Not(Arc::new(inner))
        } else {
            inner
        })
    }

    fn group(&mut self, depth: usize) -> Result<Expression, FilterError> {
        let open = self.at;
        let most = self.spent.limits.depth_max;
        if depth >= most {
            return Err(self.refused(
                open,
                format!("parentheses are nested deeper than {most} levels"),
            ));
        }
        self.at += 1;
        let inner = self.query(depth + 1)?;
        if self.peek() != Some(')') {
            return Err(self.refused(
                open,
                "`(` without `)` behind it; close it, or write `\\(` for the sign itself",
            ));
        }
        self.at += 1;
        Ok(inner)
    }

    /// Reads `field:value`.
    fn condition(&mut self, negated: bool) -> Result<Expression, FilterError> {
        let start = self.at;
        if self.peek().is_none() {
            return Err(self.refused(
                start,
                "a condition is expected, found the end; write it like status:active",
            ));
        }
        if negated && (self.peek() == Some('-') || self.word("NOT")) {
            return Err(self.refused(
                start,
                "a condition is negated once; write -status:draft or NOT status:draft",
            ));
        }
        let path = self.name()?;
        if self.peek() != Some(':') {
            return Err(self.no_field(start));
        }
        if path.split('.').any(str::is_empty) {
            return Err(self.refused(
                start,
                format!("{path:?} is no field: a name is empty; write it like variants.price:>=10"),
            ));
        }
        self.at += 1;
        self.spent
            .field("")
            .map_err(|error| self.refused(start, error.message))?;
        let (sign, comparator) = self.comparator();
        let value = self.value(sign)?;
        let comparator = match comparator {
            Comparator::Equal if value.prefix && value.text.is_empty() => Comparator::Present,
            Comparator::Equal if value.prefix => Comparator::Prefix,
            _ if value.prefix => {
                return Err(self.refused(
                    start,
                    format!(
                        "`*` does not go with `{sign}`; write a whole value, such as price:{sign}10"
                    ),
                ));
            }
            other => other,
        };
        self.spent
            .stars("", usize::from(value.prefix))
            .map_err(|error| self.refused(start, error.message))?;
        let list = path.rsplit('.').next() == Some("tags");
        let mut tree = Tree::default();
        let leaf = Leaf {
            tests: vec![Predicate::Term(Term::new(comparator, &value.text, list))],
            absent: false,
            objects: comparator == Comparator::Present,
        };
        tree.set(&path, Arc::new(leaf));
        Ok(Expression::Fields(Arc::new(tree)))
    }

    /// Says what stands from `start` to here in place of a field and its colon.
    fn no_field(&self, start: usize) -> FilterError {
        let found = self.chars.get(start..self.at).unwrap_or_default();
        let found: String = found.iter().collect();
        let message = match found.as_str() {
            "" => format!(
                "a field is expected, found {:?}; write a condition like status:active",
                self.peek().unwrap_or_default()
            ),
            "and" | "or" | "not" => format!(
                "{found:?} is in small letters; write {} for the operator",
                found.to_uppercase()
            ),
            _ => format!("{found:?} names no field to look into; write it like title:{found}"),
        };
        self.refused(start, message)
    }

    fn name(&mut self) -> Result<String, FilterError> {
        let mut name = String::new();
        while let Some(char) = self.peek() {
            match char {
                ':' | '(' | ')' | '"' | '\'' => break,
                '\\' => name.push(self.escaped()?),
                char if char.is_whitespace() => break,
                char => {
                    name.push(char);
                    self.at += 1;
                }
            }
        }
        Ok(name)
    }

    fn comparator(&mut self) -> (&'static str, Comparator) {
        let next = self.chars.get(self.at + 1).copied();
        let (sign, comparator) = match (self.peek(), next) {
            (Some('<'), Some('=')) => ("<=", Comparator::LessOrEqual),
            (Some('<'), _) => ("<", Comparator::Less),
            (Some('>'), Some('=')) => (">=", Comparator::GreaterOrEqual),
            (Some('>'), _) => (">", Comparator::Greater),
            _ => ("", Comparator::Equal),
        };
        self.at += sign.len();
        (sign, comparator)
    }

    fn escaped(&mut self) -> Result<char, FilterError> {
        let Some(char) = self.chars.get(self.at + 1).copied() else {
            return Err(self.refused(
                self.at,
                "a backslash at the end; write `\\\\` for the sign itself",
            ));
        };
        self.at += 2;
        Ok(char)
    }

    fn value(&mut self, sign: &str) -> Result<Written, FilterError> {
        if let Some(quote @ ('"' | '\'')) = self.peek() {
            return self.quoted(quote);
        }
        let start = self.at;
        let mut value = Written {
            text: String::new(),
            prefix: false,
        };
        while let Some(char) = self.peek() {
            match char {
                ')' => break,
                char if char.is_whitespace() => break,
                _ if value.prefix => {
                    return Err(self.refused(self.at - 1, "`*` stands at the end of a value only; write title:Album*, or `\\*` for the sign itself"));
                }
                '*' => {
                    value.prefix = true;
                    self.at += 1;
                }
                ':' | '(' => return Err(self.refused(self.at, format!("`{char}` within a value; write `\\{char}` or quote the value, such as created_at:>\"2026-01-31T08:00:00Z\""))),
                '\\' => value.text.push(self.escaped()?),
                char => {
                    value.text.push(char);
                    self.at += 1;
                }
            }
        }
        if self.at == start {
            return Err(self.refused(start, format!("a value is expected directly behind `:{sign}`; write it like status:active or title:\"Two words\"")));
        }
        Ok(value)
    }

    fn quoted(&mut self, quote: char) -> Result<Written, FilterError> {
        let open = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek() {
                None => {
                    return Err(self.refused(
                        open,
                        format!("a quote is not closed; write another {quote} behind the value"),
                    ));
                }
                Some('\\') => text.push(self.escaped()?),
                Some(char) if char == quote => break,
                Some(char) => {
                    text.push(char);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        if self.peek().is_some_and(|c| !c.is_whitespace() && c != ')') {
            return Err(self.refused(
                self.at,
                "a blank is expected behind a quoted value; conditions are separated by blanks",
            ));
        }
        Ok(Written {
            text,
            prefix: false,
        })
    }
}

/// The only one, or all of them joined.
fn one_or(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            join(parts)
        }
    }
}
