//! What other shards execute for a batch: sent at once, and their replies taken in the order of
//! the commands. A shard answers with at most a few hundred KiB of replies at a time and goes on
//! when those are sent, so a batch of long replies needs no more memory than a short one.

use std::io;

use smallvec::SmallVec;

use super::batch::{Place, dispatch};
use super::{Connection, REPLY_BYTES};
use crate::shard::message::{Message, RemoteBatch, Token};
use crate::shard::waits::Outcome;

/// A batch that another shard executes.
enum Part {
    /// There.
    Away(Token),
    /// Here, as far as it was executed.
    Home(Box<RemoteBatch>),
}

impl Connection {
    /// Lets the other shards execute what was collected for them, and puts the replies in order.
    pub(super) async fn finish_group(&mut self) -> io::Result<()> {
        let mut group = std::mem::take(&mut self.group);
        let mut parts: SmallVec<[Part; 4]> =
            group.outgoing.iter().map(|(_, batch)| Part::Away(batch.token)).collect();
        dispatch(&mut self.shard.state(), &mut group);
        let mut taken: SmallVec<[usize; 4]> = SmallVec::from_elem(0, parts.len());
        let mut local = 0;
        let mut result = Ok(());
        for place in &group.order {
            match *place {
                Place::Local(end) => {
                    self.reply.raw(&group.local[local..end]);
                    local = end;
                }
                Place::Remote(at) => {
                    self.take_reply(&mut parts[at], taken[at]).await;
                    taken[at] += 1;
                }
            }
            if self.reply.len() > REPLY_BYTES {
                result = self.flush().await;
                if result.is_err() {
                    break;
                }
            }
        }
        let mut state = self.shard.state();
        for part in parts {
            match part {
                Part::Away(token) => state.waits.close(token),
                Part::Home(batch) => state.recycle(batch),
            }
        }
        group.order.clear();
        group.local.clear();
        self.group = group;
        result
    }

    /// Appends the reply to command `at` of a part, once it is there.
    async fn take_reply(&mut self, part: &mut Part, at: usize) {
        loop {
            match part {
                Part::Away(token) => {
                    let Outcome::Batch(batch) = self.outcome(*token).await else {
                        unreachable!("a wait for a batch ends with it")
                    };
                    *part = Part::Home(batch);
                }
                Part::Home(batch) if at < batch.done => {
                    self.reply.raw(batch.reply(at));
                    return;
                }
                Part::Home(batch) => {
                    // More replies than fit at a time, or the slot has moved meanwhile: on to
                    // its owner, with what is left.
                    let rest = std::mem::replace(batch, Box::new(batch.stand_in()));
                    *part = Part::Away(self.send_rest(rest));
                }
            }
        }
    }

    fn send_rest(&mut self, mut batch: Box<RemoteBatch>) -> Token {
        let mut state = self.shard.state();
        let token = state.waits.open();
        batch.token = token;
        batch.forget_replies();
        let owner = state.shared.router.owner(batch.commands[batch.done].slot);
        state.send(owner, Message::Batch(batch));
        token
    }
}
