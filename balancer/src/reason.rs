//! Every reason why nothing moves, as one enum: STATUS, EXPLAIN, metric labels and the log
//! all use the same codes.

use crate::model::{ShardId, SlotId};

/// Why a move, a plan or a tier does not go on. [`Reason::code`] is the stable label,
/// [`Reason::sentence`] is for people.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// Nothing to do.
    Balanced,
    /// The busiest bin is below `balancer-load-min`.
    BelowMinLoad,
    /// The need has been seen, but not often enough in a row.
    Confirming {
        /// Evaluations over the start threshold so far.
        seen: u32,
        /// Evaluations wanted.
        wanted: u32,
    },
    /// No window is open.
    WindowClosed,
    /// A blackout date.
    Blackout,
    /// `BALANCER PAUSE`.
    Paused,
    /// The mode is `off`.
    ModeOff,
    /// The mode is `dryrun`: the plan is shown and recorded only.
    ModeDryrun,
    /// The mode is `manual`: the plan waits for `BALANCER APPLY`.
    ModeManual,
    /// The plan would gain less than `balancer-min-gain`.
    GainTooSmall,
    /// What would have to move was moved a short while ago.
    Cooldown,
    /// The slot may not return to the owner it came from yet.
    NoReturn,
    /// Slots are busy elsewhere.
    Locked,
    /// Slots are pinned by the operator.
    Pinned,
    /// No bin has room for what should move.
    NoHeadroom {
        /// The bin that cannot give.
        shard: ShardId,
        /// Bytes that found no place.
        missing_bytes: u64,
    },
    /// A slot is bigger than the gap it could fill.
    UnmovableSlot {
        /// The slot.
        slot: SlotId,
        /// Its owner.
        shard: ShardId,
        /// Its bytes.
        bytes: u64,
        /// The size below which moving it would help.
        helpful_bytes: u64,
    },
    /// One slot causes most of what the busiest bin spends; wherever it is, its bin is the busiest.
    HotSlot {
        /// The slot.
        slot: SlotId,
        /// Its owner.
        shard: ShardId,
        /// What it causes, a fraction of the bin's share of a core.
        load: f64,
        /// What the bin spends in all.
        of: f64,
    },
    /// What the busiest bin spends goes to connections whose slots are elsewhere.
    HotConnections {
        /// The bin.
        shard: ShardId,
        /// What they cause, a fraction of the bin's share of a core.
        load: f64,
        /// What the bin spends in all.
        of: f64,
    },
    /// Moving more would cut the slot map into more than `balancer-max-ranges` pieces.
    MaxRanges,
    /// As many moves run as may.
    Concurrency(Limit),
    /// The next move would not be done before the window closes.
    Bandwidth,
    /// Client latency is above `balancer-latency-guard`.
    LatencyGuard,
    /// `balancer-node-bytes-per-window` is used up.
    BytesPerWindow,
    /// Not every bin has reported.
    StaleStats,
    /// Failover, missing replica or replica lag.
    Degraded,
    /// An operator or a tool is migrating slots.
    ExternalMigration,
    /// The slot map changed after the plan was made.
    EpochChanged,
    /// There is only one bin to use.
    SingleShard,
    /// The planner's effort limit was reached; the plan is valid, but partial.
    Effort,
}

/// What keeps more moves from starting at once; all are the reason `concurrency`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Thread tier: the slots of one round.
    Batch,
    /// Node tier: chunks in the cluster, into and out of a node.
    Chunks,
    /// One run at a time.
    Run,
    /// One emergency at a time.
    Emergency,
}

impl Limit {
    fn sentence(self) -> &'static str {
        match self {
            Limit::Batch => {
                "as many slots move as balancer-thread-batch allows; the others follow at once"
            }
            Limit::Chunks => "as many moves run as balancer-node-concurrency allows",
            Limit::Run => "another run is under way",
            Limit::Emergency => "the moves of an emergency are under way",
        }
    }
}

impl Reason {
    /// Every code, in the order of the documentation; for metric labels and help.
    pub const CODES: [&'static str; 29] = [
        "balanced",
        "below-min-load",
        "confirming",
        "window-closed",
        "blackout",
        "paused",
        "mode-off",
        "mode-dryrun",
        "mode-manual",
        "gain-too-small",
        "cooldown",
        "no-return",
        "locked",
        "pinned",
        "no-headroom",
        "unmovable-slot",
        "hot-slot",
        "hot-connections",
        "max-ranges",
        "concurrency",
        "bandwidth",
        "latency-guard",
        "bytes-per-window",
        "stale-stats",
        "degraded",
        "external-migration",
        "epoch-changed",
        "single-shard",
        "effort",
    ];

    /// The stable label.
    pub fn code(&self) -> &'static str {
        Reason::CODES[self.index()]
    }

    /// Position of the code in [`Reason::CODES`]; counters are kept by it.
    pub fn index(&self) -> usize {
        match self {
            Reason::Balanced => 0,
            Reason::BelowMinLoad => 1,
            Reason::Confirming { .. } => 2,
            Reason::WindowClosed => 3,
            Reason::Blackout => 4,
            Reason::Paused => 5,
            Reason::ModeOff => 6,
            Reason::ModeDryrun => 7,
            Reason::ModeManual => 8,
            Reason::GainTooSmall => 9,
            Reason::Cooldown => 10,
            Reason::NoReturn => 11,
            Reason::Locked => 12,
            Reason::Pinned => 13,
            Reason::NoHeadroom { .. } => 14,
            Reason::UnmovableSlot { .. } => 15,
            Reason::HotSlot { .. } => 16,
            Reason::HotConnections { .. } => 17,
            Reason::MaxRanges => 18,
            Reason::Concurrency(_) => 19,
            Reason::Bandwidth => 20,
            Reason::LatencyGuard => 21,
            Reason::BytesPerWindow => 22,
            Reason::StaleStats => 23,
            Reason::Degraded => 24,
            Reason::ExternalMigration => 25,
            Reason::EpochChanged => 26,
            Reason::SingleShard => 27,
            Reason::Effort => 28,
        }
    }

    /// Whether both speak of the same slot or bin, with whatever figures.
    pub fn is_about_the_same(&self, other: &Reason) -> bool {
        let about = |reason: &Reason| match reason {
            Reason::UnmovableSlot { slot, .. } | Reason::HotSlot { slot, .. } => Some(slot.0),
            Reason::NoHeadroom { shard, .. } | Reason::HotConnections { shard, .. } => {
                Some(shard.0)
            }
            _ => None,
        };
        self.index() == other.index() && about(self) == about(other)
    }

    /// One sentence for an operator.
    pub fn sentence(&self) -> String {
        match self {
            Reason::Balanced => "the spread is below its start threshold".into(),
            Reason::BelowMinLoad => {
                "the busiest shard is below balancer-load-min, so load is left alone".into()
            }
            Reason::Confirming { seen, wanted } => {
                format!("over the start threshold {seen} of {wanted} times in a row")
            }
            Reason::WindowClosed => "needed work waits for the next window".into(),
            Reason::Blackout => "today is a blackout date".into(),
            Reason::Paused => "paused by BALANCER PAUSE".into(),
            Reason::ModeOff => "the mode is off".into(),
            Reason::ModeDryrun => "the mode is dryrun: the plan is only recorded".into(),
            Reason::ModeManual => "the mode is manual: the plan waits for BALANCER APPLY".into(),
            Reason::GainTooSmall => "the best plan gains less than balancer-min-gain".into(),
            Reason::Cooldown => "the slots that would help were moved a short while ago".into(),
            Reason::NoReturn => "a slot may not return to its previous owner yet".into(),
            Reason::Locked => "slots that would help are busy elsewhere".into(),
            Reason::Pinned => "slots that would help are pinned".into(),
            Reason::NoHeadroom { shard, missing_bytes } => {
                format!("no target has room for {missing_bytes} bytes of shard {shard}")
            }
            Reason::UnmovableSlot { slot, shard, bytes, helpful_bytes } => format!(
                "slot {slot} holds {bytes} bytes of shard {shard}; \
                 moving a slot helps only below {helpful_bytes} bytes"
            ),
            Reason::HotSlot { slot, shard, load, of } => format!(
                "slot {slot} alone takes {:.0} of the {:.0} % that shard {shard} spends of its \
                 core; a slot cannot be divided, and wherever it is, that shard is the busiest",
                load * 100.0,
                of * 100.0
            ),
            Reason::HotConnections { shard, load, of } => format!(
                "connections that use slots of other shards take {:.0} of the {:.0} % that shard \
                 {shard} spends of its core; no move of a slot takes that away",
                load * 100.0,
                of * 100.0
            ),
            Reason::MaxRanges => "more moves would exceed balancer-max-ranges".into(),
            Reason::Concurrency(limit) => limit.sentence().into(),
            Reason::Bandwidth => "the next chunk would not finish before the window closes".into(),
            Reason::LatencyGuard => "client latency is above balancer-latency-guard".into(),
            Reason::BytesPerWindow => "balancer-node-bytes-per-window is used up".into(),
            Reason::StaleStats => "not every shard has reported its sizes".into(),
            Reason::Degraded => "failover, missing replica or replica lag".into(),
            Reason::ExternalMigration => "slots are being migrated by hand".into(),
            Reason::EpochChanged => "the slot map changed after the plan was made".into(),
            Reason::SingleShard => "there is no second shard to balance with".into(),
            Reason::Effort => "the planner stopped at its effort limit; it goes on next".into(),
        }
    }
}
