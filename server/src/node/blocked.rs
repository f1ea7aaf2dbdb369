//! A blocked command, as its connection, the slots of its keys and whoever ends its wait share it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use ballast_protocol::{ArgsBuf, Protocol};
use smallvec::SmallVec;

use crate::ids::{ClientId, CommandId, ShardId};

/// Names what a connection waits for, on the connection's own shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Token {
    /// Position among the shard's waits.
    pub(crate) index: u32,
    /// Tells two waits at one position apart.
    pub(crate) generation: u32,
}

/// The parts of a session that a command needs on another shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// Who.
    pub(crate) client: ClientId,
    /// Selected database.
    pub(crate) db: u8,
    /// Version of the replies.
    pub(crate) protocol: Protocol,
    /// The command may block (not inside a transaction).
    pub(crate) may_block: bool,
    /// `CLIENT NO-TOUCH`: reads leave the LRU clock of the key alone.
    pub(crate) no_touch: bool,
}

/// A blocked command.
#[derive(Clone)]
pub(crate) struct Waiter(pub(crate) Arc<Blocked>);

/// What a [`Waiter`] waits with; shared by the slots of all its keys and by its connection.
pub(crate) struct Blocked {
    pub(crate) state: WaitState,
    /// Connection's shard.
    pub(crate) origin: ShardId,
    /// What the connection waits for there.
    pub(crate) token: Token,
    /// On whose behalf to execute.
    pub(crate) caller: Caller,
    /// The command.
    pub(crate) command: CommandId,
    /// Its arguments.
    pub(crate) args: ArgsBuf,
    /// The keys it waits for.
    pub(crate) keys: Vec<WaitKey>,
    /// The slots of its other keys, ascending: it needs them as well, whichever key is ready.
    pub(crate) others: SmallVec<[u16; 2]>,
    /// The argument that says how many keys there are, if one does.
    pub(crate) count_at: Option<usize>,
}

/// How far a wait is.
#[derive(Debug, Default)]
pub(crate) struct WaitState(AtomicU8);

/// A key that a blocked command waits for.
#[derive(Clone, Debug)]
pub(crate) struct WaitKey {
    /// Its slot.
    pub(crate) slot: u16,
    /// Its name.
    pub(crate) key: Vec<u8>,
    /// Its position among the arguments.
    pub(crate) at: usize,
}

impl Blocked {
    /// The slots that it needs when a key in `slot` is ready, ascending.
    pub(crate) fn slots_for(&self, slot: u16) -> SmallVec<[u16; 8]> {
        let mut slots: SmallVec<[u16; 8]> = self.others.iter().copied().collect();
        if let Err(place) = slots.binary_search(&slot) {
            slots.insert(place, slot);
        }
        slots
    }

    /// The command as it is executed when `key` is ready: as if that were the only one of the keys
    /// that it waits for, as in Redis.
    pub(crate) fn args_for(&self, key: &[u8]) -> Cow<'_, ArgsBuf> {
        let first = self.keys.iter().find(|wait| wait.key == key);
        let (Some(ready), 2..) = (first, self.keys.len()) else {
            return Cow::Borrowed(&self.args);
        };
        let args = self.args.view();
        let count = self.count_at;
        let is_other = |at: usize| at != ready.at && self.keys.iter().any(|wait| wait.at == at);
        let kept = (0..args.len()).filter(|at| !is_other(*at));
        let one: &[u8] = b"1";
        Cow::Owned(ArgsBuf::new(kept.map(|at| if Some(at) == count { one } else { args.at(at) })))
    }
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Waiter({} for {})", self.0.command, self.0.caller.client)
    }
}

const WAITING: u8 = 0;
/// A shard is executing the command right now.
const TRYING: u8 = 1;
/// Somebody wants to end the wait while a shard is trying.
const TRYING_CANCELLED: u8 = 2;
const DONE: u8 = 3;

/// How a try to end a wait came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancelled {
    /// The wait is over: nobody will send a reply.
    Now,
    /// A shard is executing the command: it will send the reply, or, if there is still nothing
    /// to take, an empty message that confirms the end of the wait.
    Confirmed,
    /// The reply is on its way.
    TooLate,
}

impl Waiter {
    pub(crate) fn new(blocked: Blocked) -> Waiter {
        Waiter(Arc::new(blocked))
    }

    /// Claims the right to execute the command.
    pub(crate) fn claim(&self) -> bool {
        self.change(WAITING, TRYING)
    }

    /// The command has been executed: its reply is sent.
    pub(crate) fn finish(&self) {
        self.0.state.0.store(DONE, Ordering::Release);
    }

    /// There was nothing to take after all. True: it goes on waiting; false: the wait was
    /// cancelled meanwhile, and the connection has to be told.
    pub(crate) fn release(&self) -> bool {
        self.change(TRYING, WAITING) || {
            self.finish();
            false
        }
    }

    /// Ends the wait from the connection's side: timeout, `CLIENT UNBLOCK`, disconnect.
    pub(crate) fn cancel(&self) -> Cancelled {
        loop {
            if self.change(WAITING, DONE) {
                return Cancelled::Now;
            }
            if self.change(TRYING, TRYING_CANCELLED) {
                return Cancelled::Confirmed;
            }
            // Somebody else's cancellation may wait for a message to this very thread, so there
            // is no waiting for it here: its outcome is on its way, too.
            if matches!(self.0.state.0.load(Ordering::Acquire), DONE | TRYING_CANCELLED) {
                return Cancelled::TooLate;
            }
        }
    }

    /// Whether the wait is over, so that a slot may forget it.
    pub(crate) fn is_done(&self) -> bool {
        self.0.state.0.load(Ordering::Acquire) == DONE
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.0.state.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}
