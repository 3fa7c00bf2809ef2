//! The object `sink` of a queue: from JSON to what all its messages share.

use reqwest::Url;
use serde_json::Value;

use super::Sqs;
use crate::config::faults::Fault;
use crate::config::settings::Settings;
use crate::egress::{self, Guard, Refusal};
use crate::sinks::aws;
use crate::sinks::cloudevents::{self, Mode};
use crate::sinks::fields::{Fields, read_sink};

/// Message attributes that a queue takes.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>
pub(super) const ATTRIBUTES_MAX: usize = 10;

/// Message attributes of a document: what ours leave.
pub(super) const OWN_ATTRIBUTES_MAX: usize = 3;

/// The same beside those of CloudEvents.
const OWN_ATTRIBUTES_MAX_BINARY: usize = 1;

/// Bytes of an attribute's value of the document.
pub(super) const VALUE_MAX: usize = 1024;

impl Sqs {
    /// Reads the object `sink`.
    ///
    /// # Errors
    /// All mistakes in it, with pointers below `/sink`.
    pub(in crate::sinks) fn parse(sink: &Value, settings: &Settings) -> Result<Self, Vec<Fault>> {
        read_sink(sink, |fields, _| read(fields, settings))
    }

    /// Judges endpoint and credentials by the operator's settings.
    pub(in crate::sinks) fn check_egress(&self, guard: &Guard) -> Result<(), Fault> {
        aws::check_egress(&self.account, guard, "sqs", "/sink/queue_url")
    }
}

fn read(mut fields: Fields<'_>, settings: &Settings) -> Option<Sqs> {
    fields.required_text("type");
    let url = queue_url(&mut fields);
    let region = url.as_ref().and_then(region_of);
    let origin = url.as_ref().map(origin);
    let account = aws::account(&mut fields, settings, region.as_deref(), origin);
    let cloudevents = cloudevents::mode(&mut fields);
    let attributes = attributes(&mut fields, cloudevents);
    fields.close();
    let url = url?;
    Some(Sqs {
        fifo: url.path().ends_with(".fifo"),
        queue_url: url.as_str().into(),
        attributes,
        cloudevents,
        account: account?,
        timeout: settings.aws.timeout.0,
        batcher: aws::batcher(settings.batch.linger.0),
    })
}

fn queue_url(fields: &mut Fields<'_>) -> Option<Url> {
    let text = fields.required_text("queue_url")?;
    let message = match egress::parse_url(text) {
        Ok(url) if is_queue(&url) => return Some(url),
        Err(Refusal::Userinfo) => "holds a user name or a password; write credentials in `auth`",
        Err(Refusal::Scheme) => "is of another scheme than `https` or `http`",
        Ok(_) | Err(_) => {
            "is not the URL of a queue; write it like \
             `https://sqs.eu-west-1.amazonaws.com/123456789012/orders`"
        }
    };
    fields.fault("queue_url", message);
    None
}

/// Whether the URL ends with an account and the name of a queue.
fn is_queue(url: &Url) -> bool {
    let segments: Vec<&str> = url
        .path_segments()
        .map(Iterator::collect)
        .unwrap_or_default();
    let [.., account, name] = &segments[..] else {
        return false;
    };
    let stem = name.strip_suffix(".fifo").unwrap_or(name);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    url.query().is_none()
        && !account.is_empty()
        && !stem.is_empty()
        && name.len() <= 80
        && stem.bytes().all(fits)
}

/// The region in the name of an AWS host: `sqs.eu-west-1.amazonaws.com`, and the older `eu-west-1.queue.amazonaws.com`.
fn region_of(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    let host = host.strip_suffix(".cn").unwrap_or(host);
    let name = host.strip_suffix(".amazonaws.com")?;
    let name = name.strip_suffix(".vpce").unwrap_or(name);
    let region = match name.strip_suffix(".queue") {
        Some(region) => region,
        None => name.rsplit_once("sqs.")?.1,
    };
    (!region.contains('.')).then(|| region.to_owned())
}

/// Where the queue is: requests go there, with the queue's URL in them.
fn origin(url: &Url) -> Url {
    let mut origin = url.clone();
    origin.set_path("/");
    origin
}

fn attributes(fields: &mut Fields<'_>, mode: Mode) -> Vec<(String, String)> {
    let Some(entries) = fields.object("attributes").map(Fields::entries) else {
        return Vec::new();
    };
    let most = match mode {
        Mode::Binary => OWN_ATTRIBUTES_MAX_BINARY,
        Mode::Off | Mode::Structured => OWN_ATTRIBUTES_MAX,
    };
    if entries.len() > most {
        let message = format!(
            "takes {most} at most, not {}: a queue takes {ATTRIBUTES_MAX} with those of the service",
            entries.len()
        );
        fields.fault("attributes", message);
    }
    let mut attributes = Vec::with_capacity(entries.len());
    for (_, name, value) in entries {
        if let Err(message) = check(name, value) {
            fields.fault("attributes", format!("`{}` {message}", shown(name)));
        }
        attributes.push((name.to_owned(), value.to_owned()));
    }
    attributes
}

fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

fn check(name: &str, value: &str) -> Result<(), &'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let lower = name.to_ascii_lowercase();
    let dots = name.starts_with('.') || name.ends_with('.') || name.contains("..");
    if name.is_empty() || name.len() > 256 || !name.bytes().all(fits) || dots {
        return Err("is not a name of 1 to 256 letters, digits and `_-.`");
    }
    if lower.starts_with("aws.") || lower.starts_with("amazon.") {
        return Err("begins with `AWS.` or `Amazon.`, which is not free");
    }
    let ours = ["event-id", "event-type", "event-time", "tenant"];
    if ours.contains(&name) || lower.starts_with("posthaste-") || lower.starts_with("ce_") {
        return Err("is set by the service and cannot be chosen");
    }
    if value.is_empty() || value.len() > VALUE_MAX || value.contains(char::is_control) {
        return Err("has a value that is empty, too long or holds control characters");
    }
    Ok(())
}
