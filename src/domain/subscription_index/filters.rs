//! The filters of one tenant's subscriptions.
//!
//! Each has a number here. Those of one scope are in one index, which reads the content once for all of them.
//!
//! Invariant: a number belongs to one filter until that is removed.

use std::sync::Arc;

use super::super::content::{Content, NoJson};
use super::super::destination::{Scope, Subscription, SubscriptionFilter};
use super::super::filter::Dialect;
use super::super::filter::index::{FilterIndex, Scratch};
use super::super::persistent::Map;
use super::files::Place;
use super::{Candidate, Kind, Verdict};

/// A filter and the subscription that it belongs to.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) slot: u32,
    pub(super) position: usize,
    /// The subscription's id, or its position.
    pub(super) subscription: Box<str>,
    pub(super) filter: SubscriptionFilter,
    pub(super) places: Box<[Place]>,
}

impl Owner {
    pub(super) fn new(
        slot: u32,
        position: usize,
        subscription: &Subscription,
        filter: &SubscriptionFilter,
        places: &[Place],
    ) -> Self {
        let name = || position.to_string();
        Self {
            slot,
            position,
            subscription: subscription.id.clone().unwrap_or_else(name).into(),
            filter: filter.clone(),
            places: places.into(),
        }
    }

    pub(super) fn scope(&self) -> Scope {
        self.filter.scope
    }

    pub(super) fn kind(&self) -> Kind {
        Kind {
            scope: self.filter.scope,
            dialect: self.filter.filter.dialect(),
        }
    }

    pub(super) fn chooses(&self, content: &Content<'_>) -> bool {
        self.places.iter().any(|place| place.holds(content))
    }
}

/// All filters.
#[derive(Debug, Clone, Default)]
pub(super) struct Filters {
    body: FilterIndex,
    envelope: FilterIndex,
    owners: Map<u32, Arc<Owner>>,
    free: Vec<u32>,
}

/// Memory that look-ups reuse, and what they say.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The slots that some filter takes the event for, in no order.
    pub(super) taken: Vec<u32>,
    pub(super) verdicts: Vec<(Dialect, Verdict)>,
    listed: Vec<u32>,
    numbers: Vec<u32>,
    scratch: Scratch,
}

impl Filters {
    /// Adds a filter; `beside`: how many candidates stand under its topics and types. Returns its number, and whether it is
    /// found by what is in the event; otherwise it must be listed.
    pub(super) fn insert(&mut self, owner: Owner, beside: usize) -> (u32, bool) {
        let next = || u32::try_from(self.owners.len()).unwrap_or(u32::MAX);
        let number = self.free.pop().unwrap_or_else(next);
        let filter = Arc::clone(&owner.filter.filter);
        let keyed = self.of_mut(owner.scope()).insert(number, filter, beside);
        self.owners.entry(number, || Arc::new(owner));
        (number, keyed)
    }

    /// Forgets a filter; returns whose it was.
    pub(super) fn remove(&mut self, number: u32) -> Option<Arc<Owner>> {
        let owner = self.owners.remove(&number)?;
        self.of_mut(owner.scope()).remove(number);
        self.free.push(number);
        Some(owner)
    }

    pub(super) fn owner(&self, number: u32) -> Option<&Owner> {
        self.owners.get(&number).map(|owner| &**owner)
    }

    /// At most so many of the filters, the next ones in the next turn.
    pub(super) fn some(&self, turn: u64, most: usize) -> impl Iterator<Item = &Owner> {
        let numbers = (self.owners.len() + self.free.len()) as u64;
        let start = turn.wrapping_mul(most as u64) % numbers.max(1);
        let some = (start..start + numbers.min(most as u64)).map(move |number| number % numbers);
        some.filter_map(|number| self.owner(u32::try_from(number).ok()?))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.owners.is_empty() && self.body.is_empty() && self.envelope.is_empty()
    }

    fn of(&self, scope: Scope) -> &FilterIndex {
        match scope {
            Scope::Body => &self.body,
            Scope::Envelope => &self.envelope,
        }
    }

    fn of_mut(&mut self, scope: Scope) -> &mut FilterIndex {
        match scope {
            Scope::Body => &mut self.body,
            Scope::Envelope => &mut self.envelope,
        }
    }

    /// Asks the filters that topic and type leave, but not for slots that are `taken` already.
    ///
    /// # Errors
    /// If some ask about the body and that is not JSON; the others are asked nevertheless.
    pub(super) fn matching(
        &self,
        content: &Content<'_>,
        candidates: &[Candidate],
        taken: &[u32],
        memory: &mut Memory,
    ) -> Result<(), NoJson> {
        memory.taken.clear();
        memory.verdicts.clear();
        let body = self.ask(Scope::Body, content, candidates, taken, memory);
        let envelope = self.ask(Scope::Envelope, content, candidates, taken, memory);
        body.and(envelope)
    }

    fn ask(
        &self,
        scope: Scope,
        content: &Content<'_>,
        candidates: &[Candidate],
        taken: &[u32],
        memory: &mut Memory,
    ) -> Result<(), NoJson> {
        let before = memory.verdicts.len();
        if !self.list(scope, candidates, taken, memory) {
            return Ok(());
        }
        let wanted = |number: u32| {
            let owner = self.owners.get(&number);
            owner.is_some_and(|owner| owner.chooses(content))
        };
        let Memory {
            listed,
            numbers,
            scratch,
            ..
        } = memory;
        let index = self.of(scope);
        let asked = match scope {
            Scope::Body => content.body_bytes().and_then(|bytes| {
                let asked = index.matching(bytes, listed, scratch, wanted, numbers);
                asked.map_err(NoJson::Malformed)
            }),
            Scope::Envelope => content.item(scope).map_err(NoJson::clone).map(|item| {
                index.matching_item(item, listed, scratch, wanted, numbers);
            }),
        };
        if let Err(no_json) = asked {
            for (_, verdict) in memory.verdicts.iter_mut().skip(before) {
                *verdict = Verdict::Malformed;
            }
            return Err(no_json);
        }
        for number in &memory.numbers {
            if let Some(owner) = self.owners.get(number) {
                memory.taken.push(owner.slot);
                let verdict = (owner.kind().dialect, Verdict::Matched);
                if !memory.verdicts.contains(&verdict) {
                    memory.verdicts.push(verdict);
                }
            }
        }
        Ok(())
    }

    /// Notes which filters of a scope are listed, and that those of their dialects, and of the marks', take nothing yet.
    /// Returns whether there are any.
    fn list(
        &self,
        scope: Scope,
        candidates: &[Candidate],
        taken: &[u32],
        memory: &mut Memory,
    ) -> bool {
        memory.listed.clear();
        let mut any = false;
        for candidate in candidates {
            let kind = match *candidate {
                Candidate::Keyed(kind) => Some(kind),
                Candidate::Filter { slot, number } if taken.binary_search(&slot).is_err() => {
                    let owner = self.owners.get(&number);
                    let kind = owner.map(|owner| owner.kind());
                    if kind.is_some_and(|kind| kind.scope == scope) {
                        memory.listed.push(number);
                    }
                    kind
                }
                Candidate::Filter { .. } | Candidate::Slot(_) => None,
            };
            if let Some(kind) = kind.filter(|kind| kind.scope == scope) {
                any = true;
                // Those of the other scope may have noted it already.
                let verdict = (kind.dialect, Verdict::FilteredOut);
                if !memory.verdicts.contains(&verdict) {
                    memory.verdicts.push(verdict);
                }
            }
        }
        any
    }
}
