//! Does what [`Places`](super::places) decides: sends holds on, keeps what waits for a slot,
//! lets it go on when the slot is back.

use smallvec::SmallVec;

use super::ShardState;
use super::message::{Hold, Message, Purpose, RemoteBatch};
use super::places::{self, Boxes, Due, Part, Place, Slots, Step, Want};
use super::waits::Outcome;
use crate::engine::Engine;
use crate::engine::slot::Slot;
use crate::ids::ShardId;

/// A hold that has started again so often has the slots stay where they are until it is complete.
const RESTARTS_MAX: u32 = 2;

/// Slots whose boxes a running transaction has in this shard's map.
pub(crate) struct Loaded {
    parts: SmallVec<[LoadedPart; 2]>,
}

/// Of one lender.
struct LoadedPart {
    lender: ShardId,
    is_whole: bool,
    slots: Vec<u16>,
}

/// Something that waits for slots to come back, and takes none of them along.
pub(crate) enum Parked {
    Batch(Box<RemoteBatch>),
    Visit(u16, Visit),
}

impl std::fmt::Debug for Parked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Parked::Batch(batch) => write!(f, "Batch({:?})", batch.slots(batch.done)),
            Parked::Visit(slot, _) => write!(f, "Visit({slot})"),
        }
    }
}

/// Work on a slot, to be done where its box is.
pub(crate) type Visit = Box<dyn FnOnce(&mut ShardState) + Send>;

impl Boxes for Engine {
    type Item = Box<Slot>;

    fn has(&self, slot: u16) -> bool {
        Engine::has(self, slot)
    }

    fn bytes(&self) -> u64 {
        self.slots_bytes()
    }

    fn take(&mut self, slot: u16) -> Option<Box<Slot>> {
        self.take_box(slot)
    }

    fn put(&mut self, slot: u16, boxed: Box<Slot>) {
        self.put_box(slot, boxed);
    }

    fn take_all(&mut self) -> Vec<(u16, Box<Slot>)> {
        self.take_all_boxes()
    }
}

impl ShardState {
    /// Where `slot` is: the one answer for all who need it.
    #[inline]
    pub(crate) fn locate(&self, slot: u16) -> Place {
        self.places.locate(slot, self.has(slot), |slot| self.shared.router.owner(slot))
    }

    /// The shard to ask for a slot: this one, unless another owns it.
    #[inline]
    pub(crate) fn keeper(&self, slot: u16) -> ShardId {
        match self.locate(slot) {
            Place::Shard(owner) => owner,
            Place::Here | Place::Lent | Place::OnItsWay => self.id,
        }
    }

    /// Does something to what rides along with a slot, wherever its box is: at once if that is
    /// here, otherwise behind everything that this thread has sent for the slot.
    pub(crate) fn note(&mut self, slot: u16, work: impl FnOnce(&mut Slot) + Send + 'static) {
        let visit = move |state: &mut ShardState| {
            if let Some(boxed) = state.slot_mut(slot) {
                work(boxed);
            }
        };
        self.visit_slot(slot, Box::new(visit));
    }

    /// Does `visit` where the box of `slot` is: here, when it is back, or on the shard that owns it
    /// by now.
    pub(crate) fn visit_slot(&mut self, slot: u16, visit: Visit) {
        let forward = |visit: Visit| {
            let visit = move |state: &mut ShardState| state.visit_slot(slot, visit);
            Message::Call(Box::new(visit))
        };
        match self.locate(slot) {
            Place::Here => visit(self),
            Place::Lent => self.park(slot, Parked::Visit(slot, visit)),
            Place::OnItsWay => self.send(self.id, forward(visit)),
            Place::Shard(owner) => self.send(owner, forward(visit)),
        }
    }

    /// Lets work on one lent slot wait for it.
    pub(crate) fn park(&mut self, slot: u16, work: Parked) {
        self.places.wait_for(slot, work);
        self.expect_returns();
    }

    /// Lets work on several slots, all of them here or lent, wait until all are here.
    pub(crate) fn park_for_all(&mut self, slots: Slots, work: Parked) {
        self.places.wait_for_all(slots, work);
        self.expect_returns();
    }

    /// Boxes that come back quietly wake this thread only if something waits for them.
    fn expect_returns(&mut self) {
        let expects = self.places.parked() > 0;
        if expects == std::mem::replace(&mut self.expects_returns, expects) {
            return;
        }
        let mailbox = &self.shared.mailboxes[self.id.index()];
        if expects {
            mailbox.expect();
        } else {
            mailbox.expect_nothing();
        }
    }

    /// Begins a hold of this shard: it starts where the first of its slots are.
    pub(crate) fn begin_hold(&mut self, mut hold: Box<Hold>) {
        self.counters.borrows.add(1);
        if *hold.want() == Want::All {
            self.freeze(&mut hold);
        }
        self.start_hold(hold);
    }

    fn start_hold(&mut self, hold: Box<Hold>) {
        let first = hold.next(|slot| self.shared.router.owner(slot));
        if first == self.id {
            self.take_for(hold);
        } else {
            self.follow(Step::Go(first, hold));
        }
    }

    /// Keeps all slots on their shards until the hold has what it wants.
    fn freeze(&self, hold: &mut Hold) {
        if !std::mem::replace(&mut hold.freezes, true) {
            self.shared.router.freeze();
        }
    }

    /// A hold is here: it takes what it wants of this shard, and goes on.
    pub(crate) fn take_for(&mut self, hold: Box<Hold>) {
        let step = self.arrive(hold);
        self.follow(step);
    }

    /// Decides what a hold does that is here.
    fn arrive(&mut self, hold: Box<Hold>) -> Step<Box<Slot>, Purpose> {
        let now_ms = self.shared.clock.mono_ms();
        let shared = std::sync::Arc::clone(&self.shared);
        let owner = |slot| shared.router.owner(slot);
        let step = self.places.arrive(&mut self.engine, owner, shared.shards(), hold, now_ms);
        self.engine.lent_bytes = self.places.lent_bytes();
        if matches!(step, Step::Waits) {
            self.expect_returns();
        }
        step
    }

    /// Does what a hold that was here does next. It takes slots of other shards at once where
    /// nobody uses these: no thread is woken for it then.
    fn follow(&mut self, step: Step<Box<Slot>, Purpose>) {
        match places::travel(self.id, step, |to, hold| self.visit_for(to, hold)) {
            Step::Go(to, hold) => self.send(to, Message::Hold(hold)),
            Step::Complete(hold) => self.hold_complete(hold),
            Step::Waits => {}
            Step::Restart(mut hold, parts) => {
                if hold.restarts >= RESTARTS_MAX {
                    self.freeze(&mut hold);
                }
                self.counters.hold_restarts.add(1);
                self.give_back(parts);
                self.start_hold(hold);
            }
        }
    }

    /// Lets a hold take its slots of a shard: of this one, or of another whose state is free.
    fn visit_for(
        &mut self,
        shard: ShardId,
        hold: Box<Hold>,
    ) -> Result<Step<Box<Slot>, Purpose>, Box<Hold>> {
        if shard == self.id {
            return Ok(self.arrive(hold));
        }
        // What serves a blocked client does not go on while others are served.
        if matches!(hold.purpose, Purpose::Serve(_)) {
            return Err(hold);
        }
        let mut hold = Some(hold);
        let step = self.on_behalf(shard, |other| hold.take().map(|hold| other.arrive(hold)));
        step.flatten().ok_or_else(|| hold.expect("nobody has taken it"))
    }

    /// A hold of this shard has all its slots.
    fn hold_complete(&mut self, mut hold: Box<Hold>) {
        if std::mem::replace(&mut hold.freezes, false) {
            self.shared.router.thaw();
        }
        match &hold.purpose {
            Purpose::Connection(token) => {
                let token = *token;
                if let Some(Outcome::Held(hold)) = self.waits.complete(token, Outcome::Held(hold)) {
                    // The connection has gone: nothing to execute.
                    self.give_back(hold.parts);
                }
            }
            Purpose::Serve(_) => self.serve_held(*hold),
        }
    }

    /// Puts the boxes of a transaction where its commands find them. Until [`Self::unload`],
    /// with no `await` between, this shard has all of them.
    pub(crate) fn load(&mut self, hold: &mut Hold) -> Loaded {
        let mut parts = SmallVec::new();
        for part in std::mem::take(&mut hold.parts) {
            let Part { lender, is_whole, boxes } = part;
            let mut slots = Vec::with_capacity(boxes.len());
            for (slot, boxed) in boxes {
                self.visiting_bytes += boxed.data().bytes();
                self.engine.put(slot, boxed);
                slots.push(slot);
            }
            parts.push(LoadedPart { lender, is_whole, slots });
        }
        Loaded { parts }
    }

    /// Takes the boxes out again and sends each back to who lent it.
    pub(crate) fn unload(&mut self, loaded: Loaded) {
        let parts = self.unload_parts(loaded);
        self.give_back(parts);
    }

    /// Takes the boxes out again, but keeps holding them.
    pub(crate) fn stash(&mut self, loaded: Loaded, hold: &mut Hold) {
        hold.parts = self.unload_parts(loaded);
    }

    fn unload_parts(&mut self, loaded: Loaded) -> SmallVec<[Part<Box<Slot>>; 2]> {
        self.visiting_bytes = 0;
        let mut parts = SmallVec::new();
        for LoadedPart { lender, is_whole, slots } in loaded.parts {
            let take = |slot| {
                let boxed = self.engine.take(slot).expect("loaded before");
                (slot, boxed)
            };
            let boxes = slots.into_iter().map(take).collect();
            parts.push(Part { lender, is_whole, boxes });
        }
        parts
    }

    pub(crate) fn give_back(&mut self, parts: impl IntoIterator<Item = Part<Box<Slot>>>) {
        // It may have been here more than once.
        let mut own = SmallVec::<[_; 2]>::new();
        for part in parts {
            if part.lender == self.id {
                own.push(part);
            } else if let Some(part) = self.return_on_behalf(part) {
                // Whoever lent them mostly does not miss them before it is awake anyway.
                let mailbox = &self.shared.mailboxes[part.lender.index()];
                if has_ready(&part) {
                    mailbox.push(Message::Return(part));
                } else {
                    mailbox.push_quietly(Message::Return(part));
                }
            }
        }
        own.into_iter().for_each(|part| self.take_back(part));
    }

    /// Puts boxes back where they came from, if nobody uses that shard's state and nothing waits
    /// for them: what has waited is its own thread's work. Otherwise they are returned.
    fn return_on_behalf(&self, part: Part<Box<Slot>>) -> Option<Part<Box<Slot>>> {
        if has_ready(&part) {
            return Some(part);
        }
        let lender = part.lender;
        let mut part = Some(part);
        self.on_behalf(lender, |other| {
            if other.places.parked() == 0
                && let Some(part) = part.take()
            {
                other.take_back(part);
            }
        });
        part
    }

    /// Boxes of this shard are back: what waited for them goes on, in order.
    pub(crate) fn take_back(&mut self, part: Part<Box<Slot>>) {
        let slots: Slots = part.boxes.iter().map(|(slot, _)| *slot).collect();
        self.places.take_back(&mut self.engine, part);
        self.engine.lent_bytes = self.places.lent_bytes();
        slots.iter().for_each(|slot| self.note_ready(*slot));
        self.serve_ready();
        self.go_on();
    }

    /// Lets go on what has waited and need not any more.
    pub(super) fn go_on(&mut self) {
        // What goes on may give boxes back itself: the outermost call sees to what follows.
        if std::mem::replace(&mut self.goes_on, true) {
            return;
        }
        loop {
            let now_ms = self.shared.clock.mono_ms();
            let due = self.places.next(&mut self.engine, now_ms);
            self.engine.lent_bytes = self.places.lent_bytes();
            match due {
                Some(Due::Work(Parked::Batch(batch))) => self.continue_batch(batch),
                Some(Due::Work(Parked::Visit(slot, visit))) => self.visit_slot(slot, visit),
                Some(Due::Hold(hold)) => self.take_for(hold),
                None => break,
            }
        }
        self.goes_on = false;
        self.expect_returns();
    }

    /// A slot has come here: its ready keys are to be served here.
    pub(super) fn note_ready(&mut self, slot: u16) {
        if self.slot(slot).is_some_and(|boxed| boxed.waiters.has_ready()) {
            self.ready.push_back(slot);
        }
    }
}

/// Whether a key of these slots has got something for a blocked client.
fn has_ready(part: &Part<Box<Slot>>) -> bool {
    part.boxes.iter().any(|(_, boxed)| boxed.waiters.has_ready())
}
