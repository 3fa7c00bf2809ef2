//! The object `sink` of an event bus: from JSON to what all its entries share.

use serde_json::Value;

use super::EventBridge;
use crate::config::faults::Fault;
use crate::config::settings::Settings;
use crate::egress::Guard;
use crate::sinks::aws;
use crate::sinks::cloudevents::{self, Mode};
use crate::sinks::fields::{Fields, read_sink};

/// Characters of an entry's `Source` at most.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html>
pub(super) const SOURCE_MAX: usize = 256;

/// Characters of an entry's `DetailType` at most.
/// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html>
pub(super) const DETAIL_TYPE_MAX: usize = 128;

/// Characters of a bus's name or ARN at most.
pub(super) const EVENT_BUS_MAX: usize = 1600;

impl EventBridge {
    /// Reads the object `sink`.
    ///
    /// # Errors
    /// All mistakes in it, with pointers below `/sink`.
    pub(in crate::sinks) fn parse(sink: &Value, settings: &Settings) -> Result<Self, Vec<Fault>> {
        read_sink(sink, |fields, _| read(fields, settings))
    }

    /// Judges endpoint and credentials by the operator's settings.
    pub(in crate::sinks) fn check_egress(&self, guard: &Guard) -> Result<(), Fault> {
        aws::check_egress(&self.account, guard, "events", "/sink/endpoint")
    }
}

fn read(mut fields: Fields<'_>, settings: &Settings) -> Option<EventBridge> {
    fields.required_text("type");
    let event_bus = event_bus(&mut fields);
    let region = event_bus.as_deref().and_then(region_of);
    let account = aws::account(&mut fields, settings, region, None);
    let source = source(&mut fields);
    let detail_type = detail_type(&mut fields);
    let cloudevents = cloudevents::mode(&mut fields);
    if cloudevents == Mode::Binary {
        fields.fault(
            "cloudevents",
            "is `binary`, but EventBridge has nothing beside the body for it; write `structured`",
        );
    }
    fields.close();
    Some(EventBridge {
        event_bus: event_bus?,
        source,
        detail_type,
        cloudevents,
        account: account?,
        timeout: settings.aws.timeout.0,
        batcher: aws::batcher(settings.batch.linger.0),
    })
}

fn event_bus(fields: &mut Fields<'_>) -> Option<String> {
    let text = match fields.text("event_bus") {
        Some(text) => text,
        None if fields.has("event_bus") => return None,
        None => "default",
    };
    let name = match text.strip_prefix("arn:") {
        Some(arn) => arn.split_once(":event-bus/").map(|(_, name)| name),
        None => Some(text),
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/.-_".contains(&byte);
    let valid = name.is_some_and(|name| !name.is_empty() && name.bytes().all(fits));
    if !valid || text.len() > EVENT_BUS_MAX || text.starts_with("arn:") && region_of(text).is_none()
    {
        fields.fault(
            "event_bus",
            "is neither the name of a bus nor its ARN; write it like `default` or \
             `arn:aws:events:eu-west-1:123456789012:event-bus/orders`",
        );
        return None;
    }
    Some(text.to_owned())
}

/// The region in a bus's ARN.
fn region_of(event_bus: &str) -> Option<&str> {
    let mut parts = event_bus.strip_prefix("arn:aws")?.splitn(5, ':');
    let (_partition, service, region) = (parts.next()?, parts.next()?, parts.next()?);
    (service == "events" && !region.is_empty()).then_some(region)
}

fn source(fields: &mut Fields<'_>) -> String {
    let source = fields.text("source").unwrap_or("posthaste");
    if source.is_empty()
        || source.chars().count() > SOURCE_MAX
        || source.contains(char::is_control)
        || source.starts_with("aws.")
    {
        fields.fault(
            "source",
            "is not 1 to 256 characters, or begins with `aws.`, which is not free",
        );
    }
    source.to_owned()
}

fn detail_type(fields: &mut Fields<'_>) -> Option<String> {
    let text = fields.text("detail_type")?;
    let length = text.chars().count();
    if !(1..=DETAIL_TYPE_MAX).contains(&length) || text.contains(char::is_control) {
        fields.fault(
            "detail_type",
            format!("is not 1 to {DETAIL_TYPE_MAX} characters"),
        );
    }
    Some(text.to_owned())
}
