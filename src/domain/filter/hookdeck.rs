//! JSON filters of Hookdeck.
//!
//! The semantics are those of npm `simple-json-match` 1.3.0, JavaScript's coercions included. Decided here: `$regex` is an
//! addition; an unknown `$name` is refused, since it could only match a field of that name; a `$ref` leads along names and
//! indexes, and what it leads to equals a value only if both are scalars (operators also compare arrays and objects).
//!
//! Invariant: a schema is compiled once and shared; each of its parts meets each value of the event at most once per way
//! that the engine reads it.

use std::collections::HashMap;
use std::sync::Arc;

use super::budget::{Limits, Spent, error};
use super::expression::{Expression, Kinds, Operand, Reference, Step};
use super::javascript::Operator;
use super::json::{Item, Kind};
use super::predicate::Predicate;
use super::{Dialect, FilterError, below};

const OPERATORS: &str = "$eq, $neq, $gt, $gte, $lt, $lte, $in, $nin, $startsWith, $endsWith, $exist, $regex, $ref, $or, $and or $not";

fn refused(pointer: &str, message: impl Into<String>) -> FilterError {
    error(Dialect::Hookdeck, pointer, message)
}

/// Compiles a schema.
pub(super) fn compile(rule: Item<'_>, limits: &Limits) -> Result<Expression, FilterError> {
    let mut reader = Reader {
        spent: Spent::new(Dialect::Hookdeck, limits),
    };
    Ok(reader.schema(rule, "")?.whole)
}

/// A schema, which reads differently as a member's value and as a whole: beside its members, a member's value may have
/// operators, and a whole may be negated.
struct Schema {
    value: Expression,
    whole: Expression,
    /// Whether it holds where the member is missing may be asked.
    missing: bool,
}

/// The parts of an object schema.
#[derive(Default)]
struct Parts {
    not: Option<Arc<Expression>>,
    only_not: bool,
    or: Option<Expression>,
    reference: Option<Reference>,
    /// As they are, for arrays; then with references resolved.
    operators: Vec<(Expression, Expression)>,
    entries: Vec<Expression>,
    missing: bool,
}

struct Reader {
    spent: Spent,
}

const NEVER: Expression = Expression::Constant(false);

fn all(mut parts: Vec<Expression>) -> Expression {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, None) => Expression::Constant(true),
        (_, Some(last)) => {
            parts.push(last);
            Expression::All(parts)
        }
    }
}

impl Reader {
    fn schema(&mut self, schema: Item<'_>, pointer: &str) -> Result<Schema, FilterError> {
        match schema.kind() {
            Kind::Array => self.list(schema, pointer),
            Kind::Object => {
                let parts = self.parts(schema, pointer)?;
                Ok(object(parts))
            }
            kind => {
                let value = Expression::Kinds(Arc::new(Kinds {
                    scalar: Expression::Loose(Arc::new(schema.to_document())),
                    array: None,
                    object: NEVER,
                    missing: NEVER,
                }));
                // As a whole, `null` is an error of types in the engine.
                let whole = if matches!(kind, Kind::Null) {
                    NEVER
                } else {
                    value.clone()
                };
                Ok(Schema {
                    value,
                    whole,
                    missing: false,
                })
            }
        }
    }

    /// Every entry is met by some element; of an object, by the member of that index.
    fn list(&mut self, list: Item<'_>, pointer: &str) -> Result<Schema, FilterError> {
        let (mut elements, mut members) = (Vec::new(), Vec::new());
        for (index, entry) in list.children().enumerate() {
            let pointer = below(pointer, index);
            self.spent.field(&pointer)?;
            let entry = self.schema(entry, &pointer)?;
            let inner = Arc::new(entry.value);
            elements.push(Expression::Element(Arc::clone(&inner)));
            members.push(Expression::Member {
                name: index.to_string().into(),
                missing: entry.missing,
                inner,
            });
        }
        let value = Expression::Kinds(Arc::new(Kinds {
            scalar: NEVER,
            array: Some(all(elements)),
            object: all(members),
            missing: NEVER,
        }));
        Ok(Schema {
            whole: value.clone(),
            value,
            missing: false,
        })
    }

    fn parts(&mut self, object: Item<'_>, pointer: &str) -> Result<Parts, FilterError> {
        // Of twins the last one counts.
        let mut last: HashMap<&str, usize> = HashMap::new();
        for (index, member) in object.children().enumerate() {
            last.insert(member.name().unwrap_or_default(), index);
        }
        let mut parts = Parts::default();
        for (index, member) in object.children().enumerate() {
            let name = member.name().unwrap_or_default();
            if last.get(name) == Some(&index) {
                let pointer = below(pointer, name);
                self.spent.field(&pointer)?;
                self.part(name, member, &pointer, &mut parts)?;
            }
        }
        parts.only_not = last.len() == 1 && parts.not.is_some();
        Ok(parts)
    }

    /// The filters of `$or` or `$and`.
    fn branches(
        &mut self,
        name: &str,
        list: Item<'_>,
        pointer: &str,
    ) -> Result<Vec<Expression>, FilterError> {
        if !matches!(list.kind(), Kind::Array) {
            return Err(refused(
                pointer,
                format!(
                    "`{name}` takes a list of filters, found {}; write it like [{{\"state\": \"paid\"}}, {{\"total\": {{\"$gt\": 5}}}}]",
                    list.kind().noun()
                ),
            ));
        }
        let mut branches = Vec::new();
        for (index, branch) in list.children().enumerate() {
            let pointer = below(pointer, index);
            self.spent.field(&pointer)?;
            branches.push(self.schema(branch, &pointer)?.whole);
        }
        Ok(branches)
    }

    fn part(
        &mut self,
        name: &str,
        member: Item<'_>,
        pointer: &str,
        parts: &mut Parts,
    ) -> Result<(), FilterError> {
        match name {
            "$not" => {
                if truthy(member) {
                    parts.not = Some(Arc::new(self.schema(member, pointer)?.whole));
                }
                return Ok(());
            }
            "$or" | "$and" => {
                let branches = self.branches(name, member, pointer)?;
                if name == "$or" {
                    let any = Expression::Any(branches);
                    parts.or = Some(any.clone());
                    parts.entries.push(any);
                } else {
                    parts.entries.push(Expression::All(branches));
                }
                return Ok(());
            }
            "$ref" => {
                parts.reference = Some(reference(member, pointer)?);
                parts.entries.push(NEVER);
                return Ok(());
            }
            "$regex" => {
                let test = Expression::Test(Predicate::Regex(self.spent.regex(pointer, member)?));
                parts.operators.push((test.clone(), test));
                parts.entries.push(NEVER);
                return Ok(());
            }
            _ => {}
        }
        if let Some(operator) = Operator::named(name) {
            return compared(operator, member, pointer, parts);
        }
        if name.starts_with('$') {
            return Err(refused(
                pointer,
                format!("there is no operator {name:?}; allowed is {OPERATORS}"),
            ));
        }
        let schema = self.schema(member, pointer)?;
        parts.entries.push(Expression::Member {
            name: name.into(),
            missing: schema.missing,
            inner: Arc::new(schema.value),
        });
        Ok(())
    }
}

/// Reads what an operator compares with.
fn compared(
    operator: Operator,
    member: Item<'_>,
    pointer: &str,
    parts: &mut Parts,
) -> Result<(), FilterError> {
    let value = Operand::Value(Arc::new(member.to_document()));
    let raw = Expression::Operator(operator, value);
    let resolved = match member.member("$ref").filter(|path| truthy(*path)) {
        Some(path) => {
            let reference = reference(path, &below(pointer, "$ref"))?;
            Expression::Operator(operator, Operand::Reference(reference))
        }
        None => raw.clone(),
    };
    parts.missing |= operator == Operator::Exist && matches!(member.kind(), Kind::Bool(false));
    parts.operators.push((raw, resolved));
    // As a whole, an operator is only a name, which no event is expected to have.
    parts.entries.push(NEVER);
    Ok(())
}

/// Puts an object schema together.
fn object(parts: Parts) -> Schema {
    let (raw, resolved): (Vec<_>, Vec<_>) = parts.operators.into_iter().unzip();
    let has_operators = !raw.is_empty();
    let no_entries = parts.entries.is_empty();
    let entries = all(parts.entries);
    // What follows where the negation does not decide.
    let negated = |rest: Expression| match &parts.not {
        None => rest,
        Some(not) if parts.only_not => Expression::Not(Arc::clone(not)),
        Some(not) => Expression::All(vec![Expression::Not(Arc::clone(not)), rest]),
    };
    let on_value = match (parts.or, parts.reference) {
        (Some(or), _) => Some(or),
        (None, Some(reference)) => Some(Expression::Same(reference)),
        (None, None) if has_operators => Some(all(resolved)),
        (None, None) => None,
    };
    let value = Expression::Kinds(Arc::new(Kinds {
        scalar: on_value.clone().unwrap_or(NEVER),
        array: has_operators.then(|| all(raw)),
        object: on_value.clone().unwrap_or_else(|| negated(entries.clone())),
        missing: on_value.unwrap_or(NEVER),
    }));
    let reread = Expression::Reroot(Arc::new(value.clone()));
    let whole = negated(Expression::Kinds(Arc::new(Kinds {
        scalar: reread.clone(),
        array: Some(reread),
        object: entries,
        missing: Expression::Constant(no_entries),
    })));
    Schema {
        value,
        whole,
        missing: parts.missing,
    }
}

/// What JavaScript takes for true.
fn truthy(item: Item<'_>) -> bool {
    match item.kind() {
        Kind::Null => false,
        Kind::Bool(bool) => *bool,
        Kind::Number(number) => number.float != 0.0,
        Kind::Text(text) => !text.is_empty(),
        Kind::Array | Kind::Object => true,
    }
}

/// Reads a path such as `$.items[$index].price` or `old_price`.
fn reference(item: Item<'_>, pointer: &str) -> Result<Reference, FilterError> {
    let wrong = |what: &str| {
        refused(
            pointer,
            format!(
                "{what}; a reference is a path of names and indexes from the event's root, such as \"order.items[0].sku\", \"items[$index].price\" or \"$['a b']\""
            ),
        )
    };
    let Some(text) = item.text().filter(|text| !text.is_empty()) else {
        return Err(wrong(&format!("found {}", item.kind().noun())));
    };
    let mut rest = text;
    if let Some(behind) = text.strip_prefix('$')
        && (behind.is_empty() || behind.starts_with(['.', '[']))
    {
        rest = behind;
    } else if !text.starts_with('[') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, _) = rest.split_at(end);
        if !is_name(name) {
            return Err(wrong(&format!("{text:?} does not begin with a name")));
        }
    }
    let mut steps = Vec::new();
    let mut current = 0;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (inner, behind) =
                bracket(inner).ok_or_else(|| wrong(&format!("{text:?} has a `[` without `]`")))?;
            rest = behind;
            let quoted = |quote: char| inner.strip_prefix(quote)?.strip_suffix(quote);
            steps.push(if let Some(name) = quoted('\'').or_else(|| quoted('"')) {
                Step::Member(name.into())
            } else if inner == "$index" {
                current += 1;
                Step::Current(current - 1)
            } else if let Ok(index) = inner.parse() {
                Step::Index(index)
            } else {
                return Err(wrong(&format!("`[{inner}]` is not supported")));
            });
            continue;
        }
        let named = rest.strip_prefix('.').unwrap_or(rest);
        let end = named.find(['.', '[']).unwrap_or(named.len());
        let (name, behind) = named.split_at(end);
        if !is_name(name) {
            return Err(wrong(&format!("{name:?} is not supported as a name")));
        }
        steps.push(Step::Member(name.into()));
        rest = behind;
    }
    Ok(Reference {
        steps: steps.into(),
        text: text.into(),
    })
}

/// What is within brackets, and what follows them; a quoted name may hold a bracket.
fn bracket(text: &str) -> Option<(&str, &str)> {
    let close = match text.chars().next()? {
        quote @ ('\'' | '"') => {
            let end = text.get(1..)?.find(quote)? + 2;
            text.get(end..)?.starts_with(']').then_some(end)?
        }
        _ => text.find(']')?,
    };
    Some((text.get(..close)?, text.get(close + 1..)?))
}

fn is_name(name: &str) -> bool {
    let letter = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    !name.is_empty() && name.chars().all(letter)
}
