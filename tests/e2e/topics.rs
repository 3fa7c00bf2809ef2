//! Topics: ours are made as designed or refused, sources may come and grow later.

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::support::events::{NewEvent, event_id, numbered};
use crate::support::kafka::Kafka;
use crate::support::now_ms;
use crate::support::posthaste::{Posthaste, holds};
use crate::support::receiver::{Receiver, Request};
use crate::support::scene::{Scene, webhook};
use crate::support::wait::LIMIT;

fn ids(requests: &[Request]) -> Vec<String> {
    let mut ids: Vec<String> = requests
        .iter()
        .map(|request| request.id().to_owned())
        .collect();
    ids.sort();
    ids
}

/// One of our topics as the design wants it, with 2 lanes and 3 tiers.
struct Designed {
    name: &'static str,
    partitions: i32,
    properties: Vec<(&'static str, String)>,
}

fn designed(source_max_bytes: i64) -> Vec<Designed> {
    let topic = |name, partitions, properties| Designed {
        name,
        partitions,
        properties,
    };
    let days = |days: i64| (days * 86_400_000).to_string();
    let (delete, compact) = (
        ("cleanup.policy", "delete".to_owned()),
        ("cleanup.policy", "compact".to_owned()),
    );
    let events = (
        "max.message.bytes",
        (source_max_bytes + 64 * 1024).to_string(),
    );
    let zstd = ("compression.type", "zstd".to_owned());
    vec![
        topic(
            "destinations",
            1,
            vec![compact.clone(), ("min.compaction.lag.ms", days(1))],
        ),
        topic("lanes", 2, vec![]),
        topic(
            "control",
            1,
            vec![delete.clone(), ("retention.ms", days(7))],
        ),
        topic(
            "retry",
            8,
            vec![delete.clone(), ("retention.ms", days(9)), events.clone()],
        ),
        topic("dedicated", 1, vec![compact]),
        topic(
            "dead-letter",
            2,
            vec![delete.clone(), ("retention.ms", days(30)), events],
        ),
        topic("attempts", 2, vec![delete, ("retention.ms", days(7)), zstd]),
    ]
}

#[tokio::test]
async fn our_topics_are_made_as_designed() {
    let scene = Scene::bare(Kafka::shared(), "made");
    scene
        .kafka
        .create_topic(&scene.topic, 1, &[("max.message.bytes", "2000000")])
        .await;
    let posthaste = scene.serve().await;
    let made = scene.kafka.topics(&scene.prefix);
    for Designed {
        name,
        partitions,
        properties,
    } in designed(2_000_000)
    {
        let topic = scene.own(name);
        assert_eq!(made.get(&topic), Some(&partitions), "{name}");
        let found = scene.kafka.topic_properties(&topic).await;
        let common = [
            ("min.insync.replicas", "1".to_owned()),
            ("message.timestamp.type", "LogAppendTime".to_owned()),
            ("retention.bytes", "-1".to_owned()),
            ("unclean.leader.election.enable", "false".to_owned()),
        ];
        for (property, value) in properties.into_iter().chain(common) {
            assert_eq!(found.get(property), Some(&value), "{property} of {name}");
        }
        assert!(
            holds(&posthaste.logged(), &[&topic]),
            "that {name} was made is logged"
        );
    }
    // A second start finds them as they must be.
    let ended = posthaste.terminate().await;
    assert!(ended.status.success(), "{ended:?}");
    let again = scene.serve().await;
    assert_eq!(again.page("/readyz").await.0, 200);
}

/// An existing topic that does not fit, and the words that say why.
struct Wrong {
    name: &'static str,
    partitions: i32,
    property: (&'static str, &'static str),
    words: &'static [&'static str],
}

const WRONG: [Wrong; 3] = [
    Wrong {
        name: "destinations",
        partitions: 1,
        property: ("cleanup.policy", "delete"),
        words: &["cleanup.policy", "compact"],
    },
    Wrong {
        name: "retry",
        partitions: 3,
        property: ("message.timestamp.type", "LogAppendTime"),
        words: &["partitions", "8", "3"],
    },
    Wrong {
        name: "dead-letter",
        partitions: 2,
        property: ("message.timestamp.type", "CreateTime"),
        words: &["message.timestamp.type", "LogAppendTime"],
    },
];

#[tokio::test]
async fn an_existing_topic_that_is_wrong_is_named_with_its_fix() {
    for wrong in WRONG {
        let scene = Scene::bare(Kafka::shared(), "wrong");
        scene.kafka.create_topic(&scene.topic, 1, &[]).await;
        let topic = scene.own(wrong.name);
        scene
            .kafka
            .create_topic(&topic, wrong.partitions, &[wrong.property])
            .await;
        let mut posthaste = Posthaste::launch(&scene.settings());
        let ended = posthaste.until_ended().await;
        assert_eq!(ended.status.code(), Some(78), "{topic}: {ended:?}");
        let log = posthaste.logged();
        for word in wrong
            .words
            .iter()
            .copied()
            .chain([topic.as_str(), "kafka-"])
        {
            assert!(log.contains(word), "`{word}` is missing in {log}");
        }
    }
}

#[tokio::test]
async fn topics_and_partitions_that_come_later_are_read_from_their_begin() {
    let scene = Scene::new("later").await;
    let receiver = Receiver::start().await;
    scene.put("all", &webhook(&receiver.url("/all"))).await;
    let named = format!("{}-named", scene.topic);
    let pattern = format!("{}-some-*", scene.topic);
    let matching = format!("{}-some-one", scene.topic);
    let mut settings = scene.settings();
    // What is there at the first start begins with what comes next; what appears later begins at its begin.
    settings
        .source(&scene.topic, "start", "latest")
        .source(&named, "start", "latest")
        .source(&pattern, "start", "latest");
    scene.publish(&numbered(0..1)).await;
    let _posthaste = Posthaste::start(&settings).await;
    scene.publish(&numbered(1..2)).await;
    receiver.until_delivered("/all", 1).await;

    for (topic, number) in [(&named, 2), (&matching, 3)] {
        scene.kafka.create_topic(topic, 1, &[]).await;
        scene.publish(&[NewEvent::numbered(number).to(topic)]).await;
    }
    scene.kafka.add_partitions(&scene.topic, 3).await;
    for (partition, number) in [(1, 4), (2, 5)] {
        scene
            .publish(&[NewEvent::numbered(number).partition(partition)])
            .await;
    }
    let requests = receiver.until_delivered("/all", 5).await;
    assert_eq!(ids(&requests), (1..6).map(event_id).collect::<Vec<_>>());
    for topic in [&scene.topic, &named, &matching] {
        scene.settled_in(topic).await;
    }
}

#[tokio::test]
async fn reading_starts_where_the_source_says_and_only_once() {
    let scene = Scene::new("start").await;
    let receiver = Receiver::start().await;
    scene.put("all", &webhook(&receiver.url("/all"))).await;
    let topic = |start: &str| format!("{}-{start}", scene.topic);
    let (latest, earliest, timed) = (topic("latest"), topic("earliest"), topic("timed"));
    let then = now_ms() - 60_000;
    let time = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(then) * 1_000_000)
        .expect("a time")
        .format(&time::format_description::well_known::Rfc3339)
        .expect("RFC 3339");
    let mut settings = scene.settings();
    settings
        .source(&latest, "start", "latest")
        .source(&earliest, "start", "earliest")
        .source(&timed, "start", &time);
    for (at, topic) in [&latest, &earliest, &timed].into_iter().enumerate() {
        scene.kafka.create_topic(topic, 1, &[]).await;
        let old = NewEvent::numbered(at * 10).to(topic).at(then - 1);
        let on_time = NewEvent::numbered(at * 10 + 1).to(topic).at(then);
        scene.publish(&[old, on_time]).await;
    }
    let posthaste = Posthaste::start(&settings).await;
    for (at, topic) in [&latest, &earliest, &timed].into_iter().enumerate() {
        scene
            .publish(&[NewEvent::numbered(at * 10 + 2).to(topic)])
            .await;
    }
    let expected: Vec<String> = [2, 10, 11, 12, 21, 22].into_iter().map(event_id).collect();
    let requests = receiver.until_delivered("/all", expected.len()).await;
    assert_eq!(ids(&requests), expected);
    for topic in [&latest, &earliest, &timed] {
        scene.settled_in(topic).await;
        assert!(
            holds(&posthaste.logged(), &[topic.as_str()]),
            "where {topic} starts is logged"
        );
    }
    let ended = posthaste.terminate().await;
    assert!(ended.status.success(), "{ended:?}");

    // The positions are committed now: another start of another kind changes nothing.
    for topic in [&latest, &earliest, &timed] {
        settings.source(topic, "start", "earliest");
    }
    let _posthaste = Posthaste::start(settings.on_new_port()).await;
    scene.publish(&[NewEvent::numbered(3).to(&latest)]).await;
    receiver.until_delivered("/all", expected.len() + 1).await;
    for topic in [&latest, &earliest, &timed] {
        scene.settled_in(topic).await;
    }
    assert_eq!(receiver.requests("/all").len(), expected.len() + 1);
}

#[tokio::test]
async fn what_retention_has_taken_is_counted_and_reading_goes_on_after_it() {
    let scene = Scene::new("retention").await;
    let receiver = Receiver::start().await;
    scene.put("all", &webhook(&receiver.url("/all"))).await;
    let posthaste = scene.serve().await;
    scene.publish(&numbered(0..2)).await;
    receiver.until_delivered("/all", 2).await;
    scene.settled().await;
    let ended = posthaste.terminate().await;
    assert!(ended.status.success(), "{ended:?}");
    scene.publish(&numbered(2..10)).await;
    scene.kafka.delete_records(&scene.topic, 0, 7).await;
    let posthaste = scene.serve().await;
    let requests = receiver.until_delivered("/all", 5).await;
    scene.settled().await;
    assert_eq!(ids(&requests), [0, 1, 7, 8, 9].map(event_id));
    posthaste
        .until_metric("posthaste_lost_to_retention_total", &[], 5.0)
        .await;
}

#[tokio::test]
async fn aborted_transactions_are_not_delivered_and_their_gaps_hold_nothing_up() {
    let scene = Scene::new("transactions").await;
    let receiver = Receiver::start().await;
    scene.put("all", &webhook(&receiver.url("/all"))).await;
    let posthaste = scene.serve().await;
    let producer: BaseProducer = scene
        .kafka
        .client()
        .set("transactional.id", &scene.group)
        .create()
        .expect("a transactional producer");
    producer
        .init_transactions(LIMIT)
        .expect("transactions work");
    for (number, commit) in [(0, true), (1, false), (2, true), (3, false)] {
        producer.begin_transaction().expect("a transaction begins");
        for part in 0..3 {
            let id = event_id(number * 10 + part);
            let headers = rdkafka::message::OwnedHeaders::new().insert(rdkafka::message::Header {
                key: "event-id",
                value: Some(&id),
            });
            let record = BaseRecord::to(&scene.topic)
                .key(&id)
                .payload("{}")
                .headers(headers);
            assert!(
                producer.send(record).is_ok(),
                "the producer takes the record"
            );
        }
        match commit {
            true => producer.commit_transaction(LIMIT).expect("it is committed"),
            false => {
                // Flushed first: an abort would drop what was not sent yet.
                producer.flush(LIMIT).expect("the broker has the records");
                producer.abort_transaction(LIMIT).expect("it is aborted");
            }
        }
    }
    // The broker writes the mark of the last transaction when it gets to it, maybe behind this record.
    let (partition, offset) = scene.publish(&numbered(90..91)).await[0];
    let requests = receiver.until_delivered("/all", 7).await;
    let expected: Vec<String> = [0, 1, 2, 20, 21, 22, 90]
        .into_iter()
        .map(event_id)
        .collect();
    assert_eq!(ids(&requests), expected);
    scene
        .settled_up_to(&scene.topic, &[(partition, offset + 1)].into())
        .await;
    let ended = posthaste.terminate().await;
    assert!(ended.status.success(), "{ended:?}");
    let _posthaste = scene.serve().await;
    let (partition, offset) = scene.publish(&numbered(91..92)).await[0];
    receiver.until_delivered("/all", 8).await;
    scene
        .settled_up_to(&scene.topic, &[(partition, offset + 1)].into())
        .await;
    assert_eq!(receiver.requests("/all").len(), 8, "nothing repeats");
}
