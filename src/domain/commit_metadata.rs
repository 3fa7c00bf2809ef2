//! The text beside a committed offset that names the offsets finished beyond it.
//!
//! The offset ledger's ranges go in when a position is committed, and come out when the partition is assigned again.
//! The form is `1;<identity>;<topic>;<base>;<finished>`: the identity is `<cluster id>` or, where the topic's id is known,
//! `<cluster id>#<topic id>`, so that a position in a topic is not taken for one in another that was made under its name.
//! The last part is empty where nothing beyond the base is finished, else base64 (URL-safe, unpadded) of LEB128 numbers
//! and four bytes of check sum. Each range is two numbers: how many offsets lie between it and the one
//! before (the first: between it and base; the others: less 1, as two ranges never touch), and its length less 1.
//! The check sum is murmur2 over all before it, little-endian.
//!
//! Invariant: an offset that is read out was written as finished, for this identity, topic and committed offset; in doubt
//! nothing is read out, and the records are worked on again.

use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::lane::murmur2;

/// The longest text in bytes. Brokers take 4096 by default.
///
/// Source: <https://kafka.apache.org/documentation/#brokerconfigs_offset.metadata.max.bytes>.
pub const MAX_BYTES: usize = 3584;

/// The length of the check sum.
const SUM_BYTES: usize = 4;

/// What a text is written for: the cluster, and the topic's id where it is known.
#[must_use]
pub fn identity(cluster_id: &str, topic_id: Option<&str>) -> String {
    match topic_id {
        Some(topic_id) => format!("{cluster_id}#{topic_id}"),
        None => cluster_id.to_owned(),
    }
}

/// Whether a text was written in the same cluster for a topic with another id than that of `identity`; false where
/// either id is not known.
#[must_use]
pub fn is_of_another_topic(text: &str, identity: &str) -> bool {
    let written = text.split(';').nth(1).and_then(|id| id.rsplit_once('#'));
    match (written, identity.rsplit_once('#')) {
        (Some((cluster, id)), Some((our_cluster, our_id))) => {
            cluster == our_cluster && id != our_id
        }
        _ => false,
    }
}

/// Writes the text for a commit of `base`. `finished` are the ranges beyond it: ascending, apart from each other; it ends
/// before the first that is not.
///
/// What would make it longer than `max_bytes` is cut, the farthest first; those offsets are worked on again after a
/// restart. Empty where nothing is left to say: no range, and no id of the topic.
#[must_use]
pub fn encode(
    identity: &str,
    topic: &str,
    base: i64,
    finished: impl IntoIterator<Item = RangeInclusive<i64>>,
    max_bytes: usize,
) -> String {
    let mut text = head(identity, topic, base);
    let characters = max_bytes.saturating_sub(text.len());
    // Unpadded base64: four characters for three bytes, one more than bytes for the rest.
    let room = (characters / 4 * 3 + (characters % 4).saturating_sub(1)).saturating_sub(SUM_BYTES);
    let mut numbers = Vec::new();
    let mut lowest = base;
    for range in finished {
        let (Some(gap), Some(length)) = (
            distance(lowest, *range.start()),
            distance(*range.start(), *range.end()),
        ) else {
            break;
        };
        let kept = numbers.len();
        push_number(&mut numbers, gap);
        push_number(&mut numbers, length);
        if numbers.len() > room {
            numbers.truncate(kept);
            break;
        }
        let Some(next) = range.end().checked_add(2) else {
            break;
        };
        lowest = next;
    }
    if numbers.is_empty() {
        let tells = identity.contains('#') && text.len() <= max_bytes;
        return if tells { text } else { String::new() };
    }
    let sum = check_sum(&text, &numbers);
    numbers.extend_from_slice(&sum);
    URL_SAFE_NO_PAD.encode_string(&numbers, &mut text);
    text
}

/// Reads the ranges of finished offsets beyond `base`, the committed offset: ascending, apart from each other.
///
/// Empty where the text is not one of ours, is damaged, or was written for another identity, topic or offset. What it
/// allocates is in proportion to the length of the text.
#[must_use]
pub fn decode(text: &str, identity: &str, topic: &str, base: i64) -> Vec<RangeInclusive<i64>> {
    read(text, &head(identity, topic, base), base).unwrap_or_default()
}

fn read(text: &str, head: &str, base: i64) -> Option<Vec<RangeInclusive<i64>>> {
    let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(head)?).ok()?;
    let (mut numbers, sum) = bytes.split_last_chunk::<SUM_BYTES>()?;
    if check_sum(head, numbers) != *sum {
        return None;
    }
    let mut ranges = Vec::new();
    let mut lowest = Some(base);
    while !numbers.is_empty() {
        let start = lowest?.checked_add_unsigned(take_number(&mut numbers)?)?;
        let end = start.checked_add_unsigned(take_number(&mut numbers)?)?;
        ranges.push(start..=end);
        lowest = end.checked_add(2);
    }
    Some(ranges)
}

/// All before the numbers. It is unambiguous, as neither a topic nor a number contains a semicolon.
fn head(identity: &str, topic: &str, base: i64) -> String {
    format!("1;{identity};{topic};{base};")
}

fn check_sum(head: &str, numbers: &[u8]) -> [u8; SUM_BYTES] {
    murmur2(&[head.as_bytes(), numbers].concat()).to_le_bytes()
}

/// `to` − `from`, unless that is negative.
fn distance(from: i64, to: i64) -> Option<u64> {
    (from <= to).then(|| from.abs_diff(to))
}

/// Appends `number` in LEB128: seven bits a byte, the lowest first, the top bit set on all but the last.
fn push_number(bytes: &mut Vec<u8>, number: u64) {
    let mut rest = number;
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            bytes.push(low & 0x7f);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// Takes a number in LEB128 from the front; `None` where it is cut off or does not fit into 64 bits.
fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let low = u64::from(byte & 0x7f);
        if low << shift >> shift != low {
            return None;
        }
        number |= low << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(base: i64, finished: &[RangeInclusive<i64>]) -> Vec<RangeInclusive<i64>> {
        let text = encode(
            "MkU3OEVBNTcwNTJENDM2Qg",
            "orders",
            base,
            finished.iter().cloned(),
            MAX_BYTES,
        );
        decode(&text, "MkU3OEVBNTcwNTJENDM2Qg", "orders", base)
    }

    #[test]
    fn the_form_is_pinned() {
        let text = encode(
            "c",
            "orders",
            100,
            [101..=101, 103..=110, 1000..=1000],
            MAX_BYTES,
        );
        assert_eq!(text, "1;c;orders;100;AQAAB_gGAJnTuTo");
    }

    #[test]
    fn nothing_finished_is_an_empty_text() {
        assert_eq!(encode("c", "t", 7, [], MAX_BYTES), "");
        assert_eq!(decode("", "c", "t", 7), []);
    }

    #[test]
    fn the_id_of_the_topic_is_told_even_where_nothing_is_finished_and_guards_what_is() {
        let (old, new) = (identity("c", Some("old")), identity("c", Some("new")));
        let text = encode(&old, "t", 7, [], MAX_BYTES);
        assert_eq!(text, "1;c#old;t;7;");
        assert_eq!(decode(&text, &old, "t", 7), []);
        assert_eq!(encode(&old, "t", 7, [], 5), "", "it does not fit");
        let ranges = encode(&old, "t", 7, [9..=9], MAX_BYTES);
        assert_eq!(decode(&ranges, &old, "t", 7), [9..=9]);
        assert_eq!(decode(&ranges, &new, "t", 7), []);
        for (identity, expected) in [
            (new.as_str(), true),
            (old.as_str(), false),
            ("c", false),
            ("other#new", false),
        ] {
            assert_eq!(is_of_another_topic(&text, identity), expected, "{identity}");
        }
        for text in ["", "1;c;t;7;", "consumer-1", ";;#"] {
            assert!(!is_of_another_topic(text, &new), "{text}");
        }
    }

    #[test]
    fn ranges_at_the_edges_survive() {
        for (base, finished) in [
            (0, vec![0..=0]),
            (0, vec![0..=i64::MAX]),
            (7, vec![7..=8, 10..=10]),
            (i64::MAX, vec![i64::MAX..=i64::MAX]),
            (0, vec![1..=i64::MAX - 2, i64::MAX..=i64::MAX]),
            (i64::MIN, vec![i64::MIN..=-1, 1..=i64::MAX]),
        ] {
            assert_eq!(round_trip(base, &finished), finished);
        }
    }

    #[test]
    fn what_does_not_ascend_ends_the_text() {
        #[expect(
            clippy::reversed_empty_ranges,
            reason = "an empty range is what is tried"
        )]
        for (finished, kept) in [
            (vec![9..=9], vec![]),
            (vec![10..=12, 13..=14], vec![10..=12]),
            (vec![10..=12, 11..=20], vec![10..=12]),
            (vec![10..=12, 20..=19], vec![10..=12]),
        ] {
            assert_eq!(round_trip(10, &finished), kept);
        }
    }

    #[test]
    fn a_text_for_something_else_says_nothing() {
        let text = encode("cluster", "orders", 10, [12..=20], MAX_BYTES);
        assert_eq!(decode(&text, "cluster", "orders", 10), [12..=20]);
        for (cluster_id, topic, base) in [
            ("other", "orders", 10),
            ("cluster", "order", 10),
            ("cluster", "orders", 11),
            ("cluster", "orders", 1),
            ("cluster;orders", "10", 10),
            ("", "", 10),
        ] {
            assert_eq!(
                decode(&text, cluster_id, topic, base),
                [],
                "{cluster_id} {topic} {base}"
            );
        }
    }

    #[test]
    fn what_is_not_ours_says_nothing() {
        for text in [
            "1;c;t;10;",
            "1;c;t;10;AAAA",
            "2;c;t;10;AQAAB_gGAJnTuTo",
            "1;c;t;10;====",
            "1;c;t;10;AQA*",
            "consumer-1",
            "\u{0}\u{ffff}",
        ] {
            assert_eq!(decode(text, "c", "t", 10), [], "{text}");
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused_even_with_the_right_check_sum() {
        for numbers in [
            vec![0x80],                                                    // cut off
            vec![1],                                            // a range without its length
            vec![0xff; 9].into_iter().chain([2, 0]).collect(),  // 65 bits
            vec![0x80; 10].into_iter().chain([0, 0]).collect(), // 11 bytes
            vec![0xff; 9].into_iter().chain([1, 0]).collect(),  // beyond the largest offset
            vec![0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], // so is its end
            vec![
                0, 0xf5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0,
            ], // nothing comes after the largest
        ] {
            let head = head("c", "t", 10);
            let sum = check_sum(&head, &numbers);
            let text = head.clone() + &URL_SAFE_NO_PAD.encode([&numbers[..], &sum].concat());
            assert_eq!(decode(&text, "c", "t", 10), [], "{numbers:?}");
        }
    }

    #[test]
    fn over_a_thousand_single_offsets_fit() {
        let finished = (0..2000).map(|n| 11 + 2 * n..=11 + 2 * n);
        let topic = "t".repeat(249); // the longest name
        let text = encode("MkU3OEVBNTcwNTJENDM2Qg", &topic, 10, finished, MAX_BYTES);
        assert!(text.len() <= MAX_BYTES);
        assert!(decode(&text, "MkU3OEVBNTcwNTJENDM2Qg", &topic, 10).len() > 1200);
    }

    fn ranges() -> impl Strategy<Value = (i64, Vec<RangeInclusive<i64>>)> {
        let step = prop_oneof![4 => 0i64..5, 2 => 0i64..1000, 1 => 0i64..10_000_000_000];
        let steps = prop::collection::vec((step.clone(), step), 0..200);
        (0i64..1_000_000_000_000, steps).prop_map(|(base, steps)| {
            let mut lowest = base;
            let ranges = steps.into_iter().map(|(gap, length)| {
                let start = lowest + gap;
                lowest = start + length + 2;
                start..=start + length
            });
            (base, ranges.collect())
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read((base, finished) in ranges()) {
            let text = encode("cluster", "orders", base, finished.clone(), usize::MAX);
            prop_assert_eq!(decode(&text, "cluster", "orders", base), finished);
        }

        #[test]
        fn a_cut_text_holds_the_nearest_ranges((base, finished) in ranges(), max_bytes in 0usize..600) {
            let text = encode("cluster", "orders", base, finished.clone(), max_bytes);
            prop_assert!(text.len() <= max_bytes);
            let read = decode(&text, "cluster", "orders", base);
            prop_assert!(finished.starts_with(&read));
            if read.len() < finished.len() {
                let more = encode("cluster", "orders", base, finished[..=read.len()].to_vec(), usize::MAX);
                prop_assert!(more.len() > max_bytes, "one more would have fit");
            }
        }

        #[test]
        fn a_damaged_text_says_nothing(
            (base, finished) in ranges(),
            at in any::<prop::sample::Index>(),
            with in any::<char>(),
            replaced in 0usize..3,
        ) {
            let text = encode("cluster", "orders", base, finished, MAX_BYTES);
            let mut characters: Vec<char> = text.chars().collect();
            let at = at.index(characters.len() + 1);
            let end = (at + replaced).min(characters.len());
            characters.splice(at..end, [with]);
            let damaged: String = characters.into_iter().collect();
            if damaged != text {
                prop_assert_eq!(decode(&damaged, "cluster", "orders", base), []);
            }
        }

        #[test]
        fn no_text_makes_it_panic_or_allocate_beyond_its_length(text in any::<String>(), numbers in any::<Vec<u8>>(), base in any::<i64>()) {
            prop_assert_eq!(decode(&text, "c", "t", base), []);
            let head = head("c", "t", base);
            let sum = check_sum(&head, &numbers);
            let text = head + &URL_SAFE_NO_PAD.encode([&numbers[..], &sum].concat());
            prop_assert!(decode(&text, "c", "t", base).len() <= text.len() / 2);
        }
    }
}
