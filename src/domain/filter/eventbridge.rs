//! Event patterns of Amazon EventBridge.
//!
//! The semantics are those of <https://github.com/aws/event-ruler> 2.0.1, which real EventBridge shares. Three things are
//! decided here: `{"exists": false}` in an array means "absent in the chosen element", whatever the order of names; where
//! an event gives a name twice (or with dots), conditions below it may be met by different elements of arrays;
//! `{"regex": "…"}` is an addition.
//!
//! Invariant: `$or` is multiplied out into at most `combinations_max` patterns; of a path that is given twice, the later
//! one counts.

mod operators;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::budget::{Limits, Spent, error};
use super::expression::{Expression, Kinds, Leaf, Tree};
use super::json::{Item, Kind};
use super::{Dialect, FilterError, below};

/// Names that `$or` may not have inside: all operators, present and planned.
const RESERVED: [&str; 24] = [
    "exactly",
    "equals-ignore-case",
    "prefix",
    "suffix",
    "anything-but",
    "exists",
    "wildcard",
    "numeric",
    "cidr",
    "=",
    "<",
    "<=",
    ">",
    ">=",
    "regex",
    "not-wildcard",
    "not-equals-ignore-case",
    "date-after",
    "date-on-or-after",
    "date-before",
    "date-on-or-before",
    "in-date-range",
    "ip-address-in-range",
    "ip-address-not-in-range",
];

/// One way through all `$or`: the condition on each path.
type Combination = BTreeMap<String, Arc<Leaf>>;

fn refused(pointer: &str, message: impl Into<String>) -> FilterError {
    error(Dialect::EventBridge, pointer, message)
}

/// Compiles a pattern.
pub(super) fn compile(rule: Item<'_>, limits: &Limits) -> Result<Expression, FilterError> {
    let combinations = match combinations(rule, true, limits) {
        // `$or` may also be the name of a field.
        Err(first) => combinations(rule, false, limits).map_err(|_as_field| first)?,
        Ok(combinations) => combinations,
    };
    let patterns = combinations.into_iter().map(|combination| {
        let mut tree = Tree::default();
        for (path, leaf) in combination {
            tree.set(&path, leaf);
        }
        Expression::Fields(Arc::new(tree))
    });
    // An event that is no object matches nothing.
    Ok(Expression::Kinds(Arc::new(Kinds {
        scalar: Expression::Constant(false),
        array: Some(Expression::Constant(false)),
        object: Expression::Any(patterns.collect()),
        missing: Expression::Constant(false),
    })))
}

fn combinations(
    rule: Item<'_>,
    or: bool,
    limits: &Limits,
) -> Result<Vec<Combination>, FilterError> {
    let mut reader = Reader {
        or,
        spent: Spent::new(Dialect::EventBridge, limits),
    };
    if !matches!(rule.kind(), Kind::Object) {
        return Err(refused(
            "",
            format!(
                "a pattern is an object, found {}; write it like {{\"state\": [\"paid\"]}}",
                rule.kind().noun()
            ),
        ));
    }
    let place = Place {
        pointer: "",
        path: None,
        in_or: false,
    };
    reader.object(rule, place, vec![Combination::new()])
}

/// Where the reader is.
#[derive(Clone, Copy)]
struct Place<'a> {
    pointer: &'a str,
    path: Option<&'a str>,
    in_or: bool,
}

struct Reader {
    /// Whether `$or` is an operator.
    or: bool,
    spent: Spent,
}

impl Reader {
    /// Adds the fields of an object to each combination.
    fn object(
        &mut self,
        object: Item<'_>,
        place: Place<'_>,
        mut combinations: Vec<Combination>,
    ) -> Result<Vec<Combination>, FilterError> {
        if object.children().next().is_none() {
            return Err(refused(
                place.pointer,
                "empty objects are not allowed; name at least one field, such as {\"state\": [\"paid\"]}",
            ));
        }
        for member in object.children() {
            let name = member.name().unwrap_or_default();
            let pointer = below(place.pointer, name);
            if name == "$or" && self.or {
                let place = Place {
                    pointer: &pointer,
                    ..place
                };
                combinations = self.alternatives(member, place, combinations)?;
                continue;
            }
            if place.in_or {
                check_name(name, &pointer)?;
            }
            let path = place
                .path
                .map_or(name.to_owned(), |path| format!("{path}.{name}"));
            match member.kind() {
                Kind::Object => {
                    let place = Place {
                        pointer: &pointer,
                        path: Some(&path),
                        ..place
                    };
                    combinations = self.object(member, place, combinations)?;
                }
                Kind::Array => {
                    self.spent.field(&pointer)?;
                    let leaf = Arc::new(operators::leaf(member, &pointer, &mut self.spent)?);
                    for combination in &mut combinations {
                        combination.insert(path.clone(), Arc::clone(&leaf));
                    }
                    check_size(&combinations, &pointer, &self.spent.limits)?;
                }
                kind => {
                    return Err(refused(
                        &pointer,
                        format!(
                            "a field has a list of values or an object, found {}; write it like [{member}]",
                            kind.noun()
                        ),
                    ));
                }
            }
        }
        Ok(combinations)
    }

    /// Multiplies the combinations by the alternatives of `$or`.
    fn alternatives(
        &mut self,
        or: Item<'_>,
        place: Place<'_>,
        combinations: Vec<Combination>,
    ) -> Result<Vec<Combination>, FilterError> {
        let objects = or
            .children()
            .filter(|item| matches!(item.kind(), Kind::Object))
            .count();
        if !matches!(or.kind(), Kind::Array) || objects < 2 || objects < or.children().count() {
            return Err(refused(
                place.pointer,
                "`$or` takes a list of at least two objects, such as [{\"state\": [\"paid\"]}, {\"total\": [{\"numeric\": [\">\", 5]}]}]",
            ));
        }
        let mut all = Vec::new();
        for (index, alternative) in or.children().enumerate() {
            let place = Place {
                pointer: &below(place.pointer, index),
                in_or: true,
                ..place
            };
            all.extend(self.object(alternative, place, combinations.clone())?);
            check_size(&all, place.pointer, &self.spent.limits)?;
        }
        Ok(all)
    }
}

/// Within `$or`, operators are no names of fields.
fn check_name(name: &str, pointer: &str) -> Result<(), FilterError> {
    if !RESERVED.contains(&name) {
        return Ok(());
    }
    Err(refused(
        pointer,
        format!(
            "`{name}` is an operator and no name of a field within `$or`; operators stand in lists, such as {{\"state\": [{{\"prefix\": \"pa\"}}]}}"
        ),
    ))
}

fn check_size(
    combinations: &[Combination],
    pointer: &str,
    limits: &Limits,
) -> Result<(), FilterError> {
    let most = limits.combinations_max;
    if combinations.len() > most {
        return Err(refused(
            pointer,
            format!(
                "the alternatives of all `$or` make more than {most} combinations; split the rule into several subscriptions"
            ),
        ));
    }
    let fields: usize = combinations.iter().map(BTreeMap::len).sum();
    let most = limits.combined_fields_max;
    if fields > most {
        return Err(refused(
            pointer,
            format!(
                "the combinations of all `$or` have more than {most} fields together; split the rule into several subscriptions"
            ),
        ));
    }
    Ok(())
}
