//! Snapshots in the background: the file is the data set at one instant, whatever goes on
//! meanwhile; what comes of failures; save points. `SEED=n` repeats a run.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use ballast_server::{Builder, Clock, Disk, DiskFile, Server, SystemDisk};
use ballast_tests::support::{
    Client, Directory, InProcess, Kind, Process, Reply, Target, redis_version, seed, wait_until,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const SHARDS: u16 = 3;
const START_MS: i64 = 1_700_000_000_000;

fn start_in(directory: &Directory, builder: Builder) -> InProcess {
    let builder = builder.directive("dir", directory.path());
    let builder = builder.directive("enable-debug-command", "yes");
    InProcess::start(builder.directive("shards", &SHARDS.to_string()))
}

trait Calls {
    fn answer(&mut self, line: &str) -> Reply;
    fn ok(&mut self, line: &str);
    fn number(&mut self, line: &str) -> i64;
    fn info(&mut self, field: &str) -> String;
    fn save_in_background(&mut self);
}

impl Calls for Client {
    fn answer(&mut self, line: &str) -> Reply {
        self.call(&line.split(' ').collect::<Vec<_>>()).expect("an answer")
    }

    fn ok(&mut self, line: &str) {
        assert_eq!(self.answer(line), Reply::Simple("OK".into()), "{line}");
    }

    fn number(&mut self, line: &str) -> i64 {
        match self.answer(line) {
            Reply::Integer(number) => number,
            Reply::Bulk(text) => String::from_utf8(text).unwrap().parse().unwrap(),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn info(&mut self, field: &str) -> String {
        let Reply::Bulk(text) = self.answer("INFO") else { panic!("no text") };
        let text = String::from_utf8(text).expect("text");
        let value = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
        value.unwrap_or_else(|| panic!("no {field} in {text}")).to_owned()
    }

    fn save_in_background(&mut self) {
        assert_eq!(self.answer("BGSAVE"), Reply::Simple("Background saving started".into()));
    }
}

fn wait_for_end(client: &mut Client) {
    wait_until("saved", || client.info("rdb_bgsave_in_progress") == "0");
}

// One instant.

const WRITERS: usize = 2;
/// Each writer increments so many counters in turn.
const COUNTERS: usize = 40;
const FILLERS: usize = 1500;

/// Writes until it is told to stop: pairs that are equal at any instant, and counters of which one
/// is incremented after the other.
fn write(server: &InProcess, writer: usize, stop: &AtomicBool) {
    let mut client = server.connect().unwrap();
    let (left, right) = (format!("left:{writer}"), format!("right:{writer}"));
    for round in 1.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        client.ok("MULTI");
        client.answer(&format!("SET {left} {round}"));
        client.answer(&format!("RPUSH {right} {round}"));
        client.answer("EXEC");
        for counter in 0..COUNTERS {
            assert_eq!(client.number(&format!("INCR counter:{writer}:{counter}")), round);
        }
        client.answer(&format!("SET soon:{writer}:{round} x PX 5"));
    }
}

fn hand_over(server: &InProcess, seed: u64, stop: &AtomicBool) {
    let mut client = server.connect().unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    while !stop.load(Ordering::Relaxed) {
        let (slot, to) = (random.random_range(0..16384), random.random_range(0..SHARDS));
        client.answer(&format!("DEBUG HAND-OVER {slot} {to}"));
    }
}

/// What a server has that has loaded the file.
fn check(client: &mut Client) {
    for writer in 0..WRITERS {
        let round = match client.answer(&format!("GET left:{writer}")) {
            Reply::Bulk(text) => String::from_utf8(text).unwrap().parse().unwrap(),
            _ => 0,
        };
        assert_eq!(client.number(&format!("LLEN right:{writer}")), round, "writer {writer}");
        let counters: Vec<i64> = (0..COUNTERS)
            .map(|counter| match client.answer(&format!("GET counter:{writer}:{counter}")) {
                Reply::Bulk(text) => String::from_utf8(text).unwrap().parse().unwrap(),
                _ => 0,
            })
            .collect();
        assert!(counters.is_sorted_by(|a, b| a >= b), "{counters:?}");
        assert!(counters[0] - counters[COUNTERS - 1] <= 1, "{counters:?}");
        assert!(counters[0] == round || counters[0] == round - 1, "{round}: {counters:?}");
    }
    for (db, keys) in [(5, FILLERS), (6, FILLERS), (7, 1)] {
        client.ok(&format!("SELECT {db}"));
        assert_eq!(client.number("DBSIZE"), keys as i64, "database {db}");
    }
    client.ok("SELECT 6");
    assert_eq!(client.answer("GET filler:7"), Reply::Bulk("6:7".into()));
    client.ok("SELECT 0");
    for filler in 0..FILLERS {
        let value = Reply::Bulk(format!("0:{filler}").into());
        assert_eq!(client.answer(&format!("GET filler:{filler}")), value);
    }
    assert_eq!(client.number("SCARD big"), 2000);
    assert_eq!(client.answer("EXISTS late"), Reply::Integer(0));
}

fn fill(client: &mut Client) {
    for db in [0, 5, 6] {
        client.ok(&format!("SELECT {db}"));
        let sets: Vec<Vec<String>> = (0..FILLERS)
            .map(|n| vec!["SET".into(), format!("filler:{n}"), format!("{db}:{n}")])
            .collect();
        client.pipeline(&sets).unwrap();
    }
    client.ok("SELECT 7");
    client.ok("SET other 1");
    client.ok("SELECT 0");
    let members = (0..2000).map(|n| format!("m{n}")).collect::<Vec<_>>().join(" ");
    client.answer(&format!("SADD big {members}"));
}

/// What would be in a file that were not of the instant at which the save began.
fn change(client: &mut Client) {
    client.ok("SET late 1");
    client.answer("SREM big m1 m2 m3");
    client.ok("SELECT 5");
    client.ok("FLUSHDB");
    client.ok("SELECT 6");
    client.ok("SWAPDB 6 7");
    client.ok("SET filler:7 changed");
    client.ok("SWAPDB 7 8");
    client.ok("SELECT 0");
    for filler in (0..FILLERS).step_by(3) {
        client.answer(&format!("DEL filler:{filler}"));
        client.answer(&format!("RENAME filler:{} moved:{filler}", filler + 1));
        client.answer(&format!("PEXPIRE filler:{} 1", filler + 2));
    }
}

#[test]
fn a_file_is_the_data_set_at_one_instant() {
    let seed = seed();
    for round in 0..3 {
        let directory = Directory::new();
        let server = start_in(&directory, Server::builder());
        let mut client = server.connect().unwrap();
        fill(&mut client);
        let stop = AtomicBool::new(false);
        std::thread::scope(|threads| {
            for writer in 0..WRITERS {
                let (server, stop) = (&server, &stop);
                threads.spawn(move || write(server, writer, stop));
            }
            threads.spawn(|| hand_over(&server, seed + round, &stop));
            wait_until("written", || client.answer("EXISTS right:0 right:1") == Reply::Integer(2));
            client.save_in_background();
            change(&mut client);
            wait_for_end(&mut client);
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(client.info("rdb_last_bgsave_status"), "ok");
        assert_eq!(directory.names(""), ["dump.rdb"]);
        wait_until("given back", || client.info("used_memory_snapshot") == "0");
        client.ok("FLUSHALL SYNC");
        drop(server);
        check(&mut start_in(&directory, Server::builder()).connect().unwrap());
        if redis_version().is_some_and(|version| version.starts_with("7.0.")) {
            let redis = Process::start(&Kind::Redis, &["--dir", directory.path()]).unwrap();
            check(&mut redis.connect().unwrap());
        }
    }
}

#[test]
fn one_save_follows_another() {
    let directory = Directory::new();
    let server = start_in(&directory, Server::builder());
    let mut client = server.connect().unwrap();
    for round in 1..20 {
        client.ok(&format!("MSET a {round} b {round} c {round}"));
        client.save_in_background();
        client.ok("MSET a 0 b 0");
        wait_for_end(&mut client);
        assert_eq!(client.info("rdb_saves"), round.to_string());
        let loaded = start_in(&directory, Server::builder());
        let values = loaded.connect().unwrap().answer("MGET a b c");
        assert_eq!(values, Reply::Array(vec![Reply::Bulk(round.to_string().into()); 3]));
    }
}

const LARGE: usize = 3000;

#[test]
fn what_is_evicted_or_flushed_meanwhile_is_in_the_file() {
    for ways in [
        &["CONFIG SET maxmemory-policy allkeys-random", "CONFIG SET maxmemory 1"][..],
        &["FLUSHALL"],
        &["FLUSHALL SYNC"],
        &["SWAPDB 0 5", "FLUSHALL ASYNC"],
        &["DEBUG RELOAD NOSAVE"],
    ] {
        let directory = Directory::new();
        let disk = Faulty::default();
        let server = start_in(&directory, Server::builder().disk(disk.clone()));
        let mut client = server.connect().unwrap();
        fill(&mut client);
        client.save_in_background();
        wait_for_end(&mut client);
        // More than may wait for the disk, so that the walk stops.
        let value = "x".repeat(4000);
        let large: Vec<Vec<String>> =
            (0..LARGE).map(|n| vec!["SET".into(), format!("large:{n}"), value.clone()]).collect();
        client.pipeline(&large).unwrap();
        disk.0.blocks.store(2, Ordering::Relaxed);
        client.save_in_background();
        let busy = Reply::Error(b"ERR Background save already in progress".to_vec());
        for line in ["SAVE", "BGSAVE", "BGSAVE SCHEDULE"] {
            assert_eq!(client.answer(line), busy, "{line}");
        }
        ways.iter().for_each(|line| client.ok(line));
        let evicts = ways[0].starts_with("CONFIG");
        wait_until("gone", || !evicts || client.answer("DBSIZE") == Reply::Integer(0));
        assert_eq!(client.info("rdb_bgsave_in_progress"), "1");
        assert!(client.info("used_memory_snapshot").parse::<u64>().unwrap() > 4 << 20);
        disk.0.blocks.store(0, Ordering::Relaxed);
        wait_for_end(&mut client);
        assert_eq!(client.info("rdb_last_bgsave_status"), "ok");
        assert!(client.info("rdb_last_cow_size").parse::<u64>().unwrap() > 4 << 20);
        wait_until("given back", || client.info("used_memory_snapshot") == "0");
        drop(server);
        let loaded = start_in(&directory, Server::builder());
        let mut client = loaded.connect().unwrap();
        for (db, keys) in [(0, FILLERS + 1 + LARGE), (5, FILLERS), (6, FILLERS), (7, 1)] {
            client.ok(&format!("SELECT {db}"));
            assert_eq!(client.number("DBSIZE"), keys as i64, "{ways:?}: database {db}");
        }
    }
}

#[test]
fn an_older_file_does_not_replace_a_newer() {
    for (save, keys) in [("FLUSHALL", 0), ("DEBUG RELOAD", FILLERS as i64 + 2)] {
        let directory = Directory::new();
        let disk = Faulty::default();
        let builder = Server::builder().disk(disk.clone()).directive("save", "3600 1000000");
        let server = start_in(&directory, builder);
        let mut client = server.connect().unwrap();
        fill(&mut client);
        disk.0.blocks.store(1, Ordering::Relaxed);
        client.save_in_background();
        client.ok("SET newer 1");
        wait_until("made", || disk.0.made.load(Ordering::Relaxed) == 1);
        client.ok(save);
        assert_eq!(client.info("rdb_bgsave_in_progress"), "0");
        assert_eq!(client.info("rdb_last_bgsave_status"), "ok");
        assert_eq!(directory.names(""), ["dump.rdb"]);
        disk.0.blocks.store(0, Ordering::Relaxed);
        drop(server);
        let loaded = start_in(&directory, Server::builder());
        assert_eq!(loaded.connect().unwrap().number("DBSIZE"), keys, "{save}");
    }
}

// Failures.

/// Fails where it is told to.
#[derive(Clone, Debug, Default)]
struct Faulty(Arc<Faults>);

#[derive(Debug, Default)]
struct Faults {
    create: AtomicBool,
    write: AtomicBool,
    sync: AtomicBool,
    rename: AtomicBool,
    /// Files that have been made.
    made: AtomicU32,
    /// The number of the file that cannot be written as long as this is so; the first is 1.
    blocks: AtomicU32,
}

struct FaultyFile(Box<dyn DiskFile>, Faulty, u32);

fn fails(fault: &AtomicBool) -> io::Result<()> {
    if fault.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

impl Disk for Faulty {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        fails(&self.0.create)?;
        let number = self.0.made.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Box::new(FaultyFile(SystemDisk.create(path)?, self.clone(), number)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fails(&self.0.rename)?;
        SystemDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        SystemDisk.sync_directory(path)
    }
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        fails(&self.1.0.write)?;
        wait_until("unblocked", || self.1.0.blocks.load(Ordering::Relaxed) != self.2);
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl DiskFile for FaultyFile {
    fn sync(&mut self) -> io::Result<()> {
        fails(&self.1.0.sync)?;
        self.0.sync()
    }
}

#[test]
fn a_failure_leaves_the_old_file_and_the_next_save_is_right() {
    let directory = Directory::new();
    let disk = Faulty::default();
    let server = start_in(&directory, Server::builder().disk(disk.clone()));
    let mut client = server.connect().unwrap();
    fill(&mut client);
    client.save_in_background();
    wait_for_end(&mut client);
    let file = directory.file("dump.rdb");
    let before = fs::read(&file).unwrap();
    let faults = &disk.0;
    for fault in [&faults.create, &faults.write, &faults.sync, &faults.rename] {
        fault.store(true, Ordering::Relaxed);
        client.save_in_background();
        change(&mut client);
        wait_until("failed", || client.info("rdb_last_bgsave_status") == "err");
        assert_eq!(directory.names(""), ["dump.rdb"]);
        assert!(fs::read(&file).unwrap() == before);
        // Without save points nothing is refused.
        client.ok("SET a 1");
        fault.store(false, Ordering::Relaxed);
    }
    client.ok("FLUSHALL");
    fill(&mut client);
    client.save_in_background();
    wait_for_end(&mut client);
    assert_eq!(client.info("rdb_last_bgsave_status"), "ok");
    drop(server);
    let loaded = start_in(&directory, Server::builder());
    let mut client = loaded.connect().unwrap();
    assert_eq!(client.number("DBSIZE"), FILLERS as i64 + 1);
    assert_eq!(client.number("SCARD big"), 2000);
}

#[test]
fn writes_are_refused_after_a_failure_until_a_save_succeeds() {
    let directory = Directory::new();
    let disk = Faulty::default();
    let builder = Server::builder().disk(disk.clone()).directive("save", "3600 1");
    let server = start_in(&directory, builder);
    let mut client = server.connect().unwrap();
    client.ok("SET a 1");
    disk.0.write.store(true, Ordering::Relaxed);
    client.save_in_background();
    wait_until("failed", || client.info("rdb_last_bgsave_status") == "err");
    let is_refused = |reply: Reply| {
        matches!(
            reply,
            Reply::Error(text) if text.starts_with(b"MISCONF Redis is configured to save RDB")
        )
    };
    for line in ["SET a 2", "PING", "MSET a 1 b 2", "DEL a", "FLUSHALL"] {
        assert!(is_refused(client.answer(line)), "{line}");
    }
    assert_eq!(client.answer("GET a"), Reply::Bulk("1".into()));
    client.ok("MULTI");
    assert!(is_refused(client.answer("SET a 2")));
    assert!(matches!(client.answer("EXEC"), Reply::Error(text) if text.starts_with(b"EXECABORT")));
    client.ok("CONFIG SET stop-writes-on-bgsave-error no");
    client.ok("SET a 3");
    client.ok("CONFIG SET stop-writes-on-bgsave-error yes");
    assert!(is_refused(client.answer("SET a 4")));
    disk.0.write.store(false, Ordering::Relaxed);
    client.save_in_background();
    wait_until("saved", || client.info("rdb_last_bgsave_status") == "ok");
    client.ok("SET a 5");
    assert_eq!(client.answer("PING"), Reply::Simple("PONG".into()));
}

// Save points.

#[test]
fn save_points_begin_saves() {
    let directory = Directory::new();
    let disk = Faulty::default();
    let (clock, hands) = Clock::manual(START_MS);
    let builder = Server::builder().disk(disk.clone()).clock(clock).directive("save", "60 2");
    let server = start_in(&directory, builder);
    let mut client = server.connect().unwrap();
    client.ok("SET a 1");
    hands.advance(Duration::from_secs(61));
    client.ok("SET b 1");
    // The hands move as long as nobody has looked at them.
    let until = |client: &mut Client, field: &str, value: &str| {
        wait_until(field, || {
            hands.advance(Duration::from_millis(200));
            client.info(field) == value
        });
    };
    until(&mut client, "rdb_saves", "1");
    until(&mut client, "rdb_bgsave_in_progress", "0");
    assert_eq!(client.info("rdb_changes_since_last_save"), "0");
    assert!(client.number("LASTSAVE") >= START_MS / 1000 + 61);
    disk.0.sync.store(true, Ordering::Relaxed);
    client.ok("MSET a 1 b 2");
    client.ok("MSET a 1 b 2");
    until(&mut client, "rdb_last_bgsave_status", "err");
    disk.0.sync.store(false, Ordering::Relaxed);
    // It is tried again by itself.
    until(&mut client, "rdb_last_bgsave_status", "ok");
    client.ok("FLUSHALL");
    drop(server);
    let loaded = start_in(&directory, Server::builder());
    assert_eq!(loaded.connect().unwrap().number("DBSIZE"), 0, "FLUSHALL has rewritten the file");
}

#[test]
fn a_shutdown_ends_a_save_and_leaves_no_file_of_it() {
    for (end, keys) in [("SHUTDOWN NOSAVE", 0), ("SHUTDOWN SAVE", FILLERS as i64 + 2)] {
        let directory = Directory::new();
        let arguments = ["--dir", directory.path()];
        let mut server = Process::start(&Kind::Ballast { shards: 2 }, &arguments).unwrap();
        let mut client = server.connect().unwrap();
        fill(&mut client);
        client.send(&["BGSAVE"]).unwrap();
        client.send(&["SET", "last", "1"]).unwrap();
        client.send(&end.split(' ').collect::<Vec<_>>()).unwrap();
        client.read_to_close().unwrap();
        assert!(server.wait().unwrap().success(), "{}", server.log());
        let names = directory.names("");
        assert!(names.iter().all(|name| name == "dump.rdb"), "{names:?}");
        let server = Process::start(&Kind::Ballast { shards: 2 }, &arguments).unwrap();
        let found = server.connect().unwrap().number("DBSIZE");
        // A save may have ended before the shutdown began.
        assert!(found == keys || keys == 0 && found == FILLERS as i64 + 1, "{end}: {found}");
    }
}
