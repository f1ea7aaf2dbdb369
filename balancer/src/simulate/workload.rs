//! The workloads W1 to W10: how sizes and loads start, and how they change.

use super::random::Random;
use super::world::{SimulatedSlot, World};
use crate::model::{ShardId, ShardLoad, ShardState, SlotId};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Mean bytes of a slot in most workloads.
const MEAN: f64 = 1_000_000.0;

/// Which workload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// W1: gamma sizes, stationary; half the bins start empty.
    Uniform,
    /// W2: log-normal sizes with this sigma, hashed keys with Zipf load.
    Zipf {
        /// Sigma of the sizes.
        sigma: f64,
    },
    /// W3: 64 hash tags with Pareto sizes, one of them this part of a bin.
    Hotspots {
        /// Size of the largest slot over a bin's capacity.
        largest: f64,
    },
    /// W4: 5 % of the slots, clustered on one bin, grow by 3 % a day.
    Tenants,
    /// W4 by the minute: the first bin's slots start heavier and grow by 2 % a minute, the others
    /// by a tenth of that.
    Loading,
    /// W5 by the minute: the first bin's slots swing by this part, up and down, every minute.
    Breathing {
        /// Amplitude over the mean.
        part: f64,
    },
    /// W5: 20 % of the slots swing by a third every day, a mass expiry now and then.
    Expiry,
    /// W6: one slot needs 0.35 cores more for five minutes; short bursts elsewhere.
    FlashCrowd,
    /// W7: bins come, drain, change their weight, and one is lost while slots move.
    Topology,
    /// W8 and windows in general: one bin holds twice as much as the others.
    Uneven,
    /// W9: this many slots hold everything.
    Sparse {
        /// Slots with bytes.
        filled: usize,
    },
    /// W10: sizes around the gap, load alternating between two slots.
    Adversary,
}

/// A workload under way.
#[derive(Clone, Debug)]
pub struct Workload {
    kind: Kind,
    random: Random,
    shards: u16,
    slots: usize,
    tick_ms: u64,
    next_tick_ms: u64,
    /// Sizes and loads at the start, for swings around them.
    start: Vec<SimulatedSlot>,
    stage: u32,
    rate: u64,
}

impl Workload {
    /// A workload of so many bins and slots; the same seed gives the same history.
    pub fn new(kind: Kind, shards: u16, slots: usize, seed: u64) -> Workload {
        let tick_ms = match kind {
            Kind::FlashCrowd | Kind::Adversary => 5_000,
            Kind::Loading | Kind::Breathing { .. } => 500,
            _ => 10 * MINUTE_MS,
        };
        Workload {
            kind,
            random: Random::new(seed),
            shards: shards.max(2),
            slots: slots.max(16),
            tick_ms,
            next_tick_ms: 0,
            start: Vec::new(),
            stage: 0,
            rate: 64 << 20,
        }
    }

    /// Bytes a second of one node move of the mock executor.
    pub fn set_rate(&mut self, rate: u64) {
        self.rate = rate;
    }

    /// The world at the start.
    pub fn world(&mut self) -> World {
        let shards = usize::from(self.shards);
        let mut slots: Vec<SimulatedSlot> = (0..self.slots)
            .map(|slot| SimulatedSlot {
                bytes: self.size(slot),
                cpu: 0.0,
                owner: shard_id(slot * self.used_shards() / self.slots),
            })
            .collect();
        self.set_loads(&mut slots);
        let total: f64 = slots.iter().map(|slot| slot.bytes).sum();
        let capacity = ((total / shards as f64 / 0.55) as u64).max(1_000_000);
        if let Kind::Hotspots { largest } = self.kind {
            slots[self.slots / 3].bytes = capacity as f64 * largest;
        }
        let bins = (0..self.shards).map(|id| ShardLoad::new(ShardId(id), capacity)).collect();
        self.start.clone_from(&slots);
        let mut world = World::new(bins, slots);
        world.rate = self.rate;
        world
    }

    fn used_shards(&self) -> usize {
        let shards = usize::from(self.shards);
        match self.kind {
            Kind::Uniform => shards.div_ceil(2),
            Kind::Topology => shards - 1,
            _ => shards,
        }
    }

    fn size(&mut self, slot: usize) -> f64 {
        match self.kind {
            Kind::Uniform | Kind::Topology => MEAN * self.random.gamma(4),
            Kind::Zipf { sigma } => MEAN * self.random.lognormal(sigma),
            Kind::Hotspots { .. } if slot.is_multiple_of((self.slots / 64).max(1)) => {
                MEAN * self.random.pareto(1.2).min(40.0)
            }
            Kind::Hotspots { .. } => MEAN / 10.0,
            Kind::Loading | Kind::Breathing { .. }
                if slot < self.slots / usize::from(self.shards) =>
            {
                1.5 * MEAN * (0.5 + self.random.unit())
            }
            Kind::Uneven if slot < self.slots / usize::from(self.shards) => 2.5 * MEAN,
            Kind::Uneven => MEAN * (0.9 + 0.2 * self.random.unit()),
            Kind::Sparse { filled } => {
                let every = (self.slots / filled.max(1)).max(1);
                let first = filled > 0 && slot.is_multiple_of(every) && slot / every < filled;
                if first { MEAN * (1.0 + self.random.unit()) } else { 0.0 }
            }
            Kind::Adversary if slot.is_multiple_of(8) => MEAN * 20.0,
            _ => MEAN * (0.5 + self.random.unit()),
        }
    }

    fn set_loads(&mut self, slots: &mut [SimulatedSlot]) {
        let total: f64 = match self.kind {
            Kind::Zipf { .. } => 0.40,
            Kind::FlashCrowd => 0.55,
            Kind::Adversary => 0.30,
            _ => return,
        };
        let total = total * f64::from(self.shards);
        // Ranks are spread over the slots by an odd multiplier: keys are hashed.
        let count = slots.len();
        let weights: Vec<f64> = (0..count)
            .map(|slot| 1.0 / ((slot * 7_919 % count) as f64 + 10.0).powf(0.99))
            .collect();
        let sum: f64 = weights.iter().sum();
        for (slot, weight) in slots.iter_mut().zip(weights) {
            slot.cpu = total * weight / sum;
        }
    }

    /// When the world changes next.
    pub fn next_ms(&self, now_ms: u64) -> Option<u64> {
        Some(self.next_tick_ms.max(now_ms + 1))
    }

    /// Changes the world; returns moves that failed because of it.
    pub fn change(&mut self, world: &mut World, now_ms: u64) -> Vec<(SlotId, bool)> {
        if now_ms < self.next_tick_ms {
            return Vec::new();
        }
        self.next_tick_ms = now_ms + self.tick_ms;
        match self.kind {
            Kind::Tenants => self.grow(world),
            Kind::Loading => self.load(world),
            Kind::Breathing { part } => self.breathe(world, now_ms, part),
            Kind::Expiry => self.swing(world, now_ms),
            Kind::FlashCrowd => self.crowd(world, now_ms),
            Kind::Topology => return self.reshape(world, now_ms),
            Kind::Adversary => self.provoke(world, now_ms),
            _ => {}
        }
        Vec::new()
    }

    /// Three per cent a day for the first twentieth of the slots.
    fn grow(&mut self, world: &mut World) {
        let factor = 1.03f64.powf(self.tick_ms as f64 / DAY_MS as f64);
        let tenants = (self.slots / 20).max(1);
        world.slots[..tenants].iter_mut().for_each(|slot| slot.bytes *= factor);
    }

    fn load(&mut self, world: &mut World) {
        let minutes = self.tick_ms as f64 / MINUTE_MS as f64;
        let (fast, slow) = (1.02f64.powf(minutes), 1.002f64.powf(minutes));
        let first = self.slots / usize::from(self.shards);
        for (at, slot) in world.slots.iter_mut().enumerate() {
            slot.bytes *= if at < first { fast } else { slow };
        }
    }

    fn breathe(&mut self, world: &mut World, now_ms: u64, part: f64) {
        let phase = now_ms as f64 / MINUTE_MS as f64 * std::f64::consts::TAU;
        let first = self.slots / usize::from(self.shards);
        for (slot, start) in world.slots[..first].iter_mut().zip(&self.start) {
            slot.bytes = start.bytes * (1.0 + part * phase.sin());
        }
    }

    fn swing(&mut self, world: &mut World, now_ms: u64) {
        let phase = now_ms as f64 / DAY_MS as f64 * std::f64::consts::TAU;
        let expired = (now_ms / HOUR_MS) % 60 == 59;
        for at in (0..self.slots).step_by(5) {
            // Neighbours swing together, so that whole bins do.
            let own = at as f64 / self.slots as f64 * std::f64::consts::TAU;
            let mass = if expired { 0.85 } else { 1.0 };
            world.slots[at].bytes =
                self.start[at].bytes * (1.0 + 0.35 * (phase + own).sin()) * mass;
        }
    }

    fn crowd(&mut self, world: &mut World, now_ms: u64) {
        for (slot, start) in world.slots.iter_mut().zip(&self.start) {
            slot.cpu = start.cpu;
        }
        // Each hour one slot gets a crowd of five minutes.
        let (hour, within) = (now_ms / HOUR_MS, now_ms % HOUR_MS);
        if (10 * MINUTE_MS..15 * MINUTE_MS).contains(&within) {
            let crowded = usize::try_from(hour * 97 + 13).unwrap_or(0) % self.slots;
            world.slots[crowded].cpu += 0.35;
        }
        if (now_ms / 10_000).is_multiple_of(6) {
            for _ in 0..8 {
                let burst = self.random.below(self.slots);
                world.slots[burst].cpu += 0.1;
            }
        }
    }

    /// One change every four hours: weights 1:2:4, a drain, a new bin, a lost one.
    fn reshape(&mut self, world: &mut World, now_ms: u64) -> Vec<(SlotId, bool)> {
        let stage = u32::try_from(now_ms / (4 * HOUR_MS)).unwrap_or(u32::MAX);
        if stage == self.stage {
            // The loss comes while the drain's moves are under way.
            return Vec::new();
        }
        self.stage = stage;
        match stage {
            1 => {
                for (at, shard) in world.shards.iter_mut().enumerate() {
                    shard.capacity_bytes *= [1, 2, 4][at % 3];
                    shard.limit_bytes = shard.capacity_bytes;
                }
            }
            2 => world.shards[1].state = ShardState::Drain,
            3 => {
                let gone = world.shards[1].id;
                world.shards.retain(|shard| shard.id != gone);
                let capacity = world.shards.iter().map(|s| s.capacity_bytes).max().unwrap_or(1);
                world.shards.push(ShardLoad::new(ShardId(self.shards), capacity));
            }
            4 => world.shards[0].capacity_bytes /= 2,
            5 => {
                let gone = world.shards[2].id;
                let heir = world.shards[0].id;
                let failed = world.lose(gone, heir);
                self.tick_ms = MINUTE_MS;
                return failed;
            }
            _ => {}
        }
        Vec::new()
    }

    /// Load jumps between two slots at the period of the slow average; sizes hover at the gap.
    fn provoke(&mut self, world: &mut World, now_ms: u64) {
        let first = (now_ms / 120_000).is_multiple_of(2);
        let (a, b) = (1, self.slots - 1);
        world.slots[a].cpu = if first { 0.5 } else { 0.05 };
        world.slots[b].cpu = if first { 0.05 } else { 0.5 };
        let shards = usize::from(self.shards);
        for (at, slot) in world.slots.iter_mut().enumerate().skip(2).step_by(shards) {
            let sign = if (now_ms / 300_000 + at as u64).is_multiple_of(2) { 1.0 } else { -1.0 };
            slot.bytes = self.start[at].bytes * (1.0 + 0.10 * sign);
        }
    }
}

fn shard_id(at: usize) -> ShardId {
    ShardId(u16::try_from(at).unwrap_or(0))
}
