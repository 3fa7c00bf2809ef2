//! A TCP proxy between two sides whose network a test breaks.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::receiver::RUNTIME;

/// What becomes of bytes between the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// They pass.
    Open,
    /// Connections are reset, new ones as soon as they are made.
    Reset,
    /// Connections are closed, new ones as soon as they are made.
    Closed,
    /// Nothing passes, and nobody is told.
    Silent,
    /// Each piece is late by so much.
    Slow(Duration),
}

/// Passes connections from its port on, on threads of its own. Ends, with all connections, when dropped.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    network: watch::Sender<Network>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on `port` (0: any that is free) and connects to `upstream` for each connection.
    pub(crate) async fn start(port: u16, upstream: SocketAddr) -> Self {
        let network = watch::Sender::new(Network::Open);
        let watched = network.clone();
        let (tell, told) = tokio::sync::oneshot::channel();
        let task = RUNTIME.spawn(async move {
            let listener = TcpListener::bind(("127.0.0.1", port)).await;
            let listener = listener.expect("the port is free");
            tell.send(listener.local_addr().expect("an address"))
                .expect("start waits for it");
            loop {
                let (socket, _) = listener.accept().await.expect("a connection");
                RUNTIME.spawn(connect(socket, upstream, watched.subscribe()));
            }
        });
        let address = told.await.expect("the proxy tells its address");
        Self {
            address,
            network,
            task,
        }
    }

    /// Changes the network, also for connections that exist.
    pub(crate) fn set(&self, network: Network) {
        self.network.send_replace(network);
    }

    /// Changes the network, and opens it again after `time`.
    pub(crate) async fn set_for(&self, network: Network, time: Duration) {
        self.set(network);
        tokio::time::sleep(time).await;
        self.set(Network::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.set(Network::Closed);
    }
}

/// Passes one connection on until either side or the network ends it.
async fn connect(mut near: TcpStream, upstream: SocketAddr, mut network: watch::Receiver<Network>) {
    let open = |network: &Network| !matches!(network, Network::Reset | Network::Closed);
    if open(&network.borrow_and_update())
        && let Ok(mut far) = TcpStream::connect(upstream).await
    {
        let (near_in, near_out) = near.split();
        let (far_in, far_out) = far.split();
        let mut broken = network.clone();
        tokio::select! {
            () = pass(near_in, far_out, network.clone()) => {}
            () = pass(far_in, near_out, network.clone()) => {}
            _ = broken.wait_for(|network| !open(network)) => {}
        }
        end(&far, *network.borrow());
    }
    end(&near, *network.borrow());
}

/// Has a socket end with a reset where the network says so.
fn end(socket: &TcpStream, network: Network) {
    if network == Network::Reset {
        socket.set_zero_linger().expect("a socket");
    }
}

/// Passes bytes on in one direction until that ends.
async fn pass(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut network: watch::Receiver<Network>,
) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut piece).await {
        let passes = network.wait_for(|network| *network != Network::Silent);
        let late = match passes.await.as_deref() {
            Ok(Network::Slow(late)) => *late,
            Ok(_) => Duration::ZERO,
            Err(_ended) => return,
        };
        tokio::time::sleep(late).await;
        let piece = piece.get(..bytes).expect("it was read");
        if to.write_all(piece).await.is_err() {
            return;
        }
    }
}
