//! A receiver that costs little: HTTP/1.1 with keep-alive, one thread, no parsing beyond the length.
//!
//! It listens on sixteen loopback addresses, so that destinations can have hosts of their own. Paths that begin with
//! `/hang` are never answered; those that begin with `/flaky` are answered with 500 the first time.

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener as Bound};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::event;

/// How many addresses there are.
pub(crate) const HOSTS: u8 = 16;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const FAILURE: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

/// The running receiver.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) port: u16,
    pub(crate) epoch: Instant,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    answered: AtomicU64,
    latencies_us: Mutex<Vec<u64>>,
    /// When events were answered with 500, by their stamp.
    failed: Mutex<HashMap<u64, Instant>>,
    /// The time from that answer to the next attempt.
    waits: Mutex<Vec<Duration>>,
}

impl Receiver {
    /// Starts its thread.
    pub(crate) fn start() -> Self {
        let (port, listeners) = bind();
        let receiver = Self {
            port,
            epoch: Instant::now(),
            state: Arc::default(),
        };
        let serving = receiver.clone();
        std::thread::Builder::new()
            .name("receiver".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                runtime.block_on(async {
                    for listener in listeners {
                        tokio::spawn(serving.clone().accept(listener));
                    }
                    std::future::pending::<()>().await;
                });
            })
            .expect("a thread");
        receiver
    }

    /// Requests answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.state.answered.load(Ordering::Relaxed)
    }

    /// Waits until `count` requests were answered, for `limit` at most; tells whether they were.
    pub(crate) fn until(&self, count: u64, limit: Duration) -> bool {
        let since = Instant::now();
        while self.answered() < count {
            if since.elapsed() > limit {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Takes the latencies of all stamped events since the last call, in microseconds.
    pub(crate) fn take_latencies(&self) -> Vec<u64> {
        std::mem::take(&mut *self.state.latencies_us.lock().expect("no holder panics"))
    }

    /// Events that were answered with 500 and have not come again.
    pub(crate) fn waiting(&self) -> usize {
        self.state.failed.lock().expect("no holder panics").len()
    }

    /// Takes the times from an answer of 500 to the next attempt.
    pub(crate) fn take_waits(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.state.waits.lock().expect("no holder panics"))
    }

    /// Whether this attempt is to fail: the first one of its event.
    fn fails(&self, stamp: u64) -> bool {
        let mut failed = self.state.failed.lock().expect("no holder panics");
        if let Some(since) = failed.remove(&stamp) {
            let mut waits = self.state.waits.lock().expect("no holder panics");
            waits.push(since.elapsed());
            return false;
        }
        failed.insert(stamp, Instant::now());
        true
    }

    async fn accept(self, listener: Bound) {
        let listener = TcpListener::from_std(listener).expect("a listener");
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            stream.set_nodelay(true).expect("an option of TCP");
            let receiver = self.clone();
            // A client that goes away in the middle of a request ends its connection, nothing else.
            tokio::spawn(async move { receiver.serve(stream).await.ok() });
        }
    }

    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut buffer = Vec::with_capacity(8192);
        loop {
            let head = loop {
                if let Some(at) = buffer.windows(4).position(|end| end == b"\r\n\r\n") {
                    break at + 4;
                }
                if stream.read_buf(&mut buffer).await? == 0 {
                    return Ok(());
                }
            };
            let length = content_length(buffer.get(..head).unwrap_or_default());
            while buffer.len() < head + length {
                if stream.read_buf(&mut buffer).await? == 0 {
                    return Ok(());
                }
            }
            if buffer.starts_with(b"POST /hang") {
                // Until the client gives up.
                while stream.read_buf(&mut buffer).await? > 0 {}
                return Ok(());
            }
            let stamp = event::read_stamp(buffer.get(head..head + length).unwrap_or_default());
            let flaky = buffer.starts_with(b"POST /flaky");
            if flaky && self.fails(stamp) {
                buffer.drain(..head + length);
                stream.write_all(FAILURE).await?;
                continue;
            }
            if stamp > 0 && !flaky {
                let latency = event::stamp(self.epoch).saturating_sub(stamp);
                let mut latencies = self.state.latencies_us.lock().expect("no holder panics");
                latencies.push(latency);
            }
            buffer.drain(..head + length);
            self.state.answered.fetch_add(1, Ordering::Relaxed);
            stream.write_all(ANSWER).await?;
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length: ";
    let at = head.windows(NAME.len()).position(|name| name == NAME);
    let digits = at.and_then(|at| head.get(at + NAME.len()..));
    digits
        .unwrap_or_default()
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |length, digit| length * 10 + usize::from(digit - b'0'))
}

/// The same free port on all addresses.
fn bind() -> (u16, Vec<Bound>) {
    loop {
        let first = Bound::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = first.local_addr().expect("its address").port();
        let others =
            (2..=HOSTS).map(|number| Bound::bind((Ipv4Addr::new(127, 0, 0, number), port)));
        if let Ok(others) = others.collect::<Result<Vec<_>, _>>() {
            let mut all = vec![first];
            all.extend(others);
            for listener in &all {
                listener.set_nonblocking(true).expect("an option of TCP");
            }
            return (port, all);
        }
    }
}
