//! Clients that destinations share: made when first used, given up when idle, never more than a number.
//!
//! Invariant: it never holds more than `max` values; where another is needed, the one that was used least recently goes.
//! Who holds a value that went goes on with it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Clients of one kind at most, where nothing else is set.
pub(super) const CLIENTS: usize = 256;

/// For how long one that is not used is kept, where nothing else is set.
pub(super) const IDLE: Duration = Duration::from_secs(300);

/// Values by key.
pub(super) struct Cache<K, V> {
    entries: Arc<Mutex<Entries<K, V>>>,
    max: usize,
    idle: Duration,
}

struct Entries<K, V> {
    used: HashMap<K, (V, Instant)>,
    /// Whether a task looks for idle ones.
    swept: bool,
}

impl<K, V> fmt::Debug for Cache<K, V> {
    /// Keys may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl<K, V> Cache<K, V>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// An empty one for `max` values at most, each kept for `idle` after it was asked for.
    pub(super) fn new(max: usize, idle: Duration) -> Self {
        let entries = Entries {
            used: HashMap::new(),
            swept: false,
        };
        Self {
            entries: Arc::new(Mutex::new(entries)),
            max,
            idle,
        }
    }

    /// The value of `key`, which `make` makes where there is none. Call it within a runtime.
    pub(super) fn get(&self, key: &K, make: impl FnOnce() -> V) -> V {
        let Ok(value) = self.try_get(key, || Ok::<V, Infallible>(make()));
        value
    }

    /// The value of `key`, which `make` makes where there is none. Call it within a runtime.
    ///
    /// # Errors
    /// What `make` says.
    pub(super) fn try_get<E>(&self, key: &K, make: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        let now = Instant::now();
        // Dropped after the lock is given back: that may take a moment.
        let mut _dropped = None;
        let mut entries = lock(&self.entries);
        if let Some((value, used)) = entries.used.get_mut(key) {
            *used = now;
            return Ok(value.clone());
        }
        let value = make()?;
        if entries.used.len() >= self.max {
            let oldest = entries.used.iter().min_by_key(|(_, (_, used))| *used);
            let oldest = oldest.map(|(key, _)| key.clone());
            _dropped = oldest.and_then(|key| entries.used.remove(&key));
        }
        entries.used.insert(key.clone(), (value.clone(), now));
        if !entries.swept {
            entries.swept = true;
            self.sweep();
        }
        drop(entries);
        Ok(value)
    }

    /// Gives the value of `key` up.
    pub(super) fn remove(&self, key: &K) {
        self.remove_if(key, |_| true);
    }

    /// Gives the value of `key` up if `is` says so: it may have been replaced already.
    pub(super) fn remove_if(&self, key: &K, is: impl FnOnce(&V) -> bool) {
        let mut entries = lock(&self.entries);
        let dropped = match entries.used.get(key) {
            Some((value, _)) if is(value) => entries.used.remove(key),
            _ => None,
        };
        drop(entries);
        drop(dropped);
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.entries).used.len()
    }

    /// Whether there is one, without a use of it.
    #[cfg(test)]
    pub(super) fn has(&self, key: &K) -> bool {
        lock(&self.entries).used.contains_key(key)
    }

    /// Starts the task that gives up what is idle; it ends when nothing is left.
    fn sweep(&self) {
        let entries = Arc::downgrade(&self.entries);
        let idle = self.idle;
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(idle / 2).await;
                let Some(entries) = entries.upgrade() else {
                    return;
                };
                let mut entries = lock(&entries);
                let gone: Vec<V> = entries
                    .used
                    .extract_if(|_, (_, used)| used.elapsed() >= idle)
                    .map(|(_, (value, _))| value)
                    .collect();
                let done = entries.used.is_empty();
                entries.swept = !done;
                drop(entries);
                drop(gone);
                if done {
                    return;
                }
            }
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is held that would leave it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_kept(cache: &Cache<u32, u32>, key: u32) -> bool {
        cache.get(&key, || 0) != 0
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_is_made_once_and_again_after_it_was_idle() {
        let cache = Cache::new(8, IDLE);
        assert_eq!(cache.get(&1, || 10), 10);
        assert_eq!(cache.get(&1, || 11), 10);
        for _ in 0..10 {
            tokio::time::sleep(IDLE / 2).await;
            assert_eq!(cache.get(&1, || 12), 10, "it is in use");
        }
        tokio::time::sleep(IDLE * 2).await;
        assert_eq!(cache.get(&1, || 13), 13);
        tokio::time::sleep(IDLE * 2).await;
        assert_eq!(cache.get(&1, || 14), 14, "idle ones go for ever");
        cache.remove(&1);
        assert_eq!(cache.get(&1, || 15), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn the_least_recently_used_goes_where_another_is_needed() {
        let cache = Cache::new(2, IDLE);
        for key in [1, 2, 1, 3] {
            cache.get(&key, || key);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(is_kept(&cache, 1) && is_kept(&cache, 3));
        assert!(!is_kept(&cache, 2));
    }
}
