//! Conditions on paths through arrays, for event patterns and search texts.
//!
//! Invariant: a branch visits a value once. Where an event names a way twice, each condition below is asked by itself.

use std::sync::Arc;

use super::super::expression::{Leaf, Tree};
use super::super::json::{Item, Kind};
use super::Evaluation;

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

impl<'e> Evaluation<'e> {
    /// Whether a tree holds for a value, or where nothing is.
    pub(super) fn fields(&mut self, tree: &Tree, at: Option<Item<'e>>) -> bool {
        match at {
            Some(item) => self.tree(tree, item, need(tree)) != Found::No,
            None => tree.holds_for_nothing(),
        }
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
            let leaf = Arc::clone(leaf);
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
        let below = tree.branches_hold_for_nothing();
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
                .filter(|member| leads_into(member.name().unwrap_or_default(), name, branch));
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
}

fn need(tree: &Tree) -> Need {
    match &tree.leaf {
        None => Need::Done,
        Some(leaf) if leaf.absent => Need::ValueOrNothing,
        Some(_) => Need::Value,
    }
}

/// Whether a member's name is that of a branch, or leads into it by names behind dots.
fn leads_into(name: &str, first: &str, branch: &Tree) -> bool {
    let Some(rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(rest) = rest.strip_prefix('.') else {
        return rest.is_empty();
    };
    let mut names = rest.split('.');
    names
        .try_fold(branch, |tree, name| tree.branch(name))
        .is_some()
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
