//! What all threads of a node share and that knows nothing of slots' contents: which shard owns
//! which slot, the connections, counters.

pub(crate) mod clients;
pub(crate) mod counters;
pub(crate) mod relief;
pub(crate) mod router;
pub(crate) mod sync;
