//! What may act outside windows: a nearly full shard, and a shard at its limit.

use super::{Admitted, Clock, Command, Cue, Flight, Machine, Outcome, Record, State};
use crate::model::{ShardId, Tier};
use crate::plan::{self, Move, Threshold, Trigger};
use crate::policy::{Emergency, Mode};
use crate::reason::{Limit, Reason};

/// Emergency moves within this time are one record of the history.
const RECORD_GAP_MS: i64 = 60_000;

impl Machine {
    /// Relieves a shard above `balancer-emergency-fill`; whether that is what the tier does now.
    pub(crate) fn handle_emergency(&mut self, clock: Clock, commands: &mut Vec<Command>) -> bool {
        let Some(snapshot) = self.working.as_ref() else { return false };
        if !self.may_help(clock) {
            self.emergency = false;
            return false;
        }
        let goal = self.policy.goal(self.tier, snapshot.shards.len(), Trigger::Start);
        let limits = self.policy.emergency_fill;
        let fill = plan::summary(snapshot, &goal).fill_max;
        self.emergency = fill >= limits.start || self.emergency && fill >= limits.stop;
        if !self.emergency {
            return false;
        }
        if self.flights.iter().any(|flight| flight.plan == 0) {
            self.rest(State::Emergency, Reason::Concurrency(Limit::Emergency));
            return true;
        }
        // Once begun it goes on to the stop fill.
        let from_stop = Threshold { start: limits.stop, stop: limits.stop };
        match plan::unburden(snapshot, &goal, from_stop) {
            Ok(moves) if moves.is_empty() => false,
            Ok(moves) => {
                // Node moves one at a time; hand-overs are done one after the other anyway.
                let most = match self.tier {
                    Tier::Thread => self.policy.thread_batch,
                    Tier::Node => 1,
                };
                self.help(&moves[..moves.len().min(most)], clock, commands);
                self.rest(State::Emergency, Reason::Balanced);
                true
            }
            Err(reason) => {
                if !self.is_announced(&reason, clock) {
                    self.counters.emergencies_blocked += 1;
                }
                self.block(reason, clock, commands);
                // A plan of the whole tier may still help, if it may start.
                !self.schedule.is_open(clock.wall_ms)
            }
        }
    }

    /// Frees memory on a shard that would otherwise have to evict.
    pub fn relieve(&mut self, shard: ShardId, needed_bytes: u64, clock: Clock) -> Vec<Command> {
        let mut commands = Vec::new();
        if !self.may_help(clock) || self.pause.is_some() {
            return commands;
        }
        let leaving: u64 = self.flights.iter().filter(|f| f.from == shard).map(|f| f.bytes).sum();
        let missing = needed_bytes.saturating_sub(leaving);
        let Some(snapshot) = self.prepare(super::Average::Slow, super::MEMORY_MS, clock) else {
            return commands;
        };
        if missing == 0 || !snapshot.health.complete {
            return commands;
        }
        let goal = self.policy.goal(self.tier, snapshot.shards.len(), Trigger::Start);
        match plan::relief(&snapshot, &goal, shard, missing) {
            Ok(moves) => self.help(&moves, clock, &mut commands),
            Err(reason) => {
                self.counters.emergencies_blocked += 1;
                self.counters.skipped[reason.index()] += 1;
                self.block(reason, clock, &mut commands);
            }
        }
        self.working = self.prepare(super::Average::Slow, super::MEMORY_MS, clock);
        commands
    }

    /// Whether emergencies of this tier may act now.
    fn may_help(&self, clock: Clock) -> bool {
        let allowed = match (self.policy.emergency, self.tier) {
            (Emergency::All, _) | (Emergency::Thread, Tier::Thread) => true,
            _ => self.schedule.is_open(clock.wall_ms),
        };
        allowed && matches!(self.mode(), Mode::Auto | Mode::Manual)
    }

    fn help(&mut self, moves: &[Move], clock: Clock, commands: &mut Vec<Command>) {
        self.budget.chunks += 1;
        let chunk = if self.tier == Tier::Node { self.budget.chunks } else { 0 };
        let admitted: Vec<Admitted> = moves
            .iter()
            .map(|step| Admitted {
                slot: step.lo,
                from: step.from,
                to: step.to,
                bytes: step.bytes,
                cause: step.cause,
                chunk,
            })
            .collect();
        self.launch(&admitted, 0, true, clock, commands);
    }

    /// Counts an emergency move; moves close to each other share a record.
    pub(crate) fn note_emergency(&mut self, flight: &Flight, ok: bool, clock: Clock) {
        let cue = if self.emergency { Cue::Emergency } else { Cue::Relief };
        self.counters.emergency_moves += u64::from(ok);
        let length_max = self.policy.history_len;
        let recent = self.history.newest_mut().filter(|record| {
            record.cue == cue && clock.wall_ms.saturating_sub(record.ended_ms) < RECORD_GAP_MS
        });
        if let Some(record) = recent {
            record.ended_ms = clock.wall_ms;
            record.moves += u64::from(ok);
            record.failures += u64::from(!ok);
            record.bytes += if ok { flight.bytes } else { 0 };
            return;
        }
        let spread = self.last_plan.as_ref().map_or(0.0, |plan| plan.before.spread());
        let record = Record {
            id: self.take_id(),
            tier: self.tier,
            cue,
            started_ms: clock.wall_ms,
            ended_ms: clock.wall_ms,
            moves: u64::from(ok),
            failures: u64::from(!ok),
            bytes: if ok { flight.bytes } else { 0 },
            lower_bound: 0,
            spread_before: spread,
            spread_after: spread,
            outcome: if ok { Outcome::Done } else { Outcome::Failed },
            reason: None,
        };
        self.history.push(record, length_max);
    }
}
