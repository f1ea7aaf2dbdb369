//! Snapshots: files that go from Redis to Ballast and back, what is loaded at the start, what a
//! shutdown saves, and files that are damaged. `SEED=n` repeats a run.

#![forbid(unsafe_code)]

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ballast_server::{Builder, Clock, Server};
use ballast_tests::support::{
    Client, Directory, InProcess, Kind, Process, Reply, Target, redis_version, seed, wait_until,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const BALLAST: Kind = Kind::Ballast { shards: 2 };
const START_MS: i64 = 1_700_000_000_000;

/// What the tests want of a connection.
trait Calls {
    fn answer(&mut self, line: &str) -> Reply;
    fn ok(&mut self, line: &str);
    fn info(&mut self, field: &str) -> String;
}

impl Calls for Client {
    fn answer(&mut self, line: &str) -> Reply {
        self.call(&line.split(' ').collect::<Vec<_>>()).expect("an answer")
    }

    fn ok(&mut self, line: &str) {
        assert_eq!(self.answer(line), Reply::Simple("OK".into()), "{line}");
    }

    fn info(&mut self, field: &str) -> String {
        let Reply::Bulk(text) = self.answer("INFO persistence") else { panic!("no text") };
        let text = String::from_utf8(text).expect("text");
        let value = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
        value.unwrap_or_else(|| panic!("no {field} in {text}")).to_owned()
    }
}

/// A server in this process that keeps its files in `directory`.
fn in_process(directory: &Directory, builder: Builder) -> InProcess {
    InProcess::start(builder.directive("dir", directory.path()).directive("shards", "2"))
}

fn debugging(directory: &Directory) -> InProcess {
    in_process(directory, Server::builder().directive("enable-debug-command", "yes"))
}

// To Redis and back.

/// What makes Redis choose other encodings and forms.
const REDIS_ARGS: &[&[&str]] = &[
    &[],
    &["--rdbcompression", "no"],
    &["--rdbchecksum", "no"],
    &["--list-compress-depth", "1", "--list-max-listpack-size", "7"],
    &["--hash-max-listpack-entries", "3", "--zset-max-listpack-entries", "3"],
    &["--set-max-intset-entries", "3", "--list-max-listpack-size", "1"],
    &["--maxmemory-policy", "allkeys-lru"],
    &["--maxmemory-policy", "allkeys-lfu"],
];

const DEBUG: &[&str] = &["--enable-debug-command", "local"];

#[test]
fn a_snapshot_goes_from_redis_to_ballast_and_back() {
    if !redis_version().is_some_and(|version| version.starts_with("7.0.")) {
        eprintln!("no redis-server 7.0.x to exchange snapshots with");
        return;
    }
    let seed = seed();
    for (index, args) in REDIS_ARGS.iter().enumerate() {
        let directory = Directory::new();
        let dir = ["--dir", directory.path()];
        let of_both = [DEBUG, &dir].concat();
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(index as u64));
        let redis = Process::start(&Kind::Redis, &[&of_both[..], args].concat()).unwrap();
        let mut client = redis.connect().unwrap();
        fill(&mut client, &mut random);
        let original = content(&mut client);
        client.ok("SAVE");
        drop(redis);

        // What both know of the directives.
        let own: &[&str] = if args.first() == Some(&"--list-compress-depth") { &[] } else { args };
        let ballast = Process::start(&BALLAST, &[&of_both[..], own].concat()).unwrap();
        let mut client = ballast.connect().unwrap();
        assert_eq!(content(&mut client), original, "{args:?} in Ballast");
        assert_eq!(client.info("rdb_changes_since_last_save"), "0");
        fs::remove_file(directory.file("dump.rdb")).unwrap();
        client.ok("SAVE");
        client.ok("DEBUG RELOAD");
        assert_eq!(content(&mut client), original, "{args:?} reloaded");
        drop(ballast);
        assert_eq!(directory.names(""), ["dump.rdb"]);

        let redis = Process::start(&Kind::Redis, &of_both).unwrap();
        let mut client = redis.connect().unwrap();
        assert_eq!(content(&mut client), original, "{args:?} back in Redis");
        assert!(!redis.log().contains("Short read"), "{}", redis.log());
    }
}

/// The signature of all keys, and when each expires.
fn content(client: &mut Client) -> Vec<(u8, String, Reply)> {
    client.wait_at_most(Duration::from_secs(60)).unwrap();
    let mut content = vec![(0, "digest".to_owned(), client.answer("DEBUG DIGEST"))];
    for database in [0, 1, 15] {
        client.ok(&format!("SELECT {database}"));
        let Reply::Array(keys) = client.answer("KEYS *") else { panic!("no keys") };
        let mut names: Vec<String> = keys.iter().map(|key| key.text().expect("a text")).collect();
        names.sort();
        for name in names {
            let expiry = client.answer(&format!("PEXPIRETIME {name}"));
            content.push((database, name, expiry));
        }
    }
    content
}

/// Keys of all types in three databases, small and large, some of which expire.
fn fill(client: &mut Client, random: &mut StdRng) {
    for (database, count) in [(0, 150), (1, 20), (15, 3)] {
        client.ok(&format!("SELECT {database}"));
        for key in 0..count {
            let kind = key % 6;
            let large = database == 0 && key < 6;
            make(client, random, &format!("key:{key}"), kind, large);
            if random.random_range(0..4) == 0 {
                let at_ms = 4_000_000_000_000 + random.random_range(0..1_000_000_i64);
                let set = client.answer(&format!("PEXPIREAT key:{key} {at_ms}"));
                assert_eq!(set, Reply::Integer(1));
            }
        }
    }
    // A key that is a number.
    client.ok("SET 1234 5678");
}

fn make(client: &mut Client, random: &mut StdRng, key: &str, kind: usize, large: bool) {
    let command = ["SET", "RPUSH", "SADD", "SADD", "HSET", "ZADD"][kind];
    let len = match random.random_range(0..4) {
        _ if large => 3000,
        0 => random.random_range(1..700),
        _ => random.random_range(1..20),
    };
    let mut words = vec![command.as_bytes().to_vec(), key.as_bytes().to_vec()];
    for _ in 0..if kind == 0 { 1 } else { len } {
        match kind {
            0 if large => words.push(b"large".repeat(100_000)),
            2 => words.push(random.random::<i32>().to_string().into_bytes()),
            4 => words.extend([text(random), text(random)]),
            5 => words.extend([random.random::<i32>().to_string().into_bytes(), text(random)]),
            _ => words.push(text(random)),
        }
    }
    let reply = client.call(&words).expect("an answer");
    assert!(!matches!(reply, Reply::Error(_)), "{command}: {reply:?}");
}

/// Integers, texts that compress and that do not.
fn text(random: &mut StdRng) -> Vec<u8> {
    match random.random_range(0..10) {
        0..3 => (random.random::<i64>() >> random.random_range(0..63)).to_string().into_bytes(),
        3..6 => format!("name:{}", random.random::<u32>()).into_bytes(),
        6..7 => (0..random.random_range(0..90)).map(|_| random.random()).collect(),
        7..9 => b"again and ".repeat(random.random_range(1..30)),
        _ => vec![random.random(); random.random_range(0..5000)],
    }
}

// What is loaded.

#[test]
fn keys_whose_time_is_over_are_not_loaded() {
    let directory = Directory::new();
    let (clock, hands) = Clock::manual(START_MS);
    let server = in_process(&directory, Server::builder().clock(clock.clone()));
    let mut client = server.connect().unwrap();
    client.ok("SET short 1 PX 1000");
    client.ok("SET long 2 PX 9000");
    client.ok("SET for-ever 3");
    client.ok("SAVE");
    drop(server);
    hands.advance(Duration::from_secs(5));
    let server = in_process(&directory, Server::builder().clock(clock));
    let mut client = server.connect().unwrap();
    assert_eq!(client.answer("DBSIZE"), Reply::Integer(2));
    assert_eq!(client.answer("PTTL long"), Reply::Integer(4000));
    assert_eq!(client.info("rdb_last_load_keys_loaded"), "2");
    assert_eq!(client.info("rdb_last_load_keys_expired"), "1");
    assert_eq!(client.info("rdb_changes_since_last_save"), "0");
}

#[test]
fn keys_are_as_idle_or_as_frequent_as_they_were() {
    for (policy, command, before) in
        [("allkeys-lru", "OBJECT IDLETIME k", 70), ("volatile-lfu", "OBJECT FREQ k", 5)]
    {
        let directory = Directory::new();
        let (clock, hands) = Clock::manual(START_MS);
        let builder = || {
            let builder = Server::builder().directive("maxmemory-policy", policy);
            builder.directive("lfu-decay-time", "0").clock(clock.clone())
        };
        let server = in_process(&directory, builder());
        let mut client = server.connect().unwrap();
        client.ok("SET k v");
        hands.advance(Duration::from_secs(70));
        // The cron tells the time to the eviction order.
        wait_until("as idle as that", || client.answer(command) == Reply::Integer(before));
        client.ok("SAVE");
        drop(server);
        hands.advance(Duration::from_secs(5));
        let server = in_process(&directory, builder());
        let mut client = server.connect().unwrap();
        assert_eq!(client.answer(command), Reply::Integer(before), "{policy}");
    }
}

#[test]
fn keys_of_which_a_file_does_not_say_it_are_new() {
    let directory = Directory::new();
    let server = in_process(&directory, Server::builder());
    server.connect().unwrap().ok("SET k v");
    server.connect().unwrap().ok("SAVE");
    drop(server);
    let builder = Server::builder().directive("maxmemory-policy", "allkeys-lfu");
    let server = in_process(&directory, builder);
    assert_eq!(server.connect().unwrap().answer("OBJECT FREQ k"), Reply::Integer(5));
}

#[test]
fn a_file_is_compressed_and_has_a_checksum_unless_told_otherwise() {
    let directory = Directory::new();
    let value = "again and ".repeat(500);
    for (compresses, has_checksum) in [(true, true), (false, true), (true, false)] {
        let word = |on| if on { "yes" } else { "no" };
        let builder = Server::builder().directive("rdbcompression", word(compresses));
        let builder = builder.directive("rdbchecksum", word(has_checksum)).start_empty();
        let server = in_process(&directory, builder);
        let mut client = server.connect().unwrap();
        client.call(&["SET", "k", &value]).unwrap();
        client.ok("SAVE");
        let bytes = fs::read(directory.file("dump.rdb")).unwrap();
        assert_eq!(bytes.len() < 1000, compresses, "{} bytes", bytes.len());
        assert_eq!(!bytes.ends_with(&[0; 8]), has_checksum, "{:?}", bytes.last_chunk::<8>());
    }
    // A wrong checksum is no reason not to load if none are looked at.
    let mut bytes = fs::read(directory.file("dump.rdb")).unwrap();
    *bytes.last_mut().unwrap() = 1;
    fs::write(directory.file("dump.rdb"), bytes).unwrap();
    let builder = Server::builder().directive("rdbchecksum", "no");
    let server = in_process(&directory, builder);
    assert_eq!(server.connect().unwrap().answer("DBSIZE"), Reply::Integer(1));
}

#[test]
fn a_reload_replaces_all_keys_and_counts_as_saved() {
    let directory = Directory::new();
    let server = debugging(&directory);
    let mut client = server.connect().unwrap();
    client.ok("MSET a 1 b 2 c 3");
    assert_eq!(client.info("rdb_changes_since_last_save"), "3");
    assert_eq!(client.info("rdb_saves"), "0");
    client.ok("SAVE");
    assert_eq!(client.info("rdb_changes_since_last_save"), "0");
    assert_eq!(client.info("rdb_saves"), "1");
    assert_eq!(client.info("rdb_last_bgsave_status"), "ok");
    let last = client.answer("LASTSAVE");
    assert_eq!(Reply::Integer(client.info("rdb_last_save_time").parse().unwrap()), last);
    client.ok("SET a other");
    client.ok("SET d 4");
    client.ok("DEBUG RELOAD NOSAVE");
    assert_eq!(client.answer("MGET a b c d").text_of_items(), ["1", "2", "3", "-"]);
    client.ok("SET d 5");
    client.ok("DEBUG RELOAD");
    assert_eq!(client.answer("GET d"), Reply::Bulk("5".into()));
    assert_eq!(client.info("rdb_last_load_keys_loaded"), "4");
    assert_eq!(client.info("rdb_changes_since_last_save"), "0");
    client.ok("MULTI");
    for line in ["SET e 6", "DEBUG RELOAD", "GET e"] {
        assert_eq!(client.answer(line), Reply::Simple("QUEUED".into()));
    }
    let ok = Reply::Simple("OK".into());
    assert_eq!(client.answer("EXEC"), Reply::Array(vec![ok.clone(), ok, Reply::Bulk("6".into())]));
    let audit = format!("{:?}", client.answer("DEBUG SLOT-AUDIT"));
    assert!(audit.contains("[100, 114, 105, 102, 116]), Integer(0)"), "{audit}");
}

trait Items {
    fn text_of_items(&self) -> Vec<String>;
}

impl Items for Reply {
    /// A dash for what is not there.
    fn text_of_items(&self) -> Vec<String> {
        self.items().iter().map(|item| item.text().unwrap_or_else(|| "-".into())).collect()
    }
}

/// Moves slots between the shards for a second.
const HAND_OVERS: &str = "DEBUG HAND-OVERS 2000 1";

#[test]
fn a_snapshot_is_of_one_moment() {
    let directory = Directory::new();
    let server = debugging(&directory);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut mover = server.connect().unwrap();
        scope.spawn(move || assert!(matches!(mover.answer(HAND_OVERS), Reply::Integer(1..))));
        for writer in 0..3 {
            let (server, stop) = (&server, &stop);
            scope.spawn(move || {
                let mut client = server.connect().unwrap();
                let pair = [format!("left:{writer}"), format!("right:{writer}")];
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    client.ok(&format!("MSET {} {number} {} {number}", pair[0], pair[1]));
                }
            });
        }
        let mut client = server.connect().unwrap();
        for _ in 0..10 {
            client.ok("SAVE");
            let loaded = in_process(&directory, Server::builder());
            let mut client = loaded.connect().unwrap();
            for writer in 0..3 {
                let both = client.answer(&format!("MGET left:{writer} right:{writer}"));
                let both = both.text_of_items();
                assert_eq!(both[0], both[1], "writer {writer}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

// What a shutdown saves.

#[test]
fn a_shutdown_saves_if_it_is_told_to_or_there_are_save_points() {
    let points = ["--save", "3600", "1", "300", "100", "60", "10000"];
    for (arguments, end, saves) in [
        (&[][..], "SHUTDOWN", false),
        (&[], "SHUTDOWN SAVE", true),
        (&points, "SHUTDOWN", true),
        (&points, "SHUTDOWN NOSAVE", false),
        (&[], "TERM", false),
        (&points, "TERM", true),
        (&points, "INT", true),
        (&["--shutdown-on-sigterm", "save"], "TERM", true),
        (&[&points[..], &["--shutdown-on-sigint", "nosave"]].concat(), "INT", false),
    ] {
        let directory = Directory::new();
        let arguments = [&["--dir", directory.path()], arguments].concat();
        let mut server = Process::start(&BALLAST, &arguments).unwrap();
        let mut client = server.connect().unwrap();
        client.ok("MSET a 1 b 2 c 3");
        if end.starts_with("SHUTDOWN") {
            client.send(&end.split(' ').collect::<Vec<_>>()).unwrap();
            assert_eq!(client.read_to_close().unwrap(), b"", "{end}");
        } else {
            server.signal(end).unwrap();
        }
        let status = server.wait().unwrap();
        assert!(status.success(), "{end} {arguments:?}: {status} {}", server.log());
        assert_eq!(
            directory.file("dump.rdb").exists(),
            saves,
            "{end} {arguments:?}: {}",
            server.log()
        );
        let server = Process::start(&BALLAST, &arguments).unwrap();
        let keys = if saves { 3 } else { 0 };
        assert_eq!(server.connect().unwrap().answer("DBSIZE"), Reply::Integer(keys));
    }
}

#[test]
fn a_server_that_cannot_save_goes_on_unless_it_is_forced() {
    let directory = Directory::new();
    let mut server = Process::start(&BALLAST, &["--dir", directory.path()]).unwrap();
    let mut client = server.connect().unwrap();
    client.ok("SET a 1");
    fs::remove_dir(directory.path()).unwrap();
    let Reply::Error(text) = client.answer("SAVE") else { panic!("it saves") };
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("ERR Failed writing the snapshot '"), "{text}");
    assert!(text.ends_with("dump.rdb': No such file or directory"), "{text}");
    for end in ["SHUTDOWN SAVE", "SHUTDOWN NOW SAVE"] {
        let refused = Reply::Error(b"ERR Errors trying to SHUTDOWN. Check logs.".to_vec());
        assert_eq!(client.answer(end), refused);
    }
    assert_eq!(client.answer("GET a"), Reply::Bulk("1".into()));
    assert!(server.log().contains("Error trying to save the DB, can't exit."), "{}", server.log());
    client.send(&["SHUTDOWN", "SAVE", "FORCE"]).unwrap();
    assert!(server.wait().unwrap().success());
}

#[test]
fn no_write_is_acknowledged_behind_the_last_snapshot() {
    let directory = Directory::new();
    let mut server = Process::start(&BALLAST, &["--dir", directory.path()]).unwrap();
    let acknowledged: Vec<u64> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let mut client = server.connect().unwrap();
                scope.spawn(move || {
                    let mut count = 0;
                    let incr = [String::from("INCR"), format!("counter:{writer}")];
                    while let Ok(Reply::Integer(value)) = client.call(&incr) {
                        count = u64::try_from(value).unwrap();
                    }
                    count
                })
            })
            .collect();
        let mut client = server.connect().unwrap();
        while client.answer("GET counter:3") == Reply::NilBulk {}
        client.send(&["SHUTDOWN", "SAVE"]).unwrap();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert!(server.wait().unwrap().success());
    let server = Process::start(&BALLAST, &["--dir", directory.path()]).unwrap();
    let mut client = server.connect().unwrap();
    for (writer, acknowledged) in acknowledged.into_iter().enumerate() {
        let saved = client.answer(&format!("GET counter:{writer}"));
        let saved: u64 = saved.text().map_or(0, |text| text.parse().unwrap());
        assert!(saved >= acknowledged, "counter:{writer}: {saved} of {acknowledged}");
    }
}

// Damaged files.

#[test]
fn a_damaged_file_stops_the_start_and_stays_as_it_is() {
    let directory = Directory::new();
    let server = debugging(&directory);
    let mut client = server.connect().unwrap();
    client.ok("MSET a 1 b 2 c 3");
    client.ok("SAVE");
    let whole = fs::read(directory.file("dump.rdb")).unwrap();
    let mut changed = whole.clone();
    let middle = whole.len() / 2;
    changed[middle] ^= 0x40;
    let mut twice = b"REDIS0010".to_vec();
    twice.extend_from_slice(b"\xfe\x02\x00\x01k\x01v\x00\x01k\x01w\xff\0\0\0\0\0\0\0\0");
    for (bytes, text) in [
        (whole[..middle].to_vec(), "it is cut off, at byte "),
        (changed, ""),
        (b"no snapshot".to_vec(), "it does not begin with REDIS or VALKEY and a version"),
        (Vec::new(), "it does not begin with REDIS"),
        (b"REDIS0010\x0f\x01s".to_vec(), "a stream (type 15) is not supported, at byte 9"),
        (twice, "key 'k' of database 2 is there twice, at byte 16"),
    ] {
        fs::write(directory.file("dump.rdb"), &bytes).unwrap();
        let arguments = ["--dir", directory.path()];
        let error = Process::start(&BALLAST, &arguments).unwrap_err().to_string();
        let beginning =
            format!("Can't load the snapshot '{}': ", directory.file("dump.rdb").display());
        assert!(error.contains(&beginning) && error.contains(text), "{error}");
        assert_eq!(fs::read(directory.file("dump.rdb")).unwrap(), bytes);
        // One that runs goes on with what it has.
        if text.contains("twice") {
            continue;
        }
        let refused = b"ERR Error trying to load the RDB dump, check server logs.".to_vec();
        assert_eq!(client.answer("DEBUG RELOAD NOSAVE"), Reply::Error(refused));
        assert_eq!(client.answer("MGET a b c").text_of_items(), ["1", "2", "3"]);
    }
    fs::remove_file(directory.file("dump.rdb")).unwrap();
    assert!(matches!(client.answer("DEBUG RELOAD NOSAVE"), Reply::Error(_)));
    assert_eq!(client.answer("DBSIZE"), Reply::Integer(3));
}

#[test]
fn what_is_passed_over_is_in_the_log() {
    let directory = Directory::new();
    let body = b"REDIS0011\xf5\x0c#!lua name=x\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0";
    fs::write(directory.file("dump.rdb"), body).unwrap();
    let server = Process::start(&BALLAST, &["--dir", directory.path()]).unwrap();
    let log = server.log();
    assert!(
        log.contains("The snapshot holds a library of functions, which is not loaded"),
        "{log}"
    );
    assert!(log.contains("Done loading RDB, keys loaded: 1, keys expired: 0."), "{log}");
    assert_eq!(server.connect().unwrap().answer("GET k"), Reply::Bulk("v".into()));
}
