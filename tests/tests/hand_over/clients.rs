//! What the clients do: each draws its commands from its own seed and writes down what came of
//! them.

use std::sync::atomic::{AtomicU64, Ordering};

use ballast_tests::support::{Client, Reply};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::checker::{Action, Operation};
use crate::{Run, STAYING, recorder};

pub(crate) const NUMBERS: [&str; 4] = ["number:1", "number:2", "number:3", "number:4"];
pub(crate) const COUNTERS: [&str; 3] = ["counter:1", "counter:2", "counter:3"];
pub(crate) const WATCHED: [&str; 2] = ["watched:1", "watched:2"];
pub(crate) const QUEUES: [&str; 2] = ["queue:1", "queue:2"];

/// Commands in one write of the order test.
const PIPELINED: u64 = 60;

/// Operations on keys.
pub(crate) type History = Vec<(String, Operation)>;

/// A connection, its random numbers and what it has seen.
pub(crate) struct Recorder<'a> {
    time: &'a AtomicU64,
    client: Client,
    random: StdRng,
    history: History,
    /// Values that nobody else writes.
    unique: i64,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(time: &'a AtomicU64, client: Client, mut random: StdRng) -> Recorder<'a> {
        let unique = random.random_range(1..1 << 20) << 32;
        Recorder { time, client, random, history: History::new(), unique }
    }

    fn now(&self) -> u64 {
        self.time.fetch_add(1, Ordering::SeqCst)
    }

    fn one_of<'k>(&mut self, keys: &[&'k str]) -> &'k str {
        keys[self.random.random_range(0..keys.len())]
    }

    fn unique(&mut self) -> i64 {
        self.unique += 1;
        self.unique
    }

    /// Sends commands in one write. No reply is an error.
    fn pipeline(&mut self, commands: &[Vec<String>]) -> Vec<Reply> {
        let replies = self.client.pipeline(commands).expect("replies");
        for (command, reply) in commands.iter().zip(&replies) {
            assert!(!matches!(reply, Reply::Error(_)), "{command:?}: {reply:?}");
        }
        replies
    }

    fn call(&mut self, words: &[&str]) -> Reply {
        let command = words.iter().map(|word| (*word).to_owned()).collect();
        self.pipeline(&[command]).swap_remove(0)
    }

    fn record(&mut self, key: &str, action: Action, begin: u64, end: u64) {
        self.history.push((key.to_owned(), Operation { action, begin, end }));
    }

    /// Draws a command on a number, and how to read its reply.
    fn draw(&mut self, keys: &[&str]) -> (Vec<String>, Action) {
        let key = self.one_of(keys);
        let (words, action) = match self.random.random_range(0..4) {
            0 => {
                let value = self.unique();
                (vec!["SET".to_owned(), key.to_owned(), value.to_string()], Action::Set(value))
            }
            1 => (vec!["INCR".to_owned(), key.to_owned()], Action::Increment(0)),
            _ => (vec!["GET".to_owned(), key.to_owned()], Action::Get(None)),
        };
        (words, action)
    }

    /// Runs commands in one write and records them.
    fn run(&mut self, commands: Vec<(Vec<String>, Action)>) {
        let (words, actions): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
        let begin = self.now();
        let replies = self.pipeline(&words);
        let end = self.now();
        for ((words, action), reply) in words.iter().zip(actions).zip(&replies) {
            self.record(&words[1], outcome(action, reply), begin, end);
        }
    }
}

/// The action with what the reply says.
fn outcome(action: Action, reply: &Reply) -> Action {
    match (action, reply) {
        (Action::Set(value), Reply::Simple(_)) => Action::Set(value),
        (Action::Get(_), reply) => Action::Get(number(reply)),
        (Action::Increment(_), Reply::Integer(value)) => Action::Increment(*value),
        (action, reply) => panic!("{action:?} is answered {reply:?}"),
    }
}

fn number(reply: &Reply) -> Option<i64> {
    match reply {
        Reply::NilBulk => None,
        Reply::Bulk(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        other => panic!("{other:?} is no value"),
    }
}

/// One command after the other.
pub(crate) fn single(run: &Run, client: u64) -> History {
    let mut recorder = recorder(run, client);
    for _ in 0..run.steps {
        let command = recorder.draw(&NUMBERS);
        recorder.run(vec![command]);
    }
    recorder.history
}

/// Several in one write.
pub(crate) fn pipelines(run: &Run, client: u64) -> History {
    let mut recorder = recorder(run, client);
    for _ in 0..run.steps / 4 {
        let commands = (0..4).map(|_| recorder.draw(&NUMBERS)).collect();
        recorder.run(commands);
    }
    recorder.history
}

/// Counters of several slots counted up at once: they stay equal.
pub(crate) fn transactions(run: &Run, client: u64) -> History {
    let mut recorder = recorder(run, client);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    for _ in 0..run.steps / 2 {
        let mut commands: Vec<Vec<String>> = vec![words(&["MULTI"])];
        commands.extend(COUNTERS.map(|key| words(&["INCR", key])));
        commands.push(words(&["EXEC"]));
        let begin = recorder.now();
        let replies = recorder.pipeline(&commands);
        let end = recorder.now();
        let Some(Reply::Array(values)) = replies.last() else { panic!("{replies:?}") };
        assert!(values.windows(2).all(|pair| pair[0] == pair[1]), "half a transaction: {values:?}");
        for (key, value) in COUNTERS.iter().zip(values) {
            recorder.record(key, outcome(Action::Increment(0), value), begin, end);
        }
    }
    recorder.history
}

/// Reads a key and writes it only if nobody else has meanwhile.
pub(crate) fn watches(run: &Run, client: u64) -> History {
    let mut recorder = recorder(run, client);
    for _ in 0..run.steps / 2 {
        let key = recorder.one_of(&WATCHED);
        recorder.call(&["WATCH", key]);
        let begin = recorder.now();
        let old = number(&recorder.call(&["GET", key]));
        let end = recorder.now();
        recorder.record(key, Action::Get(old), begin, end);
        let new = recorder.unique();
        recorder.call(&["MULTI"]);
        recorder.call(&["SET", key, &new.to_string()]);
        let begin = recorder.now();
        let reply = recorder.call(&["EXEC"]);
        let end = recorder.now();
        if matches!(reply, Reply::Array(_)) {
            recorder.record(key, Action::Swap(old, new), begin, end);
        }
    }
    recorder.history
}

/// Puts as many values into the queues as [`consumes`] takes.
pub(crate) fn produces(run: &Run, client: u64) -> History {
    let mut recorder = recorder(run, client);
    for _ in 0..run.steps {
        let (key, value) = (recorder.one_of(&QUEUES), recorder.unique());
        let begin = recorder.now();
        let reply = recorder.call(&["RPUSH", key, &value.to_string()]);
        let end = recorder.now();
        let Reply::Integer(len) = reply else { panic!("a push is {reply:?}") };
        recorder.record(key, Action::Push(value, len), begin, end);
    }
    recorder.history
}

/// Waits for what [`produces`] puts into queues of different slots.
pub(crate) fn consumes(run: &Run, client: u64) -> History {
    let mut recorder = recorder(run, client);
    for step in 0..run.steps {
        let mut words = vec!["BLPOP", QUEUES[0], QUEUES[1], "0"];
        if step % 2 == 1 {
            words.swap(1, 2);
        }
        let begin = recorder.now();
        let reply = recorder.call(&words);
        let end = recorder.now();
        let Reply::Array(pair) = reply else { panic!("a pop is {reply:?}") };
        let [Reply::Bulk(key), value] = &pair[..] else { panic!("a pop is {pair:?}") };
        let key = String::from_utf8_lossy(key).into_owned();
        recorder.record(&key, Action::Pop(number(value)), begin, end);
    }
    recorder.history
}

/// Every walk finds all keys that stay.
pub(crate) fn scans(run: &Run, client: u64) -> History {
    let mut recorder = recorder(run, client);
    for _ in 0..run.steps / 50 {
        let mut found = std::collections::HashSet::new();
        let mut cursor = "0".to_owned();
        loop {
            let reply = recorder.call(&["SCAN", &cursor, "MATCH", "stays:*", "COUNT", "40"]);
            let Reply::Array(parts) = reply else { panic!("a scan is {reply:?}") };
            let [Reply::Bulk(next), Reply::Array(keys)] = &parts[..] else { panic!("{parts:?}") };
            found.extend(keys.iter().map(|key| format!("{key:?}")));
            cursor = String::from_utf8_lossy(next).into_owned();
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(found.len(), STAYING);
    }
    recorder.history
}

/// Long pipelines over few keys, some of them shared with others: counters only grow, and lists
/// hold what was pushed in the order in which it was.
pub(crate) fn keeps_order(run: &Run, client: u64, shared: &[String], own: &[String]) {
    let mut recorder = recorder(run, client);
    let mut last = vec![0; shared.len()];
    let mut pushed = vec![0_i64; own.len()];
    for _ in 0..run.steps / 4 {
        let mut commands = Vec::new();
        let mut expected = Vec::new();
        for _ in 0..PIPELINED {
            if recorder.random.random_bool(0.5) {
                let at = recorder.random.random_range(0..shared.len());
                commands.push(vec!["INCR".to_owned(), shared[at].clone()]);
                expected.push((at, None));
            } else {
                let at = recorder.random.random_range(0..own.len());
                let value = pushed[at].to_string();
                commands.push(vec!["RPUSH".to_owned(), own[at].clone(), value]);
                pushed[at] += 1;
                expected.push((at, Some(pushed[at])));
            }
        }
        for ((at, len), reply) in expected.into_iter().zip(recorder.pipeline(&commands)) {
            let Reply::Integer(value) = reply else { panic!("{reply:?}") };
            match len {
                Some(len) => assert_eq!(value, len),
                None => {
                    assert!(value > last[at], "{value} after {}", last[at]);
                    last[at] = value;
                }
            }
        }
    }
    for (key, count) in own.iter().zip(pushed) {
        let reply = recorder.call(&["LRANGE", key, "0", "-1"]);
        let Reply::Array(values) = reply else { panic!("{reply:?}") };
        let values: Vec<_> = values.iter().filter_map(number).collect();
        assert_eq!(values, (0..count).collect::<Vec<_>>());
    }
}
