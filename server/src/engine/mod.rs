//! What happens inside a slot: its box with all that rides along, eviction, statistics.

pub(crate) mod evict;
pub(crate) mod latency;
pub(crate) mod slot;
pub(crate) mod statistics;
pub(crate) mod waiters;
pub(crate) mod watchers;
