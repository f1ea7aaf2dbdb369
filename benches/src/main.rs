//! Whole-server comparisons of Ballast with the installed redis-server: side by side, in turn, on
//! pinned cores. Each prints a markdown table; ratios are Ballast's figure over Redis's.

#![forbid(unsafe_code)]

mod account;
mod compare;
mod generator;
mod growth;
mod handover;
mod idle;
mod instructions;
mod level;
mod load;
mod memory;
mod open;
mod reply;
mod server;
mod table;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What can go wrong is printed, and ends the run.
type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Parser)]
#[command(about = "Ballast and redis-server side by side")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Throughput, latency and CPU time per operation, driven by redis-benchmark.
    Compare(compare::Options),
    /// Latency at fixed rates, from when each request was due.
    Open(open::Options),
    /// What keeping the slots' accounts costs, beside a server built without.
    Account(account::Options),
    /// Bytes a key costs beyond its own bytes and its value's.
    Memory(memory::Options),
    /// User instructions of one GET and one SET, counted by callgrind.
    Instructions(instructions::Options),
    /// Latency while the data set grows, at a fixed rate.
    Growth(growth::Options),
    /// What moving slots between shards costs: the threads' time for one, and throughput while
    /// thousands a second move.
    Handover(handover::Options),
    /// A skewed data set levelled over the shards, and what is evicted without the balancer.
    Level(level::Options),
    /// CPU time and memory of a server that has nothing to do.
    Idle(idle::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().bench {
        Bench::Compare(options) => compare::run(&options),
        Bench::Open(options) => open::run(&options),
        Bench::Account(options) => account::run(&options),
        Bench::Memory(options) => memory::run(&options),
        Bench::Instructions(options) => instructions::run(&options),
        Bench::Growth(options) => growth::run(&options),
        Bench::Handover(options) => handover::run(&options),
        Bench::Level(options) => level::run(&options),
        Bench::Idle(options) => idle::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
