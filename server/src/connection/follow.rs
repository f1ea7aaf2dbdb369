//! A connection all of whose commands are for the slots of one other shard moves to that shard:
//! its requests need not cross threads any more, and follow a slot that is handed over.
//!
//! What a shard does for connections whose slots are elsewhere takes work off the shard that has
//! the slots. So a shard takes a few connections at a time, and none while it is busy.
//!
//! A connection that has slots on several shards could be anywhere. It stays where it is, unless
//! that shard works much more than another: then such connections go to the idlest, because no
//! hand-over of slots takes the work on their sockets away.

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
/// A turn that needs other shards counts so much more than one that does not: a connection with
/// slots everywhere has one of two turns here where there are two shards.
const ROAM_STEP: u32 = 2;
/// From so many on it is one with slots on several shards.
const ROAMS: u32 = 64;

/// For which shard a connection's commands are.
#[derive(Debug, Default)]
pub(super) struct Follow {
    to: Option<ShardId>,
    turns: u32,
    /// How often it needed other shards lately.
    elsewhere: u32,
    /// Bytes through its socket, and through all of the shard's, when it came.
    own_bytes: u64,
    shard_bytes: u64,
}

impl Follow {
    /// Of a connection that comes to a shard when so many bytes have gone through its socket, and
    /// through all of that shard's.
    pub(super) fn new(own_bytes: u64, shard_bytes: u64) -> Follow {
        Follow { own_bytes, shard_bytes, ..Follow::default() }
    }

    /// A turn whose commands are in `group` as far as they are for other shards, while replies of
    /// others may have been written.
    pub(super) fn turn(&mut self, group: &Group, has_replies: bool) {
        match &group.outgoing[..] {
            [(to, _)] if group.local_bytes == 0 && !has_replies => self.turn_for(*to),
            _ => {
                self.step_back();
                self.roam();
            }
        }
    }

    /// A turn whose commands were all for this shard.
    #[inline]
    pub(super) fn turn_for(&mut self, to: ShardId) {
        if self.to != Some(to) {
            (self.to, self.turns) = (Some(to), 0);
        }
        self.turns = (self.turns + 1).min(TURNS);
        self.roam();
    }

    fn roam(&mut self) {
        self.elsewhere = (self.elsewhere + ROAM_STEP).min(2 * ROAMS);
    }

    /// A turn whose commands were for slots that are here, at least one of them.
    #[inline(always)]
    pub(super) fn step_back(&mut self) {
        self.turns = self.turns.saturating_sub(STEP_BACK);
        self.elsewhere = self.elsewhere.saturating_sub(1);
    }

    /// Whether it has slots on several shards, or all of them elsewhere.
    #[inline(always)]
    pub(super) fn roams(&self) -> bool {
        self.elsewhere >= ROAMS
    }

    /// The part of the shard's traffic that it has caused since it came.
    fn part(&self, own_bytes: u64, shard_bytes: u64) -> f64 {
        let (own, all) = (
            own_bytes.saturating_sub(self.own_bytes),
            shard_bytes.saturating_sub(self.shard_bytes),
        );
        #[allow(clippy::cast_precision_loss, reason = "a part")]
        let part = own as f64 / all.max(own).max(1) as f64;
        part
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
    /// What [`Follow`] knows of a connection that comes to this shard.
    pub(super) fn follow_here(shard: &Shard, session: &Session) -> Follow {
        Follow::new(own_bytes(session), shard_bytes(shard))
    }

    /// Where the connection should move now; it has a place there.
    pub(super) fn moves_to(&self) -> Option<ShardId> {
        let to = self.follow.target();
        if to.is_none() && !self.follow.roams() {
            return None;
        }
        let is_at_rest = self.filled == 0
            && self.reply.is_empty()
            && self.outbox.is_none()
            && self.group.is_empty()
            && self.session.is_plain()
            && self.session.watching.is_empty()
            && !self.session.closing;
        let shared = &self.shard.shared;
        if !is_at_rest || !self.shard.state().config.follow_slots {
            return None;
        }
        match to {
            Some(to) => (to != self.shard.id && shared.places[to.index()].take()).then_some(to),
            None => {
                let part = || self.follow.part(own_bytes(&self.session), shard_bytes(&self.shard));
                shared.places[self.shard.id.index()].leave(part).filter(|to| *to != self.shard.id)
            }
        }
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
                    super::spawn(&shard, Self::arrive(Rc::clone(&shard), moving));
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

fn own_bytes(session: &Session) -> u64 {
    let client = &session.client;
    client.net_in_bytes.load(Relaxed) + client.net_out_bytes.load(Relaxed)
}

fn shard_bytes(shard: &Shard) -> u64 {
    shard.counters.net_in_bytes.value() + shard.counters.net_out_bytes.value()
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

    #[test]
    fn who_has_slots_everywhere_roams() {
        for (shards, roams) in [(1, false), (2, true), (4, true)] {
            let mut follow = Follow::default();
            for turn in 0..1_000_u16 {
                match turn % shards {
                    0 => follow.step_back(),
                    other => follow.turn_for(ShardId(other)),
                }
            }
            assert_eq!(follow.roams(), roams, "{shards} shards");
        }
        let mut mostly_here = Follow::default();
        for turn in 0..1_000_u16 {
            if turn % 5 == 0 { mostly_here.turn_for(ShardId(1)) } else { mostly_here.step_back() }
        }
        assert!(!mostly_here.roams());
        let mut pipelined = Follow::default();
        (0..100).for_each(|_| pipelined.turn(&group(&[1, 2]), true));
        assert!(pipelined.roams());
    }

    #[test]
    fn a_part_is_of_the_time_since_it_came() {
        let follow = Follow::new(1_000, 10_000);
        assert!((follow.part(1_500, 12_000) - 0.25).abs() < 1e-9);
        assert!((follow.part(1_500, 0) - 1.0).abs() < 1e-9, "the counters were reset");
    }
}
