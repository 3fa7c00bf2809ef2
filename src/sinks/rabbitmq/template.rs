//! Routing keys: a text with `{type}`, `{tenant}`, `{id}` and `{topic}` of the event in it. Pure.

use crate::domain::event::Event;

/// The longest routing key, in bytes: <https://www.rabbitmq.com/amqp-0-9-1-reference.html> (shortstr).
const KEY_MAX: usize = 255;

/// A template that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Type,
    Tenant,
    Id,
    Topic,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after
                .split_once('}')
                .ok_or("holds a `{` without a `}` behind it")?;
            parts.push(literal(before)?);
            parts.push(match name {
                "type" => Part::Type,
                "tenant" => Part::Tenant,
                "id" => Part::Id,
                "topic" => Part::Topic,
                _ => return Err("holds something else in braces than `{type}`, `{tenant}`, `{id}`, `{topic}`".into()),
            });
            rest = behind;
        }
        parts.push(literal(rest)?);
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self(parts))
    }

    /// The key of an event.
    ///
    /// # Errors
    /// If it is longer than AMQP allows.
    pub(super) fn fill(&self, event: &Event) -> Result<String, String> {
        let mut key = String::with_capacity(64);
        for part in &self.0 {
            key.push_str(match part {
                Part::Text(text) => text,
                Part::Type => &event.event_type,
                Part::Tenant => event.tenant.as_str(),
                Part::Id => &event.id,
                Part::Topic => &event.origin.topic,
            });
        }
        if key.len() > KEY_MAX {
            return Err(format!(
                "the routing key has {} bytes, AMQP takes {KEY_MAX}",
                key.len()
            ));
        }
        Ok(key)
    }
}

fn literal(text: &str) -> Result<Part, String> {
    if text.contains('}') {
        return Err("holds a `}` without a `{` before it".to_owned());
    }
    if text.len() > KEY_MAX || text.contains(char::is_control) {
        return Err(format!("holds control characters, or is longer than {KEY_MAX} bytes"));
    }
    Ok(Part::Text(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::tests::event;

    #[test]
    fn a_key_is_filled_from_the_event() {
        for (template, expected) in [
            ("{type}", "order.paid"),
            ("", ""),
            ("fixed", "fixed"),
            ("a.{tenant}.{topic}.{id}.z", "a.default.orders.msg_1.z"),
            ("{type}{type}", "order.paidorder.paid"),
        ] {
            let template = Template::parse(template).expect("a template");
            assert_eq!(template.fill(&event(None)).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_template_that_cannot_be_filled_is_refused() {
        for template in ["{", "}", "a}b{type}", "{Type}", "{}", "{key}", "a\nb", "{type"] {
            assert!(Template::parse(template).is_err(), "{template:?}");
        }
        assert!(Template::parse(&"x".repeat(256)).is_err());
    }

    #[test]
    fn a_key_that_is_too_long_is_not_cut() {
        let template = Template::parse("{type}").expect("a template");
        let mut event = event(None);
        event.event_type = "x".repeat(255).into();
        assert!(template.fill(&event).is_ok());
        event.event_type = "x".repeat(256).into();
        assert!(template.fill(&event).is_err());
    }
}
