//! The simulated cluster: bins, slots, moves under way, and what is measured.

use std::collections::BTreeMap;

use crate::machine::{Command, StopHow};
use crate::model::{Health, LoadSnapshot, ShardId, ShardLoad, ShardState, SlotId, SlotLoad, Tier};
use crate::plan::Cause;

const DAY_MS: u64 = 86_400_000;

/// One simulated slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimulatedSlot {
    /// Bytes, as a float so that slow growth is not lost.
    pub bytes: f64,
    /// Cores used now.
    pub cpu: f64,
    /// The bin that owns it.
    pub owner: ShardId,
}

/// A move that the mock executor carries out.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    slot: SlotId,
    from: ShardId,
    to: ShardId,
    chunk: u64,
    starts_ms: u64,
    ends_ms: u64,
    /// Started while the windows were open, or allowed outside.
    inside: bool,
}

/// Bins, slots and transfers.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The bins.
    pub shards: Vec<ShardLoad>,
    /// The slots, index = slot id.
    pub slots: Vec<SimulatedSlot>,
    /// Version of the slot map.
    pub epoch: u64,
    /// Whether the figures can be acted upon.
    pub health: Health,
    /// Bytes a second of one node move.
    pub rate: u64,
    /// Fraction of a bin that a target may reach.
    pub target_fill: f64,
    transfers: Vec<Transfer>,
    owners: BTreeMap<SlotId, Vec<(ShardId, u64)>>,
    last_move: BTreeMap<SlotId, u64>,
    /// What has been measured.
    pub seen: Measures,
}

/// What the executor measures, independently of the machine's own counters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measures {
    /// Slots moved.
    pub moves: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// Slots that came back to an owner of the last 24 hours.
    pub reversals: u64,
    /// Moves after which a target was above its fill limit.
    pub limit_violations: u64,
    /// Moves started while the windows were closed, emergencies apart.
    pub starts_outside: u64,
    /// Moves for emergencies.
    pub emergency_moves: u64,
    /// Longest time a move ran on after its window had closed.
    pub overrun_ms_max: u64,
    /// Shortest time between two moves of one slot.
    pub rest_ms_min: u64,
    /// Moves given up.
    pub stopped: u64,
}

impl World {
    /// A world without slots.
    pub fn new(shards: Vec<ShardLoad>, slots: Vec<SimulatedSlot>) -> World {
        World {
            shards,
            slots,
            epoch: 1,
            rate: 64 << 20,
            target_fill: 0.85,
            seen: Measures { rest_ms_min: u64::MAX, ..Measures::default() },
            ..World::default()
        }
    }

    /// What the machine is told.
    pub fn snapshot(&self) -> LoadSnapshot {
        LoadSnapshot {
            epoch: self.epoch,
            shards: self.shards.clone(),
            slots: self
                .slots
                .iter()
                .map(|slot| SlotLoad {
                    cpu: slot.cpu,
                    ..SlotLoad::new(slot.owner, slot.bytes.max(0.0) as u64)
                })
                .collect(),
            health: self.health,
            ..LoadSnapshot::default()
        }
    }

    /// Highest and lowest fill of the active bins.
    pub fn fills(&self) -> (f64, f64) {
        let used = self.sums(|slot| slot.bytes);
        self.edges(|shard| used(shard.id) / shard.capacity_bytes.max(1) as f64)
    }

    /// Highest and lowest load of the active bins.
    pub fn loads(&self) -> (f64, f64) {
        let cpu = self.sums(|slot| slot.cpu);
        self.edges(|shard| cpu(shard.id) / shard.cores)
    }

    /// Bins whose slots exceed their limit, and by how much.
    pub fn over_limit(&self) -> Vec<(ShardId, u64)> {
        let used = self.sums(|slot| slot.bytes.floor());
        let excess = |shard: &ShardLoad| (used(shard.id) as u64).checked_sub(shard.limit_bytes);
        let shards = self.shards.iter();
        shards.filter_map(|shard| Some((shard.id, excess(shard).filter(|&e| e > 0)?))).collect()
    }

    /// Sums over the slots of each bin.
    fn sums(&self, value: impl Fn(&SimulatedSlot) -> f64) -> impl Fn(ShardId) -> f64 {
        let mut sums: Vec<f64> = Vec::new();
        for slot in &self.slots {
            let at = usize::from(slot.owner.0);
            if at >= sums.len() {
                sums.resize(at + 1, 0.0);
            }
            sums[at] += value(slot);
        }
        move |shard| sums.get(usize::from(shard.0)).copied().unwrap_or(0.0)
    }

    fn edges(&self, value: impl Fn(&ShardLoad) -> f64) -> (f64, f64) {
        let active = self.shards.iter().filter(|shard| shard.state == ShardState::Active);
        active.map(value).fold((0.0, f64::INFINITY), |(high, low), value| {
            (f64::max(high, value), f64::min(low, value))
        })
    }

    fn used(&self, shard: ShardId) -> f64 {
        self.slots.iter().filter(|slot| slot.owner == shard).map(|slot| slot.bytes).sum()
    }

    /// When the next transfer ends.
    pub fn next_end_ms(&self) -> Option<u64> {
        self.transfers.iter().map(|transfer| transfer.ends_ms).min()
    }

    /// Transfers under way.
    pub fn transfers(&self) -> usize {
        self.transfers.len()
    }

    /// Carries out a command; acknowledgements that are due at once are returned.
    pub fn execute(
        &mut self,
        tier: Tier,
        command: &Command,
        now_ms: u64,
        open: bool,
    ) -> Vec<(SlotId, bool)> {
        match *command {
            Command::Move { chunk, slot, from, to, bytes, cause, .. } => {
                assert_eq!(self.slots[slot.index()].owner, from, "the source owns slot {slot}");
                assert!(
                    self.transfers.iter().all(|transfer| transfer.slot != slot),
                    "slot {slot} is on its way already"
                );
                let emergency = cause == Cause::Emergency;
                self.seen.emergency_moves += u64::from(emergency);
                self.seen.starts_outside += u64::from(!open && !emergency);
                let lane = self.transfers.iter().filter(|t| t.chunk == chunk);
                let starts_ms = match tier {
                    Tier::Thread => now_ms,
                    Tier::Node => lane.map(|t| t.ends_ms).max().unwrap_or(now_ms),
                };
                let ends_ms = starts_ms
                    + match tier {
                        Tier::Thread => 1,
                        Tier::Node => 5 + bytes.saturating_mul(1_000) / self.rate.max(1),
                    };
                let inside = open && !emergency;
                self.transfers.push(Transfer { slot, from, to, chunk, starts_ms, ends_ms, inside });
                Vec::new()
            }
            Command::Stop { slot, how } => {
                let stops = |transfer: &Transfer| {
                    transfer.slot == slot && (how == StopHow::Now || transfer.starts_ms > now_ms)
                };
                let before = self.transfers.len();
                self.transfers.retain(|transfer| !stops(transfer));
                if self.transfers.len() == before {
                    return Vec::new();
                }
                self.seen.stopped += 1;
                vec![(slot, false)]
            }
            Command::Announce(_) => Vec::new(),
        }
    }

    /// Ends the transfers that are due; returns their slots.
    pub fn finish_due(&mut self, now_ms: u64, closed_ms: Option<u64>) -> Vec<(SlotId, bool)> {
        let due: Vec<Transfer> =
            self.transfers.iter().copied().filter(|t| t.ends_ms <= now_ms).collect();
        self.transfers.retain(|transfer| transfer.ends_ms > now_ms);
        due.iter().map(|transfer| (transfer.slot, self.hand_over(transfer, closed_ms))).collect()
    }

    fn hand_over(&mut self, transfer: &Transfer, closed_ms: Option<u64>) -> bool {
        let (slot, now_ms) = (transfer.slot, transfer.ends_ms);
        let target = self.shards.iter().find(|shard| shard.id == transfer.to);
        let Some(target) = target.cloned() else { return false };
        let load = &mut self.slots[slot.index()];
        assert_eq!(load.owner, transfer.from, "owned once");
        load.owner = transfer.to;
        let bytes = load.bytes as u64;
        self.epoch += 1;
        self.seen.moves += 1;
        self.seen.bytes += bytes;
        if transfer.inside {
            let late = closed_ms.map_or(0, |closed| now_ms.saturating_sub(closed));
            self.seen.overrun_ms_max = self.seen.overrun_ms_max.max(late);
            let limit = target.capacity_bytes as f64 * self.target_fill;
            self.seen.limit_violations += u64::from(self.used(transfer.to) > limit * 1.001);
        }
        let earlier = self.owners.entry(slot).or_default();
        earlier.retain(|&(_, left)| now_ms.saturating_sub(left) < DAY_MS);
        self.seen.reversals += u64::from(earlier.iter().any(|&(id, _)| id == transfer.to));
        earlier.push((transfer.from, now_ms));
        if let Some(last) = self.last_move.insert(slot, now_ms) {
            self.seen.rest_ms_min = self.seen.rest_ms_min.min(now_ms - last);
        }
        true
    }

    /// A node is lost: its transfers fail, its slots are promoted elsewhere.
    pub fn lose(&mut self, shard: ShardId, heir: ShardId) -> Vec<(SlotId, bool)> {
        let touched = |t: &Transfer| t.from == shard || t.to == shard;
        let failed: Vec<(SlotId, bool)> =
            self.transfers.iter().filter(|t| touched(t)).map(|t| (t.slot, false)).collect();
        self.transfers.retain(|transfer| !touched(transfer));
        self.shards.retain(|other| other.id != shard);
        for slot in self.slots.iter_mut().filter(|slot| slot.owner == shard) {
            slot.owner = heir;
        }
        self.epoch += 1;
        failed
    }

    /// Forgets every transfer, as after a crash of the executor: the sources still own all.
    pub fn crash(&mut self) {
        self.transfers.clear();
    }
}
