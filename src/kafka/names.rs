//! The names of our own topics.

use std::sync::Arc;

use crate::domain::ids::DestinationId;

/// The names of our own topics, with the prefix of the settings.
#[derive(Debug, Clone)]
pub struct Names {
    /// The documents of destinations.
    pub destinations: Arc<str>,
    /// Commands.
    pub control: Arc<str>,
    /// Never a record: its partitions are what instances share out.
    pub lanes: Arc<str>,
    /// Deliveries that wait, of all destinations.
    pub retry: Arc<str>,
    /// Which destination has which retry topic of its own.
    pub dedicated: Arc<str>,
    /// Deliveries that were given up.
    pub dead_letter: Arc<str>,
    /// What came of each attempt.
    pub attempts: Arc<str>,
}

impl Names {
    /// The names behind `prefix`.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        let name = |rest: &str| Arc::from(format!("{prefix}{rest}"));
        Self {
            destinations: name("destinations"),
            control: name("control"),
            lanes: name("lanes"),
            retry: name("retry"),
            dedicated: name("dedicated"),
            dead_letter: name("dead-letter"),
            attempts: name("attempts"),
        }
    }

    /// The name of a retry topic of one destination's own: `<prefix>retry.<tenant>.<id>.<8 hex digits>`, never used
    /// before, since `suffix` is random.
    #[must_use]
    pub fn dedicated_retry(&self, destination: &DestinationId, suffix: u32) -> Arc<str> {
        let (tenant, id) = (destination.tenant(), destination.id());
        format!("{}.{tenant}.{id}.{suffix:08x}", self.retry).into()
    }

    /// The destination that a topic of this name was made for, if it is such a topic.
    #[must_use]
    pub fn destination_of(&self, topic: &str) -> Option<DestinationId> {
        let rest = topic.strip_prefix(&*self.retry)?.strip_prefix('.')?;
        let mut parts = rest.split('.');
        let (tenant, id, suffix) = (parts.next()?, parts.next()?, parts.next()?);
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if parts.next().is_some() || suffix.len() != 8 || !suffix.bytes().all(hex) {
            return None;
        }
        DestinationId::parse(&format!("{tenant}/{id}")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dedicated_topic_names_its_destination() {
        let names = Names::new("ph.");
        let id = DestinationId::parse("acme/Orders_1").expect("valid");
        let topic = names.dedicated_retry(&id, 0xab);
        assert_eq!(&*topic, "ph.retry.acme.Orders_1.000000ab");
        assert_eq!(names.destination_of(&topic), Some(id));
        for other in [
            "ph.retry",
            "ph.retry.a.b",
            "ph.retry.a.b.xyz",
            "ph.retry.a.b.0000000g",
            "ph.retry.A.b.00000000",
        ] {
            assert_eq!(names.destination_of(other), None, "{other}");
        }
    }
}
