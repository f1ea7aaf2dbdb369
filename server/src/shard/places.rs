//! Where the slots of a shard are, and in which order those wait that want them. Decides only:
//! what is to be sent, executed or answered is returned to the caller, which is the server, the
//! simulation or the model checker.
//!
//! A *hold* takes the boxes of its slots shard by shard, in ascending order of the shards, and on
//! each shard all at once. Where it cannot have them it waits behind the holds that came before.
//!
//! Invariant: a hold waits on a shard only while it has no box of this shard or a later one.
//! Whoever has what it waits for is therefore running, or waits on a later shard, or came to this
//! one before it: nobody waits for ever. A hold that would have to wait otherwise, because a slot
//! has moved meanwhile, gives everything back and starts again.
//!
//! Invariant: what needs a single slot and keeps nothing of it (commands, visits) runs when the
//! box comes back, before the next hold takes it. So it waits for one hold, not for all of them,
//! and delays none of them by more than its own work.

use std::collections::{BTreeMap, VecDeque};

use ahash::AHashMap;
use ballast_protocol::slot::SLOTS;
use smallvec::SmallVec;

use crate::ids::ShardId;

/// Slots of a command or a transaction: ascending, without repeats.
pub(crate) type Slots = SmallVec<[u16; 8]>;

/// The table of lent slots is kept for so many at most.
const LENT_KEPT_MAX: usize = 256;

/// Where a slot is, as a shard knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Its box is here.
    Here,
    /// It is this shard's, and travels with a hold that brings it back.
    Lent,
    /// The router says it is this shard's: its box is in the mailbox, ahead of what is sent now.
    OnItsWay,
    /// Another shard owns it.
    Shard(ShardId),
}

/// The boxes that are on a shard.
pub(crate) trait Boxes {
    /// A slot with everything that rides along.
    type Item;
    /// Whether the slot's box is here.
    fn has(&self, slot: u16) -> bool;
    /// Bytes of all that are here.
    fn bytes(&self) -> u64;
    /// Takes a box out.
    fn take(&mut self, slot: u16) -> Option<Self::Item>;
    /// Puts one in, whose place is empty.
    fn put(&mut self, slot: u16, boxed: Self::Item);
    /// Takes all out.
    fn take_all(&mut self) -> Vec<(u16, Self::Item)>;
}

/// Which slots a hold wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// These, ascending and without repeats.
    Slots(Slots),
    /// All there are.
    All,
}

impl Want {
    /// The slots, ascending.
    pub(crate) fn slots(&self) -> &[u16] {
        match self {
            Want::Slots(slots) => slots,
            Want::All => &ALL_SLOTS,
        }
    }
}

/// From the first to the last.
static ALL_SLOTS: [u16; SLOTS as usize] = {
    let mut slots = [0; SLOTS as usize];
    let mut slot = 0;
    while slot < SLOTS {
        slots[slot as usize] = slot;
        slot += 1;
    }
    slots
};

/// Boxes that one shard has lent.
#[derive(Debug)]
pub(crate) struct Part<B> {
    /// Which one.
    pub(crate) lender: ShardId,
    /// Everything that it had.
    pub(crate) is_whole: bool,
    /// The boxes.
    pub(crate) boxes: Vec<(u16, B)>,
}

/// A hold on its way: it collects boxes and ends at `origin` with all of them.
#[derive(Debug)]
pub(crate) struct Hold<B, P> {
    /// Where it ends.
    pub(crate) origin: ShardId,
    /// What for.
    pub(crate) purpose: P,
    /// Shown to operators while it lasts.
    pub(crate) reason: &'static str,
    /// What it has so far.
    pub(crate) parts: SmallVec<[Part<B>; 2]>,
    /// How often it has started again.
    pub(crate) restarts: u32,
    /// Slots are not handed over until it has everything.
    pub(crate) freezes: bool,
    want: Want,
    /// What it does not have yet, of [`Want::Slots`].
    left: Slots,
    /// The shard that is next, of [`Want::All`].
    next: ShardId,
}

impl<B, P> Hold<B, P> {
    pub(crate) fn new(origin: ShardId, want: Want, reason: &'static str, purpose: P) -> Hold<B, P> {
        let mut hold = Hold {
            origin,
            purpose,
            reason,
            parts: SmallVec::new(),
            restarts: 0,
            freezes: false,
            want,
            left: Slots::new(),
            next: ShardId(0),
        };
        hold.forget();
        hold
    }

    /// Which slots it is for.
    pub(crate) fn want(&self) -> &Want {
        &self.want
    }

    /// Begins anew, without any box.
    fn forget(&mut self) -> SmallVec<[Part<B>; 2]> {
        self.next = ShardId(0);
        if let Want::Slots(slots) = &self.want {
            self.left = slots.clone();
        }
        std::mem::take(&mut self.parts)
    }

    /// The shard from which it takes the first, or the next boxes.
    pub(crate) fn next(&self, owner: impl Fn(u16) -> ShardId) -> ShardId {
        match self.want {
            Want::Slots(_) => self.left.iter().map(|slot| owner(*slot)).min(),
            Want::All => Some(self.next),
        }
        .unwrap_or(self.origin)
    }

    /// Whether it may wait on `shard`; see the module.
    fn may_wait(&self, shard: ShardId) -> bool {
        self.parts.iter().all(|part| part.lender < shard)
    }
}

/// What a hold that has come to a shard does next.
#[derive(Debug)]
pub(crate) enum Step<B, P> {
    /// It is at its origin with all its boxes.
    Complete(Box<Hold<B, P>>),
    /// It goes to that shard, maybe this one again, behind what is in its mailbox.
    Go(ShardId, Box<Hold<B, P>>),
    /// It waits here.
    Waits,
    /// It may not wait: these boxes go back, and it starts again at [`Hold::next`].
    Restart(Box<Hold<B, P>>, SmallVec<[Part<B>; 2]>),
}

/// Lets a hold that began on `own` go from shard to shard as far as `visit` takes it there: to the
/// named one, with the decision of which it comes back. Answers with what is left to be done; where
/// it cannot be visited, that is to send it.
pub(crate) fn travel<B, P>(
    own: ShardId,
    mut step: Step<B, P>,
    mut visit: impl FnMut(ShardId, Box<Hold<B, P>>) -> Result<Step<B, P>, Box<Hold<B, P>>>,
) -> Step<B, P> {
    loop {
        step = match step {
            // Its own slots are on their way here, in the mailbox. So may be what it has missed if
            // it begins anew: only by mail does it come behind that.
            Step::Go(to, hold) if to == own || hold.origin != own || hold.restarts > 0 => {
                return Step::Go(to, hold);
            }
            Step::Go(to, hold) => match visit(to, hold) {
                // It has been elsewhere, and nothing here keeps it waiting for mail.
                Ok(Step::Go(to, hold)) if to == own => match visit(own, hold) {
                    Ok(next) => next,
                    Err(hold) => return Step::Go(own, hold),
                },
                Ok(next) => next,
                Err(hold) => return Step::Go(to, hold),
            },
            done => return done,
        };
    }
}

/// What has waited and may go on.
#[derive(Debug)]
pub(crate) enum Due<W, B, P> {
    /// To be tried again: what it waited for has come or gone.
    Work(W),
    /// It has taken its boxes of this shard: on with [`Places::arrive`].
    Hold(Box<Hold<B, P>>),
}

/// A slot that is away.
#[derive(Debug)]
pub(crate) struct Lent {
    /// Why.
    pub(crate) reason: &'static str,
    /// When it left, in monotonic milliseconds.
    pub(crate) since_ms: u64,
    /// Its bytes when it left.
    pub(crate) bytes: u64,
}

/// All slots of a shard while they are away with one hold.
#[derive(Debug)]
struct Whole {
    lent: Lent,
    /// A bit per slot.
    slots: Vec<u64>,
}

impl Whole {
    fn has(&self, slot: u16) -> bool {
        self.slots[usize::from(slot / 64)] >> (slot % 64) & 1 == 1
    }
}

/// Who waits for a slot.
#[derive(Debug)]
struct Queue<W> {
    /// Work on this slot alone; only while it is lent.
    singles: VecDeque<W>,
    /// Who wants several slots, or keeps this one: places in [`Places::waiting`], ascending.
    others: VecDeque<u64>,
}

/// Someone who wants slots that are not all free.
#[derive(Debug)]
struct Waiting<W, B, P> {
    /// Those of this shard.
    slots: Slots,
    who: Due<W, B, P>,
    is_whole: bool,
}

/// See the module. `W` is work that waits for boxes but takes none along, `B` a box and `P` what
/// a hold is for.
#[derive(Debug)]
pub(crate) struct Places<W, B, P> {
    id: ShardId,
    lent: AHashMap<u16, Lent>,
    whole: Option<Box<Whole>>,
    /// Of all that is lent, when it left.
    lent_bytes: u64,
    queues: AHashMap<u16, Queue<W>>,
    /// In order of arrival.
    waiting: BTreeMap<u64, Waiting<W, B, P>>,
    arrivals: u64,
    /// The places in `waiting` of holds for everything.
    wholes: VecDeque<u64>,
    /// Work whose slot is back.
    due: VecDeque<W>,
    /// Places in `waiting` whose turn it may be.
    maybe: VecDeque<u64>,
    singles: usize,
}

impl<W, B, P> Places<W, B, P> {
    pub(crate) fn new(id: ShardId) -> Places<W, B, P> {
        Places {
            id,
            lent: AHashMap::new(),
            whole: None,
            lent_bytes: 0,
            queues: AHashMap::new(),
            waiting: BTreeMap::new(),
            arrivals: 0,
            wholes: VecDeque::new(),
            due: VecDeque::new(),
            maybe: VecDeque::new(),
            singles: 0,
        }
    }

    /// Where `slot` is, whose box is here or not.
    pub(crate) fn locate(&self, slot: u16, is_here: bool, owner: impl Fn(u16) -> ShardId) -> Place {
        if is_here {
            return Place::Here;
        }
        if self.is_lent(slot) {
            return Place::Lent;
        }
        match owner(slot) {
            owner if owner == self.id => Place::OnItsWay,
            owner => Place::Shard(owner),
        }
    }

    fn is_lent(&self, slot: u16) -> bool {
        self.lent.contains_key(&slot) || self.whole.as_ref().is_some_and(|whole| whole.has(slot))
    }

    /// The slots that are away, and why.
    pub(crate) fn lent(&self) -> impl Iterator<Item = (u16, &Lent)> {
        let whole = self.whole.iter().flat_map(|whole| {
            (0..SLOTS).filter(|slot| whole.has(*slot)).map(|slot| (slot, &whole.lent))
        });
        self.lent.iter().map(|(slot, lent)| (*slot, lent)).chain(whole)
    }

    /// Whether no slot is away.
    #[inline]
    pub(crate) fn is_complete(&self) -> bool {
        self.lent.is_empty() && self.whole.is_none()
    }

    /// Whether all slots are away together, so that nothing is known of each.
    pub(crate) fn is_away(&self) -> bool {
        self.whole.is_some()
    }

    /// Bytes of the slots that are away, as of when they left.
    pub(crate) fn lent_bytes(&self) -> u64 {
        self.lent_bytes
    }

    /// How much waits here for boxes.
    pub(crate) fn parked(&self) -> usize {
        self.singles + self.waiting.len()
    }

    /// Work on one lent slot waits until it is back.
    pub(crate) fn wait_for(&mut self, slot: u16, work: W) {
        debug_assert!(self.is_lent(slot));
        self.queue(slot).singles.push_back(work);
        self.singles += 1;
    }

    /// Work on several slots, all of them here or lent, waits until it is first for all of them.
    pub(crate) fn wait_for_all(&mut self, slots: Slots, work: W) {
        self.enqueue(Waiting { slots, who: Due::Work(work), is_whole: false });
    }

    fn queue(&mut self, slot: u16) -> &mut Queue<W> {
        let empty = || Queue { singles: VecDeque::new(), others: VecDeque::new() };
        self.queues.entry(slot).or_insert_with(empty)
    }

    fn enqueue(&mut self, waiting: Waiting<W, B, P>) {
        let place = self.arrivals;
        self.arrivals += 1;
        for slot in &waiting.slots {
            self.queue(*slot).others.push_back(place);
        }
        if waiting.is_whole {
            self.wholes.push_back(place);
        }
        self.waiting.insert(place, waiting);
    }

    /// A hold is here: takes what it wants of this shard, or lets it wait for that.
    pub(crate) fn arrive(
        &mut self,
        boxes: &mut impl Boxes<Item = B>,
        owner: impl Fn(u16) -> ShardId,
        shards: u16,
        mut hold: Box<Hold<B, P>>,
        now_ms: u64,
    ) -> Step<B, P> {
        if hold.want == Want::All {
            return self.arrive_for_all(boxes, shards, hold, now_ms);
        }
        if !hold.left.is_empty() {
            let is_mine = |slot: &u16| boxes.has(*slot) || self.is_lent(*slot);
            let (mine, rest): (Slots, Slots) = hold.left.iter().copied().partition(is_mine);
            if rest.iter().any(|slot| owner(*slot) == self.id) {
                return Step::Go(self.id, hold);
            }
            if mine.iter().all(|slot| self.is_free(boxes, *slot)) {
                self.lend(boxes, &mut hold, &mine, now_ms);
            } else if hold.may_wait(self.id) {
                self.enqueue(Waiting { slots: mine, who: Due::Hold(hold), is_whole: false });
                return Step::Waits;
            } else {
                return restart(hold);
            }
        }
        match hold.next(owner) {
            next if hold.left.is_empty() && next == self.id => Step::Complete(hold),
            next => Step::Go(next, hold),
        }
    }

    /// Whether nobody waits for the slot, whose box is here.
    fn is_free(&self, boxes: &impl Boxes<Item = B>, slot: u16) -> bool {
        boxes.has(slot) && self.wholes.is_empty() && !self.queues.contains_key(&slot)
    }

    fn arrive_for_all(
        &mut self,
        boxes: &mut impl Boxes<Item = B>,
        shards: u16,
        mut hold: Box<Hold<B, P>>,
        now_ms: u64,
    ) -> Step<B, P> {
        if hold.next == self.id {
            if !self.is_complete() || !self.waiting.is_empty() {
                debug_assert!(hold.may_wait(self.id), "it goes from shard to shard");
                let slots = Slots::new();
                self.enqueue(Waiting { slots, who: Due::Hold(hold), is_whole: true });
                return Step::Waits;
            }
            self.lend_all(boxes, &mut hold, now_ms);
        }
        if hold.next.0 < shards {
            return Step::Go(hold.next, hold);
        }
        if hold.parts.iter().map(|part| part.boxes.len()).sum::<usize>() < usize::from(SLOTS) {
            // Some were on their way from one shard to another.
            return restart(hold);
        }
        if hold.origin == self.id { Step::Complete(hold) } else { Step::Go(hold.origin, hold) }
    }

    fn lend(
        &mut self,
        boxes: &mut impl Boxes<Item = B>,
        hold: &mut Hold<B, P>,
        slots: &[u16],
        now_ms: u64,
    ) {
        if slots.is_empty() {
            return;
        }
        let mut taken = Vec::with_capacity(slots.len());
        for slot in slots {
            let before = boxes.bytes();
            let boxed = boxes.take(*slot).expect("it is here");
            let bytes = before - boxes.bytes();
            self.lent_bytes += bytes;
            self.lent.insert(*slot, Lent { reason: hold.reason, since_ms: now_ms, bytes });
            taken.push((*slot, boxed));
        }
        hold.left.retain(|slot| slots.binary_search(slot).is_err());
        hold.parts.push(Part { lender: self.id, is_whole: false, boxes: taken });
    }

    fn lend_all(&mut self, boxes: &mut impl Boxes<Item = B>, hold: &mut Hold<B, P>, now_ms: u64) {
        let lent = Lent { reason: hold.reason, since_ms: now_ms, bytes: boxes.bytes() };
        self.lent_bytes += lent.bytes;
        let taken = boxes.take_all();
        let mut slots = vec![0; usize::from(SLOTS).div_ceil(64)];
        for (slot, _) in &taken {
            slots[usize::from(slot / 64)] |= 1 << (slot % 64);
        }
        self.whole = Some(Box::new(Whole { lent, slots }));
        hold.parts.push(Part { lender: self.id, is_whole: true, boxes: taken });
        hold.next = ShardId(self.id.0 + 1);
    }

    /// Boxes that this shard has lent are back. What waited for them is [`Self::next`].
    pub(crate) fn take_back(&mut self, boxes: &mut impl Boxes<Item = B>, part: Part<B>) {
        debug_assert_eq!(part.lender, self.id);
        if part.is_whole {
            self.lent_bytes -= self.whole.take().expect("it was lent").lent.bytes;
        }
        for (slot, boxed) in part.boxes {
            if !part.is_whole {
                self.lent_bytes -= self.lent.remove(&slot).expect("it was lent").bytes;
            }
            boxes.put(slot, boxed);
            self.came(slot);
        }
        if self.lent.is_empty() && self.lent.capacity() > LENT_KEPT_MAX {
            // A large transaction has made it large.
            self.lent = AHashMap::new();
        }
    }

    /// A slot is here: what waits for it may go on.
    fn came(&mut self, slot: u16) {
        let Some(queue) = self.queues.get_mut(&slot) else { return };
        self.singles -= queue.singles.len();
        self.due.append(&mut queue.singles);
        match queue.others.front() {
            Some(first) => self.maybe.push_back(*first),
            None => drop(self.queues.remove(&slot)),
        }
    }

    /// Takes the box of a slot away for good, to hand it over. Who waits for it with others goes
    /// on without it, and looks for it elsewhere.
    pub(crate) fn release(&mut self, boxes: &mut impl Boxes<Item = B>, slot: u16) -> Option<B> {
        let boxed = boxes.take(slot)?;
        for place in self.queues.remove(&slot).map_or_else(VecDeque::new, |queue| queue.others) {
            if let Some(waiting) = self.waiting.get_mut(&place) {
                waiting.slots.retain(|other| *other != slot);
                self.maybe.push_back(place);
            }
        }
        Some(boxed)
    }

    /// The next that has waited and may go on. To be called until there is none, after
    /// [`Self::take_back`] and [`Self::release`].
    pub(crate) fn next(
        &mut self,
        boxes: &mut impl Boxes<Item = B>,
        now_ms: u64,
    ) -> Option<Due<W, B, P>> {
        if let Some(work) = self.due.pop_front() {
            return Some(Due::Work(work));
        }
        let place = loop {
            let place = self.maybe.pop_front().or_else(|| self.wholes.front().copied())?;
            if self.is_first(boxes, place) {
                break place;
            }
            if self.maybe.is_empty() && self.wholes.front() == Some(&place) {
                return None;
            }
        };
        let Waiting { slots, who, is_whole } = self.dequeue(place);
        Some(match who {
            Due::Work(work) => Due::Work(work),
            Due::Hold(mut hold) => {
                if is_whole {
                    self.lend_all(boxes, &mut hold, now_ms);
                } else {
                    self.lend(boxes, &mut hold, &slots, now_ms);
                }
                Due::Hold(hold)
            }
        })
    }

    fn is_first(&self, boxes: &impl Boxes<Item = B>, place: u64) -> bool {
        let Some(waiting) = self.waiting.get(&place) else { return false };
        if waiting.is_whole {
            let first = self.waiting.first_key_value().map(|(place, _)| *place);
            return first == Some(place) && self.is_complete();
        }
        let is_first = |slot: &u16| {
            boxes.has(*slot)
                && self.queues.get(slot).and_then(|queue| queue.others.front()) == Some(&place)
        };
        self.wholes.front().is_none_or(|whole| *whole > place) && waiting.slots.iter().all(is_first)
    }

    fn dequeue(&mut self, place: u64) -> Waiting<W, B, P> {
        let waiting = self.waiting.remove(&place).expect("it waits");
        for slot in &waiting.slots {
            let queue = self.queues.get_mut(slot).expect("it waits for that");
            queue.others.pop_front();
            match queue.others.front() {
                Some(next) => self.maybe.push_back(*next),
                None if queue.singles.is_empty() => drop(self.queues.remove(slot)),
                None => {}
            }
        }
        if waiting.is_whole {
            self.wholes.pop_front();
            // Those behind it were held up by it alone, wherever their slots are.
            self.maybe.extend(self.waiting.keys());
        }
        waiting
    }
}

/// Gives back what a hold has, and lets it begin anew.
fn restart<B, P>(mut hold: Box<Hold<B, P>>) -> Step<B, P> {
    let parts = hold.forget();
    hold.restarts += 1;
    Step::Restart(hold, parts)
}
