//! The JSON Schema of what `config` reads; a test holds the names of both together.

use schemars::{Schema, json_schema};

use super::config::{ENDPOINT, SOURCE_MAX};
use crate::sinks::cloudevents::mode_schema;
use crate::sinks::fields::timeout_schema;
use crate::sinks::http::headers_schema;

/// The JSON Schema of the object `sink` of a Hookdeck destination.
#[must_use]
pub fn schema() -> Schema {
    json_schema!({
        "title": "hookdeck",
        "description": "Hookdeck Event Gateway, by its Publish API.",
        "type": "object",
        "required": ["type", "source", "api_key"],
        "additionalProperties": false,
        "properties": {
            "type": {"const": "hookdeck"},
            "source": {
                "description": "The name of the source that takes the events.",
                "type": "string",
                "pattern": format!("^[A-Za-z0-9_-]{{1,{SOURCE_MAX}}}$"),
                "examples": ["orders"]
            },
            "api_key": {
                "description": "A key of the Hookdeck project.",
                "type": "string",
                "minLength": 1
            },
            "endpoint": {
                "description": "Another address of the Publish API.",
                "type": ["string", "null"],
                "format": "uri",
                "default": ENDPOINT
            },
            "headers": headers_schema(
                "`authorization`, `proxy-*`, `webhook-*`, `x-hookdeck-*` and those that tell of the event"
            ),
            "timeout": timeout_schema(),
            "cloudevents": mode_schema()
        }
    })
}
