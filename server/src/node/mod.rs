//! What all threads of a node share and that knows nothing of slots' contents: which shard owns
//! which slot, the connections, counters, the configuration in force, the balancer's machine.

pub(crate) mod append_only;
pub(crate) mod balance;
pub(crate) mod blocked;
pub(crate) mod channels;
pub(crate) mod clients;
pub(crate) mod counters;
pub(crate) mod descriptors;
pub(crate) mod disk;
pub(crate) mod effects;
pub(crate) mod latency;
pub(crate) mod listeners;
pub(crate) mod loading;
pub(crate) mod memory;
pub(crate) mod modes;
pub(crate) mod monitors;
pub(crate) mod pause;
pub(crate) mod pid_file;
pub(crate) mod places;
pub(crate) mod relief;
pub(crate) mod router;
pub(crate) mod saves;
pub(crate) mod siblings;
pub(crate) mod snapshot;
pub(crate) mod sync;
pub(crate) mod versioned;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use self::balance::Balance;
use self::channels::Channels;
use self::clients::{Client, Clients};
use self::counters::ShardCounters;
use self::disk::Disk;
use self::listeners::Listeners;
use self::loading::Loading;
use self::modes::{Mode, Modes};
use self::monitors::Monitors;
use self::pause::Pause;
use self::places::Places;
use self::relief::Relief;
use self::router::Router;
use self::saves::Saves;
use self::siblings::Siblings;
use self::snapshot::Snapshots;
use self::versioned::Versioned;
use crate::clock::Clock;
use crate::config::{Config, FlushPolicy};
use crate::ids::ClientId;
use crate::log::{Level, Log};

/// See the module.
pub(crate) struct Node {
    /// Slot → shard.
    pub(crate) router: Router,
    /// One per shard.
    pub(crate) counters: Vec<Arc<ShardCounters>>,
    /// Room for connections of other shards, one per shard.
    pub(crate) places: Vec<Places>,
    /// The configuration; shards keep a copy of the `Arc`.
    pub(crate) config: Versioned,
    /// Where it listens.
    pub(crate) listeners: Listeners,
    /// The connections.
    pub(crate) clients: Clients,
    /// Time.
    pub(crate) clock: Clock,
    /// Where messages for the operator go.
    pub(crate) log: Log,
    /// Of all random numbers that need not be secret.
    pub(crate) seed: u64,
    /// 40 hex digits that name this process's run.
    pub(crate) run_id: String,
    /// Unix milliseconds of the start.
    pub(crate) started_ms: i64,
    /// Who listens to what.
    pub(crate) channels: Channels,
    /// Who is shown all commands.
    pub(crate) monitors: Monitors,
    /// What changes the way of every command.
    pub(crate) modes: Modes,
    /// How far the loading at the start is.
    pub(crate) loading: Loading,
    /// What is known of snapshots.
    pub(crate) saves: Saves,
    /// The snapshot under way.
    pub(crate) snapshots: Snapshots,
    /// What files of the data set are written with.
    pub(crate) disk: Arc<dyn Disk>,
    /// What has taken long that no shard has done.
    pub(crate) latency: Mutex<latency::Latency>,
    /// Held by who looks at the files.
    looking: Mutex<()>,
    /// The way to the append-only file.
    pub(crate) append_only: append_only::AppendOnly,
    /// `CLIENT PAUSE`.
    pub(crate) pause: Pause,
    /// Expired keys are removed also when nobody asks for them (`DEBUG SET-ACTIVE-EXPIRE`).
    pub(crate) active_expire: AtomicBool,
    /// Set when the process is to end.
    pub(crate) stopping: AtomicBool,
    /// It ends because it cannot go on.
    pub(crate) has_failed: AtomicBool,
    /// Wakes whoever waits for the end.
    pub(crate) stop: tokio::sync::Notify,
    /// How shards ask for relief.
    pub(crate) relief: Relief,
    /// The desk of the thread tier's balancer.
    pub(crate) balance: Balance,
    /// The share of a core that a shard's thread has: one core, or less where there are more shards
    /// than cores.
    pub(crate) core_share: f64,
    /// Bytes in use after the start, by whatever is in the process.
    pub(crate) startup_bytes: AtomicU64,
    /// Memory that is neither in slots nor of clients.
    pub(crate) overheads: memory::Overheads,
    /// Head-room that shards have taken of `maxmemory`.
    pub(crate) leases: memory::Leases,
    siblings: OnceLock<Weak<dyn Siblings>>,
    /// Work per second, as of the last sample.
    pub(crate) rates: Mutex<Rates>,
    slow_ids: AtomicU64,
}

/// What `INFO stats` calls instantaneous.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    /// Commands a second.
    pub(crate) commands: u64,
    /// KiB a second received.
    pub(crate) net_in_kib: f64,
    /// KiB a second sent.
    pub(crate) net_out_kib: f64,
}

impl Node {
    pub(crate) fn new(
        config: Config,
        clock: Clock,
        log: Log,
        seed: u64,
        disk: Arc<dyn Disk>,
    ) -> Node {
        let shards = u16::try_from(config.shards.clamp(1, 1024)).expect("clamped");
        let balance = Balance::new(&config);
        Node {
            router: Router::new(shards),
            counters: (0..shards).map(|_| Arc::default()).collect(),
            places: (0..shards).map(|_| Places::default()).collect(),
            listeners: Listeners::default(),
            clients: Clients::default(),
            started_ms: clock.wall_ms(),
            saves: Saves::new(clock.wall_ms()),
            snapshots: Snapshots::new(shards),
            disk,
            latency: Mutex::default(),
            looking: Mutex::default(),
            append_only: append_only::AppendOnly::new(shards),
            clock,
            log,
            seed,
            run_id: run_id(seed),
            channels: Channels::default(),
            monitors: Monitors::default(),
            modes: Modes::default(),
            loading: Loading::default(),
            pause: Pause::default(),
            active_expire: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            stop: tokio::sync::Notify::new(),
            relief: Relief::default(),
            core_share: core_share(shards),
            balance,
            startup_bytes: AtomicU64::new(0),
            overheads: memory::Overheads::default(),
            leases: memory::Leases::default(),
            siblings: OnceLock::new(),
            rates: Mutex::default(),
            slow_ids: AtomicU64::new(0),
            config: Versioned::new(config),
        }
    }

    /// How many shard threads there are.
    pub(crate) fn shards(&self) -> u16 {
        u16::try_from(self.counters.len()).expect("as many as configured")
    }

    /// Makes the shards known to each other; once.
    pub(crate) fn introduce(&self, siblings: Weak<dyn Siblings>) {
        // A second time there is nothing new to tell.
        let _ = self.siblings.set(siblings);
    }

    /// The ways of the shards to each other, once there are threads.
    pub(crate) fn siblings(&self) -> Option<Arc<dyn Siblings>> {
        self.siblings.get()?.upgrade()
    }

    /// Switches a mode on or off: each batch that begins after it goes by that.
    pub(crate) fn switch(&self, mode: Mode, is_on: bool) {
        self.modes.switch(mode, is_on);
        self.config.announce();
    }

    /// Shows `client` all commands from now on.
    pub(crate) fn begin_monitoring(&self, client: Arc<Client>) {
        self.monitors.add(client, || self.switch(Mode::Monitored, true));
    }

    /// Shows `client` nothing any more.
    pub(crate) fn end_monitoring(&self, client: ClientId) {
        self.monitors.remove(client, || self.switch(Mode::Monitored, false));
    }

    /// Numbers the entries of the slow logs.
    pub(crate) fn next_slow_id(&self) -> u64 {
        self.slow_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Sum of a counter over the shards.
    pub(crate) fn sum(&self, of: impl Fn(&ShardCounters) -> u64) -> u64 {
        self.counters.iter().map(|counters| of(counters)).sum()
    }

    /// Closes clients if all together keep more than `maxmemory-clients`.
    pub(crate) fn limit_clients(&self) {
        let Some(limit) = self.clients.limit() else { return };
        if self.sum(|counters| counters.clients_bytes.value()) < limit {
            return;
        }
        for client in self.clients.evict(limit) {
            let (id, bytes) = (client.id, client.bytes.load(Ordering::Relaxed));
            let name = client.labels.lock().name.clone();
            let address = client.address;
            let line =
                format!("Evicting client: id={id} addr={address} name={name} tot-mem={bytes}");
            self.log.line(self.clock.wall_ms(), Level::Notice, &line);
        }
    }

    /// Has replies held and writes refused as the configuration wants it after what has become of
    /// the files: to be called when one or the other has changed.
    pub(crate) fn look_at_files(&self) {
        // One at a time: who comes last goes by the latest.
        let _alone = self.looking.lock();
        let config = self.config.load();
        let is_strict = config.appendonly && config.appendfsync == FlushPolicy::Always;
        self.append_only.hold_replies(is_strict);
        let refuses = self.refuses_writes().is_some();
        if refuses != self.modes.load().has(Mode::Unsaved) {
            self.switch(Mode::Unsaved, refuses);
        }
    }

    /// Why nothing may be written, in Redis's words.
    pub(crate) fn refuses_writes(&self) -> Option<String> {
        let config = self.config.load();
        let wants_saves = config.stop_writes_on_bgsave_error && !config.save_points.is_empty();
        if wants_saves && self.saves.has_failed() {
            return Some(UNSAVED.to_owned());
        }
        let reason = self.append_only.failure()?;
        Some(format!("MISCONF Errors writing to the AOF file: {reason}"))
    }

    /// Asks the process to end, which has failed.
    pub(crate) fn fail(&self) {
        self.has_failed.store(true, Ordering::Release);
        self.request_stop();
    }

    /// Asks the process to end.
    pub(crate) fn request_stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.stop.notify_waiters();
        self.stop.notify_one();
    }
}

/// As Redis says it.
const UNSAVED: &str = "MISCONF Redis is configured to save RDB snapshots, but it's currently \
unable to persist to disk. Commands that may modify the data set are disabled, because this \
instance is configured to report errors during writes if RDB snapshotting fails \
(stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.";

/// What a shard has of the processors that the process may use.
fn core_share(shards: u16) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a count of processors")]
    let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    (cores / f64::from(shards)).min(1.0)
}

/// 40 hex digits from a seed.
fn run_id(seed: u64) -> String {
    let mut state = seed;
    let mut id = String::with_capacity(48);
    while id.len() < 40 {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        id.push_str(&format!("{:08x}", state >> 32));
    }
    id.truncate(40);
    id
}
