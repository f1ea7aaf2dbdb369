//! What is known of snapshots: when the last was written, what has changed since, what was loaded,
//! and the one that is written in the background.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::snapshot::Snapshot;

/// Seconds between two tries if the first has failed.
const RETRY_S: i64 = 5;

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
    /// The file that is written in the background.
    running: Mutex<Option<Running>>,
    /// Held while that file is made or gets its name, and by who gives it up.
    naming: Mutex<()>,
    /// The last in the background, if there was one.
    last: Mutex<Last>,
    has_failed: AtomicBool,
    /// One is to be written as soon as that can be.
    is_scheduled: AtomicBool,
}

/// A file that is written in the background.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    /// What it takes its keys from.
    pub(crate) snapshot: Arc<Snapshot>,
    /// The name that it has until it is complete.
    pub(crate) temporary: PathBuf,
    /// Unix milliseconds.
    pub(crate) since_ms: i64,
    /// Changes of the data set that it has.
    pub(crate) changes: u64,
    /// The most that it has kept in memory so far.
    pub(crate) peak_bytes: u64,
}

/// What the last file in the background came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Last {
    /// Unix seconds at which it began; 0 if there was none.
    pub(crate) began_s: i64,
    /// How long it took; -1 if there was none.
    pub(crate) took_s: i64,
    /// The most that it has kept in memory.
    pub(crate) peak_bytes: u64,
}

/// How writing in the background has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The file is there.
    Saved,
    /// There is no new file.
    Failed,
    /// It was stopped, which says nothing of whether files can be written.
    Stopped,
}

impl Saves {
    pub(crate) fn new(now_ms: i64) -> Saves {
        Saves {
            last_ms: AtomicI64::new(now_ms),
            saved_changes: AtomicU64::new(0),
            count: AtomicU64::new(0),
            loaded_keys: AtomicU64::new(0),
            expired_keys: AtomicU64::new(0),
            running: Mutex::new(None),
            naming: Mutex::new(()),
            last: Mutex::new(Last { began_s: 0, took_s: -1, peak_bytes: 0 }),
            has_failed: AtomicBool::new(false),
            is_scheduled: AtomicBool::new(false),
        }
    }

    /// A file is written in the background from now on.
    pub(crate) fn begin(&self, running: Running) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.is_scheduled.store(false, Ordering::Relaxed);
        self.last.lock().began_s = running.since_ms / 1000;
        let before = self.running.lock().replace(running);
        assert!(before.is_none(), "one file at a time");
    }

    /// The file that is written in the background.
    pub(crate) fn running(&self) -> Option<Running> {
        self.running.lock().clone()
    }

    /// Takes it out: it has ended, or is given up.
    pub(crate) fn take_running(&self) -> Option<Running> {
        self.running.lock().take()
    }

    /// For who makes the file, or gives it its name, if nobody has given it up before; and for who
    /// does that. May be held while a disk is slow.
    pub(crate) fn lock_naming(&self) -> MutexGuard<'_, ()> {
        self.naming.lock()
    }

    /// Notes what it keeps in memory now.
    pub(crate) fn note_memory(&self, bytes: u64) {
        if let Some(running) = &mut *self.running.lock() {
            running.peak_bytes = running.peak_bytes.max(bytes);
        }
    }

    /// Writing in the background has ended. It says whether files can be written, and whether
    /// that is new.
    pub(crate) fn ended(&self, running: &Running, now_ms: i64, ended: Ended) -> bool {
        {
            let mut last = self.last.lock();
            last.took_s = (now_ms - running.since_ms).max(0) / 1000;
            last.peak_bytes = running.peak_bytes;
        }
        match ended {
            Ended::Saved => {
                self.last_ms.store(now_ms, Ordering::Relaxed);
                self.saved_changes.store(running.changes, Ordering::Relaxed);
                self.has_failed.swap(false, Ordering::Relaxed)
            }
            Ended::Failed => !self.has_failed.swap(true, Ordering::Relaxed),
            Ended::Stopped => false,
        }
    }

    /// The last in the background.
    pub(crate) fn last(&self) -> Last {
        *self.last.lock()
    }

    /// Whether the last file could not be written.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// Has a file written as soon as that can be.
    pub(crate) fn schedule(&self) {
        self.is_scheduled.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::schedule`] still waits.
    pub(crate) fn is_scheduled(&self) -> bool {
        self.is_scheduled.load(Ordering::Relaxed)
    }

    /// Whether one may begin that nobody asks for by a command: not soon after a failure.
    pub(crate) fn may_try(&self, now_ms: i64) -> bool {
        !self.has_failed() || now_ms / 1000 - self.last().began_s > RETRY_S
    }

    /// A snapshot holds all that had been changed after so many changes. Whether it is new that
    /// files can be written.
    pub(crate) fn saved(&self, now_ms: i64, changes: u64) -> bool {
        self.last_ms.store(now_ms, Ordering::Relaxed);
        self.saved_changes.store(changes, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.has_failed.swap(false, Ordering::Relaxed)
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
