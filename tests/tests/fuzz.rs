//! Broken and random bytes from many connections: whatever they hold, the server stays up, keeps
//! serving others, and forgets nothing that it kept. `SEED=n` replays, `STEPS=n` lengthens.

use ballast_tests::support::{Client, Kind, Process, Reply, Target, encode_command, seed, steps};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

const STEPS: u64 = 3_000;
const SHARDS: usize = 2;

/// What mutated requests are made from.
const COMMANDS: &[&str] = &[
    "SET a 1",
    "GET a",
    "MSET a 1 b 2 c 3",
    "LPUSH l 1 2 3",
    "LRANGE l 0 -1",
    "HSET h f v g w",
    "SADD s a b c",
    "ZADD z 1 a 2 b",
    "ZRANGE z 0 -1 WITHSCORES",
    "SCAN 0 COUNT 10",
    "SETRANGE r 100 x",
    "SETBIT bits 1000 1",
    "EXPIREAT a 33177117420",
    "OBJECT ENCODING a",
    "MULTI",
    "EXEC",
    "HELLO 3",
    "CLIENT LIST",
    "INFO",
    "CONFIG GET *",
    "SUBSCRIBE ch",
    "COMMAND INFO get",
];

/// Bytes that mean something to a parser.
const MARKS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"*",
    b"$",
    b"-1",
    b"0",
    b"*3\r\n",
    b"$3\r\n",
    b"$-1\r\n",
    b"\"",
    b"'",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"4294967296",
    b"\0",
    b"\xff",
    b"{}",
    b"{a}",
];

#[test]
fn no_bytes_bring_the_server_down() {
    let (seed, steps) = (seed(), steps(STEPS));
    let mut random = StdRng::seed_from_u64(seed);
    let mut server =
        Process::start(&Kind::Ballast { shards: SHARDS }, &[]).expect("ballast starts");
    let mut witness = server.connect().expect("a connection");
    keep(&mut witness);
    for step in 0..steps {
        let bytes = request(&mut random);
        let mut client = server.connect().expect("a new connection is accepted");
        // The server may have closed already, and need not answer what is no request.
        let _ = client.send_raw(&bytes);
        drop(client);
        if step % 50 == 0 {
            let alive = witness.call(&["SELECT", "9"]).is_ok() && is_kept(&mut witness);
            assert!(
                alive && server.is_running(),
                "after {:?} and up to 49 requests before it; SEED={seed} STEPS={}\n{}",
                bytes.escape_ascii().to_string(),
                step + 1,
                server.log()
            );
        }
    }
}

/// Writes what nobody else touches: a database of its own.
fn keep(client: &mut Client) {
    for command in [&["SELECT", "9"][..], &["SET", "kept", "value"], &["SET", "kept:too", "more"]] {
        let reply = client.call(command).expect("a reply");
        assert!(!matches!(reply, Reply::Error(_)), "{command:?}: {reply:?}");
    }
}

fn is_kept(client: &mut Client) -> bool {
    client.call(&["GET", "kept"]).is_ok_and(|reply| reply == Reply::Bulk(b"value".into()))
        && client.call(&["STRLEN", "kept:too"]).is_ok_and(|reply| reply == Reply::Integer(4))
}

/// Some commands in a row, with some of their bytes changed; or bytes of no sense at all.
fn request(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = Vec::new();
    if random.random_bool(0.1) {
        bytes.extend((0..random.random_range(1..200)).map(|_| random.random::<u8>()));
        return bytes;
    }
    for _ in 0..random.random_range(1..6) {
        let command = COMMANDS.choose(random).expect("there are commands");
        if random.random_bool(0.2) {
            bytes.extend(command.as_bytes());
            bytes.extend(b"\r\n");
        } else {
            let words: Vec<&str> = command.split(' ').collect();
            encode_command(&mut bytes, &words);
        }
    }
    for _ in 0..random.random_range(0..5) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..4) {
            0 => bytes[at] = random.random(),
            1 if bytes.len() > 1 => drop(bytes.remove(at)),
            2 => {
                let mark = MARKS.choose(random).expect("there are marks");
                bytes.splice(at..at, mark.iter().copied());
            }
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}
