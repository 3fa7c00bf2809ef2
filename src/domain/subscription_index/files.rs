//! Candidates by source topic and event type.
//!
//! Invariant: nothing remains of a candidate that was removed.

use super::super::content::Content;
use super::super::event_type::Pattern;
use super::super::persistent::Map;
use super::Candidate;
use super::by_type::ByType;

/// A source topic and a pattern of event types.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// `None`: any.
    pub(super) topic: Option<Box<str>>,
    pub(super) pattern: Pattern,
}

impl Place {
    pub(super) fn holds(&self, content: &Content<'_>) -> bool {
        let topic = self.topic.as_deref();
        topic.is_none_or(|topic| topic == content.topic())
            && self.pattern.matches(content.event_type())
    }
}

/// Candidates in their places: one file for each topic, one for those that name none.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    pub(super) any_topic: ByType,
    by_topic: Map<Box<str>, ByType>,
}

impl Files {
    pub(super) fn insert(&mut self, place: &Place, candidate: Candidate) {
        let file = match &place.topic {
            Some(topic) => self.by_topic.entry(topic.clone(), ByType::default),
            None => &mut self.any_topic,
        };
        file.insert(&place.pattern, candidate);
    }

    pub(super) fn remove(&mut self, place: &Place, candidate: Candidate) {
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

    /// How many candidates stand in a place.
    pub(super) fn count(&self, place: &Place) -> usize {
        let file = match &place.topic {
            Some(topic) => self.by_topic.get(topic),
            None => Some(&self.any_topic),
        };
        file.map_or(0, |file| file.count(&place.pattern))
    }

    /// Replaces what is in `found` by the candidates for an event's topic and type: each once, ascending.
    pub(super) fn matching(&self, content: &Content<'_>, found: &mut Vec<Candidate>) {
        found.clear();
        self.any_topic.matching(content.event_type(), found);
        if let Some(file) = self.by_topic.get(content.topic()) {
            file.matching(content.event_type(), found);
        }
        found.sort_unstable();
        found.dedup();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.any_topic.is_empty() && self.by_topic.is_empty()
    }
}
