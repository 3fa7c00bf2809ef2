//! Accounting: where each event that matches a destination is now.
//!
//! An event is delivered (the receiver accepted it), dead (it is in `dead-letter`), or waiting (its source record or a
//! retry record is not settled). Nothing else may be true of it.

use std::collections::{BTreeMap, BTreeSet};

use posthaste::wire::{RawRecord, retry};

use super::receiver::Receiver;
use super::records::header;
use super::scene::Scene;

/// How often an event was found where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) delivered: usize,
    pub(crate) dead: usize,
    /// May count a delivery that is done and whose position is not committed yet.
    pub(crate) waiting: usize,
}

/// The fates of a destination's events, by event id.
#[derive(Debug)]
pub(crate) struct Account {
    destination: String,
    fates: BTreeMap<String, Fate>,
}

impl Account {
    /// Looks at the receiver's `path`, which is `default/<id>`, and at the topics.
    pub(crate) async fn of(scene: &Scene, receiver: &Receiver, path: &str, id: &str) -> Self {
        let destination = format!("default/{id}");
        let mut fates = BTreeMap::<String, Fate>::new();
        for request in receiver.delivered(path) {
            fates.entry(request.id().to_owned()).or_default().delivered += 1;
        }
        for record in scene.kafka.read_all(&scene.own("dead-letter")).await {
            if header(&record, "destination") == Some(&destination) {
                fates.entry(event_id(&record)).or_default().dead += 1;
            }
        }
        // A source record that is not settled may come again for each destination, a retry record for its own.
        let mut waiting = unsettled(scene, &scene.group, &scene.topic).await;
        waiting.extend(unsettled_retries(scene, &destination).await);
        for record in waiting {
            fates.entry(event_id(&record)).or_default().waiting += 1;
        }
        Self { destination, fates }
    }

    fn fate(&self, id: &str) -> Fate {
        self.fates.get(id).copied().unwrap_or_default()
    }

    /// Asserts that each of the events is somewhere.
    pub(crate) fn nothing_is_lost<'a>(&self, ids: impl IntoIterator<Item = &'a str>) {
        let lost: Vec<&str> = ids
            .into_iter()
            .filter(|id| self.fate(id) == Fate::default())
            .collect();
        assert!(lost.is_empty(), "{}: lost {lost:?}", self.destination);
    }

    /// Asserts that each of the events was delivered once or is dead once, and that there are no others.
    pub(crate) fn each_ended_once<'a>(&self, ids: impl IntoIterator<Item = &'a str>) {
        let ids: BTreeSet<&str> = ids.into_iter().collect();
        for id in &ids {
            let fate = self.fate(id);
            assert_eq!(
                fate.delivered + fate.dead,
                1,
                "{}: {id} has {fate:?}",
                self.destination
            );
        }
        let others: Vec<_> = self
            .fates
            .iter()
            .filter(|(id, _)| !ids.contains(id.as_str()))
            .collect();
        assert!(
            others.is_empty(),
            "{}: also has {others:?}",
            self.destination
        );
    }

    /// Asserts that each event was delivered at least once, and not more often than once and then once for each time
    /// that it may have been repeated.
    pub(crate) fn repeats_are_within<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a str>,
        repeats: &BTreeMap<String, usize>,
    ) {
        for id in ids {
            let delivered = self.fate(id).delivered;
            let most = 1 + repeats.get(id).copied().unwrap_or_default();
            assert!(
                (1..=most).contains(&delivered),
                "{}: {id} was delivered {delivered} times, at most {most} are allowed",
                self.destination
            );
        }
    }
}

/// The records of a topic that are not settled: from the group's committed positions on, but for those that the note
/// beside a position names as finished.
pub(crate) async fn unsettled(scene: &Scene, group: &str, topic: &str) -> Vec<RawRecord> {
    let committed = scene.kafka.committed(group, topic);
    let mut records = scene.kafka.read_all(topic).await;
    records.retain(|record| {
        committed.get(&record.partition).is_none_or(|found| {
            let finished = found.finished(topic);
            record.offset >= found.offset
                && !finished.iter().any(|range| range.contains(&record.offset))
        })
    });
    records
}

/// The retry records of a destination that are not settled.
pub(crate) async fn unsettled_retries(scene: &Scene, destination: &str) -> Vec<RawRecord> {
    let group = format!("{}.retry", scene.group);
    let mut found = Vec::new();
    for topic in scene.kafka.topics(&scene.own("retry")).keys() {
        found.extend(unsettled(scene, &group, topic).await);
    }
    found.retain(|record| {
        let delivery = retry::decode(record).expect("a record of a retry topic");
        delivery.destination.as_str() == destination
    });
    found
}

/// The id that the event's own header tells.
pub(crate) fn event_id(record: &RawRecord) -> String {
    header(record, "event-id").unwrap_or_default().to_owned()
}
