//! What source topics do while they are read: odd records, topics that vanish, come and are made again.

use std::collections::BTreeSet;

use posthaste::wire::RawRecord;
use serde_json::json;

use crate::support::account::event_id as id_of;
use crate::support::events::{NewEvent, event_id, numbered};
use crate::support::kafka::Kafka;
use crate::support::posthaste::Posthaste;
use crate::support::receiver::{Answer, Gate, Receiver, Request};
use crate::support::records::header;
use crate::support::scene::{Scene, webhook, with};
use crate::support::wait;

fn ids(requests: &[Request]) -> BTreeSet<String> {
    requests
        .iter()
        .map(|request| request.id().to_owned())
        .collect()
}

fn named(numbers: impl IntoIterator<Item = usize>) -> BTreeSet<String> {
    numbers.into_iter().map(event_id).collect()
}

#[tokio::test]
async fn a_topic_that_is_deleted_and_made_again_while_it_is_read_is_read_from_its_begin() {
    // The group notices that the topic is gone and shares out its partitions anew, or nothing does.
    tokio::join!(remade("500"), remade("60000"));
}

/// `refresh`: how often clients look at topics, in milliseconds.
async fn remade(refresh: &str) {
    let scene = Scene::new("remade").await;
    let receiver = Receiver::start().await;
    scene.put("all", &webhook(&receiver.url("/all"))).await;
    let mut settings = scene.settings();
    // `start` applies once: not to the topic that comes later under the same name.
    settings
        .source(&scene.topic, "start", "latest")
        .property("topic.metadata.refresh.interval.ms", refresh);
    let posthaste = Posthaste::start(&settings).await;
    let mut expected = BTreeSet::new();
    // The new topic holds fewer records than were read of the old one, then more: both ways a position misleads.
    for (round, count) in [30, 10, 50].into_iter().enumerate() {
        if round > 0 {
            scene.kafka.delete_topic(&scene.topic).await;
            scene.kafka.create_topic(&scene.topic, 1, &[]).await;
        }
        let numbers = round * 100..round * 100 + count;
        scene.publish(&numbered(numbers.clone())).await;
        expected.extend(named(numbers));
        receiver
            .until("/all", &format!("all of round {round}"), |requests| {
                ids(requests) == expected
            })
            .await;
        scene.settled().await;
    }
    assert!(posthaste.logged().contains("made again"), "it is logged");
    // The positions belong to the last one: a restart repeats nothing.
    let ended = posthaste.terminate().await;
    assert!(ended.status.success(), "{ended:?}");
    let before = receiver.requests("/all").len();
    let _posthaste = Posthaste::start(settings.on_new_port()).await;
    scene.publish(&[NewEvent::new("after")]).await;
    receiver.until_delivered("/all", before + 1).await;
    scene.settled().await;
    assert_eq!(receiver.requests("/all").len(), before + 1);
}

#[tokio::test]
async fn records_that_retention_takes_ahead_of_a_slow_reader_are_counted() {
    let scene = Scene::new("overtaken").await;
    let receiver = Receiver::start().await;
    let gate = Gate::shut();
    let held = gate.clone();
    receiver.on("/all", move |_| Answer::Hold(held.clone(), 204));
    scene.put("all", &webhook(&receiver.url("/all"))).await;
    let mut settings = scene.settings();
    // One event at a time, and all together more than is fetched ahead.
    let posthaste = Posthaste::start(settings.set("ledger.events", 1)).await;
    for number in 0..15 {
        let event = NewEvent::numbered(number).body(vec![b'x'; 900_000]);
        scene.publish(&[event]).await;
    }
    receiver.until_requests("/all", 1).await;
    scene.kafka.delete_records(&scene.topic, 0, 12).await;
    gate.open();
    let requests = receiver
        .until("/all", "what is left", |requests| {
            ids(requests).is_superset(&named(12..15))
        })
        .await;
    scene.settled().await;
    let before: BTreeSet<String> = ids(&requests)
        .intersection(&named(0..12))
        .cloned()
        .collect();
    assert!(!before.is_empty() && before.len() < 12, "{before:?}");
    let lost = i32::try_from(12 - before.len()).expect("few");
    let counted = posthaste.metrics().await;
    let counted = counted.sum("posthaste_lost_to_retention_total", &[]);
    assert_eq!(counted, f64::from(lost), "of 12, {before:?} were delivered");
    assert_eq!(
        requests.len(),
        15 - usize::try_from(lost).expect("few"),
        "each once"
    );
    posthaste
        .until_logged(&[&scene.topic, "deleted by the topic's retention"])
        .await;
}

#[tokio::test]
async fn an_instance_is_ready_without_its_source_topics_and_reads_them_once_they_come() {
    let scene = Scene::bare(Kafka::shared(), "absent");
    let receiver = Receiver::start().await;
    let posthaste = scene.serve().await;
    let offset = scene.put("all", &webhook(&receiver.url("/all"))).await;
    scene.in_force(&posthaste, offset).await;
    posthaste
        .until_logged(&[&scene.topic, "does not exist"])
        .await;
    scene.kafka.create_topic(&scene.topic, 2, &[]).await;
    scene.publish(&numbered(0..5)).await;
    receiver.until_delivered("/all", 5).await;
    scene.settled().await;
    assert_eq!(posthaste.page("/readyz").await.0, 200);
}

/// The dead letter of an event for a destination.
fn dead<'a>(records: &'a [RawRecord], destination: &str, event: &str) -> Option<&'a RawRecord> {
    let name = format!("default/{destination}");
    let mut records = records.iter();
    records.find(|record| header(record, "destination") == Some(&name) && id_of(record) == event)
}

#[tokio::test]
async fn odd_records_go_every_way_whole_and_too_large_ones_do_not_stop_their_source() {
    let scene = Scene::bare(Kafka::shared(), "odd");
    let takes = |bytes| [("max.message.bytes", bytes)];
    scene
        .kafka
        .create_topic(&scene.topic, 1, &takes("6000000"))
        .await;
    let receiver = Receiver::start().await;
    receiver.on("/flaky", |request| {
        match request.header("webhook-attempt") {
            "1" => Answer::Status(500),
            _ => Answer::Status(200),
        }
    });
    receiver.on("/refuses", |_| Answer::Status(400));
    let later = format!("{}-later", scene.topic);
    let mut settings = scene.settings();
    settings.source(&later, "start", "earliest");
    let posthaste = Posthaste::start(&settings).await;
    let mut offset = 0;
    for (id, more) in [
        ("steady", json!({})),
        ("flaky", json!({})),
        ("refuses", json!({"retry": {"rejected": "dead-letter"}})),
    ] {
        let document = webhook(&receiver.url(&format!("/{id}")));
        offset = scene.put(id, &with(&document, &more)).await;
    }
    scene.in_force(&posthaste, offset).await;

    let large = vec![b'x'; 5 * 1024 * 1024];
    let many = (0..1000).fold(NewEvent::new("many"), |event, number| {
        event.header(&format!("name-{number}"), format!("value {number}"))
    });
    let events = [
        NewEvent::new("large").body(large),
        many,
        NewEvent::new("null").null_body(),
    ];
    scene.publish(&events).await;
    for path in ["/steady", "/flaky"] {
        let requests = receiver.until_delivered(path, events.len()).await;
        for event in &events {
            let delivered = |request: &&Request| request.delivered() && request.id() == event.id();
            let request = requests.iter().find(delivered).expect("delivered");
            let body = event.value.as_deref().unwrap_or_default();
            assert!(request.body == body, "{path}: the bytes of {}", event.id());
        }
    }
    let mut letters = scene.kafka.follow(&scene.own("dead-letter"));
    let records = letters
        .until("three dead letters", |records| records.len() >= 3)
        .await;
    for event in &events {
        let record = dead(records, "refuses", event.id()).expect("it is dead");
        assert!(
            record.value.as_deref() == event.value.as_deref(),
            "{}",
            event.id()
        );
        for (name, value) in &event.headers {
            let found = header(record, name).map(str::as_bytes);
            assert_eq!(found, value.as_deref(), "{name} of {}", event.id());
        }
    }

    // A topic that came later takes more than ours were made for.
    scene.kafka.create_topic(&later, 1, &takes("9000000")).await;
    let huge = NewEvent::new("huge").body(vec![b'x'; 8 * 1024 * 1024]);
    scene
        .publish(&[huge.to(&later), NewEvent::new("next").to(&later)])
        .await;
    for path in ["/steady", "/flaky"] {
        receiver
            .until(path, "the next event", |requests| {
                requests.iter().any(|r| r.id() == "next" && r.delivered())
            })
            .await;
    }
    let records = letters
        .until("what is too large, and the next", |records| {
            dead(records, "flaky", "huge").is_some()
                && dead(records, "refuses", "huge").is_some()
                && dead(records, "refuses", "next").is_some()
        })
        .await;
    for destination in ["flaky", "refuses"] {
        let record = dead(records, destination, "huge").expect("found above");
        assert_eq!(record.value, None, "{destination}: it would not fit");
    }
    let flaky = dead(records, "flaky", "huge").expect("found above");
    assert_eq!(header(flaky, "reason"), Some("too_large"));
    scene.settled_in(&scene.topic).await;
    scene.settled_in(&later).await;
    let huge: Vec<Request> = receiver.delivered("/steady");
    assert!(huge.iter().any(|request| request.id() == "huge"));
    posthaste
        .until_metric(
            "posthaste_dead_letters_total",
            &[("reason", "too_large")],
            1.0,
        )
        .await;
}

#[tokio::test]
async fn a_compacted_topic_is_read_over_its_gaps_and_each_record_once() {
    let scene = Scene::new("compacted").await;
    let receiver = Receiver::start().await;
    scene.put("all", &webhook(&receiver.url("/all"))).await;
    let topic = format!("{}-table", scene.topic);
    let properties = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("max.compaction.lag.ms", "100"),
    ];
    scene.kafka.create_topic(&topic, 1, &properties).await;
    let keyed = |number: usize| NewEvent::numbered(number).key(format!("key-{}", number % 3));
    let mut number = 0;
    // Segments are closed by the next write after their time, and only closed ones are compacted.
    wait::until("a gap in the topic", async || {
        scene
            .kafka
            .produce(&topic, &[keyed(number), keyed(number + 1)])
            .await;
        number += 2;
        let held = scene.kafka.read_all(&topic).await.len();
        (held + 4 < number).then_some(())
    })
    .await;
    let mut settings = scene.settings();
    let _posthaste = Posthaste::start(settings.source(&topic, "start", "earliest")).await;
    scene
        .kafka
        .produce(&topic, &[NewEvent::new("last").key("key-0")])
        .await;
    receiver
        .until("/all", "the last record", |requests| {
            requests.iter().any(|request| request.id() == "last")
        })
        .await;
    scene.settled_in(&topic).await;
    // Whatever compaction has left since was there before.
    let requests = receiver.requests("/all");
    let delivered = ids(&requests);
    assert_eq!(requests.len(), delivered.len(), "each once");
    for record in scene.kafka.read_all(&topic).await {
        assert!(delivered.contains(&id_of(&record)), "{}", id_of(&record));
    }
    assert!(delivered.len() < number + 1, "some were compacted away");
}
