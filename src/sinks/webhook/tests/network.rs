//! What is sent, and what becomes of connections.

use std::time::Instant;

use super::receiver::Receiver;
use super::*;
use crate::domain::delivery::DeadLetterReason;
use crate::domain::outcome::Outcome;
use crate::domain::secret::Secret;
use crate::domain::signature::SigningKey;
use crate::egress::Refusal;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[tokio::test]
async fn a_delivery_is_a_signed_post_of_the_event_s_bytes() {
    let mut receiver = Receiver::answering(OK).await;
    let document = json!({
        "url": receiver.url(),
        "signing": {"secret": SECRET},
        "headers": {"X-Shop": "7"},
        "auth": {"type": "bearer", "token": "t0ken"}
    });
    let sender = Sender::new(document, &settings());
    let body = b"{\"n\": 1,\n \"x\":\"\xc3\xa9\xff\"}";
    let report = sender.send_event(&event(Some(body))).await;
    assert_eq!(
        (report.outcome, report.status, report.error.as_deref()),
        (Outcome::Delivered, Some(200), None)
    );
    assert_eq!(report.response_body, "ok");
    assert_eq!(
        report.response_headers,
        [("content-length".to_owned(), "2".to_owned())]
    );
    assert!(report.first_byte.is_some_and(|first| first <= report.total));

    let request = receiver.take().expect("a request");
    assert_eq!(request.body, body);
    assert!(
        request.head.starts_with("POST /hooks?x=1 HTTP/1.1\r\n"),
        "{}",
        request.head
    );
    let signature = SigningKey::parse(&Secret::new(SECRET.to_owned()))
        .expect("key")
        .sign("msg_1", NOW_MS / 1000, body);
    let host = format!("127.0.0.1:{}", receiver.port);
    for (name, expected) in [
        ("host", Some(host.as_str())),
        ("content-type", Some("application/json")),
        ("content-length", Some(body.len().to_string().as_str())),
        ("webhook-id", Some("msg_1")),
        ("webhook-timestamp", Some("1769846400")),
        ("webhook-signature", Some(signature.as_str())),
        ("webhook-event-type", Some("order.paid")),
        ("webhook-attempt", Some("1")),
        ("webhook-replay", None),
        (
            "user-agent",
            Some(concat!("posthaste/", env!("CARGO_PKG_VERSION"))),
        ),
        ("x-shop", Some("7")),
        ("authorization", Some("Bearer t0ken")),
        ("accept-encoding", None),
        ("transfer-encoding", None),
        ("referer", None),
    ] {
        assert_eq!(request.header(name), expected, "{name}");
    }
}

#[tokio::test]
async fn a_null_body_is_an_empty_one() {
    let mut receiver = Receiver::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let report = Sender::to(&receiver.url()).send_event(&event(None)).await;
    assert_eq!(
        (report.outcome, report.status),
        (Outcome::Delivered, Some(204))
    );
    let request = receiver.take().expect("a request");
    assert_eq!(request.header("content-length"), Some("0"));
    assert!(request.body.is_empty());
}

#[tokio::test]
async fn connections_are_kept_for_the_next_attempt() {
    let receiver = Receiver::answering(OK).await;
    let sender = Sender::to(&receiver.url());
    for _ in 0..3 {
        assert_eq!(sender.send().await.outcome, Outcome::Delivered);
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn a_kept_connection_that_breaks_is_replaced_once_and_at_once() {
    for reset in [false, true] {
        // The first connection answers once and ends when the second request has been read, the others answer.
        let receiver = Receiver::start(move |mut connection, number| async move {
            while connection.request().await {
                if !connection.write(OK.as_bytes()).await || number == 0 {
                    connection.request().await;
                    break;
                }
            }
            if reset {
                connection.reset();
            }
        })
        .await;
        let sender = Sender::to(&receiver.url());
        assert_eq!(sender.send().await.outcome, Outcome::Delivered);
        assert_eq!(
            sender.send().await.outcome,
            Outcome::Delivered,
            "reset: {reset}"
        );
        assert_eq!(receiver.connections(), 2);
    }
}

#[tokio::test]
async fn a_new_connection_that_breaks_is_not_replaced() {
    let mut receiver = Receiver::start(async |mut connection, _| {
        connection.request().await;
    })
    .await;
    let report = Sender::to(&receiver.url()).send().await;
    assert_eq!(report.outcome, Outcome::Network);
    assert_eq!(error(&report), "connection closed before an answer");
    assert!(receiver.take().is_some() && receiver.take().is_none());
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn a_receiver_that_hangs_is_left_at_the_first_byte_limit() {
    for (first_byte, timeout, words) in [
        (
            200,
            "20s",
            "time-out after 200 ms waiting for the first byte",
        ),
        (
            5000,
            "300ms",
            "time-out after 300 ms waiting for the first byte",
        ),
    ] {
        let mut receiver = Receiver::start(
            async |mut connection, _| {
                while connection.request().await {}
            },
        )
        .await;
        let document = json!({"url": receiver.url(), "timeout": timeout});
        let sender = Sender::new(document, &short(first_byte));
        let began = Instant::now();
        let report = sender.send().await;
        assert!(began.elapsed() < Duration::from_secs(3));
        assert_eq!((report.outcome, error(&report)), (Outcome::Network, words));
        assert!(receiver.take().is_some() && receiver.take().is_none());
    }
}

#[tokio::test]
async fn connections_that_break_are_network_failures() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-le";
    for (read, written, reset, words) in [
        (false, &b""[..], false, "closed"),
        (false, b"", true, "reset"),
        (true, b"", true, "reset"),
        (true, half, false, "closed"),
        (true, half, true, "reset"),
    ] {
        let receiver = Receiver::start(move |mut connection, _| async move {
            if read {
                connection.request().await;
            }
            connection.write(written).await;
            if reset {
                connection.reset();
            }
        })
        .await;
        let report = Sender::to(&receiver.url()).send().await;
        assert_eq!(report.outcome, Outcome::Network);
        // Without reading first, an end of ours can reach the sender as a reset.
        let expected = [words, if read { words } else { "reset" }];
        let expected = expected.map(|how| format!("connection {how} before an answer"));
        assert!(
            expected.iter().any(|words| words == error(&report)),
            "{}",
            error(&report)
        );
    }
}

#[tokio::test]
async fn a_port_that_nobody_listens_at_refuses_the_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("address").port();
    drop(listener);
    let report = Sender::to(&format!("http://127.0.0.1:{port}/"))
        .send()
        .await;
    assert_eq!(
        (report.outcome, error(&report)),
        (Outcome::Network, "connection refused")
    );
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_a_network_failure() {
    let settings = settings();
    let guard = guard(&settings).with_names(&[]);
    let sender = Sender::with_guard(json!({"url": "https://hooks.example/"}), &settings, guard);
    let report = sender.send().await;
    assert_eq!(report.outcome, Outcome::Network);
    assert_eq!(error(&report), "DNS: the host name does not resolve");
}

#[tokio::test]
async fn the_guard_is_asked_at_every_send() {
    let receiver = Receiver::answering(OK).await;
    let open = settings();
    let mut strict = settings();
    strict.egress.allow.clear();
    let private = format!("http://hooks.example:{}/", receiver.port);
    for url in [receiver.url(), private] {
        let guarded = guard(&strict).with_names(&[("hooks.example", &["8.8.8.8", "127.0.0.1"])]);
        let guarded = Arc::new(guarded);
        let sender = Sender {
            sink: parse(json!({"url": url}), &open),
            clients: Clients::new(&strict, &guarded).expect("clients"),
        };
        let report = sender.send().await;
        assert_eq!((report.outcome, report.status), (Outcome::Refused, None));
        assert_eq!(error(&report), Refusal::SENTENCE);
        let counted: Vec<_> = guarded.refused().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("address", 1)]);
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn a_name_with_a_vetted_address_is_delivered_to() {
    let mut receiver = Receiver::answering(OK).await;
    let settings = settings();
    let guard = guard(&settings).with_names(&[("hooks.example", &["127.0.0.1"])]);
    let url = format!("http://hooks.example:{}/", receiver.port);
    let report = Sender::with_guard(json!({"url": url}), &settings, guard)
        .send()
        .await;
    assert_eq!(report.outcome, Outcome::Delivered);
    let host = format!("hooks.example:{}", receiver.port);
    assert_eq!(
        receiver.take().expect("a request").header("host"),
        Some(host.as_str())
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_not_sent_and_names_it() {
    let receiver = Receiver::answering(OK).await;
    let mut settings = settings();
    settings.webhook.body_max = "1KiB".parse().expect("size");
    let sender = Sender::new(json!({"url": receiver.url()}), &settings);
    let fits = event(Some(&[b'a'; 1024]));
    assert_eq!(sender.send_event(&fits).await.outcome, Outcome::Delivered);
    let report = sender.send_event(&event(Some(&[b'a'; 1025]))).await;
    assert_eq!(report.outcome, Outcome::Rejected);
    assert_eq!(report.dead_letter, Some(DeadLetterReason::Oversize));
    assert_eq!(
        error(&report),
        "the body has 1025 bytes, webhooks take 1KiB (setting webhook.body_max)"
    );
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn expired_secrets_alone_send_nothing() {
    let receiver = Receiver::answering(OK).await;
    let document = json!({
        "url": receiver.url(),
        "signing": {"secrets": [{"secret": SECRET, "expires_at": "2026-01-31T08:00:00Z"}]}
    });
    let report = Sender::new(document, &settings()).send().await;
    assert_eq!(report.outcome, Outcome::Refused);
    assert_eq!(
        error(&report),
        "all signing secrets of the destination have expired"
    );
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn an_ipv6_literal_is_dialled() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("address").port();
    let mut settings = settings();
    settings.egress.allow = vec!["::1".to_owned()];
    // Nobody listens at this port of `::1`.
    let sender = Sender::new(json!({"url": format!("http://[::1]:{port}/")}), &settings);
    assert_eq!(sender.send().await.outcome, Outcome::Network);
}
