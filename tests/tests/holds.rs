//! Blocked clients and commands over several shards: who is served, who is not, in which order.

#![forbid(unsafe_code)]

use ballast_server::Server;
use ballast_tests::support::{Client, InProcess, Reply, Target, encode_command, wait_until};

/// Times that a race is run.
const TRIES: usize = 40;

fn start() -> InProcess {
    InProcess::start(Server::builder().directive("shards", "2"))
}

fn connect(server: &InProcess) -> Client {
    server.connect().expect("connected")
}

fn call(client: &mut Client, command: &str) -> Reply {
    let words: Vec<&str> = command.split(' ').collect();
    client.call(&words).unwrap_or_else(|error| panic!("{command}: {error}"))
}

fn send(client: &mut Client, commands: &[&str]) {
    let mut request = Vec::new();
    for command in commands {
        let words: Vec<&str> = command.split(' ').collect();
        encode_command(&mut request, &words);
    }
    client.send_raw(&request).expect("sent");
}

/// Lets a client wait in a command.
fn block(control: &mut Client, client: &mut Client, command: &str) {
    let blocked = |control: &mut Client| {
        let Reply::Bulk(text) = call(control, "INFO clients") else { panic!("INFO is text") };
        let text = String::from_utf8_lossy(&text).into_owned();
        let field = text.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
        field.expect("it is there").trim().parse::<u64>().expect("a number")
    };
    let before = blocked(control);
    send(client, &[command]);
    wait_until("blocked", || blocked(control) > before);
}

fn popped(key: &str, value: &str) -> Reply {
    Reply::Array(vec![Reply::Bulk(key.into()), Reply::Bulk(value.into())])
}

#[test]
fn a_killed_client_is_told_nothing_and_takes_nothing() {
    let server = start();
    let mut control = connect(&server);
    for n in 0..TRIES {
        let mut blocked = connect(&server);
        let Reply::Integer(id) = call(&mut blocked, "CLIENT ID") else { panic!("an id") };
        let queue = format!("queue:{n}");
        block(&mut control, &mut blocked, &format!("BLPOP {queue} 0"));
        send(&mut control, &[&format!("CLIENT KILL ID {id}"), &format!("RPUSH {queue} v")]);
        assert_eq!(control.read_reply().expect("a reply"), Reply::Integer(1));
        assert_eq!(control.read_reply().expect("a reply"), Reply::Integer(1));
        assert_eq!(blocked.read_to_close().expect("closed"), b"", "try {n}");
        assert_eq!(call(&mut control, &format!("LPOP {queue}")), Reply::Bulk("v".into()));
    }
}

#[test]
fn who_waits_for_keys_on_two_shards_is_served_in_turn() {
    let server = start();
    let mut control = connect(&server);
    let mut half = |key: &str| match call(&mut control, &format!("CLUSTER KEYSLOT {key}")) {
        Reply::Integer(slot) => slot / 8192,
        other => panic!("no slot: {other:?}"),
    };
    assert_ne!(half("zz"), half("b"), "they are on different shards");
    for keys in ["zz b", "b zz"] {
        let (mut first, mut second) = (connect(&server), connect(&server));
        block(&mut control, &mut first, &format!("BLPOP {keys} 0"));
        block(&mut control, &mut second, "BLPOP zz 0");
        send(&mut control, &["RPUSH zz 1", "RPUSH zz 2"]);
        for _ in 0..2 {
            assert!(matches!(control.read_reply().expect("a reply"), Reply::Integer(_)));
        }
        assert_eq!(first.read_reply().expect("a reply"), popped("zz", "1"), "{keys}");
        assert_eq!(second.read_reply().expect("a reply"), popped("zz", "2"), "{keys}");
    }
}

#[test]
fn an_element_that_waits_for_its_destination_is_not_taken_by_who_came_later() {
    let server = start();
    let mut control = connect(&server);
    for n in 0..TRIES {
        let (mut first, mut second) = (connect(&server), connect(&server));
        block(&mut control, &mut first, "BLMOVE zz b LEFT RIGHT 0");
        block(&mut control, &mut second, "BLPOP zz 0");
        send(&mut control, &["RPUSH zz 1", "RPUSH zz 2"]);
        for _ in 0..2 {
            assert!(matches!(control.read_reply().expect("a reply"), Reply::Integer(_)));
        }
        assert_eq!(first.read_reply().expect("a reply"), Reply::Bulk("1".into()), "try {n}");
        assert_eq!(second.read_reply().expect("a reply"), popped("zz", "2"), "try {n}");
        assert_eq!(call(&mut control, "LPOP b"), Reply::Bulk("1".into()));
    }
}

#[test]
fn commands_on_several_slots_of_another_shard_lose_nothing() {
    let server = start();
    let mut clients: Vec<Client> = (0..8).map(|_| connect(&server)).collect();
    for round in 0..TRIES {
        for client in &mut clients {
            send(client, &[&format!("MSET s{{0}} {round} s{{1}} {round}"), "GET s{0}"]);
        }
        for client in &mut clients {
            assert_eq!(client.read_reply().expect("a reply"), Reply::Simple("OK".into()));
            let value = client.read_reply().expect("a reply");
            assert_eq!(value, Reply::Bulk(round.to_string().into()));
        }
    }
}

/// The replies of a transaction's commands.
fn transaction(client: &mut Client, commands: &[&str]) -> Vec<Reply> {
    assert_eq!(call(client, "MULTI"), Reply::Simple("OK".into()));
    for command in commands {
        assert_eq!(call(client, command), Reply::Simple("QUEUED".into()), "{command}");
    }
    match call(client, "EXEC") {
        Reply::Array(replies) => replies,
        other => panic!("no transaction: {other:?}"),
    }
}

#[test]
fn a_transaction_sees_the_keys_in_the_slots_that_it_holds() {
    let server = start();
    // `a` is in slot 15495, `b` in 3300: on both shards, from connections of either.
    for _ in 0..2 {
        let mut client = connect(&server);
        call(&mut client, "FLUSHALL");
        let replies = transaction(
            &mut client,
            &[
                "SET a 1",
                "SET b 1",
                "CLUSTER COUNTKEYSINSLOT 15495",
                "CLUSTER GETKEYSINSLOT 3300 10",
                "DBSIZE",
                "INFO keyspace",
                "CLUSTER SLOT-STATS SLOTSRANGE 15495 15495",
                "BALANCER EXPLAIN SLOT 3300",
            ],
        );
        assert_eq!(replies[2], Reply::Integer(1));
        assert_eq!(replies[3], Reply::Array(vec![Reply::Bulk("b".into())]));
        assert_eq!(replies[4], Reply::Integer(2));
        let text = |reply: &Reply| match reply {
            Reply::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
            other => format!("{other:?}"),
        };
        assert!(text(&replies[5]).contains("db0:keys=2"), "{:?}", replies[5]);
        assert!(text(&replies[6]).contains("Integer(15495)"), "{:?}", replies[6]);
        assert!(!text(&replies[7]).contains("held"), "{:?}", replies[7]);
    }
}

#[test]
fn transactions_that_look_into_each_others_slots_do_not_wait_for_ever() {
    let server = start();
    let mut workers = Vec::new();
    for (key, slot) in [("a", 3300), ("b", 15495)] {
        let mut client = connect(&server);
        workers.push(std::thread::spawn(move || {
            for _ in 0..TRIES {
                let set = format!("SET {key} 1");
                let count = format!("CLUSTER COUNTKEYSINSLOT {slot}");
                transaction(&mut client, &[&set, &count, "INFO keyspace"]);
            }
        }));
    }
    for worker in workers {
        worker.join().expect("it ends");
    }
}

#[test]
fn keys_in_slots_that_travel_are_counted_once() {
    let server = start();
    let mut writer = connect(&server);
    call(&mut writer, "MSET a 1 b 1 c 1 d 1");
    let writing = std::thread::spawn(move || {
        for _ in 0..50 * TRIES {
            call(&mut writer, "MSET a 2 b 2 c 2 d 2");
        }
    });
    let mut reader = connect(&server);
    while !writing.is_finished() {
        let Reply::Bulk(text) = call(&mut reader, "INFO keyspace") else { panic!("INFO is text") };
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(text.contains("db0:keys=4,"), "{text}");
        assert_eq!(call(&mut reader, "CLUSTER COUNTKEYSINSLOT 15495"), Reply::Integer(1));
    }
    writing.join().expect("it ends");
}
