//! Random rules, texts and events.

use proptest::prelude::*;

use super::super::Dialect;
use super::super::json::{Document, Item, Kind};
use super::{compiled, matches};

const RULES: [(Dialect, &str); 6] = [
    (
        Dialect::EventBridge,
        r#"{"a":[1,{"prefix":"x"}],"$or":[{"b":[{"numeric":[">",1,"<=",5]}]},{"c":[{"anything-but":{"wildcard":"a*"}}]}]}"#,
    ),
    (
        Dialect::EventBridge,
        r#"{"a":{"b":[{"exists":false},{"cidr":"10.0.0.0/8"},{"regex":"a|b"}]}}"#,
    ),
    (
        Dialect::Hookdeck,
        r#"{"a":{"$or":[1,{"$gt":5}]},"b":[{"c":{"$in":["x"]}}],"$not":{"d":{"$exist":true}}}"#,
    ),
    (
        Dialect::Hookdeck,
        r#"{"a":{"$lte":{"$ref":"$.b[$index]['c']"}},"e":{"$regex":"^a"}}"#,
    ),
    (
        Dialect::Shopify,
        r#"id:* AND (t:Music OR t:"Two words") -x:a* v.p:>=100 NOT n:<5"#,
    ),
    (Dialect::Shopify, r"a:x\:y\(\) OR 'b':'c'"),
];

/// One way to every value of a path: the indexes of the elements that are objects or arrays, and the value.
type Fields<'d> = Vec<(String, Vec<(usize, usize)>, Item<'d>)>;

/// Takes an event apart as the reference engine does.
fn flatten<'d>(
    item: Item<'d>,
    path: &str,
    within: &[(usize, usize)],
    arrays: &mut usize,
    fields: &mut Fields<'d>,
) {
    match item.kind() {
        Kind::Object => {
            for member in item.children() {
                let name = member.name().unwrap_or_default();
                let path = if path.is_empty() {
                    name.to_owned()
                } else {
                    format!("{path}.{name}")
                };
                flatten(member, &path, within, arrays, fields);
            }
        }
        Kind::Array => {
            *arrays += 1;
            let array = *arrays;
            for (index, element) in item.children().enumerate() {
                let mut within = within.to_vec();
                if !element.kind().is_scalar() {
                    within.push((array, index));
                }
                flatten(element, path, &within, arrays, fields);
            }
        }
        _ => fields.push((path.to_owned(), within.to_vec(), item)),
    }
}

/// Whether every path has its number, with one element of each array; by trying all.
fn naive(wanted: &[(String, u8)], fields: &Fields<'_>, chosen: &[(usize, usize)]) -> bool {
    let Some(((path, number), rest)) = wanted.split_first() else {
        return true;
    };
    fields.iter().any(|(at, within, item)| {
        let consistent = within
            .iter()
            .all(|(array, index)| chosen.iter().all(|(a, i)| a != array || i == index));
        let chosen: Vec<_> = chosen.iter().chain(within).copied().collect();
        at == path
            && item.to_string() == number.to_string()
            && consistent
            && naive(rest, fields, &chosen)
    })
}

fn event() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![(0u8..3).prop_map(|n| n.to_string()), Just("{}".to_owned())];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3)
                .prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::btree_map("[ab]", inner, 0..3).prop_map(|all| {
                let members: Vec<String> = all
                    .into_iter()
                    .map(|(name, value)| format!("\"{name}\":{value}"))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
    .prop_map(|inner| format!("{{\"a\":{inner}}}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn elements_are_chosen_as_by_trying_all(
        wanted in prop::collection::btree_map("a(\\.[ab]){0,2}", 0u8..3, 1..4),
        event in event(),
    ) {
        let wanted: Vec<(String, u8)> = wanted.into_iter().collect();
        let rule: Vec<String> = wanted.iter().map(|(path, number)| format!("\"{path}\":[{number}]")).collect();
        let document = Document::parse(event.as_bytes()).expect("JSON");
        let mut fields = Vec::new();
        flatten(document.root(), "", &[], &mut 0, &mut fields);
        let expected = naive(&wanted, &fields, &[]);
        prop_assert_eq!(matches(Dialect::EventBridge, &format!("{{{}}}", rule.join(",")), &event), expected);
    }

    #[test]
    fn mutated_rules_are_survived(
        which in 0usize..RULES.len(),
        cut in 0usize..120,
        skip in 0usize..8,
        insert in r#"[\[\]{}:,"'*$()a-c0-9\\ <>=-]{0,6}"#,
    ) {
        let (dialect, rule) = RULES.get(which).copied().expect("within");
        let head: String = rule.chars().take(cut).collect();
        let tail: String = rule.chars().skip(cut + skip).collect();
        let mutated = format!("{head}{insert}{tail}");
        if let Ok(filter) = compiled(dialect, &mutated) {
            let event = Document::parse(br#"{"a":["x:y()",1,{"b":"a"}],"b":[{"c":"x"}],"id":1,"v":[{"p":"100"}]}"#);
            let event = event.expect("JSON");
            prop_assert_eq!(filter.matches(event.root()), filter.explain(event.root()).matched);
            prop_assert!(!filter.to_string().is_empty());
        }
    }

    #[test]
    fn any_search_text_is_survived(text in "\\PC{0,40}") {
        // Refused or not: it ends, and says why.
        if let Err(error) = compiled(Dialect::Shopify, &text) {
            prop_assert!(error.column.is_some_and(|column| column <= text.chars().count() + 1));
        }
    }
}
