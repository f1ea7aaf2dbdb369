//! Connections blocked on keys (`BLPOP` and its like): they wait in the slot, in the order in
//! which they came, and ride along when the slot moves.
//!
//! A blocked command is not kept half done: when one of its keys gets something to take, the
//! command is simply executed again on behalf of the waiting connection.

use std::collections::VecDeque;
use std::sync::Arc;

use ahash::AHashMap;

use crate::node::blocked::Waiter;

/// How a command that found nothing to take wants to wait.
#[derive(Debug)]
pub(crate) struct BlockOn {
    /// The positions of the keys among the arguments.
    pub(crate) keys: Vec<usize>,
    /// In milliseconds; 0: for ever.
    pub(crate) timeout_ms: u64,
    /// What to reply when the time is over.
    pub(crate) on_timeout: OnTimeout,
}

/// The reply to a blocked command whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnTimeout {
    /// `*-1` (or RESP3 null).
    NullArray,
    /// `$-1` (or RESP3 null).
    Null,
}

/// The blocked commands of one slot, by key. One null pointer when there are none.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Option<Box<Queues>>);

#[derive(Debug, Default)]
struct Queues {
    by_key: AHashMap<(u8, Vec<u8>), VecDeque<Waiter>>,
    /// Keys that got something to take and have not been served yet. They travel with the slot.
    ready: VecDeque<(u8, Vec<u8>)>,
    /// Keys whose first waiter gets what is there as soon as its other slots are fetched.
    reserved: Vec<(u8, Vec<u8>)>,
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

    /// Keeps what `key` has for its first waiter: nobody else who waits, or would, is served.
    pub(crate) fn reserve(&mut self, db: u8, key: &[u8]) {
        if let Some(queues) = &mut self.0 {
            queues.reserved.push((db, key.to_vec()));
        }
    }

    /// Ends [`Self::reserve`].
    pub(crate) fn end_reservation(&mut self, db: u8, key: &[u8]) {
        if let Some(queues) = &mut self.0 {
            queues.reserved.retain(|(in_db, reserved)| *in_db != db || reserved != key);
        }
    }

    /// Whether what `key` has is kept for a waiter.
    #[inline]
    pub(crate) fn is_reserved(&self, db: u8, key: &[u8]) -> bool {
        let is_it = |reserved: &(u8, Vec<u8>)| reserved.0 == db && reserved.1 == key;
        self.0.as_ref().is_some_and(|queues| queues.reserved.iter().any(is_it))
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
    use ballast_protocol::{ArgsBuf, Protocol};

    use super::*;
    use crate::ids::{ClientId, CommandId, ShardId};
    use crate::node::blocked::{Blocked, Caller, Cancelled, Token, WaitKey, WaitState};

    fn waiter() -> Waiter {
        let caller = Caller {
            client: ClientId(1),
            db: 0,
            protocol: Protocol::Resp2,
            may_block: true,
            no_touch: false,
        };
        let command = CommandId(0);
        let token = Token { index: 0, generation: 0 };
        let key = |at, name: &str| WaitKey { slot: 1, key: name.into(), at };
        Waiter::new(Blocked {
            state: WaitState::default(),
            origin: ShardId(0),
            token,
            caller,
            command,
            args: ArgsBuf::new(["BLPOP", "j", "k", "0"]),
            keys: vec![key(1, "j"), key(2, "k")],
            others: smallvec::SmallVec::new(),
            count_at: None,
        })
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
    fn a_ready_key_is_all_that_the_command_sees() {
        let waiter = waiter();
        let args = waiter.0.args_for(b"k");
        let words: Vec<&[u8]> = args.view().iter().collect();
        assert_eq!(words, [b"BLPOP".as_slice(), b"k", b"0"]);
        assert_eq!(waiter.0.slots_for(7).as_slice(), [7]);
    }

    #[test]
    fn what_is_reserved_stays_so_until_it_ends() {
        let mut waiters = Waiters::default();
        waiters.push(0, b"k", waiter());
        waiters.reserve(0, b"k");
        assert!(waiters.is_reserved(0, b"k") && !waiters.is_reserved(1, b"k"));
        waiters.end_reservation(0, b"k");
        assert!(!waiters.is_reserved(0, b"k"));
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
