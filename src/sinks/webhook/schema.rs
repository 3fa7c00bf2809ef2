//! The JSON Schema of what `config` reads; a test holds the names of both together.

use schemars::{Schema, json_schema};

use super::config::SECRETS_MAX;
use crate::sinks::cloudevents::mode_schema;
use crate::sinks::fields::timeout_schema;
use crate::sinks::http::headers_schema;

/// The JSON Schema of the object `sink` of a webhook.
#[must_use]
pub fn schema() -> Schema {
    let secret = json_schema!({
        "description": "`whsec_` and base64 of 24 to 64 bytes (HMAC-SHA256), or `whsk_` and base64 of an Ed25519 seed.",
        "type": "string",
        "pattern": "^(whsec|whsk)_[A-Za-z0-9+/]+={0,2}$"
    });
    json_schema!({
        "title": "webhook",
        "description": "HTTP POST, signed as Standard Webhooks are.",
        "type": "object",
        "required": ["type", "url"],
        "additionalProperties": false,
        "properties": {
            "type": {"const": "webhook"},
            "url": {
                "description": "Where events are posted to. Without user name and password; `https` unless the settings allow `http`.",
                "type": "string",
                "format": "uri"
            },
            "signing": {
                "description": "Absent: requests are not signed.",
                "type": ["object", "null"],
                "additionalProperties": false,
                "properties": {
                    "secret": secret,
                    "secrets": {
                        "description": "Several while secrets are rotated: each request carries a signature of each that has not expired.",
                        "type": "array",
                        "minItems": 1,
                        "maxItems": SECRETS_MAX,
                        "items": {
                            "type": "object",
                            "required": ["secret"],
                            "additionalProperties": false,
                            "properties": {
                                "secret": secret,
                                "expires_at": {"type": ["string", "null"], "format": "date-time"}
                            }
                        }
                    }
                },
                "oneOf": [{"required": ["secret"]}, {"required": ["secrets"]}]
            },
            "headers": headers_schema("`proxy-*`, `webhook-*` and `posthaste-*`"),
            "auth": auth_schema(),
            "tls": {
                "description": "Not supported yet: only the empty object.",
                "type": ["object", "null"],
                "additionalProperties": false,
                "default": {}
            },
            "timeout": timeout_schema(),
            "cloudevents": mode_schema()
        }
    })
}

fn auth_schema() -> Schema {
    let with = |kind: &str, names: &[&str]| {
        let mut properties = serde_json::Map::new();
        properties.insert("type".to_owned(), serde_json::json!({"const": kind}));
        for name in names {
            properties.insert((*name).to_owned(), serde_json::json!({"type": "string"}));
        }
        let required: Vec<String> = properties.keys().cloned().collect();
        json_schema!({
            "type": "object",
            "required": required,
            "additionalProperties": false,
            "properties": properties
        })
    };
    json_schema!({
        "description": "How the service proves who it is, beside signatures.",
        "oneOf": [
            {"type": "null"},
            with("none", &[]),
            with("basic", &["username", "password"]),
            with("bearer", &["token"]),
            with("api_key", &["header", "value"])
        ],
        "default": {"type": "none"}
    })
}
