//! Which source of the settings a topic belongs to: by its name, or by a pattern.

use super::settings::{Settings, Source};

/// Whether a source's name is a pattern.
#[must_use]
pub fn is_pattern(source: &str) -> bool {
    source.contains('*')
}

/// Whether `topic` fits `pattern`, in which `*` stands for any run of characters.
#[must_use]
pub fn matches(pattern: &str, topic: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| topic.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

impl Settings {
    /// The source that `topic` belongs to, with its key: one of its own name before patterns, these in the order of
    /// their keys. A pattern never takes our own topics or Kafka's (`__…`).
    #[must_use]
    pub fn source_of(&self, topic: &str) -> Option<(&str, &Source)> {
        if let Some((name, source)) = self.sources.get_key_value(topic) {
            return Some((name, source));
        }
        if topic.starts_with(&self.topics.prefix) || topic.starts_with("__") {
            return None;
        }
        let mut patterns = self.sources.iter().filter(|(name, _)| is_pattern(name));
        patterns
            .find(|(pattern, _)| matches(pattern, topic))
            .map(|(name, source)| (name.as_str(), source))
    }
}
