//! What the connections of a shard wait for: answers from other shards, slots for a
//! transaction, keys.

use std::task::{Poll, Waker};

use super::message::{Hold, RemoteBatch};
use crate::node::blocked::Token;

/// What a wait ends with.
pub(crate) enum Outcome {
    /// A batch as far as another shard executed it.
    Batch(Box<RemoteBatch>),
    /// All slots of a transaction.
    Held(Box<Hold>),
    /// The reply to a blocked command; empty if its cancellation was confirmed.
    Unblocked(Vec<u8>),
}

#[derive(Default)]
struct Wait {
    generation: u32,
    used: bool,
    outcome: Option<Outcome>,
    waker: Option<Waker>,
}

/// The open waits of a shard. At most a few per connection.
#[derive(Default)]
pub(crate) struct Waits {
    cells: Vec<Wait>,
    free: Vec<u32>,
}

impl Waits {
    /// Begins a wait.
    pub(crate) fn open(&mut self) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.cells.push(Wait::default());
            u32::try_from(self.cells.len() - 1).expect("fewer waits than connections allow")
        });
        let cell = &mut self.cells[index as usize];
        cell.used = true;
        Token { index, generation: cell.generation }
    }

    /// Ends a wait: the outcome, if it has come and nobody has taken it.
    pub(crate) fn close(&mut self, token: Token) -> Option<Outcome> {
        let cell = &mut self.cells[token.index as usize];
        if cell.generation != token.generation || !cell.used {
            return None;
        }
        let next = Wait { generation: token.generation.wrapping_add(1), ..Wait::default() };
        self.free.push(token.index);
        std::mem::replace(cell, next).outcome
    }

    /// Delivers the outcome and wakes the connection. Gives the outcome back if nobody waits
    /// for it any more.
    pub(crate) fn complete(&mut self, token: Token, outcome: Outcome) -> Option<Outcome> {
        let cell = &mut self.cells[token.index as usize];
        if cell.generation != token.generation || !cell.used {
            return Some(outcome);
        }
        cell.outcome = Some(outcome);
        if let Some(waker) = cell.waker.take() {
            waker.wake();
        }
        None
    }

    /// The outcome, once it is there; then the wait is over.
    pub(crate) fn poll(&mut self, token: Token, waker: &Waker) -> Poll<Outcome> {
        let cell = &mut self.cells[token.index as usize];
        debug_assert_eq!(cell.generation, token.generation);
        if let Some(outcome) = cell.outcome.take() {
            self.close(token);
            return Poll::Ready(outcome);
        }
        if !cell.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
            cell.waker = Some(waker.clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_outcome_is_given_back() {
        let mut waits = Waits::default();
        let token = waits.open();
        waits.close(token);
        let again = waits.open();
        assert_eq!(again.index, token.index);
        assert!(waits.complete(token, Outcome::Unblocked(Vec::new())).is_some());
        assert!(waits.complete(again, Outcome::Unblocked(Vec::new())).is_none());
        assert!(waits.poll(again, Waker::noop()).is_ready());
    }
}
