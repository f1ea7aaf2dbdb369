//! Random commands of the whole command table: alike beside `redis-server`, and harmless alone and
//! in a crowd. `SEED=n` replays a run, `STEPS=n` takes so many rounds; the example `fuzz` runs for
//! as long as it is told to.

use ballast_tests::fuzz::{Company, Differential, Fault, Stress};
use ballast_tests::support::{redis_version, seed, seed_or, steps};

/// Rounds of some hundred commands beside Redis.
const COMPARED: u64 = 60;
const COMPARED_SEED: u64 = 11;
/// Rounds of a thousand commands and more.
const ALONE: u64 = 12;
const CROWDED: u64 = 4;
const SHARDS: usize = 2;

#[test]
fn commands_are_answered_as_by_redis() {
    if !redis_version().is_some_and(|version| version.starts_with("7.0.")) {
        eprintln!("no redis-server 7.0.x to compare with");
        return;
    }
    let mut run = Differential::start(seed_or(COMPARED_SEED), SHARDS).expect("the servers start");
    for _ in 0..steps(COMPARED) {
        none(run.round().expect("the servers answer"));
    }
    assert!(run.compared() > 100 * steps(COMPARED), "{} replies were compared", run.compared());
}

#[test]
fn a_connection_breaks_nothing() {
    rounds(Company::Alone, ALONE);
}

#[test]
fn a_crowd_breaks_nothing() {
    rounds(Company::Crowd, CROWDED);
}

fn rounds(company: Company, default: u64) {
    let mut run = Stress::start(seed(), SHARDS).expect("the server starts");
    for _ in 0..steps(default) {
        none(run.round(company).expect("the server starts again"));
    }
    println!("{} commands", run.sent());
}

fn none(fault: Option<Fault>) {
    if let Some(fault) = fault {
        panic!("{fault}");
    }
}
