//! Commands of constant cost are what the table says: their work is counted against values that
//! hold much, and only they run on behalf of another shard or are timed by sampling.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ballast_protocol::slot::key_slot;
use ballast_protocol::{ArgsBuf, Protocol, Reply, RequestParser};
use ballast_storage::work;

use super::ahead;
use super::batch::{self, Group, Input};
use super::group::More;
use crate::clock::Clock;
use crate::commands::context::SHORT_BYTES_MAX;
use crate::commands::session::Session;
use crate::commands::table;
use crate::commands::table::{Command, Run, flag};
use crate::config::Config;
use crate::ids::{ClientId, ShardId};
use crate::log::Log;
use crate::node::blocked::Caller;
use crate::node::clients::Client;
use crate::shard::shared::Shared;
use crate::shard::{Shard, ShardState};

/// What a large collection has.
const ELEMENTS: usize = 30_000;
/// What a long string or element has.
const LONG_BYTES: usize = 2 << 20;
/// A walk over a large value takes more steps, see [`work`]; one over a packed value, for each of a
/// few arguments, takes fewer.
const STEPS_MAX: u64 = 10_000;

/// The forms of the commands that have constant cost with some arguments, with as many as the table
/// allows. What is behind the key is repeated where three dots follow; `#` is a number that counts.
const FORMS: &[&str] = &[
    "APPEND KEY x",
    "BITFIELD_RO KEY GET u63 #00000 ...",
    "DECR KEY",
    "DECRBY KEY 5",
    "EXISTS KEY other# ...",
    "EXPIRE KEY -1",
    "EXPIRE KEY 1000 XX GT",
    "EXPIREAT KEY -1",
    "EXPIREAT KEY 100000 XX GT",
    "EXPIRETIME KEY",
    "GET KEY",
    "GETBIT KEY 20000000",
    "GETDEL KEY",
    "GETEX KEY EX 1000",
    "GETSET KEY x",
    "HDEL KEY # ...",
    "HEXISTS KEY 7",
    "HGET KEY 7",
    "HINCRBY KEY 8 1",
    "HINCRBYFLOAT KEY 9 1.5",
    "HLEN KEY",
    "HMGET KEY # ...",
    "HMSET KEY # x ...",
    "HSET KEY new# x ...",
    "HSETNX KEY 12 x",
    "HSTRLEN KEY 7",
    "INCR KEY",
    "INCRBY KEY 5",
    "INCRBYFLOAT KEY 1.5",
    "LLEN KEY",
    "LPOP KEY",
    "LPUSH KEY x# ...",
    "LPUSHX KEY x# ...",
    "MGET KEY other# ...",
    "PERSIST KEY",
    "PEXPIRE KEY -1",
    "PEXPIRE KEY 1000000 XX GT",
    "PEXPIREAT KEY -1",
    "PEXPIREAT KEY 100000000 XX GT",
    "PEXPIRETIME KEY",
    "PSETEX KEY 1000 x",
    "PTTL KEY",
    "RPOP KEY",
    "RPUSH KEY x# ...",
    "RPUSHX KEY x# ...",
    "SADD KEY new# ...",
    "SCARD KEY",
    "SET KEY x",
    "SET KEY x XX GET EX 1000",
    "SETEX KEY 1000 x",
    "SETNX KEY x",
    "SISMEMBER KEY 7",
    "SMISMEMBER KEY # ...",
    "SMOVE KEY {k}other 7",
    "SPOP KEY",
    "SREM KEY # ...",
    "STRLEN KEY",
    "TOUCH KEY other# ...",
    "TTL KEY",
    "TYPE KEY",
    "UNLINK KEY",
    "UNLINK KEY other# ...",
    "ZADD KEY # new# ...",
    "ZCARD KEY",
    "ZCOUNT KEY 10 20000",
    "ZINCRBY KEY 100000 7",
    "ZLEXCOUNT KEY - +",
    "ZMSCORE KEY # ...",
    "ZPOPMAX KEY",
    "ZPOPMIN KEY",
    "ZRANK KEY 20000 WITHSCORE",
    "ZREM KEY # ...",
    "ZREVRANK KEY 20000 WITHSCORE",
    "ZSCORE KEY 20000",
];

/// Keys that hold much.
const LARGE: [&str; 6] = ["{k}string", "{k}list", "{k}hash", "{k}set", "{k}ints", "{k}zset"];
/// Keys whose few elements are long.
const LONG: [&str; 4] = ["{k}long-list", "{k}long-hash", "{k}long-set", "{k}long-zset"];
/// Keys of packed values that are about to outgrow that form.
const PACKED: [&str; 5] =
    ["{k}near-list", "{k}near-hash", "{k}near-set", "{k}near-ints", "{k}near-zset"];

fn shards(count: u16, settings: &[(&str, &str)]) -> Vec<Rc<Shard>> {
    let mut config = Config::default();
    config.preset("shards", &count.to_string()).expect("a number of shards");
    for (name, value) in settings {
        config.preset(name, value).expect("a setting");
    }
    let shared = Shared::new(config, Clock::manual(1_000).0, Log::in_memory(), 7);
    (0..count).map(|id| Rc::new(Shard::new(ShardId(id), Arc::clone(&shared)))).collect()
}

fn caller() -> Caller {
    Caller {
        client: ClientId(0),
        db: 0,
        protocol: Protocol::Resp2,
        may_block: false,
        no_touch: false,
    }
}

/// Executes a command whose keys are in one slot, which is here.
fn execute<A: AsRef<[u8]>>(state: &mut ShardState, words: impl IntoIterator<Item = A>) -> Vec<u8> {
    let args = ArgsBuf::new(words);
    let args = args.view();
    let command = state.find_command(args.at(0)).expect("a command");
    let mut reply = Reply::new(Protocol::Resp2);
    state.execute(command, key_slot(args.at(1)), args, caller(), &mut reply);
    reply.to_vec()
}

fn execute_line(state: &mut ShardState, line: &str) -> Vec<u8> {
    execute(state, line.split(' '))
}

/// Executes a command as another thread does that found the state free: the steps it took, and
/// whether it was left to the shard's own thread.
fn visit(state: &mut ShardState, words: &[String]) -> (u64, bool) {
    state.on_behalf = true;
    let before = work::steps();
    let reply = execute(state, words);
    let steps = work::steps() - before + reply.len() as u64 / 64;
    state.on_behalf = false;
    (steps, std::mem::take(&mut state.left))
}

/// Makes `key` what its name says.
fn fill(state: &mut ShardState, key: &str) {
    let long = |at: usize| format!("{}{at}", "x".repeat(LONG_BYTES));
    let number = |at: usize| at.to_string();
    let kind = &key["{k}".len()..];
    let (command, count, element): (_, _, &dyn Fn(usize) -> Vec<String>) = match kind {
        "string" => ("SET", 1, &|at| vec![long(at)]),
        "list" => ("RPUSH", ELEMENTS, &|at| vec![number(at)]),
        "hash" => ("HSET", ELEMENTS, &|at| vec![number(at), number(at)]),
        "set" => ("SADD", ELEMENTS, &|at| vec![format!("m{at}")]),
        "ints" => ("SADD", ELEMENTS, &|at| vec![number(at)]),
        "zset" => ("ZADD", ELEMENTS, &|at| vec![number(at), number(at)]),
        "long-list" => ("RPUSH", 3, &|at| vec![long(at)]),
        "long-hash" => ("HSET", 20, &|at| vec![number(at), long(at)]),
        "long-set" => ("SADD", 3, &|at| vec![long(at)]),
        "long-zset" => ("ZADD", 3, &|at| vec![number(at), long(at)]),
        "near-list" => ("RPUSH", 250, &|at| vec![format!("e{at}")]),
        "near-hash" => ("HSET", 330, &|at| vec![number(at), number(at)]),
        "near-set" => ("SADD", 400, &|at| vec![format!("m{at}")]),
        "near-ints" => ("SADD", 500, &|at| vec![number(at)]),
        "near-zset" => ("ZADD", 330, &|at| vec![number(at), number(at)]),
        _ => unreachable!("no such key"),
    };
    let head = [command.to_owned(), key.to_owned()];
    execute(state, head.into_iter().chain((0..count).flat_map(element)));
}

/// The words of a form.
fn words(form: &str, key: &str, count_max: usize) -> Vec<String> {
    let mut words: Vec<&str> = form.split(' ').collect();
    let repeats = words.pop_if(|last| *last == "...").is_some();
    let group = words.split_off(2);
    let count = if repeats { (count_max - 2) / group.len() } else { 1 };
    let head = words.into_iter().map(|word| word.replace("KEY", key));
    let numbered =
        |number: usize| group.iter().map(move |word| word.replace('#', &(number + 5).to_string()));
    let tail: Vec<String> = (0..count).flat_map(numbered).collect();
    // Several keys of a command are in one slot.
    let other =
        |word: String| if word.starts_with("other") { format!("{{k}}{word}") } else { word };
    head.chain(tail.into_iter().map(other)).collect()
}

#[test]
fn only_commands_on_few_keys_or_none_claim_a_constant_cost() {
    let mut on_session = Vec::new();
    for command in table().with_subcommands().filter(|command| command.constant > 0) {
        let name = &command.full_name;
        match command.run {
            Run::Data(_) => {}
            Run::Session(_) => on_session.push(name.as_str()),
            _ => panic!("{name} waits for other threads"),
        }
        assert!(command.flags & (flag::BLOCKING | flag::ALL_SLOTS) == 0, "{name}");
        assert!(command.constant >= command.arity.unsigned_abs() as u8, "{name}");
    }
    // They do nothing whose cost could grow; what is measured below are the others.
    let simple = ["asking", "echo", "lastsave", "ping", "readonly", "readwrite", "select", "time"];
    assert_eq!(on_session, simple);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "steps are counted in debug builds")]
fn what_claims_a_constant_cost_has_it() {
    let shard = &shards(1, &[])[0];
    let mut state = shard.state();
    let keys = || LARGE.iter().chain(&LONG).chain(&PACKED);
    let mut exercised = std::collections::HashSet::new();
    let mut left = std::collections::HashSet::new();
    for key in keys() {
        fill(&mut state, key);
        let size =
            |state: &ShardState| state.slot(key_slot(b"{k}")).map(|boxed| boxed.data().bytes());
        let full = size(&state);
        for form in FORMS {
            let name = form.split(' ').next().expect("a name");
            let command = table().find(name.as_bytes()).expect("a command");
            let words = words(form, key, command.constant.into());
            assert!(command.is_constant(words.len()), "{form} is not of constant cost");
            let (steps, is_left) = visit(&mut state, &words);
            assert!(steps < STEPS_MAX, "{steps} steps: {form} on {key}");
            if is_left {
                assert!(key.contains("long") || key.contains("string"), "{form} leaves {key}");
                left.insert(name);
            }
            let (now, before) = (size(&state), full);
            if now < before.map(|bytes| bytes - bytes / 8) || !LARGE.contains(key) {
                execute(&mut state, ["UNLINK", key]);
                fill(&mut state, key);
            }
            execute(&mut state, ["PERSIST", key]);
            while !state.garbage.is_empty() {
                state.garbage.free_some(1 << 20);
            }
            if form.ends_with("...") || words.len() == usize::from(command.constant) {
                exercised.insert(name);
            }
        }
        execute(&mut state, ["UNLINK", key]);
    }
    let on_keys = |command: &&Command| matches!(command.run, Run::Data(_)) && command.constant > 0;
    for command in table().iter().filter(on_keys) {
        let name = command.name.to_uppercase();
        assert!(exercised.contains(&*name), "{name} has no form with as many arguments as it may");
    }
    let mut left: Vec<&str> = left.into_iter().collect();
    left.sort_unstable();
    let copying = [
        "APPEND", "GET", "GETDEL", "GETEX", "GETSET", "HGET", "HMGET", "LPOP", "MGET", "RPOP",
        "SET", "SPOP", "ZPOPMAX", "ZPOPMIN",
    ];
    assert_eq!(left, copying, "what copies long values, and nothing else, leaves them");
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "steps are counted in debug builds")]
fn what_is_not_of_constant_cost_would_be_noticed() {
    let shard = &shards(1, &[])[0];
    let mut state = shard.state();
    LARGE.iter().for_each(|key| fill(&mut state, key));
    for line in [
        "GET {k}string",
        "LRANGE {k}list 0 -1",
        "LPOS {k}list absent",
        "LPOP {k}list 20000",
        "HGETALL {k}hash",
        "SMEMBERS {k}set",
        "SPOP {k}set 20000",
        "ZRANGE {k}zset 0 -1",
        "ZPOPMIN {k}zset 20000",
    ] {
        let before = work::steps();
        let reply = execute_line(&mut state, line);
        let steps = work::steps() - before + reply.len() as u64 / 64;
        assert!(steps > STEPS_MAX, "{line}: {steps}");
    }
}

#[test]
fn all_that_is_not_of_constant_cost_is_timed() {
    let settings = [("slowlog-log-slower-than", "0"), ("slowlog-max-len", "100000")];
    let shard = &shards(1, &settings)[0];
    let mut state = shard.state();
    state.begin_batch(ClientId(0));
    // As where the slow log's threshold is usual; here, whatever is timed is slow.
    state.statistics.sample(32);
    let long = "x".repeat(SHORT_BYTES_MAX + 1);
    execute(&mut state, ["SET", "long", &long]);
    execute(&mut state, ["HSET", "hash", "f", &long]);
    for at in 0..100 {
        execute(&mut state, ["RPUSH", "list", &at.to_string()]);
        execute(&mut state, ["SADD", "set", &at.to_string()]);
        execute(&mut state, ["ZADD", "zset", "1", &at.to_string()]);
    }
    let mut logged = |words: &[&str]| {
        let before = state.statistics.slow.len();
        (0..40).for_each(|_| drop(execute(&mut state, words)));
        state.statistics.slow.len() - before
    };
    for line in [
        "LPOP list 1000000",
        "RPOP list 2",
        "SPOP set 1000000",
        "ZPOPMIN zset 1000000",
        "ZPOPMAX zset 2",
        "LPUSH list 1 2 3 4 5 6 7 8 9",
        "GET long",
        "HGET hash f",
        "SET other 1 EX 9 EX 9 GET",
        "LRANGE list 0 -1",
    ] {
        assert_eq!(logged(&line.split(' ').collect::<Vec<_>>()), 40, "{line}");
    }
    assert_eq!(logged(&["SET", "other", &long]), 40, "what is given may be long, too");
    for line in ["LPOP list", "SET other 1", "GET other", "LPUSH list 1 2"] {
        assert!(logged(&line.split(' ').collect::<Vec<_>>()) < 4, "{line} is sampled");
    }
}

/// A connection of the first of two shards, but for its socket; its keys are on the second.
struct Guest {
    shards: Vec<Rc<Shard>>,
    session: Session,
}

impl Guest {
    fn new() -> Guest {
        let shards = shards(2, &[]);
        let address = ([127, 0, 0, 1], 1).into();
        let client = Client::new(ClientId(1), (address, address), 0, shards[0].id, 0);
        Guest { shards, session: Session::new(Arc::new(client), true) }
    }

    /// Keys of the second shard.
    fn keys(&self) -> Vec<String> {
        let router = &self.shards[0].shared.router;
        let keys = (0..).map(|at| format!("key:{at}"));
        keys.filter(|key| router.owner(key_slot(key.as_bytes())) == ShardId(1)).take(3).collect()
    }

    /// Sends commands in a batch, and returns how many were executed before the second shard's
    /// thread had its turn, and all replies.
    fn send(&mut self, commands: &[Vec<&str>]) -> (u64, Vec<u8>) {
        let mut bytes = Vec::new();
        for command in commands {
            bytes.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
            for word in command {
                bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
            }
        }
        let (mut group, mut reply) = (Group::default(), Reply::new(Protocol::Resp2));
        let (mut parser, mut ranges, mut taken) = (RequestParser::new(), Vec::new(), 0);
        let here = Rc::clone(&self.shards[0]);
        let executed = || self.shards[1].counters.commands.value();
        let before = executed();
        let planned = ahead::foresee(&mut here.state(), 0, &bytes, &mut ranges);
        let (parser, ranges) = (&mut parser, &mut ranges);
        let mut input = Input { bytes: &bytes, taken: &mut taken, parser, ranges };
        let mut state = here.state();
        let session = &mut self.session;
        match planned {
            Some(planned) => {
                let reply = &mut reply;
                batch::run_foreseen(&mut state, session, &mut group, &planned, &mut input, reply);
            }
            None => drop(batch::run(&mut state, session, &mut group, &mut input, &mut reply)),
        }
        group.take_over(&mut bytes);
        let mut under_way = (!group.is_empty()).then(|| group.send(&mut state));
        drop(state);
        let on_behalf = executed() - before;
        if let Some(under_way) = &mut under_way {
            self.finish(under_way.write(&group, &here, &mut reply));
        }
        (on_behalf, reply.to_vec())
    }

    /// Lets both threads work until the replies are there.
    fn finish(&self, replies: impl Future<Output = More>) {
        let mut replies = pin!(replies);
        let mut context = Context::from_waker(Waker::noop());
        while replies.as_mut().poll(&mut context) != Poll::Ready(More::Nothing) {
            for shard in self.shards.iter().rev() {
                while let Some(message) = shard.shared.mailboxes[shard.id.index()].pop() {
                    shard.state().handle(message);
                }
            }
        }
    }
}

#[test]
fn only_commands_of_constant_cost_run_on_behalf() {
    let mut guest = Guest::new();
    let keys = guest.keys();
    let [key, ..] = &keys[..] else { unreachable!("there are three") };
    let (set, zset) = (&keys[1], &keys[2]);
    assert_eq!(guest.send(&[vec!["RPUSH", key, "a", "b", "c"]]).0, 1);
    assert_eq!(guest.send(&[vec!["SADD", set, "a"]]).0, 1);
    assert_eq!(guest.send(&[vec!["ZADD", zset, "1", "a"]]).0, 1);
    assert_eq!(guest.send(&[vec!["LPOP", key]]), (1, b"$1\r\na\r\n".to_vec()));
    assert_eq!(guest.send(&[vec!["SPOP", set, "9"]]), (0, b"*1\r\n$1\r\na\r\n".to_vec()));
    assert_eq!(guest.send(&[vec!["ZPOPMIN", zset, "9"]]).0, 0);
    let batch = [vec!["LLEN", key], vec!["LPOP", key, "1000000"]];
    assert_eq!(guest.send(&batch), (0, b":2\r\n*2\r\n$1\r\nb\r\n$1\r\nc\r\n".to_vec()));
    assert_eq!(guest.send(&[vec!["LPOP", key, "1000000"]]), (0, b"*-1\r\n".to_vec()));
}

#[test]
fn long_values_are_left_to_their_own_thread() {
    let mut guest = Guest::new();
    let keys = guest.keys();
    let [a, b, c] = &keys[..] else { unreachable!("there are three") };
    let long = "x".repeat(SHORT_BYTES_MAX + 1);
    guest.send(&[vec!["SET", a, "1"], vec!["SET", c, "3"]]);
    assert_eq!(guest.send(&[vec!["SET", b, &long]]).0, 0);
    let hits = |guest: &Guest| guest.shards[1].counters.keyspace_hits.value();
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let before = hits(&guest);
    assert_eq!(guest.send(&[vec!["GET", b]]), (0, bulk(&long).into_bytes()));
    assert_eq!(hits(&guest) - before, 1, "it is read once");
    let batch = [vec!["GET", a], vec!["GET", b], vec!["GET", c], vec!["MGET", a, b]];
    let expected = [bulk("1"), bulk(&long), bulk("3"), "*2\r\n".into(), bulk("1"), bulk(&long)];
    let (on_behalf, replies) = guest.send(&batch);
    assert_eq!((on_behalf, replies), (1, expected.concat().into_bytes()));
    assert_eq!(hits(&guest) - before, 6);
    assert_eq!(guest.send(&[vec!["MGET", a, b]]).0, 0);
    guest.send(&[vec!["UNLINK", b], vec!["RPUSH", b, &long, &long, "x"]]);
    assert_eq!(guest.send(&[vec!["LPOP", b]]), (0, bulk(&long).into_bytes()));
    assert_eq!(guest.send(&[vec!["RPOP", b]]), (1, bulk("x").into_bytes()));
    assert_eq!(guest.send(&[vec!["LLEN", b]]), (1, b":1\r\n".to_vec()));
}

#[test]
fn the_key_of_most_commands_of_a_slot_is_named_while_it_is_watched() {
    let shards = shards(1, &[]);
    let mut state = shards[0].state();
    let slot = key_slot(b"{k}hot");
    execute_line(&mut state, "GET {k}hot");
    assert!(state.slot(slot).is_some_and(|boxed| boxed.hot_keys.is_none()), "at no cost");
    state.note(slot, |boxed| boxed.hot_keys = Some(Box::default()));
    for number in 0..1280 {
        execute_line(&mut state, "GET {k}hot");
        // Timed each.
        if number % 8 == 0 {
            execute_line(&mut state, &format!("LRANGE {{k}}{number} 0 -1"));
        }
    }
    let hot_keys = state.slot(slot).and_then(|boxed| boxed.hot_keys.as_ref()).expect("watched");
    let (name, part) = hot_keys.hottest().expect("a key");
    assert_eq!(name, b"{k}hot");
    assert!((0.7..0.95).contains(&part), "{part}");
}
