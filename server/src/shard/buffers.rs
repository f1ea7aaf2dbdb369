//! Buffers that no connection is using: a connection that waits for bytes keeps none.

use std::cell::RefCell;

use ballast_storage::memory::good_size;

use super::message::{RemoteBatch, Replies};

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

/// The spare buffers of a shard.
#[derive(Default)]
pub(crate) struct Buffers {
    large: RefCell<Vec<Vec<u8>>>,
    small: RefCell<Vec<Vec<u8>>>,
    reply: RefCell<Vec<u8>>,
}

impl Buffers {
    /// Bytes of what is kept.
    pub(crate) fn bytes(&self) -> u64 {
        let large = self.large.borrow().len() * good_size(READ_BYTES);
        let small = self.small.borrow().len() * good_size(SMALL_BYTES);
        (large + small + good_size(self.reply.borrow().capacity())) as u64
    }

    /// Frees what is kept.
    pub(crate) fn clear(&self) {
        self.large.take();
        self.small.take();
        self.reply.take();
    }

    /// A buffer of [`READ_BYTES`], for one read.
    #[inline]
    pub(crate) fn take(&self) -> Vec<u8> {
        self.large.borrow_mut().pop().unwrap_or_else(|| vec![0; READ_BYTES])
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
        let mut spare = spare.borrow_mut();
        if spare.len() < max {
            spare.push(buffer);
        }
    }
}

/// What batches to other shards have left for the next ones.
#[derive(Default)]
pub(crate) struct Spares {
    #[allow(clippy::vec_box, reason = "the boxes travel in messages")]
    pub(crate) batches: Vec<Box<RemoteBatch>>,
    pub(crate) replies: Vec<Replies>,
}

impl Spares {
    /// Bytes of what is kept.
    pub(crate) fn bytes(&self) -> u64 {
        let batches = self.batches.iter().map(|batch| batch.heap_bytes()).sum::<usize>();
        let replies = self.replies.iter().map(Replies::heap_bytes).sum::<usize>();
        (batches + replies) as u64
    }

    /// Keeps the memory of a batch for the next one.
    pub(crate) fn keep_batch(&mut self, mut batch: Box<RemoteBatch>) {
        if self.batches.len() < SPARE_BATCHES_MAX
            && batch.bytes.capacity().max(batch.replies.capacity()) <= SPARE_BATCH_BYTES_MAX
        {
            batch.clear();
            self.batches.push(batch);
        }
    }

    /// Keeps the memory of a group's replies for those of the next one.
    pub(crate) fn keep_replies(&mut self, mut replies: Replies) {
        if self.replies.len() < SPARE_BATCHES_MAX && replies.heap_bytes() <= SPARE_BATCH_BYTES_MAX {
            replies.clear();
            self.replies.push(replies);
        }
    }
}
