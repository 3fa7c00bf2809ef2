//! Which delay of a retry topic a waiting delivery is written to, and which partition that is.
//!
//! The settings' delays go in; the router and the lanes' owners ask where to write and how long a partition holds.
//!
//! Invariant: every record of a partition waits equally long, so that a partition is first in, first out.
//! Invariant: tier 0 has no delay; tier i + 1 is the i-th delay of `retry.tiers`.

use std::time::Duration;

use super::units::Span;

/// The last tier that a record without capacity moves on to in a shared lane (10 minutes by default).
const LAST_WITHOUT_CAPACITY: u32 = 4;

/// The delays of the retry topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers {
    /// Ascending, without tier 0.
    delays: Vec<Duration>,
}

impl Tiers {
    /// Takes the delays of `retry.tiers`, which the settings have checked: ascending, above zero, at least one.
    #[must_use]
    pub fn new(delays: &[Span]) -> Self {
        Self {
            delays: delays.iter().map(|delay| delay.0).collect(),
        }
    }

    /// The partitions of a dedicated topic, or of one lane in the shared topic: one for each tier, tier 0 included.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.last().saturating_add(1)
    }

    /// The tier for a delivery that has `wait` to go: the longest one not longer than it, 0 if there is none.
    ///
    /// What then is still missing is asked for again when the record leaves its tier.
    #[must_use]
    pub fn tier_for_wait(&self, wait: Duration) -> u32 {
        number(self.delays.partition_point(|delay| *delay <= wait))
    }

    /// How long a record of `tier` waits from its append time on; zero for tier 0.
    ///
    /// A tier that these settings do not know comes from an instance whose list is longer. Lists are only appended to,
    /// so it is longer than the last one known here, which is returned.
    #[must_use]
    pub fn delay(&self, tier: u32) -> Duration {
        let Some(index) = tier.checked_sub(1) else {
            return Duration::ZERO;
        };
        usize::try_from(index)
            .ok()
            .and_then(|index| self.delays.get(index))
            .or(self.delays.last())
            .copied()
            .unwrap_or_default()
    }

    /// Where a record of `tier` in a shared lane goes when its time has come and its destination has no capacity: one
    /// tier on, up to the fourth. From there on it stays in its tier.
    #[must_use]
    pub fn next_without_capacity(&self, tier: u32) -> u32 {
        if tier < self.last().min(LAST_WITHOUT_CAPACITY) {
            tier.saturating_add(1)
        } else {
            tier
        }
    }

    /// How long a record without capacity waits at most before it is offered again.
    #[must_use]
    pub fn longest_without_capacity(&self) -> Duration {
        self.delay(self.last().min(LAST_WITHOUT_CAPACITY))
    }

    fn last(&self) -> u32 {
        number(self.delays.len())
    }
}

/// A number of tiers, which is small.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The partition of the shared retry topic for a tier of a lane: tier × `lanes` + `lane`.
///
/// What exceeds Kafka's numbers is cut to `i32::MAX`, a partition that does not exist.
#[must_use]
pub fn shared_partition(tier: u32, lane: u32, lanes: u32) -> i32 {
    let partition = tier.saturating_mul(lanes).saturating_add(lane);
    i32::try_from(partition).unwrap_or(i32::MAX)
}

/// The tier and the lane that a partition of the shared retry topic belongs to; `None` for what is no partition.
#[must_use]
pub fn tier_and_lane(partition: i32, lanes: u32) -> Option<(u32, u32)> {
    let partition = u32::try_from(partition).ok()?;
    Some((partition.checked_div(lanes)?, partition.checked_rem(lanes)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEFAULT: [u64; 9] = [5, 30, 120, 600, 1800, 3600, 10_800, 21_600, 43_200];

    fn tiers(seconds: &[u64]) -> Tiers {
        let spans: Vec<Span> = seconds.iter().map(|s| Span::secs(*s)).collect();
        Tiers::new(&spans)
    }

    #[test]
    fn a_wait_goes_into_the_longest_tier_not_longer_than_it() {
        let tiers = tiers(&DEFAULT);
        for (wait_ms, tier) in [
            (0, 0),
            (4_999, 0),
            (5_000, 1),
            (29_999, 1),
            (30_000, 2),
            (600_000, 4),
            (1_799_999, 4),
            (43_199_999, 8),
            (43_200_000, 9),
            (u64::MAX, 9),
        ] {
            let wait = Duration::from_millis(wait_ms);
            assert_eq!(tiers.tier_for_wait(wait), tier, "{wait:?}");
        }
    }

    #[test]
    fn tier_0_has_no_delay_and_the_others_have_theirs() {
        let tiers = tiers(&DEFAULT);
        assert_eq!(tiers.partitions(), 10);
        let delays: Vec<u64> = (0..10).map(|tier| tiers.delay(tier).as_secs()).collect();
        assert_eq!(
            delays,
            [0, 5, 30, 120, 600, 1800, 3600, 10_800, 21_600, 43_200]
        );
    }

    #[test]
    fn a_tier_of_a_longer_list_waits_at_least_as_long_as_the_last_known_one() {
        let tiers = tiers(&[5, 30]);
        assert_eq!(tiers.delay(3), Duration::from_secs(30));
        assert_eq!(tiers.delay(u32::MAX), Duration::from_secs(30));
    }

    #[test]
    fn without_capacity_a_record_moves_on_over_the_first_four_tiers() {
        for (list, moves) in [
            (
                &DEFAULT[..],
                &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 4), (5, 5), (9, 9)][..],
            ),
            (&[5, 30][..], &[(0, 1), (1, 2), (2, 2), (3, 3)][..]),
            (&[5][..], &[(0, 1), (1, 1)][..]),
        ] {
            for (from, to) in moves {
                assert_eq!(tiers(list).next_without_capacity(*from), *to, "from {from}");
            }
        }
    }

    #[test]
    fn what_is_no_partition_has_no_lane() {
        assert_eq!(tier_and_lane(-1, 8), None);
        assert_eq!(tier_and_lane(3, 0), None);
        assert_eq!(tier_and_lane(17, 8), Some((2, 1)));
        assert_eq!(shared_partition(u32::MAX, 7, 8), i32::MAX);
    }

    proptest! {
        #[test]
        fn a_partition_leads_back_to_its_tier_and_lane(tier in 0u32..100, lanes in 1u32..1000, lane in 0u32..1000) {
            let lane = lane % lanes;
            prop_assert_eq!(tier_and_lane(shared_partition(tier, lane, lanes), lanes), Some((tier, lane)));
        }

        #[test]
        fn a_tier_never_outlasts_the_wait_and_the_next_one_would(
            gaps in prop::collection::vec(1u64..10_000, 1..20),
            wait_ms in 0u64..200_000,
        ) {
            let mut at = 0;
            let spans: Vec<Span> = gaps
                .iter()
                .map(|gap| { at += gap; Span(Duration::from_millis(at)) })
                .collect();
            let tiers = Tiers::new(&spans);
            let wait = Duration::from_millis(wait_ms);
            let tier = tiers.tier_for_wait(wait);
            prop_assert!(tier < tiers.partitions());
            prop_assert!(tiers.delay(tier) <= wait);
            if tier + 1 < tiers.partitions() {
                prop_assert!(tiers.delay(tier + 1) > wait);
            }
        }
    }
}
