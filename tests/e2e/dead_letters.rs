//! Deliveries that are given up: none vanishes, each says why and holds the event as it was.

use posthaste::domain::delivery::{DeadLetterReason, Delivery};
use posthaste::domain::event::Origin;
use posthaste::domain::outcome::Outcome;
use posthaste::wire::RawRecord;
use posthaste::wire::dead_letter::{self, Content};
use serde_json::{Value, json};

use crate::support::account::event_id as id_of;
use crate::support::events::{NewEvent, event_id, numbered};
use crate::support::posthaste::Posthaste;
use crate::support::receiver::{Answer, Receiver};
use crate::support::records::header;
use crate::support::scene::{Scene, webhook, with};

/// Asserts that a dead letter holds the event that stands at `at` with its own bytes, key and headers, and says why it
/// is there; returns its delivery, if it was for a destination.
fn assert_dead(
    record: &RawRecord,
    event: &NewEvent,
    at: &Origin,
    reason: DeadLetterReason,
    destination: Option<&str>,
) -> Option<Delivery> {
    let id = event.id();
    // What people see with kcat.
    assert_eq!(header(record, "reason"), Some(reason.as_str()), "{id}");
    let name = record
        .headers
        .iter()
        .find(|(name, _)| &**name == "destination")
        .filter(|_| destination.is_some());
    let name = name.and_then(|(_, value)| value.as_deref());
    assert_eq!(name, destination.map(str::as_bytes), "{id}");
    assert_eq!(record.key.as_deref(), event.key.as_deref(), "{id}");
    assert_eq!(record.value.as_deref(), event.value.as_deref(), "{id}");
    // What is read to put it back.
    let letter = dead_letter::decode(record).expect("a dead letter");
    assert_eq!(letter.reason, reason, "{id}");
    let (origin, headers, delivery) = match letter.content {
        Content::Delivery(delivery) => {
            assert_eq!(Some(delivery.destination.as_str()), destination, "{id}");
            (
                delivery.event.origin.clone(),
                delivery.event.headers.clone(),
                Some(*delivery),
            )
        }
        Content::Record {
            origin, headers, ..
        } => {
            assert_eq!(destination, None, "{id}");
            assert!(
                !letter.detail.is_empty(),
                "{id} says what could not be told"
            );
            (origin, headers, None)
        }
    };
    assert_eq!(origin, *at, "{id}");
    let own: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_ref().map(|value| value.to_vec())))
        .collect();
    assert_eq!(own, event.headers, "{id}");
    delivery
}

/// Where published events stand.
fn origins(scene: &Scene, events: &[NewEvent], written: &[(i32, i64)]) -> Vec<Origin> {
    let origin = |(event, at): (&NewEvent, &(i32, i64))| Origin {
        topic: event.topic.as_deref().unwrap_or(&scene.topic).into(),
        partition: at.0,
        offset: at.1,
    };
    events.iter().zip(written).map(origin).collect()
}

/// A destination without hope.
struct Hopeless {
    id: &'static str,
    answer: Answer,
    document: Value,
    reason: DeadLetterReason,
    /// How each attempt ends.
    outcome: Outcome,
    /// How many requests it gets for each event.
    requests: std::ops::RangeInclusive<usize>,
}

fn hopeless() -> Vec<Hopeless> {
    use DeadLetterReason::{Exhausted, Expired, Gone, Rejected};
    let row = |id, answer, document, reason, outcome, requests| Hopeless {
        id,
        answer,
        document,
        reason,
        outcome,
        requests,
    };
    let dead_letter = json!({"retry": {"rejected": "dead-letter"}});
    let attempts = |count: u32| json!({"retry": {"max_attempts": count}});
    let age = json!({"retry": {"max_age": "3s"}});
    vec![
        row(
            "exhausted",
            Answer::Status(500),
            attempts(3),
            Exhausted,
            Outcome::Server,
            3..=3,
        ),
        row(
            "closed",
            Answer::Close,
            attempts(1),
            Exhausted,
            Outcome::Network,
            1..=2,
        ),
        row(
            "gone",
            Answer::Status(410),
            json!({}),
            Gone,
            Outcome::Gone,
            1..=1,
        ),
        row(
            "rejected",
            Answer::Status(400),
            dead_letter,
            Rejected,
            Outcome::Rejected,
            1..=1,
        ),
        row(
            "expired",
            Answer::Status(500),
            age,
            Expired,
            Outcome::Server,
            1..=3,
        ),
    ]
}

#[tokio::test]
async fn what_is_given_up_is_kept_with_its_reason_and_its_bytes() {
    let scene = Scene::new("given-up").await;
    let mut receivers = Vec::new();
    for row in hopeless() {
        let receiver = Receiver::start().await;
        let answer = row.answer.clone();
        receiver.on("/", move |_| answer.clone());
        scene
            .put(row.id, &with(&webhook(&receiver.url("/")), &row.document))
            .await;
        receivers.push((row, receiver));
    }
    let posthaste = scene.serve().await;
    let events = [
        NewEvent::new("awkward")
            .key(*b"\xff\x00")
            .body(*b"\x00\xff{")
            .header("raw", *b"\xc3\x28")
            .header("reason", "the event's own")
            .header("ph", "the event's own")
            .null_header("null"),
        NewEvent::new("null").null_body(),
    ];
    let written = scene.publish(&events).await;
    let origins = origins(&scene, &events, &written);
    let count = receivers.len() * events.len();
    let mut follower = scene.kafka.follow(&scene.own("dead-letter"));
    let records = follower
        .until("all dead letters", |records| records.len() >= count)
        .await;
    assert_eq!(records.len(), count);
    for (row, receiver) in &receivers {
        let name = format!("default/{}", row.id);
        for (event, origin) in events.iter().zip(&origins) {
            let mut found = records.iter().filter(|record| {
                header(record, "destination") == Some(&name) && id_of(record) == event.id()
            });
            let record = found
                .next()
                .unwrap_or_else(|| panic!("{name}: {} is dead", event.id()));
            assert!(
                found.next().is_none(),
                "{name}: {} is dead once",
                event.id()
            );
            let delivery = assert_dead(record, event, origin, row.reason, Some(&name));
            let progress = delivery.expect("a delivery").progress;
            let requests = receiver
                .all()
                .iter()
                .filter(|request| request.id() == event.id())
                .count();
            assert!(
                row.requests.contains(&requests),
                "{name} got {} {requests} times",
                event.id()
            );
            // A used connection that broke is replaced within the attempt.
            if !matches!(row.answer, Answer::Close) {
                assert_eq!(usize::try_from(progress.attempts), Ok(requests), "{name}");
            }
            let numbers: Vec<u32> = progress.history.iter().map(|past| past.number).collect();
            assert_eq!(
                numbers,
                (1..=progress.attempts).collect::<Vec<_>>(),
                "{name}"
            );
            assert!(
                progress
                    .history
                    .iter()
                    .all(|past| past.outcome == row.outcome),
                "{name}"
            );
        }
    }
    scene.settled().await;
    let metrics = posthaste.metrics().await;
    for (reason, times) in [
        ("exhausted", 4.0),
        ("gone", 2.0),
        ("rejected", 2.0),
        ("expired", 2.0),
    ] {
        assert_eq!(
            metrics.sum("posthaste_dead_letters_total", &[("reason", reason)]),
            times,
            "{reason}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_understood_goes_to_the_dead_letters_whole() {
    let scene = Scene::new("malformed").await;
    let receiver = Receiver::start().await;
    scene.put("all", &webhook(&receiver.url("/all"))).await;
    let pointed = format!("{}-pointed", scene.topic);
    let cloud = format!("{}-cloud", scene.topic);
    let mut settings = scene.settings();
    for topic in [&pointed, &cloud] {
        scene.kafka.create_topic(topic, 1, &[]).await;
        settings.source(topic, "start", "earliest");
    }
    settings
        .source(&pointed, "type", "/type")
        .source(&cloud, "format", "cloudevents");
    let _posthaste = Posthaste::start(&settings).await;
    let bare = |id: &str, body: &'static str| NewEvent::bare(body).header("event-id", id);
    let events = [
        bare("open", "{\"type\": ").to(&pointed),
        bare("no-type", "{}").to(&pointed),
        bare("no-object", "17").to(&pointed),
        bare("no-cloud-event", "{}").to(&cloud),
        NewEvent::new("no-tenant").header("tenant", "NOT A TENANT"),
    ];
    let written = scene.publish(&events).await;
    let origins = origins(&scene, &events, &written);
    let good = [
        bare("good-pointed", r#"{"type": "order.paid"}"#).to(&pointed),
        NewEvent::numbered(1),
    ];
    scene.publish(&good).await;
    let mut follower = scene.kafka.follow(&scene.own("dead-letter"));
    let records = follower
        .until("all dead letters", |records| records.len() >= events.len())
        .await;
    assert_eq!(records.len(), events.len());
    for (event, origin) in events.iter().zip(&origins) {
        let record = records.iter().find(|record| id_of(record) == event.id());
        let record = record.unwrap_or_else(|| panic!("{} is dead", event.id()));
        assert_dead(record, event, origin, DeadLetterReason::Malformed, None);
    }
    // What comes after them is delivered, and all positions move on.
    receiver.until_delivered("/all", 2).await;
    for topic in [&scene.topic, &pointed, &cloud] {
        scene.settled_in(topic).await;
    }
    assert_eq!(receiver.requests("/all").len(), 2);
}

#[tokio::test]
async fn what_is_larger_than_the_sink_takes_is_a_dead_letter() {
    let scene = Scene::new("oversize").await;
    let receiver = Receiver::start().await;
    scene.put("all", &webhook(&receiver.url("/all"))).await;
    let mut settings = scene.settings();
    let _posthaste = Posthaste::start(settings.set("webhook.body_max", "64KiB")).await;
    let large = NewEvent::new("large").body(vec![b'x'; 64 * 1024 + 1]);
    let fits = NewEvent::new("fits").body(vec![b'x'; 64 * 1024]);
    let events = [large, fits];
    let written = scene.publish(&events).await;
    let origins = origins(&scene, &events, &written);
    let mut follower = scene.kafka.follow(&scene.own("dead-letter"));
    let records = follower
        .until("a dead letter", |records| !records.is_empty())
        .await;
    let oversize = DeadLetterReason::Oversize;
    assert_dead(
        &records[0],
        &events[0],
        &origins[0],
        oversize,
        Some("default/all"),
    );
    let delivered = receiver.until_delivered("/all", 1).await;
    assert_eq!(delivered[0].id(), "fits");
}

#[tokio::test]
async fn what_waits_for_a_deleted_destination_is_dead_lettered_and_it_gets_nothing_more() {
    let scene = Scene::new("deleted").await;
    let receiver = Receiver::start().await;
    receiver.on("/doomed", |request| match request.id() {
        "reborn" => Answer::Status(200),
        _ => Answer::Status(500),
    });
    let document = with(
        &webhook(&receiver.url("/doomed")),
        &json!({"retry": {"delays": ["2s"]}}),
    );
    scene.put("doomed", &document).await;
    scene.put("other", &webhook(&receiver.url("/other"))).await;
    let posthaste = scene.serve().await;
    let events = numbered(0..3);
    let written = scene.publish(&events).await;
    let origins = origins(&scene, &events, &written);
    receiver.until_requests("/doomed", 3).await;
    let offset = scene.delete("doomed").await;
    scene.in_force(&posthaste, offset).await;
    scene.publish(&numbered(3..5)).await;
    let mut follower = scene.kafka.follow(&scene.own("dead-letter"));
    let records = follower
        .until("all dead letters", |records| records.len() >= 3)
        .await;
    for (event, origin) in events.iter().zip(&origins) {
        let record = records
            .iter()
            .find(|record| id_of(record) == event.id())
            .expect("dead");
        let deleted = DeadLetterReason::Deleted;
        assert_dead(record, event, origin, deleted, Some("default/doomed"));
    }
    receiver.until_delivered("/other", 5).await;
    scene.settled().await;
    assert_eq!(
        receiver.requests("/doomed").len(),
        3,
        "no request after the tombstone"
    );

    // Made again under its name, it gets what comes from then on.
    let offset = scene.put("doomed", &document).await;
    scene.in_force(&posthaste, offset).await;
    scene.publish(&[NewEvent::new("reborn")]).await;
    let delivered = receiver.until_delivered("/doomed", 1).await;
    assert_eq!(delivered.len(), 4);
    assert_eq!(delivered[3].id(), "reborn");
    let dead = scene.kafka.read_all(&scene.own("dead-letter")).await;
    let mut dead: Vec<String> = dead.iter().map(id_of).collect();
    dead.sort();
    assert_eq!(dead, [event_id(0), event_id(1), event_id(2)]);
}
