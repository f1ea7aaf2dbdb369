//! What a shard that needs room may ask of the others of its node, whose threads it knows nothing
//! of.

use crate::ids::ShardId;

/// The other shards.
pub(crate) trait Siblings: Send + Sync {
    /// Has shard `of` give up something that is worth no more than what has this score: garbage
    /// first, then keys. Whether there is room by now that was not; `None`: its thread is at work
    /// with it.
    fn give_up(&self, of: ShardId, score_min: u64) -> Option<bool>;
}
