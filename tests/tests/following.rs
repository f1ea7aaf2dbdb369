//! A connection moves to the shard that has the slots of its commands, and the client notices
//! nothing: every command is carried out once, in order, and the session is what it was.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use ballast_server::Server;
use ballast_tests::support::{Client, InProcess, Reply, Target};

/// What cannot take longer unless it never comes.
const WAIT_MAX: Duration = Duration::from_secs(60);
const SHARDS: usize = 2;
/// Commands between two looks at where the connection is.
const COMMANDS: i64 = 100;

fn call(client: &mut Client, command: &str) -> Reply {
    let words: Vec<&str> = command.split(' ').collect();
    client.call(&words).unwrap_or_else(|error| panic!("{command}: {error}"))
}

fn text(client: &mut Client, command: &str) -> String {
    match call(client, command) {
        Reply::Bulk(text) | Reply::Simple(text) => String::from_utf8(text).expect("text"),
        other => panic!("{command} is {other:?}"),
    }
}

/// A field of `CLIENT INFO`.
fn field(client: &mut Client, name: &str) -> usize {
    let info = text(client, "CLIENT INFO");
    let value = info.split_whitespace().find_map(|field| field.strip_prefix(name));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {info}"))
}

/// Counts `key` up, one by one and in a pipeline in turn.
fn count_up(client: &mut Client, key: &str, counted: &mut i64) {
    for _ in 0..COMMANDS {
        *counted += 1;
        assert_eq!(call(client, &format!("INCR {key}")), Reply::Integer(*counted));
    }
    let pipeline = vec![vec!["INCR".to_owned(), key.to_owned()]; 10];
    for reply in client.pipeline(&pipeline).expect("replies") {
        *counted += 1;
        assert_eq!(reply, Reply::Integer(*counted));
    }
}

#[test]
fn a_connection_follows_its_slots_and_misses_nothing() {
    let server = Server::builder()
        .directive("shards", &SHARDS.to_string())
        .directive("enable-debug-command", "local");
    let server = InProcess::start(server);
    let (mut client, mut control) =
        (server.connect().expect("connected"), server.connect().expect("connected"));
    text(&mut client, "SELECT 3");
    text(&mut client, "CLIENT SETNAME follower");
    let Reply::Integer(slot) = call(&mut control, "CLUSTER KEYSLOT counter") else {
        panic!("no slot")
    };
    let mut counted = 0;
    for round in 0..6 {
        let to = round % SHARDS;
        text(&mut control, &format!("DEBUG HAND-OVER {slot} {to}"));
        let deadline = Instant::now() + WAIT_MAX;
        while field(&mut client, "shard=") != to {
            assert!(Instant::now() < deadline, "it never came to shard {to}");
            count_up(&mut client, "counter", &mut counted);
        }
        assert_eq!(text(&mut client, "CLIENT GETNAME"), "follower");
        assert_eq!(field(&mut client, "db="), 3);
    }
    // What it has watched stays watched, and who closes it finds it.
    text(&mut client, "WATCH counter");
    count_up(&mut client, "counter", &mut counted);
    text(&mut client, "MULTI");
    text(&mut client, "GET counter");
    assert_eq!(call(&mut client, "EXEC"), Reply::NilArray);
    let id = field(&mut client, "id=");
    assert_eq!(call(&mut control, &format!("CLIENT KILL ID {id}")), Reply::Integer(1));
    assert!(client.call(&["PING"]).is_err(), "closed");
}

#[test]
fn none_moves_if_the_operator_does_not_want_it() {
    let server = Server::builder()
        .directive("shards", &SHARDS.to_string())
        .directive("follow-slots", "no")
        .directive("enable-debug-command", "local");
    let server = InProcess::start(server);
    let mut client = server.connect().expect("connected");
    let Reply::Integer(slot) = call(&mut client, "CLUSTER KEYSLOT counter") else {
        panic!("no slot")
    };
    let at = field(&mut client, "shard=");
    text(&mut client, &format!("DEBUG HAND-OVER {slot} {}", 1 - at));
    let mut counted = 0;
    (0..20).for_each(|_| count_up(&mut client, "counter", &mut counted));
    assert_eq!(field(&mut client, "shard="), at);
}
