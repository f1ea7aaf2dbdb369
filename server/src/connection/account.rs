//! What memory a connection keeps, told to its [`Client`](crate::node::clients::Client) and to the
//! sum of its shard. Most connections are at rest whenever somebody looks, so the account is written
//! only when it is not what it was.

use std::sync::atomic::Ordering::Relaxed;

use ballast_protocol::ArgRange;
use ballast_storage::memory::good_size;

use super::Connection;
use crate::node::clients::CLIENT_BYTES;
use crate::shard::buffers::READ_BYTES;

impl Connection {
    /// Counts what it keeps now.
    pub(super) fn account(&mut self) {
        let buffers = self.buffer_bytes();
        self.is_at_rest = buffers == 0;
        let ranges = good_size(self.ranges.capacity() * size_of::<ArgRange>());
        self.publish(CLIENT_BYTES + (ranges + buffers) as u64);
    }

    /// Takes it out of the shard's sum.
    pub(super) fn leave_account(&mut self) {
        self.publish(0);
    }

    fn publish(&self, bytes: u64) {
        let before = self.session.client.bytes.swap(bytes, Relaxed);
        self.shard.counters.clients_bytes.add(bytes.wrapping_sub(before));
    }

    /// Bytes of what the client has sent and not yet taken.
    fn buffer_bytes(&self) -> usize {
        // A buffer of this size goes back to the shard after the batch.
        let input = if self.input.len() == READ_BYTES { 0 } else { self.input.capacity() };
        let output = if self.reply.is_empty() { 0 } else { self.reply.capacity() };
        let queued = self.session.transaction.as_ref().map_or(0, |open| open.bytes);
        good_size(input) + good_size(output) + queued
    }
}
