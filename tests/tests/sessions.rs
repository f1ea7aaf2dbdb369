//! What belongs to a connection: replies that it does not want, pauses, watched keys that expire,
//! and the statistics of what it runs.

use ballast_server::{Clock, Server};
use ballast_tests::support::{Client, InProcess, Reply, Target};

fn start() -> InProcess {
    InProcess::start(Server::builder().directive("shards", "2"))
}

fn call(client: &mut Client, line: &str) -> Reply {
    client.call(&line.split(' ').collect::<Vec<_>>()).unwrap()
}

fn simple(text: &str) -> Reply {
    Reply::Simple(text.into())
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.into())
}

fn info(client: &mut Client, section: &str) -> String {
    let Reply::Bulk(text) = call(client, &format!("INFO {section}")) else { panic!() };
    String::from_utf8(text).unwrap()
}

/// Looks until so many clients are blocked or paused.
fn await_blocked(client: &mut Client, count: usize) {
    let wanted = format!("blocked_clients:{count}\r\n");
    while !info(client, "clients").contains(&wanted) {
        std::thread::yield_now();
    }
}

#[test]
fn a_suppressed_reply_of_a_blocked_command_leaves_no_byte() {
    let server = start();
    let (mut blocked, mut other) = (server.connect().unwrap(), server.connect().unwrap());
    for key in ["q", "r", "s", "t"] {
        let packet = format!("PING x\r\nCLIENT REPLY SKIP\r\nBLPOP {key} 0\r\nPING y\r\n");
        blocked.send_raw(packet.as_bytes()).unwrap();
        await_blocked(&mut other, 1);
        assert_eq!(call(&mut other, &format!("RPUSH {key} v")), Reply::Integer(1));
        assert_eq!(blocked.read_reply().unwrap(), bulk("x"));
        assert_eq!(blocked.read_reply().unwrap(), bulk("y"));
    }
}

#[test]
fn suppression_holds_whatever_way_a_reply_takes() {
    let server = start();
    let mut client = server.connect().unwrap();
    for line in [
        "PING z",
        "GET a",
        "GET b",
        "MGET a b c d",
        "MSET a 1 b 2 c 3",
        "INFO server",
        "DBSIZE",
        "BLPOP none 0.01",
        "NOSUCH",
        "SET a",
        "EXEC",
        "LPUSH a x",
        "SLOWLOG GET",
    ] {
        let packet = format!("CLIENT REPLY SKIP\r\n{line}\r\nPING 1\r\n");
        client.send_raw(packet.as_bytes()).unwrap();
        assert_eq!(client.read_reply().unwrap(), bulk("1"), "{line}");
        let packet = format!("CLIENT REPLY OFF\r\n{line}\r\n{line}\r\nCLIENT REPLY ON\r\n");
        client.send_raw(packet.as_bytes()).unwrap();
        assert_eq!(client.read_reply().unwrap(), simple("OK"), "{line}");
    }
    let packet = "MULTI\r\nSET a 1\r\nINCR b\r\nCLIENT REPLY SKIP\r\n";
    client.send_raw(packet.as_bytes()).unwrap();
    for text in ["OK", "QUEUED", "QUEUED", "QUEUED"] {
        assert_eq!(client.read_reply().unwrap(), simple(text));
    }
}

#[test]
fn a_watched_key_that_expires_before_exec_ends_the_transaction() {
    let (clock, hands) = Clock::manual(1_000_000);
    let server = InProcess::start(Server::builder().directive("shards", "2").clock(clock));
    let mut client = server.connect().unwrap();
    let mut run = |setup: &[&str], advance_ms: u64, body: &[&str]| {
        setup.iter().for_each(|line| drop(call(&mut client, line)));
        hands.advance(std::time::Duration::from_millis(advance_ms));
        body.iter().map(|line| call(&mut client, line)).last().unwrap()
    };
    let body = ["MULTI", "SET o 1", "EXEC"];
    assert_eq!(run(&["SET k v PX 20", "WATCH k"], 25, &body), Reply::NilArray);
    let asking = ["MULTI", "DBSIZE", "INFO server", "EXEC"];
    assert_eq!(run(&["SET k v PX 20", "WATCH k"], 25, &asking), Reply::NilArray);
    let done = Reply::Array(vec![simple("OK")]);
    assert_eq!(run(&["SET k v PX 20", "WATCH k"], 5, &body), done);
    // Expired already when it is watched: nothing happens to it any more.
    assert_eq!(run(&["SET k v PX 20"], 25, &["WATCH k", "MULTI", "SET o 1", "EXEC"]), done);
}

#[test]
fn a_pause_of_writes_holds_up_transactions_that_write() {
    let server = start();
    let (mut pausing, mut other) = (server.connect().unwrap(), server.connect().unwrap());
    for line in ["MULTI", "SET pk 1"] {
        call(&mut other, line);
    }
    assert_eq!(call(&mut pausing, "CLIENT PAUSE 100000 WRITE"), simple("OK"));
    other.send(&["EXEC"]).unwrap();
    await_blocked(&mut pausing, 1);
    assert_eq!(call(&mut pausing, "GET pk"), Reply::NilBulk);
    assert_eq!(call(&mut pausing, "CLIENT UNPAUSE"), simple("OK"));
    assert_eq!(other.read_reply().unwrap(), Reply::Array(vec![simple("OK")]));

    // One that only reads goes on; a write is not even queued, what came before it is answered.
    for line in ["MULTI", "GET pk"] {
        call(&mut other, line);
    }
    assert_eq!(call(&mut pausing, "CLIENT PAUSE 100000 WRITE"), simple("OK"));
    assert_eq!(call(&mut other, "EXEC"), Reply::Array(vec![bulk("1")]));
    other.send_raw(b"PING\r\nMULTI\r\nSET pk 2\r\nEXEC\r\n").unwrap();
    assert_eq!(other.read_reply().unwrap(), simple("PONG"));
    assert_eq!(other.read_reply().unwrap(), simple("OK"));
    await_blocked(&mut pausing, 1);
    assert_eq!(call(&mut pausing, "CLIENT UNPAUSE"), simple("OK"));
    assert_eq!(other.read_reply().unwrap(), simple("QUEUED"));
    assert_eq!(other.read_reply().unwrap(), Reply::Array(vec![simple("OK")]));
}

#[test]
fn every_command_is_counted_whatever_way_it_runs() {
    let server = start();
    let mut client = server.connect().unwrap();
    for line in ["PING", "ECHO x", "GET a", "DBSIZE", "AUTH wrong", "EXEC", "MULTI", "PING", "EXEC"]
    {
        call(&mut client, line);
    }
    let stats = info(&mut client, "commandstats");
    for (name, calls, failed) in [
        ("ping", 2, 0),
        ("echo", 1, 0),
        ("get", 1, 0),
        ("dbsize", 1, 0),
        ("auth", 1, 1),
        ("exec", 2, 1),
        ("multi", 1, 0),
    ] {
        let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:")));
        let line = line.unwrap_or_else(|| panic!("{name} is missing in {stats}"));
        assert!(line.contains(&format!(":calls={calls},")), "{line}");
        assert!(line.ends_with(&format!(",failed_calls={failed}")), "{line}");
        let histogram = format!("{:?}", call(&mut client, &format!("LATENCY HISTOGRAM {name}")));
        assert!(histogram.len() > "Array([])".len(), "{name}: {histogram}");
    }
    let stats = info(&mut client, "stats");
    assert!(stats.contains("total_connections_received:1\r\n"), "{stats}");
}

#[test]
fn the_slow_log_holds_commands_on_the_session_and_no_limit_overflows() {
    let server = start();
    let mut client = server.connect().unwrap();
    call(&mut client, "CONFIG SET slowlog-log-slower-than 0");
    for line in ["SLOWLOG RESET", "PING", "ECHO x", "CLIENT ID", "CONFIG GET hz", "GET a"] {
        call(&mut client, line);
    }
    let Reply::Array(entries) = call(&mut client, "SLOWLOG GET") else { panic!() };
    assert_eq!(entries.len(), 6, "{entries:?}");
    call(&mut client, "CONFIG SET slowlog-log-slower-than 18446744073709552");
    for line in ["SLOWLOG RESET", "PING", "GET a"] {
        call(&mut client, line);
    }
    assert_eq!(call(&mut client, "SLOWLOG LEN"), Reply::Integer(0));
}

#[test]
fn the_client_list_says_what_a_client_is_doing() {
    let server = InProcess::start(Server::builder().directive("shards", "2"));
    let (mut looks, mut client) = (server.connect().unwrap(), server.connect().unwrap());
    let mut flags = || {
        let Reply::Bulk(list) = looks.call(&["CLIENT", "LIST"]).unwrap() else { panic!() };
        let list = String::from_utf8(list).unwrap();
        let line = list.lines().find(|line| !line.contains(" cmd=client|list ")).unwrap();
        let flags = line.split(" flags=").nth(1).unwrap();
        flags.split(' ').next().unwrap().to_owned()
    };
    let mut does = |line: &str| {
        client.call(&line.split(' ').collect::<Vec<_>>()).unwrap();
    };
    does("PING");
    assert_eq!(flags(), "N");
    does("WATCH k l");
    assert_eq!(flags(), "N");
    does("SET k v");
    assert_eq!(flags(), "d");
    does("UNWATCH");
    assert_eq!(flags(), "N");
    does("CLIENT NO-EVICT on");
    does("WATCH k");
    does("SET k v");
    does("MULTI");
    assert_eq!(flags(), "xde");
    does("EXEC");
    assert_eq!(flags(), "e");
    does("HELLO 3");
    does("MONITOR");
    does("SUBSCRIBE c");
    assert_eq!(flags(), "OPe");
    client.send(&["RESET"]).unwrap();
    // Behind what it has been shown.
    while client.read_reply().unwrap() != Reply::Simple(b"RESET".to_vec()) {}
    assert_eq!(flags(), "N");
}

#[test]
fn the_client_list_says_what_ran_last() {
    let server = start();
    let (mut client, mut other) = (server.connect().unwrap(), server.connect().unwrap());
    let Reply::Integer(id) = call(&mut other, "CLIENT ID") else { panic!() };
    let mut listed = || {
        let Reply::Bulk(text) = call(&mut client, &format!("CLIENT LIST ID {id}")) else {
            panic!()
        };
        let text = String::from_utf8(text).unwrap();
        text.split(" cmd=").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    };
    assert_eq!(listed(), "client|id");
    for (line, name) in
        [("GET a", "get"), ("PING", "ping"), ("CONFIG GET hz", "config|get"), ("NOSUCH", "NULL")]
    {
        call(&mut other, line);
        assert_eq!(listed(), name);
    }
    other.pipeline(&[vec!["SET", "a", "1"], vec!["SET", "b", "1"], vec!["INCR", "a"]]).unwrap();
    assert_eq!(listed(), "incr");
}

#[test]
fn what_names_no_subcommand_counts_for_no_command() {
    let server = start();
    let mut client = server.connect().unwrap();
    for command in ["CONFIG NOSUCH", "CLIENT NOSUCH x", "OBJECT"] {
        assert!(matches!(call(&mut client, command), Reply::Error(_)), "{command}");
    }
    let statistics = info(&mut client, "commandstats");
    assert!(!statistics.contains("cmdstat_config"), "{statistics}");
    assert!(!statistics.contains("cmdstat_client"), "{statistics}");
    let counted = "cmdstat_object:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1";
    assert!(statistics.contains(counted), "{statistics}");
}
