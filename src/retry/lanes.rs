//! Takes lanes over, gives them up, and tells how much waits in them.

use std::collections::HashSet;
use std::sync::Arc;

use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaResult;

use super::{Reading, Shared, lock};
use crate::domain::retry_tier::tier_and_lane;
use crate::kafka::consumer::{Assignments, Context, Queue, TopicPartition};
use crate::telemetry::metrics::LedgerOwner;

/// Takes lanes over and gives them up.
pub(super) struct LaneAssignments(pub(super) Arc<Shared>);

impl Assignments for LaneAssignments {
    fn assigned(
        &self,
        _: &BaseConsumer<Context>,
        partitions: &[TopicPartition],
    ) -> KafkaResult<Vec<Offset>> {
        // The topic holds no records; where to start does not matter.
        Ok(vec![Offset::End; partitions.len()])
    }

    fn started(&self, queues: Vec<Arc<Queue>>) {
        let shared = &self.0;
        let lanes: Vec<u32> = queues
            .iter()
            .filter_map(|queue| u32::try_from(queue.number()).ok())
            .collect();
        lock(&shared.lanes).extend(&lanes);
        let limit = shared.parts.settings.ledger.revoke_timeout.0;
        shared
            .runtime
            .block_on(shared.assigned.former_settled(|_| true, limit));
        for lane in lanes {
            let topic = Arc::clone(&shared.parts.names.retry);
            let mut told = false;
            while let Err(error) = shared.read(&topic, lane, None, false) {
                if *shared.shutdown.borrow() {
                    return;
                }
                if !told {
                    tracing::warn!(lane, error = %error, "a lane cannot be read yet; trying again each second");
                    told = true;
                }
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        let owned = lock(&shared.lanes).len();
        shared
            .parts
            .metrics
            .retry
            .lanes_owned
            .set(i64::try_from(owned).unwrap_or(i64::MAX));
        tracing::info!(lanes = owned, "lanes owned");
        shared.parts.readiness.set("lanes", Ok(()));
    }

    fn revoked(&self, _: &BaseConsumer<Context>, partitions: &[TopicPartition], lost: bool) {
        let shared = &self.0;
        let lanes: HashSet<u32> = partitions
            .iter()
            .filter_map(|(_, number)| u32::try_from(*number).ok())
            .collect();
        lock(&shared.lanes).retain(|lane| !lanes.contains(lane));
        let readings: Vec<Reading> = {
            let mut readings = lock(&shared.readings);
            let keys: Vec<_> = readings
                .keys()
                .filter(|(_, lane)| lanes.contains(lane))
                .cloned()
                .collect();
            keys.iter().filter_map(|key| readings.remove(key)).collect()
        };
        let settings = &shared.parts.settings;
        let limit = if *shared.shutdown.borrow() {
            settings.shutdown.timeout.0
        } else {
            settings.ledger.revoke_timeout.0
        };
        shared.stop(readings, limit, !lost);
        let owned = lock(&shared.lanes).len();
        shared
            .parts
            .metrics
            .retry
            .lanes_owned
            .set(i64::try_from(owned).unwrap_or(i64::MAX));
    }
}

/// Looks up how much waits in each tier.
pub(super) async fn observe_lag(shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    let looked = tokio::task::spawn_blocking(move || {
        let tiers = shared.parts.outbox.tiers();
        let mut lags = vec![0_i64; tiers.partitions() as usize];
        let lanes = shared.parts.settings.topics.lanes;
        let parts = &shared.parts;
        let ledgers = parts.metrics.ledgers.get(LedgerOwner::Retry);
        let (consumer, now_ms) = (shared.consumer.client(), parts.clock.now_ms());
        shared
            .assigned
            .observe(consumer, ledgers, now_ms, |partition, lag| {
                let number = partition.number();
                let tier = if partition.topic() == &parts.names.retry {
                    tier_and_lane(number, lanes).map_or(0, |(tier, _)| tier)
                } else {
                    u32::try_from(number).unwrap_or(0)
                };
                if let Some(sum) = lags.get_mut(tier as usize) {
                    *sum += lag;
                }
            });
        for (tier, lag) in lags.into_iter().enumerate() {
            shared.parts.metrics.tier(tier).lag.set(lag);
        }
        let dedicated = i64::try_from(shared.parts.dedicated.len()).unwrap_or(i64::MAX);
        shared.parts.metrics.retry.dedicated_topics.set(dedicated);
    });
    if looked.await.is_err() {
        tracing::error!("looking up the lags of retry topics panicked");
    }
}
