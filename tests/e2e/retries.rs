//! What follows a failed attempt.

use std::time::{Duration, SystemTime};

use posthaste::domain::delivery::{Delivery, Trigger};
use posthaste::domain::outcome::Outcome;
use posthaste::wire::{RawRecord, attempt, dedicated, retry};
use serde_json::json;

use crate::support::account::{Account, event_id as id_of};
use crate::support::events::{NewEvent, event_id, numbered};
use crate::support::posthaste::Posthaste;
use crate::support::receiver::{Answer, Gate, Receiver, Request};
use crate::support::scene::{Scene, webhook, with};

/// The lanes of the test settings.
const LANES: i32 = 2;

/// A record in a retry topic.
struct Waiting {
    /// 0: no delay.
    tier: i32,
    record: RawRecord,
    delivery: Delivery,
}

/// All records in retry topics, in the order in which they were appended.
async fn waiting(scene: &Scene) -> Vec<Waiting> {
    let mut found = Vec::new();
    for topic in scene.kafka.topics(&scene.own("retry")).keys() {
        let shared = *topic == scene.own("retry");
        for record in scene.kafka.read_all(topic).await {
            let tier = if shared {
                record.partition / LANES
            } else {
                record.partition
            };
            let delivery = retry::decode(&record).expect("a record of a retry topic");
            found.push(Waiting {
                tier,
                record,
                delivery,
            });
        }
    }
    found.sort_by_key(|waiting| waiting.record.timestamp_ms);
    found
}

/// The times between the requests for one event.
fn gaps(requests: &[Request], id: &str) -> Vec<Duration> {
    let times: Vec<_> = requests
        .iter()
        .filter(|request| request.id() == id)
        .map(|request| request.at)
        .collect();
    times
        .iter()
        .zip(times.iter().skip(1))
        .map(|(before, after)| *after - *before)
        .collect()
}

#[tokio::test]
async fn retries_come_in_tier_order_and_not_before_they_are_due() {
    let scene = Scene::new("tiers").await;
    let receiver = Receiver::start().await;
    receiver.on("/fails", |request| {
        match request.header("webhook-attempt") {
            "4" => Answer::Status(200),
            _ => Answer::Status(500),
        }
    });
    scene.put("fails", &webhook(&receiver.url("/fails"))).await;
    let _posthaste = scene.serve().await;
    scene.publish(&numbered(0..5)).await;
    let requests = receiver.until_delivered("/fails", 5).await;

    let delays = [
        Duration::from_millis(300),
        Duration::from_secs(1),
        Duration::from_secs(2),
    ];
    let waiting = waiting(&scene).await;
    for number in 0..5 {
        let id = event_id(number);
        let attempts: Vec<&str> = requests
            .iter()
            .filter(|request| request.id() == id)
            .map(|request| request.header("webhook-attempt"))
            .collect();
        assert_eq!(attempts, ["1", "2", "3", "4"], "{id}");
        for (gap, delay) in gaps(&requests, &id).iter().zip(delays) {
            assert!(
                *gap >= delay,
                "{id} came again after {gap:?}, it was due after {delay:?}"
            );
        }
        let own: Vec<&Waiting> = waiting
            .iter()
            .filter(|waiting| *waiting.delivery.event.id == *id)
            .collect();
        let tiers: Vec<i32> = own.iter().map(|waiting| waiting.tier).collect();
        assert_eq!(tiers, [1, 2, 3], "{id} went through each tier once");
        let retries = requests.iter().filter(|request| request.id() == id).skip(1);
        for (waiting, request) in own.iter().zip(retries) {
            let due = waiting.delivery.progress.due_ms;
            assert!(
                request.at_ms >= due,
                "{id} was due at {due} and came at {}",
                request.at_ms
            );
        }
    }
    // The attempts are on record, one each.
    let mut follower = scene.kafka.follow(&scene.own("attempts"));
    let records = follower
        .until("20 attempt records", |records| records.len() >= 20)
        .await;
    let mut attempts: Vec<_> = records
        .iter()
        .map(|record| {
            attempt::decode(record.value.as_deref().expect("a value")).expect("an attempt")
        })
        .map(|attempt| {
            (
                attempt.event_id.into_owned(),
                attempt.attempt,
                attempt.outcome,
                attempt.status,
                attempt.tier,
            )
        })
        .collect();
    attempts.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
    let expected: Vec<_> = (0..5)
        .map(event_id)
        .flat_map(|id| {
            [
                (id.clone(), 1, Outcome::Server, Some(500), None),
                (id.clone(), 2, Outcome::Server, Some(500), Some(1)),
                (id.clone(), 3, Outcome::Server, Some(500), Some(2)),
                (id, 4, Outcome::Delivered, Some(200), Some(3)),
            ]
        })
        .collect();
    assert_eq!(attempts, expected);
}

#[tokio::test]
async fn retry_records_hold_the_events_own_bytes() {
    let scene = Scene::new("retry-bytes").await;
    let receiver = Receiver::start().await;
    receiver.in_turn("/fails", [Answer::Status(500), Answer::Status(204)]);
    scene.put("fails", &webhook(&receiver.url("/fails"))).await;
    let _posthaste = scene.serve().await;
    let event = NewEvent::new("awkward")
        .key(*b"\xff\x00")
        .body(*b"\x00\xff{")
        .header("raw", *b"\xc3\x28")
        .header("empty", "")
        .null_header("null");
    scene.publish(std::slice::from_ref(&event)).await;
    let requests = receiver.until_delivered("/fails", 1).await;
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!(request.body, event.value.clone().expect("a value"));
    }
    let waiting = waiting(&scene).await;
    assert_eq!(waiting.len(), 1);
    let Waiting {
        record, delivery, ..
    } = &waiting[0];
    assert_eq!(record.key.as_deref(), event.key.as_deref());
    assert_eq!(record.value.as_deref(), event.value.as_deref());
    let own: Vec<_> = delivery
        .event
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_ref().map(|value| value.to_vec())))
        .collect();
    assert_eq!(own, event.headers);
    let packed = record.headers.iter().find(|(name, _)| &**name == "ph");
    let packed = packed
        .and_then(|(_, value)| value.as_ref())
        .expect("the packed header");
    assert!(packed.len() <= 4096);
    let origin = &delivery.event.origin;
    assert_eq!(
        (&*origin.topic, origin.partition, origin.offset),
        (scene.topic.as_str(), 0, 0)
    );
    assert_eq!(delivery.destination.as_str(), "default/fails");
    assert_eq!(delivery.document_offset, 0);
    assert_eq!(
        (delivery.progress.attempts, delivery.progress.trigger),
        (1, Trigger::Retry)
    );
}

#[tokio::test]
async fn every_kind_of_failure_is_retried_until_it_is_delivered() {
    let scene = Scene::new("failures").await;
    let elsewhere = Receiver::start().await;
    let location = vec![("location", elsewhere.url("/elsewhere"))];
    let failures = [
        ("redirect", Answer::With(307, location)),
        ("auth", Answer::Status(401)),
        ("not_found", Answer::Status(404)),
        ("rejected", Answer::Status(422)),
        ("early", Answer::Status(425)),
        ("server", Answer::Status(500)),
        ("unavailable", Answer::Status(503)),
        ("closed", Answer::Close),
        ("nonsense", Answer::Raw("nonsense\r\n\r\n")),
    ];
    // A host for each, so that none gets a connection that another one has used: a used connection that breaks is
    // replaced within the attempt.
    let mut receivers = Vec::new();
    for (id, failure) in &failures {
        let receiver = Receiver::start().await;
        receiver.in_turn("/", [failure.clone(), Answer::Status(200)]);
        scene.put(id, &webhook(&receiver.url("/"))).await;
        receivers.push((id, receiver));
    }
    let posthaste = scene.serve().await;
    scene.publish(&numbered(0..1)).await;
    for (id, receiver) in &receivers {
        let requests = receiver.until_delivered("/", 1).await;
        let attempts: Vec<&str> = requests
            .iter()
            .map(|request| request.header("webhook-attempt"))
            .collect();
        assert_eq!(attempts, ["1", "2"], "{id}");
    }
    assert!(elsewhere.all().is_empty(), "redirects are not followed");
    posthaste
        .until_metric(
            "posthaste_deliveries_total",
            &[("outcome", "delivered")],
            9.0,
        )
        .await;
    let metrics = posthaste.metrics().await;
    let count = |outcome| metrics.sum("posthaste_deliveries_total", &[("outcome", outcome)]);
    for (outcome, times) in [
        ("delivered", 9.0),
        ("redirect", 1.0),
        ("auth", 1.0),
        ("not_found", 1.0),
        ("rejected", 1.0),
    ] {
        assert_eq!(count(outcome), times, "{outcome}");
    }
    assert_eq!(count("server") + count("network"), 5.0);
}

/// A moment two to three seconds from now, as an HTTP date, which has no fractions.
fn in_two_seconds() -> String {
    httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3))
}

#[tokio::test]
async fn retry_after_holds_the_whole_destination_in_both_forms() {
    let scene = Scene::new("retry-after").await;
    let receiver = Receiver::start().await;
    let ask = |status, value: fn() -> String| {
        move |request: &Request| match request.nth {
            0 => Answer::With(status, vec![("retry-after", value())]),
            _ => Answer::Status(200),
        }
    };
    receiver.on("/seconds", ask(429, || "2".to_owned()));
    receiver.on("/date", ask(503, in_two_seconds));
    // One attempt only: what was throttled does not count.
    let once = json!({"retry": {"max_attempts": 1}, "delivery": {"concurrency": 1}});
    for path in ["/seconds", "/date"] {
        scene
            .put(&path[1..], &with(&webhook(&receiver.url(path)), &once))
            .await;
    }
    receiver.on("/healthy", |_| Answer::Status(200));
    scene
        .put("healthy", &webhook(&receiver.url("/healthy")))
        .await;
    let _posthaste = scene.serve().await;
    scene.publish(&numbered(0..1)).await;
    // Both have asked for time, and that is known: their events wait where all first failures do.
    let mut retries = scene.kafka.follow(&scene.own("retry"));
    retries
        .until("two throttled deliveries", |records| records.len() == 2)
        .await;
    scene.publish(&numbered(1..4)).await;
    receiver.until_delivered("/healthy", 4).await;
    for path in ["/seconds", "/date"] {
        let requests = receiver.until_delivered(path, 4).await;
        let first = &requests[0];
        assert_eq!(
            first.answered,
            Some(if path == "/seconds" { 429 } else { 503 })
        );
        for later in &requests[1..] {
            let wait = later.at - first.at;
            assert!(
                wait >= Duration::from_secs(2),
                "{path} was asked again after {wait:?}"
            );
        }
        let ids: Vec<String> = (0..4).map(event_id).collect();
        let account = Account::of(&scene, &receiver, path, &path[1..]).await;
        account.each_ended_once(ids.iter().map(String::as_str));
    }
}

#[tokio::test]
async fn a_slow_delivery_does_not_block_its_tier() {
    let scene = Scene::new("slow-tier").await;
    let receiver = Receiver::start().await;
    let gate = Gate::shut();
    let held = gate.clone();
    receiver.on("/slow", move |request| {
        match request.header("webhook-attempt") {
            "1" => Answer::Status(500),
            _ => Answer::Hold(held.clone(), 200),
        }
    });
    receiver.on("/other", |request| {
        match request.header("webhook-attempt") {
            "1" | "2" => Answer::Status(500),
            _ => Answer::Status(200),
        }
    });
    scene.put("slow", &webhook(&receiver.url("/slow"))).await;
    scene.put("other", &webhook(&receiver.url("/other"))).await;
    // One lane, and no topics of their own: both destinations share each retry partition.
    let mut settings = scene.settings();
    settings
        .set("topics.lanes", 1)
        .set("retry.dedicated_topics", 0);
    let _posthaste = Posthaste::start(&settings).await;
    scene.publish(&numbered(0..3)).await;
    receiver
        .until("/slow", "three held retries", |requests| {
            requests.len() == 6
        })
        .await;
    receiver.until_delivered("/other", 3).await;
    // Those that come later overtake the held ones too.
    scene.publish(&numbered(3..6)).await;
    receiver.until_delivered("/other", 6).await;
    assert!(receiver.delivered("/slow").is_empty());
    gate.open();
    receiver.until_delivered("/slow", 6).await;
    let ids: Vec<String> = (0..6).map(event_id).collect();
    for id in ["slow", "other"] {
        let account = Account::of(&scene, &receiver, &format!("/{id}"), id).await;
        account.each_ended_once(ids.iter().map(String::as_str));
    }
}

#[tokio::test]
async fn a_failing_destination_gets_a_retry_topic_of_its_own() {
    let scene = Scene::new("dedicated").await;
    let receiver = Receiver::start().await;
    receiver.on("/fails", |request| {
        match request.header("webhook-attempt") {
            "1" | "2" => Answer::Status(500),
            _ => Answer::Status(200),
        }
    });
    scene.put("fails", &webhook(&receiver.url("/fails"))).await;
    scene
        .put("healthy", &webhook(&receiver.url("/healthy")))
        .await;
    let posthaste = scene.serve().await;
    scene.publish(&numbered(0..1)).await;
    receiver.until_delivered("/fails", 1).await;
    let mut announcements = scene.kafka.follow(&scene.own("dedicated"));
    let records = announcements
        .until("an announcement", |records| !records.is_empty())
        .await;
    let announced = dedicated::decode(&records[0]).expect("an announcement");
    assert_eq!(announced.destination.as_str(), "default/fails");
    let own = scene.kafka.topics(&scene.own("retry.default.fails."));
    let (name, partitions) = own.first_key_value().expect("a topic of its own");
    assert_eq!(own.len(), 1);
    assert_eq!(*partitions, 4, "no delay, and one partition for each tier");
    assert_eq!(announced.topic.as_deref(), Some(name.as_str()));
    let suffix = name.rsplit('.').next().expect("a suffix");
    assert!(
        suffix.len() == 8 && suffix.bytes().all(|digit| digit.is_ascii_hexdigit()),
        "{name}"
    );
    assert!(
        scene
            .kafka
            .topics(&scene.own("retry.default.healthy."))
            .is_empty()
    );
    posthaste
        .until_metric("posthaste_retry_topics_dedicated", &[], 1.0)
        .await;

    // From now on retries go there.
    scene.publish(&numbered(1..3)).await;
    receiver.until_delivered("/fails", 3).await;
    let there = scene.kafka.read_all(name).await;
    assert!(
        there
            .iter()
            .filter(|record| id_of(record) == event_id(2))
            .count()
            >= 1,
        "{there:?}"
    );
}
