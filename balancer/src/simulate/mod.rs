//! A deterministic discrete-event simulator around the production planner and state machine.
//!
//! Only the executor and the clocks are simulated: [`Machine`] is the one that servers run. A
//! [`Workload`] changes sizes and loads as time passes; [`simulate`] returns what happened.

mod random;
mod workload;
mod world;

pub use random::Random;
pub use workload::{Kind, Workload};
pub use world::{Measures, SimulatedSlot, World};

use crate::machine::{Clock, Machine, Record, State};
use crate::model::{SlotId, Tier};
use crate::policy::Policy;
use crate::reason::Reason;

/// Balanced counts only when it lasts this long.
const KEPT_MS: u64 = 600_000;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Thread or node tier.
    pub tier: Tier,
    /// The directives.
    pub policy: Policy,
    /// Wall clock at the start, milliseconds since 1970.
    pub starts_ms: i64,
    /// Simulated time.
    pub duration_ms: u64,
    /// Steps of the wall clock: at this monotonic time, by so much.
    pub clock_steps: Vec<(u64, i64)>,
    /// Ask for relief when a shard passes its limit.
    pub relief: Relief,
}

/// Whether shards at their limit ask for relief.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relief {
    /// They do, as the server does before evicting.
    Asked,
    /// They do not.
    Never,
}

impl Setup {
    /// Default directives for some time from 2026-06-01 00:00 UTC.
    pub fn new(tier: Tier, duration_ms: u64) -> Setup {
        Setup {
            tier,
            policy: Policy::default(),
            starts_ms: 1_780_272_000_000,
            duration_ms,
            clock_steps: Vec::new(),
            relief: Relief::Asked,
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub struct Report {
    /// First time the memory spread was at the goal and stayed there for ten minutes.
    pub balanced_after_ms: Option<u64>,
    /// Memory spread at the end.
    pub spread: f64,
    /// Load spread at the end.
    pub load_spread: f64,
    /// Highest fill seen at an evaluation.
    pub fill_max: f64,
    /// Highest load seen at an evaluation.
    pub load_max: f64,
    /// Longest time the highest load was above 80 %.
    pub overload_ms_max: u64,
    /// What the executor measured.
    pub seen: Measures,
    /// Reversals by the machine's own count.
    pub reversals_counted: u64,
    /// Evaluations at which nothing moved, a start threshold was exceeded, and the reason was
    /// `balanced`.
    pub unexplained: u64,
    /// The runs, oldest first.
    pub runs: Vec<Record>,
    /// Reasons in the order in which they first stood.
    pub reasons: Vec<&'static str>,
    /// Times at which a run went from queued to running.
    pub resumes: u64,
    /// The state at the end.
    pub machine: Machine,
    /// The world at the end.
    pub world: World,
}

impl Report {
    /// Bytes moved by runs for memory over the sum of their lower bounds.
    pub fn bytes_over_bound(&self) -> f64 {
        let runs = || self.runs.iter().filter(|run| run.lower_bound > 0);
        let bytes: u64 = runs().map(|run| run.bytes).sum();
        let bound: u64 = runs().map(|run| run.lower_bound).sum();
        if bytes == 0 { 1.0 } else { bytes as f64 / bound.max(1) as f64 }
    }
}

/// Runs a workload against a fresh machine.
pub fn simulate(setup: &Setup, workload: &mut Workload) -> Report {
    let mut policy = setup.policy.clone();
    policy.history_len = usize::MAX;
    let world = workload.world();
    Simulation {
        machine: Machine::new(setup.tier, policy),
        world,
        setup,
        offset_ms: setup.starts_ms,
        now_ms: 0,
        closed_ms: None,
        good_since: None,
        overload_since: None,
        report: None,
    }
    .run(workload)
}

struct Simulation<'a> {
    machine: Machine,
    world: World,
    setup: &'a Setup,
    offset_ms: i64,
    now_ms: u64,
    closed_ms: Option<u64>,
    good_since: Option<u64>,
    overload_since: Option<u64>,
    report: Option<Report>,
}

impl Simulation<'_> {
    fn clock(&self) -> Clock {
        let mono = i64::try_from(self.now_ms).unwrap_or(i64::MAX);
        Clock { wall_ms: self.offset_ms + mono, mono_ms: self.now_ms }
    }

    fn run(mut self, workload: &mut Workload) -> Report {
        self.world.target_fill = self.setup.policy.target_fill;
        self.report = Some(self.empty_report());
        let mut steps = self.setup.clock_steps.clone();
        let mut due_ms = 0;
        while self.now_ms < self.setup.duration_ms {
            let acknowledged = self.world.finish_due(self.now_ms, self.closed_ms);
            self.acknowledge(&acknowledged);
            steps.retain(|&(at_ms, by_ms)| {
                if at_ms <= self.now_ms {
                    self.offset_ms += by_ms;
                }
                at_ms > self.now_ms
            });
            self.follow_window();
            let failed = workload.change(&mut self.world, self.now_ms);
            self.acknowledge(&failed);
            if self.now_ms >= due_ms {
                self.evaluate();
                due_ms = self.machine.due_ms(self.clock());
            }
            let next = [Some(due_ms), self.world.next_end_ms(), workload.next_ms(self.now_ms)];
            let next = next.into_iter().flatten().min().unwrap_or(due_ms);
            self.now_ms = next.max(self.now_ms + 1);
        }
        self.finish()
    }

    fn empty_report(&self) -> Report {
        Report {
            balanced_after_ms: None,
            spread: 0.0,
            load_spread: 0.0,
            fill_max: 0.0,
            load_max: 0.0,
            overload_ms_max: 0,
            seen: Measures::default(),
            reversals_counted: 0,
            unexplained: 0,
            runs: Vec::new(),
            reasons: Vec::new(),
            resumes: 0,
            machine: self.machine.clone(),
            world: self.world.clone(),
        }
    }

    fn acknowledge(&mut self, slots: &[(SlotId, bool)]) {
        for &(slot, ok) in slots {
            self.machine.completed(slot, ok, self.clock());
        }
    }

    fn follow_window(&mut self) {
        let open = self.setup.policy.schedule(self.setup.tier).is_open(self.clock().wall_ms);
        self.closed_ms = if open { None } else { self.closed_ms.or(Some(self.now_ms)) };
    }

    fn evaluate(&mut self) {
        let clock = self.clock();
        let before = self.machine.state();
        let commands = self.machine.observe(&self.world.snapshot(), clock);
        self.execute(&commands);
        self.proceed();
        self.ask_for_relief();
        let after = self.machine.state();
        let reason = self.machine.reason().clone();
        self.measure(before, after, &reason);
    }

    fn execute(&mut self, commands: &[crate::machine::Command]) {
        let open = self.closed_ms.is_none();
        for command in commands {
            let done = self.world.execute(self.setup.tier, command, self.now_ms, open);
            self.acknowledge(&done);
        }
    }

    /// What follows at once when a batch is done.
    fn proceed(&mut self) {
        loop {
            let commands = self.machine.proceed(self.clock());
            if commands.is_empty() {
                return;
            }
            self.execute(&commands);
        }
    }

    fn ask_for_relief(&mut self) {
        if self.setup.relief == Relief::Never || self.setup.tier == Tier::Node {
            return;
        }
        for (shard, needed) in self.world.over_limit() {
            let commands = self.machine.relieve(shard, needed, self.clock());
            self.execute(&commands);
        }
    }

    fn measure(&mut self, before: State, after: State, reason: &Reason) {
        let (now_ms, policy) = (self.now_ms, &self.setup.policy);
        let (high, low) = self.world.fills();
        let (hot, cold) = self.world.loads();
        let goal = policy.goal(self.setup.tier, 0, crate::plan::Trigger::Start);
        let Some(report) = &mut self.report else { return };
        report.spread = high - low;
        report.load_spread = hot - cold;
        report.fill_max = report.fill_max.max(high);
        report.load_max = report.load_max.max(hot);
        if report.reasons.last() != Some(&reason.code()) && !report.reasons.contains(&reason.code())
        {
            report.reasons.push(reason.code());
        }
        report.resumes += u64::from(before == State::Queued && after == State::Running);
        let silent = after == State::Idle && *reason == Reason::Balanced;
        report.unexplained += u64::from(silent && high - low > goal.memory.start + 1e-6);
        if high - low <= goal.memory.stop + 1e-9 {
            let since = *self.good_since.get_or_insert(now_ms);
            if now_ms - since >= KEPT_MS {
                report.balanced_after_ms.get_or_insert(since);
            }
        } else {
            self.good_since = None;
        }
        if hot > 0.8 {
            let since = *self.overload_since.get_or_insert(now_ms);
            report.overload_ms_max = report.overload_ms_max.max(now_ms - since);
        } else {
            self.overload_since = None;
        }
    }

    fn finish(mut self) -> Report {
        let mut report = self.report.take().unwrap_or_else(|| self.empty_report());
        let mut runs: Vec<Record> = self.machine.history().newest_first().cloned().collect();
        runs.reverse();
        report.runs = runs;
        report.seen = self.world.seen.clone();
        report.reversals_counted = self.machine.counters().reversals;
        report.machine = self.machine;
        report.world = self.world;
        report
    }
}
