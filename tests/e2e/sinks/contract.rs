//! What every sink has to do, against a counterpart that speaks its protocol: one row, one test.
//!
//! A sink's file implements [`Counterpart`] and names its rows with `contract!`. A row that its counterpart cannot play
//! stands there too, with the reason and with who proves it instead; a row that is in neither list fails the build of
//! the list.
//!
//! Invariant: what arrived is read back by a client of the target's own, never from what the sink reports.

use std::collections::{BTreeMap, BTreeSet};

use posthaste::domain::delivery::DeadLetterReason;
use posthaste::domain::outcome::Outcome;
use posthaste::wire::{RawRecord, attempt, dead_letter};
use serde_json::{Value, json};

use crate::support::account::event_id as id_of;
use crate::support::events::{NewEvent, event_id, numbered};
use crate::support::kafka::Kafka;
use crate::support::posthaste::Posthaste;
use crate::support::receiver::{Answer, Gate, Receiver};
use crate::support::scene::{Scene, webhook};
use crate::support::settings::Settings;
use crate::support::wait;

/// What can be wrong with a target for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does not exist.
    Missing,
    /// It does not accept our credentials.
    Credentials,
    /// It asks for less.
    Throttled,
    /// Nobody listens.
    Down,
    /// It answers later than the destination's time limit.
    Slow,
}

impl Fault {
    /// How attempts end meanwhile.
    fn outcome(self) -> Outcome {
        match self {
            Self::Missing => Outcome::NotFound,
            Self::Credentials => Outcome::Auth,
            Self::Throttled => Outcome::Throttled,
            Self::Down | Self::Slow => Outcome::Network,
        }
    }
}

/// One message as its target's own client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) id: String,
    pub(crate) event_type: String,
    /// From 1.
    pub(crate) attempt: u32,
    pub(crate) hops: u8,
    pub(crate) body: Vec<u8>,
}

/// A server that speaks a sink's protocol.
pub(crate) trait Counterpart: Sized {
    /// Starts one, or joins the one that tests share: never where it is to be `alone`, since it will be tampered with.
    async fn start(alone: bool) -> Self;

    /// Adds what an instance needs beside the settings that all tests begin with.
    fn settings(&self, _settings: &mut Settings) {}

    /// Makes a target of its own; gives the object `sink` for it, with a time limit of 1 to 2 s where it has one.
    async fn target(&self) -> Value;

    /// What has arrived there since it was made.
    async fn arrived(&self, sink: &Value) -> Vec<Arrived>;

    /// Begins a fault; gives the document under which it shows: `sink` itself, or one with a wrong password.
    async fn inflict(&self, sink: &Value, fault: Fault) -> Value;

    /// Ends it; gives the document to go on with.
    async fn mend(&self, broken: &Value, sink: &Value, fault: Fault) -> Value;

    /// Bodies that have to arrive as they are.
    fn bodies() -> Vec<Vec<u8>> {
        vec![
            br#" {"n": 1.00, "e": "\u00e9"} "#.to_vec(),
            "[\"\u{20ac} \u{1f980}\"]".as_bytes().to_vec(),
            (0..=255).collect(),
            Vec::new(),
        ]
    }

    /// A document of the same target, and how many bytes of a body are more than it takes.
    fn limited(&self, sink: &Value) -> (Value, usize);

    /// Prepares the target to refuse one event; gives the document, that event, and how its attempt ends.
    async fn refusing(&self, sink: &Value, number: usize) -> (Value, NewEvent, Outcome);
}

/// The rows, in the order in which they are listed.
pub(crate) const ROWS: [&str; 11] = [
    "delivered_and_read_back_byte_for_byte",
    "a_repeated_delivery_has_the_same_id",
    "target_missing",
    "wrong_credentials",
    "throttled",
    "target_down_and_back",
    "slow_target",
    "oversize",
    "batch_with_one_bad_entry",
    "configuration_changed_in_flight",
    "shutdown_in_flight",
];

/// Makes a test of each row that the counterpart plays, and one that says which it does not.
macro_rules! contract {
    ($counterpart:ty, plays: [$($row:ident),* $(,)?], leaves_out: [$($missing:ident: $reason:literal),* $(,)?]) => {
        $(
            #[tokio::test]
            async fn $row() {
                $crate::sinks::contract::$row::<$counterpart>().await;
            }
        )*

        #[test]
        fn every_row_is_played_or_left_out_with_a_reason() {
            $crate::sinks::contract::assert_complete(
                &[$(stringify!($row)),*],
                &[$((stringify!($missing), $reason)),*],
            );
        }
    };
}
pub(crate) use contract;

/// Asserts that the rows are all there.
pub(crate) fn assert_complete(played: &[&str], left_out: &[(&str, &str)]) {
    let named = played.iter().chain(left_out.iter().map(|(row, _)| row));
    let named: BTreeSet<&str> = named.copied().collect();
    assert_eq!(named, ROWS.into(), "each row once, and no others");
    assert_eq!(played.len() + left_out.len(), ROWS.len());
    for (row, reason) in left_out {
        assert!(reason.len() > 20, "{row} says why it is left out");
    }
}

/// A scene with one counterpart.
struct Stage<C> {
    counterpart: C,
    scene: Scene,
}

impl<C: Counterpart> Stage<C> {
    async fn new(what: &str, alone: bool) -> Self {
        Self {
            counterpart: C::start(alone).await,
            scene: Scene::on(Kafka::shared(), what, 1).await,
        }
    }

    fn settings(&self) -> Settings {
        let mut settings = self.scene.settings();
        self.counterpart.settings(&mut settings);
        settings
    }

    async fn serve(&self) -> Posthaste {
        Posthaste::start(&self.settings()).await
    }

    async fn put(&self, sink: &Value) -> i64 {
        self.scene.put("target", &destination(sink)).await
    }

    /// Waits until all of the events have arrived, each at least once; returns what has.
    async fn until_arrived(&self, sink: &Value, ids: &BTreeSet<String>) -> Vec<Arrived> {
        let mut arrived = Vec::new();
        let all = wait::try_until(async || {
            arrived = self.counterpart.arrived(sink).await;
            ids.is_subset(&ids_of(&arrived)).then_some(())
        })
        .await;
        let missing: Vec<_> = ids.difference(&ids_of(&arrived)).cloned().collect();
        assert!(all.is_some(), "missing {missing:?} of {}", ids.len());
        arrived
    }

    /// Waits until each of the events has an attempt with this outcome on record.
    async fn until_attempted(&self, ids: &BTreeSet<String>, outcome: Outcome) {
        let mut attempts = self.scene.kafka.follow(&self.scene.own("attempts"));
        let what = format!(
            "an attempt that ended as {} of each event",
            outcome.as_str()
        );
        attempts
            .until(&what, |records| {
                let ended = records.iter().filter_map(attempted);
                let ended = ended.filter(|(_, found)| *found == outcome);
                ids.is_subset(&ended.map(|(id, _)| id).collect())
            })
            .await;
    }

    /// The dead letter of the only event that has one.
    async fn dead_letter(&self) -> RawRecord {
        let mut letters = self.scene.kafka.follow(&self.scene.own("dead-letter"));
        let letters = letters.until("a dead letter", |found| !found.is_empty());
        letters.await.first().expect("there is one").clone()
    }
}

/// Event and outcome of an attempt of the target.
fn attempted(record: &RawRecord) -> Option<(String, Outcome)> {
    let attempt = attempt::decode(record.value.as_deref()?).ok()?;
    let own = attempt.destination == "default/target";
    own.then(|| (attempt.event_id.into_owned(), attempt.outcome))
}

/// A destination that is tried again soon and often.
fn destination(sink: &Value) -> Value {
    json!({
        "sink": sink,
        "retry": {"policy": "schedule", "delays": ["300ms", "300ms", "300ms", "1s"], "max_attempts": 40, "jitter": 0.0}
    })
}

fn ids_of(arrived: &[Arrived]) -> BTreeSet<String> {
    arrived.iter().map(|one| one.id.clone()).collect()
}

fn ids(events: &[NewEvent]) -> BTreeSet<String> {
    events.iter().map(|event| event.id().to_owned()).collect()
}

/// Asserts that each event arrived once, and nothing else did.
fn each_once(arrived: &[Arrived], ids: &BTreeSet<String>) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for one in arrived {
        *counts.entry(&one.id).or_default() += 1;
    }
    let wrong: Vec<_> = counts.iter().filter(|(_, count)| **count != 1).collect();
    assert!(wrong.is_empty(), "arrived more than once: {wrong:?}");
    assert_eq!(ids_of(arrived), *ids);
}

pub(crate) async fn delivered_and_read_back_byte_for_byte<C: Counterpart>() {
    let stage = Stage::<C>::new("bytes", false).await;
    let sink = stage.counterpart.target().await;
    stage.put(&sink).await;
    let _posthaste = stage.serve().await;
    let events: Vec<NewEvent> = C::bodies()
        .into_iter()
        .enumerate()
        .map(|(number, body)| NewEvent::numbered(number).body(body).of_type("order.paid"))
        .collect();
    stage.scene.publish(&events).await;
    let arrived = stage.until_arrived(&sink, &ids(&events)).await;
    each_once(&arrived, &ids(&events));
    for event in &events {
        let one = arrived.iter().find(|one| one.id == event.id());
        let expected = Arrived {
            id: event.id().to_owned(),
            event_type: "order.paid".to_owned(),
            attempt: 1,
            hops: 1,
            body: event.value.clone().unwrap_or_default(),
        };
        assert_eq!(one, Some(&expected));
    }
    stage.scene.settled().await;
}

/// The event is not settled as long as another destination has it in hand: a crash then repeats it for both.
pub(crate) async fn a_repeated_delivery_has_the_same_id<C: Counterpart>() {
    let stage = Stage::<C>::new("repeated", false).await;
    let (receiver, gate) = (Receiver::start().await, Gate::shut());
    receiver.on("/held", {
        let gate = gate.clone();
        move |_| Answer::Hold(gate.clone(), 204)
    });
    let sink = stage.counterpart.target().await;
    stage.put(&sink).await;
    let held = webhook(&receiver.url("/held"));
    stage.scene.put("held", &held).await;
    let posthaste = stage.serve().await;
    let events: Vec<_> = numbered(0..1);
    stage.scene.publish(&events).await;
    stage.until_arrived(&sink, &ids(&events)).await;
    receiver.until_requests("/held", 1).await;
    posthaste.kill9().await;

    gate.open();
    let _posthaste = stage.serve().await;
    stage.scene.settled().await;
    let arrived = stage.counterpart.arrived(&sink).await;
    let told: Vec<_> = arrived.iter().map(|one| (&*one.id, one.attempt)).collect();
    assert_eq!(told, [(&*event_id(0), 1); 2]);
}

/// A target in trouble: attempts end as the table says, a neighbour notices nothing, and afterwards everything arrives.
async fn trouble<C: Counterpart>(fault: Fault) {
    let alone = matches!(fault, Fault::Throttled | Fault::Down | Fault::Slow);
    let stage = Stage::<C>::new("trouble", alone).await;
    let receiver = Receiver::start().await;
    let sink = stage.counterpart.target().await;
    let broken = stage.counterpart.inflict(&sink, fault).await;
    stage.put(&broken).await;
    let well = webhook(&receiver.url("/well"));
    stage.scene.put("well", &well).await;
    let posthaste = stage.serve().await;
    let events: Vec<_> = numbered(0..3);
    stage.scene.publish(&events).await;
    receiver.until_delivered("/well", 3).await;
    stage.until_attempted(&ids(&events), fault.outcome()).await;

    let mended = stage.counterpart.mend(&broken, &sink, fault).await;
    if mended != broken {
        let offset = stage.put(&mended).await;
        stage.scene.in_force(&posthaste, offset).await;
    }
    stage
        .until_attempted(&ids(&events), Outcome::Delivered)
        .await;
    // What a slow target took in time, and said so too late, is there from before.
    let arrived = stage.until_arrived(&mended, &ids(&events)).await;
    assert_eq!(ids_of(&arrived), ids(&events));
    assert!(arrived.iter().any(|one| one.attempt > 1), "{arrived:?}");
}

pub(crate) async fn target_missing<C: Counterpart>() {
    trouble::<C>(Fault::Missing).await;
}

pub(crate) async fn wrong_credentials<C: Counterpart>() {
    trouble::<C>(Fault::Credentials).await;
}

pub(crate) async fn throttled<C: Counterpart>() {
    trouble::<C>(Fault::Throttled).await;
}

pub(crate) async fn target_down_and_back<C: Counterpart>() {
    trouble::<C>(Fault::Down).await;
}

pub(crate) async fn slow_target<C: Counterpart>() {
    trouble::<C>(Fault::Slow).await;
}

pub(crate) async fn oversize<C: Counterpart>() {
    // More than what the broker takes by default: some sinks have limits beyond that.
    let most = [("max.message.bytes", "12582912")];
    let stage = Stage {
        counterpart: C::start(false).await,
        scene: Scene::with_source(Kafka::shared(), "oversize", 1, &most).await,
    };
    let sink = stage.counterpart.target().await;
    let (sink, bytes) = stage.counterpart.limited(&sink);
    stage.put(&sink).await;
    let _posthaste = stage.serve().await;
    let large = format!("\"{}\"", "x".repeat(bytes - 2));
    let events = [
        NewEvent::numbered(0).body(large),
        NewEvent::numbered(1),
        NewEvent::numbered(2),
    ];
    stage.scene.publish(&events).await;
    let letter = stage.dead_letter().await;
    assert_eq!(id_of(&letter), event_id(0));
    let letter = dead_letter::decode(&letter).expect("a dead letter");
    assert_eq!(letter.reason, DeadLetterReason::Oversize);
    assert!(letter.detail.contains("bytes"), "{}", letter.detail);
    let small = ids(&events[1..]);
    each_once(&stage.until_arrived(&sink, &small).await, &small);
    stage.scene.settled().await;
}

pub(crate) async fn batch_with_one_bad_entry<C: Counterpart>() {
    let stage = Stage::<C>::new("bad-entry", false).await;
    let sink = stage.counterpart.target().await;
    let (sink, bad, outcome) = stage.counterpart.refusing(&sink, 4).await;
    stage.put(&sink).await;
    let mut events: Vec<_> = numbered(0..10);
    *events.get_mut(4).expect("there are ten") = bad;
    // All are there before the first is read, so that they are sent together.
    stage.scene.publish(&events).await;
    let _posthaste = stage.serve().await;
    let bad: BTreeSet<_> = [event_id(4)].into();
    let good: BTreeSet<_> = ids(&events).difference(&bad).cloned().collect();
    stage.until_attempted(&bad, outcome).await;
    let arrived = stage.until_arrived(&sink, &good).await;
    each_once(&arrived, &good);
    assert!(arrived.iter().all(|one| one.attempt == 1), "{arrived:?}");
    stage.scene.settled().await;
}

pub(crate) async fn configuration_changed_in_flight<C: Counterpart>() {
    let stage = Stage::<C>::new("changed", false).await;
    let before = stage.counterpart.target().await;
    let after = stage.counterpart.target().await;
    stage.put(&before).await;
    let posthaste = stage.serve().await;
    let events: Vec<_> = numbered(0..300);
    let (early, late) = events.split_at(200);
    stage.scene.publish(early).await;
    let offset = stage.put(&after).await;
    stage.scene.in_force(&posthaste, offset).await;
    stage.scene.publish(late).await;
    stage.until_arrived(&after, &ids(late)).await;
    stage.scene.settled().await;
    let first = stage.counterpart.arrived(&before).await;
    let second = stage.counterpart.arrived(&after).await;
    assert!(ids_of(&first).is_disjoint(&ids(late)));
    each_once(&[first, second].concat(), &ids(&events));
}

pub(crate) async fn shutdown_in_flight<C: Counterpart>() {
    let stage = Stage::<C>::new("shutdown", false).await;
    let sink = stage.counterpart.target().await;
    stage.put(&sink).await;
    let posthaste = stage.serve().await;
    let events: Vec<_> = numbered(0..300);
    stage.scene.publish(&events).await;
    let labels = [("outcome", "delivered")];
    posthaste
        .until_metric("posthaste_deliveries_total", &labels, 1.0)
        .await;
    let ended = posthaste.terminate().await;
    assert!(ended.status.success(), "{ended:?}");
    let _posthaste = stage.serve().await;
    stage.until_arrived(&sink, &ids(&events)).await;
    stage.scene.settled().await;
    each_once(&stage.counterpart.arrived(&sink).await, &ids(&events));
}
