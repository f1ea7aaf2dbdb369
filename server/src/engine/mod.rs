//! What happens inside slots: their boxes with all that rides along, expiry, eviction, blocked and
//! watching clients, statistics. Knows nothing of threads, and of where a slot is if not here.

pub(crate) mod effects;
pub(crate) mod events;
pub(crate) mod evict;
pub(crate) mod expiry;
pub(crate) mod hand_over_times;
pub(crate) mod hot_keys;
pub(crate) mod prefetch;
pub(crate) mod read;
pub(crate) mod room;
pub(crate) mod slot;
pub(crate) mod snapshot;
pub(crate) mod statistics;
pub(crate) mod waiters;
pub(crate) mod watchers;
pub(crate) mod work;
pub(crate) mod write;

use std::collections::VecDeque;
use std::sync::Arc;

use ballast_protocol::CommandError;
use ballast_protocol::slot::SLOTS;
use ballast_storage::types::Limits;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use self::hand_over_times::HandOverTimes;
use self::slot::Slot;
use self::statistics::Statistics;
use self::waiters::BlockOn;
use crate::config::{Config, KeyspaceEvents};
use crate::ids::{ClientId, ShardId};
use crate::log::Level;
use crate::node::Node;
use crate::node::counters::ShardCounters;
use crate::node::modes::ModesSeen;
use crate::node::router::initial_owner;

/// A slot number for commands without keys.
pub(crate) const NO_SLOT: u16 = u16::MAX;

/// The boxes of a shard and all that commands on them need.
pub(crate) struct Engine {
    /// Which shard this is.
    pub(crate) id: ShardId,
    /// What all threads of the node share.
    pub(crate) node: Arc<Node>,
    /// The configuration as of the last `CONFIG SET` that reached this shard.
    pub(crate) config: Arc<Config>,
    /// Which version of it.
    pub(crate) config_version: u64,
    /// The modes of the node, as of then.
    pub(crate) modes: ModesSeen,
    /// The limits of the small encodings, from the configuration.
    pub(crate) limits: Limits,
    /// The boxes that are here: owned, or borrowed by the transaction that is running. Keys change
    /// through [`write::Write`] only.
    slots: Box<[Option<Box<Slot>>]>,
    /// Bytes of the slots that are here.
    slots_bytes: u64,
    /// Bytes of owned slots that travel with transactions, as of when they left.
    pub(crate) lent_bytes: u64,
    /// Bytes of the slots that are here for the running transaction only, as of when they came.
    pub(crate) visiting_bytes: u64,
    /// Counters that other threads may read.
    pub(crate) counters: Arc<ShardCounters>,
    /// Slots with keys that got something a blocked command may take.
    pub(crate) ready: VecDeque<u16>,
    /// Statistics of commands, and the slow log.
    pub(crate) statistics: Statistics,
    /// What its hand-overs took, if there were any.
    pub(crate) hand_over_times: Option<Box<HandOverTimes>>,
    /// Set by a handler whose caller is to wait instead of getting a reply.
    pub(crate) blocked: Option<BlockOn>,
    /// Another thread executes commands here on behalf of the shard's own.
    pub(crate) on_behalf: bool,
    /// What is known of the running call's length.
    pub(crate) long: Long,
    /// The last command has been left to the shard's own thread, and nothing has been done.
    pub(crate) left: bool,
    /// The eviction policy counts uses instead of remembering the last.
    pub(crate) counts_uses: bool,
    /// Whose command is running.
    pub(crate) running: ClientId,
    /// Unix milliseconds, as of the batch that is being executed.
    pub(crate) now_ms: i64,
    /// For sampling; seeded per shard.
    pub(crate) random: SmallRng,
    /// The clock for `OBJECT IDLETIME` and eviction, in the unit of the entries' 24 bits.
    pub(crate) lru_clock: u32,
    /// How much more they may take.
    pub(crate) lease: room::Lease,
    /// What is known of the keys to evict the right ones.
    pub(crate) evictor: evict::Evictor,
    /// Freed in slices.
    pub(crate) garbage: ballast_storage::Garbage,
    /// Set by a handler whose caller gets the reply when all of `garbage` is freed.
    pub(crate) reply_when_freed: bool,
    /// Classes of keyspace events that are published, if there is a channel for them.
    pub(crate) notified: KeyspaceEvents,
    /// Changes of the data set since the start.
    pub(crate) dirty: u64,
    /// What has been done to slots that somebody follows, and not been sent.
    effects: effects::Effects,
    /// Where expiry stands.
    pub(crate) expiry: expiry::Round,
    /// Its part of the snapshot under way.
    walker: Option<Box<snapshot::Walker>>,
}

/// What is known of the length of a call whose cost is constant unless it meets a long value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Long {
    /// It has met none so far.
    Unmet,
    /// It has met one, and has done nothing.
    Met,
    /// It may go on.
    Allowed,
}

impl Engine {
    /// Of a server with so many commands that has just started.
    pub(crate) fn new(id: ShardId, node: Arc<Node>, commands: usize) -> Engine {
        let shards = node.shards();
        let slots = (0..SLOTS)
            .map(|slot| (initial_owner(slot, shards) == id).then(Box::<Slot>::default))
            .collect();
        let config = node.config.load();
        Engine {
            id,
            limits: limits(&config),
            config,
            config_version: 0,
            modes: ModesSeen::default(),
            counters: Arc::clone(&node.counters[id.index()]),
            slots,
            slots_bytes: 0,
            lent_bytes: 0,
            visiting_bytes: 0,
            ready: VecDeque::new(),
            statistics: Statistics::new(commands),
            hand_over_times: None,
            blocked: None,
            on_behalf: false,
            long: Long::Unmet,
            left: false,
            counts_uses: false,
            running: ClientId(0),
            now_ms: node.clock.wall_ms(),
            random: SmallRng::seed_from_u64(node.seed ^ u64::from(id.0)),
            lru_clock: ballast_storage::eviction::lru_clock(node.clock.wall_ms()),
            lease: room::Lease::default(),
            evictor: evict::Evictor::default(),
            garbage: ballast_storage::Garbage::default(),
            reply_when_freed: false,
            notified: KeyspaceEvents::default(),
            dirty: 0,
            effects: effects::Effects::default(),
            expiry: expiry::Round::default(),
            walker: None,
            node,
        }
    }

    /// The slot's box, if it is here. No slot at all is nowhere.
    #[inline(always)]
    pub(crate) fn slot(&self, slot: u16) -> Option<&Slot> {
        self.slots.get(usize::from(slot))?.as_deref()
    }

    /// Whether the slot's box is here.
    #[inline(always)]
    pub(crate) fn has(&self, slot: u16) -> bool {
        self.slots[usize::from(slot)].is_some()
    }

    /// The riders of a slot, and its work; its keys change through [`write::Write`] only.
    #[inline(always)]
    pub(crate) fn slot_mut(&mut self, slot: u16) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(slot))?.as_deref_mut()
    }

    /// The boxes that are here, with their slots.
    pub(crate) fn boxes(&self) -> impl Iterator<Item = (u16, &Slot)> {
        (0..SLOTS).zip(&self.slots).filter_map(|(slot, boxed)| Some((slot, boxed.as_deref()?)))
    }

    /// Takes a slot's box out, if it is here.
    #[inline]
    pub(crate) fn take_box(&mut self, slot: u16) -> Option<Box<Slot>> {
        let boxed = self.slots[usize::from(slot)].take()?;
        self.send_effects();
        self.leaves(boxed.data().bytes());
        Some(boxed)
    }

    /// Takes all boxes out that are here, with their slots.
    pub(crate) fn take_all_boxes(&mut self) -> Vec<(u16, Box<Slot>)> {
        self.send_effects();
        self.leaves(self.slots_bytes);
        let all = (0..).zip(self.slots.iter_mut());
        all.filter_map(|(slot, place)| Some((slot, place.take()?))).collect()
    }

    /// Puts a slot's box in.
    #[inline]
    pub(crate) fn put_box(&mut self, slot: u16, boxed: Box<Slot>) {
        self.arrives(&boxed);
        let before = self.slots[usize::from(slot)].replace(boxed);
        assert!(before.is_none(), "slot {slot} has two boxes");
    }

    /// Bytes of the slots that are here.
    #[inline(always)]
    pub(crate) fn slots_bytes(&self) -> u64 {
        self.slots_bytes
    }

    /// Answers a command that reaches for a slot which has not been fetched for it: its keys are
    /// not where its key specification says.
    #[cold]
    pub(crate) fn unfetched(&self, command: &str, slot: u16) -> CommandError {
        self.counters.unfetched.add(1);
        let message = format!(
            "Command {command} reached for slot {slot}, which was not fetched for it. This is a \
             defect: please report it with the command's arguments."
        );
        self.node.log.line(self.now_ms, Level::Warning, &message);
        CommandError::other(format!("ERR internal error: slot {slot} was not fetched"))
    }

    /// Reads the clocks for the batch that begins.
    pub(crate) fn tick(&mut self) {
        self.now_ms = self.node.clock.wall_ms();
    }

    /// Bytes of the slots that this shard owns, also while some of them travel.
    #[inline(always)]
    pub(crate) fn owned_bytes(&self) -> u64 {
        (self.slots_bytes + self.lent_bytes).saturating_sub(self.visiting_bytes)
    }

    /// Begins a batch of `client`'s commands: reads the clock once for all of them.
    #[inline]
    pub(crate) fn begin_batch(&mut self, client: ClientId) {
        self.begin_batch_at(client, self.node.clock.wall_ms());
    }

    /// [`Self::begin_batch`] at a time that has been read already.
    #[inline]
    pub(crate) fn begin_batch_at(&mut self, client: ClientId, now_ms: i64) {
        self.now_ms = now_ms;
        self.running = client;
        self.counters.slots_bytes.set(self.owned_bytes());
        self.look_at_leases();
        let version = self.node.config.version();
        if version != self.config_version {
            self.take_config(version);
        }
    }

    /// Takes over the configuration that `CONFIG SET` has changed.
    pub(crate) fn take_config(&mut self, version: u64) {
        self.config_version = version;
        // Before the first command that goes by it.
        self.node.look_at_files();
        self.modes = self.node.modes.load();
        let before = std::mem::replace(&mut self.config, self.node.config.load());
        if before.client_output_buffer_limits != self.config.client_output_buffer_limits {
            self.node.clients.wake_waiting();
        }
        if self.node.clients.set_limit(self.config.maxmemory_clients.bytes(self.config.maxmemory)) {
            self.node.limit_clients();
        }
        self.statistics.configure(&self.config);
        self.limits = limits(&self.config);
        self.notified = self.config.notify_keyspace_events.effective();
        self.counts_uses = self.config.maxmemory_policy.is_lfu();
        self.renew_lease();
    }
}

/// The limits of the small encodings, from their directives.
pub(crate) fn limits(config: &Config) -> Limits {
    Limits {
        hash_listpack_entries_max: config.hash_max_listpack_entries,
        hash_listpack_value_max: config.hash_max_listpack_value,
        set_intset_entries_max: config.set_max_intset_entries,
        set_listpack_entries_max: config.set_max_listpack_entries,
        set_listpack_value_max: config.set_max_listpack_value,
        zset_listpack_entries_max: config.zset_max_listpack_entries,
        zset_listpack_value_max: config.zset_max_listpack_value,
        list_listpack_size_max: i64::from(config.list_max_listpack_size),
    }
}
