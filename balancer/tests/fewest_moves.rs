//! How many slots a plan of the thread tier moves, next to the fewest that could carry its bytes:
//! a hand-over costs the same whatever its slot holds. `-- --nocapture` prints the figures.

mod support;

use std::collections::BTreeMap;

use ballast_balancer::model::{LoadSnapshot, ShardId, Tier};
use ballast_balancer::plan::{Goal, Plan, Trigger, plan};
use support::{Levels, Random, Shape, applied, fluid_bound, generate, snapshot};

const SLOTS: u64 = 16_384;
const KEYS: u64 = 300_000;
/// Slots beyond the fewest that a plan may take; one more for every other shard.
const EXTRA: usize = 2;

/// The largest slots of each source, until they make up the bytes that left it.
fn fewest(before: &LoadSnapshot, plan: &Plan) -> usize {
    let mut left: BTreeMap<ShardId, u64> = BTreeMap::new();
    for step in &plan.moves {
        *left.entry(step.from).or_default() += step.bytes;
    }
    left.into_iter().map(|(shard, bytes)| fewest_of(before, shard, bytes)).sum()
}

fn fewest_of(before: &LoadSnapshot, shard: ShardId, bytes: u64) -> usize {
    let owned = before.slots.iter().filter(|slot| slot.owner == shard);
    let mut sizes: Vec<u64> = owned.map(|slot| slot.bytes).filter(|&size| size <= bytes).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let mut sum = 0;
    let missing = |size: &u64| {
        let missing = sum < bytes;
        sum += size;
        missing
    };
    sizes.into_iter().take_while(missing).count()
}

/// Keys hash evenly; the values in a tenth of the slots, neighbours, are larger than the others.
fn heavy_tenth(shards: u64, fill: u64, value: u64) -> LoadSnapshot {
    let mut random = Random(1);
    let mut bytes = vec![0u64; SLOTS as usize];
    for _ in 0..KEYS {
        let slot = random.below(SLOTS);
        bytes[slot as usize] += 64 + if slot < SLOTS / 10 { value } else { 100 };
    }
    let total: u64 = bytes.iter().sum();
    let slots: Vec<(u16, u64)> = (0..)
        .zip(&bytes)
        .map(|(slot, &bytes)| (u16::try_from(slot * shards / SLOTS).unwrap(), bytes))
        .collect();
    snapshot(&vec![total / shards * 100 / fill; shards as usize], &slots)
}

#[test]
fn heavy_slots_among_small_ones_bring_no_crumbs() {
    for shards in [4, 8, 16] {
        for (fill, value) in
            [55, 66].into_iter().flat_map(|f| [2_000, 10_000, 100_000].map(|v| (f, v)))
        {
            let before = heavy_tenth(shards, fill, value);
            let goal = Goal { trigger: Trigger::Continue, ..Goal::new(Tier::Thread) };
            let plan = plan(&before, &goal);
            let (slots, least) = (plan.slots(), fewest(&before, &plan));
            let spread = Levels::of(&applied(&before, &plan.moves)).spread();
            let ratio = plan.bytes() as f64 / fluid_bound(&before, goal.memory.stop);
            println!(
                "{shards:>2} shards at {fill} %, values of {value:>6} B: {slots} slots, at least \
                 {least}, bytes/bound {ratio:.4}, spread {spread:.4}"
            );
            assert!(slots <= least + EXTRA + shards as usize / 2, "{slots} for {least}");
            assert!(ratio <= 1.005, "{ratio}");
            assert!(spread <= goal.memory.stop, "{spread}");
        }
    }
}

/// Sizes of all kinds: the sums, so that a change for the worse shows.
#[test]
fn plans_take_few_slots_more_than_they_must() {
    for (sizes, factor_max) in (0u8..).zip([1.01, 1.06, 1.35, 1.01, 1.20]) {
        let (mut slots, mut least) = (0, 0);
        for seed in 0..60 {
            let before = generate(Shape {
                seed,
                shards: 2 + seed % 15,
                slots: 64 << (seed % 7),
                sizes,
                scattered: seed % 2 == 0,
                capacities: u8::try_from(seed / 2 % 2).unwrap(),
                drains: 0,
                fill: 40 + seed % 30,
            });
            let goal = Goal { trigger: Trigger::Continue, ..Goal::new(Tier::Thread) };
            let plan = plan(&before, &goal);
            slots += plan.slots();
            least += fewest(&before, &plan);
        }
        let factor = slots as f64 / least as f64;
        println!("sizes {sizes}: {slots} slots, at least {least}, {factor:.3}");
        assert!(factor <= factor_max, "sizes {sizes}: {factor}");
    }
}
