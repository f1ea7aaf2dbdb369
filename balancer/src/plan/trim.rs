//! Phase D: takes back moves that the goal does not need.

use super::goal::Goal;
use super::ledger::{Ledger, slot_number};
use crate::bound::Band;

/// Reverts memory moves, largest first, as long as no bin leaves the span of fills that the plan
/// has reached (widened to the goal) and no range is added.
pub(crate) fn trim(ledger: &mut Ledger, band: &Band, goal: &Goal) {
    let (low, high) = span(ledger, band, goal);
    let mut moved: Vec<usize> = (0..ledger.owner.len())
        .filter(|&slot| ledger.owner[slot] != ledger.home[slot] && ledger.bytes[slot] > 0)
        .collect();
    moved.sort_by_key(|&slot| (u64::MAX - ledger.bytes[slot], slot));
    let ranges_matter = goal.ranges_matter();
    for slot in moved {
        let (from, to) = (usize::from(ledger.owner[slot]), usize::from(ledger.home[slot]));
        if ledger.bins[to].drains || !band.reachable[to] {
            continue;
        }
        let bytes = ledger.bytes[slot];
        let source_after = ledger.fill_with(from, ledger.used[from] - bytes);
        let home_after = ledger.fill_with(to, ledger.used[to] + bytes);
        let keeps_ranges = !ranges_matter || ledger.ranges_delta(slot, slot, to) <= 0;
        if source_after >= low && home_after <= high && keeps_ranges {
            let cause = ledger.cause[slot];
            ledger.shift(slot_number(slot), to, cause);
        }
    }
}

/// The fills that are allowed: the reached ones, or the goal's width around the reached ones.
fn span(ledger: &Ledger, band: &Band, goal: &Goal) -> (f64, f64) {
    let fills = || {
        ledger
            .counted()
            .filter(|&bin| band.reachable[bin] && ledger.bins[bin].accepts)
            .map(|bin| ledger.fill_of(bin))
    };
    let (low, high) = (fills().fold(f64::INFINITY, f64::min), fills().fold(0.0, f64::max));
    if high - low >= goal.memory.stop {
        return (low, high);
    }
    // Slack goes where the band had it.
    let low = low.min(band.low).max(high - goal.memory.stop);
    (low, low + goal.memory.stop)
}
