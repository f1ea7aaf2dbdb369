//! Connections blocked on keys (`BLPOP` and its like): they wait in the slot, in the order in
//! which they came, and ride along when the slot moves.
//!
//! A blocked command is not kept half done: when one of its keys gets something to take, the
//! command is simply executed again on behalf of the waiting connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use ahash::AHashMap;
use ballast_protocol::ArgsBuf;

use crate::commands::table::Command;
use crate::ids::ShardId;
use crate::shard::message::{Caller, Token};

/// A blocked command.
#[derive(Clone)]
pub(crate) struct Waiter(pub(crate) Arc<Blocked>);

/// What a [`Waiter`] waits with; shared by the slots of all its keys and by its connection.
pub(crate) struct Blocked {
    state: AtomicU8,
    /// Connection's shard.
    pub(crate) origin: ShardId,
    /// What the connection waits for there.
    pub(crate) token: Token,
    /// On whose behalf to execute.
    pub(crate) caller: Caller,
    /// The command.
    pub(crate) command: &'static Command,
    /// Its arguments.
    pub(crate) args: ArgsBuf,
    /// All slots of the command, ascending.
    pub(crate) slots: Vec<u16>,
    /// The keys it waits for.
    pub(crate) keys: Vec<(u16, Vec<u8>)>,
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Waiter({} for {})", self.0.command.name, self.0.caller.client)
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
    pub(crate) fn new(
        origin: ShardId,
        token: Token,
        caller: Caller,
        command: &'static Command,
        args: ArgsBuf,
        slots: Vec<u16>,
        keys: Vec<(u16, Vec<u8>)>,
    ) -> Waiter {
        let state = AtomicU8::new(WAITING);
        Waiter(Arc::new(Blocked { state, origin, token, caller, command, args, slots, keys }))
    }

    /// Claims the right to execute the command.
    pub(crate) fn claim(&self) -> bool {
        self.change(WAITING, TRYING)
    }

    /// The command has been executed: its reply is sent.
    pub(crate) fn finish(&self) {
        self.0.state.store(DONE, Ordering::Release);
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
            if matches!(self.0.state.load(Ordering::Acquire), DONE | TRYING_CANCELLED) {
                return Cancelled::TooLate;
            }
        }
    }

    /// Whether the wait is over, so that a slot may forget it.
    pub(crate) fn is_done(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == DONE
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.0.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// The blocked commands of one slot, by key. One null pointer when there are none.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Option<Box<Queues>>);

#[derive(Debug, Default)]
struct Queues {
    by_key: AHashMap<(u8, Vec<u8>), VecDeque<Waiter>>,
    /// Keys that got something to take and have not been served yet. They travel with the slot.
    ready: VecDeque<(u8, Vec<u8>)>,
}

impl Waiters {
    /// Whether nobody waits in the slot.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Marks `key` as ready. True if somebody waits for it.
    pub(crate) fn mark_ready(&mut self, db: u8, key: &[u8]) -> bool {
        let Some(queues) = &mut self.0 else { return false };
        let name = (db, key.to_vec());
        if !queues.by_key.contains_key(&name) {
            return false;
        }
        if !queues.ready.contains(&name) {
            queues.ready.push_back(name);
        }
        true
    }

    /// Marks all keys with waiters as ready: something happened to the whole slot.
    pub(crate) fn mark_all_ready(&mut self) -> bool {
        let Some(queues) = &mut self.0 else { return false };
        queues.ready = queues.by_key.keys().cloned().collect();
        true
    }

    /// The first of the keys that are ready.
    pub(crate) fn take_ready(&mut self) -> Option<(u8, Vec<u8>)> {
        self.0.as_mut()?.ready.pop_front()
    }

    /// Whether a key is ready.
    pub(crate) fn has_ready(&self) -> bool {
        self.0.as_ref().is_some_and(|queues| !queues.ready.is_empty())
    }

    /// Appends `waiter` to those of `key`.
    pub(crate) fn push(&mut self, db: u8, key: &[u8], waiter: Waiter) {
        let queues = self.0.get_or_insert_default();
        queues.by_key.entry((db, key.to_vec())).or_default().push_back(waiter);
    }

    /// The first waiter of `key` from position `at` on that `wanted` accepts, and its position,
    /// after dropping those that are done.
    pub(crate) fn find(
        &mut self,
        db: u8,
        key: &[u8],
        at: usize,
        wanted: impl Fn(&Waiter) -> bool,
    ) -> Option<(usize, Waiter)> {
        let name = (db, key.to_vec());
        let queue = self.0.as_mut()?.by_key.get_mut(&name)?;
        // Those further behind are dropped when they get to the front, or by who ended them.
        while queue.front().is_some_and(Waiter::is_done) {
            queue.pop_front();
        }
        let mut from_there =
            queue.iter().enumerate().skip(at).filter(|(_, waiter)| !waiter.is_done());
        let found = from_there.find(|(_, waiter)| wanted(waiter));
        let found = found.map(|(at, waiter)| (at, waiter.clone()));
        self.forget_empty(&name);
        found
    }

    /// Forgets `waiter` on `key`.
    pub(crate) fn remove(&mut self, db: u8, key: &[u8], waiter: &Waiter) {
        let name = (db, key.to_vec());
        if let Some(queue) = self.0.as_mut().and_then(|queues| queues.by_key.get_mut(&name)) {
            // Mostly the first, which makes this constant: they are served in order.
            let at = queue.iter().position(|other| Arc::ptr_eq(&other.0, &waiter.0));
            at.map(|at| queue.remove(at));
        }
        self.forget_empty(&name);
    }

    fn forget_empty(&mut self, name: &(u8, Vec<u8>)) {
        if let Some(queues) = &mut self.0 {
            if queues.by_key.get(name).is_some_and(VecDeque::is_empty) {
                queues.by_key.remove(name);
                queues.ready.retain(|ready| ready != name);
            }
            if queues.by_key.is_empty() {
                self.0 = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ballast_protocol::Protocol;

    use super::*;
    use crate::ids::ClientId;

    fn waiter() -> Waiter {
        let caller = Caller {
            client: ClientId(1),
            db: 0,
            protocol: Protocol::Resp2,
            may_block: true,
            no_touch: false,
        };
        let command = crate::commands::table().find(b"blpop").expect("a command");
        let token = Token { index: 0, generation: 0 };
        let args = ArgsBuf::new(["BLPOP", "k", "0"]);
        Waiter::new(ShardId(0), token, caller, command, args, vec![1], vec![(1, b"k".to_vec())])
    }

    #[test]
    fn a_second_end_does_not_wait_for_the_first() {
        let waiter = waiter();
        assert!(waiter.claim());
        assert_eq!(waiter.cancel(), Cancelled::Confirmed);
        assert_eq!(waiter.cancel(), Cancelled::TooLate);
        assert!(!waiter.release(), "the connection is to be told");
        assert_eq!(waiter.cancel(), Cancelled::TooLate);
    }

    #[test]
    fn waiters_are_found_in_order_and_the_ended_are_passed_over() {
        let mut waiters = Waiters::default();
        let all: Vec<Waiter> = (0..4).map(|_| waiter()).collect();
        for one in &all {
            waiters.push(0, b"k", one.clone());
        }
        let is = |found: Option<(usize, Waiter)>, at: usize| {
            Arc::ptr_eq(&found.expect("a waiter").1.0, &all[at].0)
        };
        all[0].cancel();
        all[2].cancel();
        let (at, _) = waiters.find(0, b"k", 0, |_| true).expect("a waiter");
        assert!(is(waiters.find(0, b"k", at, |_| true), 1));
        assert!(is(waiters.find(0, b"k", at + 1, |_| true), 3));
        for one in &all {
            waiters.remove(0, b"k", one);
        }
        assert!(waiters.is_empty());
    }
}
