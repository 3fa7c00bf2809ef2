//! The message of one attempt. Pure.
//!
//! The event's own headers pass, but for those that the broker itself obeys; headers that we set replace those of the
//! same name.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::sinks::Outgoing;
use crate::sinks::attributes::attributes;
use crate::sinks::cloudevents::Rendered;

/// The prefix of the attributes of a CloudEvent: of the binding for AMQP 1.0, to which RabbitMQ translates headers.
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md#3131-amqp-application-property-names>
const PREFIX: &str = "cloudEvents_";

/// Stored on disk: <https://www.rabbitmq.com/docs/publishers#message-properties>.
const PERSISTENT: u8 = 2;

/// Headers by which a message asks for further routes: <https://www.rabbitmq.com/docs/sender-selected>.
const OBEYED: [&str; 2] = ["CC", "BCC"];

/// The properties of one attempt, and about how many bytes they take.
///
/// # Errors
/// If a header's name is longer than AMQP allows.
pub(super) fn properties(
    outgoing: &Outgoing<'_>,
    rendered: &Rendered<'_>,
) -> Result<(BasicProperties, usize), String> {
    let event = outgoing.event;
    let mut table = FieldTable::default();
    let mut bytes = 0;
    let mut set = |name: &str, value: Option<&[u8]>| {
        let short = ShortString::try_new(name);
        let short = short.map_err(|_too_long| "a header's name is longer than 255 bytes".to_owned())?;
        bytes += name.len() + value.map_or(0, <[u8]>::len) + 6;
        let value = value.map_or(AMQPValue::Void, |value| {
            AMQPValue::LongString(LongString::from(value.to_vec()))
        });
        table.insert(short, value);
        Ok::<(), String>(())
    };
    for (name, value) in &event.headers {
        if !OBEYED.contains(&&**name) {
            set(name, value.as_deref())?;
        }
    }
    for (name, value) in &attributes(outgoing) {
        set(name, Some(value.as_bytes()))?;
    }
    for (name, value) in &rendered.attributes {
        set(&format!("{PREFIX}{name}"), Some(value.as_bytes()))?;
    }
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_headers(table);
    // Those that are too long for a property stand in the headers alone.
    if let Ok(id) = ShortString::try_new(&*event.id) {
        properties = properties.with_message_id(id);
    }
    if let Ok(kind) = ShortString::try_new(&*event.event_type) {
        properties = properties.with_type(kind);
    }
    if let Ok(content_type) = ShortString::try_new(&*rendered.content_type)
        && !rendered.content_type.is_empty()
    {
        properties = properties.with_content_type(content_type);
    }
    if let Ok(seconds) = u64::try_from(event.time_ms.div_euclid(1000)) {
        properties = properties.with_timestamp(seconds);
    }
    Ok((properties, bytes))
}
