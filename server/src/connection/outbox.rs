//! Replies that wait for the client to take them. A client may send as much as it likes before it
//! reads: it is read on and its commands are executed, as in Redis, and what that costs is bounded
//! by `client-output-buffer-limit` and `maxmemory-clients`. Between two turns of such a connection
//! all others have theirs.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use ballast_protocol::Reply;
use ballast_storage::memory::good_size;
use smallvec::SmallVec;

use super::{Connection, End};
use crate::config::{ClientClass, OutputBufferLimit};
use crate::node::channels::Over;

/// Replies up to this length are within every limit: Redis has a fixed buffer for them.
const UNLIMITED_BYTES: usize = 16 << 10;
/// What one turn sends at most of replies that have waited.
const TURN_BYTES: usize = 1 << 20;
/// Blocks that are sent in one call.
const SLICES_MAX: usize = 32;
/// Less than this is copied behind what waits already.
const COPIED_BYTES_MAX: usize = 64 << 10;
/// Room that a new block for such copies has at least.
const BLOCK_BYTES_MIN: usize = 1 << 10;

/// See the module.
#[derive(Default)]
pub(super) struct Outbox {
    /// None is empty.
    blocks: VecDeque<Vec<u8>>,
    /// Bytes of the first that are sent.
    sent: usize,
    /// Bytes that are not sent.
    bytes: usize,
    /// Bytes of the blocks on the heap.
    block_bytes: usize,
    /// Runs while they are over the soft limit.
    overdue: Option<Overdue>,
}

/// A client over its soft limit.
struct Overdue {
    /// Of the monotonic clock.
    since_ms: u64,
    /// Wakes the connection when it has been that for too long.
    timer: Pin<Box<dyn Future<Output = ()>>>,
}

impl Outbox {
    /// Appends replies, of which the first `sent` bytes are sent.
    fn push(&mut self, reply: Reply, mut sent: usize) {
        for block in reply.into_blocks() {
            let skipped = sent.min(block.len());
            sent -= skipped;
            if block.len() - skipped < COPIED_BYTES_MAX {
                self.push_copy(&block[skipped..]);
            } else {
                // Only the first bytes of all are ever sent before they come here.
                debug_assert!(skipped == 0 || self.blocks.is_empty());
                self.sent += skipped;
                self.bytes += block.len() - skipped;
                self.block_bytes += good_size(block.capacity());
                self.blocks.push_back(block);
            }
        }
    }

    fn push_copy(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        let room = self.blocks.back().map_or(0, |last| last.capacity() - last.len());
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        if let Some(last) = self.blocks.back_mut() {
            last.extend_from_slice(first);
        }
        if !rest.is_empty() {
            let share = (self.bytes / 8).clamp(BLOCK_BYTES_MIN, COPIED_BYTES_MAX);
            let mut block = Vec::with_capacity(rest.len().max(share));
            block.extend_from_slice(rest);
            self.block_bytes += good_size(block.capacity());
            self.blocks.push_back(block);
        }
    }

    /// What is to be sent next.
    fn slices(&self) -> SmallVec<[IoSlice<'_>; SLICES_MAX]> {
        let mut slices = SmallVec::new();
        for (at, block) in self.blocks.iter().take(SLICES_MAX).enumerate() {
            slices.push(IoSlice::new(if at == 0 { &block[self.sent..] } else { block }));
        }
        slices
    }

    /// Frees what has been sent.
    fn advance(&mut self, count: usize) {
        self.bytes -= count;
        self.sent += count;
        while let Some(first) = self.blocks.front()
            && first.len() <= self.sent
        {
            self.sent -= first.len();
            self.block_bytes -= good_size(first.capacity());
            self.blocks.pop_front();
        }
    }

    /// Blocks that wait.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Bytes of its blocks, and of the list of them.
    pub(super) fn heap_bytes(&self) -> usize {
        self.block_bytes + good_size(self.blocks.capacity() * size_of::<Vec<u8>>())
    }
}

/// How far sending got.
#[derive(PartialEq, Eq)]
enum Sent {
    All,
    /// As much as the client takes now.
    Some,
    /// As much as one turn may send.
    Turn,
}

impl Connection {
    /// Sends the replies, as far as the client takes them now, and keeps the rest for it.
    #[inline]
    pub(super) fn send(&mut self) -> Result<(), End> {
        let len = self.reply.len();
        if len == 0 {
            return Ok(());
        }
        if len > UNLIMITED_BYTES || self.outbox.is_some() {
            return self.send_long();
        }
        let Some(bytes) = self.reply.contiguous() else { return self.send_long() };
        let sent = match self.stream.try_write(bytes) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(End::Failed(error)),
        };
        self.count_sent(sent);
        if sent < len {
            return self.queue(sent);
        }
        self.shard.buffers.give_from_reply(self.reply.take());
        Ok(())
    }

    #[inline]
    fn count_sent(&self, count: usize) {
        self.shard.counters.net_out_bytes.add(count as u64);
        self.session.client.net_out_bytes.fetch_add(count as u64, Relaxed);
    }

    /// [`Self::send`] for replies that may be over a limit or come after others.
    #[inline(never)]
    fn send_long(&mut self) -> Result<(), End> {
        self.check_output()?;
        let mut sent = 0;
        if self.outbox.is_none()
            && let Some(bytes) = self.reply.contiguous()
        {
            while sent < bytes.len() {
                match self.stream.try_write(&bytes[sent..]) {
                    Ok(0) => return Err(End::Failed(io::ErrorKind::WriteZero.into())),
                    Ok(count) => sent += count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(End::Failed(error)),
                }
            }
            self.count_sent(sent);
            if sent == bytes.len() {
                self.shard.buffers.give_from_reply(self.reply.take());
                return Ok(());
            }
        }
        self.queue(sent)
    }

    /// Keeps the replies, of which `sent` bytes are sent, until the client takes them.
    #[inline(never)]
    fn queue(&mut self, sent: usize) -> Result<(), End> {
        let outbox = self.outbox.get_or_insert_default();
        match self.reply.contiguous() {
            Some(bytes) if bytes.len() - sent < COPIED_BYTES_MAX => {
                outbox.push_copy(&bytes[sent..]);
                self.shard.buffers.give_from_reply(self.reply.take());
            }
            _ => {
                let next = Reply::new(self.session.protocol);
                outbox.push(std::mem::replace(&mut self.reply, next), sent);
            }
        }
        self.account();
        self.check_output()
    }

    /// Sends more of what waits, now or when the client takes more; looks at the limits again.
    #[inline(never)]
    pub(super) fn poll_send(&mut self, context: &mut Context<'_>) -> Result<(), End> {
        if self.session.client.is_killed() {
            return Err(End::Closed);
        }
        while let Poll::Ready(ready) = self.stream.poll_write_ready(context) {
            ready.map_err(End::Failed)?;
            match self.send_waiting().map_err(End::Failed)? {
                Sent::Some => {}
                Sent::All => {
                    self.outbox = None;
                    break;
                }
                Sent::Turn => {
                    context.waker().wake_by_ref();
                    break;
                }
            }
        }
        self.account();
        self.check_output()?;
        let timer = self.outbox.as_mut().and_then(|outbox| outbox.overdue.as_mut());
        if timer.is_some_and(|overdue| overdue.timer.as_mut().poll(context).is_ready()) {
            self.check_output()?;
        }
        Ok(())
    }

    fn send_waiting(&mut self) -> io::Result<Sent> {
        let Some(outbox) = &mut self.outbox else { return Ok(Sent::All) };
        let mut turn_bytes = 0;
        while outbox.bytes > 0 {
            if turn_bytes >= TURN_BYTES {
                return Ok(Sent::Turn);
            }
            let sent = self.stream.try_write_vectored(&outbox.slices());
            match sent {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    outbox.advance(count);
                    turn_bytes += count;
                    self.shard.counters.net_out_bytes.add(count as u64);
                    self.session.client.net_out_bytes.fetch_add(count as u64, Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Sent::Some),
                Err(error) => return Err(error),
            }
        }
        Ok(Sent::All)
    }

    /// Sends the replies of a part of a batch. If the client does not take all of them, others have
    /// their turn before the batch goes on.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        if self.output_limit().hard_bytes > 0 {
            // As in Redis, nothing is sent of a batch that is over the limit in all.
            return self.check_output();
        }
        self.settle_effects().await;
        self.send()?;
        if self.outbox.is_some() {
            tokio::task::yield_now().await;
            poll_fn(|context| Poll::Ready(self.poll_send(context))).await?;
        }
        Ok(())
    }

    /// Waits until the client has taken all replies.
    pub(super) async fn drain(&mut self) -> Result<(), End> {
        self.settle_effects().await;
        self.send()?;
        poll_fn(|context| {
            if self.outbox.is_some() {
                self.poll_send(context)?;
            }
            if self.outbox.is_some() { Poll::Pending } else { Poll::Ready(Ok(())) }
        })
        .await
    }

    /// Sends what others have for the client, behind its own replies.
    #[inline(never)]
    pub(super) fn send_pushed(&mut self) -> Result<(), End> {
        if self.reply.capacity() == 0 {
            self.reply.reuse(self.shard.buffers.take_for_reply());
        }
        self.append_pushed()?;
        self.send()
    }

    /// Puts what others have for the client behind the replies that are to be sent.
    pub(super) fn append_pushed(&mut self) -> Result<(), End> {
        let channels = &self.shard.shared.channels;
        let taken = channels.take(&self.session.client, &mut self.reply);
        taken.map_err(|Over| self.over_limit())
    }

    fn output_limit(&self) -> OutputBufferLimit {
        let is_subscriber = self.session.is_subscriber();
        let class = if is_subscriber { ClientClass::Pubsub } else { ClientClass::Normal };
        self.shard.state().config.client_output_buffer_limits[class.index()]
    }

    fn over_limit(&self) -> End {
        self.shard.state().counters.output_limit_disconnections.add(1);
        End::Refused("its replies went over client-output-buffer-limit")
    }

    /// Whether the replies that wait, and those that are about to, are within the limits.
    fn check_output(&mut self) -> Result<(), End> {
        let waiting = self.outbox.as_ref().map_or(0, |outbox| outbox.bytes);
        let bytes = (waiting + self.reply.len()).saturating_sub(UNLIMITED_BYTES) as u64;
        let limit = self.output_limit();
        let is_over = |limit: u64| limit > 0 && bytes >= limit;
        let Some(outbox) = &mut self.outbox else {
            // What is about to be sent may be taken at once, and is soon over the soft limit only.
            return if is_over(limit.hard_bytes) { Err(self.over_limit()) } else { Ok(()) };
        };
        if !is_over(limit.soft_bytes) {
            outbox.overdue = None;
        }
        let soft_ms = u64::from(limit.soft_seconds).saturating_mul(1000);
        let clock = &self.shard.shared.clock;
        let now_ms = clock.mono_ms();
        let overdue = outbox.overdue.as_ref();
        let too_long = overdue.is_some_and(|overdue| now_ms > overdue.since_ms + soft_ms);
        if is_over(limit.hard_bytes) || too_long {
            return Err(self.over_limit());
        }
        if is_over(limit.soft_bytes) && outbox.overdue.is_none() {
            let (clock, end_ms) = (clock.clone(), now_ms.saturating_add(soft_ms) + 1);
            let timer = Box::pin(async move { clock.sleep_until(end_ms).await });
            outbox.overdue = Some(Overdue { since_ms: now_ms, timer });
        }
        Ok(())
    }
}
