//! P9: on small instances the plan needs at most one slot more than the optimum for the spread
//! it reaches, found here by an own branch and bound. The optimum must keep P3 as well: an exchange
//! of two slots between full shards has no first step that leaves the maximum alone.

mod support;

use ballast_balancer::model::{LoadSnapshot, Tier};
use ballast_balancer::plan::{Goal, Trigger, plan};
use proptest::prelude::*;
use support::{Levels, Random, applied, snapshot};

/// Fewest bytes to move so that the spread is at most `spread`.
struct Optimum {
    capacity: Vec<f64>,
    slots: Vec<(usize, u64)>,
    spread: f64,
    best: u64,
    choice: Vec<usize>,
}

impl Optimum {
    fn of(snapshot: &LoadSnapshot, spread: f64) -> u64 {
        let mut slots: Vec<(usize, u64)> =
            snapshot.slots.iter().map(|slot| (usize::from(slot.owner.0), slot.bytes)).collect();
        slots.sort_by_key(|slot| std::cmp::Reverse(slot.1));
        let capacity: Vec<f64> =
            snapshot.shards.iter().map(|shard| shard.capacity_bytes as f64).collect();
        let mut optimum =
            Optimum { capacity, slots, spread: spread + 1e-9, best: u64::MAX, choice: vec![] };
        let mut used = vec![0; optimum.capacity.len()];
        optimum.search(0, &mut used, 0);
        optimum.best
    }

    fn search(&mut self, at: usize, used: &mut [u64], moved: u64) {
        if moved >= self.best {
            return;
        }
        let rest: u64 = self.slots[at..].iter().map(|slot| slot.1).sum();
        let fill = |used: u64, shard: usize| used as f64 / self.capacity[shard];
        let high = (0..used.len()).map(|s| fill(used[s], s)).fold(0.0, f64::max);
        let low = (0..used.len()).map(|s| fill(used[s] + rest, s)).fold(f64::INFINITY, f64::min);
        if high - low > self.spread {
            return;
        }
        let Some(&(home, bytes)) = self.slots.get(at) else {
            if self.has_safe_order() {
                self.best = moved;
            }
            return;
        };
        let others = (0..used.len()).filter(|&other| other != home);
        for to in std::iter::once(home).chain(others) {
            used[to] += bytes;
            self.choice.push(to);
            self.search(at + 1, used, moved + if to == home { 0 } else { bytes });
            self.choice.pop();
            used[to] -= bytes;
        }
    }

    /// Whether the chosen moves have an order in which the maximum never exceeds the first one.
    fn has_safe_order(&self) -> bool {
        let mut start = vec![0; self.capacity.len()];
        self.slots.iter().for_each(|&(home, bytes)| start[home] += bytes);
        let peak = |used: &[u64]| {
            (0..used.len()).map(|s| used[s] as f64 / self.capacity[s]).fold(0.0, f64::max)
        };
        let ceiling = peak(&start) + 1e-9;
        let moves: Vec<(usize, usize, u64)> = self
            .slots
            .iter()
            .zip(&self.choice)
            .filter(|(slot, to)| slot.0 != **to)
            .map(|(slot, &to)| (slot.0, to, slot.1))
            .collect();
        // The state after a set of moves does not depend on their order: walk the sets.
        let mut reached = vec![false; 1 << moves.len()];
        reached[0] = true;
        for set in 0..reached.len() {
            let mut used = start.clone();
            for (at, &(from, to, bytes)) in moves.iter().enumerate() {
                if set & (1 << at) != 0 {
                    used[to] = used[to].wrapping_add(bytes);
                    used[from] = used[from].wrapping_sub(bytes);
                }
            }
            if !reached[set] || peak(&used) > ceiling {
                reached[set] = false;
                continue;
            }
            (0..moves.len()).for_each(|at| reached[set | (1 << at)] = true);
        }
        reached[reached.len() - 1]
    }
}

fn instance(seed: u64, shards: u64, slots: u64, heavy_tailed: bool) -> LoadSnapshot {
    let mut random = Random(seed);
    let slots: Vec<(u16, u64)> = (0..slots)
        .map(|_| {
            let bytes = if heavy_tailed {
                (1_000.0 * random.lognormal(1.0)) as u64 + 1
            } else {
                1_000 + random.below(2_000)
            };
            (u16::try_from(random.below(shards) * random.below(2)).unwrap(), bytes)
        })
        .collect();
    let total: u64 = slots.iter().map(|slot| slot.1).sum();
    snapshot(&vec![total * 10 / 6 / shards; shards as usize], &slots)
}

/// Returns the bytes planned, the optimum and the largest slot.
fn compare(seed: u64, shards: u64, slots: u64, heavy_tailed: bool) -> (u64, u64, u64) {
    let snapshot = instance(seed, shards, slots, heavy_tailed);
    let goal = Goal {
        trigger: Trigger::Continue,
        target_fill: 1.0,
        load: None,
        ..Goal::new(Tier::Thread)
    };
    let plan = plan(&snapshot, &goal);
    let reached = Levels::of(&applied(&snapshot, &plan.moves)).spread();
    let optimum = Optimum::of(&snapshot, reached.max(goal.memory.stop));
    let largest = snapshot.slots.iter().map(|slot| slot.bytes).max().unwrap();
    (plan.bytes(), optimum, largest)
}

/// Seeds are printed on failure; nothing is written to the source tree.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn p9_at_most_one_slot_above_the_optimum(
        seed in any::<u64>(),
        shards in 2u64..5,
        slots in 2u64..13,
        heavy_tailed in any::<bool>(),
    ) {
        let (bytes, optimum, largest) = compare(seed, shards, slots, heavy_tailed);
        // No optimum: the spread is reached over a stop-over, which single moves cannot.
        prop_assert!(bytes <= optimum.saturating_add(largest), "{bytes} > {optimum} + {largest}");
    }
}

#[test]
fn the_excess_is_small_on_average() {
    let mut ratios: Vec<f64> = (0..60)
        .map(|seed| {
            let (bytes, optimum, _) = compare(seed, 2 + seed % 3, 6 + seed % 7, seed % 2 == 0);
            if optimum == 0 || optimum == u64::MAX { 1.0 } else { bytes as f64 / optimum as f64 }
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    println!("bytes / optimum: median {:.3}, mean {mean:.3}, max {:.3}", ratios[30], ratios[59]);
    assert!(ratios[30] <= 1.001 && mean <= 1.05, "median {}, mean {mean}", ratios[30]);
}
