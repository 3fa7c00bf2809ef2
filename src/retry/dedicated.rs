//! Retry topics of destinations' own: made, read, retired, deleted. Only by the owner of the destination's lane.
//!
//! A topic is made under a name never used before, read from its beginning, then announced in `dedicated`. To retire
//! it, its announcement is deleted; writers that have not read that yet may still append, so the owner reads on, and
//! deletes it when nothing was appended for `retry.delete_after`. A topic that nobody announces (its maker crashed, or
//! it was being retired) is found by its name and treated as retired.
//!
//! A writer that is cut off from Kafka for longer than that, with a record for the topic in its producer, finds it deleted
//! and writes to the shared one. Kafka deletes without conditions: a record that arrives in the milliseconds between the
//! last look and the deletion would be lost. An instance that is not cut off cannot write one, since it uses no topic of
//! which it has not confirmed within `catalog.stale_after` that it is announced.
//!
//! Invariant: a topic is deleted only when it is drained and nothing was appended for `retry.delete_after`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;

use super::{Shared, lock};
use crate::domain::delivery::Delivery;
use crate::domain::ids::DestinationId;
use crate::kafka::topics;
use crate::wire::dedicated;

/// So many deliveries that wait make a topic worth while when half of the topics are in use.
const CROWD: usize = 100;

/// For how long no topic is made after one could not be.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// What is known of a topic's use.
#[derive(Debug)]
pub(super) struct State {
    /// The sum of the partitions' ends when they were last looked up.
    ends: i64,
    /// When the ends last changed, as far as this owner saw.
    appended: Instant,
    /// Its announcement was deleted, or never made.
    retired: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            ends: -1,
            appended: Instant::now(),
            retired: false,
        }
    }
}

/// Takes note of a record that was read from the shared topic.
pub(super) fn note(shared: &Shared, delivery: &Delivery) {
    if delivery.progress.attempts > 0 {
        let half = shared.parts.settings.retry.dedicated_topics / 2;
        if shared.parts.dedicated.len() < half
            && !shared.parts.dedicated.is_announced(&delivery.destination)
        {
            lock(&shared.pressure).insert(delivery.destination.clone(), CROWD);
            shared.reconcile.notify_one();
        }
    }
}

/// Takes note of a record that found no room.
pub(super) fn want(shared: &Shared, destination: &DestinationId) {
    let mut pressure = lock(&shared.pressure);
    let count = pressure.entry(destination.clone()).or_default();
    *count += 1;
    if *count == CROWD {
        shared.reconcile.notify_one();
    }
}

/// Makes topics for the destinations that need one.
pub(super) async fn make(shared: &Arc<Shared>) {
    let wanted: Vec<DestinationId> = {
        let mut pressure = lock(&shared.pressure);
        let wanted: Vec<_> = pressure
            .iter()
            .filter(|(_, count)| **count >= CROWD)
            .map(|(id, _)| id.clone())
            .collect();
        for id in &wanted {
            pressure.remove(id);
        }
        wanted
    };
    if lock(&shared.make_after).is_some_and(|at| Instant::now() < at) {
        return;
    }
    for id in wanted {
        let lane = shared.parts.outbox.lane(&id);
        let known = shared.parts.dedicated.is_announced(&id)
            || lock(&shared.readings)
                .values()
                .any(|reading| reading.destination.as_ref() == Some(&id) && !reading.state.retired);
        let room = shared.parts.dedicated.len() < shared.parts.settings.retry.dedicated_topics;
        if known || !room || !shared.owns(lane) || shared.parts.catalog.current(&id).is_none() {
            continue;
        }
        if let Err(error) = make_one(shared, &id, lane).await {
            tracing::warn!(destination.id = %id, error = %format!("{error:#}"), "no retry topic of its own could be made; the shared one serves");
            // Each failed record would try it again, and leave another topic behind if only the last step fails.
            *lock(&shared.make_after) = Some(Instant::now() + AFTER_FAILURE);
            return;
        }
    }
}

async fn make_one(shared: &Arc<Shared>, id: &DestinationId, lane: u32) -> anyhow::Result<()> {
    let topic = shared.parts.names.dedicated_retry(id, rand::random());
    let parts = &shared.parts;
    topics::create_retry_topic(&topic, &parts.settings, &parts.topics, &parts.admin).await?;
    let (reading, name, destination) = (Arc::clone(shared), Arc::clone(&topic), id.clone());
    tokio::task::spawn_blocking(move || reading.read(&name, lane, Some(destination), true))
        .await??;
    if !shared.owns(lane) {
        // The next owner finds the topic by its name and deletes it.
        stop(shared, &topic, lane).await;
        return Ok(());
    }
    announce(shared, id, Some(&topic)).await?;
    shared
        .parts
        .dedicated
        .set(id.clone(), Some(Arc::clone(&topic)));
    tracing::info!(destination.id = %id, kafka.topic = %topic, "the destination has a retry topic of its own");
    Ok(())
}

async fn announce(shared: &Shared, id: &DestinationId, topic: Option<&str>) -> anyhow::Result<()> {
    shared
        .parts
        .outbox
        .announce(&dedicated::encode(id, topic))
        .await?;
    Ok(())
}

/// Starts to read the announced topics of owned lanes that are not read yet.
pub(super) async fn follow(shared: &Arc<Shared>) {
    for (id, topic) in shared.parts.dedicated.all() {
        let lane = shared.parts.outbox.lane(&id);
        let known = lock(&shared.readings).contains_key(&(Arc::clone(&topic), lane));
        if known || !shared.owns(lane) {
            continue;
        }
        start(shared, &topic, lane, id).await;
    }
}

async fn start(shared: &Arc<Shared>, topic: &Arc<str>, lane: u32, id: DestinationId) {
    let (reading, name) = (Arc::clone(shared), Arc::clone(topic));
    match tokio::task::spawn_blocking(move || reading.read(&name, lane, Some(id), false)).await {
        Ok(Ok(())) => {
            if !shared.owns(lane) {
                // The lane was given up meanwhile.
                stop(shared, topic, lane).await;
            }
        }
        Ok(Err(error)) => {
            tracing::warn!(kafka.topic = %topic, error = %error, "a retry topic cannot be read yet")
        }
        Err(error) => tracing::error!(error = %error, "starting to read a retry topic panicked"),
    }
}

async fn stop(shared: &Arc<Shared>, topic: &Arc<str>, lane: u32) {
    let Some(reading) = lock(&shared.readings).remove(&(Arc::clone(topic), lane)) else {
        return;
    };
    let stopping = Arc::clone(shared);
    let limit = shared.parts.settings.ledger.revoke_timeout.0;
    if tokio::task::spawn_blocking(move || stopping.stop(vec![reading], limit, true))
        .await
        .is_err()
    {
        tracing::error!("stopping to read a retry topic panicked");
    }
}

/// Finds topics that nobody announces, lets go of what was deleted, retires drained ones, deletes retired ones.
pub(super) async fn look_after(shared: &Arc<Shared>) {
    if let Some(listed) = list(shared).await {
        find_unannounced(shared, &listed).await;
        let_go(shared, &listed).await;
    }
    let announced: HashSet<Arc<str>> = shared
        .parts
        .dedicated
        .all()
        .into_iter()
        .map(|(_, topic)| topic)
        .collect();
    let topics: Vec<(Arc<str>, u32, DestinationId)> = lock(&shared.readings)
        .iter()
        .filter_map(|((topic, lane), reading)| {
            Some((Arc::clone(topic), *lane, reading.destination.clone()?))
        })
        .collect();
    for (topic, lane, id) in topics {
        let Some((drained, quiet)) = use_of(shared, &topic, lane, announced.contains(&topic)).await
        else {
            continue;
        };
        let settings = &shared.parts.settings.retry;
        if announced.contains(&topic) {
            if drained && quiet >= settings.retire_after.0 {
                tracing::info!(destination.id = %id, kafka.topic = %topic, "the retry topic is no longer needed and is retired");
                match announce(shared, &id, None).await {
                    Ok(()) => shared.parts.dedicated.set(id, None),
                    Err(error) => {
                        tracing::warn!(error = %format!("{error:#}"), "a retry topic could not be retired")
                    }
                }
            }
        } else if drained && quiet >= settings.delete_after.0 {
            let before = ends(shared, &topic).await;
            stop(shared, &topic, lane).await;
            if before.is_none() || ends(shared, &topic).await != before {
                // A stale writer was faster: it is read again at the next look.
                continue;
            }
            match shared.parts.admin.delete_topic(&topic).await {
                Ok(()) => {
                    forget(shared, &topic);
                    tracing::info!(kafka.topic = %topic, "retired retry topic deleted");
                }
                Err(error) => {
                    tracing::warn!(kafka.topic = %topic, error = %error, "a retired retry topic could not be deleted")
                }
            }
        }
    }
}

/// The sum of the ends of a topic's partitions.
async fn ends(shared: &Arc<Shared>, topic: &Arc<str>) -> Option<i64> {
    let (looking, name) = (Arc::clone(shared), Arc::clone(topic));
    tokio::task::spawn_blocking(move || {
        let consumer = looking.consumer.client();
        let partitions = i32::try_from(looking.parts.outbox.tiers().partitions()).ok()?;
        (0..partitions)
            .map(|number| {
                let limit = Duration::from_secs(5);
                Some(consumer.fetch_watermarks(&name, number, limit).ok()?.1)
            })
            .sum()
    })
    .await
    .ok()?
}

/// Whether everything in a topic is settled, and for how long nothing was appended.
async fn use_of(
    shared: &Arc<Shared>,
    topic: &Arc<str>,
    lane: u32,
    announced: bool,
) -> Option<(bool, Duration)> {
    let (looking, name) = (Arc::clone(shared), Arc::clone(topic));
    let (ends, drained) = tokio::task::spawn_blocking(move || {
        let partitions = lock(&looking.readings)
            .get(&(Arc::clone(&name), lane))?
            .partitions
            .clone();
        let (mut ends, mut drained) = (0, true);
        for (topic, number) in partitions {
            let limit = Duration::from_secs(5);
            let (low, end) = looking
                .consumer
                .client()
                .fetch_watermarks(&topic, number, limit)
                .ok()?;
            ends += end;
            let position = looking.assigned.get(&topic, number)?.position();
            drained &= low == end || position == Some(end);
        }
        Some((ends, drained))
    })
    .await
    .ok()??;
    let mut readings = lock(&shared.readings);
    let state = &mut readings.get_mut(&(Arc::clone(topic), lane))?.state;
    if state.ends != ends || state.retired == announced {
        state.ends = ends;
        state.appended = Instant::now();
    }
    state.retired = !announced;
    Some((drained, state.appended.elapsed()))
}

/// The names of the retry topics that exist.
async fn list(shared: &Arc<Shared>) -> Option<HashSet<Arc<str>>> {
    let prefix = format!("{}.", shared.parts.names.retry);
    match shared.parts.admin.list_topics(&prefix).await {
        Ok(listed) => Some(listed.into_keys().map(Arc::from).collect()),
        Err(error) => {
            tracing::debug!(error = %error, "retry topics could not be listed");
            None
        }
    }
}

/// Reads topics of owned lanes that exist and that nobody announces.
async fn find_unannounced(shared: &Arc<Shared>, listed: &HashSet<Arc<str>>) {
    for topic in listed {
        let Some(id) = shared.parts.names.destination_of(topic) else {
            continue;
        };
        let lane = shared.parts.outbox.lane(&id);
        let known = lock(&shared.readings).contains_key(&(Arc::clone(topic), lane));
        if !known && shared.owns(lane) {
            start(shared, topic, lane, id).await;
        }
    }
}

/// Stops to read topics that do not exist any more, deleted by somebody else, and ends their announcements, so that
/// their destinations may get other ones.
async fn let_go(shared: &Arc<Shared>, listed: &HashSet<Arc<str>>) {
    let gone: Vec<(Arc<str>, u32, DestinationId)> = lock(&shared.readings)
        .iter()
        .filter(|((topic, _), _)| !listed.contains(topic))
        .filter_map(|((topic, lane), reading)| {
            Some((Arc::clone(topic), *lane, reading.destination.clone()?))
        })
        .collect();
    for (topic, lane, id) in gone {
        // Asked for by its name: a list may not have yet what was just made.
        if !matches!(shared.parts.admin.topic(&topic).await, Ok(None)) {
            continue;
        }
        let announced = shared.parts.dedicated.all();
        if announced.iter().any(|(_, other)| *other == topic) {
            tracing::warn!(destination.id = %id, kafka.topic = %topic, "the retry topic was deleted by somebody else; its announcement is withdrawn");
            match announce(shared, &id, None).await {
                Ok(()) => shared.parts.dedicated.set(id, None),
                Err(error) => {
                    tracing::warn!(error = %format!("{error:#}"), "an announcement could not be withdrawn");
                    continue;
                }
            }
        }
        stop(shared, &topic, lane).await;
        forget(shared, &topic);
    }
}

/// Lets go of what is kept for a deleted topic's partitions.
fn forget(shared: &Shared, topic: &Arc<str>) {
    for number in 0..shared.parts.outbox.tiers().partitions() {
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        shared.consumer.forget(topic, number);
    }
}
