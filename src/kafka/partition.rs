//! What one assigned partition still owes: its ledger, and the tickets that settle its offsets.
//!
//! Readers begin an offset and get a [`Settle`]; it travels with the event through dispatch and into the delivery
//! reports of the records that follow from it. When the last one is done, the ledger settles the offset.
//!
//! Invariant: an offset is settled only when every `Settle` of it was [`Settle::done`]; one that is dropped otherwise
//! leaves the offset open, and the event is read again after a restart or rebalance.
//! Invariant: a partition belongs to one assignment; a ticket of an older assignment touches only its own ledger.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::offset_ledger::{Begin, OffsetLedger};

/// The memory that events in flight and waiting may take, over all partitions.
#[derive(Debug)]
pub struct Memory {
    used: AtomicUsize,
    limit: usize,
    freed: Notify,
}

impl Memory {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            limit,
            freed: Notify::new(),
        })
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes in all.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        if before >= self.limit && before - bytes < self.limit {
            self.freed.notify_waiters();
        }
    }

    /// Waits until some memory is free. Cancel safe.
    async fn wait(&self) {
        loop {
            let freed = self.freed.notified();
            if self.used() < self.limit {
                return;
            }
            // Bounded, since the permit is lost when the last use ends between the check and the wait.
            if tokio::time::timeout(std::time::Duration::from_millis(100), freed)
                .await
                .is_err()
            {
                continue;
            }
        }
    }
}

/// The bounds of a ledger.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Unsettled offsets at most.
    pub events: usize,
    /// Offsets between the commit position and the newest read, at most.
    pub span: usize,
}

/// One partition in one assignment.
#[derive(Debug)]
pub struct Partition {
    topic: Arc<str>,
    number: i32,
    /// Guards its commit metadata.
    identity: Arc<str>,
    /// Where its reading started, if that was an offset.
    start: Option<i64>,
    /// From here on all is settled up to where its reading started.
    settled_from: AtomicI64,
    ledger: Mutex<OffsetLedger>,
    bounds: Bounds,
    memory: Arc<Memory>,
    changed: AtomicBool,
    /// Told when an offset was settled or the partition revoked.
    room: Notify,
    /// Told when the partition was revoked. Not `room`: whoever waits for a record would be woken by each delivery.
    ended: Notify,
    live: AtomicUsize,
    /// Told when no ticket is left.
    idle: Notify,
    revoked: AtomicBool,
    /// What was committed last: position and metadata.
    committed: Mutex<Option<(i64, String)>>,
}

impl Partition {
    /// A partition whose ledger starts after what was committed; `start`: at this offset, if that is known. `identity`
    /// guards its commit metadata.
    #[must_use]
    pub fn new(
        topic: Arc<str>,
        number: i32,
        identity: Arc<str>,
        start: Option<i64>,
        ledger: OffsetLedger,
        bounds: Bounds,
        memory: Arc<Memory>,
    ) -> Arc<Self> {
        Arc::new(Self {
            topic,
            number,
            identity,
            start,
            settled_from: AtomicI64::new(start.unwrap_or(0)),
            ledger: Mutex::new(ledger),
            bounds,
            memory,
            changed: AtomicBool::new(false),
            room: Notify::new(),
            ended: Notify::new(),
            live: AtomicUsize::new(0),
            idle: Notify::new(),
            revoked: AtomicBool::new(false),
            committed: Mutex::new(None),
        })
    }

    /// Its topic.
    #[must_use]
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// Its number, from 0.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.number
    }

    /// What guards its commit metadata: the cluster, and the topic's id where it is known.
    #[must_use]
    pub fn identity(&self) -> &Arc<str> {
        &self.identity
    }

    /// The ledger, for reading and metrics.
    pub fn ledger(&self) -> MutexGuard<'_, OffsetLedger> {
        // A panic while it was held is a bug elsewhere; the ledger itself changes in single steps.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The offset up to which everything is settled: where its reading started as long as nothing was read.
    #[must_use]
    pub fn position(&self) -> Option<i64> {
        self.ledger().position().or(self.start)
    }

    /// The offset that is read next, if that is known.
    #[must_use]
    pub fn next_offset(&self) -> Option<i64> {
        self.ledger().next_offset().or(self.start)
    }

    /// Notes that all from `offset` up to where the reading started is settled, though it may not be committed.
    pub fn is_settled_from(&self, offset: i64) {
        self.settled_from.fetch_min(offset, Ordering::Relaxed);
    }

    /// What is settled for sure, beside what is committed as `position`: from which offset on there is something to do,
    /// and which offsets beyond it are finished. `None` where the position was set back to before all that is known here,
    /// or where none is committed and the reading did not start at the beginning.
    #[must_use]
    pub fn settled_beyond(&self, position: Option<i64>) -> Option<(i64, Vec<RangeInclusive<i64>>)> {
        let position = match (position, self.start) {
            (Some(position), _) => position,
            (None, None) => 0,
            (None, Some(_)) => return None,
        };
        if position < self.settled_from.load(Ordering::Relaxed) {
            return None;
        }
        let ledger = self.ledger();
        let position = ledger.position().or(self.start)?.max(position);
        let finished = ledger
            .finished_beyond()
            .map(|range| position.max(*range.start())..=*range.end())
            .filter(|range| !range.is_empty())
            .collect();
        Some((position, finished))
    }

    /// Takes an offset that was just read. `None`: it was settled before, nothing is to be done.
    pub fn begin(self: &Arc<Self>, offset: i64, bytes: usize, now_ms: i64) -> Option<Settle> {
        match self.ledger().begin(offset, bytes, now_ms) {
            Begin::New => {}
            Begin::AlreadySettled => {
                self.changed.store(true, Ordering::Release);
                return None;
            }
            Begin::Repeated => {
                tracing::error!(
                    kafka.topic = %self.topic,
                    kafka.partition = self.number,
                    kafka.offset = offset,
                    "an offset came a second time: if the topic was made again under its name, restart this instance"
                );
                return None;
            }
        }
        self.live.fetch_add(1, Ordering::AcqRel);
        self.memory.take(bytes);
        Some(Settle {
            ticket: Some(Arc::new(Ticket {
                partition: Arc::clone(self),
                offset,
                bytes,
                abandoned: AtomicBool::new(false),
            })),
        })
    }

    /// Waits until the bounds of the ledger and of the memory leave room for one more event, or the partition is
    /// revoked. Cancel safe.
    pub async fn wait_for_room(&self) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.is_revoked() {
                return;
            }
            // With nothing of its own in flight a partition may exceed the budget by one event, so that one event larger
            // than the budget cannot stop it.
            if self.has_room() {
                return;
            }
            if self.is_full() {
                room.await;
            } else {
                tokio::select! {
                    () = room => {}
                    () = self.memory.wait() => {}
                }
            }
        }
    }

    fn is_full(&self) -> bool {
        let ledger = self.ledger();
        ledger.unsettled() >= self.bounds.events || ledger.span() >= self.bounds.span
    }

    /// Whether [`Partition::wait_for_room`] would return at once.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let short = self.memory.used() >= self.memory.limit();
        !(self.is_full() || (short && self.live() > 0))
    }

    /// Ends the assignment: readers stop, what waits for a slot is dropped.
    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
        self.room.notify_waiters();
        self.ended.notify_waiters();
    }

    /// Whether the assignment ended.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }

    /// Waits for the end of the assignment. Cancel safe.
    pub async fn revoked(&self) {
        loop {
            let told = self.ended.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if self.is_revoked() {
                return;
            }
            told.await;
        }
    }

    /// Waits until no ticket is left. Cancel safe.
    pub async fn drained(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.live.load(Ordering::Acquire) == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Events taken and not yet settled or given up.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    /// What is to be committed, if it differs from what was last: `encode` makes the metadata from the ledger.
    pub fn to_commit(
        &self,
        even_unchanged: bool,
        encode: impl FnOnce(i64, &OffsetLedger) -> String,
    ) -> Option<(i64, String)> {
        if !self.changed.swap(false, Ordering::AcqRel) && !even_unchanged {
            return None;
        }
        let next = {
            let ledger = self.ledger();
            let position = ledger.position().or(self.start)?;
            (position, encode(position, &ledger))
        };
        let mut committed = self
            .committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !even_unchanged && committed.as_ref() == Some(&next) {
            return None;
        }
        *committed = Some(next.clone());
        Some(next)
    }

    /// Makes the next [`Partition::to_commit`] return the position again, after a commit failed.
    pub fn commit_again(&self) {
        *self
            .committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        self.changed.store(true, Ordering::Release);
    }
}

#[derive(Debug)]
struct Ticket {
    partition: Arc<Partition>,
    offset: i64,
    bytes: usize,
    abandoned: AtomicBool,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let partition = &self.partition;
        if !self.abandoned.load(Ordering::Acquire) {
            partition.ledger().settle(self.offset);
            partition.changed.store(true, Ordering::Release);
        }
        partition.memory.give_back(self.bytes);
        partition.room.notify_waiters();
        if partition.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            partition.idle.notify_waiters();
        }
    }
}

/// The duty to settle one offset, or a part of it. Must end with [`Settle::done`].
#[derive(Debug)]
pub struct Settle {
    ticket: Option<Arc<Ticket>>,
}

impl Settle {
    /// A second part of the same duty: the offset is settled when both are done.
    #[must_use]
    pub fn split(&self) -> Self {
        Self {
            ticket: self.ticket.clone(),
        }
    }

    /// What this part stood for is delivered or durably written.
    pub fn done(mut self) {
        self.ticket = None;
    }

    /// Whether the assignment that it belongs to ended: work on it need not begin any more.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.ticket
            .as_ref()
            .is_some_and(|ticket| ticket.partition.is_revoked())
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        if let Some(ticket) = &self.ticket {
            ticket.abandoned.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(events: usize) -> Arc<Partition> {
        let bounds = Bounds { events, span: 100 };
        Partition::new(
            "t".into(),
            0,
            "c".into(),
            None,
            OffsetLedger::new([]),
            bounds,
            Memory::new(1000),
        )
    }

    #[test]
    fn an_offset_settles_when_the_last_part_is_done() {
        let partition = partition(10);
        let settle = partition.begin(5, 100, 0).expect("new");
        let second = settle.split();
        settle.done();
        assert_eq!(partition.ledger().position(), Some(5));
        second.done();
        assert_eq!(partition.ledger().position(), Some(6));
        assert_eq!((partition.live(), partition.memory.used()), (0, 0));
    }

    #[test]
    fn a_part_that_is_dropped_leaves_the_offset_open() {
        let partition = partition(10);
        let settle = partition.begin(5, 100, 0).expect("new");
        drop(settle.split());
        settle.done();
        assert_eq!(partition.ledger().position(), Some(5));
        assert_eq!((partition.live(), partition.memory.used()), (0, 0));
    }

    #[tokio::test]
    async fn a_full_ledger_waits_until_an_offset_is_settled() {
        let partition = partition(1);
        partition.wait_for_room().await;
        let settle = partition.begin(5, 100, 0).expect("new");
        let waiting = tokio::spawn({
            let partition = Arc::clone(&partition);
            async move { partition.wait_for_room().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        settle.done();
        waiting.await.expect("room");
    }

    #[tokio::test]
    async fn an_event_larger_than_the_memory_passes_alone() {
        let partition = partition(10);
        let settle = partition.begin(5, 5000, 0).expect("new");
        let waiting = tokio::spawn({
            let partition = Arc::clone(&partition);
            async move { partition.wait_for_room().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        settle.done();
        waiting.await.expect("room");
    }

    #[test]
    fn a_position_is_committed_once_and_again_after_a_failure() {
        let partition = partition(10);
        partition.begin(5, 1, 0).expect("new").done();
        let encode = |_: i64, _: &OffsetLedger| String::new();
        assert_eq!(partition.to_commit(false, encode), Some((6, String::new())));
        assert_eq!(partition.to_commit(false, encode), None);
        partition.commit_again();
        assert_eq!(partition.to_commit(false, encode), Some((6, String::new())));
        assert_eq!(partition.to_commit(true, encode), Some((6, String::new())));
    }

    #[test]
    fn what_was_settled_counts_where_the_committed_position_lies_behind_it_and_not_where_it_was_set_back()
     {
        let bounds = Bounds {
            events: 10,
            span: 100,
        };
        let partition = Partition::new(
            "t".into(),
            0,
            "c".into(),
            Some(5),
            OffsetLedger::new([]),
            bounds,
            Memory::new(1000),
        );
        assert_eq!(partition.settled_beyond(Some(5)), Some((5, vec![])));
        for settled in [5, 6] {
            partition.begin(settled, 1, 0).expect("new").done();
        }
        let open = partition.begin(7, 1, 0).expect("new");
        for settled in [8, 9, 10] {
            partition.begin(settled, 1, 0).expect("new").done();
        }
        partition.revoke();
        assert_eq!(partition.settled_beyond(Some(5)), Some((7, vec![8..=10])));
        assert_eq!(partition.settled_beyond(Some(7)), Some((7, vec![8..=10])));
        assert_eq!(
            partition.settled_beyond(Some(9)),
            Some((9, vec![9..=10])),
            "others went on"
        );
        assert_eq!(partition.settled_beyond(Some(20)), Some((20, vec![])));
        assert_eq!(
            partition.settled_beyond(Some(4)),
            None,
            "somebody set it back"
        );
        assert_eq!(partition.settled_beyond(None), None, "not its beginning");
        partition.is_settled_from(4);
        assert_eq!(partition.settled_beyond(Some(4)), Some((7, vec![8..=10])));
        open.done();
        assert_eq!(
            partition.settled_beyond(Some(5)),
            Some((11, vec![])),
            "later"
        );
    }

    #[test]
    fn where_nothing_was_read_yet_the_start_is_kept_alive() {
        let bounds = Bounds {
            events: 10,
            span: 100,
        };
        let ledger = OffsetLedger::new([8..=9]);
        let partition = Partition::new(
            "t".into(),
            0,
            "c".into(),
            Some(7),
            ledger,
            bounds,
            Memory::new(1000),
        );
        let finished =
            |_: i64, ledger: &OffsetLedger| format!("{:?}", ledger.finished_beyond().next());
        assert_eq!(partition.position(), Some(7));
        assert_eq!(partition.to_commit(false, finished), None);
        let kept = Some((7, "Some(8..=9)".to_owned()));
        assert_eq!(partition.to_commit(true, finished), kept);
    }
}
