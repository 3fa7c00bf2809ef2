//! In which lane a destination's retries live.
//!
//! The name of a destination goes in, the number of its lane comes out; every instance and every outside tool that
//! speaks Kafka's default hash finds the same one.
//!
//! Invariant: the lane depends on nothing but `tenant/id` and the number of lanes.

use super::ids::DestinationId;

/// Hashes `bytes` as Kafka's Java client does for its default partitioner (Java's `int` is the same 32 bits, signed).
///
/// Source: <https://github.com/apache/kafka/blob/4.1.0/clients/src/main/java/org/apache/kafka/common/utils/Utils.java>,
/// `murmur2`.
#[must_use]
pub fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    let mut h = SEED ^ u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let rest = tail
            .iter()
            .rev()
            .fold(0, |rest, byte| rest << 8 | u32::from(*byte));
        h = (h ^ rest).wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ h >> 15
}

/// Tells the lane of a destination, from 0 to `lanes` − 1: murmur2 of `tenant/id` without its sign, modulo `lanes`.
///
/// `lanes` is at least 1; 0 is taken as 1.
#[must_use]
pub fn lane_of(id: &DestinationId, lanes: u32) -> u32 {
    (murmur2(id.as_str().as_bytes()) & 0x7fff_ffff) % lanes.max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_is_that_of_kafkas_java_client() {
        // The first six: UtilsTest.testMurmur2 of Kafka; the others cover each length of the tail.
        for (text, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
            ("1", -1_993_445_489),
            ("12", 126_087_238),
            ("123", -267_702_483),
            ("1234", -1_614_185_708),
            ("12345", -1_188_365_604),
        ] {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), expected, "{text}");
        }
    }

    #[test]
    fn a_destination_keeps_its_lane() {
        // Pinned: a change would strand what waits in the retry topics.
        for (id, lanes, expected) in [
            ("default/orders", 8, 2),
            ("acme/orders", 8, 1),
            ("acme/orders", 12, 9), // its hash is negative in Java
            ("acme/orders", 1, 0),
            ("acme/orders", 0, 0),
        ] {
            let id = DestinationId::parse(id).expect("valid");
            assert_eq!(lane_of(&id, lanes), expected, "{id} of {lanes}");
        }
    }

    proptest! {
        #[test]
        fn a_lane_is_below_the_number_of_lanes(id in "[a-z]{1,8}/[A-Za-z0-9_-]{1,64}", lanes in 1u32..1000) {
            let id = DestinationId::parse(&id).expect("valid");
            prop_assert!(lane_of(&id, lanes) < lanes);
        }
    }
}
