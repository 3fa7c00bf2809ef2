//! What is wrong with a document, and where.

use std::fmt;

use serde::Serialize;

/// One mistake in a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// JSON pointer to it; empty: the document as a whole.
    pub pointer: String,
    /// What was found and what is allowed.
    pub message: String,
}

impl Fault {
    /// A mistake at `pointer`.
    #[must_use]
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            message: message.into(),
        }
    }

    /// The same mistake, seen from a document that has this one at the JSON pointer `parent`.
    #[must_use]
    pub fn below(mut self, parent: &str) -> Self {
        self.pointer.insert_str(0, parent);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.pointer, self.message)
        }
    }
}

/// The mistakes found so far.
///
/// Invariant: nothing is added at or below a value that is known to be wrong; what stands there now is a stand-in.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Fault>);

impl Findings {
    /// Goes on from `faults`.
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        Self(faults)
    }

    /// Adds a mistake, unless the value at `pointer` is known to be wrong already.
    pub(crate) fn add(&mut self, pointer: &str, message: impl Into<String>) {
        let known = self
            .0
            .iter()
            .any(|fault| !fault.pointer.is_empty() && contains(&fault.pointer, pointer));
        if !known {
            self.0.push(Fault::new(pointer, message));
        }
    }

    /// Whether nothing is wrong at, above or below `pointer`; rules over several values ask for each of them.
    pub(crate) fn clean(&self, pointer: &str) -> bool {
        !self.0.iter().any(|fault| {
            !fault.pointer.is_empty()
                && (contains(&fault.pointer, pointer) || contains(pointer, &fault.pointer))
        })
    }

    /// All of them.
    pub(crate) fn into_vec(self) -> Vec<Fault> {
        self.0
    }
}

/// Whether `inner` is `outer` or stands below it.
pub(crate) fn contains(outer: &str, inner: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The JSON pointer of the member `key` of what is at `parent` (RFC 6901, section 3).
pub(crate) fn child(parent: &str, key: &str) -> String {
    format!("{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The JSON pointer of what holds the value at `pointer`; `None` for the whole.
pub(crate) fn parent(pointer: &str) -> Option<&str> {
    pointer.rsplit_once('/').map(|(parent, _)| parent)
}
