//! Leaves nothing behind, even where the test binary is killed.
//!
//! A process of `tests/services/guard` reads from a pipe what this binary has started. When the pipe closes (this binary
//! has ended, however), it ends those processes and deletes those folders.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};

/// The guard; a static is never dropped, so the pipe to it closes with this process.
static GUARD: LazyLock<Mutex<Child>> = LazyLock::new(|| {
    let guard = Command::new(super::services().join("guard"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Mutex::new(guard.expect("tests/services/guard starts"))
});

fn tell(line: &str) {
    let mut guard = GUARD.lock().expect("no writer panics");
    let pipe = guard.stdin.as_mut().expect("its input is a pipe");
    writeln!(pipe, "{line}").expect("the guard reads until the end");
}

/// Has the process ended when this binary ends.
pub(crate) fn process(pid: u32) {
    tell(&format!("process {pid}"));
}

/// Takes [`process`] back: this one has ended, another process may get its id.
pub(crate) fn ended(pid: u32) {
    tell(&format!("ended {pid}"));
}

/// Has the folder deleted when this binary ends.
pub(crate) fn folder(path: &Path) {
    tell(&format!("folder {}", path.display()));
}
