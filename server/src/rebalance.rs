//! The thread tier of the balancer, live.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::config::Config;
use crate::ids::ShardId;
use crate::shared::Shared;

/// The coordinator's state.
pub(crate) struct Rebalance;

impl Rebalance {
    pub(crate) fn new(_config: &Config) -> Rebalance {
        Rebalance
    }

    /// The fields of `INFO balancer`.
    pub(crate) fn info(&self, _shared: &Shared, _text: &mut String) {}
}

/// The coordinator's life.
pub(crate) async fn run(_shared: Arc<Shared>) {
    std::future::pending::<()>().await;
}

/// How a shard at its share of the memory asks for relief.
#[derive(Debug, Default)]
pub(crate) struct Relief {
    /// Relief is possible: the balancer may hand slots over, and somebody has room.
    pub(crate) possible: AtomicBool,
    /// Shards that want it, one bit each.
    pub(crate) asked: AtomicU64,
    /// Wakes the coordinator.
    pub(crate) wake: tokio::sync::Notify,
}

impl Relief {
    /// `shard` is over its share. True if it need not evict, because relief is coming.
    pub(crate) fn wanted(&self, shard: ShardId, _used_bytes: u64, _limit_bytes: u64) -> bool {
        if !self.possible.load(Ordering::Relaxed) {
            return false;
        }
        let bit = 1 << (shard.0 % 64);
        if self.asked.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            self.wake.notify_one();
        }
        true
    }
}
