//! Latency of requests that arrive at a rate, whatever the server does: at parts of what
//! redis-server can do at most. Beside it the closed loop of the same client.

use std::time::Duration;

use clap::Args;

use crate::Outcome;
use crate::generator::{Command, Keys, Load, Measured, Pace, Wait};
use crate::load::{Drive, fill};
use crate::server::{Pair, Server, Which, cores_of, move_to};
use crate::table::{Table, median, ratio_text};

/// Requests and runs with which the capacity is found.
const CAPACITY_REQUESTS: u64 = 200_000;
const CAPACITY_RUNS: usize = 3;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pair: Pair,
    /// Requests a second, in per cent of the closed-loop throughput of redis-server.
    #[arg(long, value_delimiter = ',', default_value = "20,40,60")]
    percent: Vec<f64>,
    /// Requests a second, instead.
    #[arg(long, value_delimiter = ',')]
    rate: Vec<f64>,
    /// Also as fast as replies come, one request at a time on each connection.
    #[arg(long)]
    closed: bool,
    /// Commands.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "get,set")]
    commands: Vec<Command>,
    /// Keys that are there before, and that the load draws from.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// The keys of each connection are in one slot.
    #[arg(long)]
    apart: bool,
    /// Connections.
    #[arg(long, default_value_t = 50)]
    clients: usize,
    /// Bytes of a value.
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// Pairs of runs.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Seconds of one run.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Shard threads of Ballast.
    #[arg(long, default_value_t = 1)]
    shards: usize,
    /// The client sleeps between requests, also if it has a core of its own, and has to be woken.
    #[arg(long)]
    sleep: bool,
    /// Of the times of the requests and their keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    let [server_cores, client_cores] = cores_of(options.shards);
    move_to(&client_cores)?;
    let paces = options.paces(&server_cores, &client_cores)?;
    let servers = options.pair.start(options.shards, &server_cores)?;
    let value = vec![b'v'; options.size];
    for server in &servers {
        fill(&mut server.connect()?, options.keys, |number| {
            let key = options.keys().name(number, options.clients);
            vec![b"SET".to_vec(), key, value.clone()]
        })?;
    }
    let name = servers[0].name;
    println!(
        "{} keys, {} B values, {} connections, {} shard(s), {} pairs of runs of {} s; latencies \
         in µs from when a request was due\n",
        options.keys, options.size, options.clients, options.shards, options.runs, options.seconds
    );
    let table = Table::begin(&[
        "command",
        "load",
        &format!("{name} op/s"),
        "throughput",
        &format!("{name} p50 / p90 / p99 / p99.9"),
        "ballast p50 / p90 / p99 / p99.9",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "CPU per op",
        &format!("{name} CPU µs"),
        "sent late, p50 / p99",
    ]);
    for &command in &options.commands {
        for (load, pace) in &paces {
            let [of_other, of_ballast] = options.pairs(command, *pace, &servers)?;
            let mut cells = vec![format!("{command:?}").to_uppercase(), load.clone()];
            cells.extend(row(&of_other, &of_ballast));
            table.row(&cells);
        }
    }
    Ok(())
}

impl Options {
    fn keys(&self) -> Keys {
        Keys { count: self.keys, are_apart: self.apart }
    }

    /// The loads, each with its name.
    fn paces(&self, server_cores: &str, client_cores: &str) -> Outcome<Vec<(String, Pace)>> {
        let rates: Vec<(String, f64)> = if self.rate.is_empty() && !self.percent.is_empty() {
            let capacity = self.capacity(server_cores, client_cores)?;
            println!("redis-server does {capacity:.0} GET/s at most\n");
            let part = |percent: &f64| (format!("{percent} %"), capacity * percent / 100.0);
            self.percent.iter().map(part).collect()
        } else {
            self.rate.iter().map(|rate| (format!("{rate}/s"), *rate)).collect()
        };
        let mut paces: Vec<_> =
            rates.into_iter().map(|(name, rate)| (name, Pace::Rate(rate))).collect();
        if self.closed {
            paces.push(("closed".to_owned(), Pace::Replies));
        }
        Ok(paces)
    }

    /// How many unpipelined GETs a second redis-server does at most.
    fn capacity(&self, server_cores: &str, client_cores: &str) -> Outcome<f64> {
        let server = Server::start(Which::Redis, server_cores, &[])?;
        let drive = Drive {
            cores: client_cores,
            test: "get",
            clients: u32::try_from(self.clients)?,
            requests: CAPACITY_REQUESTS,
            keys: self.keys,
            value_bytes: self.size,
            pipeline: 1,
        };
        let runs: Outcome<Vec<f64>> =
            (0..CAPACITY_RUNS).map(|_| Ok(drive.run(&server)?.ops_per_second)).collect();
        Ok(median(&runs?))
    }

    /// Runs the one, the other, the one …: what disturbs the machine disturbs a pair.
    fn pairs(
        &self,
        command: Command,
        pace: Pace,
        servers: &[Server; 2],
    ) -> Outcome<[Vec<Figures>; 2]> {
        let mut figures = [Vec::new(), Vec::new()];
        for run in 0..self.runs {
            let load = Load {
                command,
                pace,
                connections: self.clients,
                keys: self.keys(),
                value_bytes: self.size,
                length: Duration::from_secs_f64(self.seconds),
                seed: self.seed + run as u64,
                wait: if self.sleep || self.shards > 1 { Wait::Sleep } else { Wait::Spin },
            };
            for (server, figures) in servers.iter().zip(&mut figures) {
                let before = server.cpu_us()?;
                let measured = load.run(server.address())?;
                figures.push(Figures::of(&measured, server.cpu_us()? - before));
            }
        }
        Ok(figures)
    }
}

/// The figures of one run; times in microseconds.
struct Figures {
    per_second: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    cpu: f64,
    late_p50: f64,
    late_p99: f64,
}

impl Figures {
    fn of(measured: &Measured, cpu_us: u64) -> Figures {
        let at = |quantile| measured.latencies.value_at_quantile(quantile) as f64 / 1e3;
        let late = |quantile| measured.late.value_at_quantile(quantile) as f64 / 1e3;
        Figures {
            per_second: measured.per_second,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            cpu: cpu_us as f64 / measured.replies.max(1) as f64,
            late_p50: late(0.5),
            late_p99: late(0.99),
        }
    }
}

fn row(of_other: &[Figures], of_ballast: &[Figures]) -> Vec<String> {
    let column =
        |of: &[Figures], figure: fn(&Figures) -> f64| of.iter().map(figure).collect::<Vec<_>>();
    let ratio = |figure| ratio_text(&column(of_other, figure), &column(of_ballast, figure));
    let middle = |of: &[Figures], figure| median(&column(of, figure));
    let latencies = |of: &[Figures]| {
        let quantiles: [fn(&Figures) -> f64; 4] =
            [|one| one.p50, |one| one.p90, |one| one.p99, |one| one.p999];
        quantiles.map(|quantile| format!("{:.0}", middle(of, quantile))).join(" / ")
    };
    let late =
        |figure: fn(&Figures) -> f64| middle(of_other, figure).max(middle(of_ballast, figure));
    vec![
        format!("{:.0}", middle(of_other, |one| one.per_second)),
        ratio(|one| one.per_second),
        latencies(of_other),
        latencies(of_ballast),
        ratio(|one| one.p50),
        ratio(|one| one.p90),
        ratio(|one| one.p99),
        ratio(|one| one.p999),
        ratio(|one| one.cpu),
        format!("{:.2}", middle(of_other, |one| one.cpu)),
        format!("{:.1} / {:.1}", late(|one| one.late_p50), late(|one| one.late_p99)),
    ]
}
