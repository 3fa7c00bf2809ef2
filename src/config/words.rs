//! What messages say of values: in the words of whoever writes the document, not of serde.

use serde::de::Unexpected;

/// At most so many characters of a value are shown.
const SHOWN: usize = 80;

/// Parts of names under which secrets stand; values there are never shown.
const SECRET_NAMES: [&str; 13] = [
    "auth",
    "cert",
    "credential",
    "header",
    "json",
    "key",
    "passphrase",
    "password",
    "pem",
    "properties",
    "secret",
    "token",
    "url",
];

/// Whether the value at `pointer` may be a secret, judged by the names in the pointer.
pub(super) fn may_be_secret(pointer: &str) -> bool {
    let pointer = pointer.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|name| pointer.contains(name))
}

/// `text` in quotes, cut.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// What was found, in two grains: the value itself, and only its kind.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) value: String,
    pub(super) kind: &'static str,
    whole: bool,
}

impl Found {
    pub(super) fn new(unexpected: &Unexpected<'_>) -> Self {
        let (value, kind) = match unexpected {
            Unexpected::Bool(value) => (value.to_string(), "`true` or `false`"),
            Unexpected::Unsigned(value) => (value.to_string(), "a number"),
            Unexpected::Signed(value) => (value.to_string(), "a number"),
            Unexpected::Float(value) => (value.to_string(), "a number"),
            Unexpected::Char(value) => (quoted(&value.to_string()), "a string"),
            Unexpected::Str(value) => (quoted(value), "a string"),
            Unexpected::Unit | Unexpected::Option => ("null".to_owned(), "null"),
            Unexpected::Seq => ("a list".to_owned(), "a list"),
            Unexpected::Map => ("an object".to_owned(), "an object"),
            _ => ("something else".to_owned(), "something else"),
        };
        let whole = matches!(unexpected, Unexpected::Unsigned(_) | Unexpected::Signed(_));
        Self { value, kind, whole }
    }
}

/// What was expected; `serde` is serde's phrase for it.
pub(super) fn expected(serde: &str, found: &Found) -> String {
    let largest: Option<u64> = match serde {
        "u8" => Some(u8::MAX.into()),
        "u16" => Some(u16::MAX.into()),
        "u32" => Some(u32::MAX.into()),
        "u64" | "usize" => Some(u64::MAX),
        _ => None,
    };
    match (serde, largest) {
        (_, Some(largest)) if found.whole => format!("a whole number from 0 to {largest}"),
        (_, Some(_)) | ("i8" | "i16" | "i32" | "i64" | "isize", _) => "a whole number".to_owned(),
        ("f32" | "f64", _) => "a number".to_owned(),
        ("a boolean", _) => "`true` or `false`".to_owned(),
        ("a map", _) => "an object".to_owned(),
        ("a sequence", _) => "a list".to_owned(),
        ("unit", _) => "null".to_owned(),
        _ if serde.starts_with("struct ") => "an object".to_owned(),
        _ => serde.to_owned(),
    }
}

/// `"a"`, `"a" or "b"`, `"a", "b" or "c"`.
pub(super) fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// What to say of the unknown `name` where `known` are allowed.
pub(super) fn unknown_field(name: &str, known: &[&str]) -> String {
    match closest(name, known) {
        Some(meant) => format!("there is no such field; did you mean `{meant}`?"),
        None if known.is_empty() => "there is no such field".to_owned(),
        None => format!("there is no such field; there are: {}", known.join(", ")),
    }
}

/// The one of `known` that `name` is most likely a slip for.
pub(super) fn closest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name: Vec<char> = name.to_lowercase().chars().take(64).collect();
    known
        .iter()
        .map(|candidate| (distance(&name, candidate), *candidate))
        .filter(|(edits, candidate)| *edits <= (candidate.len() / 3).clamp(1, 3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be changed, added, left out or swapped with their neighbour.
fn distance(from: &[char], to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let changed = at(&last, j) + usize::from(a != b);
            let mut best = changed.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && from.get(i - 1) == Some(b) && to.get(j - 1) == Some(a);
            if swapped {
                best = best.min(at(&before_last, j - 1) + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    at(&last, to.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_guesses_are_not_made() {
        let known = ["max_attempts", "max_age", "tiers", "id"];
        for (name, meant) in [
            ("max_atempts", Some("max_attempts")),
            ("maxAttempts", Some("max_attempts")),
            ("MAX_AGE", Some("max_age")),
            ("tires", Some("tiers")),
            ("di", Some("id")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(closest(name, &known), meant, "{name}");
        }
    }

    #[test]
    fn lists_read_as_people_write_them() {
        assert_eq!(one_of(&["a"]), "\"a\"");
        assert_eq!(one_of(&["a", "b"]), "\"a\" or \"b\"");
        assert_eq!(one_of(&["a", "b", "c"]), "\"a\", \"b\" or \"c\"");
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(quoted(&"x".repeat(100)).chars().count(), SHOWN + 3);
    }
}
