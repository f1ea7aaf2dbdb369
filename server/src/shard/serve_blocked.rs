//! Blocked commands: begin to wait, and go on when a key is ready.

use ballast_protocol::Reply;
use ballast_storage::{Key, Kind};

use super::ShardState;
use super::message::{Hold, Message, Purpose};
use super::places::{Slots, Want};
use super::waits::Outcome;
use crate::commands::table::{Command, Group};
use crate::node::blocked::{Cancelled, Token, WaitKey, Waiter};

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
        for WaitKey { slot, key, .. } in &waiter.0.keys {
            if let Some(boxed) = self.slot_mut(*slot) {
                boxed.waiters.push(waiter.0.caller.db, key, waiter.clone());
            }
        }
    }

    /// Executes the blocked commands that can go on now, in the order in which their keys became
    /// ready and they began to wait.
    pub(crate) fn serve_ready(&mut self) {
        self.serve(Reach::Everywhere);
    }

    /// Serves as [`Self::serve_ready`] while a transaction has its slots here: only what needs no
    /// further slots. The rest is served by the slots' owners when they are back.
    pub(crate) fn serve_loaded(&mut self) {
        self.serve(Reach::Here);
    }

    fn serve(&mut self, reach: Reach) {
        // A blocked command cannot be left to another thread. What it takes has just come, and was
        // short, or this shard's own thread would be here.
        let on_behalf = std::mem::take(&mut self.on_behalf);
        while let Some(slot) = self.ready.pop_front() {
            // A slot that is not here took its ready keys along.
            while let Some(boxed) = self.slot_mut(slot) {
                let Some((db, key)) = boxed.waiters.take_ready() else { break };
                if !self.serve_key(slot, db, key, reach) {
                    break;
                }
            }
        }
        self.on_behalf = on_behalf;
    }

    /// Serves those who wait for a key, in the order in which they came. False if the first needs
    /// slots that are not here and are not to be fetched.
    fn serve_key(&mut self, slot: u16, db: u8, key: Vec<u8>, reach: Reach) -> bool {
        let mut at = 0;
        loop {
            let Some(boxed) = self.slot_mut(slot) else { return true };
            if boxed.waiters.is_reserved(db, &key) {
                return true;
            }
            let kind = boxed.data().keyspace(db).and_then(|keys| keys.meta(&Key::new(&key)));
            let kind = kind.map(|meta| meta.kind);
            let takes = |waiter: &Waiter| takes(command_of(waiter).group, kind);
            let Some((found, waiter)) = boxed.waiters.find(db, &key, at, takes) else {
                return true;
            };
            at = found;
            let slots = waiter.0.slots_for(slot);
            if slots.iter().any(|slot| !self.has(*slot)) {
                let waiters = self.slot_mut(slot).map(|b| &mut b.waiters);
                return match (reach, waiters) {
                    (Reach::Everywhere, Some(waiters)) => {
                        waiters.reserve(db, &key);
                        self.hold_for(ReadyKey { slot, db, key }, slots);
                        true
                    }
                    // The owner of the slot fetches the others, once it has this one back.
                    (_, waiters) => {
                        waiters.map(|waiters| waiters.mark_ready(db, &key));
                        false
                    }
                };
            }
            // Another shard may be executing it right now, because of another of its keys; then
            // this one is for the next in line.
            if !waiter.claim() || !self.try_blocked(&waiter, slot, &key) {
                at += 1;
            }
        }
    }

    /// Executes a claimed blocked command because of a key that is ready. Its slots are here. True
    /// if it is done with.
    fn try_blocked(&mut self, waiter: &Waiter, slot: u16, key: &[u8]) -> bool {
        let blocked = &waiter.0;
        let mut reply = Reply::new(blocked.caller.protocol);
        // The command whose effect this is may be in the midst of a batch of its own client.
        let running = std::mem::replace(&mut self.running, blocked.caller.client);
        // It has been shown when it was called.
        let modes = std::mem::take(&mut self.modes);
        let again = self.execute_slots(
            command_of(waiter),
            &blocked.slots_for(slot),
            slot,
            blocked.args_for(key).view(),
            blocked.caller,
            &mut reply,
        );
        self.running = running;
        self.modes = modes;
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
    pub(crate) fn forget_waiter(&mut self, waiter: &Waiter) {
        for (at, WaitKey { slot, .. }) in waiter.0.keys.iter().enumerate() {
            let waiter = waiter.clone();
            self.note(*slot, move |boxed| {
                boxed.waiters.remove(waiter.0.caller.db, &waiter.0.keys[at].key, &waiter);
            });
        }
    }

    /// Ends a wait from outside: nothing will be executed for it any more, and its connection goes
    /// on. False if that is too late.
    pub(crate) fn end_wait(&mut self, waiter: &Waiter) -> bool {
        match waiter.cancel() {
            Cancelled::Now => {
                self.forget_waiter(waiter);
                // By mail, though it may be of this shard: its client is told after this command.
                self.send(waiter.0.origin, Message::Unblocked(waiter.0.token, Vec::new()));
                true
            }
            Cancelled::Confirmed => true,
            Cancelled::TooLate => false,
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
    pub(crate) fn unblocked(&mut self, token: Token, reply: Vec<u8>) {
        // A connection that has gone needs no reply; the command was executed all the same, as
        // for any client that disconnects between its command and the reply.
        let _ = self.waits.complete(token, Outcome::Unblocked(reply));
    }

    /// Fetches the slots of the first command that waits for a key, whose own slot is here and is
    /// taken along at once, if it is free.
    fn hold_for(&mut self, ready: ReadyKey, slots: Slots) {
        let (want, purpose) = (Want::Slots(slots), Purpose::Serve(ready));
        let hold = Hold::new(self.id, want, "blocked-command", purpose);
        self.counters.borrows.add(1);
        self.take_for(Box::new(hold));
    }

    /// The slots for a blocked command are here.
    pub(crate) fn serve_held(&mut self, mut hold: Hold) {
        let loaded = self.load(&mut hold);
        if let Purpose::Serve(ReadyKey { slot, db, key }) = hold.purpose {
            let waiters = self.slot_mut(slot).map(|b| &mut b.waiters);
            if let Some(waiters) = waiters {
                waiters.end_reservation(db, &key);
                if waiters.mark_ready(db, &key) {
                    self.ready.push_back(slot);
                }
            }
        }
        self.serve_loaded();
        self.unload(loaded);
    }
}

/// A key that got something for its first waiter, which needs slots that are elsewhere.
#[derive(Debug)]
pub(crate) struct ReadyKey {
    slot: u16,
    db: u8,
    key: Vec<u8>,
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
