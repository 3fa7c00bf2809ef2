//! Connections that end when their client is too slow.
//!
//! Sits between the listener and the HTTP server and watches when bytes come and go; it reads none of them.
//! A request must be whole soon after its first byte, an answer taken soon after its first, and a connection that asks
//! nothing is closed. The server answers at once, so a request that stays without an answer is one that never came
//! whole.
//!
//! Invariant: at most [`Limits::connections`] are open; further ones wait in the system's queue.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a client may take, and how many there may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// From a request's first byte to its last.
    pub(super) request: Duration,
    /// From an answer's first byte to its last.
    pub(super) response: Duration,
    /// Without a request; longer than scrapers wait between two.
    pub(super) idle: Duration,
    /// Open at once.
    pub(super) connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(10),
            response: Duration::from_secs(30),
            idle: Duration::from_secs(90),
            connections: 128,
        }
    }
}

/// A listener whose connections are [`Watched`].
#[derive(Debug)]
pub(super) struct Limited {
    listener: TcpListener,
    limits: Limits,
    free: Arc<Semaphore>,
}

impl Limited {
    pub(super) fn new(listener: TcpListener, limits: Limits) -> Self {
        Self {
            listener,
            limits,
            free: Arc::new(Semaphore::new(limits.connections)),
        }
    }
}

impl Listener for Limited {
    type Io = Watched<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let permit = Arc::clone(&self.free)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Watched::new(stream, self.limits, Some(permit)), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// What a connection is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was asked.
    Idle,
    /// A request has begun.
    Request,
    /// An answer has begun; what follows it is either the next request or nothing.
    Response,
}

/// A stream that breaks with `TimedOut` when its client is too slow.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    limits: Limits,
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// When something was written last, for the idle time after an answer.
    written: Instant,
    /// The client does not take what is written.
    blocked: bool,
    alarm: Pin<Box<Sleep>>,
    /// Given back when the connection is dropped.
    _permit: Option<OwnedSemaphorePermit>,
}

impl<S> Watched<S> {
    fn new(stream: S, limits: Limits, permit: Option<OwnedSemaphorePermit>) -> Self {
        let now = Instant::now();
        Self {
            stream,
            limits,
            phase: Phase::Idle,
            since: now,
            written: now,
            blocked: false,
            alarm: Box::pin(sleep_until(now + limits.request)),
            _permit: permit,
        }
    }

    fn enter(&mut self, phase: Phase) {
        if self.phase != phase {
            self.phase = phase;
            self.since = Instant::now();
        }
    }

    fn deadline(&self) -> Instant {
        match self.phase {
            // Nobody connects for later: the first request must come soon, too.
            Phase::Idle | Phase::Request => self.since + self.limits.request,
            Phase::Response if self.blocked => self.since + self.limits.response,
            Phase::Response => self.written + self.limits.idle,
        }
    }

    /// Breaks the connection once its deadline has passed, and wakes the task then.
    ///
    /// Reading and writing share the alarm: both are polled by the connection's one task.
    fn expire(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let deadline = self.deadline();
        if self.alarm.deadline() != deadline {
            self.alarm.as_mut().reset(deadline);
        }
        self.alarm.as_mut().poll(cx).map(|()| too_slow())
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client is too slow")
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if let Poll::Ready(done) = Pin::new(&mut this.stream).poll_read(cx, buffer) {
            if buffer.filled().len() > before {
                this.enter(Phase::Request);
            }
            // A client that drips is never pending when asked; its deadline holds all the same.
            if this.phase == Phase::Request && Instant::now() >= this.deadline() {
                return Poll::Ready(Err(too_slow()));
            }
            return Poll::Ready(done);
        }
        this.expire(cx).map(Err)
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    /// What follows from a try to write `done`: the phase, or the end of patience.
    fn wrote(
        &mut self,
        done: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.enter(Phase::Response);
        self.blocked = done.is_pending();
        if let Poll::Ready(done) = done {
            self.written = Instant::now();
            return Poll::Ready(done);
        }
        self.expire(cx).map(Err)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.wrote(done, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.wrote(done, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A client and its watched connection, with room for 8 bytes on the way.
    fn pair() -> (DuplexStream, Watched<DuplexStream>) {
        let (client, server) = duplex(8);
        (client, Watched::new(server, Limits::default(), None))
    }

    fn timed_out<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_nothing_is_closed() {
        let (_client, mut connection) = pair();
        let start = Instant::now();
        assert!(timed_out(connection.read_u8().await));
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_drips_is_closed_although_it_never_stops() {
        let (mut client, mut connection) = pair();
        let start = Instant::now();
        loop {
            client
                .write_all(b"x")
                .await
                .expect("the connection is open");
            if timed_out(connection.read_u8().await) {
                break;
            }
            advance(SECOND).await;
        }
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_is_closed() {
        let (mut client, mut connection) = pair();
        client.write_all(b"get").await.expect("open");
        connection.read_exact(&mut [0; 3]).await.expect("it came");
        let start = Instant::now();
        assert!(timed_out(connection.write_all(&[0; 64]).await));
        assert_eq!(start.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_scraper_keeps_its_connection_from_one_minute_to_the_next() {
        let (mut client, mut connection) = pair();
        for _ in 0..5 {
            client.write_all(b"get").await.expect("open");
            connection.read_exact(&mut [0; 3]).await.expect("in time");
            connection.write_all(b"answer").await.expect("room for it");
            client.read_exact(&mut [0; 6]).await.expect("it came");
            advance(60 * SECOND).await;
        }
        let start = Instant::now();
        assert!(timed_out(connection.read_u8().await));
        assert_eq!(start.elapsed().as_secs(), 30, "90 s after the last answer");
    }

    #[tokio::test]
    async fn a_closed_connection_makes_room_for_the_next() {
        let limits = Limits {
            connections: 1,
            ..Limits::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut listener = Limited::new(listener, limits);
        let address = listener.local_addr().expect("bound");
        let _first_client = TcpStream::connect(address).await.expect("listening");
        let _second_client = TcpStream::connect(address).await.expect("listening");
        let (first, _) = listener.accept().await;
        assert_eq!(listener.free.available_permits(), 0);
        let mut second = Box::pin(listener.accept());
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        drop(first);
        second.await;
    }
}
