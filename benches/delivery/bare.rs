//! The bare loops: 64 tasks that sign and send the same body to the same receiver, and nothing else.
//!
//! `hyper` sends over hyper's HTTP/1.1 connections, one a task; `reqwest` uses the sink's own client; `raw` writes the
//! request's bytes to a socket, the least that can be.
//! Runs as a child, so that its CPU is counted as that of the instance is.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use posthaste::domain::secret::Secret;
use posthaste::domain::signature::SigningKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::event::{self, SECRET};
use crate::process;
use crate::scenarios::CONCURRENCY;

/// What a run gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) per_second: f64,
    pub(crate) cpu_us: f64,
}

/// Runs a loop of that kind as a child.
pub(crate) fn child(kind: &str, port: u16, hosts: u8, length: Duration) -> Run {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args(["bare", kind, &port.to_string(), &hosts.to_string()])
        .arg(length.as_millis().to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("this program starts");
    let text = String::from_utf8(output.stdout).expect("numbers");
    let mut numbers = text.split_whitespace().map(|n| n.parse().expect("numbers"));
    Run {
        per_second: numbers.next().expect("a rate"),
        cpu_us: numbers.next().expect("CPU"),
    }
}

/// The child: `bare KIND PORT HOSTS MILLISECONDS`.
pub(crate) fn run(arguments: &[String]) {
    let [_, kind, port, hosts, ms] = arguments else {
        panic!("bare KIND PORT HOSTS MILLISECONDS");
    };
    let port: u16 = port.parse().expect("a port");
    let hosts: usize = hosts.parse().expect("a number");
    let length = Duration::from_millis(ms.parse().expect("milliseconds"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let key = Arc::new(SigningKey::parse(&Secret::new(SECRET.to_owned())).expect("a secret"));
    let client = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(CONCURRENCY)
        .build()
        .expect("a client");
    let (since, cpu) = (Instant::now(), process::cpu_us("self"));
    let end = since + length;
    let count: u64 = runtime.block_on(async {
        let tasks: Vec<_> = (0..CONCURRENCY)
            .map(|task| {
                let host = format!("127.0.0.{}", 1 + task % hosts);
                let (key, client) = (Arc::clone(&key), client.clone());
                let kind = kind.clone();
                tokio::spawn(async move {
                    match kind.as_str() {
                        "hyper" => hyper_loop(&host, port, &key, end).await,
                        "raw" => raw_loop(&host, port, &key, end).await,
                        _ => reqwest_loop(&client, &host, port, &key, end).await,
                    }
                })
            })
            .collect();
        let mut count = 0;
        for task in tasks {
            count += task.await.expect("no task panics");
        }
        count
    });
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let (count, cpu) = (count as f64, (process::cpu_us("self") - cpu) as f64);
    println!(
        "{} {}",
        count / since.elapsed().as_secs_f64(),
        cpu / count.max(1.0)
    );
}

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_secs()).expect("seconds fit")
}

async fn hyper_loop(host: &str, port: u16, key: &SigningKey, end: Instant) -> u64 {
    let stream = TcpStream::connect((host, port))
        .await
        .expect("the receiver listens");
    stream.set_nodelay(true).expect("an option of TCP");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("a connection");
    let connection = tokio::spawn(connection);
    let authority = format!("{host}:{port}");
    let body = Bytes::from(event::body(0));
    let mut count = 0;
    while Instant::now() < end {
        let (id, now) = (format!("events-0-{count}-1700000000000"), now_s());
        let request = hyper::Request::post("/bare")
            .header("host", &authority)
            .header("content-type", "application/json")
            .header("user-agent", "bare")
            .header("webhook-signature", key.sign(&id, now, &body))
            .header("webhook-id", id)
            .header("webhook-timestamp", now)
            .header("webhook-event-type", "order.paid")
            .header("webhook-attempt", 1)
            .body(Full::new(body.clone()))
            .expect("a request");
        sender.ready().await.expect("the connection stays");
        let answer = sender.send_request(request).await;
        let answer = answer.expect("the receiver answers").into_body();
        answer.collect().await.expect("the answer ends");
        count += 1;
    }
    connection.abort();
    count
}

async fn reqwest_loop(
    client: &reqwest::Client,
    host: &str,
    port: u16,
    key: &SigningKey,
    end: Instant,
) -> u64 {
    let url: reqwest::Url = format!("http://{host}:{port}/bare").parse().expect("a URL");
    let body = Bytes::from(event::body(0));
    let mut count = 0;
    while Instant::now() < end {
        let (id, now) = (format!("events-0-{count}-1700000000000"), now_s());
        let answer = client
            .post(url.clone())
            .header("content-type", "application/json")
            .header("user-agent", "bare")
            .header("webhook-signature", key.sign(&id, now, &body))
            .header("webhook-id", id)
            .header("webhook-timestamp", now)
            .header("webhook-event-type", "order.paid")
            .header("webhook-attempt", 1)
            .body(body.clone())
            .send()
            .await
            .expect("the receiver answers");
        answer.bytes().await.expect("the answer ends");
        count += 1;
    }
    count
}

async fn raw_loop(host: &str, port: u16, key: &SigningKey, end: Instant) -> u64 {
    let mut stream = TcpStream::connect((host, port))
        .await
        .expect("the receiver listens");
    stream.set_nodelay(true).expect("an option of TCP");
    let body = event::body(0);
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    let mut count = 0_u64;
    while Instant::now() < end {
        let (id, now) = (format!("events-0-{count}-1700000000000"), now_s());
        let signature = key.sign(&id, now, &body);
        request.clear();
        request.extend_from_slice(
            format!(
                "POST /bare HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n\
                 user-agent: bare\r\nwebhook-id: {id}\r\nwebhook-timestamp: {now}\r\n\
                 webhook-signature: {signature}\r\nwebhook-event-type: order.paid\r\nwebhook-attempt: 1\r\n\
                 content-length: {}\r\n\r\n",
                body.len()
            )
            .as_bytes(),
        );
        request.extend_from_slice(&body);
        stream.write_all(&request).await.expect("it is sent");
        answer.clear();
        while !answer.ends_with(b"\r\n\r\n") {
            let read = stream.read_buf(&mut answer).await.expect("an answer");
            assert!(read > 0, "the receiver keeps the connection");
        }
        count += 1;
    }
    count
}
