//! One attempt: send, judge, write what follows.

use std::sync::Arc;
use std::time::Duration;

use super::queues::Effect;
use super::{Slot, Work};
use crate::domain::attempt::Report;
use crate::domain::delivery::Delivery;
use crate::domain::disposition::{Disposition, Verdict, judge};
use crate::domain::outcome::Outcome;
use crate::sinks::Outgoing;
use crate::sinks::prepared::Prepared;
use crate::telemetry::metrics::HandOver;
use crate::wire::attempt::{self, AttemptRecord};

/// Runs an attempt, gives its slot back and starts what may start then.
pub(super) async fn run(mut slot: Slot, work: Work) {
    let dispatcher = Arc::clone(&slot.dispatcher);
    make(&mut slot, work).await;
    drop(slot);
    dispatcher.pump().await;
}

async fn make(slot: &mut Slot, work: Work) {
    let dispatcher = Arc::clone(&slot.dispatcher);
    if work.settle.is_revoked() {
        dispatcher.release(work).await;
        return;
    }
    let Some(prepared) = dispatcher.destinations.current(&work.delivery.destination) else {
        dispatcher.deleted(work).await;
        return;
    };
    if !prepared.destination.enabled {
        dispatcher.hand_over(work, HandOver::Paused).await;
        return;
    }
    let started_ms = dispatcher.clock.now_ms();
    let number = work.delivery.progress.attempts + 1;
    let report = prepared
        .sink
        .send(
            &dispatcher.clients,
            Outgoing {
                event: &work.delivery.event,
                destination: &work.delivery.destination,
                attempt: number,
                replay: None,
                now_ms: dispatcher.clock.wall_ms(),
            },
        )
        .await;
    let now_ms = dispatcher.clock.now_ms();
    let policy = &prepared.destination.retry;
    let before = &work.delivery.progress;
    let verdict = judge(
        policy,
        before,
        &report,
        started_ms,
        now_ms,
        rand::random::<f64>(),
    );
    if let Some(until) = verdict.hold_until_ms {
        slot.effect = Effect::Throttled {
            hold_until: dispatcher.now() + (until - now_ms).max(0),
        };
    }
    note(slot, &work, &prepared, &report, &verdict, now_ms);
    follow(slot, work, &prepared, report, verdict, (started_ms, now_ms)).await;
}

/// Counts the attempt, and logs it where it failed.
fn note(
    slot: &Slot,
    work: &Work,
    prepared: &Prepared,
    report: &Report,
    verdict: &Verdict,
    now_ms: i64,
) {
    let kind = prepared.sink.kind();
    let metrics = slot.dispatcher.metrics.sink(kind);
    metrics.deliveries.get(report.outcome).inc();
    metrics.attempt_seconds.observe(report.total.as_secs_f64());
    if report.outcome == Outcome::Delivered {
        let latency = now_ms - work.delivery.event.time_ms;
        let latency = Duration::from_millis(u64::try_from(latency).unwrap_or(0));
        metrics.delivery_latency.observe(latency.as_secs_f64());
        return;
    }
    let next = match verdict.disposition {
        Disposition::Done => "done",
        Disposition::Retry { .. } => "retry",
        Disposition::DeadLetter(reason) => reason.as_str(),
    };
    tracing::info!(
        destination.id = %work.delivery.destination,
        event.id = %work.delivery.event.id,
        attempt.number = work.delivery.progress.attempts + 1,
        sink.kind = kind,
        outcome = report.outcome.as_str(),
        status = report.status,
        error = report.error.as_deref(),
        due_in_ms = match verdict.disposition { Disposition::Retry { due_ms } => Some(due_ms - now_ms), _ => None },
        next,
        "attempt failed"
    );
}

/// Writes the attempt's record and what follows; the ticket is settled when both are acknowledged.
async fn follow(
    slot: &Slot,
    work: Work,
    prepared: &Prepared,
    report: Report,
    verdict: Verdict,
    (started_ms, judged_ms): (i64, i64),
) {
    let outbox = &slot.dispatcher.outbox;
    let Work {
        delivery,
        settle,
        tier,
        ..
    } = work;
    if report.outcome != Outcome::Internal {
        let record = describe(
            &delivery,
            prepared,
            &report,
            &verdict,
            started_ms,
            tier,
            &slot.dispatcher.instance,
        );
        let mut value = Vec::with_capacity(512);
        match record.encode(&mut value) {
            Ok(()) => {
                outbox
                    .attempt(&delivery.destination, value, settle.split())
                    .await
            }
            Err(error) => tracing::error!(
                destination.id = %delivery.destination,
                event.id = %delivery.event.id,
                error = %error,
                "the record of an attempt cannot be written"
            ),
        }
    }
    let next = Delivery {
        progress: verdict.progress,
        ..delivery
    };
    match verdict.disposition {
        Disposition::Done => settle.done(),
        Disposition::Retry { due_ms } => {
            // From when it was judged: what writing the record took must not choose a shorter tier.
            let wait = Duration::from_millis(u64::try_from(due_ms - judged_ms).unwrap_or(0));
            outbox.retry(&next, wait, settle).await;
        }
        Disposition::DeadLetter(reason) => {
            let detail = next.progress.last_error.clone().unwrap_or_default();
            outbox.dead_letter(&next, reason, &detail, settle).await;
        }
    }
}

/// The record of an attempt.
fn describe<'a>(
    delivery: &'a Delivery,
    prepared: &Prepared,
    report: &'a Report,
    verdict: &Verdict,
    started_ms: i64,
    tier: Option<u32>,
    instance: &'a str,
) -> AttemptRecord<'a> {
    let event = &delivery.event;
    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let (disposition, reason, due_at_ms) = match verdict.disposition {
        Disposition::Done => (attempt::Disposition::Done, None, None),
        Disposition::Retry { due_ms } => (attempt::Disposition::Retry, None, Some(due_ms)),
        Disposition::DeadLetter(reason) => (attempt::Disposition::DeadLetter, Some(reason), None),
    };
    AttemptRecord {
        event_id: (&*event.id).into(),
        event_type: (&*event.event_type).into(),
        tenant: event.tenant.as_str().into(),
        destination: delivery.destination.as_str().into(),
        sink: prepared.sink.kind().into(),
        attempt: delivery.progress.attempts + 1,
        trigger: delivery.progress.trigger,
        outcome: report.outcome,
        disposition,
        reason,
        status: report.status,
        error: report.error.as_deref().map(Into::into),
        started_at_ms: started_ms,
        duration_us: micros(report.total),
        first_byte_us: report.first_byte.map(micros),
        due_at_ms,
        first_seen_at_ms: delivery.progress.first_seen_ms,
        tier: tier.and_then(|tier| u16::try_from(tier).ok()),
        retry_after_ms: report.retry_after.map(millis),
        response_headers: (&*report.response_headers).into(),
        response_body: (&*report.response_body).into(),
        body_bytes: event
            .body
            .as_ref()
            .map_or(0, |body| u32::try_from(body.len()).unwrap_or(u32::MAX)),
        origin_topic: (&*event.origin.topic).into(),
        origin_partition: event.origin.partition,
        origin_offset: event.origin.offset,
        document_offset: prepared.document_offset,
        circuit_epoch: 0,
        replay: None,
        actor: None,
        instance: instance.into(),
    }
}
