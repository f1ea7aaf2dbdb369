//! Servers as child processes on a free loopback port, killed when dropped.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use super::{Client, Directory, Reply, Target};

const START_WAIT_MAX: Duration = Duration::from_secs(20);
const END_WAIT_MAX: Duration = Duration::from_secs(60);
const START_POLL: Duration = Duration::from_millis(2);
const START_ATTEMPTS: usize = 5;

/// Which program to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The installed `redis-server`.
    Redis,
    /// This workspace's `ballast`, with so many shard threads.
    Ballast {
        /// The `--shards` directive.
        shards: usize,
    },
    /// The same, built to keep no accounts.
    Unaccounted {
        /// The `--shards` directive.
        shards: usize,
    },
    /// Another build of it, `$BALLAST_REFERENCE`, or the same.
    Reference {
        /// The `--shards` directive.
        shards: usize,
    },
}

/// A running server process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    address: SocketAddr,
    directory: Directory,
}

impl Process {
    /// Starts a server with its defaults, no persistence, and the given further arguments, and
    /// waits until it answers.
    ///
    /// # Errors
    /// When the program is missing, exits, or does not answer in time; the text holds its log.
    pub fn start(kind: &Kind, args: &[&str]) -> io::Result<Process> {
        Process::start_under(&[], kind, args)
    }

    /// As [`Process::start`], with the program run by another that becomes it (`taskset`,
    /// `valgrind`).
    ///
    /// # Errors
    /// As for [`Process::start`].
    pub fn start_under(wrapper: &[&str], kind: &Kind, args: &[&str]) -> io::Result<Process> {
        let mut last = io::Error::other("never tried");
        // The port is free when picked, and may be gone when the child binds it.
        for _ in 0..START_ATTEMPTS {
            match Process::start_once(wrapper, kind, args) {
                Ok(process) => return Ok(process),
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn start_once(wrapper: &[&str], kind: &Kind, args: &[&str]) -> io::Result<Process> {
        let port = free_port()?;
        let directory = Directory::new();
        let mut words: Vec<OsString> = wrapper.iter().map(OsString::from).collect();
        match kind {
            Kind::Redis => {
                let own = ["redis-server", "--save", "", "--bind", "127.0.0.1"];
                words.extend(own.map(OsString::from));
                words.extend(["--loglevel", "warning"].map(OsString::from));
            }
            Kind::Ballast { shards }
            | Kind::Unaccounted { shards }
            | Kind::Reference { shards } => {
                words.push(match kind {
                    Kind::Unaccounted { .. } => unaccounted_binary().into(),
                    Kind::Reference { .. } => reference_binary(),
                    _ => ballast_binary().into(),
                });
                words.extend(["--save", "", "--shards"].map(OsString::from));
                words.push(shards.to_string().into());
            }
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        let log = File::create(directory.file("log"))?;
        command.args(["--port", &port.to_string()]).args(args);
        command.current_dir(directory.path()).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", command.get_program().display()))
        })?;
        let mut process =
            Process { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), directory };
        process.wait_ready()?;
        Ok(process)
    }

    fn wait_ready(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + START_WAIT_MAX;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("exited with {status}\n{}", self.log())));
            }
            if self.connect().and_then(|mut client| client.call(&["PING"])).is_ok_and(is_ready) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("no answer to PING\n{}", self.log())));
            }
            thread::park_timeout(START_POLL);
        }
    }

    /// Asks it to end, as an operator would, and waits until it has.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn terminate(&mut self) -> io::Result<ExitStatus> {
        self.signal("TERM")?;
        self.wait()
    }

    /// Sends a signal by its name.
    ///
    /// # Errors
    /// When there is nothing to send it with.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let id = self.id().to_string();
        Command::new("kill").args(["-s", name, &id]).stderr(Stdio::null()).status()?;
        Ok(())
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + END_WAIT_MAX;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(io::Error::other("does not end when asked to"));
            }
            thread::park_timeout(START_POLL);
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its working directory, removed when it is dropped.
    pub fn directory(&self) -> &Path {
        Path::new(self.directory.path())
    }

    /// What it has written to its standard output and error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.file("log")).unwrap_or_default()
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Target for Process {
    fn connect(&self) -> io::Result<Client> {
        Client::connect(self.address)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the process has gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The version of the installed `redis-server`, if there is one.
pub fn redis_version() -> Option<String> {
    let output = Command::new("redis-server").arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().find_map(|word| word.strip_prefix("v=")).map(str::to_owned)
}

/// The `ballast` program: `$BALLAST_BIN`, or the one of this workspace, built now so that a test
/// never talks to yesterday's.
///
/// # Panics
/// When it cannot be built.
pub fn ballast_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("BALLAST_BIN") {
        Some(path) => fs::canonicalize(path).expect("BALLAST_BIN names a file"),
        None => build_ballast(&[]),
    })
}

/// The `ballast` program that another one is measured beside.
fn reference_binary() -> OsString {
    let path = std::env::var_os("BALLAST_REFERENCE");
    path.unwrap_or_else(|| ballast_binary().into())
}

/// The `ballast` program without accounts, in a target directory of its own.
fn unaccounted_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
        let target = target.join("unaccounted").into_os_string();
        let features = ["--features", "unaccounted", "--target-dir"].map(OsString::from);
        build_ballast(&[&features[..], &[target]].concat())
    })
}

fn build_ballast(more: &[OsString]) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--package", "ballast-server", "--bin", "ballast"]).args(more);
    command.args(["--message-format", "json"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.stderr(Stdio::inherit()).output().expect("cargo runs");
    assert!(output.status.success(), "ballast does not build");
    // `"executable":"<path>"` is a string in exactly one of the messages: the binary's.
    let text = String::from_utf8_lossy(&output.stdout);
    let path = text.split("\"executable\":\"").nth(1).and_then(|rest| rest.split('"').next());
    PathBuf::from(path.expect("cargo names the binary"))
}

/// A server that wants a password first is ready too; one that loads is not.
fn is_ready(reply: Reply) -> bool {
    match reply {
        Reply::Simple(text) => text == b"PONG",
        Reply::Error(text) => text.starts_with(b"NOAUTH"),
        _ => false,
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
