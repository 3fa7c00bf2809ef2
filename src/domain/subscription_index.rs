//! Which destinations of one tenant an event is for, without asking each of them.
//!
//! The catalog keeps one index for each tenant and numbers its destinations; the number is a slot here. The router asks
//! with an event's source topic and type. Filters are judged after that.
//!
//! Subscriptions are filed by source topic, with one file for those that name none. In each, exact event types are found
//! by hash, patterns in a tree of segments in which equal beginnings share their nodes. So the cost of a look-up grows
//! with the answer and with the number of different beginnings that match the event type, not with the destinations.
//! (Segments such as `*-eu`, which start with `*` and go on, are tried one after the other, each different one once.)
//!
//! Invariant: a slot is found exactly if one of its subscriptions names the topic, or none, and has a pattern that matches
//! the event type, or none.
//! Invariant: nothing remains of a slot that was removed: no node of the tree is empty but the root.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::{mem, ptr};

use super::destination::Subscription;
use super::event_type::{Form, Glob, InvalidPattern, Pattern, Segment};

/// The subscriptions of one tenant's destinations.
#[derive(Debug, Clone, Default)]
pub struct SubscriptionIndex {
    any_topic: ByType,
    by_topic: HashMap<Box<str>, ByType>,
    /// Where each slot is filed.
    places: HashMap<u32, HashSet<Place>>,
}

/// Where a slot is filed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    /// `None`: any.
    topic: Option<Box<str>>,
    pattern: Pattern,
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
        let places = match subscriptions {
            Some(subscriptions) => places(subscriptions)?,
            None => HashSet::from([Place {
                topic: None,
                pattern: Pattern::all(),
            }]),
        };
        self.remove(slot);
        for place in &places {
            let file = match &place.topic {
                Some(topic) => self.by_topic.entry(topic.clone()).or_default(),
                None => &mut self.any_topic,
            };
            file.insert(&place.pattern, slot);
        }
        self.places.insert(slot, places);
        Ok(())
    }

    /// Forgets a slot, in time proportional to its own subscriptions.
    pub fn remove(&mut self, slot: u32) {
        for place in self.places.remove(&slot).unwrap_or_default() {
            let Some(topic) = &place.topic else {
                self.any_topic.remove(&place.pattern, slot);
                continue;
            };
            if let Some(file) = self.by_topic.get_mut(topic) {
                file.remove(&place.pattern, slot);
                if file.is_empty() {
                    self.by_topic.remove(topic);
                }
            }
        }
    }

    /// Replaces what is in `found` by the slots that an event of `event_type` in the source topic `topic` is for: each
    /// once, ascending.
    pub fn matching(&self, topic: &str, event_type: &str, found: &mut Vec<u32>) {
        found.clear();
        self.any_topic.matching(event_type, found);
        if let Some(file) = self.by_topic.get(topic) {
            file.matching(event_type, found);
        }
        found.sort_unstable();
        found.dedup();
    }
}

/// All places that subscriptions name: each of a subscription's topics with each of its event types.
fn places(subscriptions: &[Subscription]) -> Result<HashSet<Place>, InvalidPattern> {
    let mut places = HashSet::new();
    for subscription in subscriptions {
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
            }));
        }
    }
    Ok(places)
}

/// The slots of one source topic, or of those that name none, by event type.
#[derive(Debug, Clone, Default)]
struct ByType {
    all: BTreeSet<u32>,
    exact: HashMap<Box<str>, BTreeSet<u32>>,
    patterns: Node,
}

impl ByType {
    fn insert(&mut self, pattern: &Pattern, slot: u32) {
        match pattern.form() {
            Form::All => {
                self.all.insert(slot);
            }
            Form::Exact(text) => {
                self.exact.entry(text.clone()).or_default().insert(slot);
            }
            Form::Segments(segments) => self.patterns.insert(segments, slot),
        }
    }

    fn remove(&mut self, pattern: &Pattern, slot: u32) {
        match pattern.form() {
            Form::All => {
                self.all.remove(&slot);
            }
            Form::Exact(text) => {
                if let Some(slots) = self.exact.get_mut(text) {
                    slots.remove(&slot);
                    if slots.is_empty() {
                        self.exact.remove(text);
                    }
                }
            }
            Form::Segments(segments) => self.patterns.remove(segments, slot),
        }
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty() && self.exact.is_empty() && self.patterns.is_empty()
    }

    fn matching(&self, event_type: &str, found: &mut Vec<u32>) {
        found.extend(&self.all);
        if let Some(slots) = self.exact.get(event_type) {
            found.extend(slots);
        }
        if !self.patterns.is_empty() {
            self.patterns.matching(event_type, found);
        }
    }
}

/// A beginning of patterns: what follows it, and the slots whose pattern ends here.
#[derive(Debug, Clone, Default)]
struct Node {
    slots: BTreeSet<u32>,
    literals: HashMap<Box<str>, Node>,
    any: Option<Box<Node>>,
    /// By what stands before their first `*`.
    globs: HashMap<Box<str>, HashMap<Glob, Node>>,
    deep: Option<Box<Node>>,
    /// Whether this beginning ends with `**`, which takes further segments.
    repeats: bool,
}

impl Node {
    fn insert(&mut self, rest: &[Segment], slot: u32) {
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
        node.slots.insert(slot);
    }

    fn remove(&mut self, rest: &[Segment], slot: u32) {
        let Some((segment, rest)) = rest.split_first() else {
            self.slots.remove(&slot);
            return;
        };
        match segment {
            Segment::Literal(text) => remove_among(&mut self.literals, &**text, rest, slot),
            Segment::Any => remove_below(&mut self.any, rest, slot),
            Segment::Glob(glob) => {
                if let Some(alike) = self.globs.get_mut(&glob.prefix) {
                    remove_among(alike, glob, rest, slot);
                    if alike.is_empty() {
                        self.globs.remove(&glob.prefix);
                    }
                }
            }
            Segment::Deep => remove_below(&mut self.deep, rest, slot),
        }
    }

    fn is_empty(&self) -> bool {
        self.slots.is_empty()
            && self.literals.is_empty()
            && self.any.is_none()
            && self.globs.is_empty()
            && self.deep.is_none()
    }

    /// Adds the slots below this root whose pattern matches. Follows all beginnings that match at the same time, segment
    /// by segment, and returns how many those were: the cost.
    fn matching(&self, event_type: &str, found: &mut Vec<u32>) -> usize {
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
            found.extend(&node.slots);
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

/// Removes a slot below one of the children, and that child if nothing is left of it.
fn remove_among<K, Q>(children: &mut HashMap<K, Node>, key: &Q, rest: &[Segment], slot: u32)
where
    K: Borrow<Q> + Eq + Hash,
    Q: Eq + Hash + ?Sized,
{
    if let Some(child) = children.get_mut(key) {
        child.remove(rest, slot);
        if child.is_empty() {
            children.remove(key);
        }
    }
}

/// Removes a slot below an only child, and that child if nothing is left of it.
fn remove_below(child: &mut Option<Box<Node>>, rest: &[Segment], slot: u32) {
    if let Some(node) = child {
        node.remove(rest, slot);
        if node.is_empty() {
            *child = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn subscription(topics: Option<&[&str]>, event_types: Option<&[&str]>) -> Subscription {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Subscription {
            id: None,
            topics: topics.map(owned),
            event_types: event_types.map(owned),
        }
    }

    fn matching(index: &SubscriptionIndex, topic: &str, event_type: &str) -> Vec<u32> {
        let mut found = vec![99];
        index.matching(topic, event_type, &mut found);
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
        )
            .prop_map(|(topics, event_types)| Subscription {
                id: None,
                topics,
                event_types,
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
            topics.is_none_or(|topics| topics.iter().any(|t| t == topic))
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
            prop_assert!(index.any_topic.is_empty() && index.by_topic.is_empty() && index.places.is_empty());
        }
    }
}
