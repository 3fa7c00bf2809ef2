//! Patterns by which subscriptions choose event types.
//!
//! A pattern's text comes from a destination's document, an event type from an event. An event type consists of segments
//! that dots separate; a segment may be empty.
//!
//! Invariant: matching takes at most time in proportion to the length of the pattern times that of the event type.

/// The longest pattern in bytes: as long as the longest event type.
pub const MAX_BYTES: usize = 256;
/// The most `*` in a pattern.
pub const MAX_STARS: usize = 16;

/// A text that is not a pattern of event types.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// It is empty.
    #[error("a pattern of event types is empty; write `*` for all")]
    Empty,
    /// It is longer than [`MAX_BYTES`].
    #[error(
        "a pattern of event types has {found} bytes, more than {MAX_BYTES}, so no event type can match it"
    )]
    TooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// It has more than [`MAX_STARS`].
    #[error(
        "the pattern `{pattern}` has {found} `*`, more than {MAX_STARS}; write several shorter patterns"
    )]
    TooManyStars {
        /// The pattern.
        pattern: Box<str>,
        /// Its number of `*`.
        found: usize,
    },
    /// A segment has `**` beside other characters.
    #[error(
        "the segment `{segment}` of the pattern `{pattern}` has `**` beside other characters; `**` stands alone between dots, `*` is for a part of a segment"
    )]
    MixedStars {
        /// The pattern.
        pattern: Box<str>,
        /// The segment.
        segment: Box<str>,
    },
}

/// Which event types a subscription chooses.
///
/// - `*` alone: all.
/// - `*` within a segment: any run of characters of that segment, also an empty one. As a whole segment: one segment,
///   whatever is in it. So `order.*` matches `order.paid` and neither `order` nor `order.paid.late`.
/// - A segment `**`: one or more segments. So `order.**` matches `order.paid` and `order.paid.late`, not `order`.
/// - All else: itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(Form);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// Every event type.
    All,
    /// This event type.
    Exact(Box<str>),
    /// Those that match segment by segment; at least one is not a literal.
    Segments(Box<[Segment]>),
}

/// What one segment of a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Segment {
    /// This segment.
    Literal(Box<str>),
    /// Any one segment.
    Any,
    /// One segment that looks like this.
    Glob(Glob),
    /// One or more segments.
    Deep,
}

/// A segment with `*` among other characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Glob {
    /// Before the first `*`.
    pub(super) prefix: Box<str>,
    /// Between two `*` each.
    middle: Box<[Box<str>]>,
    /// After the last `*`.
    suffix: Box<str>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// If it is empty, longer than [`MAX_BYTES`], has more than [`MAX_STARS`] or a `**` that is not a whole segment.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        if text.is_empty() {
            return Err(InvalidPattern::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(InvalidPattern::TooLong { found: text.len() });
        }
        match text.bytes().filter(|byte| *byte == b'*').count() {
            0 => return Ok(Self(Form::Exact(text.into()))),
            1..=MAX_STARS => {}
            found => {
                return Err(InvalidPattern::TooManyStars {
                    pattern: text.into(),
                    found,
                });
            }
        }
        if matches!(text, "*" | "**") {
            return Ok(Self(Form::All));
        }
        let segments = text.split('.').map(|segment| {
            Segment::parse(segment).ok_or_else(|| InvalidPattern::MixedStars {
                pattern: text.into(),
                segment: segment.into(),
            })
        });
        Ok(Self(Form::Segments(segments.collect::<Result<_, _>>()?)))
    }

    /// The pattern `*`.
    #[must_use]
    pub fn all() -> Self {
        Self(Form::All)
    }

    /// Whether it chooses `event_type`.
    #[must_use]
    pub fn matches(&self, event_type: &str) -> bool {
        match &self.0 {
            Form::All => true,
            Form::Exact(text) => **text == *event_type,
            Form::Segments(segments) => {
                let found: Vec<&str> = event_type.split('.').collect();
                segments_match(segments, &found)
            }
        }
    }

    pub(super) fn form(&self) -> &Form {
        &self.0
    }
}

impl Segment {
    /// `None` where `**` stands beside other characters.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "*" => return Some(Self::Any),
            "**" => return Some(Self::Deep),
            _ if text.contains("**") => return None,
            _ => {}
        }
        let Some((prefix, rest)) = text.split_once('*') else {
            return Some(Self::Literal(text.into()));
        };
        let mut pieces: Vec<Box<str>> = rest.split('*').map(Into::into).collect();
        let suffix = pieces.pop().unwrap_or_default();
        Some(Self::Glob(Glob {
            prefix: prefix.into(),
            middle: pieces.into(),
            suffix,
        }))
    }

    /// Whether it matches this one segment.
    fn matches(&self, segment: &str) -> bool {
        match self {
            Self::Literal(text) => **text == *segment,
            Self::Any | Self::Deep => true,
            Self::Glob(glob) => segment
                .strip_prefix(&*glob.prefix)
                .is_some_and(|rest| glob.rest_matches(rest)),
        }
    }
}

impl Glob {
    /// Whether what comes after the prefix matches. The leftmost place of each piece leaves the most room for the next.
    pub(super) fn rest_matches(&self, rest: &str) -> bool {
        let Some(mut rest) = rest.strip_suffix(&*self.suffix) else {
            return false;
        };
        for piece in &self.middle {
            let Some((_, after)) = rest.split_once(&**piece) else {
                return false;
            };
            rest = after;
        }
        true
    }
}

/// Walks both from the front. Where it gets stuck, only the last `**` takes one segment more: an earlier one could reach
/// nothing that this one cannot.
fn segments_match(pattern: &[Segment], segments: &[&str]) -> bool {
    let (mut at, mut taken) = (0, 0);
    // After the last `**`: the place in the pattern, and how many segments were taken before going on from there.
    let mut last_deep = None;
    while let Some(segment) = segments.get(taken) {
        match pattern.get(at) {
            Some(Segment::Deep) => {
                at += 1;
                taken += 1;
                last_deep = Some((at, taken));
            }
            Some(expected) if expected.matches(segment) => {
                at += 1;
                taken += 1;
            }
            _ => {
                let Some((after, before)) = last_deep else {
                    return false;
                };
                at = after;
                taken = before + 1;
                last_deep = Some((at, taken));
            }
        }
    }
    at == pattern.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect(text)
    }

    #[test]
    fn patterns_match_as_documented() {
        let all = [
            "order",
            "order.paid",
            "order.paid.late",
            "order.",
            ".paid",
            "a..b",
            ".",
            "",
            "Order.paid",
        ];
        for (text, matching) in [
            ("*", &all[..]),
            ("**", &all[..]),
            ("order.paid", &["order.paid"][..]),
            ("order.*", &["order.paid", "order."][..]),
            ("*.paid", &["order.paid", ".paid", "Order.paid"][..]),
            (
                "*.*",
                &["order.paid", "order.", ".paid", ".", "Order.paid"][..],
            ),
            ("order.**", &["order.paid", "order.paid.late", "order."][..]),
            ("**.paid", &["order.paid", ".paid", "Order.paid"][..]),
            ("**.late", &["order.paid.late"][..]),
            ("**.paid.**", &["order.paid.late"][..]),
            ("order.**.late", &["order.paid.late"][..]),
            ("**.**.**", &["order.paid.late", "a..b"][..]),
            ("**.**.**.**", &[][..]),
            ("a..b", &["a..b"][..]),
            ("a.*.b", &["a..b"][..]),
            ("ord*", &["order"][..]),
            ("order*", &["order"][..]),
            ("*r", &["order"][..]),
            ("o*e*", &["order"][..]),
            ("or*er", &["order"][..]),
            ("ord*der", &[][..]),
            ("*r*.*a*d", &["order.paid", "Order.paid"][..]),
            ("order.*.*", &["order.paid.late"][..]),
            (".*", &[".paid", "."][..]),
        ] {
            let found: Vec<&str> = all
                .into_iter()
                .filter(|t| pattern(text).matches(t))
                .collect();
            assert_eq!(found, matching, "{text}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_a_reason() {
        let mixed = |pattern: &str, segment: &str| InvalidPattern::MixedStars {
            pattern: pattern.into(),
            segment: segment.into(),
        };
        let stars = "*.".repeat(17);
        for (text, error) in [
            ("", InvalidPattern::Empty),
            (&"x".repeat(257), InvalidPattern::TooLong { found: 257 }),
            (
                &stars,
                InvalidPattern::TooManyStars {
                    pattern: stars.as_str().into(),
                    found: 17,
                },
            ),
            ("a**", mixed("a**", "a**")),
            ("**a.b", mixed("**a.b", "**a")),
            ("order.***", mixed("order.***", "***")),
            ("a.b.**.*x**", mixed("a.b.**.*x**", "*x**")),
        ] {
            assert_eq!(Pattern::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn patterns_at_the_limits_are_taken() {
        for text in [
            "x".repeat(256),
            "*.".repeat(16),
            "**.".repeat(8),
            "*a".repeat(16),
        ] {
            assert!(Pattern::parse(&text).is_ok(), "{text}");
        }
    }

    #[test]
    fn hostile_patterns_end_soon() {
        let types = [
            "a".repeat(256),
            "a.".repeat(128),
            ".".repeat(256),
            "a".repeat(255) + "b",
        ];
        let patterns = [
            "*a".repeat(16) + "c",
            "**.".repeat(8) + "c",
            "**.a.a.a.".repeat(8) + "c",
            "*a*.".repeat(8) + "c",
            "**.".repeat(7) + &"a.".repeat(100) + "b",
        ];
        // The number of ways to share out the segments over the stars exceeds 10^9 here; a search through them would not
        // end within a day.
        for text in &patterns {
            let pattern = pattern(text);
            for event_type in &types {
                for _ in 0..100 {
                    assert!(!pattern.matches(event_type), "{text} {event_type}");
                }
            }
        }
    }

    /// The definition, spelled out: tries every way.
    fn defined(pattern: &[&str], segments: &[&str]) -> bool {
        fn within(pattern: &[u8], text: &[u8]) -> bool {
            match pattern {
                [] => text.is_empty(),
                [b'*', rest @ ..] => (0..=text.len()).any(|n| within(rest, &text[n..])),
                [first, rest @ ..] => text.first() == Some(first) && within(rest, &text[1..]),
            }
        }
        match pattern {
            [] => segments.is_empty(),
            ["**", rest @ ..] => (1..=segments.len()).any(|n| defined(rest, &segments[n..])),
            [first, rest @ ..] => segments.split_first().is_some_and(|(s, more)| {
                within(first.as_bytes(), s.as_bytes()) && defined(rest, more)
            }),
        }
    }

    proptest! {
        #[test]
        fn a_match_is_what_the_definition_says(
            text in prop::collection::vec("\\*\\*|[ab]{0,2}|([ab]?\\*[ab]?){1,3}", 1..6).prop_map(|s| s.join(".")),
            event_type in prop::collection::vec("[ab]{0,3}", 1..7).prop_map(|s| s.join(".")),
        ) {
            let Ok(pattern) = Pattern::parse(&text) else { return Ok(()) };
            let expected = text == "*" || {
                let parts: Vec<&str> = text.split('.').collect();
                let segments: Vec<&str> = event_type.split('.').collect();
                defined(&parts, &segments)
            };
            prop_assert_eq!(pattern.matches(&event_type), expected);
        }

        #[test]
        fn every_pattern_matches_its_own_text_and_none_panics(text in any::<String>(), stars in "[*.é]{0,40}", event_type in any::<String>()) {
            for text in [text, stars] {
                if let Ok(pattern) = Pattern::parse(&text) {
                    let other = pattern.matches(&event_type);
                    prop_assert!(pattern.matches(&text), "{} {}", text, other);
                }
            }
        }
    }
}
