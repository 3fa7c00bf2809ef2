//! Attempts: who may start one now, the attempt itself, and what follows from its outcome.
//!
//! Deliveries come from the router (fresh) and from the retry readers (backlog); what follows goes to the outbox. The
//! router never waits for one destination, but for a fast one that has room in a moment: what finds none is handed over
//! to the destination's retry topic.
//!
//! Invariant: a delivery that was taken ends in exactly one of: delivered, retry topic, dead letter; each settles its
//! ticket when the broker has acknowledged it. One whose assignment ended before its attempt started is dropped.

mod attempt;
mod crowd;
mod entry;
mod queues;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::config::settings;
use crate::domain::delivery::{DeadLetterReason, Delivery};
use crate::domain::ids::DestinationId;
use crate::kafka::outbox::Outbox;
use crate::kafka::partition::{Memory, Settle};
use crate::sinks::Clients;
use crate::sinks::prepared::Prepared;
use crate::telemetry::metrics::{AttemptKind, HandOver, Metrics};

use entry::{Allowance, Kind, Millis};
use queues::{Effect, Limits, Next, Queues, Start};

/// How long the reading of a partition waits for a fast destination whose queue is full, before the delivery is handed
/// over. Such a one starts some within this time.
const PATIENCE: Duration = Duration::from_millis(5);

/// Tells the version of a destination that is in force.
pub trait Destinations: Send + Sync + 'static {
    /// The destination, or `None` where it was deleted.
    fn current(&self, id: &DestinationId) -> Option<Arc<Prepared>>;
}

/// A delivery to be attempted, and the duty to settle it.
#[derive(Debug)]
pub struct Work {
    /// What to deliver.
    pub delivery: Delivery,
    /// Settled by what follows.
    pub settle: Settle,
    /// The tier that it was read from; `None`: fresh.
    pub tier: Option<u32>,
    /// Its record holds deliveries to several destinations: an event with more than one that matches.
    pub one_of_several: bool,
}

/// Starts attempts within bounds.
pub struct Dispatcher {
    queues: Mutex<Queues<Work>>,
    destinations: Arc<dyn Destinations>,
    clients: Clients,
    outbox: Arc<Outbox>,
    memory: Arc<Memory>,
    metrics: Metrics,
    clock: Clock,
    instance: Box<str>,
    epoch: Instant,
    /// This instance's share of the sources' partitions, as the bits of an `f64`.
    share: AtomicU64,
    /// Destinations that changed since they were looked at: each stands once.
    changes: Mutex<HashSet<DestinationId>>,
    /// Told when timers or destinations changed.
    changed: Notify,
}

impl std::fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dispatcher")
    }
}

/// What a dispatcher is made of.
#[derive(Debug)]
pub struct Parts {
    /// The clients that sinks share.
    pub clients: Clients,
    /// Takes what follows from attempts.
    pub outbox: Arc<Outbox>,
    /// What events may take.
    pub memory: Arc<Memory>,
    /// Where to count.
    pub metrics: Metrics,
    /// The brokers' time.
    pub clock: Clock,
    /// Names this process in attempt records.
    pub instance: Box<str>,
}

impl Dispatcher {
    /// A dispatcher; [`Dispatcher::run`] must run beside it.
    #[must_use]
    pub fn new(
        settings: &settings::Dispatch,
        ledger: &settings::Ledger,
        destinations: Arc<dyn Destinations>,
        parts: Parts,
    ) -> Arc<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a small count"
        )]
        let backlog_slots = (settings.slots as f64 * settings.backlog_share).ceil() as usize;
        let limits = Limits {
            slots: settings.slots,
            backlog_slots: backlog_slots.clamp(1, settings.slots),
            queue: settings.queue,
            // Of the events of a partition that may be unsettled, most are left to other destinations.
            queue_most: ledger.events / 4,
            queue_bytes: settings.memory.0 / 16,
            queue_wait: settings.queue_wait.as_millis(),
            slow_after: settings.slow_after.as_millis(),
        };
        Arc::new(Self {
            queues: Mutex::new(Queues::new(limits)),
            destinations,
            clients: parts.clients,
            outbox: parts.outbox,
            memory: parts.memory,
            metrics: parts.metrics,
            clock: parts.clock,
            instance: parts.instance,
            epoch: Instant::now(),
            share: AtomicU64::new(1.0_f64.to_bits()),
            changes: Mutex::default(),
            changed: Notify::new(),
        })
    }

    fn now(&self) -> Millis {
        i64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn queues(&self) -> MutexGuard<'_, Queues<Work>> {
        // A panic while it was held is a bug; going on is better than stopping every destination.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allowance(&self, prepared: &Prepared) -> Allowance {
        let policy = &prepared.destination.delivery;
        let share = f64::from_bits(self.share.load(Ordering::Relaxed));
        Allowance {
            enabled: prepared.destination.enabled,
            concurrency: policy.concurrency as usize,
            rate: policy.rate.map(|rate| rate.per_second() * share),
            version: prepared.document_offset,
        }
    }

    /// Tells which share of the sources' partitions this instance holds, from 0 to 1; rates are divided by it.
    pub fn set_share(&self, share: f64) {
        self.share
            .store(share.clamp(0.001, 1.0).to_bits(), Ordering::Relaxed);
    }

    /// Takes a fresh delivery: an attempt starts now or soon, or it is handed over. Waits a moment at most, and only for a
    /// destination that starts several a millisecond.
    pub async fn submit(self: &Arc<Self>, prepared: &Prepared, work: Work) {
        let mut offered = self.offer(prepared, work);
        if let Err((_, HandOver::QueueFull)) = offered {
            let patience = tokio::time::sleep(PATIENCE);
            tokio::pin!(patience);
            while let Err((work, HandOver::QueueFull)) = offered {
                let room = self
                    .queues()
                    .fresh_room(&prepared.destination.id, self.now());
                let came = match room {
                    None => false,
                    Some(room) => tokio::select! {
                        () = room.notified() => true,
                        () = &mut patience => false,
                    },
                };
                if !came {
                    offered = Err((work, HandOver::QueueFull));
                    break;
                }
                offered = self.offer(prepared, work);
            }
        }
        if let Err((work, cause)) = offered {
            self.hand_over(work, cause).await;
        }
        self.pump().await;
    }

    #[expect(clippy::result_large_err, reason = "what is refused is given back")]
    fn offer(&self, prepared: &Prepared, work: Work) -> Result<(), (Work, HandOver)> {
        let bytes = work.delivery.event.bytes();
        let memory_is_short = self.memory.used() > self.memory.limit() / 4 * 3;
        self.queues().offer_fresh(
            &prepared.destination.id,
            self.allowance(prepared),
            work,
            bytes,
            memory_is_short,
            self.now(),
        )
    }

    /// Takes a delivery of the backlog.
    ///
    /// # Errors
    /// Gives it back where there is no room, with what is told when there may be.
    pub async fn submit_backlog(
        self: &Arc<Self>,
        prepared: &Prepared,
        work: Work,
    ) -> Result<(), (Work, Arc<Notify>)> {
        let id = &prepared.destination.id;
        let taken = self
            .queues()
            .offer_backlog(id, self.allowance(prepared), work, self.now());
        self.pump().await;
        taken
    }

    /// How long it is likely to be until there is room for a delivery of the backlog that just found none: each one is
    /// told a later time, and none a longer one than `most`. `None`: its destination does not move.
    pub fn backlog_turn(&self, id: &DestinationId, most: Duration) -> Option<Duration> {
        let most = i64::try_from(most.as_millis()).unwrap_or(i64::MAX);
        let wait = self.queues().backlog_turn(id, self.now(), most)?;
        Some(Duration::from_millis(u64::try_from(wait).unwrap_or(0)))
    }

    /// Takes note that a destination changed or was deleted; [`Dispatcher::run`] follows. Does not block.
    pub fn note_change(&self, id: &DestinationId) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.insert(id.clone());
        drop(changes);
        self.changed.notify_one();
    }

    async fn follow_changes(self: &Arc<Self>) {
        let changes =
            std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner));
        for id in changes {
            self.update(&id).await;
        }
    }

    /// Follows a changed document. What waits for a destination that is not enabled any more is handed over, what waits
    /// for a deleted one is given up: neither may hold its offset until something else happens to the destination.
    async fn update(self: &Arc<Self>, id: &DestinationId) {
        let current = self.destinations.current(id);
        let enabled = current
            .as_ref()
            .is_some_and(|prepared| prepared.destination.enabled);
        let back = {
            let mut queues = self.queues();
            if let Some(prepared) = &current {
                queues.update(id, self.allowance(prepared));
            }
            if enabled {
                Vec::new()
            } else {
                queues.take_all(id)
            }
        };
        for work in back {
            if current.is_some() {
                self.hand_over(work, HandOver::Paused).await;
            } else {
                self.deleted(work).await;
            }
        }
        self.pump().await;
    }

    /// Gives a delivery up whose destination was deleted.
    pub async fn deleted(&self, work: Work) {
        let detail = "the destination was deleted before this delivery";
        self.outbox
            .dead_letter(
                &work.delivery,
                DeadLetterReason::Deleted,
                detail,
                work.settle,
            )
            .await;
    }

    /// Starts all that may start.
    async fn pump(self: &Arc<Self>) {
        loop {
            let (next, timer) = {
                let mut queues = self.queues();
                let before = queues.next_timer();
                let next = queues.next(self.now());
                (next, queues.next_timer() != before)
            };
            if timer {
                self.changed.notify_one();
            }
            match next {
                Next::Start(start) => self.start(start),
                Next::HandOver(works, cause) => {
                    for work in works {
                        self.hand_over(work, cause).await;
                    }
                }
                Next::Nothing => return,
            }
        }
    }

    fn start(self: &Arc<Self>, start: Start<Work>) {
        let kind = if start.kind == Kind::Backlog {
            AttemptKind::Backlog
        } else {
            AttemptKind::First
        };
        self.metrics.dispatch.in_flight.get(kind).inc();
        let slot = Slot {
            dispatcher: Arc::clone(self),
            destination: start.destination,
            token: start.token,
            kind,
            effect: Effect::None,
        };
        tokio::spawn(attempt::run(slot, start.work));
    }

    /// Moves a fresh delivery to its destination's backlog.
    async fn hand_over(&self, mut work: Work, cause: HandOver) {
        if work.settle.is_revoked() {
            return self.release(work).await;
        }
        if cause == HandOver::Paused {
            work.delivery.progress.pause(self.clock.now_ms());
        }
        self.metrics.dispatch.handed_over.get(cause).inc();
        self.outbox.to_tier(&work.delivery, 0, work.settle).await;
    }

    /// Serves timers and sweeps until `shutdown` is told.
    pub async fn run(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        let mut sweep = tokio::time::interval(Duration::from_millis(250));
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let timer = self.queues().next_timer();
            let wait = timer.map_or(Duration::from_secs(3600), |at| {
                Duration::from_millis(u64::try_from(at - self.now()).unwrap_or(0))
            });
            tokio::select! {
                _ = shutdown.changed() => return,
                () = self.changed.notified() => self.follow_changes().await,
                () = tokio::time::sleep(wait) => self.queues().wake(self.now()),
                _ = sweep.tick() => {
                    let over = self.queues().sweep(self.now());
                    for (work, cause) in over {
                        self.hand_over(work, cause).await;
                    }
                    self.observe();
                }
            }
            self.pump().await;
        }
    }

    /// Lets go of what waits for a slot and belongs to an assignment that ended.
    pub async fn release_revoked(&self) {
        let dead = self.queues().take_dead(|work| work.settle.is_revoked());
        for work in dead {
            self.release(work).await;
        }
    }

    /// Lets go of a delivery whose attempt has not started and whose assignment ended.
    ///
    /// If it is the only one of its event, the event is simply read again. If there are others, these may be delivered
    /// already and must not be repeated: then it is handed over.
    async fn release(&self, work: Work) {
        if work.one_of_several {
            self.metrics
                .dispatch
                .handed_over
                .get(HandOver::QueueFull)
                .inc();
            self.outbox.to_tier(&work.delivery, 0, work.settle).await;
        }
    }

    fn observe(&self) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics
            .dispatch
            .queued
            .set(gauge(self.queues().queued()));
        self.metrics.dispatch.memory.set(gauge(self.memory.used()));
        self.metrics
            .kafka
            .producer_queue
            .set(gauge(self.outbox.depth()));
    }
}

/// A slot that an attempt holds; dropping it gives the slot back.
struct Slot {
    dispatcher: Arc<Dispatcher>,
    destination: DestinationId,
    token: u64,
    kind: AttemptKind,
    effect: Effect,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let dispatcher = Arc::clone(&self.dispatcher);
        dispatcher.metrics.dispatch.in_flight.get(self.kind).dec();
        dispatcher
            .queues()
            .finish(&self.destination, self.token, self.effect, dispatcher.now());
        if std::thread::panicking() {
            tracing::error!(destination.id = %self.destination, "an attempt panicked; its event is read again after a restart");
            tokio::spawn(async move { dispatcher.pump().await });
        }
    }
}
