//! The harness itself: what the other tests take for granted.

use std::time::Duration;

use crate::support::events::{NewEvent, numbered};
use crate::support::kafka::Kafka;
use crate::support::receiver::{Answer, Gate, Receiver};
use crate::support::records::header;
use crate::support::scene::Scene;

fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client")
}

#[tokio::test]
async fn records_survive_the_broker_byte_for_byte() {
    let scene = Scene::new("harness-bytes").await;
    let events = [
        NewEvent::numbered(1)
            .key(*b"\xff\x00key")
            .header("raw", *b"\xfe\xff")
            .header("empty", "")
            .null_header("null"),
        NewEvent::bare("").null_body(),
        NewEvent::bare(""),
    ];
    let written = scene.publish(&events).await;
    assert_eq!(written, [(0, 0), (0, 1), (0, 2)]);
    let records = scene.kafka.read_all(&scene.topic).await;
    assert_eq!(records.len(), 3);
    for (event, record) in events.iter().zip(&records) {
        assert_eq!(record.key.as_deref(), event.key.as_deref());
        assert_eq!(record.value.as_deref(), event.value.as_deref());
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_ref().map(|value| value.to_vec())))
            .collect();
        assert_eq!(headers, event.headers);
    }
    assert_eq!(header(&records[0], "event-id"), Some("e-00001"));
    assert_eq!(scene.kafka.ends(&scene.topic), [(0, 3)].into());
    assert_eq!(scene.committed(), None);
}

#[tokio::test]
async fn a_follower_sees_what_comes_later() {
    let scene = Scene::new("harness-follow").await;
    scene.publish(&numbered(0..2)).await;
    let mut follower = scene.kafka.follow(&scene.topic);
    follower
        .until("the first two", |records| records.len() == 2)
        .await;
    scene.publish(&numbered(2..3)).await;
    let records = follower
        .until("the third", |records| records.len() == 3)
        .await;
    assert_eq!(header(&records[2], "event-id"), Some("e-00002"));
}

#[tokio::test]
async fn the_receiver_records_and_answers_by_script() {
    let receiver = Receiver::start().await;
    let gate = Gate::shut();
    receiver.in_turn(
        "/a",
        [
            Answer::Status(500),
            Answer::With(429, vec![("retry-after", "2".to_owned())]),
            Answer::Status(200),
        ],
    );
    let mut statuses = Vec::new();
    for body in ["x", "", "z"] {
        let sent = http()
            .post(receiver.url("/a"))
            .header("webhook-id", "e")
            .body(body)
            .send()
            .await;
        let answer = sent.expect("an answer");
        statuses.push((
            answer.status().as_u16(),
            answer.headers().contains_key("retry-after"),
        ));
    }
    assert_eq!(statuses, [(500, false), (429, true), (200, false)]);
    let requests = receiver.until_delivered("/a", 1).await;
    let bodies: Vec<&[u8]> = requests.iter().map(|request| &*request.body).collect();
    assert_eq!(bodies, [&b"x"[..], b"", b"z"]);

    for broken in [Answer::Close, Answer::Raw("nonsense\r\n\r\n")] {
        receiver.on("/broken", move |_| broken.clone());
        http()
            .get(receiver.url("/broken"))
            .send()
            .await
            .expect_err("no answer");
    }

    let waiting = gate.clone();
    receiver.on("/held", move |_| Answer::Hold(waiting.clone(), 204));
    let url = receiver.url("/held");
    let gives_up = http()
        .post(&url)
        .timeout(Duration::from_millis(100))
        .send()
        .await;
    gives_up.expect_err("a time-out");
    let held = tokio::spawn(http().post(&url).send());
    let requests = receiver.until_requests("/held", 2).await;
    assert!(requests.iter().all(|request| request.answered.is_none()));
    gate.open();
    assert_eq!(
        held.await.expect("no panic").expect("an answer").status(),
        204
    );
    assert_eq!(receiver.until_delivered("/held", 1).await.len(), 2);
}

#[tokio::test]
async fn the_secured_listener_takes_the_right_password_over_tls_and_what_acls_allow() {
    let kafka = Kafka::shared_secured();
    let scene = Scene::on(kafka.clone(), "harness-sasl", 1).await;
    let sasl = kafka.sasl.clone().expect("a secured broker");
    let metadata = |password: &str| {
        use rdkafka::consumer::Consumer as _;
        let mut config = rdkafka::ClientConfig::new();
        config.set("bootstrap.servers", &sasl.bootstrap);
        for (name, value) in sasl.properties() {
            config.set(name, value);
        }
        let consumer: rdkafka::consumer::BaseConsumer = config
            .set("sasl.password", password)
            .create()
            .expect("a consumer");
        let metadata = consumer.fetch_metadata(Some(&scene.topic), Duration::from_secs(2))?;
        let topic = metadata.topics().first().expect("the topic asked for");
        Ok::<_, rdkafka::error::KafkaError>(topic.error().is_none())
    };
    metadata("wrong").expect_err("no way in with a wrong password");
    assert!(
        !metadata(&sasl.password).expect("a way in"),
        "nothing is allowed yet"
    );
    kafka.allow(&["--topic", &scene.topic], &["Describe"]);
    assert!(
        metadata(&sasl.password).expect("a way in"),
        "describing the topic is allowed"
    );
}

#[tokio::test]
async fn a_stopped_broker_comes_back_with_its_data() {
    let scene = Scene::on(Kafka::start(&[]), "harness-restart", 1).await;
    scene.publish(&numbered(0..3)).await;
    scene.kafka.stop();
    scene.kafka.restart();
    scene.publish(&numbered(3..4)).await;
    assert_eq!(scene.kafka.read_all(&scene.topic).await.len(), 4);
}
