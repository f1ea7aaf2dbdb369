//! Seeds of random tests: a new one each run, printed, and replayed with `SEED=n`.

use std::hash::{BuildHasher, RandomState};

/// The seed of this run: `$SEED`, or a new one.
pub fn seed() -> u64 {
    let seed = number("SEED").unwrap_or_else(|| RandomState::new().hash_one(0_u8) >> 32);
    println!("SEED={seed}");
    seed
}

/// As [`seed`], but `default` where none is given: for a test that compares with a program that is
/// not ours, and should not fail one day for a difference that nobody has made.
pub fn seed_or(default: u64) -> u64 {
    let seed = number("SEED").unwrap_or(default);
    println!("SEED={seed}");
    seed
}

/// How many steps a random test takes: `$STEPS`, or its own `default`.
pub fn steps(default: u64) -> u64 {
    number("STEPS").unwrap_or(default)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} wants a number, not {text:?}")))
}
