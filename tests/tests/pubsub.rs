//! Messages from one connection to others: each that listens gets each, in order, whichever thread
//! serves it; who cannot keep up is cut off, and the others see nothing of it.

use ballast_server::Server;
use ballast_tests::support::{Client, InProcess, Reply, Target};

fn start(shards: &str) -> InProcess {
    InProcess::start(Server::builder().directive("shards", shards))
}

fn call(client: &mut Client, line: &str) -> Reply {
    client.call(&line.split(' ').collect::<Vec<_>>()).unwrap()
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.into())
}

fn message(parts: &[&str]) -> Reply {
    Reply::Array(parts.iter().map(|part| bulk(part)).collect())
}

fn figure(client: &mut Client, section: &str, field: &str) -> i64 {
    let Reply::Bulk(text) = call(client, &format!("INFO {section}")) else { panic!() };
    let text = String::from_utf8(text).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.and_then(|value| value.trim().parse().ok()).expect("a number")
}

/// Looks until a condition holds that comes by itself.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn messages_of_a_publisher_come_in_order_to_all_that_listen() {
    const MESSAGES: usize = 2000;
    let server = start("3");
    let mut listeners: Vec<Client> = (0..12).map(|_| server.connect().unwrap()).collect();
    for (at, listener) in listeners.iter_mut().enumerate() {
        let line = if at % 2 == 0 { "SUBSCRIBE news" } else { "PSUBSCRIBE n?ws" };
        call(listener, line);
    }
    let publish = |name: &'static str| {
        let mut publisher = server.connect().unwrap();
        std::thread::spawn(move || {
            let sets = (0..MESSAGES).map(|number| {
                vec!["PUBLISH".to_owned(), "news".to_owned(), format!("{name} {number}")]
            });
            let replies = publisher.pipeline(&sets.collect::<Vec<_>>()).unwrap();
            assert!(replies.iter().all(|reply| *reply == Reply::Integer(12)));
        })
    };
    let publishers = [publish("a"), publish("b")];
    for listener in &mut listeners {
        let mut next = [0, 0];
        for _ in 0..2 * MESSAGES {
            let Reply::Array(parts) = listener.read_reply().unwrap() else { panic!() };
            let Some(Reply::Bulk(payload)) = parts.last() else { panic!() };
            let payload = String::from_utf8(payload.clone()).unwrap();
            let (name, number) = payload.split_once(' ').unwrap();
            let next = &mut next[usize::from(name == "b")];
            assert_eq!(number.parse(), Ok(*next));
            *next += 1;
        }
    }
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
}

#[test]
fn who_cannot_keep_up_is_cut_off_alone() {
    let server = start("2");
    let mut other = server.connect().unwrap();
    let limit = ["CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0"];
    assert_eq!(other.call(&limit).unwrap(), Reply::Simple(b"OK".to_vec()));
    let (mut slow, mut fast) = (server.connect().unwrap(), server.connect().unwrap());
    call(&mut slow, "SUBSCRIBE c");
    call(&mut fast, "SUBSCRIBE c");
    let payload = "x".repeat(100_000);
    let mut sent = 0;
    loop {
        let receivers = call(&mut other, &format!("PUBLISH c {payload}"));
        sent += 1;
        assert_eq!(fast.read_reply().unwrap(), message(&["message", "c", &payload]));
        if receivers == Reply::Integer(1) {
            break;
        }
        assert!(sent < 2000, "sockets take as much as that");
    }
    assert_eq!(figure(&mut other, "stats", "client_output_buffer_limit_disconnections"), 1);
    assert_eq!(call(&mut fast, "PING"), message(&["pong", ""]));
}

#[test]
fn subscriptions_end_with_their_connection_or_its_class_is_killed() {
    let server = start("2");
    let mut other = server.connect().unwrap();
    let mut listener = server.connect().unwrap();
    call(&mut listener, "SUBSCRIBE c");
    call(&mut listener, "PSUBSCRIBE p*");
    call(&mut listener, "SSUBSCRIBE s");
    let Reply::Bulk(list) = call(&mut other, "CLIENT LIST TYPE pubsub") else { panic!() };
    let list = String::from_utf8(list).unwrap();
    assert_eq!(list.lines().count(), 1);
    assert!(list.contains(" flags=P ") && list.contains(" sub=1 psub=1 ssub=1 "), "{list}");
    assert_eq!(figure(&mut other, "clients", "pubsub_clients"), 1);
    assert_eq!(call(&mut other, "CLIENT KILL TYPE pubsub"), Reply::Integer(1));
    wait_until("the channels are gone", || {
        ["pubsub_channels", "pubsub_patterns", "pubsubshard_channels"]
            .iter()
            .all(|field| figure(&mut other, "stats", field) == 0)
    });
    assert_eq!(call(&mut other, "PUBLISH c x"), Reply::Integer(0));
    assert_eq!(call(&mut other, "SPUBLISH s x"), Reply::Integer(0));
}

#[test]
fn a_client_that_waits_for_keys_gets_its_messages() {
    let server = start("2");
    let (mut waits, mut other) = (server.connect().unwrap(), server.connect().unwrap());
    call(&mut waits, "HELLO 3");
    call(&mut waits, "SUBSCRIBE c");
    waits.send(&["BLPOP", "q", "0"]).unwrap();
    wait_until("it waits", || figure(&mut other, "clients", "blocked_clients") == 1);
    assert_eq!(call(&mut other, "PUBLISH c x"), Reply::Integer(1));
    assert_eq!(
        waits.read_reply().unwrap(),
        Reply::Push(vec![bulk("message"), bulk("c"), bulk("x")])
    );
    call(&mut other, "RPUSH q v");
    assert_eq!(waits.read_reply().unwrap(), message(&["q", "v"]));
}

#[test]
fn events_of_keys_that_nobody_changes_and_of_new_and_missing_ones() {
    let (clock, hands) = ballast_server::Clock::manual(1_700_000_000_000);
    let dir = std::env::temp_dir().join(format!("ballast-test-events-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let builder = Server::builder()
        .directive("shards", "2")
        .directive("notify-keyspace-events", "Exnmg$")
        .directive("enable-debug-command", "yes")
        .directive("dir", dir.to_str().unwrap())
        .clock(clock);
    let server = InProcess::start(builder);
    let (mut listener, mut other) = (server.connect().unwrap(), server.connect().unwrap());
    call(&mut listener, "PSUBSCRIBE __keyevent@*");
    let mut next = || {
        let Reply::Array(parts) = listener.read_reply().unwrap() else { panic!() };
        let text = |at: usize| match &parts[at] {
            Reply::Bulk(text) => String::from_utf8(text.clone()).unwrap(),
            other => panic!("{other:?}"),
        };
        (text(2).split_off("__keyevent@0__:".len()), text(3))
    };
    let event = |event: &str, key: &str| (event.to_owned(), key.to_owned());
    call(&mut other, "SET k v PX 10");
    assert_eq!([next(), next(), next()], ["new", "set", "expire"].map(|name| event(name, "k")));
    call(&mut other, "GET nokey");
    assert_eq!(next(), event("keymiss", "nokey"));
    hands.advance(std::time::Duration::from_millis(50));
    assert_eq!(next(), event("expired", "k"));
    // What is read from a file is no event.
    call(&mut other, "SET kept 1");
    call(&mut other, "DEBUG RELOAD");
    call(&mut other, "SET kept 2");
    assert_eq!([next(), next(), next()].map(|(name, _)| name), ["new", "set", "set"]);
    std::fs::remove_dir_all(dir).unwrap();
}
