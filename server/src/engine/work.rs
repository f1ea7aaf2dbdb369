//! What commands cause besides what their handlers take: turns of connections, and whether those
//! are here.

use super::Engine;

impl Engine {
    /// A connection of this shard had a turn because of `slot`: it would not be here without it.
    #[inline]
    pub(crate) fn credit_turn(&mut self, slot: u16) {
        if let Some(boxed) = self.slots[usize::from(slot)].as_deref_mut() {
            boxed.work.turns += 1;
        }
    }

    /// The last command on `slot` came from a connection of another shard.
    #[inline]
    pub(crate) fn count_guest(&mut self, slot: u16) {
        if let Some(boxed) = self.slots[usize::from(slot)].as_deref_mut() {
            boxed.work.guests += 1;
        }
    }

    /// A command of this shard's connection ran alone, with the boxes that it needs, `first` among
    /// them: a turn because of that slot, or a guest where the slot has come from another shard.
    pub(crate) fn book_barrier(&mut self, first: u16) {
        if first == super::NO_SLOT {
            return;
        }
        if self.node.router.owner(first) == self.id {
            self.credit_turn(first);
        } else {
            self.count_guest(first);
        }
    }
}
