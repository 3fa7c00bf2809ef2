//! Which destinations of one tenant an event is for, without asking each of them.
//!
//! The catalog keeps one index for each tenant and numbers its destinations; the number is a slot here. The router asks
//! with an event's content.
//!
//! Subscriptions are filed by source topic, with one file for those that name none. In each, exact event types are found
//! by hash, patterns in a tree of segments in which equal beginnings share their nodes. So the cost of a look-up grows
//! with the answer and with the number of different beginnings that match the event type, not with the destinations.
//! (Segments such as `*-eu`, which start with `*` and go on, are tried one after the other, each different one once.)
//!
//! Topic and type come first: where none of the filters filed under them is to be asked, the content is not looked into.
//! Filters are found by what is in the event ([`super::filter::index`]) where that leaves fewer to ask than topic and type do; then
//! only a mark stands under topic and type, which says that there are such.
//!
//! Invariant: a slot is taken exactly if one of its subscriptions names the topic, or none, has a pattern that matches the
//! event type, or none, and a filter that takes the event, or none.
//! Invariant: the content is not looked into where no subscription with a filter has the event's topic and type.
//! Invariant: a copy never changes by a change of another one, and shares with it what is alike.

mod by_type;
mod filters;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use super::content::{Content, NoJson};
use super::destination::{Scope, Subscription};
use super::event_type::{InvalidPattern, Pattern};
use super::filter::{Condition, Dialect};
use super::persistent::Map;
use by_type::ByType;
use filters::{Filters, Memory, Owner};

/// The subscriptions of one tenant's destinations.
#[derive(Debug, Clone, Default)]
pub struct SubscriptionIndex {
    any_topic: ByType,
    by_topic: Map<Box<str>, ByType>,
    /// Where each slot is filed.
    slots: Map<u32, Arc<Filed>>,
    /// How many slots have a mark in a place.
    marks: Map<(Place, Kind), u32>,
    filters: Filters,
}

/// Where a slot is filed.
#[derive(Debug)]
struct Filed {
    candidates: HashSet<(Place, Candidate)>,
    /// The numbers of its filters.
    filters: Vec<u32>,
}

/// A source topic and a pattern of event types.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    /// `None`: any.
    topic: Option<Box<str>>,
    pattern: Pattern,
}

impl Place {
    fn holds(&self, content: &Content<'_>) -> bool {
        let topic = self.topic.as_deref();
        topic.is_none_or(|topic| topic == content.topic())
            && self.pattern.matches(content.event_type())
    }
}

/// What stands under a topic and a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Candidate {
    /// A slot that takes every such event.
    Slot(u32),
    /// A filter to ask, by its number.
    Filter { slot: u32, number: u32 },
    /// Some filters of this kind are found by what is in the event.
    Keyed(Kind),
}

/// What filters have in common for the look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Kind {
    scope: Scope,
    dialect: Dialect,
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
    memory: Memory,
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
        let places = subscriptions.iter().map(places);
        let places: Vec<Vec<Place>> = places.collect::<Result<_, _>>()?;
        self.remove(slot);
        let mut candidates = HashSet::new();
        let mut filters = Vec::new();
        for (position, (subscription, places)) in subscriptions.iter().zip(places).enumerate() {
            let candidate = match &subscription.filter {
                None => Candidate::Slot(slot),
                Some(filter) => {
                    let beside = places.iter().map(|place| self.count(place)).sum();
                    let owner = Owner::new(slot, position, subscription, filter, &places);
                    let kind = owner.kind();
                    let (number, keyed) = self.filters.insert(owner, beside);
                    filters.push(number);
                    match keyed {
                        true => Candidate::Keyed(kind),
                        false => Candidate::Filter { slot, number },
                    }
                }
            };
            for place in places {
                if candidates.insert((place.clone(), candidate)) {
                    self.file(&place, candidate);
                }
            }
        }
        let filed = Filed {
            candidates,
            filters,
        };
        self.slots.entry(slot, || Arc::new(filed));
        Ok(())
    }

    /// Forgets a slot, in time proportional to its own subscriptions.
    pub fn remove(&mut self, slot: u32) {
        let Some(filed) = self.slots.remove(&slot) else {
            return;
        };
        for (place, candidate) in &filed.candidates {
            self.unfile(place, *candidate);
        }
        for number in &filed.filters {
            self.filters.remove(*number);
        }
    }

    /// How many candidates stand in a place.
    fn count(&self, place: &Place) -> usize {
        let file = match &place.topic {
            Some(topic) => self.by_topic.get(topic),
            None => Some(&self.any_topic),
        };
        file.map_or(0, |file| file.count(&place.pattern))
    }

    fn file(&mut self, place: &Place, candidate: Candidate) {
        if let Candidate::Keyed(kind) = candidate {
            let marks = self.marks.entry((place.clone(), kind), || 0);
            *marks += 1;
            if *marks > 1 {
                return;
            }
        }
        let file = match &place.topic {
            Some(topic) => self.by_topic.entry(topic.clone(), ByType::default),
            None => &mut self.any_topic,
        };
        file.insert(&place.pattern, candidate);
    }

    fn unfile(&mut self, place: &Place, candidate: Candidate) {
        if let Candidate::Keyed(kind) = candidate {
            let mark = (place.clone(), kind);
            if let Some(marks) = self.marks.get_mut(&mark)
                && *marks > 1
            {
                *marks -= 1;
                return;
            }
            self.marks.remove(&mark);
        }
        let Some(topic) = &place.topic else {
            self.any_topic.remove(&place.pattern, candidate);
            return;
        };
        if let Some(file) = self.by_topic.get_mut(topic) {
            file.remove(&place.pattern, candidate);
            if file.is_empty() {
                self.by_topic.remove(topic);
            }
        }
    }

    /// Replaces what is in `found` by whom the event is for.
    pub fn matching(&self, content: &Content<'_>, found: &mut Found) {
        found.taken.clear();
        found.malformed.clear();
        found.verdicts = Verdicts::default();
        self.candidates(content, &mut found.candidates);
        let slots = found
            .candidates
            .iter()
            .map_while(|candidate| match candidate {
                Candidate::Slot(slot) => Some(*slot),
                _ => None,
            });
        found.taken.extend(slots);
        let others = found
            .candidates
            .get(found.taken.len()..)
            .unwrap_or_default();
        if others.is_empty() {
            return;
        }
        let asked = self
            .filters
            .matching(content, others, &found.taken, &mut found.memory);
        for (dialect, verdict) in found.memory.verdicts.drain(..) {
            found.verdicts.add(dialect, verdict);
        }
        found.taken.append(&mut found.memory.taken);
        found.taken.sort_unstable();
        found.taken.dedup();
        if let Err(no_json) = asked {
            self.malformed(content, &no_json, found);
        }
    }

    /// Adds those whose filters ask about a body that is not JSON.
    fn malformed(&self, content: &Content<'_>, no_json: &NoJson, found: &mut Found) {
        let asks = |owner: &Owner| {
            owner.scope() == Scope::Body && found.taken.binary_search(&owner.slot).is_err()
        };
        let owners = self.filters.choosing(content, asks);
        for of_slot in owners.chunk_by(|a, b| a.slot == b.slot) {
            if let Some(Owner {
                slot, subscription, ..
            }) = of_slot.first()
            {
                let detail = format!(
                    "{no_json}, but the filter of subscription `{subscription}` asks about it"
                );
                found.malformed.push((*slot, detail));
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
        let is_free = |slot: u32| candidates.binary_search(&Candidate::Slot(slot)).is_ok();
        let owners = self.filters.choosing(content, |owner| wants(owner.slot));
        let mut slots = owners.chunk_by(|a, b| a.slot == b.slot);
        slots.find_map(|of_slot| {
            let mut first = None;
            for owner in of_slot.iter().filter(|owner| !is_free(owner.slot)) {
                let item = content.item(owner.scope()).ok()?;
                if owner.filter.filter.matches(item) {
                    return None;
                }
                first.get_or_insert((owner, item));
            }
            let (owner, item) = first?;
            Some(HeldBack {
                slot: owner.slot,
                subscription: owner.subscription.clone(),
                dialect: owner.filter.filter.dialect(),
                decided: owner.filter.filter.explain(item).decided,
            })
        })
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

/// All places that a subscription names: each of its topics with each of its event types.
fn places(subscription: &Subscription) -> Result<Vec<Place>, InvalidPattern> {
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
    let mut places = Vec::new();
    for topic in topics {
        places.extend(patterns.iter().map(|pattern| Place {
            topic: topic.map(Into::into),
            pattern: pattern.clone(),
        }));
    }
    Ok(places)
}
