//! A connection all of whose commands are for the slots of one other shard moves to that shard:
//! its requests need not cross threads any more, and follow a slot that is handed over.
//!
//! What a shard does for connections whose slots are elsewhere takes work off the shard that has
//! the slots. So a shard takes a few connections at a time, and none while it is busy.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Connection;
use super::batch::Group;
use crate::commands::session::Session;
use crate::ids::ShardId;
use crate::shard::Shard;
use crate::shard::message::Message;

/// A connection moves after so many turns that were all for one other shard.
const TURNS: u32 = 64;
/// A turn that was not takes so many of them back.
const STEP_BACK: u32 = 8;
/// For which shard a connection's commands are.
#[derive(Debug, Default)]
pub(super) struct Follow {
    to: Option<ShardId>,
    turns: u32,
}

impl Follow {
    /// A turn whose commands are in `group` as far as they are for other shards, while replies of
    /// others may have been written.
    pub(super) fn turn(&mut self, group: &Group, has_replies: bool) {
        match &group.outgoing[..] {
            [(to, _)] if group.local_bytes == 0 && !has_replies => self.turn_for(*to),
            _ => self.step_back(),
        }
    }

    /// A turn whose commands were all for this shard.
    #[inline]
    pub(super) fn turn_for(&mut self, to: ShardId) {
        if self.to != Some(to) {
            *self = Follow { to: Some(to), turns: 0 };
        }
        self.turns = (self.turns + 1).min(TURNS);
    }

    /// A turn whose commands were for slots that are here, at least one of them.
    #[inline(always)]
    pub(super) fn step_back(&mut self) {
        self.turns = self.turns.saturating_sub(STEP_BACK);
    }

    fn target(&self) -> Option<ShardId> {
        self.to.filter(|_| self.turns == TURNS)
    }
}

/// A connection on its way to another shard. There is nothing under way for it, and nothing
/// received that is not answered.
struct Moving {
    stream: std::net::TcpStream,
    session: Session,
}

impl Connection {
    /// Where the connection should move now; it has a place there.
    pub(super) fn moves_to(&self) -> Option<ShardId> {
        let to = self.follow.target()?;
        let is_at_rest = self.filled == 0
            && self.reply.is_empty()
            && self.outbox.is_none()
            && self.group.is_empty()
            && self.session.is_plain()
            && self.session.watching.is_empty()
            && !self.session.closing;
        let shared = &self.shard.shared;
        let may_move = is_at_rest && to != self.shard.id && self.shard.state().config.follow_slots;
        (may_move && shared.places[to.index()].take()).then_some(to)
    }

    /// Moves to another shard, where [`Self::arrive`] goes on.
    pub(super) fn depart(mut self, to: ShardId) {
        self.leave_account();
        let shared = Arc::clone(&self.shard.shared);
        self.shard.state().counters.clients.sub(1);
        match self.stream.into_std() {
            Ok(stream) => {
                let moving = Moving { stream, session: self.session };
                let arrive = move |shard: Rc<Shard>| {
                    tokio::task::spawn_local(Self::arrive(shard, moving));
                };
                shared.mailboxes[to.index()].push(Message::Task(Box::new(arrive)));
            }
            // The socket is closed.
            Err(_) => shared.clients.remove(self.session.client.id),
        }
    }

    /// Goes on with a connection of another shard until it ends.
    async fn arrive(shard: Rc<Shard>, moving: Moving) {
        let Moving { stream, session } = moving;
        session.client.shard.store(shard.id.0, Relaxed);
        shard.state().counters.followed.add(1);
        Self::serve_session(shard, stream, session).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(to: &[u16]) -> Group {
        let mut group = Group::default();
        for id in to {
            let caller = crate::node::blocked::Caller {
                client: crate::ids::ClientId(1),
                db: 0,
                protocol: ballast_protocol::Protocol::Resp2,
                may_block: true,
                no_touch: false,
            };
            let token = crate::node::blocked::Token { index: 0, generation: 0 };
            let batch = crate::shard::message::RemoteBatch::new(ShardId(0), token, caller);
            group.outgoing.push((ShardId(*id), Box::new(batch)));
        }
        group
    }

    #[test]
    fn only_who_is_nearly_always_elsewhere_moves() {
        let mut follow = Follow::default();
        let (one, two) = (group(&[1]), group(&[1, 2]));
        (1..TURNS).for_each(|_| follow.turn(&one, false));
        assert_eq!(follow.target(), None);
        follow.turn(&one, false);
        assert_eq!(follow.target(), Some(ShardId(1)));
        follow.turn(&two, false);
        assert_eq!(follow.target(), None, "also for another");
        (0..STEP_BACK).for_each(|_| follow.turn(&one, false));
        assert_eq!(follow.target(), Some(ShardId(1)));
        follow.turn(&group(&[2]), false);
        assert_eq!(follow.target(), None, "another altogether");
        // Half of the commands are here.
        for _ in 0..1_000 {
            follow.turn(&one, false);
            follow.step_back();
            assert_eq!(follow.target(), None);
        }
        (0..1_000).for_each(|_| follow.turn(&one, true));
        assert_eq!(follow.target(), None, "with replies of commands that were carried out here");
    }
}
