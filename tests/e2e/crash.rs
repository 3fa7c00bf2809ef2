//! Whatever is killed, stopped or started: nothing is lost, and what repeats was not settled.

use std::time::Duration;

use crate::support::account::{Account, Snapshot};
use crate::support::events::{event_id, numbered};
use crate::support::kafka::Kafka;
use crate::support::load::{Load, Repeats};
use crate::support::posthaste::Posthaste;
use crate::support::receiver::{Answer, Gate, Receiver};
use crate::support::scene::{Scene, webhook};
use crate::support::wait;

#[tokio::test]
async fn kill_9_at_load_three_times_loses_nothing_and_repeats_only_what_was_not_settled() {
    let load = Load::on(Kafka::shared(), "kill", 3, 1500).await;
    load.scene.publish(&numbered(0..1500)).await;
    let mut repeats = Repeats::default();
    for _ in 0..3 {
        let so_far = load.receiver.requests("/steady").len();
        load.valve.let_pass(so_far + 350);
        let posthaste = load.scene.serve().await;
        load.receiver.until_requests("/steady", so_far + 352).await;
        posthaste.kill9().await;
        load.receiver.until_none_is_held().await;
        repeats.count(&load.nothing_is_lost().await);
    }
    load.valve.let_pass(usize::MAX);
    let _posthaste = load.scene.serve().await;
    load.until_all_delivered().await;
    load.repeats_are_within(&repeats).await;
}

#[tokio::test]
async fn what_was_settled_out_of_order_does_not_repeat_after_kill_9() {
    let scene = Scene::new("holes").await;
    let receiver = Receiver::start().await;
    let gate = Gate::shut();
    let held = gate.clone();
    receiver.on("/steady", move |request| match request.id() {
        "e-00000" => Answer::Hold(held.clone(), 200),
        _ => Answer::Status(200),
    });
    scene
        .put("steady", &webhook(&receiver.url("/steady")))
        .await;
    let posthaste = scene.serve().await;
    scene.publish(&numbered(0..50)).await;
    receiver.until_delivered("/steady", 49).await;
    // The first event holds the position at 0; the others are settled by what the commit says beside it.
    posthaste
        .until_metric("posthaste_ledger_holes", &[("ledger", "sources")], 1.0)
        .await;
    wait::until("one unsettled event, and its commit", async || {
        let unsettled = posthaste.metrics().await.sum(
            "posthaste_ledger_unsettled_events",
            &[("ledger", "sources")],
        );
        let note = scene
            .committed()
            .is_some_and(|found| found.offset == 0 && !found.metadata.is_empty());
        (unsettled <= 1.0 && note).then_some(())
    })
    .await;
    // One more, whose commit is the last: its note includes all before it.
    scene.publish(&numbered(50..51)).await;
    receiver.until_delivered("/steady", 50).await;
    let before = scene.committed();
    wait::until("the note that includes the last event", async || {
        (scene.committed() != before).then_some(())
    })
    .await;
    posthaste.kill9().await;
    receiver.until_none_is_held().await;
    gate.open();
    let _posthaste = scene.serve().await;
    receiver.until_delivered("/steady", 51).await;
    scene.settled().await;
    let ids: Vec<String> = (0..51).map(event_id).collect();
    Account::of(&scene, &receiver, "/steady", "steady")
        .await
        .each_ended_once(ids.iter().map(String::as_str));
}

#[tokio::test]
async fn a_broker_that_comes_late_and_goes_away_for_a_while_costs_no_event() {
    let load = Load::on(Kafka::start(&[]), "broker", 1, 500).await;
    load.scene.publish(&numbered(0..400)).await;
    load.scene.kafka.stop();
    let mut posthaste = Posthaste::launch(&load.scene.settings());
    assert_eq!(
        posthaste.page("/livez").await.0,
        200,
        "it waits for its Kafka"
    );
    let (status, missing) = posthaste.page("/readyz").await;
    assert_eq!(status, 503, "{missing}");
    assert!(!missing.is_empty(), "it says what is missing");
    load.valve.let_pass(100);
    load.scene.kafka.restart();
    posthaste.until_ready().await;

    load.receiver.until_requests("/steady", 102).await;
    let mut repeats = Repeats::default();
    repeats.count(&Snapshot::of(&load.scene).await);
    load.scene.kafka.stop();
    load.valve.let_pass(usize::MAX);
    load.scene.kafka.restart();
    load.scene.publish(&numbered(400..500)).await;
    // What comes while the members of the groups find together again may repeat as well.
    repeats.may_repeat((400..500).map(event_id));
    load.until_all_delivered().await;
    posthaste.until_ready().await;
    load.nothing_is_lost().await;
    load.repeats_are_within(&repeats).await;
}

#[tokio::test]
async fn of_two_instances_one_takes_over_all_when_the_other_is_killed() {
    let load = Load::on(Kafka::shared(), "two", 4, 800).await;
    let one = load.scene.serve().await;
    let two = load.scene.serve().await;
    for instance in [&one, &two] {
        instance
            .until_metric("posthaste_lanes_owned", &[], 1.0)
            .await;
    }
    load.scene.publish(&numbered(0..400)).await;
    for instance in [&one, &two] {
        instance
            .until_metric("posthaste_events_read_total", &[], 1.0)
            .await;
    }
    load.until_steady(400).await;
    load.valve.let_pass(500);
    load.scene.publish(&numbered(400..800)).await;
    load.receiver.until_requests("/steady", 504).await;
    one.kill9().await;
    let mut repeats = Repeats::default();
    repeats.count(&Snapshot::of(&load.scene).await);
    load.valve.let_pass(usize::MAX);
    load.until_all_delivered().await;
    load.nothing_is_lost().await;
    load.repeats_are_within(&repeats).await;
    two.until_metric("posthaste_lanes_owned", &[], 2.0).await;
}

#[tokio::test]
async fn two_instances_that_come_and_go_lose_nothing_and_repeat_nothing() {
    let load = Load::on(Kafka::shared(), "join", 4, 600).await;
    load.scene.publish(&numbered(0..300)).await;
    let one = load.scene.serve().await;
    load.until_steady(50).await;
    // One that joins, and one that leaves, while there is work.
    let two = load.scene.serve().await;
    load.scene.publish(&numbered(300..600)).await;
    load.until_steady(400).await;
    let ended = one.terminate().await;
    assert!(ended.status.success(), "{ended:?}");
    load.until_all_delivered().await;
    load.each_ended_once().await;
    drop(two);
}

#[tokio::test]
async fn sigterm_in_the_middle_finishes_what_is_in_flight_and_repeats_nothing() {
    let load = Load::on(Kafka::shared(), "term", 1, 600).await;
    load.scene.publish(&numbered(0..600)).await;
    load.valve.let_pass(120);
    let mut settings = load.scene.settings();
    let mut posthaste = Posthaste::start(settings.set("shutdown.timeout", "10s")).await;
    load.receiver.until_requests("/steady", 124).await;
    posthaste.signal_to_end();
    load.valve.let_pass(usize::MAX);
    let ended = posthaste.until_ended().await;
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.after < Duration::from_secs(10), "{ended:?}");
    load.nothing_is_lost().await;

    let _posthaste = load.scene.serve().await;
    load.until_all_delivered().await;
    load.each_ended_once().await;
}

#[tokio::test]
async fn sigterm_does_not_wait_for_a_hanging_receiver_beyond_its_limit() {
    let scene = Scene::new("term-hang").await;
    let receiver = Receiver::start().await;
    let gate = Gate::shut();
    let held = gate.clone();
    receiver.on("/hangs", move |_| Answer::Hold(held.clone(), 200));
    scene.put("hangs", &webhook(&receiver.url("/hangs"))).await;
    let mut settings = scene.settings();
    settings.set("shutdown.timeout", "2s");
    let posthaste = Posthaste::start(&settings).await;
    scene.publish(&numbered(0..3)).await;
    receiver.until_requests("/hangs", 3).await;
    let ended = posthaste.terminate().await;
    assert!(ended.status.success(), "{ended:?}");
    // Its time-out is 20 s; the limit and a little more is for the rest of the shutdown.
    assert!(ended.after < Duration::from_secs(6), "{ended:?}");
    receiver.until_none_is_held().await;
    let ids: Vec<String> = (0..3).map(event_id).collect();
    let at_rest = Account::of(&scene, &receiver, "/hangs", "hangs").await;
    assert!(at_rest.lost(ids.iter().map(String::as_str)).is_empty());

    gate.open();
    let _posthaste = scene.serve().await;
    receiver.until_delivered("/hangs", 3).await;
    scene.settled().await;
    let account = Account::of(&scene, &receiver, "/hangs", "hangs").await;
    account.each_ended_once(ids.iter().map(String::as_str));
}
