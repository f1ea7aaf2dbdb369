//! The same random commands to Ballast and to the installed Redis: every reply, and now and then
//! everything that is kept, must be equal. `SEED=n` replays a run, `STEPS=n` makes it longer.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use ballast_tests::script::render;
use ballast_tests::support::{Client, Kind, Process, Target, redis_version, seed_or, steps};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const STEPS: u64 = 15_000;
const SEED: u64 = 7;
/// Everything that is kept is compared after so many steps.
const DUMP_EVERY: u64 = 250;
/// So many kinds of difference are enough to read at once.
const DIFFERENCES_MAX: usize = 30;
const HISTORY: usize = 12;
const SHARDS: usize = 2;

/// Commands. `{…}` is filled in by `Generator::word`; a `~` in front says that the order of the
/// reply's items means nothing.
const TEMPLATES: &[&str] = &[
    "SET {s} {v}",
    "SET {s} {v} NX",
    "SET {s} {v} XX",
    "SET {s} {v} GET",
    "SET {s} {v} NX GET",
    "SET {s} {v} KEEPTTL",
    "SET {s} {v} PXAT {e}",
    "SETNX {s} {v}",
    "GETSET {s} {v}",
    "GETDEL {s}",
    "GETEX {s} PXAT {e}",
    "GETEX {s} PERSIST",
    "GET {s}",
    "MGET {s} {k} {s}",
    "MSET {s} {v} {s} {v}",
    "MSETNX {s} {v} {s} {v}",
    "APPEND {s} {v}",
    "STRLEN {s}",
    "GETRANGE {s} {r} {r}",
    "SETRANGE {s} {i} {v}",
    "INCR {s}",
    "DECR {s}",
    "INCRBY {s} {n}",
    "DECRBY {s} {n}",
    "INCRBYFLOAT {s} {x}",
    "SETBIT {s} {i} 1",
    "GETBIT {s} {i}",
    "BITCOUNT {s}",
    "BITPOS {s} 1",
    "DEL {k}",
    "DEL {k} {k} {k}",
    "UNLINK {k} {k}",
    "EXISTS {k} {k}",
    "TYPE {k}",
    "TOUCH {k} {k}",
    "RENAME {k} {k}",
    "RENAMENX {k} {k}",
    "COPY {k} {k}",
    "COPY {k} {k} REPLACE",
    "PEXPIREAT {k} {e}",
    "PEXPIREAT {k} {e} NX",
    "PEXPIREAT {k} {e} XX",
    "PEXPIREAT {k} {e} GT",
    "PEXPIREAT {k} {e} LT",
    "PEXPIREAT {k} 1",
    "PERSIST {k}",
    "PEXPIRETIME {k}",
    "EXPIRETIME {k}",
    "DBSIZE",
    "~KEYS *",
    "~KEYS {p}",
    "SELECT 0",
    "MOVE {k} 1",
    "LPUSH {l} {v}",
    "RPUSH {l} {v} {v} {v}",
    "LPUSHX {l} {v}",
    "RPUSHX {l} {v}",
    "LPOP {l}",
    "RPOP {l}",
    "LPOP {l} {i}",
    "RPOP {l} {r}",
    "LLEN {l}",
    "LRANGE {l} {r} {r}",
    "LINDEX {l} {r}",
    "LSET {l} {r} {v}",
    "LINSERT {l} BEFORE {v} {v}",
    "LINSERT {l} AFTER {v} {v}",
    "LREM {l} {r} {v}",
    "LTRIM {l} {r} {r}",
    "LPOS {l} {v}",
    "LPOS {l} {v} RANK -1 COUNT 0",
    "RPOPLPUSH {l} {l}",
    "LMOVE {l} {l} LEFT RIGHT",
    "LMOVE {l} {l} RIGHT RIGHT",
    "LMPOP 2 {l} {l} LEFT COUNT {i}",
    "HSET {h} {f} {v}",
    "HSET {h} {f} {v} {f} {v}",
    "HSETNX {h} {f} {v}",
    "HMSET {h} {f} {v}",
    "HGET {h} {f}",
    "HMGET {h} {f} {f}",
    "~HGETALL {h}",
    "~HKEYS {h}",
    "~HVALS {h}",
    "HLEN {h}",
    "HEXISTS {h} {f}",
    "HSTRLEN {h} {f}",
    "HDEL {h} {f} {f}",
    "HINCRBY {h} {f} {n}",
    "HINCRBYFLOAT {h} {f} {x}",
    "SADD {t} {m} {m} {m}",
    "SADD {t} {n}",
    "SREM {t} {m} {m}",
    "SCARD {t}",
    "SISMEMBER {t} {m}",
    "SMISMEMBER {t} {m} {m}",
    "~SMEMBERS {t}",
    "SMOVE {t} {t} {m}",
    "~SPOP {t} 1000",
    "~SRANDMEMBER {t} 1000",
    "~SINTER {t} {t}",
    "~SUNION {t} {t}",
    "~SDIFF {t} {t}",
    "SINTERSTORE {t} {t} {t}",
    "SUNIONSTORE {t} {t} {t}",
    "SDIFFSTORE {t} {t} {t}",
    "SINTERCARD 2 {t} {t}",
    "ZADD {z} {x} {m}",
    "ZADD {z} {x} {m} {x} {m}",
    "ZADD {z} NX {x} {m}",
    "ZADD {z} XX CH {x} {m}",
    "ZADD {z} GT CH {x} {m}",
    "ZADD {z} LT {x} {m}",
    "ZADD {z} INCR {x} {m}",
    "ZINCRBY {z} {x} {m}",
    "ZREM {z} {m} {m}",
    "ZCARD {z}",
    "ZSCORE {z} {m}",
    "ZMSCORE {z} {m} {m}",
    "ZRANK {z} {m}",
    "ZREVRANK {z} {m}",
    "ZRANGE {z} {r} {r}",
    "ZRANGE {z} {r} {r} WITHSCORES",
    "ZRANGE {z} {b} {b} BYSCORE",
    "ZRANGE {z} {b} {b} BYSCORE REV LIMIT {i} {i}",
    "ZRANGEBYSCORE {z} {b} {b} WITHSCORES",
    "ZREVRANGEBYSCORE {z} {b} {b} LIMIT {i} {r}",
    "ZREVRANGE {z} {r} {r} WITHSCORES",
    "ZCOUNT {z} {b} {b}",
    "ZPOPMIN {z}",
    "ZPOPMAX {z} {i}",
    "ZMPOP 2 {z} {z} MIN COUNT {i}",
    "ZREMRANGEBYRANK {z} {r} {r}",
    "ZREMRANGEBYSCORE {z} {b} {b}",
    "ZRANGESTORE {z} {z} {r} {r}",
    "ZUNIONSTORE {z} 2 {z} {z}",
    "ZUNIONSTORE {z} 2 {z} {t} WEIGHTS {i} 2 AGGREGATE MAX",
    "ZINTERSTORE {z} 2 {z} {z} AGGREGATE MIN",
    "ZDIFFSTORE {z} 2 {z} {t}",
    "ZUNION 2 {z} {z} WITHSCORES",
    "ZINTER 2 {z} {t}",
    "ZDIFF 2 {z} {z} WITHSCORES",
    "ZINTERCARD 2 {z} {z}",
    "SORT {l} ALPHA",
    "SORT {t} ALPHA DESC LIMIT 0 3",
    "SETEX {s} 0 {v}",
    "PSETEX {s} -5 {v}",
    "EXPIRE {k} -1 NX",
    "SUBSTR {s} {r} {r}",
    "LCS {s} {s}",
    "LCS {s} {s} LEN",
    "LCS {s} {s} IDX WITHMATCHLEN",
    "BITCOUNT {s} {r} {r}",
    "BITCOUNT {s} {r} {r} BIT",
    "BITPOS {s} 0 {r} {r}",
    "BITPOS {s} 1 {r} {r} BIT",
    "BITOP AND {s} {s} {s}",
    "BITOP XOR {s} {s} {s}",
    "BITOP NOT {s} {s}",
    "BITFIELD {s} GET u8 {i} SET i5 {i} {r} INCRBY u4 #{i} {r}",
    "BITFIELD {s} OVERFLOW SAT INCRBY i8 {i} {r} OVERFLOW FAIL INCRBY u3 {i} {r}",
    "BITFIELD_RO {s} GET i16 {i} GET u63 {i}",
    "OBJECT REFCOUNT {h}",
    "EXPIREAT {k} 33177117420 XX",
    "RANDOMKEY x",
    "SORT {t} BY nosort GET # LIMIT {i} {i} ALPHA STORE {l}",
    "~SORT {l} BY nosort DESC",
    "~SORT {z} BY nosort DESC",
    "SORT_RO {l} ALPHA LIMIT {i} {i}",
    "SWAPDB 0 {i}",
    "COPY {k} {k} DB {i}",
    "LPOS {l} {v} RANK {r} COUNT {i} MAXLEN {i}",
    "LINDEX {l} {n}",
    "BLPOP {l} {l} 0.001",
    "BLMOVE {l} {l} RIGHT LEFT 0.001",
    "BLMPOP 0.001 2 {l} {l} RIGHT COUNT {i}",
    "BZPOPMIN {z} {z} 0.001",
    "BZMPOP 0.001 1 {z} MAX COUNT {i}",
    "~HRANDFIELD {h} 1000",
    "~HRANDFIELD {h} 1000 WITHVALUES",
    "~ZRANDMEMBER {z} 1000 WITHSCORES",
    "SINTERCARD 2 {t} {t} LIMIT {i}",
    "ZINTERCARD 2 {z} {z} LIMIT {i}",
    "ZADD {z} XX GT INCR {x} {m}",
    "ZADD {z} NX GT {x} {m}",
    "ZADD {y} 0 {f} 0 {f} 0 {f}",
    "ZRANGEBYLEX {y} {q} {q} LIMIT {i} {r}",
    "ZREVRANGEBYLEX {y} {q} {q}",
    "ZLEXCOUNT {y} {q} {q}",
    "ZREMRANGEBYLEX {y} {q} {q}",
    "ZRANGE {y} {q} {q} BYLEX REV",
    "ZRANGESTORE {z} {z} {b} {b} BYSCORE LIMIT {i} {i}",
    "ZINTER 2 {z} {z} WEIGHTS {x} {x} AGGREGATE SUM WITHSCORES",
    "ZUNION 2 {t} {z} WEIGHTS {x} {x} WITHSCORES",
    "ZDIFFSTORE {z} 3 {z} {z} {z}",
    "DEBUG DIGEST-VALUE {k} {k}",
    "PING {v}",
    "ECHO {v}",
    "COMMAND GETKEYS LMPOP {i} {l} {l} LEFT",
    "COMMAND GETKEYSANDFLAGS ZUNIONSTORE {z} {i} {z} {z}",
    "COMMAND GETKEYSANDFLAGS SORT {l} BY {p} STORE {l}",
    "MEMORY USAGE absent",
    "CONFIG GET maxmemory",
    "CLIENT SETNAME {v}",
    "CLIENT GETNAME",
    "WAIT 0 0",
    "MULTI",
    "EXEC",
    "DISCARD",
    "WATCH {k}",
    "UNWATCH",
    "FLUSHALL",
];

/// The part of the commands that are wrong, or at least odd.
const MISTAKES: f64 = 0.08;

/// What stands where something else belongs.
const ODD_WORDS: &[&[u8]] = &[
    b"",
    b"0",
    b"-1",
    b"7",
    b"abc",
    b"1.5",
    b" 1",
    b"1e3",
    b"1e400",
    b"-0",
    b"+5",
    b"nan",
    b"99999999999999999999",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"NX",
    b"xx",
    b"GET",
    b"COUNT",
    b"LIMIT",
    b"WITHSCORES",
    b"WITHVALUES",
    b"BYLEX",
    b"REV",
    b"(3",
    b"[a",
    b"LEFT",
    b"KEEPTTL",
    b"STORE",
    b"#",
];

/// Whether a mistake would have answers that need not be equal: of chance, of time, of orders that
/// nothing says, or of commands that Redis 7.2 reads otherwise than the 7.0 we compare with.
fn takes_no_mistakes(template: &str) -> bool {
    let chance = ["POP", "RAND", "FLUSHALL", "SORT", "PXAT"];
    let changed = ["BITCOUNT", "BITPOS", "ZRANK", "ZREVRANK", "COMMAND"];
    chance.iter().chain(&changed).any(|part| template.contains(part)) || template.contains("{y}")
}

#[test]
fn random_commands_are_answered_as_by_redis() {
    if !redis_version().is_some_and(|version| version.starts_with("7.0.")) {
        eprintln!("no redis-server 7.0.x to compare with");
        return;
    }
    let (seed, steps) = (seed_or(SEED), steps(STEPS));
    let args = ["--enable-debug-command", "yes"];
    let redis = Process::start(&Kind::Redis, &args).expect("redis-server starts");
    let ballast = Process::start(&Kind::Ballast { shards: SHARDS }, &args).expect("ballast starts");
    let mut pair = Pair::new(&redis, &ballast);
    let mut generator = Generator { random: StdRng::seed_from_u64(seed) };
    for step in 0..steps {
        let (template, words) = generator.command();
        pair.compare(template, &words);
        if step % DUMP_EVERY == 0 {
            pair.compare_all_kept();
        }
        if pair.differences.len() >= DIFFERENCES_MAX {
            break;
        }
    }
    pair.report(seed);
}

struct Generator {
    random: StdRng,
}

impl Generator {
    fn command(&mut self) -> (&'static str, Vec<Vec<u8>>) {
        loop {
            let template = TEMPLATES[self.random.random_range(0..TEMPLATES.len())];
            // What empties everything is rare, or nothing would grow.
            if template == "FLUSHALL" && !self.random.random_bool(0.02) {
                continue;
            }
            let words = template.trim_start_matches('~').split(' ');
            let mut words: Vec<_> = words.map(|word| self.word(word)).collect();
            if self.random.random_bool(MISTAKES) && !takes_no_mistakes(template) {
                self.make_mistake(&mut words);
            }
            return (template, words);
        }
    }

    /// As people and clients do: leaves an argument out, says one twice, or says another.
    fn make_mistake(&mut self, words: &mut Vec<Vec<u8>>) {
        let at = self.random.random_range(0..words.len());
        match self.random.random_range(0..4) {
            0 if at > 0 => drop(words.remove(at)),
            1 => words.insert(at + 1, words[at].clone()),
            2 => words.push(self.odd_word()),
            _ if at > 0 => words[at] = self.odd_word(),
            _ => {}
        }
    }

    fn odd_word(&mut self) -> Vec<u8> {
        ODD_WORDS[self.random.random_range(0..ODD_WORDS.len())].to_vec()
    }

    fn word(&mut self, placeholder: &str) -> Vec<u8> {
        let random = &mut self.random;
        let text = match placeholder {
            // Now and then a key of any type, so that every error has its turn.
            "{s}" | "{l}" | "{h}" | "{t}" | "{z}" if random.random_bool(0.97) => {
                format!("{}{}", &placeholder[1..2], random.random_range(0..4))
            }
            "{k}" | "{s}" | "{l}" | "{h}" | "{t}" | "{z}" => {
                let family = ["s", "l", "h", "t", "z"][random.random_range(0..5)];
                format!("{family}{}", random.random_range(0..4))
            }
            // Sorted sets of one score, which alone have an order of members.
            "{y}" => format!("y{}", random.random_range(0..3)),
            "{v}" => return self.value(),
            "{f}" => format!("field{}", random.random_range(0..12)),
            "{m}" => match random.random_bool(0.5) {
                true => random.random_range(-5..20).to_string(),
                false => format!("member{}", random.random_range(0..10)),
            },
            "{n}" => match random.random_range(0..12) {
                0 => i64::MAX.to_string(),
                1 => i64::MIN.to_string(),
                2 => "1.5".to_owned(),
                3 => (1_i64 << random.random_range(0..63)).to_string(),
                _ => random.random_range(-100..100).to_string(),
            },
            "{i}" => random.random_range(0..20).to_string(),
            "{r}" => random.random_range(-12..12).to_string(),
            "{x}" => match random.random_range(0..12) {
                0 => "inf".to_owned(),
                1 => "-inf".to_owned(),
                2 => "nonsense".to_owned(),
                3 => format!("{}e{}", random.random_range(1..9), random.random_range(-20..20)),
                4 | 5 => format!("{}.{}", random.random_range(-9..9), random.random_range(0..999)),
                _ => random.random_range(-10..10).to_string(),
            },
            "{b}" => match random.random_range(0..6) {
                0 => "-inf".to_owned(),
                1 => "+inf".to_owned(),
                2 => format!("({}", random.random_range(-10..10)),
                _ => random.random_range(-10..10).to_string(),
            },
            // Later than any test runs.
            "{e}" => (33_177_117_420_000_i64 + random.random_range(0..1000)).to_string(),
            "{q}" => match random.random_range(0..6) {
                0 => "-".to_owned(),
                1 => "+".to_owned(),
                2 => format!("({}", random.random_range(-5..20)),
                3 => format!("[member{}", random.random_range(0..10)),
                _ => format!("[field{}", random.random_range(0..12)),
            },
            "{p}" => ["s*", "?1", "[lh]*", "*2", "x"][random.random_range(0..5)].to_owned(),
            word => word.to_owned(),
        };
        text.into_bytes()
    }

    fn value(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        match random.random_range(0..20) {
            0 => Vec::new(),
            1 => vec![b'x'; random.random_range(40..80)],
            2 => vec![b'y'; random.random_range(200..5000)],
            3 => vec![0, 255, b'\r', b'\n'],
            4 => b"3.25".to_vec(),
            5 => i64::MAX.to_string().into_bytes(),
            6..10 => random.random_range(-300..300).to_string().into_bytes(),
            _ => format!("value{}", random.random_range(0..8)).into_bytes(),
        }
    }
}

/// The two servers, and what was seen to differ.
struct Pair<'a> {
    servers: [&'a Process; 2],
    clients: [Client; 2],
    /// The first difference of each template.
    differences: BTreeMap<String, String>,
    history: VecDeque<String>,
}

impl<'a> Pair<'a> {
    fn new(redis: &'a Process, ballast: &'a Process) -> Pair<'a> {
        let servers = [redis, ballast];
        let clients = servers.map(|server| server.connect().expect("a connection"));
        Pair { servers, clients, differences: BTreeMap::new(), history: VecDeque::new() }
    }

    fn compare(&mut self, template: &str, words: &[Vec<u8>]) {
        // The replies of a transaction hold those of its commands, whatever they are.
        let unordered = template.starts_with('~') || template == "EXEC";
        let shown: Vec<_> = words.iter().map(|word| word.escape_ascii().to_string()).collect();
        self.history.push_back(shown.join(" "));
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
        let [redis, ballast] =
            self.clients.each_mut().map(|client| answer(client, words, unordered));
        if redis == ballast {
            return;
        }
        let mut text = String::new();
        for line in &self.history {
            writeln!(text, "    {line}").expect("a String takes all");
        }
        writeln!(
            text,
            "  redis:   {}\n  ballast: {}",
            redis.join("\n    "),
            ballast.join("\n    ")
        )
        .expect("a String takes all");
        self.differences.entry(template.to_owned()).or_insert(text);
        self.begin_anew();
    }

    /// After a difference everything else would follow from it.
    fn begin_anew(&mut self) {
        self.clients = self.servers.map(|server| server.connect().expect("a connection"));
        for client in &mut self.clients {
            client.call(&["FLUSHALL"]).expect("an answer to FLUSHALL");
        }
        self.history.clear();
    }

    fn compare_all_kept(&mut self) {
        // What is queued is not kept; an error without MULTI is equal on both.
        self.compare("DISCARD", &[b"DISCARD".to_vec()]);
        self.compare("DEBUG DIGEST", &[b"DEBUG".to_vec(), b"DIGEST".to_vec()]);
        for family in ["s", "l", "h", "t", "z"] {
            for number in 0..4 {
                let key = format!("{family}{number}");
                for template in [
                    "TYPE {key}",
                    "PEXPIRETIME {key}",
                    "GET {key}",
                    "LRANGE {key} 0 -1",
                    "~HGETALL {key}",
                    "~SMEMBERS {key}",
                    "ZRANGE {key} 0 -1 WITHSCORES",
                ] {
                    let command = template.trim_start_matches('~').replace("{key}", &key);
                    let words: Vec<_> = command.split(' ').map(Vec::from).collect();
                    self.compare(template, &words);
                }
            }
        }
    }

    fn report(&self, seed: u64) {
        let mut text = String::new();
        for (template, difference) in &self.differences {
            write!(text, "{template}\n{difference}").expect("a String takes all");
        }
        let kinds = self.differences.len();
        assert!(text.is_empty(), "{text}{kinds} kinds of command differ; replay with SEED={seed}");
    }
}

fn answer(client: &mut Client, words: &[Vec<u8>], unordered: bool) -> Vec<String> {
    match client.call(words) {
        Ok(reply) => render(&reply, unordered),
        Err(error) => vec![format!("(no reply: {error})")],
    }
}
