//! Random histories: crashes, restarts, cancels, windows, clock steps, lost and late
//! acknowledgements between any two steps. Whatever happens, a slot is owned once, nothing moves
//! that may not, and nothing panics.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use ballast_balancer::explain::Subject;
use ballast_balancer::machine::{Clock, Command, Machine};
use ballast_balancer::model::{
    Hold, InFlight, LoadSnapshot, ShardId, ShardLoad, ShardState, SlotId, Tier,
};
use ballast_balancer::plan::Cause;
use ballast_balancer::policy::{Mode, Policy};
use support::{Random, Shape, generate};

struct History {
    random: Random,
    tier: Tier,
    machine: Machine,
    state: LoadSnapshot,
    clock: Clock,
    /// What the executor believes to be under way.
    transfers: BTreeMap<SlotId, (ShardId, ShardId)>,
    pinned: BTreeSet<SlotId>,
    /// Windows do not apply until the run ends.
    now: bool,
    moves: u64,
}

impl History {
    fn new(seed: u64) -> History {
        let mut random = Random(seed);
        let tier = if random.below(2) == 0 { Tier::Thread } else { Tier::Node };
        let shape = Shape {
            seed,
            shards: 2 + random.below(6),
            slots: 32 << random.below(4),
            sizes: u8::try_from(random.below(5)).unwrap(),
            scattered: random.below(2) == 0,
            capacities: 0,
            drains: 0,
            fill: 40 + random.below(60),
        };
        let mut state = generate(shape);
        for slot in &mut state.slots {
            slot.cpu = random.unit() * random.unit() * 0.2;
        }
        History {
            tier,
            machine: Machine::new(tier, Policy::default()),
            state,
            clock: Clock { wall_ms: 1_780_272_000_000, mono_ms: 0 },
            transfers: BTreeMap::new(),
            pinned: BTreeSet::new(),
            now: false,
            moves: 0,
            random,
        }
    }

    /// The executor lists what it has under way.
    fn snapshot(&self) -> LoadSnapshot {
        let in_flight = self.transfers.iter().map(|(&slot, &(from, to))| InFlight {
            slot,
            from,
            to,
            bytes: self.state.slots[slot.index()].bytes,
        });
        LoadSnapshot { in_flight: in_flight.collect(), ..self.state.clone() }
    }

    fn slot(&mut self) -> SlotId {
        SlotId(u16::try_from(self.random.below(self.state.slots.len() as u64)).unwrap())
    }

    fn shard(&mut self) -> usize {
        self.random.below(self.state.shards.len() as u64) as usize
    }

    fn step(&mut self) {
        let passed = self.random.below(20_000) + 1;
        self.clock.mono_ms += passed;
        self.clock.wall_ms += i64::try_from(passed).unwrap();
        match self.random.below(25) {
            0..=9 => {
                let commands = self.machine.observe(&self.snapshot(), self.clock);
                self.take(&commands);
            }
            10..=14 => self.acknowledge(),
            15 => self.grow(),
            16 => self.change_policy(),
            17 => self.operate(),
            18 => self.restart(),
            19 => self.clock.wall_ms += self.random.below(7_200_000) as i64 - 3_600_000,
            20 => {
                let (shard, needed) = (self.shard(), self.random.below(100_000));
                let id = self.state.shards[shard].id;
                let commands = self.machine.relieve(id, needed, self.clock);
                self.take(&commands);
            }
            21 => self.change_shards(),
            22 => self.operator_moves_a_slot(),
            23 => self.change_leader(),
            _ => {
                let slot = self.slot();
                self.machine.explain(Subject::Slot(slot), None, self.clock);
                self.machine.explain(Subject::Tier, None, self.clock);
                self.machine.status(self.clock);
                self.clock.mono_ms = self.machine.due_ms(self.clock);
            }
        }
    }

    fn take(&mut self, commands: &[Command]) {
        let policy = self.machine.policy().clone();
        let open = policy.schedule(self.tier).is_open(self.clock.wall_ms);
        for command in commands {
            match *command {
                Command::Move { slot, from, to, cause, .. } => {
                    assert_eq!(self.state.slots[slot.index()].owner, from, "source owns it");
                    assert_ne!(from, to);
                    assert!(!self.transfers.contains_key(&slot), "on its way already");
                    assert!(!self.pinned.contains(&slot), "pinned");
                    assert_ne!(self.state.slots[slot.index()].hold, Hold::Locked);
                    let target = self.state.shard(to).expect("the target exists");
                    assert_eq!(target.state, ShardState::Active);
                    let mode = policy.mode(self.tier);
                    assert!(matches!(mode, Mode::Auto | Mode::Manual));
                    assert!(self.machine.status(self.clock).pause.is_none(), "paused");
                    assert!(self.state.health.complete);
                    assert!(open || cause == Cause::Emergency || self.now, "outside the window");
                    self.transfers.insert(slot, (from, to));
                    self.moves += 1;
                }
                Command::Stop { slot, .. } => {
                    assert!(self.transfers.contains_key(&slot), "stops what runs");
                    self.end(slot, false);
                }
                Command::Announce(_) => {}
            }
        }
        if self.tier == Tier::Thread {
            // A batch, and what reliefs and emergencies add to it.
            assert!(self.transfers.len() <= 64 * 4, "{}", self.transfers.len());
        }
    }

    fn end(&mut self, slot: SlotId, ok: bool) {
        let Some((from, to)) = self.transfers.remove(&slot) else { return };
        let target_lives = self.state.shard(to).is_some();
        let ok = ok && target_lives && self.state.slots[slot.index()].owner == from;
        if ok {
            self.state.slots[slot.index()].owner = to;
            self.state.epoch += 1;
        }
        self.machine.completed(slot, ok, self.clock);
    }

    fn acknowledge(&mut self) {
        let slots: Vec<SlotId> = self.transfers.keys().copied().collect();
        for slot in slots {
            match self.random.below(10) {
                0 => self.end(slot, false),
                1..=7 => self.end(slot, true),
                _ => {}
            }
        }
        // Nonsense is ignored.
        let stray = self.slot();
        if !self.transfers.contains_key(&stray) {
            self.machine.completed(stray, true, self.clock);
        }
    }

    fn grow(&mut self) {
        for _ in 0..8 {
            let slot = self.slot();
            let load = &mut self.state.slots[slot.index()];
            load.bytes = load.bytes * (50 + self.random.below(150)) / 100;
            load.cpu = self.random.unit() * 0.3;
            load.hold = if self.random.below(10) == 0 && !self.transfers.contains_key(&slot) {
                Hold::Locked
            } else {
                Hold::Free
            };
        }
        self.state.health.complete = self.random.below(10) > 0;
        self.state.health.latency_ms_p99 = Some(self.random.unit() * 20.0);
        // A relief that does not know of a lock yet is refused by the executor, not modelled here.
        let commands = self.machine.observe(&self.snapshot(), self.clock);
        self.take(&commands);
    }

    fn change_policy(&mut self) {
        let mut policy = self.machine.policy().clone();
        let choices: &[(&str, &str)] = &[
            ("balancer-thread-mode", "off"),
            ("balancer-thread-mode", "dryrun"),
            ("balancer-thread-mode", "manual"),
            ("balancer-thread-mode", "auto"),
            ("balancer-node-mode", "manual"),
            ("balancer-node-mode", "auto"),
            ("balancer-windows", "always"),
            ("balancer-windows", "never"),
            ("balancer-windows", "daily 00:30-01:30 Europe/Berlin; 05:00-04:00"),
            ("balancer-window-close", "abort"),
            ("balancer-window-close", "pause"),
            ("balancer-window-grace", "5"),
            ("balancer-emergency", "all"),
            ("balancer-emergency", "off"),
            ("balancer-latency-guard", "10"),
            ("balancer-node-bytes-per-window", "100kb"),
            ("balancer-node-chunk", "20kb"),
            ("balancer-max-ranges", "20"),
            ("balancer-confirm", "1"),
            ("balancer-blackout", "2026-06-01"),
            ("balancer-blackout", ""),
        ];
        let (name, value) = choices[self.random.below(choices.len() as u64) as usize];
        policy.set(name, value).unwrap();
        self.machine.set_policy(policy);
    }

    fn operate(&mut self) {
        let slot = self.slot();
        match self.random.below(8) {
            0 => self.machine.pause(Some(self.random.below(60)), "fuzz", self.clock),
            1 => drop(self.machine.resume()),
            2 => {
                let commands = self.machine.cancel(None, self.clock);
                self.take(&commands);
            }
            3 => {
                // Pinning holds back plans, not what is under way.
                if !self.transfers.contains_key(&slot) {
                    self.machine.pin(&[slot]);
                    self.pinned.insert(slot);
                    // The pin counts from the next snapshot on.
                    let commands = self.machine.observe(&self.snapshot(), self.clock);
                    self.take(&commands);
                }
            }
            4 => {
                self.machine.unpin(&[slot]);
                self.pinned.remove(&slot);
            }
            5 => {
                self.machine.run(true);
                self.now = true;
            }
            6 => {
                if let Ok(proposal) = self.machine.propose(&[], None, self.clock) {
                    let _ = self.machine.apply(proposal.plan.id, false, self.clock);
                }
            }
            _ => {
                let id = self.machine.status(self.clock).queued.map_or(0, |queued| queued.plan);
                let _ = self.machine.apply(id, false, self.clock);
            }
        }
    }

    /// A crash between any two steps: some transfers had been committed, the others are undone.
    fn restart(&mut self) {
        let saved = self.machine.save();
        let policy = self.machine.policy().clone();
        for (slot, (from, to)) in std::mem::take(&mut self.transfers) {
            let owned = self.state.slots[slot.index()].owner == from;
            if owned && self.random.below(2) == 0 && self.state.shard(to).is_some() {
                self.state.slots[slot.index()].owner = to;
            }
        }
        self.state.epoch += 1;
        self.machine = Machine::new(self.tier, policy);
        self.machine.restore(&saved);
        self.now = false;
    }

    /// Another machine takes over while transfers go on: it knows of them from snapshots only.
    fn change_leader(&mut self) {
        let saved = self.machine.save();
        self.machine = Machine::new(self.tier, self.machine.policy().clone());
        self.machine.restore(&saved);
        self.now = false;
    }

    fn change_shards(&mut self) {
        let at = self.shard();
        match self.random.below(4) {
            0 => self.state.shards[at].state = ShardState::Drain,
            1 => self.state.shards[at].state = ShardState::NoAccept,
            2 => self.state.shards[at].state = ShardState::Active,
            _ if self.state.shards.len() < 10 => {
                let id = self.state.shards.iter().map(|shard| shard.id.0).max().unwrap() + 1;
                let capacity = self.state.shards[at].capacity_bytes;
                self.state.shards.push(ShardLoad::new(ShardId(id), capacity));
            }
            _ => {
                let id = self.state.shards[at].id;
                if self.state.slots.iter().all(|slot| slot.owner != id)
                    && self.transfers.values().all(|&(_, to)| to != id)
                {
                    self.state.shards.remove(at);
                }
            }
        }
        // What is commanded next must know of it.
        let commands = self.machine.observe(&self.snapshot(), self.clock);
        self.take(&commands);
    }

    fn operator_moves_a_slot(&mut self) {
        let slot = self.slot();
        if self.transfers.contains_key(&slot) {
            return;
        }
        let to = self.shard();
        self.state.slots[slot.index()].owner = self.state.shards[to].id;
        self.state.epoch += 1;
        let commands = self.machine.observe(&self.snapshot(), self.clock);
        self.take(&commands);
    }
}

#[test]
fn random_histories_keep_the_invariants() {
    let mut moves = 0;
    for seed in 0..400 {
        let result = std::panic::catch_unwind(|| {
            let mut history = History::new(seed);
            for _ in 0..150 {
                history.step();
            }
            history.moves
        });
        match result {
            Ok(count) => moves += count,
            Err(panic) => {
                eprintln!("seed {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{moves} moves in 400 histories");
    assert!(moves > 10_000, "the histories do something: {moves}");
}
