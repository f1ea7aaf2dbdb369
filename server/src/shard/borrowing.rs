//! How the tasks of a shard's thread wait: for answers of other shards, and for all slots of a
//! transaction.

use std::future::poll_fn;

use ballast_protocol::slot::SLOTS;

use super::message::{Hold, Purpose};
pub(crate) use super::places::{Slots, Want};
use super::waits::Outcome;
use super::{Shard, ShardState};
use crate::commands::gather::{After, AllSlotsWork, SlicedWork};
use crate::ids::ClientId;
use crate::node::blocked::Token;

impl Shard {
    /// Runs `work` for `client` when the boxes of all `slots` are on this shard, and sends them
    /// back.
    pub(crate) async fn with_slots<R>(
        &self,
        client: ClientId,
        want: Want,
        reason: &'static str,
        work: impl FnOnce(&mut ShardState) -> R,
    ) -> R {
        {
            let mut state = self.state();
            if state.has_all(&want) {
                state.begin_batch(client);
                let result = work(&mut state);
                state.serve_ready();
                return result;
            }
        }
        let mut hold = self.hold(want, reason).await;
        let mut state = self.state();
        state.begin_batch(client);
        let loaded = state.load(&mut hold);
        let result = work(&mut state);
        state.serve_loaded();
        state.unload(loaded);
        state.serve_ready();
        result
    }

    /// Fetches the boxes of the slots from wherever they are.
    pub(crate) async fn hold(&self, want: Want, reason: &'static str) -> Hold {
        let token = {
            let mut state = self.state();
            let token = state.waits.open();
            let hold = Hold::new(state.id, want, reason, Purpose::Connection(token));
            state.begin_hold(Box::new(hold));
            token
        };
        match self.outcome(token).await {
            Outcome::Held(hold) => *hold,
            Outcome::Batch(_) | Outcome::Unblocked(_) => {
                unreachable!("a wait for slots ends with slots")
            }
        }
    }

    /// Does `work` when all slots are here; then they go home, or stay with this task until the
    /// server ends.
    pub(crate) async fn hold_all(&self, reason: &'static str, work: AllSlotsWork) {
        let mut hold = self.hold(Want::All, reason).await;
        let after = {
            let mut state = self.state();
            state.begin_batch(ClientId(0));
            let loaded = state.load(&mut hold);
            let after = work(&mut *state);
            match after {
                After::GiveBack => {
                    state.serve_loaded();
                    state.unload(loaded);
                    state.serve_ready();
                }
                After::Keep => state.stash(loaded, &mut hold),
            }
            after
        };
        if after == After::Keep {
            std::future::pending::<()>().await;
        }
    }

    /// Does a slice of `work` when all slots are here, and the next after others have had their
    /// turn, to its end; then the slots go home.
    pub(crate) async fn hold_all_in_slices(&self, reason: &'static str, mut work: SlicedWork) {
        let mut hold = self.hold(Want::All, reason).await;
        loop {
            {
                let mut state = self.state();
                state.begin_batch(ClientId(0));
                let loaded = state.load(&mut hold);
                if !work(&mut *state) {
                    state.serve_loaded();
                    state.unload(loaded);
                    state.serve_ready();
                    return;
                }
                state.stash(loaded, &mut hold);
            }
            tokio::task::yield_now().await;
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

impl ShardState {
    /// Whether the boxes of all these slots are here.
    pub(crate) fn has_all(&self, want: &Want) -> bool {
        match want {
            Want::Slots(slots) => slots.iter().all(|slot| self.has(*slot)),
            Want::All => self.boxes().count() == usize::from(SLOTS),
        }
    }
}
