//! Which destinations of one tenant an event is for, without asking each of them.
//!
//! The catalog keeps one index for each tenant and numbers its destinations; the number is a slot here. The router asks
//! with an event's content. Its source topic and type choose the candidates; only then the filters of those that have one
//! are asked, destination by destination until one takes the event.
//!
//! Subscriptions are filed by source topic, with one file for those that name none. In each, exact event types are found
//! by hash, patterns in a tree of segments in which equal beginnings share their nodes. So the cost of a look-up grows
//! with the answer and with the number of different beginnings that match the event type, not with the destinations.
//! (Segments such as `*-eu`, which start with `*` and go on, are tried one after the other, each different one once.)
//!
//! Invariant: a slot is taken exactly if one of its subscriptions names the topic, or none, has a pattern that matches the
//! event type, or none, and a filter that takes the event, or none.
//! Invariant: the content is not looked into where no candidate has a filter, and where each destination whose filter is a
//! candidate takes the event without it.
//! Invariant: nothing remains of a slot that was removed: no node of the tree is empty but the root.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::{mem, ptr};

use super::content::Content;
use super::destination::{Subscription, SubscriptionFilter};
use super::event_type::{Form, Glob, InvalidPattern, Pattern, Segment};
use super::filter::{Condition, Dialect};

/// The subscriptions of one tenant's destinations.
#[derive(Debug, Clone, Default)]
pub struct SubscriptionIndex {
    any_topic: ByType,
    by_topic: HashMap<Box<str>, ByType>,
    /// Where each slot is filed.
    places: HashMap<u32, HashSet<Place>>,
    /// The filters of each slot that has any, by their subscriptions' positions.
    filters: HashMap<u32, Vec<Option<Named>>>,
}

/// Where a slot is filed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    /// `None`: any.
    topic: Option<Box<str>>,
    pattern: Pattern,
    candidate: Candidate,
}

/// What is filed: subscriptions of a slot that have no filter, or one that has. Those of a slot stand together, the ones
/// without filter first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Candidate {
    slot: u32,
    /// The subscription's position from 1; 0: no filter.
    filter: u16,
}

/// A filter and the subscription that it belongs to.
#[derive(Debug, Clone)]
struct Named {
    subscription: Box<str>,
    filter: SubscriptionFilter,
}

impl Named {
    fn of((position, subscription): (usize, &Subscription)) -> Option<Self> {
        let name = || position.to_string();
        Some(Self {
            subscription: subscription.id.clone().unwrap_or_else(name).into(),
            filter: subscription.filter.clone()?,
        })
    }
}

/// Whom an event is for.
#[derive(Debug, Default)]
pub struct Found {
    /// The slots that take it: each once, ascending.
    pub taken: Vec<u32>,
    /// The slots that might take it if its body were JSON, as their filters ask, and do not otherwise; ascending, each
    /// with what is wrong.
    pub malformed: Vec<(u32, String)>,
    /// What became of the event under the filters of each dialect.
    pub verdicts: Verdicts,
    candidates: Vec<Candidate>,
}

/// What the filters of one dialect say of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Some were asked, and none takes it.
    FilteredOut,
    /// None takes it, and one could not be asked.
    Malformed,
    /// One takes it.
    Matched,
}

/// The verdict of each dialect that was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdicts([Option<Verdict>; Dialect::ALL.len()]);

impl Verdicts {
    fn add(&mut self, dialect: Dialect, verdict: Verdict) {
        if let Some(known) = self.0.get_mut(dialect as usize) {
            *known = (*known).max(Some(verdict));
        }
    }

    /// Those that there are.
    pub fn iter(self) -> impl Iterator<Item = (Dialect, Verdict)> {
        let all = Dialect::ALL.into_iter().zip(self.0);
        all.filter_map(|(dialect, verdict)| Some((dialect, verdict?)))
    }
}

/// Why a destination does not get an event: what the first of its filters that were asked says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBack {
    /// The destination.
    pub slot: u32,
    /// The subscription's id, or its position.
    pub subscription: Box<str>,
    /// The filter's language.
    pub dialect: Dialect,
    /// The condition that decided; `None`: the filter has none.
    pub decided: Option<Condition>,
}

impl SubscriptionIndex {
    /// Files a destination's subscriptions under `slot`, in place of what was there. `None`: every event of the tenant.
    ///
    /// # Errors
    /// If an event type is not a valid pattern. What was filed before then stays.
    pub fn insert(
        &mut self,
        slot: u32,
        subscriptions: Option<&[Subscription]>,
    ) -> Result<(), InvalidPattern> {
        let everything = [Subscription::default()];
        let subscriptions = subscriptions.unwrap_or(&everything);
        let places = places(slot, subscriptions)?;
        self.remove(slot);
        let filters: Vec<Option<Named>> = subscriptions.iter().enumerate().map(Named::of).collect();
        if filters.iter().any(Option::is_some) {
            self.filters.insert(slot, filters);
        }
        for place in &places {
            let file = match &place.topic {
                Some(topic) => self.by_topic.entry(topic.clone()).or_default(),
                None => &mut self.any_topic,
            };
            file.insert(&place.pattern, place.candidate);
        }
        self.places.insert(slot, places);
        Ok(())
    }

    /// Forgets a slot, in time proportional to its own subscriptions.
    pub fn remove(&mut self, slot: u32) {
        self.filters.remove(&slot);
        for place in self.places.remove(&slot).unwrap_or_default() {
            let Some(topic) = &place.topic else {
                self.any_topic.remove(&place.pattern, place.candidate);
                continue;
            };
            if let Some(file) = self.by_topic.get_mut(topic) {
                file.remove(&place.pattern, place.candidate);
                if file.is_empty() {
                    self.by_topic.remove(topic);
                }
            }
        }
    }

    /// Replaces what is in `found` by whom the event is for.
    pub fn matching(&self, content: &Content<'_>, found: &mut Found) {
        found.taken.clear();
        found.malformed.clear();
        found.verdicts = Verdicts::default();
        self.candidates(content, &mut found.candidates);
        for of_slot in found.candidates.chunk_by(|a, b| a.slot == b.slot) {
            let mut problem = None;
            let taken = of_slot.iter().any(|candidate| {
                let Some(named) = self.filter(*candidate) else {
                    return true;
                };
                let verdict = match content.item(named.filter.scope) {
                    Ok(item) if named.filter.filter.matches(item) => Verdict::Matched,
                    Ok(_) => Verdict::FilteredOut,
                    Err(no_json) => {
                        problem.get_or_insert((named, no_json));
                        Verdict::Malformed
                    }
                };
                found.verdicts.add(named.filter.filter.dialect(), verdict);
                verdict == Verdict::Matched
            });
            let slot = of_slot.first().map_or(0, |candidate| candidate.slot);
            if taken {
                found.taken.push(slot);
            } else if let Some((named, no_json)) = problem {
                let subscription = &named.subscription;
                let detail = format!(
                    "{no_json}, but the filter of subscription `{subscription}` asks about it"
                );
                found.malformed.push((slot, detail));
            }
        }
    }

    /// Tells of one destination why its filters hold the event back: the first that `wants` is true for. Slow: for samples.
    pub fn held_back(
        &self,
        content: &Content<'_>,
        wants: impl Fn(u32) -> bool,
    ) -> Option<HeldBack> {
        let mut candidates = Vec::new();
        self.candidates(content, &mut candidates);
        candidates.retain(|candidate| wants(candidate.slot));
        let mut slots = candidates.chunk_by(|a, b| a.slot == b.slot);
        slots.find_map(|of_slot| {
            let mut first = None;
            for candidate in of_slot {
                let named = self.filter(*candidate)?;
                let item = content.item(named.filter.scope).ok()?;
                if named.filter.filter.matches(item) {
                    return None;
                }
                first.get_or_insert((candidate.slot, named, item));
            }
            let (slot, named, item) = first?;
            Some(HeldBack {
                slot,
                subscription: named.subscription.clone(),
                dialect: named.filter.filter.dialect(),
                decided: named.filter.filter.explain(item).decided,
            })
        })
    }

    /// The filter of a candidate that has one.
    fn filter(&self, candidate: Candidate) -> Option<&Named> {
        let position = usize::from(candidate.filter).checked_sub(1)?;
        self.filters.get(&candidate.slot)?.get(position)?.as_ref()
    }

    /// Replaces what is in `found` by the candidates for an event's topic and type: each once, ascending.
    fn candidates(&self, content: &Content<'_>, found: &mut Vec<Candidate>) {
        found.clear();
        self.any_topic.matching(content.event_type(), found);
        if let Some(file) = self.by_topic.get(content.topic()) {
            file.matching(content.event_type(), found);
        }
        found.sort_unstable();
        found.dedup();
    }
}

/// What a subscription is filed as.
fn candidate(slot: u32, position: u16, subscription: &Subscription) -> Candidate {
    Candidate {
        slot,
        filter: subscription
            .filter
            .as_ref()
            .map_or(0, |_| position.saturating_add(1)),
    }
}

/// All places that subscriptions name: each of a subscription's topics with each of its event types.
fn places(slot: u32, subscriptions: &[Subscription]) -> Result<HashSet<Place>, InvalidPattern> {
    let mut places = HashSet::new();
    for (position, subscription) in (0..).zip(subscriptions) {
        let candidate = candidate(slot, position, subscription);
        let patterns = match &subscription.event_types {
            Some(texts) => texts
                .iter()
                .map(|text| Pattern::parse(text))
                .collect::<Result<_, _>>()?,
            None => vec![Pattern::all()],
        };
        let topics = match &subscription.topics {
            Some(topics) => topics.iter().map(|topic| Some(&**topic)).collect(),
            None => vec![None],
        };
        for topic in topics {
            places.extend(patterns.iter().map(|pattern| Place {
                topic: topic.map(Into::into),
                pattern: pattern.clone(),
                candidate,
            }));
        }
    }
    Ok(places)
}

/// The candidates of one source topic, or of those that name none, by event type.
#[derive(Debug, Clone, Default)]
struct ByType {
    all: BTreeSet<Candidate>,
    exact: HashMap<Box<str>, BTreeSet<Candidate>>,
    patterns: Node,
}

impl ByType {
    fn insert(&mut self, pattern: &Pattern, candidate: Candidate) {
        match pattern.form() {
            Form::All => {
                self.all.insert(candidate);
            }
            Form::Exact(text) => {
                self.exact
                    .entry(text.clone())
                    .or_default()
                    .insert(candidate);
            }
            Form::Segments(segments) => self.patterns.insert(segments, candidate),
        }
    }

    fn remove(&mut self, pattern: &Pattern, candidate: Candidate) {
        match pattern.form() {
            Form::All => {
                self.all.remove(&candidate);
            }
            Form::Exact(text) => {
                if let Some(candidates) = self.exact.get_mut(text) {
                    candidates.remove(&candidate);
                    if candidates.is_empty() {
                        self.exact.remove(text);
                    }
                }
            }
            Form::Segments(segments) => self.patterns.remove(segments, candidate),
        }
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty() && self.exact.is_empty() && self.patterns.is_empty()
    }

    fn matching(&self, event_type: &str, found: &mut Vec<Candidate>) {
        found.extend(&self.all);
        if let Some(candidates) = self.exact.get(event_type) {
            found.extend(candidates);
        }
        if !self.patterns.is_empty() {
            self.patterns.matching(event_type, found);
        }
    }
}

/// A beginning of patterns: what follows it, and the candidates whose pattern ends here.
#[derive(Debug, Clone, Default)]
struct Node {
    candidates: BTreeSet<Candidate>,
    literals: HashMap<Box<str>, Node>,
    any: Option<Box<Node>>,
    /// By what stands before their first `*`.
    globs: HashMap<Box<str>, HashMap<Glob, Node>>,
    deep: Option<Box<Node>>,
    /// Whether this beginning ends with `**`, which takes further segments.
    repeats: bool,
}

impl Node {
    fn insert(&mut self, rest: &[Segment], candidate: Candidate) {
        let mut node = self;
        for segment in rest {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Segment::Any => node.any.get_or_insert_default(),
                Segment::Glob(glob) => {
                    let alike = node.globs.entry(glob.prefix.clone()).or_default();
                    alike.entry(glob.clone()).or_default()
                }
                Segment::Deep => {
                    let deep = node.deep.get_or_insert_default();
                    deep.repeats = true;
                    deep
                }
            };
        }
        node.candidates.insert(candidate);
    }

    fn remove(&mut self, rest: &[Segment], candidate: Candidate) {
        let Some((segment, rest)) = rest.split_first() else {
            self.candidates.remove(&candidate);
            return;
        };
        match segment {
            Segment::Literal(text) => remove_among(&mut self.literals, &**text, rest, candidate),
            Segment::Any => remove_below(&mut self.any, rest, candidate),
            Segment::Glob(glob) => {
                if let Some(alike) = self.globs.get_mut(&glob.prefix) {
                    remove_among(alike, glob, rest, candidate);
                    if alike.is_empty() {
                        self.globs.remove(&glob.prefix);
                    }
                }
            }
            Segment::Deep => remove_below(&mut self.deep, rest, candidate),
        }
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
    fn matching(&self, event_type: &str, found: &mut Vec<Candidate>) -> usize {
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
            found.extend(&node.candidates);
        }
        visited
    }

    /// Adds the nodes that taking one more segment leads to.
    fn step<'a>(&'a self, segment: &str, next: &mut Vec<&'a Self>) {
        if self.repeats {
            next.push(self);
        }
        next.extend(self.literals.get(segment));
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
                    .map(|(_, node)| node),
            );
        }
    }
}

/// Removes a candidate below one of the children, and that child if nothing is left of it.
fn remove_among<K, Q>(
    children: &mut HashMap<K, Node>,
    key: &Q,
    rest: &[Segment],
    candidate: Candidate,
) where
    K: Borrow<Q> + Eq + Hash,
    Q: Eq + Hash + ?Sized,
{
    if let Some(child) = children.get_mut(key) {
        child.remove(rest, candidate);
        if child.is_empty() {
            children.remove(key);
        }
    }
}

/// Removes a candidate below an only child, and that child if nothing is left of it.
fn remove_below(child: &mut Option<Box<Node>>, rest: &[Segment], candidate: Candidate) {
    if let Some(node) = child {
        node.remove(rest, candidate);
        if node.is_empty() {
            *child = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::content::{Body, Parts};
    use crate::domain::destination::Scope;
    use crate::domain::filter::Filter;
    use crate::domain::filter::json::Item;

    fn subscription(topics: Option<&[&str]>, event_types: Option<&[&str]>) -> Subscription {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Subscription {
            id: None,
            topics: topics.map(owned),
            event_types: event_types.map(owned),
            filter: None,
        }
    }

    fn matching(index: &SubscriptionIndex, topic: &str, event_type: &str) -> Vec<u32> {
        taken(index, &parts(topic, event_type, "null")).taken
    }

    fn id() -> String {
        "e-1".into()
    }

    fn parts<'e>(topic: &'e str, event_type: &'e str, body: &'e str) -> Parts<'e> {
        Parts {
            id: &id,
            event_type,
            topic,
            time_ms: 0,
            key: None,
            headers: &[("team", Some(b"a"))],
            body: Body::Json(body.as_bytes()),
        }
    }

    /// What is found after something else was found.
    fn taken(index: &SubscriptionIndex, parts: &Parts<'_>) -> Found {
        let mut found = Found {
            taken: vec![99],
            malformed: vec![(98, String::new())],
            ..Found::default()
        };
        index.matching(&Content::new(*parts), &mut found);
        found
    }

    #[test]
    fn a_slot_is_found_once_whatever_number_of_its_subscriptions_match() {
        let mut index = SubscriptionIndex::default();
        let all_ways = [
            subscription(None, None),
            subscription(Some(&["orders", "orders"]), None),
            subscription(
                None,
                Some(&["*", "**.paid", "order.*", "order.paid", "ord*.*"]),
            ),
        ];
        index.insert(7, Some(&all_ways)).expect("valid");
        index.insert(3, None).expect("valid");
        assert_eq!(matching(&index, "orders", "order.paid"), [3, 7]);
    }

    #[test]
    fn all_conditions_of_a_subscription_must_hold() {
        let mut index = SubscriptionIndex::default();
        for (slot, subscription) in [
            (0, subscription(None, None)),
            (1, subscription(Some(&["orders"]), None)),
            (2, subscription(None, Some(&["order.*"]))),
            (3, subscription(Some(&["orders"]), Some(&["order.paid"]))),
            (
                4,
                subscription(Some(&["users", "orders"]), Some(&["user.*", "*.paid"])),
            ),
            (5, subscription(Some(&["users"]), Some(&["order.paid"]))),
            (6, subscription(Some(&[]), None)),
            (7, subscription(None, Some(&[]))),
        ] {
            index.insert(slot, Some(&[subscription])).expect("valid");
        }
        index.insert(8, Some(&[])).expect("valid");
        for (topic, event_type, expected) in [
            ("orders", "order.paid", vec![0, 1, 2, 3, 4]),
            ("users", "order.paid", vec![0, 2, 4, 5]),
            ("users", "user.new", vec![0, 4]),
            ("other", "order.paid", vec![0, 2]),
            ("other", "other", vec![0]),
        ] {
            assert_eq!(
                matching(&index, topic, event_type),
                expected,
                "{topic} {event_type}"
            );
        }
    }

    #[test]
    fn an_invalid_pattern_leaves_what_was_there() {
        let mut index = SubscriptionIndex::default();
        let valid = [subscription(None, Some(&["a"]))];
        index.insert(1, Some(&valid)).expect("valid");
        let invalid = [subscription(None, Some(&["b", "x**"]))];
        assert!(index.insert(1, Some(&invalid)).is_err());
        assert_eq!(matching(&index, "t", "a"), [1]);
        assert!(matching(&index, "t", "b").is_empty());
    }

    #[test]
    fn the_cost_does_not_grow_with_the_destinations() {
        let cost = |destinations: u32| {
            let mut index = SubscriptionIndex::default();
            for slot in 0..destinations {
                let own = [
                    format!("customer-{slot}.*"),
                    format!("customer-{slot}*.paid"),
                    format!("*.customer-{slot}.**"),
                    format!("**.customer-{slot}"),
                ];
                let own: Vec<&str> = own.iter().map(String::as_str).collect();
                let shared = ["order.*", "order.**", "**.paid", "or*.paid", "*.created"];
                let subscriptions = [subscription(None, Some(&[&own[..], &shared].concat()))];
                index.insert(slot, Some(&subscriptions)).expect("valid");
            }
            let mut found = Vec::new();
            let visited = index.any_topic.patterns.matching("order.paid", &mut found);
            assert!(found.len() >= destinations as usize);
            visited
        };
        assert_eq!(cost(2), cost(2000));
    }

    fn filtered(dialect: Dialect, scope: Scope, rule: &str) -> Subscription {
        let rule = rule.parse().unwrap_or_else(|_text| rule.into());
        let filter = Filter::compile(dialect, &rule).expect("valid");
        Subscription {
            filter: Some(SubscriptionFilter {
                scope,
                filter: Arc::new(filter),
            }),
            ..Subscription::default()
        }
    }

    const PAID: &str = r#"{"state": ["paid"]}"#;

    /// 0 takes what is paid in each of three languages; 1 asks the envelope; 2 takes `t` and what is paid; 3 everything.
    fn filtering() -> SubscriptionIndex {
        let mut index = SubscriptionIndex::default();
        let three = [
            filtered(Dialect::EventBridge, Scope::Body, PAID),
            filtered(Dialect::Hookdeck, Scope::Body, r#"{"state": "paid"}"#),
            filtered(Dialect::Shopify, Scope::Body, "state:paid"),
        ];
        let team = r#"{"headers": {"team": "a"}, "type": {"$startsWith": "order."}}"#;
        let envelope = [filtered(Dialect::Hookdeck, Scope::Envelope, team)];
        let either = [
            subscription(None, Some(&["t"])),
            Subscription {
                id: Some("paid".to_owned()),
                ..filtered(Dialect::EventBridge, Scope::Body, PAID)
            },
        ];
        for (slot, subscriptions) in [(0, &three[..]), (1, &envelope), (2, &either)] {
            index.insert(slot, Some(subscriptions)).expect("valid");
        }
        index.insert(3, None).expect("valid");
        index
    }

    #[test]
    fn a_filter_is_asked_after_topic_and_type_and_one_that_takes_the_event_is_enough() {
        let index = filtering();
        let (paid, new) = (r#"{"state": "paid"}"#, r#"{"state": "new"}"#);
        for (event_type, body, slots) in [
            ("order.paid", paid, &[0, 1, 2, 3][..]),
            ("order.paid", new, &[1, 3]),
            ("t", new, &[2, 3]),
            ("t", paid, &[0, 2, 3]),
        ] {
            let found = taken(&index, &parts("orders", event_type, body));
            assert_eq!(found.taken, slots, "{event_type} {body}");
            assert_eq!(found.malformed, []);
        }
    }

    #[test]
    fn who_asks_about_a_body_that_is_not_json_is_told_what_is_wrong_and_the_others_take_it() {
        let index = filtering();
        let found = taken(&index, &parts("orders", "order.paid", "{\"state\": }"));
        assert_eq!(found.taken, [1, 3]);
        let problem =
            "the value is not JSON: a value expected at byte 10, but the filter of subscription";
        assert_eq!(
            found.malformed,
            [
                (0, format!("{problem} `0` asks about it")),
                (2, format!("{problem} `paid` asks about it")),
            ]
        );
        let found = taken(&index, &parts("orders", "t", "\u{0}"));
        assert_eq!(
            found.taken,
            [2, 3],
            "one that takes it without filter asks nothing"
        );
        assert_eq!(found.malformed.len(), 1);
    }

    #[test]
    fn verdicts_are_told_for_each_dialect_that_was_asked() {
        use Verdict::{FilteredOut, Malformed, Matched};
        let index = filtering();
        let verdicts = |event_type: &str, body: &str| -> Vec<(Dialect, Verdict)> {
            taken(&index, &parts("orders", event_type, body))
                .verdicts
                .iter()
                .collect()
        };
        let [eventbridge, hookdeck, shopify] = Dialect::ALL;
        assert_eq!(
            verdicts("order.paid", r#"{"state": "paid"}"#),
            [(eventbridge, Matched), (hookdeck, Matched)],
            "the first that takes it is enough"
        );
        assert_eq!(
            verdicts("order.paid", "{}"),
            [
                (eventbridge, FilteredOut),
                (hookdeck, Matched),
                (shopify, FilteredOut)
            ]
        );
        assert_eq!(
            verdicts("user.paid", ""),
            [
                (eventbridge, Malformed),
                (hookdeck, Malformed),
                (shopify, Malformed)
            ]
        );
        let none = taken(&SubscriptionIndex::default(), &parts("orders", "t", ""));
        assert_eq!(none.verdicts.iter().count(), 0);
    }

    #[test]
    fn what_is_held_back_says_which_condition_decided() {
        let index = filtering();
        let parts = parts("orders", "order.paid", r#"{"state": "new"}"#);
        let held = |slots: &[u32]| {
            let content = Content::new(parts);
            index.held_back(&content, |slot| slots.contains(&slot))
        };
        let found = held(&[1, 2, 3]).expect("2 is held back");
        assert_eq!((found.slot, &*found.subscription), (2, "paid"));
        assert_eq!(found.dialect, Dialect::EventBridge);
        let condition = found.decided.expect("one decided");
        assert_eq!(condition.path, "/state");
        assert_eq!(condition.wanted, "\"paid\"");
        assert_eq!(condition.found.as_deref(), Some("\"new\""));
        assert_eq!(held(&[0]).map(|found| found.slot), Some(0));
        assert_eq!(held(&[1, 3]), None, "these take it");
    }

    #[test]
    fn the_content_is_not_looked_into_without_need() {
        let mut index = filtering();
        index.remove(0);
        index.remove(1);
        let unasked = || unreachable!("no envelope is asked for");
        let parts = Parts {
            id: &unasked,
            ..parts("orders", "t", "no JSON")
        };
        assert_eq!(taken(&index, &parts).malformed, []);
    }

    /// Words of few letters, so that random subscriptions do match.
    fn types() -> impl Strategy<Value = String> {
        prop::collection::vec("a|b|ab|é|", 1..4).prop_map(|segments| segments.join("."))
    }

    fn patterns() -> impl Strategy<Value = String> {
        let segment = "a|b|ab|é|\\*|\\*\\*|a\\*|\\*b|\\*a\\*|a\\*b|\\*é";
        prop_oneof![
            1 => Just("*".to_owned()),
            4 => prop::collection::vec(segment, 1..4).prop_map(|segments| segments.join(".")),
        ]
    }

    fn topics() -> impl Strategy<Value = String> {
        "[xyz]"
    }

    fn destinations() -> impl Strategy<Value = Option<Vec<Subscription>>> {
        let subscription = (
            prop::option::of(prop::collection::vec(topics(), 0..3)),
            prop::option::of(prop::collection::vec(patterns(), 0..4)),
            prop::option::weighted(0.3, any::<bool>()),
        )
            .prop_map(|(topics, event_types, filter)| Subscription {
                topics,
                event_types,
                // The events of the property are `null`.
                filter: filter.and_then(|takes| {
                    let rule = if takes { "null" } else { "1" };
                    filtered(Dialect::Hookdeck, Scope::Body, rule).filter
                }),
                ..Subscription::default()
            });
        prop::option::weighted(0.9, prop::collection::vec(subscription, 0..3))
    }

    /// Asks each subscription.
    fn scan(
        destinations: &BTreeMap<u32, Option<Vec<Subscription>>>,
        topic: &str,
        event_type: &str,
    ) -> Vec<u32> {
        let chooses = |subscription: &Subscription| {
            let topics = subscription.topics.as_ref();
            let types = subscription.event_types.as_ref();
            let null = Item::null();
            let filter = subscription.filter.as_ref();
            filter.is_none_or(|filter| filter.filter.matches(null))
                && topics.is_none_or(|topics| topics.iter().any(|t| t == topic))
                && types.is_none_or(|types| {
                    types
                        .iter()
                        .any(|text| Pattern::parse(text).expect("valid").matches(event_type))
                })
        };
        destinations
            .iter()
            .filter(|(_, subscriptions)| {
                subscriptions
                    .as_ref()
                    .is_none_or(|all| all.iter().any(chooses))
            })
            .map(|(slot, _)| *slot)
            .collect()
    }

    proptest! {
        #[test]
        fn the_index_equals_a_scan_before_and_after_updates(
            updates in prop::collection::vec((0u32..12, prop::option::weighted(0.8, destinations())), 1..40),
            events in prop::collection::vec((topics(), types()), 1..12),
        ) {
            let mut index = SubscriptionIndex::default();
            let mut destinations = BTreeMap::new();
            for (slot, update) in updates {
                match update {
                    Some(subscriptions) => {
                        index.insert(slot, subscriptions.as_deref()).expect("valid");
                        destinations.insert(slot, subscriptions);
                    }
                    None => {
                        index.remove(slot);
                        destinations.remove(&slot);
                    }
                }
                for (topic, event_type) in &events {
                    prop_assert_eq!(
                        matching(&index, topic, event_type),
                        scan(&destinations, topic, event_type),
                        "{} {}", topic, event_type
                    );
                }
            }
            for slot in destinations.keys() {
                index.remove(*slot);
            }
            prop_assert!(index.any_topic.is_empty() && index.by_topic.is_empty());
            prop_assert!(index.places.is_empty() && index.filters.is_empty());
        }
    }
}
