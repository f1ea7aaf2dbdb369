//! One evaluation: is there a need, is it confirmed, may it start, what starts now.

use super::operator::Force;
use super::slots::{Average, MEMORY_MS, RETURN_URGENT_MS};
use super::{
    Clock, Command, Cue, Machine, Notice, Outcome, Queued, Record, Run, STORED_MAX, State, Stored,
};
use crate::model::Tier;
use crate::plan::{self, Goal, Move, Plan, Trigger};
use crate::policy::Mode;
use crate::reason::Reason;
use crate::window::Opening;

/// Above this fill or load, and with the spread over its start, things are urgent.
const URGENT: f64 = 0.80;
/// Evaluations in a row that are enough then if it is the load: one may be chance.
const URGENT_CONFIRM: u32 = 2;
/// A run commands at most this many times the slots of its first plan, and a batch: room for data
/// that changes meanwhile, and for moves that fail.
const SLOTS_FACTOR: usize = 2;
/// A reason that has not stood for so long is told again when it comes back.
const TELL_AGAIN_MS: u64 = 3_600_000;

/// How pressing a plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urgency {
    /// It has time until it is confirmed.
    Calm,
    /// A thread is close to what it can do, as far as can be told from measuring it.
    Load,
    /// A shard is close to its memory, which is known exactly: nothing is waited for.
    Memory,
}

impl Machine {
    pub(crate) fn decide(&mut self, clock: Clock, commands: &mut Vec<Command>) {
        if let Some((state, reason)) = self.standstill() {
            if reason == Reason::ModeOff {
                self.finish(Outcome::Cancelled, Some(Reason::ModeOff), clock, commands);
                self.unfinished = false;
                self.queued = None;
            }
            self.rest(state, reason);
            return;
        }
        let opening = self.schedule.opening(clock.wall_ms);
        if opening != Opening::Open && self.handle_emergency(clock, commands) {
            return;
        }
        self.retire(clock, commands);
        let (plan, urgency) = self.next_plan(clock);
        let urgent = urgency != Urgency::Calm;
        self.watch_imbalance(&plan, clock);
        self.last_plan = Some(plan.clone());
        if plan.is_empty() {
            if opening == Opening::Open && self.handle_emergency(clock, commands) {
                return;
            }
            self.nothing_to_move(&plan, clock, commands);
            return;
        }
        if !self.is_confirmed(&plan, urgency) {
            return;
        }
        let approved = self.run.as_ref().is_some_and(|run| run.approved.is_some());
        match self.mode() {
            Mode::Dryrun => return self.record_dryrun(plan, clock, commands),
            Mode::Manual if !approved => return self.wait_for_approval(plan, clock, commands),
            _ => {}
        }
        let now = self.run.as_ref().is_some_and(|run| run.now)
            || self.forced.is_some_and(|force| force.now);
        if opening != Opening::Open && !now {
            let reason = match opening {
                Opening::Blackout => Reason::Blackout,
                _ => Reason::WindowClosed,
            };
            self.wait_for_window(plan, reason, clock, commands);
            return;
        }
        self.go_on(&plan, urgent, now, clock, commands);
    }

    /// Ends a run that has commanded all the slots it may. If the need is there still, another
    /// begins at once, with a record and a limit of its own.
    fn retire(&mut self, clock: Clock, commands: &mut Vec<Command>) {
        let spent = |run: &Run| run.approved.is_none() && run.slots_left == 0;
        if !self.run.as_ref().is_some_and(spent) || self.flights.iter().any(|f| f.plan != 0) {
            return;
        }
        let Some(snapshot) = self.working.as_ref() else { return };
        let goal = self.policy.goal(self.tier, snapshot.shards.len(), Trigger::Start);
        let spread = plan::summary(snapshot, &goal).spread();
        if let Some(run) = &mut self.run {
            run.record.spread_after = spread;
        }
        let outcome = if spread > goal.memory.stop { Outcome::Partial } else { Outcome::Done };
        self.finish(outcome, None, clock, commands);
        self.seen = self.policy.confirm;
    }

    /// Why nothing is even looked at.
    pub(crate) fn standstill(&self) -> Option<(State, Reason)> {
        let health = &self.working.as_ref()?.health;
        if self.mode() == Mode::Off {
            return Some((State::Idle, Reason::ModeOff));
        }
        if self.pause.is_some() {
            return Some((State::Paused, Reason::Paused));
        }
        let reason = match self.tier {
            _ if !health.complete => Reason::StaleStats,
            Tier::Node if health.degraded => Reason::Degraded,
            Tier::Node if health.external_migration => Reason::ExternalMigration,
            _ => return None,
        };
        Some((State::Blocked, reason))
    }

    pub(crate) fn rest(&mut self, state: State, reason: Reason) {
        self.state = state;
        self.reason = reason;
    }

    /// The plan of now, and how pressing it is.
    fn next_plan(&mut self, clock: Clock) -> (Plan, Urgency) {
        if let Some(moves) = self.run.as_ref().and_then(|run| run.approved.clone()) {
            return (self.rest_of(&moves), Urgency::Calm);
        }
        let runs = self.run.as_ref().is_some_and(|run| !run.closing);
        let go_on = runs || self.unfinished || self.forced.is_some();
        let trigger = if go_on { Trigger::Continue } else { Trigger::Start };
        let slow = self.plan_on(Average::Slow, MEMORY_MS, trigger, clock);
        let hottest = self.raw.as_ref().map_or(0.0, |raw| self.slots.hottest(raw));
        let calm = hottest <= URGENT && slow.before.fill_max <= URGENT;
        if self.tier == Tier::Node || calm {
            return (slow, Urgency::Calm);
        }
        let goal = self.goal(0, Trigger::Start, Average::Fast);
        let fast = self.prepare(Average::Fast, MEMORY_MS, clock);
        let summary = fast.map(|snapshot| plan::summary(&snapshot, &goal)).unwrap_or_default();
        let memory = summary.fill_max > URGENT && summary.spread() > goal.memory.start;
        let load = goal
            .load
            .is_some_and(|load| summary.load_max > URGENT && summary.load_spread() > load.start);
        if !memory && !load {
            return (slow, Urgency::Calm);
        }
        let urgency = if memory { Urgency::Memory } else { Urgency::Load };
        if !slow.is_empty() && !load {
            return (slow, urgency);
        }
        let fast = self.plan_on(Average::Fast, MEMORY_MS, trigger, clock);
        if !fast.is_empty() {
            return (fast, urgency);
        }
        if !memory {
            return (slow, Urgency::Calm);
        }
        // Only in need may a slot return to an owner of the last day; load, which is never known
        // exactly, does not count as one.
        let relaxed = self.plan_on(Average::Fast, RETURN_URGENT_MS, trigger, clock);
        if relaxed.is_empty() { (slow, Urgency::Calm) } else { (relaxed, urgency) }
    }

    fn plan_on(&self, average: Average, return_ms: u64, trigger: Trigger, clock: Clock) -> Plan {
        let prepared;
        let snapshot = if average == Average::Slow && return_ms == MEMORY_MS {
            self.working.as_ref()
        } else {
            prepared = self.prepare(average, return_ms, clock);
            prepared.as_ref()
        };
        let Some(snapshot) = snapshot else { return Plan::default() };
        plan::plan(snapshot, &self.goal(snapshot.shards.len(), trigger, average))
    }

    /// The goal of now: what of the load spread may be chance is not chased.
    pub(crate) fn goal(&self, shards: usize, trigger: Trigger, average: Average) -> Goal {
        let mut goal = self.policy.goal(self.tier, shards, trigger);
        if let (Some(load), Some(raw)) = (&mut goal.load, &self.raw) {
            let noise = self.slots.noise(raw, average);
            load.start += noise;
            load.stop = load.stop.max(noise).min(load.start);
        }
        goal
    }

    fn watch_imbalance(&mut self, plan: &Plan, clock: Clock) {
        let goal = self.goal(0, Trigger::Start, Average::Slow);
        let over = plan.before.spread() > goal.memory.start
            || goal.load.is_some_and(|load| {
                plan.before.load_spread() > load.start && plan.before.load_max > goal.load_min
            });
        self.imbalanced_since_ms = over.then(|| self.imbalanced_since_ms.unwrap_or(clock.mono_ms));
    }

    /// Nothing can or need be moved: a run ends, and the reason stands.
    fn nothing_to_move(&mut self, plan: &Plan, clock: Clock, commands: &mut Vec<Command>) {
        self.seen = 0;
        self.forced = None;
        self.queued = None;
        let reason = plan.blocked.first().cloned().unwrap_or(Reason::Balanced);
        if let Some(run) = &mut self.run {
            run.record.spread_after = plan.before.spread();
            if self.flights.iter().any(|flight| flight.plan != 0) {
                self.rest(State::Running, reason);
                return;
            }
        }
        let why = (reason != Reason::Balanced).then(|| reason.clone());
        self.finish(Outcome::Done, why, clock, commands);
        self.unfinished = false;
        match reason {
            Reason::Balanced
            | Reason::BelowMinLoad
            | Reason::GainTooSmall
            | Reason::SingleShard => {
                self.rest(State::Idle, reason);
            }
            _ => self.block(reason, clock, commands),
        }
    }

    /// What keeps the tier from doing what is needed; announced once, however often it comes and
    /// goes meanwhile.
    pub(crate) fn block(&mut self, reason: Reason, clock: Clock, commands: &mut Vec<Command>) {
        if !self.is_announced(&reason, clock) {
            commands.push(Command::Announce(Notice::Blocked(reason.clone())));
        }
        self.announced = Some((reason.clone(), clock.mono_ms));
        self.rest(State::Blocked, reason);
    }

    /// Whether operators have been told of this reason and it has stood since, or nearly.
    pub(crate) fn is_announced(&self, reason: &Reason, clock: Clock) -> bool {
        self.announced.as_ref().is_some_and(|(told, stood_ms)| {
            told.is_about_the_same(reason)
                && clock.mono_ms.saturating_sub(*stood_ms) < TELL_AGAIN_MS
        })
    }

    /// Counts evaluations in a row; what runs, what was asked for and what memory needs at once
    /// waits for none, urgent load for fewer.
    fn is_confirmed(&mut self, plan: &Plan, urgency: Urgency) -> bool {
        let drains = plan.moves.iter().any(|step| step.cause == crate::plan::Cause::Drain);
        let is_asked = self.run.is_some() || self.unfinished || self.forced.is_some();
        if is_asked || drains || urgency == Urgency::Memory {
            return true;
        }
        self.seen = self.seen.saturating_add(1);
        let wanted = match urgency {
            Urgency::Load => self.policy.confirm.min(URGENT_CONFIRM),
            Urgency::Calm | Urgency::Memory => self.policy.confirm,
        };
        if self.seen >= wanted {
            return true;
        }
        let reason = Reason::Confirming { seen: self.seen, wanted };
        self.rest(State::Confirming, reason);
        false
    }

    fn record_dryrun(&mut self, plan: Plan, clock: Clock, commands: &mut Vec<Command>) {
        // One record for one need, not one for each evaluation.
        if self.queued.is_none() {
            let id = self.take_id();
            let mut record = self.record(id, Cue::Spread, &plan, clock);
            record.moves = plan.slots() as u64;
            record.bytes = plan.bytes();
            record.spread_after = plan.after.spread();
            record.outcome = Outcome::Dryrun;
            record.reason = Some(Reason::ModeDryrun);
            self.history.push(record.clone(), self.policy.history_len);
            commands.push(Command::Announce(Notice::Ended(record)));
        }
        self.forced = None;
        self.queue(plan, clock);
        self.rest(State::Queued, Reason::ModeDryrun);
    }

    fn wait_for_approval(&mut self, plan: Plan, clock: Clock, commands: &mut Vec<Command>) {
        let same = self.queued.as_ref().is_some_and(|queued| queued.plan.moves == plan.moves);
        if !same {
            let id = self.store(plan.clone(), clock, false);
            self.announce_queue(&plan, Reason::ModeManual, clock, commands);
            self.queue(Plan { id, ..plan }, clock);
        }
        self.forced = None;
        self.rest(State::Queued, Reason::ModeManual);
    }

    fn wait_for_window(
        &mut self,
        plan: Plan,
        reason: Reason,
        clock: Clock,
        commands: &mut Vec<Command>,
    ) {
        if self.run.is_some() {
            if self.flights.iter().any(|flight| flight.plan != 0) {
                self.queue(plan, clock);
                self.rest(State::Running, reason);
                return;
            }
            let approved = self.run.as_ref().is_some_and(|run| run.approved.is_some());
            if approved {
                // The approval stands: it goes on at the next opening.
                self.queue(plan, clock);
                self.rest(State::Queued, reason);
                return;
            }
            self.finish(Outcome::Partial, Some(reason.clone()), clock, commands);
            self.unfinished = true;
        }
        if self.queued.is_none() {
            self.announce_queue(&plan, reason.clone(), clock, commands);
        }
        self.queue(plan, clock);
        self.rest(State::Queued, reason);
    }

    fn announce_queue(
        &self,
        plan: &Plan,
        reason: Reason,
        clock: Clock,
        commands: &mut Vec<Command>,
    ) {
        let opens_ms = self.schedule.next_open(clock.wall_ms);
        commands.push(Command::Announce(Notice::Queued { reason, bytes: plan.bytes(), opens_ms }));
    }

    pub(crate) fn queue(&mut self, plan: Plan, clock: Clock) {
        let since_ms = self.queued.as_ref().map_or(clock.mono_ms, |queued| queued.since_ms);
        self.queued = Some(Queued { plan, since_ms });
    }

    #[allow(clippy::too_many_arguments, reason = "one call for each kind of run")]
    pub(crate) fn begin(
        &mut self,
        id: u64,
        cue: Cue,
        plan: &Plan,
        approved: Option<Vec<Move>>,
        now: bool,
        clock: Clock,
        commands: &mut Vec<Command>,
    ) {
        self.counters.plans += 1;
        let record = self.record(id, cue, plan, clock);
        let (bytes, moves) = (plan.bytes(), plan.slots());
        commands.push(Command::Announce(Notice::Started { id, cue, bytes, moves }));
        let slots_left = moves * SLOTS_FACTOR + self.policy.thread_batch;
        let rest = Vec::new();
        let planned_ms = clock.mono_ms;
        self.run =
            Some(Run { record, approved, now, closing: false, slots_left, rest, planned_ms });
        self.unfinished = false;
    }

    /// Ends the run, if there is one, and records it if it did anything or was asked for.
    pub(crate) fn finish(
        &mut self,
        outcome: Outcome,
        reason: Option<Reason>,
        clock: Clock,
        commands: &mut Vec<Command>,
    ) {
        let Some(Run { mut record, .. }) = self.run.take() else { return };
        record.ended_ms = clock.wall_ms;
        record.reason = reason;
        record.outcome = match outcome {
            Outcome::Done if record.moves == 0 => Outcome::Failed,
            outcome => outcome,
        };
        if record.moves > 0 || record.failures > 0 || record.cue.by_user() {
            self.history.push(record.clone(), self.policy.history_len);
        }
        commands.push(Command::Announce(Notice::Ended(record)));
    }

    pub(crate) fn record(&self, id: u64, cue: Cue, plan: &Plan, clock: Clock) -> Record {
        Record {
            id,
            tier: self.tier,
            cue,
            started_ms: clock.wall_ms,
            ended_ms: clock.wall_ms,
            moves: 0,
            failures: 0,
            bytes: 0,
            lower_bound: plan.lower_bound,
            spread_before: plan.before.spread(),
            spread_after: plan.before.spread(),
            outcome: Outcome::Done,
            reason: None,
        }
    }

    pub(crate) fn take_id(&mut self) -> u64 {
        let id = self.next_plan;
        self.next_plan += 1;
        id
    }

    pub(crate) fn store(&mut self, plan: Plan, clock: Clock, hypothetical: bool) -> u64 {
        let id = self.take_id();
        if self.stored.len() >= STORED_MAX {
            self.stored.pop_front();
        }
        let plan = Plan { id, ..plan };
        self.stored.push_back(Stored { plan, made_ms: clock.mono_ms, hypothetical });
        id
    }

    pub(crate) fn force(&mut self, force: Force) {
        self.forced = Some(force);
    }
}
