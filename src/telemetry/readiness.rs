//! Whether this instance does its work, and if not, what it waits for.
//!
//! Each part says when its condition holds; the admin endpoint answers `/readyz` from here. A condition that nobody has
//! set is not waited for, so that an instance with few roles has few of them: a part sets its own when it is made.
//!
//! Invariant: an instance is ready only if someone said so: a new [`Readiness`] waits for `start`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;

/// Something without which the instance is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The condition's name, such as `catalog`.
    pub condition: &'static str,
    /// Why it does not hold, in words for the operator.
    pub reason: String,
}

/// The conditions of one instance; clones share them.
#[derive(Debug, Clone)]
pub struct Readiness {
    missing: Arc<watch::Sender<BTreeMap<&'static str, String>>>,
}

impl Readiness {
    /// The condition that a new value waits for; whoever composes the roles sets it last.
    pub const START: &'static str = "start";

    /// An instance that starts.
    #[must_use]
    pub fn new() -> Self {
        let (missing, _) = watch::channel(BTreeMap::from([(Self::START, "starting".to_owned())]));
        Self {
            missing: Arc::new(missing),
        }
    }

    /// Says whether `condition` holds, and if not, why.
    ///
    /// A change from one to the other is logged, so the caller need not.
    pub fn set(&self, condition: &'static str, state: Result<(), &str>) {
        self.missing.send_if_modified(|missing| match state {
            Ok(()) => {
                let changed = missing.remove(condition).is_some();
                if changed {
                    tracing::info!(condition, "condition holds");
                }
                changed
            }
            Err(reason) => match missing.get_mut(condition) {
                Some(known) if known == reason => false,
                Some(known) => {
                    reason.clone_into(known);
                    true
                }
                None => {
                    // While it starts, waiting is no trouble.
                    if missing.contains_key(Self::START) {
                        tracing::debug!(condition, reason, "not ready yet");
                    } else {
                        tracing::warn!(condition, reason, "not ready");
                    }
                    missing.insert(condition, reason.to_owned());
                    true
                }
            },
        });
    }

    /// What is missing, by name; nothing: the instance is ready.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        self.missing
            .borrow()
            .iter()
            .map(|(condition, reason)| Missing {
                condition,
                reason: reason.clone(),
            })
            .collect()
    }

    /// Waits until nothing is missing.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn ready(&self) {
        self.missing
            .subscribe()
            .wait_for(BTreeMap::is_empty)
            .await
            .expect("the sender lives in self");
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_not_ready_before_someone_says_so() {
        let readiness = Readiness::new();
        assert_eq!(readiness.missing()[0].condition, "start");
        readiness.set("catalog", Err("not read to its end"));
        readiness.set(Readiness::START, Ok(()));
        assert_eq!(
            readiness.missing(),
            [Missing {
                condition: "catalog",
                reason: "not read to its end".to_owned()
            }]
        );
        readiness.set("catalog", Ok(()));
        assert_eq!(readiness.missing(), []);
    }

    #[test]
    fn the_newest_reason_is_told() {
        let readiness = Readiness::new();
        readiness.set("kafka", Err("connecting"));
        readiness.set("kafka", Err("authentication refused"));
        let kafka = readiness.missing();
        assert_eq!(kafka[0].reason, "authentication refused");
    }

    #[tokio::test]
    async fn waiting_ends_when_the_last_condition_holds() {
        let readiness = Readiness::new();
        let waiting = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.ready().await }
        });
        readiness.set(Readiness::START, Ok(()));
        waiting.await.expect("ready");
    }
}
