//! What clients cost, and what they may: CLIENT LIST shows it with Redis's meaning, and limits on
//! requests, replies and all clients together hold.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use ballast_server::{Clock, Server};
use ballast_tests::support::{Client, InProcess, Reply, Target, encode_command, wait_until};

const SHARDS: &str = "2";

fn start() -> InProcess {
    InProcess::start(Server::builder().directive("shards", SHARDS))
}

fn text(client: &mut Client, command: &[&str]) -> String {
    match client.call(command).expect("a reply") {
        Reply::Bulk(text) => String::from_utf8_lossy(&text).into_owned(),
        other => panic!("{command:?}: {other:?}"),
    }
}

fn info(client: &mut Client, field: &str) -> u64 {
    let all = text(client, &["INFO"]);
    let prefix = format!("{field}:");
    let line = all.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap_or_else(|| panic!("no {field}")).trim().parse().expect("a number")
}

/// A connection that CLIENT LIST shows by its name.
fn named(server: &InProcess, name: &str) -> Client {
    let mut client = server.connect().expect("connected");
    assert_eq!(client.call(&["CLIENT", "SETNAME", name]).unwrap(), Reply::Simple("OK".into()));
    client
}

/// A field of the client's line, `None` when there is no such client.
fn field(control: &mut Client, name: &str, field: &str) -> Option<String> {
    let list = text(control, &["CLIENT", "LIST"]);
    let name = format!(" name={name} ");
    let line = list.lines().find(|line| line.contains(&name))?;
    let field = format!(" {field}=");
    let value = line.split_once(&field).unwrap_or_else(|| panic!("no{field}")).1;
    Some(value.split(' ').next().expect("a value").to_owned())
}

fn number(control: &mut Client, name: &str, of: &str) -> u64 {
    field(control, name, of).expect("the client is there").parse().expect("a number")
}

#[test]
fn a_half_request_is_shown_as_redis_shows_it() {
    let server = start();
    let mut control = server.connect().expect("connected");
    let many = [&b"*1000\r\n"[..], &b"$3\r\nabc\r\n".repeat(500)].concat();
    let long = [&b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n"[..], &[b'v'; 50_000]].concat();
    let open = [&b"*1\r\n$1000000\r\n"[..], &[b'v'; 1_000_000]].concat();
    let requests: [(&[u8], u64, u64); 8] = [
        (b"*", 1, 0),
        (b"*1000\r\n", 0, 0),
        (b"*2\r\n$3\r\nGET\r\n$5\r\nab", 2, 3),
        (b"SET k half", 10, 0),
        (b"*2\r\n$3\r\nGET\r\n$1", 2, 3),
        (&many, 0, 1500),
        (&long, 50_000, 4),
        (&open, 1_000_000, 0),
    ];
    for (at, (request, unread, arguments)) in requests.iter().enumerate() {
        let name = format!("half{at}");
        let mut client = named(&server, &name);
        client.send_raw(request).expect("sent");
        wait_until(&name, || {
            number(&mut control, &name, "qbuf") == *unread
                && number(&mut control, &name, "argv-mem") == *arguments
        });
        let total = number(&mut control, &name, "tot-mem");
        let held = request.len() as u64;
        assert!((held..=2 * held + 20_000).contains(&total), "{name}: {total}");
    }
}

#[test]
fn small_pieces_of_requests_cost_little() {
    let server = start();
    let mut control = server.connect().expect("connected");
    let mut clients: Vec<_> = (0..200).map(|_| server.connect().expect("connected")).collect();
    wait_until("accepted", || info(&mut control, "connected_clients") == 201);
    let before = info(&mut control, "used_memory");
    for piece in [&b"*"[..], b"2", b"\r", b"\n$4"] {
        clients.iter_mut().for_each(|client| client.send_raw(piece).expect("sent"));
        let sum: u64 = info(&mut control, "total_net_input_bytes");
        wait_until("received", || info(&mut control, "total_net_input_bytes") > sum + 20);
    }
    let each = info(&mut control, "mem_clients_normal") / 201;
    assert!(each < 4096, "{each} bytes for a client that sent a piece of a request");
    // The shards' own spare buffers among it.
    let grown = info(&mut control, "used_memory").saturating_sub(before) / 200;
    assert!(grown < 16_384, "{grown} bytes more for each");
    for client in &mut clients {
        client.send_raw(b"\r\nECHO\r\n$2\r\nhi\r\n").expect("sent");
    }
    for client in &mut clients {
        assert_eq!(client.read_reply().expect("a reply"), Reply::Bulk("hi".into()));
    }
}

#[test]
fn a_long_request_leaves_no_memory_behind() {
    let server = start();
    let mut control = server.connect().expect("connected");
    let mut client = named(&server, "long");
    let base = number(&mut control, "long", "tot-mem");
    let value = vec![b'v'; 3 << 20];
    let mut request = Vec::new();
    encode_command(&mut request, &[&b"SET"[..], b"k", &value]);
    let (half, rest) = request.split_at(request.len() / 2);
    client.send_raw(half).expect("sent");
    wait_until("half", || number(&mut control, "long", "qbuf") > 1 << 20);
    assert!(number(&mut control, "long", "tot-mem") > 3 << 19);
    client.send_raw(rest).expect("sent");
    assert_eq!(client.read_reply().expect("a reply"), Reply::Simple("OK".into()));
    let words: Vec<String> = (0..200_000).map(|word| word.to_string()).collect();
    let mut del = vec!["DEL"];
    del.extend(words.iter().map(String::as_str));
    assert_eq!(client.call(&del).expect("a reply"), Reply::Integer(0));
    wait_until("small again", || number(&mut control, "long", "tot-mem") <= base + 2048);
}

#[test]
fn a_request_may_have_more_arguments_than_a_million() {
    let server = start();
    let mut client = server.connect().expect("connected");
    let count = 1_048_577 + 3;
    let mut request = format!("*{count}\r\n$6\r\nEXISTS\r\n").into_bytes();
    request.extend(b"$1\r\nk\r\n".repeat(count - 1));
    assert_eq!(client.call(&["SET", "k", "v"]).unwrap(), Reply::Simple("OK".into()));
    client.send_raw(&request).expect("sent");
    assert_eq!(client.read_reply().expect("a reply"), Reply::Integer(count as i64 - 1));
}

#[test]
fn a_transaction_and_watched_keys_are_counted() {
    let server = start();
    let mut control = server.connect().expect("connected");
    let mut client = named(&server, "t");
    let base = number(&mut control, "t", "tot-mem");
    let value = "v".repeat(100_000);
    client.call(&["MULTI"]).expect("a reply");
    for _ in 0..2 {
        assert_eq!(client.call(&["SET", "k", &value]).unwrap(), Reply::Simple("QUEUED".into()));
    }
    wait_until("counted", || number(&mut control, "t", "multi-mem") > 200_000);
    assert!(number(&mut control, "t", "multi-mem") < 201_000);
    assert!(number(&mut control, "t", "tot-mem") > base + 200_000);
    client.call(&["EXEC"]).expect("a reply");
    wait_until("ended", || number(&mut control, "t", "tot-mem") <= base + 2048);
    assert_eq!(number(&mut control, "t", "multi-mem"), 0);
    let keys: Vec<String> = (0..1000).map(|key| format!("key:{key}")).collect();
    let mut watch = vec!["WATCH"];
    watch.extend(keys.iter().map(String::as_str));
    client.call(&watch).expect("a reply");
    wait_until("watched", || number(&mut control, "t", "tot-mem") > base + 100_000);
    client.call(&["UNWATCH"]).expect("a reply");
    wait_until("unwatched", || number(&mut control, "t", "tot-mem") <= base + 2048);
}

#[test]
fn a_blocked_client_may_send_on_and_is_counted() {
    let server = start();
    let mut control = server.connect().expect("connected");
    let mut client = named(&server, "b");
    let mut request = Vec::new();
    encode_command(&mut request, &["BLPOP", "queue", "0"]);
    (0..100_000).for_each(|_| encode_command(&mut request, &["PING"]));
    client.send_raw(&request).expect("a blocked client is read on");
    wait_until("read", || number(&mut control, "b", "qbuf") == 1_400_000);
    assert_eq!(number(&mut control, "b", "argv-mem"), 11);
    assert!(number(&mut control, "b", "tot-mem") > 1_400_000);
    control.call(&["RPUSH", "queue", "v"]).expect("a reply");
    let got = client.read_reply().expect("a reply");
    assert_eq!(got, Reply::Array(vec![Reply::Bulk("queue".into()), Reply::Bulk("v".into())]));
    for _ in 0..100_000 {
        assert_eq!(client.read_reply().expect("a reply"), Reply::Simple("PONG".into()));
    }
}

#[test]
fn the_query_limit_counts_what_is_no_argument_yet() {
    let builder = Server::builder().directive("client-query-buffer-limit", "1mb");
    let server = InProcess::start(builder.directive("shards", SHARDS));
    let mut client = server.connect().expect("connected");
    // Ten arguments of 300 KB are whole arguments, one of 2 MB is not.
    let value = "v".repeat(300_000);
    let keys: Vec<String> = (0..10).map(|key| format!("{{t}}{key}")).collect();
    let mut mset = vec!["MSET"];
    keys.iter().for_each(|key| mset.extend([key.as_str(), &value]));
    assert_eq!(client.call(&mset).expect("a reply"), Reply::Simple("OK".into()));
    // The server may close before all is written.
    let _ = client.send(&["SET", "k", &"v".repeat(2 << 20)]);
    assert!(client.read_reply().is_err(), "closed");
    let mut control = server.connect().expect("connected");
    assert_eq!(info(&mut control, "client_query_buffer_limit_disconnections"), 1);
}

/// Fills `key` with so many bytes.
fn fill(control: &mut Client, key: &str, bytes: usize) {
    let last = (bytes - 1).to_string();
    let set = control.call(&["SETRANGE", key, &last, "x"]).expect("a reply");
    assert_eq!(set, Reply::Integer(bytes as i64));
}

fn config(control: &mut Client, directive: &str, value: &str) {
    let set = control.call(&["CONFIG", "SET", directive, value]).expect("a reply");
    assert_eq!(set, Reply::Simple("OK".into()), "{directive} {value}");
}

/// `GET key` so many times.
fn gets(key: &str, count: usize) -> Vec<u8> {
    let mut request = Vec::new();
    (0..count).for_each(|_| encode_command(&mut request, &["GET", key]));
    request
}

#[test]
fn a_client_that_does_not_read_yet_is_served_all_the_same() {
    let server = start();
    let mut control = server.connect().expect("connected");
    // Keys of both shards; many short replies, and long ones.
    for (key, bytes, count) in [("a", 1000, 30_000), ("b", 1000, 30_000), ("c", 15 << 20, 2)] {
        fill(&mut control, key, bytes);
        let mut client = named(&server, key);
        client.send_raw(&gets(key, count)).expect("sent");
        client.send(&["SET", &format!("done:{key}"), "1"]).expect("sent");
        let done = format!("done:{key}");
        wait_until("executed", || {
            control.call(&["EXISTS", &done]).expect("a reply") == Reply::Integer(1)
        });
        let waiting = number(&mut control, key, "omem");
        assert!(waiting > 10 << 20 && waiting < (count * (bytes + 20) * 9 / 8) as u64, "{waiting}");
        assert!(number(&mut control, key, "oll") > 0);
        assert_eq!(field(&mut control, key, "events").as_deref(), Some("rw"));
        assert!(info(&mut control, "mem_clients_normal") > waiting);
        for _ in 0..count {
            match client.read_reply().expect("a reply") {
                Reply::Bulk(value) => assert_eq!(value.len(), bytes),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(client.read_reply().expect("a reply"), Reply::Simple("OK".into()));
        wait_until("sent", || number(&mut control, key, "tot-mem") < 8192);
        assert_eq!(number(&mut control, key, "omem"), 0);
    }
}

#[test]
fn a_client_that_ends_its_side_gets_all_its_replies() {
    let server = start();
    let mut control = server.connect().expect("connected");
    fill(&mut control, "k", 100_000);
    let mut client = TcpStream::connect(server.address()).expect("connected");
    client.write_all(&gets("k", 200)).expect("sent");
    client.shutdown(Shutdown::Write).expect("shut down");
    wait_until("executed", || info(&mut control, "total_commands_processed") > 200);
    let mut received = Vec::new();
    client.read_to_end(&mut received).expect("replies");
    assert_eq!(received.len(), 200 * (100_000 + 11));
}

#[test]
fn replies_over_the_hard_limit_end_the_connection_unsent() {
    let server = start();
    let mut control = server.connect().expect("connected");
    fill(&mut control, "k", 100_000);
    fill(&mut control, "long", 3_000_000);
    config(&mut control, "client-output-buffer-limit", "normal 1mb 0 0");
    let mut many = named(&server, "many");
    // All of it in one read of the server's, which is when Redis sends nothing either.
    many.send_raw(&gets("k", 100)).expect("sent");
    assert_eq!(many.read_to_close().expect("closed"), b"");
    let mut long = named(&server, "long");
    long.send(&["GET", "long"]).expect("sent");
    assert_eq!(long.read_to_close().expect("closed"), b"");
    let mut fine = named(&server, "fine");
    for _ in 0..50 {
        let reply = fine.call(&["GET", "k"]).expect("a reply");
        assert!(matches!(reply, Reply::Bulk(value) if value.len() == 100_000));
    }
    assert_eq!(info(&mut control, "client_output_buffer_limit_disconnections"), 2);
}

#[test]
fn the_soft_limit_takes_its_time() {
    let (clock, hands) = Clock::manual(1_700_000_000_000);
    let server = InProcess::start(Server::builder().directive("shards", SHARDS).clock(clock));
    let mut control = server.connect().expect("connected");
    fill(&mut control, "k", 1 << 20);
    config(&mut control, "client-output-buffer-limit", "normal 0 1mb 10");
    let mut slow = named(&server, "slow");
    let mut late = named(&server, "late");
    for client in [&mut slow, &mut late] {
        client.send_raw(&gets("k", 30)).expect("sent");
    }
    for name in ["slow", "late"] {
        wait_until("waiting", || number(&mut control, name, "omem") > 10 << 20);
    }
    hands.advance(Duration::from_secs(9));
    for _ in 0..30 {
        late.read_reply().expect("not closed, and now all is read");
    }
    wait_until("sent", || number(&mut control, "late", "omem") == 0);
    assert!(number(&mut control, "slow", "omem") > 10 << 20, "not yet");
    hands.advance(Duration::from_secs(2));
    wait_until("closed", || field(&mut control, "slow", "omem").is_none());
    assert!(field(&mut control, "late", "omem").is_some());
    assert_eq!(info(&mut control, "client_output_buffer_limit_disconnections"), 1);
    // A limit that is set while replies wait holds at once.
    late.send_raw(&gets("k", 30)).expect("sent");
    wait_until("waiting", || number(&mut control, "late", "omem") > 10 << 20);
    config(&mut control, "client-output-buffer-limit", "normal 2mb 0 0");
    wait_until("closed", || field(&mut control, "late", "omem").is_none());
}

/// A client that keeps about so many bytes: an argument that does not end.
fn keeping(server: &InProcess, control: &mut Client, name: &str, bytes: usize) -> Client {
    let mut client = named(server, name);
    client.send_raw(format!("*1\r\n${bytes}\r\n").as_bytes()).expect("sent");
    client.send_raw(&vec![b'v'; bytes]).expect("sent");
    wait_until("received", || number(control, name, "qbuf") == bytes as u64);
    client
}

/// The bytes of all clients in whose line is `part`.
fn total(control: &mut Client, part: &str) -> u64 {
    let list = text(control, &["CLIENT", "LIST"]);
    let lines = list.lines().filter(|line| line.contains(part));
    let bytes = lines.map(|line| line.split(" tot-mem=").nth(1)?.split(' ').next()?.parse().ok());
    bytes.map(|bytes: Option<u64>| bytes.expect("a number")).sum()
}

fn is_there(control: &mut Client, name: &str) -> bool {
    field(control, name, "fd").is_some()
}

#[test]
fn the_largest_clients_are_evicted_first() {
    let server = start();
    let mut control = named(&server, "control");
    control.call(&["CLIENT", "NO-EVICT", "on"]).expect("a reply");
    let mut clients = Vec::new();
    for size in [128 << 10, 1 << 20, 3 << 20] {
        for at in 0..3 {
            clients.push(keeping(&server, &mut control, &format!("c{size}.{at}"), size));
        }
    }
    let mut evicted = 0;
    for size in [3 << 20, 1 << 20, 128 << 10] {
        let of_size = format!(" name=c{size}.");
        let (theirs, all) = (total(&mut control, &of_size), total(&mut control, ""));
        config(&mut control, "maxmemory-clients", &(all - theirs + 1).to_string());
        evicted += 3;
        for other in [3 << 20, 1 << 20, 128 << 10] {
            for at in 0..3 {
                let name = format!("c{other}.{at}");
                assert_eq!(is_there(&mut control, &name), other < size, "{name} at {size}");
            }
        }
        assert_eq!(info(&mut control, "evicted_clients"), evicted);
    }
    for client in &mut clients {
        assert!(client.read_reply().is_err(), "closed");
    }
    wait_until("freed", || info(&mut control, "mem_clients_normal") < 64 << 10);
}

#[test]
fn every_kind_of_memory_of_a_client_is_limited() {
    let server = start();
    let mut control = named(&server, "control");
    control.call(&["CLIENT", "NO-EVICT", "on"]).expect("a reply");
    fill(&mut control, "k", 200_000);
    config(&mut control, "maxmemory", "1gb");
    // Of 100 MB, and then as a number.
    for limit in ["1%", "10mb"] {
        config(&mut control, "maxmemory-clients", limit);
        let value = "v".repeat(12 << 20);
        let mut client = named(&server, "argument");
        let small = client.call(&["MSET", "a", "v", "b", &value[..1 << 20]]);
        assert_eq!(small.expect("a reply"), Reply::Simple("OK".into()));
        // The server closes before all is sent.
        let _ = client.send(&["SET", "a", &value]);
        wait_until("argument", || !is_there(&mut control, "argument"));
        let mut client = named(&server, "queued");
        client.call(&["MULTI"]).expect("a reply");
        for _ in 0..2 {
            let _ = client.send(&["SET", "a", &value[..6 << 20]]);
        }
        wait_until("queued", || !is_there(&mut control, "queued"));
        let mut client = named(&server, "output");
        let _ = client.send_raw(&gets("k", 100));
        wait_until("output", || !is_there(&mut control, "output"));
    }
    config(&mut control, "maxmemory-clients", "200kb");
    let mut client = named(&server, "watching");
    for from in 0..100 {
        let keys: Vec<String> = (0..100).map(|key| format!("{from}:{key}")).collect();
        let mut watch = vec!["WATCH"];
        watch.extend(keys.iter().map(String::as_str));
        if client.call(&watch).is_err() {
            break;
        }
    }
    wait_until("watching", || !is_there(&mut control, "watching"));
    assert_eq!(info(&mut control, "evicted_clients"), 7);
}

#[test]
fn a_client_that_must_not_be_evicted_stays() {
    let server = start();
    let mut control = named(&server, "control");
    control.call(&["CLIENT", "NO-EVICT", "on"]).expect("a reply");
    config(&mut control, "maxmemory-clients", "10mb");
    let size = (10 << 20) + 1;
    let mut client = named(&server, "stays");
    client.call(&["CLIENT", "NO-EVICT", "on"]).expect("a reply");
    client.send_raw(format!("*1\r\n${size}\r\n").as_bytes()).expect("sent");
    client.send_raw(&vec![b'v'; size]).expect("sent");
    wait_until("received", || number(&mut control, "stays", "qbuf") == size as u64);
    assert!(number(&mut control, "stays", "tot-mem") > 10 << 20);
    // Others have to go for it, as in Redis.
    let mut other = TcpStream::connect(server.address()).expect("connected");
    other.write_all(b"*2\r\n$4\r\nECHO\r\n$1000\r\nabc").expect("sent");
    other.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let read = other.read(&mut [0; 16]);
    let is_closed = match &read {
        Ok(count) => *count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    };
    assert!(is_closed, "{read:?}");
}

#[test]
fn long_commands_for_another_shard_arrive_whole() {
    let server = InProcess::start(Server::builder().directive("shards", "2"));
    let mut client = server.connect().expect("connected");
    let long = |number: u8| vec![b'a' + number; 300_000];
    for number in 0..8 {
        let key = format!("key:{number}");
        // Alone, behind another in one write, and before another.
        for (before, after) in [(false, false), (true, false), (false, true)] {
            let mut commands: Vec<Vec<Vec<u8>>> = Vec::new();
            commands.extend(before.then(|| vec![b"SET".to_vec(), b"other".to_vec(), long(9)]));
            commands.push(vec![b"SET".to_vec(), key.clone().into_bytes(), long(number)]);
            commands.extend(after.then(|| vec![b"PING".to_vec()]));
            let replies = client.pipeline(&commands).expect("all replies");
            assert_eq!(replies.len(), commands.len());
            assert_eq!(replies[usize::from(before)], Reply::Simple(b"OK".to_vec()));
            let value = client.call(&["GETDEL", &key]).expect("a value");
            assert_eq!(value, Reply::Bulk(long(number)), "{key} {before} {after}");
        }
    }
}
