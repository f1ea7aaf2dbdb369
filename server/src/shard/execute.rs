//! Batches of other shards' connections, and of this one's on behalf of other shards.

use ballast_protocol::Reply;

use super::ShardState;
use super::lending::Absent;
use super::message::{Message, RemoteBatch};
use super::waits::Outcome;
use crate::commands::REPLY_BYTES;
use crate::engine::prefetch::AHEAD_MAX;
use crate::ids::ShardId;

/// More commands than this, or more bytes of them, are left to the thread of their shard, though
/// it has to be woken: it then works beside this one.
const ON_BEHALF_MAX: usize = 16;
const ON_BEHALF_BYTES_MAX: usize = 64 << 10;

impl ShardState {
    /// Goes on with a batch of another shard's connection until it is done, or something it
    /// needs is not here.
    pub(crate) fn continue_batch(&mut self, mut batch: Box<RemoteBatch>) {
        match self.run_batch(&mut batch).map(|slot| (slot, self.absent(slot))) {
            Some((slot, Absent::Lent)) => self.park_batch(slot, batch),
            Some((_, Absent::OnItsWay)) => self.send(self.id, Message::Batch(batch)),
            Some((_, Absent::Elsewhere)) | None => self.answer_batch(batch),
        }
    }

    /// Executes the next commands of a batch: all, or until there are enough replies to be sent, or
    /// a slot is needed that is not here: that is what it returns.
    fn run_batch(&mut self, batch: &mut RemoteBatch) -> Option<u16> {
        self.begin_batch(batch.caller.client);
        let mut reply = Reply::new(batch.caller.protocol);
        reply.resume(std::mem::take(&mut batch.replies));
        let mut loaded = 0;
        while let Some(next) = batch.commands.get(batch.done).copied() {
            if !self.has(next.slot) {
                batch.replies = reply.take();
                return Some(next.slot);
            }
            if batch.done >= loaded {
                loaded = self.load_some(batch);
            }
            let (args, routed) = (batch.args(batch.done), batch.routed(batch.done));
            self.execute_routed(next.command, routed, args, batch.caller, &mut reply);
            debug_assert!(self.blocked.is_none(), "blocking commands do not travel in batches");
            batch.ends.push(reply.len());
            batch.done += 1;
            if !self.ready.is_empty() {
                self.serve_ready();
            }
            if reply.len() > REPLY_BYTES {
                // Long replies take time and memory: the connection sends these first.
                break;
            }
        }
        batch.replies = reply.take();
        None
    }

    /// Executes a quick batch of this shard's connection on the shard `of`, if that is free.
    /// False: it has to be sent there.
    pub(crate) fn run_on_behalf(&mut self, of: ShardId, batch: &mut RemoteBatch) -> bool {
        let is_quick = batch.commands.len() <= ON_BEHALF_MAX
            && batch.bytes.len() <= ON_BEHALF_BYTES_MAX
            && batch.commands.iter().all(|next| next.command.is_quick());
        if !is_quick {
            return false;
        }
        let ran = self.on_behalf(of, |other| {
            other.run_batch(batch);
        });
        ran.is_some()
    }

    /// Has loaded what the next commands of a batch will read; returns for how many of all.
    fn load_some(&self, batch: &RemoteBatch) -> usize {
        let end = batch.commands.len().min(batch.done + AHEAD_MAX);
        let next = &batch.commands[batch.done..end];
        next.iter().for_each(|command| self.load_box(command.slot));
        self.load_keys(batch.caller.db, next.iter().map(|command| (command.slot, command.hash)));
        end
    }

    /// Sends a batch home, as far as it was executed.
    fn answer_batch(&mut self, batch: Box<RemoteBatch>) {
        if batch.origin == self.id {
            self.batch_done(batch);
        } else {
            self.send(batch.origin, Message::BatchDone(batch));
        }
    }

    /// A batch of this shard's connection is back.
    pub(crate) fn batch_done(&mut self, batch: Box<RemoteBatch>) {
        let token = batch.token;
        if let Some(Outcome::Batch(batch)) = self.waits.complete(token, Outcome::Batch(batch)) {
            self.recycle(batch);
        }
    }
}
