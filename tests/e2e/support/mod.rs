//! What the end-to-end tests stand on: a real Kafka, a real receiver, the real binary, and ways to wait without sleeping.

pub(crate) mod account;
pub(crate) mod aws;
pub(crate) mod cli;
pub(crate) mod events;
pub(crate) mod guard;
pub(crate) mod hostile;
pub(crate) mod kafka;
pub(crate) mod load;
pub(crate) mod metrics;
pub(crate) mod posthaste;
pub(crate) mod proxy;
pub(crate) mod pubsub;
pub(crate) mod rabbitmq;
pub(crate) mod receiver;
pub(crate) mod records;
pub(crate) mod relay;
pub(crate) mod scene;
pub(crate) mod settings;
pub(crate) mod signature;
pub(crate) mod wait;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// `tests/services`.
pub(crate) fn services() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services")
}

/// A folder of this run for logs and settings; what fails is looked for there.
pub(crate) fn run_folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e");
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

/// A name that no other test, of this run or an earlier one, has: `<what>-<ms since 1970, hex>-<n>`.
pub(crate) fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{what}-{:x}-{}",
        now_ms(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Sends a signal, such as `STOP`, to a process that a test started.
pub(crate) fn signal(pid: u32, name: &str) {
    let sent = std::process::Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status();
    assert!(
        sent.expect("kill runs").success(),
        "the process {pid} runs until it is told to end"
    );
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the year 292 million")
}

/// A port that nobody listens on.
///
/// Invariant: given out once by this binary, and from below the range of outgoing connections, so that it is still free
/// when the one that asked binds it; from where no port is of those that the guard keeps from destinations.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 17_000 + u16::try_from(std::process::id() % 80).expect("below 80") * 90;
    for _ in 0..2000 {
        let port = start + NEXT.fetch_add(1, Ordering::Relaxed) % 2000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port from {start} on is free");
}
