//! Leaves nothing behind, even where the test binary is killed.
//!
//! A process of `tests/services/guard` reads from a pipe what this binary has started. When the pipe closes (this binary
//! has ended, however), it ends those processes and deletes those folders.

use std::io::Write as _;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex};

/// The pipe; a static is never dropped, so it closes with the process.
static PIPE: LazyLock<Mutex<ChildStdin>> = LazyLock::new(|| {
    let mut guard = Command::new(super::services().join("guard"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("tests/services/guard starts");
    Mutex::new(guard.stdin.take().expect("its input is a pipe"))
});

fn tell(line: &str) {
    let mut pipe = PIPE.lock().expect("no writer panics");
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
