//! `WATCH`: who is to be told that a key has changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ahash::AHashMap;

/// Set once one of the keys that a session watches has changed; `EXEC` then answers null.
pub(crate) type DirtyFlag = Arc<AtomicBool>;

/// Database and key → who watches it.
type ByKey = AHashMap<(u8, Vec<u8>), Vec<DirtyFlag>>;

/// The watched keys of one slot. Nobody watches most slots: then it is one null pointer.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    by_key: Option<Box<ByKey>>,
}

impl Watchers {
    /// Whether nobody watches a key of the slot.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_key.is_none()
    }

    /// Lets `flag` be set by the next change of `key` in database `db`.
    pub(crate) fn watch(&mut self, db: u8, key: &[u8], flag: &DirtyFlag) {
        let watchers = self.by_key.get_or_insert_default().entry((db, key.to_vec())).or_default();
        if !watchers.iter().any(|other| Arc::ptr_eq(other, flag)) {
            watchers.push(Arc::clone(flag));
        }
    }

    /// Forgets that `flag` watches `key`.
    pub(crate) fn unwatch(&mut self, db: u8, key: &[u8], flag: &DirtyFlag) {
        let Some(by_key) = &mut self.by_key else { return };
        let name = (db, key.to_vec());
        if let Some(watchers) = by_key.get_mut(&name) {
            watchers.retain(|other| !Arc::ptr_eq(other, flag));
            if watchers.is_empty() {
                by_key.remove(&name);
            }
        }
        if by_key.is_empty() {
            self.by_key = None;
        }
    }

    /// `key` has changed.
    pub(crate) fn touch(&self, db: u8, key: &[u8]) {
        let Some(by_key) = &self.by_key else { return };
        for flag in by_key.get(&(db, key.to_vec())).into_iter().flatten() {
            flag.store(true, Ordering::Release);
        }
    }

    /// Calls `changed` with every watched key of `db`, and sets the flags of those for which it
    /// answers true: for changes of a whole database.
    pub(crate) fn touch_where(&self, db: Option<u8>, changed: impl Fn(u8, &[u8]) -> bool) {
        for ((at, key), flags) in self.by_key.iter().flat_map(|map| map.iter()) {
            if db.is_none_or(|db| db == *at) && changed(*at, key) {
                flags.iter().for_each(|flag| flag.store(true, Ordering::Release));
            }
        }
    }
}
