//! Periodic work of a shard: expiry, freeing in slices, what memory goes back to the system, and
//! figures for `INFO`. Each slice is short, so that connections get their turn in between.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::time::Instant;

use ballast_protocol::slot::SLOTS;
use ballast_storage::{Key, memory};

use super::ShardState;
use crate::engine::latency::Event;

/// Where the rounds over the slots stand.
#[derive(Debug, Default)]
pub(crate) struct CronState {
    /// The next slot that expiry looks at.
    next: u16,
    /// Slots that are left of this round.
    left: u16,
    /// Work of this round is left.
    busy: bool,
    clock: ThreadClock,
    /// When its time was last published.
    published: Option<Instant>,
}

/// The CPU time of a thread, from a file that is opened once: what an idle server mostly does is
/// look at it.
#[derive(Debug, Default)]
struct ThreadClock(Option<File>);

impl ThreadClock {
    /// Microseconds that the calling thread, always the same, has used; 0 where the system does
    /// not tell.
    fn cpu_us(&mut self) -> u64 {
        if self.0.is_none() {
            self.0 = File::open("/proc/thread-self/schedstat").ok();
        }
        let mut text = [0; 64];
        let read = self.0.as_ref().and_then(|file| file.read_at(&mut text, 0).ok());
        let ns = text[..read.unwrap_or(0)].split(|byte| *byte == b' ').next();
        let ns = ns.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok());
        ns.map_or(0, |ns| ns / 1000)
    }
}

/// Slots that one slice of expiry looks at.
const SLOTS_PER_SLICE: u16 = 2048;
/// A slot that has nothing to expire is looked at this often; one that has comes again at once.
const LOOKS_PER_SECOND: u32 = 2;
/// Keys that one slice of expiry removes at most.
const EXPIRED_PER_SLICE: usize = 512;
/// Entries that one slice of lazy free drops at most.
const FREED_PER_SLICE: usize = 2048;

impl ShardState {
    /// One slice of the round. True if there is more to do in it.
    pub(crate) fn cron_slice(&mut self) -> bool {
        if !self.cron.busy {
            self.cron.busy = true;
            let rounds = self.config.hz.max(1) / LOOKS_PER_SECOND;
            let left = u32::from(SLOTS).div_ceil(rounds.max(1));
            self.cron.left = u16::try_from(left).unwrap_or(SLOTS);
            self.begin_batch(crate::ids::ClientId(0));
            self.publish_figures();
        }
        self.tick();
        let started = Instant::now();
        let expiring = self.expire_slice();
        self.statistics.latency.took(Event::ExpireCycle, started.elapsed(), self.now_ms);
        let freeing = self.free_slice();
        memory::return_unused(self.now_ms.unsigned_abs());
        self.cron.busy = expiring || freeing;
        self.cron.busy
    }

    /// Figures that other threads look at.
    fn publish_figures(&mut self) {
        self.lru_clock = ballast_storage::eviction::lru_clock(self.now_ms);
        self.refresh_memory_limit();
        self.counters.slots_bytes.set(self.owned_bytes());
        self.publish_cpu();
        self.counters.lazyfree_pending.set(self.garbage.len() as u64);
    }

    /// What the thread works, and whether it has room for more connections.
    fn publish_cpu(&mut self) {
        let (cpu_us, now) = (self.cron.clock.cpu_us(), Instant::now());
        let used_us = cpu_us.saturating_sub(self.counters.cpu_us.value());
        let last = self.cron.published.replace(now).unwrap_or(now);
        let elapsed_us = u64::try_from((now - last).as_micros()).unwrap_or(u64::MAX);
        self.shared.places[self.id.index()].offer(used_us, elapsed_us);
        self.counters.cpu_us.set(cpu_us);
    }

    /// Removes keys whose time is over from the next few slots.
    fn expire_slice(&mut self) -> bool {
        if !self.shared.active_expire.load(Ordering::Relaxed) {
            return false;
        }
        let mut budget = EXPIRED_PER_SLICE;
        for _ in 0..SLOTS_PER_SLICE.min(self.cron.left) {
            budget = budget.saturating_sub(self.expire_slot(self.cron.next, budget));
            if budget == 0 {
                // Some of this slot may be left: it comes again.
                return true;
            }
            self.cron.next = (self.cron.next + 1) % SLOTS;
            self.cron.left -= 1;
        }
        self.cron.left > 0
    }

    /// Removes up to `budget` keys of `slot` whose time is over. Answers how many.
    fn expire_slot(&mut self, slot: u16, budget: usize) -> usize {
        // As in Redis a key lives through the millisecond that it expires at.
        let over_ms = self.now_ms - 1;
        let Some(boxed) = self.slots[usize::from(slot)].as_deref_mut() else { return 0 };
        let before_bytes = boxed.data.bytes();
        let mut removed = 0;
        let watchers = &boxed.watchers;
        for db in boxed.data.databases() {
            let due = boxed.data.keyspace(db).is_some_and(|keys| keys.expiry_min() <= over_ms);
            if due && removed < budget {
                let keyspace = boxed.data.keyspace_mut(db);
                let left = budget - removed;
                removed += keyspace.expired_into(over_ms, left, &mut self.garbage, &mut |key| {
                    watchers.touch(db, key);
                });
            }
        }
        boxed.data.release_others();
        let after_bytes = boxed.data.bytes();
        self.slots_bytes = self.slots_bytes.wrapping_add(after_bytes.wrapping_sub(before_bytes));
        self.counters.expired_keys.add(removed as u64);
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
    /// looked up twice. The caller accounts for the bytes.
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
        let now_ms = self.now_ms;
        let Some(boxed) = self.slots[usize::from(slot)].as_deref_mut() else { return };
        let keyspace = boxed.data.keyspace_mut(db);
        let over = keyspace.meta(key).and_then(|meta| meta.expiry).is_some_and(|at| at < now_ms);
        if !over {
            return;
        }
        if let Some(removed) = keyspace.remove(key) {
            self.garbage.push(removed);
        }
        boxed.watchers.touch(db, key.bytes);
        self.counters.expired_keys.add(1);
    }

    /// [`Self::expire_if_due`] with the account, for use outside of commands.
    pub(crate) fn expire_key(&mut self, slot: u16, db: u8, key: &[u8]) {
        let before_bytes = self.slot(slot).map_or(0, |boxed| boxed.data.bytes());
        self.expire_if_due(slot, db, &Key::new(key));
        let after_bytes = self.slot(slot).map_or(0, |boxed| boxed.data.bytes());
        self.slots_bytes = self.slots_bytes.wrapping_add(after_bytes.wrapping_sub(before_bytes));
    }
}
