//! The two servers beside each other, driven in turn by redis-benchmark.

use clap::Args;

use crate::Outcome;
use crate::load::{Drive, Measured, fill_benchmark_keys};
use crate::server::{Pair, Server, cores_of};
use crate::table::{Table, median, ratio_text};

const ONE_SHARD_COMMANDS: &str = "get,set";
const MANY_SHARDS_COMMANDS: &str =
    "set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange_100,lrange_300,mset";

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pair: Pair,
    /// Keys that are there before, and that the load draws from.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Connections.
    #[arg(long, default_value_t = 50)]
    clients: u32,
    /// Bytes of a value.
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// Pairs of runs.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Commands in flight on a connection.
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    pipeline: Vec<u32>,
    /// Tests of redis-benchmark; more by default with more than one shard.
    #[arg(long, value_delimiter = ',')]
    commands: Vec<String>,
    /// Shard threads of Ballast.
    #[arg(long, default_value_t = 1)]
    shards: usize,
    /// Requests of one run; by default enough for some seconds.
    #[arg(long)]
    requests: Option<u64>,
    /// Short runs: a look, not a measurement.
    #[arg(long)]
    quick: bool,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    let [server_cores, client_cores] = cores_of(options.shards);
    let servers = options.pair.start(options.shards, &server_cores)?;
    for server in &servers {
        fill_benchmark_keys(server, options.keys, options.size)?;
    }
    let [other, ballast] = &servers;
    println!(
        "{} keys, {} B values, {} connections, {} shard(s), {} pairs of runs\n",
        options.keys, options.size, options.clients, options.shards, options.runs
    );
    let table = Table::begin(&[
        "command",
        "pipeline",
        &format!("{} op/s", other.name),
        "ballast op/s",
        "throughput",
        "p50",
        "p99",
        "p99.9",
        "CPU per op",
        &format!("{} CPU µs", other.name),
        "ballast CPU µs",
    ]);
    for &pipeline in &options.pipeline {
        for test in options.tests() {
            let drive = Drive {
                cores: &client_cores,
                test: &test,
                clients: options.clients,
                requests: options.requests_of(&test, pipeline),
                keys: options.keys,
                value_bytes: options.size,
                pipeline,
            };
            table.row(&pairs(&drive, other, ballast, options.runs)?);
        }
    }
    Ok(())
}

impl Options {
    fn tests(&self) -> Vec<String> {
        let default = if self.shards == 1 { ONE_SHARD_COMMANDS } else { MANY_SHARDS_COMMANDS };
        match self.commands.is_empty() {
            true => default.split(',').map(str::to_owned).collect(),
            false => self.commands.clone(),
        }
    }

    fn requests_of(&self, test: &str, pipeline: u32) -> u64 {
        let seconds = if self.quick { 1 } else { 4 };
        let a_second = match test {
            "lrange_300" | "lrange_500" | "lrange_600" => 10_000,
            "lrange_100" | "mset" => 40_000,
            _ if pipeline > 1 => 700_000,
            _ => 90_000,
        };
        self.requests.unwrap_or(seconds * a_second)
    }
}

/// Runs Redis, Ballast, Redis, Ballast …: what disturbs the machine disturbs a pair.
fn pairs(drive: &Drive<'_>, other: &Server, ballast: &Server, runs: usize) -> Outcome<Vec<String>> {
    let (mut of_other, mut of_ballast) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        of_other.push(drive.run(other)?);
        of_ballast.push(drive.run(ballast)?);
    }
    let column = |of: &[Measured], figure: fn(&Measured) -> f64| -> Vec<f64> {
        of.iter().map(figure).collect()
    };
    let ratio = |figure: fn(&Measured) -> f64| {
        ratio_text(&column(&of_other, figure), &column(&of_ballast, figure))
    };
    let middle = |of: &[Measured], figure: fn(&Measured) -> f64| median(&column(of, figure));
    Ok(vec![
        drive.test.to_uppercase(),
        drive.pipeline.to_string(),
        format!("{:.0}", middle(&of_other, |one| one.ops_per_second)),
        format!("{:.0}", middle(&of_ballast, |one| one.ops_per_second)),
        ratio(|one| one.ops_per_second),
        ratio(|one| one.p50_ms),
        ratio(|one| one.p99_ms),
        ratio(|one| one.p999_ms),
        ratio(|one| one.cpu_us),
        format!("{:.2}", middle(&of_other, |one| one.cpu_us)),
        format!("{:.2}", middle(&of_ballast, |one| one.cpu_us)),
    ])
}
