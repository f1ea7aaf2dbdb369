//! Periodic work of a shard: expiry, freeing in slices, what memory goes back to the system, and
//! figures for `INFO`. Each slice is short, so that connections get their turn in between.

use std::time::Instant;

use ballast_protocol::slot::SLOTS;
use ballast_storage::memory;

use super::ShardState;
use crate::clock::thread_cpu_ns;
use crate::node::latency::Event;
use crate::node::places::{Excess, Places};

/// Where the rounds over the slots stand.
#[derive(Debug, Default)]
pub(crate) struct CronState {
    /// Work of this round is left.
    busy: bool,
    /// When its time was last published.
    published: Option<Instant>,
    /// Parts of connections that it should have let go.
    owed: f64,
}

/// A slot that has nothing to expire is looked at this often; one that has comes again at once.
const LOOKS_PER_SECOND: u32 = 2;

impl ShardState {
    /// One slice of the round. True if there is more to do in it.
    pub(crate) fn cron_slice(&mut self) -> bool {
        if !self.cron.busy {
            self.cron.busy = true;
            let rounds = self.config.hz.max(1) / LOOKS_PER_SECOND;
            let left = u32::from(SLOTS).div_ceil(rounds.max(1));
            self.expiry.left = u16::try_from(left).unwrap_or(SLOTS);
            self.begin_batch(crate::ids::ClientId(0));
            self.publish_figures();
        }
        self.tick();
        let started = Instant::now();
        let expiring = self.expire_slice();
        let now_ms = self.now_ms;
        self.statistics.latency.took(Event::ExpireCycle, started.elapsed(), now_ms);
        let freeing = self.relieve_slice() | self.free_slice();
        memory::return_unused(self.now_ms.unsigned_abs());
        self.cron.busy = expiring || freeing;
        self.cron.busy
    }

    /// Figures that other threads look at.
    fn publish_figures(&mut self) {
        self.lru_clock = ballast_storage::eviction::lru_clock(self.now_ms);
        self.look_for_candidates();
        self.counters.slots_bytes.set(self.owned_bytes());
        self.publish_cpu();
        self.counters.lazyfree_pending.set(self.garbage.len() as u64);
    }

    /// What the thread works, and whether it has room for more connections.
    fn publish_cpu(&mut self) {
        let (cpu_us, now) = (thread_cpu_ns() / 1000, Instant::now());
        let used_us = cpu_us.saturating_sub(self.counters.cpu_us.value());
        let last = self.cron.published.replace(now).unwrap_or(now);
        let elapsed_us = u64::try_from((now - last).as_micros()).unwrap_or(u64::MAX);
        self.shared.places[self.id.index()].offer(used_us, elapsed_us, self.shared.core_share);
        self.counters.cpu_us.set(cpu_us);
        self.shed(elapsed_us);
    }

    /// Lets connections that have slots on all shards go to the idlest one, if this shard works
    /// much more.
    fn shed(&mut self, elapsed_us: u64) {
        let places = &self.shared.places;
        let loads: Vec<f64> = places.iter().map(Places::load).collect();
        let excess = Excess::of(&loads, self.id);
        let clients = self.counters.clients.value();
        let leave = excess.map(|excess| excess.leave(clients, elapsed_us, &mut self.cron.owed));
        self.shared.places[self.id.index()].let_go(leave);
    }
}
