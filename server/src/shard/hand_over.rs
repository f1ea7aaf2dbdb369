//! Hand-overs: a slot goes from one shard to another for good. What it costs is measured on both
//! threads, because that it costs next to nothing is what the balancer relies on.

use std::sync::Arc;
use std::time::Instant;

use super::ShardState;
use super::message::Message;
use super::places::{Boxes as _, Place};
use crate::engine::hand_over_times::HandOverTimes;
use crate::engine::slot::Slot;
use crate::ids::ShardId;

impl ShardState {
    /// Hands an owned slot over to another shard. False if it is not here or travelling.
    pub(crate) fn hand_over(&mut self, slot: u16, to: ShardId) -> bool {
        let since = Instant::now();
        let router = &self.shared.router;
        if to == self.id || router.owner(slot) != self.id || router.is_frozen() {
            return false;
        }
        let Some(boxed) = self.places.release(&mut self.engine, slot) else { return false };
        let shared = Arc::clone(&self.shared);
        let push = || self.send(to, Message::Adopt(slot, boxed, since));
        shared.router.hand_over(slot, to, push);
        self.counters.handed_over.add(1);
        self.hand_over_times().give.saturating_record(nanoseconds(since));
        // Who waited for it here with other slots looks for it there.
        self.go_on();
        true
    }

    /// Takes over a slot that another shard has begun to hand over at `since`.
    pub(crate) fn adopt(&mut self, slot: u16, boxed: Box<Slot>, since: Instant) {
        let began = Instant::now();
        // The router may name the old owner for another moment.
        debug_assert!(!matches!(self.locate(slot), Place::Here | Place::Lent));
        self.engine.put(slot, boxed);
        self.counters.adopted.add(1);
        self.note_ready(slot);
        let times = self.hand_over_times();
        times.pause.saturating_record(nanoseconds(since));
        times.adopt.saturating_record(nanoseconds(began));
        self.serve_ready();
    }

    fn hand_over_times(&mut self) -> &mut HandOverTimes {
        self.hand_over_times.get_or_insert_default()
    }
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
