//! What every dialect compiles to.
//!
//! Two ways to a value are data of the expression: through all arrays on the way ([`Tree`]: event patterns and search
//! terms), and by the kind of what is there ([`Kinds`]: JSON filters).
//!
//! Invariant: an expression is a finite tree whose parts are shared, never copied, and evaluating it visits each pair of
//! a part and a value at most a fixed number of times.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use super::javascript::Operator;
use super::json::Document;
use super::predicate::Predicate;

/// A condition on the value at hand.
#[derive(Debug, Clone)]
pub(super) enum Expression {
    Constant(bool),
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Arc<Expression>),
    /// The value is there, and this holds for it.
    Test(Predicate),
    /// It equals this scalar as JavaScript's `==` has it.
    Loose(Arc<Document<'static>>),
    /// An operator of a JSON filter; it may also see that nothing is there.
    Operator(Operator, Operand),
    /// What the reference leads to equals the value as JavaScript's `==` has it.
    Same(Reference),
    /// Values below, through arrays.
    Fields(Arc<Tree>),
    /// A member of an object. `missing`: ask also where it is not there.
    Member {
        name: Box<str>,
        missing: bool,
        inner: Arc<Expression>,
    },
    /// For some element of the array.
    Element(Arc<Expression>),
    /// By what the value is.
    Kinds(Arc<Kinds>),
    /// References within start from the value at hand.
    Reroot(Arc<Expression>),
}

/// A condition for each kind of value.
#[derive(Debug)]
pub(super) struct Kinds {
    pub(super) scalar: Expression,
    /// `None`: for some element, by these same kinds.
    pub(super) array: Option<Expression>,
    pub(super) object: Expression,
    pub(super) missing: Expression,
}

/// What an operator compares with.
#[derive(Debug, Clone)]
pub(super) enum Operand {
    Value(Arc<Document<'static>>),
    Reference(Reference),
}

/// A path from the root of the event.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    pub(super) steps: Arc<[Step]>,
    pub(super) text: Arc<str>,
}

/// One step of a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Member(Box<str>),
    Index(usize),
    /// The index of the n-th array on the way to the value at hand.
    Current(usize),
}

/// Conditions on paths that share their beginnings. One element of an array must satisfy all that is below it; scalars
/// in an array belong to none of its elements.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) leaf: Option<Arc<Leaf>>,
    /// By name, in order: most trees have one, for which a map would take ten times the memory.
    pub(super) branches: Vec<(Box<str>, Tree)>,
}

/// Conditions on the values of one path.
#[derive(Debug)]
pub(super) struct Leaf {
    /// One of these holds for one value.
    pub(super) tests: Vec<Predicate>,
    /// Or there is no value.
    pub(super) absent: bool,
    /// Objects are values too.
    pub(super) objects: bool,
}

impl Tree {
    /// Whether it holds where nothing is.
    pub(super) fn holds_for_nothing(&self) -> bool {
        self.leaf.as_ref().is_none_or(|leaf| leaf.absent) && self.branches_hold_for_nothing()
    }

    /// Whether all below it holds where nothing is.
    pub(super) fn branches_hold_for_nothing(&self) -> bool {
        let mut branches = self.branches.iter();
        branches.all(|(_, branch)| branch.holds_for_nothing())
    }

    /// What is below it by this name.
    pub(super) fn branch(&self, name: &str) -> Option<&Tree> {
        let at = self.place(name).ok()?;
        self.branches.get(at).map(|(_, branch)| branch)
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.branches
            .binary_search_by(|(known, _)| (**known).cmp(name))
    }

    /// Sets the condition on a path.
    pub(super) fn set(&mut self, path: &str, leaf: Arc<Leaf>) {
        let mut tree = self;
        for name in path.split('.') {
            let at = tree.place(name).unwrap_or_else(|at| {
                tree.branches.reserve_exact(1);
                tree.branches.insert(at, (name.into(), Self::default()));
                at
            });
            let Some((_, branch)) = tree.branches.get_mut(at) else {
                unreachable!("it is there or was just inserted");
            };
            tree = branch;
        }
        tree.leaf = Some(leaf);
    }

    fn describe(&self, path: &str, lines: &mut Vec<String>) {
        if let Some(leaf) = &self.leaf {
            lines.push(format!("{path}: {leaf}"));
        }
        for (name, branch) in &self.branches {
            let dot = if path.is_empty() { "" } else { "." };
            branch.describe(&format!("{path}{dot}{name}"), lines);
        }
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tests = self.tests.iter().map(Predicate::to_string);
        let absent = self.absent.then(|| "no value".to_owned());
        let all: Vec<String> = tests.chain(absent).collect();
        f.write_str(&all.join(" or "))
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(document) => write!(f, "{}", document.root()),
            Self::Reference(reference) => write!(f, "the value of {}", reference.text),
        }
    }
}

/// The longest description in bytes; the rest is cut.
const MAX_DESCRIPTION: usize = 64 << 10;

/// For people: one condition a line, indented.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.describe(0, &mut text);
        f.write_str(text.trim_end())
    }
}

impl Expression {
    fn describe(&self, depth: usize, out: &mut String) {
        if out.len() > MAX_DESCRIPTION {
            return;
        }
        let line = |text: &str, out: &mut String| {
            // Writing to a string cannot fail.
            writeln!(out, "{}{text}", "  ".repeat(depth)).expect("a string grows");
        };
        let list = |word: &str, parts: &[Self], out: &mut String| {
            line(word, out);
            for part in parts {
                part.describe(depth + 1, out);
            }
        };
        match self {
            Self::Constant(true) => line("always", out),
            Self::Constant(false) => line("never", out),
            Self::All(parts) => list("all of", parts, out),
            Self::Any(parts) => list("any of", parts, out),
            Self::Not(part) => list("not", std::slice::from_ref(&**part), out),
            Self::Test(predicate) => line(&format!("is {predicate}"), out),
            Self::Loose(value) => line(&format!("== {}", value.root()), out),
            Self::Operator(operator, operand) => line(&format!("{operator} {operand}"), out),
            Self::Same(reference) => line(&format!("== the value of {}", reference.text), out),
            Self::Fields(tree) => {
                let mut lines = Vec::new();
                tree.describe("", &mut lines);
                for text in lines {
                    line(&text, out);
                }
            }
            Self::Member {
                name,
                missing,
                inner,
            } => {
                let there = if *missing {
                    ", also where it is missing"
                } else {
                    ""
                };
                list(
                    &format!("member {name:?}{there}"),
                    std::slice::from_ref(&**inner),
                    out,
                );
            }
            Self::Element(part) => list("some element", std::slice::from_ref(&**part), out),
            Self::Kinds(kinds) => kinds.describe(depth, out),
            Self::Reroot(part) => part.describe(depth, out),
        }
    }
}

impl Kinds {
    fn describe(&self, depth: usize, out: &mut String) {
        let indent = "  ".repeat(depth);
        let one = |word: &str, part: &Expression, out: &mut String| {
            if !matches!(part, Expression::Constant(false)) {
                out.push_str(&format!("{indent}{word}:\n"));
                part.describe(depth + 1, out);
            }
        };
        one("a scalar", &self.scalar, out);
        one("an object", &self.object, out);
        one("nothing", &self.missing, out);
        match &self.array {
            Some(array) => one("an array", array, out),
            None => out.push_str(&format!("{indent}an array: some element, likewise\n")),
        }
    }
}
