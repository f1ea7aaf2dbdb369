//! Real shards and the real way of a connection's commands through them, in one thread: every
//! step (a message handled, a connection going on, a slot handed over) is drawn from a seed.
//! Batches, transactions over several shards and hand-overs meet in every order that way, a
//! thousand times faster than threads would do it.

mod commands;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};

use ballast_protocol::slot::{SLOTS, key_slot};
use ballast_protocol::{Args, ArgsBuf, CommandError, Protocol, Reply, RequestParser};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::clock::Clock;
use crate::commands::gather::Gathering;
use crate::commands::session::{Session, Transaction};
use crate::commands::table::{CommandResult, Run, Step};
use crate::config::Config;
use crate::connection::ahead;
use crate::connection::barrier::{Wait, write_timeout};
use crate::connection::batch::{self, Barrier, Group, Stop};
use crate::connection::group::More;
use crate::connection::transaction::{run_queued, slots_of_transaction};
use crate::ids::{ClientId, ShardId};
use crate::log::Log;
use crate::node::clients::Client;
use crate::shard::borrowing::Want;
use crate::shard::message::Message;
use crate::shard::shared::Shared;
use crate::shard::waits::Outcome;
use crate::shard::{Shard, ShardState};

use self::commands::{Generator, count_replies};

const SHARDS: u16 = 4;
const CLIENTS: u64 = 6;
const ROUNDS: usize = 12;
const KEYS: u64 = 5;
/// Far more steps than any run takes: something waits for ever.
const STEPS_MAX: usize = 2_000_000;

struct World {
    shards: Vec<Rc<Shard>>,
    random: RefCell<SmallRng>,
    /// How often each key was counted up.
    counted: RefCell<HashMap<u64, i64>>,
    generator: Generator,
    /// Random commands that were answered with something else than an error.
    answered: Cell<usize>,
    /// Blocked commands that were served by others.
    served: Cell<usize>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut config = Config::default();
        config.preset("shards", &SHARDS.to_string()).expect("a number of shards");
        let shared = Shared::new(config, Clock::manual(1_000).0, Log::in_memory(), seed);
        let shards = (0..SHARDS).map(|id| Rc::new(Shard::new(ShardId(id), Arc::clone(&shared))));
        World {
            shards: shards.collect(),
            random: RefCell::new(SmallRng::seed_from_u64(seed)),
            counted: RefCell::default(),
            generator: Generator::new(),
            answered: Cell::default(),
            served: Cell::default(),
        }
    }

    fn draw(&self, below: u64) -> u64 {
        self.random.borrow_mut().random_range(0..below)
    }

    /// One shard handles one message. False if there is none.
    fn handle_one(&self, shard: &Shard) -> bool {
        let Some(message) = shard.shared.mailboxes[shard.id.index()].pop() else { return false };
        let mut state = shard.state();
        state.handle(message);
        state.serve_ready();
        true
    }

    /// A shard has mail that its thread has not seen, so that nothing is done on its behalf.
    fn occupy(&self, shard: usize) {
        self.shards[0].shared.mailboxes[shard].push(Message::Call(Box::new(|_| ())));
    }

    /// A slot goes to another shard, unless it belongs to `but`, which is busy.
    fn hand_over(&self, but: Option<ShardId>) {
        let slot = match self.draw(3) {
            0 => self.generator.slot(&mut self.random.borrow_mut()),
            _ => key_slot(key(self.draw(KEYS)).as_bytes()),
        };
        let owner = self.shards[0].shared.router.owner(slot);
        let to = ShardId(self.draw(SHARDS.into()) as u16);
        if Some(owner) != but {
            self.shards[owner.index()].state().hand_over(slot, to);
        }
    }

    /// What other threads may do while `own` collects a batch, and so holds its state.
    fn disturb(&self, own: ShardId) {
        let _held = self.shards[own.index()].state();
        for _ in 0..self.draw(4) {
            let other = self.draw(SHARDS.into()) as usize;
            if self.draw(2) == 0 {
                self.hand_over(Some(own));
            } else if other != own.index() {
                self.handle_one(&self.shards[other]);
            }
        }
    }

    /// The books are exact, and no slot is on two shards.
    fn check(&self) {
        let mut found = vec![0; usize::from(SLOTS)];
        for shard in &self.shards {
            let state = shard.state();
            let here = || (0..SLOTS).filter_map(|slot| Some((slot, state.slot(slot)?)));
            assert_eq!(
                state.slots_bytes(),
                here().map(|(_, boxed)| boxed.data().bytes()).sum::<u64>()
            );
            here().for_each(|(slot, _)| found[usize::from(slot)] += 1);
        }
        assert!(found.iter().all(|count| *count <= 1));
    }

    /// With nothing under way, every slot is where the router says.
    fn check_at_rest(&self) {
        self.check();
        for shard in &self.shards {
            let state = shard.state();
            assert!(state.places.is_complete() && state.places.parked() == 0);
            assert_eq!(state.lease.limit_bytes, u64::MAX);
            assert_eq!(state.counters.unfetched.value(), 0);
            for (slot, boxed) in state.boxes() {
                let data = boxed.data();
                assert_eq!(data.bytes(), data.bytes_walked(), "slot {slot}");
                assert!(!boxed.waiters.has_ready(), "slot {slot} has a key that nobody serves");
            }
            for slot in 0..SLOTS {
                assert_eq!(state.has(slot), state.shared.router.owner(slot) == state.id);
            }
        }
        for number in 0..KEYS {
            let key = key(number);
            let owner = self.shards[0].shared.router.owner(key_slot(key.as_bytes()));
            let args = ArgsBuf::new(["INCRBY", &key, "0"]);
            let sum = execute(&mut self.shards[owner.index()].state(), args.view());
            let counted = self.counted.borrow().get(&number).copied().unwrap_or(0);
            assert_eq!(sum, counted, "no command on {key} is lost or doubled");
        }
    }
}

fn key(number: u64) -> String {
    format!("key:{number}")
}

/// Executes a command whose slot is here, and reads its integer.
fn execute(state: &mut crate::shard::ShardState, args: Args<'_>) -> i64 {
    let command = state.find_command(args.at(0)).expect("a command");
    let mut reply = Reply::new(Protocol::Resp2);
    let caller = crate::node::blocked::Caller {
        client: ClientId(0),
        db: 0,
        protocol: Protocol::Resp2,
        may_block: false,
        no_touch: false,
    };
    state.execute(command, key_slot(args.at(1)), args, caller, &mut reply);
    integers(&reply.to_vec())[0]
}

fn integers(replies: &[u8]) -> Vec<i64> {
    let text = std::str::from_utf8(replies).expect("integers");
    text.split_terminator("\r\n")
        .map(|line| line.strip_prefix(':').expect(line).parse().expect(line))
        .collect()
}

/// One connection, but for its socket.
struct Connection {
    world: Rc<World>,
    shard: Rc<Shard>,
    session: Session,
    /// The last number it has read from each key.
    last: HashMap<u64, i64>,
}

impl Connection {
    async fn run(mut self) {
        for _ in 0..ROUNDS {
            match self.world.draw(6) {
                0 => self.transaction().await,
                1 => self.foreseen().await,
                2 | 3 => self.anything().await,
                _ => self.pipeline().await,
            }
            yield_once().await;
        }
    }

    /// Counts keys up in a pipeline, which the parser sees piece by piece.
    async fn pipeline(&mut self) {
        let (mut group, mut reply) = (Group::default(), Reply::new(Protocol::Resp2));
        let (mut parser, mut ranges, mut taken) = (RequestParser::new(), Vec::new(), 0);
        let mut bytes = Vec::new();
        let mut sent = Vec::new();
        for _ in 0..1 + self.world.draw(12) {
            let number = self.world.draw(KEYS);
            sent.push(number);
            bytes.extend_from_slice(format!("INCR {}\r\n", key(number)).as_bytes());
            loop {
                let mut input = batch::Input {
                    bytes: &bytes,
                    taken: &mut taken,
                    parser: &mut parser,
                    ranges: &mut ranges,
                };
                let shard = Rc::clone(&self.shard);
                let session = &mut self.session;
                match batch::run(&mut shard.state(), session, &mut group, &mut input, &mut reply) {
                    Stop::Empty { .. } => break,
                    Stop::Again | Stop::Flush | Stop::Room | Stop::Pause { .. } => {}
                    Stop::Barrier(_) | Stop::Close(_) => unreachable!("they all have one key"),
                }
                self.finish(&mut group, &mut reply).await;
            }
            self.world.disturb(self.shard.id);
        }
        if !group.is_empty() {
            self.finish(&mut group, &mut reply).await;
        }
        let replies = integers(&reply.to_vec());
        assert_eq!(replies.len(), sent.len());
        for (number, value) in sent.into_iter().zip(replies) {
            self.counted(number, value);
        }
    }

    /// Counts a key up in a single command, which gives way to others between its receipt and its
    /// execution.
    async fn foreseen(&mut self) {
        let number = self.world.draw(KEYS);
        let key = key(number);
        let bytes = format!("*2\r\n$4\r\nINCR\r\n${}\r\n{key}\r\n", key.len());
        let (mut group, mut reply) = (Group::default(), Reply::new(Protocol::Resp2));
        let (mut parser, mut ranges, mut taken) = (RequestParser::new(), Vec::new(), 0);
        let planned = ahead::foresee(&mut self.shard.state(), 0, bytes.as_bytes(), &mut ranges)
            .expect("a quick command");
        yield_once().await;
        let mut input = batch::Input {
            bytes: bytes.as_bytes(),
            taken: &mut taken,
            parser: &mut parser,
            ranges: &mut ranges,
        };
        {
            let mut state = self.shard.state();
            state.load_foreseen();
            let (session, reply) = (&mut self.session, &mut reply);
            batch::run_foreseen(&mut state, session, &mut group, &planned, &mut input, reply);
        }
        if !group.is_empty() {
            self.finish(&mut group, &mut reply).await;
        }
        self.counted(number, integers(&reply.to_vec())[0]);
    }

    /// Random commands in a pipeline, some of them in a transaction, on keys of their own: each
    /// is answered once.
    async fn anything(&mut self) {
        let mut commands: Vec<Vec<String>> = Vec::new();
        for _ in 0..1 + self.world.draw(10) {
            commands.push(self.world.generator.command(&mut self.world.random.borrow_mut()));
        }
        if self.world.draw(3) == 0 {
            commands.insert(0, vec!["MULTI".to_owned()]);
            commands.push(vec!["EXEC".to_owned()]);
        }
        let mut bytes = Vec::new();
        for words in &commands {
            bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
            for word in words {
                bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
            }
        }
        self.session.db = 1;
        let reply = self.send(&bytes).await;
        self.session.db = 0;
        let replies = count_replies(&reply.to_vec());
        assert_eq!(replies.all, commands.len(), "{commands:?}");
        self.world.answered.set(self.world.answered.get() + replies.all - replies.errors);
    }

    /// Runs what has been received to its end; the replies.
    async fn send(&mut self, bytes: &[u8]) -> Reply {
        let (mut group, mut reply) = (Group::default(), Reply::new(Protocol::Resp2));
        let (mut parser, mut ranges, mut taken) = (RequestParser::new(), Vec::new(), 0);
        loop {
            let mut input =
                batch::Input { bytes, taken: &mut taken, parser: &mut parser, ranges: &mut ranges };
            let shard = Rc::clone(&self.shard);
            let session = &mut self.session;
            let stop = batch::run(&mut shard.state(), session, &mut group, &mut input, &mut reply);
            if !group.is_empty() {
                self.world.disturb(self.shard.id);
                self.finish(&mut group, &mut reply).await;
            }
            match stop {
                Stop::Empty { .. } => return reply,
                Stop::Barrier(barrier) => self.pass(&barrier, &mut reply).await,
                Stop::Again | Stop::Flush | Stop::Room | Stop::Pause { .. } => {}
                Stop::Close(why) => panic!("the connection ends: {why}"),
            }
        }
    }

    /// What a connection does with a command that runs alone.
    async fn pass(&mut self, barrier: &Barrier, reply: &mut Reply) {
        let (shard, start) = (Rc::clone(&self.shard), reply.len());
        let args = barrier.args.view();
        let result = match barrier.command.run {
            Run::Spread(_, gather) => {
                let gathering = Gathering {
                    threads: &*shard,
                    session: &mut self.session,
                    is_inside_transaction: false,
                };
                gather(gathering, args, reply).await
            }
            Run::Transaction(Step::Multi) => {
                self.session.transaction = Some(Transaction::default());
                reply.ok();
                Ok(())
            }
            Run::Transaction(_) => self.exec(reply).await,
            _ => {
                let (want, caller) = (barrier.want(), self.session.caller());
                let execute = |state: &mut ShardState| barrier.execute(state, &want, caller, reply);
                let wait = shard.with_slots(ClientId(0), want.clone(), "command", execute).await;
                if let Some(wait) = wait {
                    self.wait(&wait, reply).await;
                }
                Ok(())
            }
        };
        if let Err(error) = result {
            reply.truncate(start);
            reply.command_error(&error);
        }
        shard.free_if_asked().await;
    }

    async fn exec(&mut self, reply: &mut Reply) -> CommandResult {
        let transaction = self.session.transaction.take().ok_or(CommandError::ExecWithoutMulti)?;
        if transaction.failed {
            return Err(CommandError::ExecAbort);
        }
        let want = slots_of_transaction(&transaction, &self.session);
        let (shard, session) = (Rc::clone(&self.shard), &mut self.session);
        let execute = |state: &mut ShardState| {
            reply.array(transaction.commands.len());
            for queued in &transaction.commands {
                run_queued(state, session, queued, reply);
            }
        };
        shard.with_slots(ClientId(0), want, "transaction", execute).await;
        Ok(())
    }

    /// Waits for a key, until somebody makes it ready or patience ends.
    async fn wait(&self, wait: &Wait, reply: &mut Reply) {
        let ended = loop {
            let token = wait.token;
            let polled = poll_fn(|context| {
                Poll::Ready(self.shard.state().waits.poll(token, context.waker()))
            });
            match polled.await {
                Poll::Ready(Outcome::Unblocked(reply)) => {
                    self.world.served.set(self.world.served.get() + 1);
                    break reply;
                }
                Poll::Ready(_) => panic!("it waits for keys"),
                Poll::Pending if self.world.draw(60) == 0 => break wait.cancel(&self.shard).await,
                Poll::Pending => yield_once().await,
            }
        };
        match ended.is_empty() {
            true => write_timeout(wait.on_timeout, reply),
            false => reply.append(Reply::from(ended)),
        }
    }

    async fn finish(&self, group: &mut Group, reply: &mut Reply) {
        let mut under_way = group.send(&mut self.shard.state());
        while under_way.write(group, &self.shard, reply).await == More::Replies {}
        under_way.end(group, &mut self.shard.state());
    }

    /// Counts up some keys at once, as a transaction does.
    async fn transaction(&mut self) {
        let mut numbers: Vec<u64> =
            (0..1 + self.world.draw(3)).map(|_| self.world.draw(KEYS)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let mut slots: crate::shard::borrowing::Slots =
            numbers.iter().map(|number| key_slot(key(*number).as_bytes())).collect();
        slots.sort_unstable();
        slots.dedup();
        let shard = Rc::clone(&self.shard);
        let work = |state: &mut crate::shard::ShardState| {
            let one = |number: &u64| execute(state, ArgsBuf::new(["INCR", &key(*number)]).view());
            numbers.iter().map(one).collect::<Vec<_>>()
        };
        let everything = self.world.draw(12) == 0;
        let want = if everything { Want::All } else { Want::Slots(slots) };
        let values = shard.with_slots(ClientId(0), want, "transaction", work).await;
        for (number, value) in numbers.into_iter().zip(values) {
            self.counted(number, value);
        }
    }

    fn counted(&mut self, number: u64, value: i64) {
        let last = self.last.insert(number, value).unwrap_or(0);
        assert!(last < value, "a later command saw {value} after {last}");
        *self.world.counted.borrow_mut().entry(number).or_default() += 1;
    }
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(
        |_| if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending },
    )
    .await;
}

fn connection(world: &Rc<World>, id: u64) -> Pin<Box<dyn Future<Output = ()>>> {
    let shard = Rc::clone(&world.shards[world.draw(SHARDS.into()) as usize]);
    let address = ([127, 0, 0, 1], 1).into();
    let client = Client::new(ClientId(id), (address, address), 0, shard.id, 0);
    let session = Session::new(Arc::new(client), true);
    let connection = Connection { world: Rc::clone(world), shard, session, last: HashMap::new() };
    Box::pin(connection.run())
}

/// What has happened in a run.
#[derive(Debug, Default)]
struct Counts {
    /// One shard acted on behalf of another.
    on_behalf: u64,
    /// Commands of connections that others executed, or that were executed for others.
    elsewhere: u64,
    answered: usize,
    served: usize,
}

fn simulate(seed: u64, counts: &mut Counts) {
    println!("seed {seed}");
    let world = Rc::new(World::new(seed));
    let mut connections: Vec<_> = (1..=CLIENTS).map(|id| connection(&world, id)).collect();
    let mut context = Context::from_waker(Waker::noop());
    for step in 0..STEPS_MAX {
        match world.draw(4) {
            0 => world.hand_over(None),
            1 if !connections.is_empty() => {
                let at = world.draw(connections.len() as u64) as usize;
                if connections[at].as_mut().poll(&mut context).is_ready() {
                    drop(connections.swap_remove(at));
                }
            }
            _ => {
                world.handle_one(&world.shards[world.draw(SHARDS.into()) as usize]);
            }
        }
        if step % 512 == 0 {
            world.check();
        }
        if connections.is_empty() {
            while world.shards.iter().any(|shard| world.handle_one(shard)) {}
            world.check_at_rest();
            let sum = |of: fn(&crate::node::counters::ShardCounters) -> u64| {
                world.shards[0].shared.sum(of)
            };
            counts.on_behalf += sum(|of| of.on_behalf.value());
            counts.elsewhere += sum(|of| of.commands_elsewhere.value());
            counts.answered += world.answered.get();
            counts.served += world.served.get();
            return;
        }
    }
    for shard in &world.shards {
        println!("{:?}", shard.state().places);
    }
    panic!("{} connections wait for ever", connections.len());
}

#[test]
fn nothing_is_lost_doubled_overtaken_or_stuck() {
    let more = std::env::var("SEEDS").ok().and_then(|text| text.parse().ok());
    let mut counts = Counts::default();
    let from = std::env::var("FROM").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    for seed in from..more.unwrap_or(60) {
        simulate(seed, &mut counts);
    }
    let Counts { on_behalf, elsewhere, answered, served } = counts;
    println!("{counts:?}");
    assert!(on_behalf > 100 && elsewhere > 100 + on_behalf, "both ways: {on_behalf} {elsewhere}");
    assert!(answered > 3_000 && served > 10, "{answered} answers, {served} waits served");
}

#[test]
fn a_note_follows_its_slot() {
    let world = World::new(1);
    let slot = key_slot(b"key:0");
    let router = &world.shards[0].shared.router;
    let owner = router.owner(slot).index();
    let (to, asking) = ((owner + 1) % 4, (owner + 2) % 4);
    let noted = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let note = || {
        let noted = Arc::clone(&noted);
        move |_: &mut crate::engine::slot::Slot| {
            noted.fetch_add(1, Relaxed);
        }
    };
    // Sent to the old owner before the slot moves.
    world.shards[asking].state().note(slot, note());
    assert!(world.shards[owner].state().hand_over(slot, ShardId(to as u16)));
    // Sent to the new owner before it has the box, and lent there when the third arrives.
    world.shards[asking].state().note(slot, note());
    while world.shards.iter().any(|shard| world.handle_one(shard)) {}
    assert_eq!(noted.load(Relaxed), 2);
    let mut slots = crate::shard::borrowing::Slots::new();
    slots.push(slot);
    world.occupy(to);
    let mut borrow = Box::pin(world.shards[asking].hold(Want::Slots(slots), "test"));
    let mut context = Context::from_waker(Waker::noop());
    assert!(borrow.as_mut().poll(&mut context).is_pending());
    while world.shards.iter().any(|shard| world.handle_one(shard)) {}
    world.shards[asking].state().note(slot, note());
    while world.shards.iter().any(|shard| world.handle_one(shard)) {}
    assert_eq!(noted.load(Relaxed), 2, "the slot is held");
    let Poll::Ready(mut held) = borrow.as_mut().poll(&mut context) else {
        panic!("it has the slot")
    };
    {
        let mut state = world.shards[asking].state();
        let loaded = state.load(&mut held);
        state.unload(loaded);
    }
    while world.shards.iter().any(|shard| world.handle_one(shard)) {}
    assert_eq!(noted.load(Relaxed), 3);
    world.check();
}

#[test]
fn a_guest_takes_of_the_lease_what_it_grows_by() {
    let world = World::new(1);
    let slot = key_slot(b"key:0");
    let owner = world.shards[0].shared.router.owner(slot).index();
    let (lender, host) = (&world.shards[owner], &world.shards[(owner + 1) % 4]);
    let long = "v".repeat(100_000);
    execute(&mut lender.state(), ArgsBuf::new(["APPEND", "key:0", &long]).view());
    let bytes = || lender.state().slot(slot).map_or(0, |boxed| boxed.data().bytes());
    let held = || world.shards[0].shared.held_bytes();
    let (before, sum) = (bytes(), held());
    // The first batch takes over the configuration, and its limit.
    host.state().begin_batch(ClientId(0));
    host.state().lease.limit_bytes = 1_000_000;
    let mut slots = crate::shard::borrowing::Slots::new();
    slots.push(slot);
    let append = |state: &mut crate::shard::ShardState| {
        execute(state, ArgsBuf::new(["APPEND", "key:0", &long]).view())
    };
    let host = Rc::clone(host);
    world.occupy(owner);
    let mut run = Box::pin(host.with_slots(ClientId(0), Want::Slots(slots), "test", append));
    let mut context = Context::from_waker(Waker::noop());
    assert!(run.as_mut().poll(&mut context).is_pending());
    while world.shards.iter().any(|shard| world.handle_one(shard)) {}
    assert_eq!(held(), sum, "it counts on its way, and once");
    world.occupy(owner);
    assert_eq!(run.as_mut().poll(&mut context), Poll::Ready(200_000));
    let on_its_way = held();
    while world.shards.iter().any(|shard| world.handle_one(shard)) {}
    let grown = bytes() - before;
    assert!(grown >= 100_000);
    assert_eq!((on_its_way, held()), (sum + grown, sum + grown), "also on its way home");
    assert_eq!(host.state().lease.limit_bytes, 1_000_000 - grown);
    world.check();
}
