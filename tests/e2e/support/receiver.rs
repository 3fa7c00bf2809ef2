//! A webhook receiver that records every request and answers as a test says.
//!
//! It speaks HTTP/1.1 over the bare socket, so that it can also break the protocol, and runs on threads of its own, so
//! that a test which blocks does not hold up its answers.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;

use super::wait::LIMIT;

/// Of receivers and proxies.
pub(super) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("receivers")
        .enable_all()
        .build()
        .expect("a runtime")
});

/// One request as it arrived. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// With its query.
    pub(crate) path: Arc<str>,
    /// Names in lower case, in their order.
    pub(crate) headers: Arc<[(String, Vec<u8>)]>,
    pub(crate) body: Bytes,
    /// When it was complete.
    pub(crate) at: Instant,
    /// The same by the clock on the wall, in milliseconds since 1970.
    pub(crate) at_ms: i64,
    /// How many requests to this path came before it.
    pub(crate) nth: usize,
    /// The status that was sent in answer, once it was.
    pub(crate) answered: Option<u16>,
    /// When the answer was sent, or the connection closed.
    pub(crate) ended: Option<Instant>,
}

impl Request {
    /// The value of a header; empty where it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .and_then(|(_, value)| std::str::from_utf8(value).ok())
            .unwrap_or_default()
    }

    /// The event's id.
    pub(crate) fn id(&self) -> &str {
        self.header("webhook-id")
    }

    /// Whether it was accepted.
    pub(crate) fn delivered(&self) -> bool {
        self.answered
            .is_some_and(|status| (200..300).contains(&status))
    }
}

/// What the receiver does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Answers.
    Status(u16),
    /// Answers with further headers.
    With(u16, Vec<(&'static str, String)>),
    /// Answers once the gate is open.
    Hold(Gate, u16),
    /// Closes the connection without an answer.
    Close,
    /// Sends these bytes and closes.
    Raw(&'static str),
}

/// What some requests wait for. Clones open together.
#[derive(Debug, Clone)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    pub(crate) fn shut() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Lets everybody pass, from now on.
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    async fn pass(&self) {
        // The sender lives in `self`.
        self.0
            .subscribe()
            .wait_for(|open| *open)
            .await
            .expect("the sender lives");
    }
}

type Script = Box<dyn Fn(&Request) -> Answer + Send>;

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    per_path: HashMap<Arc<str>, usize>,
    scripts: HashMap<String, Script>,
}

/// A receiver on a free port of 127.0.0.1. Every path answers 204 unless a script says otherwise.
pub(crate) struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no script panics")
    }
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let shared = Arc::<Shared>::default();
        let serving = Arc::clone(&shared);
        let (tx, rx) = tokio::sync::oneshot::channel();
        let task = RUNTIME.spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            tx.send(listener.local_addr().expect("an address"))
                .expect("start waits for it");
            loop {
                let (socket, _) = listener.accept().await.expect("a connection");
                RUNTIME.spawn(serve(socket, Arc::clone(&serving)));
            }
        });
        let address = rx.await.expect("the receiver tells its address");
        Self {
            address,
            shared,
            task,
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:<port><path>`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How requests to `path` are answered from now on.
    pub(crate) fn on(&self, path: &str, script: impl Fn(&Request) -> Answer + Send + 'static) {
        self.shared
            .state()
            .scripts
            .insert(path.to_owned(), Box::new(script));
    }

    /// Answers the requests to `path` in turn; the last answer repeats.
    pub(crate) fn in_turn(&self, path: &str, answers: impl Into<Vec<Answer>>) {
        let answers = answers.into();
        self.on(path, move |request| {
            let answer = answers.get(request.nth).or(answers.last());
            answer.expect("at least one answer").clone()
        });
    }

    /// The requests to `path` so far.
    pub(crate) fn requests(&self, path: &str) -> Vec<Request> {
        let state = self.shared.state();
        state
            .requests
            .iter()
            .filter(|request| &*request.path == path)
            .cloned()
            .collect()
    }

    /// All requests so far.
    pub(crate) fn all(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// The requests to `path` that were accepted so far.
    pub(crate) fn delivered(&self, path: &str) -> Vec<Request> {
        let mut requests = self.requests(path);
        requests.retain(Request::delivered);
        requests
    }

    /// Waits until the condition holds for the requests to `path`; fails after [`LIMIT`].
    pub(crate) async fn until(
        &self,
        path: &str,
        what: &str,
        holds: impl Fn(&[Request]) -> bool,
    ) -> Vec<Request> {
        self.until_any(
            |request| &*request.path == path,
            &format!("{what} at {path}"),
            holds,
        )
        .await
    }

    /// Waits until the condition holds for the requests to all paths; fails after [`LIMIT`].
    pub(crate) async fn until_all(
        &self,
        what: &str,
        holds: impl Fn(&[Request]) -> bool,
    ) -> Vec<Request> {
        self.until_any(|_| true, what, holds).await
    }

    async fn until_any(
        &self,
        chosen: impl Fn(&Request) -> bool,
        what: &str,
        holds: impl Fn(&[Request]) -> bool,
    ) -> Vec<Request> {
        let mut changes = self.shared.changes.subscribe();
        let now = || -> Vec<Request> {
            let state = self.shared.state();
            state
                .requests
                .iter()
                .filter(|request| chosen(request))
                .cloned()
                .collect()
        };
        let waiting = async {
            loop {
                changes.mark_unchanged();
                let requests = now();
                if holds(&requests) {
                    return requests;
                }
                changes.changed().await.expect("the receiver lives");
            }
        };
        timeout(LIMIT, waiting).await.unwrap_or_else(|_elapsed| {
            panic!("not within {LIMIT:?}: {what}; got {}", summary(&now()))
        })
    }

    /// Waits until no request is held any more: who made them was killed.
    pub(crate) async fn until_none_is_held(&self) {
        self.until_all("no held request", |all| {
            all.iter().all(|request| request.ended.is_some())
        })
        .await;
    }

    /// Waits until `path` has accepted each of the events at least once; gives those that it has not after [`LIMIT`].
    pub(crate) async fn missing_of<'a>(
        &self,
        path: &str,
        ids: impl Iterator<Item = &'a str>,
    ) -> Vec<&'a str> {
        let mut missing: BTreeSet<&str> = ids.collect();
        let mut changes = self.shared.changes.subscribe();
        let all = async {
            loop {
                changes.mark_unchanged();
                for request in self.delivered(path) {
                    missing.remove(request.id());
                }
                if missing.is_empty() {
                    return;
                }
                changes.changed().await.expect("the receiver lives");
            }
        };
        // What is missing then says whether it was enough.
        timeout(LIMIT, all).await.unwrap_or_default();
        missing.into_iter().collect()
    }

    /// Waits until `path` has accepted `count` requests.
    pub(crate) async fn until_delivered(&self, path: &str, count: usize) -> Vec<Request> {
        let what = format!("{count} deliveries");
        self.until(path, &what, |requests| {
            requests
                .iter()
                .filter(|request| request.delivered())
                .count()
                >= count
        })
        .await
    }

    /// Waits until `path` has got `count` requests, answered or not.
    pub(crate) async fn until_requests(&self, path: &str, count: usize) -> Vec<Request> {
        let what = format!("{count} requests");
        self.until(path, &what, |requests| requests.len() >= count)
            .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ids and answers of the last requests, for the message of a failed wait.
fn summary(requests: &[Request]) -> String {
    let shown: Vec<String> = requests
        .iter()
        .skip(requests.len().saturating_sub(40))
        .map(|request| match request.answered {
            Some(status) => format!("{}:{status}", request.id()),
            None => format!("{}:unanswered", request.id()),
        })
        .collect();
    format!("{} requests, the last: {}", requests.len(), shown.join(" "))
}

/// Serves one connection until either side closes it.
async fn serve(mut socket: TcpStream, shared: Arc<Shared>) {
    let mut buffer = BytesMut::new();
    while let Some(request) = read_request(&mut socket, &mut buffer).await {
        let (index, answer) = record(&shared, request);
        let sent = answer_with(&mut socket, &answer).await;
        {
            let mut state = shared.state();
            let request = state
                .requests
                .get_mut(index)
                .expect("requests are never removed");
            request.ended = Some(Instant::now());
            request.answered = sent;
        }
        shared.changes.send_modify(|changes| *changes += 1);
        if sent.is_none() || matches!(answer, Answer::Raw(_)) {
            return;
        }
    }
}

/// Files a request and decides on its answer.
fn record(shared: &Shared, mut request: Request) -> (usize, Answer) {
    let mut state = shared.state();
    let nth = state.per_path.entry(Arc::clone(&request.path)).or_default();
    request.nth = *nth;
    *nth += 1;
    let answer = match state.scripts.get(&*request.path) {
        Some(script) => script(&request),
        None => Answer::Status(204),
    };
    state.requests.push(request);
    let index = state.requests.len() - 1;
    drop(state);
    shared.changes.send_modify(|changes| *changes += 1);
    (index, answer)
}

/// Returns the status that went out; `None` where none did and the connection is to be closed.
async fn answer_with(socket: &mut TcpStream, answer: &Answer) -> Option<u16> {
    let (status, headers) = match answer {
        Answer::Status(status) => (*status, Vec::new()),
        Answer::With(status, headers) => (*status, headers.clone()),
        Answer::Hold(gate, status) => {
            tokio::select! {
                biased;
                // Who asked has given up, or was killed: then nothing was accepted.
                () = closed(socket) => return None,
                () = gate.pass() => (*status, Vec::new()),
            }
        }
        Answer::Close => return None,
        Answer::Raw(bytes) => {
            let sent = socket.write_all(bytes.as_bytes()).await;
            return sent.is_ok().then_some(0);
        }
    };
    let mut head = format!("HTTP/1.1 {status} .\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if status != 204 {
        head.push_str("content-length: 0\r\n");
    }
    head.push_str("\r\n");
    socket
        .write_all(head.as_bytes())
        .await
        .ok()
        .map(|()| status)
}

/// Returns once the other side has closed the connection.
async fn closed(socket: &TcpStream) {
    let mut byte = [0];
    if socket.peek(&mut byte).await.is_ok_and(|bytes| bytes > 0) {
        // The next request is here already, so the other side lives.
        std::future::pending::<()>().await;
    }
}

/// Reads one request; `None` where the connection ends before it is complete.
async fn read_request(socket: &mut TcpStream, buffer: &mut BytesMut) -> Option<Request> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        more(socket, buffer).await?;
    };
    let head = buffer.split_to(head_end + 4).freeze();
    let mut lines = head
        .split(|byte| *byte == b'\n')
        .map(|line| line.trim_ascii());
    let first = String::from_utf8(lines.next()?.to_vec()).ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        let name = String::from_utf8(name.to_ascii_lowercase()).ok()?;
        headers.push((name, value.get(1..)?.trim_ascii().to_vec()));
    }
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(Some(0), |(_, value)| {
            std::str::from_utf8(value).ok()?.parse::<usize>().ok()
        })?;
    while buffer.len() < length {
        more(socket, buffer).await?;
    }
    Some(Request {
        path: path.into(),
        headers: headers.into(),
        body: buffer.split_to(length).freeze(),
        at: Instant::now(),
        at_ms: super::now_ms(),
        nth: 0,
        answered: None,
        ended: None,
    })
}

async fn more(socket: &mut TcpStream, buffer: &mut BytesMut) -> Option<()> {
    let bytes = socket.read_buf(buffer).await.ok()?;
    (bytes > 0).then_some(())
}
