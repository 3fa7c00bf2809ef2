//! Sinks: code that speaks one protocol each, and the registry that finds one by its `type`.
//!
//! The object `sink` of a destination comes in as JSON and becomes a value that is ready to send; an event goes out
//! over the network and comes back as a report.
//!
//! Invariant: a sink that was parsed needs no further checks but those that depend on the moment of the send.

#![cfg_attr(
    not(feature = "default"),
    allow(unused, reason = "what only sinks use that are left out")
)]

mod attributes;
#[cfg(any(feature = "sink-sqs", feature = "sink-eventbridge"))]
mod aws;
mod batch;
mod cache;
mod cloudevents;
mod fields;
mod http;
pub mod prepared;

use std::sync::Arc;

use schemars::{Schema, json_schema};
use serde_json::Value;

use crate::config::faults::Fault;
use crate::config::settings::Settings;
use crate::domain::attempt::Report;
use crate::domain::event::Event;
use crate::domain::ids::DestinationId;
use crate::egress::Guard;

/// The registry: one line for each sink, from its feature and `type` to its folder and its type.
///
/// A sink's folder holds `parse`, `check_egress` and `send` of its type, a `Client` that all its destinations share, and
/// `schema`: the part of a destination's JSON Schema that describes its settings.
macro_rules! registry {
    ($($feature:literal $kind:literal $module:ident::$sink:ident;)*) => {
        $(
            #[cfg(feature = $feature)]
            pub mod $module;
        )*

        /// What `type` may be, and whether this build has it.
        const TYPES: &[(&str, bool)] = &[$(($kind, cfg!(feature = $feature)),)*];

        /// The sink of one destination, ready to send.
        #[derive(Debug)]
        pub enum Sink {
            $(
                #[doc = concat!("`", $kind, "`")]
                #[cfg(feature = $feature)]
                $sink(Box<$module::$sink>),
            )*
        }

        /// The clients that all destinations share.
        #[derive(Debug)]
        pub struct Clients {
            $(
                #[cfg(feature = $feature)]
                $module: $module::Client,
            )*
        }

        impl Clients {
            /// Makes them; takes some milliseconds.
            ///
            /// # Errors
            /// If the system lacks what TLS needs.
            pub fn new(settings: &Settings, guard: &Arc<Guard>) -> Result<Self, ClientsError> {
                Ok(Self {
                    $(
                        #[cfg(feature = $feature)]
                        $module: $module::Client::new(settings, Arc::clone(guard))?,
                    )*
                })
            }
        }

        impl Sink {
            /// Reads the object of a `type` that is known; `None`: it is not.
            fn parse_kind(
                kind: &str,
                sink: &Value,
                settings: &Settings,
            ) -> Option<Result<Self, Vec<Fault>>> {
                match kind {
                    $(
                        #[cfg(feature = $feature)]
                        $kind => Some(
                            $module::$sink::parse(sink, settings)
                                .map(|sink| Self::$sink(Box::new(sink))),
                        ),
                    )*
                    _ => None,
                }
            }

            /// Judges its addresses by the operator's settings, for people who write documents. Every send is judged
            /// again; a document stays valid when the operator's settings change, so that its events are refused one by
            /// one and not lost.
            ///
            /// # Errors
            /// What may not be sent to.
            pub fn check_egress(&self, guard: &Guard) -> Result<(), Fault> {
                match *self {
                    $(
                        #[cfg(feature = $feature)]
                        Self::$sink(ref sink) => sink.check_egress(guard),
                    )*
                }
            }

            /// The sink's `type`, for logs, metrics and records.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match *self {
                    $(
                        #[cfg(feature = $feature)]
                        Self::$sink(_) => $kind,
                    )*
                }
            }

            /// Makes one attempt. It ends within the destination's time limit, whatever the receiver does.
            ///
            /// # Cancel safety
            /// A send that is dropped may have been received; nothing else is lost.
            pub async fn send(&self, clients: &Clients, outgoing: Outgoing<'_>) -> Report {
                match *self {
                    $(
                        #[cfg(feature = $feature)]
                        Self::$sink(ref sink) => sink.send(&clients.$module, outgoing).await,
                    )*
                }
            }
        }

        /// The JSON Schema of the object `sink`: one of all types that are built. It refers to nothing outside itself.
        #[must_use]
        pub fn schema() -> Schema {
            let types: Vec<Schema> = vec![
                $(
                    #[cfg(feature = $feature)]
                    $module::schema(),
                )*
            ];
            json_schema!({ "oneOf": types })
        }
    };
}

registry! {
    "sink-webhook" "webhook" webhook::Webhook;
    "sink-sqs" "sqs" sqs::Sqs;
    "sink-eventbridge" "eventbridge" eventbridge::EventBridge;
    "sink-pubsub" "pubsub" pubsub::PubSub;
    "sink-kafka" "kafka" kafka::Kafka;
    "sink-rabbitmq" "rabbitmq" rabbitmq::RabbitMq;
    "sink-hookdeck" "hookdeck" hookdeck::Hookdeck;
}

/// The kinds of sinks that this build has.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    TYPES
        .iter()
        .filter(|(_, built)| *built)
        .map(|(kind, _)| *kind)
}

/// The type of sample events; all that sinks tell of one says that it is a test.
pub const TEST_TYPE: &str = "posthaste.test";

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

impl Outgoing<'_> {
    /// Whether it is a sample, sent to see whether the destination works.
    fn is_test(&self) -> bool {
        &*self.event.event_type == TEST_TYPE
    }
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
    /// Tells the id of the cluster that events are read from, so that nothing is written into its sources. Without it a
    /// topic of the name of a source is refused in every cluster.
    #[must_use]
    pub fn at_home_in(self, cluster_id: &str) -> Self {
        #[cfg(feature = "sink-kafka")]
        self.kafka.set_home(cluster_id);
        self
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
        Self::parse_kind(kind, sink, settings)
            .unwrap_or_else(|| Err(vec![Fault::new("/sink/type", not_built(kind))]))
    }
}

fn known() -> String {
    kinds()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn not_built(kind: &str) -> String {
    if TYPES.iter().any(|(name, _)| *name == kind) {
        format!("\"type\": \"{kind}\" is left out of this build")
    } else {
        let shown: String = kind.chars().take(80).collect();
        format!("`{shown}` is no type of sink; write one of {}", known())
    }
}

#[cfg(test)]
mod tests;
