//! Waiting for a condition: never a fixed time, always with a limit.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

/// How long anything may take that is not bound to be slow. Only a failing test waits this long.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Asks `probe` again and again until it gives a value; fails after [`LIMIT`].
///
/// For what cannot tell by itself that it changed; a receiver and a topic can, and have `wait`s of their own.
pub(crate) async fn until<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
    let found = try_until(probe).await;
    found.unwrap_or_else(|| panic!("not within {LIMIT:?}: {what}"))
}

/// The same, for who can say more about a failure: `None` after [`LIMIT`].
pub(crate) async fn try_until<T>(mut probe: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + LIMIT;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let found = probe().await;
        if found.is_some() || Instant::now() >= end {
            return found;
        }
    }
}
