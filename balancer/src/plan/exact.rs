//! A bounded branch and bound for sparse data: few slots on few bins, where one slot more or
//! less decides. It only replaces a greedy result that it strictly improves.

use super::goal::Goal;
use super::ledger::{BinIndex, Cause, Ledger};
use super::order::order;
use crate::bound::{self, Band};

const SLOTS_MAX: usize = 16;
const BINS_MAX: usize = 6;
/// Nodes visited at most: a few milliseconds; 20,000 instances of P9 hold with it.
const NODES_MAX: u32 = 1_000_000;
const EPSILON: f64 = 1e-12;
/// A better spread may cost this much more than the fluid bound, and a slot for each bin (P1).
const BYTES_FACTOR: f64 = 1.05;

struct Search<'a> {
    ledger: &'a Ledger,
    /// The ledger before any move.
    home: Ledger,
    bins: Vec<BinIndex>,
    slots: Vec<u16>,
    /// Bytes of the slots from an index on.
    rest: Vec<u64>,
    used: Vec<u64>,
    choice: Vec<usize>,
    goal: &'a Goal,
    best: (f64, u64),
    solution: Option<Vec<usize>>,
    nodes: u32,
}

/// Replaces the ledger's moves by better ones, if there are any and the instance is small.
pub(crate) fn improve(ledger: &mut Ledger, band: &Band, goal: &Goal) {
    let bins: Vec<BinIndex> = ledger.accepting().filter(|&bin| band.reachable[bin]).collect();
    let others = (0..ledger.bins.len()).any(|bin| {
        !bins.contains(&bin) && (!ledger.members[bin].is_empty() || ledger.bins[bin].drains)
    });
    let mut slots: Vec<u16> = bins.iter().flat_map(|&bin| ledger.members[bin].clone()).collect();
    let too_large = slots.len() > SLOTS_MAX || bins.len() > BINS_MAX;
    if others || too_large || bins.len() < 2 || ledger.has_bars() || goal.ranges_max.is_some() {
        return;
    }
    slots.sort_by_key(|&slot| (u64::MAX - ledger.size(slot), slot));
    let mut used: Vec<u64> = bins.iter().map(|&bin| ledger.used[bin]).collect();
    let mut rest = vec![0; slots.len() + 1];
    for (at, &slot) in slots.iter().enumerate().rev() {
        rest[at] = rest[at + 1] + ledger.size(slot);
        let owner = usize::from(ledger.owner[usize::from(slot)]);
        if let Some(bin) = bins.iter().position(|&bin| bin == owner) {
            used[bin] -= ledger.size(slot);
        }
    }
    let moved = slots.iter().filter(|&&slot| is_away(ledger, slot));
    let best =
        (spread(ledger, &bins, goal.memory.stop), moved.map(|&slot| ledger.size(slot)).sum());
    let choice = vec![0; slots.len()];
    let mut home = ledger.clone();
    for &slot in slots.iter().filter(|&&slot| is_away(ledger, slot)) {
        home.shift(slot, usize::from(ledger.home[usize::from(slot)]), Cause::Memory);
    }
    let mut search = Search {
        ledger,
        home,
        bins,
        slots,
        rest,
        used,
        choice,
        goal,
        best,
        solution: None,
        nodes: 0,
    };
    search.visit(0, 0);
    let (Some(solution), slots, bins) = (search.solution, search.slots, search.bins) else {
        return;
    };
    for (&slot, choice) in slots.iter().zip(solution) {
        if usize::from(ledger.owner[usize::from(slot)]) != bins[choice] {
            ledger.shift(slot, bins[choice], Cause::Memory);
        }
    }
}

fn is_away(ledger: &Ledger, slot: u16) -> bool {
    ledger.owner[usize::from(slot)] != ledger.home[usize::from(slot)]
}

/// The spread that counts: nothing is gained below the goal.
fn spread(ledger: &Ledger, bins: &[BinIndex], stop: f64) -> f64 {
    let fills = || bins.iter().map(|&bin| ledger.fill_of(bin));
    (fills().fold(0.0, f64::max) - fills().fold(f64::INFINITY, f64::min)).max(stop)
}

impl Search<'_> {
    /// Places slot `at` in every bin, its home first.
    fn visit(&mut self, at: usize, moved: u64) {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return;
        }
        let reach = self.least_spread(at);
        let (best_spread, best_bytes) = self.best;
        if reach > best_spread + EPSILON || (reach > best_spread - EPSILON && moved >= best_bytes) {
            return;
        }
        if at == self.slots.len() {
            self.accept(reach, moved);
            return;
        }
        let slot = self.slots[at];
        let bytes = self.ledger.size(slot);
        let home = usize::from(self.ledger.home[usize::from(slot)]);
        let home = self.bins.iter().position(|&bin| bin == home).unwrap_or(0);
        for turn in 0..self.bins.len() {
            // Home first, then the others in order.
            let bin = match turn {
                0 => home,
                turn if turn <= home => turn - 1,
                turn => turn,
            };
            let cost = if bin == home { 0 } else { bytes };
            let fits = self.used[bin] + bytes <= self.ledger.bins[self.bins[bin]].ceiling;
            if bin != home && !fits {
                continue;
            }
            self.used[bin] += bytes;
            self.choice[at] = bin;
            self.visit(at + 1, moved + cost);
            self.used[bin] -= bytes;
        }
    }

    /// No completion of the slots placed so far can have a smaller spread.
    fn least_spread(&self, at: usize) -> f64 {
        let rest = self.rest[at];
        let fill = |index: usize, used: u64| self.ledger.fill_with(self.bins[index], used);
        let high = (0..self.bins.len()).map(|i| fill(i, self.used[i])).fold(0.0, f64::max);
        // The largest slot left must go somewhere.
        let next = self.slots.get(at).map_or(0, |&slot| self.ledger.size(slot));
        let least = (0..self.bins.len())
            .map(|i| fill(i, self.used[i] + next))
            .fold(f64::INFINITY, f64::min);
        let high = high.max(least);
        let low = (0..self.bins.len())
            .map(|i| fill(i, self.used[i] + rest))
            .fold(f64::INFINITY, f64::min);
        let capacity: f64 = self.bins.iter().map(|&bin| self.ledger.bins[bin].capacity).sum();
        let mean = (self.used.iter().sum::<u64>() + rest) as f64 / capacity;
        (high.max(mean) - low.min(mean)).max(self.goal.memory.stop)
    }

    /// Takes a full assignment if it is worth its bytes and can be carried out in a safe order.
    fn accept(&mut self, spread: f64, moved: u64) {
        if moved as f64 > self.price(spread) {
            return;
        }
        let mut trial = self.ledger.clone();
        for (&slot, &choice) in self.slots.iter().zip(&self.choice) {
            if usize::from(trial.owner[usize::from(slot)]) != self.bins[choice] {
                trial.shift(slot, self.bins[choice], Cause::Memory);
            }
        }
        if order(&trial).stuck.is_empty() {
            self.best = (spread, moved);
            self.solution = Some(self.choice.clone());
        }
    }

    /// The most bytes that a spread is worth.
    fn price(&self, spread: f64) -> f64 {
        let least = bound::band(&mut self.home.clone(), spread, self.goal.relief_min()).lower_bound;
        let mut touched: Vec<usize> = Vec::new();
        for (&slot, &choice) in self.slots.iter().zip(&self.choice) {
            let home = usize::from(self.ledger.home[usize::from(slot)]);
            if home != self.bins[choice] {
                touched.extend([home, self.bins[choice]]);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        let largest = self.slots.first().map_or(0, |&slot| self.ledger.size(slot));
        BYTES_FACTOR * least as f64 + (touched.len() as u64 * largest) as f64
    }
}
