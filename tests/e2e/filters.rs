//! Filters in subscriptions: who gets an event by what is in it, and what becomes of one that cannot be looked into.

use posthaste::wire::dead_letter;
use serde_json::{Value, json};

use crate::support::account::{Account, event_id as id_of};
use crate::support::cli::with_config;
use crate::support::events::NewEvent;
use crate::support::posthaste::Posthaste;
use crate::support::receiver::Receiver;
use crate::support::records::header;
use crate::support::scene::{Scene, webhook, with};

/// A webhook with these subscriptions.
fn subscribed(url: &str, subscriptions: Value) -> Value {
    with(&webhook(url), &json!({"subscriptions": subscriptions}))
}

/// One subscription with a filter on the body.
fn filtered(dialect: &str, rule: &Value) -> Value {
    json!([{"filter": {"dialect": dialect, "rule": rule}}])
}

fn event(id: &str, body: impl Into<Vec<u8>>) -> NewEvent {
    NewEvent::new(id).body(body)
}

/// How often filters of a dialect came to a result.
async fn count(posthaste: &Posthaste, dialect: &str, result: &str) -> f64 {
    let labels = [("dialect", dialect), ("result", result)];
    let metrics = posthaste.metrics().await;
    metrics.sum("posthaste_filter_events_total", &labels)
}

/// Three subscriptions, each in another language.
fn three_dialects() -> Value {
    json!([
        {"id": "pattern", "event_types": ["order.*"], "filter": {
            "dialect": "eventbridge",
            "rule": {"state": ["paid"], "total": [{"numeric": [">", 100]}]}}},
        {"id": "json", "filter": {
            "dialect": "hookdeck",
            "rule": {"lines": {"sku": {"$startsWith": "A-"}}}}},
        {"id": "search", "filter": {
            "dialect": "shopify",
            "rule": "country:DE OR country:AT AND -cancelled:true"}},
    ])
}

#[tokio::test]
async fn a_destination_gets_an_event_once_that_any_of_its_filters_takes_and_no_other() {
    let scene = Scene::new("dialects").await;
    let receiver = Receiver::start().await;
    let document = subscribed(&receiver.url("/some"), three_dialects());
    scene.put("some", &document).await;
    scene.put("all", &webhook(&receiver.url("/all"))).await;
    let mut posthaste = Posthaste::launch_with(
        &scene.settings(),
        &[("POSTHASTE_LOG", "info,posthaste::router=debug")],
    );
    posthaste.until_ready().await;
    let sku = r#"{"lines": [{"sku": "B-1"}, {"sku": "A-2"}], "cancelled": true}"#;
    let taken = [
        event(
            "all-three",
            r#"{"state": "paid", "total": 101, "lines": [{"sku": "A-1"}], "country": "DE"}"#,
        ),
        event(
            "pattern",
            r#"{"state": "paid", "total": 250.5, "cancelled": true}"#,
        ),
        event("json", sku).of_type("user.left"),
        event("search", r#"{"country": "AT", "state": "new"}"#),
    ];
    let others = [
        event(
            "cheap",
            r#"{"state": "paid", "total": 100, "country": "FR"}"#,
        ),
        event("cancelled", r#"{"country": "AT", "cancelled": true}"#),
        event(
            "other-type",
            r#"{"state": "paid", "total": 101, "cancelled": true}"#,
        )
        .of_type("user.left"),
        event("scalar", "7"),
    ];
    scene.publish(&taken).await;
    scene.publish(&others).await;
    receiver
        .until_delivered("/all", taken.len() + others.len())
        .await;
    receiver.until_delivered("/some", taken.len()).await;
    scene.settled().await;
    let account = Account::of(&scene, &receiver, "/some", "some").await;
    account.each_ended_once(taken.iter().map(NewEvent::id));
    let account = Account::of(&scene, &receiver, "/all", "all").await;
    account.each_ended_once(taken.iter().chain(&others).map(NewEvent::id));

    // All are asked about each event, but `pattern` about those of its type alone.
    for (dialect, matched, filtered_out) in [
        ("eventbridge", 2.0, 4.0),
        ("hookdeck", 2.0, 6.0),
        ("shopify", 2.0, 6.0),
    ] {
        assert_eq!(
            count(&posthaste, dialect, "matched").await,
            matched,
            "{dialect}"
        );
        assert_eq!(
            count(&posthaste, dialect, "filtered_out").await,
            filtered_out,
            "{dialect}"
        );
        assert_eq!(
            count(&posthaste, dialect, "malformed").await,
            0.0,
            "{dialect}"
        );
    }
    // What was held back first is told with the condition that decided, and without its values.
    posthaste
        .until_logged(&[
            "default/some",
            "pattern",
            "cheap",
            "/total",
            "> 100",
            "a number",
        ])
        .await;
    assert!(
        !posthaste
            .logged()
            .contains("default/all\",\"subscription.id")
    );
}

/// Asks headers and type only.
fn envelope() -> Value {
    json!([{"filter": {
        "dialect": "eventbridge", "scope": "envelope",
        "rule": {"headers": {"region": [{"prefix": "eu-"}]}, "type": ["order.paid"], "key": [{"exists": true}]}}}])
}

#[tokio::test]
async fn an_envelope_filter_asks_headers_type_and_body_and_takes_opaque_bodies_too() {
    let scene = Scene::new("envelope").await;
    let receiver = Receiver::start().await;
    scene
        .put("region", &subscribed(&receiver.url("/region"), envelope()))
        .await;
    let data = json!([{"filter": {"dialect": "shopify", "scope": "envelope",
        "rule": format!("data.n:>=2 AND topic:{} AND id:n-* AND time:>'2020-01-01T00:00:00Z'", scene.topic)}}]);
    scene
        .put("data", &subscribed(&receiver.url("/data"), data))
        .await;
    let posthaste = scene.serve().await;
    let events = [
        event("n-1", r#"{"n": 1}"#).header("region", "eu-west"),
        event("n-2", r#"{"n": 2}"#).header("region", "us-east"),
        event("n-3", r#"{"n": 3}"#)
            .header("region", "eu-north")
            .of_type("order.new"),
        event("n-4", r#"{"n": 4}"#).header("region", *b"eu-\xff"),
        event("opaque", "\u{0}no JSON").header("region", "eu-west"),
        event("empty", "")
            .null_body()
            .header("region", "us-east")
            .header("region", "eu-west"),
    ];
    scene.publish(&events).await;
    receiver.until_delivered("/region", 3).await;
    receiver.until_delivered("/data", 3).await;
    scene.settled().await;
    let account = Account::of(&scene, &receiver, "/region", "region").await;
    account.each_ended_once(["n-1", "opaque", "empty"]);
    let account = Account::of(&scene, &receiver, "/data", "data").await;
    account.each_ended_once(["n-2", "n-3", "n-4"]);
    let metrics = posthaste.metrics().await;
    assert_eq!(metrics.sum("posthaste_dead_letters_total", &[]), 0.0);
}

#[tokio::test]
async fn a_body_that_is_not_json_is_dead_for_those_who_ask_about_it_and_the_source_goes_on() {
    let scene = Scene::new("malformed").await;
    let receiver = Receiver::start().await;
    let asks = filtered("hookdeck", &json!({"n": {"$gte": 0}}));
    scene
        .put("asks", &subscribed(&receiver.url("/asks"), asks))
        .await;
    let other_type =
        json!([{"event_types": ["other"], "filter": {"dialect": "hookdeck", "rule": {"n": 1}}}]);
    scene
        .put(
            "elsewhere",
            &subscribed(&receiver.url("/elsewhere"), other_type),
        )
        .await;
    let either = json!([
        {"filter": {"dialect": "hookdeck", "rule": {"n": 1}}},
        {"event_types": ["order.*"]},
    ]);
    scene
        .put("either", &subscribed(&receiver.url("/either"), either))
        .await;
    let posthaste = scene.serve().await;
    let events = [
        event("cut", r#"{"n": 1, "#),
        event("binary", *b"\x00\x01\xff"),
        event("null", "").null_body(),
        event("good", r#"{"n": 1}"#),
    ];
    scene.publish(&events).await;
    receiver.until_delivered("/asks", 1).await;
    receiver.until_delivered("/either", events.len()).await;
    scene.settled().await;
    let account = Account::of(&scene, &receiver, "/asks", "asks").await;
    account.each_ended_once(events.iter().map(NewEvent::id));
    let account = Account::of(&scene, &receiver, "/either", "either").await;
    account.each_ended_once(events.iter().map(NewEvent::id));

    let dead = scene.kafka.read_all(&scene.own("dead-letter")).await;
    let mut told: Vec<(String, String)> = Vec::new();
    for record in &dead {
        assert_eq!(header(record, "destination"), Some("default/asks"));
        assert_eq!(header(record, "reason"), Some("malformed"));
        let id = id_of(record);
        let event = events
            .iter()
            .find(|event| event.id() == id)
            .expect("one of them");
        assert_eq!(record.value.as_deref(), event.value.as_deref(), "{id}");
        told.push((
            id,
            dead_letter::decode(record).expect("a dead letter").detail,
        ));
    }
    told.sort();
    let wanted = [
        ("binary", "expected at byte 2"),
        ("cut", "a name in quotes expected at byte 9"),
        ("null", "the value is null"),
    ];
    assert_eq!(told.len(), wanted.len(), "{told:?}");
    for ((id, detail), (wanted_id, words)) in told.iter().zip(wanted) {
        assert_eq!(id, wanted_id);
        assert!(
            detail.contains(words) && detail.contains("subscription `0`"),
            "{id}: {detail}"
        );
    }
    assert_eq!(count(&posthaste, "hookdeck", "malformed").await, 3.0);
    let metrics = posthaste.metrics().await;
    assert_eq!(
        metrics.sum("posthaste_dead_letters_total", &[("reason", "malformed")]),
        3.0
    );
    let retries = [("tier", "300ms")];
    assert_eq!(
        metrics.sum("posthaste_retries_scheduled_total", &retries),
        0.0,
        "not retried"
    );
}

#[tokio::test]
async fn a_wrong_filter_is_refused_with_its_place_and_a_change_is_in_force_for_what_comes_then() {
    let scene = Scene::new("filter-change").await;
    let receiver = Receiver::start().await;
    let with_rule = |rule: Value| subscribed(&receiver.url("/x"), filtered("eventbridge", &rule));
    scene.put("x", &with_rule(json!({"n": [1]}))).await;
    scene.put("all", &webhook(&receiver.url("/all"))).await;
    let settings = scene.settings();
    let posthaste = Posthaste::start(&settings).await;
    let publish = async |name: &str| {
        let events = [1, 2].map(|n| event(&format!("{name}-{n}"), format!("{{\"n\": {n}}}")));
        let all = receiver.delivered("/all").len();
        scene.publish(&events).await;
        receiver.until_delivered("/all", all + 2).await;
        scene.settled().await;
    };
    publish("first").await;

    let wrong = with_rule(json!({"n": [{"numeric": ["<", 5, ">", 1]}]}));
    let offset = scene.put("x", &wrong).await;
    scene.in_force(&posthaste, offset).await;
    let place = "/subscriptions/0/filter/rule/n/0/numeric";
    posthaste
        .until_logged(&["default/x", place, "a range begins with"])
        .await;
    let config = settings.write(&format!("{}-put", scene.group));
    let named = with(&wrong, &json!({"id": "x"})).to_string();
    let put = with_config(&config, &["destinations", "put", "-"], &named).await;
    assert_ne!(put.code, 0);
    assert!(
        put.text().contains(place) && put.text().contains("a range begins with"),
        "{put:#?}"
    );
    publish("old-in-force").await;

    let offset = scene.put("x", &with_rule(json!({"n": [2]}))).await;
    scene.in_force(&posthaste, offset).await;
    publish("changed").await;
    let account = Account::of(&scene, &receiver, "/x", "x").await;
    account.each_ended_once(["first-1", "old-in-force-1", "changed-2"]);
}
