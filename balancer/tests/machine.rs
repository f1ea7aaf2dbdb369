//! The state machine: windows, modes, operators, emergencies.

mod support;

use ballast_balancer::explain::{Findings, Subject};
use ballast_balancer::machine::{
    ApplyError, Change, Clock, Command, Cue, Event, Machine, Notice, Outcome, State, StopHow,
};
use ballast_balancer::model::{Hold, LoadSnapshot, ShardId, ShardLoad, SlotId, Tier};
use ballast_balancer::policy::{Mode, Policy};
use ballast_balancer::reason::Reason;
use support::{Levels, snapshot};

/// 2026-06-01 00:00 UTC, a Monday.
const MONDAY_MS: i64 = 1_780_272_000_000;
const HOUR_MS: u64 = 3_600_000;

fn clock(mono_ms: u64) -> Clock {
    Clock { wall_ms: MONDAY_MS + i64::try_from(mono_ms).unwrap(), mono_ms }
}

/// Shard 0 holds 90 %, shard 1 half of that, shards 2 and 3 nothing.
fn uneven() -> LoadSnapshot {
    let slots: Vec<(u16, u64)> = (0..300).map(|slot| (u16::from(slot >= 200), 4_000)).collect();
    snapshot(&[1_000_000; 4], &slots)
}

fn machine(tier: Tier, directives: &[(&str, &str)]) -> Machine {
    let mut policy = Policy::default();
    for (name, value) in directives {
        policy.set(name, value).unwrap();
    }
    Machine::new(tier, policy)
}

/// Carries out what is commanded, at once; returns the slots.
fn carry_out(
    machine: &mut Machine,
    state: &mut LoadSnapshot,
    commands: &[Command],
    at: Clock,
) -> usize {
    let mut moved = 0;
    for command in commands {
        if let Command::Move { slot, from, to, .. } = *command {
            assert_eq!(state.slots[slot.index()].owner, from);
            state.slots[slot.index()].owner = to;
            state.epoch += 1;
            moved += 1;
            machine.completed(slot, true, at);
        }
    }
    moved
}

/// Observes until nothing is running; returns the time and the slots moved.
fn settle(machine: &mut Machine, state: &mut LoadSnapshot, mut now: u64) -> (u64, usize) {
    let mut moved = 0;
    for _ in 0..200 {
        let commands = machine.observe(state, clock(now));
        moved += carry_out(machine, state, &commands, clock(now));
        if !matches!(machine.state(), State::Running | State::Confirming) {
            return (now, moved);
        }
        now = machine.due_ms(clock(now));
    }
    panic!("still {:?} after 200 rounds", machine.state());
}

fn moves(commands: &[Command]) -> usize {
    commands.iter().filter(|command| matches!(command, Command::Move { .. })).count()
}

#[test]
fn outside_the_window_the_need_is_queued_and_shown() {
    let windows = [("balancer-windows", "daily 02:00-04:00"), ("balancer-emergency", "off")];
    let mut machine = machine(Tier::Thread, &windows);
    let mut state = uneven();
    let mut queued = 0;
    for round in 0..10 {
        let commands = machine.observe(&state, clock(round * 5_000));
        assert_eq!(moves(&commands), 0);
        queued += commands
            .iter()
            .filter(|c| matches!(c, Command::Announce(Notice::Queued { .. })))
            .count();
    }
    assert_eq!(queued, 1, "announced once");
    let status = machine.status(clock(50_000));
    assert_eq!((status.state, status.reason.code()), (State::Queued, "window-closed"));
    assert_eq!(status.window.opens_ms, Some(MONDAY_MS + 2 * 3_600_000));
    let waiting = status.queued.unwrap();
    assert!(waiting.bytes > 0 && waiting.moves > 0 && waiting.age_ms > 0);
    // The data changes while it waits: what runs at the opening is a plan for the state of then.
    state.slots[..100].iter_mut().for_each(|slot| slot.bytes = 5_000);
    assert!(machine.due_ms(clock(2 * HOUR_MS - 3_000)) <= 2 * HOUR_MS, "wakes for the opening");
    let (now, moved) = settle(&mut machine, &mut state, 2 * HOUR_MS);
    assert!(moved > 0 && now < 2 * HOUR_MS + 60_000);
    assert!(Levels::of(&state).spread() <= 0.05 + 1e-4);
    assert_eq!(machine.history().newest_first().next().unwrap().outcome, Outcome::Done);
    assert!(machine.status(clock(now)).queued.is_none());
}

#[test]
fn blackout_has_its_own_reason() {
    let mut machine = machine(
        Tier::Thread,
        &[("balancer-blackout", "2026-06-01"), ("balancer-emergency", "off")],
    );
    let state = uneven();
    for round in 0..5 {
        machine.observe(&state, clock(round * 5_000));
    }
    let status = machine.status(clock(25_000));
    assert_eq!((status.state, status.reason), (State::Queued, Reason::Blackout));
    assert_eq!(status.window.opens_ms, Some(MONDAY_MS + 86_400_000));
}

#[test]
fn dryrun_records_and_manual_waits() {
    let mut dry = machine(Tier::Node, &[("balancer-node-mode", "dryrun")]);
    let mut state = uneven();
    for round in 0..10 {
        assert_eq!(moves(&dry.observe(&state, clock(round * 60_000))), 0);
    }
    assert_eq!(dry.history().len(), 1, "one record for one need");
    assert_eq!(dry.reason().code(), "mode-dryrun");
    assert!(dry.counters().skipped(&Reason::ModeDryrun) > 0);

    let mut manual =
        machine(Tier::Thread, &[("balancer-thread-mode", "manual"), ("balancer-emergency", "off")]);
    for round in 0..5 {
        assert_eq!(moves(&manual.observe(&state, clock(round * 5_000))), 0);
    }
    let status = manual.status(clock(25_000));
    assert_eq!((status.state, status.reason.code()), (State::Queued, "mode-manual"));
    let id = status.queued.unwrap().plan;
    assert_eq!(manual.apply(id + 100, false, clock(25_000)), Err(ApplyError::Unknown));
    manual.apply(id, false, clock(25_000)).unwrap();
    let (now, moved) = settle(&mut manual, &mut state, 25_000);
    assert!(moved > 0 && Levels::of(&state).spread() <= 0.05 + 1e-4);
    let record = manual.history().newest_first().next().unwrap();
    assert_eq!((record.cue, record.id, record.outcome), (Cue::Apply, id, Outcome::Done));
    assert_eq!(manual.apply(id, false, clock(now)), Err(ApplyError::Unknown), "applied once");
}

#[test]
fn plans_expire_and_follow_the_slot_map() {
    let mut machine = machine(Tier::Node, &[("balancer-node-mode", "manual")]);
    let mut state = uneven();
    assert_eq!(machine.propose(&[], None, clock(0)), Err(Reason::StaleStats));
    machine.observe(&state, clock(0));
    let first = machine.propose(&[], None, clock(0)).unwrap();
    assert!(first.plan.bytes() > 0 && first.windows == 1);
    let late = clock(901_000);
    assert_eq!(machine.apply(first.plan.id, false, late), Err(ApplyError::Expired));
    state.epoch += 1;
    machine.observe(&state, clock(60_000));
    let Err(ApplyError::EpochChanged(fresh)) = machine.apply(first.plan.id, false, clock(60_000))
    else {
        panic!("the slot map changed");
    };
    assert_eq!(fresh.epoch, state.epoch);
    machine.apply(fresh.id, false, clock(60_000)).unwrap();
    let what_if = [Change::Add(ShardLoad::new(ShardId(9), 1_000_000)), Change::Remove(ShardId(0))];
    let wider = machine.propose(&what_if, None, clock(60_000)).unwrap();
    assert!(wider.plan.moves.iter().any(|step| step.to == ShardId(9)));
    assert_eq!(wider.plan.after.draining_bytes, 0);
    let smaller = machine.propose(&[], Some(40_000), clock(60_000)).unwrap();
    assert!(smaller.plan.bytes() <= 40_000);
    machine.cancel(None, clock(60_000));
    assert_eq!(machine.apply(wider.plan.id, false, clock(60_000)), Err(ApplyError::Hypothetical));
}

#[test]
fn pause_resume_and_restart() {
    let mut paused = machine(Tier::Thread, &[]);
    let mut state = uneven();
    paused.pause(Some(60), "maintenance", clock(0));
    paused.pin(&[SlotId(3), SlotId(5)]);
    for round in 0..12 {
        assert_eq!(moves(&paused.observe(&state, clock(round * 5_000))), 0, "round {round}");
        assert_eq!(paused.state(), State::Paused);
    }
    let saved = paused.save();
    let mut restarted = machine(Tier::Thread, &[]);
    restarted.restore(&saved);
    restarted.observe(&state, clock(55_000));
    assert_eq!(restarted.state(), State::Paused, "a pause survives a restart");
    assert_eq!(restarted.status(clock(55_000)).pause.unwrap().why, "maintenance");
    let (_, moved) = settle(&mut restarted, &mut state, 60_000);
    assert!(moved > 0, "resumes by itself");
    assert_eq!(state.slots[3].owner, ShardId(0), "pinned slots stay");
    assert_eq!(state.slots[5].owner, ShardId(0));
    let held = restarted.working().unwrap().slots[3].hold;
    assert_eq!(held, Hold::Pinned);
    assert!(paused.resume() && !paused.resume());
}

#[test]
fn cancel_gives_up_what_is_under_way() {
    let mut machine = machine(Tier::Node, &[("balancer-node-chunk", "8kb")]);
    let state = uneven();
    let mut started = Vec::new();
    for round in 0..5 {
        for command in machine.observe(&state, clock(round * 60_000)) {
            if let Command::Move { slot, .. } = command {
                started.push(slot);
            }
        }
    }
    assert!(!started.is_empty());
    let id = machine.status(clock(300_000)).last_plan;
    assert_eq!(machine.cancel(Some(id + 1), clock(300_000)), []);
    let commands = machine.cancel(Some(id), clock(300_000));
    let stopped: Vec<SlotId> = commands
        .iter()
        .filter_map(|command| match command {
            Command::Stop { slot, how: StopHow::Now } => Some(*slot),
            _ => None,
        })
        .collect();
    assert_eq!(stopped, started);
    stopped.iter().for_each(|&slot| machine.completed(slot, false, clock(300_100)));
    assert_eq!(machine.status(clock(300_100)).in_flight_moves, 0);
    for slot in started {
        let answer = machine.explain(Subject::Slot(slot), None, clock(301_000));
        assert!(answer.facts.iter().any(|fact| fact.contains("may move again")), "{answer:?}");
    }
}

#[test]
fn node_moves_keep_their_limits() {
    let mut machine = machine(
        Tier::Node,
        &[("balancer-node-chunk", "10kb"), ("balancer-node-bytes-per-window", "50kb")],
    );
    let mut state = uneven();
    let mut moved = 0;
    for round in 0..60 {
        let at = clock(round * 60_000);
        let commands = machine.observe(&state, at);
        let chunks: std::collections::BTreeSet<u64> = commands
            .iter()
            .filter_map(|command| match command {
                Command::Move { chunk, rate_limit, .. } => {
                    assert_eq!(*rate_limit, 64 << 20);
                    Some(*chunk)
                }
                _ => None,
            })
            .collect();
        assert!(chunks.len() <= 2, "two in the cluster");
        let from: Vec<ShardId> = commands
            .iter()
            .filter_map(|command| match command {
                Command::Move { from, .. } => Some(*from),
                _ => None,
            })
            .collect();
        assert!(from.len() <= 4, "two slots of 4,000 B fit into each chunk");
        moved += carry_out(&mut machine, &mut state, &commands, at);
    }
    assert!(moved > 0 && moved * 4_000 <= 50 << 10, "{moved}");
    assert_eq!(machine.reason().code(), "bytes-per-window");
}

#[test]
fn nothing_starts_that_cannot_finish() {
    let mut machine = machine(
        Tier::Node,
        &[("balancer-windows", "daily 00:00-00:10"), ("balancer-node-bandwidth", "10")],
    );
    let state = uneven();
    for round in 0..9 {
        assert_eq!(moves(&machine.observe(&state, clock(round * 60_000))), 0);
    }
    assert_eq!((machine.state(), machine.reason().code()), (State::Queued, "bandwidth"));
}

#[test]
fn the_latency_guard_slows_down_and_stops() {
    let mut machine = machine(Tier::Node, &[("balancer-latency-guard", "10")]);
    let mut state = uneven();
    state.health.latency_ms_p99 = Some(50.0);
    for round in 0..8 {
        machine.observe(&state, clock(round * 60_000));
        machine.cancel(None, clock(round * 60_000));
    }
    for round in 8..12 {
        assert_eq!(moves(&machine.observe(&state, clock(round * 60_000))), 0);
    }
    assert_eq!(machine.reason().code(), "latency-guard");
}

#[test]
fn bad_figures_stop_everything() {
    for (tier, reason) in [
        (Tier::Thread, "stale-stats"),
        (Tier::Node, "degraded"),
        (Tier::Node, "external-migration"),
    ] {
        let mut machine = machine(tier, &[]);
        let mut state = uneven();
        match reason {
            "stale-stats" => state.health.complete = false,
            "degraded" => state.health.degraded = true,
            _ => state.health.external_migration = true,
        }
        for round in 0..5 {
            assert_eq!(moves(&machine.observe(&state, clock(round * 60_000))), 0);
        }
        assert_eq!((machine.state(), machine.reason().code()), (State::Blocked, reason));
    }
}

#[test]
fn emergencies_act_outside_windows_and_never_loop() {
    let closed = [("balancer-windows", "never")];
    let mut state = uneven();
    state.slots[..200].iter_mut().for_each(|slot| slot.bytes = 4_900);
    assert!(Levels::of(&state).high >= 0.95);
    let mut nodes = machine(Tier::Node, &closed);
    for round in 0..5 {
        assert_eq!(moves(&nodes.observe(&state, clock(round * 60_000))), 0, "not by default");
    }
    let mut threads = machine(Tier::Thread, &closed);
    let mut now = 0;
    for _ in 0..10 {
        let commands = threads.observe(&state, clock(now));
        carry_out(&mut threads, &mut state, &commands, clock(now));
        now += 5_000;
    }
    let high = Levels::of(&state).high;
    assert!(high <= 0.90 && high > 0.85, "only as far as needed: {high}");
    assert_eq!(threads.history().newest_first().next().unwrap().cue, Cue::Emergency);
    assert_eq!(threads.state(), State::Queued, "the rest waits for a window");
    // Everything is full: a state and a reason, once.
    let mut full = snapshot(&[1_000_000; 2], &[(0, 990_000), (1, 880_000)]);
    full.shards[1].capacity_bytes = 1_000_000;
    let mut stuck = machine(Tier::Thread, &closed);
    let mut announced = 0;
    for round in 0..20 {
        let commands = stuck.observe(&full, clock(round * 5_000));
        assert_eq!(moves(&commands), 0);
        announced += commands.len();
    }
    assert_eq!((stuck.state(), announced), (State::Blocked, 1));
    assert_eq!(stuck.counters().emergencies_blocked, 1);
}

#[test]
fn run_needs_no_confirmation_and_now_no_window() {
    let mut machine = machine(Tier::Node, &[("balancer-windows", "never")]);
    let mut state = uneven();
    machine.observe(&state, clock(0));
    machine.run(true);
    let (_, moved) = settle(&mut machine, &mut state, 60_000);
    assert!(moved > 0);
    assert_eq!(machine.history().newest_first().next().unwrap().cue, Cue::Run);
    assert!(Levels::of(&state).spread() <= 0.05 + 1e-4);
}

#[test]
fn a_lost_acknowledgement_is_looked_up() {
    let mut machine = machine(Tier::Thread, &[]);
    let mut state = uneven();
    let mut started = Vec::new();
    let mut now = 0;
    while started.is_empty() {
        for command in machine.observe(&state, clock(now)) {
            if let Command::Move { slot, to, .. } = command {
                started.push((slot, to));
            }
        }
        now += 5_000;
    }
    // The first was carried out, the others were not; nobody said so.
    state.slots[started[0].0.index()].owner = started[0].1;
    machine.observe(&state, clock(now + 120_000));
    assert_eq!(machine.counters().lost, started.len() as u64);
    assert_eq!(machine.counters().moves, 1);
    machine.completed(started[0].0, true, clock(now + 121_000));
    assert_eq!(machine.counters().moves, 1, "a late acknowledgement changes nothing");
}

#[test]
fn explain_names_the_slot_and_what_helps() {
    let mut slots = vec![(0u16, 610_000u64)];
    slots.extend((0..60).map(|slot| (slot % 4, 3_000)));
    let state = snapshot(&[1_000_000; 4], &slots);
    let mut machine = machine(Tier::Thread, &[("balancer-thread-mode", "manual")]);
    for round in 0..4 {
        machine.step(clock(round * 5_000), &Event::Snapshot(&state));
    }
    let findings = Findings {
        bytes: 610_000,
        largest_tag: Some(("user:42".into(), 0.98)),
        largest_key: Some(("user:{42}:feed".into(), "zset", 100_000)),
        keys: 7,
        looked_at: 7,
        read_mostly: false,
    };
    let at = clock(20_000);
    let answer = machine.explain(Subject::Slot(SlotId(0)), Some(&findings), at);
    assert_eq!(answer.reason.code(), "unmovable-slot");
    assert!(answer.facts[0].contains("610000 bytes"), "{answer:?}");
    assert!(answer.facts.iter().any(|fact| fact.contains("98 % of it is hash tag {user:42}")));
    assert!(answer.suggestions[0].contains("suffixes"));
    let shard = machine.explain(Subject::Shard(ShardId(0)), None, at);
    assert!(shard.facts.iter().any(|fact| fact.starts_with("slot 0 holds 610000")), "{shard:?}");
    let tier = machine.explain(Subject::Tier, None, at);
    assert!(tier.facts.iter().any(|fact| fact.contains("memory spread")));
    let nowhere = machine.explain(Subject::Slot(SlotId(9_999)), None, at);
    assert!(nowhere.facts[0].contains("no owner"));
    assert_eq!(machine.policy().mode(Tier::Thread), Mode::Manual);
}

/// Data that grows faster than slots may move: the limit of a run ends it, and what is left is
/// the next one's.
#[test]
fn a_run_ends_also_when_it_cannot_keep_up() {
    let mut machine = machine(Tier::Thread, &[("balancer-thread-batch", "2")]);
    let slots: Vec<(u16, u64)> = (0..1_000)
        .map(|slot| if slot < 700 { (0, 1_000) } else { (slot % 3 + 1, 5_500) })
        .collect();
    let mut state = snapshot(&[1_000_000; 4], &slots);
    let (mut now, mut first_plan) = (0, None);
    while machine.history().is_empty() {
        let commands = machine.observe(&state, clock(now));
        for command in &commands {
            if let Command::Announce(Notice::Started { moves, .. }) = command {
                first_plan = first_plan.or(Some(*moves as u64));
            }
        }
        carry_out(&mut machine, &mut state, &commands, clock(now));
        // What leaves shard 0 is made up for by what stays.
        let grown = 700_000 / state.slots.iter().filter(|slot| slot.owner == ShardId(0)).count();
        let stays = state.slots.iter_mut().filter(|slot| slot.owner == ShardId(0));
        stays.for_each(|slot| slot.bytes = grown as u64);
        now = machine.due_ms(clock(now));
        assert!(now < HOUR_MS, "it goes on and on");
    }
    let record = machine.history().newest_first().next().unwrap();
    assert!(record.moves <= 2 * first_plan.unwrap() + 2 + 1, "{record:?}");
    assert_eq!(record.outcome, Outcome::Partial);
    assert!(machine.status(clock(now)).last_plan > record.id, "the need is there still");
    assert_eq!(machine.counters().reversals, 0);
}

/// A failed move of the last batch is made up for before the run ends.
#[test]
fn the_last_batch_may_fail() {
    let mut machine = machine(Tier::Thread, &[]);
    let mut state = uneven();
    let (mut now, mut failed) = (0, 0);
    while machine.history().is_empty() {
        let mut commands = machine.observe(&state, clock(now));
        let last = commands.iter().rposition(|command| matches!(command, Command::Move { .. }));
        if let Some(at) = last.filter(|_| failed < 3) {
            let Command::Move { slot, .. } = commands.remove(at) else { unreachable!() };
            machine.completed(slot, false, clock(now));
            failed += 1;
        }
        carry_out(&mut machine, &mut state, &commands, clock(now));
        now = machine.due_ms(clock(now));
        assert!(now < HOUR_MS);
    }
    let record = machine.history().newest_first().next().unwrap();
    assert_eq!((record.failures, record.outcome), (3, Outcome::Done));
    assert!(Levels::of(&state).spread() <= 0.05 + 1e-4);
}

/// EXPLAIN names the directive of its own tier.
#[test]
fn what_limits_a_round_is_named() {
    for (tier, directives, named) in [
        (Tier::Thread, ("balancer-thread-batch", "2"), "balancer-thread-batch"),
        (Tier::Node, ("balancer-node-concurrency", "1 1"), "balancer-node-concurrency"),
    ] {
        let mut machine = machine(tier, &[directives]);
        let state = uneven();
        let mut now = 0;
        while machine.state() != State::Running {
            machine.observe(&state, clock(now));
            now = machine.due_ms(clock(now));
        }
        machine.observe(&state, clock(now));
        let answer = machine.explain(Subject::Tier, None, clock(now));
        assert_eq!(answer.reason.code(), "concurrency");
        assert!(answer.facts[0].contains(named), "{answer:?}");
        assert!(matches!(machine.apply(1, false, clock(now)),
            Err(ApplyError::Refused(reason)) if reason.sentence() == "another run is under way"));
    }
}

#[test]
fn each_metric_has_its_floor() {
    let mut machine = machine(Tier::Thread, &[("balancer-thread-mode", "manual")]);
    let mut state = uneven();
    state.slots[7].cpu = 0.9;
    state.slots[8].cpu = 0.3;
    machine.observe(&state, clock(0));
    let status = machine.status(clock(0));
    assert!(status.memory.floor.abs() < 1e-9, "{:?}", status.memory);
    let load = status.load.unwrap();
    // One slot of 90 %, and one of 30 % that three shards cannot share.
    assert!((load.floor - 0.9).abs() < 1e-9, "{load:?}");
    (9..300).for_each(|slot| state.slots[slot].cpu = 0.3 / 291.0);
    state.slots[8].cpu = 0.0;
    let mut shared = self::machine(Tier::Thread, &[("balancer-thread-mode", "manual")]);
    shared.observe(&state, clock(0));
    let load = shared.status(clock(0)).load.unwrap();
    assert!((load.floor - 0.8).abs() < 1e-9, "many slots can: {load:?}");
    assert!(load.now >= load.floor);
}
