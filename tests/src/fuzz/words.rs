//! What stands for the arguments: mostly what fits, and what looks like something else.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::Words;
use super::syntax::Command;

/// Later than any test runs, in milliseconds.
const FAR_FUTURE_MS: i64 = 33_177_117_420_000;
/// Keys of each type.
const KEYS: u32 = 4;
/// The first letter of the keys that commands of a type use.
const FAMILIES: [&str; 5] = ["s", "l", "h", "t", "z"];

/// Keys that are something else as well: nothing, options, bytes that are no text.
const ODD_KEYS: &[&[u8]] = &[
    b"",
    b"STORE",
    b"store",
    b"BY",
    b"LIMIT",
    b"NX",
    b"COUNT",
    b"WEIGHTS",
    b"LEFT",
    b"MATCH",
    b"1",
    b"-1",
    b"06S",
    b"\xff\x00\r\n",
    b"{}",
    b"{}x",
    b"{",
    b"{a}",
    b"k with blanks",
];

/// What stands where something else belongs.
const ODD: &[&[u8]] = &[
    b"",
    b"0",
    b"-1",
    b"7",
    b"abc",
    b"1.5",
    b" 1",
    b"1 ",
    b"+5",
    b"-0",
    b"01",
    b"1e3",
    b"0x10",
    b"inf",
    b"-inf",
    b"nan",
    b"1e308",
    b"-1e308",
    b"1e400",
    // Smaller ones have Redis find numbers in a later SORT out of range.
    b"2.3e-308",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"99999999999999999999",
    b"4294967296",
    b"2147483648",
    b"NX",
    b"xx",
    b"GET",
    b"COUNT",
    b"LIMIT",
    b"WITHSCORES",
    b"WITHVALUES",
    b"BYLEX",
    b"BYSCORE",
    b"REV",
    b"(3",
    b"[a",
    b"-",
    b"+",
    b"LEFT",
    b"KEEPTTL",
    b"STORE",
    b"BY",
    b"ASC",
    b"ALPHA",
    b"#",
    b"*",
    b"\xff\xfe",
    b"\x00",
    b"\r\n",
];

/// Integers at the ends of their types.
const EXTREMES: &[&str] = &[
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775806",
    "2147483647",
    "-2147483648",
    "4294967295",
    "18446744073709551615",
];

/// Payloads of `DUMP`: of each type, and two that are damaged.
const PAYLOADS: &[&[u8]] = &[
    b"\x00\x05value\x0a\x00\x81\xf6\xc18\xc1\xaa\x9bn",
    b"\x00\xc0{\x0a\x00H\xe2S\xe1\x00zg\xb9",
    b"\x12\x01\x02\x11\x11\x00\x00\x00\x04\x00\x81a\x02\x81b\x02\x01\x01\x02\x01\xff\x0a\x00mrq>\
      \x9bCH+",
    b"\x0b\x18\x04\x00\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00p\
      \x11\x01\x00\x0a\x00\xef.e!\xe3\x85\xa2*",
    b"\x10\x17\x17\x00\x00\x00\x06\x00\x81f\x02\x81v\x02\x81g\x02\x81w\x02\x01\x01\x02\x01\xff\
      \x0a\x00\x88\xb4\xccB\xc9\xfe\xa9@",
    b"\x11\x19\x19\x00\x00\x00\x06\x00\x81a\x02\x01\x01\x81c\x02\x831.5\x04\x81b\x02\x02\x01\xff\
      \x0a\x00\xa8\xd8\x06\x1c\x9d=*(",
    b"\x02\x03\x01a\x01c\x01b\x0a\x00\x0d~\x8a\x01L\xfe2l",
    b"",
    b"\x02\x03\x01a\x01c\x01b\x0a\x00\x0d~\x8a\x01L\xfe2m",
];

/// Directives that `CONFIG SET` may change while others are at work, and values for them.
pub(super) const DIRECTIVES: &[&str] = &[
    "maxmemory",
    "maxmemory-policy",
    "hash-max-listpack-entries",
    "set-max-intset-entries",
    "zset-max-listpack-value",
    "list-max-listpack-size",
    "slowlog-log-slower-than",
    "lfu-decay-time",
];
const DIRECTIVE_VALUES: &[&str] = &[
    "0",
    "1",
    "4",
    "64",
    "-2",
    "60mb",
    "100mb",
    "allkeys-lru",
    "allkeys-lfu",
    "volatile-ttl",
    "allkeys-random",
    "noeviction",
    "x",
];

/// Any word at all.
pub(super) fn odd(random: &mut StdRng) -> Vec<u8> {
    ODD.choose(random).expect("there are odd words").to_vec()
}

/// What fits an argument called `name` of a type `kind`.
pub(super) fn value(random: &mut StdRng, command: &Command, name: &str, kind: &str) -> Vec<u8> {
    match kind {
        "key" => key(random, command),
        "integer" => integer(random, command, name).into_bytes(),
        "double" => double(random, name).into_bytes(),
        "unix-time" => unix_time(random, name).into_bytes(),
        "pattern" => pattern(random, command),
        _ => string(random, command, name),
    }
}

/// All keys that are drawn on purpose.
pub(super) fn all_keys() -> Vec<Vec<u8>> {
    let families = FAMILIES.iter().chain(&["y"]);
    let named = families.flat_map(|family| (0..KEYS).map(move |number| named(family, number)));
    named.chain(ODD_KEYS.iter().map(|key| key.to_vec())).collect()
}

/// Half of the keys share a slot.
fn named(family: &str, number: u32) -> Vec<u8> {
    match number % 2 {
        0 => format!("{family}{number}").into_bytes(),
        _ => format!("{{a}}{family}{number}").into_bytes(),
    }
}

/// Mostly one of few keys of the command's type, so that commands meet.
fn key(random: &mut StdRng, command: &Command) -> Vec<u8> {
    let own = match command.group.as_str() {
        "string" | "bitmap" => "s",
        "list" => "l",
        "hash" => "h",
        "set" => "t",
        // Sorted sets of one score, which alone have an order of members.
        "sorted-set" if command.name.contains("lex") => "y",
        "sorted-set" if command.name.starts_with("zrange") && random.random_bool(0.2) => "y",
        "sorted-set" => "z",
        _ => "",
    };
    let any = |random: &mut StdRng| *FAMILIES.choose(random).expect("there are families");
    let family = match random.random_range(0..100) {
        0..4 if own != "y" => return ODD_KEYS.choose(random).expect("there are keys").to_vec(),
        4..10 if own != "y" => any(random),
        _ if own.is_empty() => any(random),
        _ => own,
    };
    named(family, random.random_range(0..KEYS))
}

/// A command that adds to a sorted set of one score.
pub(super) fn equal_scores(random: &mut StdRng) -> Words {
    let mut words = vec![b"ZADD".to_vec(), named("y", random.random_range(0..KEYS))];
    for _ in 0..random.random_range(1..4) {
        words.push(b"0".to_vec());
        words.push(format!("m{}", random.random_range(0..10)).into_bytes());
    }
    words
}

/// Whether a key is of such a sorted set.
pub(super) fn has_equal_scores(key: &[u8]) -> bool {
    key.starts_with(b"y") || key.starts_with(b"{a}y")
}

fn integer(random: &mut StdRng, command: &Command, name: &str) -> String {
    let extreme = random.random_bool(0.05);
    match name {
        "bit" => random.random_range(0..2).to_string(),
        "value" if command.name == "setbit" => random.random_range(0..2).to_string(),
        "db" | "destination-db" | "index1" | "index2" => random.random_range(0..3).to_string(),
        "index" if command.name == "select" => random.random_range(0..3).to_string(),
        "slot" | "start-slot" | "end-slot" => random.random_range(0..16_400).to_string(),
        "shard" => random.random_range(0..4).to_string(),
        "cursor" => ["0", "0", "0", "1", "77"].choose(random).map_or("0", |text| text).to_owned(),
        "protover" => random.random_range(2..4).to_string(),
        "flag" => random.random_range(0..2).to_string(),
        "seconds" | "milliseconds" | "ttl" => match random.random_range(0..8) {
            0 => random.random_range(-3..1).to_string(),
            1 if extreme => EXTREMES.choose(random).map_or("0", |text| text).to_owned(),
            _ => random.random_range(1_000_000..2_000_000).to_string(),
        },
        "offset" if command.name == "setrange" => random.random_range(0..2_000).to_string(),
        "offset" if command.group == "bitmap" => match random.random_bool(0.2) {
            true if command.name.starts_with("bitfield") => {
                format!("#{}", random.random_range(0..40))
            }
            _ => random.random_range(0..2_000).to_string(),
        },
        _ if extreme => EXTREMES.choose(random).map_or("0", |text| text).to_owned(),
        "count" | "limit" | "num-matches" | "len" | "size" | "rate" => {
            random.random_range(-3..20).to_string()
        }
        "numreplicas" | "numlocal" => "0".to_owned(),
        "increment" | "decrement" => match random.random_range(0..6) {
            0 => (1_i64 << random.random_range(0..63)).to_string(),
            _ => random.random_range(-100..100).to_string(),
        },
        _ => random.random_range(-12..12).to_string(),
    }
}

fn double(random: &mut StdRng, name: &str) -> String {
    match name {
        "timeout" | "duration" => {
            ["0.001", "0.001", "0.002", "0.01", "-1", "0"].choose(random).map_or("0", |text| text)
        }
        .to_owned(),
        "min" | "max" => score_bound(random),
        _ => score(random),
    }
}

fn score(random: &mut StdRng) -> String {
    match random.random_range(0..14) {
        0 => "inf".to_owned(),
        1 => "-inf".to_owned(),
        2 => format!("{}e{}", random.random_range(1..9), random.random_range(-20..20)),
        3 => ["-0", "1e308", "-1e308", "2.3e-308", "0.1", "3.0"]
            .choose(random)
            .map_or_else(String::new, |text| (*text).to_owned()),
        4 | 5 => format!("{}.{}", random.random_range(-9..9), random.random_range(0..999)),
        _ => random.random_range(-10..10).to_string(),
    }
}

fn score_bound(random: &mut StdRng) -> String {
    match random.random_range(0..6) {
        0 => "-inf".to_owned(),
        1 => "+inf".to_owned(),
        2 => format!("({}", random.random_range(-10..10)),
        _ => random.random_range(-10..10).to_string(),
    }
}

fn lex_bound(random: &mut StdRng) -> String {
    match random.random_range(0..6) {
        0 => "-".to_owned(),
        1 => "+".to_owned(),
        2 => format!("({}", random.random_range(-5..20)),
        _ => format!("[m{}", random.random_range(0..10)),
    }
}

fn unix_time(random: &mut StdRng, name: &str) -> String {
    let ms = FAR_FUTURE_MS + random.random_range(0..1000) * 1000;
    match (random.random_range(0..12), name) {
        (0, _) => random.random_range(-3..2).to_string(),
        (_, "unix-time-seconds") => (ms / 1000).to_string(),
        _ => ms.to_string(),
    }
}

fn pattern(random: &mut StdRng, command: &Command) -> Vec<u8> {
    let globs = ["*", "s*", "?1", "[lh]*", "*2", "x", "{a}*", "[^a]?", "m*", "\\*", "*[1-3]"];
    let names = ["nosort", "s*", "{a}s*", "h*->f1", "#", "l*", "*", "STORE", "z*->x", "*->"];
    let from = if command.name.starts_with("sort") { &names[..] } else { &globs };
    from.choose(random).map_or_else(Vec::new, |text| text.as_bytes().to_vec())
}

fn string(random: &mut StdRng, command: &Command, name: &str) -> Vec<u8> {
    let choose = |random: &mut StdRng, words: &[&str]| {
        words.choose(random).map_or_else(Vec::new, |text| text.as_bytes().to_vec())
    };
    match name {
        "key" => key(random, command),
        "field" => format!("f{}", random.random_range(0..12)).into_bytes(),
        "member" if command.group == "set" && random.random_bool(0.5) => {
            random.random_range(-5..20).to_string().into_bytes()
        }
        "member" => format!("m{}", random.random_range(0..10)).into_bytes(),
        "min" | "max" if command.name == "zrangestore" => range_end(random).into_bytes(),
        "min" | "max" => lex_bound(random).into_bytes(),
        "start" | "stop" => range_end(random).into_bytes(),
        "encoding" => {
            let width = random.random_range(0..66);
            format!("{}{width}", choose_sign(random)).into_bytes()
        }
        "serialized-value" => PAYLOADS.choose(random).expect("there are payloads").to_vec(),
        "type" if command.name == "debug" => {
            choose(random, &["string", "integer", "map", "set", "attrib", "push", "double", "x"])
        }
        "type" => choose(random, &["string", "list", "hash", "set", "zset", "stream", "x"]),
        "section" => choose(random, &["server", "memory", "all", "keyspace", "everything", "x"]),
        "category" => choose(random, &["read", "write", "keyspace", "x"]),
        "metric" => choose(random, &["key-count", "cpu-usec", "memory-bytes", "x"]),
        "parameter" if command.name == "config|get" => {
            choose(random, &["maxmemory*", "*", "port", "x", "hash-*", "save"])
        }
        "parameter" => choose(random, DIRECTIVES),
        "value" if command.name == "config|set" => choose(random, DIRECTIVE_VALUES),
        "ip:port" => choose(random, &["127.0.0.1:1", "127.0.0.1:0", "x", "[::1]:5"]),
        "username" => choose(random, &["default", "x"]),
        "slots" => choose(random, &["1", "1-3", "5-2", "16383", "16384", "x", "0-"]),
        _ => any_value(random),
    }
}

fn choose_sign(random: &mut StdRng) -> char {
    match random.random_range(0..20) {
        0 => 'x',
        1..10 => 'i',
        _ => 'u',
    }
}

/// A place, a score or a member: `ZRANGE` takes each.
fn range_end(random: &mut StdRng) -> String {
    match random.random_range(0..4) {
        0 => score_bound(random),
        1 => lex_bound(random),
        _ => random.random_range(-12..12).to_string(),
    }
}

/// Something to keep.
fn any_value(random: &mut StdRng) -> Vec<u8> {
    match random.random_range(0..20) {
        0 => Vec::new(),
        1 => vec![b'x'; random.random_range(40..80)],
        2 => vec![b'y'; random.random_range(200..1500)],
        3 => vec![0, 255, b'\r', b'\n'],
        4 => b"3.25".to_vec(),
        5 => EXTREMES.choose(random).map_or_else(Vec::new, |text| text.as_bytes().to_vec()),
        6..10 => random.random_range(-300..300).to_string().into_bytes(),
        _ => format!("value{}", random.random_range(0..8)).into_bytes(),
    }
}
