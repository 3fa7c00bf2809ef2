//! Decimal numbers compared as they are written.
//!
//! Invariant: every function takes time in proportion to the length of its literals.

use std::cmp::Ordering;

use super::json::Number;

/// A decimal number: 0.`digits` × 10^`exponent`.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    /// Without zeros at either end; empty for zero.
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// Reads a literal that is known to be a number.
    fn of(literal: &str) -> Self {
        let (mantissa, exponent) = match literal.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, saturated(exponent)),
            None => (literal, 0),
        };
        let negative = mantissa.starts_with('-');
        let mantissa = mantissa.trim_start_matches(['-', '+']);
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0');
        let leading = i64::try_from(all.len() - digits.len()).unwrap_or(i64::MAX);
        let digits = digits.trim_end_matches('0');
        if digits.is_empty() {
            return Self {
                negative: false,
                digits: String::new(),
                exponent: 0,
            };
        }
        let whole = i64::try_from(whole.len()).unwrap_or(i64::MAX);
        Self {
            negative,
            digits: digits.to_owned(),
            exponent: exponent.saturating_add(whole).saturating_sub(leading),
        }
    }

    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |decimal: &Self| match (decimal.digits.is_empty(), decimal.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let size = |a: &Self, b: &Self| {
            let digits = a.digits.cmp(&b.digits);
            a.exponent.cmp(&b.exponent).then(digits)
        };
        sign(self).cmp(&sign(other)).then_with(|| match sign(self) {
            0 => Ordering::Equal,
            1 => size(self, other),
            _ => size(other, self),
        })
    }
}

fn saturated(exponent: &str) -> i64 {
    let bound = if exponent.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    };
    exponent.parse().unwrap_or(bound)
}

/// The number as an `f64`, if that is exactly what is written: neither rounded nor out of range.
///
/// As `ComparableNumber` of <https://github.com/aws/event-ruler> decides it.
pub(super) fn exact(number: &Number<'_>) -> Option<f64> {
    if !number.float.is_finite() {
        return None;
    }
    // Up to 15 digits always survive.
    let literal = number.literal.as_ref();
    let short = literal.len() <= 15 && !literal.contains(['e', 'E']);
    let survives = || Decimal::of(literal) == Decimal::of(&shortest(number.float));
    (short || survives()).then_some(number.float)
}

/// The shortest text that reads as this number, or its best two digits: as `Double.toString` of Java writes it.
fn shortest(float: f64) -> String {
    let text = format!("{float:e}");
    match text.split_once('e') {
        Some((mantissa, _)) if mantissa.trim_start_matches('-').len() == 1 => {
            format!("{float:.1e}")
        }
        _ => text,
    }
}

/// Compares two literals, `-?digits[.digits][e…]`, without rounding.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    Decimal::of(a).cmp(&Decimal::of(b))
}

/// Whether a text is a decimal number, such as a price: `-10`, `29.99`, `1e3`.
pub(super) fn is_decimal(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(|c: char| c.is_ascii_digit())
        && text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(literal: &str) -> Option<f64> {
        exact(&Number {
            literal: literal.into(),
            float: literal.parse().expect("a number"),
        })
    }

    #[test]
    fn a_number_that_f64_would_round_is_none() {
        for (literal, number) in [
            ("300", Some(300.0)),
            ("3.0e2", Some(300.0)),
            ("-0.0", Some(0.0)),
            ("0e999999999999999999999", Some(0.0)),
            ("9007199254740993", None),
            ("9007199254740992", Some(9_007_199_254_740_992.0)),
            ("12345678901234567", None),
            ("1e309", None),
            ("1e-400", None),
            ("0.1234567890123456789", None),
            ("0.12345678901234568", Some(0.123_456_789_012_345_68)),
            ("1.7976931348623157e308", Some(f64::MAX)),
            ("4.9e-324", Some(5e-324)),
            ("5e-324", None),
            ("2e-323", Some(2e-323)),
            ("1e23", Some(1e23)),
        ] {
            assert_eq!(of(literal), number, "{literal}");
        }
    }

    #[test]
    fn literals_are_compared_without_rounding() {
        for (a, b, order) in [
            ("10", "10.00", Ordering::Equal),
            ("-0", "0.0", Ordering::Equal),
            ("12345678901234567", "12345678901234568", Ordering::Less),
            ("9.99", "10", Ordering::Less),
            ("-9.99", "-10", Ordering::Greater),
            ("0.001", "1e-3", Ordering::Equal),
            ("-1", "0", Ordering::Less),
            ("1e400", "1e399", Ordering::Greater),
        ] {
            assert_eq!(compare(a, b), order, "{a} {b}");
            assert_eq!(compare(b, a), order.reverse(), "{b} {a}");
        }
        for text in ["", "-", "1.", ".5", "inf", "nan", "1x", " 1", "0x10"] {
            assert!(!is_decimal(text), "{text}");
        }
        assert!(["0", "-1.50", "+7", "1e3"].into_iter().all(is_decimal));
    }

    proptest! {
        #[test]
        fn integers_are_ordered_as_integers(a in any::<i64>(), b in any::<i64>()) {
            prop_assert_eq!(compare(&a.to_string(), &b.to_string()), a.cmp(&b));
        }

        #[test]
        fn what_is_printed_from_f64_is_exact(float in prop::num::f64::NORMAL) {
            prop_assert_eq!(of(&format!("{float:e}")), Some(float));
        }
    }
}
