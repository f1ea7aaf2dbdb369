//! What goes into the state machine and what comes out of it.

use super::{Cue, Record};
use crate::model::{LoadSnapshot, ShardId, SlotId};
use crate::plan::Cause;
use crate::reason::Reason;

/// Both clocks, read at the same moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Milliseconds since 1970, UTC. May be stepped.
    pub wall_ms: i64,
    /// Milliseconds since any moment; never goes back.
    pub mono_ms: u64,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The loads of now.
    Snapshot(&'a LoadSnapshot),
    /// A commanded move is done, or was given up.
    Completed {
        /// The slot.
        slot: SlotId,
        /// Whether the target owns it now.
        ok: bool,
    },
    /// A shard is at its limit and would have to evict.
    ShardAtLimit {
        /// The shard.
        shard: ShardId,
        /// Bytes it wants to free.
        needed_bytes: u64,
    },
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Move a slot, and acknowledge with [`super::Machine::completed`].
    Move {
        /// The run it belongs to; 0 for emergencies.
        plan: u64,
        /// Node tier: slots of one chunk are committed together.
        chunk: u64,
        /// The slot.
        slot: SlotId,
        /// Its owner.
        from: ShardId,
        /// Its next owner.
        to: ShardId,
        /// Its bytes when planned.
        bytes: u64,
        /// Why.
        cause: Cause,
        /// Bytes a second at most; 0 = unlimited. Always 0 in the thread tier.
        rate_limit: u64,
    },
    /// Stop a move that was commanded, and acknowledge how it ended.
    Stop {
        /// The slot.
        slot: SlotId,
        /// How.
        how: StopHow,
    },
    /// Tell operators and subscribers.
    Announce(Notice),
}

/// How a move is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopHow {
    /// Finish the slot if it is under way; do not start it otherwise.
    AfterSlot,
    /// Give it up: the source still owns it.
    Now,
}

/// Something worth telling.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A run has begun.
    Started {
        /// Plan id.
        id: u64,
        /// What started it.
        cue: Cue,
        /// Bytes planned.
        bytes: u64,
        /// Slots planned.
        moves: usize,
    },
    /// A run has ended.
    Ended(Record),
    /// Needed work waits.
    Queued {
        /// Why.
        reason: Reason,
        /// Bytes waiting.
        bytes: u64,
        /// When the next window opens, if ever.
        opens_ms: Option<i64>,
    },
    /// Needed work cannot be done.
    Blocked(Reason),
}

/// What a tier is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing to do.
    #[default]
    Idle,
    /// A need was seen and is being confirmed.
    Confirming,
    /// Work is needed and waits for a window or an approval.
    Queued,
    /// Moves are being carried out.
    Running,
    /// Paused by an operator.
    Paused,
    /// Work is needed and cannot be done.
    Blocked,
    /// A shard is nearly full and is being relieved outside windows.
    Emergency,
}

impl State {
    /// The word of STATUS and metrics.
    pub fn name(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Confirming => "confirming",
            State::Queued => "queued",
            State::Running => "running",
            State::Paused => "paused",
            State::Blocked => "blocked",
            State::Emergency => "emergency",
        }
    }
}
