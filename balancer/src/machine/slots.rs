//! What is remembered of each slot: its load, when it moved, whom it belonged to, pins.

use super::level::BinMemory;
use crate::ewma::Ewma;
use crate::model::{Hold, LoadSnapshot, ShardId, ShardState, SlotId};

/// How long an earlier owner is remembered: returns within it count as reversals.
pub(crate) const MEMORY_MS: u64 = 24 * 3_600_000;
/// How long a slot may not return in the thread tier when nothing else would help.
pub(crate) const RETURN_URGENT_MS: u64 = 600_000;
/// Earlier owners remembered of one slot.
const OWNERS_MAX: usize = 16;

#[derive(Clone, Debug, Default)]
struct Record {
    load: Ewma,
    cooling_until_ms: u64,
    /// Earlier owners and when they were left.
    owners: Vec<(ShardId, u64)>,
    pinned: bool,
}

/// Which average of the load to plan on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Average {
    Fast,
    Slow,
}

/// The memory of all slots.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlotMemory {
    records: Vec<Record>,
    bins: Vec<BinMemory>,
    updated_ms: Option<u64>,
    /// Between the last two looks.
    elapsed_ms: u64,
    windows: (u64, u64),
}

impl SlotMemory {
    /// Bytes on the heap, but for earlier owners.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.records.capacity() * size_of::<Record>()
            + self.bins.capacity() * size_of::<BinMemory>()
    }

    /// Takes in the raw loads of a snapshot.
    pub(crate) fn observe(&mut self, snapshot: &LoadSnapshot, mono_ms: u64, windows: (u64, u64)) {
        self.records.resize_with(snapshot.slots.len(), Record::default);
        let elapsed = mono_ms.saturating_sub(self.updated_ms.unwrap_or(mono_ms));
        if self.updated_ms.is_some() && elapsed == 0 {
            return;
        }
        self.updated_ms = Some(mono_ms);
        (self.elapsed_ms, self.windows) = (elapsed, windows);
        self.follow_levels(snapshot, elapsed, windows);
        for (record, slot) in self.records.iter_mut().zip(&snapshot.slots) {
            record.load.update(slot.cpu, elapsed, windows.0, windows.1);
            record.owners.retain(|&(_, left)| mono_ms.saturating_sub(left) < MEMORY_MS);
        }
    }

    /// Lets the averages of a bin begin anew when its load has become another.
    fn follow_levels(&mut self, snapshot: &LoadSnapshot, elapsed: u64, windows: (u64, u64)) {
        self.bins.retain(|bin| snapshot.shard(bin.id).is_some());
        for shard in &snapshot.shards {
            if !self.bins.iter().any(|bin| bin.id == shard.id) {
                self.bins.push(BinMemory::new(shard.id));
            }
        }
        let count = self.bins.iter().map(|bin| usize::from(bin.id.0) + 1).max().unwrap_or(0);
        // Of each bin by its id: the load of this look, and the average.
        let mut sums = vec![(0.0, 0.0); count];
        for (record, slot) in self.records.iter().zip(&snapshot.slots) {
            if let Some(sum) = sums.get_mut(usize::from(slot.owner.0)) {
                sum.0 += slot.cpu;
                sum.1 += record.load.slow();
            }
        }
        let mut anew = vec![false; count];
        for bin in &mut self.bins {
            let Some(shard) = snapshot.shard(bin.id) else { continue };
            let (now, average) = sums[usize::from(bin.id.0)];
            let is_new = bin.observe(shard, now, average, elapsed, windows);
            anew[usize::from(bin.id.0)] = is_new;
        }
        for (record, slot) in self.records.iter_mut().zip(&snapshot.slots) {
            if anew.get(usize::from(slot.owner.0)) == Some(&true) {
                record.load.forget();
            }
        }
    }

    /// How much of the load spread may be chance, a fraction of the cores.
    pub(crate) fn noise(&self, snapshot: &LoadSnapshot, average: Average) -> f64 {
        let window_ms = match average {
            Average::Fast => self.windows.0,
            Average::Slow => self.windows.1,
        };
        let error = |bin: &BinMemory| {
            let cores = snapshot.shard(bin.id).map_or(1.0, |shard| shard.cores);
            bin.error(self.elapsed_ms, window_ms) / if cores > 0.0 { cores } else { 1.0 }
        };
        2.0 * self.bins.iter().map(error).fold(0.0, f64::max)
    }

    /// Cores of a bin that no move sets free, by an average.
    fn fixed_cpu(&self, id: ShardId, average: Average) -> f64 {
        let bin = self.bins.iter().find(|bin| bin.id == id);
        bin.map_or(0.0, |bin| match average {
            Average::Fast => bin.fixed.fast(),
            Average::Slow => bin.fixed.slow(),
        })
    }

    /// Writes averages, holds and the no-return rule into a snapshot.
    pub(crate) fn apply(
        &self,
        snapshot: &mut LoadSnapshot,
        average: Average,
        return_ms: u64,
        mono_ms: u64,
    ) {
        let drains: Vec<ShardId> = snapshot
            .shards
            .iter()
            .filter(|shard| shard.state == ShardState::Drain)
            .map(|shard| shard.id)
            .collect();
        for shard in &mut snapshot.shards {
            shard.fixed_cpu = self.fixed_cpu(shard.id, average);
        }
        for (at, (slot, record)) in snapshot.slots.iter_mut().zip(&self.records).enumerate() {
            slot.cpu = match average {
                Average::Fast => record.load.fast(),
                Average::Slow => record.load.slow(),
            };
            if slot.hold != Hold::Free {
                continue;
            }
            let leaves = !drains.is_empty() && drains.contains(&slot.owner);
            if record.pinned {
                slot.hold = Hold::Pinned;
            } else if record.cooling_until_ms > mono_ms && !leaves {
                slot.hold = Hold::Cooling;
            }
            if !leaves {
                let id = SlotId(u16::try_from(at).unwrap_or(u16::MAX));
                let recent = record.owners.iter();
                let recent = recent.filter(|(_, left)| mono_ms.saturating_sub(*left) < return_ms);
                snapshot.barred.extend(recent.map(|&(owner, _)| (id, owner)));
            }
        }
    }

    /// The highest load of all bins by the fast average, over their cores.
    pub(crate) fn hottest(&self, snapshot: &LoadSnapshot) -> f64 {
        let last = snapshot.shards.iter().map(|shard| usize::from(shard.id.0)).max();
        let mut cpu = vec![0.0; last.map_or(0, |last| last + 1)];
        for shard in &snapshot.shards {
            cpu[usize::from(shard.id.0)] = self.fixed_cpu(shard.id, Average::Fast);
        }
        for (slot, record) in snapshot.slots.iter().zip(&self.records) {
            if let Some(sum) = cpu.get_mut(usize::from(slot.owner.0)) {
                *sum += record.load.fast();
            }
        }
        let shards = snapshot.shards.iter().filter(|shard| shard.cores > 0.0);
        shards.map(|shard| cpu[usize::from(shard.id.0)] / shard.cores).fold(0.0, f64::max)
    }

    /// Notes a finished move; whether the slot came back to an owner of the last 24 hours.
    pub(crate) fn moved(
        &mut self,
        slot: SlotId,
        from: ShardId,
        to: ShardId,
        mono_ms: u64,
        cooldown_ms: u64,
    ) -> bool {
        let Some(record) = self.records.get_mut(slot.index()) else { return false };
        let returned = record.owners.iter().any(|&(owner, _)| owner == to);
        record.owners.retain(|&(owner, _)| owner != from);
        if record.owners.len() >= OWNERS_MAX {
            record.owners.remove(0);
        }
        record.owners.push((from, mono_ms));
        record.cooling_until_ms = mono_ms + cooldown_ms;
        returned
    }

    /// Leaves a slot alone for a while, after a failed or cancelled move.
    pub(crate) fn cool(&mut self, slot: SlotId, until_ms: u64) {
        if let Some(record) = self.records.get_mut(slot.index()) {
            record.cooling_until_ms = record.cooling_until_ms.max(until_ms);
        }
    }

    /// Pins or frees a slot; whether it exists.
    pub(crate) fn set_pinned(&mut self, slot: SlotId, pinned: bool) {
        if self.records.len() <= slot.index() {
            self.records.resize_with(slot.index() + 1, Record::default);
        }
        self.records[slot.index()].pinned = pinned;
    }

    /// The pinned slots, ascending.
    pub(crate) fn pinned(&self) -> Vec<SlotId> {
        let pinned = self.records.iter().enumerate().filter(|(_, record)| record.pinned);
        pinned.map(|(at, _)| SlotId(u16::try_from(at).unwrap_or(u16::MAX))).collect()
    }

    /// Milliseconds until the slot may move again.
    pub(crate) fn cooling_ms(&self, slot: SlotId, mono_ms: u64) -> u64 {
        let record = self.records.get(slot.index());
        record.map_or(0, |record| record.cooling_until_ms.saturating_sub(mono_ms))
    }

    /// Owners of the last 24 hours, oldest first.
    pub(crate) fn earlier_owners(&self, slot: SlotId) -> Vec<ShardId> {
        let record = self.records.get(slot.index());
        record.map_or_else(Vec::new, |record| record.owners.iter().map(|&(id, _)| id).collect())
    }
}
