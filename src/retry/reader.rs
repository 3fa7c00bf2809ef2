//! Reads one partition of a retry topic: lets each record wait for its time and offers it to dispatch.
//!
//! A record leaves its tier at its append time + the tier's delay, so the partition is truly first in, first out. What
//! is then still missing to its due time is waited for in memory; a slow delivery holds nobody up.
//!
//! Records are taken from the client's queue ahead of their time, within bounds. A partition whose queue is full is left
//! out of the client's next request, and comes in again only when that one ends: with nothing new in the other
//! partitions, after `fetch.wait.max.ms`. The queue holds some fifty records, which is too little for that time.
//!
//! Invariant: a record is never attempted before its due time, and never given up by waiting.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use tokio::time::Instant;

use super::waiting::Waiting;
use super::{Shared, dedicated};
use crate::dispatch::Work;
use crate::domain::delivery::{DeadLetterReason, Delivery};
use crate::domain::disposition::expired;
use crate::kafka::consumer::Queue;
use crate::kafka::partition::{Partition, Settle};
use crate::kafka::record;
use crate::wire::{RawRecord, retry};

/// After so many records other tasks get their turn.
const TURN: u32 = 64;

/// Records of one partition that are taken ahead, at most: what is worked off while one request of the client waits.
const AHEAD: usize = 2000;

/// For how long a delivery that found no room, and whose turn is near, is not offered again at least.
const AGAIN: Duration = Duration::from_millis(100);

pub(super) struct Reader {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    partition: Arc<Partition>,
    tier: u32,
    /// The partition holds one destination's deliveries only: waiting for it delays nobody else.
    dedicated: bool,
    /// Records that have not left their tier, and when they do: the oldest first.
    ahead: VecDeque<(Instant, RawRecord, Settle)>,
    waiting: Waiting<(Delivery, Settle)>,
}

impl Reader {
    pub(super) fn new(
        shared: Arc<Shared>,
        queue: Arc<Queue>,
        partition: Arc<Partition>,
        tier: u32,
        dedicated: bool,
    ) -> Self {
        let waiting = Waiting::new(shared.parts.settings.retry.waiting_per_partition);
        Self {
            shared,
            queue,
            partition,
            tier,
            dedicated,
            ahead: VecDeque::new(),
            waiting,
        }
    }

    /// Reads until the assignment ends.
    pub(super) async fn run(mut self) {
        tokio::select! {
            () = self.shared.parts.catalog.loaded() => {}
            () = self.partition.revoked() => return,
        }
        let mut turn = 0_u32;
        while !self.partition.is_revoked() {
            if self.shared.parts.catalog.is_stale() {
                tokio::select! {
                    () = self.partition.revoked() => return,
                    () = tokio::time::sleep(Duration::from_millis(100)) => continue,
                }
            }
            let all_read = self.read_ahead().await;
            let now = Instant::now();
            if let Some((delivery, settle)) = self.waiting.pop(now) {
                self.offer(delivery, settle).await;
            } else if self.leaves().is_some_and(|at| at <= now) {
                if let Some((_, record, settle)) = self.ahead.pop_front() {
                    self.leave(record, settle).await;
                }
            } else {
                turn = 0;
                self.idle(all_read).await;
            }
            turn += 1;
            if turn.is_multiple_of(TURN) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// When the oldest record leaves its tier; none does while too many wait in memory.
    fn leaves(&self) -> Option<Instant> {
        let (at, _, _) = self.ahead.front()?;
        (!self.waiting.is_full()).then_some(*at)
    }

    /// Takes what has arrived, as far as there is room. True: all of it; only then is it told when more arrives.
    async fn read_ahead(&mut self) -> bool {
        let mut turn = 0_u32;
        while self.may_read() {
            if !self.read() {
                return true;
            }
            turn += 1;
            if turn.is_multiple_of(TURN) {
                tokio::task::yield_now().await;
            }
        }
        false
    }

    /// One record is always taken; more only while most of the memory is left for those that wait for their due time.
    fn may_read(&self) -> bool {
        let memory = &self.shared.memory;
        let ahead = self.ahead.len();
        self.partition.has_room()
            && (ahead == 0 || (ahead < AHEAD && memory.used() < memory.limit() / 4))
    }

    /// Waits for the next time, the next record or the end of the assignment.
    async fn idle(&self, all_read: bool) {
        let next = [self.waiting.next(), self.leaves()]
            .into_iter()
            .flatten()
            .min();
        let partition = &self.partition;
        let time = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let record = async {
            if all_read {
                self.queue.ready().await;
            } else if self.ahead.is_empty() {
                partition.wait_for_room().await;
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            () = partition.revoked() => {}
            () = time => {}
            () = record => {}
        }
    }

    /// Takes the next record, if one has arrived and was not settled before. False: nothing had arrived.
    fn read(&mut self) -> bool {
        match self.queue.try_next() {
            None => return false,
            Some(Ok(message)) => {
                let record = record::copy(&message, self.queue.topic());
                let bytes = message.payload_len() + message.key_len() + 1024;
                let now_ms = self.shared.parts.clock.now_ms();
                let Some(settle) = self.partition.begin(record.offset, bytes, now_ms) else {
                    return true;
                };
                let delay = self.shared.parts.outbox.tiers().delay(self.tier);
                // Never longer than the tier, wherever the clocks stand.
                let left = record.timestamp_ms
                    + i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)
                    - now_ms;
                let left = Duration::from_millis(u64::try_from(left).unwrap_or(0)).min(delay);
                self.ahead
                    .push_back((Instant::now() + left, record, settle));
            }
            Some(Err(error))
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) => {}
            Some(Err(error)) => {
                tracing::warn!(kafka.topic = %self.queue.topic(), kafka.partition = self.queue.number(), error = %error, "a retry topic cannot be read");
            }
        }
        true
    }

    /// A record leaves its tier.
    async fn leave(&mut self, record: RawRecord, settle: Settle) {
        let delivery = match retry::decode(&record) {
            Ok(delivery) => delivery,
            Err(error) => {
                let detail = format!("the record's header `ph` cannot be read: {error}");
                let outbox = &self.shared.parts.outbox;
                return outbox
                    .dead_record(&record, DeadLetterReason::Malformed, &detail, settle)
                    .await;
            }
        };
        if !self.dedicated {
            dedicated::note(&self.shared, &delivery);
        }
        let missing = delivery.progress.due_ms - self.shared.parts.clock.now_ms();
        let missing = Duration::from_millis(u64::try_from(missing).unwrap_or(0));
        if missing.is_zero() {
            return self.offer(delivery, settle).await;
        }
        let memory = &self.shared.memory;
        // Half of the places are kept for those that wait for less than the shortest tier: else the ones that wait for
        // long would take all, and nobody behind them could be read.
        let short = self.waiting.is_half_full() || memory.used() > memory.limit() / 2;
        let tiers = self.shared.parts.outbox.tiers();
        if short && tiers.tier_for_wait(missing) > 0 {
            return self
                .shared
                .parts
                .outbox
                .retry(&delivery, missing, settle)
                .await;
        }
        let due = Instant::now() + missing;
        self.waiting.until_due(due, (delivery, settle));
    }

    /// A delivery is due: an attempt starts, or it waits for room as its topic allows.
    async fn offer(&mut self, delivery: Delivery, settle: Settle) {
        let shared = Arc::clone(&self.shared);
        let parts = &shared.parts;
        tokio::select! {
            () = parts.catalog.applied(delivery.document_offset) => {}
            () = self.partition.revoked() => return,
        }
        let mut work = Work {
            delivery,
            settle,
            tier: Some(self.tier),
            one_of_several: false,
        };
        loop {
            let Some(prepared) = parts.catalog.current(&work.delivery.destination) else {
                return parts.dispatcher.deleted(work).await;
            };
            let (policy, now_ms) = (&prepared.destination.retry, parts.clock.now_ms());
            let progress = &mut work.delivery.progress;
            if prepared.destination.enabled {
                progress.resume(now_ms);
            } else if progress.paused_since_ms.is_none() && self.dedicated {
                // To the archive, with a note of the time from which `max_age` does not count: who is behind it in a tier
                // gets there too.
                progress.pause(now_ms);
                return parts.outbox.to_tier(&work.delivery, 0, work.settle).await;
            } else {
                progress.pause(now_ms);
            }
            if prepared.destination.enabled && expired(policy, progress, now_ms) {
                let detail = format!("older than max_age ({})", policy.max_age);
                parts
                    .outbox
                    .dead_letter(
                        &work.delivery,
                        DeadLetterReason::Expired,
                        &detail,
                        work.settle,
                    )
                    .await;
                return;
            }
            let archived = now_ms - work.delivery.progress.first_seen_ms;
            let retention = parts.settings.archive.retention;
            if !prepared.destination.enabled && archived > retention.as_millis() {
                let detail = format!("not enabled for longer than archive.retention ({retention})");
                parts
                    .outbox
                    .dead_letter(
                        &work.delivery,
                        DeadLetterReason::ArchiveExpired,
                        &detail,
                        work.settle,
                    )
                    .await;
                return;
            }
            let (back, room) = match parts.dispatcher.submit_backlog(&prepared, work).await {
                Ok(()) => return,
                Err(back) => back,
            };
            work = back;
            if !self.dedicated {
                return self.step_aside(work).await;
            }
            tokio::select! {
                () = self.partition.revoked() => return,
                () = room.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
    }

    /// A delivery in a shared lane found no room: it waits for its turn where it is in nobody's way.
    ///
    /// While its destination moves, the turn comes when those before it have had theirs: in memory if that is soon and
    /// there are places, else in a tier. Nobody knows when a destination that does not move has room: for it, each wait is
    /// a tier longer than the one before.
    async fn step_aside(&mut self, work: Work) {
        let parts = &self.shared.parts;
        let Work {
            mut delivery,
            settle,
            ..
        } = work;
        if parts.dedicated.get(&delivery.destination).is_some() {
            return parts.outbox.to_tier(&delivery, 0, settle).await;
        }
        let tiers = parts.outbox.tiers();
        let most = tiers.longest_without_capacity();
        let Some(wait) = parts.dispatcher.backlog_turn(&delivery.destination, most) else {
            dedicated::want(&self.shared, &delivery.destination);
            let tier = tiers.next_without_capacity(self.tier);
            return parts.outbox.to_tier(&delivery, tier, settle).await;
        };
        let shortest = tiers.delay(1);
        let memory = &self.shared.memory;
        let has_place =
            self.waiting.has_turn_for(&delivery.destination) && memory.used() <= memory.limit() / 2;
        if wait < shortest && has_place {
            let destination = delivery.destination.clone();
            let turn = Instant::now() + wait.max(AGAIN);
            self.waiting
                .until_turn(turn, destination, (delivery, settle));
        } else {
            dedicated::want(&self.shared, &delivery.destination);
            // All that wait in a tier keep the distances of their turns.
            let wait = shortest + wait;
            let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            delivery.progress.due_ms = parts.clock.now_ms().saturating_add(wait_ms);
            parts.outbox.retry(&delivery, wait, settle).await;
        }
    }
}
