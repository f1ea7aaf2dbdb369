//! The smallest hand-over that helps at once: a bin at its limit, or one above the emergency
//! fill. These may act when plans may not, so they do as little as possible.

use super::goal::{Goal, Threshold};
use super::ledger::{BinIndex, Cause, Ledger, NOBODY};
use super::{Move, to_move};
use crate::model::{Hold, LoadSnapshot, ShardId};
use crate::plan::order::Run;
use crate::reason::Reason;

/// Slots one relief may hand over.
const RELIEF_SLOTS_MAX: usize = 64;

/// Frees at least `needed_bytes` on a bin that is at its limit, with the fewest bytes that do it.
/// Targets stay below their own limit and below the source's fill. Slots that moved a short while
/// ago may move again if nothing else helps.
///
/// # Errors
/// The reason why no slot can be handed over.
pub fn relief(
    snapshot: &LoadSnapshot,
    goal: &Goal,
    shard: ShardId,
    needed_bytes: u64,
) -> Result<Vec<Move>, Reason> {
    let strict = Ledger::new(snapshot, goal);
    let Some(from) = strict.bins.iter().position(|bin| bin.id == shard) else {
        return Err(Reason::SingleShard);
    };
    if strict.accepting().all(|to| to == from) {
        return Err(Reason::SingleShard);
    }
    let mut relaxed = snapshot.clone();
    relaxed.barred.clear();
    for slot in relaxed.slots.iter_mut().filter(|slot| slot.hold == Hold::Cooling) {
        slot.hold = Hold::Free;
    }
    for ledger in [strict, Ledger::new(&relaxed, goal)] {
        let limit = |to: BinIndex| ledger.bins[to].limit;
        let moves = smallest(&ledger, from, needed_bytes, &limit);
        if !moves.is_empty() {
            return Ok(moves);
        }
    }
    Err(why_not(&Ledger::new(&relaxed, goal), from, needed_bytes))
}

/// For the fullest bin above `fill.start`: the smallest hand-over that brings it to `fill.stop`,
/// to bins below the goal's target fill. `Ok` and empty when no bin is that full.
///
/// # Errors
/// The reason why nothing can be handed over.
pub fn unburden(
    snapshot: &LoadSnapshot,
    goal: &Goal,
    fill: Threshold,
) -> Result<Vec<Move>, Reason> {
    let ledger = Ledger::new(snapshot, goal);
    let fullest = ledger
        .counted()
        .filter(|&bin| ledger.fill_of(bin) >= fill.start)
        .max_by(|&a, &b| ledger.fill_of(a).total_cmp(&ledger.fill_of(b)).then(b.cmp(&a)));
    let Some(from) = fullest else { return Ok(Vec::new()) };
    let needed = ledger.used[from] - (fill.stop * ledger.bins[from].capacity) as u64;
    let ceiling = |to: BinIndex| ledger.bins[to].ceiling;
    let moves = smallest(&ledger, from, needed, &ceiling);
    if moves.is_empty() { Err(why_not(&ledger, from, needed)) } else { Ok(moves) }
}

/// The smallest single slot that frees enough, or largest slots first until it is enough. If
/// there is not enough to give, what there is.
fn smallest(
    ledger: &Ledger,
    from: BinIndex,
    needed: u64,
    ceiling: &dyn Fn(BinIndex) -> u64,
) -> Vec<Move> {
    let mut ledger = ledger.clone();
    let members = ledger.members[from].clone();
    let enough = members.partition_point(|&slot| ledger.size(slot) < needed);
    let single = members[enough..]
        .iter()
        .find_map(|&slot| Some((slot, target(&ledger, from, slot, ceiling)?)));
    let mut several = Vec::new();
    let mut freed = 0;
    for &slot in members[..enough].iter().rev() {
        if freed >= needed || several.len() >= RELIEF_SLOTS_MAX {
            break;
        }
        // The last one is as small as still does it.
        let last = members[..enough].partition_point(|&other| ledger.size(other) < needed - freed);
        let slot = match members.get(last) {
            Some(&small) if last < enough && owned_by(&ledger, small, from) => small,
            _ => slot,
        };
        if !owned_by(&ledger, slot, from) {
            continue;
        }
        let Some(to) = target(&ledger, from, slot, ceiling) else { continue };
        freed += ledger.size(slot);
        ledger.shift(slot, to, Cause::Emergency);
        several.push((slot, to));
    }
    let chosen = match single {
        Some((slot, to)) if freed < needed || ledger.size(slot) <= freed => vec![(slot, to)],
        _ => several,
    };
    chosen
        .into_iter()
        .map(|(slot, to)| {
            let at = usize::from(slot);
            let run = Run { lo: at, hi: at, from, to, bytes: ledger.size(slot) };
            to_move(&ledger, &run, Cause::Emergency)
        })
        .collect()
}

fn owned_by(ledger: &Ledger, slot: u16, bin: BinIndex) -> bool {
    ledger.owner[usize::from(slot)] == u16::try_from(bin).unwrap_or(NOBODY)
}

/// The bin with most room that stays below its ceiling and ends less full than the source was.
fn target(
    ledger: &Ledger,
    from: BinIndex,
    slot: u16,
    ceiling: &dyn Fn(BinIndex) -> u64,
) -> Option<BinIndex> {
    let bytes = ledger.size(slot);
    ledger
        .accepting()
        .filter(|&to| to != from && ledger.may_go(slot, to))
        .filter(|&to| {
            let after = ledger.used[to].saturating_add(bytes);
            after <= ceiling(to) && ledger.fill_with(to, after) < ledger.fill_of(from)
        })
        .min_by(|&a, &b| ledger.fill_of(a).total_cmp(&ledger.fill_of(b)).then(a.cmp(&b)))
}

fn why_not(ledger: &Ledger, from: BinIndex, needed: u64) -> Reason {
    let shard = ledger.bins[from].id;
    let room = ledger.accepting().filter(|&to| to != from).map(|to| ledger.room(to)).max();
    match ledger.members[from].first() {
        None => Reason::Locked,
        Some(&slot) if room.unwrap_or(0) >= needed.max(1) && ledger.size(slot) > needed => {
            Reason::UnmovableSlot {
                slot: crate::model::SlotId(slot),
                shard,
                bytes: ledger.size(slot),
                helpful_bytes: room.unwrap_or(0),
            }
        }
        Some(_) => Reason::NoHeadroom { shard, missing_bytes: needed },
    }
}
