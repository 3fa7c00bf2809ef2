//! Clients that destinations share: made when first needed, bounded in number, dropped when idle.
//!
//! Invariant: who holds a client may use it to the end; dropping it here only means that the next one is made anew.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Clients at most. Beyond it the one that was not used for the longest is dropped.
const MOST: usize = 256;

/// One that was not used for this long is dropped.
const IDLE: Duration = Duration::from_secs(300);

/// How often it is looked for idle ones.
const SWEEP: Duration = Duration::from_secs(30);

/// Clients by what makes them different: where they connect to, with which credentials.
pub(super) struct Cache<K, V> {
    entries: Arc<Mutex<HashMap<K, Entry<V>>>>,
}

struct Entry<V> {
    client: Arc<V>,
    used: Instant,
}

impl<K, V> fmt::Debug for Cache<K, V> {
    /// Keys hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self {
            entries: Arc::default(),
        }
    }
}

impl<K: Eq + Hash + Clone + Send + 'static, V: Send + Sync + 'static> Cache<K, V> {
    /// The client for `key`; `make` makes it where there is none. Needs a runtime.
    ///
    /// # Errors
    /// What `make` says.
    pub(super) fn get<E>(&self, key: &K, make: impl FnOnce() -> Result<V, E>) -> Result<Arc<V>, E> {
        let now = Instant::now();
        // Dropped after the lock is given back: that may take a moment.
        let mut _dropped = None;
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(key) {
            entry.used = now;
            return Ok(Arc::clone(&entry.client));
        }
        let client = Arc::new(make()?);
        if entries.len() >= MOST {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.used);
            let oldest = oldest.map(|(key, _)| key.clone());
            _dropped = oldest.and_then(|key| entries.remove(&key));
        }
        if entries.is_empty() {
            tokio::spawn(sweep(Arc::downgrade(&self.entries)));
        }
        let entry = Entry {
            client: Arc::clone(&client),
            used: now,
        };
        entries.insert(key.clone(), entry);
        drop(entries);
        Ok(client)
    }

    /// Drops a client that is of no use any more, unless it was replaced already.
    pub(super) fn forget(&self, key: &K, client: &Arc<V>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |entry: &Entry<V>| Arc::ptr_eq(&entry.client, client);
        let dropped = match entries.get(key) {
            Some(entry) if same(entry) => entries.remove(key),
            _ => None,
        };
        drop(entries);
        drop(dropped);
    }
}

/// Drops idle clients until none is left, or the cache is gone.
async fn sweep<K: Eq + Hash, V>(entries: std::sync::Weak<Mutex<HashMap<K, Entry<V>>>>) {
    let mut tick = tokio::time::interval(SWEEP);
    loop {
        tick.tick().await;
        let Some(entries) = entries.upgrade() else {
            return;
        };
        let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
        let idle: Vec<Entry<V>> = entries
            .extract_if(|_, entry| entry.used.elapsed() > IDLE)
            .map(|(_, entry)| entry)
            .collect();
        let done = entries.is_empty();
        drop(entries);
        drop(idle);
        if done {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn get(cache: &Cache<usize, usize>, key: usize) -> Arc<usize> {
        let made: Result<_, Infallible> = cache.get(&key, || Ok(key));
        made.expect("infallible")
    }

    #[tokio::test]
    async fn a_client_is_shared_until_it_is_forgotten() {
        let cache = Cache::default();
        let one = get(&cache, 1);
        assert!(Arc::ptr_eq(&one, &get(&cache, 1)));
        cache.forget(&1, &one);
        let other = get(&cache, 1);
        assert!(!Arc::ptr_eq(&one, &other));
        cache.forget(&1, &one);
        assert!(
            Arc::ptr_eq(&other, &get(&cache, 1)),
            "one that was replaced"
        );
    }

    #[tokio::test]
    async fn there_are_never_more_than_the_most() {
        let cache = Cache::default();
        let first = get(&cache, 0);
        for key in 1..MOST {
            get(&cache, key);
        }
        assert!(Arc::ptr_eq(&first, &get(&cache, 0)));
        get(&cache, MOST);
        assert_eq!(cache.entries.lock().expect("no panic").len(), MOST);
        assert!(Arc::ptr_eq(&first, &get(&cache, 0)), "it was used last");
    }

    #[tokio::test]
    async fn what_cannot_be_made_is_not_kept() {
        let cache: Cache<usize, usize> = Cache::default();
        assert_eq!(cache.get(&1, || Err("no")), Err("no"));
        assert_eq!(*get(&cache, 1), 1);
    }
}
