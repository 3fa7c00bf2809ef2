//! Candidates by event type: exact ones by hash, patterns in a tree of segments.
//!
//! Invariant: nothing remains of a candidate that was removed: no node of the tree is empty but the root.
//! Invariant: a copy never changes by a change of another one, and shares with it what is alike.

use std::collections::HashMap;
use std::sync::Arc;
use std::{mem, ptr};

use super::super::event_type::{Form, Glob, Pattern, Segment};
use super::super::persistent::{Map, Set};
use super::Candidate;

/// The candidates of one source topic, or of those that name none, by event type.
#[derive(Debug, Clone, Default)]
pub(super) struct ByType {
    all: Set<Candidate>,
    exact: Map<Box<str>, Set<Candidate>>,
    pub(super) patterns: Node,
}

impl ByType {
    pub(super) fn insert(&mut self, pattern: &Pattern, candidate: Candidate) {
        match pattern.form() {
            Form::All => {
                self.all.insert(candidate);
            }
            Form::Exact(text) => {
                let exact = self.exact.entry(text.clone(), Set::default);
                exact.insert(candidate);
            }
            Form::Segments(segments) => self.patterns.insert(segments, candidate),
        }
    }

    pub(super) fn remove(&mut self, pattern: &Pattern, candidate: Candidate) {
        match pattern.form() {
            Form::All => {
                self.all.remove(candidate);
            }
            Form::Exact(text) => {
                if let Some(candidates) = self.exact.get_mut(text) {
                    candidates.remove(candidate);
                    if candidates.is_empty() {
                        self.exact.remove(text);
                    }
                }
            }
            Form::Segments(segments) => self.patterns.remove(segments, candidate),
        }
    }

    /// How many candidates a pattern has.
    pub(super) fn count(&self, pattern: &Pattern) -> usize {
        match pattern.form() {
            Form::All => self.all.len(),
            Form::Exact(text) => self.exact.get(text).map_or(0, Set::len),
            Form::Segments(segments) => self.patterns.count(segments),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.exact.is_empty() && self.patterns.is_empty()
    }

    pub(super) fn matching(&self, event_type: &str, found: &mut Vec<Candidate>) {
        found.extend(self.all.iter());
        if let Some(candidates) = self.exact.get(event_type) {
            found.extend(candidates.iter());
        }
        if !self.patterns.is_empty() {
            self.patterns.matching(event_type, found);
        }
    }
}

/// A beginning of patterns: what follows it, and the candidates whose pattern ends here.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    candidates: Set<Candidate>,
    literals: Map<Box<str>, Arc<Node>>,
    any: Option<Arc<Node>>,
    /// By what stands before their first `*`.
    globs: Map<Box<str>, HashMap<Glob, Arc<Node>>>,
    deep: Option<Arc<Node>>,
    /// Whether this beginning ends with `**`, which takes further segments.
    repeats: bool,
}

impl Node {
    fn insert(&mut self, rest: &[Segment], candidate: Candidate) {
        let mut node = self;
        for segment in rest {
            node = match segment {
                Segment::Literal(text) => {
                    let below = node.literals.entry(text.clone(), Arc::default);
                    Arc::make_mut(below)
                }
                Segment::Any => Arc::make_mut(node.any.get_or_insert_default()),
                Segment::Glob(glob) => {
                    let alike = node.globs.entry(glob.prefix.clone(), HashMap::new);
                    Arc::make_mut(alike.entry(glob.clone()).or_default())
                }
                Segment::Deep => {
                    let deep = Arc::make_mut(node.deep.get_or_insert_default());
                    deep.repeats = true;
                    deep
                }
            };
        }
        node.candidates.insert(candidate);
    }

    fn remove(&mut self, rest: &[Segment], candidate: Candidate) {
        let Some((segment, rest)) = rest.split_first() else {
            self.candidates.remove(candidate);
            return;
        };
        match segment {
            Segment::Literal(text) => {
                if let Some(child) = self.literals.get_mut(text)
                    && is_empty_without(child, rest, candidate)
                {
                    self.literals.remove(text);
                }
            }
            Segment::Any => remove_below(&mut self.any, rest, candidate),
            Segment::Glob(glob) => {
                if let Some(alike) = self.globs.get_mut(&glob.prefix) {
                    if let Some(child) = alike.get_mut(glob)
                        && is_empty_without(child, rest, candidate)
                    {
                        alike.remove(glob);
                    }
                    if alike.is_empty() {
                        self.globs.remove(&glob.prefix);
                    }
                }
            }
            Segment::Deep => remove_below(&mut self.deep, rest, candidate),
        }
    }

    fn count(&self, rest: &[Segment]) -> usize {
        let node = rest.iter().try_fold(self, |node, segment| match segment {
            Segment::Literal(text) => node.literals.get(text).map(|node| &**node),
            Segment::Any => node.any.as_deref(),
            Segment::Glob(glob) => Some(&**node.globs.get(&glob.prefix)?.get(glob)?),
            Segment::Deep => node.deep.as_deref(),
        });
        node.map_or(0, |node| node.candidates.len())
    }

    fn is_empty(&self) -> bool {
        self.candidates.is_empty()
            && self.literals.is_empty()
            && self.any.is_none()
            && self.globs.is_empty()
            && self.deep.is_none()
    }

    /// Adds the candidates below this root whose pattern matches. Follows all beginnings that match at the same time, segment
    /// by segment, and returns how many those were: the cost.
    pub(super) fn matching(&self, event_type: &str, found: &mut Vec<Candidate>) -> usize {
        let mut visited = 0;
        let (mut current, mut next) = (vec![self], Vec::new());
        for segment in event_type.split('.') {
            for node in current.drain(..) {
                node.step(segment, &mut next);
            }
            // A `**` is reached both from before it and from itself.
            next.sort_unstable_by_key(|node| ptr::from_ref(*node));
            next.dedup_by(|a, b| ptr::eq(*a, *b));
            mem::swap(&mut current, &mut next);
            visited += current.len();
        }
        for node in current {
            found.extend(node.candidates.iter());
        }
        visited
    }

    /// Adds the nodes that taking one more segment leads to.
    fn step<'a>(&'a self, segment: &str, next: &mut Vec<&'a Self>) {
        if self.repeats {
            next.push(self);
        }
        next.extend(self.literals.get(segment).map(|node| &**node));
        next.extend(self.any.as_deref());
        next.extend(self.deep.as_deref());
        if self.globs.is_empty() {
            return;
        }
        let cuts = segment.char_indices().map(|(at, _)| at);
        for (prefix, rest) in cuts
            .chain([segment.len()])
            .filter_map(|at| segment.split_at_checked(at))
        {
            let alike = self.globs.get(prefix).into_iter().flatten();
            next.extend(
                alike
                    .filter(|(glob, _)| glob.rest_matches(rest))
                    .map(|(_, node)| &**node),
            );
        }
    }
}

/// Removes a candidate below a child; returns whether nothing is left of it.
fn is_empty_without(child: &mut Arc<Node>, rest: &[Segment], candidate: Candidate) -> bool {
    let child = Arc::make_mut(child);
    child.remove(rest, candidate);
    child.is_empty()
}

/// Removes a candidate below an only child, and that child if nothing is left of it.
fn remove_below(child: &mut Option<Arc<Node>>, rest: &[Segment], candidate: Candidate) {
    if let Some(node) = child
        && is_empty_without(node, rest, candidate)
    {
        *child = None;
    }
}
