//! What must not change the plan, or must change it in a known way.

mod support;

use ballast_balancer::model::{ShardId, ShardLoad, Tier};
use ballast_balancer::plan::{Goal, Move, plan};
use proptest::prelude::*;
use support::{Shape, generate};

fn any_shape() -> impl Strategy<Value = Shape> {
    (any::<u64>(), 2u64..12, 6u32..11, 0u8..5, any::<bool>(), 0u8..2, 30u64..75).prop_map(
        |(seed, shards, slots, sizes, scattered, capacities, fill)| Shape {
            seed,
            shards,
            slots: 1 << slots,
            sizes,
            scattered,
            capacities,
            drains: 0,
            fill,
        },
    )
}

/// Seeds are printed on failure; nothing is written to the source tree.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(200))]

    /// A power of two scales every float without rounding: the same moves.
    #[test]
    fn scaled_bytes_give_the_same_plan(
        shape in any_shape(),
        shift in 1u32..12,
        node in any::<bool>(),
    ) {
        let mut small = generate(shape);
        // Whole multiples leave no rounding of capacities to bytes.
        small.shards.iter_mut().for_each(|shard| {
            shard.capacity_bytes = shard.capacity_bytes / 100 * 100;
            shard.limit_bytes = shard.capacity_bytes;
        });
        let mut large = small.clone();
        large.slots.iter_mut().for_each(|slot| slot.bytes <<= shift);
        large.shards.iter_mut().for_each(|shard| {
            shard.capacity_bytes <<= shift;
            shard.limit_bytes <<= shift;
        });
        let goal = Goal::new(if node { Tier::Node } else { Tier::Thread });
        let (one, two) = (plan(&small, &goal), plan(&large, &goal));
        // The band's edges are rounded to whole bytes, so that a tie may fall the other way: the
        // result, not each move, is the same.
        let ratio = two.bytes() as f64 / (one.bytes() << shift).max(1) as f64;
        if one.is_empty() {
            prop_assert!(two.is_empty());
        } else {
            let largest = small.slots.iter().map(|slot| slot.bytes).max().unwrap() << shift;
            let slack = largest as f64 * shape.shards as f64 / (one.bytes() << shift) as f64;
            prop_assert!((ratio - 1.0).abs() <= 0.02 + slack, "{ratio}");
            prop_assert!((one.after.spread() - two.after.spread()).abs() <= 0.051);
        }
    }

    /// An empty shard only receives: nothing moves between the old ones.
    #[test]
    fn an_added_shard_only_receives(
        seed in any::<u64>(),
        shards in 3u64..12,
        node in any::<bool>(),
    ) {
        let goal = Goal::new(if node { Tier::Node } else { Tier::Thread });
        let shape = Shape {
            seed,
            shards,
            slots: 1024,
            sizes: 0,
            scattered: false,
            capacities: 0,
            drains: 0,
            fill: 55,
        };
        let mut snapshot = generate(shape);
        let first = plan(&snapshot, &goal);
        snapshot.apply(&first.moves);
        let capacity = snapshot.shards[0].capacity_bytes;
        let added = ShardId(u16::try_from(shards).unwrap());
        snapshot.shards.push(ShardLoad::new(added, capacity));
        let second = plan(&snapshot, &goal);
        prop_assert!(!second.is_empty());
        let between: Vec<&Move> = second.moves.iter().filter(|step| step.to != added).collect();
        prop_assert!(between.is_empty(), "{between:?}");
    }

    /// The planner has no state and no randomness.
    #[test]
    fn the_same_snapshot_gives_the_same_plan(shape in any_shape(), node in any::<bool>()) {
        let goal = Goal::new(if node { Tier::Node } else { Tier::Thread });
        let snapshot = generate(shape);
        prop_assert_eq!(plan(&snapshot, &goal), plan(&snapshot.clone(), &goal));
    }
}
