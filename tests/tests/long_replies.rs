//! A long answer takes little more memory than its bytes, wherever its parts come from.

use ballast_tests::support::{Client, Kind, Process, Reply, Target};

fn info(client: &mut Client, field: &str) -> u64 {
    let Reply::Bulk(text) = client.call(&["INFO", "memory"]).expect("a reply") else {
        panic!("INFO is text")
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.and_then(|number| number.trim().parse().ok()).expect("a number")
}

/// Bytes of the values of an answer.
fn bytes_of(reply: &Reply) -> u64 {
    match reply {
        Reply::Bulk(value) => value.len() as u64,
        Reply::Array(items) => items.iter().map(bytes_of).sum(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_take_little_more_memory_than_their_bytes() {
    let server = Process::start(&Kind::Ballast { shards: 2 }, &[]).expect("the server starts");
    let mut client = server.connect().expect("connected");
    let keys: Vec<String> = (0..10).map(|key| format!("key:{key}")).collect();
    for key in &keys {
        client.call(&["SETRANGE", key, "7999999", "x"]).expect("a reply");
    }
    for from in 0..200 {
        let items: Vec<String> = (0..1000).map(|item| format!("item:{from}:{item}")).collect();
        let mut push = vec!["RPUSH", "list"];
        push.extend(items.iter().map(String::as_str));
        client.call(&push).expect("a reply");
    }
    let mut mget = vec!["MGET"];
    mget.extend(keys.iter().map(String::as_str));
    let requests: [&[&str]; 4] =
        [&mget, &["GET", "key:1"], &["GET", "key:2"], &["LRANGE", "list", "0", "-1"]];
    for request in requests {
        client.call(&["CONFIG", "RESETSTAT"]).expect("a reply");
        let before = info(&mut client, "used_memory");
        let reply = client.call(request).expect("a reply");
        let bytes = bytes_of(&reply);
        let peak = info(&mut client, "used_memory_peak") - before;
        // The elements of the list have headers, and the shards keep spare buffers.
        let headers = if request[0] == "LRANGE" { 200_000 * 8 } else { 0 };
        let most = (bytes + headers) * 11 / 10 + (2 << 20);
        assert!(peak < most, "{}: {peak} bytes for {bytes}", request[0]);
    }
}
