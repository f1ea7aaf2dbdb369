//! What the balancer is told: bins, slots, and what is already on its way.
//!
//! One model serves both tiers. A [`ShardLoad`] is a *bin*: a shard thread of a node in the
//! thread tier, a whole node in the node tier. Sizes are exact bytes, never estimates.

use std::fmt;

/// A bin: a shard thread (thread tier) or a node's index (node tier).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The owner of a slot that nobody owns; such a slot is left alone.
    pub const NOBODY: ShardId = ShardId(u16::MAX);
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A hash slot, 0 to 16,383.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub u16);

impl SlotId {
    /// Position of the slot in [`LoadSnapshot::slots`].
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A process; bins of one node share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

/// Which of the two levels a decision is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// Shard threads of one node: a hand-over costs microseconds.
    Thread,
    /// Nodes of the cluster: a migration costs bytes on the network.
    Node,
}

impl Tier {
    /// The word used in commands, metrics and directives.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Thread => "thread",
            Tier::Node => "node",
        }
    }
}

/// What a bin may be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShardState {
    /// Gives and takes.
    #[default]
    Active,
    /// Must end empty; takes nothing.
    Drain,
    /// Keeps what it has, gives when it is too full, takes nothing.
    NoAccept,
}

/// One bin of the snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardLoad {
    /// Its id; unique in the snapshot.
    pub id: ShardId,
    /// The node it belongs to.
    pub node: NodeId,
    /// Failure zone; nearer targets are preferred.
    pub zone: u16,
    /// Bytes that count as 100 %, weights included. 0: takes no part.
    pub capacity_bytes: u64,
    /// Bytes that no move can take away: buffers, backlog, overhead.
    pub fixed_bytes: u64,
    /// Bytes above which it would evict or refuse; never exceeded by a target.
    pub limit_bytes: u64,
    /// Cores that count as 100 % of load.
    pub cores: f64,
    /// Cores that no move of a slot sets free: what connections cost whose slots are elsewhere.
    pub fixed_cpu: f64,
    /// What it may be used for.
    pub state: ShardState,
}

impl ShardLoad {
    /// An active bin of one core whose limit is its capacity.
    pub fn new(id: ShardId, capacity_bytes: u64) -> ShardLoad {
        ShardLoad {
            id,
            node: NodeId(id.0),
            zone: 0,
            capacity_bytes,
            fixed_bytes: 0,
            limit_bytes: capacity_bytes,
            cores: 1.0,
            fixed_cpu: 0.0,
            state: ShardState::Active,
        }
    }
}

/// Why a slot may or may not be moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    /// Free to move.
    #[default]
    Free,
    /// Busy elsewhere: a node move, an operator's migration, a hold.
    Locked,
    /// Moved a short while ago.
    Cooling,
    /// Kept where it is by the operator.
    Pinned,
}

/// One slot of the snapshot; its id is its index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlotLoad {
    /// Exact bytes on the heap.
    pub bytes: u64,
    /// CPU time as a fraction of one core.
    pub cpu: f64,
    /// Network bytes a second.
    pub net: f64,
    /// The bin that owns it.
    pub owner: ShardId,
    /// Whether it may move.
    pub hold: Hold,
}

impl SlotLoad {
    /// A free slot without load.
    pub fn new(owner: ShardId, bytes: u64) -> SlotLoad {
        SlotLoad { bytes, cpu: 0.0, net: 0.0, owner, hold: Hold::Free }
    }
}

/// A move that has been started and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// The slot.
    pub slot: SlotId,
    /// Where it still is.
    pub from: ShardId,
    /// Where it counts already.
    pub to: ShardId,
    /// Its bytes.
    pub bytes: u64,
}

/// Whether the figures can be acted upon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Health {
    /// Every bin has reported, recently.
    pub complete: bool,
    /// A failover, a missing or lagging replica: the node tier waits.
    pub degraded: bool,
    /// An operator or an external tool is migrating slots.
    pub external_migration: bool,
    /// Client latency, 99th percentile, milliseconds.
    pub latency_ms_p99: Option<f64>,
}

impl Default for Health {
    fn default() -> Health {
        Health { complete: true, degraded: false, external_migration: false, latency_ms_p99: None }
    }
}

/// The state a decision is made on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadSnapshot {
    /// Version of the slot map that the owners come from.
    pub epoch: u64,
    /// The bins, in any order.
    pub shards: Vec<ShardLoad>,
    /// The slots, index = slot id; at most 65,535.
    pub slots: Vec<SlotLoad>,
    /// Moves under way; counted as done.
    pub in_flight: Vec<InFlight>,
    /// Slots that may not go (back) to a bin: the no-return rule.
    pub barred: Vec<(SlotId, ShardId)>,
    /// Whether the figures can be acted upon.
    pub health: Health,
}

impl LoadSnapshot {
    /// Bytes of its tables on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.shards.capacity() * size_of::<ShardLoad>()
            + self.slots.capacity() * size_of::<SlotLoad>()
            + self.in_flight.capacity() * size_of::<InFlight>()
            + self.barred.capacity() * size_of::<(SlotId, ShardId)>()
    }

    /// The bin of that id.
    pub fn shard(&self, id: ShardId) -> Option<&ShardLoad> {
        self.shards.iter().find(|shard| shard.id == id)
    }

    /// Bytes of all slots owned by `id`, moves in flight not counted.
    pub fn owned_bytes(&self, id: ShardId) -> u64 {
        self.slots.iter().filter(|slot| slot.owner == id).map(|slot| slot.bytes).sum()
    }

    /// Gives the slots of `moves` to their targets, as if the plan had been executed.
    pub fn apply(&mut self, moves: &[crate::plan::Move]) {
        for step in moves {
            for slot in step.lo.index()..=step.hi.index() {
                if let Some(load) = self.slots.get_mut(slot) {
                    load.owner = step.to;
                }
            }
        }
    }
}
