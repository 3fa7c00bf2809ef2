//! Retry topics: shared by more destinations than may have their own, and taken from those that need none any more.

use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::FutureRecord;
use serde_json::json;

use crate::support::account::{Account, event_id as id_of};
use crate::support::events::{NewEvent, event_id, numbered};
use crate::support::posthaste::Posthaste;
use crate::support::proxy::{Network, Proxy};
use crate::support::receiver::{Answer, Gate, Receiver, Request};
use crate::support::scene::{Scene, webhook, with};
use crate::support::settings::tiers;
use crate::support::wait;

/// How many retries of one destination wait in the lane that others share with it.
const CROWD: usize = 1000;

/// Fails the first attempt of each event, holds all others.
fn fail_then_hold(gate: &Gate) -> impl Fn(&Request) -> Answer + Send + 'static {
    let gate = gate.clone();
    move |request| match request.header("webhook-attempt") {
        "1" => Answer::Status(500),
        _ => Answer::Hold(gate.clone(), 200),
    }
}

/// Fails the first attempt of each event.
fn fail_once(request: &Request) -> Answer {
    match request.header("webhook-attempt") {
        "1" => Answer::Status(500),
        _ => Answer::Status(200),
    }
}

#[tokio::test]
async fn a_thousand_retries_of_one_destination_hold_back_none_of_another_in_a_shared_lane() {
    let scene = Scene::new("shared").await;
    let receiver = Receiver::start().await;
    let gate = Gate::shut();
    receiver.on("/crowd", fail_then_hold(&gate));
    receiver.on("/quiet", fail_once);
    let crowd = json!({"subscriptions": [{"event_types": ["crowd"]}]});
    let quiet = json!({"subscriptions": [{"event_types": ["quiet"]}]});
    for (id, more) in [("crowd", &crowd), ("quiet", &quiet)] {
        let document = webhook(&receiver.url(&format!("/{id}")));
        scene.put(id, &with(&document, more)).await;
    }
    // One lane without topics of destinations' own: everything passes through the same partitions.
    let mut settings = scene.settings();
    settings
        .set("topics.lanes", 1)
        .set("retry.dedicated_topics", 0)
        .set("webhook.first_byte_timeout", "30s")
        .set("retry.waiting_per_partition", 100);
    let posthaste = Posthaste::start(&settings).await;
    let crowd: Vec<NewEvent> = numbered(0..CROWD)
        .into_iter()
        .map(|event| event.of_type("crowd"))
        .collect();
    scene.publish(&crowd).await;
    // All of them are in the lane, but for those that hang.
    scene.settled().await;
    receiver
        .until("/crowd", "retries that hang", |requests| {
            let hang = requests.iter().filter(|request| request.ended.is_none());
            hang.count() == 8
        })
        .await;
    // Behind all of them, and more often than one tier is long.
    for number in CROWD..CROWD + 5 {
        scene
            .publish(&[NewEvent::numbered(number).of_type("quiet")])
            .await;
        receiver.until_delivered("/quiet", number - CROWD + 1).await;
    }
    assert_eq!(receiver.delivered("/crowd").len(), 0, "they hang meanwhile");
    gate.open();
    let requests = receiver.until_delivered("/crowd", CROWD).await;
    for request in &requests {
        let attempt = request.header("webhook-attempt");
        assert!(
            attempt == "1" || attempt == "2",
            "waiting for room spends no attempt: {attempt}"
        );
    }
    scene.settled().await;
    let ended = posthaste.terminate().await;
    assert!(ended.status.success(), "{ended:?}");
    for (id, numbers) in [("crowd", 0..CROWD), ("quiet", CROWD..CROWD + 5)] {
        let ids: Vec<String> = numbers.map(event_id).collect();
        let account = Account::of(&scene, &receiver, &format!("/{id}"), id).await;
        account.each_ended_once(ids.iter().map(String::as_str));
        assert_eq!(account.repeats(), 0, "{id}");
    }
}

#[tokio::test]
async fn what_waits_for_a_destination_in_a_shared_lane_leaves_it_at_the_pace_of_that_destination() {
    const EVENTS: usize = 600;
    let scene = Scene::new("pace").await;
    let receiver = Receiver::start().await;
    let slow = Proxy::start(0, receiver.address()).await;
    slow.set(Network::Slow(Duration::from_millis(25)));
    let document = webhook(&format!("http://{}/paced", slow.address));
    let disabled = with(&document, &json!({"enabled": false}));
    scene.put("paced", &disabled).await;
    let mut settings = scene.settings();
    settings
        .set("topics.lanes", 1)
        .set("retry.tiers", tiers(&["300ms", "1s", "5s"]))
        .set("retry.dedicated_topics", 0);
    let posthaste = Posthaste::start(&settings).await;
    scene.publish(&numbered(0..EVENTS)).await;
    // All of them are in the lane, and come out of its last tier at once.
    scene.settled().await;
    wait::until("they circulate in the last tier", async || {
        let ends = scene.kafka.ends(&scene.own("retry"));
        (ends.get(&3).is_some_and(|end| *end >= 600)).then_some(())
    })
    .await;
    let appended = || scene.kafka.ends(&scene.own("retry")).values().sum::<i64>();
    let before = appended();
    scene.put("paced", &document).await;
    receiver.until_delivered("/paced", EVENTS).await;
    scene.retries_settled().await;
    // If only those that find room at once left the tier, few of hundreds did each time, and all others went back.
    let appended = appended() - before;
    assert!(appended < 6 * 600, "{appended} records were written again");
    let ended = posthaste.terminate().await;
    assert!(ended.status.success(), "{ended:?}");
    let ids: Vec<String> = (0..EVENTS).map(event_id).collect();
    let account = Account::of(&scene, &receiver, "/paced", "paced").await;
    account.each_ended_once(ids.iter().map(String::as_str));
    assert!(
        receiver
            .delivered("/paced")
            .iter()
            .all(|request| request.header("webhook-attempt") == "1"),
        "waiting for room spends no attempt"
    );
}

/// The retry topic of a destination's own, once it is announced and there.
async fn own_topic(scene: &Scene, posthaste: &Posthaste, id: &str) -> String {
    posthaste
        .until_metric("posthaste_retry_topics_dedicated", &[], 1.0)
        .await;
    let topics = scene
        .kafka
        .topics(&scene.own(&format!("retry.default.{id}.")));
    let (name, _) = topics.first_key_value().expect("a topic of its own");
    name.clone()
}

/// Writes what a stale instance would: a copy of a retry record, to a topic of its choice.
async fn append(scene: &Scene, topic: &str, event: &str) {
    let records = scene
        .kafka
        .read_topics(&scene.kafka.topics(&scene.own("retry")))
        .await;
    let record = records.iter().find(|record| id_of(record) == event);
    let record = record.expect("the event was retried once");
    let headers = record
        .headers
        .iter()
        .fold(OwnedHeaders::new(), |headers, (name, value)| {
            headers.insert(Header {
                key: name,
                value: value.as_deref(),
            })
        });
    let copy = FutureRecord::<[u8], [u8]>::to(topic)
        .partition(1)
        .headers(headers);
    let copy = FutureRecord {
        key: record.key.as_deref(),
        payload: record.value.as_deref(),
        ..copy
    };
    scene.kafka.send(copy).await;
}

#[tokio::test]
async fn what_a_stale_instance_writes_to_a_retired_topic_is_delivered_before_that_is_deleted() {
    let scene = Scene::new("retired").await;
    let receiver = Receiver::start().await;
    receiver.on("/fails", fail_once);
    scene.put("fails", &webhook(&receiver.url("/fails"))).await;
    let mut settings = scene.settings();
    settings
        .set("retry.retire_after", "500ms")
        .set("catalog.stale_after", "2s")
        .set("retry.delete_after", "3s");
    let posthaste = Posthaste::start(&settings).await;
    scene.publish(&numbered(0..1)).await;
    receiver.until_delivered("/fails", 1).await;
    let topic = own_topic(&scene, &posthaste, "fails").await;
    posthaste.until_logged(&[&topic, "is retired"]).await;
    // Retired, and not deleted yet: a writer that has not read of it appends.
    append(&scene, &topic, &event_id(0)).await;
    receiver.until_delivered("/fails", 2).await;
    posthaste
        .until_logged(&[&topic, "retired retry topic deleted"])
        .await;
    wait::until("the topic is gone", async || {
        (!scene.kafka.topics(&topic).contains_key(&topic)).then_some(())
    })
    .await;
    // Its destination fails again and gets another one, under another name.
    scene.publish(&numbered(1..3)).await;
    receiver.until_delivered("/fails", 4).await;
    scene.settled().await;
    let again = own_topic(&scene, &posthaste, "fails").await;
    assert_ne!(again, topic);
}

#[tokio::test]
async fn a_retry_for_a_topic_that_was_deleted_a_moment_ago_goes_to_the_shared_one() {
    let scene = Scene::new("vanished").await;
    let receiver = Receiver::start().await;
    receiver.on("/fails", fail_once);
    scene.put("fails", &webhook(&receiver.url("/fails"))).await;
    let posthaste = scene.serve().await;
    scene.publish(&numbered(0..1)).await;
    receiver.until_delivered("/fails", 1).await;
    let topic = own_topic(&scene, &posthaste, "fails").await;
    // The announcement still stands when the next retries are written.
    scene.publish(&numbered(1..3)).await;
    receiver.until_delivered("/fails", 3).await;
    scene.kafka.delete_topic(&topic).await;
    scene.publish(&numbered(3..20)).await;
    receiver.until_delivered("/fails", 20).await;
    scene.settled().await;
    posthaste.until_logged(&[&topic, "took no record"]).await;
    let ids: Vec<String> = (0..20).map(event_id).collect();
    let account = Account::of(&scene, &receiver, "/fails", "fails").await;
    account.each_ended_once(ids.iter().map(String::as_str));
}
