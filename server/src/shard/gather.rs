//! What commands may ask of the shards' threads.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::message::{Hold, Message};
use super::{Shard, ShardState};
use crate::commands::gather::{AllSlotsWork, Local, Threads, Work};
use crate::engine::Engine;
use crate::engine::effects::Suspended;
use crate::ids::ShardId;
use crate::node::Node;
use crate::node::blocked::Waiter;
use crate::node::clients::Client;

impl Threads for Shard {
    fn node(&self) -> &Arc<Node> {
        &self.shared.node
    }

    fn own(&self) -> ShardId {
        self.id
    }

    fn here(&self, work: &mut dyn FnMut(&mut dyn Local)) {
        work(&mut *self.state());
    }

    fn send(&self, to: ShardId, work: Work) {
        self.shared.mailboxes[to.index()].push(Message::Call(Box::new(|state| work(state))));
    }

    fn visit(&self, slot: u16, work: Work) {
        self.state().visit_slot(slot, Box::new(|state| work(state)));
    }

    fn with_all_slots(&self, reason: &'static str, work: AllSlotsWork) {
        self.shared.with_all_slots(self.id, reason, work);
    }

    fn keeper(&self, slot: u16) -> ShardId {
        self.shared.router.owner(slot)
    }

    fn waiting(&self, shard: ShardId) -> usize {
        self.shared.mailboxes[shard.index()].len()
    }
}

/// The shards as a transaction reaches them that has its slots aside.
pub(crate) struct Holding<'a> {
    shard: &'a Shard,
    hold: RefCell<Hold>,
    effects: RefCell<Suspended>,
}

impl<'a> Holding<'a> {
    /// Of a transaction on `shard` whose slots are complete.
    pub(crate) fn new(shard: &'a Shard, hold: Hold) -> Holding<'a> {
        Holding { shard, hold: RefCell::new(hold), effects: RefCell::default() }
    }

    /// Does `work` while the transaction's slots are here.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut ShardState) -> R) -> R {
        let mut hold = self.hold.borrow_mut();
        let mut state = self.shard.state();
        let loaded = state.load(&mut hold);
        state.resume_group(self.effects.take());
        let result = work(&mut state);
        self.effects.replace(state.suspend_group());
        state.stash(loaded, &mut hold);
        result
    }

    /// Sends the slots home.
    pub(crate) fn give_back(self) {
        let mut state = self.shard.state();
        // Before the slots: what comes of them afterwards is later.
        state.resume_group(self.effects.into_inner());
        state.end_group();
        state.send_effects();
        state.give_back(self.hold.into_inner().parts);
        state.serve_ready();
    }

    fn has(&self, slot: u16) -> bool {
        self.hold.borrow().want().slots().binary_search(&slot).is_ok()
    }
}

impl Threads for Holding<'_> {
    fn node(&self) -> &Arc<Node> {
        self.shard.node()
    }

    fn own(&self) -> ShardId {
        self.shard.own()
    }

    fn here(&self, work: &mut dyn FnMut(&mut dyn Local)) {
        self.with(|state| work(state));
    }

    fn send(&self, to: ShardId, work: Work) {
        self.shard.send(to, work);
    }

    fn visit(&self, slot: u16, work: Work) {
        if self.has(slot) {
            self.with(|state| work(state));
        } else {
            self.shard.visit(slot, work);
        }
    }

    fn with_all_slots(&self, _: &'static str, _: AllSlotsWork) {
        unreachable!("such commands are refused inside a transaction");
    }

    fn keeper(&self, slot: u16) -> ShardId {
        if self.has(slot) { self.own() } else { self.shard.keeper(slot) }
    }

    fn waiting(&self, shard: ShardId) -> usize {
        self.shard.waiting(shard)
    }
}

impl Local for ShardState {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    fn held(&self) -> Vec<(u16, &'static str, u64)> {
        self.places.lent().map(|(slot, lent)| (slot, lent.reason, lent.since_ms)).collect()
    }

    fn hand_over(&mut self, slot: u16, to: ShardId) -> bool {
        ShardState::hand_over(self, slot, to)
    }

    fn end_wait(&mut self, waiter: &Waiter) -> bool {
        ShardState::end_wait(self, waiter)
    }

    // Those of other shards are told by their own threads, so that each of these is woken once.
    fn wake(&self, clients: Vec<Arc<Client>>) {
        let mut elsewhere: BTreeMap<u16, Vec<Arc<Client>>> = BTreeMap::new();
        for client in clients {
            let shard = client.shard.load(Relaxed);
            if shard == self.id.0 {
                client.wake();
            } else {
                elsewhere.entry(shard).or_default().push(client);
            }
        }
        for (shard, clients) in elsewhere {
            // No answer: what has been done is nobody's to know yet.
            self.shared.mailboxes[usize::from(shard)].push(Message::Wake(clients));
        }
    }
}
