//! Batches of other shards' connections, and of this one's on behalf of other shards.

use ballast_protocol::Reply;
use smallvec::SmallVec;

use super::ShardState;
use super::lending::Parked;
use super::message::{Message, RemoteBatch};
use super::places::Place;
use super::waits::Outcome;
use crate::commands::REPLY_BYTES;
use crate::commands::context::SHORT_BYTES_MAX;
use crate::engine::prefetch::AHEAD_MAX;
use crate::ids::ShardId;

/// More commands than this are left to the thread of their shard, though it has to be woken: it
/// then works beside this one.
const ON_BEHALF_MAX: usize = 16;

/// How far a batch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ran {
    /// It is done, or has enough replies to be sent home.
    AsFarAsItGoes,
    /// The slots of its next command are not all here.
    Needs,
    /// There is no memory yet for its next command.
    Waits,
    /// Its next command takes too long to be executed on behalf of the shard's thread.
    IsLeft,
}

impl ShardState {
    /// Goes on with a batch of another shard's connection until it is done, or something it
    /// needs is not here.
    pub(crate) fn continue_batch(&mut self, mut batch: Box<RemoteBatch>) {
        match self.run_batch(&mut batch) {
            Ran::AsFarAsItGoes => return self.answer_batch(batch),
            Ran::Waits => return self.postponed.push(batch),
            Ran::Needs => {}
            Ran::IsLeft => unreachable!("the shard's own thread leaves nothing"),
        }
        let slots = batch.slots(batch.done);
        let places: SmallVec<[Place; 8]> = slots.iter().map(|slot| self.locate(*slot)).collect();
        if places.iter().any(|place| matches!(place, Place::Shard(_))) {
            self.answer_batch(batch);
        } else if places.contains(&Place::OnItsWay) {
            self.send(self.id, Message::Batch(batch));
        } else if let [slot] = slots {
            self.park(*slot, Parked::Batch(batch));
        } else {
            self.park_for_all(slots.into(), Parked::Batch(batch));
        }
    }

    /// Goes on with the batches that waited for memory while others had their turns.
    pub(crate) fn resume_postponed(&mut self) {
        for batch in std::mem::take(&mut self.postponed) {
            self.send(self.id, Message::Batch(batch));
        }
    }

    /// Executes the next commands of a batch: all, or until there are enough replies to be sent, or
    /// the next one needs a slot that is not here, or memory that is not there yet.
    fn run_batch(&mut self, batch: &mut RemoteBatch) -> Ran {
        self.begin_batch(batch.caller.client);
        let mut reply = Reply::new(batch.caller.protocol);
        reply.resume(std::mem::take(&mut batch.replies));
        let mut loaded = 0;
        while let Some(next) = batch.commands.get(batch.done).copied() {
            let is_here = if next.is_wide() {
                batch.slots(batch.done).iter().all(|slot| self.has(*slot))
            } else {
                self.has(next.slot)
            };
            if !is_here {
                batch.replies = reply.take();
                return Ran::Needs;
            }
            if self.postpones(next.command) {
                batch.replies = reply.take();
                return Ran::Waits;
            }
            if batch.done >= loaded {
                loaded = self.load_some(batch);
            }
            let start = reply.len();
            let args = batch.args(batch.done);
            if next.is_wide() {
                let (slots, caller) = (batch.slots(batch.done), batch.caller);
                self.execute_slots(next.command, slots, next.slot, args, caller, &mut reply);
            } else {
                let routed = batch.routed(batch.done);
                self.execute_routed(next.command, routed, args, batch.caller, &mut reply);
            }
            if std::mem::take(&mut self.left) {
                batch.replies = reply.take();
                return Ran::IsLeft;
            }
            self.count_guest(next.slot);
            debug_assert!(self.blocked.is_none(), "blocking commands do not travel in batches");
            if reply.contiguous().is_none() {
                batch.long_reply = Some(reply.split_off(start));
            }
            batch.ends.push(reply.len());
            batch.done += 1;
            if !self.ready.is_empty() {
                self.serve_ready();
            }
            if reply.len() > REPLY_BYTES || batch.long_reply.is_some() {
                // Long replies take time and memory: the connection sends these first.
                break;
            }
        }
        batch.replies = reply.take();
        Ran::AsFarAsItGoes
    }

    /// Executes a batch of this shard's connection on the shard `of`, if all its commands are of
    /// constant cost and the shard is free. False: it has to be sent there. What turns out to take
    /// long, and what is behind it, is left undone: its connection sends it.
    pub(crate) fn run_on_behalf(&mut self, of: ShardId, batch: &mut RemoteBatch) -> bool {
        let is_constant = batch.commands.len() <= ON_BEHALF_MAX
            && batch.bytes.len() <= SHORT_BYTES_MAX
            && (0..batch.commands.len())
                .all(|at| batch.commands[at].command.is_constant(batch.args(at).len()));
        if !is_constant {
            return false;
        }
        let ran = self.on_behalf(of, |other| {
            other.on_behalf = true;
            other.run_batch(batch);
            other.on_behalf = false;
        });
        ran.is_some()
    }

    /// Has loaded what the next commands of a batch will read; returns for how many of all.
    fn load_some(&self, batch: &RemoteBatch) -> usize {
        let end = batch.commands.len().min(batch.done + AHEAD_MAX);
        let next = &batch.commands[batch.done..end];
        next.iter().for_each(|command| self.load_box(command.slot));
        self.load_keys(
            batch.caller.db,
            next.iter().map(|command| (command.slot, command.routed.hash)),
        );
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
    pub(crate) fn batch_done(&mut self, mut batch: Box<RemoteBatch>) {
        self.spares.count_batch(&mut batch);
        let token = batch.token;
        if let Some(Outcome::Batch(batch)) = self.waits.complete(token, Outcome::Batch(batch)) {
            self.spares.keep_batch(batch);
        }
    }
}
