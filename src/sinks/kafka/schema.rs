//! The JSON Schema of what `config` reads; a test holds the names of both together.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::config::MECHANISMS;
use crate::domain::units::ByteSize;
use crate::sinks::cloudevents::mode_schema;
use crate::sinks::fields::timeout_schema;

/// The JSON Schema of the object `sink` of a Kafka destination.
#[must_use]
pub fn schema() -> Schema {
    let size = ByteSize::json_schema(&mut SchemaGenerator::default());
    json_schema!({
        "title": "kafka",
        "description": "A record of a Kafka topic, acknowledged by all replicas in sync.",
        "type": "object",
        "required": ["type", "brokers", "topic"],
        "additionalProperties": false,
        "properties": {
            "type": {"const": "kafka"},
            "brokers": {
                "description": "Where to find the cluster: `host:port`, several with commas. Each must be on the operator's list.",
                "type": "string"
            },
            "topic": {
                "description": "It must exist. In the cluster that events are read from, none of the sources.",
                "type": "string",
                "pattern": "^[A-Za-z0-9._-]{1,249}$"
            },
            "tls": {
                "description": "Absent: no TLS. `{}`: TLS with the system's authorities.",
                "type": ["object", "null"],
                "additionalProperties": false,
                "properties": {
                    "ca": {"description": "The only authorities that are trusted (PEM).", "type": ["string", "null"]},
                    "cert": {"description": "Our certificate (PEM), with `key`.", "type": ["string", "null"]},
                    "key": {"type": ["string", "null"]}
                }
            },
            "auth": {
                "description": "How the service proves who it is.",
                "oneOf": [
                    {"type": "null"},
                    {
                        "type": "object",
                        "required": ["type"],
                        "additionalProperties": false,
                        "properties": {"type": {"const": "none"}}
                    },
                    {
                        "type": "object",
                        "required": ["type", "mechanism", "username", "password"],
                        "additionalProperties": false,
                        "properties": {
                            "type": {"const": "sasl"},
                            "mechanism": {"description": "`PLAIN` needs `tls`.", "enum": MECHANISMS},
                            "username": {"type": "string"},
                            "password": {"type": "string"}
                        }
                    }
                ],
                "default": {"type": "none"}
            },
            "timeout": timeout_schema(),
            "record_max": {
                "description": "The largest record that is sent, with its key and headers; no more than the topic's `max.message.bytes`.",
                "anyOf": [size, {"type": "null"}],
                "default": "1000000B"
            },
            "cloudevents": mode_schema()
        }
    })
}
