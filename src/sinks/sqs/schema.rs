//! The JSON Schema of what `config` reads; a test holds the names of both together.

use schemars::{Schema, json_schema};

use super::config::{OWN_ATTRIBUTES_MAX, VALUE_MAX};
use crate::sinks::{aws, cloudevents};

/// The JSON Schema of the object `sink` of a queue.
#[must_use]
pub fn schema() -> Schema {
    json_schema!({
        "title": "sqs",
        "description": "Amazon SQS: a message, with what is known of the event as message attributes.",
        "type": "object",
        "required": ["type", "queue_url", "auth"],
        "additionalProperties": false,
        "properties": {
            "type": {"const": "sqs"},
            "queue_url": {
                "description": "The queue's URL. One that ends with `.fifo` gets a group (the event's key, else the destination) and a deduplication id (the event's id) with every message.",
                "type": "string",
                "format": "uri",
                "examples": ["https://sqs.eu-west-1.amazonaws.com/123456789012/orders"]
            },
            "region": aws::region_schema(),
            "endpoint": aws::endpoint_schema(),
            "auth": aws::auth_schema(),
            "attributes": {
                "description": "Message attributes of your own, beside those of the service.",
                "type": ["object", "null"],
                "maxProperties": OWN_ATTRIBUTES_MAX,
                "propertyNames": {"pattern": "^[A-Za-z0-9_.-]{1,256}$"},
                "additionalProperties": {"type": "string", "minLength": 1, "maxLength": VALUE_MAX},
                "default": {}
            },
            "cloudevents": cloudevents::mode_schema()
        }
    })
}
