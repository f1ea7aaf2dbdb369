//! How a plan is carried out: begun, batch after batch, each move checked again before it starts.

use std::collections::BTreeMap;

use super::{Admitted, Clock, Command, Cue, Machine, Outcome, State};
use crate::model::{Hold, LoadSnapshot, ShardId, ShardState, SlotId, Tier};
use crate::plan::{self, Move, Plan, Trigger};
use crate::reason::Reason;

/// A plan of the thread tier is carried out within this time, or made again.
const PLAN_FRESH_MS: u64 = 1_000;

impl Machine {
    /// Begins a run if there is none, and starts what may start now.
    pub(crate) fn go_on(
        &mut self,
        plan: &Plan,
        urgent: bool,
        now: bool,
        clock: Clock,
        commands: &mut Vec<Command>,
    ) {
        if self.run.is_none() {
            let cue = match self.forced {
                Some(_) => Cue::Run,
                None if urgent => Cue::Urgent,
                None if plan.before.draining_bytes > 0 => Cue::Drain,
                None => Cue::Spread,
            };
            let id = self.take_id();
            self.begin(id, cue, plan, None, now, clock, commands);
        }
        self.forced = None;
        self.queued = None;
        let outside = now && !self.schedule.is_open(clock.wall_ms);
        let (admitted, reason) = self.admit(plan, clock, now);
        if let Some(run) = &mut self.run {
            run.record.spread_after = plan.after.spread();
            run.rest.clone_from(&plan.moves);
            run.planned_ms = clock.mono_ms;
        }
        self.start(&admitted, outside || now, clock, commands);
        self.rest(State::Running, reason.unwrap_or(Reason::Balanced));
        if admitted.is_empty() && self.flights.is_empty() {
            self.queue(plan.clone(), clock);
            let reason = self.reason.clone();
            self.finish(Outcome::Partial, Some(reason.clone()), clock, commands);
            self.unfinished = true;
            self.rest(State::Queued, reason);
        }
    }

    /// Commands these moves, and takes them out of what is left of the plan.
    fn start(
        &mut self,
        admitted: &[Admitted],
        exempt: bool,
        clock: Clock,
        commands: &mut Vec<Command>,
    ) {
        let Some(run) = &mut self.run else { return };
        split_started(&mut run.rest, admitted);
        if let Some(approved) = &mut run.approved {
            split_started(approved, admitted);
        }
        run.slots_left = run.slots_left.saturating_sub(admitted.len());
        run.closing = run.rest.is_empty() || run.slots_left == 0;
        let id = run.record.id;
        self.launch(admitted, id, exempt, clock, commands);
    }

    /// Goes on with the plan of the last look when all that was commanded is done: a hand-over
    /// costs microseconds, so a plan of the thread tier is carried out at once, batch by batch.
    /// What no longer holds is left out. Returns nothing when the next look has to plan.
    pub fn proceed(&mut self, clock: Clock) -> Vec<Command> {
        let mut commands = Vec::new();
        let Some(run) = self.run.as_ref().filter(|_| self.tier == Tier::Thread) else {
            return commands;
        };
        let fresh = clock.mono_ms.saturating_sub(run.planned_ms) <= PLAN_FRESH_MS;
        let may = run.now || self.schedule.is_open(clock.wall_ms);
        let busy = self.flights.iter().any(|flight| flight.plan != 0);
        let left = run.slots_left > 0 && !run.rest.is_empty();
        if !fresh || !may || busy || !left || self.standstill().is_some() {
            return commands;
        }
        let (moves, exempt) = (run.rest.clone(), run.now);
        let plan = self.rest_of(&moves);
        let (admitted, reason) = self.admit(&plan, clock, exempt);
        if let Some(run) = &mut self.run {
            run.rest.clone_from(&plan.moves);
        }
        self.start(&admitted, exempt, clock, &mut commands);
        self.rest(State::Running, reason.unwrap_or(Reason::Balanced));
        commands
    }

    /// What is left of these moves and still holds: the slot is where the plan left it, it may
    /// move, and its target has room. The reasons why others do not are the plan's.
    pub(crate) fn rest_of(&self, moves: &[Move]) -> Plan {
        let Some(snapshot) = self.working.as_ref() else { return Plan::default() };
        let goal = self.policy.goal(self.tier, snapshot.shards.len(), Trigger::Continue);
        let before = plan::summary(snapshot, &goal);
        let mut plan = Plan { epoch: snapshot.epoch, before, after: before, ..Plan::default() };
        let mut room = self.rooms(snapshot, goal.target_fill);
        let mut ahead: BTreeMap<SlotId, ShardId> = BTreeMap::new();
        for step in moves {
            let holds = (step.lo.0..=step.hi.0)
                .try_for_each(|slot| self.holds(snapshot, SlotId(slot), step, &ahead));
            let fits = holds.and_then(|()| match room.get_mut(usize::from(step.to.0)) {
                Some(left) if *left >= signed(step.bytes) => {
                    *left -= signed(step.bytes);
                    Ok(())
                }
                _ => Err(Reason::NoHeadroom { shard: step.from, missing_bytes: step.bytes }),
            });
            match fits {
                Ok(()) => {
                    if let Some(left) = room.get_mut(usize::from(step.from.0)) {
                        *left += signed(step.bytes);
                    }
                    plan.moves.push(*step);
                    ahead.extend((step.lo.0..=step.hi.0).map(|slot| (SlotId(slot), step.to)));
                }
                Err(reason) if !plan.blocked.contains(&reason) => plan.blocked.push(reason),
                Err(_) => {}
            }
        }
        plan
    }

    /// Whether a slot is where a move expects it, after the moves `ahead` of it, and may move.
    fn holds(
        &self,
        snapshot: &LoadSnapshot,
        slot: SlotId,
        step: &Move,
        ahead: &BTreeMap<SlotId, ShardId>,
    ) -> Result<(), Reason> {
        let load = snapshot.slots.get(slot.index()).ok_or(Reason::EpochChanged)?;
        if *ahead.get(&slot).unwrap_or(&load.owner) != step.from {
            return Err(Reason::EpochChanged);
        }
        if self.flights.iter().any(|flight| flight.slot == slot) {
            return Err(Reason::Locked);
        }
        match load.hold {
            Hold::Free | Hold::Cooling => Ok(()),
            Hold::Locked => Err(Reason::Locked),
            Hold::Pinned => Err(Reason::Pinned),
        }
    }

    /// Bytes that each shard may still take, by its id; what is on its way to it counts.
    fn rooms(&self, snapshot: &LoadSnapshot, target_fill: f64) -> Vec<i64> {
        let count = snapshot.shards.iter().map(|shard| usize::from(shard.id.0) + 1).max();
        let mut rooms = vec![i64::MIN / 2; count.unwrap_or(0)];
        for shard in snapshot.shards.iter().filter(|shard| shard.state == ShardState::Active) {
            let limit = (shard.capacity_bytes as f64 * target_fill) as u64;
            let limit = limit.min(shard.limit_bytes);
            rooms[usize::from(shard.id.0)] = signed(limit) - signed(shard.fixed_bytes);
        }
        let owned = snapshot.slots.iter().map(|slot| (slot.owner, slot.bytes));
        for (shard, bytes) in owned.chain(self.flights.iter().map(|f| (f.to, f.bytes))) {
            if let Some(room) = rooms.get_mut(usize::from(shard.0)) {
                *room -= signed(bytes);
            }
        }
        rooms
    }
}

/// Bytes that may be owed.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

/// Takes what was started out of the moves; the rest of a move that was cut into chunks stays.
fn split_started(moves: &mut Vec<Move>, admitted: &[Admitted]) {
    let mut left = Vec::new();
    for step in moves.drain(..) {
        // A slot with a stop-over is in two moves.
        let started = |a: &&Admitted| {
            (step.lo..=step.hi).contains(&a.slot) && a.from == step.from && a.to == step.to
        };
        let inside = admitted.iter().filter(started);
        let last = inside.clone().map(|a| a.slot).max();
        let Some(last) = last else {
            left.push(step);
            continue;
        };
        if last < step.hi {
            let lo = SlotId(last.0 + 1);
            let bytes = inside.map(|a| a.bytes).sum();
            left.push(Move { lo, bytes: step.bytes.saturating_sub(bytes), ..step });
        }
    }
    *moves = left;
}
