//! The JSON Schema of what `config` reads; a test holds the names of both together.

use schemars::{Schema, json_schema};

use super::config::{CUSTOM_MAX, ENDPOINT};
use super::message::VALUE_MAX;
use crate::sinks::cloudevents::mode_schema;
use crate::sinks::fields::timeout_schema;

/// The JSON Schema of the object `sink` of a Pub/Sub destination.
#[must_use]
pub fn schema() -> Schema {
    json_schema!({
        "title": "pubsub",
        "description": "Google Cloud Pub/Sub: one message for each event, acknowledged by its message id.",
        "type": "object",
        "required": ["type", "project", "topic", "auth"],
        "additionalProperties": false,
        "properties": {
            "type": {"const": "pubsub"},
            "project": {
                "description": "The id of the Google Cloud project.",
                "type": "string",
                "maxLength": 100,
                "pattern": "^[a-z0-9.:-]+$",
                "examples": ["acme-prod"]
            },
            "topic": {
                "description": "The id of the topic, without `projects/…/topics/`; not `goog` in front.",
                "type": "string",
                "minLength": 3,
                "maxLength": 255,
                "pattern": "^[A-Za-z][A-Za-z0-9._~+%-]*$",
                "examples": ["orders"]
            },
            "ordering_key": {
                "description": "Whether the event's key becomes the message's ordering key; one that is not UTF-8 in base64.",
                "type": ["boolean", "null"],
                "default": false
            },
            "endpoint": {
                "description": format!("Another address of Pub/Sub than {ENDPOINT}: one of Google's own, or a host that the setting egress.allow names."),
                "type": ["string", "null"],
                "format": "uri",
                "default": null,
                "examples": ["https://europe-west1-pubsub.googleapis.com"]
            },
            "auth": auth_schema(),
            "attributes": {
                "description": "Attributes of every message, beside those that tell of the event.",
                "type": ["object", "null"],
                "maxProperties": CUSTOM_MAX,
                "additionalProperties": {"type": "string", "maxLength": VALUE_MAX},
                "default": {},
                "examples": [{"team": "shop"}]
            },
            "timeout": timeout_schema(),
            "cloudevents": mode_schema()
        }
    })
}

fn auth_schema() -> Schema {
    json_schema!({
        "description": "How the service proves who it is.",
        "oneOf": [
            {
                "description": "By the key of a service account.",
                "type": "object",
                "required": ["type", "json"],
                "additionalProperties": false,
                "properties": {
                    "type": {"const": "google_service_account"},
                    "json": {
                        "description": "The file with the key, as Google hands it out.",
                        "type": "object",
                        "required": ["type", "client_email", "private_key_id", "private_key", "project_id"],
                        "properties": {
                            "type": {"const": "service_account"},
                            "client_email": {"type": "string"},
                            "private_key_id": {"type": "string"},
                            "private_key": {"description": "PEM (PKCS #8).", "type": "string"},
                            "project_id": {"type": "string"},
                            "universe_domain": {"enum": [null, "googleapis.com"]}
                        }
                    }
                }
            },
            {
                "description": "By what the machine has (workload identity), where the setting google.allow_default allows it.",
                "type": "object",
                "required": ["type"],
                "additionalProperties": false,
                "properties": {"type": {"const": "google_default"}}
            },
            {
                "description": "Not at all: emulators, with an `endpoint`.",
                "type": "object",
                "required": ["type"],
                "additionalProperties": false,
                "properties": {"type": {"const": "none"}}
            }
        ]
    })
}
