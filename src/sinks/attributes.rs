//! What sinks tell of an event beside its bytes, for protocols whose messages carry names and values of their own.
//!
//! Invariant: the hops always travel, so that an event that comes back through Kafka is known to have been here.

use std::borrow::Cow;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Outgoing;

/// How often the event has passed through a service like this one. Sources read it.
pub(super) const HOPS: &str = "posthaste-hops";

/// Says that the event is a sample, sent to see whether the destination works.
pub(super) const TEST: &str = "posthaste-test";

/// A name and its value.
pub(super) type Attribute<'a> = (Cow<'static, str>, Cow<'a, str>);

/// The hops that an event has made once it is delivered.
pub(super) fn hops(outgoing: &Outgoing<'_>) -> u8 {
    outgoing.event.hops.saturating_add(1)
}

/// The attributes of one attempt: `event-id`, `event-type`, `event-time` (RFC 3339), `tenant`, `posthaste-attempt` (from
/// 1), `posthaste-hops`, `posthaste-replay` where one is going on, and
/// `posthaste-test` of a sample event. Sources read the first two, the tenant and the hops
/// by the same names.
pub(super) fn attributes<'a>(outgoing: &Outgoing<'a>) -> Vec<Attribute<'a>> {
    let event = outgoing.event;
    let mut attributes = Vec::with_capacity(8);
    let mut add = |name: &'static str, value: Cow<'a, str>| attributes.push((name.into(), value));
    add("event-id", (&*event.id).into());
    add("event-type", (&*event.event_type).into());
    if let Some(time) = rfc3339(event.time_ms) {
        add("event-time", time.into());
    }
    add("tenant", event.tenant.as_str().into());
    add("posthaste-attempt", outgoing.attempt.to_string().into());
    add(HOPS, hops(outgoing).to_string().into());
    if let Some(replay) = outgoing.replay {
        add("posthaste-replay", replay.into());
    }
    if outgoing.is_test() {
        add(TEST, "true".into());
    }
    attributes
}

/// Milliseconds since 1970 as RFC 3339; `None` outside of the years that it can write.
pub(super) fn rfc3339(time_ms: i64) -> Option<String> {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(time_ms) * 1_000_000).ok()?;
    at.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::DestinationId;
    use crate::sinks::tests::event;

    fn told(attempt: u32, hops: u8, replay: Option<&str>) -> Vec<String> {
        let destination = DestinationId::parse("acme/hooks").expect("id");
        let mut event = event(Some(b"{}"));
        event.hops = hops;
        let attributes = attributes(&Outgoing {
            event: &event,
            destination: &destination,
            attempt,
            replay,
            now_ms: 0,
        });
        let line = |(name, value): &Attribute<'_>| format!("{name}: {value}");
        attributes.iter().map(line).collect()
    }

    #[test]
    fn an_attempt_tells_who_what_when_and_how_often() {
        assert_eq!(
            told(3, 1, Some("repair_20260131080000")),
            [
                "event-id: msg_1",
                "event-type: order.paid",
                "event-time: 2026-01-31T08:00:00.25Z",
                "tenant: default",
                "posthaste-attempt: 3",
                "posthaste-hops: 2",
                "posthaste-replay: repair_20260131080000",
            ]
        );
    }

    #[test]
    fn a_sample_event_says_so() {
        let destination = DestinationId::parse("acme/hooks").expect("id");
        let mut event = event(Some(b"{}"));
        event.event_type = "posthaste.test".into();
        let attributes = attributes(&Outgoing {
            event: &event,
            destination: &destination,
            attempt: 1,
            replay: None,
            now_ms: 0,
        });
        assert!(attributes.contains(&("posthaste-test".into(), "true".into())));
    }

    #[test]
    fn hops_never_wrap_around() {
        assert!(told(1, u8::MAX, None).contains(&"posthaste-hops: 255".to_owned()));
    }

    #[test]
    fn a_time_that_cannot_be_written_is_left_out() {
        assert_eq!(rfc3339(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(rfc3339(i64::MAX), None);
        assert_eq!(rfc3339(i64::MIN), None);
    }
}
