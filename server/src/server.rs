//! A running server, for `main`, for programs that embed one, and for every test.

use std::fs::File;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use thiserror::Error;

use crate::appending;
use crate::clock::Clock;
use crate::config::Config;
use crate::control;
use crate::files::append::{AppendError, Set};
use crate::files::load::{self, LoadError, LoadReason, Snapshot};
use crate::ids::ShardId;
use crate::loading;
use crate::log::{Level, Log};
use crate::node::descriptors::{self, Descriptors};
use crate::node::disk::{Disk, SystemDisk};
use crate::node::listeners::{self, Unavailable};
use crate::node::memory::Starting;
use crate::node::pid_file::PidFile;
use crate::shard::message::Message;
use crate::shard::shared::Shared;
use crate::shard::thread;

/// Why a server did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address of `bind` cannot be listened on.
    #[error("Could not create server TCP listening socket {address}: bind: {error}")]
    Listen {
        /// As configured.
        address: String,
        /// What the system says.
        error: io::Error,
    },
    /// Neither a port nor an address is configured.
    #[error("Configured to not listen anywhere, exiting.")]
    Nowhere,
    /// The system allows too few open files for the server itself.
    #[error("{0}")]
    Descriptors(String),
    /// The log cannot be opened.
    #[error("Can't open the log file: {0}")]
    Log(io::Error),
    /// The snapshot cannot be loaded.
    #[error("{0}. The file is left as it is, and the server does not start.")]
    Load(#[from] LoadError),
    /// The append-only file cannot be loaded.
    #[error("{0} The server does not start.")]
    AppendOnly(#[from] AppendError),
    /// The append-only file cannot be written.
    #[error("Can't open the append-only file: {0}")]
    Append(io::Error),
    /// It was told to end while it loaded.
    #[error("the server was told to end while it loaded")]
    Ended,
    /// The system refuses a thread or a runtime.
    #[error("Can't start a thread: {0}")]
    Thread(io::Error),
}

/// Collects what a server starts with.
#[derive(Debug, Default)]
#[must_use]
pub struct Builder {
    config: Config,
    clock: Option<Clock>,
    log: Option<Log>,
    seed: Option<u64>,
    any_port: bool,
    signals: bool,
    starts_empty: bool,
    disk: Option<Arc<dyn Disk>>,
    through: Through,
}

/// What a test puts between the snapshot and who reads it.
#[derive(Default)]
struct Through(Option<load::Through>);

impl std::fmt::Debug for Through {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Through").field(&self.0.is_some()).finish()
    }
}

impl Builder {
    /// Replaces the whole configuration.
    pub fn config(mut self, config: Config) -> Builder {
        self.config = config;
        self
    }

    /// Sets one directive; its default otherwise.
    ///
    /// # Panics
    /// If there is no such directive or the value is not one of it.
    pub fn directive(mut self, name: &str, value: &str) -> Builder {
        self.config.preset(name, value).expect("a directive and a value of it");
        self
    }

    /// Listens on a port that is free, on the loopback address: for tests.
    pub fn any_port(mut self) -> Builder {
        self.any_port = true;
        self
    }

    /// Injects a clock.
    pub fn clock(mut self, clock: Clock) -> Builder {
        self.clock = Some(clock);
        self
    }

    /// Injects where the log goes.
    pub fn log(mut self, log: Log) -> Builder {
        self.log = Some(log);
        self
    }

    /// Ends the server on SIGTERM and SIGINT: for a process that is nothing but the server.
    pub fn follow_signals(mut self) -> Builder {
        self.signals = true;
        self
    }

    /// Replaces the system's files, with which snapshots are written.
    pub fn disk(mut self, disk: impl Disk + 'static) -> Builder {
        self.disk = Some(Arc::new(disk));
        self
    }

    /// Loads no snapshot at the start.
    pub fn start_empty(mut self) -> Builder {
        self.starts_empty = true;
        self
    }

    /// Reads the snapshot through what `through` makes of its file: a test holds the loading at a
    /// point that way.
    pub fn read_snapshot_through<R: Read + Send + 'static>(
        mut self,
        through: impl FnOnce(File) -> R + Send + 'static,
    ) -> Builder {
        self.through = Through(Some(Box::new(|file| Box::new(through(file)))));
        self
    }

    /// Makes sampling repeatable.
    pub fn seed(mut self, seed: u64) -> Builder {
        self.seed = Some(seed);
        self
    }

    /// Starts the threads, begins to serve clients, and loads the snapshot that `dir` and
    /// `dbfilename` name, if there is one: what is returned has its data set. Clients that come
    /// before are told to wait.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(self) -> Result<Server, StartError> {
        self.start_now()
    }

    /// [`Self::start`] where there is no runtime to await in.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start_now(self) -> Result<Server, StartError> {
        self.open()?.load()
    }

    /// The first part of [`Self::start`]: begins to serve clients. They are told that the data set
    /// is being loaded until [`Opened::load`] has done so.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn open(self) -> Result<Opened, StartError> {
        let mut config = self.config;
        let clock = self.clock.unwrap_or_else(Clock::system);
        let log = match self.log {
            Some(log) => log,
            None => open_log(&config).map_err(StartError::Log)?,
        };
        let say = |level, text: &str| log.line(clock.wall_ms(), level, text);
        for warning in config.warnings() {
            say(Level::Warning, &warning.to_string());
        }
        provide_descriptors(&mut config, &say)?;
        let listeners = listen(&mut config, self.any_port)?;
        let addresses: Vec<SocketAddr> =
            listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let pid_file = config.pidfile.as_ref().and_then(|name| {
            let written = PidFile::write(&config.dir.join(name));
            let failed = |error| say(Level::Warning, &format!("Failed to write PID file: {error}"));
            written.map_err(failed).ok()
        });
        let seed = self.seed.unwrap_or_else(random_seed);
        let starting = Starting::begin();
        let disk = self.disk.unwrap_or_else(|| Arc::new(SystemDisk));
        let shared = Shared::with_disk(config, clock, log, seed, disk);
        shared.listeners.add(listeners).map_err(StartError::Thread)?;
        let mut threads = Vec::new();
        let (ready, all_ready) = std::sync::mpsc::channel();
        for shard in 0..shared.shards() {
            let spawned = thread::spawn(ShardId(shard), Arc::clone(&shared), ready.clone());
            threads.push(spawned.map_err(StartError::Thread)?);
        }
        drop(ready);
        // Ends when every shard has its slots: what is in use then is the server itself.
        if let Some(error) = all_ready.iter().last() {
            stop_shards(&shared);
            return Err(StartError::Thread(error));
        }
        starting.end(&shared.overheads);
        let used = ballast_storage::memory::used_bytes();
        shared.startup_bytes.store(used, std::sync::atomic::Ordering::Relaxed);
        let source = match self.starts_empty {
            true => Ok(Source::Nothing),
            false => Source::find(&shared.config.load(), self.through.0),
        };
        let source = source.inspect_err(|error| {
            shared.log.line(shared.clock.wall_ms(), Level::Warning, &error.to_string());
            stop_shards(&shared);
        })?;
        if source.takes_time() || shared.config.load().appendonly {
            shared.begin_loading(source.bytes());
        }
        let starting = Starting::begin();
        let control =
            control::spawn(Arc::clone(&shared), self.signals).map_err(StartError::Thread)?;
        threads.push(control);
        starting.end(&shared.overheads);
        let server = Server { shared, addresses, threads, _pid_file: pid_file };
        Ok(Opened { server, source })
    }
}

/// What the data set is loaded from.
enum Source {
    Nothing,
    Snapshot(Snapshot),
    AppendOnly(Set),
}

impl Source {
    /// What the configuration wants, and is there.
    fn find(config: &Config, through: Option<load::Through>) -> Result<Source, StartError> {
        if config.appendonly
            && let Some(set) = Set::find(config)?
        {
            return Ok(Source::AppendOnly(set));
        }
        // Redis starts empty where it is to append to a file that is not there yet, and loses the
        // snapshot with the next. What a server without append-only file has saved is the data
        // set that its operator has.
        let snapshot = Snapshot::open(config, through)?;
        Ok(snapshot.map_or(Source::Nothing, Source::Snapshot))
    }

    fn takes_time(&self) -> bool {
        !matches!(self, Source::Nothing)
    }

    fn bytes(&self) -> u64 {
        match self {
            Source::Nothing => 0,
            Source::Snapshot(snapshot) => snapshot.bytes(),
            Source::AppendOnly(set) => set.bytes(),
        }
    }

    /// Loads it, and begins to append to the append-only file. Answers the thread that does so.
    fn load(self, shared: &Arc<Shared>) -> Result<JoinHandle<()>, StartError> {
        let set = match self {
            Source::Nothing => None,
            Source::Snapshot(snapshot) => {
                loading::load(shared, snapshot)?;
                None
            }
            Source::AppendOnly(set) => {
                appending::load(shared, &set)?;
                Some(set)
            }
        };
        appending::start(shared, set).map_err(StartError::Append)
    }
}

/// A server that answers its clients, and has yet to load its data set. Dropping it ends it.
pub struct Opened {
    server: Server,
    source: Source,
}

impl Opened {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        self.server.addresses()
    }

    /// Loads the data set.
    ///
    /// # Errors
    /// If it cannot be loaded, or a client or a signal ends the server meanwhile: it has ended.
    pub fn load(self) -> Result<Server, StartError> {
        let Opened { mut server, source } = self;
        let error = match source.load(&server.shared) {
            Ok(appending) => {
                // Ends when all others have.
                server.threads.push(appending);
                if server.shared.is_loading() {
                    server.shared.end_loading();
                }
                return Ok(server);
            }
            Err(error) => error,
        };
        server.shared.request_stop();
        let is_ending = match &error {
            StartError::Load(error) => matches!(error.reason, LoadReason::Ending),
            StartError::AppendOnly(error) => error.is_of_the_end(),
            _ => false,
        };
        if !is_ending {
            server.log_line(Level::Warning, &error.to_string());
        }
        // Whether it could go on is not the question any more.
        let _ = server.join();
        Err(if is_ending { StartError::Ended } else { error })
    }
}

/// The server has ended because it could not go on; its log says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the server has ended because it could not go on; its log says why")]
pub struct Failed;

/// A running server. Dropping it stops it without waiting.
pub struct Server {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
    _pid_file: Option<PidFile>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Server {
    /// Begins to describe a server. Unlike one that is started by hand it has no save points: a
    /// program that embeds one does not write files that it has not asked for.
    pub fn builder() -> Builder {
        Builder::default().directive("save", "")
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first of [`Self::addresses`].
    ///
    /// # Panics
    /// If the server listens nowhere.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Writes a line to the server's log.
    pub fn log_line(&self, level: Level, message: &str) {
        self.shared.log.line(self.shared.clock.wall_ms(), level, message);
    }

    /// Waits until a client or a signal ends the server.
    ///
    /// # Errors
    /// If it has ended because it could not go on.
    pub fn join(mut self) -> Result<(), Failed> {
        for thread in self.threads.drain(..) {
            // A shard that panicked has said so on standard error.
            let _ = thread.join();
        }
        let has_failed = self.shared.has_failed.load(std::sync::atomic::Ordering::Acquire);
        if has_failed { Err(Failed) } else { Ok(()) }
    }

    /// Stops the server: closes its listeners and connections and ends its threads. Writes no
    /// snapshot: a client that wants one says `SAVE` before.
    pub async fn shutdown(mut self) {
        self.shared.request_stop();
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
        });
        let _ = joined.await;
    }

    /// Asks the threads to end, without waiting for them.
    pub fn request_stop(&self) {
        self.shared.request_stop();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.request_stop();
    }
}

/// Tells every shard to end.
pub(crate) fn stop_shards(shared: &Shared) {
    for mailbox in &shared.mailboxes {
        mailbox.push(Message::Stop);
    }
}

/// The standard library's hash keys are the system's random numbers.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

fn open_log(config: &Config) -> io::Result<Log> {
    let file = config.logfile.as_ref().map(|path| config.dir.join(path));
    let file = file.map(|path| path.to_string_lossy().into_owned());
    Log::open(&file.unwrap_or_default(), crate::log::level(config.loglevel))
}

/// Sees to enough open files for `maxclients`, or lowers it.
fn provide_descriptors(config: &mut Config, say: &impl Fn(Level, &str)) -> Result<(), StartError> {
    let shards = u16::try_from(config.shards).unwrap_or(u16::MAX);
    match descriptors::provide(config.maxclients, shards) {
        Descriptors::Enough => {}
        Descriptors::Raised { from, to } => say(
            Level::Notice,
            &format!(
                "Increased maximum number of open files to {to} (it was originally set to {from})."
            ),
        ),
        Descriptors::Fewer(fewer) if fewer.clients == 0 => {
            return Err(StartError::Descriptors(fewer.to_string()));
        }
        Descriptors::Fewer(fewer) => {
            fewer.lines().iter().for_each(|line| say(Level::Warning, line));
            preset(config, "maxclients", &fewer.clients.to_string());
        }
    }
    Ok(())
}

/// Opens what the configuration says, or any port of the loopback address, which the configuration
/// then says.
fn listen(config: &mut Config, any_port: bool) -> Result<Vec<TcpListener>, StartError> {
    if any_port {
        let error = |error| StartError::Listen { address: "127.0.0.1:0".into(), error };
        let listener = TcpListener::bind("127.0.0.1:0").map_err(error)?;
        let port = listener.local_addr().map_err(error)?.port();
        preset(config, "bind", "127.0.0.1");
        preset(config, "port", &port.to_string());
        return Ok(vec![listener]);
    }
    let opened = listeners::listen(config);
    let listeners =
        opened.map_err(|Unavailable { address, error }| StartError::Listen { address, error })?;
    if listeners.is_empty() { Err(StartError::Nowhere) } else { Ok(listeners) }
}

/// Sets a directive to a value that it is known to take.
fn preset(config: &mut Config, name: &str, value: &str) {
    let set = config.preset(name, value);
    debug_assert!(set.is_ok(), "{name} does not take {value}");
}
