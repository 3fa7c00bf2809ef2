//! Which values of an event a filter may look at.
//!
//! Invariant: on an event that has only these left, a filter says what it says of the whole event.

use std::collections::BTreeMap;

use super::super::expression::{Expression, Kinds, Operand, Reference, Step, Tree};
use super::super::javascript::Operator;
use super::super::json::{Item, Kind};
use super::hash::Secret;
use super::paths::Asked;

/// All paths that an expression looks at, with those above them.
pub(super) fn asked(expression: &Expression, secret: Secret) -> Vec<Asked> {
    let mut visitor = Visitor {
        secret,
        found: BTreeMap::new(),
    };
    let root = secret.root();
    visitor.note(root, None, false);
    visitor.expression(expression, root, root);
    visitor.found.into_values().collect()
}

struct Visitor {
    secret: Secret,
    found: BTreeMap<u64, Asked>,
}

impl Visitor {
    fn note(&mut self, path: u64, parent: Option<(u64, u8)>, whole: bool) {
        let new = Asked {
            path,
            parent,
            whole,
        };
        self.found.entry(path).or_insert(new).whole |= whole;
    }

    /// A member's name, whose dots separate names too.
    fn below(&mut self, mut path: u64, name: &str) -> u64 {
        for name in name.split('.') {
            let first = name.bytes().next().unwrap_or(0);
            let parent = Some((path, first));
            path = self.secret.below(path, name);
            self.note(path, parent, false);
        }
        path
    }

    fn expression(&mut self, expression: &Expression, path: u64, root: u64) {
        match expression {
            Expression::Constant(_) | Expression::Test(_) | Expression::Loose(_) => {}
            Expression::All(parts) | Expression::Any(parts) => {
                for part in parts {
                    self.expression(part, path, root);
                }
            }
            Expression::Not(part) | Expression::Element(part) => {
                self.expression(part, path, root);
            }
            Expression::Operator(operator, operand) => {
                self.operator(*operator, operand, path, root);
            }
            Expression::Same(reference) => self.reference(reference, root),
            Expression::Fields(tree) => self.tree(tree, path),
            Expression::Member { name, inner, .. } => {
                let path = self.below(path, name);
                self.expression(inner, path, root);
            }
            Expression::Kinds(kinds) => {
                let Kinds {
                    scalar,
                    array,
                    object,
                    missing,
                } = &**kinds;
                let parts = [Some(scalar), array.as_ref(), Some(object), Some(missing)];
                for part in parts.into_iter().flatten() {
                    self.expression(part, path, root);
                }
            }
            Expression::Reroot(part) => self.expression(part, path, path),
        }
    }

    fn operator(&mut self, operator: Operator, operand: &Operand, path: u64, root: u64) {
        let whole = match operand {
            Operand::Value(value) => is_structure(value.root()),
            Operand::Reference(reference) => {
                self.reference(reference, root);
                true
            }
        };
        if whole && matches!(operator, Operator::Eq | Operator::Neq) {
            self.note(path, None, true);
        }
    }

    fn reference(&mut self, reference: &Reference, root: u64) {
        let mut path = root;
        for step in &*reference.steps {
            if let Step::Member(name) = step {
                path = self.below(path, name);
            }
        }
        self.note(path, None, true);
    }

    fn tree(&mut self, tree: &Tree, path: u64) {
        for (name, branch) in &tree.branches {
            let path = self.below(path, name);
            self.tree(branch, path);
        }
    }
}

/// Whether an array or object may equal it: it is one, or the JSON text of one.
pub(super) fn is_structure(compare: Item<'_>) -> bool {
    match compare.kind() {
        Kind::Array | Kind::Object => true,
        Kind::Text(text) => text.starts_with(['[', '{']),
        _ => false,
    }
}
