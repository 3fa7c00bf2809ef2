//! Destinations are records: what is written to their topic is in force at once, or refused by name.

use serde_json::{Value, json};

use crate::support::events::{event_id, numbered};
use crate::support::receiver::{Answer, Receiver};
use crate::support::records::header;
use crate::support::scene::{Scene, webhook, with};

#[tokio::test]
async fn a_change_is_in_force_after_a_few_events_and_for_good() {
    let scene = Scene::new("change").await;
    let receiver = Receiver::start().await;
    scene.put("moves", &webhook(&receiver.url("/old"))).await;
    let _posthaste = scene.serve().await;
    scene.publish(&numbered(0..1)).await;
    receiver.until_delivered("/old", 1).await;

    scene.put("moves", &webhook(&receiver.url("/new"))).await;
    let mut published = 1;
    while receiver.requests("/new").is_empty() {
        assert!(
            published < 200,
            "the change is not in force after {published} events"
        );
        scene.publish(&numbered(published..published + 1)).await;
        published += 1;
        receiver
            .until_all(&format!("{published} requests"), |all| {
                all.len() >= published
            })
            .await;
    }
    let at_old = receiver.requests("/old").len();
    scene.publish(&numbered(published..published + 30)).await;
    let total = published + 30;
    receiver.until_delivered("/new", total - at_old).await;
    scene.settled().await;
    assert_eq!(
        receiver.requests("/old").len(),
        at_old,
        "nothing goes to the old address any more"
    );
    let mut ids: Vec<String> = receiver
        .all()
        .iter()
        .map(|request| request.id().to_owned())
        .collect();
    ids.sort();
    assert_eq!(ids, (0..total).map(event_id).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_destination_added_later_gets_what_comes_from_then_on() {
    let scene = Scene::new("added").await;
    let receiver = Receiver::start().await;
    scene.put("first", &webhook(&receiver.url("/first"))).await;
    let posthaste = scene.serve().await;
    scene.publish(&numbered(0..2)).await;
    receiver.until_delivered("/first", 2).await;
    let offset = scene
        .put("second", &webhook(&receiver.url("/second")))
        .await;
    scene.in_force(&posthaste, offset).await;
    scene.publish(&numbered(2..4)).await;
    receiver.until_delivered("/first", 4).await;
    receiver.until_delivered("/second", 2).await;
    scene.settled().await;
    let mut ids: Vec<String> = receiver
        .requests("/second")
        .iter()
        .map(|request| request.id().to_owned())
        .collect();
    ids.sort();
    assert_eq!(ids, [event_id(2), event_id(3)]);
    let metrics = posthaste.metrics().await;
    assert_eq!(
        metrics.sum("posthaste_catalog_destinations", &[("sink", "webhook")]),
        2.0
    );
}

/// Documents that must not come into force, and the words that say why.
fn refused(good: &Value) -> Vec<(Vec<u8>, &'static [&'static str])> {
    let named = with(good, &json!({"id": "kept", "tenant": "default"}));
    let with = |more: Value| with(&named, &more).to_string().into_bytes();
    vec![
        (b"no JSON".to_vec(), &["default/kept"]),
        (b"[1, 2]".to_vec(), &["default/kept"]),
        (
            with(json!({"sink": {"colour": "red"}})),
            &["default/kept", "/sink/colour"],
        ),
        (
            with(json!({"delivery": {"concurrency": 0}})),
            &["default/kept", "/delivery/concurrency"],
        ),
        (
            with(json!({"delivery": {"ordering": "key"}})),
            &[
                "default/kept",
                "/delivery/ordering",
                "\"key\" is not supported yet",
            ],
        ),
        (
            with(json!({"sink": {"type": "pigeon"}})),
            &["default/kept", "/sink/type"],
        ),
        (
            with(json!({"sink": {"url": "gopher://127.0.0.1/"}})),
            &["default/kept", "/sink/url"],
        ),
        (
            with(json!({"subscriptions": [{}, {"topics": ["nowhere"]}]})),
            &["default/kept", "/subscriptions/1/topics"],
        ),
        (
            with(json!({"retry": {"max_age": "soon"}})),
            &["default/kept", "/retry/max_age"],
        ),
        (
            with(json!({"tenant": "another"})),
            &["default/kept", "another/kept"],
        ),
    ]
}

#[tokio::test]
async fn a_refused_document_is_counted_and_explained_and_the_last_valid_one_stays() {
    let scene = Scene::new("refused").await;
    let receiver = Receiver::start().await;
    let good = webhook(&receiver.url("/kept"));
    scene.put("kept", &good).await;
    scene.put("other", &webhook(&receiver.url("/other"))).await;
    // One is wrong from the start: nothing is in force for it, and the rest is.
    scene.put_bytes("default/never", b"{}").await;
    let posthaste = scene.serve().await;
    posthaste.until_logged(&["default/never", "/sink"]).await;
    let mut count = 1.0;
    for (document, words) in refused(&good) {
        let offset = scene.put_bytes("default/kept", &document).await;
        scene.in_force(&posthaste, offset).await;
        count += 1.0;
        posthaste
            .until_metric("posthaste_catalog_refused_documents_total", &[], count)
            .await;
        posthaste.until_logged(words).await;
    }
    // A key that names no destination is refused too.
    let offset = scene.put_bytes("no key of ours", b"{}").await;
    scene.in_force(&posthaste, offset).await;
    scene.publish(&numbered(0..3)).await;
    receiver.until_delivered("/kept", 3).await;
    receiver.until_delivered("/other", 3).await;
    let metrics = posthaste.metrics().await;
    assert_eq!(
        metrics.sum("posthaste_catalog_refused_documents_total", &[]),
        count + 1.0
    );
    let (ready, _) = posthaste.page("/readyz").await;
    assert_eq!(ready, 200, "a customer's mistake does not stop the service");
}

#[tokio::test]
async fn what_comes_for_a_disabled_destination_waits_until_it_is_enabled() {
    let scene = Scene::new("disabled").await;
    let receiver = Receiver::start().await;
    let document = webhook(&receiver.url("/pauses"));
    scene
        .put("pauses", &with(&document, &json!({"enabled": false})))
        .await;
    scene.put("other", &webhook(&receiver.url("/other"))).await;
    let _posthaste = scene.serve().await;
    scene.publish(&numbered(0..5)).await;
    receiver.until_delivered("/other", 5).await;
    // The source moves on meanwhile: what waits is in the retry topic.
    scene.settled().await;
    assert!(receiver.requests("/pauses").is_empty());
    scene.put("pauses", &document).await;
    let requests = receiver.until_delivered("/pauses", 5).await;
    let mut ids: Vec<&str> = requests.iter().map(|request| request.id()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..5).map(event_id).collect::<Vec<_>>());
    assert!(
        requests
            .iter()
            .all(|request| request.header("webhook-attempt") == "1")
    );
}

#[tokio::test]
async fn max_age_does_not_count_the_time_in_which_a_destination_is_not_enabled() {
    let scene = Scene::new("max-age").await;
    let receiver = Receiver::start().await;
    receiver.on("/pauses", |request| {
        match request.header("webhook-attempt") {
            "1" => Answer::Status(500),
            _ => Answer::Status(200),
        }
    });
    receiver.on("/fails", |_| Answer::Status(500));
    let age = |age: &str| json!({"retry": {"max_age": age, "delays": ["1s"]}});
    let document = with(&webhook(&receiver.url("/pauses")), &age("2s"));
    scene.put("pauses", &document).await;
    // Tells when more time has passed than the other one's events have.
    let longer = with(&webhook(&receiver.url("/fails")), &age("5s"));
    scene.put("fails", &longer).await;
    let posthaste = scene.serve().await;
    scene.publish(&numbered(0..1)).await;
    receiver.until_requests("/pauses", 1).await;
    let paused = with(&document, &json!({"enabled": false}));
    let offset = scene.put("pauses", &paused).await;
    scene.in_force(&posthaste, offset).await;
    scene.publish(&numbered(1..2)).await;
    let mut dead = scene.kafka.follow(&scene.own("dead-letter"));
    let records = dead
        .until("both events of the other destination", |records| {
            records.len() >= 2
        })
        .await;
    for record in records {
        assert_eq!(header(record, "destination"), Some("default/fails"));
        assert_eq!(header(record, "reason"), Some("expired"));
    }
    scene.put("pauses", &document).await;
    let requests = receiver
        .until("/pauses", "both events", |requests| {
            let delivered = requests.iter().filter(|request| request.delivered());
            delivered.count() == 2
        })
        .await;
    assert_eq!(requests.len(), 4, "each failed once");
    scene.settled().await;
}
