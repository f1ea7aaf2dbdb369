//! What the accounts cost: Ballast beside a Ballast that was built without them.

use clap::Args;

use crate::Outcome;
use crate::instructions;
use crate::load::{Drive, fill_benchmark_keys};
use crate::server::{Server, Which};
use crate::table::{Table, ratio_text};

const SHARDS: usize = 1;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    counted: instructions::Options,
    /// Pairs of runs.
    #[arg(long, default_value_t = 9)]
    runs: usize,
    /// Requests of one run.
    #[arg(long, default_value_t = 2_000_000)]
    timed_requests: u64,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    let which = [Which::Unaccounted { shards: SHARDS }, Which::Ballast { shards: SHARDS }];
    let counted = &options.counted;
    let servers = [Server::start(which[0], "0", &[])?, Server::start(which[1], "0", &[])?];
    for server in &servers {
        fill_benchmark_keys(server, counted.keys, 100)?;
    }
    println!("With accounts ÷ without: {} keys of 100 B, 50 connections\n", counted.keys);
    let table = Table::begin(&["command", "pipeline", "CPU per op", "instructions", "without"]);
    for &pipeline in &counted.pipeline {
        for test in &counted.commands {
            let drive = Drive {
                cores: "1",
                test,
                clients: 50,
                requests: options.timed_requests,
                keys: counted.keys,
                value_bytes: 100,
                pipeline,
            };
            let mut spent = [Vec::new(), Vec::new()];
            for _ in 0..options.runs {
                for (server, spent) in servers.iter().zip(&mut spent) {
                    spent.push(drive.run(server)?.cpu_us);
                }
            }
            let count = |which| instructions::per_command(counted, which, test, pipeline);
            let (without, with) = (count(which[0])?, count(which[1])?);
            table.row(&[
                test.to_uppercase(),
                pipeline.to_string(),
                ratio_text(&spent[0], &spent[1]),
                format!("{:.3}", with / without),
                format!("{without:.0}"),
            ]);
        }
    }
    Ok(())
}
