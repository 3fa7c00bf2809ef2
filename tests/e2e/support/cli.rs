//! The commands beside `serve`, run to their end.

use std::path::Path;
use std::process::{Output, Stdio};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::wait::LIMIT;

/// What a command left.
#[derive(Debug)]
pub(crate) struct Done {
    /// The exit code; -1 where a signal ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// All that it printed.
    pub(crate) fn text(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }

    /// Asserts the exit code and that all words were printed.
    pub(crate) fn says(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:#?}");
        for word in words {
            assert!(
                self.text().contains(word),
                "`{word}` is missing in {self:#?}"
            );
        }
    }

    /// What it printed to standard output, as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }
}

/// Runs `posthaste ARGUMENTS` with `input` as its standard input.
pub(crate) async fn posthaste(arguments: &[&str], input: &str) -> Done {
    let mut child = Command::new(env!("CARGO_BIN_EXE_posthaste"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    // A command that does not read its input may have closed it already.
    if let Err(error) = stdin.write_all(input.as_bytes()).await {
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "{error}");
    }
    drop(stdin);
    let output = timeout(LIMIT, child.wait_with_output()).await;
    let output: Output = output
        .unwrap_or_else(|_elapsed| panic!("{arguments:?} did not end within {LIMIT:?}"))
        .expect("its output can be read");
    Done {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs `posthaste ARGUMENTS` as `… | head -1` would: reads one line of its output and closes it.
pub(crate) async fn head(arguments: &[&str], input: &str) -> Done {
    let mut child = Command::new(env!("CARGO_BIN_EXE_posthaste"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    let mut output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
    let mut stdout = String::new();
    let run = async {
        let read = async {
            output.read_line(&mut stdout).await.expect("a line");
            drop(output);
        };
        let write = async {
            if let Err(error) = stdin.write_all(input.as_bytes()).await {
                assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "{error}");
            }
            drop(stdin);
        };
        tokio::join!(read, write);
        child.wait_with_output().await
    };
    let ended = timeout(LIMIT, run).await;
    let ended = ended
        .unwrap_or_else(|_elapsed| panic!("{arguments:?} did not end within {LIMIT:?}"))
        .expect("its output can be read");
    Done {
        code: ended.status.code().unwrap_or(-1),
        stdout,
        stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}

/// Runs `posthaste ARGUMENTS --config FILE`.
pub(crate) async fn with_config(config: &Path, arguments: &[&str], input: &str) -> Done {
    let config = config.to_str().expect("a path in UTF-8");
    posthaste(&[arguments, &["--config", config]].concat(), input).await
}
