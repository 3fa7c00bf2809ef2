//! Why a broker does not answer: a client says it in events only, a question just runs into its time limit.

use std::sync::{Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use crate::kafka::client;
use crate::kafka::errors::{self, Kind};

/// Remembers the first reason that a client gives for its trouble since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Eyes {
    reason: Mutex<Option<(Kind, String)>>,
}

impl Eyes {
    /// Forgets what it remembers.
    pub(super) fn forget(&self) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The kind of trouble and the reason, if there was any.
    pub(super) fn seen(&self) -> (Option<Kind>, Option<String>) {
        match &*self.reason.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((kind, reason)) => (Some(*kind), Some(reason.clone())),
            None => (None, None),
        }
    }
}

impl ClientContext for Eyes {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        client::forward_log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let kind = errors::kind(&error);
        let down = errors::code(&error) == Some(RDKafkaErrorCode::AllBrokersDown);
        let mut kept = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        // "All brokers down" explains nothing; that we are refused explains more than that we are cut off.
        if !down && (kept.is_none() || kind == Kind::Auth) {
            *kept = Some((kind, reason.to_owned()));
        }
        drop(kept);
        client::forward_error(&error, reason);
    }
}

impl ProducerContext for Eyes {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, _: Self::DeliveryOpaque) {}
}
