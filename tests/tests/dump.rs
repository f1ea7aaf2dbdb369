//! Values from Redis to Ballast and back by `DUMP` and `RESTORE`: every type, every encoding that
//! the installed Redis writes, small and large. `SEED=n` repeats a run.

#![forbid(unsafe_code)]

use std::time::Duration;

use ballast_server::{Clock, Server};
use ballast_tests::support::{
    Client, InProcess, Kind, Process, Reply, Target, redis_version, seed,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Values of each Redis.
const VALUES: usize = 150;
/// Elements of the large values of the first Redis, and of the others.
const LARGE_LENS: [usize; 2] = [60_000, 3_000];
/// Elements in one command.
const PER_COMMAND: usize = 1000;

/// What makes Redis choose other encodings. All look into what they are given.
const REDIS_ARGS: &[&[&str]] = &[
    &[],
    &["--rdbcompression", "no"],
    &["--list-compress-depth", "1", "--list-max-listpack-size", "7"],
    &["--hash-max-listpack-entries", "3", "--zset-max-listpack-entries", "3"],
    &["--set-max-intset-entries", "3", "--list-max-listpack-size", "1"],
];

#[test]
fn values_go_to_ballast_and_back() {
    if !redis_version().is_some_and(|version| version.starts_with("7.0.")) {
        eprintln!("no redis-server 7.0.x to exchange values with");
        return;
    }
    let seed = seed();
    let debug = ["--enable-debug-command", "local"];
    let ballast = Process::start(&Kind::Ballast { shards: 2 }, &debug).expect("ballast starts");
    for (index, args) in REDIS_ARGS.iter().enumerate() {
        let sanitize = ["--sanitize-dump-payload", "yes"];
        let args = [&debug[..], &sanitize, args].concat();
        let redis = Process::start(&Kind::Redis, &args).expect("redis-server starts");
        let random = StdRng::seed_from_u64(seed.wrapping_add(index as u64));
        let mut exchange = Exchange {
            redis: redis.connect().expect("a connection"),
            ballast: ballast.connect().expect("a connection"),
            random,
            large_len: LARGE_LENS[index.min(1)],
        };
        // Elements of more than this many bytes have a node of their own; usually 1 GiB.
        let nodes = if index == 0 { "100b" } else { "1gb" };
        exchange.redis.ok(&["DEBUG", "QUICKLIST-PACKED-THRESHOLD", nodes]);
        for value in 0..VALUES {
            // The first of each type are large.
            exchange.value(&format!("{index}:{value}"), value % 6, value < 6);
        }
        exchange.assert_exact();
        exchange.ballast.ok(&["FLUSHALL"]);
    }
}

/// What the tests want of a connection.
trait Calls {
    fn bytes(&mut self, words: &[&[u8]]) -> Vec<u8>;
    fn ok(&mut self, words: &[&str]);
}

impl Calls for Client {
    fn bytes(&mut self, words: &[&[u8]]) -> Vec<u8> {
        match self.call(words) {
            Ok(Reply::Bulk(bytes)) => bytes,
            other => panic!("{} is answered {other:?}", words[0].escape_ascii()),
        }
    }

    fn ok(&mut self, words: &[&str]) {
        assert_eq!(self.call(words).expect("an answer"), Reply::Simple("OK".into()), "{words:?}");
    }
}

struct Exchange {
    redis: Client,
    ballast: Client,
    random: StdRng,
    large_len: usize,
}

impl Exchange {
    /// Makes a value in Redis, and has it restored in Ballast and from there in Redis.
    fn value(&mut self, key: &str, kind: usize, large: bool) {
        self.make(key, kind, large);
        let original = digest(&mut self.redis, key);
        let payload = self.redis.bytes(&[b"DUMP", key.as_bytes()]);
        restore(&mut self.ballast, key, &payload);
        assert_eq!(digest(&mut self.ballast, key), original, "{key}, kind {kind}, in Ballast");
        let payload = self.ballast.bytes(&[b"DUMP", key.as_bytes()]);
        restore(&mut self.redis, "back", &payload);
        assert_eq!(digest(&mut self.redis, "back"), original, "{key}, kind {kind}, back in Redis");
        // Also what Ballast itself has written.
        restore(&mut self.ballast, key, &payload);
        assert_eq!(digest(&mut self.ballast, key), original, "{key}, kind {kind}, again");
    }

    fn make(&mut self, key: &str, kind: usize, large: bool) {
        let len = match self.random.random_range(0..4) {
            _ if large => self.large_len,
            0 => self.random.random_range(1..700),
            _ => self.random.random_range(1..20),
        };
        let command = ["SET", "RPUSH", "SADD", "SADD", "HSET", "ZADD"][kind];
        if command == "SET" {
            let value = if large { b"large".repeat(self.large_len) } else { self.text() };
            self.redis.call(&[b"SET", key.as_bytes(), &value]).expect("an answer");
            return;
        }
        let width = self.random.random_range(8..64);
        let mut left = len;
        while left > 0 {
            let count = left.min(PER_COMMAND);
            let mut words = vec![command.as_bytes().to_vec(), key.as_bytes().to_vec()];
            for _ in 0..count {
                match kind {
                    1 => words.push(self.text()),
                    2 => words.push(self.integer(width)),
                    3 => words.push(self.text()),
                    4 => words.extend([self.text(), self.text()]),
                    _ => words.extend([self.score(), self.text()]),
                }
            }
            let reply = self.redis.call(&words).expect("an answer");
            assert!(matches!(reply, Reply::Integer(_)), "{command}: {reply:?}");
            left -= count;
        }
    }

    fn integer(&mut self, width: u32) -> Vec<u8> {
        (self.random.random::<i64>() >> (64 - width)).to_string().into_bytes()
    }

    /// Integers of all widths, texts that compress and that do not.
    fn text(&mut self) -> Vec<u8> {
        match self.random.random_range(0..16) {
            0..4 => {
                let width = self.random.random_range(1..=64);
                self.integer(width)
            }
            4..10 => format!("name:{}", self.random.random::<u32>()).into_bytes(),
            10..12 => {
                let len = self.random.random_range(0..90);
                (0..len).map(|_| self.random.random()).collect()
            }
            12..15 => b"again and ".repeat(self.random.random_range(1..30)),
            _ => vec![self.random.random(); self.random.random_range(0..5000)],
        }
    }

    fn score(&mut self) -> Vec<u8> {
        match self.random.random_range(0..8) {
            0 => b"inf".to_vec(),
            1 => b"-inf".to_vec(),
            2..5 => self.integer(40),
            5 => format!("{}", self.random.random::<f64>() * 1e300).into_bytes(),
            _ => format!("{}", self.random.random::<f64>() - 0.5).into_bytes(),
        }
    }

    /// Ballast's account is the sum of what it keeps.
    fn assert_exact(&mut self) {
        let audit = self.ballast.call(&["DEBUG", "SLOT-AUDIT"]).expect("an answer");
        let Reply::Array(fields) = audit else { panic!("an audit is {audit:?}") };
        let drift = fields.iter().position(|field| *field == Reply::Bulk("drift".into()));
        assert_eq!(fields[drift.expect("the audit has it") + 1], Reply::Integer(0));
    }
}

/// What Redis's test tools compare values by; their order and encoding do not matter.
fn digest(client: &mut Client, key: &str) -> Reply {
    let reply = client.call(&["DEBUG", "DIGEST-VALUE", key]).expect("an answer");
    let Reply::Array(mut digests) = reply else { panic!("a digest is {reply:?}") };
    digests.pop().expect("one for each key")
}

fn restore(client: &mut Client, key: &str, payload: &[u8]) {
    let words: [&[u8]; 5] = [b"RESTORE", key.as_bytes(), b"0", payload, b"REPLACE"];
    let reply = client.call(&words).expect("an answer");
    assert_eq!(reply, Reply::Simple("OK".into()), "{key}: {}", payload.escape_ascii());
}

#[test]
fn a_restored_key_is_as_idle_and_lives_as_long_as_it_says() {
    let (clock, hands) = Clock::manual(1_700_000_000_000);
    let server = InProcess::start(Server::builder().directive("shards", "2").clock(clock));
    let mut client = server.connect().expect("a connection");
    client.ok(&["SET", "k", "v"]);
    let payload = client.bytes(&[b"DUMP", b"k"]);
    let mut restored = |ttl: &str, options: &[&str]| {
        let words: [&[u8]; 5] = [b"RESTORE", b"k", ttl.as_bytes(), &payload, b"REPLACE"];
        let options = options.iter().map(|option| option.as_bytes());
        let words: Vec<&[u8]> = words.into_iter().chain(options).collect();
        assert_eq!(client.call(&words).expect("an answer"), Reply::Simple("OK".into()));
        let idle = client.call(&["OBJECT", "IDLETIME", "k"]).expect("an answer");
        (idle, client.call(&["PTTL", "k"]).expect("an answer"))
    };
    let found = |idle, ttl_ms| (Reply::Integer(idle), Reply::Integer(ttl_ms));
    assert_eq!(restored("0", &[]), found(0, -1));
    assert_eq!(restored("5", &["IDLETIME", "1000"]), found(1000, 5));
    assert_eq!(restored("1700000000700", &["ABSTTL", "IDLETIME", "0"]), found(0, 700));
    // Frequencies are not counted under this policy.
    assert_eq!(restored("0", &["FREQ", "200"]), found(0, -1));
    assert_eq!(restored("0", &["IDLETIME", "9223372036854775807"]).1, Reply::Integer(-1));
    hands.advance(Duration::from_secs(50));
    assert_eq!(restored("0", &["IDLETIME", "60"]), found(60, -1));
    let gone = (Reply::NilBulk, Reply::Integer(-2));
    assert_eq!(restored("1700000050000", &["ABSTTL"]), gone, "its time is now");
}
