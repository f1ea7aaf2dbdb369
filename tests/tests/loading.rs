//! What clients see of a server that is loading its data set. A gate between the file and its
//! reader holds the loading wherever a test wants it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ballast_server::{Builder, Clock, LoadReason, Log, Opened, Server, StartError};
use ballast_tests::support::{Client, InProcess, Reply, Target, wait_until};

const KEYS: usize = 5000;
/// More than is read of a file at once.
const VALUE_BYTES: usize = 100;

/// A directory with a snapshot of [`KEYS`] keys, which goes with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ballast-loading-{}-{number}", std::process::id());
        let directory = Directory(std::env::temp_dir().join(name));
        fs::create_dir_all(&directory.0).unwrap();
        let server = InProcess::start(directory.builder().directive("rdbcompression", "no"));
        let mut client = server.connect().unwrap();
        let sets = (0..KEYS).map(|at| {
            vec!["SET".to_owned(), format!("k{at}"), format!("{at:0width$}", width = VALUE_BYTES)]
        });
        client.pipeline(&sets.collect::<Vec<_>>()).unwrap();
        assert_eq!(call(&mut client, "SAVE"), ok());
        directory
    }

    fn builder(&self) -> Builder {
        let builder = Server::builder().directive("shards", "3").directive("save", "");
        builder.directive("dir", self.0.to_str().unwrap()).log(Log::in_memory())
    }

    fn file(&self) -> PathBuf {
        self.0.join("dump.rdb")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Nothing to do about one that stays.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Lets through as many bytes as it is told to, and all of them when nobody can tell any more.
struct Gate {
    file: File,
    told: Receiver<usize>,
    open_bytes: usize,
}

impl Read for Gate {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.open_bytes == 0 {
            self.open_bytes = self.told.recv().unwrap_or(usize::MAX);
        }
        let most = self.open_bytes.min(buffer.len());
        let count = self.file.read(&mut buffer[..most])?;
        self.open_bytes -= count;
        Ok(count)
    }
}

/// A server that is loading through a gate.
struct Held {
    address: std::net::SocketAddr,
    gate: Sender<usize>,
    loading: JoinHandle<Result<Server, StartError>>,
}

impl Held {
    fn start(builder: Builder) -> Held {
        let (gate, told) = channel();
        let through = |file| Gate { file, told, open_bytes: 0 };
        let opened: Opened = builder.any_port().read_snapshot_through(through).open().unwrap();
        let address = opened.addresses()[0];
        Held { address, gate, loading: std::thread::spawn(|| opened.load()) }
    }

    fn connect(&self) -> Client {
        Client::connect(self.address).unwrap()
    }

    /// Opens the gate and waits for what comes of it.
    fn finish(self) -> Result<Server, StartError> {
        drop(self.gate);
        self.loading.join().unwrap()
    }
}

fn call(client: &mut Client, line: &str) -> Reply {
    client.call(&line.split(' ').collect::<Vec<_>>()).unwrap()
}

fn ok() -> Reply {
    Reply::Simple(b"OK".to_vec())
}

fn loading() -> Reply {
    Reply::Error(b"LOADING Redis is loading the dataset in memory".to_vec())
}

/// A field of `INFO`, if it is there.
fn field(client: &mut Client, name: &str) -> Option<String> {
    let Reply::Bulk(text) = call(client, "INFO") else { panic!("no text") };
    let text = String::from_utf8(text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(str::to_owned)
}

#[test]
fn clients_are_answered_and_keys_are_not_reached_until_all_are_there() {
    let directory = Directory::new();
    let held = Held::start(directory.builder());
    let mut client = held.connect();
    for line in ["PING", "GET k1", "SET k1 x", "MSET a 1 b 2 c 3", "BLPOP l 1", "DBSIZE", "SAVE"] {
        assert_eq!(call(&mut client, line), loading(), "{line}");
    }
    let pipeline: Vec<Vec<String>> =
        (0..40).map(|at| vec!["GET".to_owned(), format!("k{at}")]).collect();
    assert!(client.pipeline(&pipeline).unwrap().iter().all(|reply| *reply == loading()));
    assert_eq!(call(&mut client, "DEBUG RELOAD"), loading());
    // What needs no keys.
    assert_eq!(call(&mut client, "SELECT 0"), ok());
    assert_eq!(call(&mut client, "CONFIG SET maxmemory-clients 0"), ok());
    assert_eq!(call(&mut client, "PUBLISH c x"), Reply::Integer(0));
    assert_eq!(call(&mut client, "WATCH k1 k2 k3"), ok());
    assert_eq!(call(&mut client, "MULTI"), ok());
    assert_eq!(call(&mut client, "ECHO x"), Reply::Simple(b"QUEUED".to_vec()));
    assert_eq!(call(&mut client, "EXEC"), Reply::Array(vec![Reply::Bulk(b"x".to_vec())]));
    assert_eq!(call(&mut client, "MULTI"), ok());
    assert_eq!(call(&mut client, "GET k1"), loading());
    let Reply::Error(text) = call(&mut client, "EXEC") else { panic!("a command was refused") };
    assert!(text.starts_with(b"EXECABORT"));
    assert_eq!(field(&mut client, "loading").unwrap(), "1");
    let bytes = fs::metadata(directory.file()).unwrap().len().to_string();
    assert_eq!(field(&mut client, "loading_total_bytes").unwrap(), bytes);
    assert_eq!(field(&mut client, "loading_loaded_bytes").unwrap(), "0");
    assert_eq!(field(&mut client, "loading_loaded_perc").unwrap(), "0.00");
    assert_eq!(field(&mut client, "async_loading").unwrap(), "0");
    let _server = held.finish().unwrap();
    assert_eq!(call(&mut client, "PING"), Reply::Simple(b"PONG".to_vec()));
    assert_eq!(call(&mut client, "DBSIZE"), Reply::Integer(i64::try_from(KEYS).unwrap()));
    assert_eq!(field(&mut client, "loading").unwrap(), "0");
    assert_eq!(field(&mut client, "loading_total_bytes"), None);
}

#[test]
fn its_progress_is_in_the_log_and_in_info() {
    let directory = Directory::new();
    let (clock, hands) = Clock::manual(1_700_000_000_000);
    let log = Log::in_memory();
    let held = Held::start(directory.builder().clock(clock).log(log.clone()));
    let mut client = held.connect();
    let bytes = usize::try_from(fs::metadata(directory.file()).unwrap().len()).unwrap();
    let loaded = |client: &mut Client| -> usize {
        field(client, "loading_loaded_bytes").unwrap().parse().unwrap()
    };
    held.gate.send(bytes / 2).unwrap();
    wait_until("something is loaded", || loaded(&mut client) > 0);
    hands.advance(Duration::from_secs(2));
    assert_eq!(field(&mut client, "loading_start_time").unwrap(), "1700000000");
    let before = loaded(&mut client);
    held.gate.send(bytes / 4).unwrap();
    wait_until("more is loaded", || loaded(&mut client) > before);
    let _server = held.finish().unwrap();
    let lines = log.lines();
    let line = lines.iter().find(|line| line.contains("Loading RDB: ")).expect("a line");
    assert!(line.contains(" % done, ") && line.contains(&format!(" of {bytes} bytes, ")), "{line}");
    assert!(line.contains(" keys, ") && line.contains(" seconds left"), "{line}");
}

#[test]
fn slots_that_transactions_borrow_meanwhile_get_their_keys() {
    let directory = Directory::new();
    let held = Held::start(directory.builder());
    let bytes = usize::try_from(fs::metadata(directory.file()).unwrap().len()).unwrap();
    let mut clients: Vec<Client> = (0..3).map(|_| held.connect()).collect();
    for round in 0..60 {
        held.gate.send(bytes / 60).unwrap();
        for client in &mut clients {
            let keys: Vec<String> = (0..40).map(|at| format!("k{}", at * 60 + round)).collect();
            client.send(&[&["WATCH".to_owned()][..], &keys].concat()).unwrap();
            client.send(&["MULTI"]).unwrap();
            client.send(&["CLUSTER", "COUNTKEYSINSLOT", "1"]).unwrap();
            client.send(&["EXEC"]).unwrap();
        }
        for client in &mut clients {
            assert_eq!(client.read_reply().unwrap(), ok());
            (0..3).for_each(|_| drop(client.read_reply().unwrap()));
        }
    }
    let _server = held.finish().unwrap();
    let all = Reply::Integer(i64::try_from(KEYS).unwrap());
    assert_eq!(call(&mut clients[0], "DBSIZE"), all);
}

#[test]
fn nothing_is_evicted_before_all_is_there() {
    let directory = Directory::new();
    let builder = directory.builder().directive("maxmemory", "1mb");
    let held = Held::start(builder.directive("maxmemory-policy", "allkeys-lru"));
    let mut client = held.connect();
    let bytes = usize::try_from(fs::metadata(directory.file()).unwrap().len()).unwrap();
    held.gate.send(bytes / 2).unwrap();
    wait_until("something is loaded", || field(&mut client, "db0").is_some());
    // What would make room otherwise, or be refused.
    assert_eq!(call(&mut client, "MULTI"), ok());
    assert_eq!(call(&mut client, "ECHO x"), Reply::Simple(b"QUEUED".to_vec()));
    assert_eq!(call(&mut client, "EXEC"), Reply::Array(vec![Reply::Bulk(b"x".to_vec())]));
    assert_eq!(field(&mut client, "evicted_keys").unwrap(), "0");
    let _server = held.finish().unwrap();
    wait_until("it is within its limit", || field(&mut client, "evicted_keys").unwrap() != "0");
}

#[test]
fn a_shutdown_ends_it_and_leaves_the_file() {
    let directory = Directory::new();
    let before = fs::read(directory.file()).unwrap();
    let held = Held::start(directory.builder());
    let mut client = held.connect();
    held.gate.send(before.len() / 2).unwrap();
    client.send(&["SHUTDOWN", "SAVE"]).unwrap();
    assert_eq!(client.read_to_close().unwrap(), b"");
    assert!(matches!(held.finish(), Err(StartError::Ended)));
    assert_eq!(fs::read(directory.file()).unwrap(), before);
}

#[test]
fn a_damaged_file_ends_the_server_for_those_who_wait_as_well() {
    let directory = Directory::new();
    let mut bytes = fs::read(directory.file()).unwrap();
    bytes.truncate(bytes.len() - 20);
    fs::write(directory.file(), &bytes).unwrap();
    let held = Held::start(directory.builder());
    let mut client = held.connect();
    assert_eq!(call(&mut client, "PING"), loading());
    let Err(StartError::Load(error)) = held.finish() else { panic!("it is damaged") };
    assert!(matches!(error.reason, LoadReason::File(_)), "{error}");
    assert_eq!(client.read_to_close().unwrap(), b"");
    assert_eq!(fs::read(directory.file()).unwrap(), bytes);
}

#[test]
fn a_port_that_is_taken_is_said_before_the_file_is_read() {
    let directory = Directory::new();
    fs::write(directory.file(), b"no snapshot").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let builder = directory.builder().directive("bind", "127.0.0.1").directive("port", &port);
    let error = builder.start_now().unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
}
