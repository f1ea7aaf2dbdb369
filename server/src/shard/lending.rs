//! Holds: a slot of this shard travels with a transaction, and what is meant for it waits in
//! order until it is back.

use std::collections::VecDeque;

use ahash::AHashMap;
use smallvec::SmallVec;

use super::ShardState;
use super::message::{Borrow, Boxes, Message, Purpose, RemoteBatch};
use super::waits::Outcome;
use crate::engine::slot::Slot;
use crate::ids::ShardId;

/// The table of lent slots is kept for so many at most.
const LENT_KEPT_MAX: usize = 256;

/// A slot that is away.
pub(crate) struct Lent {
    /// Why.
    pub(crate) reason: &'static str,
    /// When it left, in monotonic milliseconds.
    pub(crate) since_ms: u64,
    parked: VecDeque<Parked>,
    /// The slot's bytes when it left.
    pub(crate) bytes: u64,
}

/// Slots whose boxes a running transaction has in this shard's map.
pub(crate) struct Loaded {
    slots: SmallVec<[u16; 8]>,
    lenders: SmallVec<[ShardId; 8]>,
    /// The memory limit of this shard without them.
    limit_bytes: u64,
}

/// Something that waits for a slot to come back.
enum Parked {
    Batch(Box<RemoteBatch>),
    Borrow(Box<Borrow>),
    Visit(u16, Visit),
}

/// Work on a slot, to be done where its box is.
pub(crate) type Visit = Box<dyn FnOnce(&mut ShardState) + Send>;

/// Where a message for a slot that is not here has to go.
pub(crate) enum Absent {
    /// The slot travels with a transaction and will be back.
    Lent,
    /// Another shard owns it.
    Elsewhere,
    /// The router says it is ours: its box is behind us in our own mailbox.
    OnItsWay,
}

impl ShardState {
    /// Why `slot`, whose box is not here, is not here.
    pub(crate) fn absent(&self, slot: u16) -> Absent {
        if self.lent.contains_key(&slot) {
            Absent::Lent
        } else if self.shared.router.owner(slot) == self.id {
            Absent::OnItsWay
        } else {
            Absent::Elsewhere
        }
    }

    /// Does something to what rides along with a slot, wherever its box is: at once if that is
    /// here, otherwise behind everything that this thread has sent for the slot.
    pub(crate) fn note(&mut self, slot: u16, work: impl FnOnce(&mut Slot) + Send + 'static) {
        let visit = move |state: &mut ShardState| {
            if let Some(boxed) = state.slots[usize::from(slot)].as_deref_mut() {
                work(boxed);
            }
        };
        self.visit_slot(slot, Box::new(visit));
    }

    /// Lets a batch wait for a lent slot.
    pub(crate) fn park_batch(&mut self, slot: u16, batch: Box<RemoteBatch>) {
        self.park(slot, Parked::Batch(batch));
    }

    fn park(&mut self, slot: u16, waiting: Parked) {
        let lent = self.lent.get_mut(&slot).expect("the slot is lent");
        lent.parked.push_back(waiting);
        self.parked += 1;
        if self.parked == 1 {
            self.shared.mailboxes[self.id.index()].expect();
        }
    }

    /// Does `visit` where the box of `slot` is: here, after the transactions that wait for it, or
    /// on the shard that owns it by now.
    pub(crate) fn visit_slot(&mut self, slot: u16, visit: Visit) {
        if self.has(slot) {
            return visit(self);
        }
        let forward = |to: ShardId, visit: Visit| {
            let visit = move |state: &mut ShardState| state.visit_slot(slot, visit);
            self.send(to, Message::Call(Box::new(visit)));
        };
        match self.absent(slot) {
            Absent::Lent => self.park(slot, Parked::Visit(slot, visit)),
            Absent::OnItsWay => forward(self.id, visit),
            Absent::Elsewhere => forward(self.shared.router.owner(slot), visit),
        }
    }

    /// Takes the slots that a transaction wants from here on, then sends it on: to the owner of
    /// its next slot, or home when it has all.
    pub(crate) fn continue_borrow(&mut self, mut borrow: Box<Borrow>) {
        borrow.want[borrow.got.len()..].iter().for_each(|slot| self.load_box(*slot));
        let since_ms = self.shared.clock.mono_ms();
        while let Some(slot) = borrow.want.get(borrow.got.len()).copied() {
            let Some(boxed) = self.slots[usize::from(slot)].take() else {
                match self.absent(slot) {
                    Absent::Lent => self.park(slot, Parked::Borrow(borrow)),
                    Absent::OnItsWay => self.send(self.id, Message::Borrow(borrow)),
                    Absent::Elsewhere => {
                        let owner = self.shared.router.owner(slot);
                        self.send(owner, Message::Borrow(borrow));
                    }
                }
                return;
            };
            self.slots_bytes -= boxed.data.bytes();
            self.lent_bytes += boxed.data.bytes();
            let lent = Lent {
                reason: borrow.reason,
                since_ms,
                parked: VecDeque::new(),
                bytes: boxed.data.bytes(),
            };
            self.lent.insert(slot, lent);
            borrow.got.push((boxed, self.id));
        }
        if borrow.origin == self.id {
            self.borrowed(borrow);
        } else {
            self.send(borrow.origin, Message::Borrow(borrow));
        }
    }

    /// A transaction of this shard has all its slots.
    fn borrowed(&mut self, borrow: Box<Borrow>) {
        match &borrow.purpose {
            Purpose::Connection(token) => {
                let token = *token;
                if let Some(Outcome::Borrowed(borrow)) =
                    self.waits.complete(token, Outcome::Borrowed(borrow))
                {
                    // The connection has gone: nothing to execute.
                    self.give_back(borrow.want.iter().copied().zip(borrow.got));
                }
            }
            Purpose::Done => {}
            Purpose::Retry(waiter) => {
                let waiter = waiter.clone();
                self.retry_blocked(*borrow, &waiter);
            }
        }
    }

    /// Puts the boxes of a transaction where its commands find them. Until [`Self::unload`],
    /// with no `await` between, this shard has all of them.
    pub(crate) fn load(&mut self, borrow: Borrow) -> Loaded {
        let mut lenders = SmallVec::new();
        let limit_bytes = self.limit_bytes;
        for (slot, (boxed, lender)) in borrow.want.iter().zip(borrow.got) {
            self.slots_bytes += boxed.data.bytes();
            self.visiting_bytes += boxed.data.bytes();
            if lender != self.id {
                // A guest takes nothing of this shard's share.
                self.limit_bytes = self.limit_bytes.saturating_add(boxed.data.bytes());
            }
            let place = &mut self.slots[usize::from(*slot)];
            debug_assert!(place.is_none(), "a borrowed slot has one box");
            *place = Some(boxed);
            lenders.push(lender);
        }
        Loaded { slots: borrow.want, lenders, limit_bytes }
    }

    /// Takes the boxes out again and sends each back to who lent it.
    pub(crate) fn unload(&mut self, loaded: Loaded) {
        self.limit_bytes = loaded.limit_bytes;
        self.visiting_bytes = 0;
        let mut boxes = SmallVec::<[(u16, (Box<Slot>, ShardId)); 8]>::new();
        for (slot, lender) in loaded.slots.into_iter().zip(loaded.lenders) {
            let boxed = self.slots[usize::from(slot)].take().expect("loaded before");
            self.slots_bytes -= boxed.data.bytes();
            boxes.push((slot, (boxed, lender)));
        }
        self.give_back(boxes);
    }

    /// Takes the boxes out again, but keeps holding them for the transaction.
    pub(crate) fn stash(&mut self, loaded: Loaded) -> Borrow {
        self.limit_bytes = loaded.limit_bytes;
        self.visiting_bytes = 0;
        let got = loaded.slots.iter().zip(loaded.lenders).map(|(slot, lender)| {
            let boxed = self.slots[usize::from(*slot)].take().expect("loaded before");
            self.slots_bytes -= boxed.data.bytes();
            (boxed, lender)
        });
        Borrow {
            got: got.collect(),
            origin: self.id,
            purpose: Purpose::Done,
            want: loaded.slots,
            reason: "transaction",
        }
    }

    fn give_back(&mut self, boxes: impl IntoIterator<Item = (u16, (Box<Slot>, ShardId))>) {
        let mut away: Vec<(ShardId, Boxes)> = Vec::new();
        let mut own = Vec::new();
        for (slot, (boxed, lender)) in boxes {
            if lender == self.id {
                own.push((slot, boxed));
            } else if let Some((_, list)) = away.iter_mut().find(|(to, _)| *to == lender) {
                list.push((slot, boxed));
            } else {
                away.push((lender, vec![(slot, boxed)]));
            }
        }
        for (lender, list) in away {
            // Whoever lent them mostly does not miss them before it is awake anyway.
            let is_urgent = list.iter().any(|(_, boxed)| boxed.waiters.has_ready());
            let mailbox = &self.shared.mailboxes[lender.index()];
            if is_urgent {
                mailbox.push(Message::Return(list));
            } else {
                mailbox.push_quietly(Message::Return(list));
            }
        }
        self.take_back(own);
    }

    /// Boxes of this shard are back: what waited for them goes on, in order.
    pub(crate) fn take_back(&mut self, boxes: Boxes) {
        let mut parked = VecDeque::new();
        for (slot, boxed) in boxes {
            self.slots_bytes += boxed.data.bytes();
            self.slots[usize::from(slot)] = Some(boxed);
            let lent = self.lent.remove(&slot).expect("it was lent");
            self.lent_bytes -= lent.bytes;
            parked.extend(lent.parked);
            self.note_ready(slot);
        }
        if self.lent.is_empty() && self.lent.capacity() > LENT_KEPT_MAX {
            // A transaction over all slots has made it large.
            self.lent = AHashMap::new();
        }
        if !parked.is_empty() {
            self.parked -= parked.len();
            if self.parked == 0 {
                self.shared.mailboxes[self.id.index()].expect_nothing();
            }
        }
        self.serve_ready();
        for waiting in parked {
            match waiting {
                Parked::Batch(batch) => self.continue_batch(batch),
                Parked::Borrow(borrow) => self.continue_borrow(borrow),
                Parked::Visit(slot, visit) => self.visit_slot(slot, visit),
            }
        }
    }

    /// A slot has come here: its ready keys are to be served here.
    pub(super) fn note_ready(&mut self, slot: u16) {
        if self.slot(slot).is_some_and(|boxed| boxed.waiters.has_ready()) {
            self.ready.push_back(slot);
        }
    }
}
