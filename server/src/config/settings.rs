//! The values the server reads, typed. Filled from the directives' values, never the other way.

use std::path::PathBuf;

use ballast_balancer::policy::Policy;

/// An enum of names that a directive chooses from.
macro_rules! named_enum {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }
     default $default:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type { $($(#[$variant_doc])* $variant,)* }

        impl $type {
            /// The names, in the order Redis lists them.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// The name in a configuration file.
            pub const fn name(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }

            /// The choice of this name; the default for a name that the table does not admit.
            pub(super) fn named(name: &str) -> $type {
                match name { $($name => $type::$variant,)* _ => $type::$default }
            }
        }

        impl Default for $type {
            fn default() -> $type { $type::$default }
        }
    };
}

named_enum! {
    /// What is evicted when memory is full.
    MaxmemoryPolicy {
        /// The least recently used key among those that expire.
        VolatileLru = "volatile-lru",
        /// The least frequently used key among those that expire.
        VolatileLfu = "volatile-lfu",
        /// Any key among those that expire.
        VolatileRandom = "volatile-random",
        /// The key that expires first.
        VolatileTtl = "volatile-ttl",
        /// The least recently used key.
        AllkeysLru = "allkeys-lru",
        /// The least frequently used key.
        AllkeysLfu = "allkeys-lfu",
        /// Any key.
        AllkeysRandom = "allkeys-random",
        /// Nothing: writes that need memory fail.
        NoEviction = "noeviction",
    } default NoEviction
}

impl MaxmemoryPolicy {
    /// Whether keys carry an access frequency instead of an access time.
    pub const fn is_lfu(self) -> bool {
        matches!(self, MaxmemoryPolicy::VolatileLfu | MaxmemoryPolicy::AllkeysLfu)
    }

    /// Whether only keys with an expiry are evicted.
    pub const fn is_volatile(self) -> bool {
        use MaxmemoryPolicy::{VolatileLfu, VolatileLru, VolatileRandom, VolatileTtl};
        matches!(self, VolatileLru | VolatileLfu | VolatileRandom | VolatileTtl)
    }
}

named_enum! {
    /// When the append-only file is flushed to disk.
    FlushPolicy {
        /// Once a second.
        EverySecond = "everysec",
        /// Before the replies of what it holds.
        Always = "always",
        /// When the system likes.
        No = "no",
    } default EverySecond
}

named_enum! {
    /// How much is logged; each level includes those after it.
    LogLevel {
        /// Everything.
        Debug = "debug",
        /// Much that is rarely needed.
        Verbose = "verbose",
        /// What production wants.
        Notice = "notice",
        /// Only what is important.
        Warning = "warning",
    } default Notice
}

named_enum! {
    /// Who may use something that can harm the server.
    Allowed {
        /// Nobody.
        No = "no",
        /// Everybody.
        Yes = "yes",
        /// Connections from this host.
        Local = "local",
    } default No
}

/// The classes of clients that have output buffer limits of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientClass {
    /// Everything that is neither of the others.
    Normal,
    /// Replicas.
    Replica,
    /// Clients with a subscription.
    Pubsub,
}

impl ClientClass {
    /// All classes, in the order of [`Settings::client_output_buffer_limits`].
    pub const ALL: [ClientClass; 3] =
        [ClientClass::Normal, ClientClass::Replica, ClientClass::Pubsub];

    /// The place in [`Settings::client_output_buffer_limits`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name CONFIG GET shows; replicas by their old name, as Redis does.
    pub const fn name(self) -> &'static str {
        match self {
            ClientClass::Normal => "normal",
            ClientClass::Replica => "slave",
            ClientClass::Pubsub => "pubsub",
        }
    }

    /// The class of this name, in any case.
    pub(super) fn named(name: &str) -> Option<ClientClass> {
        if name.eq_ignore_ascii_case("replica") {
            return Some(ClientClass::Replica);
        }
        ClientClass::ALL.into_iter().find(|class| class.name().eq_ignore_ascii_case(name))
    }
}

/// When a client that does not read its replies is disconnected; 0 = never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputBufferLimit {
    /// At once beyond this many bytes.
    pub hard_bytes: u64,
    /// Beyond this many bytes for `soft_seconds`.
    pub soft_bytes: u64,
    /// How long the soft limit may be exceeded.
    pub soft_seconds: u32,
}

/// How much memory all clients together may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientsLimit {
    /// So many bytes; 0 = any number.
    Bytes(u64),
    /// A part of `maxmemory`.
    Percent(u8),
}

impl Default for ClientsLimit {
    fn default() -> ClientsLimit {
        ClientsLimit::Bytes(0)
    }
}

impl ClientsLimit {
    /// In bytes; 0 = any number.
    pub fn bytes(self, maxmemory: u64) -> u64 {
        match self {
            ClientsLimit::Bytes(bytes) => bytes,
            ClientsLimit::Percent(percent) => {
                let bytes = u128::from(maxmemory) * u128::from(percent) / 100;
                u64::try_from(bytes).unwrap_or(u64::MAX)
            }
        }
    }
}

/// A snapshot is due after `seconds` if at least `changes` happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavePoint {
    /// Seconds since the last snapshot.
    pub seconds: u32,
    /// Writes since the last snapshot.
    pub changes: u32,
}

/// How a signal ends the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShutdownOptions {
    /// Whether a snapshot is written before; `None`: if there are save points.
    pub saves: Option<bool>,
    /// The server ends also if no snapshot can be written.
    pub is_forced: bool,
}

/// The classes of keyspace notifications, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyspaceEvents(u16);

impl KeyspaceEvents {
    const LETTERS: [(char, KeyspaceEvents); 14] = [
        ('g', KeyspaceEvents::GENERIC),
        ('$', KeyspaceEvents::STRING),
        ('l', KeyspaceEvents::LIST),
        ('s', KeyspaceEvents::SET),
        ('h', KeyspaceEvents::HASH),
        ('z', KeyspaceEvents::ZSET),
        ('x', KeyspaceEvents::EXPIRED),
        ('e', KeyspaceEvents::EVICTED),
        ('t', KeyspaceEvents::STREAM),
        ('d', KeyspaceEvents::MODULE),
        ('n', KeyspaceEvents::NEW),
        ('K', KeyspaceEvents::KEYSPACE),
        ('E', KeyspaceEvents::KEYEVENT),
        ('m', KeyspaceEvents::KEY_MISS),
    ];
    /// Commands of no type: DEL, EXPIRE, RENAME, …
    pub const GENERIC: KeyspaceEvents = KeyspaceEvents(1);
    /// String commands.
    pub const STRING: KeyspaceEvents = KeyspaceEvents(1 << 1);
    /// List commands.
    pub const LIST: KeyspaceEvents = KeyspaceEvents(1 << 2);
    /// Set commands.
    pub const SET: KeyspaceEvents = KeyspaceEvents(1 << 3);
    /// Hash commands.
    pub const HASH: KeyspaceEvents = KeyspaceEvents(1 << 4);
    /// Sorted set commands.
    pub const ZSET: KeyspaceEvents = KeyspaceEvents(1 << 5);
    /// A key expired.
    pub const EXPIRED: KeyspaceEvents = KeyspaceEvents(1 << 6);
    /// A key was evicted.
    pub const EVICTED: KeyspaceEvents = KeyspaceEvents(1 << 7);
    /// Stream commands.
    pub const STREAM: KeyspaceEvents = KeyspaceEvents(1 << 8);
    /// Module events.
    pub const MODULE: KeyspaceEvents = KeyspaceEvents(1 << 9);
    /// A key was created; not part of `A`.
    pub const NEW: KeyspaceEvents = KeyspaceEvents(1 << 10);
    /// Publish to `__keyspace@<db>__:<key>`.
    pub const KEYSPACE: KeyspaceEvents = KeyspaceEvents(1 << 11);
    /// Publish to `__keyevent@<db>__:<event>`.
    pub const KEYEVENT: KeyspaceEvents = KeyspaceEvents(1 << 12);
    /// A key was looked up and is missing; not part of `A`.
    pub const KEY_MISS: KeyspaceEvents = KeyspaceEvents(1 << 13);
    /// What the letter `A` stands for.
    pub const ALL: KeyspaceEvents = KeyspaceEvents(0x3ff);

    /// Whether every class of `other` is on.
    pub const fn contains(self, other: KeyspaceEvents) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether nothing is on.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// None, unless there is a channel to publish them to.
    pub fn effective(self) -> KeyspaceEvents {
        let channels = KeyspaceEvents(Self::KEYSPACE.0 | Self::KEYEVENT.0);
        if self.0 & channels.0 == 0 { KeyspaceEvents::default() } else { self }
    }

    pub(super) fn parse(letters: &str) -> Option<KeyspaceEvents> {
        let mut events = 0;
        for letter in letters.chars() {
            let known = Self::LETTERS.iter().find(|(known, _)| *known == letter);
            events |= match known {
                Some((_, bit)) => bit.0,
                None if letter == 'A' => Self::ALL.0,
                None => return None,
            };
        }
        Some(KeyspaceEvents(events))
    }

    /// The letters. Unlike Redis 7.0 an `n` next to `A` is not lost.
    pub(super) fn render(self) -> String {
        let all = self.contains(Self::ALL);
        let rest = if all { self.0 & !Self::ALL.0 } else { self.0 };
        let letters = Self::LETTERS.iter().filter(|(_, bit)| rest & bit.0 != 0);
        all.then_some('A').into_iter().chain(letters.map(|(letter, _)| *letter)).collect()
    }
}

/// What the server reads. Each field is set by the directive of the same name; units are in the
/// names, sizes are bytes.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "each field is documented by its directive")]
pub struct Settings {
    // Network
    pub port: u16,
    pub bind: Vec<String>,
    pub tcp_backlog: u32,
    pub tcp_keepalive_s: u32,
    pub timeout_s: u32,
    pub maxclients: u32,
    pub protected_mode: bool,
    /// Empty = no password is required.
    pub requirepass: String,
    pub enable_debug_command: Allowed,
    pub enable_protected_configs: Allowed,

    // Limits
    pub proto_max_bulk_len: u64,
    pub client_query_buffer_limit: u64,
    pub client_output_buffer_limits: [OutputBufferLimit; 3],
    pub maxmemory_clients: ClientsLimit,

    // Shards and databases
    /// The number of shard threads: the directive, or the cores of the machine.
    pub shards: usize,
    pub databases: u32,
    pub hz: u32,
    pub follow_slots: bool,

    // Memory
    pub maxmemory: u64,
    pub maxmemory_policy: MaxmemoryPolicy,
    pub maxmemory_samples: u32,
    /// 0: a shard may take all there is.
    pub maxmemory_shard_percent: u32,
    pub lfu_log_factor: u32,
    pub lfu_decay_time: u32,
    pub lazyfree_lazy_user_flush: bool,

    // Encodings
    pub hash_max_listpack_entries: usize,
    pub hash_max_listpack_value: usize,
    pub list_max_listpack_size: i32,
    pub set_max_intset_entries: usize,
    pub set_max_listpack_entries: usize,
    pub set_max_listpack_value: usize,
    pub zset_max_listpack_entries: usize,
    pub zset_max_listpack_value: usize,

    // Balancer
    /// All `balancer-*` directives.
    pub balancer: Policy,

    // Observing
    pub loglevel: LogLevel,
    pub logfile: Option<PathBuf>,
    pub slowlog_log_slower_than_us: i64,
    pub slowlog_max_len: u64,
    pub latency_monitor_threshold_ms: u64,
    pub latency_tracking: bool,
    pub notify_keyspace_events: KeyspaceEvents,
    pub latency_tracking_info_percentiles: Vec<f64>,

    // Files
    pub dir: PathBuf,
    pub dbfilename: String,
    pub save_points: Vec<SavePoint>,
    /// Writes are refused after a snapshot of the save points has failed.
    pub stop_writes_on_bgsave_error: bool,
    pub rdbcompression: bool,
    pub rdbchecksum: bool,
    pub appendonly: bool,
    pub appendfilename: String,
    pub appenddirname: String,
    pub appendfsync: FlushPolicy,
    pub no_appendfsync_on_rewrite: bool,
    pub auto_aof_rewrite_percentage: u32,
    pub auto_aof_rewrite_min_size: u64,
    pub aof_load_truncated: bool,
    pub aof_use_rdb_preamble: bool,
    pub aof_timestamp_enabled: bool,
    pub aof_disable_auto_gc: bool,
    pub pidfile: Option<PathBuf>,
    pub shutdown_on_sigint: ShutdownOptions,
    pub shutdown_on_sigterm: ShutdownOptions,

    // Cluster
    pub cluster_enabled: bool,
}
