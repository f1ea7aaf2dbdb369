//! Every command of every connection is shown to every monitor once, whichever thread executes it
//! and wherever its slots are; who cannot keep up is cut off, and the others see nothing of it.

use std::collections::HashMap;
use std::net::SocketAddr;

use ballast_server::Server;
use ballast_tests::support::{Client, InProcess, Reply, Target, wait_until};

fn start(shards: &str) -> InProcess {
    let builder = Server::builder().directive("shards", shards);
    InProcess::start(builder.directive("enable-debug-command", "local"))
}

fn call(client: &mut Client, line: &str) -> Reply {
    client.call(&line.split(' ').collect::<Vec<_>>()).unwrap()
}

fn text(reply: Reply) -> String {
    match reply {
        Reply::Simple(text) | Reply::Bulk(text) => String::from_utf8(text).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn figure(client: &mut Client, section: &str, field: &str) -> i64 {
    let info = text(call(client, &format!("INFO {section}")));
    let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.and_then(|value| value.trim().parse().ok()).expect("a number")
}

/// All texts in a reply.
fn words(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Bulk(text) => vec![String::from_utf8(text.clone()).unwrap()],
        Reply::Array(items) => items.iter().flat_map(words).collect(),
        _ => Vec::new(),
    }
}

/// A line that a monitor has read: its time, the address, the command in quotes.
fn shown(monitor: &mut Client) -> (String, SocketAddr, String) {
    let line = text(monitor.read_reply().unwrap());
    let (time, rest) = line.split_once(" [").unwrap();
    let (origin, command) = rest.split_once("] ").unwrap();
    let (_, address) = origin.split_once(' ').unwrap();
    (time.to_owned(), address.parse().unwrap(), command.to_owned())
}

/// The commands of one client, of all kinds: for a shard or several, alone, in a transaction. Each
/// names its number.
fn commands(client: usize, count: usize) -> Vec<Vec<String>> {
    let one = |number: usize| {
        let (key, other) = (format!("k{client}:{number}"), format!("l{client}:{}", number * 7));
        let line = match number % 12 {
            0 => format!("MSET {key} a {other} b"),
            1 => "MULTI".to_owned(),
            2 => format!("SET {key} {number}"),
            3 => format!("LPUSH {other} {number}"),
            5 => "EXEC".to_owned(),
            6 => format!("RENAME nosuch {key}"),
            7 => format!("ECHO {number}"),
            4 | 8 => "DBSIZE".to_owned(),
            // What was pushed six commands ago.
            9 => format!("BLPOP l{client}:{} 9", (number - 6) * 7),
            10 => format!("GET {key}"),
            _ => format!("INCR {other}"),
        };
        line.split(' ').map(str::to_owned).collect()
    };
    (0..count).map(one).collect()
}

/// What is shown of these commands.
fn expected(commands: &[Vec<String>]) -> Vec<String> {
    let quoted = |command: &Vec<String>| {
        command.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" ")
    };
    commands.iter().map(quoted).collect()
}

#[test]
fn commands_are_shown_once_and_in_the_order_of_their_connection() {
    const CLIENTS: usize = 6;
    const COMMANDS: usize = 12 * 30;
    let server = start("4");
    let mut monitors: Vec<Client> = (0..2).map(|_| server.connect().unwrap()).collect();
    for monitor in &mut monitors {
        assert_eq!(call(monitor, "MONITOR"), Reply::Simple(b"OK".to_vec()));
    }
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect().unwrap()).collect();
    // The monitors tell which address is whose.
    let mut whose = HashMap::new();
    for (at, client) in clients.iter_mut().enumerate() {
        call(client, "PING");
        let (_, address, _) = shown(&mut monitors[0]);
        shown(&mut monitors[1]);
        whose.insert(address, at);
    }
    let workers: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(at, mut client)| {
            std::thread::spawn(move || {
                // Some send all at once, so that a batch has commands for all shards.
                let commands = commands(at, COMMANDS);
                for part in commands.chunks(if at % 2 == 0 { 1 } else { 60 }) {
                    client.pipeline(part).unwrap();
                }
            })
        })
        .collect();
    let mover = {
        let mut mover = server.connect().unwrap();
        std::thread::spawn(move || {
            for round in 0..300_usize {
                let slot = (round * 547) % 16384;
                call(&mut mover, &format!("DEBUG HAND-OVER {slot} {}", round % 4));
            }
        })
    };
    let mut seen = vec![vec![Vec::new(); CLIENTS]; 2];
    let mut orders = [Vec::new(), Vec::new()];
    for ((monitor, seen), order) in monitors.iter_mut().zip(&mut seen).zip(&mut orders) {
        let mut last = String::new();
        for _ in 0..CLIENTS * COMMANDS {
            let (time, address, command) = shown(monitor);
            assert!(time >= last, "{time} after {last}");
            last.clone_from(&time);
            order.push((time, address, command.clone()));
            seen[whose[&address]].push(command);
        }
    }
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    mover.join().unwrap();
    assert_eq!(orders[0], orders[1], "all monitors see one order");
    for (at, lines) in seen[0].iter().enumerate() {
        assert_eq!(*lines, expected(&commands(at, COMMANDS)), "of client {at}");
    }
}

#[test]
fn a_blocked_command_is_shown_when_it_is_called_and_not_when_it_is_served() {
    let server = start("3");
    let mut monitor = server.connect().unwrap();
    let (mut waits, mut other) = (server.connect().unwrap(), server.connect().unwrap());
    call(&mut monitor, "MONITOR");
    waits.send(&["BLMOVE", "a", "b", "LEFT", "LEFT", "0"]).unwrap();
    assert_eq!(shown(&mut monitor).2, r#""BLMOVE" "a" "b" "LEFT" "LEFT" "0""#);
    call(&mut other, "RPUSH a x");
    assert_eq!(waits.read_reply().unwrap(), Reply::Bulk(b"x".to_vec()));
    call(&mut other, "PING");
    assert_eq!(shown(&mut monitor).2, r#""RPUSH" "a" "x""#);
    assert_eq!(shown(&mut monitor).2, r#""PING""#);
}

#[test]
fn a_monitor_sees_what_is_executed_after_a_pause_and_is_not_paused_itself() {
    let server = start("2");
    let mut monitor = server.connect().unwrap();
    let (mut waits, mut other) = (server.connect().unwrap(), server.connect().unwrap());
    call(&mut monitor, "MONITOR");
    call(&mut other, "CLIENT PAUSE 1000000");
    waits.send(&["SET", "k", "v"]).unwrap();
    assert_eq!(call(&mut monitor, "ECHO x"), Reply::Bulk(b"x".to_vec()));
    assert_eq!(shown(&mut monitor).2, r#""ECHO" "x""#);
    call(&mut monitor, "CLIENT UNPAUSE");
    assert_eq!(waits.read_reply().unwrap(), Reply::Simple(b"OK".to_vec()));
    assert_eq!(shown(&mut monitor).2, r#""SET" "k" "v""#);
}

#[test]
fn a_monitor_that_cannot_keep_up_is_cut_off_alone() {
    let server = start("2");
    let mut other = server.connect().unwrap();
    let limit = ["CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 0 0"];
    assert_eq!(other.call(&limit).unwrap(), Reply::Simple(b"OK".to_vec()));
    let (mut slow, mut fast) = (server.connect().unwrap(), server.connect().unwrap());
    call(&mut slow, "MONITOR");
    call(&mut fast, "MONITOR");
    let list = text(call(&mut other, "CLIENT LIST TYPE normal"));
    assert_eq!(list.matches(" flags=O ").count(), 2, "{list}");
    let value = "x".repeat(100_000);
    let mut sent = 0;
    while figure(&mut other, "stats", "client_output_buffer_limit_disconnections") == 0 {
        assert_eq!(shown(&mut fast).2, r#""INFO" "stats""#);
        call(&mut other, &format!("SET k {value}"));
        assert_eq!(shown(&mut fast).2, format!(r#""SET" "k" "{value}""#));
        sent += 1;
        assert!(sent < 2000, "sockets take as much as that");
    }
    assert_eq!(shown(&mut fast).2, r#""INFO" "stats""#);
    call(&mut other, "ECHO on");
    assert_eq!(shown(&mut fast).2, r#""ECHO" "on""#);
    // Nothing stays of who has gone, nor of who leaves.
    assert_eq!(call(&mut fast, "RESET"), Reply::Simple(b"RESET".to_vec()));
    wait_until("both are forgotten", || {
        let list = text(call(&mut other, "CLIENT LIST"));
        list.lines().count() == 2 && !list.contains(" flags=O ")
    });
    call(&mut other, "SET k v");
    assert_eq!(call(&mut fast, "PING"), Reply::Simple(b"PONG".to_vec()));
}

#[test]
fn a_password_is_shown_neither_by_monitors_nor_by_the_slow_log() {
    let server = start("1");
    let (mut monitor, mut other) = (server.connect().unwrap(), server.connect().unwrap());
    call(&mut other, "CONFIG SET slowlog-log-slower-than 0");
    call(&mut monitor, "MONITOR");
    call(&mut other, "AUTH secret more words");
    assert_eq!(shown(&mut monitor).2, r#""AUTH" "(redacted)" "(redacted)" "(redacted)""#);
    call(&mut other, "HELLO 9 AUTH default secret");
    assert_eq!(shown(&mut monitor).2, r#""HELLO" "9" "AUTH" "(redacted)" "(redacted)""#);
    call(&mut other, "CONFIG SET masterauth secret maxclients 999");
    let log = words(&call(&mut other, "SLOWLOG GET 10")).join(" ");
    assert!(log.contains("masterauth") && log.contains("redacted"), "{log}");
    assert!(!log.contains("secret") && log.contains("999"), "{log}");
}
