//! A destination whose document is valid and whose sink is ready to send.

use super::Sink;
use crate::domain::destination::Destination;

/// A destination as of one version of its document.
#[derive(Debug)]
pub struct Prepared {
    /// The document.
    pub destination: Destination,
    /// What speaks its protocol.
    pub sink: Sink,
    /// The document's offset in `destinations`: its version.
    pub document_offset: i64,
}
