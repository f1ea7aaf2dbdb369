//! Phase C: the second metric. Moves the slots that take away most load per byte, and sends
//! quiet slots back where memory would leave its band.

use super::goal::{Goal, Threshold};
use super::ledger::{BinIndex, Cause, Ledger, slot_number};
use crate::model::{Hold, SlotId};
use crate::reason::Reason;

const MOVES_MAX: u32 = 512;
/// Slots sent back for one hot slot.
const REPAIRS_MAX: usize = 16;
/// Hot slots tried for one step before load is called done.
const TRIES_MAX: usize = 8;
/// Coldest bins tried for one step.
const SINKS_MAX: usize = 4;
/// Sizes below this count as equal when load per byte is compared.
const BYTES_MIN: f64 = 4_096.0;

/// Slots with load of each bin, whether or not they hold bytes: a slot whose keys are all missing
/// may be the busiest.
struct Warm(Vec<Vec<u16>>);

impl Warm {
    fn of(ledger: &Ledger) -> Warm {
        let mut warm = vec![Vec::new(); ledger.bins.len()];
        for (slot, owner) in ledger.owner.iter().enumerate() {
            if ledger.load[slot] > 0.0
                && let Some(slots) = warm.get_mut(usize::from(*owner))
            {
                slots.push(slot_number(slot));
            }
        }
        Warm(warm)
    }

    /// Follows a slot from one bin to another.
    fn shift(&mut self, slot: u16, from: BinIndex, to: BinIndex) {
        if let Ok(at) = self.0[from].binary_search(&slot) {
            self.0[from].remove(at);
            let at = self.0[to].partition_point(|&other| other < slot);
            self.0[to].insert(at, slot);
        }
    }

    /// The slot of a bin that causes more than a fair share of a bin: wherever it is, that bin is
    /// one of the busiest. It is moved only for a large gain.
    fn anchor(&self, ledger: &Ledger, bin: BinIndex) -> Option<u16> {
        let (slot, cpu) = hottest(ledger, &self.0[bin])?;
        (cpu > mean_load(ledger) * ledger.bins[bin].cores).then_some(slot)
    }
}

/// The slot with most load, the first of several.
fn hottest(ledger: &Ledger, slots: &[u16]) -> Option<(u16, f64)> {
    slots
        .iter()
        .map(|&slot| (slot, ledger.load[usize::from(slot)]))
        .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
}

/// The load of every bin if load were divisible.
fn mean_load(ledger: &Ledger) -> f64 {
    let cores: f64 = ledger.counted().map(|bin| ledger.bins[bin].cores).sum();
    if cores > 0.0 { ledger.cpu.iter().sum::<f64>() / cores } else { 0.0 }
}

/// Lowers the load spread to the goal, keeping the memory spread within `memory_spread`.
pub(crate) fn level_load(ledger: &mut Ledger, goal: &Goal, load: Threshold, memory_spread: f64) {
    let mut warm = Warm::of(ledger);
    // Bins that cannot be relieved: the others are levelled among each other.
    let mut stuck = vec![false; ledger.bins.len()];
    for _ in 0..MOVES_MAX {
        let Some((from, sinks)) = hottest_and_coldest(ledger, &stuck) else { return };
        let gap = ledger.load_of(from) - ledger.load_of(sinks[0]);
        if gap <= load.stop || ledger.effort > goal.effort_max {
            return;
        }
        let anchor = warm.anchor(ledger, from);
        let moved = sinks.iter().any(|&to| {
            let cool = candidates(ledger, &warm, anchor, from, to);
            cool.into_iter()
                .any(|slot| try_move(ledger, &mut warm, slot, (from, to), memory_spread, 1e-9))
        });
        let moved = moved
            || anchor.filter(|&slot| ledger.may_go(slot, sinks[0])).is_some_and(|slot| {
                try_move(ledger, &mut warm, slot, (from, sinks[0]), memory_spread, load.stop)
            });
        stuck[from] = !moved;
    }
}

/// The hottest bin that is not stuck and the coldest ones that accept; `None` if there is no pair.
fn hottest_and_coldest(ledger: &Ledger, stuck: &[bool]) -> Option<(BinIndex, Vec<BinIndex>)> {
    let by_load = |a: &BinIndex, b: &BinIndex| ledger.load_of(*a).total_cmp(&ledger.load_of(*b));
    let free = ledger.counted().filter(|&bin| !stuck[bin]);
    let from = free.max_by(|a, b| by_load(a, b).then(b.cmp(a)))?;
    let mut sinks: Vec<BinIndex> = ledger.accepting().filter(|&to| to != from).collect();
    sinks.sort_by(|a, b| by_load(a, b).then(a.cmp(b)));
    sinks.truncate(SINKS_MAX);
    (!sinks.is_empty()).then_some((from, sinks))
}

/// Slots that would lower the hotter of the two, most relief per byte first.
fn candidates(
    ledger: &mut Ledger,
    warm: &Warm,
    anchor: Option<u16>,
    from: BinIndex,
    to: BinIndex,
) -> Vec<u16> {
    let gap = ledger.load_of(from) - ledger.load_of(to);
    let (source, sink) = (ledger.bins[from].cores, ledger.bins[to].cores);
    let equal = gap * source * sink / (source + sink);
    let mut best: Vec<(f64, u16)> = Vec::with_capacity(TRIES_MAX + 1);
    for &slot in &warm.0[from] {
        let cpu = ledger.load[usize::from(slot)];
        if cpu >= gap * sink || anchor == Some(slot) || !ledger.may_go(slot, to) {
            continue;
        }
        let relief = cpu.min(2.0 * equal - cpu);
        if relief <= 0.0 {
            continue;
        }
        let weight = relief / (ledger.size(slot) as f64 + BYTES_MIN);
        let at = best.partition_point(|&(other, _)| other >= weight);
        if at < TRIES_MAX {
            best.insert(at, (weight, slot));
            best.truncate(TRIES_MAX);
        }
    }
    ledger.effort += warm.0[from].len() as u64;
    best.into_iter().map(|(_, slot)| slot).collect()
}

/// Moves the slot if that lowers the hotter of the two by more than `gain_min` and memory can be
/// kept in its band, with slots sent back if need be.
fn try_move(
    ledger: &mut Ledger,
    warm: &mut Warm,
    slot: u16,
    (from, to): (BinIndex, BinIndex),
    memory_spread: f64,
    gain_min: f64,
) -> bool {
    let before = ledger.load_of(from);
    let saved = ledger.cause[usize::from(slot)];
    ledger.shift(slot, to, Cause::Load);
    let mut returned: Vec<(u16, Cause)> = Vec::new();
    // Nothing can be sent back to a bin that takes nothing.
    let repairs_max = if ledger.bins[from].accepts { REPAIRS_MAX } else { 0 };
    while !fits(ledger, to, memory_spread) && returned.len() < repairs_max {
        let back: u64 = returned.iter().map(|&(quiet, _)| ledger.size(quiet)).sum();
        let owed = ledger.size(slot).saturating_sub(back);
        let Some(quiet) = quietest(ledger, to, from, slot, owed) else { break };
        returned.push((quiet, ledger.cause[usize::from(quiet)]));
        ledger.shift(quiet, from, Cause::Load);
    }
    let cooler = ledger.load_of(from).max(ledger.load_of(to)) < before - gain_min;
    if cooler && fits(ledger, to, memory_spread) {
        warm.shift(slot, from, to);
        returned.iter().for_each(|&(quiet, _)| warm.shift(quiet, to, from));
        return true;
    }
    for (quiet, cause) in returned.into_iter().rev() {
        ledger.shift(quiet, to, cause);
    }
    ledger.shift(slot, from, saved);
    false
}

fn fits(ledger: &Ledger, to: BinIndex, memory_spread: f64) -> bool {
    let (high, low) = ledger.fill_edges();
    ledger.used[to] <= ledger.bins[to].ceiling && high - low <= memory_spread + 1e-12
}

/// The slot of `on` with the least load per byte among those that make up for most of what is
/// owed, so that an exchange leaves both fills almost as they were.
fn quietest(
    ledger: &mut Ledger,
    on: BinIndex,
    back: BinIndex,
    came: u16,
    owed: u64,
) -> Option<u16> {
    let members = &ledger.members[on];
    let most = owed.saturating_add(owed / 20);
    let end = members.partition_point(|&slot| ledger.size(slot) <= most);
    let first = members[..end].partition_point(|&slot| ledger.size(slot) < owed / 2);
    let weight = |slot: u16| ledger.load[usize::from(slot)] / (ledger.size(slot) as f64);
    let allowed = |slot: &u16| *slot != came && ledger.may_go(*slot, back);
    let quiet = members[first..end]
        .iter()
        .copied()
        .filter(allowed)
        .min_by(|&a, &b| weight(a).total_cmp(&weight(b)).then(a.cmp(&b)));
    // None is that large: the largest there is.
    let quiet = quiet.or_else(|| members[..first].iter().rev().copied().find(allowed));
    ledger.effort += (end - first) as u64;
    quiet
}

/// Why the load spread stays: the first reason is that of the busiest bin.
pub(crate) fn reasons(ledger: &Ledger, goal: &Goal, load: Threshold) -> Vec<Reason> {
    let warm = Warm::of(ledger);
    let by_load = |a: &BinIndex, b: &BinIndex| ledger.load_of(*a).total_cmp(&ledger.load_of(*b));
    let Some(hot) = ledger.counted().max_by(|a, b| by_load(a, b).then(b.cmp(a))) else {
        return Vec::new();
    };
    let Some(cold) = ledger.accepting().filter(|&bin| bin != hot).min_by(by_load) else {
        return Vec::new();
    };
    let shard = ledger.bins[hot].id;
    let gap = ledger.load_of(hot) - ledger.load_of(cold);
    let share = |cpu: f64| cpu / ledger.bins[hot].cores;
    let mut reasons = Vec::new();
    if let Some(slot) = warm.anchor(ledger, hot) {
        let load_of = ledger.load[usize::from(slot)];
        // What else is there is less than what a plan must gain, or cannot go either.
        if share(load_of) + load.stop.max(goal.min_gain) >= gap {
            let of = share(load_of);
            reasons.push(Reason::HotSlot {
                slot: SlotId(slot),
                shard,
                load: of,
                of: ledger.load_of(hot),
            });
        }
    }
    let fixed = share(ledger.bins[hot].fixed_cpu);
    if fixed > mean_load(ledger) + load.stop {
        reasons.push(Reason::HotConnections { shard, load: fixed, of: ledger.load_of(hot) });
    }
    let held = |hold: Hold| -> f64 {
        let held = warm.0[hot].iter().filter(|slot| ledger.hold[usize::from(**slot)] == hold);
        held.map(|slot| share(ledger.load[usize::from(*slot)])).sum()
    };
    for (hold, reason) in [
        (Hold::Cooling, Reason::Cooldown),
        (Hold::Locked, Reason::Locked),
        (Hold::Pinned, Reason::Pinned),
    ] {
        if held(hold) >= goal.min_gain {
            reasons.push(reason);
        }
    }
    let barred = warm.0[hot].iter().filter(|slot| ledger.is_barred(**slot, cold));
    if barred.map(|slot| share(ledger.load[usize::from(*slot)])).sum::<f64>() >= goal.min_gain {
        reasons.push(Reason::NoReturn);
    }
    reasons
}
