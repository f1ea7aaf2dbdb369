//! What a connection has received and not yet executed. A read goes into a buffer borrowed from
//! the shard; what is left of it after the batch is kept in a buffer of just its size. Only a
//! request that does not fit the borrowed buffer is received into one of its own, which grows with
//! what has come, never with what was announced.

use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::{Connection, End};
use crate::config::QUERY_BUFFER_LIMIT_MIN;
use crate::shard::buffers::{READ_BYTES, SMALL_BYTES};

/// A buffer grows to so many times what it holds at most.
const GROWTH_MAX: usize = 8;
/// An argument that lacks fewer bytes than this does not determine the size of its buffer.
const EXACT_BYTES_MIN: usize = 16 << 10;
/// More places for arguments than this are not kept from one request to the next.
const RANGES_MAX: usize = 256;

impl Connection {
    /// Waits for bytes; false at the end of the stream.
    ///
    /// The common case borrows the shard's buffer, so that an idle connection keeps none.
    #[inline]
    pub(super) fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.session.client.is_killed() {
            return Poll::Ready(Ok(false));
        }
        let count = if self.filled == 0 {
            self.input = self.shard.buffers.take();
            let mut space = ReadBuf::new(&mut self.input);
            let polled = Pin::new(&mut self.stream).poll_read(context, &mut space);
            let count = space.filled().len();
            if count == 0 {
                let buffer = std::mem::take(&mut self.input);
                self.shard.buffers.give(buffer);
            }
            ready!(polled)?;
            self.filled = count;
            self.session.client.query_bytes.store(count as u64, Relaxed);
            count
        } else {
            let count = ready!(self.poll_more(context))?;
            self.account();
            count
        };
        self.count_received(count);
        Poll::Ready(Ok(count > 0))
    }

    #[inline]
    fn count_received(&self, count: usize) {
        let client = &self.session.client;
        client.net_in_bytes.fetch_add(count as u64, Relaxed);
        self.shard.counters.net_in_bytes.add(count as u64);
        self.shard.counters.turns.add(1);
    }

    /// Receives more of an incomplete request.
    #[inline(never)]
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.needed > READ_BYTES {
            return self.poll_long(context);
        }
        let mut buffer = self.shard.buffers.take();
        let mut space = ReadBuf::new(&mut buffer[self.filled..]);
        let polled = Pin::new(&mut self.stream).poll_read(context, &mut space);
        let count = space.filled().len();
        let filled = self.filled + count;
        if count > 0 && filled >= self.needed {
            buffer[..self.filled].copy_from_slice(&self.input[..self.filled]);
            std::mem::swap(&mut self.input, &mut buffer);
        } else {
            self.input.truncate(self.filled);
            self.input.extend_from_slice(&buffer[self.filled..filled]);
        }
        self.filled = filled;
        self.shard.buffers.give(buffer);
        polled.map_ok(|()| count)
    }

    /// Receives more of a long request, into its own buffer.
    fn poll_long(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.len() == self.input.capacity() {
            let capacity = long_capacity(self.filled, self.needed);
            self.input.reserve_exact(capacity - self.filled);
            self.account();
        }
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            match self.stream.try_read_buf(&mut self.input) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(count) => {
                    self.filled += count;
                    return Poll::Ready(Ok(count));
                }
            }
        }
    }

    /// Drops what has been executed and keeps the rest for the next read.
    #[inline]
    pub(super) fn settle_input(&mut self, needed: usize) {
        let left = self.filled - self.taken;
        let is_at_rest = self.is_at_rest && !self.session.is_subscriber();
        if left == 0 && is_at_rest && self.ranges.capacity() <= RANGES_MAX {
            let buffer = std::mem::take(&mut self.input);
            self.shard.buffers.give(buffer);
            self.needed = 1;
            self.taken = 0;
            self.filled = 0;
            self.session.client.query_bytes.store(0, Relaxed);
        } else {
            self.settle_rest(needed.max(left + 1));
        }
    }

    #[inline(never)]
    fn settle_rest(&mut self, needed: usize) {
        self.needed = needed;
        self.park_input();
        if self.filled == 0 && self.ranges.capacity() > RANGES_MAX {
            self.ranges = Vec::new();
        }
        self.account();
    }

    /// Keeps what is not executed yet in a buffer of its own, for a longer wait.
    pub(super) fn park_input(&mut self) {
        let left = self.filled - self.taken;
        let capacity = match left {
            0 => 0,
            _ if self.needed > READ_BYTES => long_capacity(left, self.needed),
            _ => left,
        };
        let is_own = !matches!(self.input.len(), READ_BYTES | SMALL_BYTES);
        if is_own && (left..=2 * capacity).contains(&self.input.capacity()) {
            self.input.copy_within(self.taken..self.filled, 0);
            self.input.truncate(left);
        } else {
            let mut kept = Vec::with_capacity(capacity);
            kept.extend_from_slice(&self.input[self.taken..self.filled]);
            self.shard.buffers.give(std::mem::replace(&mut self.input, kept));
        }
        self.taken = 0;
        self.filled = left;
    }

    /// Receives while the last command waits: the client may go, or say what it wants next.
    /// Ready when the connection is at its end. What was received before is parked.
    pub(super) fn poll_read_ahead(&mut self, context: &mut Context<'_>) -> Poll<End> {
        loop {
            let mut buffer = self.shard.buffers.take();
            let mut space = ReadBuf::new(&mut buffer);
            let polled = Pin::new(&mut self.stream).poll_read(context, &mut space);
            let count = space.filled().len();
            self.input.extend_from_slice(&buffer[..count]);
            self.shard.buffers.give(buffer);
            match ready!(polled) {
                Err(error) => return Poll::Ready(End::Failed(error)),
                Ok(()) if count == 0 => return Poll::Ready(End::Closed),
                Ok(()) => {}
            }
            self.filled += count;
            self.count_received(count);
            self.account();
            if let Some(end) = self.too_much_input() {
                return Poll::Ready(end);
            }
        }
    }

    /// As Redis, counts what is not yet a whole argument, and what waits for `EXEC`.
    pub(super) fn too_much_input(&self) -> Option<End> {
        if self.session.client.is_killed() {
            return Some(End::Closed);
        }
        let queued = self.session.transaction.as_ref().map_or(0, |open| open.bytes);
        if self.filled + queued <= QUERY_BUFFER_LIMIT_MIN {
            return None;
        }
        let state = self.shard.state();
        let limit = usize::try_from(state.config.client_query_buffer_limit).unwrap_or(usize::MAX);
        if self.unread_bytes() + queued <= limit {
            return None;
        }
        state.counters.query_limit_disconnections.add(1);
        Some(End::Refused("it sent a query over client-query-buffer-limit"))
    }

    /// Bytes received that are not a whole argument yet; nothing received is executed.
    pub(super) fn unread_bytes(&self) -> usize {
        self.parser.unread_bytes(&self.input[..self.filled])
    }
}

/// How many bytes to keep for a request of `needed` at least, of which `filled` have come.
fn long_capacity(filled: usize, needed: usize) -> usize {
    let bound = filled.max(READ_BYTES) * GROWTH_MAX;
    let wanted = if needed <= bound { needed } else { bound / 2 };
    if wanted >= filled + EXACT_BYTES_MIN { wanted } else { filled + (filled / 4).max(READ_BYTES) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_request_costs_little_more_than_what_has_come() {
        let announced = 512 << 20;
        let (mut filled, mut copied) = (READ_BYTES, 0);
        while filled < announced {
            let capacity = long_capacity(filled, announced);
            assert!(capacity > filled && capacity <= GROWTH_MAX * filled, "{filled}: {capacity}");
            copied += filled;
            filled = capacity;
        }
        assert_eq!(filled, announced, "not a byte too many at the end");
        assert!(copied < announced / 2, "{copied} bytes copied");
    }

    #[test]
    fn many_small_arguments_grow_the_buffer_in_steps() {
        let (mut filled, mut steps) = (READ_BYTES, 0);
        while filled < 64 << 20 {
            filled = long_capacity(filled, filled + 3);
            steps += 1;
        }
        assert!(steps < 50, "{steps} steps");
    }
}
