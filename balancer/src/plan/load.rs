//! Phase C: the second metric. Moves the slots that take away most load per byte, and sends
//! quiet slots back where memory would leave its band.

use super::goal::{Goal, Threshold};
use super::ledger::{BinIndex, Cause, Ledger};

const MOVES_MAX: u32 = 512;
/// Slots sent back for one hot slot.
const REPAIRS_MAX: usize = 16;
/// Hot slots tried for one step before load is called done.
const TRIES_MAX: usize = 8;
/// Coldest bins tried for one step.
const SINKS_MAX: usize = 4;
/// Sizes below this count as equal when load per byte is compared.
const BYTES_MIN: f64 = 4_096.0;

/// Lowers the load spread to the goal, keeping the memory spread within `memory_spread`.
pub(crate) fn level_load(ledger: &mut Ledger, goal: &Goal, load: Threshold, memory_spread: f64) {
    for _ in 0..MOVES_MAX {
        let Some((from, sinks)) = hottest_and_coldest(ledger) else { return };
        let gap = ledger.load_of(from) - ledger.load_of(sinks[0]);
        if gap <= load.stop
            || ledger.load_of(from) <= goal.load_min
            || ledger.effort > goal.effort_max
        {
            return;
        }
        let step = sinks.into_iter().any(|to| {
            let cool = candidates(ledger, from, to);
            cool.into_iter().any(|slot| try_move(ledger, slot, from, to, memory_spread))
        });
        if !step {
            return;
        }
    }
}

/// The hottest bin and the coldest ones that accept; `None` if there is no pair.
fn hottest_and_coldest(ledger: &Ledger) -> Option<(BinIndex, Vec<BinIndex>)> {
    let by_load = |a: &BinIndex, b: &BinIndex| ledger.load_of(*a).total_cmp(&ledger.load_of(*b));
    let from = ledger.counted().max_by(|a, b| by_load(a, b).then(b.cmp(a)))?;
    let mut sinks: Vec<BinIndex> = ledger.accepting().filter(|&to| to != from).collect();
    sinks.sort_by(|a, b| by_load(a, b).then(a.cmp(b)));
    sinks.truncate(SINKS_MAX);
    (!sinks.is_empty()).then_some((from, sinks))
}

/// Slots that would lower the hotter of the two, most relief per byte first.
fn candidates(ledger: &mut Ledger, from: BinIndex, to: BinIndex) -> Vec<u16> {
    let gap = ledger.load_of(from) - ledger.load_of(to);
    let (source, sink) = (ledger.bins[from].cores, ledger.bins[to].cores);
    let equal = gap * source * sink / (source + sink);
    let mut best: Vec<(f64, u16)> = Vec::with_capacity(TRIES_MAX + 1);
    for &slot in &ledger.members[from] {
        let cpu = ledger.load[usize::from(slot)];
        if cpu <= 0.0 || cpu >= gap * sink || !ledger.may_go(slot, to) {
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
    ledger.effort += ledger.members[from].len() as u64;
    best.into_iter().map(|(_, slot)| slot).collect()
}

/// Moves the slot if memory can be kept in its band, with slots sent back if need be.
fn try_move(
    ledger: &mut Ledger,
    slot: u16,
    from: BinIndex,
    to: BinIndex,
    memory_spread: f64,
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
    let cooler = ledger.load_of(from).max(ledger.load_of(to)) < before - 1e-9;
    if cooler && fits(ledger, to, memory_spread) {
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
