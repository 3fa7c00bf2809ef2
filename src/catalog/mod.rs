//! The configuration as a view: which destinations there are, and which of them an event is for.
//!
//! Read from `destinations` and `dedicated`; read by the router, the retry readers and dispatch.
//!
//! Invariant: what is in force is the last valid document of each destination that this instance has read.
//! Invariant: a document's change is one step: no reader sees a part of it.

pub mod reader;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::watch;

use crate::config::destination as document;
use crate::config::faults::Fault;
use crate::config::settings::Settings;
use crate::domain::content::Content;
use crate::domain::destination::Destination;
use crate::domain::event_type::InvalidPattern;
use crate::domain::ids::{DestinationId, TenantId};
use crate::domain::persistent::Map;
use crate::domain::subscription_index::{self, HeldBack, SubscriptionIndex, Verdicts};
use crate::sinks::Sink;
use crate::sinks::prepared::Prepared;
use crate::telemetry::metrics::Metrics;

/// Reads documents of destinations: the same checks wherever one comes from.
#[derive(Debug)]
pub struct Documents {
    settings: Arc<Settings>,
}

impl Documents {
    /// Checks by these settings.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings }
    }

    /// Reads one record of `destinations`.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(
        &self,
        key: Option<&[u8]>,
        value: &[u8],
        document_offset: i64,
    ) -> Result<Prepared, Vec<Fault>> {
        let knows = |topic: &str| self.settings.source_of(topic).is_some();
        self.prepare(
            document::parse(key, value, &knows, &self.settings),
            value,
            document_offset,
        )
    }

    /// Reads a document that no record holds yet.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read_unkeyed(&self, value: &[u8]) -> Result<Prepared, Vec<Fault>> {
        let knows = |topic: &str| self.settings.source_of(topic).is_some();
        self.prepare(
            document::parse_document(value, &knows, &self.settings),
            value,
            -1,
        )
    }

    fn prepare(
        &self,
        parsed: Result<Destination, Vec<Fault>>,
        value: &[u8],
        document_offset: i64,
    ) -> Result<Prepared, Vec<Fault>> {
        let destination = match parsed {
            Ok(destination) => destination,
            Err(mut faults) => {
                // The sink's own faults too, so that one answer names them all.
                if let Ok(serde_json::Value::Object(body)) = serde_json::from_slice(value)
                    && let Some(sink @ serde_json::Value::Object(_)) = body.get("sink")
                    && let Err(more) = Sink::parse(sink, &self.settings)
                {
                    let known: HashSet<String> =
                        faults.iter().map(|fault| fault.pointer.clone()).collect();
                    faults.extend(
                        more.into_iter()
                            .filter(|fault| !known.contains(&fault.pointer)),
                    );
                }
                return Err(faults);
            }
        };
        let sink = Sink::parse(&destination.sink, &self.settings)?;
        Ok(Prepared {
            destination,
            sink,
            document_offset,
        })
    }
}

#[derive(Debug, Clone, Default)]
struct Tenant {
    index: SubscriptionIndex,
    slots: Map<u32, Arc<Prepared>>,
    free: Vec<u32>,
}

impl Tenant {
    fn at(&self, slot: u32) -> Option<Arc<Prepared>> {
        self.slots.get(&slot).cloned()
    }
}

/// Whom an event is for.
#[derive(Debug, Default)]
pub struct Found {
    /// The destinations that take it.
    pub taken: Vec<Arc<Prepared>>,
    /// Those whose filters ask about a body that is no JSON, with what is wrong.
    pub malformed: Vec<(Arc<Prepared>, String)>,
    /// What became of it under the filters of each dialect.
    pub verdicts: Verdicts,
    slots: subscription_index::Found,
}

/// What is known at a time. A copy shares what it has in common with the view that it is of.
#[derive(Debug, Clone, Default)]
struct View {
    destinations: Map<DestinationId, (u32, Arc<Prepared>)>,
    tenants: Map<TenantId, Arc<Tenant>>,
}

impl View {
    fn remove(&mut self, id: &DestinationId) -> Option<Arc<Prepared>> {
        let (slot, prepared) = self.destinations.remove(id)?;
        if let Some(tenant) = self.tenants.get_mut(&prepared.destination.tenant) {
            let tenant = Arc::make_mut(tenant);
            tenant.index.remove(slot);
            tenant.slots.remove(&slot);
            tenant.free.push(slot);
        }
        Some(prepared)
    }

    fn insert(&mut self, prepared: Arc<Prepared>) -> Result<Option<Arc<Prepared>>, InvalidPattern> {
        let destination = &prepared.destination;
        let before = self.remove(&destination.id);
        let tenant = self.tenants.entry(destination.tenant.clone(), Arc::default);
        let tenant = Arc::make_mut(tenant);
        let next = u32::try_from(tenant.slots.len()).unwrap_or(u32::MAX);
        let slot = tenant.free.pop().unwrap_or(next);
        tenant.slots.entry(slot, || Arc::clone(&prepared));
        // Patterns were checked with the document.
        tenant
            .index
            .insert(slot, destination.subscriptions.as_deref())?;
        let id = destination.id.clone();
        self.destinations.entry(id, || (slot, prepared));
        Ok(before)
    }
}

/// What is known of the end of `destinations`.
#[derive(Debug, Clone, Copy, Default)]
struct Confirmed {
    /// How often it was looked up and found to be applied.
    times: u64,
    /// The end that was found last.
    end: i64,
    /// An offset, and the end beyond which it was looked for in vain: none up to it is there while the end stays.
    absent: Option<(i64, i64)>,
}

impl Confirmed {
    fn has(&self, offset: i64) -> bool {
        let absent = self.absent;
        offset < self.end || absent.is_some_and(|(most, end)| end == self.end && offset <= most)
    }
}

/// The view that every role shares.
#[derive(Debug)]
pub struct Catalog {
    /// Readers take a copy of the pointer.
    view: RwLock<Arc<View>>,
    /// Held while the next view is made.
    changing: Mutex<()>,
    documents: Documents,
    metrics: Metrics,
    applied: watch::Sender<i64>,
    confirmed: watch::Sender<Confirmed>,
    loaded: watch::Sender<bool>,
    stale: AtomicBool,
}

impl Catalog {
    /// An empty view.
    #[must_use]
    pub fn new(documents: Documents, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            view: RwLock::default(),
            changing: Mutex::default(),
            documents,
            metrics,
            applied: watch::Sender::new(-1),
            confirmed: watch::Sender::default(),
            loaded: watch::Sender::new(false),
            stale: AtomicBool::new(false),
        })
    }

    /// What is known now.
    fn view(&self) -> Arc<View> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&view)
    }

    /// Changes what is known, in one step for all who look next. They need not wait: the next view is made beside the one
    /// in force, with which it shares what is alike.
    fn change<R>(&self, change: impl FnOnce(&mut View) -> R) -> R {
        let one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if !*self.loaded.borrow() {
            // Nobody looks yet, so nothing need be copied.
            let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
            return change(Arc::make_mut(&mut view));
        }
        let before = self.view();
        let mut next = View::clone(&before);
        let changed = change(&mut next);
        let next = Arc::new(next);
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let replaced = std::mem::replace(&mut *view, next);
        drop(view);
        drop(one);
        // What nobody else has is freed here, with nobody waiting.
        drop((before, replaced));
        changed
    }

    /// Notes that the topics were read to their ends; returns whether that was noted before.
    pub fn set_loaded(&self) -> bool {
        self.loaded.send_replace(true)
    }

    /// The version of a destination that is in force.
    #[must_use]
    pub fn current(&self, id: &DestinationId) -> Option<Arc<Prepared>> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        view.destinations
            .get(id)
            .map(|(_, prepared)| Arc::clone(prepared))
    }

    /// Fills `found` with the destinations that an event is for, each once.
    pub fn matching(&self, tenant: &TenantId, content: &Content<'_>, found: &mut Found) {
        found.taken.clear();
        found.malformed.clear();
        found.verdicts = Verdicts::default();
        let view = self.view();
        let Some(tenant) = view.tenants.get(tenant) else {
            return;
        };
        let slots = &mut found.slots;
        tenant.index.matching(content, slots);
        found.verdicts = slots.verdicts;
        let taken = slots.taken.iter();
        found
            .taken
            .extend(taken.filter_map(|slot| tenant.at(*slot)));
        let malformed = slots.malformed.drain(..);
        found
            .malformed
            .extend(malformed.filter_map(|(slot, detail)| Some((tenant.at(slot)?, detail))));
    }

    /// Tells why the filters of one destination hold an event back, one that `wants` is true for. For samples: looks at a
    /// few destinations, at others in the next turn.
    pub fn held_back(
        &self,
        tenant: &TenantId,
        content: &Content<'_>,
        turn: u64,
        wants: impl Fn(&DestinationId) -> bool,
    ) -> Option<(Arc<Prepared>, HeldBack)> {
        let view = self.view();
        let tenant = view.tenants.get(tenant)?;
        let held = tenant.index.held_back(content, turn, |slot| {
            tenant
                .at(slot)
                .is_some_and(|prepared| wants(&prepared.destination.id))
        })?;
        Some((tenant.at(held.slot)?, held))
    }

    /// How many destinations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.view
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .destinations
            .len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the topics were read to their ends once. Cancel safe.
    pub async fn loaded(&self) {
        // The sender lives as long as `self`.
        if self
            .loaded
            .subscribe()
            .wait_for(|loaded| *loaded)
            .await
            .is_err()
        {
            unreachable!("the catalog holds the sender");
        }
    }

    /// Whether the ends of the topics could not be confirmed lately.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Acquire)
    }

    /// Waits until the record of `destinations` at `offset` is applied, or it is certain that there is none: compaction
    /// may have taken it, or the topic was made again. Cancel safe.
    pub async fn applied(&self, offset: i64) {
        let (mut applied, mut confirmed) = (self.applied.subscribe(), self.confirmed.subscribe());
        let before = confirmed.borrow().times;
        let is_applied = applied.wait_for(|applied| *applied >= offset);
        // The end that is told first may have been looked up before the record was written; the second was not.
        let is_absent = confirmed.wait_for(|found| found.has(offset) || found.times >= before + 2);
        let closed = tokio::select! {
            found = is_applied => found.is_err(),
            found = is_absent => found.is_err(),
        };
        if closed {
            unreachable!("the catalog holds the senders");
        }
        self.confirmed.send_if_modified(|found| {
            if found.times >= before + 2 && !found.has(offset) {
                found.absent = Some((offset, found.end));
            }
            false
        });
    }

    /// Notes that everything in `destinations` before `end` is applied.
    fn confirm(&self, end: i64) {
        self.confirmed.send_modify(|found| {
            found.times += 1;
            found.end = end;
        });
    }

    /// Applies one record of `destinations`. Returns the destination that it changed or deleted; `None` if nothing changed,
    /// also because the document was refused.
    pub fn apply(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        offset: i64,
    ) -> Option<DestinationId> {
        let changed = match value {
            None => {
                let id = key
                    .and_then(|key| std::str::from_utf8(key).ok())
                    .and_then(|key| DestinationId::parse(key).ok());
                let removed = id.and_then(|id| self.change(|view| view.remove(&id)));
                removed.map(|removed| {
                    self.metrics.sink(removed.sink.kind()).destinations.dec();
                    tracing::info!(destination.id = %removed.destination.id, kafka.offset = offset, "destination deleted");
                    removed.destination.id.clone()
                })
            }
            Some(value) => match self.documents.read(key, value, offset) {
                Ok(prepared) => {
                    let prepared = Arc::new(prepared);
                    let inserted = self.change(|view| view.insert(Arc::clone(&prepared)));
                    match inserted {
                        Ok(Some(before)) => {
                            self.metrics.sink(before.sink.kind()).destinations.dec()
                        }
                        Ok(None) => {}
                        Err(error) => {
                            unreachable!("a document with an invalid pattern is refused: {error}")
                        }
                    }
                    self.metrics.sink(prepared.sink.kind()).destinations.inc();
                    tracing::debug!(destination.id = %prepared.destination.id, kafka.offset = offset, "destination in force");
                    Some(prepared.destination.id.clone())
                }
                Err(faults) => {
                    self.refuse(key, &faults, offset);
                    None
                }
            },
        };
        self.metrics.catalog.applied_offset.set(offset);
        self.applied.send_replace(offset);
        changed
    }

    fn refuse(&self, key: Option<&[u8]>, faults: &[Fault], offset: i64) {
        self.metrics.catalog.refused_documents.inc();
        let key = String::from_utf8_lossy(key.unwrap_or_default());
        for fault in faults.iter().take(20) {
            tracing::error!(
                destination.id = %key,
                kafka.offset = offset,
                pointer = fault.pointer,
                problem = fault.message,
                "document of a destination refused; its last valid version stays in force"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use super::*;
    use crate::config;
    use crate::telemetry::metrics::Sets;

    fn catalog() -> Arc<Catalog> {
        let sources = config::Sources {
            file: None,
            env: Vec::new(),
            overrides: Vec::new(),
        };
        let settings = Arc::new(config::load(&sources).expect("the defaults"));
        let metrics = Metrics::new(&Sets {
            sinks: crate::sinks::kinds().collect(),
            sources: Vec::new(),
            tiers: settings.retry.tiers.clone(),
            egress_reasons: Vec::new(),
        });
        Catalog::new(Documents::new(settings), metrics)
    }

    fn is_ready(future: impl Future<Output = ()>) -> bool {
        let mut future = std::pin::pin!(future);
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        future.as_mut().poll(&mut context).is_ready()
    }

    #[test]
    fn a_document_is_waited_for_until_it_is_applied() {
        let catalog = catalog();
        assert!(!is_ready(catalog.applied(0)));
        catalog.apply(Some(b"default/a"), None, 0);
        assert!(is_ready(catalog.applied(0)));
        assert!(!is_ready(catalog.applied(1)));
    }

    #[test]
    fn a_document_that_compaction_took_is_not_waited_for() {
        let catalog = catalog();
        catalog.apply(Some(b"default/a"), None, 3);
        catalog.confirm(52);
        assert!(is_ready(catalog.applied(51)));
        assert!(!is_ready(catalog.applied(52)));
    }

    #[tokio::test]
    async fn a_document_of_a_topic_that_was_made_again_is_waited_for_until_the_end_was_looked_up_twice()
     {
        let catalog = catalog();
        catalog.apply(Some(b"default/a"), None, 3);
        catalog.confirm(4);
        let waiting = tokio::spawn({
            let catalog = Arc::clone(&catalog);
            async move { catalog.applied(1000).await }
        });
        tokio::task::yield_now().await;
        catalog.confirm(4);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "that end may be an old one");
        catalog.confirm(4);
        waiting.await.expect("no panic");
        assert!(is_ready(catalog.applied(999)), "the next one need not wait");
        catalog.confirm(5);
        assert!(!is_ready(catalog.applied(999)), "the topic grew");
    }

    #[test]
    fn who_was_deleted_is_told() {
        let catalog = catalog();
        let document =
            br#"{"id": "a", "sink": {"type": "webhook", "url": "https://example.com/"}}"#;
        let changed = catalog.apply(Some(b"default/a"), Some(document), 0);
        let id = DestinationId::parse("default/a").expect("valid");
        assert_eq!(changed.as_ref(), Some(&id));
        assert_eq!(
            catalog.apply(Some(b"default/a"), None, 1).as_ref(),
            Some(&id)
        );
        assert_eq!(catalog.apply(Some(b"default/a"), None, 2), None);
    }
}
