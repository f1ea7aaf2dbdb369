//! The planner: from a snapshot and a goal to an ordered list of moves. One algorithm for both
//! tiers: band → transport → fine search → load → trim → order, repeated until a round gains
//! nothing, so that the plan of a planned state is empty.

mod blocked;
mod emergency;
mod exact;
mod fine;
mod goal;
mod join;
pub(crate) mod ledger;
mod load;
mod order;
mod select;
mod transport;
mod trim;

pub use emergency::{relief, unburden};
pub use goal::{Goal, Threshold, Trigger};
pub use ledger::Cause;

use crate::bound::{self, Band};
use crate::model::{LoadSnapshot, ShardId, SlotId};
use crate::reason::Reason;
use goal::PROGRESS_MIN;
use ledger::{Ledger, slot_id};
use order::Run;

/// Rounds of planning on top of a planned state. Each gains at least [`PROGRESS_MIN`]; heavy tails
/// on many bins have taken 31.
const ROUNDS_MAX: usize = 128;

/// Neighbouring slots that go from one bin to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Move {
    /// First slot.
    pub lo: SlotId,
    /// Last slot, included.
    pub hi: SlotId,
    /// Owner now.
    pub from: ShardId,
    /// Owner then.
    pub to: ShardId,
    /// Bytes of all the slots.
    pub bytes: u64,
    /// Cores used by all the slots.
    pub cpu: f64,
    /// Why.
    pub cause: Cause,
}

/// How balanced a state is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// Highest fill (bytes over capacity).
    pub fill_max: f64,
    /// Lowest fill of the bins that accept.
    pub fill_min: f64,
    /// Highest load (cores used over cores).
    pub load_max: f64,
    /// Lowest load of the bins that accept.
    pub load_min: f64,
    /// The fullest bin.
    pub fullest: ShardId,
    /// The emptiest accepting bin.
    pub emptiest: ShardId,
    /// Pieces the slot map is cut into.
    pub ranges: usize,
    /// Bytes that draining bins still hold and could give.
    pub draining_bytes: u64,
}

impl Summary {
    /// Memory spread, a fraction of capacity.
    pub fn spread(&self) -> f64 {
        self.fill_max - self.fill_min
    }

    /// Load spread, a fraction of the cores.
    pub fn load_spread(&self) -> f64 {
        self.load_max - self.load_min
    }
}

/// What should move, and what that achieves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Given by the state machine; 0 from the pure planner.
    pub id: u64,
    /// Slot map version of the snapshot.
    pub epoch: u64,
    /// In an order of which every prefix is safe.
    pub moves: Vec<Move>,
    /// The state planned from.
    pub before: Summary,
    /// The state after all moves.
    pub after: Summary,
    /// Fewest bytes that any plan needs for the goal.
    pub lower_bound: u64,
    /// Memory spread that divisible data would leave, given what cannot move.
    pub floor: f64,
    /// Why there is not more; empty if the goal is reached.
    pub blocked: Vec<Reason>,
}

impl Plan {
    /// Bytes of all moves.
    pub fn bytes(&self) -> u64 {
        self.moves.iter().map(|step| step.bytes).sum()
    }

    /// Slots of all moves.
    pub fn slots(&self) -> usize {
        self.moves.iter().map(|step| step.hi.index() - step.lo.index() + 1).sum()
    }

    /// Whether nothing should move.
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty()
    }
}

/// Plans the whole way to the goal. The same snapshot and goal always give the same plan.
pub fn plan(snapshot: &LoadSnapshot, goal: &Goal) -> Plan {
    let mut pristine = Ledger::levels(snapshot, goal);
    let before = summarise(&pristine);
    let mut plan = Plan { epoch: snapshot.epoch, before, after: before, ..Plan::default() };
    if let Some(reason) = blocked::unusable(snapshot, &pristine) {
        plan.blocked.push(reason);
        return plan;
    }
    if needs(&pristine, &before, goal) == (false, false) {
        plan.blocked.push(blocked::calm(&pristine, &before, goal));
        return plan;
    }
    pristine.sort();
    let original = pristine.clone();
    let mut rounds: Vec<Vec<(Run, Cause)>> = Vec::new();
    // Once begun, a plan goes on to the stop threshold.
    let begun = Goal { trigger: Trigger::Continue, ..goal.clone() };
    while rounds.len() < ROUNDS_MAX {
        let wanted = if rounds.is_empty() { goal } else { &begun };
        let needed = needs(&pristine, &summarise(&pristine), wanted);
        let Some(round) = improve(&pristine, goal, needed) else { break };
        if rounds.is_empty() {
            let mut probe = pristine.clone();
            plan.lower_bound =
                bound::band(&mut probe, goal.memory.stop, goal.relief_min()).lower_bound;
        }
        let moved = rounds.iter().flatten().map(|(run, _)| run.bytes).sum();
        let allowed = blocked::within_bytes(goal, moved, round);
        if allowed.is_empty() {
            break;
        }
        carry_out(&mut pristine, &allowed);
        rounds.push(allowed);
    }
    let (steps, pristine) = join::join(&original, pristine, &rounds);
    plan.moves = steps.iter().map(|(run, cause)| to_move(&pristine, run, *cause)).collect();
    plan.after = summarise(&pristine);
    blocked::explain(&pristine, goal, &mut plan);
    plan
}

/// One round: the moves that improve on the ledger's state, in what is needed of memory and load,
/// if they improve it enough.
fn improve(
    pristine: &Ledger,
    goal: &Goal,
    (memory, load): (bool, bool),
) -> Option<Vec<(Run, Cause)>> {
    if !memory && !load {
        return None;
    }
    let mut ledger = pristine.clone();
    // A hair tighter than the goal, so that rounding to whole bytes stays inside.
    let band = bound::band(&mut ledger, goal.memory.stop * (1.0 - 1e-4), goal.relief_min());
    if memory {
        let ranges_max = goal.ranges_max;
        transport::transport(&mut ledger, &band, goal, ranges_max);
        transport::empty_drains(&mut ledger, goal);
        fine::fine_search(&mut ledger, &band, goal, ranges_max);
        trim::trim(&mut ledger, &band, goal);
        exact::improve(&mut ledger, &band, goal);
    }
    if let Some(threshold) = goal.load.filter(|_| load_allowed(&ledger, load, goal)) {
        let spread = summarise(&ledger).spread().max(goal.memory.stop);
        load::level_load(&mut ledger, goal, threshold, spread);
    }
    let order = order::order(&ledger);
    for run in &order.stuck {
        for slot in run.lo..=run.hi {
            ledger.shift(ledger::slot_number(slot), run.from, Cause::Memory);
        }
    }
    let steps = order.ready.into_iter().map(|run| (run, ledger.cause[run.lo])).collect();
    is_worthwhile(pristine, &ledger, &band, goal).then_some(steps)
}

/// Whether memory and load are over their thresholds.
fn needs(ledger: &Ledger, before: &Summary, goal: &Goal) -> (bool, bool) {
    let over_limit = ledger.counted().any(|bin| ledger.used[bin] > ledger.bins[bin].limit);
    let draining = ledger.bins.iter().enumerate().any(|(bin, limits)| {
        limits.drains
            && (!ledger.members[bin].is_empty()
                || (0..ledger.owner.len())
                    .any(|slot| usize::from(ledger.owner[slot]) == bin && ledger.free[slot]))
    });
    let memory = draining || over_limit || before.spread() > goal.limit(goal.memory) + 1e-9;
    let load = goal.load.is_some_and(|load| {
        let limit = goal.limit(load) + 1e-9;
        before.load_spread() > limit
            && before.load_max > goal.load_min
            // What no plan takes away is no need.
            && before.load_spread() - bound::load_floor(ledger) > limit
    });
    (memory, load)
}

/// In the node tier load is touched only when memory is in its band.
fn load_allowed(ledger: &Ledger, wanted: bool, goal: &Goal) -> bool {
    let spread = summarise(ledger).spread();
    match goal.tier {
        crate::model::Tier::Thread => true,
        crate::model::Tier::Node => wanted && spread <= goal.memory.start,
    }
}

/// Whether a round gains enough: a drain or an empty bin always does.
fn is_worthwhile(before: &Ledger, after: &Ledger, band: &Band, goal: &Goal) -> bool {
    let (old, new) = (summarise(before), summarise(after));
    if new.draining_bytes < old.draining_bytes || emptied_slots(before, after) {
        return true;
    }
    if new.spread() > old.spread().max(goal.memory.stop) + 1e-9 {
        return false;
    }
    let inner = |ledger: &Ledger| {
        let fills =
            || ledger.counted().filter(|&bin| band.reachable[bin]).map(|bin| ledger.fill_of(bin));
        let low = fills().fold(f64::INFINITY, f64::min);
        (fills().fold(0.0, f64::max) - low).max(0.0)
    };
    let gain = (old.spread() - new.spread())
        .max(old.fill_max - new.fill_max)
        .max(inner(before) - inner(after))
        .max(old.load_spread() - new.load_spread());
    match goal.trigger {
        Trigger::Start => gain >= goal.min_gain.max(PROGRESS_MIN),
        Trigger::Continue => gain >= PROGRESS_MIN,
    }
}

/// Whether a draining bin lost slots without bytes.
fn emptied_slots(before: &Ledger, after: &Ledger) -> bool {
    (0..before.owner.len()).any(|slot| {
        let owner = usize::from(before.owner[slot]);
        before.owner[slot] != after.owner[slot]
            && before.bins.get(owner).is_some_and(|bin| bin.drains)
    })
}

fn carry_out(ledger: &mut Ledger, steps: &[(Run, Cause)]) {
    for (run, cause) in steps {
        for slot in run.lo..=run.hi {
            ledger.shift(ledger::slot_number(slot), run.to, *cause);
        }
    }
    ledger.commit();
}

fn to_move(ledger: &Ledger, run: &Run, cause: Cause) -> Move {
    Move {
        lo: slot_id(run.lo),
        hi: slot_id(run.hi),
        from: ledger.bins[run.from].id,
        to: ledger.bins[run.to].id,
        bytes: run.bytes,
        cpu: ledger.load[run.lo..=run.hi].iter().sum(),
        cause,
    }
}

/// How balanced a snapshot is, moves in flight counted as done.
pub fn summary(snapshot: &LoadSnapshot, goal: &Goal) -> Summary {
    summarise(&Ledger::levels(snapshot, goal))
}

fn summarise(ledger: &Ledger) -> Summary {
    let (fill_max, fill_min) = ledger.fill_edges();
    let (load_max, load_min) = ledger.load_edges();
    let by_fill = |a: &usize, b: &usize| ledger.fill_of(*a).total_cmp(&ledger.fill_of(*b));
    let id = |bin: Option<usize>| bin.map_or(ShardId::NOBODY, |bin| ledger.bins[bin].id);
    Summary {
        fill_max,
        fill_min,
        load_max,
        load_min,
        fullest: id(ledger.counted().max_by(|a, b| by_fill(a, b).then(b.cmp(a)))),
        emptiest: id(ledger.accepting().min_by(|a, b| by_fill(a, b).then(a.cmp(b)))),
        ranges: ledger.ranges(),
        draining_bytes: (0..ledger.bins.len())
            .filter(|&bin| ledger.bins[bin].drains)
            .map(|bin| ledger.used[bin] - ledger.base[bin])
            .sum(),
    }
}
