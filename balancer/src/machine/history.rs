//! What has been done: the ring behind `BALANCER HISTORY`, and the counters behind metrics.

use std::collections::VecDeque;

use crate::model::Tier;
use crate::reason::Reason;

/// What started a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cue {
    /// The spread was over its start threshold for long enough.
    Spread,
    /// A shard above 80 %: no confirmation.
    Urgent,
    /// A shard must end empty.
    Drain,
    /// A shard above `balancer-emergency-fill`.
    Emergency,
    /// A shard at its limit asked for room before evicting.
    Relief,
    /// `BALANCER RUN`.
    Run,
    /// `BALANCER APPLY`.
    Apply,
}

impl Cue {
    /// The label of metrics and history.
    pub fn code(self) -> &'static str {
        match self {
            Cue::Spread => "spread",
            Cue::Urgent => "urgent",
            Cue::Drain => "drain",
            Cue::Emergency => "emergency",
            Cue::Relief => "relief",
            Cue::Run => "run",
            Cue::Apply => "apply",
        }
    }

    /// Whether an operator asked for it.
    pub fn by_user(self) -> bool {
        matches!(self, Cue::Run | Cue::Apply)
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing is left to move.
    Done,
    /// Interrupted; the rest is queued.
    Partial,
    /// `BALANCER CANCEL`, or the mode was switched off.
    Cancelled,
    /// Recorded only.
    Dryrun,
    /// Nothing could be moved.
    Failed,
}

impl Outcome {
    /// The label of metrics and history.
    pub fn code(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Partial => "partial",
            Outcome::Cancelled => "cancelled",
            Outcome::Dryrun => "dryrun",
            Outcome::Failed => "failed",
        }
    }
}

/// One line of `BALANCER HISTORY`.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Plan id.
    pub id: u64,
    /// The tier.
    pub tier: Tier,
    /// What started it.
    pub cue: Cue,
    /// Wall clock, milliseconds since 1970.
    pub started_ms: i64,
    /// Wall clock, milliseconds since 1970.
    pub ended_ms: i64,
    /// Slots moved.
    pub moves: u64,
    /// Moves that failed.
    pub failures: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// Fewest bytes any plan would have needed, as of the start.
    pub lower_bound: u64,
    /// Memory spread at the start.
    pub spread_before: f64,
    /// Memory spread at the end.
    pub spread_after: f64,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it ended, if not done.
    pub reason: Option<Reason>,
}

/// The last records, newest last.
#[derive(Clone, Debug, Default)]
pub struct History {
    records: VecDeque<Record>,
}

impl History {
    pub(crate) fn push(&mut self, record: Record, length_max: usize) {
        self.records.push_back(record);
        while self.records.len() > length_max {
            self.records.pop_front();
        }
    }

    pub(crate) fn newest_mut(&mut self) -> Option<&mut Record> {
        self.records.back_mut()
    }

    /// Records, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().rev()
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// Monotonic counters since the machine was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Evaluations.
    pub evaluations: u64,
    /// Runs started.
    pub plans: u64,
    /// Slots moved.
    pub moves: u64,
    /// Moves that failed or were cancelled.
    pub failures: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// Slots that came back to an owner of the last 24 hours. Stays 0.
    pub reversals: u64,
    /// Slots moved by emergencies and reliefs.
    pub emergency_moves: u64,
    /// Emergencies and reliefs that could not be met.
    pub emergencies_blocked: u64,
    /// Moves whose acknowledgement never came.
    pub lost: u64,
    /// Evaluations that moved nothing, by the index of the reason in `Reason::CODES`.
    pub skipped: [u64; Reason::CODES.len()],
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            evaluations: 0,
            plans: 0,
            moves: 0,
            failures: 0,
            bytes: 0,
            reversals: 0,
            emergency_moves: 0,
            emergencies_blocked: 0,
            lost: 0,
            skipped: [0; Reason::CODES.len()],
        }
    }
}

impl Counters {
    /// How often this reason kept everything in place.
    pub fn skipped(&self, reason: &Reason) -> u64 {
        self.skipped[reason.index()]
    }
}
