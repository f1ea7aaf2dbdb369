//! User instructions of a command: what callgrind counts in a long run, less a short one.

use std::fs;

use clap::Args;

use crate::Outcome;
use crate::load::{Drive, fill_benchmark_keys};
use crate::server::{Server, Which};
use crate::table::Table;

const COUNTS: &str = "callgrind.out";

#[derive(Args)]
pub(crate) struct Options {
    /// Keys that are there before, and that the load draws from.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) keys: u64,
    /// Commands in flight on a connection.
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    pub(crate) pipeline: Vec<u32>,
    /// Tests of redis-benchmark.
    #[arg(long, value_delimiter = ',', default_value = "get,set")]
    pub(crate) commands: Vec<String>,
    /// Requests of the short run; the long one has three times as many.
    #[arg(long, default_value_t = 50_000)]
    requests: u64,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    println!(
        "User instructions for one command: {} keys of 100 B, 50 connections, one shard\n",
        options.keys
    );
    let table = Table::begin(&["command", "pipeline", "redis", "ballast", "ballast ÷ redis"]);
    for &pipeline in &options.pipeline {
        for test in &options.commands {
            let mut counts = Vec::new();
            for which in [Which::Redis, Which::Ballast { shards: 1 }] {
                counts.push(per_command(options, which, test, pipeline)?);
            }
            table.row(&[
                test.to_uppercase(),
                pipeline.to_string(),
                format!("{:.0}", counts[0]),
                format!("{:.0}", counts[1]),
                format!("{:.2}", counts[1] / counts[0]),
            ]);
        }
    }
    Ok(())
}

/// User instructions of one command.
pub(crate) fn per_command(
    options: &Options,
    which: Which,
    test: &str,
    pipeline: u32,
) -> Outcome<f64> {
    let short = count(options, which, test, pipeline, options.requests)?;
    let long = count(options, which, test, pipeline, 3 * options.requests)?;
    Ok((long as f64 - short as f64) / (2 * options.requests) as f64)
}

/// All user instructions of a server's life with one run of so many requests.
fn count(
    options: &Options,
    which: Which,
    test: &str,
    pipeline: u32,
    requests: u64,
) -> Outcome<u64> {
    let out = format!("--callgrind-out-file={COUNTS}");
    let wrapper = ["taskset", "-c", "0", "valgrind", "--tool=callgrind", &out];
    let mut server = Server::start_under(which, &wrapper, &[])?;
    fill_benchmark_keys(&server, options.keys, 100)?;
    let drive = Drive {
        cores: "1",
        test,
        clients: 50,
        requests,
        keys: options.keys,
        value_bytes: 100,
        pipeline,
    };
    drive.run(&server)?;
    server.terminate()?;
    let text = fs::read_to_string(server.directory().join(COUNTS))?;
    let total = text.lines().rev().find_map(|line| line.strip_prefix("totals:"));
    Ok(total.ok_or("callgrind left no total")?.trim().parse()?)
}
