//! Commands whose answer several threads know a part of, and what a command may ask of threads.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;

use ballast_protocol::slot::SLOTS;
use ballast_protocol::{Args, Reply};
use tokio::sync::oneshot;

use crate::commands::session::Session;
use crate::commands::table::CommandResult;
use crate::engine::Engine;
use crate::ids::ShardId;
use crate::node::Node;
use crate::node::blocked::Waiter;
use crate::node::clients::Client;

/// The future of a gathering command.
pub(crate) type Gathered<'a> = Pin<Box<dyn Future<Output = CommandResult> + 'a>>;

/// The handler of a gathering command.
pub(crate) type Gather = for<'a> fn(Gathering<'a>, Args<'a>, &'a mut Reply) -> Gathered<'a>;

/// Work that is sent to a shard's thread.
pub(crate) type Work = Box<dyn FnOnce(&mut dyn Local) + Send>;

/// Work on all slots, and what becomes of them.
pub(crate) type AllSlotsWork = Box<dyn FnOnce(&mut dyn Local) -> After + Send>;

/// [`AllSlotsWork`] in slices, between which others have their turn: whether there is more to do.
pub(crate) type SlicedWork = Box<dyn FnMut(&mut dyn Local) -> bool + Send>;

/// What becomes of all slots after work on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// They go home.
    GiveBack,
    /// They stay where they are until the server ends, and no command reaches a key any more.
    Keep,
}

/// What work on a shard's thread sees of it: the engine, for which it also stands, and what only
/// the shard knows.
pub(crate) trait Local {
    /// What happens inside its slots.
    fn engine(&self) -> &Engine;
    /// What happens inside its slots.
    fn engine_mut(&mut self) -> &mut Engine;
    /// Owned slots that travel: which, why, and since when in monotonic milliseconds.
    fn held(&self) -> Vec<(u16, &'static str, u64)>;
    /// Hands an owned slot over to another shard. False if it is not here or travels.
    fn hand_over(&mut self, slot: u16, to: ShardId) -> bool;
    /// Ends the wait of a blocked command: nothing will be executed for it any more, and its
    /// connection goes on. False if that is too late.
    fn end_wait(&mut self, waiter: &Waiter) -> bool;
    /// Tells connections, of any shard, that something has been pushed to them.
    fn wake(&self, clients: Vec<Arc<Client>>);
}

impl<'a> Deref for dyn Local + 'a {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        self.engine()
    }
}

impl<'a> DerefMut for dyn Local + 'a {
    fn deref_mut(&mut self) -> &mut Engine {
        self.engine_mut()
    }
}

/// The shards as a task of one of their threads reaches them.
pub(crate) trait Threads {
    /// What all of them share.
    fn node(&self) -> &Arc<Node>;
    /// The task's own shard.
    fn own(&self) -> ShardId;
    /// Does `work` on the task's own shard, at once.
    fn here(&self, work: &mut dyn FnMut(&mut dyn Local));
    /// Has `work` done on another shard's thread.
    fn send(&self, to: ShardId, work: Work);
    /// Has `work` done where the box of `slot` is, in turn with the transactions that want it.
    fn visit(&self, slot: u16, work: Work);
    /// Has `work` done on the task's own shard when all slots are there. Whoever holds slots itself
    /// waits for ever.
    fn with_all_slots(&self, reason: &'static str, work: AllSlotsWork);
    /// Which shard to ask for a slot.
    fn keeper(&self, slot: u16) -> ShardId;
    /// How many messages wait for a shard.
    fn waiting(&self, shard: ShardId) -> usize;
}

/// What such a handler sees.
pub(crate) struct Gathering<'a> {
    /// The shards.
    pub(crate) threads: &'a dyn Threads,
    /// The connection.
    pub(crate) session: &'a mut Session,
    /// It is one of a transaction's commands, whose slots are held.
    pub(crate) is_inside_transaction: bool,
}

impl Gathering<'_> {
    /// What all threads share.
    pub(crate) fn node(&self) -> &Arc<Node> {
        self.threads.node()
    }

    /// Does `work` on the connection's own shard.
    pub(crate) fn here<T>(&self, work: impl FnOnce(&mut dyn Local) -> T) -> T {
        let (mut work, mut answer) = (Some(work), None);
        self.threads.here(&mut |local| answer = work.take().map(|work| work(local)));
        answer.expect("it is done at once")
    }

    /// Runs `work` on every shard's thread and collects the answers in the order of the shards.
    pub(crate) async fn each_shard<T: Send + 'static>(
        &self,
        work: impl Fn(&mut dyn Local) -> T + Clone + Send + 'static,
    ) -> Vec<T> {
        let shards = self.node().shards();
        let mut answers = Vec::with_capacity(usize::from(shards));
        for shard in 0..shards {
            answers.push(self.ask(ShardId(shard), work.clone()));
        }
        let mut collected = Vec::with_capacity(answers.len());
        for answer in answers {
            match answer {
                Answer::Here(value) => collected.push(value),
                Answer::Coming(coming) => {
                    if let Ok(value) = coming.await {
                        collected.push(value);
                    }
                }
            }
        }
        collected
    }

    /// Runs `work` where `slot` is, once no transaction holds it. `None` only if the threads are
    /// ending.
    pub(crate) async fn on_slot<T: Send + 'static>(
        &self,
        slot: u16,
        work: impl FnOnce(&mut dyn Local) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        let visit = move |local: &mut dyn Local| {
            local.tick();
            // Whoever asked may have given up.
            let _ = sender.send(done(work, local));
        };
        self.threads.visit(slot, Box::new(visit));
        receiver.await.ok()
    }

    /// Runs `work` when all slots are on the connection's own shard. `None` only if the threads are
    /// ending.
    pub(crate) async fn on_all_slots<T: Send + 'static>(
        &self,
        reason: &'static str,
        work: impl FnOnce(&mut dyn Local) -> (T, After) + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        let work = move |local: &mut dyn Local| {
            let (answer, after) = done(work, local);
            // Whoever asked may have given up.
            let _ = sender.send(answer);
            after
        };
        self.threads.with_all_slots(reason, Box::new(work));
        receiver.await.ok()
    }

    /// Runs `work` on every slot once: each shard on a part of them, and again on those that were
    /// travelling. So each slot is in the answer exactly once, whatever moves meanwhile.
    pub(crate) async fn over_slots<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Engine, &[u16]) -> T + Clone + Send + 'static,
    ) -> Vec<T> {
        let shards = usize::from(self.node().shards());
        let mut left: Vec<u16> = (0..SLOTS).collect();
        let mut parts = Vec::with_capacity(shards);
        while !left.is_empty() {
            let mut asked = vec![Vec::new(); shards];
            for slot in left.drain(..) {
                asked[self.threads.keeper(slot).index()].push(slot);
            }
            let asked = Arc::new(asked);
            let work = work.clone();
            let answers = self.each_shard(move |state| {
                state.tick();
                let (here, away): (Vec<u16>, Vec<u16>) =
                    asked[state.id.index()].iter().partition(|slot| state.has(**slot));
                (work(state, &here), away)
            });
            for (part, away) in answers.await {
                parts.push(part);
                left.extend(away);
            }
            if let Some(slot) = left.first() {
                // They travel with a transaction or to another shard and will soon be back.
                self.on_slot(*slot, |_| ()).await;
            }
        }
        parts
    }

    fn ask<T: Send + 'static>(
        &self,
        shard: ShardId,
        work: impl FnOnce(&mut dyn Local) -> T + Send + 'static,
    ) -> Answer<T> {
        if shard == self.threads.own() {
            return Answer::Here(self.here(work));
        }
        let (sender, receiver) = oneshot::channel();
        let call = move |local: &mut dyn Local| {
            // The asking connection may have gone.
            let _ = sender.send(done(work, local));
        };
        self.threads.send(shard, Box::new(call));
        Answer::Coming(receiver)
    }
}

/// Does work whose answer is sent to another thread: the effects of what it has done go first.
fn done<T>(work: impl FnOnce(&mut dyn Local) -> T, local: &mut dyn Local) -> T {
    let answer = work(local);
    local.engine_mut().send_effects();
    answer
}

enum Answer<T> {
    Here(T),
    Coming(oneshot::Receiver<T>),
}
