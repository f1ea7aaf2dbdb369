//! Blocked commands: begin to wait, and go on when a key is ready.

use ballast_protocol::{Args, Reply};
use ballast_storage::{Key, Kind};
use smallvec::SmallVec;

use super::ShardState;
use super::message::{Borrow, Message, Purpose};
use super::waits::Outcome;
use crate::commands::table::{Command, Group};
use crate::node::blocked::Waiter;

/// Which slots serving a blocked command may use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Those whose boxes are here.
    Here,
    /// Those of other shards too, which are fetched.
    Everywhere,
}

impl ShardState {
    /// Lets `waiter` wait in the slots of its keys, all of which are here.
    pub(crate) fn wait_for_keys(&mut self, waiter: &Waiter) {
        for (slot, key) in &waiter.0.keys {
            if let Some(boxed) = self.slots[usize::from(*slot)].as_deref_mut() {
                boxed.waiters.push(waiter.0.caller.db, key, waiter.clone());
            }
        }
    }

    /// Forgets `waiter`, all of whose slots are here.
    fn forget_waiter(&mut self, waiter: &Waiter) {
        for (slot, key) in &waiter.0.keys {
            if let Some(boxed) = self.slots[usize::from(*slot)].as_deref_mut() {
                boxed.waiters.remove(waiter.0.caller.db, key, waiter);
            }
        }
    }

    /// Executes the blocked commands that can go on now, in the order in which their keys became
    /// ready and they began to wait.
    pub(crate) fn serve_ready(&mut self) {
        self.serve(Reach::Everywhere);
    }

    fn serve(&mut self, reach: Reach) {
        while let Some(slot) = self.ready.pop_front() {
            // A slot that is not here took its ready keys along.
            while let Some(boxed) = self.slots[usize::from(slot)].as_deref_mut() {
                let Some((db, key)) = boxed.waiters.take_ready() else { break };
                if !self.serve_key(slot, db, &key, reach) {
                    break;
                }
            }
        }
    }

    /// False if the key's first waiter needs slots that are not here.
    fn serve_key(&mut self, slot: u16, db: u8, key: &[u8], reach: Reach) -> bool {
        let mut at = 0;
        loop {
            let Some(boxed) = self.slots[usize::from(slot)].as_deref_mut() else { return true };
            let kind = boxed.data.keyspace(db).and_then(|keys| keys.meta(&Key::new(key)));
            let kind = kind.map(|meta| meta.kind);
            let takes = |waiter: &Waiter| takes(command_of(waiter).group, kind);
            let Some((found, waiter)) = boxed.waiters.find(db, key, at, takes) else {
                return true;
            };
            at = found;
            let here = waiter.0.slots.iter().all(|slot| self.has(*slot));
            if !here && reach == Reach::Here {
                // The owner of the slot fetches the others, once it has this one back.
                if let Some(boxed) = self.slots[usize::from(slot)].as_deref_mut() {
                    boxed.waiters.mark_ready(db, key);
                }
                return false;
            }
            if !waiter.claim() {
                // Another shard is executing it right now; the values are for the next in line.
                at += 1;
            } else if !here {
                self.borrow_for(waiter);
                return true;
            } else if !self.try_blocked(&waiter) {
                at += 1;
            }
        }
    }

    /// Executes a claimed blocked command whose slots are all here. True if it is done with.
    fn try_blocked(&mut self, waiter: &Waiter) -> bool {
        let blocked = &waiter.0;
        let mut reply = Reply::new(blocked.caller.protocol);
        // The command whose effect this is may be in the midst of a batch of its own client.
        let running = std::mem::replace(&mut self.running, blocked.caller.client);
        let first = blocked.keys.first().map_or(crate::engine::NO_SLOT, |(slot, _)| *slot);
        let again = self.execute_slots(
            command_of(waiter),
            &blocked.slots,
            first,
            blocked.args.view(),
            blocked.caller,
            &mut reply,
        );
        self.running = running;
        if again.is_some() {
            if waiter.release() {
                return false;
            }
            self.unblock(waiter, Vec::new());
        } else {
            waiter.finish();
            self.unblock(waiter, reply.take());
        }
        self.forget_waiter(waiter);
        true
    }

    /// Forgets a waiter that is done: here at once, elsewhere by a note that follows the slot.
    pub(crate) fn forget_waiter_everywhere(&mut self, waiter: &Waiter) {
        for (at, (slot, _)) in waiter.0.keys.iter().enumerate() {
            let waiter = waiter.clone();
            self.note(*slot, move |boxed| {
                boxed.waiters.remove(waiter.0.caller.db, &waiter.0.keys[at].1, &waiter);
            });
        }
    }

    fn unblock(&mut self, waiter: &Waiter, reply: Vec<u8>) {
        let token = waiter.0.token;
        if waiter.0.origin == self.id {
            self.unblocked(token, reply);
        } else {
            self.send(waiter.0.origin, Message::Unblocked(token, reply));
        }
    }

    /// The reply for a blocked connection of this shard.
    pub(crate) fn unblocked(&mut self, token: crate::node::blocked::Token, reply: Vec<u8>) {
        // A connection that has gone needs no reply; the command was executed all the same, as
        // for any client that disconnects between its command and the reply.
        let _ = self.waits.complete(token, Outcome::Unblocked(reply));
    }

    /// Fetches the slots of a claimed blocked command, the ready one among them.
    fn borrow_for(&mut self, waiter: Waiter) {
        let want: SmallVec<[u16; 8]> = waiter.0.slots.iter().copied().collect();
        let borrow = Borrow {
            origin: self.id,
            purpose: Purpose::Retry(waiter),
            want,
            got: Vec::new(),
            reason: "blocked-command",
        };
        self.counters.borrows.add(1);
        self.continue_borrow(Box::new(borrow));
    }

    /// The slots for a blocked command are here.
    pub(crate) fn retry_blocked(&mut self, borrow: Borrow, waiter: &Waiter) {
        let loaded = self.load(borrow);
        self.try_blocked(waiter);
        for (slot, key) in &waiter.0.keys {
            let waiters = self.slots[usize::from(*slot)].as_deref_mut().map(|b| &mut b.waiters);
            if waiters.is_some_and(|waiters| waiters.mark_ready(waiter.0.caller.db, key)) {
                self.ready.push_back(*slot);
            }
        }
        self.serve_loaded();
        self.unload(loaded);
    }

    /// Serves as [`Self::serve_ready`] while a transaction has its slots here: only what needs no
    /// further slots. The rest is served by the slots' owners when they are back.
    pub(crate) fn serve_loaded(&mut self) {
        self.serve(Reach::Here);
    }

    /// The arguments' positions of keys as (slot, key).
    pub(crate) fn keys_at(args: Args<'_>, positions: &[usize]) -> Vec<(u16, Vec<u8>)> {
        positions
            .iter()
            .filter_map(|at| args.get(*at))
            .map(|key| (ballast_protocol::slot::key_slot(key), key.to_vec()))
            .collect()
    }
}

/// What the waiter is blocked in.
fn command_of(waiter: &Waiter) -> &'static Command {
    let command = crate::commands::table().by_id(waiter.0.command);
    command.expect("a waiter is made for a command of the table")
}

/// Whether a command of `group` finds something to take in a value of `kind`. One that waits for
/// a list goes on waiting, without an error, while the key holds a sorted set.
fn takes(group: Group, kind: Option<Kind>) -> bool {
    match group {
        Group::List => kind == Some(Kind::List),
        Group::SortedSet => kind == Some(Kind::ZSet),
        _ => true,
    }
}
