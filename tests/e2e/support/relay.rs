//! A TCP relay before a server: shut, as if nobody listened, or mute, as if the server never answered.

use std::net::SocketAddr;
use std::sync::LazyLock;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::free_port;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("relays")
        .enable_all()
        .build()
        .expect("a runtime")
});

/// What a relay does with connections, those that are open too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Forwards both ways.
    Open,
    /// Holds back what the server says, until it is open again.
    Mute,
    /// Closes all, and refuses new ones.
    Shut,
}

/// One relay; ends when dropped.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    mode: watch::Sender<Mode>,
    task: JoinHandle<()>,
}

impl Relay {
    /// An open relay to `server`, on a port of its own.
    pub(crate) fn to(server: SocketAddr) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (mode, told) = watch::channel(Mode::Open);
        let task = RUNTIME.spawn(listen(address, server, told));
        Self {
            address,
            mode,
            task,
        }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(address: SocketAddr, server: SocketAddr, mut mode: watch::Receiver<Mode>) {
    while mode.wait_for(|mode| *mode != Mode::Shut).await.is_ok() {
        let listener = TcpListener::bind(address).await.expect("the relay's port");
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _shut = shut(mode.clone()) => break,
            };
            let (client, _) = accepted.expect("a connection");
            RUNTIME.spawn(forward(client, server, mode.clone()));
        }
    }
}

/// Returns once the relay is shut or gone.
async fn shut(mut mode: watch::Receiver<Mode>) -> bool {
    mode.wait_for(|mode| *mode == Mode::Shut).await.is_err()
}

async fn forward(client: TcpStream, server: SocketAddr, mode: watch::Receiver<Mode>) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _gone = shut(mode.clone()) => {}
        () = copy(from_client, to_server, None) => {}
        () = copy(from_server, to_client, Some(mode)) => {}
    }
}

/// Copies until either side ends; with a mode, only while it is open.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: Option<watch::Receiver<Mode>>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(bytes) = from.read(&mut buffer).await {
        if let Some(mode) = &mut mode
            && mode.wait_for(|mode| *mode == Mode::Open).await.is_err()
        {
            return;
        }
        let sent = buffer.get(..bytes).unwrap_or_default();
        if bytes == 0 || to.write_all(sent).await.is_err() {
            return;
        }
    }
}
