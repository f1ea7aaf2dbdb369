//! The thread tier levels what its threads spend: soon, calmly, and not at any price.

use ballast_balancer::machine::{Clock, Command, Machine, Notice, State};
use ballast_balancer::model::{LoadSnapshot, ShardId, ShardLoad, SlotId, SlotLoad, Tier};
use ballast_balancer::policy::Policy;
use ballast_balancer::reason::Reason;
use ballast_balancer::simulate::Random;

/// As many as matter: the others would be idle.
const SLOTS: u16 = 2_048;
/// Of these a shard of four has so many.
const QUARTER: usize = 512;
const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;

/// A node whose loads are given anew for each look.
struct Node {
    machine: Machine,
    state: LoadSnapshot,
    now_ms: u64,
    moved: Vec<(SlotId, u64)>,
    blocked: Vec<Reason>,
}

impl Node {
    /// So many shards with an equal range of slots each.
    fn new(shards: u16, bytes: u64) -> Node {
        let slots = (0..SLOTS).map(|slot| {
            let owner = u32::from(slot) * u32::from(shards) / u32::from(SLOTS);
            SlotLoad::new(ShardId(owner as u16), bytes)
        });
        let state = LoadSnapshot {
            epoch: 1,
            shards: (0..shards).map(|id| ShardLoad::new(ShardId(id), 1 << 30)).collect(),
            slots: slots.collect(),
            ..LoadSnapshot::default()
        };
        Node {
            machine: Machine::new(Tier::Thread, Policy::default()),
            state,
            now_ms: 0,
            moved: Vec::new(),
            blocked: Vec::new(),
        }
    }

    fn clock(&self) -> Clock {
        Clock { wall_ms: 1_780_272_000_000 + self.now_ms as i64, mono_ms: self.now_ms }
    }

    /// Looks whenever that is due, with the loads that `measure` gives, for so long.
    fn run(&mut self, for_ms: u64, mut measure: impl FnMut(&mut LoadSnapshot)) {
        let end_ms = self.now_ms + for_ms;
        while self.now_ms < end_ms {
            measure(&mut self.state);
            let clock = self.clock();
            let mut commands = self.machine.observe(&self.state, clock);
            while !commands.is_empty() {
                self.carry_out(&commands);
                commands = self.machine.proceed(clock);
            }
            self.now_ms = self.machine.due_ms(clock);
        }
    }

    fn carry_out(&mut self, commands: &[Command]) {
        let clock = self.clock();
        for command in commands {
            match *command {
                Command::Move { slot, from, to, .. } => {
                    assert_eq!(self.state.slots[slot.index()].owner, from);
                    self.state.slots[slot.index()].owner = to;
                    self.state.epoch += 1;
                    self.moved.push((slot, self.now_ms));
                    self.machine.completed(slot, true, clock);
                }
                Command::Announce(Notice::Blocked(ref reason)) => self.blocked.push(reason.clone()),
                _ => {}
            }
        }
    }

    /// What the shards spend by the loads of now, most first.
    fn loads(&self) -> Vec<f64> {
        let mut loads: Vec<f64> = self.state.shards.iter().map(|shard| shard.fixed_cpu).collect();
        for slot in &self.state.slots {
            loads[usize::from(slot.owner.0)] += slot.cpu;
        }
        loads.sort_by(|a, b| b.total_cmp(a));
        loads
    }

    fn max_over_mean(&self) -> f64 {
        let loads = self.loads();
        loads[0] * loads.len() as f64 / loads.iter().sum::<f64>()
    }
}

/// So much noise, but never below nothing.
fn noisy(load: f64, part: f64, random: &mut Random) -> f64 {
    (load * (1.0 + part * random.normal())).max(0.0)
}

/// Twelve hot tags in the slots of one shard, as in a benchmark that begins.
#[test]
fn hot_tags_are_spread_within_twenty_seconds() {
    for (bytes, begins_ms) in [(0, 0), (0, 62_500), (1_000, 600_000), (1_000, 601_234)] {
        for total in [0.35, 0.62, 0.95] {
            let mut random = Random::new(5);
            let mut node = Node::new(4, bytes);
            node.run(begins_ms, |_| {});
            // Anywhere between two looks.
            node.now_ms = node.now_ms.max(begins_ms);
            let began_ms = begins_ms;
            let hot: Vec<usize> = (0..12).map(|at| at * 37 + 5).collect();
            let mut measure = |state: &mut LoadSnapshot| {
                for &slot in &hot {
                    state.slots[slot].cpu = noisy(total / 12.0, 0.05, &mut random);
                }
            };
            node.run(30 * SECOND_MS, &mut measure);
            let last_ms = node.moved.last().expect("they are spread").1;
            assert!(last_ms - began_ms <= 20 * SECOND_MS, "{bytes} {total}: {last_ms}");
            assert!(node.max_over_mean() <= 1.5, "{:?}", node.loads());
            let moved = node.moved.len();
            assert!(moved <= 12, "{moved}");
            node.run(20 * MINUTE_MS, &mut measure);
            assert_eq!(node.moved.len(), moved, "then they stay");
            assert_eq!(node.machine.counters().reversals, 0);
        }
    }
}

/// Load that is spread over a whole range is levelled too, within one second of being confirmed.
#[test]
fn a_hot_range_is_levelled_at_once() {
    let mut node = Node::new(4, 1_000);
    node.run(MINUTE_MS, |_| {});
    let measure = |state: &mut LoadSnapshot| {
        state.slots[..QUARTER].iter_mut().for_each(|slot| slot.cpu = 0.8 / QUARTER as f64);
    };
    node.run(30 * SECOND_MS, measure);
    assert!(node.max_over_mean() <= 1.2, "{:?}", node.loads());
    let (first, last) = (node.moved[0].1, node.moved[node.moved.len() - 1].1);
    assert!(node.moved.len() > 300 && last - first <= SECOND_MS, "{first} {last}");
}

/// The same for memory: thousands of slots, carried out in one go.
#[test]
fn a_confirmed_plan_is_carried_out_within_a_second() {
    let mut node = Node::new(4, 0);
    node.state.slots[..QUARTER].iter_mut().for_each(|slot| slot.bytes = 1_500_000);
    node.run(MINUTE_MS, |_| {});
    let (first, last) = (node.moved[0].1, node.moved[node.moved.len() - 1].1);
    assert!(node.moved.len() > 300, "{}", node.moved.len());
    assert!(last - first <= SECOND_MS, "{first} {last}");
    assert_eq!(node.machine.history().len(), 1);
}

/// What an operator says counts between two batches as well.
#[test]
fn a_pause_or_a_pin_stops_a_plan_under_way() {
    let mut node = Node::new(4, 0);
    node.state.slots[..QUARTER].iter_mut().for_each(|slot| slot.bytes = 1_500_000);
    let mut commands = Vec::new();
    while !commands.iter().any(|command| matches!(command, Command::Move { .. })) {
        commands = node.machine.observe(&node.state, node.clock());
        node.now_ms = node.machine.due_ms(node.clock());
    }
    node.carry_out(&commands);
    let next = node.machine.clone().proceed(node.clock());
    let slots: Vec<SlotId> = next
        .iter()
        .filter_map(|command| match command {
            Command::Move { slot, .. } => Some(*slot),
            _ => None,
        })
        .collect();
    assert!(!slots.is_empty());
    let mut pinned = node.machine.clone();
    pinned.pin(&slots);
    let others = pinned.proceed(node.clock());
    assert!(!others.is_empty(), "the others go on");
    for command in &others {
        assert!(!matches!(command, Command::Move { slot, .. } if slots.contains(slot)));
    }
    node.machine.pause(None, "", node.clock());
    assert_eq!(node.machine.proceed(node.clock()), [], "paused");
    node.machine.resume();
    node.now_ms += 5_000;
    assert_eq!(node.machine.proceed(node.clock()), [], "what is old is planned again");
}

/// One hot key: one explanation, and nothing moves, neither it nor anything else.
#[test]
fn one_hot_key_is_named_and_left_alone() {
    for (noise, background) in [(0.0, 0.0), (0.15, 0.0), (0.10, 0.08), (0.15, 0.2)] {
        let mut random = Random::new(11);
        let mut node = Node::new(4, 1_000);
        node.run(MINUTE_MS, |_| {});
        node.run(60 * MINUTE_MS, |state| {
            for slot in &mut state.slots {
                slot.cpu = noisy(background * 4.0 / f64::from(SLOTS), 1.0, &mut random);
            }
            state.slots[77].cpu = noisy(0.55, noise, &mut random);
        });
        assert!(node.moved.iter().all(|(slot, _)| *slot != SlotId(77)), "the key went round");
        assert_eq!(node.blocked.len(), 1, "{:?}", node.blocked);
        let Reason::HotSlot { slot, shard, .. } = node.blocked[0] else {
            panic!("{:?}", node.blocked)
        };
        assert_eq!((slot, shard), (SlotId(77), ShardId(0)));
        assert_eq!(
            (node.machine.state(), node.machine.reason().code()),
            (State::Blocked, "hot-slot")
        );
        if background == 0.0 {
            assert_eq!(node.moved, [], "nothing helps");
        }
        let text = node.machine.reason().sentence();
        assert!(text.contains("slot 77") && text.contains("shard 0"), "{text}");
    }
}

/// Two hot keys in one shard part, and then both stay.
#[test]
fn two_hot_keys_part() {
    let mut random = Random::new(2);
    let mut node = Node::new(4, 0);
    node.run(60 * MINUTE_MS, |state| {
        state.slots[1].cpu = noisy(0.4, 0.1, &mut random);
        state.slots[2].cpu = noisy(0.38, 0.1, &mut random);
    });
    assert_eq!(node.moved.len(), 1, "{:?}", node.moved);
    assert!(node.loads()[0] < 0.6);
}

/// A level node whose measured loads are noisy: no slot is sent round.
#[test]
fn noise_moves_next_to_nothing() {
    for (each, part) in [(0.5, 0.5), (0.5, 1.0), (0.7, 0.5), (0.7, 1.0)] {
        let mut random = Random::new(17);
        let mut node = Node::new(8, 10_000);
        let base: Vec<f64> = (0..SLOTS).map(|_| random.lognormal(1.5)).collect();
        let sums: Vec<f64> = base.chunks(256).map(|chunk| chunk.iter().sum()).collect();
        node.run(2 * 60 * MINUTE_MS, |state| {
            for (at, slot) in state.slots.iter_mut().enumerate() {
                let load = each * base[at] / sums[at / 256];
                slot.cpu = noisy(load, part, &mut random);
            }
        });
        assert_eq!(node.machine.counters().reversals, 0);
        println!("{each} {part}: {} moves", node.moved.len());
        assert!(node.moved.len() <= 100, "{each} {part}: {} moves", node.moved.len());
    }
}

/// Threads that vary as a whole, as those of a shared machine do.
#[test]
fn threads_that_vary_are_not_chased() {
    let mut random = Random::new(23);
    let mut node = Node::new(4, 1_000);
    node.run(6 * 60 * MINUTE_MS, |state| {
        let factors: Vec<f64> = (0..4).map(|_| noisy(1.0, 0.2, &mut random)).collect();
        for slot in &mut state.slots {
            slot.cpu = 0.5 / QUARTER as f64 * factors[usize::from(slot.owner.0)];
        }
    });
    assert_eq!(node.machine.counters().reversals, 0);
    assert!(node.machine.counters().plans <= 3, "{:?}", node.machine.counters());
}

/// What connections cost that use slots of everywhere is not the slots' fault.
#[test]
fn fixed_load_is_named_and_moves_nothing() {
    let mut node = Node::new(4, 1_000);
    node.run(MINUTE_MS, |_| {});
    node.run(10 * MINUTE_MS, |state| {
        state.shards[2].fixed_cpu = 0.7;
        state.slots.iter_mut().for_each(|slot| slot.cpu = 0.04 / QUARTER as f64);
    });
    assert_eq!(node.machine.reason().code(), "hot-connections");
    assert!(node.machine.status(node.clock()).shards[2].cpu > 0.7);
    assert_eq!(node.blocked.len(), 1);
}

/// Pinned slots stay, and that is what is said.
#[test]
fn pinned_load_stays() {
    let mut node = Node::new(4, 1_000);
    let hot: Vec<SlotId> = (0..12).map(SlotId).collect();
    node.machine.pin(&hot);
    node.run(5 * MINUTE_MS, |state| {
        state.slots[..12].iter_mut().for_each(|slot| slot.cpu = 0.05);
    });
    assert!(node.moved.iter().all(|(slot, _)| !hot.contains(slot)));
    assert_eq!(node.machine.reason().code(), "pinned");
}

/// A shard that has to end empty keeps what is pinned, in what is planned too, whenever that was
/// said.
#[test]
fn plans_for_a_change_honour_pins() {
    use ballast_balancer::machine::Change;
    let mut node = Node::new(4, 1_000);
    node.run(10 * SECOND_MS, |_| {});
    node.machine.pin(&[SlotId(3), SlotId(400)]);
    let remove = [Change::Remove(ShardId(0))];
    let plan = node.machine.propose(&remove, None, node.clock()).unwrap().plan;
    assert_eq!(plan.slots(), QUARTER - 2, "all but two");
    for slot in [SlotId(3), SlotId(400)] {
        assert!(!plan.moves.iter().any(|step| (step.lo..=step.hi).contains(&slot)));
    }
    assert!(plan.blocked.contains(&Reason::Pinned), "{:?}", plan.blocked);
    node.machine.unpin(&[SlotId(3), SlotId(400)]);
    let plan = node.machine.propose(&remove, None, node.clock()).unwrap().plan;
    assert_eq!(plan.slots(), QUARTER);
}
