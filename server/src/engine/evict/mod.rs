//! Eviction: the least valuable keys of the node go, by the configured policy, approximated as
//! Redis does by sampling. Each shard samples its own keys and publishes what its best candidate
//! is worth; who needs room takes it where the least valuable key is.

mod census;
mod pool;
mod score;

use ballast_protocol::slot::SLOTS;
use ballast_storage::{Key, eviction};
use rand::RngExt;

use self::census::{Census, Counted};
use self::pool::Pool;
use self::score::Scale;
use super::Engine;
use super::slot::Slot;
use crate::config::MaxmemoryPolicy;
use crate::ids::ShardId;
use crate::node::counters::Worth;

/// Samples that may find nothing before eviction gives up, or counts the keys again.
const SAMPLE_TRIES: usize = 64;
/// Times that a shard waits for a sibling at work before it evicts a key of its own.
const WAITS_MAX: u32 = 32;
/// Keys that a sibling gives up at a time at most.
const GIVEN_UP_MAX: usize = 16;

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

/// What a shard knows of its keys to evict the right ones.
#[derive(Debug, Default)]
pub(crate) struct Evictor {
    policy: MaxmemoryPolicy,
    pool: Pool,
    census: Census,
    /// Times that it has waited for a sibling since something went.
    waited: u32,
    /// [`Engine::dirty`] when the census was taken; none if boxes have come since.
    taken_at: Option<u64>,
    /// The last look has found nothing that may go, and so it was published.
    found_nothing: bool,
}

impl Evictor {
    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.pool.heap_bytes() + self.census.heap_bytes()
    }

    /// Begins anew to wait for siblings.
    pub(super) fn forget_waits(&mut self) {
        self.waited = 0;
    }

    /// A box has come: its keys are not counted yet, if it has any that may go.
    pub(super) fn note_arrival(&mut self, boxed: &Slot) {
        let keys = counted(self.policy).of_slot(boxed) as u64;
        if keys > 0 {
            self.census.note_changed(keys);
            self.taken_at = None;
        }
    }
}

/// What came of trying to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Some memory is free that was not.
    Freed,
    /// There is nothing that may go.
    Nothing,
    /// What may go is a sibling's whose thread is at work.
    Busy,
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

    /// Frees something: garbage first, wherever it is, then the least valuable key of the node.
    pub(super) fn free_something(&mut self) -> Step {
        if !self.garbage.is_empty() {
            self.free_slice();
            return Step::Freed;
        }
        let mut busy = false;
        for of in self.siblings() {
            if self.node.counters[of.index()].garbage_bytes.value() == 0 {
                continue;
            }
            match self.ask(of, u64::MAX) {
                Some(true) => return Step::Freed,
                Some(false) => {}
                None => busy = true,
            }
        }
        match self.evict_somewhere() {
            Step::Nothing if busy => Step::Busy,
            step => step,
        }
    }

    fn evict_somewhere(&mut self) -> Step {
        if self.config.maxmemory_policy == MaxmemoryPolicy::NoEviction {
            return Step::Nothing;
        }
        let own = self.best_candidate();
        if let Some((of, score_min)) = self.better_sibling(own) {
            match self.ask(of, score_min) {
                Some(true) => {
                    self.evictor.waited = 0;
                    return Step::Freed;
                }
                Some(false) => {}
                None if self.waits_for_better() => return Step::Busy,
                None => {}
            }
        }
        if own.is_some() && self.evict_best() {
            self.evictor.waited = 0;
            return Step::Freed;
        }
        let mut busy = false;
        for of in self.siblings() {
            match self.ask(of, 0) {
                Some(true) => return Step::Freed,
                Some(false) => {}
                // It may have found nothing before its present work, which may bring something.
                None if self.node.counters[of.index()].worth() == Worth::Nothing => {
                    busy |= self.evictor.waited < WAITS_MAX;
                }
                None => busy = true,
            }
        }
        if busy {
            self.evictor.waited += 1;
            return Step::Busy;
        }
        // The next write does not wait anew: there may be many that are refused.
        Step::Nothing
    }

    /// Whether it is worth waiting for a sibling at work that has something less valuable: a few
    /// times, then an own key goes.
    fn waits_for_better(&mut self) -> bool {
        self.evictor.waited += 1;
        self.evictor.waited < WAITS_MAX && !is_random(self.config.maxmemory_policy)
    }

    /// The other shards, from the next one on.
    fn siblings(&self) -> impl Iterator<Item = ShardId> + use<> {
        let (own, shards) = (self.id.0, self.node.shards());
        (1..shards).map(move |step| ShardId((own + step) % shards))
    }

    fn ask(&self, of: ShardId, score_min: u64) -> Option<bool> {
        match self.node.siblings() {
            Some(siblings) => siblings.give_up(of, score_min),
            None => Some(false),
        }
    }

    /// The sibling whose best candidate is worth clearly less than one of this score, and the score
    /// that it needs for that.
    fn better_sibling(&mut self, own: Option<u64>) -> Option<(ShardId, u64)> {
        if self.node.shards() == 1 {
            return None;
        }
        if is_random(self.config.maxmemory_policy) {
            return Some((self.random_sibling()?, 0));
        }
        let needed = own.map_or(0, |score| self.scale().clearly_over(score));
        let worth = |of: ShardId| match self.node.counters[of.index()].worth() {
            Worth::Nothing => None,
            // Who has never looked does now.
            Worth::Unknown => Some(u64::MAX),
            Worth::Score(score) => (score >= needed).then_some(score),
        };
        let best = self.siblings().filter_map(|of| Some((worth(of)?, of))).max_by_key(|of| of.0)?;
        Some((best.1, needed))
    }

    /// Any key of the node may go, each with the same probability: the sibling that one is of, if
    /// it is not this shard's own.
    fn random_sibling(&mut self) -> Option<ShardId> {
        let all = self.node.sum(|counters| counters.evictable_keys.value());
        let key = self.random.random_range(0..all.max(1));
        let mut key = key.checked_sub(self.counters.evictable_keys.value())?;
        self.siblings().find(|of| {
            let keys = self.node.counters[of.index()].evictable_keys.value();
            let is_there = key < keys;
            key = key.saturating_sub(keys);
            is_there
        })
    }

    /// Gives up what is worth no more than what has this score, for a sibling that needs room.
    /// Whether there was something, or there is room by now.
    pub(crate) fn give_up(&mut self, score_min: u64) -> bool {
        if !self.garbage.is_empty() {
            self.free_slice();
            return true;
        }
        // By the same clock as who asks: a shard at rest has read its own long ago.
        self.tick();
        if !self.is_node_over() {
            return true;
        }
        let mut gone = 0;
        while gone < GIVEN_UP_MAX
            && self.is_node_over()
            && self.best_candidate().is_some_and(|score| score >= score_min)
            && self.evict_best()
        {
            gone += 1;
        }
        gone > 0
    }

    /// Publishes what its best candidate is worth, so that siblings can compare.
    pub(crate) fn look_for_candidates(&mut self) {
        if self.config.maxmemory > 0
            && self.config.maxmemory_policy != MaxmemoryPolicy::NoEviction
            && self.node.accounted_bytes() >= self.config.maxmemory / 100 * LOOK_PERCENT
        {
            self.best_candidate();
        }
    }

    fn scale(&self) -> Scale {
        Scale {
            policy: self.config.maxmemory_policy,
            now_ms: self.now_ms,
            decay_minutes: self.config.lfu_decay_time,
        }
    }

    /// Samples some keys; the score of the best that this and earlier rounds have met.
    fn best_candidate(&mut self) -> Option<u64> {
        let policy = self.config.maxmemory_policy;
        let mut evictor = std::mem::take(&mut self.evictor);
        if evictor.policy != policy {
            evictor = Evictor { policy, ..Evictor::default() };
        }
        self.fill(&mut evictor);
        let best = self.confirmed_best(&mut evictor);
        self.counters.evictable_keys.set(evictor.census.keys());
        self.counters.set_worth(best);
        evictor.found_nothing = best.is_none();
        self.evictor = evictor;
        best
    }

    /// Whoever lets the state go calls it: siblings must not go by a look that has found nothing if
    /// something has come since.
    #[inline(always)]
    pub(super) fn publish_evictable(&mut self) {
        if self.evictor.found_nothing && self.evictor.taken_at != Some(self.dirty) {
            self.evictor.found_nothing = false;
            self.counters.forget_worth();
        }
    }

    /// Offers samples to the pool, and counts the keys where that is needed.
    fn fill(&mut self, evictor: &mut Evictor) {
        let counted = counted(evictor.policy);
        // One is as good as another.
        let is_random = is_random(evictor.policy);
        let wanted = if is_random { 1 } else { self.config.maxmemory_samples.max(1) as usize };
        if is_random {
            evictor.pool.clear();
        }
        let scale = self.scale();
        for is_last in [false, true] {
            let census = &mut evictor.census;
            // Where there was no key, and nothing has changed since, is none to be found.
            let is_wrong = census.keys() > 0 || evictor.taken_at != Some(self.dirty);
            if census.is_stale() || is_last && is_wrong {
                let boxes = (0..SLOTS).filter_map(|slot| Some((slot, self.slot(slot)?)));
                census.take(boxes, counted);
                evictor.taken_at = Some(self.dirty);
            }
            let (mut met, mut tries) = (0, 0);
            while met < wanted && tries < wanted + SAMPLE_TRIES && evictor.census.keys() > 0 {
                tries += 1;
                let Some(slot) = evictor.census.pick(self.random.random()) else { break };
                let random = [self.random.random(), self.random.random()];
                met += usize::from(self.sample(slot, random, counted, scale, &mut evictor.pool));
            }
            if met > 0 || evictor.pool.best().is_some() {
                return;
            }
        }
    }

    /// Offers a random key of a slot to the pool. False if it has none.
    fn sample(
        &self,
        slot: u16,
        random: [u64; 2],
        counted: Counted,
        scale: Scale,
        pool: &mut Pool,
    ) -> bool {
        let Some(boxed) = self.slot(slot) else { return false };
        let keys = counted.of_slot(boxed) as u64;
        if keys == 0 {
            return false;
        }
        let mut key = random[0] % keys;
        for db in boxed.data.databases() {
            let Some(keyspace) = boxed.data.keyspace(db) else { continue };
            let here = counted.of(keyspace) as u64;
            if key >= here {
                key -= here;
                continue;
            }
            let sampled = match counted {
                Counted::All => keyspace.sample(random[1]),
                Counted::Expiring => keyspace.sample_expiring(random[1]),
            };
            let Some(sampled) = sampled else { return false };
            pool.offer(scale.score(sampled.meta), slot, db, sampled.key);
            return true;
        }
        false
    }

    /// The score of the best candidate that still is one: a key that was used since it was met has
    /// another place.
    fn confirmed_best(&self, evictor: &mut Evictor) -> Option<u64> {
        let (scale, counted) = (self.scale(), counted(evictor.policy));
        loop {
            let best = evictor.pool.best()?;
            let keyspace = self.slot(best.slot).and_then(|boxed| boxed.data.keyspace(best.db));
            let meta = keyspace.and_then(|keys| keys.meta(&Key::new(&best.key)));
            let meta = meta.filter(|meta| counted == Counted::All || meta.expiry.is_some());
            let score = meta.map(|meta| scale.score(meta));
            if score.is_some_and(|score| score >= best.score) {
                return score;
            }
            let best = evictor.pool.take_best()?;
            if let Some(score) = score {
                evictor.pool.offer(score, best.slot, best.db, &best.key);
            }
        }
    }

    /// Evicts the best candidate. False if there is none.
    fn evict_best(&mut self) -> bool {
        let Some(best) = self.evictor.pool.take_best() else { return false };
        self.evictor.census.note_changed(1);
        let evicted = self.drop_key(best.slot, best.db, &Key::new(&best.key), "evicted");
        self.counters.evicted_keys.add(u64::from(evicted));
        true
    }

    /// Evicts its own best keys until no more than that is here. False if there are none.
    pub(super) fn evict_own(&mut self, most_bytes: u64) -> bool {
        while self.slots_bytes > most_bytes {
            let found = self.config.maxmemory_policy != MaxmemoryPolicy::NoEviction
                && self.best_candidate().is_some()
                && self.evict_best();
            if !found {
                return false;
            }
        }
        true
    }
}

/// Shards look for candidates without being asked when the node's memory is so full.
const LOOK_PERCENT: u64 = 98;

fn is_random(policy: MaxmemoryPolicy) -> bool {
    matches!(policy, MaxmemoryPolicy::AllkeysRandom | MaxmemoryPolicy::VolatileRandom)
}

fn counted(policy: MaxmemoryPolicy) -> Counted {
    if policy.is_volatile() { Counted::Expiring } else { Counted::All }
}
