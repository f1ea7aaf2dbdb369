//! Why a plan does not do more: each shortfall gets its reason.

use super::goal::{Goal, Trigger};
use super::ledger::{Cause, Ledger};
use super::load;
use super::order::Run;
use super::{Plan, Summary, needs, summarise};
use crate::bound;
use crate::model::{Hold, LoadSnapshot, SlotId};
use crate::reason::Reason;

/// What makes a snapshot unusable as a whole.
pub(crate) fn unusable(snapshot: &LoadSnapshot, ledger: &Ledger) -> Option<Reason> {
    if !snapshot.health.complete {
        return Some(Reason::StaleStats);
    }
    let takers = ledger.accepting().count();
    let all = ledger.bins.iter().filter(|bin| bin.capacity > 0.0 || bin.drains).count();
    if takers == 0 || all < 2 {
        let draining = ledger.bins.iter().position(|bin| bin.drains);
        return Some(match draining.filter(|&bin| ledger.used[bin] > ledger.base[bin]) {
            Some(bin) => Reason::NoHeadroom {
                shard: ledger.bins[bin].id,
                missing_bytes: ledger.used[bin] - ledger.base[bin],
            },
            None => Reason::SingleShard,
        });
    }
    None
}

/// Why a state within its start thresholds is left alone.
pub(crate) fn calm(ledger: &Ledger, before: &Summary, goal: &Goal) -> Reason {
    match goal.load.filter(|&load| before.load_spread() > goal.limit(load)) {
        None => Reason::Balanced,
        Some(_) if before.load_max <= goal.load_min => Reason::BelowMinLoad,
        Some(threshold) => {
            let reasons = load::reasons(ledger, goal, threshold);
            reasons.into_iter().next().unwrap_or(Reason::Balanced)
        }
    }
}

/// The part of the steps that the limit on bytes allows.
pub(crate) fn within_bytes(
    goal: &Goal,
    mut moved: u64,
    steps: Vec<(Run, Cause)>,
) -> Vec<(Run, Cause)> {
    let Some(most) = goal.bytes_max else { return steps };
    let fits = |(run, _): &(Run, Cause)| {
        moved = moved.saturating_add(run.bytes);
        moved <= most
    };
    steps.into_iter().take_while(fits).collect()
}

/// Fills in the floor and the reasons of a plan, judged at its final state.
pub(crate) fn explain(ledger: &Ledger, goal: &Goal, plan: &mut Plan) {
    let after = summarise(ledger);
    let mut probe = ledger.clone();
    let band = bound::band(&mut probe, goal.memory.stop, goal.relief_min());
    plan.floor = bound::fluid_floor(&probe, &band);
    let mut reasons = Vec::new();
    for bin in (0..ledger.bins.len()).filter(|&bin| ledger.bins[bin].drains) {
        let missing = ledger.used[bin] - ledger.base[bin];
        if missing > 0 {
            let shard = ledger.bins[bin].id;
            reasons.push(Reason::NoHeadroom { shard, missing_bytes: missing });
        }
        // It must end without slots, empty ones too.
        reasons.extend(held_reason(ledger, bin, 0));
    }
    let (memory, _) = needs(ledger, &after, &Goal { trigger: Trigger::Continue, ..goal.clone() });
    if memory && after.spread() > goal.memory.stop + 1e-9 {
        memory_reasons(ledger, &band.dominant, goal, &after, &mut reasons);
    }
    if let Some(threshold) = goal.load.filter(|load| after.load_spread() > load.stop + 1e-9) {
        if after.load_max <= goal.load_min {
            reasons.push(Reason::BelowMinLoad);
        } else {
            reasons.extend(load::reasons(ledger, goal, threshold));
        }
    }
    if ledger.effort > goal.effort_max {
        reasons.push(Reason::Effort);
    }
    if plan.moves.is_empty() && reasons.is_empty() {
        reasons.push(Reason::GainTooSmall);
    }
    plan.blocked = reasons;
}

fn memory_reasons(
    ledger: &Ledger,
    dominant: &[SlotId],
    goal: &Goal,
    after: &Summary,
    reasons: &mut Vec<Reason>,
) {
    let full = ledger.counted().find(|&bin| ledger.bins[bin].id == after.fullest);
    let sink = ledger.accepting().find(|&bin| ledger.bins[bin].id == after.emptiest);
    let (Some(full), Some(sink)) = (full, sink) else { return };
    let helpful_bytes =
        ((ledger.fill_of(full) - ledger.fill_of(sink)) * ledger.bins[sink].capacity) as u64;
    let unmovable = |slot: u16| Reason::UnmovableSlot {
        slot: SlotId(slot),
        shard: ledger.bins[usize::from(ledger.owner[usize::from(slot)])].id,
        bytes: ledger.size(slot),
        helpful_bytes,
    };
    reasons.extend(dominant.iter().map(|slot| unmovable(slot.0)));
    let useful = |slot: &&u16| ledger.size(**slot) < helpful_bytes;
    let members = &ledger.members[full];
    if ledger.used[full] > ledger.base[full] && !members.iter().any(|slot| useful(&slot)) {
        let largest = members.last().copied().filter(|slot| !dominant.contains(&SlotId(*slot)));
        reasons.extend(largest.map(unmovable));
    } else if members
        .iter()
        .any(|&slot| ledger.size(slot) < helpful_bytes && ledger.is_barred(slot, sink))
    {
        reasons.push(Reason::NoReturn);
    } else if ledger.room(sink) == 0
        || members.first().is_some_and(|&slot| ledger.size(slot) > ledger.room(sink))
    {
        let excess = ((after.spread() - goal.memory.stop) * ledger.bins[full].capacity) as u64;
        let shard = ledger.bins[full].id;
        reasons.push(Reason::NoHeadroom { shard, missing_bytes: excess });
    } else if goal.ranges_max.is_some_and(|most| ledger.ranges() >= most) {
        reasons.push(Reason::MaxRanges);
    }
    reasons.extend(held_reason(ledger, full, 1));
    if reasons.is_empty() {
        reasons.push(Reason::GainTooSmall);
    }
}

/// Whether slots that may not move, of this size at least, are what keeps the bin full.
fn held_reason(ledger: &Ledger, full: usize, bytes_min: u64) -> Option<Reason> {
    let held = |hold: Hold| {
        (0..ledger.owner.len()).any(|slot| {
            usize::from(ledger.owner[slot]) == full
                && ledger.bytes[slot] >= bytes_min
                && ledger.hold[slot] == hold
        })
    };
    [
        (Hold::Cooling, Reason::Cooldown),
        (Hold::Locked, Reason::Locked),
        (Hold::Pinned, Reason::Pinned),
    ]
    .into_iter()
    .find_map(|(hold, reason)| held(hold).then_some(reason))
}
