//! Durations, sizes and rates as people write them: `20s`, `64MiB`, `100/s`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not a duration, size or rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a {what}; write it like {example}")]
pub struct InvalidUnit {
    what: &'static str,
    found: String,
    example: &'static str,
}

fn invalid(what: &'static str, found: &str, example: &'static str) -> InvalidUnit {
    InvalidUnit {
        what,
        found: found.chars().take(80).collect(),
        example,
    }
}

/// Splits `12.5ms` into its whole number and unit.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// A duration: `250ms`, `20s`, `5m`, `12h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

impl Span {
    /// Whole seconds.
    #[must_use]
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// In milliseconds; what exceeds `i64` is cut.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

impl FromStr for Span {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let wrong = || invalid("duration", text, "`250ms`, `20s`, `5m`, `12h` or `7d`");
        let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
        let millis = match unit {
            "ms" => Some(number),
            "s" => number.checked_mul(1_000),
            "m" => number.checked_mul(60_000),
            "h" => number.checked_mul(3_600_000),
            "d" => number.checked_mul(86_400_000),
            _ => None,
        };
        // A century: beyond it arithmetic on instants overflows.
        millis
            .filter(|ms| *ms <= 100 * 365 * 86_400_000)
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(wrong)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        for (unit, size) in [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1_000),
        ] {
            if ms >= size && ms.is_multiple_of(size) {
                return write!(f, "{}{unit}", ms / size);
            }
        }
        write!(f, "{ms}ms")
    }
}

/// A size in bytes: `512B`, `64KiB`, `1MiB`, `2GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub usize);

impl FromStr for ByteSize {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let wrong = || invalid("size", text, "`512B`, `64KiB`, `1MiB` or `2GiB`");
        let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
        let shift = match unit {
            "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return Err(wrong()),
        };
        number
            .checked_mul(1 << shift)
            .and_then(|bytes| usize::try_from(bytes).ok())
            .map(Self)
            .ok_or_else(wrong)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, size) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= size && self.0.is_multiple_of(size) {
                return write!(f, "{}{unit}", self.0 / size);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// How many deliveries in how long: `100/s`, `5/m`, `1000/h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    unit: char,
}

impl Rate {
    /// Deliveries a second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        f64::from(self.count)
            / match self.unit {
                'h' => 3600.0,
                'm' => 60.0,
                _ => 1.0,
            }
    }
}

impl FromStr for Rate {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let wrong = || invalid("rate", text, "`100/s`, `5/m` or `1000/h`");
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let count: u32 = count.parse().map_err(|_not_a_number| wrong())?;
        let mut letters = unit.chars();
        match (letters.next(), letters.next()) {
            (Some(unit @ ('s' | 'm' | 'h')), None) if count > 0 => Ok(Self { count, unit }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.unit)
    }
}

/// Reads and writes a unit as the text that people write, and gives it a schema.
macro_rules! as_text {
    ($type:ty, $name:literal, $pattern:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $pattern})
            }
        }
    };
}
as_text!(Span, "Duration", "^[0-9]+(ms|s|m|h|d)$");
as_text!(ByteSize, "Size", "^[0-9]+(B|KiB|MiB|GiB)$");
as_text!(Rate, "Rate", "^[1-9][0-9]*/(s|m|h)$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_survive_a_round_trip() {
        for text in ["250ms", "20s", "5m", "12h", "7d", "1500ms"] {
            assert_eq!(text.parse::<Span>().expect(text).to_string(), text);
        }
        for text in ["512B", "64KiB", "1MiB", "2GiB"] {
            assert_eq!(text.parse::<ByteSize>().expect(text).to_string(), text);
        }
        for text in ["100/s", "5/m", "1000/h"] {
            assert_eq!(text.parse::<Rate>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "5 weeks",
            "99999999999999999999s",
            "40000000d",
        ] {
            let error = text.parse::<Span>().expect_err(text).to_string();
            assert!(error.contains("`20s`"), "{error}");
        }
        for text in ["0/s", "1", "/s", "1/d", "1/ss", "-1/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        for text in ["1", "1KB", "99999999999GiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
