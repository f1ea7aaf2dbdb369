//! A shard: one thread, the slots it owns, the connections it serves.
//!
//! Everything in [`ShardState`] belongs to one thread, whose tasks hold it for the length of one
//! batch and never across an `await`. Other threads reach it through the mailbox; for a
//! command of constant cost they may find it at [`home`].

pub(crate) mod borrowing;
pub(crate) mod buffers;
pub(crate) mod cron;
pub(crate) mod execute;
pub(crate) mod gather;
pub(crate) mod hand_over;
pub(crate) mod home;
pub(crate) mod lending;
pub(crate) mod lookahead;
pub(crate) mod mailbox;
pub(crate) mod message;
pub(crate) mod pace;
pub(crate) mod places;
pub(crate) mod prefetch;
pub(crate) mod serve_blocked;
pub(crate) mod shared;
pub(crate) mod thread;
pub(crate) mod waits;

#[cfg(test)]
mod model;
#[cfg(test)]
mod protocol;

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use self::buffers::{Buffers, Spares};
use self::home::{Guard, Home, Resident};
use self::lending::Parked;
use self::lookahead::Lookahead;
use self::message::{Message, Purpose, RemoteBatch};
use self::places::Places;
use self::prefetch::Foreseen;
use self::shared::Shared;
use self::waits::Waits;
use crate::commands::table::{Command, Name};
use crate::engine::Engine;
use crate::engine::slot::Slot;
use crate::ids::ShardId;
use crate::node::blocked::{Caller, Token};
use crate::node::counters::ShardCounters;
pub(crate) use crate::node::sync;

/// The handle that the tasks of a shard's thread share.
pub(crate) struct Shard {
    /// Which one.
    pub(crate) id: ShardId,
    /// What all threads of the process share.
    pub(crate) shared: Arc<Shared>,
    home: Arc<Home<ShardState>>,
    /// While a task of the thread holds the state.
    borrowed: RefCell<()>,
    /// Counters that other threads may read.
    pub(crate) counters: Arc<ShardCounters>,
    /// Buffers that no connection is using.
    pub(crate) buffers: Buffers,
    /// What the task of a connection takes, buffers apart.
    pub(crate) connection_task_bytes: Cell<u64>,
}

impl Shard {
    pub(crate) fn new(id: ShardId, shared: Arc<Shared>) -> Shard {
        let home = Arc::clone(&shared.homes[id.index()]);
        home.settle(ShardState::new(id, Arc::clone(&shared)));
        let counters = Arc::clone(&shared.counters[id.index()]);
        let buffers = Buffers::new(Arc::clone(&counters));
        let connection_task_bytes = Cell::default();
        let borrowed = RefCell::default();
        Shard { id, shared, home, borrowed, counters, buffers, connection_task_bytes }
    }

    /// The state, for the length of one batch.
    #[inline]
    pub(crate) fn state(&self) -> Guard<'_, ShardState> {
        self.home.lock(&self.borrowed)
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        // It has its part of what all share, where its home is.
        self.home.vacate();
    }
}

/// What a shard's thread owns: the engine of its slots, and how it deals with other shards. It
/// stands for the engine as well.
pub(crate) struct ShardState {
    /// What happens inside the slots.
    pub(crate) engine: Engine,
    /// What all shards' threads share.
    pub(crate) shared: Arc<Shared>,
    /// Where its slots are, and what waits for those that are away.
    pub(crate) places: Places<Parked, Box<Slot>, Purpose>,
    /// As its mailbox knows: something waits for boxes to come back.
    expects_returns: bool,
    /// What has waited is going on right now.
    goes_on: bool,
    /// Batches of other shards' connections that wait for memory.
    #[allow(clippy::vec_box, reason = "the boxes travel in messages")]
    pub(crate) postponed: Vec<Box<RemoteBatch>>,
    /// What this thread's connections wait for.
    pub(crate) waits: Waits,
    /// The last command that was looked up: batches repeat themselves.
    pub(crate) last_command: Option<&'static Command>,
    /// Cron's place in its rounds.
    pub(crate) cron: cron::CronState,
    /// What batches to other shards have left for the next ones.
    pub(crate) spares: Spares,
    /// The commands that the running batch has looked at but not executed; empty between batches.
    pub(crate) lookahead: Option<Box<Lookahead>>,
    /// What the commands will read that connections have received and are about to execute.
    pub(crate) foreseen: Foreseen,
}

impl Resident for ShardState {
    #[inline(always)]
    fn let_go(&mut self) {
        self.engine.publish_bytes();
    }
}

impl Deref for ShardState {
    type Target = Engine;

    #[inline(always)]
    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl DerefMut for ShardState {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }
}

impl ShardState {
    fn new(id: ShardId, shared: Arc<Shared>) -> ShardState {
        let commands = crate::commands::table().count();
        ShardState {
            engine: Engine::new(id, Arc::clone(&shared.node), commands),
            places: Places::new(id),
            expects_returns: false,
            goes_on: false,
            postponed: Vec::new(),
            waits: Waits::default(),
            last_command: None,
            cron: cron::CronState::default(),
            spares: Spares::new(Arc::clone(&shared.counters[id.index()])),
            lookahead: None,
            foreseen: Foreseen::default(),
            shared,
        }
    }

    /// Sends to another shard's mailbox, or to the own one. The effects of what has been done go
    /// first: the message may bring an answer.
    pub(crate) fn send(&mut self, to: ShardId, message: Message) {
        self.engine.send_effects();
        self.shared.mailboxes[to.index()].push(message);
    }

    /// Does something of constant cost on the state of another shard, if its thread does not use
    /// it. What has been sent to it comes first: if that is waiting, nothing is done.
    #[inline]
    pub(crate) fn on_behalf<R>(
        &self,
        of: ShardId,
        work: impl FnOnce(&mut ShardState) -> R,
    ) -> Option<R> {
        let mailbox = &self.shared.mailboxes[of.index()];
        let visit = |other: &mut ShardState| mailbox.is_empty().then(|| work(other));
        let done = self.shared.homes[of.index()].visit(visit).flatten();
        self.counters.on_behalf.add(u64::from(done.is_some()));
        done
    }

    /// The command called `name`.
    #[inline(always)]
    pub(crate) fn find_command(&mut self, name: &[u8]) -> Option<&'static Command> {
        let packed = Name::of(name);
        match self.last_command {
            Some(last) if last.is_named(packed) => Some(last),
            _ => {
                let found = crate::commands::table().find(name)?;
                self.last_command = Some(found);
                Some(found)
            }
        }
    }

    /// An empty batch for another shard.
    pub(crate) fn spare_batch(&mut self, token: Token, caller: Caller) -> Box<RemoteBatch> {
        match self.spares.batch() {
            Some(mut batch) => {
                batch.token = token;
                batch.caller = caller;
                batch
            }
            None => Box::new(RemoteBatch::new(self.id, token, caller)),
        }
    }
}
