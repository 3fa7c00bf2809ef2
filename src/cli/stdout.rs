//! Standard output whose reader may go away, as in `posthaste … | head`.
//!
//! Invariant: everything that the program prints on standard output goes through here; a command that finds it closed ends
//! at once, quietly, with exit code 0.

use std::io::{self, ErrorKind, Write};

/// Standard output.
#[derive(Debug, Default)]
pub struct Stdout;

/// Nobody reads standard output any more. Told from other broken pipes by its type.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
struct Closed;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stdout().write(bytes).map_err(told)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush().map_err(told)
    }
}

/// An error of writing to standard output, as [`is_closed`] knows it again.
#[must_use]
pub fn told(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::BrokenPipe => io::Error::new(ErrorKind::BrokenPipe, Closed),
        _ => error,
    }
}

/// Whether a command ended because nobody reads its output any more.
#[must_use]
pub fn is_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let error = cause.downcast_ref::<io::Error>();
        error
            .and_then(io::Error::get_ref)
            .is_some_and(|inner| inner.is::<Closed>())
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_closed_standard_output_is_told_from_other_broken_pipes() {
        let broken = || io::Error::from(ErrorKind::BrokenPipe);
        let closed = Err::<(), _>(told(broken()))
            .context("the list")
            .expect_err("closed");
        assert!(is_closed(&closed));
        assert!(!is_closed(&broken().into()), "a connection");
        assert!(!is_closed(
            &told(io::Error::from(ErrorKind::StorageFull)).into()
        ));
        assert!(!is_closed(&anyhow::anyhow!("another")));
    }
}
