//! Signatures, credentials, TLS, permissions.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::cli::with_config;
use crate::support::events::{NewEvent, numbered};
use crate::support::kafka::Kafka;
use crate::support::posthaste::Posthaste;
use crate::support::receiver::{Answer, Receiver};
use crate::support::scene::{Scene, webhook, with};
use crate::support::{signature, unique};

fn secret(byte: u8) -> String {
    format!("whsec_{}", STANDARD.encode([byte; 32]))
}

#[tokio::test]
async fn signatures_verify_with_every_secret_that_is_in_force() {
    let scene = Scene::new("signed").await;
    let receiver = Receiver::start().await;
    let seed = [7_u8; 32];
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a key");
    let ed25519 = format!("whsk_{}", STANDARD.encode(seed));
    let soon = "2099-01-01T00:00:00Z";
    let past = "2020-01-01T00:00:00Z";
    for (id, signing) in [
        ("one", json!({"secret": secret(1)})),
        (
            "rotating",
            json!({"secrets": [{"secret": secret(2)}, {"secret": secret(3), "expires_at": soon}, {"secret": secret(4), "expires_at": past}]}),
        ),
        ("ed25519", json!({"secret": ed25519})),
    ] {
        let document = webhook(&receiver.url(&format!("/{id}")));
        scene
            .put(id, &with(&document, &json!({"sink": {"signing": signing}})))
            .await;
    }
    scene
        .put("unsigned", &webhook(&receiver.url("/unsigned")))
        .await;
    receiver.in_turn("/one", [Answer::Status(500), Answer::Status(200)]);
    let posthaste = scene.serve().await;
    scene
        .publish(&[NewEvent::new("signed").body(*b"{\"a\": \xff\x00 }")])
        .await;

    // A retry is signed anew, for its own time.
    let requests = receiver.until_delivered("/one", 1).await;
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert!(signature::verifies(request, &secret(1)));
        assert!(!signature::verifies(request, &secret(2)));
        assert_eq!(signature::count(request), 1);
    }
    let requests = receiver.until_delivered("/rotating", 1).await;
    assert!(signature::verifies(&requests[0], &secret(2)));
    assert!(signature::verifies(&requests[0], &secret(3)));
    assert!(
        !signature::verifies(&requests[0], &secret(4)),
        "it has expired"
    );
    assert_eq!(signature::count(&requests[0]), 2);
    let requests = receiver.until_delivered("/ed25519", 1).await;
    assert!(signature::verifies_ed25519(
        &requests[0],
        pair.public_key().as_ref()
    ));
    let requests = receiver.until_delivered("/unsigned", 1).await;
    assert_eq!(signature::count(&requests[0]), 0);

    // No secret in what operators read or other services get.
    let (_, metrics) = posthaste.page("/metrics").await;
    let attempts = scene.kafka.read_all(&scene.own("attempts")).await;
    let attempts: Vec<u8> = attempts
        .iter()
        .filter_map(|record| record.value.clone())
        .flatten()
        .collect();
    let attempts = String::from_utf8_lossy(&attempts).into_owned();
    for secret in [secret(1), secret(2), secret(3), secret(4), ed25519] {
        let bare = secret.split_once('_').expect("a prefix").1.to_owned();
        for (place, text) in [
            ("log", posthaste.logged()),
            ("metrics", metrics.clone()),
            ("attempts", attempts.clone()),
        ] {
            assert!(!text.contains(&bare), "a secret stands in the {place}");
        }
    }
}

#[tokio::test]
async fn credentials_and_headers_of_a_destination_reach_its_receiver() {
    let scene = Scene::new("auth").await;
    let receiver = Receiver::start().await;
    for (id, auth) in [
        (
            "basic",
            json!({"type": "basic", "username": "ann", "password": "canary-1"}),
        ),
        ("bearer", json!({"type": "bearer", "token": "canary-2"})),
        (
            "api_key",
            json!({"type": "api_key", "header": "x-key", "value": "canary-3"}),
        ),
    ] {
        let sink = json!({"sink": {"auth": auth, "headers": {"x-colour": "red"}}});
        scene
            .put(id, &with(&webhook(&receiver.url(&format!("/{id}"))), &sink))
            .await;
    }
    let posthaste = scene.serve().await;
    scene.publish(&numbered(0..1)).await;
    let basic = format!("Basic {}", STANDARD.encode("ann:canary-1"));
    for (id, name, value) in [
        ("basic", "authorization", basic.as_str()),
        ("bearer", "authorization", "Bearer canary-2"),
        ("api_key", "x-key", "canary-3"),
    ] {
        let requests = receiver.until_delivered(&format!("/{id}"), 1).await;
        assert_eq!(requests[0].header(name), value, "{id}");
        assert_eq!(requests[0].header("x-colour"), "red", "{id}");
    }
    assert!(
        !posthaste.logged().contains("canary"),
        "a credential stands in the log"
    );
}

#[tokio::test]
async fn events_flow_over_tls_and_scram_with_no_more_rights_than_granted() {
    let scene = Scene::on(Kafka::shared_secured(), "secured", 1).await;
    scene.grant(true);
    let receiver = Receiver::start().await;
    receiver.in_turn("/all", [Answer::Status(500), Answer::Status(200)]);
    scene.put("all", &webhook(&receiver.url("/all"))).await;
    let settings = scene.settings_over_sasl();
    let config = settings.write(&unique("secured"));
    with_config(&config, &["check"], "").await.says(0, &[]);
    let posthaste = Posthaste::start(&settings).await;
    scene.publish(&numbered(0..5)).await;
    receiver.until_delivered("/all", 5).await;
    scene.settled().await;
    assert!(
        !posthaste.logged().contains("posthaste-secret"),
        "the password stands in the log"
    );
}

#[tokio::test]
async fn a_missing_permission_is_named_with_operation_and_resource() {
    let scene = Scene::on(Kafka::shared_secured(), "denied", 1).await;
    let config = scene.settings_over_sasl().write(&unique("denied"));
    // Nothing is allowed: topics are not even visible.
    let done = with_config(&config, &["check"], "").await;
    assert_eq!(done.code, 1, "{done:#?}");
    let text = done.text().to_lowercase();
    for word in ["describe", scene.topic.as_str()] {
        assert!(text.contains(word), "`{word}` is missing in {done:#?}");
    }
    // All but the group.
    scene.grant(false);
    let done = with_config(&config, &["check"], "").await;
    assert_eq!(done.code, 1, "{done:#?}");
    let text = done.text().to_lowercase();
    for word in ["read", "group", scene.group.as_str()] {
        assert!(text.contains(word), "`{word}` is missing in {done:#?}");
    }
    assert!(
        !done.text().contains("posthaste-secret"),
        "the password is printed"
    );
}
