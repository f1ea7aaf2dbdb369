//! What is known of snapshots: when the last was written, what has changed since, what was loaded.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// See the module.
#[derive(Debug)]
pub(crate) struct Saves {
    /// Unix milliseconds of the last snapshot, or of the start.
    last_ms: AtomicI64,
    /// Changes of the data set, as all shards have counted them, that are in the last snapshot.
    saved_changes: AtomicU64,
    /// How many have been written.
    count: AtomicU64,
    /// Of the last file that was loaded: keys, and keys whose time was over.
    loaded_keys: AtomicU64,
    expired_keys: AtomicU64,
}

impl Saves {
    pub(crate) fn new(now_ms: i64) -> Saves {
        Saves {
            last_ms: AtomicI64::new(now_ms),
            saved_changes: AtomicU64::new(0),
            count: AtomicU64::new(0),
            loaded_keys: AtomicU64::new(0),
            expired_keys: AtomicU64::new(0),
        }
    }

    /// A snapshot holds all that had been changed after so many changes.
    pub(crate) fn saved(&self, now_ms: i64, changes: u64) {
        self.last_ms.store(now_ms, Ordering::Relaxed);
        self.saved_changes.store(changes, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// The data set is that of a file, after so many changes.
    pub(crate) fn loaded(&self, keys: u64, expired: u64, changes: u64) {
        self.loaded_keys.store(keys, Ordering::Relaxed);
        self.expired_keys.store(expired, Ordering::Relaxed);
        self.saved_changes.store(changes, Ordering::Relaxed);
    }

    /// Unix seconds of the last snapshot, or of the start.
    pub(crate) fn last_s(&self) -> i64 {
        self.last_ms.load(Ordering::Relaxed) / 1000
    }

    /// Of so many changes, those that are in no snapshot.
    pub(crate) fn unsaved(&self, changes: u64) -> u64 {
        changes.saturating_sub(self.saved_changes.load(Ordering::Relaxed))
    }

    /// How many have been written.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Keys that were loaded, and keys that were not as their time was over.
    pub(crate) fn loaded_and_expired(&self) -> (u64, u64) {
        (self.loaded_keys.load(Ordering::Relaxed), self.expired_keys.load(Ordering::Relaxed))
    }
}
