//! A shard at its share of `maxmemory` gets relief before it evicts: eviction while a sibling
//! has room is a bug.

use std::sync::atomic::{AtomicU64, Ordering};

use ballast_balancer::machine::{Clock, Machine};
use ballast_balancer::model::{LoadSnapshot, ShardId as Bin};
use ballast_balancer::policy::{Emergency, Mode};

use crate::ids::ShardId;

/// Shards that can be told apart; those beyond share a bit with another, which costs at most an
/// eviction too many.
const SHARDS_MAX: u16 = 64;
/// Relief is at hand while all shards together are below this part of their capacity.
const FILL_MAX: (u64, u64) = (97, 100);
/// A shard that counts on relief may go over its share by this much of it, and no further: at
/// 100,000 writes of 1 KiB a second and a share of 64 MiB that is a third of a second, and relief
/// takes milliseconds. It holds for every shard at once only while the process is below
/// `maxmemory`.
const OVER_SHARE_PERCENT: u64 = 50;
/// A shard asks for this part of its capacity at least, so that it need not ask again at once.
const NEEDED_PART: u64 = 50;

/// After a refusal shards evict for so long before they may ask again.
const REFUSED_FOR_MS: u64 = 1_000;

/// How shards and the coordinator speak of relief: without a lock, one bit per shard.
#[derive(Debug, Default)]
pub(crate) struct Relief {
    /// Shards that may go over their share for the moment, because slots will be taken off them.
    possible: AtomicU64,
    /// Shards that want it.
    asked: AtomicU64,
    /// Shards that were refused relief: they evict until `refused_until_ms`, because a look at
    /// all slots for every command would cost more than an eviction.
    refused: AtomicU64,
    /// Monotonic milliseconds.
    refused_until_ms: AtomicU64,
    /// Wakes the coordinator.
    pub(crate) wake: tokio::sync::Notify,
}

impl Relief {
    /// `shard` holds `slots_bytes`, more than its share, and the process may allocate `room_bytes`
    /// before it reaches `maxmemory`. The bytes it has to evict down to, or none if it need not
    /// evict, because relief is coming.
    pub(crate) fn evict_to(
        &self,
        shard: ShardId,
        slots_bytes: u64,
        share_bytes: u64,
        room_bytes: u64,
    ) -> Option<u64> {
        if !self.wanted(shard) || room_bytes == 0 {
            return Some(share_bytes);
        }
        let most = share_bytes.saturating_add(share_bytes / 100 * OVER_SHARE_PERCENT);
        (slots_bytes > most).then_some(most)
    }

    /// `shard` is over its share. True if it need not evict, because relief is coming.
    fn wanted(&self, shard: ShardId) -> bool {
        let bit = bit(shard);
        if self.possible.load(Ordering::Relaxed) & bit == 0 {
            return false;
        }
        if self.asked.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            self.wake.notify_one();
        }
        true
    }

    /// Whether a shard has asked. It goes over its share until it has an answer, so every one
    /// that asks gets one at once; one that was refused does not ask.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) != 0
    }

    /// The shards that have asked; they may ask again.
    pub(crate) fn take_asked(&self, shards: u16) -> impl Iterator<Item = ShardId> + use<> {
        let asked = self.asked.swap(0, Ordering::Relaxed);
        (0..shards).map(ShardId).filter(move |shard| asked & bit(*shard) != 0)
    }

    /// `shard` has to evict: nothing can be taken off it.
    pub(crate) fn refuse(&self, shard: ShardId, mono_ms: u64) {
        let refused = self.still_refused(mono_ms) | bit(shard);
        self.refused.store(refused, Ordering::Relaxed);
        self.refused_until_ms.store(mono_ms + REFUSED_FOR_MS, Ordering::Relaxed);
        self.possible.fetch_and(!bit(shard), Ordering::Relaxed);
    }

    /// After a look at all shards: who may count on relief until the next.
    pub(crate) fn renew(&self, snapshot: &LoadSnapshot, allowed: bool, mono_ms: u64) {
        let capacity: u64 = snapshot.shards.iter().map(|shard| shard.capacity_bytes).sum();
        let used: u64 = snapshot.slots.iter().map(|slot| slot.bytes).sum();
        let (part, whole) = FILL_MAX;
        let room = snapshot.shards.len() > 1 && used / part < capacity / whole;
        let bits = if allowed && room { !self.still_refused(mono_ms) } else { 0 };
        self.possible.store(bits, Ordering::Relaxed);
    }

    /// Shards whose refusal is not over. Only the coordinator asks, refuses and renews.
    fn still_refused(&self, mono_ms: u64) -> u64 {
        let over = mono_ms >= self.refused_until_ms.load(Ordering::Relaxed);
        if over { 0 } else { self.refused.load(Ordering::Relaxed) }
    }
}

/// Whether the policy lets slots be handed over for relief now.
pub(crate) fn allowed(machine: &Machine, clock: Clock) -> bool {
    let policy = machine.policy();
    let open = || machine.status(clock).window.open;
    policy.mode(machine.tier()) == Mode::Auto && (policy.emergency != Emergency::Off || open())
}

/// Bytes that `shard` needs taken off it.
pub(crate) fn needed_bytes(snapshot: &LoadSnapshot, shard: ShardId) -> u64 {
    let capacity = snapshot.shard(Bin(shard.0)).map_or(0, |bin| bin.capacity_bytes);
    let over = snapshot.owned_bytes(Bin(shard.0)).saturating_sub(capacity);
    over + capacity / NEEDED_PART
}

fn bit(shard: ShardId) -> u64 {
    1 << (shard.0 % SHARDS_MAX)
}

#[cfg(test)]
mod tests {
    use ballast_balancer::model::ShardLoad;

    use super::*;

    fn half_empty() -> LoadSnapshot {
        let shards = [0, 1].map(|shard| ShardLoad::new(Bin(shard), 1 << 20)).to_vec();
        LoadSnapshot { shards, ..LoadSnapshot::default() }
    }

    #[test]
    fn a_refusal_is_for_one_shard_and_for_a_while() {
        let (relief, snapshot) = (Relief::default(), half_empty());
        let (refused, other) = (ShardId(0), ShardId(1));
        assert!(!relief.wanted(refused), "nobody has looked yet");
        relief.renew(&snapshot, true, 10);
        assert!(relief.wanted(refused) && relief.is_asked());
        assert_eq!(relief.take_asked(2).collect::<Vec<_>>(), [refused]);
        relief.refuse(refused, 10);
        relief.renew(&snapshot, true, 20);
        assert!(!relief.wanted(refused), "it evicts, and asks no more");
        assert!(!relief.is_asked());
        assert!(relief.wanted(other) && relief.is_asked(), "who asks is answered at once");
        relief.renew(&snapshot, true, 10 + REFUSED_FOR_MS);
        assert!(relief.wanted(refused));
        relief.renew(&snapshot, false, 10 + REFUSED_FOR_MS);
        assert!(!relief.wanted(refused), "the policy forbids it");
    }

    #[test]
    fn whoever_counts_on_relief_stays_within_a_bound() {
        let (relief, snapshot, shard) = (Relief::default(), half_empty(), ShardId(0));
        let share = 1_000_000;
        let evict_to = |bytes, room| relief.evict_to(shard, bytes, share, room);
        assert_eq!(evict_to(share + 1, 1), Some(share), "no relief is in sight");
        relief.renew(&snapshot, true, 10);
        assert_eq!(evict_to(share + 1, 1), None);
        assert_eq!(evict_to(1_500_000, 1), None);
        assert_eq!(evict_to(1_500_001, 1), Some(1_500_000), "as far as the bound, not further");
        assert_eq!(evict_to(share + 1, 0), Some(share), "the process is at maxmemory");
        assert!(relief.is_asked(), "it asks in any case");
        relief.refuse(shard, 10);
        assert_eq!(evict_to(share + 1, 1), Some(share));
    }
}
