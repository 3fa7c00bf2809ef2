//! Asks an expression about an event.
//!
//! Invariant: a pair of a part of the expression and a value of the event is visited at most a fixed number of times, so
//! time grows with the event's size times the filter's. What a reference may cost is limited by [`FUEL`].

mod trees;

use super::expression::{Expression, Kinds, Operand, Reference, Step};
use super::javascript::scalars_equal;
use super::json::{Item, Kind};

/// The most values that references may touch per event; where it is used up, a condition with a reference does not hold.
pub const FUEL: usize = 1_000_000;

/// A condition as it was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// JSON pointer to the value in the event.
    pub path: String,
    /// What is wanted there.
    pub wanted: String,
    /// What is there, as JSON, cut if long; `None`: nothing.
    pub found: Option<String>,
    /// Whether it holds.
    pub holds: bool,
}

#[derive(Debug)]
struct Trace {
    path: Vec<String>,
    last: Option<Condition>,
}

/// One event under one filter.
#[derive(Debug)]
pub(super) struct Evaluation<'e> {
    root: Item<'e>,
    /// The indexes of the elements on the way to the value at hand.
    indexes: Vec<usize>,
    fuel: usize,
    trace: Option<Trace>,
}

impl<'e> Evaluation<'e> {
    pub(super) fn new(root: Item<'e>) -> Self {
        Self {
            root,
            indexes: Vec::new(),
            fuel: FUEL,
            trace: None,
        }
    }

    /// Also notes the condition that was met last, which is the one that decides.
    pub(super) fn explained(root: Item<'e>) -> Self {
        let trace = Trace {
            path: Vec::new(),
            last: None,
        };
        Self {
            trace: Some(trace),
            ..Self::new(root)
        }
    }

    /// The condition that was met last.
    pub(super) fn decided(self) -> Option<Condition> {
        self.trace?.last
    }

    /// Whether an expression holds for a value, or where nothing is.
    pub(super) fn holds(&mut self, expression: &Expression, at: Option<Item<'e>>) -> bool {
        match expression {
            Expression::Constant(holds) => *holds,
            Expression::All(parts) => parts.iter().all(|part| self.holds(part, at)),
            Expression::Any(parts) => parts.iter().any(|part| self.holds(part, at)),
            Expression::Not(part) => !self.holds(part, at),
            Expression::Test(predicate) => {
                let holds = at.is_some_and(|item| predicate.holds(item));
                self.note(|| predicate.to_string(), at, holds)
            }
            Expression::Loose(wanted) => {
                let holds = at.is_some_and(|item| scalars_equal(item, wanted.root()));
                self.note(|| format!("== {}", wanted.root()), at, holds)
            }
            Expression::Operator(operator, operand) => {
                let holds = match operand {
                    Operand::Value(value) => operator.holds(at, value.root()),
                    Operand::Reference(reference) => self
                        .resolve(reference)
                        .is_some_and(|value| operator.holds(at, value)),
                };
                self.note(|| format!("{operator} {operand}"), at, holds)
            }
            Expression::Same(reference) => {
                let value = self.resolve(reference);
                let holds = at
                    .zip(value)
                    .is_some_and(|(item, value)| scalars_equal(item, value));
                self.note(|| format!("== the value of {}", reference.text), at, holds)
            }
            Expression::Fields(tree) => self.fields(tree, at),
            Expression::Member {
                name,
                missing,
                inner,
            } => self.member(name, *missing, inner, at),
            Expression::Element(part) => at.is_some_and(|array| {
                self.element(array, |this, element| this.holds(part, Some(element)))
            }),
            Expression::Kinds(kinds) => self.kinds(kinds, at),
            Expression::Reroot(part) => {
                let root = std::mem::replace(&mut self.root, at.unwrap_or(Item::null()));
                let holds = self.holds(part, at);
                self.root = root;
                holds
            }
        }
    }

    fn kinds(&mut self, kinds: &Kinds, at: Option<Item<'e>>) -> bool {
        let Some(item) = at else {
            return self.holds(&kinds.missing, None);
        };
        let by_kind = match (item.kind(), &kinds.array) {
            (Kind::Array, None) => {
                let some = self.element(item, |this, element| this.kinds(kinds, Some(element)));
                return some;
            }
            (Kind::Array, Some(array)) => array,
            (Kind::Object, _) => &kinds.object,
            _ => &kinds.scalar,
        };
        if matches!(by_kind, Expression::Constant(false)) {
            let wanted = || "a value of another type".to_owned();
            return self.note(wanted, at, false);
        }
        self.holds(by_kind, at)
    }

    fn member(
        &mut self,
        name: &str,
        missing: bool,
        inner: &Expression,
        at: Option<Item<'e>>,
    ) -> bool {
        let member = at.and_then(|object| object.member(name));
        self.enter(|| name.to_owned());
        let holds = if member.is_some() || missing {
            self.holds(inner, member)
        } else {
            self.note(|| "a value".to_owned(), None, false)
        };
        self.leave();
        holds
    }

    /// Whether something holds for an element of an array; `false` for what is none.
    fn element(
        &mut self,
        array: Item<'e>,
        mut holds: impl FnMut(&mut Self, Item<'e>) -> bool,
    ) -> bool {
        if !matches!(array.kind(), Kind::Array) {
            return false;
        }
        for (index, element) in array.children().enumerate() {
            self.indexes.push(index);
            self.enter(|| index.to_string());
            let found = holds(self, element);
            self.leave();
            self.indexes.pop();
            if found {
                return true;
            }
        }
        false
    }

    /// The value that a reference leads to, `null` if none; `None` if it cannot be followed.
    fn resolve(&mut self, reference: &Reference) -> Option<Item<'e>> {
        let mut at = self.root;
        if at.kind().is_scalar() {
            return None;
        }
        for step in &*reference.steps {
            let mut passed = 0;
            let next = match step {
                Step::Member(name) if matches!(at.kind(), Kind::Object) => {
                    passed = at.children().count();
                    at.member(name)
                }
                Step::Member(_) => None,
                Step::Index(_) | Step::Current(_) => {
                    let index = match step {
                        Step::Current(nth) => *self.indexes.get(*nth)?,
                        Step::Index(index) => *index,
                        Step::Member(_) => 0,
                    };
                    let array = Some(at).filter(|at| matches!(at.kind(), Kind::Array));
                    passed = array.map_or(0, |array| array.children().take(index).count());
                    array.and_then(|array| array.children().nth(index))
                }
            };
            self.fuel = self.fuel.checked_sub(passed)?;
            at = next.unwrap_or(Item::null());
        }
        let bytes = at.text().map_or(0, str::len) / 16;
        self.fuel = self.fuel.checked_sub(at.size() + bytes)?;
        Some(at)
    }

    fn enter(&mut self, name: impl Fn() -> String) {
        if let Some(trace) = &mut self.trace {
            trace
                .path
                .push(name().replace('~', "~0").replace('/', "~1"));
        }
    }

    fn leave(&mut self) {
        if let Some(trace) = &mut self.trace {
            trace.path.pop();
        }
    }

    /// Notes a condition; returns whether it holds.
    fn note(&mut self, wanted: impl Fn() -> String, at: Option<Item<'e>>, holds: bool) -> bool {
        if let Some(trace) = &mut self.trace {
            trace.last = Some(Condition {
                path: trace.path.iter().map(|name| format!("/{name}")).collect(),
                wanted: cut(wanted()),
                found: at.map(shown),
                holds,
            });
        }
        holds
    }
}

/// A value for people; what is large is named, not copied.
fn shown(item: Item<'_>) -> String {
    if item.size() > 50 {
        return item.kind().noun().to_owned();
    }
    cut(item.to_string())
}

fn cut(text: String) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
