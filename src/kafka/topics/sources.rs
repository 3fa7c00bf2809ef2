//! Which topics are sources: names and patterns from settings against the topics that exist.

use std::collections::{BTreeMap, BTreeSet};

pub use crate::config::sources::{is_pattern, matches};

/// The topics of each source. A pattern never takes our own topics (`prefix`) or Kafka's (`__…`).
pub fn find<'a>(
    sources: impl Iterator<Item = &'a String>,
    topics: impl Iterator<Item = &'a String> + Clone,
    prefix: &str,
) -> BTreeMap<String, BTreeSet<String>> {
    sources
        .map(|source| {
            let found = topics
                .clone()
                .filter(|topic| {
                    if is_pattern(source) {
                        !topic.starts_with(prefix)
                            && !topic.starts_with("__")
                            && matches(source, topic)
                    } else {
                        *topic == source
                    }
                })
                .cloned()
                .collect();
            (source.clone(), found)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, topic, expected) in [
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("orders-*", "orders-eu", true),
            ("orders-*", "orders-", true),
            ("orders-*", "orders", false),
            ("*", "anything", true),
            ("*.events", "shop.events", true),
            ("*.events", "shop.events.v2", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*bc*c", "abc", false),
            ("aa*aa", "aaa", false),
        ] {
            assert_eq!(matches(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn patterns_do_not_take_our_own_topics() {
        let sources = ["*".to_owned(), "missing".to_owned()];
        let topics = ["__consumer_offsets", "orders", "posthaste.attempts"].map(str::to_owned);
        let found = find(sources.iter(), topics.iter(), "posthaste.");
        let all: Vec<&str> = found["*"].iter().map(String::as_str).collect();
        assert_eq!(all, ["orders"]);
        assert!(found["missing"].is_empty());
    }
}
