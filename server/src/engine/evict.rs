//! What a shard does at its share of `maxmemory`: ask for relief, and, where there is none, evict
//! its own keys by the configured policy, sampled as Redis does.

use ballast_protocol::slot::SLOTS;
use ballast_storage::{Key, Meta, eviction};
use rand::RngExt;

use super::Engine;
use super::latency::Event;
use crate::config::MaxmemoryPolicy;

/// Tries to find a slot with keys before eviction gives up.
const SLOT_TRIES: usize = 64;
/// Keys that one command may evict before it has to wait for the next.
const EVICTED_PER_COMMAND: usize = 1024;

/// How a key's place in the eviction order is renewed by a read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Touch {
    /// Last use.
    Lru(u32),
    /// Frequency: the minute, the factors, and a random number.
    Lfu {
        /// Milliseconds now.
        now_ms: i64,
        /// `lfu-log-factor`.
        log_factor: u32,
        /// `lfu-decay-time`.
        decay_minutes: u32,
        /// Decides whether the counter grows.
        random: u32,
    },
}

impl Touch {
    /// The new 24 bits from the old ones.
    #[inline]
    pub(crate) fn apply(self, aux: u32) -> u32 {
        match self {
            Touch::Lru(clock) => clock,
            Touch::Lfu { now_ms, log_factor, decay_minutes, random } => {
                eviction::lfu_touched(aux, now_ms, log_factor, decay_minutes, random)
            }
        }
    }
}

impl Engine {
    /// How a read renews a key's place.
    #[inline]
    pub(crate) fn touch(&mut self) -> Touch {
        if !self.counts_uses {
            return Touch::Lru(self.lru_clock);
        }
        Touch::Lfu {
            now_ms: self.now_ms,
            log_factor: self.config.lfu_log_factor,
            decay_minutes: self.config.lfu_decay_time,
            random: self.random.random(),
        }
    }

    /// The place of a key that is made now.
    #[inline]
    pub(crate) fn new_aux(&self) -> u32 {
        if self.counts_uses { eviction::lfu_new(self.now_ms) } else { self.lru_clock }
    }

    /// Computes this shard's share of `maxmemory`: an equal part of what is left for slots after
    /// everything else that the process keeps.
    pub(crate) fn refresh_memory_limit(&mut self) {
        if self.config.maxmemory == 0 {
            self.limit_bytes = u64::MAX;
            return;
        }
        let slots_bytes = self.node.sum(|counters| counters.slots_bytes.value());
        let overhead = ballast_storage::memory::used_bytes().saturating_sub(slots_bytes);
        let shards = u64::from(self.node.shards());
        self.limit_bytes = self.config.maxmemory.saturating_sub(overhead) / shards;
    }

    /// Before a command that may need memory. False: there is none.
    #[inline]
    pub(crate) fn make_room(&mut self) -> bool {
        self.slots_bytes <= self.limit_bytes || self.relieve()
    }

    #[cold]
    fn relieve(&mut self) -> bool {
        let used_bytes = ballast_storage::memory::used_bytes();
        let room_bytes = self.config.maxmemory.saturating_sub(used_bytes);
        let (held, share) = (self.slots_bytes, self.limit_bytes);
        match self.node.relief.evict_to(self.id, held, share, room_bytes) {
            // A sibling has room, and the coordinator has been told.
            None => true,
            Some(most_bytes) => {
                let started = std::time::Instant::now();
                let done = self.evict(most_bytes);
                // At once: until it is freed, it leaves less for all shards.
                self.free_slice();
                let spent = started.elapsed();
                self.statistics.latency.took(Event::EvictionCycle, spent, self.now_ms);
                done
            }
        }
    }

    /// Evicts until the shard holds no more than that.
    fn evict(&mut self, most_bytes: u64) -> bool {
        if self.config.maxmemory_policy == MaxmemoryPolicy::NoEviction {
            return false;
        }
        for _ in 0..EVICTED_PER_COMMAND {
            if self.slots_bytes <= most_bytes {
                return true;
            }
            if !self.evict_one() {
                return false;
            }
        }
        true
    }

    /// Evicts the best of some sampled keys. False if none can be found.
    fn evict_one(&mut self) -> bool {
        let policy = self.config.maxmemory_policy;
        let mut best: Option<(u64, u16, u8, Vec<u8>)> = None;
        let samples = self.config.maxmemory_samples.max(1);
        for _ in 0..samples {
            let Some((slot, db)) = self.random_keyspace(policy.is_volatile()) else { break };
            let random = self.random.random();
            let Some(boxed) = self.slot(slot) else { continue };
            let Some(keyspace) = boxed.data.keyspace(db) else { continue };
            let sampled = if policy.is_volatile() {
                keyspace.sample_expiring(random)
            } else {
                keyspace.sample(random)
            };
            let Some(sampled) = sampled else { continue };
            let score = self.eviction_score(policy, sampled.meta);
            if best.as_ref().is_none_or(|(other, ..)| score > *other) {
                best = Some((score, slot, db, sampled.key.to_vec()));
            }
            if matches!(policy, MaxmemoryPolicy::AllkeysRandom | MaxmemoryPolicy::VolatileRandom) {
                break;
            }
        }
        let Some((_, slot, db, key)) = best else { return false };
        self.evict_key(slot, db, &key);
        true
    }

    fn evict_key(&mut self, slot: u16, db: u8, key: &[u8]) {
        let Some(boxed) = self.slots[usize::from(slot)].as_deref_mut() else { return };
        let before_bytes = boxed.data.bytes();
        let keyspace = boxed.data.existing_mut(db);
        if let Some(removed) = keyspace.and_then(|keyspace| keyspace.remove(&Key::new(key))) {
            self.garbage.push(removed);
        }
        boxed.watchers.touch(db, key);
        let after_bytes = boxed.data.settle();
        self.slots_bytes = self.slots_bytes.wrapping_add(after_bytes.wrapping_sub(before_bytes));
        self.counters.evicted_keys.add(1);
    }

    /// The higher, the sooner it goes.
    fn eviction_score(&self, policy: MaxmemoryPolicy, meta: Meta) -> u64 {
        match policy {
            MaxmemoryPolicy::VolatileTtl => {
                let expiry = meta.expiry.unwrap_or(i64::MAX).max(0);
                u64::MAX - expiry.unsigned_abs()
            }
            MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu => {
                let decay = self.config.lfu_decay_time;
                255 - u64::from(eviction::lfu_frequency(meta.aux, self.now_ms, decay))
            }
            _ => eviction::lru_idle_ms(meta.aux, self.now_ms),
        }
    }

    /// A random keyspace with keys (that expire, if `expiring`): a few random slots, then, when
    /// most are empty, the next one that has any.
    fn random_keyspace(&mut self, expiring: bool) -> Option<(u16, u8)> {
        let fits = |state: &Engine, slot: u16, skip: usize| -> Option<(u16, u8)> {
            let boxed = state.slot(slot)?;
            let count = |db: u8| {
                boxed
                    .data
                    .keyspace(db)
                    .map_or(0, |keys| if expiring { keys.expiring_len() } else { keys.len() })
            };
            let with_keys: smallvec::SmallVec<[u8; 4]> =
                boxed.data.databases().filter(|db| count(*db) > 0).collect();
            let db = *with_keys.get(skip % with_keys.len().max(1))?;
            Some((slot, db))
        };
        for _ in 0..SLOT_TRIES {
            let slot = self.random.random_range(0..SLOTS);
            let skip = self.random.random_range(0..16);
            if let Some(found) = fits(self, slot, skip) {
                return Some(found);
            }
        }
        let start = self.random.random_range(0..SLOTS);
        (0..SLOTS).find_map(|step| fits(self, (start + step) % SLOTS, 0))
    }
}
