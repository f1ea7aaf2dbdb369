//! Periodic work of a shard: expiry, freeing in slices, what memory goes back to the system, and
//! figures for `INFO`. Each slice is short, so that connections get their turn in between.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use ballast_protocol::slot::SLOTS;
use ballast_storage::memory;

use super::ShardState;
use crate::engine::latency::Event;

/// Where the rounds over the slots stand.
#[derive(Debug, Default)]
pub(crate) struct CronState {
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
}
