//! The JSON Schema of what `config` reads; a test holds the names of both together.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::config::ROUTING_KEY;
use crate::domain::units::ByteSize;
use crate::sinks::cloudevents::mode_schema;
use crate::sinks::fields::timeout_schema;

/// The JSON Schema of the object `sink` of a RabbitMQ destination.
#[must_use]
pub fn schema() -> Schema {
    let size = ByteSize::json_schema(&mut SchemaGenerator::default());
    json_schema!({
        "title": "rabbitmq",
        "description": "A persistent message of an exchange (AMQP 0-9-1), confirmed by the broker and taken by a queue.",
        "type": "object",
        "required": ["type", "url", "exchange"],
        "additionalProperties": false,
        "properties": {
            "type": {"const": "rabbitmq"},
            "url": {
                "description": "`amqps://user:password@host:port/vhost`, or `amqp`; its parts are percent-encoded. Its host must be on the operator's list. A secret.",
                "type": "string",
                "format": "uri",
                "pattern": "^amqps?://"
            },
            "exchange": {
                "description": "It must exist. Empty: the default exchange, where the routing key is a queue's name.",
                "type": "string",
                "maxLength": 255
            },
            "routing_key": {
                "description": "A text with `{type}`, `{tenant}`, `{id}` and `{topic}` of the event in it.",
                "type": ["string", "null"],
                "default": ROUTING_KEY
            },
            "tls": {
                "description": "For `amqps`; absent: the system's authorities.",
                "type": ["object", "null"],
                "additionalProperties": false,
                "properties": {
                    "ca": {"description": "The only authorities that are trusted (PEM).", "type": ["string", "null"]},
                    "cert": {"description": "Our certificate (PEM), with `key`.", "type": ["string", "null"]},
                    "key": {"type": ["string", "null"]}
                }
            },
            "timeout": timeout_schema(),
            "message_max": {
                "description": "The largest message that is sent, with its headers; no more than the broker's `max_message_size`.",
                "anyOf": [size, {"type": "null"}],
                "default": "16MiB"
            },
            "cloudevents": mode_schema()
        }
    })
}
