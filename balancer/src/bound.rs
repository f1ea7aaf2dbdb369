//! The band a plan should end in, and the fewest bytes any plan needs to get there.
//!
//! Fluid bound: with the band `[a, a + T]`, what must leave the bins above it and what must
//! reach the bins below it are both unavoidable, and `a` is free to choose:
//! `LB(T) = min over a of max(out(a), in(a))`. `out` falls and `in` rises with `a`, so the
//! minimum is where they cross. Bytes that cannot leave a bin (fixed, held, dominant slots)
//! raise the level below which that bin cannot get.

use crate::model::{LoadSnapshot, SlotId};
use crate::plan::Goal;
use crate::plan::ledger::{BinIndex, Ledger};

const BISECTIONS: u32 = 64;

/// Where the bins should end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Band {
    /// Fill that every accepting bin should reach.
    pub(crate) low: f64,
    /// Fill that no bin should exceed.
    pub(crate) high: f64,
    /// Fewest bytes to get there.
    pub(crate) lower_bound: u64,
    /// Whether a bin can get below `high` at all.
    pub(crate) reachable: Vec<bool>,
    /// Slots that were fixed where they are because no bin could take them within the band.
    pub(crate) dominant: Vec<SlotId>,
}

impl Band {
    /// Bytes a bin must lose: drains lose everything that can leave; a bin that cannot get into
    /// the band is relieved only if that lowers it by `min_gain`.
    pub(crate) fn excess(&self, ledger: &Ledger, bin: BinIndex, min_gain: f64) -> u64 {
        excess_above(ledger, bin, self.high, min_gain)
    }

    /// Bytes a bin lacks.
    pub(crate) fn deficit(&self, ledger: &Ledger, bin: BinIndex) -> u64 {
        if !ledger.bins[bin].accepts {
            return 0;
        }
        whole(self.low * ledger.bins[bin].capacity).saturating_sub(ledger.used[bin])
    }

    /// Bytes a bin can give without leaving the band downwards.
    pub(crate) fn spare(&self, ledger: &Ledger, bin: BinIndex, min_gain: f64) -> u64 {
        if ledger.bins[bin].drains {
            return ledger.used[bin] - ledger.base[bin];
        }
        if !self.reachable[bin] {
            return self.excess(ledger, bin, min_gain);
        }
        let floor = whole((self.low * ledger.bins[bin].capacity).ceil());
        ledger.used[bin].saturating_sub(floor.max(ledger.base[bin]))
    }
}

/// The band of width `spread`, after fixing the slots that are too big for any bin.
/// The ledger's dominant slots are frozen.
pub(crate) fn band(ledger: &mut Ledger, spread: f64, min_gain: f64) -> Band {
    let mut dominant = Vec::new();
    loop {
        let low = solve(ledger, spread, min_gain);
        let high = low + spread;
        let largest_capacity =
            ledger.accepting().map(|bin| ledger.bins[bin].capacity).fold(0.0, f64::max);
        let too_big = ledger.counted().find_map(|bin| {
            let slot = ledger.largest(bin)?;
            let bytes = ledger.size(slot).saturating_add(ledger.bins[bin].fixed);
            (bytes as f64 > high * largest_capacity).then_some(slot)
        });
        let Some(slot) = too_big else {
            let reachable = (0..ledger.bins.len())
                .map(|bin| {
                    ledger.bins[bin].counts()
                        && ledger.base[bin] as f64 <= high * ledger.bins[bin].capacity
                })
                .collect();
            let lower_bound = whole(outflow(ledger, high, min_gain).max(inflow(ledger, low)));
            return Band { low, high, lower_bound, reachable, dominant };
        };
        ledger.freeze(slot);
        dominant.push(SlotId(slot));
    }
}

/// The fewest bytes that any plan must move to end at this spread (a fraction of capacity), by
/// the goal's view of what can move.
pub fn lower_bound(snapshot: &LoadSnapshot, spread: f64, goal: &Goal) -> u64 {
    let mut ledger = Ledger::new(snapshot, goal);
    band(&mut ledger, spread, goal.min_gain).lower_bound
}

/// The spread that what cannot move leaves behind, and the number of dominant slots.
pub(crate) fn floor(snapshot: &LoadSnapshot, goal: &Goal) -> (f64, usize) {
    let mut ledger = Ledger::new(snapshot, goal);
    let band = band(&mut ledger, goal.memory.stop, goal.min_gain);
    (fluid_floor(&ledger, &band), band.dominant.len())
}

/// The load spread that no plan gets below: what cannot move stays, slots that cause more than an
/// even share go to the coldest bins, and the rest is poured over the bins like water.
pub(crate) fn load_floor(ledger: &Ledger) -> f64 {
    let bins: Vec<BinIndex> = ledger.accepting().collect();
    let cores: Vec<f64> = bins.iter().map(|&bin| ledger.bins[bin].cores).collect();
    let mut base: Vec<f64> = bins.iter().map(|&bin| ledger.bins[bin].fixed_cpu).collect();
    let (mut movable, mut free) = (0.0, Vec::new());
    for (slot, &cpu) in ledger.load.iter().enumerate().filter(|(_, cpu)| **cpu > 0.0) {
        let owner = bins.iter().position(|&bin| bin == usize::from(ledger.owner[slot]));
        match owner {
            Some(at) if !ledger.free[slot] => base[at] += cpu,
            _ => {
                movable += cpu;
                free.push(cpu);
            }
        }
    }
    free.sort_unstable_by(|a, b| b.total_cmp(a));
    for cpu in free {
        let with = |at: &usize| (base[*at] + cpu) / cores[*at];
        let coldest = (0..base.len()).min_by(|a, b| with(a).total_cmp(&with(b)));
        let Some(at) = coldest else { return 0.0 };
        if with(&at) <= water_level(&base, &cores, movable) {
            break;
        }
        base[at] += cpu;
        movable -= cpu;
    }
    let low = water_level(&base, &cores, movable.max(0.0));
    let peak = base.iter().zip(&cores).map(|(base, cores)| base / cores).fold(0.0, f64::max);
    (peak - low).max(0.0)
}

/// How high `poured` stands in vessels of these widths that hold `base` already.
fn water_level(base: &[f64], widths: &[f64], poured: f64) -> f64 {
    let wide: f64 = widths.iter().sum();
    let (mut low, mut high) = (0.0, (base.iter().sum::<f64>() + poured) / wide);
    // The level is above that of all together where some stand out.
    let takes = |level: f64| -> f64 {
        base.iter().zip(widths).map(|(base, width)| (level * width - base).max(0.0)).sum()
    };
    if takes(high) < poured {
        return high;
    }
    for _ in 0..BISECTIONS {
        let middle = (low + high) / 2.0;
        if takes(middle) < poured {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The spread that remains if data were divisible: what dominant and held slots leave behind.
pub(crate) fn fluid_floor(ledger: &Ledger, band: &Band) -> f64 {
    let unreachable = |bin: &BinIndex| !band.reachable[*bin];
    let peak = ledger
        .counted()
        .filter(unreachable)
        .map(|bin| ledger.fill_with(bin, ledger.base[bin]))
        .fold(0.0, f64::max);
    if peak > 0.0 { (peak - band.low).max(0.0) } else { 0.0 }
}

fn excess_above(ledger: &Ledger, bin: BinIndex, high: f64, min_gain: f64) -> u64 {
    let (used, base, limits) = (ledger.used[bin], ledger.base[bin], &ledger.bins[bin]);
    if limits.drains {
        return used - base;
    }
    if !limits.counts() {
        return 0;
    }
    let top = whole(high * limits.capacity);
    if base <= top {
        return used.saturating_sub(top);
    }
    let excess = used - base;
    if excess as f64 >= min_gain * limits.capacity { excess } else { 0 }
}

fn outflow(ledger: &Ledger, high: f64, min_gain: f64) -> f64 {
    (0..ledger.bins.len()).map(|bin| excess_above(ledger, bin, high, min_gain) as f64).sum()
}

fn inflow(ledger: &Ledger, low: f64) -> f64 {
    ledger
        .accepting()
        .map(|bin| (low * ledger.bins[bin].capacity - ledger.used[bin] as f64).max(0.0))
        .sum()
}

/// The `a` at which outflow and inflow cross.
fn solve(ledger: &Ledger, spread: f64, min_gain: f64) -> f64 {
    let fills = (0..ledger.bins.len()).map(|bin| ledger.fill_of(bin));
    let total: f64 = ledger.used.iter().map(|&used| used as f64).sum();
    let room: f64 = ledger.accepting().map(|bin| ledger.bins[bin].capacity).sum();
    let (mut low, mut high) =
        (0.0, fills.fold(if room > 0.0 { total / room } else { 0.0 }, f64::max));
    for _ in 0..BISECTIONS {
        let middle = (low + high) / 2.0;
        if outflow(ledger, middle + spread, min_gain) > inflow(ledger, middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

fn whole(bytes: f64) -> u64 {
    bytes.max(0.0) as u64
}
