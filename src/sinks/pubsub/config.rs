//! The object `sink` of a Pub/Sub destination.
//!
//! Invariant: all mistakes are found in one reading, and none repeats a secret.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Map, Value};
use url::{Host, Url};

use super::message::{ATTRIBUTES_MAX, NAME_MAX, RESERVED_PREFIX, VALUE_MAX};
use super::{Auth, PubSub, Sum};
use crate::config::faults::Fault;
use crate::config::settings::Settings;
use crate::egress::{self, Guard};
use crate::sinks::cloudevents;
use crate::sinks::fields::{Fields, read_sink};

/// Where Pub/Sub is.
pub(super) const ENDPOINT: &str = "https://pubsub.googleapis.com";

/// Google's own hosts: of regions, and of private access.
/// <https://cloud.google.com/pubsub/docs/reference/service_apis_overview#pubsub_endpoints>
const GOOGLE: &str = ".googleapis.com";

/// Attributes that a document may add, so that there is room for ours and for those of a CloudEvent.
pub(super) const CUSTOM_MAX: usize = ATTRIBUTES_MAX / 2;

/// Prefixes and names of the attributes that every message has.
const OURS: [&str; 7] = [
    "event-id",
    "event-type",
    "event-time",
    "tenant",
    "content-type",
    "posthaste-",
    "ce-",
];

/// What stands in the key of a service account and is used. What else stands there is not: tokens are signed here, so
/// that its addresses are never asked.
const KEY_FIELDS: [&str; 4] = ["client_email", "private_key_id", "private_key", "project_id"];

impl PubSub {
    /// Reads the object `sink`.
    ///
    /// # Errors
    /// All mistakes in it, with pointers below `/sink`.
    pub(in crate::sinks) fn parse(sink: &Value, settings: &Settings) -> Result<Self, Vec<Fault>> {
        read_sink(sink, |fields, _| read(fields, settings))
    }

    /// Judges the endpoint by the operator's settings.
    pub(in crate::sinks) fn check_egress(&self, guard: &Guard) -> Result<(), Fault> {
        match self.refusal(guard) {
            None => Ok(()),
            Some(refused @ Refused::Credentials) => {
                Err(Fault::new("/sink/auth/type", refused.to_string()))
            }
            Some(refused) => Err(Fault::new("/sink/endpoint", refused.to_string())),
        }
    }

    /// Why the operator's settings do not let it send.
    ///
    /// The library resolves names by itself, so that a name that the guard has vetted may lead elsewhere a moment later:
    /// names that are not Google's have to be the operator's word.
    pub(super) fn refusal(&self, guard: &Guard) -> Option<Refused> {
        if matches!(self.auth, Auth::Default { allowed: false }) {
            return Some(Refused::Credentials);
        }
        let checked = if is_google(&self.endpoint) {
            guard.check(&self.endpoint)
        } else {
            guard.check_listed_url(&self.endpoint)
        };
        checked.err().map(Refused::Egress)
    }
}

/// What the operator's settings refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// The endpoint.
    #[error(transparent)]
    Egress(egress::Refusal),
    /// Credentials that are the service's own.
    #[error("`google_default` is not allowed here (setting google.allow_default)")]
    Credentials,
}

/// Whether a URL leads to Google over TLS.
pub(super) fn is_google(url: &Url) -> bool {
    let Some(Host::Domain(name)) = url.host() else {
        return false;
    };
    url.scheme() == "https" && url.port_or_known_default() == Some(443) && name.ends_with(GOOGLE)
}

fn read(mut fields: Fields<'_>, settings: &Settings) -> Option<PubSub> {
    fields.required_text("type");
    let project = name(&mut fields, "project", is_project, PROJECT);
    let topic = name(&mut fields, "topic", is_topic, TOPIC);
    let ordering_key = fields.flag("ordering_key").unwrap_or(false);
    let overridden = fields.has("endpoint");
    let endpoint = endpoint(&mut fields);
    let auth = auth(&mut fields, endpoint.as_ref(), overridden, settings);
    let attributes = attributes(&mut fields);
    let timeout = fields.timeout(settings);
    let cloudevents = cloudevents::mode(&mut fields);
    fields.close();
    let (topic, endpoint, auth) = (
        format!("projects/{}/topics/{}", project?, topic?),
        endpoint?,
        auth?,
    );
    let connection = connection(&endpoint, &auth, timeout);
    Some(PubSub {
        connection,
        publisher: sum(&[&connection, topic.as_bytes()]),
        topic,
        ordering_key,
        endpoint,
        auth,
        attributes,
        cloudevents,
        timeout,
    })
}

/// What destinations share a connection by.
fn connection(endpoint: &Url, auth: &Auth, timeout: Duration) -> Sum {
    let auth = match auth {
        Auth::None => "none".to_owned(),
        Auth::Default { .. } => "default".to_owned(),
        Auth::ServiceAccount(key) => key.to_string(),
    };
    let timeout = timeout.as_millis().to_be_bytes();
    sum(&[&timeout, endpoint.as_str().as_bytes(), b" ", auth.as_bytes()])
}

fn sum(parts: &[&[u8]]) -> Sum {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut sum = Sum::default();
    sum.copy_from_slice(context.finish().as_ref());
    sum
}

const PROJECT: &str = "is no id of a Google Cloud project: 6 to 30 small letters, digits and `-`";
const TOPIC: &str = "is no id of a topic: 3 to 255 letters, digits and `-_.~+%`, the first a letter, and not `goog` \
                     in front; write the id alone, without `projects/…/topics/`";

fn name<'a>(
    fields: &mut Fields<'a>,
    field: &'static str,
    fits: fn(&str) -> bool,
    otherwise: &str,
) -> Option<&'a str> {
    let text = fields.required_text(field)?;
    if !fits(text) {
        fields.fault(field, otherwise);
        return None;
    }
    Some(text)
}

/// <https://cloud.google.com/resource-manager/docs/creating-managing-projects#before_you_begin>; older ones have a
/// domain in front, `example.com:project`.
fn is_project(text: &str) -> bool {
    let id = text.rsplit(':').next().unwrap_or_default();
    let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte);
    text.len() <= 100 && (6..=30).contains(&id.len()) && text.bytes().all(small)
}

/// <https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names>
fn is_topic(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~+%".contains(&byte);
    (3..=255).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && !text.starts_with(RESERVED_PREFIX)
        && text.bytes().all(fits)
}

fn endpoint(fields: &mut Fields<'_>) -> Option<Url> {
    let text = fields.text("endpoint").unwrap_or(ENDPOINT);
    match egress::parse_url(text) {
        Ok(url) if url.path() == "/" && url.query().is_none() => Some(url),
        Ok(_) => {
            let message = "has more than scheme, host and port; write it like \
                           `https://europe-west1-pubsub.googleapis.com`";
            fields.fault("endpoint", message);
            None
        }
        Err(refusal) => {
            fields.fault("endpoint", refusal.to_string());
            None
        }
    }
}

fn auth(
    fields: &mut Fields<'_>,
    endpoint: Option<&Url>,
    overridden: bool,
    settings: &Settings,
) -> Option<Auth> {
    let Some(mut auth) = fields.object("auth") else {
        if !fields.has("auth") {
            fields.fault("auth", "is missing; write `{\"type\": \"google_service_account\", \"json\": {…}}`");
        }
        return None;
    };
    let found = match auth.required_text("type") {
        Some("google_service_account") => service_account(&mut auth),
        Some("google_default") if endpoint.is_none_or(is_google) => Some(Auth::Default {
            allowed: settings.google.allow_default,
        }),
        Some("google_default") => {
            auth.fault(
                "type",
                "`google_default` goes with endpoints of Google only: the credentials are the service's own",
            );
            None
        }
        Some("none") if overridden => Some(Auth::None),
        Some("none") => {
            auth.fault("type", "`none` goes with an `endpoint` only: Pub/Sub itself always asks");
            None
        }
        Some(_) => {
            auth.fault("type", "is none of `google_service_account`, `google_default`, `none`");
            return None;
        }
        None => return None,
    };
    auth.close();
    found
}

/// The key of a service account, as Google hands it out.
fn service_account(auth: &mut Fields<'_>) -> Option<Auth> {
    if !auth.has("json") {
        auth.fault("json", "is missing; put the file with the key of the service account here, as it is");
    }
    let mut key = auth.object("json")?;
    let mut used = Map::new();
    let mut complete = true;
    for name in KEY_FIELDS {
        match key.required_text(name) {
            Some(text) => {
                used.insert(name.to_owned(), text.into());
            }
            None => complete = false,
        }
    }
    // Other kinds of credentials name programs and addresses to be asked for a token.
    if key.required_text("type").is_some_and(|kind| kind != "service_account") {
        key.fault("type", "is not `service_account`; no other credentials can be used");
        complete = false;
    }
    if key.text("universe_domain").is_some_and(|domain| domain != "googleapis.com") {
        key.fault("universe_domain", "is not `googleapis.com`; no other cloud is supported");
        complete = false;
    }
    let private_key = used.get("private_key").and_then(Value::as_str);
    if private_key.is_some_and(|pem| !is_rsa(pem)) {
        key.fault("private_key", "is no RSA key in PEM (PKCS #8)");
        complete = false;
    }
    complete.then(|| Auth::ServiceAccount(used.into()))
}

fn is_rsa(pem: &str) -> bool {
    let Ok(der) = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()) else {
        return false;
    };
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&PrivateKeyDer::Pkcs8(der));
    key.is_ok_and(|key| key.algorithm() == rustls::SignatureAlgorithm::RSA)
}

fn attributes(fields: &mut Fields<'_>) -> Vec<(String, String)> {
    let entries = fields.object("attributes").map(Fields::entries).unwrap_or_default();
    if entries.len() > CUSTOM_MAX {
        let message = format!("takes {CUSTOM_MAX} attributes at most, not {}", entries.len());
        fields.fault("attributes", message);
    }
    let mut attributes = Vec::with_capacity(entries.len());
    for (pointer, name, value) in entries {
        let fault = if name.is_empty() || name.len() > NAME_MAX || name.starts_with(RESERVED_PREFIX) {
            Some(format!("is no name of an attribute: 1 to {NAME_MAX} bytes, and not `{RESERVED_PREFIX}` in front"))
        } else if OURS.iter().any(|ours| name == *ours || (ours.ends_with('-') && name.starts_with(ours))) {
            Some("is set by the service and cannot be chosen".to_owned())
        } else if value.len() > VALUE_MAX {
            Some(format!("holds {} bytes, {VALUE_MAX} are allowed", value.len()))
        } else {
            None
        };
        match fault {
            Some(message) => fields.fault_at(pointer, message),
            None => attributes.push((name.to_owned(), value.to_owned())),
        }
    }
    attributes
}
