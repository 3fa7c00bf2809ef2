//! What AWS has beside the contract: FIFO queues, roles and the service's own credentials, addresses that may not be used.

use posthaste::domain::delivery::DeadLetterReason;
use posthaste::wire::dead_letter::{self, Content};
use serde_json::{Value, json};

use crate::support::aws::{Aws, KEYS, REGION};
use crate::support::events::NewEvent;
use crate::support::kafka::Kafka;
use crate::support::posthaste::Posthaste;
use crate::support::scene::{Scene, with};
use crate::support::unique;

/// A queue's document, on moto or ministack.
fn sink(queue_url: &str, auth: &Value) -> Value {
    json!({"sink": {"type": "sqs", "queue_url": queue_url, "region": REGION, "auth": auth}})
}

fn keys() -> Value {
    json!({"type": "aws_keys", "access_key_id": KEYS.0, "secret_access_key": KEYS.1})
}

#[tokio::test]
async fn a_fifo_queue_groups_by_key_and_drops_what_has_the_same_id() {
    let (aws, scene) = (Aws::ministack().await, Scene::new("fifo").await);
    let queue = aws.queue(&format!("{}.fifo", unique("queue"))).await;
    scene.put("fifo", &sink(&queue.url, &keys())).await;
    let _posthaste = scene.serve().await;
    let events = [
        NewEvent::new("a-1").key("a"),
        NewEvent::new("a-1").key("a"),
        NewEvent::new("b-1").key("b"),
        NewEvent {
            key: None,
            ..NewEvent::new("none")
        },
    ];
    scene.publish(&events).await;
    scene.settled().await;
    let mut found: Vec<(String, String)> = aws
        .drain(&queue)
        .await
        .iter()
        .map(|message| {
            let told = |name: &str| {
                let told = message.pointer(&format!("/Attributes/{name}"))?;
                told.as_str().map(str::to_owned)
            };
            (
                told("MessageDeduplicationId").expect("an id"),
                told("MessageGroupId").expect("a group"),
            )
        })
        .collect();
    found.sort();
    let expected = [("a-1", "a"), ("b-1", "b"), ("none", "default/fifo")];
    let expected = expected.map(|(id, group)| (id.to_owned(), group.to_owned()));
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_role_is_assumed_once_and_own_credentials_are_used_where_the_operator_lets_them() {
    let (moto, scene) = (Aws::moto().await, Scene::new("own").await);
    moto.record().await;
    let (role, own) = (
        moto.queue(&unique("queue")).await,
        moto.queue(&unique("queue")).await,
    );
    let assumed = json!({
        "type": "aws_role",
        "role_arn": "arn:aws:iam::123456789012:role/posthaste",
        "external_id": "acme-7"
    });
    scene.put("role", &sink(&role.url, &assumed)).await;
    let default = json!({"type": "aws_default"});
    scene.put("own", &sink(&own.url, &default)).await;
    let mut settings = scene.settings();
    settings
        .set("aws.allow_role", true)
        .set("aws.allow_default", true);
    let environment = [
        ("AWS_ACCESS_KEY_ID", "AKIAOPERATOR"),
        ("AWS_SECRET_ACCESS_KEY", "operator"),
        ("AWS_REGION", REGION),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_ENDPOINT_URL_STS", &*moto.url),
    ];
    let mut posthaste = Posthaste::launch_with(&settings, &environment);
    posthaste.until_ready().await;
    for number in 0..3 {
        scene.publish(&[NewEvent::numbered(number)]).await;
        scene.settled().await;
    }
    for queue in [&role, &own] {
        assert_eq!(moto.drain(queue).await.len(), 3);
    }
    let asked = moto.recording().await;
    let signed = |key: &str, service: &str| {
        let signed = |line: &&str| {
            line.contains(&format!("Credential={key}"))
                && line.contains(&format!("/{service}/aws4_request"))
        };
        asked.lines().filter(signed).count()
    };
    assert_eq!(signed("AKIAOPERATOR", "sts"), 1, "{asked}");
    assert_eq!(signed("ASIA", "sqs"), 3, "{asked}");
    assert_eq!(signed("AKIAOPERATOR", "sqs"), 3, "{asked}");
}

#[tokio::test]
async fn what_the_operator_does_not_allow_is_refused_event_by_event() {
    let scene = Scene::on(Kafka::shared(), "refused", 1).await;
    let url = "http://127.0.0.1:9/000000000000/orders";
    let default = json!({"type": "aws_default"});
    scene.put("own", &sink(url, &default)).await;
    let private = json!({"sink": {"endpoint": "http://10.0.0.1"}});
    let private = with(&sink(url, &keys()), &private);
    scene.put("private", &private).await;
    let _posthaste = scene.serve().await;
    scene.publish(&[NewEvent::numbered(0)]).await;
    scene.settled().await;
    let mut letters = scene.kafka.follow(&scene.own("dead-letter"));
    let letters = letters
        .until("two dead letters", |found| found.len() == 2)
        .await;
    let mut told: Vec<(String, String)> = letters
        .iter()
        .map(|record| {
            let letter = dead_letter::decode(record).expect("a dead letter");
            assert_eq!(letter.reason, DeadLetterReason::Refused);
            let Content::Delivery(delivery) = letter.content else {
                panic!("not of a delivery: {letter:?}")
            };
            (delivery.destination.as_str().to_owned(), letter.detail)
        })
        .collect();
    told.sort();
    let [(own, not_allowed), (private, not_sent)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((&**own, &**private), ("default/own", "default/private"));
    assert!(not_allowed.contains("aws.allow_default"), "{not_allowed}");
    assert!(not_sent.contains("does not send to this URL"), "{not_sent}");
}
