//! Waiting for a condition: never a fixed time, always with a limit.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

/// How long anything may take that is not bound to be slow. Only a failing test waits this long.
pub(crate) const LIMIT: Duration = Duration::from_secs(40);

/// Asks `probe` again and again until it gives a value, at most for [`LIMIT`].
///
/// For what cannot tell by itself that it changed; a receiver and a topic can, and have `wait`s of their own.
pub(crate) async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < end, "not within {LIMIT:?}: {what}");
    }
}
