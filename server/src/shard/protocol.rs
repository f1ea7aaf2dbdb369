//! The protocol of shards over real mailboxes and the real router, in random interleavings of
//! their threads: a slot has one box, what waits for it keeps its order, nothing waits for ever.
//! What shards do with the messages is told again here, as short as it can be; the simulation
//! beside it runs the real shards, but one message at a time.

#![allow(clippy::duplicate_mod, reason = "the same source over other atomics")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use shuttle::future::block_on;
use shuttle::thread;

use self::home::Home;
use self::mailbox::Mailbox;
use self::router::Router;
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
type Box = Vec<u32>;

#[derive(Debug)]
enum Message {
    /// Commands for slot 0, from the connection, which is no shard here.
    Batch(VecDeque<u32>),
    /// What of it is left.
    BatchDone(VecDeque<u32>),
    Adopt(usize, Box),
    Borrow(Borrow),
    Return(Vec<(usize, Box)>),
    /// One command for slot 0, to which there is no answer.
    Note(u32),
    /// Hand this slot over, if it is here.
    HandOver(usize, usize),
    /// A transaction of this shard is over.
    Done,
    Stop,
}

/// A transaction over slots 0 and 1.
#[derive(Debug)]
struct Borrow {
    origin: usize,
    got: Vec<(Box, usize)>,
}

const SLOTS: usize = 2;
/// The mailbox of the connection.
const CLIENT: usize = 2;

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

    fn owner(&self, slot: usize) -> usize {
        self.router.owner(slot as u16).index()
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
    id: usize,
    shared: Arc<Shared>,
    parked: usize,
    slots: [Option<Box>; SLOTS],
    lent: [Option<Vec<Message>>; SLOTS],
}

impl home::Resident for Shard {}

impl Shard {
    /// Runs until `Stop` and leaves the boxes it has.
    fn spawn(id: usize, shared: &Arc<Shared>) -> thread::JoinHandle<[Option<Box>; SLOTS]> {
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let mut slots = [None, None];
            slots[id] = Some(Box::new());
            let (home, borrowed) = (&shared.homes[id], RefCell::default());
            let all = Arc::clone(&shared);
            home.settle(Shard { id, shared: all, parked: 0, slots, lent: [None, None] });
            let slots = loop {
                block_on(shared.mailboxes[id].wait());
                let mut shard = home.lock(&borrowed);
                match shared.mailboxes[id].pop() {
                    None => {}
                    Some(Message::Stop) => break std::mem::take(&mut shard.slots),
                    Some(message) => shard.handle(message),
                }
            };
            home.vacate();
            slots
        })
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Batch(batch) => self.batch(batch),
            Message::Note(command) => {
                if !self.run_batch(&mut [command].into()) {
                    self.wait_for(0, Message::Note(command));
                }
            }
            Message::Borrow(borrow) => self.borrow(borrow),
            Message::Adopt(slot, boxed) => {
                assert!(self.slots[slot].is_none() && self.lent[slot].is_none());
                self.slots[slot] = Some(boxed);
            }
            Message::Return(boxes) => self.take_back(boxes),
            Message::HandOver(slot, to) => {
                if let Some(boxed) = self.slots[slot].take() {
                    let shared = Arc::clone(&self.shared);
                    let push = || shared.send(to, Message::Adopt(slot, boxed));
                    shared.router.hand_over(slot as u16, ShardId(to as u16), push);
                }
            }
            Message::BatchDone(_) | Message::Done | Message::Stop => unreachable!("not for shards"),
        }
    }

    /// Keeps what is for a slot that is not here, or sends it to where the slot is.
    fn wait_for(&mut self, slot: usize, message: Message) {
        if let Some(parked) = &mut self.lent[slot] {
            parked.push(message);
            self.parked += 1;
            if self.parked == 1 {
                self.shared.mailboxes[self.id].expect();
            }
        } else {
            self.shared.send(self.shared.owner(slot), message);
        }
    }

    fn batch(&mut self, mut batch: VecDeque<u32>) {
        if !self.run_batch(&mut batch) {
            if self.lent[0].is_none() && self.shared.owner(0) != self.id {
                return self.shared.send(CLIENT, Message::BatchDone(batch));
            }
            return self.wait_for(0, Message::Batch(batch));
        }
        self.shared.send(CLIENT, Message::BatchDone(batch));
    }

    /// Executes the commands if their slot is here.
    fn run_batch(&mut self, batch: &mut VecDeque<u32>) -> bool {
        let Some(boxed) = &mut self.slots[0] else { return false };
        boxed.extend(batch.drain(..));
        true
    }

    fn borrow(&mut self, mut borrow: Borrow) {
        while borrow.got.len() < SLOTS {
            let slot = borrow.got.len();
            let Some(boxed) = self.slots[slot].take() else {
                return self.wait_for(slot, Message::Borrow(borrow));
            };
            self.lent[slot] = Some(Vec::new());
            borrow.got.push((boxed, self.id));
        }
        if borrow.origin != self.id {
            return self.shared.send(borrow.origin, Message::Borrow(borrow));
        }
        let mut own = Vec::new();
        for (slot, (mut boxed, lender)) in borrow.got.into_iter().enumerate() {
            boxed.push(100 + self.id as u32);
            if lender == self.id {
                own.push((slot, boxed));
            } else {
                let boxes = vec![(slot, boxed)];
                self.shared.mailboxes[lender].push_quietly(Message::Return(boxes));
            }
        }
        self.take_back(own);
        self.shared.send(CLIENT, Message::Done);
    }

    fn take_back(&mut self, boxes: Vec<(usize, Box)>) {
        let mut parked = Vec::new();
        for (slot, boxed) in boxes {
            assert!(self.slots[slot].replace(boxed).is_none());
            parked.extend(self.lent[slot].take().expect("it was lent"));
        }
        if !parked.is_empty() {
            self.parked -= parked.len();
            if self.parked == 0 {
                self.shared.mailboxes[self.id].expect_nothing();
            }
        }
        parked.into_iter().for_each(|message| self.handle(message));
    }
}

/// Ends the shards. Each slot must be on one of them.
fn stop(shared: &Shared, shards: [thread::JoinHandle<[Option<Box>; SLOTS]>; 2]) -> [Box; SLOTS] {
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
        shared.send(0, Message::HandOver(0, 1));
        shared.send(1, Message::HandOver(0, 0));
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
        shared.send(1, Message::Borrow(Borrow { origin: 1, got: Vec::new() }));
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
            shared.send(origin, Message::Borrow(Borrow { origin, got: Vec::new() }));
        }
        shared.send(0, Message::HandOver(0, 1));
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

/// [`stop`] after hand-overs that may still be under way: what they are sent by and what they
/// consist of is at most one message behind the other.
fn stop_settled(
    shared: &Arc<Shared>,
    shards: [thread::JoinHandle<[Option<Box>; SLOTS]>; 2],
) -> [Box; SLOTS] {
    // A transaction goes behind all that is there, and comes back when it has all slots.
    shared.send(0, Message::Borrow(Borrow { origin: 0, got: Vec::new() }));
    assert!(matches!(shared.receive(CLIENT), Message::Done));
    let mut boxes = stop(shared, shards);
    for boxed in &mut boxes {
        assert_eq!(boxed.pop(), Some(100));
    }
    boxes
}
