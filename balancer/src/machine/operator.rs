//! What operators do: plan, apply, run, cancel, pause, pin.

use thiserror::Error;

use super::slots::{Average, MEMORY_MS};
use super::{Clock, Command, Cue, Machine, Outcome, PauseStatus, State, StopHow};
use crate::model::{LoadSnapshot, ShardId, ShardLoad, ShardState, SlotId, Tier};
use crate::plan::{self, Goal, Plan, Trigger};
use crate::policy::{Mode, Warning};
use crate::reason::{Limit, Reason};

/// An evaluation that an operator asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Force {
    /// Windows do not apply.
    pub(crate) now: bool,
}

/// A change of the bins that a plan should be made for.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A bin joins.
    Add(ShardLoad),
    /// A bin must end empty.
    Remove(ShardId),
    /// A bin's capacity becomes this.
    Capacity(ShardId, u64),
}

/// The answer of `BALANCER PLAN`.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The plan; its id can be applied unless it was made for a change.
    pub plan: Plan,
    /// Milliseconds of moving, closed windows not counted.
    pub duration_ms: u64,
    /// Openings of the windows that it takes, at the rate of now; 0 if the windows never open.
    pub windows: u64,
    /// What should be known before.
    pub warnings: Vec<Warning>,
}

/// Why a plan cannot be applied.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ApplyError {
    /// No plan of that id is kept.
    #[error("no such plan")]
    Unknown,
    /// It is older than `balancer-plan-ttl`.
    #[error("the plan has expired")]
    Expired,
    /// It was made for a change that has not happened.
    #[error("the plan is for a change that has not been made")]
    Hypothetical,
    /// The slot map changed; here is a plan for the map of now.
    #[error("the slot map changed; the fresh plan is {}", .0.id)]
    EpochChanged(Box<Plan>),
    /// Another run is under way, or the tier may not move anything.
    #[error("{}", .0.sentence())]
    Refused(Reason),
}

/// What survives a restart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// The pause in force.
    pub pause: Option<PauseStatus>,
    /// Pinned slots.
    pub pinned: Vec<SlotId>,
    /// The next plan id.
    pub next_plan: u64,
}

impl Machine {
    /// Plans without doing anything, for the bins of now or after some changes.
    ///
    /// # Errors
    /// [`Reason::StaleStats`] before the first snapshot.
    pub fn propose(
        &mut self,
        changes: &[Change],
        bytes_max: Option<u64>,
        clock: Clock,
    ) -> Result<Proposal, Reason> {
        let mut raw = self.raw.clone().ok_or(Reason::StaleStats)?;
        for change in changes {
            apply_change(&mut raw, change);
        }
        // After the change, because what leaves a bin may do so while it cools down.
        let snapshot = self.prepare_from(raw, Average::Slow, MEMORY_MS, clock);
        let goal = Goal {
            bytes_max,
            ..self.policy.goal(self.tier, snapshot.shards.len(), Trigger::Continue)
        };
        let plan = plan::plan(&snapshot, &goal);
        let duration_ms = self.duration_ms(&plan);
        let windows = self.windows_needed(duration_ms, clock);
        let mut warnings = self.policy.warnings(self.tier, clock.wall_ms, &snapshot);
        if self.tier == Tier::Node {
            warnings.extend(self.policy.queue_warning(clock.wall_ms, plan.bytes()));
        }
        let id = self.store(plan.clone(), clock, !changes.is_empty());
        Ok(Proposal { plan: Plan { id, ..plan }, duration_ms, windows, warnings })
    }

    /// Openings until `needed_ms` of open time have passed, up to a year of daily windows.
    fn windows_needed(&self, needed_ms: u64, clock: Clock) -> u64 {
        let mut left = i64::try_from(needed_ms).unwrap_or(i64::MAX);
        let (mut now, mut windows) = (clock.wall_ms, 0);
        while windows < 366 {
            if !self.schedule.is_open(now) {
                let Some(opens) = self.schedule.next_open(now) else { return 0 };
                now = opens;
            }
            windows += 1;
            let Some(closes) = self.schedule.next_close(now) else { return windows };
            left -= closes - now;
            now = closes;
            if left <= 0 {
                break;
            }
        }
        windows
    }

    /// Carries out a reviewed plan, at the next opening or now.
    ///
    /// # Errors
    /// [`ApplyError`]; with a fresh plan if the slot map changed.
    pub fn apply(&mut self, id: u64, now: bool, clock: Clock) -> Result<Vec<Command>, ApplyError> {
        if let Mode::Off | Mode::Dryrun = self.mode() {
            let reason =
                if self.mode() == Mode::Off { Reason::ModeOff } else { Reason::ModeDryrun };
            return Err(ApplyError::Refused(reason));
        }
        if self.pause.is_some() {
            return Err(ApplyError::Refused(Reason::Paused));
        }
        if self.run.is_some() {
            return Err(ApplyError::Refused(Reason::Concurrency(Limit::Run)));
        }
        let at = self.stored.iter().position(|stored| stored.plan.id == id);
        let stored = self.stored[at.ok_or(ApplyError::Unknown)?].clone();
        if stored.hypothetical {
            return Err(ApplyError::Hypothetical);
        }
        if clock.mono_ms.saturating_sub(stored.made_ms) > self.policy.plan_ttl_s * 1_000 {
            return Err(ApplyError::Expired);
        }
        let epoch = self.working.as_ref().map(|snapshot| snapshot.epoch);
        if epoch != Some(stored.plan.epoch) {
            let fresh = self.propose(&[], None, clock).map_err(ApplyError::Refused)?;
            return Err(ApplyError::EpochChanged(Box::new(fresh.plan)));
        }
        let mut commands = Vec::new();
        let plan = stored.plan;
        self.begin(id, Cue::Apply, &plan, Some(plan.moves.clone()), now, clock, &mut commands);
        self.stored.retain(|stored| stored.plan.id != id);
        self.queued = None;
        self.rest(State::Running, Reason::Balanced);
        Ok(commands)
    }

    /// Evaluates at the next snapshot without confirmation, down to the stop threshold; `now`
    /// ignores the windows until the run is done.
    pub fn run(&mut self, now: bool) {
        self.force(Force { now });
    }

    /// Stops a run, or everything: moves under way are given up, their slots left alone for a
    /// while. Returns nothing if there is no such run.
    pub fn cancel(&mut self, id: Option<u64>, clock: Clock) -> Vec<Command> {
        let mut commands = Vec::new();
        if id.is_some() && self.run.as_ref().map(|run| run.record.id) != id {
            return commands;
        }
        for flight in &mut self.flights {
            if !flight.stopping && (id.is_none() || flight.plan == id.unwrap_or(0)) {
                flight.stopping = true;
                commands.push(Command::Stop { slot: flight.slot, how: StopHow::Now });
            }
        }
        self.finish(Outcome::Cancelled, None, clock, &mut commands);
        self.forced = None;
        self.queued = None;
        self.unfinished = false;
        self.seen = 0;
        self.rest(State::Idle, Reason::Balanced);
        commands
    }

    /// Starts nothing until resumed, or for some seconds. What is under way goes on.
    pub fn pause(&mut self, seconds: Option<u64>, why: &str, clock: Clock) {
        let length = |s: u64| i64::try_from(s).unwrap_or(i64::MAX).saturating_mul(1_000);
        let until_ms = seconds.map(|s| clock.wall_ms.saturating_add(length(s)));
        self.pause = Some(PauseStatus { until_ms, why: why.to_owned() });
        self.rest(State::Paused, Reason::Paused);
    }

    /// Ends a pause; whether there was one.
    pub fn resume(&mut self) -> bool {
        self.pause.take().is_some()
    }

    /// Keeps slots where they are.
    pub fn pin(&mut self, slots: &[SlotId]) {
        slots.iter().for_each(|&slot| self.slots.set_pinned(slot, true));
        self.refresh();
    }

    /// Lets pinned slots move again.
    pub fn unpin(&mut self, slots: &[SlotId]) {
        slots.iter().for_each(|&slot| self.slots.set_pinned(slot, false));
        self.refresh();
    }

    /// What should be stored across restarts.
    pub fn save(&self) -> Saved {
        Saved { pause: self.pause.clone(), pinned: self.slots.pinned(), next_plan: self.next_plan }
    }

    /// Takes up what was stored.
    pub fn restore(&mut self, saved: &Saved) {
        self.pause.clone_from(&saved.pause);
        self.pin(&saved.pinned);
        self.next_plan = self.next_plan.max(saved.next_plan);
    }
}

fn apply_change(snapshot: &mut LoadSnapshot, change: &Change) {
    let find =
        |shards: &mut Vec<ShardLoad>, id: ShardId| shards.iter().position(|shard| shard.id == id);
    match change {
        Change::Add(shard) => {
            if find(&mut snapshot.shards, shard.id).is_none() {
                snapshot.shards.push(shard.clone());
            }
        }
        Change::Remove(id) => {
            if let Some(at) = find(&mut snapshot.shards, *id) {
                snapshot.shards[at].state = ShardState::Drain;
            }
        }
        Change::Capacity(id, bytes) => {
            if let Some(at) = find(&mut snapshot.shards, *id) {
                snapshot.shards[at].capacity_bytes = *bytes;
            }
        }
    }
}
