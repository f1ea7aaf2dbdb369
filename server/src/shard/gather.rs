//! What commands may ask of the shards' threads.

use std::sync::Arc;

use super::message::Message;
use super::{Shard, ShardState};
use crate::commands::gather::{Local, Threads, Work};
use crate::engine::Engine;
use crate::ids::ShardId;
use crate::node::Node;
use crate::node::blocked::Waiter;

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

    fn waiting(&self, shard: ShardId) -> usize {
        self.shared.mailboxes[shard.index()].len()
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
}
