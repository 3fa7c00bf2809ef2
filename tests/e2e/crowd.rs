//! A thousand destinations, many of which hang or fail: the others do not notice.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::account::{Account, Snapshot};
use crate::support::events::{NewEvent, event_id, numbered};
use crate::support::posthaste::Posthaste;
use crate::support::receiver::{Answer, Gate, Receiver};
use crate::support::scene::{Scene, webhook, with};

const EVENTS: usize = 6;
const HEALTHY: usize = 600;
const SICK: usize = 200;

#[tokio::test]
async fn six_hundred_healthy_destinations_do_not_wait_for_four_hundred_sick_ones() {
    let scene = Scene::new("crowd").await;
    let receiver = Receiver::start().await;
    let gate = Gate::shut();
    let mut names = BTreeMap::new();
    for (kind, count) in [("healthy", HEALTHY), ("hangs", SICK), ("fails", SICK)] {
        for number in 0..count {
            let path = format!("/{kind}/{number}");
            match kind {
                "hangs" => {
                    let held = gate.clone();
                    receiver.on(&path, move |_| Answer::Hold(held.clone(), 204));
                }
                "fails" => receiver.on(&path, |_| Answer::Status(500)),
                _ => {}
            }
            names.insert(format!("{kind}-{number}"), path);
        }
    }
    // Few attempts: each of the failing ones' events ends as a dead letter.
    let twice = json!({"retry": {"max_attempts": 2}});
    let documents: Vec<NewEvent> = names
        .iter()
        .map(|(id, path)| {
            let document = with(&webhook(&receiver.url(path)), &twice);
            let document = with(&document, &json!({"id": id}));
            NewEvent::bare(document.to_string()).key(format!("default/{id}"))
        })
        .collect();
    scene
        .kafka
        .produce(&scene.own("destinations"), &documents)
        .await;
    let mut settings = scene.settings();
    settings
        .set("retry.dedicated_topics", 4)
        .set("ledger.events", 100);
    let posthaste = Posthaste::start(&settings).await;
    scene.publish(&numbered(0..EVENTS)).await;

    let requests = receiver
        .until_all("all healthy deliveries", |all| {
            let healthy = |path: &str| path.starts_with("/healthy/");
            let delivered = all.iter().filter(|r| healthy(&r.path) && r.delivered());
            delivered.count() == HEALTHY * EVENTS
        })
        .await;
    // By the order in which things came: no attempt that hangs has been given up yet.
    let given_up = requests
        .iter()
        .filter(|request| request.path.starts_with("/hangs/") && request.ended.is_some())
        .count();
    assert_eq!(given_up, 0, "hanging attempts that timed out meanwhile");
    // Nor do they hold up the source: whatever waits is handed over, and all of it is read and settled.
    let ends = [(0, i64::try_from(EVENTS).expect("few"))].into();
    let metrics = posthaste.metrics().await;
    let read = metrics.sum("posthaste_events_read_total", &[]);
    assert_eq!(read, 6.0, "all events are read while they hang");
    assert!(
        metrics.sum(
            "posthaste_ledger_unsettled_events",
            &[("ledger", "sources")]
        ) <= 6.0,
        "the ledger holds no more than there are"
    );
    assert!(
        metrics.sum("posthaste_memory_bytes", &[])
            <= metrics.sum("posthaste_memory_limit_bytes", &[])
    );
    // The budget for events, and as much again for all else.
    let resident = metrics.sum("process_resident_memory_bytes", &[]);
    let budget = 2.0 * metrics.sum("posthaste_memory_limit_bytes", &[]);
    assert!(
        resident > 0.0 && resident <= budget,
        "{resident} of {budget} bytes"
    );
    // New events are read too: the source goes on.
    scene.publish(&[NewEvent::new("later")]).await;
    receiver
        .until("/healthy/17", "the later event", |requests| {
            requests.iter().any(|request| request.id() == "later")
        })
        .await;

    // The failing ones are done when the hanging ones have let go; each event is somewhere.
    gate.open();
    scene.settled_up_to(&scene.topic, &ends).await;
    let ended = posthaste.terminate().await;
    assert!(ended.status.success(), "{ended:?}");
    let snapshot = Snapshot::of(&scene).await;
    let ids: Vec<String> = (0..EVENTS).map(event_id).collect();
    for (id, path) in &names {
        let account = Account::at(&snapshot, &receiver, path, id);
        let lost = account.lost(ids.iter().map(String::as_str));
        assert!(lost.is_empty(), "{id} lost {lost:?}");
        assert_eq!(account.repeats(), 0, "{id}");
    }
}
