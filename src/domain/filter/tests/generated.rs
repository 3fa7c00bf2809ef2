//! Random rules of all dialects, and events that they have something to say about.

use proptest::prelude::*;
use proptest::sample::select;

use super::super::Dialect;

/// JSON of scalars that are alike in some way.
const SCALARS: [&str; 36] = [
    "0",
    "1",
    "5",
    "10",
    "1.5",
    "-0.0",
    "3e2",
    "300",
    "12345678901234567890",
    "12345678901234567891",
    "1e309",
    "true",
    "false",
    "null",
    r#""""#,
    r#""x""#,
    r#""xy""#,
    r#""yx""#,
    r#""abc""#,
    r#""AbC""#,
    r#""10""#,
    r#""1.0""#,
    r#"" 1""#,
    r#""0x1""#,
    r#""true""#,
    r#""é""#,
    r#""É""#,
    r#""straße""#,
    r#""10.0.0.1""#,
    r#""10.0.0.01""#,
    r#""2001:db8::1""#,
    r#""a, xy,5""#,
    r#""2026-01-31""#,
    r#""2026-01-31T01:00:00+01:00""#,
    r#""[1]""#,
    r#""a longer text with xy and abc in it""#,
];

const TEXTS: [&str; 14] = [
    "",
    "x",
    "xy",
    "y",
    "abc",
    "ABC",
    "bc",
    "é",
    "10",
    "longer text",
    "text with xy and",
    " ",
    "0",
    "r",
];

const NAMES: [&str; 8] = ["a", "b", "c", "a.b", "b.c", "tags", "0", ""];

pub(super) fn scalar() -> impl Strategy<Value = String> {
    select(&SCALARS).prop_map(str::to_owned)
}

fn text() -> impl Strategy<Value = &'static str> {
    select(&TEXTS)
}

fn name() -> impl Strategy<Value = &'static str> + Clone {
    prop_oneof![8 => select(&NAMES[..3]), 3 => select(&NAMES[..])]
}

fn list(items: &[String]) -> String {
    format!("[{}]", items.join(","))
}

fn object(members: &[(&'static str, String)]) -> String {
    let members = members
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// An event, with twins and dotted names now and then.
pub(super) fn event() -> impl Strategy<Value = String> {
    let value = scalar().prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 0..4).prop_map(|items| list(&items)),
            3 => prop::collection::vec((name(), inner), 0..4).prop_map(|members| object(&members)),
        ]
    });
    prop_oneof![
        12 => prop::collection::vec((name(), value.clone()), 0..5).prop_map(|members| object(&members)),
        1 => value,
    ]
}

fn number() -> impl Strategy<Value = &'static str> {
    select(&["0", "1", "5", "10", "1.5", "-3", "300"][..])
}

fn pattern_item() -> impl Strategy<Value = String> {
    let affix = || (select(&["prefix", "suffix"][..]), text());
    let some = || select(&TEXTS[1..]);
    prop_oneof![
        6 => scalar(),
        2 => affix().prop_map(|(name, text)| format!(r#"{{"{name}":"{text}"}}"#)),
        1 => affix().prop_map(|(name, text)| format!(r#"{{"{name}":{{"equals-ignore-case":"{text}"}}}}"#)),
        1 => text().prop_map(|text| format!(r#"{{"equals-ignore-case":"{text}"}}"#)),
        1 => (text(), text()).prop_map(|(a, b)| format!(r#"{{"wildcard":"{a}*{b}"}}"#)),
        1 => (some(), text()).prop_map(|(a, b)| format!(r#"{{"wildcard":"*{a}*{b}"}}"#)),
        1 => select(&["xy", "^x", "b|y$", "[0-9]+", "lon.*with", "(?i)abc", "^(x|abc)"][..])
            .prop_map(|regex| format!(r#"{{"regex":"{regex}"}}"#)),
        1 => (select(&["=", "<", "<=", ">", ">="][..]), number())
            .prop_map(|(sign, number)| format!(r#"{{"numeric":["{sign}",{number}]}}"#)),
        1 => Just(r#"{"numeric":[">=",1,"<",10]}"#.to_owned()),
        1 => some().prop_map(|text| format!(r#"{{"anything-but":"{text}"}}"#)),
        1 => number().prop_map(|number| format!(r#"{{"anything-but":[{number},5]}}"#)),
        1 => some().prop_map(|text| format!(r#"{{"anything-but":{{"prefix":"{text}"}}}}"#)),
        1 => any::<bool>().prop_map(|there| format!(r#"{{"exists":{there}}}"#)),
        1 => Just(r#"{"cidr":"10.0.0.0/8"}"#.to_owned()),
    ]
}

fn pattern() -> impl Strategy<Value = String> {
    let field = prop::collection::vec(pattern_item(), 1..4).prop_map(|items| list(&items));
    field.prop_recursive(3, 12, 3, |inner| {
        let member = (name(), inner.clone());
        let alternative = prop::collection::vec((name(), inner), 1..3);
        let members = prop::collection::vec(member, 1..4);
        prop_oneof![
            3 => members.clone().prop_map(|members| object(&members)),
            1 => (members, prop::collection::vec(alternative, 2..4)).prop_map(|(mut members, or)| {
                let or: Vec<String> = or.iter().map(|members| object(members)).collect();
                members.push(("$or", list(&or)));
                object(&members)
            }),
        ]
    })
}

fn operator() -> impl Strategy<Value = (&'static str, String)> {
    let one = select(
        &[
            "$eq",
            "$neq",
            "$gt",
            "$gte",
            "$lt",
            "$lte",
            "$in",
            "$startsWith",
            "$endsWith",
        ][..],
    );
    let many = select(&["$in", "$nin", "$startsWith", "$endsWith", "$eq"][..]);
    prop_oneof![
        6 => (one, scalar()),
        3 => (many, prop::collection::vec(scalar(), 0..4).prop_map(|items| list(&items))),
        1 => any::<bool>().prop_map(|there| ("$exist", there.to_string())),
        1 => select(&["xy", "^x", "[0-9]+"][..]).prop_map(|regex| ("$regex", format!("\"{regex}\""))),
        1 => (select(&["$eq", "$lte", "$neq", "$in"][..]), select(&["a", "b[0]", "$.a.b", "c[$index]"][..]))
            .prop_map(|(name, path)| (name, format!(r#"{{"$ref":"{path}"}}"#))),
        1 => (select(&["$eq", "$neq"][..]), Just(r#"{"a":1}"#.to_owned())),
        1 => select(&["a", "b.c", "a[0]"][..]).prop_map(|path| ("$ref", format!("\"{path}\""))),
    ]
}

fn schema() -> impl Strategy<Value = String> {
    let operators = prop::collection::vec(operator(), 1..3).prop_map(|members| object(&members));
    let leaf = prop_oneof![scalar(), operators];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let members = prop::collection::vec((name(), inner.clone()), 0..4);
        let branches = prop::collection::vec(inner.clone(), 0..3);
        prop_oneof![
            5 => members.clone().prop_map(|members| object(&members)),
            1 => branches.clone().prop_map(|items| list(&items)),
            1 => (members.clone(), select(&["$or", "$and"][..]), branches).prop_map(|(mut members, name, branches)| {
                members.push((name, list(&branches)));
                object(&members)
            }),
            1 => (members, inner).prop_map(|(mut members, not)| {
                members.push(("$not", not));
                object(&members)
            }),
        ]
    })
}

fn search() -> impl Strategy<Value = String> {
    let value = select(
        &[
            "x",
            "xy",
            "10",
            "1.0",
            "5",
            "true",
            "abc",
            "x*",
            "1*",
            "t*",
            "*",
            "\"a longer text with xy and abc in it\"",
            "2026-01-31",
            "é",
            "12345678901234567890",
            "\"\"",
        ][..],
    );
    let compared = (
        select(&[":<", ":>", ":<=", ":>="][..]),
        select(&["5", "1.5", "2026-01-30", "x"][..]),
    );
    let condition = prop_oneof![
        3 => value.prop_map(|value| format!(":{value}")),
        1 => compared.prop_map(|(sign, value)| format!("{sign}{value}")),
    ];
    let field = prop_oneof![8 => select(&NAMES[..6]), 2 => Just("tags")];
    let term = (field, condition).prop_map(|(field, condition)| format!("{field}{condition}"));
    term.prop_recursive(3, 12, 3, |inner| {
        let joint = select(&[" ", " AND ", " OR "][..]);
        prop_oneof![
            3 => (inner.clone(), joint, inner.clone()).prop_map(|(a, joint, b)| format!("({a}{joint}{b})")),
            1 => inner.prop_map(|inner| match inner.starts_with(['-', 'N']) {
                true => format!("({inner})"),
                false => format!("-{inner}"),
            }),
        ]
    })
}

/// A rule and its dialect. Now and then one that is refused.
pub(super) fn rule() -> impl Strategy<Value = (Dialect, String)> {
    prop_oneof![
        pattern().prop_map(|rule| (Dialect::EventBridge, rule)),
        schema().prop_map(|rule| (Dialect::Hookdeck, rule)),
        search().prop_map(|rule| (Dialect::Shopify, rule)),
    ]
}
