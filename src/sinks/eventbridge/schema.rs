//! The JSON Schema of what `config` reads; a test holds the names of both together.

use schemars::{Schema, json_schema};

use super::config::{DETAIL_TYPE_MAX, EVENT_BUS_MAX, SOURCE_MAX};
use crate::sinks::aws;

/// The JSON Schema of the object `sink` of an event bus.
#[must_use]
pub fn schema() -> Schema {
    json_schema!({
        "title": "eventbridge",
        "description": "Amazon EventBridge: an entry of PutEvents. A body that is no JSON object stands in one, as `data` or `data_base64`.",
        "type": "object",
        "required": ["type", "auth"],
        "additionalProperties": false,
        "properties": {
            "type": {"const": "eventbridge"},
            "event_bus": {
                "description": "The bus: its name, or its ARN.",
                "type": ["string", "null"],
                "minLength": 1,
                "maxLength": EVENT_BUS_MAX,
                "default": "default",
                "examples": ["arn:aws:events:eu-west-1:123456789012:event-bus/orders"]
            },
            "region": aws::region_schema(),
            "source": {
                "description": "`Source` of every entry.",
                "type": ["string", "null"],
                "minLength": 1,
                "maxLength": SOURCE_MAX,
                "default": "posthaste"
            },
            "detail_type": {
                "description": "`DetailType` of every entry. Absent: the event's type.",
                "type": ["string", "null"],
                "minLength": 1,
                "maxLength": DETAIL_TYPE_MAX,
                "default": null
            },
            "endpoint": aws::endpoint_schema(),
            "auth": aws::auth_schema(),
            "cloudevents": {
                "description": "`structured`: `Detail` is a CloudEvents 1.0 envelope. Absent: the event as it is.",
                "enum": [null, "structured"],
                "default": null
            }
        }
    })
}
