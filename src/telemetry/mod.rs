//! What a person sees of a running instance: logs, metrics, readiness.
//!
//! Every part reports here; [`crate::admin`] serves it. Nothing here decides anything.
//!
//! Invariant: no label value and no log field holds a payload, a secret or a URL with credentials.

pub mod logs;
pub mod metrics;
pub mod readiness;

use std::error::Error;
use std::fmt::Write as _;

/// An error with all its causes in one line: `a: b: c`.
///
/// For the one place where an error is handled; messages do not repeat their cause themselves.
#[must_use]
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String cannot fail.
        write!(line, ": {error}").expect("a String takes everything");
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{what}")]
    struct Step {
        what: &'static str,
        source: Option<Box<Step>>,
    }

    #[test]
    fn a_chain_names_every_cause_once_in_order() {
        let step = |what, source: Option<Step>| Step {
            what,
            source: source.map(Box::new),
        };
        let error = step("a", Some(step("b", Some(step("c", None)))));
        assert_eq!(error_chain(&error), "a: b: c");
        assert_eq!(error_chain(&step("alone", None)), "alone");
    }
}
