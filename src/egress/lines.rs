//! `posthaste egress`: judges one URL a line.
//!
//! Invariant: answers come in the order of the lines, and no bytes of a line stop the run.

use std::io;

use futures_util::stream::{self, Stream};
use futures_util::{FutureExt, StreamExt};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};

use super::{Guard, Refusal};

/// Names that are resolved at once.
const AT_ONCE: usize = 32;

/// The bytes of a line that are kept; a longer one is no URL, and its rest is not repeated.
const LINE_MAX: usize = 64 * 1024;

/// Reads one URL a line and writes `allowed` or `refused <reason>`, a tab, and the line as given. Empty lines are
/// skipped. What is ready is flushed whenever nothing more is.
///
/// # Errors
/// If `input` cannot be read or `output` cannot be written.
pub async fn run_lines(
    guard: &Guard,
    input: impl AsyncBufRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let answers = lines(input)
        .map(async |line| {
            let line = line?;
            let answer = answer(guard, &line).await;
            Ok::<_, io::Error>([answer.as_bytes(), b"\t", &line, b"\n"].concat())
        })
        .buffered(AT_ONCE);
    let mut answers = std::pin::pin!(answers);
    loop {
        let next = match answers.next().now_or_never() {
            Some(next) => next,
            None => {
                output.flush().await?;
                answers.next().await
            }
        };
        match next {
            Some(answer) => output.write_all(&answer?).await?,
            None => return output.flush().await,
        }
    }
}

async fn answer(guard: &Guard, line: &[u8]) -> String {
    let verdict = match std::str::from_utf8(line) {
        Ok(text) => guard.judge(text).await.err(),
        Err(_not_utf8) => Some(Refusal::Malformed),
    };
    match verdict {
        None => "allowed".to_owned(),
        Some(refusal) => format!("refused {}", refusal.reason()),
    }
}

/// The lines of `input` that are not empty, without their ends.
fn lines(input: impl AsyncBufRead + Unpin) -> impl Stream<Item = io::Result<Vec<u8>>> {
    stream::unfold(Some(input), async |state| {
        let mut input = state?;
        loop {
            match line(&mut input).await {
                Ok(Some(line)) if line.is_empty() => {}
                Ok(Some(line)) => return Some((Ok(line), Some(input))),
                Ok(None) => return None,
                Err(error) => return Some((Err(error), None)),
            }
        }
    })
}

/// The next line without `\n` or `\r\n`, cut to [`LINE_MAX`]; `None` at the end.
async fn line(input: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut begun = false;
    loop {
        let available = input.fill_buf().await?;
        if available.is_empty() {
            return Ok(begun.then_some(line));
        }
        begun = true;
        let (part, used, ended) = match available.iter().position(|byte| *byte == b'\n') {
            Some(end) => (available.get(..end).unwrap_or_default(), end + 1, true),
            None => (available, available.len(), false),
        };
        let room = LINE_MAX.saturating_sub(line.len()).min(part.len());
        line.extend_from_slice(part.get(..room).unwrap_or_default());
        input.consume(used);
        if ended {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(Some(line));
        }
    }
}
