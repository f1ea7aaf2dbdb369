//! Phase A: carry what is too much from the bins above the band to those below it.

use super::goal::Goal;
use super::ledger::{BinIndex, Cause, Ledger};
use super::select::{Want, pick};
use crate::bound::Band;

const ROUNDS_MAX: u32 = 6;

/// How the slots of one carry are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// Never more than is wanted.
    Fit,
    /// The last slot may be larger than what is left.
    Cover,
    /// Contiguous pieces.
    Pieces,
}

/// Moves slots until every bin is in the band or nothing fits.
pub(crate) fn transport(ledger: &mut Ledger, band: &Band, goal: &Goal, ranges_max: Option<usize>) {
    // First what fits without overshoot, wherever it fits; then whole slots cover the rest.
    // Pieces overshoot by at most a fiftieth anyway: they need one pass.
    let passes: &[Pass] =
        if goal.ranges_matter() { &[Pass::Pieces] } else { &[Pass::Fit, Pass::Cover] };
    for &pass in passes {
        for _ in 0..ROUNDS_MAX {
            let pushed = push_from_full(ledger, band, goal, ranges_max, pass);
            let pulled = pull_to_empty(ledger, band, goal, ranges_max, pass);
            if !pushed && !pulled || ledger.effort > goal.effort_max {
                break;
            }
        }
    }
}

/// What a bin has to give or take on average.
fn scale(ledger: &Ledger, band: &Band) -> u64 {
    band.lower_bound / ledger.bins.len().max(1) as u64
}

/// Bytes too small to matter: a ten-thousandth of the wanted spread.
fn is_crumb(ledger: &Ledger, bin: BinIndex, bytes: u64, goal: &Goal) -> bool {
    bytes == 0
        || !ledger.bins[bin].drains
            && (bytes as f64) < ledger.bins[bin].capacity * goal.memory.stop * 5e-5
}

fn push_from_full(
    ledger: &mut Ledger,
    band: &Band,
    goal: &Goal,
    ranges_max: Option<usize>,
    pass: Pass,
) -> bool {
    let scale = scale(ledger, band);
    let mut sources: Vec<(u64, BinIndex)> = (0..ledger.bins.len())
        .map(|bin| (band.excess(ledger, bin, goal.relief_min()), bin))
        .filter(|&(excess, bin)| !is_crumb(ledger, bin, excess, goal))
        .collect();
    // Drains first: they need the room most.
    sources.sort_by_key(|&(excess, bin)| (!ledger.bins[bin].drains, u64::MAX - excess, bin));
    let mut moved = false;
    for (_, from) in sources {
        let mut useless = vec![false; ledger.bins.len()];
        loop {
            // Whether it is worth while was asked of the whole, not of what is left of it.
            let excess = band.excess(ledger, from, 0.0);
            if is_crumb(ledger, from, excess, goal) || ledger.effort > goal.effort_max {
                break;
            }
            let Some((to, gap)) = best_target(ledger, band, from, &useless, pass) else { break };
            let most = room_in_band(ledger, band, to)
                .min(band.spare(ledger, from, goal.relief_min()).max(excess));
            let want = Want { bytes: excess.min(gap), most, cover: pass != Pass::Fit, scale };
            if !carry(ledger, from, to, want, goal, ranges_max) {
                useless[to] = true;
            } else {
                moved = true;
            }
        }
    }
    moved
}

fn pull_to_empty(
    ledger: &mut Ledger,
    band: &Band,
    goal: &Goal,
    ranges_max: Option<usize>,
    pass: Pass,
) -> bool {
    let scale = scale(ledger, band);
    let mut sinks: Vec<(u64, BinIndex)> = ledger
        .accepting()
        .map(|bin| (band.deficit(ledger, bin), bin))
        .filter(|&(deficit, bin)| !is_crumb(ledger, bin, deficit, goal))
        .collect();
    sinks.sort_by_key(|&(deficit, bin)| (u64::MAX - deficit, bin));
    let mut moved = false;
    for (_, to) in sinks {
        let mut useless = vec![false; ledger.bins.len()];
        loop {
            let deficit = band.deficit(ledger, to).min(ledger.room(to));
            if is_crumb(ledger, to, deficit, goal) || ledger.effort > goal.effort_max {
                break;
            }
            let Some(from) = best_source(ledger, band, goal, to, &useless) else { break };
            let spare = band.spare(ledger, from, goal.relief_min());
            let most = spare.min(room_in_band(ledger, band, to));
            let want = Want { bytes: deficit.min(spare), most, cover: pass != Pass::Fit, scale };
            if !carry(ledger, from, to, want, goal, ranges_max) {
                useless[from] = true;
            } else {
                moved = true;
            }
        }
    }
    moved
}

/// Moves one pick; whether it moved any bytes.
fn carry(
    ledger: &mut Ledger,
    from: BinIndex,
    to: BinIndex,
    want: Want,
    goal: &Goal,
    ranges_max: Option<usize>,
) -> bool {
    let drains = ledger.bins[from].drains;
    let left = match ranges_max {
        Some(most) if !drains => Some(most as i64 - ledger.ranges() as i64),
        _ => None,
    };
    let slots = pick(ledger, from, to, want, goal.ranges_matter(), left);
    let cause = if drains { Cause::Drain } else { Cause::Memory };
    for &slot in &slots {
        ledger.shift(slot, to, cause);
    }
    !slots.is_empty()
}

/// Bytes a target may take without leaving the band upwards or passing its fill limit.
fn room_in_band(ledger: &Ledger, band: &Band, to: BinIndex) -> u64 {
    let top = (band.high * ledger.bins[to].capacity) as u64;
    ledger.room(to).min(top.saturating_sub(ledger.used[to]))
}

/// The target that lacks most, or else has most room; nearer zones first. With it, how much.
fn best_target(
    ledger: &Ledger,
    band: &Band,
    from: BinIndex,
    useless: &[bool],
    pass: Pass,
) -> Option<(BinIndex, u64)> {
    let candidates = |gap: &dyn Fn(BinIndex) -> u64| {
        ledger
            .accepting()
            .filter(|&to| to != from && !useless[to])
            .map(|to| (ledger.bins[to].zone != ledger.bins[from].zone, to, gap(to)))
            .filter(|&(_, _, gap)| gap > 0)
            .min_by_key(|&(far, to, gap)| (far, u64::MAX - gap, to))
            .map(|(_, to, gap)| (to, gap))
    };
    let lacking = candidates(&|to| band.deficit(ledger, to).min(room_in_band(ledger, band, to)));
    // What covers the rest of the source may fill a target up to the band's top.
    lacking
        .filter(|_| pass != Pass::Cover)
        .or_else(|| candidates(&|to| room_in_band(ledger, band, to)))
}

/// The fullest bin that can give; nearer zones first.
fn best_source(
    ledger: &Ledger,
    band: &Band,
    goal: &Goal,
    to: BinIndex,
    useless: &[bool],
) -> Option<BinIndex> {
    (0..ledger.bins.len())
        .filter(|&from| from != to && !useless[from])
        .filter(|&from| !is_crumb(ledger, from, band.spare(ledger, from, goal.relief_min()), goal))
        .min_by(|&a, &b| {
            let far = |from: BinIndex| ledger.bins[from].zone != ledger.bins[to].zone;
            let by_fill = ledger.fill_of(b).total_cmp(&ledger.fill_of(a));
            far(a).cmp(&far(b)).then(by_fill).then(a.cmp(&b))
        })
}

/// What is left on draining bins after the band is full: largest first, each to the bin that
/// is then least full, up to its fill limit. Empty slots follow their neighbours.
pub(crate) fn empty_drains(ledger: &mut Ledger, goal: &Goal) {
    for from in (0..ledger.bins.len()).filter(|&bin| ledger.bins[bin].drains).collect::<Vec<_>>() {
        for slot in ledger.members[from].clone().into_iter().rev() {
            if ledger.effort > goal.effort_max {
                return;
            }
            let bytes = ledger.size(slot);
            let target = ledger
                .accepting()
                .filter(|&to| to != from && ledger.room(to) >= bytes && ledger.may_go(slot, to))
                .min_by(|&a, &b| ledger.fill_of(a).total_cmp(&ledger.fill_of(b)).then(a.cmp(&b)));
            if let Some(to) = target {
                ledger.shift(slot, to, Cause::Drain);
            }
        }
        follow_neighbours(ledger, from);
    }
}

fn follow_neighbours(ledger: &mut Ledger, from: BinIndex) {
    let Some(fallback) = ledger
        .accepting()
        .filter(|&to| to != from)
        .min_by(|&a, &b| ledger.fill_of(a).total_cmp(&ledger.fill_of(b)).then(a.cmp(&b)))
    else {
        return;
    };
    let mut last = fallback;
    for at in 0..ledger.owner.len() {
        let owner = usize::from(ledger.owner[at]);
        if owner != from {
            if ledger.bins.get(owner).is_some_and(|bin| bin.accepts) {
                last = owner;
            }
        } else if ledger.free[at] && ledger.bytes[at] == 0 {
            let slot = super::ledger::slot_number(at);
            let target =
                std::iter::once(last).chain(ledger.accepting()).find(|&to| ledger.may_go(slot, to));
            if let Some(to) = target {
                ledger.shift(slot, to, Cause::Drain);
            }
        }
    }
}
