//! Room for what a shard's commands want to keep. Memory is one pool of the node: as long as the
//! shard has head-room of its lease, one comparison admits a write; then the node's sum is looked
//! at, and below `maxmemory` the shard takes a new lease. At the limit something has to go first.
//!
//! Invariant: all leases together are at most half a per cent of `maxmemory`, so the node is above
//! it by no more than that and what is being written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Engine;
use super::evict::Step;
use super::slot::Slot;
use crate::config::MaxmemoryPolicy;
use crate::node::latency::Event;
use crate::node::memory::{lease_bytes, lease_bytes_max};
use crate::node::modes::Mode;

/// Times that a command which cannot wait tries to have a sibling at work give something up before
/// it goes on. The sibling's own periodic work brings the node within its limit then.
const BUSY_TRIES: usize = 256;
/// A command that can wait lets others have their turn after so much work.
const MOMENT: Duration = Duration::from_millis(1);
/// Steps between two looks at the clock.
const STEPS_PER_LOOK: u32 = 8;

/// How much a shard may take.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Bytes of the boxes that are here up to which writes are admitted without a look at the
    /// node's sum; `u64::MAX`: there is no limit.
    pub(crate) limit_bytes: u64,
    /// No more head-room than this is kept when the state is let go.
    most_bytes: u64,
    /// Of which [`Leases`](crate::node::memory::Leases) it is one.
    epoch: u64,
    /// Writes have been admitted by it.
    is_granted: bool,
    /// Bytes of the boxes that went, less those of the boxes that came (it wraps around): what
    /// this shard counts for others, or others for it.
    away_bytes: u64,
}

impl Default for Lease {
    fn default() -> Lease {
        Lease {
            limit_bytes: u64::MAX,
            most_bytes: u64::MAX,
            epoch: 0,
            is_granted: false,
            away_bytes: 0,
        }
    }
}

impl Engine {
    /// Whether the lease is used up, so that a write wants [`Self::make_room`].
    #[inline(always)]
    pub(crate) fn is_lease_over(&self) -> bool {
        self.slots_bytes >= self.lease.limit_bytes
    }

    /// A box comes here.
    pub(crate) fn arrives(&mut self, boxed: &Slot) {
        let bytes = boxed.data().bytes();
        self.slots_bytes += bytes;
        self.lease.away_bytes = self.lease.away_bytes.wrapping_sub(bytes);
        // Coming and going take nothing of the lease, and add nothing to it.
        self.lease.limit_bytes = self.lease.limit_bytes.saturating_add(bytes);
        self.evictor.note_arrival(boxed);
    }

    /// A box of so many bytes leaves. Until it arrives somewhere it counts here.
    pub(crate) fn leaves(&mut self, bytes: u64) {
        self.slots_bytes -= bytes;
        self.lease.away_bytes = self.lease.away_bytes.wrapping_add(bytes);
        if self.lease.limit_bytes != u64::MAX {
            self.lease.limit_bytes = self.lease.limit_bytes.saturating_sub(bytes);
        }
    }

    /// Publishes what is held here, and gives back head-room that removals have made: others may
    /// take it. Whoever lets the state go calls it.
    #[inline]
    pub(crate) fn publish_bytes(&mut self) {
        self.publish_evictable();
        self.send_effects();
        let garbage_bytes = self.garbage.heap_bytes() as u64;
        let kept = garbage_bytes + (self.evictor.heap_bytes() + self.recorded_bytes()) as u64;
        let held = self.slots_bytes.wrapping_add(self.lease.away_bytes).wrapping_add(kept);
        self.counters.held_bytes.set(held);
        self.counters.changes.set(self.dirty);
        // An empty queue keeps memory too, but has nothing that a sibling could ask for.
        let is_empty = self.garbage.is_empty();
        self.counters.garbage_bytes.set(if is_empty { 0 } else { garbage_bytes });
        let most = self.slots_bytes.saturating_add(self.lease.most_bytes);
        self.lease.limit_bytes = self.lease.limit_bytes.min(most);
        if self.lease.limit_bytes < self.slots_bytes {
            self.note_overdrawn();
        }
    }

    /// A large value has taken more than the lease gave: no other shard may go on by its own lease,
    /// or each would admit a large value.
    #[cold]
    fn note_overdrawn(&mut self) {
        let over_bytes = self.slots_bytes - self.lease.limit_bytes;
        if std::mem::take(&mut self.lease.is_granted) && over_bytes > self.lease.most_bytes {
            self.node.leases.end_all();
        }
    }

    /// Before a batch: ends the lease if all have ended.
    #[inline(always)]
    pub(crate) fn look_at_leases(&mut self) {
        if self.node.leases.epoch() != self.lease.epoch {
            self.renew_lease();
        }
    }

    /// Admits all writes until [`Self::renew_lease`]: what is loaded has been admitted before.
    pub(crate) fn lift_limit(&mut self) {
        self.lease.limit_bytes = u64::MAX;
        self.lease.most_bytes = u64::MAX;
    }

    /// Begins anew with the present configuration: the next write looks at the node's sum.
    pub(crate) fn renew_lease(&mut self) {
        let maxmemory = self.config.maxmemory;
        let (limit, most) = match maxmemory {
            0 => (u64::MAX, u64::MAX),
            _ => (0, lease_bytes_max(maxmemory, self.node.shards())),
        };
        self.lease.limit_bytes = limit;
        self.lease.most_bytes = most;
        self.lease.is_granted = false;
        self.lease.epoch = self.node.leases.epoch();
    }

    /// Whether nothing is evicted and no write refused, however much there is. As in Redis, that
    /// is so while the data set is being loaded.
    fn is_unlimited(&self) -> bool {
        self.config.maxmemory == 0 || self.modes.has(Mode::Loading)
    }

    /// Before a command that may need memory. False: there is none, and none can be made.
    pub(crate) fn make_room(&mut self) -> bool {
        if self.is_unlimited() || self.take_lease() && !self.is_over_wall() {
            return true;
        }
        let started = Instant::now();
        let room = self.relieve_wall() && self.relieve();
        self.statistics.latency.took(Event::EvictionCycle, started.elapsed(), self.now_ms);
        room
    }

    /// [`Self::make_room`] for who can try again: works for a moment only. True if there may be
    /// room later, after more of this, or when a sibling at work has given something up.
    pub(crate) fn must_wait_for_room(&mut self) -> bool {
        if self.is_unlimited() || self.take_lease() && !self.is_over_wall() {
            return false;
        }
        let started = Instant::now();
        self.relieve_wall();
        let mut must_wait = false;
        for step in 1_u32.. {
            if self.take_lease() {
                break;
            }
            let done = self.free_something();
            must_wait = match done {
                Step::Freed => step % STEPS_PER_LOOK == 0 && started.elapsed() > MOMENT,
                Step::Busy => true,
                Step::Nothing => false,
            };
            if must_wait || done == Step::Nothing {
                break;
            }
        }
        self.statistics.latency.took(Event::EvictionCycle, started.elapsed(), self.now_ms);
        must_wait
    }

    /// Frees what it takes until the node is within its limit.
    fn relieve(&mut self) -> bool {
        let mut tries = 0;
        while !self.take_lease() {
            match self.free_something() {
                Step::Freed => {}
                // Others may have freed something while this looked.
                Step::Nothing => return self.take_lease(),
                Step::Busy if tries >= BUSY_TRIES => return true,
                Step::Busy => {
                    tries += 1;
                    std::thread::yield_now();
                }
            }
        }
        true
    }

    /// A part of what is needed to bring the node within its limit without a write; whether more
    /// is.
    pub(crate) fn relieve_slice(&mut self) -> bool {
        let evicts = self.config.maxmemory_policy != MaxmemoryPolicy::NoEviction;
        if !evicts || self.is_unlimited() {
            return false;
        }
        let node = Arc::clone(&self.node);
        node.leases.relieve_alone(|| self.relieve_some())
    }

    fn relieve_some(&mut self) -> bool {
        const FREED_PER_SLICE: usize = 256;
        // Here is time to wait for whoever has something less valuable.
        self.evictor.forget_waits();
        for _ in 0..FREED_PER_SLICE {
            if !self.is_node_over() {
                return false;
            }
            match self.free_something() {
                Step::Freed => {}
                // Its own periodic work does the same meanwhile.
                Step::Busy => return true,
                Step::Nothing => return false,
            }
        }
        true
    }

    /// Whether there is a limit, and the node holds more.
    pub(crate) fn is_over_maxmemory(&mut self) -> bool {
        self.config.maxmemory > 0 && self.is_node_over()
    }

    /// Whether the node holds more than it may.
    pub(super) fn is_node_over(&mut self) -> bool {
        self.publish_bytes();
        self.node.accounted_bytes() > self.config.maxmemory
    }

    /// Takes a new lease, if the node is within its limit.
    fn take_lease(&mut self) -> bool {
        self.publish_bytes();
        let maxmemory = self.config.maxmemory;
        let Some(room_bytes) = maxmemory.checked_sub(self.node.accounted_bytes()) else {
            return false;
        };
        let more = lease_bytes(maxmemory, self.node.shards(), room_bytes);
        // At least what the write needs that has asked.
        self.lease.limit_bytes = self.slots_bytes + more.max(1);
        self.lease.is_granted = true;
        true
    }

    /// Bytes that the shard may hold by `maxmemory-shard-percent`, boxes that are here for a
    /// transaction among them.
    fn wall_bytes(&self) -> u64 {
        let share = self.node.share_bytes(self.config.maxmemory);
        match self.config.maxmemory_shard_percent {
            0 => u64::MAX,
            percent => share.saturating_mul(u64::from(percent)) / 100 + self.visiting_bytes,
        }
    }

    fn is_over_wall(&self) -> bool {
        self.config.maxmemory_shard_percent > 0 && self.slots_bytes > self.wall_bytes()
    }

    /// At its own wall the shard gets relief from the coordinator, or evicts keys of its own.
    fn relieve_wall(&mut self) -> bool {
        if !self.is_over_wall() {
            return true;
        }
        let (held, wall) = (self.slots_bytes, self.wall_bytes());
        let used_bytes = self.node.accounted_bytes();
        let room_bytes = self.config.maxmemory.saturating_sub(used_bytes);
        match self.node.relief.evict_to(self.id, held, wall, room_bytes) {
            // A sibling has room, and the coordinator has been told.
            None => true,
            Some(most_bytes) => {
                let done = self.evict_own(most_bytes);
                // At once: until it is freed, it leaves less for all shards.
                while self.free_slice() {}
                done
            }
        }
    }
}
