//! The commands beside `serve`, as a person or a script uses them.

use serde_json::json;

use crate::support::cli::{Done, head, posthaste, with_config};
use crate::support::events::{event_id, numbered};
use crate::support::kafka::Kafka;
use crate::support::posthaste::Posthaste;
use crate::support::pubsub::PubSub;
use crate::support::receiver::{Answer, Receiver};
use crate::support::records::header;
use crate::support::scene::{Scene, webhook, with};
use crate::support::settings::Settings;
use crate::support::{free_port, unique};

/// Settings with three mistakes, and what has to be named of each.
fn three_mistakes() -> (Settings, [&'static str; 3]) {
    let mut settings = Settings::new("127.0.0.1:1", "group", "wrong.");
    settings
        .set("topics.lanes", "many")
        .set("retry.tiers", "soon")
        .set("webhook.colour", "red");
    (settings, ["lanes", "tiers", "colour"])
}

#[tokio::test]
async fn three_wrong_settings_are_all_named_in_one_run() {
    let (settings, names) = three_mistakes();
    let config = settings.write(&unique("wrong"));
    for command in ["check", "serve"] {
        with_config(&config, &[command], "").await.says(78, &names);
    }
}

#[tokio::test]
async fn values_that_cannot_work_together_are_wrong_settings_too() {
    let wrong: [(&str, toml::Value, &str); 4] = [
        ("retry.tiers", vec!["2s", "1s"].into(), "/retry/tiers"),
        ("topics.lanes", 0.into(), "/topics/lanes"),
        (
            "dispatch.backlog_share",
            7.5.into(),
            "/dispatch/backlog_share",
        ),
        ("egress.allow", vec!["127.0.0.0/99"].into(), "/egress/allow"),
    ];
    for (path, value, named) in wrong {
        let mut settings = Settings::new("127.0.0.1:1", "group", "wrong.");
        let config = settings
            .source("orders", "start", "latest")
            .set(path, value)
            .write(&unique("wrong"));
        with_config(&config, &["check"], "")
            .await
            .says(78, &[named]);
    }
}

#[tokio::test]
async fn serve_without_keys_has_to_be_asked_for() {
    let mut settings = Settings::new("127.0.0.1:1", "group", "keys.");
    let config = settings
        .source("orders", "start", "latest")
        .write(&unique("keys"));
    with_config(&config, &["serve", "--insecure-plaintext-secrets"], "")
        .await
        .says(78, &["--insecure-no-auth"]);
    with_config(&config, &["serve", "--insecure-no-auth"], "")
        .await
        .says(78, &["--insecure-plaintext-secrets"]);
}

#[tokio::test]
async fn wrong_usage_exits_64() {
    for arguments in [
        &["no-such-command"][..],
        &["serve", "--no-such-flag"],
        &["destinations"],
        &[],
    ] {
        let done = posthaste(arguments, "").await;
        assert_eq!(done.code, 64, "{arguments:?}: {done:#?}");
    }
    posthaste(&["--help"], "").await.says(
        0,
        &["serve", "dev", "check", "publish", "destinations", "egress"],
    );
}

#[tokio::test]
async fn check_says_whether_kafka_can_be_reached_and_what_it_finds_there() {
    let nobody = format!("127.0.0.1:{}", free_port());
    let mut settings = Settings::new(&nobody, "group", "nobody.");
    let config = settings
        .source("orders", "start", "latest")
        .write(&unique("check"));
    with_config(&config, &["check"], "")
        .await
        .says(69, &[&nobody]);

    // Before the first start our topics are absent, which is no finding; a source topic that is absent is named.
    let scene = Scene::bare(Kafka::shared(), "check");
    let config = scene.settings().write(&unique("check"));
    let done = with_config(&config, &["check"], "").await;
    assert!(done.text().contains(&scene.topic), "{done:#?}");
    scene.kafka.create_topic(&scene.topic, 1, &[]).await;
    with_config(&config, &["check"], "")
        .await
        .says(0, &[&scene.topic]);
    let done = with_config(&config, &["check", "--output", "json"], "").await;
    assert!(
        done.json().is_object() || done.json().is_array(),
        "{done:#?}"
    );

    // A topic that is wrong is a finding, with its fix.
    scene
        .kafka
        .create_topic(
            &scene.own("destinations"),
            1,
            &[("cleanup.policy", "delete")],
        )
        .await;
    let topic = scene.own("destinations");
    with_config(&config, &["check"], "")
        .await
        .says(1, &[&topic, "cleanup.policy", "compact"]);
}

/// Publishes one event by the command; its flags stand here only.
async fn publish(scene: &Scene, id: &str, body: &str) -> Done {
    let config = scene.settings().write(&unique("publish"));
    let arguments = [
        "publish",
        scene.topic.as_str(),
        "--key",
        "a key",
        "--id",
        id,
        "--type",
        "order.paid",
        "--header",
        "colour=red",
    ];
    with_config(&config, &arguments, body).await
}

#[tokio::test]
async fn publish_writes_an_event_that_is_delivered() {
    let scene = Scene::new("publish").await;
    let receiver = Receiver::start().await;
    scene.put("all", &webhook(&receiver.url("/all"))).await;
    let _posthaste = scene.serve().await;
    publish(&scene, "by-hand", "{\"number\": 1}")
        .await
        .says(0, &[&scene.topic]);
    let requests = receiver.until_delivered("/all", 1).await;
    let request = &requests[0];
    assert_eq!(
        (request.id(), request.header("webhook-event-type")),
        ("by-hand", "order.paid")
    );
    assert_eq!(request.body, "{\"number\": 1}");
    let records = scene.kafka.read_all(&scene.topic).await;
    assert_eq!(records[0].key.as_deref(), Some(&b"a key"[..]));
    assert_eq!(header(&records[0], "colour"), Some("red"));
}

#[tokio::test]
async fn destinations_are_put_read_listed_and_deleted_over_their_topic() {
    let scene = Scene::new("destinations").await;
    let receiver = Receiver::start().await;
    let config = scene.settings().write(&unique("destinations"));
    let run = async |arguments: &[&str], input: &str| {
        with_config(&config, &[&["destinations"], arguments].concat(), input).await
    };
    let document = with(
        &webhook(&receiver.url("/all")),
        &json!({"id": "all", "description": "by hand"}),
    );
    let posthaste = scene.serve().await;

    run(&["put", "all"], &document.to_string())
        .await
        .says(0, &["default/all"]);
    let got = run(&["get", "all", "--output", "json"], "").await;
    got.says(0, &[]);
    assert!(got.stdout.contains("by hand"), "{got:#?}");
    run(&["get", "default/all"], "").await.says(0, &["by hand"]);
    run(&["list"], "").await.says(0, &["default/all"]);
    let listed = run(&["list", "--output", "json"], "").await;
    assert!(listed.json().to_string().contains("all"), "{listed:#?}");

    // What would be refused is refused before it is written, with the place.
    let wrong = with(&document, &json!({"sink": {"colour": "red"}}));
    run(&["put", "all"], &wrong.to_string())
        .await
        .says(1, &["/sink/colour"]);
    run(&["get", "nobody"], "").await.says(1, &["nobody"]);

    // Under another name than it has it is refused too.
    run(&["put", "other"], &document.to_string())
        .await
        .says(1, &["/id"]);

    // It is in force like any other record.
    scene.in_force(&posthaste, 0).await;
    scene.publish(&numbered(0..1)).await;
    assert_eq!(
        receiver.until_delivered("/all", 1).await[0].id(),
        event_id(0)
    );

    run(&["delete", "all"], "").await.says(0, &["default/all"]);
    run(&["get", "all"], "").await.says(1, &["all"]);
    let listed = run(&["list"], "").await;
    assert!(!listed.stdout.contains("default/all"), "{listed:#?}");
    let records = scene.kafka.read_all(&scene.own("destinations")).await;
    let last = records.last().expect("a tombstone");
    assert_eq!(
        (last.key.as_deref(), last.value.as_deref()),
        (Some(&b"default/all"[..]), None)
    );
}

#[tokio::test]
async fn a_destination_is_tested_with_a_marked_event_and_advice() {
    let scene = Scene::new("test").await;
    let receiver = Receiver::start().await;
    let config = scene.settings().write(&unique("test"));
    let run = async |what: &str, input: &str| {
        let arguments = ["destinations", "test", what, "--output", "json"];
        with_config(&config, &arguments, input).await
    };
    scene.put("well", &webhook(&receiver.url("/well"))).await;

    let done = run("well", "").await;
    done.says(0, &[]);
    let told = done.json();
    assert_eq!(
        (&told["outcome"], &told["status"]),
        (&json!("delivered"), &json!(204))
    );
    assert!(
        told["latency_ms"].as_f64().is_some_and(|ms| ms > 0.0),
        "{told}"
    );
    let requests = receiver.requests("/well");
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].id(), told["event_id"]);
    assert_eq!(requests[0].header("webhook-event-type"), "posthaste.test");
    assert_eq!(requests[0].header("posthaste-test"), "true");
    let arguments = ["destinations", "test", "default/well"];
    with_config(&config, &arguments, "")
        .await
        .says(0, &["delivered", "204", "advice"]);

    // The same for a document that stands nowhere yet, of any sink.
    receiver.on("/v1/publish", |_| Answer::Status(401));
    let document = json!({"id": "gateway", "sink": {
        "type": "hookdeck", "source": "orders", "api_key": "c4nary", "endpoint": receiver.url("/v1/publish")
    }});
    let done = run("-", &document.to_string()).await;
    done.says(1, &["\"auth\"", "`api_key`"]);
    assert!(!done.text().contains("c4nary"), "{done:#?}");
    assert_eq!(
        receiver.requests("/v1/publish")[0].header("posthaste-test"),
        "true"
    );

    let private = json!({"id": "private", "sink": {"type": "webhook", "url": "https://10.0.0.1/"}});
    run("-", &private.to_string())
        .await
        .says(1, &["refused", "posthaste egress"]);
    let wrong = with(&private, &json!({"sink": {"colour": "red"}}));
    run("-", &wrong.to_string())
        .await
        .says(1, &["/sink/colour"]);
    run("nobody", "").await.says(1, &["nobody"]);
    assert!(
        scene.kafka.topics(&scene.own("attempts")).is_empty(),
        "nothing is written"
    );
}

#[tokio::test]
async fn a_destination_of_pubsub_is_tested_too() {
    let server = PubSub::shared();
    let id = unique("topic");
    let messages = server.topic(&id).await;
    let settings = Settings::new("127.0.0.1:1", "group", "test.");
    let config = settings.write(&unique("test"));
    for (topic, code, word) in [(&*id, 0, "delivered"), ("nothing", 1, "not_found")] {
        let document = json!({"id": "topic", "sink": PubSub::sink(topic, server.address)});
        let arguments = ["destinations", "test", "-"];
        let done = with_config(&config, &arguments, &document.to_string()).await;
        done.says(code, &[word]);
        assert!(!done.text().contains("PRIVATE KEY"), "{done:#?}");
    }
    let marked = crate::support::wait::until("the event", async || {
        messages.lock().expect("no holder panics").first().cloned()
    });
    assert_eq!(marked.await.attributes["posthaste-test"], "true");
}

#[tokio::test]
async fn egress_judges_each_line_without_a_kafka() {
    let lines = [
        ("https://93.184.216.34/hooks", "allowed"),
        ("http://93.184.216.34/hooks", "refused scheme"),
        ("https://127.0.0.1/", "refused address"),
        ("https://[::1]/", "refused address"),
        ("https://10.1.2.3/", "refused address"),
        (
            "https://169.254.169.254/latest/meta-data",
            "refused address",
        ),
        ("https://2130706433/", "refused address"),
        ("https://localhost/", "refused host"),
        ("https://user:word@93.184.216.34/", "refused userinfo"),
        ("https://93.184.216.34:6379/", "refused port"),
        ("gopher://93.184.216.34/", "refused scheme"),
        ("https://no-such-name.invalid/", "refused unresolvable"),
        ("nonsense", "refused malformed"),
    ];
    let input: String = lines.iter().map(|(url, _)| format!("{url}\n")).collect();
    let expected: String = lines
        .iter()
        .map(|(url, verdict)| format!("{verdict}\t{url}\n"))
        .collect();
    let done = posthaste(&["egress"], &input).await;
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (0, expected.as_str()),
        "{done:#?}"
    );

    let mut settings = Settings::new("127.0.0.1:1", "group", "egress.");
    let config = settings
        .source("orders", "start", "latest")
        .write(&unique("egress"));
    let done = with_config(&config, &["egress"], "http://127.0.0.1:8080/\n").await;
    assert_eq!(
        done.stdout, "allowed\thttp://127.0.0.1:8080/\n",
        "{done:#?}"
    );
}

#[tokio::test]
async fn every_setting_can_come_from_the_environment() {
    let scene = Scene::new("environment").await;
    let settings = scene.settings();
    let elsewhere = free_port();
    let posthaste = Posthaste::launch_with(
        &settings,
        &[(
            "POSTHASTE__ADMIN__LISTEN",
            &format!("127.0.0.1:{elsewhere}"),
        )],
    );
    crate::support::wait::until(
        "an answer on the port that the environment names",
        async || {
            let url = format!("http://127.0.0.1:{elsewhere}/livez");
            let http = reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client");
            http.get(url)
                .send()
                .await
                .ok()
                .filter(|answer| answer.status() == 200)
                .map(|_| ())
        },
    )
    .await;
    drop(posthaste);
}

#[tokio::test]
async fn dev_needs_nothing_else_and_accounts_for_everything() {
    let done = posthaste(&["dev", "--for", "8s"], "").await;
    done.says(
        0,
        &["dead", "retr", "posthaste publish", "http://127.0.0.1:"],
    );
    // Without an end, but nobody looks any more. Not beside the first: both would like the same port.
    let done = head(&["dev"], "").await;
    assert_eq!((done.code, &*done.stderr), (0, ""));
}

#[tokio::test]
async fn a_command_whose_output_is_closed_ends_quietly() {
    let rule = r#"{"id": 1, "dialect": "shopify", "rule": "a:1", "event": {}}"#;
    let rules = format!("{rule}\n").repeat(20_000);
    let urls = "http://127.0.0.1/\n".repeat(20_000);
    for (arguments, input) in [(&["filter", "batch"][..], &*rules), (&["egress"], &*urls)] {
        let done = head(arguments, input).await;
        assert!(!done.stdout.is_empty(), "{arguments:?} wrote a line");
        assert_eq!((done.code, &*done.stderr), (0, ""), "{arguments:?}");
    }
}
