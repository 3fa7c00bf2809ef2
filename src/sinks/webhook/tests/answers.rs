//! What becomes of answers.

use std::time::Instant;

use super::receiver::Receiver;
use super::*;
use crate::domain::outcome::Outcome;

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Receiver::answering(OK).await;
    let target = elsewhere.url();
    let receiver = Receiver::start(move |mut connection, _| {
        let answer =
            format!("HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n");
        async move {
            connection.request().await;
            connection.write(answer.as_bytes()).await;
        }
    })
    .await;
    let report = Sender::to(&receiver.url()).send().await;
    assert_eq!(
        (report.outcome, report.status),
        (Outcome::Redirect, Some(302))
    );
    assert_eq!(error(&report), "HTTP 302 Found: redirects are not followed");
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn answers_have_the_outcome_of_their_status_line() {
    for (answer, outcome, words) in [
        (
            "HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n",
            Outcome::Delivered,
            "",
        ),
        ("HTTP/1.0 200 OK\r\n\r\nold", Outcome::Delivered, ""),
        (
            "HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n",
            Outcome::Gone,
            "HTTP 410 Gone",
        ),
        (
            "HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n",
            Outcome::Auth,
            "HTTP 401 Unauthorized",
        ),
        (
            "HTTP/1.1 404 \r\ncontent-length: 0\r\n\r\n",
            Outcome::NotFound,
            "HTTP 404 Not Found",
        ),
        (
            "HTTP/1.1 422 X\r\ncontent-length: 0\r\n\r\n",
            Outcome::Rejected,
            "HTTP 422 Unprocessable Entity",
        ),
        (
            "HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n",
            Outcome::Server,
            "HTTP 500 Internal Server Error",
        ),
        (
            "HTTP/1.1 799 X\r\ncontent-length: 0\r\n\r\n",
            Outcome::Server,
            "HTTP 799",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            Outcome::Server,
            "HTTP 101 Switching Protocols",
        ),
        (
            "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            Outcome::Delivered,
            "",
        ),
    ] {
        let receiver = Receiver::start(move |mut connection, _| async move {
            connection.request().await;
            connection.write(answer.as_bytes()).await;
        })
        .await;
        let report = Sender::to(&receiver.url()).send().await;
        assert_eq!(
            (report.outcome, error(&report)),
            (outcome, words),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn retry_after_is_read_in_both_forms() {
    for (status, value, outcome, expected) in [
        (429, "30", Outcome::Throttled, Some(30)),
        (
            429,
            "Sat, 31 Jan 2026 08:01:00 GMT",
            Outcome::Throttled,
            Some(59),
        ),
        (
            429,
            "Sat, 31 Jan 2026 07:00:00 GMT",
            Outcome::Throttled,
            Some(0),
        ),
        (429, "soon", Outcome::Throttled, None),
        (503, "7", Outcome::Throttled, Some(7)),
        (503, "soon", Outcome::Server, None),
        (500, "7", Outcome::Server, Some(7)),
        (200, "7", Outcome::Delivered, None),
    ] {
        let receiver = Receiver::start(move |mut connection, _| async move {
            connection.request().await;
            let answer =
                format!("HTTP/1.1 {status} X\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n");
            connection.write(answer.as_bytes()).await;
        })
        .await;
        let report = Sender::to(&receiver.url()).send().await;
        let seconds = report.retry_after.map(|wait| wait.as_secs());
        assert_eq!(
            (report.outcome, seconds),
            (outcome, expected),
            "{status} {value}"
        );
    }
}

#[tokio::test]
async fn bodies_that_do_not_end_do_not_undo_the_status() {
    for (status, outcome) in [(200, Outcome::Delivered), (500, Outcome::Server)] {
        // One byte, then nothing; and as much as is taken.
        for endless in [false, true] {
            let receiver = Receiver::start(move |mut connection, _| async move {
                connection.request().await;
                let head = format!("HTTP/1.1 {status} X\r\n\r\na");
                let mut open = connection.write(head.as_bytes()).await;
                while open && endless {
                    open = connection.write(&[b'a'; 4096]).await;
                }
                // Holds the connection until the sender lets go.
                connection.request().await;
            })
            .await;
            let document = json!({"url": receiver.url(), "timeout": "400ms"});
            let began = Instant::now();
            let report = Sender::new(document, &settings()).send().await;
            assert!(began.elapsed() < Duration::from_secs(3));
            assert_eq!((report.outcome, report.status), (outcome, Some(status)));
            let kept = if endless { 16 * 1024 } else { 1 };
            assert_eq!(report.response_body, vec![b'a'; kept], "endless: {endless}");
        }
    }
}

#[tokio::test]
async fn a_body_that_drips_is_read_until_the_total_limit() {
    let receiver = Receiver::start(async |mut connection, _| {
        connection.request().await;
        connection
            .write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            .await;
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        while connection.write(b"a").await {
            tick.tick().await;
        }
    })
    .await;
    let document = json!({"url": receiver.url(), "timeout": "500ms"});
    let report = Sender::new(document, &settings()).send().await;
    assert_eq!(report.outcome, Outcome::Delivered);
    assert!(
        (2..=6).contains(&report.response_body.len()),
        "{:?}",
        report.response_body
    );
    assert!(report.total >= Duration::from_millis(500));
}

#[tokio::test]
async fn a_body_that_breaks_does_not_undo_the_status() {
    for (answer, kept) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc", "abc"),
        (
            "HTTP/1.1 202 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
            "abc",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
            "abc",
        ),
    ] {
        let receiver = Receiver::start(move |mut connection, _| async move {
            connection.request().await;
            connection.write(answer.as_bytes()).await;
        })
        .await;
        let report = Sender::to(&receiver.url()).send().await;
        assert_eq!(report.outcome, Outcome::Delivered, "{answer}");
        assert_eq!(report.response_body, kept, "{answer}");
    }
}

#[tokio::test]
async fn answers_that_are_not_http_are_the_server_s_fault() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(10_000));
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    for (answer, words) in [
        (
            "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(),
            "the answer is not valid HTTP",
        ),
        (
            "\0\0\0\0\0\0\0\0\r\n\r\n".to_owned(),
            "the answer is not valid HTTP",
        ),
        (
            "HTTP/1.1 abc\r\n\r\n".to_owned(),
            "the answer is not valid HTTP",
        ),
        (
            "HTTP/1.1 20 OK\r\n\r\n".to_owned(),
            "the answer is not valid HTTP",
        ),
        (
            "HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n".to_owned(),
            "the answer is not valid HTTP",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n".to_owned(),
            "the answer is not valid HTTP",
        ),
        (many, "the answer's head is too large"),
        (long, "the answer's head is too large"),
    ] {
        let shown: String = answer.chars().take(40).collect();
        let receiver = Receiver::start(move |mut connection, _| {
            let answer = answer.clone();
            async move {
                connection.request().await;
                connection.write(answer.as_bytes()).await;
                connection.request().await;
            }
        })
        .await;
        let report = Sender::to(&receiver.url()).send().await;
        assert_eq!(
            (report.outcome, error(&report)),
            (Outcome::Server, words),
            "{shown}"
        );
        assert_eq!(report.status, None);
    }
}

#[tokio::test]
async fn the_head_is_kept_within_its_bounds_and_without_cookies() {
    let long = "y".repeat(9000);
    let receiver = Receiver::start(move |mut connection, _| {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nset-cookie: id=s3cret\r\nx-long: {long}\r\nx-odd: \u{e9}\r\ncontent-length: 0\r\n\r\n"
        );
        async move {
            connection.request().await;
            connection.write(answer.as_bytes()).await;
        }
    })
    .await;
    let report = Sender::to(&receiver.url()).send().await;
    let kept: Vec<_> = report
        .response_headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        kept,
        [
            ("set-cookie", "[redacted]"),
            ("x-odd", "\u{e9}"),
            ("content-length", "0")
        ]
    );
}
