//! Receivers that speak raw TCP, so that they can misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A request as it came over the wire.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// The value of a header, in the letters of the wire.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// A receiver on a port of its own; it ends when it is dropped.
pub(super) struct Receiver {
    pub(super) port: u16,
    connections: Arc<AtomicUsize>,
    requests: mpsc::UnboundedReceiver<Request>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Serves each connection with `serve`, which gets the connection's number from 0.
    pub(super) async fn start<F>(serve: impl Fn(Connection, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("address").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let (seen, requests) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let seen = seen.clone();
                tokio::spawn(serve(Connection { stream, seen }, number));
            }
        });
        Self {
            port,
            connections,
            requests,
            task,
        }
    }

    /// Answers each request with `answer`.
    pub(super) async fn answering(answer: &'static str) -> Self {
        Self::start(move |mut connection, _| async move {
            while connection.request().await {
                connection.write(answer.as_bytes()).await;
            }
        })
        .await
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hooks?x=1", self.port)
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The next request that came, without waiting.
    pub(super) fn take(&mut self) -> Option<Request> {
        self.requests.try_recv().ok()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) struct Connection {
    pub(super) stream: TcpStream,
    seen: mpsc::UnboundedSender<Request>,
}

impl Connection {
    /// Reads one request and notes it; `false` at the connection's end.
    pub(super) async fn request(&mut self) -> bool {
        match read_request(&mut self.stream).await {
            Some(request) => self.seen.send(request).is_ok(),
            None => false,
        }
    }

    /// Writes as much as the other side takes.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> bool {
        write(&mut self.stream, bytes).await
    }

    /// Closes with a reset in place of an end.
    pub(super) fn reset(self) {
        self.stream.set_zero_linger().expect("linger");
    }
}

pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> bool {
    stream.write_all(bytes).await.is_ok() && stream.flush().await.is_ok()
}

/// Reads a head and as many bytes as its `content-length` says.
pub(super) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let mut request = Request {
        head: String::from_utf8(head).expect("UTF-8"),
        body: Vec::new(),
    };
    let length = request
        .header("content-length")
        .map_or(0, |length| length.parse().expect("a number"));
    request.body.resize(length, 0);
    stream.read_exact(&mut request.body).await.ok()?;
    Some(request)
}
