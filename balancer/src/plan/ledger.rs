//! The planner's working state: who holds what if the moves chosen so far were done.
//!
//! Bins are kept in an order that does not depend on their ids (by the first slot they own), and
//! every tie is broken by that order or by the slot, so a permutation of ids permutes the plan.

use std::cmp::Reverse;

use super::goal::Goal;
use crate::model::{Hold, LoadSnapshot, ShardId, ShardState, SlotId};

/// Index of a bin in the ledger.
pub(crate) type BinIndex = usize;
/// The owner index of a slot that belongs to no known bin.
pub(crate) const NOBODY: u16 = u16::MAX;

/// What does not change while planning.
#[derive(Clone, Debug)]
pub(crate) struct Bin {
    pub(crate) id: ShardId,
    pub(crate) zone: u16,
    pub(crate) capacity: f64,
    pub(crate) fixed: u64,
    /// Bytes it may hold as a target: the fill limit.
    pub(crate) ceiling: u64,
    pub(crate) limit: u64,
    pub(crate) cores: f64,
    /// Cores used by what no move takes away.
    pub(crate) fixed_cpu: f64,
    /// Takes slots.
    pub(crate) accepts: bool,
    /// Must end empty.
    pub(crate) drains: bool,
}

impl Bin {
    /// Whether its fill counts in the spread.
    pub(crate) fn counts(&self) -> bool {
        !self.drains && self.capacity > 0.0
    }
}

/// Why a slot is moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A bin near its limit.
    Emergency,
    /// Its bin must end empty.
    Drain,
    /// Memory spread.
    #[default]
    Memory,
    /// Load spread.
    Load,
}

impl Cause {
    /// The label of metrics and history.
    pub fn code(self) -> &'static str {
        match self {
            Cause::Emergency => "emergency",
            Cause::Drain => "drain",
            Cause::Memory => "memory",
            Cause::Load => "load",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    pub(crate) bins: Vec<Bin>,
    /// Bytes held, fixed bytes included.
    pub(crate) used: Vec<u64>,
    /// Bytes that cannot leave: fixed, held and dominant slots.
    pub(crate) base: Vec<u64>,
    /// Cores used.
    pub(crate) cpu: Vec<f64>,
    /// Owner of each slot at the start.
    pub(crate) home: Vec<u16>,
    /// Owner of each slot now.
    pub(crate) owner: Vec<u16>,
    pub(crate) bytes: Vec<u64>,
    pub(crate) load: Vec<f64>,
    /// The slot may move.
    pub(crate) free: Vec<bool>,
    /// Why a slot may not move.
    pub(crate) hold: Vec<Hold>,
    pub(crate) cause: Vec<Cause>,
    /// Movable slots with bytes of each bin, ascending by (bytes, slot).
    pub(crate) members: Vec<Vec<u16>>,
    /// `prefix[i]` = bytes of the slots below `i`.
    pub(crate) prefix: Vec<u64>,
    /// Slots that may not go to a bin, sorted.
    barred: Vec<(u16, u16)>,
    has_bar: Vec<bool>,
    pub(crate) effort: u64,
}

impl Ledger {
    /// A ledger to plan with.
    pub(crate) fn new(snapshot: &LoadSnapshot, goal: &Goal) -> Ledger {
        let mut ledger = Ledger::levels(snapshot, goal);
        ledger.sort();
        ledger
    }

    /// A ledger whose members are not sorted: for levels only.
    pub(crate) fn levels(snapshot: &LoadSnapshot, goal: &Goal) -> Ledger {
        let count = snapshot.slots.len().min(usize::from(u16::MAX));
        let order = canonical_order(snapshot, count);
        let ids: Vec<ShardId> = order.iter().map(|&at| snapshot.shards[at].id).collect();
        let index = IdIndex::new(&ids);
        let bins: Vec<Bin> = order.iter().map(|&at| make_bin(&snapshot.shards[at], goal)).collect();
        let mut owner: Vec<u16> =
            snapshot.slots[..count].iter().map(|slot| index.find(slot.owner)).collect();
        let mut free: Vec<bool> = snapshot.slots[..count]
            .iter()
            .zip(&owner)
            .map(|(slot, &owner)| slot.hold == Hold::Free && owner != NOBODY)
            .collect();
        for flight in &snapshot.in_flight {
            let slot = flight.slot.index();
            if slot < count {
                free[slot] = false;
                owner[slot] = index.find(flight.to);
            }
        }
        let mut barred: Vec<(u16, u16)> =
            snapshot.barred.iter().map(|&(slot, to)| (slot.0, index.find(to))).collect();
        barred.sort_unstable();
        let mut has_bar = vec![false; count];
        for &(slot, _) in barred.iter().filter(|(slot, _)| usize::from(*slot) < count) {
            has_bar[usize::from(slot)] = true;
        }
        let mut ledger = Ledger {
            used: bins.iter().map(|bin| bin.fixed).collect(),
            base: bins.iter().map(|bin| bin.fixed).collect(),
            cpu: bins.iter().map(|bin| bin.fixed_cpu).collect(),
            members: vec![Vec::new(); bins.len()],
            home: owner.clone(),
            owner,
            bytes: snapshot.slots[..count].iter().map(|slot| slot.bytes).collect(),
            load: snapshot.slots[..count].iter().map(|slot| slot.cpu.max(0.0)).collect(),
            free,
            hold: snapshot.slots[..count].iter().map(|slot| slot.hold).collect(),
            cause: vec![Cause::default(); count],
            prefix: Vec::with_capacity(count + 1),
            barred,
            has_bar,
            effort: 0,
            bins,
        };
        ledger.fill();
        ledger
    }

    fn fill(&mut self) {
        let mut sum = 0u64;
        self.prefix.push(0);
        for slot in 0..self.bytes.len() {
            sum = sum.saturating_add(self.bytes[slot]);
            self.prefix.push(sum);
            let owner = self.owner[slot];
            if owner == NOBODY {
                continue;
            }
            let bin = usize::from(owner);
            self.used[bin] = self.used[bin].saturating_add(self.bytes[slot]);
            self.cpu[bin] += self.load[slot];
            if !self.free[slot] {
                self.base[bin] = self.base[bin].saturating_add(self.bytes[slot]);
            } else if self.bytes[slot] > 0 {
                self.members[bin].push(slot_number(slot));
            }
        }
    }

    /// Sorts the members. Left out where only levels are asked for.
    pub(crate) fn sort(&mut self) {
        for members in &mut self.members {
            members.sort_unstable_by_key(|&slot| (self.bytes[usize::from(slot)], slot));
        }
    }

    /// Makes the owners of now the owners of the start.
    pub(crate) fn commit(&mut self) {
        self.home.copy_from_slice(&self.owner);
    }

    /// Gives a free slot to another bin.
    pub(crate) fn shift(&mut self, slot: u16, to: BinIndex, cause: Cause) {
        let at = usize::from(slot);
        let from = usize::from(self.owner[at]);
        debug_assert!(self.free[at] && from != to);
        let bytes = self.bytes[at];
        self.effort += 1 + (self.members[from].len() as u64 >> 6);
        self.used[from] -= bytes;
        self.used[to] += bytes;
        self.cpu[from] -= self.load[at];
        self.cpu[to] += self.load[at];
        self.owner[at] = u16::try_from(to).unwrap_or(NOBODY);
        self.cause[at] = cause;
        if bytes > 0 {
            let key = (bytes, slot);
            let place = |members: &[u16], all: &[u64]| {
                members.partition_point(|&other| (all[usize::from(other)], other) < key)
            };
            let old = place(&self.members[from], &self.bytes);
            debug_assert_eq!(self.members[from].get(old), Some(&slot));
            self.members[from].remove(old);
            let new = place(&self.members[to], &self.bytes);
            self.members[to].insert(new, slot);
        }
    }

    /// Keeps a slot where it is for the rest of the planning.
    pub(crate) fn freeze(&mut self, slot: u16) {
        let at = usize::from(slot);
        let bin = usize::from(self.owner[at]);
        self.free[at] = false;
        self.base[bin] += self.bytes[at];
        self.members[bin].retain(|&other| other != slot);
    }

    /// Bytes of a slot.
    pub(crate) fn size(&self, slot: u16) -> u64 {
        self.bytes[usize::from(slot)]
    }

    /// Bytes over capacity.
    pub(crate) fn fill_of(&self, bin: BinIndex) -> f64 {
        self.fill_with(bin, self.used[bin])
    }

    /// What the fill would be with `used` bytes.
    pub(crate) fn fill_with(&self, bin: BinIndex, used: u64) -> f64 {
        if self.bins[bin].capacity > 0.0 { used as f64 / self.bins[bin].capacity } else { 0.0 }
    }

    /// Cores used over cores.
    pub(crate) fn load_of(&self, bin: BinIndex) -> f64 {
        if self.bins[bin].cores > 0.0 { self.cpu[bin] / self.bins[bin].cores } else { 0.0 }
    }

    /// Bytes a target may still take.
    pub(crate) fn room(&self, bin: BinIndex) -> u64 {
        if self.bins[bin].accepts {
            self.bins[bin].ceiling.saturating_sub(self.used[bin])
        } else {
            0
        }
    }

    /// Whether the no-return rule keeps the slot from the bin.
    pub(crate) fn is_barred(&self, slot: u16, to: BinIndex) -> bool {
        self.has_bar[usize::from(slot)]
            && self.barred.binary_search(&(slot, u16::try_from(to).unwrap_or(NOBODY))).is_ok()
    }

    /// Whether the slot may be given to the bin.
    pub(crate) fn may_go(&self, slot: u16, to: BinIndex) -> bool {
        self.free[usize::from(slot)] && !self.is_barred(slot, to)
    }

    /// Whether any no-return rule applies.
    pub(crate) fn has_bars(&self) -> bool {
        !self.barred.is_empty()
    }

    /// Indices of the bins whose fill counts.
    pub(crate) fn counted(&self) -> impl Iterator<Item = BinIndex> + '_ {
        (0..self.bins.len()).filter(|&bin| self.bins[bin].counts())
    }

    /// Indices of the bins that take slots.
    pub(crate) fn accepting(&self) -> impl Iterator<Item = BinIndex> + '_ {
        (0..self.bins.len()).filter(|&bin| self.bins[bin].accepts)
    }

    /// Highest fill of all, lowest fill of those that accept.
    pub(crate) fn fill_edges(&self) -> (f64, f64) {
        let high = self.counted().map(|bin| self.fill_of(bin)).fold(0.0, f64::max);
        let low = self.accepting().map(|bin| self.fill_of(bin)).fold(f64::INFINITY, f64::min);
        (high, low.min(high))
    }

    /// Highest load of all, lowest load of those that accept.
    pub(crate) fn load_edges(&self) -> (f64, f64) {
        let high = self.counted().map(|bin| self.load_of(bin)).fold(0.0, f64::max);
        let low = self.accepting().map(|bin| self.load_of(bin)).fold(f64::INFINITY, f64::min);
        (high, low.min(high))
    }

    /// Pieces the slot map is cut into by the owners of now.
    pub(crate) fn ranges(&self) -> usize {
        let mut ranges = 0;
        let mut last = NOBODY;
        for &owner in &self.owner {
            if owner != last && owner != NOBODY {
                ranges += 1;
            }
            last = owner;
        }
        ranges
    }

    /// Change of the number of ranges if `lo..=hi` (one owner now) went to `to`.
    pub(crate) fn ranges_delta(&self, lo: usize, hi: usize, to: BinIndex) -> i32 {
        let (from, to) = (self.owner[lo], u16::try_from(to).unwrap_or(NOBODY));
        let left = if lo == 0 { NOBODY } else { self.owner[lo - 1] };
        let right = self.owner.get(hi + 1).copied().unwrap_or(NOBODY);
        let edge = |neighbour: u16| i32::from(neighbour == from) - i32::from(neighbour == to);
        edge(left) + edge(right)
    }

    /// The largest movable slot of a bin.
    pub(crate) fn largest(&self, bin: BinIndex) -> Option<u16> {
        self.members[bin].last().copied()
    }
}

fn make_bin(shard: &crate::model::ShardLoad, goal: &Goal) -> Bin {
    let capacity = shard.capacity_bytes as f64;
    let target = (capacity * goal.target_fill).floor().max(0.0) as u64;
    Bin {
        id: shard.id,
        zone: shard.zone,
        capacity,
        fixed: shard.fixed_bytes,
        ceiling: target.min(shard.limit_bytes),
        limit: shard.limit_bytes,
        cores: if shard.cores > 0.0 { shard.cores } else { 1.0 },
        fixed_cpu: shard.fixed_cpu.max(0.0),
        accepts: shard.state == ShardState::Active && shard.capacity_bytes > 0,
        drains: shard.state == ShardState::Drain,
    }
}

/// Positions of the shards, ordered by what they hold and not by their ids.
fn canonical_order(snapshot: &LoadSnapshot, count: usize) -> Vec<usize> {
    let ids: Vec<ShardId> = snapshot.shards.iter().map(|shard| shard.id).collect();
    let index = IdIndex::new(&ids);
    let mut first = vec![usize::MAX; ids.len()];
    for (slot, load) in snapshot.slots[..count].iter().enumerate() {
        let at = usize::from(index.find(load.owner));
        if at < first.len() && first[at] == usize::MAX {
            first[at] = slot;
        }
    }
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_by_key(|&at| {
        let shard = &snapshot.shards[at];
        // The bits of numbers that are not negative are in their order.
        let fixed_cpu = shard.fixed_cpu.max(0.0).to_bits();
        let fixed = (shard.fixed_bytes, fixed_cpu);
        (first[at], Reverse(shard.capacity_bytes), fixed, shard.zone, shard.id)
    });
    order
}

/// From a shard's id to its position.
struct IdIndex {
    positions: Vec<u16>,
}

impl IdIndex {
    fn new(ids: &[ShardId]) -> IdIndex {
        let largest = ids.iter().map(|id| usize::from(id.0)).max().unwrap_or(0);
        let mut positions = vec![NOBODY; largest + 1];
        for (at, id) in ids.iter().enumerate() {
            positions[usize::from(id.0)] = u16::try_from(at).unwrap_or(NOBODY);
        }
        IdIndex { positions }
    }

    fn find(&self, id: ShardId) -> u16 {
        self.positions.get(usize::from(id.0)).copied().unwrap_or(NOBODY)
    }
}

/// A position as a slot number.
pub(crate) fn slot_number(at: usize) -> u16 {
    u16::try_from(at).unwrap_or(u16::MAX)
}

/// A position as a slot id.
pub(crate) fn slot_id(at: usize) -> SlotId {
    SlotId(slot_number(at))
}
