//! What a server must survive, in process: many at once, requests cut anywhere, garbage, clients
//! that do not read, thousands that say nothing, and keys of several shards in one breath.

#![forbid(unsafe_code)]

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use ballast_server::Server;
use ballast_tests::support::{Client, InProcess, Reply, Target, encode_command, seed, wait_until};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const SHARDS: u16 = 3;

fn start() -> InProcess {
    let server = Server::builder()
        .directive("shards", &SHARDS.to_string())
        .directive("enable-debug-command", "local");
    InProcess::start(server)
}

fn call(client: &mut Client, command: &str) -> Reply {
    let words: Vec<&str> = command.split(' ').collect();
    client.call(&words).unwrap_or_else(|error| panic!("{command}: {error}"))
}

fn simple(text: &str) -> Reply {
    Reply::Simple(text.as_bytes().to_vec())
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

fn words(command: &str) -> Vec<String> {
    command.split(' ').map(str::to_owned).collect()
}

/// A number of `INFO`.
fn info(client: &mut Client, field: &str) -> u64 {
    let Reply::Bulk(text) = call(client, "INFO") else { panic!("INFO is no text") };
    let text = String::from_utf8(text).expect("text");
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.and_then(|value| value.trim().parse().ok()).expect("a number")
}

/// Keys of different shards: one per third of the slots.
fn key_of_shard(client: &mut Client, shard: u16) -> String {
    let slots = 16_384 / i64::from(SHARDS);
    let slots = i64::from(shard) * slots + 10..(i64::from(shard) + 1) * slots - 10;
    let mut names = (0..1000).map(|n| format!("key:{shard}:{n}"));
    let here = |name: &String| match call(client, &format!("CLUSTER KEYSLOT {name}")) {
        Reply::Integer(slot) => slots.contains(&slot),
        other => panic!("a slot is {other:?}"),
    };
    names.find(here).expect("one of a thousand")
}

#[test]
fn servers_in_one_process_know_nothing_of_each_other() {
    let servers: Vec<InProcess> = (0..4).map(|_| start()).collect();
    for (number, server) in servers.iter().enumerate() {
        let mut client = server.connect().expect("connected");
        assert_eq!(call(&mut client, "GET k"), Reply::NilBulk);
        assert_eq!(call(&mut client, &format!("SET k {number}")), simple("OK"));
    }
    for (number, server) in servers.iter().enumerate().rev() {
        let mut client = server.connect().expect("connected");
        assert_eq!(call(&mut client, "GET k"), bulk(&number.to_string()));
        assert_eq!(call(&mut client, "DBSIZE"), Reply::Integer(1));
    }
    let mut servers = servers;
    let mut client = servers[0].connect().expect("connected");
    let (first, address) = (servers.remove(0), client_address(&servers[0]));
    drop(first);
    assert_eq!(client.read_to_close().expect("closed"), b"", "a server that ends closes");
    let mut second = Client::connect(address).expect("the others go on");
    client_shutdown(&mut second);
    wait_until("gone", || TcpStream::connect(address).is_err());
}

fn client_address(server: &InProcess) -> std::net::SocketAddr {
    server.address()
}

fn client_shutdown(client: &mut Client) {
    client.send(&["SHUTDOWN", "NOSAVE"]).expect("sent");
    assert_eq!(client.read_to_close().expect("closed"), b"");
}

#[test]
fn a_pipeline_may_be_cut_anywhere() {
    let mut random = StdRng::seed_from_u64(seed());
    let server = start();
    let mut client = server.connect().expect("connected");
    let mut bytes = Vec::new();
    let mut count = 0;
    for n in 0..60 {
        let large = "x".repeat(random.random_range(0..3000));
        for command in [
            format!("SET a:{n} {large}"),
            format!("INCR n:{}", n % 7),
            format!("MSET b:{n} 1 c:{n} 2 d:{n} 3"),
            format!("HSET h f:{n} {n}"),
            "MULTI".to_owned(),
            format!("RPUSH l {n}"),
            format!("GET a:{n}"),
            "EXEC".to_owned(),
            format!("MGET a:{n} b:{n} c:{n}"),
            format!("NOSUCH {n}"),
        ] {
            encode_command(&mut bytes, &words(&command));
            count += 1;
        }
        bytes.extend_from_slice(b"PING\r\n\r\n");
        count += 1;
    }
    client.send_raw(&bytes).expect("sent");
    let whole: Vec<Reply> = (0..count).map(|_| client.read_reply().expect("a reply")).collect();
    for piece_max in [1, 7, 100, 5000] {
        assert_eq!(call(&mut client, "FLUSHALL"), simple("OK"));
        let (mut at, mut replies) = (0, Vec::new());
        // One byte at a time is for the first commands only.
        let end = if piece_max == 1 { 12_000 } else { bytes.len() };
        while at < end {
            let len = random.random_range(1..=piece_max).min(end - at);
            client.send_raw(&bytes[at..at + len]).expect("sent");
            at += len;
        }
        client.send_raw(&bytes[end..]).expect("sent");
        while replies.len() < whole.len() {
            replies.push(client.read_reply().expect("a reply"));
        }
        assert_eq!(replies, whole, "in pieces of up to {piece_max} bytes");
    }
}

#[test]
fn a_transaction_without_memory_is_refused_as_a_whole() {
    let server = start();
    let mut client = server.connect().expect("connected");
    let mut other = server.connect().expect("connected");
    assert_eq!(call(&mut client, "DEBUG POPULATE 300 filler"), simple("OK"));
    let limit = |other: &mut Client, bytes: u64| {
        let command = format!("CONFIG SET maxmemory {bytes}");
        assert_eq!(call(other, &command), simple("OK"));
    };
    let refused = "EXECABORT Transaction discarded because of: OOM command not allowed when used \
                   memory > 'maxmemory'.";
    let refused = Reply::Error(refused.as_bytes().to_vec());
    for (queued, expected) in [
        (&["GET k", "SET k v"][..], refused.clone()),
        (&["SET k v", "INFO server"], refused),
        (&["GET k"], Reply::Array(vec![Reply::NilBulk])),
    ] {
        assert_eq!(call(&mut client, "MULTI"), simple("OK"));
        for command in queued {
            assert_eq!(call(&mut client, command), simple("QUEUED"));
        }
        limit(&mut other, 1);
        assert_eq!(call(&mut client, "EXEC"), expected, "{queued:?}");
        limit(&mut other, 0);
        assert_eq!(call(&mut client, "GET k"), Reply::NilBulk);
    }
}

#[test]
fn memory_is_back_when_a_flush_is_answered() {
    let server = start();
    let mut client = server.connect().expect("connected");
    for flush in ["FLUSHALL", "FLUSHALL SYNC", "FLUSHDB", "MULTI"] {
        for n in 0..10 {
            let members: String = (0..2000).map(|m| format!(" {n}:{m}")).collect();
            assert_eq!(call(&mut client, &format!("SADD s:{n}{members}")), Reply::Integer(2000));
        }
        assert_eq!(call(&mut client, flush), simple("OK"));
        if flush == "MULTI" {
            assert_eq!(call(&mut client, "FLUSHALL"), simple("QUEUED"));
            assert_eq!(call(&mut client, "EXEC"), Reply::Array(vec![simple("OK")]));
        }
        assert_eq!(info(&mut client, "lazyfree_pending_objects"), 0, "after {flush}");
    }
    for wrong in ["FLUSHALL NOW", "FLUSHALL SYNC SYNC"] {
        assert_eq!(call(&mut client, wrong), Reply::Error(b"ERR syntax error".to_vec()));
    }
}

#[test]
fn slots_handed_over_at_random_keep_their_keys_and_tell_how_long_it_took() {
    let server = start();
    let mut client = server.connect().expect("connected");
    for n in 0..100 {
        assert_eq!(call(&mut client, &format!("SET k:{n} {n}")), simple("OK"));
    }
    let Reply::Integer(handed) = call(&mut client, "DEBUG HAND-OVERS 30000 0.02") else {
        panic!("not counted")
    };
    assert!(handed >= 500, "{handed} of 600 that were due");
    for n in 0..100 {
        assert_eq!(call(&mut client, &format!("GET k:{n}")), bulk(&n.to_string()));
    }
    assert_eq!(info(&mut client, "slot_hand_overs"), handed.unsigned_abs());
    let text = |client: &mut Client| match call(client, "INFO balancer") {
        Reply::Bulk(text) => String::from_utf8(text).expect("text"),
        other => panic!("{other:?}"),
    };
    for field in ["give", "adopt", "pause"] {
        let line = format!("balancer_handover_{field}_usec:p50=");
        assert!(text(&mut client).contains(&line), "no {line}");
    }
    assert_eq!(call(&mut client, "CONFIG RESETSTAT"), simple("OK"));
    assert!(!text(&mut client).contains("balancer_handover_"));
    let answer = call(&mut client, "DEBUG HAND-OVERS x 1");
    assert_eq!(answer, Reply::Error(b"ERR value is not an integer or out of range".to_vec()));
}

#[test]
fn what_follows_a_command_in_two_parts_is_read_from_its_start() {
    let server = start();
    let mut client = server.connect().expect("connected");
    assert_eq!(call(&mut client, "SET a x"), simple("OK"));
    let mut get = Vec::new();
    encode_command(&mut get, &words("GET a"));
    for cut in 1..get.len() {
        client.send_raw(&get[..cut]).expect("sent");
        // Another connection's answer: by then the first part has mostly been received.
        call(&mut server.connect().expect("connected"), "PING");
        client.send_raw(&get[cut..]).expect("sent");
        assert_eq!(client.read_reply().expect("a reply"), bulk("x"), "cut at {cut}");
        client.send_raw(&get.repeat(2)).expect("sent");
        for _ in 0..2 {
            assert_eq!(client.read_reply().expect("a reply"), bulk("x"), "after a cut at {cut}");
        }
    }
}

#[test]
fn resp3_has_its_own_types() {
    let server = start();
    let mut client = server.connect().expect("connected");
    assert!(matches!(call(&mut client, "HELLO 3"), Reply::Map(_)));
    assert_eq!(call(&mut client, "GET none"), Reply::Null);
    assert_eq!(call(&mut client, "HSET h a 1"), Reply::Integer(1));
    assert_eq!(call(&mut client, "HGETALL h"), Reply::Map(vec![(bulk("a"), bulk("1"))]));
    assert_eq!(call(&mut client, "SADD s a"), Reply::Integer(1));
    assert_eq!(call(&mut client, "SMEMBERS s"), Reply::Set(vec![bulk("a")]));
    assert_eq!(call(&mut client, "ZADD z 1.5 a"), Reply::Integer(1));
    assert_eq!(call(&mut client, "ZSCORE z a"), Reply::Double(b"1.5".to_vec()));
    assert_eq!(call(&mut client, "DEBUG PROTOCOL true"), Reply::Boolean(true));
    assert!(matches!(call(&mut client, "DEBUG PROTOCOL attrib"), Reply::Attribute(..)));
    assert!(matches!(call(&mut client, "DEBUG PROTOCOL push"), Reply::Push(_)));
    assert_eq!(
        client.read_reply().expect("the reply"),
        bulk("Some real reply following the push reply")
    );
    assert!(matches!(call(&mut client, "DEBUG SLOT-AUDIT 1"), Reply::Map(_)));
    assert!(matches!(call(&mut client, "HELLO 2"), Reply::Array(_)));
    assert_eq!(call(&mut client, "GET none"), Reply::NilBulk);
}

#[test]
fn garbage_ends_its_own_connection_only() {
    let mut random = StdRng::seed_from_u64(seed());
    let server = start();
    let mut healthy = server.connect().expect("connected");
    let requests: [(&[u8], &str); 8] = [
        (b"*3000000000\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*x\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$99999999999\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\nfoo\r\n", "-ERR Protocol error: expected '$', got 'f'\r\n"),
        (b"SET \"unbalanced\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", ""),
        (b"Host: x\r\nPING\r\n", ""),
    ];
    for (request, answer) in requests {
        let mut client = server.connect().expect("connected");
        client.send_raw(request).expect("sent");
        let bytes = client.read_to_close().expect("closed");
        assert_eq!(String::from_utf8_lossy(&bytes), answer, "{}", request.escape_ascii());
        assert_eq!(call(&mut healthy, "PING"), simple("PONG"));
    }
    let mut client = server.connect().expect("connected");
    // The connection may be closed before all of it is sent.
    let _ = client.send_raw(&vec![b'a'; 70_000]);
    let bytes = client.read_to_close().expect("closed");
    assert_eq!(bytes, b"-ERR Protocol error: too big inline request\r\n");
    for _ in 0..200 {
        let mut client = server.connect().expect("connected");
        let len = random.random_range(1..2000);
        let mut bytes: Vec<u8> = (0..len).map(|_| random.random()).collect();
        bytes[0] = if random.random() { b'*' } else { bytes[0] };
        let _ = client.send_raw(&bytes);
    }
    assert_eq!(call(&mut healthy, "PING"), simple("PONG"));
    wait_until("closed", || info(&mut healthy, "connected_clients") == 1);
}

#[test]
fn a_browser_gets_no_command_through() {
    let server = start();
    let mut client = server.connect().expect("connected");
    client.send_raw(b"GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nSET evil 1\r\n").expect("sent");
    let bytes = client.read_to_close().expect("closed");
    let text = String::from_utf8_lossy(&bytes);
    assert_eq!(text, "-ERR wrong number of arguments for 'get' command\r\n");
    let mut client = server.connect().expect("connected");
    assert_eq!(call(&mut client, "EXISTS evil"), Reply::Integer(0));
}

#[test]
fn announced_lengths_cost_no_memory() {
    let server = start();
    let mut control = server.connect().expect("connected");
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = server.connect().expect("connected");
        client.send_raw(b"*1048576\r\n$536870912\r\nabc").expect("sent");
        clients.push(client);
    }
    assert_eq!(call(&mut control, "PING"), simple("PONG"));
    let used = info(&mut control, "used_memory_rss");
    assert!(used < 4 << 30, "{used} bytes resident for 50 announcements of 512 MiB");
    drop(clients);
    wait_until("closed", || info(&mut control, "connected_clients") == 1);
}

#[test]
fn a_client_that_never_reads_is_cut_at_its_limit_and_holds_nobody_up() {
    let server = start();
    let mut control = server.connect().expect("connected");
    let limit = "CONFIG SET client-output-buffer-limit";
    let limit: Vec<&str> = limit.split(' ').chain(["normal 64mb 0 0"]).collect();
    assert_eq!(control.call(&limit).expect("set"), simple("OK"));
    let keys: Vec<String> = (0..SHARDS).map(|shard| key_of_shard(&mut control, shard)).collect();
    let value = "v".repeat(1 << 20);
    for key in &keys {
        assert_eq!(control.call(&["SET", key, &value]).expect("set"), simple("OK"));
    }
    let mut mute = TcpStream::connect(server.address()).expect("connected");
    mute.set_nonblocking(true).expect("non-blocking");
    let mut request = Vec::new();
    for key in &keys {
        encode_command(&mut request, &["GET", key]);
    }
    let mut sent = 0;
    let gave_up = loop {
        match mute.write(&request[sent % request.len()..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => break error.kind(),
        }
        assert_eq!(call(&mut control, "PING"), simple("PONG"));
        let output: u64 = client_fields(&mut control, "omem").iter().sum();
        assert!(output < 128 << 20, "{output} bytes of replies wait for a client");
    };
    assert!(matches!(gave_up, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{gave_up:?}");
    for key in &keys {
        assert_eq!(call(&mut control, &format!("STRLEN {key}")), Reply::Integer(1 << 20));
    }
    wait_until("closed", || info(&mut control, "connected_clients") == 1);
    assert_eq!(info(&mut control, "client_output_buffer_limit_disconnections"), 1);
}

/// A field of all clients.
fn client_fields(control: &mut Client, field: &str) -> Vec<u64> {
    let Reply::Bulk(list) = call(control, "CLIENT LIST") else { panic!("no list") };
    let list = String::from_utf8_lossy(&list).into_owned();
    let field = format!(" {field}=");
    let values = list.lines().filter_map(|line| line.split(&field).nth(1)?.split(' ').next());
    values.map(|value| value.parse().expect("a number")).collect()
}

#[test]
fn thousands_of_idle_connections_are_cheap() {
    let server = start();
    let mut control = server.connect().expect("connected");
    let mut idle: Vec<Client> = (0..2000).map(|_| server.connect().expect("connected")).collect();
    wait_until("accepted", || info(&mut control, "connected_clients") == 2001);
    for client in idle.iter_mut().step_by(37) {
        assert_eq!(call(client, "PING"), simple("PONG"));
    }
    for client in &mut idle {
        client.send(&["SET", "k", "v"]).expect("sent");
    }
    for client in &mut idle {
        assert_eq!(client.read_reply().expect("a reply"), simple("OK"));
    }
    drop(idle);
    wait_until("closed", || info(&mut control, "connected_clients") == 1);
}

#[test]
fn transactions_across_shards_are_atomic() {
    let server = start();
    let mut control = server.connect().expect("connected");
    let keys: Vec<String> = (0..SHARDS).map(|shard| key_of_shard(&mut control, shard)).collect();
    for key in &keys {
        assert_eq!(call(&mut control, &format!("SET {key} 1000")), simple("OK"));
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let movers: Vec<_> = (0..4_u64)
            .map(|number| {
                let (server, keys) = (&server, &keys);
                scope.spawn(move || {
                    let mut random = StdRng::seed_from_u64(number);
                    let mut client = server.connect().expect("connected");
                    for _ in 0..500 {
                        let (from, to) = (random.random_range(0..3), random.random_range(0..3));
                        call(&mut client, "MULTI");
                        call(&mut client, &format!("DECR {}", keys[from]));
                        call(&mut client, &format!("INCR {}", keys[to]));
                        assert!(matches!(call(&mut client, "EXEC"), Reply::Array(_)));
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut client = server.connect().expect("connected");
            let all = format!("MGET {}", keys.join(" "));
            while !done.load(Ordering::Relaxed) {
                let Reply::Array(values) = call(&mut client, &all) else { panic!("no values") };
                assert_eq!(values.iter().map(number).sum::<i64>(), 3000, "{values:?}");
            }
        });
        for mover in movers {
            mover.join().expect("no panic");
        }
        done.store(true, Ordering::Relaxed);
    });
}

fn number(reply: &Reply) -> i64 {
    match reply {
        Reply::Bulk(text) => String::from_utf8_lossy(text).parse().expect("a number"),
        other => panic!("{other:?} is no number"),
    }
}

#[test]
fn watches_across_shards_see_every_change() {
    let server = start();
    let mut control = server.connect().expect("connected");
    let keys: Vec<String> = (0..SHARDS).map(|shard| key_of_shard(&mut control, shard)).collect();
    for key in &keys {
        assert_eq!(call(&mut control, &format!("SET {key} 0")), simple("OK"));
    }
    const ROUNDS: i64 = 150;
    const THREADS: i64 = 4;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let counters: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| (0..ROUNDS).for_each(|_| increment_watched(&server, &keys))))
            .collect();
        scope.spawn(|| hand_over_until(&server, &keys, &done));
        for counter in counters {
            counter.join().expect("no panic");
        }
        done.store(true, Ordering::Relaxed);
    });
    for key in &keys {
        assert_eq!(
            call(&mut control, &format!("GET {key}")),
            bulk(&(ROUNDS * THREADS).to_string())
        );
    }
}

/// Reads all keys, then writes each plus one, unless one of them has changed meanwhile.
fn increment_watched(server: &InProcess, keys: &[String]) {
    let mut client = server.connect().expect("connected");
    loop {
        let all = keys.join(" ");
        assert_eq!(call(&mut client, &format!("WATCH {all}")), simple("OK"));
        let Reply::Array(values) = call(&mut client, &format!("MGET {all}")) else {
            panic!("no values")
        };
        call(&mut client, "MULTI");
        for (key, value) in keys.iter().zip(&values) {
            call(&mut client, &format!("SET {key} {}", number(value) + 1));
        }
        match call(&mut client, "EXEC") {
            Reply::NilArray => {}
            Reply::Array(_) => return,
            other => panic!("EXEC is {other:?}"),
        }
    }
}

/// Moves the keys' slots from shard to shard.
fn hand_over_until(server: &InProcess, keys: &[String], done: &AtomicBool) {
    let mut client = server.connect().expect("connected");
    let mut turn = 0;
    while !done.load(Ordering::Relaxed) {
        for key in keys {
            let Reply::Integer(slot) = call(&mut client, &format!("CLUSTER KEYSLOT {key}")) else {
                panic!("no slot")
            };
            turn += 1;
            let shard = turn % SHARDS;
            assert_eq!(call(&mut client, &format!("DEBUG HAND-OVER {slot} {shard}")), simple("OK"));
        }
    }
}

#[test]
fn blocked_clients_get_what_comes_on_any_shard() {
    let server = start();
    let mut control = server.connect().expect("connected");
    let keys: Vec<String> = (0..SHARDS).map(|shard| key_of_shard(&mut control, shard)).collect();
    let wait = format!("BLPOP {} 0", keys.join(" "));
    let done = AtomicBool::new(false);
    const VALUES: usize = 300;
    let mut got: Vec<i64> = std::thread::scope(|scope| {
        let takers: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = server.connect().expect("connected");
                    let mut got = Vec::new();
                    loop {
                        let Reply::Array(pair) = call(&mut client, &wait) else {
                            panic!("no pair")
                        };
                        match number(&pair[1]) {
                            -1 => return got,
                            value => got.push(value),
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| hand_over_until(&server, &keys, &done));
        for value in 0..VALUES {
            call(&mut control, &format!("RPUSH {} {value}", keys[value % keys.len()]));
        }
        for at in 0..takers.len() {
            call(&mut control, &format!("RPUSH {} -1", keys[at % keys.len()]));
        }
        let got = takers.into_iter().flat_map(|taker| taker.join().expect("no panic")).collect();
        done.store(true, Ordering::Relaxed);
        got
    });
    got.sort_unstable();
    let all = (0..).take(VALUES).collect::<Vec<i64>>();
    assert_eq!(got, all, "each value once");
    wait_until("unblocked", || info(&mut control, "blocked_clients") == 0);
}

#[test]
fn a_scan_misses_nothing_while_slots_move() {
    let server = start();
    let mut control = server.connect().expect("connected");
    assert_eq!(call(&mut control, "DEBUG POPULATE 5000 k"), simple("OK"));
    let keys: Vec<String> = (0..50).map(|n| format!("k:{n}")).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| hand_over_until(&server, &keys, &done));
        for _ in 0..5 {
            let mut seen = std::collections::BTreeSet::new();
            let mut cursor = "0".to_owned();
            loop {
                let reply = call(&mut control, &format!("SCAN {cursor} COUNT 100"));
                let Reply::Array(parts) = reply else { panic!("a scan is {reply:?}") };
                let [Reply::Bulk(next), Reply::Array(found)] = &parts[..] else {
                    panic!("a scan is {parts:?}")
                };
                for key in found {
                    let Reply::Bulk(key) = key else { panic!("a key is {key:?}") };
                    seen.insert(key.clone());
                }
                cursor = String::from_utf8_lossy(next).into_owned();
                if cursor == "0" {
                    break;
                }
            }
            assert_eq!(seen.len(), 5000);
        }
        done.store(true, Ordering::Relaxed);
    });
}
