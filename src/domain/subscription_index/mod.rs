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
mod files;
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
use files::{Files, Place};
use filters::{Filters, Memory, Owner};

/// The subscriptions of one tenant's destinations.
#[derive(Debug, Clone, Default)]
pub struct SubscriptionIndex {
    /// Whom to take or to ask.
    files: Files,
    /// Every filter that asks about the body, for an event whose body is not JSON.
    of_body: Files,
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
    /// The numbers of its filters, in the order of its subscriptions.
    filters: Vec<u32>,
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

/// So many filters a sample looks at.
const LOOKED_AT: usize = 100;

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
                    let beside = places.iter().map(|place| self.files.count(place)).sum();
                    let owner = Owner::new(slot, position, subscription, filter, &places);
                    let kind = owner.kind();
                    let (number, keyed) = self.filters.insert(owner, beside);
                    filters.push(number);
                    if kind.scope == Scope::Body {
                        let asks = Candidate::Filter { slot, number };
                        let places = places.iter();
                        places.for_each(|place| self.of_body.insert(place, asks));
                    }
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
            let Some(owner) = self.filters.remove(*number) else {
                continue;
            };
            let asks = Candidate::Filter {
                slot,
                number: *number,
            };
            let places = owner.places.iter();
            places.for_each(|place| self.of_body.remove(place, asks));
        }
    }

    fn file(&mut self, place: &Place, candidate: Candidate) {
        if let Candidate::Keyed(kind) = candidate {
            let marks = self.marks.entry((place.clone(), kind), || 0);
            *marks += 1;
            if *marks > 1 {
                return;
            }
        }
        self.files.insert(place, candidate);
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
        self.files.remove(place, candidate);
    }

    /// Replaces what is in `found` by whom the event is for.
    pub fn matching(&self, content: &Content<'_>, found: &mut Found) {
        found.taken.clear();
        found.malformed.clear();
        found.verdicts = Verdicts::default();
        self.files.matching(content, &mut found.candidates);
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

    /// Adds those whose filters ask about a body that is not JSON. Takes time in proportion to them.
    fn malformed(&self, content: &Content<'_>, no_json: &NoJson, found: &mut Found) {
        self.of_body.matching(content, &mut found.candidates);
        let asking = found.candidates.iter().filter_map(|candidate| {
            let number = match *candidate {
                Candidate::Filter { slot, number } => {
                    found.taken.binary_search(&slot).is_err().then_some(number)
                }
                Candidate::Slot(_) | Candidate::Keyed(_) => None,
            };
            self.filters.owner(number?)
        });
        let mut owners: Vec<&Owner> = asking.collect();
        owners.sort_unstable_by_key(|owner| (owner.slot, owner.position));
        owners.dedup_by_key(|owner| owner.slot);
        found.malformed.extend(owners.into_iter().map(|owner| {
            let subscription = &owner.subscription;
            let detail =
                format!("{no_json}, but the filter of subscription `{subscription}` asks about it");
            (owner.slot, detail)
        }));
    }

    /// Tells of one destination why its filters hold the event back, one that `wants` is true for. For samples: looks at
    /// a hundred filters, at others in the next turn.
    pub fn held_back(
        &self,
        content: &Content<'_>,
        turn: u64,
        wants: impl Fn(u32) -> bool,
    ) -> Option<HeldBack> {
        let mut seen = HashSet::new();
        let owners = self.filters.some(turn, LOOKED_AT);
        let mut slots = owners
            .map(|owner| owner.slot)
            .filter(|slot| wants(*slot) && seen.insert(*slot));
        slots.find_map(|slot| self.why(slot, content))
    }

    /// Why the filters of a slot hold the event back, if they do.
    fn why(&self, slot: u32, content: &Content<'_>) -> Option<HeldBack> {
        let filed = self.slots.get(&slot)?;
        let free = Candidate::Slot(slot);
        let mut candidates = filed.candidates.iter();
        if candidates.any(|(place, candidate)| *candidate == free && place.holds(content)) {
            return None;
        }
        let mut first = None;
        let owners = filed.filters.iter();
        for owner in owners.filter_map(|number| self.filters.owner(*number)) {
            if !owner.chooses(content) {
                continue;
            }
            let item = content.item(owner.scope()).ok()?;
            if owner.filter.filter.matches(item) {
                return None;
            }
            first.get_or_insert((owner, item));
        }
        let (owner, item) = first?;
        Some(HeldBack {
            slot,
            subscription: owner.subscription.clone(),
            dialect: owner.filter.filter.dialect(),
            decided: owner.filter.filter.explain(item).decided,
        })
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
