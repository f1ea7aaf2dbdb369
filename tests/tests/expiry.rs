//! Relative expiries to the millisecond, by a clock that the test moves.

use std::time::Duration;

use ballast_server::{Clock, ManualClock, Server};
use ballast_tests::support::{Client, InProcess, Reply, Target};

const START_MS: i64 = 1_700_000_000_000;

struct Timed {
    clock: ManualClock,
    client: Client,
    server: InProcess,
}

impl Timed {
    fn start() -> Timed {
        let (clock, hands) = Clock::manual(START_MS);
        let server = InProcess::start(Server::builder().directive("shards", "2").clock(clock));
        let client = server.connect().expect("a connection");
        Timed { clock: hands, client, server }
    }

    fn call(&mut self, command: &str) -> Reply {
        let words: Vec<&str> = command.split(' ').collect();
        self.client.call(&words).expect("a reply")
    }

    fn advance_ms(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }

    fn blocked_clients(&mut self) -> usize {
        let Reply::Bulk(info) = self.call("INFO clients") else { panic!("INFO is text") };
        let info = String::from_utf8_lossy(&info).into_owned();
        let field = info.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
        field.and_then(|count| count.parse().ok()).expect("a count")
    }

    fn is_there(&mut self, key: &str) -> bool {
        self.call(&format!("GET {key}")) != Reply::NilBulk
    }
}

#[test]
fn a_key_lives_until_its_time() {
    for command in ["SET k v PX 1000", "SET k v EX 1", "SETEX k 1 v", "PSETEX k 1000 v"] {
        let mut timed = Timed::start();
        assert_eq!(timed.call(command), Reply::Simple("OK".into()), "{command}");
        timed.advance_ms(999);
        assert!(timed.is_there("k"), "{command}: before");
        timed.advance_ms(2);
        assert!(!timed.is_there("k"), "{command}: after");
    }
}

#[test]
fn info_tells_how_long_keys_have_left_on_average() {
    let mut timed = Timed::start();
    for command in ["SET a v PX 1500", "SET b v PX 3500", "SET c v"] {
        assert_eq!(timed.call(command), Reply::Simple("OK".into()), "{command}");
    }
    timed.advance_ms(500);
    let Reply::Bulk(info) = timed.call("INFO keyspace") else { panic!("INFO is text") };
    let info = String::from_utf8_lossy(&info).into_owned();
    assert!(info.contains("db0:keys=3,expires=2,avg_ttl=2000\r\n"), "{info}");
}

#[test]
fn what_sets_a_value_sets_or_keeps_its_expiry() {
    let mut timed = Timed::start();
    for (command, alive) in [
        ("SET k w", true),
        ("SET k w KEEPTTL", false),
        ("GETSET k w", true),
        ("GETEX k PERSIST", true),
        ("GETEX k PX 5000", true),
        ("GETEX k", false),
        ("APPEND k w", false),
        ("SETRANGE k 0 w", false),
        ("SET k w NX", false),
    ] {
        timed.call("SET k v PX 1000");
        timed.call(command);
        timed.advance_ms(1001);
        assert_eq!(timed.is_there("k"), alive, "{command}");
    }
}

#[test]
fn an_expired_key_is_as_if_it_never_was() {
    let mut timed = Timed::start();
    for (command, reply) in [
        ("SET k w NX", Reply::Simple("OK".into())),
        ("SET k w XX", Reply::NilBulk),
        ("SETNX k w", Reply::Integer(1)),
        ("INCR k", Reply::Integer(1)),
        ("APPEND k w", Reply::Integer(1)),
        ("STRLEN k", Reply::Integer(0)),
        ("GETSET k w", Reply::NilBulk),
        ("GETDEL k", Reply::NilBulk),
    ] {
        timed.call("SET k before PX 10");
        timed.advance_ms(11);
        assert_eq!(timed.call(command), reply, "{command}");
    }
}

#[test]
fn a_blocked_command_waits_by_the_same_clock() {
    let mut timed = Timed::start();
    let mut blocked = timed.server.connect().expect("a connection");
    blocked.send(&["BLPOP", "absent", "3600"]).expect("it is sent");
    while timed.blocked_clients() == 0 {}
    timed.advance_ms(3_599_999);
    assert_eq!(timed.blocked_clients(), 1, "before its time");
    timed.advance_ms(1);
    assert_eq!(blocked.read_reply().expect("a reply"), Reply::NilArray);
}

#[test]
fn a_pause_ends_by_the_same_clock() {
    let mut timed = Timed::start();
    timed.call("CLIENT PAUSE 3600000");
    let mut paused = timed.server.connect().expect("a connection");
    paused.send(&["SET", "k", "v"]).expect("it is sent");
    timed.advance_ms(3_600_001);
    assert_eq!(paused.read_reply().expect("a reply"), Reply::Simple("OK".into()));
}
