//! Values compared as JavaScript compares them, and the operators of JSON filters on top.
//!
//! The rules are those of ECMAScript (<https://tc39.es/ecma262/#sec-islooselyequal>, `#sec-islessthan`,
//! `#sec-stringtonumber`) and of npm `simple-json-match` 1.3.0.
//!
//! Invariant: a comparison of types that an operator does not take holds for neither the operator nor its opposite.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;

use super::json::{Item, Kind};

/// An operator of a JSON filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Eq,
    Neq,
    In,
    Nin,
    StartsWith,
    EndsWith,
    Gte,
    Gt,
    Lte,
    Lt,
    Exist,
}

impl Operator {
    pub(super) const ALL: [Self; 11] = [
        Self::Eq,
        Self::Neq,
        Self::In,
        Self::Nin,
        Self::StartsWith,
        Self::EndsWith,
        Self::Gte,
        Self::Gt,
        Self::Lte,
        Self::Lt,
        Self::Exist,
    ];

    /// As it is written.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Eq => "$eq",
            Self::Neq => "$neq",
            Self::In => "$in",
            Self::Nin => "$nin",
            Self::StartsWith => "$startsWith",
            Self::EndsWith => "$endsWith",
            Self::Gte => "$gte",
            Self::Gt => "$gt",
            Self::Lte => "$lte",
            Self::Lt => "$lt",
            Self::Exist => "$exist",
        }
    }

    /// The operator of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operator| operator.name() == name)
    }

    /// Whether it holds for a value, or where nothing is.
    pub(super) fn holds(self, value: Option<Item<'_>>, compare: Item<'_>) -> bool {
        match self {
            Self::Eq => same(value, compare),
            Self::Neq => !same(value, compare),
            Self::In => is_in(value, compare) == Some(true),
            Self::Nin => is_in(value, compare) == Some(false),
            Self::StartsWith => affix(value, compare, |text, part| text.starts_with(part)),
            Self::EndsWith => affix(value, compare, |text, part| text.ends_with(part)),
            Self::Gte => ordered(value, compare, Ordering::is_ge),
            Self::Gt => ordered(value, compare, Ordering::is_gt),
            Self::Lte => ordered(value, compare, Ordering::is_le),
            Self::Lt => ordered(value, compare, Ordering::is_lt),
            Self::Exist => match compare.kind() {
                Kind::Bool(wanted) => value.is_some() == *wanted,
                _ => false,
            },
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A value without parts; arrays and objects are their JSON text.
enum Primitive<'a> {
    Null,
    Bool(bool),
    Number(f64),
    Text(Cow<'a, str>),
}

impl<'a> Primitive<'a> {
    fn of(item: Item<'a>) -> Self {
        match item.kind() {
            Kind::Null => Self::Null,
            Kind::Bool(bool) => Self::Bool(*bool),
            Kind::Number(number) => Self::Number(number.float),
            Kind::Text(text) => Self::Text(Cow::Borrowed(text)),
            Kind::Array | Kind::Object => Self::Text(Cow::Owned(json_text(item))),
        }
    }

    fn number(&self) -> f64 {
        match self {
            Self::Null => 0.0,
            Self::Bool(bool) => f64::from(u8::from(*bool)),
            Self::Number(number) => *number,
            Self::Text(text) => to_number(text),
        }
    }
}

/// `==` of two values; arrays and objects by their JSON text.
fn same(value: Option<Item<'_>>, compare: Item<'_>) -> bool {
    let Some(value) = value else {
        return matches!(compare.kind(), Kind::Null);
    };
    match (Primitive::of(value), Primitive::of(compare)) {
        (Primitive::Null, Primitive::Null) => true,
        (Primitive::Null, _) | (_, Primitive::Null) => false,
        (Primitive::Text(a), Primitive::Text(b)) => a == b,
        (a, b) => a.number() == b.number(),
    }
}

/// `==` of two scalars; false if one is none.
pub(super) fn scalars_equal(a: Item<'_>, b: Item<'_>) -> bool {
    a.kind().is_scalar() && b.kind().is_scalar() && same(Some(a), b)
}

/// `$in`; `None`: these types are not compared.
fn is_in(value: Option<Item<'_>>, compare: Item<'_>) -> Option<bool> {
    let value = value.filter(|value| value.kind().is_scalar())?;
    match (compare.kind(), value.kind()) {
        (Kind::Text(part), Kind::Text(text)) => Some(text.contains(&**part)),
        (Kind::Number(part), Kind::Text(text)) => Some(text.contains(&number_text(part.float))),
        (Kind::Array, kind) => {
            let mut found = false;
            for wanted in compare.children() {
                found |= match (wanted.kind(), kind) {
                    (Kind::Text(a), Kind::Text(b)) => a == b,
                    (Kind::Number(a), Kind::Number(b)) => a.float == b.float,
                    (Kind::Text(_) | Kind::Number(_), _) => false,
                    _ => return None,
                };
            }
            Some(found)
        }
        _ => None,
    }
}

/// Whether a text holds at an end one of the texts that are given.
fn affix(value: Option<Item<'_>>, compare: Item<'_>, at: fn(&str, &str) -> bool) -> bool {
    let Some(text) = value.and_then(Item::text) else {
        return false;
    };
    if let Some(part) = compare.text() {
        return at(text, part);
    }
    let parts = || compare.children().map(Item::text);
    matches!(compare.kind(), Kind::Array)
        && parts().all(|part| part.is_some())
        && parts().flatten().any(|part| at(text, part))
}

fn ordered(value: Option<Item<'_>>, compare: Item<'_>, wanted: fn(Ordering) -> bool) -> bool {
    let Some(value) = value else { return false };
    let order = match (value.kind(), compare.kind()) {
        // By UTF-16 units, which is another order than by characters.
        (Kind::Text(a), Kind::Text(b)) => Some(a.encode_utf16().cmp(b.encode_utf16())),
        (Kind::Text(_) | Kind::Number(_), Kind::Text(_) | Kind::Number(_)) => {
            let (a, b) = (Primitive::of(value), Primitive::of(compare));
            a.number().partial_cmp(&b.number())
        }
        _ => None,
    };
    order.is_some_and(wanted)
}

/// A text as a number; NaN if it is none.
pub(super) fn to_number(text: &str) -> f64 {
    let text = text.trim_matches(|c: char| c.is_whitespace() && c != '\u{85}' || c == '\u{feff}');
    if text.is_empty() {
        return 0.0;
    }
    let radix = |prefixes: [&str; 2], radix: u32| {
        let digits = prefixes
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix))?;
        let digits = digits.chars().map(|c| c.to_digit(radix));
        let mut number = None;
        for digit in digits {
            number = Some(number.unwrap_or(0.0) * f64::from(radix) + f64::from(digit?));
        }
        number
    };
    let in_radix = radix(["0x", "0X"], 16)
        .or_else(|| radix(["0o", "0O"], 8))
        .or_else(|| radix(["0b", "0B"], 2));
    if let Some(number) = in_radix {
        return number;
    }
    match text.strip_prefix(['+', '-']).unwrap_or(text) {
        "Infinity" => {}
        // Rust also reads words.
        rest if rest
            .bytes()
            .any(|b| !matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) =>
        {
            return f64::NAN;
        }
        _ => {}
    }
    text.parse().unwrap_or(f64::NAN)
}

/// A number as JavaScript writes it.
pub(super) fn number_text(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 {
        return "0".to_owned();
    }
    if !number.is_finite() {
        return if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .to_owned();
    }
    if (1e-6..1e21).contains(&size) {
        return number.to_string();
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) if !exponent.starts_with('-') => {
            format!("{mantissa}e+{exponent}")
        }
        _ => text,
    }
}

/// A value as `JSON.stringify` writes it once `JSON.parse` has read it: of twins the last one, at the place of the first;
/// names that are array indexes first.
fn json_text(item: Item<'_>) -> String {
    let mut out = String::new();
    write_json(item, &mut out);
    out
}

fn write_json(item: Item<'_>, out: &mut String) {
    match item.kind() {
        Kind::Number(number) if number.float.is_finite() => {
            out.push_str(&number_text(number.float))
        }
        Kind::Number(_) => out.push_str("null"),
        Kind::Array => {
            out.push('[');
            for (index, element) in item.children().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(element, out);
            }
            out.push(']');
        }
        Kind::Object => {
            out.push('{');
            for (index, (name, member)) in members(item).into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&serde_json::Value::from(name).to_string());
                out.push(':');
                write_json(member, out);
            }
            out.push('}');
        }
        _ => out.push_str(&item.to_string()),
    }
}

fn members(object: Item<'_>) -> Vec<(&str, Item<'_>)> {
    let mut members: Vec<(&str, Item<'_>)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for member in object.children() {
        let name = member.name().unwrap_or_default();
        let place = *places.entry(name).or_insert(members.len());
        match members.get_mut(place) {
            Some(twin) => twin.1 = member,
            None => members.push((name, member)),
        }
    }
    let index = |name: &str| {
        let canonical = name == "0" || !name.starts_with(['0', '+']);
        let index = name.parse::<u32>().ok();
        index.filter(|index| canonical && *index < u32::MAX)
    };
    members.sort_by_key(|(name, _)| index(name).map_or((true, 0), |index| (false, index)));
    members
}

#[cfg(test)]
mod tests {
    use super::super::json::Document;
    use super::*;

    fn holds(operator: Operator, value: &str, compare: &str) -> bool {
        let value = Document::parse(value.as_bytes()).expect(value);
        let compare = Document::parse(compare.as_bytes()).expect(compare);
        operator.holds(Some(value.root()), compare.root())
    }

    #[test]
    fn equality_is_loose() {
        for (a, b, equal) in [
            ("1", r#""1""#, true),
            ("1", r#"" 0x1 ""#, true),
            ("true", "1", true),
            ("true", r#""1""#, true),
            ("false", r#""""#, true),
            ("0", r#""""#, true),
            ("null", "0", false),
            ("null", "null", true),
            (r#""abc""#, "0", false),
            (r#""1.0""#, r#""1""#, false),
            ("12345678901234567", "12345678901234568", true),
            ("1e400", r#""Infinity""#, true),
            ("1", r#""inf""#, false),
            ("[1,2]", r#""[1,2]""#, true),
            (r#"{"a":1.0,"b":[]}"#, r#"{"a":1,"b":[]}"#, true),
            (r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#, false),
            (
                r#"{"b":1,"2":3,"1":4,"b":5}"#,
                r#"{"1":4,"2":3,"b":5}"#,
                true,
            ),
        ] {
            assert_eq!(holds(Operator::Eq, a, b), equal, "{a} == {b}");
            assert_eq!(holds(Operator::Eq, b, a), equal, "{b} == {a}");
            assert_eq!(holds(Operator::Neq, a, b), !equal, "{a} != {b}");
        }
    }

    #[test]
    fn order_is_by_number_unless_both_are_texts() {
        for (operator, a, b, expected) in [
            (Operator::Gte, r#""29.99""#, "10", true),
            (Operator::Gte, r#""abc""#, "10", false),
            (Operator::Lt, r#""abc""#, "10", false),
            (Operator::Gte, r#""9.99""#, r#""10""#, true),
            (Operator::Gt, r#""10""#, r#""9""#, false),
            (Operator::Lte, "10", "10.0", true),
            (Operator::Gt, "true", "0", false),
            (Operator::Gt, "null", "-1", false),
            (Operator::Lt, r#""\ud83d\ude00""#, r#""\ufb00""#, true),
        ] {
            assert_eq!(holds(operator, a, b), expected, "{a} {operator} {b}");
        }
    }

    #[test]
    fn membership_is_strict_and_part_of_a_text() {
        for (value, compare, within) in [
            (r#""hello""#, r#""ell""#, Some(true)),
            (r#""a15""#, "15", Some(true)),
            ("15", "1", None),
            ("1", "[1,2]", Some(true)),
            (r#""1""#, "[1,2]", Some(false)),
            ("null", "[1]", Some(false)),
            ("true", "[true]", None),
            ("[1]", "[1]", None),
            ("1", "{}", None),
        ] {
            assert_eq!(
                holds(Operator::In, value, compare),
                within == Some(true),
                "{value} {compare}"
            );
            assert_eq!(
                holds(Operator::Nin, value, compare),
                within == Some(false),
                "{value} {compare}"
            );
        }
        assert!(holds(Operator::StartsWith, r#""abc""#, r#"["x","ab"]"#));
        assert!(!holds(Operator::StartsWith, r#""abc""#, r#"["ab",1]"#));
        assert!(holds(Operator::EndsWith, r#""abc""#, r#""bc""#));
        assert!(!holds(Operator::EndsWith, "15", r#""5""#));
    }

    #[test]
    fn numbers_are_written_as_javascript_does() {
        for (number, text) in [
            (1.0, "1"),
            (-0.0, "0"),
            (1e21, "1e+21"),
            (123e18, "123000000000000000000"),
            (1e-6, "0.000001"),
            (1.5e-7, "1.5e-7"),
        ] {
            assert_eq!(number_text(number), text);
        }
    }
}
