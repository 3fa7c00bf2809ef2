//! The object `sink` of a webhook: from JSON to what all its requests share.
//!
//! Invariant: all mistakes are found in one reading, and none repeats a secret, a URL or a header's value.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Key, Webhook};
use crate::config::faults::Fault;
use crate::config::settings::Settings;
use crate::domain::secret::Secret;
use crate::domain::signature::SigningKey;
use crate::egress::{self, Guard, Refusal};
use crate::sinks::cloudevents;
use crate::sinks::fields::{Faults, Fields, read_sink};
use crate::sinks::http::{AGENT, Target, VALUE_MAX, custom_headers, header_name, header_value};

/// Signing secrets of one destination at most: each adds 50 to 100 bytes to every request.
pub(super) const SECRETS_MAX: usize = 5;

impl Webhook {
    /// Reads the object `sink`.
    ///
    /// # Errors
    /// All mistakes in it, with pointers below `/sink`.
    pub(in crate::sinks) fn parse(sink: &Value, settings: &Settings) -> Result<Self, Vec<Fault>> {
        read_sink(sink, |fields, faults| read(fields, faults, settings))
    }

    /// Judges the URL by the operator's settings.
    pub(in crate::sinks) fn check_egress(&self, guard: &Guard) -> Result<(), Fault> {
        guard
            .check(&self.target.url)
            .map_err(|refusal| Fault::new("/sink/url", refusal.to_string()))
    }
}

fn read(mut fields: Fields<'_>, faults: &Faults, settings: &Settings) -> Option<Webhook> {
    fields.required_text("type");
    let url = url(&mut fields);
    let keys = signing(&mut fields, faults);
    let mut headers = custom_headers(&mut fields, &[]);
    authenticate(&mut fields, &mut headers);
    headers.entry(USER_AGENT).or_insert(AGENT);
    refuse_tls(&mut fields);
    let timeout = fields.timeout(settings);
    let cloudevents = cloudevents::mode(&mut fields);
    fields.close();
    let url = url?;
    Some(Webhook {
        target: Target::new(url, settings, timeout)?,
        headers,
        keys,
        cloudevents,
        body_max: settings.webhook.body_max,
    })
}

fn url(fields: &mut Fields<'_>) -> Option<Url> {
    let text = fields.required_text("url")?;
    match egress::parse_url(text) {
        Ok(url) => Some(url),
        Err(refusal) => {
            fields.fault(
                "url",
                match refusal {
                    Refusal::Malformed => {
                        "is not a URL; write it like `https://example.com/hooks`".to_owned()
                    }
                    Refusal::Userinfo => {
                        "holds a user name or a password; write those in `auth`".to_owned()
                    }
                    Refusal::Scheme => {
                        "is of another scheme than `https` or `http`; write `https://…`".to_owned()
                    }
                    _ => refusal.to_string(),
                },
            );
            None
        }
    }
}

fn signing(fields: &mut Fields<'_>, faults: &Faults) -> Vec<Key> {
    let Some(mut signing) = fields.object("signing") else {
        return Vec::new();
    };
    let one = signing.text("secret");
    let several = signing.array("secrets");
    if signing.has("secret") == signing.has("secrets") {
        signing.fault_here("takes either `secret` or `secrets`");
    }
    let mut keys = Vec::new();
    keys.extend(one.and_then(|secret| key(&signing, "secret", secret, None)));
    if let Some(secrets) = &several {
        if !(1..=SECRETS_MAX).contains(&secrets.len()) {
            let message = format!("takes 1 to {SECRETS_MAX} secrets, not {}", secrets.len());
            signing.fault("secrets", message);
        }
        for (pointer, value) in secrets {
            let Some(mut fields) = Fields::open(pointer.clone(), value, faults) else {
                continue;
            };
            let secret = fields.required_text("secret");
            let expires_at_ms = expiry(&mut fields);
            keys.extend(secret.and_then(|secret| key(&fields, "secret", secret, expires_at_ms)));
            fields.close();
        }
    }
    signing.close();
    keys
}

fn key(fields: &Fields<'_>, name: &str, secret: &str, expires_at_ms: Option<i64>) -> Option<Key> {
    match SigningKey::parse(&Secret::new(secret.to_owned())) {
        Ok(signing) => Some(Key {
            signing,
            expires_at_ms,
        }),
        Err(invalid) => {
            fields.fault(name, invalid.to_string());
            None
        }
    }
}

/// `expires_at` in milliseconds since 1970.
fn expiry(fields: &mut Fields<'_>) -> Option<i64> {
    let text = fields.text("expires_at")?;
    let at = OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .and_then(|at| i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok());
    if at.is_none() {
        fields.fault(
            "expires_at",
            "is not a time; write it like `2026-01-31T08:00:00Z`",
        );
    }
    at
}

fn authenticate(fields: &mut Fields<'_>, headers: &mut HeaderMap) {
    let Some(mut auth) = fields.object("auth") else {
        return;
    };
    let credentials = match auth.required_text("type") {
        Some("none") => None,
        None => return,
        Some("basic") => basic(&mut auth),
        Some("bearer") => bearer(&mut auth),
        Some("api_key") => api_key(&mut auth),
        Some("oauth2") => {
            // Its fields are documented, so they are no mistakes of their own.
            auth.fault("type", "\"type\": \"oauth2\" is not supported yet");
            return;
        }
        Some(_) => {
            auth.fault("type", "is none of `none`, `basic`, `bearer`, `api_key`");
            return;
        }
    };
    if let Some((name, mut value)) = credentials {
        if headers.contains_key(&name) {
            fields.fault("headers", format!("sets `{name}`, which `auth` sets too"));
        }
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    auth.close();
}

type Header = (HeaderName, HeaderValue);

fn basic(auth: &mut Fields<'_>) -> Option<Header> {
    let (username, password) = (
        auth.required_text("username"),
        auth.required_text("password"),
    );
    let (username, password) = (username?, password?);
    for (name, text, colon) in [("username", username, true), ("password", password, false)] {
        if text.contains(char::is_control) || (colon && text.contains(':')) {
            auth.fault(
                name,
                "holds a control character, or a colon in the user name",
            );
            return None;
        }
        if text.len() > VALUE_MAX {
            auth.fault(name, format!("is longer than {VALUE_MAX} bytes"));
            return None;
        }
    }
    let value = format!(
        "Basic {}",
        STANDARD.encode(format!("{username}:{password}"))
    );
    Some((AUTHORIZATION, HeaderValue::from_str(&value).ok()?))
}

fn bearer(auth: &mut Fields<'_>) -> Option<Header> {
    let token = auth.required_text("token")?;
    // https://www.rfc-editor.org/rfc/rfc6750#section-2.1, and what else is visible: tokens come in many makes.
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        auth.fault(
            "token",
            "is empty or holds characters other than visible ASCII",
        );
        return None;
    }
    value_of(auth, "token", &format!("Bearer {token}")).map(|value| (AUTHORIZATION, value))
}

fn api_key(auth: &mut Fields<'_>) -> Option<Header> {
    let (name, value) = (auth.required_text("header"), auth.required_text("value"));
    let name = name.and_then(|name| {
        let name = header_name(name);
        name.map_err(|message| auth.fault("header", message)).ok()
    });
    let value = value.and_then(|value| value_of(auth, "value", value));
    Some((name?, value?))
}

fn value_of(auth: &Fields<'_>, name: &str, value: &str) -> Option<HeaderValue> {
    let value = header_value(value);
    value.map_err(|message| auth.fault(name, message)).ok()
}

fn refuse_tls(fields: &mut Fields<'_>) {
    let Some(mut tls) = fields.object("tls") else {
        return;
    };
    for name in ["ca", "cert", "key"] {
        if tls.value(name).is_some() {
            tls.fault(name, format!("\"{name}\" is not supported yet"));
        }
    }
    tls.close();
}
