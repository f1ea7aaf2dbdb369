//! What clients cost: each is told its memory by CLIENT LIST, with Redis's meaning.

use ballast_server::Server;
use ballast_tests::support::{Client, InProcess, Reply, Target, encode_command};

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

/// Asks until the answer is yes; the server gets on with its work meanwhile.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if holds() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("never: {what}");
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
