//! A shard: one thread, the slots it owns, the connections it serves.
//!
//! Everything in [`ShardState`] belongs to one thread, whose tasks hold it for the length of one
//! batch and never across an `await`. Other threads reach it through the mailbox; for a quick
//! command they may find it at [`home`].

pub(crate) mod borrowing;
pub(crate) mod buffers;
pub(crate) mod cron;
pub(crate) mod execute;
pub(crate) mod hand_over;
pub(crate) mod home;
pub(crate) mod lending;
pub(crate) mod mailbox;
pub(crate) mod message;
pub(crate) mod prefetch;
pub(crate) mod rest;
pub(crate) mod serve_blocked;
pub(crate) mod shared;
pub(crate) mod thread;
pub(crate) mod waits;

#[cfg(test)]
mod model;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod simulation;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use ahash::AHashMap;
use ballast_protocol::slot::SLOTS;
use ballast_storage::types::Limits;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use self::buffers::Buffers;
use self::hand_over::HandOverTimes;
use self::home::{Guard, Home};
use self::lending::Lent;
use self::message::{Caller, Message, RemoteBatch, Token};
use self::prefetch::Foreseen;
use self::rest::Rest;
use self::waits::Waits;
use crate::commands::context::BlockOn;
use crate::commands::table::{Command, Name};
use crate::config::Config;
use crate::connection::ahead::Ahead;
use crate::engine::slot::Slot;
use crate::engine::statistics::Statistics;
use crate::ids::{ClientId, ShardId};
use crate::node::counters::ShardCounters;
use crate::node::router::initial_owner;
pub(crate) use crate::node::sync;
use crate::shard::shared::Shared;

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
    /// When it rests; shared with what its runtime does before it sleeps.
    pub(crate) rest: Arc<Rest>,
}

impl Shard {
    pub(crate) fn new(id: ShardId, shared: Arc<Shared>) -> Shard {
        let home = Arc::clone(&shared.homes[id.index()]);
        home.settle(ShardState::new(id, Arc::clone(&shared)));
        let counters = Arc::clone(&shared.counters[id.index()]);
        let (buffers, rest) = (Buffers::default(), Arc::default());
        Shard { id, shared, home, borrowed: RefCell::default(), counters, buffers, rest }
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

/// What a shard's thread owns.
pub(crate) struct ShardState {
    /// Which shard this is.
    pub(crate) id: ShardId,
    /// What all threads of the process share.
    pub(crate) shared: Arc<Shared>,
    /// The configuration as of the last `CONFIG SET` that reached this shard.
    pub(crate) config: Arc<Config>,
    /// Which version of it.
    pub(crate) config_version: u64,
    /// The limits of the small encodings, from the configuration.
    pub(crate) limits: Limits,
    /// The boxes that are here: owned, or borrowed by the transaction that is running.
    pub(crate) slots: Box<[Option<Box<Slot>>]>,
    /// Owned slots that are travelling with a transaction, and what waits for their return.
    pub(crate) lent: AHashMap<u16, Lent>,
    /// How much of that there is, over all of them.
    parked: usize,
    /// Bytes of the owned slots that are here.
    pub(crate) slots_bytes: u64,
    /// Counters that other threads may read.
    pub(crate) counters: Arc<ShardCounters>,
    /// What this thread's connections wait for.
    pub(crate) waits: Waits,
    /// Slots with keys that got something a blocked command may take.
    pub(crate) ready: VecDeque<u16>,
    /// Statistics of commands, and the slow log.
    pub(crate) statistics: Statistics,
    /// What its hand-overs took, if there were any.
    pub(crate) hand_over_times: Option<Box<HandOverTimes>>,
    /// Set by a handler whose caller is to wait instead of getting a reply.
    pub(crate) blocked: Option<BlockOn>,
    /// The last command that was looked up: batches repeat themselves.
    pub(crate) last_command: Option<&'static Command>,
    /// The eviction policy counts uses instead of remembering the last.
    pub(crate) counts_uses: bool,
    /// Whose command is running.
    pub(crate) running: ClientId,
    /// Unix milliseconds, as of the batch that is being executed.
    pub(crate) now_ms: i64,
    /// For sampling; seeded per shard.
    pub(crate) random: SmallRng,
    /// The clock for `OBJECT IDLETIME` and eviction, in the unit of the entries' 24 bits.
    pub(crate) lru_clock: u32,
    /// Bytes that the owned slots may take before something has to give; `u64::MAX`: no limit.
    pub(crate) limit_bytes: u64,
    /// Freed in slices.
    pub(crate) garbage: ballast_storage::Garbage,
    /// Set by a handler whose caller gets the reply when all of `garbage` is freed.
    pub(crate) reply_when_freed: bool,
    /// Changes of the data set since the start.
    pub(crate) dirty: u64,
    /// Sub-sampling of the CPU clock.
    pub(crate) sample: u32,
    /// Cron's place in its rounds.
    pub(crate) cron: cron::CronState,
    /// Spare boxes for batches to other shards.
    #[allow(clippy::vec_box, reason = "the boxes travel in messages")]
    pub(crate) spare_batches: Vec<Box<RemoteBatch>>,
    /// The commands that the running batch has looked at but not executed; empty between batches.
    pub(crate) ahead: Option<Box<Ahead>>,
    /// What the commands will read that connections have received and are about to execute.
    pub(crate) foreseen: Foreseen,
}

/// Spare batches kept per shard.
const SPARE_BATCHES_MAX: usize = 64;
/// Those with more arguments or replies are not kept.
const SPARE_BATCH_BYTES_MAX: usize = 64 << 10;

impl ShardState {
    fn new(id: ShardId, shared: Arc<Shared>) -> ShardState {
        let shards = shared.shards();
        let slots = (0..SLOTS)
            .map(|slot| (initial_owner(slot, shards) == id).then(Box::<Slot>::default))
            .collect();
        ShardState {
            id,
            limits: crate::commands::limits(&shared.config.load()),
            config: shared.config.load(),
            config_version: 0,
            counters: Arc::clone(&shared.counters[id.index()]),
            slots,
            lent: AHashMap::new(),
            parked: 0,
            slots_bytes: 0,
            waits: Waits::default(),
            ready: VecDeque::new(),
            statistics: Statistics::new(crate::commands::table().count()),
            hand_over_times: None,
            blocked: None,
            last_command: None,
            counts_uses: false,
            running: ClientId(0),
            now_ms: shared.clock.wall_ms(),
            random: SmallRng::seed_from_u64(shared.seed ^ u64::from(id.0)),
            lru_clock: ballast_storage::eviction::lru_clock(shared.clock.wall_ms()),
            limit_bytes: u64::MAX,
            garbage: ballast_storage::Garbage::default(),
            reply_when_freed: false,
            dirty: 0,
            sample: 0,
            cron: cron::CronState::default(),
            spare_batches: Vec::new(),
            ahead: None,
            foreseen: Foreseen::default(),
            shared,
        }
    }

    /// The slot's box, if it is here. No slot at all is nowhere.
    #[inline(always)]
    pub(crate) fn slot(&self, slot: u16) -> Option<&Slot> {
        self.slots.get(usize::from(slot))?.as_deref()
    }

    /// Whether the slot's box is here.
    #[inline(always)]
    pub(crate) fn has(&self, slot: u16) -> bool {
        self.slots[usize::from(slot)].is_some()
    }

    /// Sends to another shard's mailbox, or to the own one.
    pub(crate) fn send(&self, to: ShardId, message: Message) {
        self.shared.mailboxes[to.index()].push(message);
    }

    /// Does something quick on the state of another shard, if its thread does not use it. What has
    /// been sent to it comes first: if that is waiting, nothing is done.
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

    /// Reads the clocks for the batch that begins.
    pub(crate) fn tick(&mut self) {
        self.now_ms = self.shared.clock.wall_ms();
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
        match self.spare_batches.pop() {
            Some(mut batch) => {
                batch.token = token;
                batch.caller = caller;
                batch
            }
            None => Box::new(RemoteBatch::new(self.id, token, caller)),
        }
    }

    /// Bytes of the empty batches that are kept.
    pub(crate) fn spare_bytes(&self) -> u64 {
        self.spare_batches.iter().map(|batch| batch.heap_bytes() as u64).sum()
    }

    /// Keeps the memory of a batch for the next one.
    pub(crate) fn recycle(&mut self, mut batch: Box<RemoteBatch>) {
        if self.spare_batches.len() < SPARE_BATCHES_MAX
            && batch.bytes.capacity().max(batch.replies.capacity()) <= SPARE_BATCH_BYTES_MAX
        {
            batch.clear();
            self.spare_batches.push(batch);
        }
    }
}
