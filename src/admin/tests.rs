//! The endpoint over a real socket.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::telemetry::error_chain;
use crate::telemetry::metrics::Sets;

struct Running {
    address: SocketAddr,
    readiness: Readiness,
    stop: watch::Sender<bool>,
    served: JoinHandle<Result<(), Error>>,
}

async fn start() -> Running {
    let metrics = Metrics::new(&Sets {
        sources: vec!["orders"],
        ..Sets::default()
    });
    let readiness = Readiness::new();
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let admin = Admin::bind(free, metrics, readiness.clone())
        .await
        .expect("a free port");
    let (stop, shutdown) = watch::channel(false);
    Running {
        address: admin.address(),
        readiness,
        stop,
        served: tokio::spawn(admin.run(shutdown)),
    }
}

/// The whole answer to one request.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("UTF-8");
    answer
}

async fn get_path(address: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    ask(address, &request).await
}

#[tokio::test]
async fn readyz_names_each_missing_condition_and_turns_200_without_any() {
    let admin = start().await;
    admin.readiness.set(
        "catalog",
        Err("`posthaste.destinations` is not read to its end"),
    );
    admin
        .readiness
        .set("sources", Err("no partitions assigned"));
    admin.readiness.set(Readiness::START, Ok(()));
    let answer = get_path(admin.address, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(
        body,
        serde_json::json!({"ready": false, "missing": [
            {"condition": "catalog", "reason": "`posthaste.destinations` is not read to its end"},
            {"condition": "sources", "reason": "no partitions assigned"},
        ]})
    );

    admin.readiness.set("catalog", Ok(()));
    admin.readiness.set("sources", Ok(()));
    let answer = get_path(admin.address, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.ends_with("{\"ready\":true,\"missing\":[]}"),
        "{answer}"
    );
}

#[tokio::test]
async fn livez_answers_while_the_instance_is_not_ready() {
    let admin = start().await;
    let answer = get_path(admin.address, "/livez").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn metrics_come_in_the_format_that_prometheus_reads() {
    let admin = start().await;
    let answer = get_path(admin.address, "/metrics").await;
    assert!(
        answer.contains(&format!("content-type: {METRICS_TYPE}")),
        "{answer}"
    );
    assert!(
        answer.contains("\nposthaste_events_read_total{source=\"orders\"} 0\n"),
        "{answer}"
    );
    let version = format!(
        "\nposthaste_build_info{{version=\"{}\"}} 1\n",
        env!("CARGO_PKG_VERSION")
    );
    assert!(answer.contains(&version), "{answer}");
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let admin = start().await;
    let answer = get_path(admin.address, "/").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    let post = "POST /readyz HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let answer = ask(admin.address, post).await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[tokio::test]
async fn a_header_without_end_is_refused() {
    let admin = start().await;
    let request = format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(1024 * 1024));
    let mut stream = TcpStream::connect(admin.address).await.expect("it listens");
    // The server may close while the rest is still being written.
    let written = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    let refused = String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 431 ");
    assert!(
        refused || written.is_err() || read.is_err(),
        "{written:?} {read:?}"
    );
}

#[tokio::test]
async fn an_address_in_use_is_named_with_the_setting() {
    let admin = start().await;
    let error = Admin::bind(
        admin.address,
        Metrics::new(&Sets::default()),
        Readiness::new(),
    )
    .await
    .expect_err("it is in use");
    let line = error_chain(&error);
    assert!(line.contains(&admin.address.to_string()), "{line}");
    assert!(
        line.contains("`admin.listen`") && line.contains("in use"),
        "{line}"
    );
}

#[tokio::test]
async fn a_stop_ends_the_endpoint_although_a_client_stays_connected() {
    let admin = start().await;
    let mut client = TcpStream::connect(admin.address).await.expect("it listens");
    client
        .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("open");
    client.read_u8().await.expect("an answer");
    admin.stop.send(true).expect("it runs");
    admin.served.await.expect("no panic").expect("a clean end");
    let refused = TcpStream::connect(admin.address).await;
    assert!(refused.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_stopper_that_is_gone_counts_as_a_stop() {
    let admin = start().await;
    drop(admin.stop);
    admin.served.await.expect("no panic").expect("a clean end");
}
