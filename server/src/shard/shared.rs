//! What all threads of a process share: the router, the mailboxes, and cold state behind locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::clock::Clock;
use crate::config::Config;
use crate::connection::follow::Places;
use crate::log::Log;
use crate::node::clients::Clients;
use crate::node::counters::ShardCounters;
use crate::node::router::Router;
use crate::shard::ShardState;
use crate::shard::home::Home;
use crate::shard::mailbox::Mailbox;
use crate::shard::message::Message;

/// See the module.
pub(crate) struct Shared {
    /// Slot → shard.
    pub(crate) router: Router,
    /// One per shard.
    pub(crate) mailboxes: Vec<Mailbox<Message>>,
    /// The states of the shards.
    pub(crate) homes: Vec<Arc<Home<ShardState>>>,
    /// One per shard.
    pub(crate) counters: Vec<Arc<ShardCounters>>,
    /// Room for connections of other shards, one per shard.
    pub(crate) places: Vec<Places>,
    /// The configuration; shards keep a copy of the `Arc`.
    pub(crate) config: Versioned,
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
    /// `CLIENT PAUSE`.
    pub(crate) pause: Pause,
    /// Expired keys are removed also when nobody asks for them (`DEBUG SET-ACTIVE-EXPIRE`).
    pub(crate) active_expire: AtomicBool,
    /// Set when the process is to end.
    pub(crate) stopping: AtomicBool,
    /// Wakes whoever waits for the end.
    pub(crate) stop: tokio::sync::Notify,
    /// How shards ask for relief.
    pub(crate) relief: crate::node::relief::Relief,
    /// The live balancer of the thread tier.
    pub(crate) rebalance: Mutex<crate::rebalance::Rebalance>,
    /// Port that clients reach us at.
    pub(crate) port: std::sync::atomic::AtomicU16,
    /// Bytes in use after the start.
    pub(crate) startup_bytes: AtomicU64,
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

impl Shared {
    pub(crate) fn new(config: Config, clock: Clock, log: Log, seed: u64) -> Shared {
        let shards = u16::try_from(config.shards.clamp(1, 1024)).expect("clamped");
        let rebalance = crate::rebalance::Rebalance::new(&config);
        Shared {
            router: Router::new(shards),
            mailboxes: (0..shards).map(|_| Mailbox::new()).collect(),
            homes: (0..shards).map(|_| Arc::default()).collect(),
            counters: (0..shards).map(|_| Arc::default()).collect(),
            places: (0..shards).map(|_| Places::default()).collect(),
            clients: Clients::default(),
            started_ms: clock.wall_ms(),
            clock,
            log,
            seed,
            run_id: run_id(seed),
            pause: Pause::default(),
            active_expire: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
            stop: tokio::sync::Notify::new(),
            relief: crate::node::relief::Relief::default(),
            rebalance: Mutex::new(rebalance),
            port: std::sync::atomic::AtomicU16::new(config.port),
            startup_bytes: AtomicU64::new(0),
            rates: Mutex::default(),
            slow_ids: AtomicU64::new(0),
            config: Versioned::new(config),
        }
    }

    /// How many shard threads there are.
    pub(crate) fn shards(&self) -> u16 {
        u16::try_from(self.mailboxes.len()).expect("as many as configured")
    }

    /// Numbers the entries of the slow logs.
    pub(crate) fn next_slow_id(&self) -> u64 {
        self.slow_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Sum of a counter over the shards.
    pub(crate) fn sum(&self, of: impl Fn(&ShardCounters) -> u64) -> u64 {
        self.counters.iter().map(|counters| of(counters)).sum()
    }

    /// Asks the process to end.
    pub(crate) fn request_stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.stop.notify_waiters();
        self.stop.notify_one();
    }
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

/// The configuration and the number of its changes.
#[derive(Debug)]
pub(crate) struct Versioned {
    current: RwLock<Arc<Config>>,
    version: AtomicU64,
}

impl Versioned {
    fn new(config: Config) -> Versioned {
        Versioned { current: RwLock::new(Arc::new(config)), version: AtomicU64::new(1) }
    }

    /// The current one.
    pub(crate) fn load(&self) -> Arc<Config> {
        Arc::clone(&self.current.read())
    }

    /// Counts changes, so that a shard notices one by a single load.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Changes a copy and, if that succeeds, makes it the current one.
    pub(crate) fn update<R, E>(
        &self,
        change: impl FnOnce(&mut Config) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut current = self.current.write();
        let mut copy = Config::clone(&current);
        let result = change(&mut copy)?;
        *current = Arc::new(copy);
        self.version.fetch_add(1, Ordering::Release);
        Ok(result)
    }
}

/// `CLIENT PAUSE`: until when, and what.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    /// Unix milliseconds; 0: no pause.
    until_ms: AtomicI64,
    writes_only: AtomicBool,
    /// Wakes the paused connections.
    pub(crate) changed: tokio::sync::Notify,
}

impl Pause {
    /// Pauses writing commands or all commands. A pause is never made shorter or weaker by
    /// another, as in Redis.
    pub(crate) fn begin(&self, now_ms: i64, until_ms: i64, writes_only: bool) {
        let running = self.until_ms.load(Ordering::Acquire) > now_ms;
        let all = running && !self.writes_only.load(Ordering::Acquire);
        self.writes_only.store(writes_only && !all, Ordering::Release);
        self.until_ms.fetch_max(until_ms, Ordering::AcqRel);
    }

    /// `CLIENT UNPAUSE`.
    pub(crate) fn end(&self) {
        self.until_ms.store(0, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Whether there may be a pause: one load for the hot path.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.until_ms.load(Ordering::Relaxed) != 0
    }

    /// The end of the pause that a writing or reading command has to wait for.
    pub(crate) fn until(&self, now_ms: i64, may_write: bool) -> Option<i64> {
        let until_ms = self.until_ms.load(Ordering::Acquire);
        if until_ms <= now_ms {
            self.until_ms.compare_exchange(until_ms, 0, Ordering::AcqRel, Ordering::Relaxed).ok();
            return None;
        }
        (may_write || !self.writes_only.load(Ordering::Acquire)).then_some(until_ms)
    }
}
