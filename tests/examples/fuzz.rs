//! Random commands of the whole table for hours: `fuzz [minutes] [seed] [shards,…]`.
//!
//! Every fault is printed with a short script and the run goes on; the status tells at the end
//! whether there was one.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ballast_tests::fuzz::{Company, Differential, Fault, Stress};

/// A crowd comes after so many turns of the others.
const TURNS: usize = 10;
/// Faults that begin alike are printed once.
const ALIKE_CHARS: usize = 60;

fn main() -> io::Result<ExitCode> {
    let mut args = std::env::args().skip(1);
    let minutes: f64 = args.next().and_then(|text| text.parse().ok()).unwrap_or(1.0);
    let seed: u64 = args.next().and_then(|text| text.parse().ok()).unwrap_or(1);
    let shards = args.next().unwrap_or_else(|| "1,2,4".to_owned());
    let shards: Vec<usize> = shards.split(',').filter_map(|text| text.parse().ok()).collect();
    let share = Duration::from_secs_f64(minutes * 60.0 / shards.len().max(1) as f64);
    let mut found = Found::default();
    for shards in shards {
        let end = Instant::now() + share;
        let mut differential = Differential::start(seed, shards)?;
        let mut stress = Stress::start(seed, shards)?;
        while Instant::now() < end {
            for _ in 0..TURNS {
                found.add(differential.round()?);
                found.add(stress.round(Company::Alone)?);
            }
            found.add(stress.round(Company::Crowd)?);
        }
        println!(
            "{shards} shards: {} replies compared, {} commands sent, {} faults",
            differential.compared(),
            stress.sent(),
            found.count
        );
    }
    Ok(if found.count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The faults so far.
#[derive(Default)]
struct Found {
    count: usize,
    kinds: BTreeSet<String>,
}

impl Found {
    fn add(&mut self, fault: Option<Fault>) {
        let Some(fault) = fault else { return };
        self.count += 1;
        let kind: String = fault.what.chars().take(ALIKE_CHARS).collect();
        if self.kinds.insert(kind) {
            println!("{fault}\n");
        }
    }
}
