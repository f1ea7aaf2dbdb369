//! Buffers that no connection is using: a connection that waits for bytes keeps none.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use ballast_storage::memory::good_size;

use super::message::{RemoteBatch, Replies};
use crate::node::counters::ShardCounters;

/// How much one read may bring.
pub(crate) const READ_BYTES: usize = 64 << 10;
/// What a connection keeps of a read in a buffer of the small kind.
pub(crate) const SMALL_BYTES: usize = 512;
/// Spare buffers kept of each kind.
const SPARE_MAX: usize = 16;
const SPARE_SMALL_MAX: usize = 512;
/// Larger buffers for replies are not kept.
const REPLY_BYTES_MAX: usize = 512 << 10;

/// Batches, and lists of their replies, that are kept.
const SPARE_BATCHES_MAX: usize = 64;
/// Those with more arguments or replies are not.
const SPARE_BATCH_BYTES_MAX: usize = 64 << 10;

/// Things kept for the next to need one, of which some are not needed for a while.
struct Kept<T> {
    items: Vec<T>,
    /// The fewest that there were since [`Kept::trim`].
    least: usize,
}

impl<T> Default for Kept<T> {
    fn default() -> Kept<T> {
        Kept { items: Vec::new(), least: 0 }
    }
}

impl<T> Kept<T> {
    #[inline]
    fn pop(&mut self) -> Option<T> {
        let item = self.items.pop();
        self.least = self.least.min(self.items.len());
        item
    }

    /// Keeps one more, of at most so many; gives back one too many.
    #[inline]
    fn push(&mut self, item: T, max: usize) -> Option<T> {
        if self.items.len() >= max {
            return Some(item);
        }
        self.items.push(item);
        None
    }

    /// What nobody has needed since it was called last.
    fn trim(&mut self) -> std::vec::Drain<'_, T> {
        let needed = self.items.len() - self.least;
        self.least = needed;
        self.items.drain(needed..)
    }
}

/// The spare buffers of a shard. The first large one is a part of the server itself: it is there
/// from the start and stays, so what a client sends does not take more.
pub(crate) struct Buffers {
    large: RefCell<Kept<Vec<u8>>>,
    small: RefCell<Kept<Vec<u8>>>,
    reply: RefCell<Vec<u8>>,
    /// A large one was allocated since they were counted.
    has_grown: Cell<bool>,
    counters: Arc<ShardCounters>,
}

impl Buffers {
    /// Those of the shard that has these counters.
    pub(crate) fn new(counters: Arc<ShardCounters>) -> Buffers {
        let (small, reply, has_grown) = Default::default();
        let first = Kept { items: vec![vec![0; READ_BYTES]], least: 0 };
        Buffers { large: RefCell::new(first), small, reply, has_grown, counters }
    }

    /// Counts what is kept beside the first large one.
    pub(crate) fn count(&self) {
        let more = self.large.borrow().items.len().saturating_sub(1);
        let large = more * good_size(READ_BYTES);
        let small = self.small.borrow().items.len() * good_size(SMALL_BYTES);
        let reply = good_size(self.reply.borrow().capacity());
        self.counters.spare_bytes.set((large + small + reply) as u64);
        self.has_grown.set(false);
    }

    /// Frees what nobody has needed since it was called last.
    pub(crate) fn trim(&self) {
        let mut large = self.large.borrow_mut();
        // One is needed whenever anything is received.
        large.least = large.least.min(large.items.len().saturating_sub(1));
        drop(large.trim());
        drop(self.small.borrow_mut().trim());
        self.reply.take();
    }

    /// A buffer of [`READ_BYTES`], for one read.
    #[inline]
    pub(crate) fn take(&self) -> Vec<u8> {
        let spare = self.large.borrow_mut().pop();
        spare.unwrap_or_else(|| self.allocate())
    }

    /// A new large buffer. It counts at once, if it is the only new one: one is in use at a time,
    /// and a connection that waits with one counts it.
    #[cold]
    fn allocate(&self) -> Vec<u8> {
        if !self.has_grown.replace(true) {
            self.counters.spare_bytes.add(good_size(READ_BYTES) as u64);
        }
        vec![0; READ_BYTES]
    }

    /// `bytes`, at most [`SMALL_BYTES`], in a buffer of so many.
    #[inline]
    pub(crate) fn copy_small(&self, bytes: &[u8]) -> Vec<u8> {
        let spare = self.small.borrow_mut().pop();
        let mut buffer = spare.unwrap_or_else(|| vec![0; SMALL_BYTES]);
        buffer[..bytes.len()].copy_from_slice(bytes);
        buffer
    }

    /// A buffer for replies.
    #[inline]
    pub(crate) fn take_for_reply(&self) -> Vec<u8> {
        self.reply.take()
    }

    /// Keeps the memory of replies that are sent for the next ones.
    #[inline]
    pub(crate) fn give_from_reply(&self, mut buffer: Vec<u8>) {
        let mut spare = self.reply.borrow_mut();
        if buffer.capacity() <= REPLY_BYTES_MAX && buffer.capacity() > spare.capacity() {
            buffer.clear();
            *spare = buffer;
        }
    }

    /// Keeps a buffer for the next to need one, if it is of either kind.
    #[inline]
    pub(crate) fn give(&self, buffer: Vec<u8>) {
        let (spare, max) = match buffer.len() {
            len if len != buffer.capacity() => return,
            READ_BYTES => (&self.large, SPARE_MAX),
            SMALL_BYTES => (&self.small, SPARE_SMALL_MAX),
            _ => return,
        };
        drop(spare.borrow_mut().push(buffer, max));
    }
}

/// What batches to other shards have left for the next ones. Counts all of their memory, that of
/// those under way too, as of when they were sent or came back.
pub(crate) struct Spares {
    #[allow(clippy::vec_box, reason = "the boxes travel in messages")]
    batches: Kept<Box<RemoteBatch>>,
    replies: Kept<Replies>,
    counters: Arc<ShardCounters>,
}

impl Spares {
    /// Those of the shard that has these counters.
    pub(crate) fn new(counters: Arc<ShardCounters>) -> Spares {
        Spares { batches: Kept::default(), replies: Kept::default(), counters }
    }

    /// Frees what nobody has needed since it was called last.
    pub(crate) fn trim(&mut self) {
        let batches = self.batches.trim().map(|batch| batch.counted_bytes).sum::<u64>();
        let replies = self.replies.trim().map(|replies| replies.counted_bytes).sum::<u64>();
        self.counters.batches_bytes.sub(batches + replies);
    }

    /// An empty batch that was kept.
    pub(crate) fn batch(&mut self) -> Option<Box<RemoteBatch>> {
        self.batches.pop()
    }

    /// An empty list of replies.
    pub(crate) fn replies(&mut self) -> Replies {
        self.replies.pop().unwrap_or_default()
    }

    /// Counts what a batch of this shard's has become.
    pub(crate) fn count_batch(&self, batch: &mut RemoteBatch) {
        let bytes = batch.own_bytes();
        self.recount(&mut batch.counted_bytes, bytes);
    }

    /// Counts what a list of replies has become.
    pub(crate) fn count_replies(&self, replies: &mut Replies) {
        let bytes = replies.heap_bytes();
        self.recount(&mut replies.counted_bytes, bytes);
    }

    fn recount(&self, counted: &mut u64, bytes: usize) {
        let before = std::mem::replace(counted, bytes as u64);
        self.counters.batches_bytes.add(counted.wrapping_sub(before));
    }

    /// Keeps the memory of a batch for the next one.
    pub(crate) fn keep_batch(&mut self, mut batch: Box<RemoteBatch>) {
        let largest = batch.bytes.capacity().max(batch.replies.capacity());
        batch.clear();
        self.count_batch(&mut batch);
        let is_kept = largest <= SPARE_BATCH_BYTES_MAX;
        let left = if is_kept { self.batches.push(batch, SPARE_BATCHES_MAX) } else { Some(batch) };
        if let Some(batch) = left {
            self.counters.batches_bytes.sub(batch.counted_bytes);
        }
    }

    /// Keeps the memory of a group's replies for those of the next one.
    pub(crate) fn keep_replies(&mut self, mut replies: Replies) {
        replies.clear();
        self.count_replies(&mut replies);
        let is_kept = replies.heap_bytes() <= SPARE_BATCH_BYTES_MAX;
        let left =
            if is_kept { self.replies.push(replies, SPARE_BATCHES_MAX) } else { Some(replies) };
        if let Some(replies) = left {
            self.counters.batches_bytes.sub(replies.counted_bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_needed_for_a_while_goes() {
        let buffers = Buffers::new(Arc::default());
        let counted = |buffers: &Buffers| {
            buffers.count();
            buffers.counters.spare_bytes.value() / READ_BYTES as u64
        };
        assert_eq!(buffers.counters.spare_bytes.value(), 0, "the first is the server's");
        let taken: Vec<_> = (0..3).map(|_| buffers.take()).collect();
        assert_eq!(buffers.counters.spare_bytes.value(), READ_BYTES as u64, "counts at once");
        taken.into_iter().for_each(|buffer| buffers.give(buffer));
        buffers.trim();
        assert_eq!(counted(&buffers), 2, "they have just been needed");
        let two = [buffers.take(), buffers.take()];
        two.into_iter().for_each(|buffer| buffers.give(buffer));
        buffers.trim();
        assert_eq!(counted(&buffers), 1, "two were");
        buffers.trim();
        assert_eq!((counted(&buffers), buffers.large.borrow().items.len()), (0, 1));
    }
}
