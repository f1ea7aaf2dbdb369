//! What other shards execute for a batch: sent at once, and their replies taken in the order of
//! the commands. A shard answers with at most a few hundred KiB of replies at a time and goes on
//! when those are sent, so a batch of long replies needs no more memory than a short one.

use std::rc::Rc;

use ballast_protocol::Reply;
use smallvec::SmallVec;

use super::batch::Group;
use crate::commands::REPLY_BYTES;
use crate::node::blocked::Token;
use crate::shard::borrowing::{Slots, Want};
use crate::shard::message::{Message, Place, RemoteBatch};
use crate::shard::waits::Outcome;
use crate::shard::{Shard, ShardState};

/// The batches of a group on their way, and how far their replies are written.
pub(crate) struct UnderWay {
    parts: SmallVec<[Part; 4]>,
    /// Replies written of each part.
    taken: SmallVec<[usize; 4]>,
    /// Bytes written of [`Replies::local`](crate::shard::message::Replies::local).
    local: usize,
    /// The long replies of [`Group::long`] that are left.
    long: std::vec::IntoIter<Reply>,
    /// Places written of [`Replies::order`](crate::shard::message::Replies::order).
    places: usize,
}

/// A batch that another shard executes.
enum Part {
    /// There.
    Away(Token),
    /// Here, as far as it was executed.
    Home(Box<RemoteBatch>),
}

/// Whether there are more replies to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum More {
    /// When those written so far are sent.
    Replies,
    /// All are written.
    Nothing,
}

impl Group {
    /// Sends the batches to their shards, or has them executed there on behalf of the thread.
    pub(crate) fn send(&mut self, state: &mut ShardState) -> UnderWay {
        self.settle(state);
        let mut parts = SmallVec::new();
        state.spares.count_replies(&mut self.replies);
        for (to, mut batch) in self.outgoing.drain(..) {
            state.spares.count_batch(&mut batch);
            if state.run_on_behalf(to, &mut batch) {
                state.waits.close(batch.token);
                parts.push(Part::Home(batch));
            } else {
                parts.push(Part::Away(batch.token));
                state.send(to, Message::Batch(batch));
            }
        }
        let taken = SmallVec::from_elem(0, parts.len());
        let long = std::mem::take(&mut self.long).into_iter();
        UnderWay { parts, taken, local: 0, long, places: 0 }
    }

    /// Makes sure that no slot is in two batches: they would overtake each other.
    ///
    /// A slot whose owner changed while the group was collected may be. The router then names
    /// another owner than one of the two batches is for, however often it changed; such a group
    /// becomes one batch in the order of its commands.
    fn settle(&mut self, state: &mut ShardState) {
        let router = &state.shared.router;
        let settled = self.outgoing.len() < 2
            || self.outgoing.iter().all(|(to, batch)| {
                let slots = batch.commands.iter().map(|command| &command.slot).chain(&batch.slots);
                slots.into_iter().all(|slot| router.owner(*slot) == *to)
            });
        if settled {
            return;
        }
        let (to, first) = &self.outgoing[0];
        let (to, caller) = (*to, first.caller);
        let token = state.waits.open();
        let mut all = state.spare_batch(token, caller);
        let mut taken: SmallVec<[usize; 4]> = SmallVec::from_elem(0, self.outgoing.len());
        for place in &mut self.replies.order {
            if let Place::Remote(at) = place {
                let batch = &self.outgoing[*at].1;
                let next = taken[*at];
                let (command, args) = (batch.commands[next], batch.args(next));
                if command.is_wide() {
                    all.push_wide(command.command, batch.slots(next), args);
                } else {
                    all.push(command.command, batch.routed(next), args);
                }
                taken[*at] += 1;
                *at = 0;
            }
        }
        for (_, batch) in self.outgoing.drain(..) {
            state.waits.close(batch.token);
            state.spares.keep_batch(batch);
        }
        self.outgoing.push((to, all));
    }
}

impl UnderWay {
    /// Writes replies in the order of their commands, as they come, until all are written or
    /// there are so many bytes that they should be sent first.
    pub(crate) async fn write(
        &mut self,
        group: &Group,
        shard: &Rc<Shard>,
        reply: &mut Reply,
    ) -> More {
        while let Some(place) = group.replies.order.get(self.places) {
            match *place {
                Place::Local(end) => {
                    reply.raw(&group.replies.local[self.local..end]);
                    self.local = end;
                }
                Place::Long => reply.append(self.long.next().unwrap_or_default()),
                Place::Remote(at) => {
                    write_one(&mut self.parts[at], self.taken[at], shard, reply).await;
                    self.taken[at] += 1;
                }
            }
            self.places += 1;
            if reply.len() > REPLY_BYTES {
                return More::Replies;
            }
        }
        More::Nothing
    }

    /// Leaves the group empty for the next batch, also if not all replies were wanted.
    pub(crate) fn end(self, group: &mut Group, state: &mut ShardState) {
        for part in self.parts {
            match part {
                Part::Away(token) => {
                    if let Some(Outcome::Batch(batch)) = state.waits.close(token) {
                        state.spares.keep_batch(batch);
                    }
                }
                Part::Home(batch) => state.spares.keep_batch(batch),
            }
        }
        state.spares.keep_replies(std::mem::take(&mut group.replies));
        // If it has grown, it counts nowhere.
        group.outgoing = SmallVec::new();
        group.local_bytes = 0;
    }
}

/// Appends the reply to command `at` of a part, once it is there.
async fn write_one(part: &mut Part, at: usize, shard: &Rc<Shard>, reply: &mut Reply) {
    loop {
        match part {
            Part::Away(token) => {
                let Outcome::Batch(batch) = shard.outcome(*token).await else {
                    unreachable!("a wait for a batch ends with it")
                };
                *part = Part::Home(batch);
            }
            Part::Home(batch) if at < batch.done => {
                reply.raw(batch.reply(at));
                if at + 1 == batch.done
                    && let Some(long) = batch.long_reply.take()
                {
                    reply.append(long);
                }
                return;
            }
            Part::Home(batch) => {
                // More replies than fit at a time, or a slot has moved meanwhile.
                let rest = std::mem::replace(batch, Box::new(batch.stand_in()));
                *part = go_on(shard, rest).await;
            }
        }
    }
}

/// What is left of a batch goes on to who keeps the slots of its next command. That is executed
/// here if several do by now.
async fn go_on(shard: &Rc<Shard>, mut batch: Box<RemoteBatch>) -> Part {
    batch.forget_replies();
    let slots: Slots = batch.slots(batch.done).into();
    {
        let mut state = shard.state();
        let keeper = state.keeper(slots[0]);
        if slots[1..].iter().all(|slot| state.keeper(*slot) == keeper) {
            batch.token = state.waits.open();
            let token = batch.token;
            state.send(keeper, Message::Batch(batch));
            return Part::Away(token);
        }
    }
    let (at, caller) = (batch.done, batch.caller);
    let mut reply = Reply::new(caller.protocol);
    let (command, first) = (batch.commands[at].command, slots[0]);
    let want = Want::Slots(slots);
    let execute = |state: &mut ShardState| {
        state.execute_slots(command, want.slots(), first, batch.args(at), caller, &mut reply);
    };
    shard.with_slots(caller.client, want.clone(), "command", execute).await;
    batch.replies = reply.take();
    batch.ends.push(batch.replies.len());
    batch.done += 1;
    Part::Home(batch)
}
