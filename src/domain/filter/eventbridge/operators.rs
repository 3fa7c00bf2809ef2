//! The values and operators in the lists of an event pattern.
//!
//! Invariant: an operator object has exactly one operator, and names are compared as they are written.

use super::super::address::{Network, address};
use super::super::budget::Spent;
use super::super::expression::Leaf;
use super::super::json::{Item, Kind};
use super::super::number::exact;
use super::super::predicate::{Glob, Predicate, Range};
use super::super::{FilterError, below};
use super::refused;

const OPERATORS: &str = "prefix, suffix, equals-ignore-case, wildcard, numeric, anything-but, exists, cidr, exactly or regex";

/// Reads the list of a field.
pub(super) fn leaf(list: Item<'_>, pointer: &str, spent: &mut Spent) -> Result<Leaf, FilterError> {
    let mut leaf = Leaf {
        tests: Vec::new(),
        absent: false,
        objects: false,
    };
    for (index, item) in list.children().enumerate() {
        let pointer = below(pointer, index);
        match item.kind() {
            Kind::Object => operator(item, &pointer, spent, &mut leaf)?,
            Kind::Array => {
                return Err(refused(
                    &pointer,
                    "a list of values does not hold lists; write its values into the outer list",
                ));
            }
            _ => leaf.tests.push(value(item)),
        }
    }
    if leaf.tests.is_empty() && !leaf.absent {
        return Err(refused(
            pointer,
            "empty lists are not allowed; write at least one value, such as [\"paid\"]",
        ));
    }
    Ok(leaf)
}

/// A scalar that is itself wanted.
fn value(item: Item<'_>) -> Predicate {
    match item.kind() {
        Kind::Bool(bool) => Predicate::Bool(*bool),
        Kind::Number(_) => number(item),
        Kind::Text(text) => {
            address(text).map_or(Predicate::Text((&**text).into()), Predicate::Address)
        }
        _ => Predicate::Null,
    }
}

fn number(item: Item<'_>) -> Predicate {
    match item.kind() {
        Kind::Number(number) => Predicate::Number {
            exact: exact(number),
            literal: (&*number.literal).into(),
        },
        _ => Predicate::Null,
    }
}

/// A number that must be one for `f64` too.
fn comparable(item: Item<'_>, pointer: &str) -> Result<Predicate, FilterError> {
    match number(item) {
        Predicate::Number { exact: None, .. } => Err(refused(
            pointer,
            format!("{item} is beyond the precision of numbers; write one of at most 15 digits"),
        )),
        number => Ok(number),
    }
}

/// The one member of an operator object.
fn only<'d>(
    object: Item<'d>,
    pointer: &str,
    allowed: &str,
) -> Result<(&'d str, Item<'d>, String), FilterError> {
    let mut members = object.children();
    let (Some(member), None) = (members.next(), members.next()) else {
        return Err(refused(
            pointer,
            format!(
                "an operator object has exactly one operator, found {}; allowed is {allowed}, each in its own object",
                object.children().count()
            ),
        ));
    };
    let name = member.name().unwrap_or_default();
    Ok((name, member, below(pointer, name)))
}

fn string<'d>(item: Item<'d>, pointer: &str, example: &str) -> Result<&'d str, FilterError> {
    item.text().ok_or_else(|| {
        refused(
            pointer,
            format!(
                "takes a string, found {}; write it like {example}",
                item.kind().noun()
            ),
        )
    })
}

fn operator(
    object: Item<'_>,
    pointer: &str,
    spent: &mut Spent,
    leaf: &mut Leaf,
) -> Result<(), FilterError> {
    let (name, item, pointer) = only(object, pointer, OPERATORS)?;
    let pointer = pointer.as_str();
    let test = match name {
        "exists" => match item.kind() {
            Kind::Bool(true) => Predicate::Scalar,
            Kind::Bool(false) => {
                leaf.absent = true;
                return Ok(());
            }
            kind => {
                return Err(refused(
                    pointer,
                    format!(
                        "takes true or false, found {}; write it like {{\"exists\": true}}",
                        kind.noun()
                    ),
                ));
            }
        },
        "exactly" => Predicate::Text(string(item, pointer, "{\"exactly\": \"paid\"}")?.into()),
        "equals-ignore-case" => {
            Predicate::AnyCase(string(item, pointer, "{\"equals-ignore-case\": \"paid\"}")?.into())
        }
        "prefix" | "suffix" => affix(name, item, pointer)?,
        "wildcard" => wildcard(item, pointer, spent)?,
        "regex" => Predicate::Regex(spent.regex(pointer, item)?),
        "cidr" => {
            let text = string(item, pointer, "{\"cidr\": \"10.0.0.0/8\"}")?;
            let network = Network::parse(text).map_err(|why| {
                refused(
                    pointer,
                    format!("{text:?} {why}; write it like {{\"cidr\": \"10.0.0.0/8\"}}"),
                )
            })?;
            Predicate::Network(network, text.into())
        }
        "numeric" => Predicate::Range(numeric(item, pointer)?),
        "anything-but" => anything_but(item, pointer, spent)?,
        _ => {
            return Err(refused(
                pointer,
                format!("there is no operator {name:?}; allowed is {OPERATORS}"),
            ));
        }
    };
    leaf.tests.push(test);
    Ok(())
}

fn affix(name: &str, item: Item<'_>, pointer: &str) -> Result<Predicate, FilterError> {
    let example =
        format!("{{\"{name}\": \"pa\"}} or {{\"{name}\": {{\"equals-ignore-case\": \"pa\"}}}}");
    let (text, any_case) = match item.kind() {
        Kind::Object => {
            let (inner, item, pointer) = only(item, pointer, "equals-ignore-case")?;
            if inner != "equals-ignore-case" {
                return Err(refused(
                    &pointer,
                    format!("allowed is equals-ignore-case, found {inner:?}; write {example}"),
                ));
            }
            (string(item, &pointer, &example)?, true)
        }
        _ => (string(item, pointer, &example)?, false),
    };
    let text = text.into();
    Ok(match name {
        "prefix" => Predicate::Prefix { text, any_case },
        _ => Predicate::Suffix { text, any_case },
    })
}

fn wildcard(item: Item<'_>, pointer: &str, spent: &mut Spent) -> Result<Predicate, FilterError> {
    let text = string(item, pointer, "{\"wildcard\": \"order-*-eu\"}")?;
    let mut parts = vec![String::new()];
    let mut chars = text.chars();
    let mut gap = false;
    while let Some(char) = chars.next() {
        let literal = match char {
            '*' if gap => {
                return Err(refused(
                    pointer,
                    "has `**`; consecutive `*` are not allowed, one is enough",
                ));
            }
            '*' => {
                parts.push(String::new());
                gap = true;
                continue;
            }
            '\\' => match chars.next() {
                Some(escaped @ ('*' | '\\')) => escaped,
                _ => {
                    return Err(refused(
                        pointer,
                        "has a backslash before something else than `*` or `\\`; write `\\\\` for a backslash, `\\*` for a star",
                    ));
                }
            },
            other => other,
        };
        gap = false;
        if let Some(part) = parts.last_mut() {
            part.push(literal);
        }
    }
    spent.stars(pointer, parts.len() - 1)?;
    Ok(Predicate::Glob(Glob::new(
        parts.into_iter().map(Into::into).collect(),
    )))
}

fn numeric(item: Item<'_>, pointer: &str) -> Result<Range, FilterError> {
    let wrong = |what: String| {
        refused(
            pointer,
            format!(
                "{what}; write it like [\">\", 5] or [\">=\", 0, \"<\", 10], with the lower bound first"
            ),
        )
    };
    if !matches!(item.kind(), Kind::Array) {
        return Err(wrong(format!("takes a list, found {}", item.kind().noun())));
    }
    let parts: Vec<Item<'_>> = item.children().collect();
    let bound = |item: &Item<'_>| match item.kind() {
        Kind::Number(number) => exact(number).ok_or_else(|| {
            wrong(format!(
                "{} is beyond the precision of numbers",
                number.literal
            ))
        }),
        kind => Err(wrong(format!("a bound is a number, found {}", kind.noun()))),
    };
    match parts.as_slice() {
        [operator, first] => {
            let first = bound(first)?;
            let (low, high) = match operator.text() {
                Some("=") => (Some((first, true)), Some((first, true))),
                Some("<") => (None, Some((first, false))),
                Some("<=") => (None, Some((first, true))),
                Some(">") => (Some((first, false)), None),
                Some(">=") => (Some((first, true)), None),
                _ => {
                    return Err(wrong(format!(
                        "allowed is = < <= > or >=, found {operator}"
                    )));
                }
            };
            Ok(Range { low, high })
        }
        [lower, low, upper, high] => {
            let with = |sign: &Item<'_>, without, with, place: &str| match sign.text() {
                Some(text) if text == without => Ok(false),
                Some(text) if text == with => Ok(true),
                _ => Err(wrong(format!(
                    "a range {place} with {without} or {with}, found {sign}"
                ))),
            };
            let with_low = with(lower, ">", ">=", "begins")?;
            let with_high = with(upper, "<", "<=", "ends")?;
            let (low, high) = (bound(low)?, bound(high)?);
            if low >= high {
                return Err(wrong(format!(
                    "the bottom {low} must be less than the top {high}"
                )));
            }
            Ok(Range {
                low: Some((low, with_low)),
                high: Some((high, with_high)),
            })
        }
        _ => Err(wrong(format!(
            "takes two or four entries, found {}",
            parts.len()
        ))),
    }
}

fn anything_but(
    item: Item<'_>,
    pointer: &str,
    spent: &mut Spent,
) -> Result<Predicate, FilterError> {
    let example =
        "{\"anything-but\": [\"paid\", \"new\"]} or {\"anything-but\": {\"prefix\": \"pa\"}}";
    let excluded = match item.kind() {
        Kind::Text(text) => vec![Predicate::Text((&**text).into())],
        Kind::Number(_) => vec![comparable(item, pointer)?],
        Kind::Array => {
            let all = |kind: fn(&Kind<'_>) -> bool| item.children().all(|item| kind(item.kind()));
            let texts = all(|kind| matches!(kind, Kind::Text(_)));
            let numbers = all(|kind| matches!(kind, Kind::Number(_)));
            if item.children().next().is_none() || !(texts || numbers) {
                return Err(refused(
                    pointer,
                    format!(
                        "takes a list of strings or a list of numbers, not empty and not mixed; write it like {example}"
                    ),
                ));
            }
            let one = |item: Item<'_>| match item.text() {
                Some(text) => Ok(Predicate::Text(text.into())),
                None => comparable(item, pointer),
            };
            item.children().map(one).collect::<Result<_, _>>()?
        }
        Kind::Object => excluded_forms(item, pointer, example, spent)?,
        kind => {
            return Err(refused(
                pointer,
                format!(
                    "takes a string, a number, a list or an operator, found {}; write it like {example}",
                    kind.noun()
                ),
            ));
        }
    };
    Ok(Predicate::Other(excluded))
}

/// One operator of `anything-but`, with a string or a list of strings.
fn excluded_forms(
    object: Item<'_>,
    pointer: &str,
    example: &str,
    spent: &mut Spent,
) -> Result<Vec<Predicate>, FilterError> {
    let allowed = "prefix, suffix, equals-ignore-case or wildcard";
    let (name, item, pointer) = only(object, pointer, allowed)?;
    if !matches!(
        name,
        "prefix" | "suffix" | "equals-ignore-case" | "wildcard"
    ) {
        return Err(refused(
            &pointer,
            format!("allowed is {allowed}, found {name:?}; write it like {example}"),
        ));
    }
    let items: Vec<Item<'_>> = match item.kind() {
        Kind::Array => item.children().collect(),
        _ => vec![item],
    };
    if items.is_empty() {
        return Err(refused(
            &pointer,
            "empty lists are not allowed; write at least one string",
        ));
    }
    let items = items.into_iter();
    items
        .map(|item| excluded_form(name, item, &pointer, spent))
        .collect()
}

fn excluded_form(
    name: &str,
    item: Item<'_>,
    pointer: &str,
    spent: &mut Spent,
) -> Result<Predicate, FilterError> {
    let text = string(
        item,
        pointer,
        "{\"anything-but\": {\"prefix\": [\"pa\", \"ne\"]}}",
    )?;
    match name {
        "prefix" | "suffix" if text.is_empty() => Err(refused(
            pointer,
            "an empty string would exclude every string; write at least one character",
        )),
        "prefix" | "suffix" => affix(name, item, pointer),
        "equals-ignore-case" => Ok(Predicate::AnyCase(text.into())),
        _ => wildcard(item, pointer, spent),
    }
}
