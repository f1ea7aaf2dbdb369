//! Everything that `BALANCER STATUS` and the metrics show.

use super::slots::Average;
use super::{Clock, Machine, State};
use crate::bound;
use crate::model::{ShardId, ShardLoad, SlotId, Tier};
use crate::plan::ledger::Ledger;
use crate::plan::{self, Threshold, Trigger};
use crate::policy::Mode;
use crate::reason::Reason;

/// The state of a tier.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Which tier.
    pub tier: Tier,
    /// Its mode.
    pub mode: Mode,
    /// What it is doing.
    pub state: State,
    /// Why it does no more than that.
    pub reason: Reason,
    /// The windows.
    pub window: WindowStatus,
    /// Memory spread.
    pub memory: MetricStatus,
    /// Load spread; `None` if load is left alone.
    pub load: Option<MetricStatus>,
    /// Memory spread that what cannot move leaves behind.
    pub floor: f64,
    /// The bins.
    pub shards: Vec<ShardStatus>,
    /// Work that waits.
    pub queued: Option<QueueStatus>,
    /// Moves commanded and not acknowledged.
    pub in_flight_moves: usize,
    /// Their bytes.
    pub in_flight_bytes: u64,
    /// The pause in force.
    pub pause: Option<PauseStatus>,
    /// The run under way, or the last plan id given out.
    pub last_plan: u64,
    /// Milliseconds since the start threshold was exceeded.
    pub imbalanced_ms: Option<u64>,
    /// Slots that cannot be moved to any use.
    pub unmovable_slots: usize,
    /// Bytes of the largest slot.
    pub largest_slot_bytes: u64,
}

/// Whether work may start, and when that changes.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowStatus {
    /// Open now.
    pub open: bool,
    /// Next opening, milliseconds since 1970.
    pub opens_ms: Option<i64>,
    /// Next closing, milliseconds since 1970.
    pub closes_ms: Option<i64>,
    /// The time zone.
    pub zone: String,
}

/// One metric's spread and goal, fractions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricStatus {
    /// Spread now, moves in flight counted as done.
    pub now: f64,
    /// Highest of all bins.
    pub max: f64,
    /// The thresholds; that of load with what may be chance.
    pub goal: Threshold,
    /// Spread that no plan can get below: what cannot move or be divided leaves it behind.
    pub floor: f64,
}

/// One bin.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardStatus {
    /// Its id.
    pub id: ShardId,
    /// Bytes held, fixed ones included.
    pub bytes: u64,
    /// Bytes that count as full.
    pub capacity: u64,
    /// Bytes over capacity.
    pub fill: f64,
    /// Cores used over cores, slow average.
    pub cpu: f64,
    /// The part of it that no move of a slot takes away.
    pub fixed_cpu: f64,
    /// The slot that causes most of it, and how much.
    pub hottest: Option<(SlotId, f64)>,
    /// Ranges of slots.
    pub ranges: usize,
    /// Slots owned.
    pub slots: usize,
    /// Moves coming in.
    pub arriving: usize,
    /// Moves going out.
    pub leaving: usize,
}

/// Work that waits for a window or an approval.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueStatus {
    /// The plan's id, if it can be applied; otherwise 0.
    pub plan: u64,
    /// Slots.
    pub moves: usize,
    /// Bytes.
    pub bytes: u64,
    /// Milliseconds of moving once it may start.
    pub duration_ms: u64,
    /// Milliseconds that work has been waiting.
    pub age_ms: u64,
}

/// A pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PauseStatus {
    /// When it ends by itself, milliseconds since 1970.
    pub until_ms: Option<i64>,
    /// What the operator said.
    pub why: String,
}

impl Machine {
    /// The state of now.
    pub fn status(&self, clock: Clock) -> Status {
        let shard_count = self.working.as_ref().map_or(0, |snapshot| snapshot.shards.len());
        let goal = self.goal(shard_count, Trigger::Start, Average::Slow);
        let summary = self
            .working
            .as_ref()
            .map(|snapshot| plan::summary(snapshot, &goal))
            .unwrap_or_default();
        let (floor, unmovable_slots) =
            self.working.as_ref().map_or((0.0, 0), |snapshot| bound::floor(snapshot, &goal));
        let load_floor = self
            .working
            .as_ref()
            .map_or(0.0, |snapshot| bound::load_floor(&Ledger::levels(snapshot, &goal)));
        let memory =
            MetricStatus { now: summary.spread(), max: summary.fill_max, goal: goal.memory, floor };
        let load = goal.load.map(|load| MetricStatus {
            now: summary.load_spread(),
            max: summary.load_max,
            goal: load,
            floor: load_floor,
        });
        let slots = self.working.iter().flat_map(|snapshot| &snapshot.slots);
        Status {
            tier: self.tier,
            mode: self.mode(),
            state: self.state,
            reason: self.reason.clone(),
            window: self.window_status(clock),
            memory,
            load,
            floor,
            shards: self.shard_status(),
            queued: self.queue_status(clock),
            in_flight_moves: self.flights.len(),
            in_flight_bytes: self.flights.iter().map(|flight| flight.bytes).sum(),
            pause: self.pause.clone(),
            last_plan: self.run.as_ref().map_or(self.next_plan - 1, |run| run.record.id),
            imbalanced_ms: self.imbalanced_since_ms.map(|t| clock.mono_ms.saturating_sub(t)),
            unmovable_slots,
            largest_slot_bytes: slots.map(|slot| slot.bytes).max().unwrap_or(0),
        }
    }

    fn window_status(&self, clock: Clock) -> WindowStatus {
        WindowStatus {
            open: self.schedule.is_open(clock.wall_ms),
            opens_ms: self.schedule.next_open(clock.wall_ms),
            closes_ms: self.schedule.next_close(clock.wall_ms),
            zone: self.schedule.zone.iana_name().unwrap_or("UTC").to_owned(),
        }
    }

    fn queue_status(&self, clock: Clock) -> Option<QueueStatus> {
        let queued = self.queued.as_ref()?;
        Some(QueueStatus {
            plan: queued.plan.id,
            moves: queued.plan.slots(),
            bytes: queued.plan.bytes(),
            duration_ms: self.duration_ms(&queued.plan),
            age_ms: clock.mono_ms.saturating_sub(queued.since_ms),
        })
    }

    fn shard_status(&self) -> Vec<ShardStatus> {
        let Some(snapshot) = self.working.as_ref() else { return Vec::new() };
        let mut shards: Vec<ShardStatus> =
            snapshot.shards.iter().map(|shard| self.one_shard(shard)).collect();
        let ids = snapshot.shards.iter().map(|shard| usize::from(shard.id.0));
        let mut positions = vec![usize::MAX; ids.clone().max().map_or(0, |last| last + 1)];
        ids.enumerate().for_each(|(at, id)| positions[id] = at);
        let mut last = None;
        for (slot, load) in (0..).zip(&snapshot.slots) {
            let at = positions.get(usize::from(load.owner.0)).copied().unwrap_or(usize::MAX);
            let is_new = last != Some(load.owner);
            last = Some(load.owner);
            let Some(shard) = shards.get_mut(at) else { continue };
            shard.bytes += load.bytes;
            shard.cpu += load.cpu;
            shard.slots += 1;
            shard.ranges += usize::from(is_new);
            if load.cpu > shard.hottest.map_or(0.0, |(_, most)| most) {
                shard.hottest = Some((SlotId(slot), load.cpu));
            }
        }
        for (status, shard) in shards.iter_mut().zip(&snapshot.shards) {
            let cores = if shard.cores > 0.0 { shard.cores } else { 1.0 };
            status.cpu /= cores;
            status.fixed_cpu /= cores;
            status.hottest = status.hottest.map(|(slot, cpu)| (slot, cpu / cores));
            if status.capacity > 0 {
                status.fill = status.bytes as f64 / status.capacity as f64;
            }
        }
        shards
    }

    /// A bin without its slots, loads in cores.
    fn one_shard(&self, shard: &ShardLoad) -> ShardStatus {
        ShardStatus {
            id: shard.id,
            bytes: shard.fixed_bytes,
            capacity: shard.capacity_bytes,
            fill: 0.0,
            cpu: shard.fixed_cpu,
            fixed_cpu: shard.fixed_cpu,
            hottest: None,
            ranges: 0,
            slots: 0,
            arriving: self.flights.iter().filter(|f| f.to == shard.id).count(),
            leaving: self.flights.iter().filter(|f| f.from == shard.id).count(),
        }
    }
}
