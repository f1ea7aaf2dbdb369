//! Counters that one thread at a time writes, who holds the shard's state or, for what has nothing
//! to do with that, the shard's own; and any thread may read.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer: adding is a load and a store, not a locked instruction.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Only the writer of now may call it.
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// Only the writer of now may call it.
    #[inline]
    pub(crate) fn sub(&self, less: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(less), Ordering::Relaxed);
    }

    /// Only the writer of now may call it.
    #[inline]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// From any thread.
    #[inline]
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl ShardCounters {
    /// `CONFIG RESETSTAT`: what only ever grows begins anew. Only the owning thread may call it.
    pub(crate) fn reset(&self) {
        for counter in [
            &self.commands,
            &self.connections,
            &self.turns,
            &self.net_in_bytes,
            &self.net_out_bytes,
            &self.keyspace_hits,
            &self.keyspace_misses,
            &self.expired_keys,
            &self.evicted_keys,
            &self.error_replies,
            &self.output_limit_disconnections,
            &self.query_limit_disconnections,
            &self.unexpected_errors,
            &self.followed,
            &self.on_behalf,
            &self.commands_elsewhere,
            &self.borrows,
            &self.hold_restarts,
        ] {
            counter.set(0);
        }
    }
}

/// What is known of the key of a shard that would be evicted next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// The shard has not looked yet.
    Unknown,
    /// It has none, as of when it looked.
    Nothing,
    /// The higher, the sooner it goes.
    Score(u64),
}

impl ShardCounters {
    /// What is known of the key that would be evicted next.
    pub(crate) fn worth(&self) -> Worth {
        match self.worth.value() {
            0 => Worth::Unknown,
            1 => Worth::Nothing,
            score => Worth::Score(score - 2),
        }
    }

    /// Publishes the score of the best candidate. Only the writer of now may call it.
    pub(crate) fn set_worth(&self, best: Option<u64>) {
        self.worth.set(best.map_or(1, |score| score.saturating_add(2)));
    }

    /// Nobody knows what the best candidate is worth. Only the writer of now may call it.
    pub(crate) fn forget_worth(&self) {
        self.worth.set(0);
    }
}

/// What `INFO` sums over the shards.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ShardCounters {
    /// Commands executed.
    pub(crate) commands: Counter,
    /// Connections accepted.
    pub(crate) connections: Counter,
    /// Connections open now.
    pub(crate) clients: Counter,
    /// Connections in a blocking command now.
    pub(crate) blocked_clients: Counter,
    /// Times that something was read from a socket.
    pub(crate) turns: Counter,
    /// Bytes read from sockets.
    pub(crate) net_in_bytes: Counter,
    /// Bytes written to sockets.
    pub(crate) net_out_bytes: Counter,
    /// Lookups that found their key.
    pub(crate) keyspace_hits: Counter,
    /// Lookups that did not.
    pub(crate) keyspace_misses: Counter,
    /// Keys removed because their time was over.
    pub(crate) expired_keys: Counter,
    /// Keys removed to make room.
    pub(crate) evicted_keys: Counter,
    /// Error replies.
    pub(crate) error_replies: Counter,
    /// Times that a command reached for a slot that was not fetched for it: defects.
    pub(crate) unfetched: Counter,
    /// Slots handed to other shards.
    pub(crate) handed_over: Counter,
    /// Slots taken over from other shards.
    pub(crate) adopted: Counter,
    /// Commands that other shards executed for this one's connections.
    pub(crate) commands_elsewhere: Counter,
    /// Times that it did something on the state of another shard itself.
    pub(crate) on_behalf: Counter,
    /// Transactions that needed slots of other shards.
    pub(crate) borrows: Counter,
    /// Holds that a slot had evaded, so that they started again.
    pub(crate) hold_restarts: Counter,
    /// Changes of the data set since the start, as of when the state was let go last.
    pub(crate) changes: Counter,
    /// Bytes of the owned slots, as of its last batch or cron.
    pub(crate) slots_bytes: Counter,
    /// Bytes that the node's sum counts here, as of when the state was let go last: the boxes that
    /// are here, and less what others still count of those that came, more what is still counted
    /// of those that went (it wraps around: only the sum over all shards means something); garbage;
    /// what eviction keeps.
    pub(crate) held_bytes: Counter,
    /// Bytes of what waits to be freed, as of the same moment.
    pub(crate) garbage_bytes: Counter,
    /// Bytes of what a snapshot keeps here: keys that are to be sent, and databases that have been
    /// flushed and are still to be walked.
    pub(crate) snapshot_bytes: Counter,
    /// What the best candidate for eviction is worth; see [`Worth`].
    worth: Counter,
    /// Keys that may be evicted, as of when they were counted last.
    pub(crate) evictable_keys: Counter,
    /// Bytes of its open connections: what each keeps, its buffers among it.
    pub(crate) clients_bytes: Counter,
    /// Bytes of buffers that are kept for the next batch, as of the last cron.
    pub(crate) spare_bytes: Counter,
    /// Bytes of what its connections have sent to other shards, replies included, and of the memory
    /// that is kept for more of it.
    pub(crate) batches_bytes: Counter,
    /// CPU time of the thread in microseconds, as of the last cron.
    pub(crate) cpu_us: Counter,
    /// Things waiting to be freed in slices.
    pub(crate) lazyfree_pending: Counter,
    /// Connections closed because their output went over its limit.
    pub(crate) output_limit_disconnections: Counter,
    /// Connections closed because their query went over its limit.
    pub(crate) query_limit_disconnections: Counter,
    /// Rejected calls and failures: per-command statistics live in `commandstats`.
    pub(crate) unexpected_errors: Counter,
    /// Connections that came from other shards, to be where their slots are.
    pub(crate) followed: Counter,
}
