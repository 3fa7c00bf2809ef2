//! Sinks: code that speaks one protocol each, and the registry that finds one by its `type`.
//!
//! The object `sink` of a destination comes in as JSON and becomes a value that is ready to send; an event goes out
//! over the network and comes back as a report.
//!
//! Invariant: a sink that was parsed needs no further checks but those that depend on the moment of the send.

#![cfg_attr(
    not(feature = "sink-webhook"),
    allow(unused, reason = "no sink is built that uses it")
)]

mod fields;
#[cfg(feature = "sink-webhook")]
pub mod prepared;
pub mod webhook;

use std::sync::Arc;

use schemars::{Schema, json_schema};
use serde_json::Value;

use crate::config::faults::Fault;
use crate::config::settings::Settings;
use crate::domain::attempt::Report;
use crate::domain::event::Event;
use crate::domain::ids::DestinationId;
use crate::egress::Guard;

/// What `type` may be, and whether this build has it.
const TYPES: [(&str, bool); 7] = [
    ("webhook", cfg!(feature = "sink-webhook")),
    ("sqs", false),
    ("eventbridge", false),
    ("pubsub", false),
    ("kafka", false),
    ("rabbitmq", false),
    ("hookdeck", false),
];

/// The kinds of sinks that this build has.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    TYPES
        .iter()
        .filter(|(_, built)| *built)
        .map(|(kind, _)| *kind)
}

/// The sink of one destination, ready to send.
#[derive(Debug)]
pub enum Sink {
    /// HTTP, signed as Standard Webhooks are.
    #[cfg(feature = "sink-webhook")]
    Webhook(Box<webhook::Webhook>),
}

/// One attempt that is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// What is sent.
    pub event: &'a Event,
    /// To whom.
    pub destination: &'a DestinationId,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// The name of the replay that it belongs to.
    pub replay: Option<&'a str>,
    /// The time of the attempt, in milliseconds since 1970.
    pub now_ms: i64,
}

/// The clients that all destinations share.
#[derive(Debug)]
pub struct Clients {
    #[cfg(feature = "sink-webhook")]
    webhook: webhook::Client,
}

/// Clients that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientsError {
    /// The HTTP client: in practice the system has no certificate authorities.
    #[error(
        "no HTTP client could be made; it needs the system's certificate authorities (package `ca-certificates`, or the \
         environment variable SSL_CERT_FILE)"
    )]
    Http(#[source] reqwest::Error),
}

impl Clients {
    /// Makes them; takes some milliseconds.
    ///
    /// # Errors
    /// If the system lacks what TLS needs.
    pub fn new(settings: &Settings, guard: Arc<Guard>) -> Result<Self, ClientsError> {
        Ok(Self {
            #[cfg(feature = "sink-webhook")]
            webhook: webhook::Client::new(settings, guard)?,
        })
    }
}

impl Sink {
    /// Reads the object `sink` of a destination.
    ///
    /// # Errors
    /// All mistakes in it, with pointers into the destination (`/sink/url`). They repeat no secret.
    pub fn parse(sink: &Value, settings: &Settings) -> Result<Self, Vec<Fault>> {
        let kind = match sink.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(_) => return Err(vec![Fault::new("/sink/type", "must be a string")]),
            None if sink.is_object() => {
                let message = format!("is missing; write one of {}", known());
                return Err(vec![Fault::new("/sink/type", message)]);
            }
            None => return Err(vec![Fault::new("/sink", "must be an object")]),
        };
        match kind {
            #[cfg(feature = "sink-webhook")]
            "webhook" => webhook::Webhook::parse(sink, settings)
                .map(|webhook| Self::Webhook(Box::new(webhook))),
            _ => Err(vec![Fault::new("/sink/type", not_built(kind))]),
        }
    }

    /// Judges its addresses by the operator's settings, for people who write documents. Every send is judged again; a
    /// document stays valid when the operator's settings change, so that its events are refused one by one and not lost.
    ///
    /// # Errors
    /// What may not be sent to.
    pub fn check_egress(&self, guard: &Guard) -> Result<(), Fault> {
        match *self {
            #[cfg(feature = "sink-webhook")]
            Self::Webhook(ref webhook) => webhook.check_egress(guard),
        }
    }

    /// The sink's `type`, for logs, metrics and records.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match *self {
            #[cfg(feature = "sink-webhook")]
            Self::Webhook(_) => "webhook",
        }
    }

    /// Makes one attempt. It ends within the destination's time limit, whatever the receiver does.
    ///
    /// # Cancel safety
    /// A send that is dropped may have been received; nothing else is lost.
    pub async fn send(&self, clients: &Clients, outgoing: Outgoing<'_>) -> Report {
        match *self {
            #[cfg(feature = "sink-webhook")]
            Self::Webhook(ref webhook) => webhook.send(&clients.webhook, outgoing).await,
        }
    }
}

fn known() -> String {
    let names = TYPES.iter().filter(|(_, built)| *built);
    names
        .map(|(name, _)| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn not_built(kind: &str) -> String {
    if TYPES.iter().any(|(name, _)| *name == kind) {
        format!("\"type\": \"{kind}\" is not supported yet")
    } else {
        let shown: String = kind.chars().take(80).collect();
        format!("`{shown}` is no type of sink; write one of {}", known())
    }
}

/// The JSON Schema of the object `sink`: one of all types that are built. It refers to nothing outside itself.
#[must_use]
pub fn schema() -> Schema {
    let types: Vec<Schema> = vec![
        #[cfg(feature = "sink-webhook")]
        webhook::schema(),
    ];
    json_schema!({ "oneOf": types })
}

#[cfg(test)]
mod tests;
