//! What memory a connection keeps, told to its [`Client`](crate::node::clients::Client) and to the
//! sum of its shard. Most connections are at rest whenever somebody looks, so the account is
//! written only when it is not what it was.

use std::sync::atomic::Ordering::Relaxed;

use ballast_protocol::ArgRange;
use ballast_storage::memory::good_size;

use super::Connection;
use crate::commands::session::Queued;
use crate::node::clients::CLIENT_BYTES;
use crate::shard::buffers::READ_BYTES;

/// A connection that grows by no more leaves the leases as they are.
const UNNOTICED_BYTES_MAX: u64 = 16 << 10;

impl Connection {
    /// Counts what it keeps now, with everything received so far in its place.
    pub(super) fn account(&mut self) {
        let client = &self.session.client;
        // A buffer of this size is the shard's.
        let is_own = self.filled > 0 && self.input.len() != READ_BYTES;
        let input = if is_own { self.input.capacity() } else { 0 };
        let outbox = self.outbox.as_ref();
        let output = outbox.map_or(0, |outbox| outbox.heap_bytes());
        client.output_bytes.store(output as u64, Relaxed);
        client.output_blocks.store(outbox.map_or(0, |outbox| outbox.len() as u64), Relaxed);
        let begun = self.waiting_bytes + self.session.heap_bytes();
        let buffers = good_size(input) + output + begun;
        self.is_at_rest = buffers == 0 && self.session.transaction.is_none();
        let ranges = self.ranges.capacity() * size_of::<ArgRange>();
        let unread = self.unread_bytes();
        client.query_bytes.store(unread as u64, Relaxed);
        client.query_free.store(input.saturating_sub(self.filled) as u64, Relaxed);
        let arguments = self.waiting_bytes + self.parser.argument_bytes();
        client.argument_bytes.store(arguments as u64, Relaxed);
        let queued = self
            .session
            .transaction
            .as_ref()
            .map_or(0, |open| open.bytes + open.commands.len() * size_of::<Queued>());
        client.queued_bytes.store(queued as u64, Relaxed);
        let own = CLIENT_BYTES + self.shard.connection_task_bytes.get();
        self.publish(own + (good_size(ranges) + buffers) as u64);
        self.shard.shared.limit_clients();
    }

    /// Takes it out of the shard's sum.
    pub(super) fn leave_account(&mut self) {
        self.publish(0);
    }

    fn publish(&self, bytes: u64) {
        let before = self.session.client.bytes.swap(bytes, Relaxed);
        self.shard.counters.clients_bytes.add(bytes.wrapping_sub(before));
        if bytes > before + UNNOTICED_BYTES_MAX {
            // Leases were given for what was left before.
            self.shard.shared.leases.end_all();
        }
    }
}
