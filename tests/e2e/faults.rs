//! Faults at load, while retries wait: nothing is lost, and what comes again was not settled.
//!
//! Each case runs once, with a seed that decides on its moments; with `POSTHASTE_FAULTS_SEEDS=20` (or `=7..9`, for some of
//! them) it runs with 20 seeds and lasts longer in each.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use crate::support::account::{Account, Snapshot};
use crate::support::events::{event_id, numbered};
use crate::support::kafka::Kafka;
use crate::support::load::{Load, Repeats, WITH_ONE_DOWN};
use crate::support::posthaste::Posthaste;
use crate::support::proxy::{Network, Proxy};
use crate::support::receiver::{Answer, Receiver};
use crate::support::scene::{Scene, webhook, with};
use crate::support::settings::Settings;
use crate::support::{free_port, wait};

/// Asks for the long form, and says with which seeds.
const SEEDS: &str = "POSTHASTE_FAULTS_SEEDS";

fn seeds() -> Range<u64> {
    let Ok(seeds) = std::env::var(SEEDS) else {
        return 0..1;
    };
    let (first, end) = seeds.split_once("..").unwrap_or(("0", &seeds));
    let number = |text: &str| text.parse().expect("a number of seeds, or first..end");
    number(first)..number(end)
}

/// `short` in the short form, `long` in the long one.
fn size<T>(short: T, long: T) -> T {
    match std::env::var_os(SEEDS) {
        Some(_) => long,
        None => short,
    }
}

/// How often ten events are published: few enough that what comes in while nothing goes out is soon worked off.
fn pace() -> Duration {
    size(Duration::from_millis(100), Duration::from_millis(400))
}

/// What a case gets: its seed, and what depends on it.
struct Seed {
    number: u64,
    random: StdRng,
}

impl Seed {
    fn new(number: u64) -> Self {
        let random = StdRng::seed_from_u64(number);
        Self { number, random }
    }

    /// Lets a session end soon, and has retries wait in topics of their destinations' own or in shared lanes.
    fn settings(&self, scene: &Scene) -> Settings {
        let mut settings = scene.settings();
        let own = if self.number.is_multiple_of(2) {
            256
        } else {
            0
        };
        settings
            .property("session.timeout.ms", "3000")
            .set("retry.dedicated_topics", own);
        settings
    }

    /// So many deliveries later something happens.
    fn moment(&mut self) -> usize {
        self.random.random_range(20..200)
    }

    /// Says what became of a case: for the long form, which is read.
    async fn tell(&self, what: &str, load: &Load, faults: usize) {
        println!(
            "seed {}: {what}: {faults} faults, {} events for {} destinations, none lost, {} repeats",
            self.number,
            load.ids.len(),
            WITH_ONE_DOWN.len(),
            load.repeated().await
        );
    }
}

async fn load(kafka: Arc<Kafka>, what: &str) -> Load {
    let load = Load::of(kafka, what, 4, &WITH_ONE_DOWN).await;
    load.put(&load.receiver.url("")).await;
    load
}

/// Publishes events after all faults and asserts that these do not repeat, and that none is lost.
async fn ends_well(load: &mut Load, repeats: &Repeats) {
    load.recover();
    load.until_all_delivered().await;
    let before = load.ids.len();
    load.scene.publish(&numbered(before..before + 50)).await;
    load.ids.extend((before..before + 50).map(event_id));
    load.until_all_delivered().await;
    load.nothing_is_lost().await;
    load.repeats_are_within(repeats).await;
}

#[tokio::test]
async fn kill_9_at_random_moments_loses_nothing_and_repeats_only_what_was_not_settled() {
    for seed in seeds() {
        let mut seed = Seed::new(seed);
        let mut load = load(Kafka::shared(), "kills").await;
        let settings = seed.settings(&load.scene);
        let publisher = load.publish_steadily(pace());
        let mut repeats = Repeats::default();
        let kills = size(3, 20);
        for _ in 0..kills {
            let posthaste = Posthaste::start(&settings).await;
            load.until_more(seed.moment()).await;
            posthaste.kill9().await;
            load.receiver.until_none_is_held().await;
            repeats.count(&Snapshot::of(&load.scene).await);
        }
        load.account_for(publisher).await;
        load.nothing_is_lost().await;
        let _posthaste = Posthaste::start(&settings).await;
        ends_well(&mut load, &repeats).await;
        seed.tell("kill -9", &load, kills).await;
    }
}

#[tokio::test]
async fn a_broker_that_is_killed_or_frozen_loses_nothing() {
    for seed in seeds() {
        let mut seed = Seed::new(seed);
        let mut load = load(Kafka::start(&[]), "brokers").await;
        let settings = seed.settings(&load.scene);
        let mut posthaste = Posthaste::start(&settings).await;
        let publisher = load.publish_steadily(pace());
        let mut repeats = Repeats::default();
        let rounds = size(1, 4);
        for _ in 0..rounds {
            load.until_more(seed.moment()).await;
            repeats.before_fault(&load.scene, &publisher).await;
            load.scene.kafka.kill9();
            load.scene.kafka.restart();
            load.until_more(seed.moment()).await;
            repeats.before_fault(&load.scene, &publisher).await;
            load.scene.kafka.freeze();
            // Longer than the session of a member.
            tokio::time::sleep(size(Duration::from_secs(5), Duration::from_secs(30))).await;
            load.scene.kafka.thaw();
        }
        load.until_more(seed.moment()).await;
        repeats.published_since(&publisher);
        load.account_for(publisher).await;
        posthaste.until_ready().await;
        ends_well(&mut load, &repeats).await;
        seed.tell("broker", &load, 2 * rounds).await;
    }
}

#[tokio::test]
async fn a_frozen_instance_that_wakes_up_loses_nothing_and_sets_no_position_back() {
    for seed in seeds() {
        let mut seed = Seed::new(seed);
        let mut load = load(Kafka::shared(), "zombies").await;
        let publisher = load.publish_steadily(pace());
        let zombie = Posthaste::start(&seed.settings(&load.scene)).await;
        let other = Posthaste::start(&seed.settings(&load.scene)).await;
        let mut repeats = Repeats::default();
        let freezes = size(1, 3);
        for _ in 0..freezes {
            other.until_lanes_owned(1.0).await;
            zombie.until_lanes_owned(1.0).await;
            load.until_more(seed.moment()).await;
            repeats.before_fault(&load.scene, &publisher).await;
            zombie.freeze();
            other.until_lanes_owned(2.0).await;
            // What was published since the freeze is worked on by the other one.
            load.until_more(400).await;
            tokio::time::sleep(size(Duration::ZERO, Duration::from_secs(60))).await;
            zombie.thaw();
            other.until_lanes_owned(1.0).await;
            load.until_more(seed.moment()).await;
        }
        repeats.published_since(&publisher);
        load.account_for(publisher).await;
        ends_well(&mut load, &repeats).await;
        seed.tell("frozen", &load, freezes).await;
    }
}

#[tokio::test]
async fn from_one_instance_to_four_and_back_nothing_is_lost_and_nothing_repeats() {
    for seed in seeds() {
        let mut seed = Seed::new(seed);
        let mut load = load(Kafka::shared(), "storm").await;
        // Whoever gives partitions up waits for this one, and the others wait for who gives up.
        let slow = Proxy::start(0, load.receiver.address()).await;
        slow.set(Network::Slow(Duration::from_millis(1200)));
        let url = format!("http://{}/slow", slow.address);
        let many = json!({"delivery": {"concurrency": 100}});
        load.scene.put("slow", &with(&webhook(&url), &many)).await;
        let publisher = load.publish_steadily(pace());
        let mut settings = seed.settings(&load.scene);
        // No fault: a session ends only where somebody dies.
        settings.property("session.timeout.ms", "30000");
        let mut instances = vec![Posthaste::start(&settings).await];
        let rounds = size(1, 5);
        for _ in 0..rounds {
            while instances.len() < 4 {
                load.until_more(seed.moment()).await;
                instances.push(Posthaste::launch(settings.on_new_port()));
            }
            for instance in &mut instances {
                instance.until_ready().await;
            }
            while instances.len() > 1 {
                load.until_more(seed.moment()).await;
                let leaving = seed.random.random_range(0..instances.len());
                let ended = instances.swap_remove(leaving).terminate().await;
                assert!(ended.status.success(), "{ended:?}");
            }
        }
        load.account_for(publisher).await;
        slow.set(Network::Open);
        ends_well(&mut load, &Repeats::default()).await;
        load.each_ended_once().await;
        let missing = load.receiver.missing_of("/slow", load.ids()).await;
        assert!(missing.is_empty(), "slow did not get {missing:?}");
        Account::of(&load.scene, &load.receiver, "/slow", "slow")
            .await
            .each_ended_once(load.ids());
        seed.tell("storm", &load, 6 * rounds).await;
    }
}

#[tokio::test]
async fn lanes_that_move_while_their_topics_are_made_lose_nothing() {
    for seed in seeds() {
        let mut seed = Seed::new(seed);
        let scene = Scene::on(Kafka::shared(), "making", 2).await;
        let receiver = Receiver::start().await;
        let ids: Vec<String> = (0..size(20, 60)).map(|n| format!("d-{n}")).collect();
        for id in &ids {
            let path = format!("/{id}");
            receiver.on(&path, |request| match request.header("webhook-attempt") {
                "1" => Answer::Status(500),
                _ => Answer::Status(200),
            });
            scene.put(id, &webhook(&receiver.url(&path))).await;
        }
        let mut settings = scene.settings();
        settings.property("session.timeout.ms", "30000");
        let mut one = Posthaste::start(&settings).await;
        for round in 0..size(2, 6) {
            // Each destination fails: for those without one a topic is made.
            scene.publish(&numbered(round * 5..round * 5 + 5)).await;
            let made = seed.random.random_range(1..ids.len() / 2);
            receiver
                .until_all("some attempts", |all| all.len() >= round * ids.len() + made)
                .await;
            let two = Posthaste::start(settings.on_new_port()).await;
            let ended = one.terminate().await;
            assert!(ended.status.success(), "{ended:?}");
            one = two;
        }
        let events: Vec<String> = (0..size(2, 6) * 5).map(event_id).collect();
        for id in &ids {
            let missing = receiver
                .missing_of(&format!("/{id}"), events.iter().map(String::as_str))
                .await;
            assert!(missing.is_empty(), "{id} did not get {missing:?}");
        }
        scene.settled().await;
        scene.retries_settled().await;
        let snapshot = Snapshot::of(&scene).await;
        for id in &ids {
            Account::at(&snapshot, &receiver, &format!("/{id}"), id)
                .each_ended_once(events.iter().map(String::as_str));
        }
    }
}

#[tokio::test]
async fn a_network_that_breaks_between_us_and_kafka_loses_nothing() {
    for seed in seeds() {
        let mut seed = Seed::new(seed);
        let port = free_port();
        let kafka = Kafka::start(&["--advertise", &port.to_string()]);
        let proxy = Proxy::start(port, kafka.behind.expect("a listener behind a proxy")).await;
        let mut load = load(kafka, "cut").await;
        let mut settings = seed.settings(&load.scene);
        settings.set("kafka.brokers", proxy.address.to_string());
        let mut posthaste = Posthaste::start(&settings).await;
        let publisher = load.publish_steadily(pace());
        let short = Duration::from_millis(500);
        // One longer than the session of a member, and than the configuration may be unconfirmed.
        let long = size(Duration::from_secs(7), Duration::from_secs(20));
        let faults = [
            (Network::Reset, short),
            (Network::Silent, long),
            (Network::Closed, short),
            (Network::Slow(Duration::from_millis(100)), short),
        ];
        let mut repeats = Repeats::default();
        for _ in 0..size(1, 3) {
            for (network, time) in faults {
                load.until_more(seed.moment()).await;
                repeats.before_fault(&load.scene, &publisher).await;
                proxy.set_for(network, time).await;
            }
        }
        load.until_more(seed.moment()).await;
        repeats.published_since(&publisher);
        load.account_for(publisher).await;
        posthaste.until_ready().await;
        ends_well(&mut load, &repeats).await;
        seed.tell("network to Kafka", &load, size(4, 12)).await;
    }
}

#[tokio::test]
async fn a_network_that_breaks_between_us_and_receivers_loses_nothing() {
    for seed in seeds() {
        let mut seed = Seed::new(seed);
        let mut load = Load::of(Kafka::shared(), "away", 4, &WITH_ONE_DOWN).await;
        let proxy = Proxy::start(0, load.receiver.address()).await;
        load.put(&format!("http://{}", proxy.address)).await;
        let mut settings = seed.settings(&load.scene);
        settings.set("webhook.first_byte_timeout", "1s");
        let posthaste = Posthaste::start(&settings).await;
        let publisher = load.publish_steadily(pace());
        let faults = [
            Network::Reset,
            Network::Silent,
            Network::Closed,
            Network::Slow(Duration::from_millis(100)),
        ];
        for _ in 0..size(1, 10) {
            for network in faults {
                load.until_more(seed.moment()).await;
                proxy.set_for(network, Duration::from_millis(1500)).await;
            }
        }
        load.until_more(seed.moment()).await;
        load.account_for(publisher).await;
        load.recover();
        load.until_all_delivered().await;
        load.nothing_is_lost().await;
        // An answer that was lost on its way: only as often as attempts failed.
        let failed = posthaste
            .metrics()
            .await
            .sum("posthaste_deliveries_total", &[("outcome", "network")]);
        #[expect(clippy::cast_precision_loss, reason = "a small count")]
        let repeated = load.repeated().await as f64;
        assert!(repeated <= failed, "{repeated} repeats, {failed} failures");
        seed.tell("network to receivers", &load, size(4, 40)).await;
    }
}

#[tokio::test]
async fn an_instance_that_cannot_read_the_configuration_takes_nothing_in_and_says_so() {
    let scene = Scene::on(Kafka::shared_secured(), "stale", 1).await;
    scene.grant(true);
    let receiver = Receiver::start().await;
    scene.put("old", &webhook(&receiver.url("/old"))).await;
    let posthaste = Posthaste::start(&scene.settings_over_sasl()).await;
    scene.publish(&numbered(0..5)).await;
    receiver.until_delivered("/old", 5).await;

    let topic = scene.own("destinations");
    scene.kafka.forbid(&["--topic", &topic], &["Read"]);
    // Changes that it cannot see, once the broker has learnt that it may not.
    let disabled = with(&webhook(&receiver.url("/old")), &json!({"enabled": false}));
    let mut newest = 0;
    let since = tokio::time::Instant::now();
    let missing = wait::until("not ready", async || {
        newest = scene.put("old", &disabled).await;
        let (status, missing) = posthaste.page("/readyz").await;
        (status == 503).then_some(missing)
    })
    .await;
    assert!(missing.contains("catalog"), "{missing}");
    // `catalog.stale_after` is 5 s, and the ends are looked up each second.
    let stale_after = since.elapsed();
    assert!(stale_after < Duration::from_secs(9), "{stale_after:?}");
    posthaste
        .until_metric("posthaste_catalog_stale", &[], 1.0)
        .await;
    scene.publish(&numbered(5..10)).await;
    let read = posthaste.metrics().await;
    let read = read.sum("posthaste_events_read_total", &[]);
    assert!(read < 6.0, "{read} events were read while it was stale");

    scene.kafka.forbid_no_more(&["--topic", &topic], &["Read"]);
    scene.in_force(&posthaste, newest).await;
    wait::until("ready again", async || {
        (posthaste.page("/readyz").await.0 == 200).then_some(())
    })
    .await;
    scene.settled().await;
    assert_eq!(
        receiver.requests("/old").len(),
        5,
        "nothing was delivered by old rules"
    );
}
