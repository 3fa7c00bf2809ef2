//! Asks an expression about an event.
//!
//! Invariant: a pair of a part of the expression and a value of the event is visited at most a fixed number of times, so
//! time grows with the event's size times the filter's. What a reference may cost is limited by [`FUEL`].

use super::expression::{Expression, Kinds, Leaf, Operand, Reference, Step, Tree};
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

/// How a tree holds below a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// It does not.
    No,
    /// By what is not there.
    Nothing,
    /// By some value.
    Value,
}

impl Found {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Nothing, Self::Nothing) => Self::Nothing,
            _ => Self::Value,
        }
    }

    fn nothing(holds: bool) -> Self {
        if holds { Self::Nothing } else { Self::No }
    }
}

/// What a tree's own leaf still needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Done,
    Value,
    ValueOrNothing,
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
            Expression::Fields(tree) => {
                let found = at.map(|item| self.tree(tree, item, need(tree)));
                found.unwrap_or(Found::nothing(tree.holds_for_nothing())) != Found::No
            }
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

    /// A tree below a value, through arrays.
    fn tree(&mut self, tree: &Tree, item: Item<'e>, need: Need) -> Found {
        match item.kind() {
            Kind::Array => self.tree_in_array(tree, item, need),
            Kind::Object => {
                let own = match (need, &tree.leaf) {
                    (Need::Done, _) | (_, None) => Found::Nothing,
                    (_, Some(leaf)) if leaf.objects && self.test(leaf, item) => Found::Value,
                    (Need::ValueOrNothing, _) => Found::Nothing,
                    (Need::Value, Some(leaf)) => {
                        self.note(|| leaf.to_string(), Some(item), false);
                        Found::No
                    }
                };
                if own == Found::No {
                    return own;
                }
                own.and(self.tree_in_object(tree, item))
            }
            _ => {
                let own = match &tree.leaf {
                    Some(leaf) if need != Need::Done => {
                        if !self.test(leaf, item) {
                            return Found::No;
                        }
                        Found::Value
                    }
                    _ => Found::Nothing,
                };
                own.and(self.nothing_below(tree))
            }
        }
    }

    /// The branches of a tree where nothing can be.
    fn nothing_below(&mut self, tree: &Tree) -> Found {
        for (name, branch) in &tree.branches {
            if self.nothing(name, branch) == Found::No {
                return Found::No;
            }
        }
        Found::Nothing
    }

    fn nothing(&mut self, name: &str, branch: &Tree) -> Found {
        let holds = branch.holds_for_nothing();
        if self.trace.is_some() {
            self.enter(|| name.to_owned());
            let wanted = || {
                branch
                    .leaf
                    .as_ref()
                    .map_or("a value".to_owned(), |leaf| leaf.to_string())
            };
            self.note(wanted, None, holds);
            self.leave();
        }
        Found::nothing(holds)
    }

    fn tree_in_array(&mut self, tree: &Tree, array: Item<'e>, mut need: Need) -> Found {
        let mut found = Found::Nothing;
        if let Some(leaf) = tree.leaf.as_ref().filter(|_| need != Need::Done) {
            let leaf = std::sync::Arc::clone(leaf);
            let mut scalars = false;
            let satisfied = self.element(array, |this, element| {
                let scalar = element.kind().is_scalar();
                scalars |= scalar;
                scalar && this.test(&leaf, element)
            });
            if satisfied {
                (found, need) = (Found::Value, Need::Done);
            } else if scalars {
                need = Need::Value;
            }
        }
        let below = tree.branches.values().all(Tree::holds_for_nothing);
        if need == Need::Done && tree.branches.is_empty() {
            return found;
        }
        let mut without = need != Need::Value && below;
        let within = self.element(array, |this, element| {
            if element.kind().is_scalar() {
                return false;
            }
            let element = this.tree(tree, element, need);
            without &= element != Found::No;
            element == Found::Value
        });
        match (within, without) {
            (true, _) => Found::Value,
            (false, true) => found,
            (false, false) => {
                if array.children().all(|element| element.kind().is_scalar()) {
                    self.note(
                        || "an element with such a value".to_owned(),
                        Some(array),
                        false,
                    );
                }
                Found::No
            }
        }
    }

    fn tree_in_object(&mut self, tree: &Tree, object: Item<'e>) -> Found {
        let mut found = Found::Nothing;
        if tree.branches.is_empty() {
            return found;
        }
        for (name, branch) in &tree.branches {
            let mut ways = object
                .children()
                .filter(|member| begins_with(member.name(), name));
            let below = match (ways.next(), ways.next()) {
                (None, _) => self.nothing(name, branch),
                (Some(member), None) if member.name() == Some(name) => {
                    self.enter(|| name.to_string());
                    let below = self.tree(branch, member, need(branch));
                    self.leave();
                    below
                }
                // Twins, or names with dots: each condition finds its own way.
                _ => {
                    self.enter(|| name.to_string());
                    let below = self.each_leaf(branch, &mut vec![name], object);
                    self.leave();
                    below
                }
            };
            found = found.and(below);
            if found == Found::No {
                break;
            }
        }
        found
    }

    fn each_leaf<'t>(
        &mut self,
        tree: &'t Tree,
        path: &mut Vec<&'t str>,
        object: Item<'e>,
    ) -> Found {
        let mut found = Found::Nothing;
        if let Some(leaf) = &tree.leaf {
            let own = match self.lone(leaf, path, object) {
                Found::Nothing => Found::nothing(leaf.absent),
                found => found,
            };
            if own != Found::Value {
                self.note(|| leaf.to_string(), None, own != Found::No);
            }
            found = found.and(own);
        }
        for (name, branch) in &tree.branches {
            if found == Found::No {
                break;
            }
            path.push(name);
            found = found.and(self.each_leaf(branch, path, object));
            path.pop();
        }
        found
    }

    /// One condition on one path: `No` if there are values and none is right.
    fn lone(&mut self, leaf: &Leaf, path: &[&str], item: Item<'e>) -> Found {
        let holds = |found| if found { Found::Value } else { Found::No };
        let mut found = Found::Nothing;
        match item.kind() {
            Kind::Object if path.is_empty() && leaf.objects => return holds(self.test(leaf, item)),
            Kind::Object => {
                for member in item.children() {
                    let Some(rest) = behind(member.name().unwrap_or_default(), path) else {
                        continue;
                    };
                    match self.lone(leaf, rest, member) {
                        Found::Value => return Found::Value,
                        Found::No => found = Found::No,
                        Found::Nothing => {}
                    }
                }
            }
            Kind::Array => {
                for element in item.children() {
                    match self.lone(leaf, path, element) {
                        Found::Value => return Found::Value,
                        Found::No => found = Found::No,
                        Found::Nothing => {}
                    }
                }
            }
            _ if path.is_empty() => return holds(self.test(leaf, item)),
            _ => {}
        }
        found
    }

    fn test(&mut self, leaf: &Leaf, item: Item<'e>) -> bool {
        let holds = leaf.tests.iter().any(|test| test.holds(item));
        self.note(|| leaf.to_string(), Some(item), holds)
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

fn need(tree: &Tree) -> Need {
    match &tree.leaf {
        None => Need::Done,
        Some(leaf) if leaf.absent => Need::ValueOrNothing,
        Some(_) => Need::Value,
    }
}

/// Whether a member's name is `first`, or begins with it and a dot.
fn begins_with(name: Option<&str>, first: &str) -> bool {
    let rest = name.and_then(|name| name.strip_prefix(first));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// What remains of a path behind a member's name, whose dots separate names too.
fn behind<'p, 't>(name: &str, mut path: &'p [&'t str]) -> Option<&'p [&'t str]> {
    for part in name.split('.') {
        let (first, rest) = path.split_first()?;
        if *first != part {
            return None;
        }
        path = rest;
    }
    Some(path)
}
