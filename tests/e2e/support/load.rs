//! A scene with work in all states: in flight, waiting for a retry, settled out of order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::account::{Account, Snapshot, whereabouts};
use super::events::{event_id, numbered};
use super::kafka::Kafka;
use super::receiver::{Answer, Gate, Receiver, Request};
use super::scene::{Scene, webhook, with};

/// How many records one that is not settled may become, beyond itself, where its partitions are lost: the source's and
/// then the lane's are read again, and each time the one before goes on.
const LOST: usize = 3;

/// How often each event may come again, by destination, because of what was not settled at a crash.
#[derive(Default)]
pub(crate) struct Repeats {
    counts: BTreeMap<&'static str, BTreeMap<String, usize>>,
    /// How many events were published before the last fault.
    since: Option<usize>,
}

/// One that takes what its valve lets pass, and one that refuses each fifth event at first.
const DESTINATIONS: [&str; 2] = ["steady", "flaky"];

/// The same, and one that takes nothing until it is told to ([`Load::recover`]).
pub(crate) const WITH_ONE_DOWN: [&str; 3] = ["steady", "flaky", "down"];

/// Answers so many requests and holds the others, so that what a test does next comes in the middle of some.
#[derive(Clone)]
pub(crate) struct Valve(Arc<Mutex<(usize, Gate)>>);

impl Valve {
    fn open() -> Self {
        Self(Arc::new(Mutex::new((usize::MAX, Gate::shut()))))
    }

    fn answer(&self, request: &Request) -> Answer {
        let (limit, gate) = &*self.0.lock().expect("no holder panics");
        if request.nth < *limit {
            Answer::Status(200)
        } else {
            Answer::Hold(gate.clone(), 200)
        }
    }

    /// Answers the first `limit` requests from now on, and all that were held so far.
    pub(crate) fn let_pass(&self, limit: usize) {
        let mut state = self.0.lock().expect("no holder panics");
        let (_, held) = std::mem::replace(&mut *state, (limit, Gate::shut()));
        held.open();
    }
}

/// The scene.
pub(crate) struct Load {
    pub(crate) scene: Scene,
    pub(crate) receiver: Receiver,
    /// The events that are accounted for.
    pub(crate) ids: Vec<String>,
    /// Of `steady`; open at first.
    pub(crate) valve: Valve,
    destinations: &'static [&'static str],
    recovered: Arc<AtomicBool>,
}

impl Load {
    /// With `events` of [`DESTINATIONS`].
    pub(crate) async fn on(kafka: Arc<Kafka>, what: &str, partitions: i32, events: usize) -> Self {
        let mut load = Self::of(kafka, what, partitions, &DESTINATIONS).await;
        load.ids = (0..events).map(event_id).collect();
        load.put(&load.receiver.url("")).await;
        load
    }

    /// Without events and documents yet.
    pub(crate) async fn of(
        kafka: Arc<Kafka>,
        what: &str,
        partitions: i32,
        destinations: &'static [&'static str],
    ) -> Self {
        let scene = Scene::on(kafka, what, partitions).await;
        let receiver = Receiver::start().await;
        receiver.on("/flaky", |request| {
            match request.id().ends_with(['0', '5']) && request.header("webhook-attempt") == "1" {
                true => Answer::Status(500),
                false => Answer::Status(200),
            }
        });
        let recovered = Arc::new(AtomicBool::new(false));
        let down = Arc::clone(&recovered);
        receiver.on("/down", move |_| match down.load(Ordering::Relaxed) {
            true => Answer::Status(200),
            false => Answer::Status(503),
        });
        let valve = Valve::open();
        let steady = valve.clone();
        receiver.on("/steady", move |request| steady.answer(request));
        Self {
            scene,
            receiver,
            ids: Vec::new(),
            valve,
            destinations,
            recovered,
        }
    }

    /// Writes the documents; requests go to `base`.
    pub(crate) async fn put(&self, base: &str) {
        for id in self.destinations {
            let document = limited(&format!("{base}/{id}"));
            let waits = json!({"retry": {"max_attempts": 100, "delays": ["300ms", "1s", "2s"]}});
            let document = match *id {
                "down" => with(&document, &waits),
                _ => document,
            };
            self.scene.put(id, &document).await;
        }
    }

    /// Has `down` take what it gets from now on.
    pub(crate) fn recover(&self) {
        self.recovered.store(true, Ordering::Relaxed);
    }

    /// Publishes ten events each `interval`, from the first number that is not accounted for yet on.
    pub(crate) fn publish_steadily(&self, interval: Duration) -> Publisher {
        let (stop, mut stopped) = watch::channel(false);
        let (kafka, topic) = (Arc::clone(&self.scene.kafka), self.scene.topic.clone());
        let mut next = self.ids.len();
        let published = Arc::new(AtomicUsize::new(next));
        let told = Arc::clone(&published);
        let task = tokio::spawn(async move {
            let mut tick = tokio::time::interval(interval);
            while !*stopped.borrow_and_update() {
                kafka.produce(&topic, &numbered(next..next + 10)).await;
                next += 10;
                told.store(next, Ordering::Relaxed);
                tick.tick().await;
            }
        });
        Publisher {
            stop,
            task,
            published,
        }
    }

    /// Ends the publishing; its events are accounted for from now on.
    pub(crate) async fn account_for(&mut self, publisher: Publisher) {
        publisher.stop.send_replace(true);
        publisher.task.await.expect("all events are published");
        let published = publisher.published.load(Ordering::Relaxed);
        self.ids = (0..published).map(event_id).collect();
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids.iter().map(String::as_str)
    }

    /// Waits until `steady` has accepted `count` requests.
    pub(crate) async fn until_steady(&self, count: usize) {
        self.receiver.until_delivered("/steady", count).await;
    }

    /// Waits until `steady` has got `count` requests more than now, answered or not.
    pub(crate) async fn until_more(&self, count: usize) {
        let so_far = self.receiver.requests("/steady").len();
        self.receiver
            .until_requests("/steady", so_far + count)
            .await;
    }

    /// Waits until all destinations have accepted every event, and every record is settled.
    pub(crate) async fn until_all_delivered(&self) {
        for id in self.destinations {
            let missing = self
                .receiver
                .missing_of(&format!("/{id}"), self.ids())
                .await;
            if let Some(first) = missing.first() {
                let whereabouts = whereabouts(&self.scene, first).await;
                panic!(
                    "{id} did not get {} events, such as {whereabouts}",
                    missing.len()
                );
            }
        }
        self.scene.settled().await;
        self.scene.retries_settled().await;
    }

    fn account(&self, snapshot: &Snapshot, id: &str) -> Account {
        Account::at(snapshot, &self.receiver, &format!("/{id}"), id)
    }

    /// Asserts that each event is somewhere, while nobody works on it.
    pub(crate) async fn nothing_is_lost(&self) -> Snapshot {
        let snapshot = Snapshot::of(&self.scene).await;
        for id in self.destinations {
            let account = self.account(&snapshot, id);
            let lost = account.lost(self.ids());
            if let Some(first) = lost.first() {
                let whereabouts = whereabouts(&self.scene, first).await;
                panic!("{id}: lost {lost:?}, such as {whereabouts}");
            }
        }
        snapshot
    }

    /// Asserts that each event was delivered to each destination once.
    pub(crate) async fn each_ended_once(&self) {
        let snapshot = Snapshot::of(&self.scene).await;
        for id in self.destinations {
            self.account(&snapshot, id).each_ended_once(self.ids());
        }
    }

    /// Asserts that each event was delivered to each destination, and again only where it may have been.
    pub(crate) async fn repeats_are_within(&self, repeats: &Repeats) {
        let snapshot = Snapshot::of(&self.scene).await;
        for id in self.destinations {
            let counts = repeats.counts.get(id).cloned().unwrap_or_default();
            self.account(&snapshot, id)
                .repeats_are_within(self.ids(), &counts);
        }
    }

    /// How many deliveries there were beyond the first of each event.
    pub(crate) async fn repeated(&self) -> usize {
        let snapshot = Snapshot::of(&self.scene).await;
        let of = |id: &&str| self.account(&snapshot, id).repeats();
        self.destinations.iter().map(of).sum()
    }
}

/// Publishes until it is told to end.
pub(crate) struct Publisher {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    published: Arc<AtomicUsize>,
}

impl Publisher {
    /// The ids of all that was published so far, or is being published.
    fn so_far(&self) -> impl Iterator<Item = String> + Clone + use<> {
        (0..self.published.load(Ordering::Relaxed) + 10).map(event_id)
    }
}

impl Repeats {
    /// Allows each event one repeat more.
    pub(crate) fn may_repeat(&mut self, events: impl Iterator<Item = String> + Clone) {
        self.add(events, 1);
    }

    fn add(&mut self, events: impl Iterator<Item = String> + Clone, times: usize) {
        for id in WITH_ONE_DOWN {
            let counts = self.counts.entry(id).or_default();
            for event in events.clone() {
                *counts.entry(event).or_default() += times;
            }
        }
    }

    /// Allows what a fault may bring again at which partitions are lost and read again while the work on them goes on:
    /// what is not settled now or is published from now on. An event that is settled never comes again.
    pub(crate) async fn before_fault(&mut self, scene: &Scene, publisher: &Publisher) {
        self.published_since(publisher);
        self.since = Some(publisher.published.load(Ordering::Relaxed));
        self.add_waiting(&Snapshot::of(scene).await, LOST);
    }

    /// Allows what was published since the last fault to come again because of that.
    pub(crate) fn published_since(&mut self, publisher: &Publisher) {
        if let Some(since) = self.since {
            self.add(publisher.so_far().skip(since), LOST);
        }
    }

    fn add_waiting(&mut self, snapshot: &Snapshot, times: usize) {
        for id in WITH_ONE_DOWN {
            let counts = self.counts.entry(id).or_default();
            for event in snapshot.waiting(id) {
                *counts.entry(event).or_default() += times;
            }
        }
    }

    /// Counts what may come again: each record that is not settled now, in the source and in retry topics.
    pub(crate) fn count(&mut self, snapshot: &Snapshot) {
        self.add_waiting(snapshot, 1);
        let any = self.counts.values().any(|counts| !counts.is_empty());
        assert!(any, "it was stopped in the middle");
    }
}

/// A destination that takes few at a time, so that there is always something in flight and something waiting.
fn limited(url: &str) -> Value {
    let few =
        json!({"delivery": {"concurrency": 4}, "retry": {"max_attempts": 50, "delays": ["300ms"]}});
    with(&webhook(url), &few)
}
