//! The protocol of shards over real mailboxes and the real router, in random interleavings of
//! their threads: a slot has one box, what waits for it keeps its order, nothing waits for ever.
//! What shards do with the messages is told again here, as short as it can be; the simulation
//! beside it runs the real shards, but one message at a time.

#![allow(clippy::duplicate_mod, reason = "the same source over other atomics")]

use std::collections::VecDeque;
use std::sync::Arc;

use shuttle::future::block_on;
use shuttle::thread;

use self::mailbox::Mailbox;
use self::router::Router;
use crate::ids::ShardId;

#[allow(dead_code, reason = "some of it is for INFO only")]
#[path = "mailbox.rs"]
mod mailbox;
#[allow(dead_code, reason = "some of it is for INFO only")]
#[path = "../router.rs"]
mod router;

/// [`crate::sync`] for the model.
mod sync {
    use std::collections::VecDeque;

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
}

impl Shared {
    /// Each of two shards has one slot.
    fn new() -> Arc<Shared> {
        let router = Router::with_owners((0..2).map(ShardId));
        Arc::new(Shared { router, mailboxes: [Mailbox::new(), Mailbox::new(), Mailbox::new()] })
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
}

struct Shard {
    id: usize,
    shared: Arc<Shared>,
    parked: usize,
    slots: [Option<Box>; SLOTS],
    lent: [Option<Vec<Message>>; SLOTS],
}

impl Shard {
    /// Runs until `Stop` and leaves the boxes it has.
    fn spawn(id: usize, shared: &Arc<Shared>) -> thread::JoinHandle<[Option<Box>; SLOTS]> {
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let mut slots = [None, None];
            slots[id] = Some(Box::new());
            let mut shard =
                Shard { id, shared: Arc::clone(&shared), parked: 0, slots, lent: [None, None] };
            loop {
                match shared.receive(id) {
                    Message::Stop => return shard.slots,
                    message => shard.handle(message),
                }
            }
        })
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Batch(batch) => self.batch(batch),
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
        let Some(boxed) = &mut self.slots[0] else {
            if self.lent[0].is_none() && self.shared.owner(0) != self.id {
                return self.shared.send(CLIENT, Message::BatchDone(batch));
            }
            return self.wait_for(0, Message::Batch(batch));
        };
        boxed.extend(batch.drain(..));
        self.shared.send(CLIENT, Message::BatchDone(batch));
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
        let mut open = 1;
        if owners[0] == owners[1] || owners.iter().any(|owner| shared.owner(0) != *owner) {
            shared.send(owners[0], Message::Batch([1, 2].into()));
        } else {
            shared.send(owners[0], Message::Batch([1].into()));
            shared.send(owners[1], Message::Batch([2].into()));
            open = 2;
        }
        while open > 0 {
            match shared.receive(CLIENT) {
                Message::BatchDone(left) if left.is_empty() => open -= 1,
                Message::BatchDone(left) => shared.send(shared.owner(0), Message::Batch(left)),
                other => panic!("{other:?}"),
            }
        }
        // A hand-over may still be on its way: it arrives ahead of what is sent behind it.
        let [boxed, _] = stop_settled(&shared, shards);
        assert_eq!(boxed, [1, 2]);
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
