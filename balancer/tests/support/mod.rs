//! Snapshots for the tests, and oracles that share no code with the planner.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use ballast_balancer::model::{LoadSnapshot, ShardId, ShardLoad, ShardState, SlotLoad};
use ballast_balancer::plan::{Goal, Move};

/// A small deterministic generator; the seed is always part of the failure message.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..below`.
    pub fn below(&mut self, below: u64) -> u64 {
        self.next() % below.max(1)
    }

    /// Uniform in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Log-normal with median 1.
    pub fn lognormal(&mut self, sigma: f64) -> f64 {
        let normal: f64 = (0..12).map(|_| self.unit()).sum::<f64>() - 6.0;
        (normal * sigma).exp()
    }
}

/// Shards of the given capacities and slots given as (owner, bytes).
pub fn snapshot(capacities: &[u64], slots: &[(u16, u64)]) -> LoadSnapshot {
    LoadSnapshot {
        epoch: 1,
        shards: capacities
            .iter()
            .zip(0..)
            .map(|(&capacity, id)| ShardLoad::new(ShardId(id), capacity))
            .collect(),
        slots: slots.iter().map(|&(owner, bytes)| SlotLoad::new(ShardId(owner), bytes)).collect(),
        ..LoadSnapshot::default()
    }
}

/// Shape of a generated snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub seed: u64,
    pub shards: u64,
    pub slots: u64,
    /// 0 uniform, 1 and 2 log-normal, 3 sparse, 4 one hot range.
    pub sizes: u8,
    /// Slots in contiguous blocks, or anywhere.
    pub scattered: bool,
    /// 0 equal, 1 capacities 1:2:4.
    pub capacities: u8,
    /// Draining shards.
    pub drains: u64,
    /// Mean fill of what stays, per cent.
    pub fill: u64,
}

pub fn generate(shape: Shape) -> LoadSnapshot {
    let mut random = Random(shape.seed);
    let slots: Vec<(u16, u64)> = (0..shape.slots)
        .map(|slot| {
            let bytes = match shape.sizes {
                0 => 5_000.0 + random.unit() * 10_000.0,
                1 => 10_000.0 * random.lognormal(1.0),
                2 => 10_000.0 * random.lognormal(2.0),
                3 if random.below(50) > 0 => 0.0,
                4 if slot < shape.slots / 10 => 300_000.0 + random.unit() * 1_000.0,
                _ => 10_000.0 + random.unit() * 10_000.0,
            };
            let owner = if shape.scattered {
                let skewed = random.unit() * random.unit() * shape.shards as f64;
                skewed as u64
            } else {
                slot * shape.shards / shape.slots
            };
            (u16::try_from(owner.min(shape.shards - 1)).unwrap(), bytes as u64)
        })
        .collect();
    let total: u64 = slots.iter().map(|&(_, bytes)| bytes).sum();
    let weights: Vec<u64> = (0..shape.shards)
        .map(|shard| if shape.capacities == 1 { 1 << (shard % 3) } else { 1 })
        .collect();
    let stays: u64 = weights[shape.drains as usize..].iter().sum();
    let unit = (total * 100 / shape.fill / stays.max(1)).max(1_000);
    let capacities: Vec<u64> = weights.iter().map(|&weight| unit * weight).collect();
    let mut made = snapshot(&capacities, &slots);
    for shard in made.shards.iter_mut().take(shape.drains as usize) {
        shard.state = ShardState::Drain;
    }
    made
}

/// The levels of a state, from scratch.
#[derive(Clone, Debug)]
pub struct Levels {
    pub used: Vec<u64>,
    pub fill: Vec<f64>,
    pub high: f64,
    pub low: f64,
}

impl Levels {
    pub fn of(snapshot: &LoadSnapshot) -> Levels {
        let used: Vec<u64> = snapshot
            .shards
            .iter()
            .map(|shard| shard.fixed_bytes + snapshot.owned_bytes(shard.id))
            .collect();
        let fill: Vec<f64> = used
            .iter()
            .zip(&snapshot.shards)
            .map(|(&used, shard)| used as f64 / shard.capacity_bytes as f64)
            .collect();
        let active = || {
            fill.iter()
                .zip(&snapshot.shards)
                .filter(|(_, shard)| shard.state == ShardState::Active)
                .map(|(&fill, _)| fill)
        };
        let (high, low) = (active().fold(0.0, f64::max), active().fold(f64::INFINITY, f64::min));
        Levels { used, fill, high, low }
    }

    pub fn spread(&self) -> f64 {
        self.high - self.low
    }
}

/// The fluid lower bound by a plain scan of the band's position.
pub fn fluid_bound(snapshot: &LoadSnapshot, spread: f64) -> f64 {
    let levels = Levels::of(snapshot);
    let drained: u64 = snapshot
        .shards
        .iter()
        .zip(&levels.used)
        .filter(|(shard, _)| shard.state == ShardState::Drain)
        .map(|(_, used)| used)
        .sum();
    let active: Vec<(f64, f64)> = snapshot
        .shards
        .iter()
        .zip(&levels.used)
        .filter(|(shard, _)| shard.state == ShardState::Active)
        .map(|(shard, &used)| (used as f64, shard.capacity_bytes as f64))
        .collect();
    let cost = |low: f64| {
        let out: f64 =
            active.iter().map(|&(used, cap)| (used - (low + spread) * cap).max(0.0)).sum();
        let into: f64 = active.iter().map(|&(used, cap)| (low * cap - used).max(0.0)).sum();
        (out + drained as f64).max(into)
    };
    // Both sides are piecewise linear: the minimum is at a break or where two pieces cross, so a
    // fine scan followed by a ternary search between neighbours finds it.
    let top = active.iter().map(|&(used, cap)| used / cap).fold(0.0, f64::max) + 1.0;
    let steps = 2_000;
    let best = (0..=steps)
        .min_by(|&a, &b| {
            let at = |step: i32| cost(top * f64::from(step) / f64::from(steps));
            at(a).total_cmp(&at(b))
        })
        .unwrap();
    let (mut lo, mut hi) = (
        top * f64::from((best - 1).max(0)) / f64::from(steps),
        top * f64::from(best + 1) / f64::from(steps),
    );
    for _ in 0..100 {
        let (a, b) = (lo + (hi - lo) / 3.0, hi - (hi - lo) / 3.0);
        if cost(a) <= cost(b) { hi = b } else { lo = a }
    }
    cost((lo + hi) / 2.0)
}

/// The state after the moves.
pub fn applied(snapshot: &LoadSnapshot, moves: &[Move]) -> LoadSnapshot {
    let mut after = snapshot.clone();
    for step in moves {
        for slot in step.lo.index()..=step.hi.index() {
            assert_eq!(after.slots[slot].owner, step.from, "the source owns what it gives");
        }
        after.apply(std::slice::from_ref(step));
    }
    after
}

pub fn ranges(snapshot: &LoadSnapshot) -> usize {
    let owners: Vec<ShardId> = snapshot.slots.iter().map(|slot| slot.owner).collect();
    1 + owners.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

/// P3, slot by slot: nothing rises above what was there, no target passes its fill limit.
pub fn check_prefixes(snapshot: &LoadSnapshot, moves: &[Move], goal: &Goal) {
    let mut state = snapshot.clone();
    let mut levels = Levels::of(&state);
    let end = Levels::of(&applied(snapshot, moves)).high;
    let peak = levels.high.max(end) + 1e-9;
    for step in moves {
        let to = state.shards.iter().position(|shard| shard.id == step.to).unwrap();
        let from = state.shards.iter().position(|shard| shard.id == step.from).unwrap();
        assert_eq!(state.shards[to].state, ShardState::Active, "takes slots");
        for slot in step.lo.index()..=step.hi.index() {
            let bytes = state.slots[slot].bytes;
            state.slots[slot].owner = step.to;
            levels.used[to] += bytes;
            levels.used[from] -= bytes;
            let capacity = state.shards[to].capacity_bytes as f64;
            let fill = levels.used[to] as f64 / capacity;
            assert!(fill <= peak, "{fill} above {peak}: {step:?}");
            let limit = (goal.target_fill * capacity).min(state.shards[to].limit_bytes as f64);
            assert!(
                bytes == 0 || levels.used[to] as f64 <= limit,
                "above the fill limit: {step:?}"
            );
        }
    }
}
