//! Keys whose time is over, and what has been removed: both go in slices.

use std::sync::atomic::Ordering;

use ballast_protocol::slot::SLOTS;
use ballast_storage::{Key, Unsaved};

use super::Engine;
use crate::node::modes::Mode;

/// Where the round of expiry over the slots stands.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// The next slot that expiry looks at.
    next: u16,
    /// Slots that are left of this round.
    pub(crate) left: u16,
}

/// Slots that one slice of expiry looks at.
const SLOTS_PER_SLICE: u16 = 2048;
/// Keys that one slice of expiry removes at most.
const EXPIRED_PER_SLICE: usize = 512;
/// Entries that one slice of lazy free drops at most.
const FREED_PER_SLICE: usize = 2048;

impl Engine {
    /// Removes keys whose time is over from the next few slots.
    pub(crate) fn expire_slice(&mut self) -> bool {
        if !self.node.active_expire.load(Ordering::Relaxed) {
            return false;
        }
        if self.modes.has(Mode::Loading) {
            return false;
        }
        if self.node.pause.is_on(self.now_ms) {
            // Keys whose time is over are not seen, but removed after the pause, as in Redis.
            return false;
        }
        let mut budget = EXPIRED_PER_SLICE;
        for _ in 0..SLOTS_PER_SLICE.min(self.expiry.left) {
            budget = budget.saturating_sub(self.expire_slot(self.expiry.next, budget));
            if budget == 0 {
                // Some of this slot may be left: it comes again.
                return true;
            }
            self.expiry.next = (self.expiry.next + 1) % SLOTS;
            self.expiry.left -= 1;
        }
        self.expiry.left > 0
    }

    /// Removes up to `budget` keys of `slot` whose time is over. Answers how many.
    fn expire_slot(&mut self, slot: u16, budget: usize) -> usize {
        // As in Redis a key lives through the millisecond that it expires at.
        let over_ms = self.now_ms - 1;
        let is_cut = self.slot(slot).is_some_and(|boxed| boxed.data.is_cut());
        let mut walker = if is_cut { self.take_walker() } else { None };
        let (config, now_ms) = (&self.config, self.now_ms);
        let mut early = |unsaved: Unsaved<'_>| {
            if let Some(walker) = &mut walker {
                walker.emit(config, now_ms, unsaved);
            }
        };
        let Some(boxed) = self.slots[usize::from(slot)].as_deref_mut() else { return 0 };
        let before_bytes = boxed.data.bytes();
        let (mut removed, mut named) = (0, Vec::new());
        let followers = boxed.followers;
        let is_named = !self.notified.is_empty() || followers != 0;
        let watchers = &boxed.watchers;
        for db in boxed.data.databases() {
            let due = boxed.data.keyspace(db).is_some_and(|keys| keys.expiry_min() <= over_ms);
            if due
                && removed < budget
                && let Some(keyspace) = boxed.data.existing_mut(db)
            {
                let left = budget - removed;
                let garbage = &mut self.garbage;
                removed += keyspace.expired_into(over_ms, left, garbage, &mut early, &mut |key| {
                    watchers.touch(db, key);
                    if is_named {
                        named.push((db, key.to_vec()));
                    }
                });
            }
        }
        if let Some(walker) = walker {
            self.put_walker(walker);
        }
        self.book(slot, before_bytes);
        self.counters.expired_keys.add(removed as u64);
        for (db, key) in named {
            self.notify(db, &key, "expired");
            if followers != 0 {
                self.record_end((slot, db), followers, &key);
            }
        }
        removed
    }

    /// Frees a part of what has been removed; whether some is left.
    pub(crate) fn free_slice(&mut self) -> bool {
        if self.garbage.is_empty() {
            return false;
        }
        self.garbage.free_some(FREED_PER_SLICE);
        self.counters.lazyfree_pending.set(self.garbage.len() as u64);
        !self.garbage.is_empty()
    }

    /// Removes `key` if its time is over. Only keys of a keyspace in which something is due are
    /// looked up twice.
    #[inline]
    pub(crate) fn expire_if_due(&mut self, slot: u16, db: u8, key: &Key<'_>) {
        let now_ms = self.now_ms;
        let due = self
            .slot(slot)
            .and_then(|boxed| boxed.data.keyspace(db))
            .is_some_and(|keys| keys.expiry_min() < now_ms);
        if due {
            self.expire_due(slot, db, key);
        }
    }

    #[cold]
    fn expire_due(&mut self, slot: u16, db: u8, key: &Key<'_>) {
        let expiry = self.keyspace(slot, db).and_then(|keys| keys.meta(key)?.expiry);
        if expiry.is_some_and(|at_ms| at_ms < self.now_ms) {
            let expired = self.drop_key(slot, db, key, "expired");
            self.counters.expired_keys.add(u64::from(expired));
        }
    }

    /// [`Self::expire_if_due`] for a key by its name.
    pub(crate) fn expire_key(&mut self, slot: u16, db: u8, key: &[u8]) {
        self.expire_if_due(slot, db, &Key::new(key));
    }
}
