//! The configuration as a view: which destinations there are, and which of them an event is for.
//!
//! Read from `destinations` and `dedicated`; read by the router, the retry readers and dispatch.
//!
//! Invariant: what is in force is the last valid document of each destination that this instance has read.
//! Invariant: a document's change is one step: no reader sees a part of it.

pub mod reader;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::config::destination as document;
use crate::config::faults::Fault;
use crate::config::settings::Settings;
use crate::domain::destination::Destination;
use crate::domain::event_type::InvalidPattern;
use crate::domain::ids::{DestinationId, TenantId};
use crate::domain::subscription_index::SubscriptionIndex;
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

#[derive(Debug, Default)]
struct Tenant {
    index: SubscriptionIndex,
    slots: Vec<Option<Arc<Prepared>>>,
    free: Vec<u32>,
}

#[derive(Debug, Default)]
struct View {
    destinations: HashMap<DestinationId, (u32, Arc<Prepared>)>,
    tenants: HashMap<TenantId, Tenant>,
}

impl View {
    fn remove(&mut self, id: &DestinationId) -> Option<Arc<Prepared>> {
        let (slot, prepared) = self.destinations.remove(id)?;
        if let Some(tenant) = self.tenants.get_mut(&prepared.destination.tenant) {
            tenant.index.remove(slot);
            if let Some(place) = tenant.slots.get_mut(slot as usize) {
                *place = None;
            }
            tenant.free.push(slot);
        }
        Some(prepared)
    }

    fn insert(&mut self, prepared: Arc<Prepared>) -> Result<Option<Arc<Prepared>>, InvalidPattern> {
        let destination = &prepared.destination;
        let before = self.remove(&destination.id);
        let tenant = self.tenants.entry(destination.tenant.clone()).or_default();
        let slot = tenant.free.pop().unwrap_or_else(|| {
            tenant.slots.push(None);
            u32::try_from(tenant.slots.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(place) = tenant.slots.get_mut(slot as usize) {
            *place = Some(Arc::clone(&prepared));
        }
        // Patterns were checked with the document.
        tenant
            .index
            .insert(slot, destination.subscriptions.as_deref())?;
        self.destinations
            .insert(destination.id.clone(), (slot, prepared));
        Ok(before)
    }
}

/// The view that every role shares.
#[derive(Debug)]
pub struct Catalog {
    view: RwLock<View>,
    documents: Documents,
    metrics: Metrics,
    applied: watch::Sender<i64>,
    loaded: watch::Sender<bool>,
    stale: AtomicBool,
}

impl Catalog {
    /// An empty view.
    #[must_use]
    pub fn new(documents: Documents, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            view: RwLock::default(),
            documents,
            metrics,
            applied: watch::Sender::new(-1),
            loaded: watch::Sender::new(false),
            stale: AtomicBool::new(false),
        })
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
    pub fn matching(
        &self,
        tenant: &TenantId,
        topic: &str,
        event_type: &str,
        found: &mut Vec<Arc<Prepared>>,
    ) {
        found.clear();
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        let Some(tenant) = view.tenants.get(tenant) else {
            return;
        };
        let mut slots = Vec::new();
        tenant.index.matching(topic, event_type, &mut slots);
        found.extend(
            slots
                .iter()
                .filter_map(|slot| tenant.slots.get(*slot as usize)?.clone()),
        );
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

    /// Waits until the record of `destinations` at `offset` is applied. Cancel safe.
    pub async fn applied(&self, offset: i64) {
        if self
            .applied
            .subscribe()
            .wait_for(|applied| *applied >= offset)
            .await
            .is_err()
        {
            unreachable!("the catalog holds the sender");
        }
    }

    /// Applies one record of `destinations`. Returns the destination that is in force then, where it changed.
    fn apply(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        offset: i64,
    ) -> Option<Arc<Prepared>> {
        let changed = match value {
            None => {
                let id = key
                    .and_then(|key| std::str::from_utf8(key).ok())
                    .and_then(|key| DestinationId::parse(key).ok());
                let removed = id.and_then(|id| {
                    self.view
                        .write()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(&id)
                });
                if let Some(removed) = removed {
                    self.metrics.sink(removed.sink.kind()).destinations.dec();
                    tracing::info!(destination.id = %removed.destination.id, kafka.offset = offset, "destination deleted");
                }
                None
            }
            Some(value) => match self.documents.read(key, value, offset) {
                Ok(prepared) => {
                    let prepared = Arc::new(prepared);
                    let inserted = self
                        .view
                        .write()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(Arc::clone(&prepared));
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
                    Some(prepared)
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
