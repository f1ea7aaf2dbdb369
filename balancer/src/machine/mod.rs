//! The state machine of one tier: snapshots and acknowledgements in, moves out.
//!
//! It confirms a need, waits for a window, plans, admits a batch, hears of its completion, and
//! plans again: a plan is never replayed, only its next batch is carried out. Time is always an
//! argument: the wall clock only for window membership, the monotonic one for durations.

mod admit;
mod carry;
mod command;
mod decide;
mod emergency;
mod history;
mod level;
mod operator;
mod slots;
mod status;

pub use command::{Clock, Command, Event, Notice, State, StopHow};
pub use history::{Counters, Cue, History, Outcome, Record};
pub use operator::{ApplyError, Change, Proposal, Saved};
pub use status::{MetricStatus, PauseStatus, QueueStatus, ShardStatus, Status, WindowStatus};

use std::collections::VecDeque;

use crate::model::{InFlight, LoadSnapshot, ShardId, SlotId, Tier};
use crate::plan::{Cause, Move, Plan};
use crate::policy::{Mode, Policy, WindowClose};
use crate::reason::Reason;
use crate::window::Schedule;
use admit::{Admitted, Budget};
use slots::{Average, MEMORY_MS, SlotMemory};

/// A running tier is looked at this many times an interval.
const ROUNDS_PER_INTERVAL: u64 = 10;
/// A thread move that is not acknowledged for so long is looked up in the snapshot.
const LOST_THREAD_MS: u64 = 60_000;
/// The same for node moves.
const LOST_NODE_MS: u64 = 6 * 3_600_000;
/// Plans kept for `BALANCER APPLY`.
const STORED_MAX: usize = 16;

/// A move that was commanded and not acknowledged.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Flight {
    pub(crate) slot: SlotId,
    pub(crate) from: ShardId,
    pub(crate) to: ShardId,
    pub(crate) bytes: u64,
    pub(crate) cause: Cause,
    pub(crate) chunk: u64,
    pub(crate) plan: u64,
    pub(crate) started_ms: u64,
    /// May go on when the window closes.
    pub(crate) exempt: bool,
    /// It has been told to stop, finally.
    pub(crate) stopping: bool,
}

/// The run under way.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) record: Record,
    /// The moves of an approved plan that are left; `None`: planned afresh each round.
    pub(crate) approved: Option<Vec<Move>>,
    /// Windows do not apply.
    pub(crate) now: bool,
    /// All that was planned has been commanded: only a need over the start threshold goes on.
    pub(crate) closing: bool,
    /// Slots it may still command. A run under which the data moves away ends nevertheless.
    pub(crate) slots_left: usize,
    /// Thread tier: what of the plan of the last look is not commanded yet.
    pub(crate) rest: Vec<Move>,
    /// When that plan was made.
    pub(crate) planned_ms: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) plan: Plan,
    pub(crate) since_ms: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) plan: Plan,
    pub(crate) made_ms: u64,
    /// Made for a state that is not there (yet): cannot be applied.
    pub(crate) hypothetical: bool,
}

/// The state machine of one tier.
#[derive(Clone, Debug)]
pub struct Machine {
    pub(crate) tier: Tier,
    pub(crate) policy: Policy,
    pub(crate) schedule: Schedule,
    pub(crate) slots: SlotMemory,
    pub(crate) raw: Option<LoadSnapshot>,
    /// The snapshot with averages, holds and moves in flight.
    pub(crate) working: Option<LoadSnapshot>,
    pub(crate) flights: Vec<Flight>,
    pub(crate) state: State,
    pub(crate) reason: Reason,
    /// Evaluations over the start threshold in a row.
    pub(crate) seen: u32,
    pub(crate) run: Option<Run>,
    /// A run was interrupted: go on to the stop threshold.
    pub(crate) unfinished: bool,
    pub(crate) queued: Option<Queued>,
    pub(crate) stored: VecDeque<Stored>,
    pub(crate) pause: Option<PauseStatus>,
    /// An operator wants an evaluation; `true`: windows do not apply.
    pub(crate) forced: Option<operator::Force>,
    pub(crate) emergency: bool,
    /// The last reason that was announced as blocking, and when it last stood.
    pub(crate) announced: Option<(Reason, u64)>,
    pub(crate) history: History,
    pub(crate) counters: Counters,
    pub(crate) budget: Budget,
    pub(crate) last_plan: Option<Plan>,
    pub(crate) next_plan: u64,
    pub(crate) imbalanced_since_ms: Option<u64>,
    window: WindowMemory,
    last: Clock,
}

/// What is remembered of the window between two looks at it.
#[derive(Clone, Copy, Debug, Default)]
struct WindowMemory {
    was_open: bool,
    closes_ms: Option<i64>,
    /// Monotonic time of the closing.
    closed_at_ms: Option<u64>,
}

impl Machine {
    /// A machine that has seen nothing.
    pub fn new(tier: Tier, policy: Policy) -> Machine {
        Machine {
            tier,
            schedule: policy.schedule(tier),
            policy,
            slots: SlotMemory::default(),
            raw: None,
            working: None,
            flights: Vec::new(),
            state: State::Idle,
            reason: Reason::StaleStats,
            seen: 0,
            run: None,
            unfinished: false,
            queued: None,
            stored: VecDeque::new(),
            pause: None,
            forced: None,
            emergency: false,
            announced: None,
            history: History::default(),
            counters: Counters::default(),
            budget: Budget::default(),
            last_plan: None,
            next_plan: 1,
            imbalanced_since_ms: None,
            window: WindowMemory::default(),
            last: Clock::default(),
        }
    }

    /// Bytes of what it keeps of the slots: nearly all that it has on the heap.
    pub fn heap_bytes(&self) -> usize {
        let snapshots = [&self.raw, &self.working].into_iter().flatten();
        self.slots.heap_bytes() + snapshots.map(LoadSnapshot::heap_bytes).sum::<usize>()
    }

    /// Takes in an event and says what to do.
    pub fn step(&mut self, clock: Clock, event: &Event<'_>) -> Vec<Command> {
        match event {
            Event::Snapshot(snapshot) => self.observe(snapshot, clock),
            Event::Completed { slot, ok } => {
                self.completed(*slot, *ok, clock);
                Vec::new()
            }
            Event::ShardAtLimit { shard, needed_bytes } => {
                self.relieve(*shard, *needed_bytes, clock)
            }
        }
    }

    /// Takes in the loads of now and says what to do. Call it when [`Machine::due_ms`] says.
    pub fn observe(&mut self, snapshot: &LoadSnapshot, clock: Clock) -> Vec<Command> {
        self.counters.evaluations += 1;
        let mut commands = Vec::new();
        self.settle_lost(snapshot, clock);
        let windows = self.policy.load_windows_ms(self.tier);
        self.slots.observe(snapshot, clock.mono_ms, windows);
        self.raw = Some(snapshot.clone());
        self.working = self.prepare(Average::Slow, MEMORY_MS, clock);
        self.follow_window(clock, &mut commands);
        if self.pause.as_ref().and_then(|pause| pause.until_ms).is_some_and(|t| t <= clock.wall_ms)
        {
            self.pause = None;
        }
        let health = &snapshot.health;
        self.budget.guard_latency(self.policy.latency_guard_ms, health.latency_ms_p99);
        self.decide(clock, &mut commands);
        if !matches!(self.state, State::Running | State::Emergency) {
            self.counters.skipped[self.reason.index()] += 1;
        }
        self.last = clock;
        commands
    }

    /// The snapshot as the planner should see it.
    pub(crate) fn prepare(
        &self,
        average: Average,
        return_ms: u64,
        clock: Clock,
    ) -> Option<LoadSnapshot> {
        Some(self.prepare_from(self.raw.clone()?, average, return_ms, clock))
    }

    /// [`Self::prepare`] of a snapshot that may have been changed.
    pub(crate) fn prepare_from(
        &self,
        mut snapshot: LoadSnapshot,
        average: Average,
        return_ms: u64,
        clock: Clock,
    ) -> LoadSnapshot {
        snapshot.in_flight.retain(|flight| !self.flights.iter().any(|f| f.slot == flight.slot));
        snapshot.in_flight.extend(self.flights.iter().map(|flight| InFlight {
            slot: flight.slot,
            from: flight.from,
            to: flight.to,
            bytes: flight.bytes,
        }));
        self.slots.apply(&mut snapshot, average, return_ms, clock.mono_ms);
        snapshot
    }

    /// Makes the snapshot that decisions are made on say what operators have just said.
    pub(crate) fn refresh(&mut self) {
        self.working = self.prepare(Average::Slow, MEMORY_MS, self.last);
    }

    /// Takes in that a commanded move has ended. Unknown slots are ignored.
    pub fn completed(&mut self, slot: SlotId, ok: bool, clock: Clock) {
        let Some(at) = self.flights.iter().position(|flight| flight.slot == slot) else { return };
        let flight = self.flights.remove(at);
        let cooldown_ms = self.policy.cooldown_ms(self.tier);
        let urgent = self.run.as_ref().is_some_and(|run| run.record.cue == Cue::Urgent);
        let cooldown_ms = if urgent { cooldown_ms / 4 } else { cooldown_ms };
        if !ok {
            self.counters.failures += 1;
            self.slots.cool(slot, clock.mono_ms + cooldown_ms);
            self.note(&flight, ok, clock);
            return;
        }
        self.counters.moves += 1;
        self.counters.bytes += flight.bytes;
        self.budget.measure(flight.bytes, clock.mono_ms.saturating_sub(flight.started_ms));
        if self.slots.moved(slot, flight.from, flight.to, clock.mono_ms, cooldown_ms) {
            self.counters.reversals += 1;
        }
        for snapshot in [&mut self.raw, &mut self.working].into_iter().flatten() {
            snapshot.in_flight.retain(|other| other.slot != slot);
            if let Some(load) = snapshot.slots.get_mut(slot.index()) {
                load.owner = flight.to;
            }
        }
        self.note(&flight, ok, clock);
    }

    /// Counts a finished move in its run, or among the emergencies.
    fn note(&mut self, flight: &Flight, ok: bool, clock: Clock) {
        if flight.plan == 0 {
            self.note_emergency(flight, ok, clock);
        } else if let Some(run) = self.run.as_mut().filter(|run| run.record.id == flight.plan) {
            if ok {
                run.record.moves += 1;
                run.record.bytes += flight.bytes;
            } else {
                run.record.failures += 1;
                // What did not work is planned again, with other slots.
                run.closing = run.slots_left == 0;
            }
        }
    }

    /// Settles moves whose acknowledgement is overdue by what the snapshot says, unless it lists
    /// them as still under way.
    fn settle_lost(&mut self, snapshot: &LoadSnapshot, clock: Clock) {
        let overdue_ms = match self.tier {
            Tier::Thread => LOST_THREAD_MS,
            Tier::Node => LOST_NODE_MS,
        };
        let lost: Vec<(SlotId, bool)> = self
            .flights
            .iter()
            .filter(|flight| clock.mono_ms.saturating_sub(flight.started_ms) > overdue_ms)
            .filter(|flight| !snapshot.in_flight.iter().any(|other| other.slot == flight.slot))
            .map(|flight| {
                let owner = snapshot.slots.get(flight.slot.index()).map(|slot| slot.owner);
                (flight.slot, owner == Some(flight.to))
            })
            .collect();
        for (slot, ok) in lost {
            self.counters.lost += 1;
            self.completed(slot, ok, clock);
        }
    }

    /// Notices opening and closing, and stops what may not run on.
    fn follow_window(&mut self, clock: Clock, commands: &mut Vec<Command>) {
        let open = self.schedule.is_open(clock.wall_ms);
        let was_open = self.window.was_open;
        if open {
            if !was_open {
                self.budget.window_bytes = 0;
            }
            let closes_ms = self.schedule.next_close(clock.wall_ms);
            self.window = WindowMemory { was_open: true, closes_ms, closed_at_ms: None };
            return;
        }
        if was_open || self.window.closed_at_ms.is_none() {
            // Known to the millisecond, unless the wall clock was stepped.
            let late = self.window.closes_ms.map_or(0, |closes| clock.wall_ms - closes);
            let looked = clock.mono_ms.saturating_sub(self.last.mono_ms);
            let late = u64::try_from(late).unwrap_or(0).min(looked);
            self.window.closed_at_ms = Some(clock.mono_ms.saturating_sub(late));
        }
        self.window.was_open = false;
        if self.tier == Tier::Thread {
            return;
        }
        let closed_ms = clock.mono_ms.saturating_sub(self.window.closed_at_ms.unwrap_or(0));
        let overdue = closed_ms >= self.policy.window_grace_s * 1_000;
        let how = match self.policy.window_close {
            WindowClose::Abort => Some(StopHow::Now),
            _ if overdue => Some(StopHow::Now),
            WindowClose::Pause if was_open => Some(StopHow::AfterSlot),
            _ => None,
        };
        let Some(how) = how else { return };
        for flight in self.flights.iter_mut().filter(|f| !f.exempt && !f.stopping) {
            flight.stopping = how == StopHow::Now;
            commands.push(Command::Stop { slot: flight.slot, how });
        }
    }

    /// Commands the admitted moves.
    pub(crate) fn launch(
        &mut self,
        admitted: &[Admitted],
        plan: u64,
        exempt: bool,
        clock: Clock,
        commands: &mut Vec<Command>,
    ) {
        let rate_limit = match self.tier {
            Tier::Thread => 0,
            Tier::Node => self.rate_limit(),
        };
        for step in admitted {
            self.flights.push(Flight { exempt, ..Flight::of(step, plan, clock) });
            if !exempt {
                self.budget.window_bytes += step.bytes;
            }
            commands.push(Command::Move {
                plan,
                chunk: step.chunk,
                slot: step.slot,
                from: step.from,
                to: step.to,
                bytes: step.bytes,
                cause: step.cause,
                rate_limit,
            });
        }
    }

    /// Monotonic time of the next [`Machine::observe`]: the interval, a tenth of it while
    /// running, and whenever a window opens, closes or its grace ends.
    pub fn due_ms(&self, clock: Clock) -> u64 {
        let running = matches!(self.state, State::Running | State::Emergency);
        let mut due = clock.mono_ms + if running { self.round_ms() } else { self.interval_ms() };
        if let Some(change) = self.schedule.next_change(clock.wall_ms) {
            let wait = u64::try_from(change - clock.wall_ms).unwrap_or(0).max(1);
            due = due.min(clock.mono_ms.saturating_add(wait));
        }
        if let Some(closed) = self.window.closed_at_ms.filter(|_| !self.flights.is_empty()) {
            let grace_ends = closed + self.policy.window_grace_s * 1_000;
            if grace_ends > clock.mono_ms {
                due = due.min(grace_ends);
            }
        }
        due
    }

    pub(crate) fn interval_ms(&self) -> u64 {
        self.policy.interval_s.of(self.tier) * 1_000
    }

    pub(crate) fn round_ms(&self) -> u64 {
        (self.interval_ms() / ROUNDS_PER_INTERVAL).max(1)
    }

    /// The mode of this tier.
    pub(crate) fn mode(&self) -> Mode {
        self.policy.mode(self.tier)
    }

    /// Its tier.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// The directives in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Puts other directives in force; what runs goes on under them.
    pub fn set_policy(&mut self, policy: Policy) {
        self.schedule = policy.schedule(self.tier);
        self.policy = policy;
        self.window.closes_ms = None;
    }

    /// What has been done.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Counters since the machine was made.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        self.state
    }

    /// Why it does no more than that.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The snapshot that decisions are made on, if there is one.
    pub fn working(&self) -> Option<&LoadSnapshot> {
        self.working.as_ref()
    }
}
