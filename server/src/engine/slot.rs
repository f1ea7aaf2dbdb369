//! The box that a shard owns and hands over: the stored data of one of the 16,384 hash slots
//! and everything that has to travel with it.

use crate::engine::hot_keys::HotKeys;
use crate::engine::waiters::Waiters;
use crate::engine::watchers::Watchers;
use crate::node::effects::Followers;

/// A slot with its riders. Moving it between threads is moving this box.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// The keys, in all databases, with their exact account.
    pub(super) data: ballast_storage::Slot,
    /// Who wants the effects of its commands.
    pub(crate) followers: Followers,
    /// Connections that `WATCH` a key.
    pub(crate) watchers: Watchers,
    /// Connections blocked on a key.
    pub(crate) waiters: Waiters,
    /// Which keys its commands are for, while it is too hot to be levelled.
    pub(crate) hot_keys: Option<Box<HotKeys>>,
    /// Work done for the slot since the last `CONFIG RESETSTAT`.
    pub(crate) work: Work,
}

impl Slot {
    /// The keys, to look at.
    #[inline(always)]
    pub(crate) fn data(&self) -> &ballast_storage::Slot {
        &self.data
    }

    /// The keys, for a test to fill a box that is on no shard.
    #[cfg(test)]
    pub(crate) fn data_mut(&mut self) -> &mut ballast_storage::Slot {
        &mut self.data
    }
}

/// What `CLUSTER SLOT-STATS` reports beside keys and bytes, and what the balancer needs to tell
/// whose work a thread's time is. All of it only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// Commands executed.
    pub(crate) commands: u64,
    /// Nanoseconds of the handlers.
    pub(crate) cpu_ns: u64,
    /// Bytes of requests.
    pub(crate) net_in_bytes: u64,
    /// Bytes of replies.
    pub(crate) net_out_bytes: u64,
    /// Commands that came from connections of other shards.
    pub(crate) guests: u64,
    /// Turns of connections that are on this shard because of this slot.
    pub(crate) turns: u64,
}
