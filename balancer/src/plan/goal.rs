//! What the planner should reach, and how hard it may try.

use crate::model::Tier;

/// Least progress that counts, where no minimal gain is asked for: a hundredth of a point.
pub(crate) const PROGRESS_MIN: f64 = 1e-4;

/// Start above the first, stop at the second; both are fractions of capacity (0.05 = 5 points).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// A spread above it is worth starting.
    pub start: f64,
    /// A started plan ends at this spread.
    pub stop: f64,
}

/// Which threshold decides whether there is anything to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Nothing runs: the start threshold and the minimal gain count.
    Start,
    /// A plan is being carried out, or the operator asked: the stop threshold counts.
    Continue,
}

/// The goal of one call of the planner.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// Which tier's costs apply; ranges matter in the node tier only.
    pub tier: Tier,
    /// Memory spread.
    pub memory: Threshold,
    /// Load spread; `None` leaves load alone.
    pub load: Option<Threshold>,
    /// Load is left alone while the busiest bin is below this fraction.
    pub load_min: f64,
    /// Plans that gain less (fraction of capacity) are not started.
    pub min_gain: f64,
    /// Fraction of its capacity that a target may reach, moves in flight included.
    pub target_fill: f64,
    /// Pieces the slot map may be cut into; `None`: no limit.
    pub ranges_max: Option<usize>,
    /// Bytes the plan may move; `None`: no limit.
    pub bytes_max: Option<u64>,
    /// Elementary steps the planner may take: the deterministic stand-in for a time limit.
    pub effort_max: u64,
    /// Which threshold decides.
    pub trigger: Trigger,
}

impl Goal {
    /// Enough effort for 16,384 slots on 64 shards, many times over.
    pub const EFFORT_MAX: u64 = 200_000_000;

    /// The goal of the default directives.
    pub fn new(tier: Tier) -> Goal {
        Goal {
            tier,
            memory: Threshold { start: 0.10, stop: 0.05 },
            load: Some(match tier {
                Tier::Thread => Threshold { start: 0.10, stop: 0.05 },
                Tier::Node => Threshold { start: 0.20, stop: 0.10 },
            }),
            load_min: 0.30,
            min_gain: 0.01,
            target_fill: 0.85,
            ranges_max: None,
            bytes_max: None,
            effort_max: Goal::EFFORT_MAX,
            trigger: Trigger::Start,
        }
    }

    /// The threshold that decides now.
    pub(crate) fn limit(&self, threshold: Threshold) -> f64 {
        match self.trigger {
            Trigger::Start => threshold.start,
            Trigger::Continue => threshold.stop,
        }
    }

    /// What a bin that cannot get into the band must gain to be relieved of its other slots. Of a
    /// relief under way the last slots are worth as much as the first.
    pub(crate) fn relief_min(&self) -> f64 {
        match self.trigger {
            Trigger::Start => self.min_gain,
            Trigger::Continue => self.min_gain.min(PROGRESS_MIN),
        }
    }

    /// Whether slots should be moved in few contiguous pieces.
    pub(crate) fn ranges_matter(&self) -> bool {
        self.tier == Tier::Node
    }
}
