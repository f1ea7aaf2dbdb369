//! What a server process does with its directives, limits and signals, from its start to its end.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use ballast_server::Server;
use ballast_server::config::Config;
use ballast_tests::support::{Client, InProcess, Kind, Process, Reply, Target};

const BALLAST: Kind = Kind::Ballast { shards: 2 };

fn call(target: &impl Target, words: &[&str]) -> Reply {
    target.connect().unwrap().call(words).unwrap()
}

fn is_error(reply: &Reply, end: &str) -> bool {
    matches!(reply, Reply::Error(text) if text.ends_with(end.as_bytes()))
}

#[test]
fn a_directive_that_promises_safety_stops_the_start() {
    for (arguments, why) in [
        (&["--rename-command", "FLUSHALL", "x"][..], "commands keep their names; "),
        (&["--user", "alice", "on", ">x"], "there are no users beside `default`"),
        (&["--tls-port", "7000"], "TLS is not supported yet; "),
        (&["--min-replicas-to-write", "1"], "replicas are not supported yet; "),
        (&["--cluster-enabled", "yes"], "there is no cluster yet; "),
    ] {
        let error = Process::start(&BALLAST, arguments).unwrap_err().to_string();
        assert!(error.contains("FATAL CONFIG FILE ERROR"), "{arguments:?}: {error}");
        assert!(error.contains(why), "{arguments:?}: {error}");
    }
}

#[test]
fn a_directory_that_is_not_there_stops_the_start() {
    for (dir, why) in
        [("/nonexistent", "No such file or directory"), ("/etc/passwd", "Not a directory")]
    {
        let error = Process::start(&BALLAST, &["--dir", dir]).unwrap_err().to_string();
        assert!(error.contains(&format!(">>> 'dir \"{dir}\"'\n{why}\n")), "{error}");
    }
    let error = Process::start(&BALLAST, &["--bind", ""]).unwrap_err().to_string();
    assert!(error.contains("Configured to not listen anywhere, exiting."), "{error}");
    let error = Process::start(&BALLAST, &["--logfile", "/nonexistent/log"]).unwrap_err();
    assert!(error.to_string().contains("Can't open the log file: No such file"), "{error}");
}

#[test]
fn relative_paths_lie_in_the_directory_and_the_pid_file_goes_with_the_process() {
    let directory = std::env::temp_dir().join(format!("ballast-starting-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let dir = directory.to_str().unwrap();
    let arguments = ["--dir", dir, "--pidfile", "ballast.pid", "--logfile", "ballast.log"];
    let mut process = Process::start(&BALLAST, &arguments).unwrap();
    let text = fs::read_to_string(directory.join("ballast.pid")).unwrap();
    assert_eq!(text, format!("{}\n", process.id()));
    assert!(fs::read_to_string(directory.join("ballast.log")).unwrap().contains("Ready to accept"));
    process.terminate().unwrap();
    assert!(!fs::exists(directory.join("ballast.pid")).unwrap());
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn what_has_no_effect_is_in_the_log() {
    let arguments = ["--io-threads", "4", "--databases", "17"];
    let process = Process::start(&BALLAST, &arguments).unwrap();
    let log = process.log();
    assert!(log.contains("'io-threads 4' is accepted, but has no effect: "), "{log}");
    assert!(log.contains("'databases 17' is accepted, but "), "{log}");
    assert!(!log.contains("'save"), "{log}");
}

#[test]
fn signals_that_ask_for_nothing_are_ignored() {
    let mut process = Process::start(&BALLAST, &[]).unwrap();
    for signal in ["HUP", "USR1", "USR2", "PIPE", "ALRM"] {
        process.signal(signal).unwrap();
        assert_eq!(call(&process, &["PING"]), Reply::Simple(b"PONG".to_vec()), "{signal}");
    }
    let status = process.terminate().unwrap();
    assert!(status.success(), "{status}");
}

/// Starts a server in a shell with so many open files allowed.
fn start_limited(limit: &str, arguments: &[&str]) -> io::Result<Process> {
    let script = format!("ulimit {limit} && exec \"$@\"");
    Process::start_under(&["sh", "-c", &script, "sh"], &BALLAST, arguments)
}

#[test]
fn the_soft_limit_of_open_files_is_raised_to_what_clients_need() {
    let process = start_limited("-Sn 64", &["--maxclients", "200"]).unwrap();
    assert!(process.log().contains("Increased maximum number of open files to 244 (it was"));
    let clients: Vec<Client> = (0..150).map(|_| process.connect().unwrap()).collect();
    for mut client in clients {
        assert_eq!(client.call(&["PING"]).unwrap(), Reply::Simple(b"PONG".to_vec()));
    }
}

#[test]
fn beyond_the_hard_limit_maxclients_is_lowered() {
    if limits_can_be_exceeded() {
        return;
    }
    let process = start_limited("-n 100", &["--maxclients", "200"]).unwrap();
    let log = process.log();
    assert!(log.contains("You requested maxclients of 200 requiring at least 244 max"), "{log}");
    assert!(log.contains("maxclients has been reduced to 56 to compensate"), "{log}");
    let reply = call(&process, &["CONFIG", "SET", "maxclients", "1000"]);
    let end = "The operating system is not able to handle the specified number of clients, try \
               with 56";
    assert!(is_error(&reply, end), "{reply:?}");
    let shown = call(&process, &["CONFIG", "GET", "maxclients"]);
    let names = ["maxclients", "56"].map(|word| Reply::Bulk(word.into()));
    assert_eq!(shown, Reply::Array(names.to_vec()));

    let error = start_limited("-n 40", &[]).unwrap_err().to_string();
    assert!(error.contains("Your current 'ulimit -n' of 40 is not enough"), "{error}");
}

/// Whether this process may raise its own hard limits, so that none can be too low.
fn limits_can_be_exceeded() -> bool {
    let script = "ulimit -n 100 && ulimit -n 101";
    let status = Command::new("sh").args(["-c", script]).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Whether a new connection to the port is served.
fn is_served(port: u16) -> bool {
    Client::connect(([127, 0, 0, 1], port).into())
        .and_then(|mut client| client.call(&["PING"]))
        .is_ok_and(|reply| reply == Reply::Simple(b"PONG".to_vec()))
}

#[test]
fn config_set_port_and_bind_move_where_the_server_listens() {
    let server = InProcess::start(Server::builder().directive("shards", "2"));
    let mut client = server.connect().unwrap();
    let before = server.address().port();
    let ok = Reply::Simple(b"OK".to_vec());
    // Another test may get the port first.
    let after = (0..20)
        .map(|_| free_port())
        .find(|port| client.call(&["CONFIG", "SET", "port", &port.to_string()]).unwrap() == ok);
    let after = after.expect("one of them is free");
    assert!(is_served(after) && !is_served(before));
    // A wider address and a narrower one of the same port, which cannot both be listened on.
    for bind in ["*", "127.0.0.1", "* -::*", "127.0.0.1 -300.1.1.1"] {
        assert_eq!(client.call(&["CONFIG", "SET", "bind", bind]).unwrap(), ok, "{bind}");
        assert!(is_served(after), "{bind}");
    }
    let Reply::Bulk(info) = client.call(&["INFO", "server"]).unwrap() else { panic!() };
    let info = String::from_utf8(info).unwrap();
    assert!(info.contains(&format!("tcp_port:{after}\r\n")), "{info}");
}

#[test]
fn a_port_that_cannot_be_had_leaves_the_old_one() {
    let server = InProcess::start(Server::builder().directive("shards", "2"));
    let mut client = server.connect().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_port = taken.local_addr().unwrap().port().to_string();
    let reply = client.call(&["CONFIG", "SET", "port", &taken_port]).unwrap();
    assert!(is_error(&reply, "'port') - Unable to listen on this port. Check server logs."));
    let reply = client.call(&["CONFIG", "SET", "bind", "127.0.0.1 300.1.1.1"]).unwrap();
    assert!(is_error(&reply, "'bind') - Failed to bind to specified addresses."), "{reply:?}");
    assert!(is_served(server.address().port()));
    let port = server.address().port().to_string().into_bytes();
    let shown = client.call(&["CONFIG", "GET", "port"]).unwrap();
    assert_eq!(shown, Reply::Array(vec![Reply::Bulk(b"port".to_vec()), Reply::Bulk(port)]));
}

#[test]
fn an_embedding_program_is_told_as_well() {
    let refused =
        std::panic::catch_unwind(|| Server::builder().directive("cluster-enabled", "yes"));
    assert!(refused.is_err());
    assert!(Config::from_args(&["--cluster-enabled", "yes"]).is_err());
    let log = tempfile_path();
    let server = Server::builder()
        .directive("logfile", &log)
        .directive("io-threads", "3")
        .any_port()
        .start_now()
        .unwrap();
    drop(server);
    let text = fs::read_to_string(&log).unwrap();
    fs::remove_file(&log).unwrap();
    assert!(text.contains("'io-threads 3' is accepted, but has no effect: "), "{text}");
}

fn tempfile_path() -> String {
    let name = format!("ballast-starting-{}.log", std::process::id());
    std::env::temp_dir().join(name).to_string_lossy().into_owned()
}
