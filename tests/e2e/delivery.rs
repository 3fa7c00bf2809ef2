//! Who gets which events, how often, and in which bytes.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::account::Account;
use crate::support::events::{NewEvent, event_id, numbered};
use crate::support::kafka::Kafka;
use crate::support::now_ms;
use crate::support::posthaste::Posthaste;
use crate::support::receiver::{Answer, Gate, Receiver, Request};
use crate::support::scene::{Scene, webhook, with};

/// The ids that requests carry, sorted, repeats included.
fn ids(requests: &[Request]) -> Vec<&str> {
    let mut ids: Vec<&str> = requests.iter().map(Request::id).collect();
    ids.sort_unstable();
    ids
}

/// Events whose bytes break what handles them as text.
fn awkward_events() -> Vec<NewEvent> {
    let big: Vec<u8> = (0..200_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    vec![
        NewEvent::new("plain").body("{ \"spaces\":  [1,\t2 ] , \"twice\": 1, \"twice\": 2 }\n"),
        NewEvent::new("no-json").body("{\"open\": "),
        NewEvent::new("binary").body(*b"\x00\xff\xfe\x80\r\n\r\n"),
        NewEvent::new("null").null_body(),
        NewEvent::new("empty").body(""),
        NewEvent::new("big").body(big),
        NewEvent::new("key").key(*b"\xff\x00\xfe"),
        NewEvent::new("headers")
            .header("raw", *b"\xc3\x28\xff\r\n")
            .header("empty", "")
            .null_header("null")
            .header("twice", "1")
            .header("twice", "2"),
        NewEvent::new("text")
            .header("content-type", "text/plain; charset=utf-8")
            .body("text"),
    ]
}

#[tokio::test]
async fn every_subscriber_gets_each_event_once_and_byte_for_byte() {
    let scene = Scene::new("bytes").await;
    let receiver = Receiver::start().await;
    for id in ["first", "second", "third"] {
        scene
            .put(id, &webhook(&receiver.url(&format!("/{id}"))))
            .await;
    }
    let events = awkward_events();
    let before_s = now_ms() / 1000;
    scene.publish(&events).await;
    let posthaste = scene.serve().await;
    for id in ["first", "second", "third"] {
        let path = format!("/{id}");
        receiver.until_delivered(&path, events.len()).await;
        scene.settled().await;
        let requests = receiver.requests(&path);
        assert_eq!(requests.len(), events.len(), "{id}");
        for event in &events {
            let request = requests.iter().find(|request| request.id() == event.id());
            let request = request.unwrap_or_else(|| panic!("{id} got {}", event.id()));
            assert_eq!(
                request.body,
                event.value.clone().unwrap_or_default(),
                "{}",
                event.id()
            );
            assert_eq!(request.header("webhook-event-type"), "order.paid");
            assert_eq!(request.header("webhook-attempt"), "1");
            assert!(request.header("user-agent").starts_with("posthaste/"));
            let content_type = match event.id() {
                "text" => "text/plain; charset=utf-8",
                _ => "application/json",
            };
            assert_eq!(request.header("content-type"), content_type);
            let signed_at: i64 = request
                .header("webhook-timestamp")
                .parse()
                .expect("seconds");
            assert!((before_s..=now_ms() / 1000).contains(&signed_at));
        }
    }
    let metrics = posthaste.metrics().await;
    let delivered = metrics.sum(
        "posthaste_deliveries_total",
        &[("sink", "webhook"), ("outcome", "delivered")],
    );
    let all = metrics.sum("posthaste_deliveries_total", &[]);
    assert_eq!((delivered, all), (27.0, 27.0));
    assert_eq!(metrics.sum("posthaste_events_matched_total", &[]), 9.0);
    assert!(
        scene
            .kafka
            .read_all(&scene.own("dead-letter"))
            .await
            .is_empty()
    );
    assert_eq!(scene.kafka.read_all(&scene.own("attempts")).await.len(), 27);
}

/// Who subscribes to what, and the numbers of the events that it gets, of those in [`chosen_events`].
fn subscribers(
    topic: &str,
    other: &str,
) -> Vec<(
    &'static str,
    &'static str,
    serde_json::Value,
    &'static [usize],
)> {
    vec![
        ("default", "everything", json!({}), &[0, 1, 2, 3, 6]),
        (
            "default",
            "star",
            json!({"subscriptions": [{"event_types": ["*"]}]}),
            &[0, 1, 2, 3, 6],
        ),
        (
            "default",
            "exact",
            json!({"subscriptions": [{"event_types": ["order.paid"]}]}),
            &[0, 6],
        ),
        (
            "default",
            "segment",
            json!({"subscriptions": [{"event_types": ["order.*"]}]}),
            &[0, 1, 6],
        ),
        (
            "default",
            "deep",
            json!({"subscriptions": [{"event_types": ["order.**"]}]}),
            &[0, 1, 2, 6],
        ),
        (
            "default",
            "part",
            json!({"subscriptions": [{"event_types": ["*.p*"]}]}),
            &[0, 6],
        ),
        (
            "default",
            "topic",
            json!({"subscriptions": [{"topics": [other]}]}),
            &[6],
        ),
        (
            "default",
            "twice-matched",
            json!({"subscriptions": [{"event_types": ["order.paid"]}, {"topics": [topic], "event_types": ["*"]}]}),
            &[0, 1, 2, 3, 6],
        ),
        ("acme", "everything", json!({}), &[4, 5]),
        (
            "acme",
            "exact",
            json!({"subscriptions": [{"event_types": ["order.paid"]}]}),
            &[4],
        ),
    ]
}

fn chosen_events(other: &str) -> Vec<NewEvent> {
    let event = |number, event_type| NewEvent::numbered(number).of_type(event_type);
    vec![
        event(0, "order.paid"),
        event(1, "order.refunded"),
        event(2, "order.line.added"),
        event(3, "customer"),
        event(4, "order.paid").header("tenant", "acme"),
        event(5, "customer.made").header("tenant", "acme"),
        event(6, "order.paid").to(other),
        event(7, "order.paid").header("tenant", "nobody"),
    ]
}

#[tokio::test]
async fn tenant_source_topic_and_event_type_choose_who_gets_an_event() {
    let scene = Scene::new("choice").await;
    let receiver = Receiver::start().await;
    let other = format!("{}-other", scene.topic);
    scene.kafka.create_topic(&other, 1, &[]).await;
    let subscribers = subscribers(&scene.topic, &other);
    for (tenant, id, more, _) in &subscribers {
        let document = with(&webhook(&receiver.url(&format!("/{tenant}/{id}"))), more);
        scene.put_for(tenant, id, &document).await;
    }
    let mut settings = scene.settings();
    let _posthaste = Posthaste::start(settings.source(&other, "start", "earliest")).await;
    scene.publish(&chosen_events(&other)).await;
    scene.settled().await;
    scene.settled_in(&other).await;
    for (tenant, id, _, numbers) in &subscribers {
        let expected: Vec<String> = numbers.iter().copied().map(event_id).collect();
        let got = receiver.delivered(&format!("/{tenant}/{id}"));
        assert_eq!(ids(&got), expected, "{tenant}/{id}");
    }
}

#[tokio::test]
async fn metadata_comes_from_headers_cloudevents_and_pointers() {
    let scene = Scene::new("metadata").await;
    let receiver = Receiver::start().await;
    scene.put("all", &webhook(&receiver.url("/all"))).await;
    scene
        .put_for("acme", "all", &webhook(&receiver.url("/acme")))
        .await;
    let pointed = format!("{}-pointed", scene.topic);
    scene.kafka.create_topic(&pointed, 1, &[]).await;
    let mut settings = scene.settings();
    settings
        .source(&pointed, "start", "earliest")
        .source(&pointed, "id", "/meta/id")
        .source(&pointed, "type", "/meta/type")
        .source(&pointed, "tenant", "/owner");
    let _posthaste = Posthaste::start(&settings).await;

    let structured =
        r#"{"specversion":"1.0","id":"ce-2","source":"/shop","type":"made.of.json","data":{}}"#;
    let at = scene
        .publish(&[
            NewEvent::bare("{}")
                .header("ce_id", "ce-1")
                .header("ce_type", "made.of.headers"),
            NewEvent::bare(structured).header("content-type", "application/cloudevents+json"),
            NewEvent::bare("{}").at(1_700_000_000_000),
            NewEvent::bare(r#"{"meta": {"id": "p-17", "type": "pointed"}, "owner": "acme"}"#)
                .to(&pointed),
        ])
        .await;
    scene.settled().await;
    scene.settled_in(&pointed).await;
    let named = |path: &str| {
        let mut found: Vec<(String, String)> = receiver
            .delivered(path)
            .iter()
            .map(|request| {
                (
                    request.id().to_owned(),
                    request.header("webhook-event-type").to_owned(),
                )
            })
            .collect();
        found.sort();
        found
    };
    let nameless = format!("{}-{}-{}-1700000000000", scene.topic, at[2].0, at[2].1);
    let mut expected = [
        ("ce-1".to_owned(), "made.of.headers".to_owned()),
        ("ce-2".to_owned(), "made.of.json".to_owned()),
        (nameless, scene.topic.clone()),
    ];
    expected.sort();
    assert_eq!(named("/all"), expected);
    assert_eq!(named("/acme"), [("p-17".to_owned(), "pointed".to_owned())]);
    let structured_request = receiver.delivered("/all");
    let structured_request = structured_request
        .iter()
        .find(|request| request.id() == "ce-2");
    let structured_request = structured_request.expect("delivered");
    assert_eq!(structured_request.body, structured);
    assert_eq!(
        structured_request.header("content-type"),
        "application/cloudevents+json"
    );
}

/// The most requests that were unanswered at the same time.
fn most_at_once(requests: &[Request]) -> usize {
    let mut moments: Vec<_> = requests
        .iter()
        .flat_map(|request| {
            let end = request.ended.map(|ended| (ended, false));
            std::iter::once((request.at, true)).chain(end)
        })
        .collect();
    moments.sort_unstable();
    let mut open = 0_usize;
    let mut most = 0;
    for (_, begins) in moments {
        open = if begins {
            open + 1
        } else {
            open.saturating_sub(1)
        };
        most = most.max(open);
    }
    most
}

#[tokio::test]
async fn a_hanging_destination_is_overtaken_by_healthy_ones() {
    let scene = Scene::new("hanging").await;
    let receiver = Receiver::start().await;
    let gate = Gate::shut();
    let held = gate.clone();
    receiver.on("/hanging", move |_| Answer::Hold(held.clone(), 204));
    let hanging = json!({"delivery": {"concurrency": 3}, "retry": {"max_attempts": 20}});
    scene
        .put(
            "hanging",
            &with(&webhook(&receiver.url("/hanging")), &hanging),
        )
        .await;
    scene
        .put("healthy", &webhook(&receiver.url("/healthy")))
        .await;
    let _posthaste = scene.serve().await;

    // One partition, so that nothing but the design keeps the hanging one from holding up the other.
    scene.publish(&numbered(0..60)).await;
    receiver.until_requests("/hanging", 3).await;
    receiver.until_delivered("/healthy", 60).await;
    scene.publish(&numbered(60..120)).await;
    let healthy = receiver.until_delivered("/healthy", 120).await;
    assert_eq!(healthy.len(), 120);
    assert_eq!(receiver.delivered("/hanging").len(), 0, "the gate is shut");

    gate.open();
    let hanging = receiver.until_delivered("/hanging", 120).await;
    scene.settled().await;
    assert!(
        most_at_once(&hanging) <= 3,
        "its concurrency is 3, not {}",
        most_at_once(&hanging)
    );
    let all: Vec<String> = (0..120).map(event_id).collect();
    for (path, id) in [("/healthy", "healthy"), ("/hanging", "hanging")] {
        let account = Account::of(&scene, &receiver, path, id).await;
        account.each_ended_once(all.iter().map(String::as_str));
    }
}

#[tokio::test]
async fn events_of_several_partitions_are_all_delivered_once() {
    let scene = Scene::on(Kafka::shared(), "partitions", 6).await;
    let receiver = Receiver::start().await;
    scene.put("all", &webhook(&receiver.url("/all"))).await;
    let posthaste = scene.serve().await;
    let written = scene.publish(&numbered(0..600)).await;
    let partitions: BTreeSet<i32> = written.iter().map(|(partition, _)| *partition).collect();
    assert_eq!(partitions.len(), 6, "the keys spread the events");
    receiver.until_delivered("/all", 600).await;
    scene.settled().await;
    let all: Vec<String> = (0..600).map(event_id).collect();
    assert_eq!(ids(&receiver.requests("/all")), all);
    // What Prometheus needs to draw a line: the counters agree with what was seen.
    let metrics = posthaste.metrics().await;
    assert_eq!(metrics.sum("posthaste_events_read_total", &[]), 600.0);
    assert_eq!(
        metrics.sum("posthaste_delivery_latency_seconds_count", &[]),
        600.0
    );
    assert_eq!(metrics.sum("posthaste_in_flight_attempts", &[]), 0.0);
    let (live, _) = posthaste.page("/livez").await;
    assert_eq!(live, 200);
}

#[tokio::test]
async fn the_first_start_of_a_pattern_is_that_of_all_its_topics() {
    let scene = Scene::new("pattern").await;
    let receiver = Receiver::start().await;
    scene.put("all", &webhook(&receiver.url("/all"))).await;
    let topics = ["a", "b", "c"].map(|name| format!("{}-{name}", scene.topic));
    for topic in &topics {
        scene.kafka.create_topic(topic, 1, &[]).await;
        scene.publish(&[NewEvent::new("before").to(topic)]).await;
    }
    let mut settings = scene.settings();
    settings.source(&format!("{}-*", scene.topic), "start", "latest");
    let _posthaste = Posthaste::start(&settings).await;
    for topic in &topics {
        scene.publish(&[NewEvent::new("after").to(topic)]).await;
        scene.settled_in(topic).await;
    }
    receiver.until_delivered("/all", topics.len()).await;
    let requests = receiver.requests("/all");
    assert_eq!(ids(&requests), ["after"; 3]);
}
