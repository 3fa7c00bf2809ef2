//! Documents without their secrets, and back: what is shown of a destination, and what is meant where a shown document is
//! written again.
//!
//! Invariant: what is shown never contains a value under a secret's name, nor the credentials or query of a URL.

use serde_json::{Map, Value};
use url::Url;

use crate::config::faults::Fault;

/// Stands for a secret.
pub const PLACEHOLDER: &str = "[redacted]";

/// The placeholder as the user name of a URL.
const PLACEHOLDER_USER: &str = "%5Bredacted%5D";

/// Parts of names of fields whose values are secrets.
const SECRET: [&str; 9] = [
    "secret",
    "password",
    "token",
    "credential",
    "authorization",
    "cookie",
    "private_key",
    "api_key",
    "api-key",
];

/// Names that contain such a part and are none.
const PUBLIC: [&str; 2] = ["token_url", "token_uri"];

/// `document` without its secrets.
#[must_use]
pub fn redact(document: &Value) -> Value {
    walk(document, "", false)
}

/// A URL without credentials and query; anything else as it is.
#[must_use]
pub fn redact_url(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else {
        // A URL that its password breaks, for one.
        let credentials = text
            .split_once("://")
            .is_some_and(|(_, rest)| rest.contains('@'));
        return if credentials { PLACEHOLDER } else { text }.to_owned();
    };
    let credentials = !url.username().is_empty() || url.password().is_some();
    if !credentials && url.query().is_none() {
        return text.to_owned();
    }
    if credentials {
        // Both fail only for URLs that cannot have credentials.
        let cleared = url
            .set_password(None)
            .and_then(|()| url.set_username(PLACEHOLDER));
        if cleared.is_err() {
            return PLACEHOLDER.to_owned();
        }
    }
    if url.query().is_some() {
        url.set_query(Some(PLACEHOLDER));
    }
    url.into()
}

fn walk(value: &Value, within: &str, secret: bool) -> Value {
    match value {
        Value::Null | Value::Bool(_) => value.clone(),
        Value::Number(_) | Value::String(_) if secret => PLACEHOLDER.into(),
        Value::Number(_) => value.clone(),
        Value::String(text) => redact_url(text).into(),
        Value::Array(values) => values
            .iter()
            .map(|value| walk(value, within, secret))
            .collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), walk(value, name, is_secret(within, name))))
            .collect::<Map<String, Value>>()
            .into(),
    }
}

fn is_secret(within: &str, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    if PUBLIC.contains(&name.as_str()) {
        return false;
    }
    SECRET.iter().any(|part| name.contains(part))
        || (within == "auth" && name == "value")
        || (within == "tls" && name == "key")
}

/// Whether anything in `document` stands for a secret.
#[must_use]
pub fn is_redacted(document: &Value) -> bool {
    match document {
        Value::String(text) => stands_for_secret(text),
        Value::Array(values) => values.iter().any(is_redacted),
        Value::Object(fields) => fields.values().any(is_redacted),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a text is the placeholder, or a URL with it.
fn stands_for_secret(text: &str) -> bool {
    text == PLACEHOLDER
        || Url::parse(text)
            .is_ok_and(|url| url.username() == PLACEHOLDER_USER || url.query() == Some(PLACEHOLDER))
}

/// `document` with the secrets of `stored` where it shows them as redacted.
///
/// A secret is kept only where it stands at the same place; within a list only if the whole list is unchanged, since
/// its entries have no names.
///
/// # Errors
/// The places where a secret is redacted and nothing is stored that could be meant.
pub fn restore(document: &Value, stored: Option<&Value>) -> Result<Value, Vec<Fault>> {
    let mut faults = Vec::new();
    let restored = put_back(document, stored, "", Shown::default(), &mut faults);
    if faults.is_empty() {
        Ok(restored)
    } else {
        Err(faults)
    }
}

/// How the value at hand would be shown.
#[derive(Debug, Clone, Copy, Default)]
struct Shown<'a> {
    within: &'a str,
    secret: bool,
}

fn put_back(
    new: &Value,
    stored: Option<&Value>,
    pointer: &str,
    shown: Shown<'_>,
    faults: &mut Vec<Fault>,
) -> Value {
    if let Some(stored) = stored
        && !new.is_object()
        && walk(stored, shown.within, shown.secret) == *new
    {
        return stored.clone();
    }
    match new {
        Value::String(text) if stands_for_secret(text) => {
            faults.push(Fault::new(
                pointer,
                format!("`{PLACEHOLDER}` stands for a secret, but none is stored here; write the secret itself"),
            ));
            new.clone()
        }
        Value::Array(values) => {
            let values = values.iter().enumerate();
            values
                .map(|(n, value)| put_back(value, None, &format!("{pointer}/{n}"), shown, faults))
                .collect()
        }
        Value::Object(fields) => {
            let mut restored = Map::new();
            for (name, value) in fields {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                let inner = Shown {
                    within: name,
                    secret: is_secret(shown.within, name),
                };
                let stored = stored.and_then(|stored| stored.get(name));
                let pointer = format!("{pointer}/{escaped}");
                restored.insert(
                    name.clone(),
                    put_back(value, stored, &pointer, inner, faults),
                );
            }
            restored.into()
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({
            "id": "orders",
            "metadata": {"team": "shop"},
            "sink": {
                "type": "webhook",
                "url": "https://ann:canary@example.com/hooks?key=canary",
                "signing": {"secrets": [
                    {"secret": "canary", "expires_at": "2026-01-31T08:00:00Z"},
                    {"secret": "canary2"}
                ]},
                "headers": {"Authorization": "canary", "x-team": "shop", "X-Api-Key": "canary"},
                "auth": {"type": "oauth2", "token_url": "https://id.example.com/token", "client_id": "me", "client_secret": "canary"},
                "tls": {"ca": "PEM", "cert": "PEM", "key": "canary"}
            },
            "also": [
                {"auth": {"type": "api_key", "header": "x", "value": "canary"}},
                {"auth": {"type": "basic", "username": "ann", "password": "canary"}},
                {"auth": {"type": "bearer", "token": "canary"}},
                {"auth": {"type": "aws_keys", "access_key_id": "AK", "secret_access_key": "canary", "session_token": "canary"}},
                {"auth": {"json": {"private_key": "canary", "client_email": "a@b"}}},
                {"url": "amqps://user:canary@mq.example.com/vhost"}
            ]
        })
    }

    #[test]
    fn no_secret_is_shown_and_nothing_else_is_hidden() {
        let shown = redact(&document());
        let text = shown.to_string();
        assert!(!text.contains("canary"), "{text}");
        for kept in [
            "\"x-team\":\"shop\"",
            "https://id.example.com/token",
            "2026-01-31T08:00:00Z",
            "\"access_key_id\":\"AK\"",
            "\"username\":\"ann\"",
            "\"ca\":\"PEM\"",
            "@example.com/hooks?",
            "\"client_id\":\"me\"",
        ] {
            assert!(text.contains(kept), "{kept} in {text}");
        }
        assert_eq!(redact(&shown), shown);
    }

    #[test]
    fn a_url_that_its_password_breaks_is_not_shown() {
        for url in [
            "amqps://user:p#canary@mq.example.com/vhost",
            "amqps://user:p/canary@mq.example.com/vhost",
            "amqps://user:p?canary@mq.example.com/vhost",
        ] {
            assert_eq!(redact_url(url), PLACEHOLDER, "{url}");
        }
        assert_eq!(
            redact_url("amqps://user:canary@mq.example.com/vhost"),
            "amqps://%5Bredacted%5D@mq.example.com/vhost"
        );
        assert_eq!(redact_url("ann@example.com"), "ann@example.com");
    }

    #[test]
    fn a_shown_document_that_is_written_again_keeps_its_secrets() {
        let stored = document();
        let shown = redact(&stored);
        assert!(is_redacted(&shown) && !is_redacted(&stored));
        assert_eq!(restore(&shown, Some(&stored)), Ok(stored.clone()));

        let mut edited = shown;
        edited["description"] = "new".into();
        edited["sink"]["auth"]["client_secret"] = "fresh".into();
        let mut expected = stored.clone();
        expected["description"] = "new".into();
        expected["sink"]["auth"]["client_secret"] = "fresh".into();
        assert_eq!(restore(&edited, Some(&stored)), Ok(expected));
    }

    #[test]
    fn a_redacted_secret_that_nothing_is_stored_for_is_refused() {
        let new = json!({"sink": {
            "signing": {"secret": PLACEHOLDER},
            "url": "https://%5Bredacted%5D@example.com/other?[redacted]"
        }});
        let pointers = |stored: Option<&Value>| -> Vec<String> {
            restore(&new, stored)
                .expect_err("no secret to keep")
                .into_iter()
                .map(|fault| fault.pointer)
                .collect()
        };
        let both = ["/sink/signing/secret", "/sink/url"];
        assert_eq!(pointers(None), both);
        let elsewhere = json!({"sink": {"url": "https://ann:pw@example.com/hooks?key=k"}});
        assert_eq!(pointers(Some(&elsewhere)), both);
    }

    #[test]
    fn a_secret_in_a_list_is_kept_only_while_the_list_is_unchanged() {
        let stored = json!({"secrets": [{"secret": "a"}, {"secret": "b"}]});
        let same = redact(&stored);
        assert_eq!(restore(&same, Some(&stored)), Ok(stored.clone()));
        let added = json!({"secrets": [{"secret": "new"}, {"secret": PLACEHOLDER}, {"secret": PLACEHOLDER}]});
        let faults = restore(&added, Some(&stored)).expect_err("which is which cannot be told");
        let pointers: Vec<&str> = faults.iter().map(|f| f.pointer.as_str()).collect();
        assert_eq!(pointers, ["/secrets/1/secret", "/secrets/2/secret"]);
    }
}
