//! Prints how long one plan takes for 16,384 slots on 64 shards.
//!
//! `cargo run --release -p ballast-balancer --example plan_speed`

use std::time::Instant;

use ballast_balancer::model::{LoadSnapshot, ShardId, ShardLoad, SlotLoad, Tier};
use ballast_balancer::plan::{Goal, plan};

const SLOTS: u64 = 16_384;
const SHARDS: u64 = 64;

fn main() {
    println!("{:<34} {:>8} {:>7} {:>8} {:>7}", "case", "ms", "moves", "x bound", "spread");
    for (name, scattered, heavy) in [
        ("contiguous, one tenth heavy", false, 10),
        ("contiguous, a third heavy", false, 3),
        ("scattered, one tenth heavy", true, 10),
        ("scattered, a third heavy", true, 3),
    ] {
        for tier in [Tier::Thread, Tier::Node] {
            measure(name, tier, &snapshot(scattered, heavy));
        }
    }
}

fn measure(name: &str, tier: Tier, snapshot: &LoadSnapshot) {
    let goal = Goal::new(tier);
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        std::hint::black_box(plan(std::hint::black_box(snapshot), &goal));
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
    }
    let result = plan(snapshot, &goal);
    println!(
        "{:<34} {best:>8.2} {:>7} {:>8.4} {:>7.4}",
        format!("{name}, {}", tier.name()),
        result.moves.len(),
        result.bytes() as f64 / result.lower_bound.max(1) as f64,
        result.after.spread(),
    );
}

fn snapshot(scattered: bool, heavy_every: u64) -> LoadSnapshot {
    let mut seed = 42;
    let slots: Vec<SlotLoad> = (0..SLOTS)
        .map(|slot| {
            let random = splitmix(&mut seed);
            let heavy = slot < SLOTS / heavy_every;
            let bytes = if heavy { 500_000 } else { 10_000 } + random % 30_000;
            let owner = if scattered { random / 65_536 % SHARDS } else { slot * SHARDS / SLOTS };
            let cpu = (random % 1_000) as f64 / 1_000.0 * 0.004;
            let owner = ShardId(u16::try_from(owner).unwrap_or(0));
            SlotLoad { cpu, ..SlotLoad::new(owner, bytes) }
        })
        .collect();
    let total: u64 = slots.iter().map(|slot| slot.bytes).sum();
    let shards = (0..64).map(|id| ShardLoad::new(ShardId(id), total / SHARDS * 10 / 6)).collect();
    LoadSnapshot { epoch: 1, shards, slots, ..LoadSnapshot::default() }
}

fn splitmix(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
