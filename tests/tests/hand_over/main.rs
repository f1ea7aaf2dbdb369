//! Slots go from shard to shard without a pause, and clients notice nothing: what they see of
//! each key is linearizable, their commands keep their order, no error reaches them, nothing is
//! lost. `SEED=n` draws the same commands again; `STEPS=n` takes more of them.

#![forbid(unsafe_code)]

mod checker;
mod clients;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use ballast_server::Server;
use ballast_tests::support::{Client, InProcess, Reply, Target, seed, steps};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::checker::{Operation, is_linearizable};
use self::clients::{History, Recorder};

const SHARDS: u16 = 4;
/// Commands of each client in a normal run.
const STEPS: u64 = 1_500;
/// Hand-overs in one write.
const HAND_OVERS: usize = 32;
/// Keys that stay, for SCAN to find.
const STAYING: usize = 300;

/// What all clients of a run share.
struct Run {
    server: InProcess,
    seed: u64,
    steps: u64,
    /// Counts begins and ends of commands: the time of the histories.
    time: AtomicU64,
    ended: AtomicBool,
    handed_over: AtomicU64,
}

impl Run {
    fn start() -> Arc<Run> {
        let builder = Server::builder()
            .directive("shards", &SHARDS.to_string())
            .directive("enable-debug-command", "local");
        Arc::new(Run {
            server: InProcess::start(builder),
            seed: seed(),
            steps: steps(STEPS),
            time: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            handed_over: AtomicU64::new(0),
        })
    }

    fn connect(&self) -> Client {
        self.server.connect().expect("a connection")
    }

    fn random(&self, client: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed ^ client << 32)
    }

    /// Hands the slots of `keys` over until the run has ended.
    fn disturb(self: &Arc<Run>, keys: Vec<String>) -> thread::JoinHandle<()> {
        let run = Arc::clone(self);
        thread::spawn(move || {
            let (mut client, mut random) = (run.connect(), run.random(1000));
            let slots: Vec<String> = keys
                .iter()
                .map(|key| match client.call(&["CLUSTER", "KEYSLOT", key]) {
                    Ok(Reply::Integer(slot)) => slot.to_string(),
                    other => panic!("a slot is {other:?}"),
                })
                .collect();
            while !run.ended.load(Ordering::Relaxed) {
                let commands: Vec<Vec<String>> = (0..HAND_OVERS)
                    .map(|_| {
                        let slot = slots[random.random_range(0..slots.len())].clone();
                        let to = random.random_range(0..SHARDS).to_string();
                        vec!["DEBUG".into(), "HAND-OVER".into(), slot, to]
                    })
                    .collect();
                for reply in client.pipeline(&commands).expect("replies") {
                    match reply {
                        Reply::Simple(_) => run.handed_over.fetch_add(1, Ordering::Relaxed),
                        Reply::Error(why) if why.starts_with(b"ERR the slot is travelling") => 0,
                        other => panic!("a hand-over is {other:?}"),
                    };
                }
            }
        })
    }

    /// Ends the hand-overs once the clients are done, and checks the books.
    fn finish<T>(
        &self,
        clients: Vec<thread::JoinHandle<T>>,
        disturbing: thread::JoinHandle<()>,
    ) -> Vec<T> {
        let outcomes: Vec<_> = clients.into_iter().map(thread::JoinHandle::join).collect();
        self.ended.store(true, Ordering::Relaxed);
        disturbing.join().expect("hand-overs");
        println!("{} hand-overs", self.handed_over.load(Ordering::Relaxed));
        let outcomes = outcomes.into_iter().map(|outcome| outcome.expect("a client")).collect();
        let audit = self.connect().call(&["DEBUG", "SLOT-AUDIT"]).expect("an audit");
        let Reply::Array(fields) = audit else { panic!("an audit is {audit:?}") };
        for pair in fields.chunks(2) {
            if let [Reply::Bulk(name), value] = pair
                && name.windows(5).any(|part| part == b"drift")
            {
                assert_eq!(*value, Reply::Integer(0), "{}", String::from_utf8_lossy(name));
            }
        }
        outcomes
    }
}

/// All keys whose slots travel in the histories.
fn keys() -> Vec<String> {
    let numbers = clients::NUMBERS.iter().chain(&clients::COUNTERS).chain(&clients::WATCHED);
    numbers.chain(&clients::QUEUES).map(|key| (*key).to_owned()).collect()
}

#[test]
fn histories_are_linearizable_while_slots_are_handed_over() {
    let run = Run::start();
    let mut setup = run.connect();
    for number in 0..STAYING {
        setup.call(&["SET", &format!("stays:{number}"), "v"]).expect("a reply");
    }
    let disturbing = run.disturb(keys());
    let roles: [fn(&Run, u64) -> History; 8] = [
        clients::single,
        clients::pipelines,
        clients::transactions,
        clients::watches,
        clients::watches,
        clients::produces,
        clients::consumes,
        clients::scans,
    ];
    let clients = (1..).zip(roles).map(|(number, role)| {
        let run = Arc::clone(&run);
        thread::spawn(move || role(&run, number))
    });
    let histories = run.finish(clients.collect(), disturbing);
    let mut by_key: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    for (key, operation) in histories.into_iter().flatten() {
        by_key.entry(key).or_default().push(operation);
    }
    assert!(by_key.len() >= keys().len());
    for (key, operations) in by_key {
        assert!(is_linearizable(&operations), "{key}: {operations:?}");
    }
}

#[test]
fn a_connections_commands_never_overtake_each_other() {
    let run = Run::start();
    let keys: Vec<String> = (0..6).map(|number| format!("order:{number}")).collect();
    let lists = |client| (0..3).map(move |number| format!("order:{client}:{number}"));
    let moving = keys.iter().cloned().chain((1..=4).flat_map(lists)).collect();
    let disturbing = run.disturb(moving);
    let clients = (1..=4).map(|number| {
        let (run, keys) = (Arc::clone(&run), keys.clone());
        thread::spawn(move || {
            let own: Vec<String> = lists(number).collect();
            clients::keeps_order(&run, number, &keys, &own);
        })
    });
    run.finish(clients.collect(), disturbing);
}

/// A client with a history.
fn recorder(run: &Run, client: u64) -> Recorder<'_> {
    Recorder::new(&run.time, run.connect(), run.random(client))
}
