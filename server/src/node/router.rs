//! Which shard owns which slot: the one structure every thread reads on every command.

use std::sync::atomic::Ordering;

use ballast_protocol::slot::SLOTS;

use super::sync::{AtomicU16, AtomicU64};
use crate::ids::ShardId;

/// Slot → shard.
///
/// Invariant: a slot's owner is stored only after the box of the slot has been pushed into the
/// new owner's mailbox, so whoever reads the new owner and then pushes a message arrives behind
/// the box.
#[derive(Debug)]
pub(crate) struct Router {
    owners: Box<[AtomicU16]>,
    epoch: AtomicU64,
    /// Holds that would miss a slot which changes its owner now.
    freezes: AtomicU64,
}

impl Router {
    /// Contiguous ranges of equal length, one per shard.
    pub(crate) fn new(shards: u16) -> Router {
        Router::with_owners((0..SLOTS).map(|slot| initial_owner(slot, shards)))
    }

    /// As given, from slot 0 on.
    pub(crate) fn with_owners(owners: impl Iterator<Item = ShardId>) -> Router {
        let owners = owners.map(|owner| AtomicU16::new(owner.0)).collect();
        Router { owners, epoch: AtomicU64::new(1), freezes: AtomicU64::new(0) }
    }

    /// The shard that serves `slot` now.
    #[inline]
    pub(crate) fn owner(&self, slot: u16) -> ShardId {
        ShardId(self.owners[usize::from(slot)].load(Ordering::Acquire))
    }

    /// Lets `push` put the box of `slot` into the mailbox of `owner`, and only then names it.
    #[inline]
    pub(crate) fn hand_over(&self, slot: u16, owner: ShardId, push: impl FnOnce()) {
        push();
        self.owners[usize::from(slot)].store(owner.0, Ordering::Release);
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    /// Until it is [thawed](Self::thaw) as often, no further hand-over begins. Those that have
    /// begun end.
    pub(crate) fn freeze(&self) {
        self.freezes.fetch_add(1, Ordering::AcqRel);
    }

    /// See [`Self::freeze`].
    pub(crate) fn thaw(&self) {
        self.freezes.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether slots stay where they are.
    pub(crate) fn is_frozen(&self) -> bool {
        self.freezes.load(Ordering::Acquire) > 0
    }

    /// Counts the changes of the map.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// How many ranges of neighbouring slots `shard` owns.
    pub(crate) fn ranges(&self, shard: ShardId) -> usize {
        let mut ranges = 0;
        let mut inside = false;
        for slot in 0..SLOTS {
            let owned = self.owner(slot) == shard;
            ranges += usize::from(owned && !inside);
            inside = owned;
        }
        ranges
    }
}

/// The owner of `slot` in a server that has just started.
pub(crate) fn initial_owner(slot: u16, shards: u16) -> ShardId {
    let owner = u32::from(slot) * u32::from(shards) / u32::from(SLOTS);
    ShardId(u16::try_from(owner).expect("below the shard count"))
}
