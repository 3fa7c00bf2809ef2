//! The document of a destination: from the value of a record in `destinations` to a [`Destination`] that keeps all rules.
//!
//! Invariant: what is documented and not built yet is refused by name, unless it asks for nothing.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::faults::{Fault, Findings, child};
use super::settings::Settings;
use super::{read, strict_json, words};
use crate::domain::destination::{DeliveryPolicy, Destination, RetryPolicy};
use crate::domain::ids::{DestinationId, TenantId};

#[cfg(test)]
mod random_tests;
mod rules;
mod subscription;
#[cfg(test)]
mod tests;

use subscription::Subscription;

/// The largest document, in bytes.
pub const BYTES_MAX: usize = 256 << 10;
/// How deep objects and lists may be nested.
pub const DEPTH_MAX: usize = 72;
const METADATA_MAX: usize = 32;

/// A destination: where events go, which ones, how fast and how stubbornly. The value of a record in the topic
/// `destinations`; the record's key is `tenant/id`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Destination")]
pub(super) struct Document {
    /// Its owner.
    #[serde(default = "default_tenant")]
    #[schemars(regex(pattern = "^[a-z0-9_-]{1,64}$"))]
    tenant: String,
    /// Names it within its tenant.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{1,64}$"))]
    id: String,
    /// For people.
    #[serde(default)]
    description: String,
    /// For the platform's own use.
    #[serde(default)]
    #[schemars(extend("maxProperties" = METADATA_MAX))]
    metadata: BTreeMap<String, String>,
    /// Whether it gets events now; those that match meanwhile wait.
    #[serde(default = "yes")]
    enabled: bool,
    /// Where its events go.
    sink: Value,
    /// Which events it receives; absent: every event of the tenant. An event that several match is delivered once.
    #[serde(default)]
    #[schemars(length(max = subscription::SUBSCRIPTIONS_MAX))]
    subscriptions: Option<Vec<Subscription>>,
    /// How much at once.
    #[serde(default)]
    delivery: DeliveryPolicy,
    /// When and how often a failed delivery is tried again.
    #[serde(default)]
    retry: RetryPolicy,
    /// The circuit breaker; not supported yet.
    #[serde(default, rename = "circuit")]
    _circuit: Option<SwitchedOff>,
    /// Disabling a destination that keeps failing; not supported yet.
    #[serde(default, rename = "disable")]
    _disable: Option<SwitchedOff>,
    /// A status monitor; not supported yet.
    #[serde(default, rename = "monitor")]
    _monitor: (),
    /// Alerts; not supported yet.
    #[serde(default, rename = "alerts")]
    _alerts: Option<NoAlerts>,
}

/// Not supported yet: it can only be switched off.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SwitchedOff {
    /// Always false.
    #[serde(rename = "enabled")]
    #[schemars(extend("const" = false))]
    _enabled: bool,
}

/// Alerts that go nowhere.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoAlerts {
    /// Always empty.
    #[serde(rename = "channels")]
    #[schemars(length(max = 0))]
    _channels: Vec<String>,
}

fn default_tenant() -> String {
    TenantId::default_tenant().as_str().to_owned()
}

fn yes() -> bool {
    true
}

/// Reads the record of `destinations` with this key and value. `knows_topic` says whether a topic is read under
/// `sources`. The sink's own part is not looked into beyond its `type`.
///
/// # Errors
/// All mistakes, with JSON pointers into the document; the pointer of a wrong key is empty.
pub fn parse(
    key: Option<&[u8]>,
    value: &[u8],
    knows_topic: &dyn Fn(&str) -> bool,
    limits: &Settings,
) -> Result<Destination, Vec<Fault>> {
    let mut findings = Findings::default();
    let destination = checked(
        value,
        knows_topic,
        limits,
        &mut findings,
        |id, findings| match key {
            None => findings.add("", format!("the record has no key; it must be `{id}`")),
            Some(key) if key != id.as_str().as_bytes() => {
                let key = words::quoted(&String::from_utf8_lossy(key));
                let message =
                    format!("the record's key is {key}, the document is `{id}`; they must agree");
                findings.add("", message);
            }
            Some(_) => {}
        },
    );
    finish(destination, findings)
}

/// As [`parse`], for a document that has no key yet.
///
/// # Errors
/// All mistakes, with JSON pointers into the document.
pub fn parse_document(
    value: &[u8],
    knows_topic: &dyn Fn(&str) -> bool,
    limits: &Settings,
) -> Result<Destination, Vec<Fault>> {
    let mut findings = Findings::default();
    let destination = checked(value, knows_topic, limits, &mut findings, |_, _| {});
    finish(destination, findings)
}

fn finish(destination: Option<Destination>, findings: Findings) -> Result<Destination, Vec<Fault>> {
    let faults = findings.into_vec();
    match destination {
        Some(destination) if faults.is_empty() => Ok(destination),
        _ => Err(faults),
    }
}

/// Returns the destination where at least its id is known, and adds all faults to `findings`.
fn checked(
    value: &[u8],
    knows_topic: &dyn Fn(&str) -> bool,
    limits: &Settings,
    findings: &mut Findings,
    check_key: impl FnOnce(&DestinationId, &mut Findings),
) -> Option<Destination> {
    if value.len() > BYTES_MAX {
        let (found, most) = (value.len(), BYTES_MAX);
        findings.add(
            "",
            format!("the document has {found} bytes; at most {most} are allowed"),
        );
        return None;
    }
    let (tree, mut known) = match strict_json::tree(value, DEPTH_MAX) {
        Ok(tree) => tree,
        Err(fault) => {
            findings.add("", fault.message);
            return None;
        }
    };
    known.extend(not_supported(&tree));
    let reading = read::<Document>(&tree, &stand_ins(), known);
    *findings = Findings::new(reading.faults);
    let document = reading.value?;

    sink(&document.sink, findings);
    if document.metadata.len() > METADATA_MAX {
        let found = document.metadata.len();
        findings.add(
            "/metadata",
            format!("there are {found} entries; at most {METADATA_MAX} are allowed"),
        );
    }
    let subscriptions = document
        .subscriptions
        .as_deref()
        .map(|all| subscription::check(all, value, knows_topic, limits, findings));
    let concurrency = document.delivery.concurrency;
    rules::within(findings, "/delivery/concurrency", concurrency, 1..=1000);
    rules::retry(&document.retry, limits, findings);

    let (tenant, id) = names(&document, findings)?;
    check_key(&id, findings);
    Some(Destination {
        id,
        tenant,
        description: document.description,
        metadata: document.metadata,
        enabled: document.enabled,
        sink: document.sink,
        subscriptions,
        delivery: document.delivery,
        retry: document.retry,
    })
}

/// What stands in for parts of a document that are wrong or missing, while the rest is checked.
fn stand_ins() -> Value {
    json!({
        "id": "x",
        "sink": {"type": "x"},
        "subscriptions": [{
            "topics": ["x"], "event_types": ["x"],
            "filter": {"dialect": "hookdeck", "scope": "body", "rule": {}},
        }],
        "retry": {"delays": ["1s"]},
    })
}

/// What is documented and not built yet.
fn not_supported(tree: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    if tree.pointer("/delivery/ordering") == Some(&json!("key")) {
        let message = "\"ordering\": \"key\" is not supported yet; leave it out or write \"none\"";
        faults.push(Fault::new("/delivery/ordering", message));
    }
    let off = json!({"enabled": false});
    for (key, nothing) in [
        ("circuit", &off),
        ("disable", &off),
        ("monitor", &Value::Null),
        ("alerts", &json!({"channels": []})),
    ] {
        let asks = |value: &&Value| !value.is_null() && *value != nothing;
        if tree.get(key).filter(asks).is_some() {
            let message =
                format!("\"{key}\" is not supported yet; leave it out or write {nothing}");
            faults.push(Fault::new(child("", key), message));
        }
    }
    faults
}

fn names(document: &Document, findings: &mut Findings) -> Option<(TenantId, DestinationId)> {
    let tenant =
        TenantId::new(&document.tenant).map_err(|error| findings.add("/tenant", error.to_string()));
    // The id is checked even where the tenant is wrong.
    let owner = tenant
        .clone()
        .unwrap_or_else(|()| TenantId::default_tenant());
    let id = DestinationId::new(&owner, &document.id)
        .map_err(|error| findings.add("/id", error.to_string()));
    let known = findings.clean("/tenant") && findings.clean("/id");
    known.then_some((tenant.ok()?, id.ok()?))
}

fn sink(sink: &Value, findings: &mut Findings) {
    match (sink, sink.get("type")) {
        (Value::Object(_), Some(Value::String(_))) => {}
        (Value::Object(_), Some(_)) => {
            findings.add(
                "/sink/type",
                "this is not a string; write it like \"webhook\"",
            );
        }
        (Value::Object(_), None) => findings.add("/sink/type", "is required"),
        _ => findings.add(
            "/sink",
            "this is not an object; write it like {\"type\": \"webhook\", …}",
        ),
    }
}
