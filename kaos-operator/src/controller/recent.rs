//! What we have just written, until the watch tells of it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a write is believed over the cache. A watch lags by milliseconds; after this time the
/// cache is right, whatever happened to the object since.
pub const TRUST: Duration = Duration::from_secs(5);

/// Values by key, each for [`TRUST`]. Bounded by the writes of that time.
pub struct Recent<K, V>(Mutex<HashMap<K, (Instant, V)>>);

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    /// Nothing.
    pub fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    /// Remembers a value.
    pub fn insert(&self, key: K, value: V) {
        let now = Instant::now();
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, (written, _)| now.duration_since(*written) < TRUST);
        entries.insert(key, (now, value));
    }

    /// The value, if it was written lately.
    pub fn get(&self, key: &K) -> Option<V> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (written, value) = entries.get(key)?;
        (written.elapsed() < TRUST).then(|| value.clone())
    }

    /// Forgets a value.
    pub fn remove(&self, key: &K) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.remove(key);
    }
}
