//! The scenario the project started from: four shards, 300,000 keys, and a tenth of the slots
//! with values a hundred times as large.

mod support;

use ballast_balancer::machine::{Clock, Command, Machine};
use ballast_balancer::model::{LoadSnapshot, ShardId, Tier};
use ballast_balancer::plan::{Goal, plan};
use ballast_balancer::policy::Policy;
use support::{Levels, Random, applied, check_prefixes, fluid_bound, snapshot};

const SLOTS: u16 = 16_384;
const KEYS: u64 = 300_000;
/// Bytes of a key besides its value.
const OVERHEAD: u64 = 64;

/// Keys hash evenly over the slots; the values of slots 0 to 1,637 have 10,000 B, others 100 B.
fn level() -> LoadSnapshot {
    let mut random = Random(1);
    let mut bytes = vec![0u64; usize::from(SLOTS)];
    for _ in 0..KEYS {
        let slot = random.below(u64::from(SLOTS)) as usize;
        bytes[slot] += OVERHEAD + if slot < 1_638 { 10_000 } else { 100 };
    }
    let total: u64 = bytes.iter().sum();
    let slots: Vec<(u16, u64)> =
        bytes.iter().zip(0..).map(|(&bytes, slot)| (slot / (SLOTS / 4), bytes)).collect();
    snapshot(&[total / 4 * 100 / 55; 4], &slots)
}

#[test]
fn one_plan_levels_it() {
    let before = level();
    let fills = Levels::of(&before).fill;
    let mean = fills.iter().sum::<f64>() / 4.0;
    let worst = Levels::of(&before).high / mean;
    println!("max/mean before: {worst:.2}");
    assert!(worst > 2.6);
    for tier in [Tier::Thread, Tier::Node] {
        let goal = Goal { target_fill: 0.85, ..Goal::new(tier) };
        let plan = plan(&before, &goal);
        let after = applied(&before, &plan.moves);
        let bound = fluid_bound(&before, goal.memory.stop);
        let (spread, ratio) = (Levels::of(&after).spread(), plan.bytes() as f64 / bound);
        println!(
            "{tier:?}: {} moves, spread {spread:.4}, bytes/bound {ratio:.4}",
            plan.moves.len()
        );
        assert!(spread <= 0.05, "{spread}");
        assert!(ratio <= 1.05, "{ratio}");
        assert!(plan.blocked.is_empty());
        check_prefixes(&before, &plan.moves, &goal);
    }
}

#[test]
fn it_stays_level_for_a_day_without_reversals() {
    let mut state = level();
    let mut random = Random(2);
    let mut machine = Machine::new(Tier::Thread, Policy::default());
    let mut clock = Clock { wall_ms: 1_780_272_000_000, mono_ms: 0 };
    let (mut moved, mut levelled_ms) = (0, None);
    // Fewer looks than every five seconds, to keep the test short.
    while clock.mono_ms < 86_400_000 {
        let commands = machine.observe(&state, clock);
        for command in commands {
            let Command::Move { slot, from, to, bytes, .. } = command else { continue };
            assert_eq!(state.slots[slot.index()].owner, from);
            state.slots[slot.index()].owner = to;
            state.epoch += 1;
            moved += bytes;
            machine.completed(slot, true, clock);
        }
        if Levels::of(&state).spread() <= 0.05 {
            levelled_ms.get_or_insert(clock.mono_ms);
        } else {
            assert!(levelled_ms.is_none() || Levels::of(&state).spread() <= 0.10 + 0.01);
        }
        // Values come and go all day: a per cent of the slots, by up to five per cent.
        for _ in 0..160 {
            let slot = random.below(u64::from(SLOTS)) as usize;
            let bytes = state.slots[slot].bytes as f64 * (0.95 + random.unit() * 0.10);
            state.slots[slot].bytes = bytes as u64;
        }
        let step =
            if levelled_ms.is_some() { 300_000 } else { machine.due_ms(clock) - clock.mono_ms };
        clock.mono_ms += step;
        clock.wall_ms += i64::try_from(step).unwrap();
    }
    let levelled_ms = levelled_ms.unwrap();
    println!("level after {levelled_ms} ms, {moved} bytes moved in the day");
    assert!(levelled_ms <= 60_000, "{levelled_ms}");
    assert_eq!(machine.counters().reversals, 0);
    let bound = fluid_bound(&level(), 0.05);
    assert!((moved as f64) <= bound * 1.06, "one plan did it: {moved} of {bound}");
}

#[test]
fn a_full_shard_is_relieved_before_it_evicts() {
    let mut state = level();
    // Shard 0 has reached its share; the window is closed, and siblings have room.
    state.shards[0].limit_bytes = Levels::of(&state).used[0];
    // Below balancer-emergency-fill, so that nothing but the request helps.
    state.shards[0].capacity_bytes = state.shards[0].limit_bytes / 94 * 100;
    let mut policy = Policy::default();
    policy.set("balancer-windows", "never").unwrap();
    let mut machine = Machine::new(Tier::Thread, policy.clone());
    let clock = Clock { wall_ms: 1_780_272_000_000, mono_ms: 1_000 };
    let commands = machine.observe(&state, clock);
    assert!(commands.iter().all(|command| matches!(command, Command::Announce(_))));
    let needed = 50_000;
    let mut freed = 0;
    for command in machine.relieve(ShardId(0), needed, clock) {
        let Command::Move { slot, from, to, bytes, .. } = command else { continue };
        assert_eq!(from, ShardId(0));
        assert_ne!(to, ShardId(0));
        state.slots[slot.index()].owner = to;
        freed += bytes;
        machine.completed(slot, true, clock);
    }
    assert!(freed >= needed && freed < needed * 2, "{freed}");
    // With no room anywhere the answer is a reason, not a loop.
    for shard in &mut state.shards {
        shard.limit_bytes = 1;
    }
    let mut full = Machine::new(Tier::Thread, policy);
    full.observe(&state, clock);
    let commands = full.relieve(ShardId(0), needed, clock);
    assert!(commands.iter().all(|command| matches!(command, Command::Announce(_))));
    assert_eq!(full.reason().code(), "no-headroom");
}
