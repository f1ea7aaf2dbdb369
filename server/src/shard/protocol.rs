//! The protocol of shards over real mailboxes, homes, router and places, in random interleavings
//! of their threads: a slot has one box, what waits for it keeps its order, nothing waits for
//! ever. What shards do with the messages is told again here, as short as it can be; all that they
//! decide about slots is decided by the server's [`Places`]. The simulation of connections runs
//! the real shards, but one message at a time.

#![allow(clippy::duplicate_mod, reason = "the same source over other atomics")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use shuttle::future::block_on;
use shuttle::thread;

use self::home::Home;
use self::mailbox::Mailbox;
use self::router::Router;
use super::places::{self, Boxes, Due, Place, Places, Want};
use crate::ids::ShardId;

#[path = "home.rs"]
mod home;
#[allow(dead_code, reason = "some of it is for INFO only")]
#[path = "mailbox.rs"]
mod mailbox;
#[allow(dead_code, reason = "some of it is for INFO only")]
#[path = "../node/router.rs"]
mod router;

/// [`crate::node::sync`] for the model.
mod sync {
    use std::collections::VecDeque;

    pub(super) use shuttle::sync::MutexGuard;
    pub(super) use shuttle::sync::atomic::{AtomicBool, AtomicU16, AtomicU64};

    #[derive(Debug)]
    pub(super) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(super) fn new(value: T) -> Mutex<T> {
            Mutex(shuttle::sync::Mutex::new(value))
        }

        pub(super) fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
            self.0.lock().expect("nobody panics with it")
        }

        pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }

    #[derive(Debug)]
    pub(super) struct SegQueue<M>(Mutex<VecDeque<M>>);

    impl<M> SegQueue<M> {
        pub(super) fn new() -> SegQueue<M> {
            SegQueue(Mutex::new(VecDeque::new()))
        }

        pub(super) fn push(&self, message: M) {
            self.0.lock().push_back(message);
        }

        pub(super) fn pop(&self) -> Option<M> {
            self.0.lock().pop_front()
        }

        pub(super) fn is_empty(&self) -> bool {
            self.len() == 0
        }

        pub(super) fn len(&self) -> usize {
            self.0.lock().len()
        }
    }
}

/// Interleavings that are tried of each model: half of them uniformly random, half with few
/// preemptions at random places, which find what only a rare order brings about.
const TRIES: usize = 3_000;
const PREEMPTIONS: usize = 4;

fn explore(model: impl Fn() + Sync + Send + Copy + 'static) {
    shuttle::check_random(model, TRIES);
    shuttle::check_pct(model, TRIES, PREEMPTIONS);
}

/// What the commands have written into a slot.
type Content = Vec<u32>;
type Hold = places::Hold<Content, ()>;
type Step = places::Step<Content, ()>;
type Part = places::Part<Content>;

#[derive(Debug)]
enum Message {
    /// Commands for slot 0, from the connection, which is no shard here.
    Batch(VecDeque<u32>),
    /// What of it is left.
    BatchDone(VecDeque<u32>),
    Adopt(u16, Content),
    /// A transaction over both slots.
    Hold(Box<Hold>),
    Return(Part),
    /// One command for slot 0, to which there is no answer.
    Note(u32),
    /// Hand this slot over, if it is here.
    HandOver(u16, ShardId),
    /// A transaction of this shard is over.
    Done,
    Stop,
}

const SLOTS: usize = 2;
/// The mailbox of the connection.
const CLIENT: usize = 2;
/// Starts after which hand-overs wait for a hold.
const RESTARTS_MAX: u32 = 1;

/// The boxes that are on a shard.
#[derive(Debug, Default)]
struct Here([Option<Content>; SLOTS]);

impl Boxes for Here {
    type Item = Content;

    fn has(&self, slot: u16) -> bool {
        self.0[usize::from(slot)].is_some()
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn take(&mut self, slot: u16) -> Option<Content> {
        self.0[usize::from(slot)].take()
    }

    fn put(&mut self, slot: u16, boxed: Content) {
        let before = self.0[usize::from(slot)].replace(boxed);
        assert!(before.is_none(), "slot {slot} has two boxes");
    }

    fn take_all(&mut self) -> Vec<(u16, Content)> {
        unreachable!("no transaction wants more than these two slots")
    }
}

struct Shared {
    router: Router,
    mailboxes: [Mailbox<Message>; 3],
    homes: [Home<Shard>; 2],
}

impl Shared {
    /// Each of two shards has one slot.
    fn new() -> Arc<Shared> {
        let router = Router::with_owners((0..2).map(ShardId));
        let mailboxes = [Mailbox::new(), Mailbox::new(), Mailbox::new()];
        Arc::new(Shared { router, mailboxes, homes: [Home::default(), Home::default()] })
    }

    fn owner(&self, slot: u16) -> usize {
        self.router.owner(slot).index()
    }

    /// Begins a transaction over both slots on a shard.
    fn begin(&self, origin: usize) {
        let want = Want::Slots((0..SLOTS as u16).collect());
        let hold = Hold::new(ShardId(origin as u16), want, "transaction", ());
        self.send(origin, Message::Hold(Box::new(hold)));
    }

    fn send(&self, to: usize, message: Message) {
        self.mailboxes[to].push(message);
    }

    fn receive(&self, at: usize) -> Message {
        block_on(self.mailboxes[at].wait());
        self.mailboxes[at].pop().expect("it has waited for one")
    }

    /// A connection's commands for slot 0: executed on behalf of its owner, or sent there. Whether
    /// all are done.
    fn execute(&self, owner: usize, mut batch: VecDeque<u32>) -> bool {
        let run = |shard: &mut Shard| {
            self.mailboxes[owner].is_empty().then(|| shard.run_batch(&mut batch));
        };
        self.homes[owner].visit(run);
        let is_done = batch.is_empty();
        if !is_done {
            self.send(owner, Message::Batch(batch));
        }
        is_done
    }

    /// Sends on what comes back of `open` batches, until all are done. Returns how many
    /// transactions were over meanwhile.
    fn finish(&self, mut open: usize) -> usize {
        let mut transactions = 0;
        while open > 0 {
            match self.receive(CLIENT) {
                Message::BatchDone(left) if left.is_empty() => open -= 1,
                Message::BatchDone(left) => open -= usize::from(self.execute(self.owner(0), left)),
                Message::Done => transactions += 1,
                other => panic!("{other:?}"),
            }
        }
        transactions
    }
}

struct Shard {
    id: ShardId,
    shared: Arc<Shared>,
    here: Here,
    places: Places<Message, Content, ()>,
    goes_on: bool,
}

impl home::Resident for Shard {}

impl Shard {
    /// Runs until `Stop` and leaves the boxes it has.
    fn spawn(id: usize, shared: &Arc<Shared>) -> thread::JoinHandle<[Option<Content>; SLOTS]> {
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let (home, borrowed) = (&shared.homes[id], RefCell::default());
            let mut here = Here::default();
            here.put(id as u16, Content::new());
            let (all, id) = (Arc::clone(&shared), ShardId(id as u16));
            home.settle(Shard { id, shared: all, here, places: Places::new(id), goes_on: false });
            let mailbox = &shared.mailboxes[id.index()];
            let boxes = loop {
                block_on(mailbox.wait());
                let mut shard = home.lock(&borrowed);
                match mailbox.pop() {
                    None => {}
                    Some(Message::Stop) => {
                        assert!(shard.places.is_complete() && shard.places.parked() == 0);
                        break std::mem::take(&mut shard.here.0);
                    }
                    Some(message) => shard.handle(message),
                }
            };
            home.vacate();
            boxes
        })
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Batch(batch) => self.batch(batch),
            Message::Note(command) => match self.locate(0) {
                Place::Here => drop(self.run_batch(&mut [command].into())),
                Place::Lent => self.wait_for(0, Message::Note(command)),
                Place::OnItsWay => self.send(self.id, Message::Note(command)),
                Place::Shard(owner) => self.send(owner, Message::Note(command)),
            },
            Message::Hold(hold) => self.take_for(hold),
            Message::Adopt(slot, boxed) => {
                assert!(!matches!(self.locate(slot), Place::Here | Place::Lent));
                self.here.put(slot, boxed);
            }
            Message::Return(part) => self.take_back(part),
            Message::HandOver(slot, to) => self.hand_over(slot, to),
            Message::BatchDone(_) | Message::Done | Message::Stop => unreachable!("not for shards"),
        }
    }

    fn send(&self, to: ShardId, message: Message) {
        self.shared.send(to.index(), message);
    }

    fn locate(&self, slot: u16) -> Place {
        let owner = |slot| self.shared.router.owner(slot);
        self.places.locate(slot, self.here.has(slot), owner)
    }

    fn wait_for(&mut self, slot: u16, message: Message) {
        self.places.wait_for(slot, message);
        self.expect_returns();
    }

    fn expect_returns(&self) {
        let mailbox = &self.shared.mailboxes[self.id.index()];
        match self.places.parked() {
            0 => mailbox.expect_nothing(),
            _ => mailbox.expect(),
        }
    }

    fn hand_over(&mut self, slot: u16, to: ShardId) {
        let shared = Arc::clone(&self.shared);
        if to == self.id || shared.router.owner(slot) != self.id || shared.router.is_frozen() {
            return;
        }
        let Some(boxed) = self.places.release(&mut self.here, slot) else { return };
        shared.router.hand_over(slot, to, || self.send(to, Message::Adopt(slot, boxed)));
        self.go_on();
    }

    fn batch(&mut self, mut batch: VecDeque<u32>) {
        if !self.run_batch(&mut batch) {
            match self.locate(0) {
                Place::Lent => return self.wait_for(0, Message::Batch(batch)),
                Place::OnItsWay => return self.send(self.id, Message::Batch(batch)),
                Place::Here | Place::Shard(_) => {}
            }
        }
        self.shared.send(CLIENT, Message::BatchDone(batch));
    }

    /// Executes the commands if their slot is here.
    fn run_batch(&mut self, batch: &mut VecDeque<u32>) -> bool {
        let Some(boxed) = &mut self.here.0[0] else { return false };
        boxed.extend(batch.drain(..));
        true
    }

    fn take_for(&mut self, hold: Box<Hold>) {
        let step = self.arrive(hold);
        self.follow(step);
    }

    fn arrive(&mut self, hold: Box<Hold>) -> Step {
        let shared = Arc::clone(&self.shared);
        let owner = |slot| shared.router.owner(slot);
        let step = self.places.arrive(&mut self.here, owner, SLOTS as u16, hold, 0);
        if matches!(step, Step::Waits) {
            self.expect_returns();
        }
        step
    }

    fn follow(&mut self, step: Step) {
        match places::travel(self.id, step, |to, hold| self.visit_for(to, hold)) {
            Step::Go(to, hold) => self.send(to, Message::Hold(hold)),
            Step::Complete(hold) => self.complete(*hold),
            Step::Waits => {}
            Step::Restart(mut hold, parts) => {
                if hold.restarts >= RESTARTS_MAX && !std::mem::replace(&mut hold.freezes, true) {
                    self.shared.router.freeze();
                }
                parts.into_iter().for_each(|part| self.give_back(part));
                let first = hold.next(|slot| self.shared.router.owner(slot));
                self.send(first, Message::Hold(hold));
            }
        }
    }

    fn visit_for(&mut self, shard: ShardId, hold: Box<Hold>) -> Result<Step, Box<Hold>> {
        if shard == self.id {
            return Ok(self.arrive(hold));
        }
        let mut hold = Some(hold);
        let step = self.on_behalf(shard, |other| hold.take().map(|hold| other.arrive(hold)));
        step.flatten().ok_or_else(|| hold.expect("nobody has taken it"))
    }

    fn on_behalf<R>(&self, of: ShardId, work: impl FnOnce(&mut Shard) -> R) -> Option<R> {
        let mailbox = &self.shared.mailboxes[of.index()];
        let visit = |other: &mut Shard| mailbox.is_empty().then(|| work(other));
        self.shared.homes[of.index()].visit(visit).flatten()
    }

    /// The transaction writes into both slots at once, and gives them back.
    fn complete(&mut self, mut hold: Hold) {
        if std::mem::replace(&mut hold.freezes, false) {
            self.shared.router.thaw();
        }
        let mut parts = std::mem::take(&mut hold.parts);
        let boxes: Vec<_> = parts.iter_mut().flat_map(|part| &mut part.boxes).collect();
        assert_eq!(boxes.len(), SLOTS);
        boxes.into_iter().for_each(|(_, boxed)| boxed.push(100 + u32::from(self.id.0)));
        parts.into_iter().for_each(|part| self.give_back(part));
        self.shared.send(CLIENT, Message::Done);
    }

    fn give_back(&mut self, part: Part) {
        let lender = part.lender;
        if lender == self.id {
            return self.take_back(part);
        }
        let mut part = Some(part);
        self.on_behalf(lender, |other| {
            if other.places.parked() == 0
                && let Some(part) = part.take()
            {
                other.take_back(part);
            }
        });
        if let Some(part) = part {
            self.shared.mailboxes[lender.index()].push_quietly(Message::Return(part));
        }
    }

    fn take_back(&mut self, part: Part) {
        self.places.take_back(&mut self.here, part);
        self.go_on();
    }

    fn go_on(&mut self) {
        if std::mem::replace(&mut self.goes_on, true) {
            return;
        }
        while let Some(due) = self.places.next(&mut self.here, 0) {
            match due {
                Due::Work(message) => self.handle(message),
                Due::Hold(hold) => self.take_for(hold),
            }
        }
        self.goes_on = false;
        self.expect_returns();
    }
}

/// Ends the shards. Each slot must be on one of them.
fn stop(
    shared: &Shared,
    shards: [thread::JoinHandle<[Option<Content>; SLOTS]>; 2],
) -> [Content; SLOTS] {
    shared.send(0, Message::Stop);
    shared.send(1, Message::Stop);
    let [zero, one] = shards.map(|shard| shard.join().expect("it does not panic"));
    let mut both = zero.into_iter().zip(one);
    std::array::from_fn(|_| match both.next() {
        Some((Some(boxed), None) | (None, Some(boxed))) => boxed,
        other => panic!("one box per slot, not {other:?}"),
    })
}

#[test]
fn commands_never_overtake_each_other_across_a_hand_over() {
    explore(|| {
        let shared = Shared::new();
        shared.send(0, Message::HandOver(0, ShardId(1)));
        shared.send(1, Message::HandOver(0, ShardId(0)));
        let shards = [0, 1].map(|id| Shard::spawn(id, &shared));
        // Two commands of one connection, each routed by itself, as a batch is grouped; then one
        // message if the router did not stand still.
        let owners = [shared.owner(0), shared.owner(0)];
        let is_settled =
            owners[0] != owners[1] && owners.iter().all(|owner| shared.owner(0) == *owner);
        let batches: Vec<(usize, VecDeque<u32>)> = if is_settled {
            vec![(owners[0], [1].into()), (owners[1], [2].into())]
        } else {
            vec![(owners[0], [1, 2].into())]
        };
        let sent = batches.into_iter().filter(|(to, batch)| !shared.execute(*to, batch.clone()));
        assert_eq!(shared.finish(sent.count()), 0);
        // A hand-over may still be on its way: it arrives ahead of what is sent behind it.
        let [boxed, _] = stop_settled(&shared, shards);
        assert_eq!(boxed, [1, 2]);
    });
}

#[test]
fn whoever_acts_on_behalf_of_a_shard_does_not_overtake_what_it_has_sent() {
    explore(|| {
        let shared = Shared::new();
        shared.begin(1);
        let shards = [0, 1].map(|id| Shard::spawn(id, &shared));
        let mut transactions = 0;
        for number in 1..4 {
            shared.send(0, Message::Note(2 * number - 1));
            let is_done = shared.execute(0, [2 * number].into());
            transactions += shared.finish(usize::from(!is_done));
        }
        if transactions == 0 {
            assert!(matches!(shared.receive(CLIENT), Message::Done));
        }
        let [boxed, _] = stop(&shared, shards);
        assert_eq!(
            boxed.into_iter().filter(|of| *of < 100).collect::<Vec<_>>(),
            [1, 2, 3, 4, 5, 6]
        );
    });
}

#[test]
fn transactions_and_hand_overs_never_wait_for_each_other_for_ever() {
    explore(|| {
        let shared = Shared::new();
        for origin in [0, 1] {
            shared.begin(origin);
        }
        shared.send(0, Message::HandOver(0, ShardId(1)));
        let shards = [0, 1].map(|id| Shard::spawn(id, &shared));
        for _ in 0..2 {
            assert!(matches!(shared.receive(CLIENT), Message::Done));
        }
        let boxes = stop_settled(&shared, shards);
        // Both did all or nothing before the other, in the same order on both slots.
        assert_eq!(boxes[0], boxes[1]);
        assert!(matches!(boxes[0][..], [100, 101] | [101, 100]));
    });
}

#[test]
fn transactions_of_both_shards_go_on_while_both_slots_move() {
    explore(|| {
        let shared = Shared::new();
        shared.begin(0);
        shared.send(0, Message::HandOver(0, ShardId(1)));
        shared.send(1, Message::HandOver(1, ShardId(0)));
        shared.begin(1);
        let shards = [0, 1].map(|id| Shard::spawn(id, &shared));
        for _ in 0..2 {
            assert!(matches!(shared.receive(CLIENT), Message::Done));
        }
        let boxes = stop_settled(&shared, shards);
        assert_eq!(boxes[0], boxes[1]);
        assert_eq!(boxes[0].len(), 2);
        assert!(!shared.router.is_frozen());
    });
}

/// [`stop`] after hand-overs that may still be under way: what they are sent by and what they
/// consist of is at most one message behind the other.
fn stop_settled(
    shared: &Arc<Shared>,
    shards: [thread::JoinHandle<[Option<Content>; SLOTS]>; 2],
) -> [Content; SLOTS] {
    // A transaction goes behind all that is there, and comes back when it has all slots.
    shared.begin(0);
    assert!(matches!(shared.receive(CLIENT), Message::Done));
    let mut boxes = stop(shared, shards);
    for boxed in &mut boxes {
        assert_eq!(boxed.pop(), Some(100));
    }
    boxes
}
