//! W1 to W10: the production machine against simulated time.

use ballast_balancer::model::Tier;
use ballast_balancer::simulate::{Kind, Relief, Report, Setup, Workload, simulate};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
const SEED: u64 = 7;
/// The stop threshold, and the hundredth of a point that is not worth another move.
const GOAL: f64 = 0.05 + 1e-4;

fn run(setup: &Setup, kind: Kind, shards: u16, slots: usize) -> Report {
    let report = simulate(setup, &mut Workload::new(kind, shards, slots, SEED));
    println!(
        "{kind:?} {:?}: spread {:.3}, bytes/bound {:.3}, {} runs, {:?}",
        setup.tier,
        report.spread,
        report.bytes_over_bound(),
        report.runs.len(),
        report.seen
    );
    check_always(&report);
    report
}

/// What must hold in every workload.
fn check_always(report: &Report) {
    assert_eq!(report.seen.reversals, 0, "a slot came back");
    assert_eq!(report.reversals_counted, 0, "the machine counts the same");
    assert_eq!(report.seen.starts_outside, 0, "started outside a window");
    assert_eq!(report.seen.limit_violations, 0, "a target above its fill limit");
    assert_eq!(report.unexplained, 0, "imbalance without a reason");
    assert_eq!(report.machine.counters().moves, report.seen.moves, "both count the same");
    assert_eq!(report.machine.counters().lost, 0);
}

fn with(mut setup: Setup, directives: &[(&str, &str)]) -> Setup {
    for (name, value) in directives {
        setup.policy.set(name, value).unwrap();
    }
    setup
}

#[test]
fn w1_uniform() {
    for (tier, hours) in [(Tier::Thread, 2), (Tier::Node, 48)] {
        let report = run(&Setup::new(tier, hours * HOUR_MS), Kind::Uniform, 8, 1024);
        assert!(report.bytes_over_bound() <= 1.05);
        assert!(report.spread <= GOAL);
        assert_eq!(report.runs.len(), 1, "one plan for one cause");
        assert!(report.balanced_after_ms.unwrap() <= 10 * MINUTE_MS);
    }
}

#[test]
fn w2_zipf_memory() {
    let memory_only = [("balancer-thread-load", "0 0"), ("balancer-node-load", "0 0")];
    for sigma in [1.0, 2.0] {
        for (tier, hours) in [(Tier::Thread, 1), (Tier::Node, 24)] {
            let setup = with(Setup::new(tier, hours * HOUR_MS), &memory_only);
            let report = run(&setup, Kind::Zipf { sigma }, 16, 2048);
            assert!(report.bytes_over_bound() <= 1.05, "{}", report.bytes_over_bound());
            assert!(report.runs.len() <= 1);
            let threshold = if report.runs.is_empty() { 0.10 } else { 0.05 };
            assert!(report.spread <= threshold + 1e-4);
        }
    }
}

#[test]
fn w2_zipf_load() {
    let report = run(&Setup::new(Tier::Thread, HOUR_MS), Kind::Zipf { sigma: 1.0 }, 16, 2048);
    assert!(report.load_spread <= 0.10, "{}", report.load_spread);
    assert!(report.spread <= 0.10 + 1e-6, "memory stays in its band");
}

#[test]
fn w3_hash_tags() {
    let movable = run(&Setup::new(Tier::Thread, HOUR_MS), Kind::Hotspots { largest: 0.2 }, 8, 1024);
    assert!(movable.spread <= GOAL);
    let setup = Setup { relief: Relief::Never, ..Setup::new(Tier::Thread, HOUR_MS) };
    let dominant = run(&setup, Kind::Hotspots { largest: 0.9 }, 8, 1024);
    assert!(dominant.reasons.contains(&"unmovable-slot"), "{:?}", dominant.reasons);
    let (high, low) = dominant.world.fills();
    assert!(high <= 0.90 + 1e-6, "only the slot itself is left on its shard: {high}");
    assert!(high - low <= dominant.machine.status(clock()).floor + GOAL);
}

fn clock() -> ballast_balancer::machine::Clock {
    ballast_balancer::machine::Clock::default()
}

#[test]
fn w4_growing_tenants() {
    let setup = with(Setup::new(Tier::Node, 30 * DAY_MS), &[("balancer-interval", "5 600")]);
    let report = run(&setup, Kind::Tenants, 8, 2048);
    assert!(report.bytes_over_bound() <= 1.05, "{}", report.bytes_over_bound());
    assert!((2..=8).contains(&report.runs.len()), "{} plans in 30 days", report.runs.len());
    assert!(report.spread <= 0.10 + 0.005);
    for record in &report.runs {
        assert!(record.spread_after <= 0.05 + 1e-3, "{record:?}");
    }
}

/// A run ends although the data grows under it, and the next begins only at the start threshold.
#[test]
fn w4_growth_by_the_minute() {
    let report = run(&Setup::new(Tier::Thread, 40 * MINUTE_MS), Kind::Loading, 4, 2048);
    assert!((2..=12).contains(&report.runs.len()), "{} plans", report.runs.len());
    for record in &report.runs {
        assert_eq!(record.outcome.code(), "done");
        assert!(record.spread_before > 0.10, "restarted within the hysteresis");
        assert!(record.spread_after <= 0.05 + 1e-3, "{}", record.spread_after);
        assert!(record.ended_ms - record.started_ms <= 10_000);
    }
    // Two per cent of a quarter that is half full: five points of spread take minutes.
    for pair in report.runs.windows(2) {
        assert!(pair[1].started_ms - pair[0].ended_ms >= 120_000);
    }
    assert!(report.bytes_over_bound() <= 1.05, "{}", report.bytes_over_bound());
    assert_ne!(report.machine.state().name(), "running");
}

/// Swings within the hysteresis start nothing; those beyond it are not chased for ever.
#[test]
fn w5_breathing() {
    for (part, runs_max) in [(0.02, 1), (0.05, 1), (0.25, 8)] {
        let setup = Setup::new(Tier::Thread, 60 * MINUTE_MS);
        let report = run(&setup, Kind::Breathing { part }, 4, 1024);
        assert!((1..=runs_max).contains(&report.runs.len()), "{part}: {:?}", report.runs);
        for record in &report.runs {
            assert!(record.spread_before > 0.10, "restarted within the hysteresis");
            assert!(record.ended_ms - record.started_ms <= 60_000);
        }
        assert_ne!(report.machine.state().name(), "running");
    }
}

#[test]
fn w5_daily_swing() {
    let setup = with(Setup::new(Tier::Node, 21 * DAY_MS), &[("balancer-interval", "5 600")]);
    let report = run(&setup, Kind::Expiry, 8, 1024);
    assert!(report.runs.len() <= 4, "the swing is not chased");
    let setup = with(Setup::new(Tier::Thread, 2 * DAY_MS), &[("balancer-interval", "30 60")]);
    run(&setup, Kind::Expiry, 8, 512);
}

#[test]
fn w6_flash_crowd() {
    let report = run(&Setup::new(Tier::Thread, 6 * HOUR_MS), Kind::FlashCrowd, 16, 1024);
    assert!(report.load_max > 0.8, "there was something to do");
    assert!(report.overload_ms_max <= 60_000, "above 80 % for {} ms", report.overload_ms_max);
    assert!(report.seen.rest_ms_min >= 15_000, "{}", report.seen.rest_ms_min);
}

#[test]
fn w7_topology() {
    for tier in [Tier::Thread, Tier::Node] {
        let setup = with(Setup::new(tier, 24 * HOUR_MS), &[("balancer-interval", "10 60")]);
        let report = run(&setup, Kind::Topology, 6, 1024);
        assert!(report.bytes_over_bound() <= 1.05);
        assert!(report.spread <= GOAL);
        assert_eq!(report.runs.len(), 6, "one plan for each cause: {:?}", report.runs);
        assert!(report.runs.iter().any(|run| run.cue.code() == "drain"));
    }
}

/// Three hours a night, and a rate at which the queue takes two to three nights.
fn nightly(close: &str) -> Setup {
    with(
        Setup::new(Tier::Node, 6 * DAY_MS),
        &[
            ("balancer-windows", "daily 01:00-04:00 Europe/Berlin"),
            ("balancer-window-close", close),
            ("balancer-node-bandwidth", "8kb"),
            ("balancer-node-chunk", "4mb"),
            ("balancer-window-grace", "300"),
        ],
    )
}

#[test]
fn w8_windows() {
    for close in ["finish", "pause", "abort"] {
        let mut workload = Workload::new(Kind::Uneven, 6, 1024, SEED);
        let setup = nightly(close);
        let report = simulate_slowly(&setup, &mut workload);
        println!("{close}: {:?} {:?}", report.seen, report.runs);
        check_always(&report);
        assert!(report.spread <= GOAL, "{close}: {}", report.spread);
        assert!(report.runs.len() >= 2, "it takes several nights");
        assert!(
            report.runs[..report.runs.len() - 1]
                .iter()
                .all(|run| { run.outcome.code() == "partial" && run.reason.is_some() })
        );
        assert!(report.resumes as usize + 1 >= report.runs.len(), "re-planned at each opening");
        assert!(report.seen.overrun_ms_max <= 300_000, "{}", report.seen.overrun_ms_max);
        if close == "abort" {
            assert_eq!(report.seen.overrun_ms_max, 0);
        }
        let bytes: u64 = report.runs.iter().map(|run| run.bytes).sum();
        assert!(bytes as f64 <= 1.05 * report.runs[0].lower_bound as f64, "no move is lost");
    }
}

/// The executor is slower than the machine believes, so that windows close under moves.
fn simulate_slowly(setup: &Setup, workload: &mut Workload) -> Report {
    workload.set_rate(8 << 10);
    simulate(setup, workload)
}

#[test]
fn w8_clock_changes_and_steps() {
    for (start, steps) in [
        // The nights around both clock changes of 2026.
        ("2026-03-27T12:00:00Z", vec![]),
        ("2026-10-23T12:00:00Z", vec![]),
        // The wall clock steps by an hour, inside and outside windows.
        ("2026-06-01T00:00:00Z", vec![(30 * MINUTE_MS, 3_600_000), (26 * HOUR_MS, -3_600_000)]),
        ("2026-06-01T12:00:00Z", vec![(13 * HOUR_MS, -3_600_000), (38 * HOUR_MS, 3_600_000)]),
    ] {
        let mut setup = nightly("finish");
        setup.starts_ms = start.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        setup.clock_steps = steps;
        let mut workload = Workload::new(Kind::Uneven, 6, 1024, SEED);
        let report = simulate_slowly(&setup, &mut workload);
        check_always(&report);
        assert!(report.spread <= GOAL, "{start}: {}", report.spread);
    }
}

#[test]
fn w9_sparse() {
    let few = run(&Setup::new(Tier::Thread, HOUR_MS), Kind::Sparse { filled: 20 }, 4, 1024);
    assert!(few.spread <= 0.05 || few.reasons.contains(&"unmovable-slot"));
    let one = run(&Setup::new(Tier::Thread, HOUR_MS), Kind::Sparse { filled: 1 }, 4, 1024);
    assert_eq!(one.seen.moves, 0);
    assert_eq!(one.reasons, ["unmovable-slot"]);
    let none = run(&Setup::new(Tier::Thread, HOUR_MS), Kind::Sparse { filled: 0 }, 4, 1024);
    assert_eq!(none.seen.moves, 0);
    assert_eq!(none.reasons, ["balanced"]);
}

#[test]
fn w10_adversary() {
    for (tier, hours, cooldown_ms) in [(Tier::Thread, 6, 60_000), (Tier::Node, 48, 3_600_000)] {
        let report = run(&Setup::new(tier, hours * HOUR_MS), Kind::Adversary, 4, 256);
        // Urgent moves may repeat after a quarter of the cooldown.
        assert!(report.seen.rest_ms_min >= cooldown_ms / 4, "{}", report.seen.rest_ms_min);
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let setup = Setup::new(Tier::Thread, 30 * MINUTE_MS);
    let one = run(&setup, Kind::FlashCrowd, 8, 512);
    let two = run(&setup, Kind::FlashCrowd, 8, 512);
    assert_eq!(one.seen, two.seen);
    assert_eq!(one.runs, two.runs);
}
