//! What `maxmemory` is compared with: what the node accounts for, whatever else its process holds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ballast_storage::memory::{index_bytes, thread_used_bytes};

use super::Node;
use super::counters::ShardCounters;

/// The part of `maxmemory` that the leases of all shards may take together is one in so many: half
/// a per cent.
const LEASES_PART: u64 = 200;

/// Memory that is neither in slots nor of clients, by name.
#[derive(Debug, Default)]
pub(crate) struct Overheads {
    /// What the threads took when they started: router, empty boxes, tables, runtimes.
    started_bytes: AtomicU64,
    /// What the balancer knew of every slot when it looked last.
    balancer_bytes: AtomicU64,
}

/// Bytes that this thread held when it began to start a part of the node.
pub(crate) struct Starting(i64);

impl Starting {
    /// Begins to count what the calling thread takes.
    pub(crate) fn begin() -> Starting {
        Starting(thread_used_bytes())
    }

    /// Counts as the node's what the thread has taken since.
    pub(crate) fn end(self, overheads: &Overheads) {
        let taken = u64::try_from(thread_used_bytes() - self.0).unwrap_or(0);
        overheads.started_bytes.fetch_add(taken, Ordering::Relaxed);
    }
}

impl Overheads {
    /// Bytes that the node took to start.
    pub(crate) fn started_bytes(&self) -> u64 {
        self.started_bytes.load(Ordering::Relaxed)
    }

    /// What the balancer keeps, after each of its looks.
    pub(crate) fn set_balancer(&self, bytes: u64) {
        self.balancer_bytes.store(bytes, Ordering::Relaxed);
    }

    fn sum(&self) -> u64 {
        self.started_bytes() + self.balancer_bytes.load(Ordering::Relaxed)
    }
}

/// The leases of head-room of all shards.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    /// How often all of them have ended.
    epoch: AtomicU64,
    /// A shard brings the node within its limit without a write.
    relieving: AtomicBool,
}

impl Leases {
    /// Counts how often all of them have ended.
    #[inline(always)]
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Ends all of them: each shard looks at the sum before it writes in its next batch.
    pub(crate) fn end_all(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    /// Does `relieve` unless another shard is at it: several that see the same sum would each
    /// evict what is too much, and each keep its state from the others that ask for it.
    pub(crate) fn relieve_alone(&self, relieve: impl FnOnce() -> bool) -> bool {
        if self.relieving.swap(true, Ordering::Acquire) {
            return false;
        }
        let has_more = relieve();
        self.relieving.store(false, Ordering::Release);
        has_more
    }
}

impl Node {
    /// All that the node accounts for: exact as of the moment at which each shard's state was let
    /// go last. A box on its way between shards counts once, whenever this looks.
    pub(crate) fn accounted_bytes(&self) -> u64 {
        let of = |counters: &ShardCounters| {
            counters.clients_bytes.value()
                + counters.spare_bytes.value()
                + counters.batches_bytes.value()
        };
        self.held_bytes()
            + self.sum(of)
            + self.overheads.sum()
            + self.channels.waiting_bytes()
            + index_bytes()
    }

    /// What a snapshot under way keeps. It is no part of [`Self::accounted_bytes`]: no write is
    /// refused because there is a snapshot.
    pub(crate) fn snapshot_bytes(&self) -> u64 {
        self.snapshots.queued_bytes() + self.sum(|counters| counters.snapshot_bytes.value())
    }

    /// What the shards hold of it.
    pub(crate) fn held_bytes(&self) -> u64 {
        // One shard may have taken in what another still counts: only the sum means something.
        let held = self.counters.iter().map(|counters| counters.held_bytes.value());
        held.fold(0, u64::wrapping_add)
    }

    /// An equal part of what `maxmemory` leaves for slots: what the balancer levels by.
    pub(crate) fn share_bytes(&self, maxmemory: u64) -> u64 {
        let slots_bytes = self.sum(|counters| counters.slots_bytes.value());
        let overhead = self.accounted_bytes().saturating_sub(slots_bytes);
        maxmemory.saturating_sub(overhead) / u64::from(self.shards())
    }
}

/// The most that one of `shards` may take before it looks at the sum again.
pub(crate) fn lease_bytes_max(maxmemory: u64, shards: u16) -> u64 {
    maxmemory / LEASES_PART / u64::from(shards)
}

/// What one of `shards` may take before it looks at the sum again, when there are `room_bytes` left
/// for all of them: if each takes as much, half of it is left.
pub(crate) fn lease_bytes(maxmemory: u64, shards: u16, room_bytes: u64) -> u64 {
    lease_bytes_max(maxmemory, shards).min(room_bytes / 2 / u64::from(shards))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_taken_of_one_sum_leave_half_of_the_room_and_are_half_a_per_cent_at_most() {
        for shards in [1, 4, 16, 1000] {
            for maxmemory in [1, 1 << 20, 100 << 20, 1 << 40] {
                for room in [0, 1, maxmemory / 1000, maxmemory / 2, maxmemory] {
                    let all = lease_bytes(maxmemory, shards, room) * u64::from(shards);
                    assert!(all <= room / 2, "{all} of {room}");
                    assert!(all <= maxmemory / 200, "{all} of {maxmemory}");
                }
            }
        }
        assert_eq!(lease_bytes(100 << 20, 1, 100 << 20), (100 << 20) / 200);
    }
}
