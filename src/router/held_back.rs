//! A sample of what filters hold back, in the log at level debug.
//!
//! Invariant: of each destination one event in 10 s at most, of all together 10 a second; no value of an event is told.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::catalog::Catalog;
use crate::domain::content::Content;
use crate::domain::ids::{DestinationId, TenantId};

/// How long a destination that was told of is left out.
const EVERY_MS: i64 = 10_000;

/// How many are told of within a second.
const PER_SECOND: usize = 10;

/// When each destination was told of last, as far as that matters still.
#[derive(Debug, Default)]
pub(super) struct Sample(Mutex<HashMap<DestinationId, i64>>);

impl Sample {
    /// Tells of a destination whose filters hold the event back, if there is one to tell of. `id` tells the event's id.
    pub(super) fn tell(
        &self,
        catalog: &Catalog,
        tenant: &TenantId,
        content: &Content<'_>,
        id: &dyn Fn() -> String,
        now_ms: i64,
    ) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !has_room(&mut told, now_ms) {
            return;
        }
        let wants = |destination: &DestinationId| !told.contains_key(destination);
        let turn = now_ms.unsigned_abs();
        let Some((prepared, held)) = catalog.held_back(tenant, content, turn, wants) else {
            return;
        };
        let destination = &prepared.destination.id;
        told.insert(destination.clone(), now_ms);
        drop(told);
        let condition = held.decided.as_ref();
        tracing::debug!(
            destination.id = %destination,
            subscription.id = %held.subscription,
            event.id = %id(),
            event.r#type = content.event_type(),
            kafka.topic = content.topic(),
            dialect = held.dialect.name(),
            path = condition.map_or("", |condition| &condition.path),
            wanted = condition.map_or("", |condition| &condition.wanted),
            found = condition.map_or("", |condition| noun(condition.found.as_deref())),
            "event held back by a filter; `posthaste filter test` shows the values"
        );
    }
}

/// Forgets what is old; whether one more may be told of.
fn has_room(told: &mut HashMap<DestinationId, i64>, now_ms: i64) -> bool {
    let within = |ms: i64, at: i64| (0..ms).contains(&(now_ms - at));
    told.retain(|_, at| within(EVERY_MS, *at));
    told.values().filter(|at| within(1000, **at)).count() < PER_SECOND
}

/// What a value is, without what it holds.
fn noun(json: Option<&str>) -> &'static str {
    match json.and_then(|json| json.bytes().next()) {
        None => "nothing",
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        Some(b'a') => "an array or an object",
        Some(_) => "a number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_destination_is_told_of_once_in_ten_seconds_and_all_ten_times_a_second() {
        let mut told = HashMap::new();
        let mut tell = |number: usize, now_ms: i64| {
            let id = DestinationId::parse(&format!("acme/d{number}")).expect("valid");
            let tells = has_room(&mut told, now_ms) && !told.contains_key(&id);
            if tells {
                told.insert(id, now_ms);
            }
            (tells, told.len())
        };
        let first: usize = (0..1000).filter(|n| tell(*n, 0).0).count();
        assert_eq!(first, PER_SECOND);
        assert!(!tell(1000, 999).0);
        assert!(tell(1000, 1000).0);
        assert!(!tell(0, 9999).0, "told of at 0");
        assert!(tell(0, 10_000).0);
        for now_ms in 10_000..40_000 {
            let number = usize::try_from(now_ms).expect("small");
            assert!(tell(number, now_ms).1 <= PER_SECOND * 10, "bounded memory");
        }
        assert!(tell(0, 1).0, "a clock that was set back silences nobody");
    }

    #[test]
    fn values_are_named_by_what_they_are() {
        for (json, named) in [
            (None, "nothing"),
            (Some("\"secret\""), "a string"),
            (Some("-1"), "a number"),
            (Some("true"), "a boolean"),
            (Some("null"), "null"),
            (Some("[1]"), "an array"),
            (Some("{}"), "an object"),
            (Some("an array"), "an array or an object"),
        ] {
            assert_eq!(noun(json), named);
        }
    }
}
