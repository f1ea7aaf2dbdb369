//! The account against a walk over everything, after any history: random commands of all types
//! with expiry, eviction, lazy free, transactions and slots that move between shards.
//!
//! `BALLAST_ACCOUNT_COMMANDS=10000000` takes a longer walk; `SEED=n` repeats one.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use ballast_server::{Clock, ManualClock, Server};
use ballast_tests::support::{Client, InProcess, Reply, Target, seed, wait_until};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Without it nobody would know what is in use, and nothing were evicted.
#[global_allocator]
static ALLOCATOR: ballast_storage::memory::CountingAllocator =
    ballast_storage::memory::CountingAllocator;

/// Commands of a normal run.
const COMMANDS: u64 = 200_000;
/// Commands in one write.
const PIPELINED: u64 = 50;
/// Commands between two audits.
const AUDIT_EVERY: u64 = 20_000;
/// Hand-overs after each pipeline.
const HAND_OVERS: usize = 3;
const SHARDS: u16 = 4;
const KEYS: u32 = 400;
const DATABASES: u32 = 3;

/// Replies that random commands may well get.
const ERRORS: &[&str] = &[
    "WRONGTYPE",
    "OOM",
    "ERR no such key",
    "ERR value is not",
    "ERR hash value is not",
    "ERR increment or decrement would overflow",
    "ERR increment would produce",
    "ERR index out of range",
    "ERR source and destination objects are the same",
    "ERR resulting score is not a number",
    "ERR the slot is travelling",
];

/// What an audit of all slots says.
type Audit = BTreeMap<String, i64>;

fn audit(client: &mut Client) -> Audit {
    let reply = client.call(&["DEBUG", "SLOT-AUDIT"]).expect("an answer");
    let Reply::Array(items) = reply else { panic!("an audit is {reply:?}") };
    let field = |pair: &[Reply]| match pair {
        [Reply::Bulk(name), Reply::Integer(value)] => {
            (String::from_utf8_lossy(name).into_owned(), *value)
        }
        other => panic!("a field is {other:?}"),
    };
    items.chunks(2).map(field).collect()
}

fn assert_exact(client: &mut Client, when: &str) -> Audit {
    let audit = audit(client);
    for field in ["drift", "slots-with-drift", "shards-drift"] {
        assert_eq!(audit[field], 0, "{when}: {audit:?}");
    }
    assert_eq!(audit["slots"], 16_384);
    audit
}

struct Walk {
    random: StdRng,
    clock: ManualClock,
}

impl Walk {
    fn below(&mut self, end: u32) -> u32 {
        self.random.random_range(0..end)
    }

    /// Most types keep to their own keys, so that commands mostly find what they expect; some
    /// keys share a slot.
    fn key(&mut self, kind: &str) -> String {
        let kinds = ["s", "l", "h", "t", "z"];
        let any = kinds[self.below(5) as usize];
        let kind = if self.below(40) == 0 { any } else { kind };
        let number = self.below(KEYS);
        match self.below(4) {
            0 => format!("{{tag{}}}{kind}{}", number % 5, number % 40),
            1 => format!("{kind}{number}:{}", "long".repeat(number as usize % 90)),
            _ => format!("{kind}{number}"),
        }
    }

    /// Mostly small, sometimes an integer, rarely many kilobytes.
    fn text(&mut self) -> String {
        match self.below(20) {
            0..6 => self.random.random_range(-100_000_i64..100_000).to_string(),
            6..16 => "v".repeat(self.below(90) as usize),
            16..19 => "medium".repeat(self.below(200) as usize),
            _ => "large".repeat(self.below(8000) as usize),
        }
    }

    fn member(&mut self) -> String {
        match self.below(12) {
            0..4 => self.below(700).to_string(),
            4..11 => format!("member:{}", self.below(700)),
            _ => format!("member:{}:{}", self.below(50), "long".repeat(30)),
        }
    }

    fn score(&mut self) -> String {
        format!("{}", f64::from(self.below(2000)) / 4.0)
    }

    /// Few, or so many that the value leaves its small form.
    fn many(&mut self, mut one: impl FnMut(&mut Walk) -> Vec<String>) -> Vec<String> {
        let count = if self.below(30) == 0 { 300 + self.below(600) } else { 1 + self.below(5) };
        (0..count).flat_map(|_| one(self)).collect()
    }

    fn string(&mut self) -> Vec<String> {
        let key = self.key("s");
        let words: Vec<String> = match self.below(14) {
            0..4 => vec!["SET".into(), key, self.text()],
            4 => vec!["SET".into(), key, self.text(), "PX".into(), self.expiry().to_string()],
            5 => vec!["APPEND".into(), key, self.text()],
            6 => vec!["SETRANGE".into(), key, self.below(3000).to_string(), self.text()],
            7 => vec!["INCRBY".into(), key, self.below(1000).to_string()],
            8 => vec!["GETDEL".into(), key],
            9 => vec!["SETBIT".into(), key, self.below(40_000).to_string(), "1".into()],
            10 => vec!["MSET".into(), key, self.text(), self.key("s"), self.text()],
            11 => vec!["GETEX".into(), key, "PX".into(), self.expiry().to_string()],
            12 => vec!["INCRBYFLOAT".into(), key, "0.5".into()],
            _ => vec!["GET".into(), key],
        };
        words
    }

    fn list(&mut self) -> Vec<String> {
        let key = self.key("l");
        let index = self.random.random_range(-40_i32..40).to_string();
        match self.below(12) {
            0..3 => [vec!["RPUSH".into(), key], self.many(|walk| vec![walk.text()])].concat(),
            3..5 => [vec!["LPUSH".into(), key], self.many(|walk| vec![walk.member()])].concat(),
            5 => vec!["LPOP".into(), key, self.below(20).to_string()],
            6 => vec!["RPOP".into(), key],
            7 => vec!["LSET".into(), key, index, self.text()],
            8 => vec!["LTRIM".into(), key, "3".into(), "-3".into()],
            9 => vec!["LREM".into(), key, "0".into(), self.member()],
            10 => vec!["RPOPLPUSH".into(), key, self.key("l")],
            _ => vec!["LRANGE".into(), key, "0".into(), "5".into()],
        }
    }

    fn hash(&mut self) -> Vec<String> {
        let key = self.key("h");
        let pair = |walk: &mut Walk| vec![walk.member(), walk.text()];
        match self.below(9) {
            0..4 => [vec!["HSET".into(), key], self.many(pair)].concat(),
            4..6 => [vec!["HDEL".into(), key], self.many(|walk| vec![walk.member()])].concat(),
            6 => vec!["HINCRBY".into(), key, self.member(), "7".into()],
            7 => vec!["HLEN".into(), key],
            _ => vec!["HGET".into(), key, self.member()],
        }
    }

    fn set(&mut self) -> Vec<String> {
        let key = self.key("t");
        match self.below(10) {
            0..4 => [vec!["SADD".into(), key], self.many(|walk| vec![walk.member()])].concat(),
            4..6 => [vec!["SREM".into(), key], self.many(|walk| vec![walk.member()])].concat(),
            6 => vec!["SPOP".into(), key, self.below(30).to_string()],
            7 => vec!["SUNIONSTORE".into(), key, self.key("t"), self.key("t")],
            8 => vec!["SMOVE".into(), key, self.key("t"), self.member()],
            _ => vec!["SCARD".into(), key],
        }
    }

    fn sorted_set(&mut self) -> Vec<String> {
        let key = self.key("z");
        let pair = |walk: &mut Walk| vec![walk.score(), walk.member()];
        match self.below(10) {
            0..4 => [vec!["ZADD".into(), key], self.many(pair)].concat(),
            4..6 => [vec!["ZREM".into(), key], self.many(|walk| vec![walk.member()])].concat(),
            6 => vec!["ZPOPMIN".into(), key, self.below(30).to_string()],
            7 => vec!["ZREMRANGEBYRANK".into(), key, "10".into(), "30".into()],
            8 => vec!["ZINCRBY".into(), key, "1.5".into(), self.member()],
            _ => vec!["ZSCORE".into(), key, self.member()],
        }
    }

    fn any_key(&mut self) -> String {
        let kinds = ["s", "l", "h", "t", "z"];
        let kind = kinds[self.below(5) as usize];
        self.key(kind)
    }

    fn expiry(&mut self) -> u32 {
        1 + self.below(20_000)
    }

    fn generic(&mut self) -> Vec<String> {
        let key = self.any_key();
        match self.below(12) {
            0..2 => vec!["DEL".into(), key, self.any_key()],
            2 => vec!["UNLINK".into(), key],
            3..5 => vec!["PEXPIRE".into(), key, self.expiry().to_string()],
            5 => vec!["PERSIST".into(), key],
            6 => vec!["RENAME".into(), key, self.any_key()],
            7 => vec!["COPY".into(), key, self.any_key(), "REPLACE".into()],
            8 => vec!["MOVE".into(), key, self.below(DATABASES).to_string()],
            9 => vec!["TYPE".into(), key],
            10 => vec!["MEMORY".into(), "USAGE".into(), key],
            _ => vec!["SELECT".into(), self.below(DATABASES).to_string()],
        }
    }

    /// One command, or a transaction over several keys.
    fn commands(&mut self) -> Vec<Vec<String>> {
        match self.below(100) {
            0..25 => vec![self.string()],
            25..42 => vec![self.list()],
            42..58 => vec![self.hash()],
            58..72 => vec![self.set()],
            72..86 => vec![self.sorted_set()],
            86..97 => vec![self.generic()],
            _ => {
                let mut queued = vec![vec!["MULTI".to_owned()]];
                for _ in 0..1 + self.below(4) {
                    queued.push(match self.below(3) {
                        0 => self.string(),
                        1 => self.hash(),
                        _ => self.sorted_set(),
                    });
                }
                queued.push(vec![if self.below(6) == 0 { "DISCARD" } else { "EXEC" }.to_owned()]);
                queued
            }
        }
    }

    /// Rare ones that change everything: limits, whole databases, time.
    fn upheaval(&mut self, client: &mut Client) {
        let set = |client: &mut Client, name: &str, value: &str| {
            let reply = client.call(&["CONFIG", "SET", name, value]).expect("an answer");
            assert_eq!(reply, Reply::Simple(b"OK".to_vec()), "{name} {value}");
        };
        match self.below(20) {
            0 => set(client, "maxmemory", "0"),
            1 => {
                let policies = ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-ttl"];
                set(client, "maxmemory-policy", policies[self.below(4) as usize]);
                let used = info(client, "memory", "used_memory_node");
                let limit = used.saturating_sub(u64::from(self.below(3_000_000)));
                set(client, "maxmemory", &limit.max(1_000_000).to_string());
            }
            2 => set(client, "hash-max-listpack-entries", &self.below(600).to_string()),
            3 => set(client, "list-max-listpack-size", "-2"),
            4 => {
                let reply = client.call(&["SWAPDB", "0", "1"]).expect("an answer");
                assert_eq!(reply, Reply::Simple(b"OK".to_vec()));
            }
            5 if self.below(8) == 0 => {
                client.call(&["FLUSHDB"]).expect("an answer");
            }
            6..14 => {
                let by_ms = u64::from(self.below(3000));
                self.clock.advance(Duration::from_millis(by_ms));
            }
            _ => {}
        }
    }
}

/// A number of a section of `INFO`.
fn info(client: &mut Client, section: &str, field: &str) -> u64 {
    let reply = client.call(&["INFO", section]).expect("an answer");
    let Reply::Bulk(text) = reply else { panic!("INFO is {reply:?}") };
    let text = String::from_utf8(text).expect("text");
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("{field}: {text}"))
}

/// Errors that say that the test itself is wrong, or the server.
fn check(commands: &[Vec<String>], replies: &[Reply]) {
    let errors = replies.iter().flat_map(|reply| match reply {
        Reply::Array(items) => items.iter().collect(),
        other => vec![other],
    });
    for error in errors {
        let Reply::Error(text) = error else { continue };
        let text = String::from_utf8_lossy(text);
        let allowed =
            ERRORS.iter().any(|allowed| text.starts_with(allowed)) || text.starts_with("EXECABORT");
        assert!(allowed, "{text}, one of {commands:.200?}");
    }
}

fn start(seed: u64) -> (InProcess, ManualClock) {
    let (clock, hands) = Clock::manual(1_700_000_000_000);
    let server = Server::builder()
        .directive("shards", &SHARDS.to_string())
        .directive("enable-debug-command", "local")
        .clock(clock)
        .seed(seed);
    (InProcess::start(server), hands)
}

#[test]
fn the_account_is_exact_after_any_history() {
    let seed = seed();
    let total = std::env::var("BALLAST_ACCOUNT_COMMANDS")
        .ok()
        .map_or(COMMANDS, |text| text.parse().expect("BALLAST_ACCOUNT_COMMANDS wants a number"));
    let (server, clock) = start(seed);
    let mut clients: Vec<Client> = (0..3).map(|_| server.connect().expect("connected")).collect();
    let mut control = server.connect().expect("connected");
    let random = StdRng::seed_from_u64(seed);
    let mut walk = Walk { random, clock };
    let (mut sent, mut next_audit, mut turn) = (0, AUDIT_EVERY, 0);
    let mut bytes_max = 0;
    while sent < total {
        let mut commands = Vec::new();
        while (commands.len() as u64) < PIPELINED {
            commands.extend(walk.commands());
        }
        turn = (turn + 1) % clients.len();
        let replies = clients[turn].pipeline(&commands).expect("all replies");
        check(&commands, &replies);
        sent += commands.len() as u64;
        hand_over(&mut walk, &mut control);
        walk.upheaval(&mut control);
        if sent >= next_audit {
            next_audit += AUDIT_EVERY;
            let audit = assert_exact(&mut control, &format!("after {sent} commands"));
            bytes_max = bytes_max.max(audit["counted"]);
        }
    }
    let evicted = info(&mut control, "stats", "evicted_keys");
    let expired = info(&mut control, "stats", "expired_keys");
    println!("{sent} commands, {bytes_max} bytes, {evicted} evicted, {expired} expired");
    assert!(evicted > 0 && expired > 0 && bytes_max > 1_000_000, "the walk reached everything");
    assert_exact(&mut control, "at the end");
    assert_eq!(control.call(&["FLUSHALL"]).expect("an answer"), Reply::Simple(b"OK".to_vec()));
    let audit = assert_exact(&mut control, "after FLUSHALL");
    assert_eq!((audit["counted"], audit["slots-with-bytes"]), (0, 0), "{audit:?}");
}

/// Hands slots of the walk's keys to other shards.
fn hand_over(walk: &mut Walk, control: &mut Client) {
    for _ in 0..HAND_OVERS {
        let key = walk.any_key();
        let slot = match control.call(&["CLUSTER", "KEYSLOT", &key]).expect("an answer") {
            Reply::Integer(slot) => slot.to_string(),
            other => panic!("a slot is {other:?}"),
        };
        let shard = walk.below(u32::from(SHARDS)).to_string();
        let reply = control.call(&["DEBUG", "HAND-OVER", &slot, &shard]).expect("an answer");
        assert_eq!(reply, Reply::Simple(b"OK".to_vec()));
    }
}

#[test]
fn slots_emptied_key_by_key_hold_nothing() {
    let (server, _clock) = start(seed());
    let mut client = server.connect().expect("connected");
    for db in ["0", "2", "15"] {
        client.call(&["SELECT", db]).expect("an answer");
        for size in ["5", "2000"] {
            let reply = client.call(&["DEBUG", "POPULATE", "3000", size, size]).expect("an answer");
            assert_eq!(reply, Reply::Simple(b"OK".to_vec()));
        }
    }
    let full = assert_exact(&mut client, "full");
    assert!(full["counted"] > 3 * 3000 * 2000, "{full:?}");
    for db in ["0", "2", "15"] {
        client.call(&["SELECT", db]).expect("an answer");
        let del = |size| (0..3000).map(move |n| vec!["DEL".to_owned(), format!("{size}:{n}")]);
        let commands: Vec<Vec<String>> = del(5).chain(del(2000)).collect();
        for reply in client.pipeline(&commands).expect("all replies") {
            assert_eq!(reply, Reply::Integer(1));
        }
    }
    assert_eq!(assert_exact(&mut client, "emptied")["counted"], 0);
}

/// Commands that find nothing under a missing key `K`, and make nothing.
const FRUITLESS: &[&str] = &[
    "GET K",
    "GETDEL K",
    "GETEX K PERSIST",
    "GETRANGE K 0 9",
    "STRLEN K",
    "SETRANGE K 9 ",
    "SET K v XX",
    "BITCOUNT K",
    "BITFIELD K GET u8 0",
    "EXISTS K K2",
    "MGET K K2",
    "TYPE K",
    "TTL K",
    "OBJECT ENCODING K",
    "MEMORY USAGE K",
    "DUMP K",
    "TOUCH K K2",
    "DEL K K2",
    "EXPIRE K 9",
    "PERSIST K",
    "RENAME K K2",
    "COPY K K2",
    "COPY K K DB 3",
    "MOVE K 3",
    "LRANGE K 0 9",
    "LPOP K",
    "LPUSHX K v",
    "LMOVE K K2 LEFT RIGHT",
    "HGETALL K",
    "HDEL K f",
    "SMEMBERS K",
    "SMOVE K K2 m",
    "SINTERSTORE K3 K K2",
    "ZRANGE K 0 9",
    "ZADD K XX 1 m",
    "ZUNIONSTORE K3 2 K K2",
    "SORT K STORE K3",
];

#[test]
fn commands_that_find_nothing_leave_nothing_in_any_database() {
    let (server, _clock) = start(seed());
    let mut client = server.connect().expect("connected");
    client.call(&["SELECT", "9"]).expect("an answer");
    for command in FRUITLESS {
        let named = |n: usize| {
            let name = |word: &str| word.replacen('K', &format!("{{{n}}}"), 1);
            let is_key = |word: &str| matches!(word, "K" | "K2" | "K3");
            let word = |word: &str| if is_key(word) { name(word) } else { word.to_owned() };
            command.split(' ').map(word).collect()
        };
        let commands: Vec<Vec<String>> = (0..300).map(named).collect();
        client.pipeline(&commands).expect("all replies");
        assert_eq!(assert_exact(&mut client, command)["counted"], 0, "after {command}");
    }
}

#[test]
fn a_key_of_another_database_costs_little_more() {
    let (server, _clock) = start(seed());
    let mut client = server.connect().expect("connected");
    let mut costs = Vec::new();
    for db in ["0", "1", "15"] {
        client.call(&["SELECT", db]).expect("an answer");
        client.call(&["DEBUG", "POPULATE", "2000"]).expect("an answer");
        costs.push(assert_exact(&mut client, "full")["counted"]);
        client.call(&["FLUSHALL"]).expect("an answer");
    }
    // Even with one key in most slots.
    assert!(costs[1] <= costs[0] + 80 * 2000 && costs[1] == costs[2], "{costs:?}");
}

#[test]
fn an_eviction_for_a_command_on_many_slots_is_counted_once() {
    let (server, _clock) = start(seed());
    let mut client = server.connect().expect("connected");
    client.call(&["DEBUG", "POPULATE", "4000", "k", "1000"]).expect("an answer");
    client.call(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]).expect("an answer");
    let used = info(&mut client, "memory", "used_memory_node");
    client.call(&["CONFIG", "SET", "maxmemory", &(used - 2_000_000).to_string()]).expect("set");
    for round in 0..40 {
        let mut command = vec!["MSET".to_owned()];
        for n in 0..4000 {
            command.extend([format!("k:{n}"), format!("{round}")]);
        }
        client.call(&command).expect("an answer");
        assert_exact(&mut client, "after an MSET of all keys");
    }
    assert!(info(&mut client, "stats", "evicted_keys") > 0);
}

#[test]
fn writes_to_collections_renew_their_place_in_the_eviction_order() {
    let (server, clock) = start(seed());
    let mut client = server.connect().expect("connected");
    let idle = |client: &mut Client, key: &str| client.call(&["OBJECT", "IDLETIME", key]);
    let writes = [
        ["RPUSH", "l", "1", "2"],
        ["HSET", "h", "a", "b"],
        ["SADD", "t", "a", "b"],
        ["ZADD", "z", "1", "a"],
    ];
    for write in writes {
        client.call(&write).expect("an answer");
        assert_eq!(idle(&mut client, write[1]).expect("idle"), Reply::Integer(0), "{write:?}");
    }
    clock.advance(Duration::from_secs(100));
    for write in writes {
        let key = write[1];
        wait_until("idle", || idle(&mut client, key).expect("idle") == Reply::Integer(100));
        // The shard reads the clock of the eviction order in its periodic work.
        wait_until("renewed", || {
            client.call(&write).expect("an answer");
            idle(&mut client, key).expect("idle") == Reply::Integer(0)
        });
    }
}

#[test]
fn digests_do_not_depend_on_where_keys_are() {
    let seed = seed();
    let build = |shards: &str| {
        let builder = Server::builder().directive("shards", shards).seed(seed);
        let server = InProcess::start(builder.directive("enable-debug-command", "yes"));
        let mut client = server.connect().expect("connected");
        let empty = client.call(&["DEBUG", "DIGEST"]).expect("an answer");
        assert_eq!(empty, Reply::Simple(vec![b'0'; 40]));
        for command in DATA {
            let words: Vec<&str> = command.split(' ').collect();
            let reply = client.call(&words).expect("an answer");
            assert!(!matches!(reply, Reply::Error(_)), "{command}: {reply:?}");
        }
        client.call(&["DEBUG", "DIGEST"]).expect("an answer")
    };
    // What redis-server 7.0.15 answers.
    let digest = Reply::Simple(DIGEST.as_bytes().to_vec());
    assert_eq!(build("1"), digest);
    assert_eq!(build("3"), digest);
}

/// Values of all types in two databases.
const DATA: &[&str] = &[
    "SET a 1",
    "SET b hello",
    "SET c 3.5 EX 100000",
    "RPUSH l 1 two 3 four",
    "SADD s1 1 2 3",
    "SADD s2 a b 3",
    "HSET h f1 v1 f2 22",
    "ZADD z 1 a 2.5 b -inf c 0.1 d 1e300 e",
    "SELECT 3",
    "SET a other",
    "HSET h2 x y",
    "PEXPIRE h2 100000000",
];
const DIGEST: &str = "eee35926462d9fab40bc619e20cc7471cd0c9be5";
