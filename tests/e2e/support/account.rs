//! Accounting: where each event that matches a destination is now.
//!
//! An event is delivered (the receiver accepted it), dead (it is in `dead-letter`), or waiting (its source record or a
//! retry record is not settled). Nothing else may be true of it.

use std::collections::{BTreeMap, BTreeSet};

use posthaste::wire::{RawRecord, attempt, retry};

use super::receiver::Receiver;
use super::records::header;
use super::scene::Scene;

/// The topics of a scene at one moment, as far as they tell where events are.
pub(crate) struct Snapshot {
    /// Dead letters.
    dead: Vec<RawRecord>,
    /// Records of the source topic that are not settled; each may come again for every destination.
    source: Vec<RawRecord>,
    /// Records of retry topics that are not settled, with their destinations.
    retries: Vec<(String, RawRecord)>,
}

impl Snapshot {
    /// Reads the topics to their ends.
    pub(crate) async fn of(scene: &Scene) -> Self {
        let kafka = &scene.kafka;
        let dead = kafka.read_all(&scene.own("dead-letter")).await;
        let sources = [(scene.topic.clone(), kafka.partitions(&scene.topic))].into();
        let source = unsettled(scene, &scene.group, &sources).await;
        let retry_topics = kafka.topics(&scene.own("retry"));
        let retries = unsettled(scene, &format!("{}.retry", scene.group), &retry_topics).await;
        let destination = |record: &RawRecord| {
            let delivery = retry::decode(record).expect("a record of a retry topic");
            delivery.destination.as_str().to_owned()
        };
        let retries = retries
            .into_iter()
            .map(|record| (destination(&record), record))
            .collect();
        Self {
            dead,
            source,
            retries,
        }
    }

    /// The ids of events that may be delivered to `default/<id>` from now on, once for each time that one is named.
    pub(crate) fn waiting(&self, id: &str) -> Vec<String> {
        let destination = format!("default/{id}");
        let own = self
            .retries
            .iter()
            .filter(|(name, _)| *name == destination)
            .map(|(_, record)| record);
        self.source.iter().chain(own).map(event_id).collect()
    }
}

/// Where a destination's event stands in source, retry topics and dead letters, settled or not, for the message of a
/// failed test.
pub(crate) async fn whereabouts(scene: &Scene, event: &str) -> String {
    let mut topics = scene.kafka.topics(&scene.prefix);
    topics.retain(|name, _| !name.ends_with(".attempts") && !name.ends_with(".destinations"));
    topics.insert(scene.topic.clone(), scene.kafka.partitions(&scene.topic));
    let mut committed = scene.kafka.group(&scene.group).committed(&topics);
    committed.append(
        &mut scene
            .kafka
            .group(&format!("{}.retry", scene.group))
            .committed(&topics),
    );
    let places: Vec<String> = scene
        .kafka
        .read_topics(&topics)
        .await
        .iter()
        .filter(|record| event_id(record) == event)
        .map(|record| {
            let place = (record.topic.to_string(), record.partition);
            let finished = committed.get(&place).map(|found| found.finished(&place.0));
            let delivery = retry::decode(record).ok();
            let progress = delivery.map(|delivery| (delivery.destination, delivery.progress));
            format!(
                "{place:?} offset {} appended at {} committed {:?} finished {finished:?} {progress:?}",
                record.offset,
                record.timestamp_ms,
                committed.get(&place).map(|found| found.offset)
            )
        })
        .collect();
    let attempts: Vec<String> = scene
        .kafka
        .read_all(&scene.own("attempts"))
        .await
        .iter()
        .filter_map(|record| attempt::decode(record.value.as_deref()?).ok())
        .filter(|attempt| attempt.event_id == event)
        .map(|attempt| {
            format!(
                "{} attempt {} from tier {:?} at {}: {:?}, due at {:?}",
                attempt.destination,
                attempt.attempt,
                attempt.tier,
                attempt.started_at_ms,
                attempt.outcome,
                attempt.due_at_ms
            )
        })
        .collect();
    format!("{event}: {places:#?}, attempts {attempts:#?}, positions {committed:#?}")
}

/// The records that are not settled: from the group's committed positions on, but for those that the note beside a
/// position names as finished.
async fn unsettled(scene: &Scene, group: &str, topics: &BTreeMap<String, i32>) -> Vec<RawRecord> {
    let committed = scene.kafka.group(group).committed(topics);
    let finished: BTreeMap<_, _> = committed
        .iter()
        .map(|(place, found)| (place, found.finished(&place.0)))
        .collect();
    let mut records = scene.kafka.read_topics(topics).await;
    records.retain(|record| {
        let place = (record.topic.to_string(), record.partition);
        committed
            .get(&place)
            .is_none_or(|found| record.offset >= found.offset)
            && !finished
                .get(&place)
                .is_some_and(|ranges| ranges.iter().any(|range| range.contains(&record.offset)))
    });
    records
}

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
        Self::at(&Snapshot::of(scene).await, receiver, path, id)
    }

    /// The same with what the topics held at a moment.
    pub(crate) fn at(snapshot: &Snapshot, receiver: &Receiver, path: &str, id: &str) -> Self {
        let destination = format!("default/{id}");
        let mut fates = BTreeMap::<String, Fate>::new();
        for request in receiver.delivered(path) {
            fates.entry(request.id().to_owned()).or_default().delivered += 1;
        }
        for record in &snapshot.dead {
            if header(record, "destination") == Some(&destination) {
                fates.entry(event_id(record)).or_default().dead += 1;
            }
        }
        for event in snapshot.waiting(id) {
            fates.entry(event).or_default().waiting += 1;
        }
        Self { destination, fates }
    }

    fn fate(&self, id: &str) -> Fate {
        self.fates.get(id).copied().unwrap_or_default()
    }

    /// Those of the events that are nowhere.
    pub(crate) fn lost<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        ids.into_iter()
            .filter(|id| self.fate(id) == Fate::default())
            .collect()
    }

    /// How many deliveries there were beyond the first of each event.
    pub(crate) fn repeats(&self) -> usize {
        self.fates
            .values()
            .map(|fate| fate.delivered.saturating_sub(1))
            .sum()
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

/// The id that the event's own header tells.
pub(crate) fn event_id(record: &RawRecord) -> String {
    header(record, "event-id").unwrap_or_default().to_owned()
}
