//! The append-only file: any history of writes, repeated from its file, gives the same keys, here
//! and in Redis; kills, rewrites, damaged files. `SEED=n` repeats a run.

#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ballast_server::{Builder, Clock, Server};
use ballast_tests::fuzz::{Signature, check_append_only, everything, load_append_only};
use ballast_tests::support::{
    Client, Directory, InProcess, Kind, Process, Reply, Target, redis_version, seed, steps,
    wait_until,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

const SHARDS: usize = 3;
const BALLAST: Kind = Kind::Ballast { shards: SHARDS };
const APPENDING: &[&str] =
    &["--appendonly", "yes", "--appendfsync", "no", "--enable-debug-command", "yes"];

/// Where a file of the append-only file is.
fn appended(directory: &Directory, name: &str) -> PathBuf {
    directory.file("appendonlydir").join(name)
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

fn call(client: &mut Client, line: &str) -> Reply {
    client.call(&words(line)).expect("an answer")
}

fn ok(client: &mut Client, line: &str) {
    assert_eq!(call(client, line), Reply::Simple("OK".into()), "{line}");
}

/// Replaces all keys by those of the file.
fn load(client: &mut Client) {
    let loaded = load_append_only(client).expect("an answer");
    assert_eq!(loaded, Reply::Simple("OK".into()));
}

/// The texts of an array.
fn texts(reply: &Reply) -> Vec<String> {
    reply.items().iter().map(|item| item.text().unwrap_or_else(|| "-".into())).collect()
}

fn info(client: &mut Client, field: &str) -> String {
    let Reply::Bulk(text) = call(client, "INFO persistence") else { panic!("no text") };
    let text = String::from_utf8(text).expect("text");
    let value = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    value.unwrap_or_else(|| panic!("no {field} in {text}")).to_owned()
}

// Any history.

/// Commands that write: `K` stands for a key of the type that the letter before it names (text,
/// number, list, hash, set, zset), `E` for an element, `N` for a small number, `T` for a time.
const WRITES: &[&str] = &[
    "SET tK E",
    "SET tK E EX N0",
    "SET tK E KEEPTTL",
    "SET tK E NX",
    "SET tK E XX GET",
    "SETEX tK N0 E",
    "PSETEX tK N000 E",
    "SETNX tK E",
    "GETSET tK E",
    "GETDEL tK",
    "GETEX tK PX N000",
    "GETEX tK PERSIST",
    "APPEND tK E",
    "SETRANGE tK N E",
    "SETBIT tK N 1",
    "MSET tK E tK E nK N",
    "MSETNX tK E tK E",
    "BITOP OR tK tK tK",
    "BITFIELD tK SET u8 N N INCRBY i5 N N",
    "INCR nK",
    "DECR nK",
    "INCRBY nK N",
    "DECRBY nK N",
    "INCRBYFLOAT nK 0.N",
    "SET nK N",
    "LPUSH lK E E",
    "RPUSH lK E E E",
    "LPUSHX lK E",
    "RPUSHX lK E",
    "LPOP lK",
    "RPOP lK N",
    "LSET lK N E",
    "LINSERT lK BEFORE E E",
    "LREM lK N E",
    "LTRIM lK 0 N",
    "LMOVE lK lK LEFT RIGHT",
    "RPOPLPUSH lK lK",
    "LMPOP 2 lK lK RIGHT COUNT N",
    "BLPOP lK lK 0.001",
    "BRPOP lK 0.001",
    "BLMOVE lK lK RIGHT LEFT 0.001",
    "BRPOPLPUSH lK lK 0.001",
    "BLMPOP 0.001 2 lK lK LEFT COUNT N",
    "SORT lK ALPHA STORE lK",
    "HSET hK E E E N",
    "HMSET hK E E",
    "HSETNX hK E E",
    "HDEL hK E E",
    "HINCRBY hK n N",
    "HINCRBYFLOAT hK n 0.N",
    "SADD sK E E E",
    "SREM sK E E",
    "SPOP sK",
    "SPOP sK N",
    "SMOVE sK sK E",
    "SINTERSTORE sK sK sK",
    "SUNIONSTORE sK sK sK",
    "SDIFFSTORE sK sK sK",
    "ZADD zK N E N E",
    "ZADD zK GT CH N E",
    "ZADD zK INCR N E",
    "ZINCRBY zK N E",
    "ZREM zK E",
    "ZPOPMIN zK",
    "ZPOPMAX zK N",
    "ZMPOP 2 zK zK MIN COUNT N",
    "BZPOPMIN zK zK 0.001",
    "BZPOPMAX zK 0.001",
    "BZMPOP 0.001 1 zK MAX COUNT N",
    "ZREMRANGEBYRANK zK 0 N",
    "ZREMRANGEBYSCORE zK N N",
    "ZREMRANGEBYLEX zK [a [c",
    "ZRANGESTORE zK zK 0 N",
    "ZUNIONSTORE zK 2 zK sK",
    "ZINTERSTORE zK 2 zK zK",
    "ZDIFFSTORE zK 2 zK zK",
    "DEL tK lK",
    "UNLINK hK",
    "RENAME lK lK",
    "RENAMENX sK sK",
    "COPY zK zK REPLACE",
    "COPY hK hK DB 1",
    "MOVE tK 1",
    "EXPIRE lK N0",
    "PEXPIRE hK N000 NX",
    "EXPIREAT sK 4000000000",
    "PERSIST lK",
    "EXPIRE tK -1",
    "PEXPIREAT zK T",
    "PEXPIRE tK N",
    "SELECT 1",
    "SELECT 0",
    "SWAPDB 0 1",
];
/// Rare, so that something is there.
const RARE: &[&str] = &["FLUSHDB", "FLUSHALL", "BGREWRITEAOF", "DEBUG RELOAD", "DEBUG LOADAOF"];

fn any_write(random: &mut StdRng) -> Vec<String> {
    let line = if random.random_ratio(1, 300) { RARE } else { WRITES }.choose(random).unwrap();
    words(line)
        .into_iter()
        .map(|word| match word {
            "E" => element(random),
            "T" => (4_000_000_000_000 + random.random_range(0..1000_i64)).to_string(),
            _ if word.len() == 2 && word.ends_with('K') => {
                // Some in one slot, some in others.
                let tag = ["", "{a}", "{b}"].choose(random).unwrap();
                format!("{tag}{}{}", &word[..1], random.random_range(0..3))
            }
            _ => word.replace('N', &random.random_range(0..9).to_string()),
        })
        .collect()
}

fn element(random: &mut StdRng) -> String {
    match random.random_range(0..20) {
        0 => "long ".repeat(random.random_range(1..300)),
        1 => format!("line\r\nend {}", random.random_range(0..3)),
        2 => String::new(),
        3..10 => random.random_range(0..6).to_string(),
        _ => ["a", "b", "c", "d", "e"].choose(random).unwrap().to_string(),
    }
}

/// Sends random writes, alone and in transactions, from two connections in turn, while slots move.
fn write_at_random(server: &Process, random: &mut StdRng, count: u64) {
    let mut clients = [server.connect().unwrap(), server.connect().unwrap()];
    for client in &mut clients {
        client.wait_at_most(Duration::from_secs(60)).unwrap();
    }
    for _ in 0..count {
        let client = &mut clients[random.random_range(0..2)];
        let mut burst: Vec<Vec<String>> =
            (0..random.random_range(1..12)).map(|_| any_write(random)).collect();
        match random.random_range(0..10) {
            0..3 => {
                burst.insert(0, vec!["MULTI".into()]);
                burst.push(vec!["EXEC".into()]);
            }
            3..6 => {
                let slot = random.random_range(0..16384).to_string();
                let shard = random.random_range(0..SHARDS).to_string();
                let moved = ["DEBUG", "HAND-OVER", &slot, &shard].map(str::to_owned);
                burst.insert(0, moved.to_vec());
            }
            _ => {}
        }
        client.pipeline(&burst).expect("all replies");
    }
    for client in &mut clients {
        ok(client, "SELECT 0");
    }
}

#[test]
fn any_history_repeated_gives_the_same_keys() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let server = Process::start(&BALLAST, APPENDING).unwrap();
    for round in 0..steps(12) {
        write_at_random(&server, &mut random, 150);
        let mut client = server.connect().unwrap();
        client.wait_at_most(Duration::from_secs(60)).unwrap();
        let fault = check_append_only(&mut client).unwrap();
        assert_eq!(fault, None, "round {round}, SEED={seed}: {}", server.log());
    }
}

// To Redis and back.

#[test]
fn files_go_to_redis_and_come_back() {
    if !redis_version().is_some_and(|version| version.starts_with("7.0.")) {
        eprintln!("no redis-server 7.0.x to exchange files with");
        return;
    }
    let mut random = StdRng::seed_from_u64(seed());
    for preamble in ["yes", "no"] {
        let directory = Directory::new();
        let place = ["--dir", directory.path(), "--aof-use-rdb-preamble", preamble];
        let arguments = [APPENDING, &place, &["--aof-timestamp-enabled", "yes"]].concat();
        let ballast = Process::start(&BALLAST, &arguments).unwrap();
        write_at_random(&ballast, &mut random, 300);
        let mut client = ballast.connect().unwrap();
        rewrite(&mut client);
        write_at_random(&ballast, &mut random, 300);
        keep_what_stays(&mut client);
        let original = everything(&mut client).unwrap();
        drop(ballast);

        let redis = Process::start(&Kind::Redis, &arguments).unwrap();
        let mut client = redis.connect().unwrap();
        let found = everything(&mut client).unwrap();
        assert_eq!(difference(&original, &found), None, "{preamble} in Redis: {}", redis.log());
        write_at_random_in_redis(&mut client, &mut random);
        ok(&mut client, "SELECT 0");
        call(&mut client, "BGREWRITEAOF");
        wait_until("rewritten", || info(&mut client, "aof_rewrite_in_progress") == "0");
        write_at_random_in_redis(&mut client, &mut random);
        keep_what_stays(&mut client);
        let original = everything(&mut client).unwrap();
        drop(redis);

        let ballast = Process::start(&BALLAST, &arguments).unwrap();
        let mut client = ballast.connect().unwrap();
        let found = everything(&mut client).unwrap();
        assert_eq!(difference(&original, &found), None, "{preamble} back: {}", ballast.log());
    }
}

fn write_at_random_in_redis(client: &mut Client, random: &mut StdRng) {
    for _ in 0..300 {
        let mut words = any_write(random);
        if words[0] == "DEBUG" || words[0].starts_with('B') && words[0] != "BITFIELD" {
            words = vec!["PING".into()];
        }
        client.call(&words).unwrap();
    }
}

/// Removes what would expire between two looks.
fn keep_what_stays(client: &mut Client) {
    for database in ["0", "1"] {
        ok(client, &format!("SELECT {database}"));
        let Reply::Array(keys) = call(client, "KEYS *") else { panic!("no keys") };
        for key in keys {
            let key = key.text().unwrap();
            if matches!(call(client, &format!("PTTL {key}")), Reply::Integer(0..60_000)) {
                call(client, &format!("DEL {key}"));
            }
        }
    }
    ok(client, "SELECT 0");
}

/// The first key that differs.
fn difference(one: &[Signature], other: &[Signature]) -> Option<String> {
    let only = |of: &[Signature], not: &[Signature]| {
        of.iter().find(|key| !not.contains(key)).map(|key| format!("{key:?}"))
    };
    let (one, other) = (only(one, other), only(other, one));
    (one.is_some() || other.is_some()).then(|| format!("{one:?} is {other:?}"))
}

fn rewrite(client: &mut Client) {
    let before = info(client, "aof_rewrites");
    wait_until("rewritten", || {
        if info(client, "aof_rewrites") == before {
            // One may be under way already.
            call(client, "BGREWRITEAOF");
        }
        info(client, "aof_rewrites") != before
            && info(client, "aof_rewrite_in_progress") == "0"
            && info(client, "aof_rewrite_scheduled") == "0"
    });
    assert_eq!(info(client, "aof_last_bgrewrite_status"), "ok");
}

// What is kept.

#[test]
fn what_is_acknowledged_outlives_a_kill() {
    let mut random = StdRng::seed_from_u64(seed());
    let directory = Directory::new();
    let arguments =
        ["--appendonly", "yes", "--appendfsync", "always", "--dir", directory.path()].to_vec();
    let mut acknowledged = [0_i64; 4];
    for round in 0..steps(8) {
        let mut server = Process::start(&BALLAST, &arguments).unwrap();
        let mut client = server.connect().unwrap();
        let pairs = call(&mut client, "MGET pair:{a} pair:{b}");
        let Reply::Array(pair) = pairs else { panic!("{pairs:?}") };
        assert_eq!(pair[0], pair[1], "round {round}: a transaction in part");
        for (number, acknowledged) in acknowledged.iter_mut().enumerate() {
            let found = call(&mut client, &format!("INCR counter:{number}"));
            let Reply::Integer(found) = found else { panic!("{found:?}") };
            let range = *acknowledged + 1..=*acknowledged + 2;
            assert!(range.contains(&found), "round {round}: {found} after {acknowledged}");
            *acknowledged = found;
        }
        if random.random_bool(0.3) {
            call(&mut client, "BGREWRITEAOF");
        }
        let last = random.random_range(1..60);
        let workers: Vec<_> = (0..4)
            .map(|number| {
                let mut client = server.connect().unwrap();
                let mut count = acknowledged[number];
                std::thread::spawn(move || {
                    let name = format!("counter:{number}");
                    while let Ok(Reply::Integer(found)) = client.call(&["INCR", &name]) {
                        count = found;
                        let pair = ["MULTI", "INCR pair:{a}", "INCR pair:{b}", "EXEC"];
                        let pair: Vec<Vec<&str>> = pair.iter().map(|line| words(line)).collect();
                        if client.pipeline(&pair).is_err() {
                            break;
                        }
                    }
                    count
                })
            })
            .collect();
        wait_until("some writes", || {
            let read = client.call(&["GET", "counter:0"]).unwrap();
            read.text().unwrap().parse::<i64>().unwrap() >= acknowledged[0] + last
        });
        server.signal("KILL").unwrap();
        server.wait().unwrap();
        for (number, worker) in workers.into_iter().enumerate() {
            acknowledged[number] = worker.join().unwrap();
        }
    }
}

/// A server in this process that keeps its files in `directory`.
fn in_process(directory: &Directory, builder: Builder) -> InProcess {
    let builder = builder.directive("dir", directory.path()).directive("shards", "2");
    InProcess::start(builder.directive("enable-debug-command", "yes"))
}

fn appending() -> Builder {
    Server::builder().directive("appendonly", "yes")
}

#[test]
fn it_is_switched_on_and_off_while_the_server_runs() {
    let directory = Directory::new();
    let server = in_process(&directory, Server::builder());
    let mut client = server.connect().unwrap();
    ok(&mut client, "SET before 1");
    ok(&mut client, "CONFIG SET appendonly yes");
    wait_until("on", || info(&mut client, "aof_enabled") == "1");
    ok(&mut client, "SET after 2");
    load(&mut client);
    assert_eq!(texts(&call(&mut client, "MGET before after")), ["1", "2"]);
    ok(&mut client, "CONFIG SET appendonly no");
    wait_until("off", || info(&mut client, "aof_enabled") == "0");
    ok(&mut client, "SET unkept 3");
    ok(&mut client, "CONFIG SET appendonly yes");
    wait_until("on", || info(&mut client, "aof_enabled") == "1");
    drop(server);
    let server = in_process(&directory, appending());
    let mut client = server.connect().unwrap();
    let kept = texts(&call(&mut client, "MGET before after unkept"));
    assert_eq!(kept, ["1", "2", "3"], "all that there was when it was switched on again");
    let names =
        ["appendonly.aof.2.base.rdb", "appendonly.aof.2.incr.aof", "appendonly.aof.manifest"];
    assert_eq!(directory.names("appendonlydir"), names);
}

#[test]
fn a_transaction_stays_in_one_piece() {
    // One in which a key expires, and one that asks all threads in between.
    let cases = [
        (["SET a 1", "INCR short", "SET b 2"], &["SET", "DEL", "INCR", "SET", "EXEC"][..]),
        (["SET a 3", "INFO", "SET b 4"], &["SET", "SET", "EXEC"]),
        (["SET a 5", "DBSIZE", "SET b 6"], &["SET", "SET", "EXEC"]),
    ];
    for (lines, wanted) in cases {
        let directory = Directory::new();
        let (clock, hands) = Clock::manual(1_700_000_000_000);
        let server = in_process(&directory, appending().clock(clock));
        let mut client = server.connect().unwrap();
        ok(&mut client, "DEBUG SET-ACTIVE-EXPIRE 0");
        ok(&mut client, "SET short 7 PX 10");
        hands.advance(Duration::from_secs(1));
        let lines = [&["MULTI"][..], &lines, &["EXEC"]].concat();
        client.pipeline(&lines.into_iter().map(words).collect::<Vec<_>>()).unwrap();
        load(&mut client);
        let path = appended(&directory, "appendonly.aof.1.incr.aof");
        let file = fs::read_to_string(path).unwrap();
        let transaction = file.split("MULTI").nth(1).unwrap_or_else(|| panic!("{file}"));
        let lines = transaction.lines().map(str::to_ascii_uppercase);
        let found: Vec<String> = lines.filter(|line| wanted.contains(&&line[..])).collect();
        assert_eq!(found, wanted, "{file}");
    }
}

#[test]
fn a_snapshot_is_loaded_where_there_is_no_append_only_file_yet() {
    let directory = Directory::new();
    let server = in_process(&directory, Server::builder());
    let mut client = server.connect().unwrap();
    ok(&mut client, "SET k v");
    ok(&mut client, "SAVE");
    drop(server);
    for _ in 0..2 {
        let server = in_process(&directory, appending());
        assert_eq!(call(&mut server.connect().unwrap(), "GET k"), Reply::Bulk("v".into()));
        fs::remove_file(directory.file("dump.rdb")).ok();
    }
}

#[test]
fn a_file_that_has_grown_is_rewritten_by_itself() {
    let directory = Directory::new();
    let server = in_process(&directory, appending().directive("auto-aof-rewrite-min-size", "10kb"));
    let mut client = server.connect().unwrap();
    wait_until("rewritten", || {
        for _ in 0..100 {
            ok(&mut client, "SET k v");
        }
        directory.names("appendonlydir").iter().any(|name| name.ends_with(".2.base.rdb"))
    });
    load(&mut client);
    assert_eq!(call(&mut client, "GET k"), Reply::Bulk("v".into()));
}

// Damage.

/// Makes a file of a few commands, and answers it.
fn some_commands(directory: &Directory) -> Vec<u8> {
    let server = in_process(directory, appending());
    let mut client = server.connect().unwrap();
    ok(&mut client, "SET a 1");
    ok(&mut client, "MSET b 2 c 3");
    call(&mut client, "RPUSH l 1 2 3");
    load(&mut client);
    drop(server);
    fs::read(appended(directory, "appendonly.aof.1.incr.aof")).unwrap()
}

fn start_with(directory: &Directory, file: &[u8], builder: Builder) -> Result<Server, String> {
    fs::write(appended(directory, "appendonly.aof.1.incr.aof"), file).unwrap();
    let builder = builder.directive("dir", directory.path()).directive("shards", "2");
    builder.any_port().start_now().map_err(|error| error.to_string())
}

#[test]
fn an_end_that_is_missing_is_cut_off_or_refused() {
    let directory = Directory::new();
    let file = some_commands(&directory);
    let path = appended(&directory, "appendonly.aof.1.incr.aof");
    for len in (0..file.len()).step_by(3) {
        let kept = &file[..len];
        let strict = appending().directive("aof-load-truncated", "no");
        match start_with(&directory, kept, strict) {
            Ok(_) => {}
            Err(error) => assert!(error.contains("it ends unexpectedly"), "{error}"),
        }
        assert_eq!(fs::read(&path).unwrap(), kept, "it stays as it was");
        let server = start_with(&directory, kept, appending()).unwrap();
        drop(server);
        let cut = fs::read(&path).unwrap();
        assert!(cut.len() <= len && file.starts_with(&cut), "{len}");
        let has = |text: &[u8]| cut.windows(text.len()).any(|part| part == text);
        assert_eq!(has(b"MULTI"), has(b"EXEC"), "{len}");
    }
}

#[test]
fn damage_is_refused_and_left_alone() {
    let directory = Directory::new();
    let file = some_commands(&directory);
    let path = appended(&directory, "appendonly.aof.1.incr.aof");
    let mut refused = 0;
    for at in (0..file.len()).step_by(2) {
        let mut damaged = file.clone();
        damaged[at] ^= 0x15;
        let strict = appending().directive("aof-load-truncated", "no");
        // What is still commands is loaded: nothing tells it from what was written.
        if let Err(error) = start_with(&directory, &damaged, strict) {
            refused += 1;
            assert!(error.contains("appendonly.aof.1.incr.aof'"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), damaged, "it stays as it was");
        }
    }
    assert!(refused > file.len() / 4, "{refused} of {}", file.len() / 2);
}

#[test]
fn a_manifest_that_means_nothing_is_refused() {
    let directory = Directory::new();
    let file = some_commands(&directory);
    let manifest = appended(&directory, "appendonly.aof.manifest");
    for (text, why) in [
        ("file x", "line 1 is not"),
        ("file gone.aof seq 1 type i", "it is not there"),
        ("file ../x seq 1 type i", "can't be a path"),
        ("", "it names no file"),
    ] {
        fs::write(&manifest, text).unwrap();
        let error = start_with(&directory, &file, appending()).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
        assert_eq!(fs::read_to_string(&manifest).unwrap(), text);
    }
}

#[test]
fn the_one_file_of_an_older_redis_becomes_a_base() {
    let directory = Directory::new();
    let file = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n*2\r\n$4\r\nINCR\r\n$1\r\na\r\n";
    fs::write(directory.file("appendonly.aof"), file).unwrap();
    for _ in 0..2 {
        let server = in_process(&directory, appending());
        assert_eq!(call(&mut server.connect().unwrap(), "GET a"), Reply::Bulk("2".into()));
    }
    let names = ["appendonly.aof", "appendonly.aof.1.incr.aof", "appendonly.aof.manifest"];
    assert_eq!(directory.names("appendonlydir"), names);
}
