//! Receivers that misbehave in every way there is: each has its documented outcome, none harms a healthy one beside it,
//! and every event is accounted for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use posthaste::domain::delivery::DeadLetterReason;
use posthaste::domain::outcome::Outcome;
use posthaste::wire::RawRecord;
use posthaste::wire::attempt::{self, OwnedAttempt};
use serde_json::json;
use tokio::net::TcpStream;

use crate::support::account::{Snapshot, event_id as id_of};
use crate::support::events::{event_id, numbered};
use crate::support::hostile::{
    Authority, drip, http2, listen, read_head, read_to_end, reset, self_signed, write,
};
use crate::support::posthaste::Posthaste;
use crate::support::receiver::Receiver;
use crate::support::records::header;
use crate::support::scene::{Scene, webhook, with};
use crate::support::{run_folder, unique};

/// How many events there are; the first comes alone, so that the others find connections open.
const EVENTS: usize = 4;

/// How each attempt at a destination ends.
#[derive(Debug, Clone, Copy)]
enum Ending {
    /// Delivered at the first attempt.
    Delivered,
    /// Fails twice like this, and is given up.
    Fails(Outcome, &'static str),
    /// The first attempt ends like this, the second delivers.
    Recovers(Outcome, &'static str),
    /// Delivered at some attempt.
    Sometime,
    /// The first event is throttled for a day, the others wait for it.
    Held,
}

struct Row {
    id: &'static str,
    url: String,
    ending: Ending,
}

fn row(id: &'static str, scheme: &str, port: u16, ending: Ending) -> Row {
    Row {
        id,
        url: format!("{scheme}://127.0.0.1:{port}/"),
        ending,
    }
}

/// Answers each request with these bytes.
async fn saying(bytes: impl Into<Vec<u8>>) -> u16 {
    let bytes: Arc<[u8]> = bytes.into().into();
    listen(move |mut stream: TcpStream| {
        let bytes = Arc::clone(&bytes);
        async move { while read_head(&mut stream).await && write(&mut stream, &bytes).await {} }
    })
    .await
}

const HANGS: &str = "time-out after 1 s waiting for the first byte";
const LARGE: &str = "the answer's head is too large";
const NO_HTTP: &str = "the answer is not valid HTTP";

/// Receivers that break HTTP/1.1 or the connection.
async fn plain() -> Vec<Row> {
    use Ending::{Delivered, Fails, Held};
    use Outcome::{Network, Redirect, Server};
    let http = |id, port, ending| row(id, "http", port, ending);
    let hang = listen(async |mut stream| while read_head(&mut stream).await {}).await;
    let close = listen(async |stream| drop(stream)).await;
    let cut = listen(async |mut stream| {
        if read_head(&mut stream).await {
            write(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-le").await;
            reset(&stream);
        }
    });
    let cut_body = listen(async |mut stream| {
        if read_head(&mut stream).await {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
            write(&mut stream, answer).await;
            reset(&stream);
        }
    });
    let drips = listen(async |mut stream| {
        if read_head(&mut stream).await {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            drip(&mut stream, answer, Duration::from_secs(1)).await;
        }
    });
    let drips_body = listen(async |mut stream| {
        if read_head(&mut stream).await {
            write(
                &mut stream,
                b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n",
            )
            .await;
            drip(&mut stream, &[b'x'; 100], Duration::from_secs(1)).await;
        }
    });
    let endless = listen(async |mut stream| {
        if read_head(&mut stream).await
            && write(
                &mut stream,
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            )
            .await
        {
            let chunk = [&b"1000\r\n"[..], &[b'x'; 4096], b"\r\n"].concat();
            while write(&mut stream, &chunk).await {}
        }
    });
    let (cut, cut_body, drips, drips_body, endless) =
        tokio::join!(cut, cut_body, drips, drips_body, endless);
    let huge = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1024 * 1024));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(10_000));
    let length = "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n";
    let circle = "HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n";
    let year = "HTTP/1.1 429 .\r\nretry-after: 31536000\r\ncontent-length: 0\r\n\r\n";
    vec![
        http("hangs", hang, Fails(Network, HANGS)),
        http("closes", close, Fails(Network, "before an answer")),
        http("cut-head", cut, Fails(Network, "before an answer")),
        http("cut-body", cut_body, Delivered),
        http("drips-head", drips, Fails(Network, HANGS)),
        http("drips-body", drips_body, Delivered),
        http("endless-body", endless, Delivered),
        http("huge-header", saying(huge).await, Fails(Server, LARGE)),
        http("many-headers", saying(many).await, Fails(Server, LARGE)),
        http(
            "no-http",
            saying("SSH-2.0-x\r\n\r\n").await,
            Fails(Server, NO_HTTP),
        ),
        http("bad-length", saying(length).await, Fails(Server, NO_HTTP)),
        http("circle", saying(circle).await, Fails(Redirect, "HTTP 302")),
        http("a-year", saying(year).await, Held),
    ]
}

/// Receivers whose TLS does not work. `known` is an authority that the instance trusts.
async fn tls(known: &Authority) -> Vec<Row> {
    use Outcome::Network;
    let here = "127.0.0.1";
    let unknown = Authority::new("unknown");
    let mut rows = Vec::new();
    for (id, acceptor, words) in [
        (
            "expired",
            known.acceptor(here, true),
            "TLS: certificate has expired",
        ),
        (
            "wrong-name",
            known.acceptor("example.com", false),
            "TLS: certificate is not valid for this host name",
        ),
        (
            "self-signed",
            self_signed(here),
            "TLS: certificate is not signed by a known authority",
        ),
        (
            "unknown-authority",
            unknown.acceptor(here, false),
            "TLS: certificate is not signed by a known authority",
        ),
    ] {
        let (port, _) = http2(acceptor, |stream, _, _, _| stream.answer(200)).await;
        rows.push(row(id, "https", port, Ending::Fails(Network, words)));
    }
    // A ServerHello of TLS 1.1, and the alert `protocol_version` of a server that has no version in common.
    let mut hello = vec![0x16, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    hello.extend_from_slice(&[7; 32]);
    hello.extend_from_slice(&[0, 0xc0, 0x13, 0]);
    let plain = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    for (id, answer, words) in [
        (
            "old-version",
            hello,
            "TLS: no version or cipher in common with the server",
        ),
        (
            "no-version",
            vec![0x15, 3, 3, 0, 2, 2, 70],
            "TLS: the server ended the handshake (ProtocolVersion)",
        ),
        (
            "no-tls",
            plain,
            "TLS: the server does not speak TLS at this port",
        ),
    ] {
        let answer: Arc<[u8]> = answer.into();
        let port = listen(move |mut stream| {
            let answer = Arc::clone(&answer);
            async move {
                let mut client_hello = [0; 5];
                let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut client_hello);
                if read.await.is_ok() && write(&mut stream, &answer).await {
                    read_to_end(&mut stream).await;
                }
            }
        })
        .await;
        rows.push(row(id, "https", port, Ending::Fails(Network, words)));
    }
    let silent = listen(async |mut stream: TcpStream| {
        read_to_end(&mut stream).await;
    })
    .await;
    // Both limits, for connecting and for the first byte, end at the same moment.
    let hangs = "time-out after 1 s";
    rows.push(row(
        "silent-tls",
        "https",
        silent,
        Ending::Fails(Network, hangs),
    ));
    rows.push(Row {
        id: "no-name",
        url: "https://nowhere.invalid/".to_owned(),
        ending: Ending::Fails(Network, "DNS: the host name does not resolve"),
    });
    rows
}

/// Receivers that use what HTTP/2 has to refuse with, and how many requests the one that resets got.
async fn h2(known: &Authority) -> (Vec<Row>, Arc<AtomicUsize>) {
    let acceptor = || known.acceptor("127.0.0.1", false);
    let https = |id, port, ending| row(id, "https", port, ending);
    let (healthy, _) = http2(acceptor(), |stream, _, _, _| stream.answer(200)).await;
    let (resets, got) = http2(acceptor(), |stream, _, _, _| match &*stream.attempt {
        "1" => stream.reset(h2::Reason::INTERNAL_ERROR),
        _ => stream.answer(200),
    })
    .await;
    // Safe to send again, so that it is no failure.
    let refused = Arc::new(AtomicUsize::new(0));
    let (refuses, _) = http2(acceptor(), move |stream, _, _, _| {
        match refused.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => stream.reset(h2::Reason::REFUSED_STREAM),
            _ => stream.answer(200),
        }
    })
    .await;
    let (leaves, _) = http2(acceptor(), |stream, connection, _, _| {
        connection.graceful_shutdown();
        stream.answer(200);
    })
    .await;
    // The first connection takes one request, leaves the next ones open and goes away in the middle of them.
    let open = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (breaks, _) = http2(acceptor(), move |stream, connection, number, nth| {
        if number > 0 || nth == 0 {
            return stream.answer(200);
        }
        open.lock().expect("no holder panics").push(stream);
        if nth > 1 {
            connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
        }
    })
    .await;
    let words = "the server reset the HTTP/2 stream before an answer";
    let rows = vec![
        https("h2", healthy, Ending::Delivered),
        https(
            "h2-resets",
            resets,
            Ending::Recovers(Outcome::Network, words),
        ),
        https("h2-refuses", refuses, Ending::Delivered),
        https("h2-leaves", leaves, Ending::Delivered),
        https("h2-breaks", breaks, Ending::Sometime),
    ];
    (rows, got)
}

/// The attempts so far, by destination and event.
fn attempts(records: &[RawRecord]) -> BTreeMap<(String, String), Vec<OwnedAttempt>> {
    let mut found = BTreeMap::<_, Vec<OwnedAttempt>>::new();
    for record in records {
        let attempt = attempt::decode(record.value.as_deref().expect("a value"));
        let attempt = attempt.expect("an attempt");
        let key = (
            attempt.destination.to_string(),
            attempt.event_id.to_string(),
        );
        found.entry(key).or_default().push(attempt);
    }
    for attempts in found.values_mut() {
        attempts.sort_by_key(|attempt| attempt.attempt);
    }
    found
}

impl Row {
    fn is_over(&self, attempts: &[OwnedAttempt], event: usize) -> bool {
        match self.ending {
            Ending::Fails(..) => attempts.len() >= 2,
            Ending::Held => event > 0 || !attempts.is_empty(),
            _ => attempts
                .iter()
                .any(|attempt| attempt.outcome == Outcome::Delivered),
        }
    }

    fn check(&self, attempts: &[OwnedAttempt], event: &str) {
        let told: Vec<(Outcome, &str)> = attempts
            .iter()
            .map(|attempt| {
                (
                    attempt.outcome,
                    attempt.error.as_deref().unwrap_or_default(),
                )
            })
            .collect();
        let fits = |(outcome, error): &(Outcome, &str), expected, words| {
            *outcome == expected && error.contains(words)
        };
        let good = match self.ending {
            Ending::Delivered => matches!(told[..], [(Outcome::Delivered, _)]),
            Ending::Fails(outcome, words) => {
                told.len() == 2 && told.iter().all(|attempt| fits(attempt, outcome, words))
            }
            Ending::Recovers(outcome, words) => {
                matches!(&told[..], [first, (Outcome::Delivered, _)] if fits(first, outcome, words))
            }
            Ending::Sometime => {
                let (last, failed) = told.split_last().expect("an attempt");
                last.0 == Outcome::Delivered
                    && failed.iter().all(|attempt| attempt.0 == Outcome::Network)
            }
            Ending::Held => match attempts {
                [] => true,
                [attempt] => {
                    attempt.outcome == Outcome::Throttled
                        && attempt.retry_after_ms == Some(86_400_000)
                        && attempt.due_at_ms >= Some(attempt.started_at_ms + 86_400_000)
                }
                _ => false,
            },
        };
        assert!(
            good,
            "{} {event}: {:?} expected, not {told:?}",
            self.id, self.ending
        );
    }
}

/// Asserts that each event of a destination is in exactly one place: delivered, dead, or waiting.
fn account(
    row: &Row,
    attempts: &BTreeMap<(String, String), Vec<OwnedAttempt>>,
    dead: &[RawRecord],
    snapshot: &Snapshot,
) {
    let name = format!("default/{}", row.id);
    let waiting = snapshot.waiting(row.id);
    for number in 0..EVENTS {
        let id = event_id(number);
        let own = attempts.get(&(name.clone(), id.clone()));
        let own = own.map_or(&[][..], Vec::as_slice);
        row.check(own, &id);
        let delivered = own
            .iter()
            .filter(|attempt| attempt.outcome == Outcome::Delivered)
            .count();
        let given_up = dead
            .iter()
            .filter(|record| header(record, "destination") == Some(&name) && id_of(record) == id)
            .inspect(|record| {
                let reason = DeadLetterReason::Exhausted.as_str();
                assert_eq!(header(record, "reason"), Some(reason), "{name} {id}");
            })
            .count();
        let waits = waiting.iter().filter(|waiting| **waiting == id).count();
        assert_eq!(
            delivered + given_up + waits,
            1,
            "{name} {id}: delivered {delivered}, given up {given_up}, waiting {waits}"
        );
    }
}

#[tokio::test]
async fn receivers_that_misbehave_have_their_outcome_and_harm_nobody() {
    let scene = Scene::new("hostile").await;
    let known = Authority::new("known");
    let trusted = run_folder().join(format!("{}.pem", unique("authority")));
    std::fs::write(&trusted, known.pem()).expect("the authority can be written");
    let mut rows = plain().await;
    rows.extend(tls(&known).await);
    let (more, resets) = h2(&known).await;
    rows.extend(more);
    let twice = json!({"sink": {"timeout": "2s"}, "retry": {"max_attempts": 2}});
    for row in &rows {
        scene.put(row.id, &with(&webhook(&row.url), &twice)).await;
    }
    let receiver = Receiver::start().await;
    scene
        .put("healthy", &webhook(&receiver.url("/healthy")))
        .await;
    let mut settings = scene.settings();
    settings
        .set("webhook.first_byte_timeout", "1s")
        .set("webhook.connect_timeout", "1s")
        .set("webhook.dns_timeout", "1s");
    let trusted = trusted.to_str().expect("a path in UTF-8");
    let mut posthaste = Posthaste::launch_with(&settings, &[("SSL_CERT_FILE", trusted)]);
    posthaste.until_ready().await;

    let mut records = scene.kafka.follow(&scene.own("attempts"));
    scene.publish(&numbered(0..1)).await;
    records
        .until("an attempt of each destination", |records| {
            attempts(records).len() == rows.len() + 1
        })
        .await;
    scene.publish(&numbered(1..EVENTS)).await;
    let records = records
        .until("the end of all attempts", |records| {
            let found = attempts(records);
            rows.iter().all(|row| {
                (0..EVENTS).all(|number| {
                    let key = (format!("default/{}", row.id), event_id(number));
                    let own = found.get(&key).map_or(&[][..], Vec::as_slice);
                    row.is_over(own, number)
                })
            })
        })
        .await;
    let attempts = attempts(records);
    receiver.until_delivered("/healthy", EVENTS).await;
    scene.settled().await;
    let ended = posthaste.terminate().await;
    assert!(ended.status.success(), "{ended:?}");
    let dead = scene.kafka.read_all(&scene.own("dead-letter")).await;
    let snapshot = Snapshot::of(&scene).await;
    for row in &rows {
        account(row, &attempts, &dead, &snapshot);
    }
    let healthy = receiver.requests("/healthy");
    assert_eq!(
        healthy.len(),
        EVENTS,
        "a healthy destination gets each event once"
    );
    let resets = resets.load(Ordering::Relaxed);
    assert_eq!(
        resets,
        2 * EVENTS,
        "a reset stream is not sent again before its time"
    );
}
