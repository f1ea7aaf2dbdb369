//! How the tasks of a shard's thread wait: for answers of other shards, and for all slots of a
//! transaction.

use std::future::poll_fn;

use smallvec::SmallVec;

use super::message::{Borrow, Purpose};
use super::waits::Outcome;
use super::{Shard, ShardState};
use crate::ids::ClientId;
use crate::node::blocked::Token;

/// Slots of a command or a transaction: ascending, without repeats.
pub(crate) type Slots = SmallVec<[u16; 8]>;

impl Shard {
    /// Runs `work` for `client` when the boxes of all `slots` are on this shard, and sends them
    /// back.
    pub(crate) async fn with_slots<R>(
        &self,
        client: ClientId,
        slots: Slots,
        reason: &'static str,
        work: impl FnOnce(&mut ShardState, &[u16]) -> R,
    ) -> R {
        {
            let mut state = self.state();
            if slots.iter().all(|slot| state.has(*slot)) {
                state.begin_batch(client);
                let result = work(&mut state, &slots);
                state.serve_ready();
                return result;
            }
        }
        let borrow = self.borrow(slots.clone(), reason).await;
        let mut state = self.state();
        state.begin_batch(client);
        let loaded = state.load(borrow);
        let result = work(&mut state, &slots);
        state.serve_loaded();
        state.unload(loaded);
        state.serve_ready();
        result
    }

    /// Fetches the boxes of `slots` from wherever they are.
    pub(crate) async fn borrow(&self, want: Slots, reason: &'static str) -> Borrow {
        let token = {
            let mut state = self.state();
            let token = state.waits.open();
            state.counters.borrows.add(1);
            let purpose = Purpose::Connection(token);
            let borrow = Borrow { origin: state.id, purpose, want, got: Vec::new(), reason };
            state.continue_borrow(Box::new(borrow));
            token
        };
        match self.outcome(token).await {
            Outcome::Borrowed(borrow) => *borrow,
            Outcome::Batch(_) | Outcome::Unblocked(_) => {
                unreachable!("a wait for slots ends with slots")
            }
        }
    }

    /// Frees what has been removed, if a command that was just carried out promises that: in
    /// slices, between which the thread serves others.
    pub(crate) async fn free_if_asked(&self) {
        if !std::mem::take(&mut self.state().reply_when_freed) {
            return;
        }
        while self.state().free_slice() {
            tokio::task::yield_now().await;
        }
    }

    /// Waits for the outcome of `token`.
    pub(crate) async fn outcome(&self, token: Token) -> Outcome {
        poll_fn(|context| self.state().waits.poll(token, context.waker())).await
    }
}
