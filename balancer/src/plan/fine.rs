//! Phase B: single moves that lower the fuller of two bins, until the spread is reached or no
//! such move exists. What remains then is bounded by the smallest slot of the fullest bin.

use super::goal::Goal;
use super::ledger::{BinIndex, Cause, Ledger};
use crate::bound::Band;

const MOVES_MAX: u32 = 4_096;
/// Pairs tried before the spread is called final.
const SINKS_MAX: usize = 8;

/// Improves by single moves among the bins that can get into the band.
pub(crate) fn fine_search(
    ledger: &mut Ledger,
    band: &Band,
    goal: &Goal,
    ranges_max: Option<usize>,
) {
    for _ in 0..MOVES_MAX {
        if ledger.effort > goal.effort_max {
            return;
        }
        let (sources, sinks) = sides(ledger, band);
        let (Some(&top), Some(&bottom)) = (sources.first(), sinks.first()) else { return };
        if ledger.fill_of(top) - ledger.fill_of(bottom) <= goal.memory.stop {
            return;
        }
        let from_top = sinks.iter().take(SINKS_MAX).map(|&to| (top, to));
        let to_bottom = sources.iter().skip(1).map(|&from| (from, bottom));
        let step = from_top
            .chain(to_bottom)
            .find_map(|(from, to)| Some((single(ledger, from, to, goal, ranges_max)?, to)));
        let Some((slot, to)) = step else { return };
        ledger.shift(slot, to, Cause::Memory);
    }
}

/// Bins in the band's reach, fullest first; those that accept, emptiest first.
fn sides(ledger: &Ledger, band: &Band) -> (Vec<BinIndex>, Vec<BinIndex>) {
    let mut sources: Vec<BinIndex> = ledger.counted().filter(|&bin| band.reachable[bin]).collect();
    sources.sort_by(|&a, &b| ledger.fill_of(b).total_cmp(&ledger.fill_of(a)).then(a.cmp(&b)));
    let mut sinks: Vec<BinIndex> =
        sources.iter().copied().filter(|&bin| ledger.bins[bin].accepts).collect();
    sinks.sort_by(|&a, &b| ledger.fill_of(a).total_cmp(&ledger.fill_of(b)).then(a.cmp(&b)));
    (sources, sinks)
}

/// The slot whose move brings the pair within the goal with the fewest bytes, or else closest to
/// equal; it must lower the fuller of the two.
fn single(
    ledger: &mut Ledger,
    from: BinIndex,
    to: BinIndex,
    goal: &Goal,
    ranges_max: Option<usize>,
) -> Option<u16> {
    let (source, sink) = (ledger.bins[from].capacity, ledger.bins[to].capacity);
    let gap = ledger.fill_of(from) - ledger.fill_of(to);
    if gap <= goal.memory.stop {
        return None;
    }
    // Larger ones would make the sink fuller, or the source emptier, than the other was.
    let useful = (gap * sink.min(source)).min(ledger.room(to) as f64 + 1.0);
    let enough = (gap - goal.memory.stop) * source * sink / (source + sink);
    let equal = gap * source * sink / (source + sink);
    let members = &ledger.members[from];
    let end = members.partition_point(|&slot| (ledger.size(slot) as f64) < useful);
    let first = members[..end].partition_point(|&slot| (ledger.size(slot) as f64) < enough);
    let left = ranges_max.map(|most| most as i64 - ledger.ranges() as i64);
    let allowed = |slot: &&u16| {
        let at = usize::from(**slot);
        ledger.may_go(**slot, to)
            && left.is_none_or(|left| i64::from(ledger.ranges_delta(at, at, to)) <= left)
    };
    let above = members[first..end].iter().find(allowed);
    let below = members[..first].iter().rev().find(allowed);
    let distance = |slot: u16| (ledger.size(slot) as f64 - equal).abs();
    let picked = match (above, below) {
        (Some(&above), Some(&below)) => {
            // Above `equal` the sink becomes the fuller one: then the smaller may be better.
            if distance(above) <= equal - enough || distance(above) <= distance(below) {
                Some(above)
            } else {
                Some(below)
            }
        }
        (above, below) => above.or(below).copied(),
    };
    ledger.effort += 16;
    picked
}
