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
