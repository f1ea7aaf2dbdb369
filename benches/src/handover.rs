//! What a hand-over of a slot between shards costs: the threads' time for one, whatever is in the
//! slot, and the throughput that is left while thousands a second take place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use ballast_tests::support::{Client, Reply};
use clap::Args;

use crate::Outcome;
use crate::load::{Drive, fill, fill_benchmark_keys};
use crate::reply::{info, integer};
use crate::server::{Server, Which};
use crate::table::{Table, median};

/// Hand-overs in one write.
const BATCH: usize = 100;

#[derive(Args)]
pub(crate) struct Options {
    /// Shard threads; they share the cores with the client.
    #[arg(long, default_value_t = 2)]
    shards: usize,
    /// Keys in the full slot.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Hand-overs of one slot for one figure.
    #[arg(long, default_value_t = 20_000)]
    moves: usize,
    /// Hand-overs a second beside the load, of random slots to random other shards.
    #[arg(long, default_value_t = 5_500)]
    rate: usize,
    /// Pairs of runs.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Requests of one run of redis-benchmark, for each command in flight.
    #[arg(long, default_value_t = 200_000)]
    requests: u64,
    /// Commands in flight on a connection.
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    pipeline: Vec<u32>,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    if options.shards < 2 {
        return Err("hand-overs need two shards".into());
    }
    time_of_one(options)?;
    println!();
    throughput(options)
}

fn start(options: &Options) -> Outcome<Server> {
    let cores = format!("0-{}", thread::available_parallelism()?.get() - 1);
    let args = ["--enable-debug-command", "local", "--balancer-thread-mode", "off"];
    Server::start(Which::Ballast { shards: options.shards }, &cores, &args)
}

/// One slot to and fro: what the two threads measure themselves, and the CPU time of the process
/// with all that a command to do it costs, a message to the owner and back among it.
fn time_of_one(options: &Options) -> Outcome<()> {
    println!(
        "Hand-over of one slot to an idle shard, {} times a run: medians of the threads' own time, \
         and CPU time of the server for the command\n",
        options.moves
    );
    let table = Table::begin(&[
        "keys in the slot",
        "thread that gives",
        "thread that takes",
        "both",
        "slot away",
        "command, moved",
        "command, nothing to move",
    ]);
    for keys in [1, options.keys] {
        let server = start(options)?;
        let mut client = server.connect()?;
        fill(&mut client, keys, |number| {
            vec![b"SET".to_vec(), format!("{{tag}}{number}").into_bytes(), b"v".to_vec()]
        })?;
        let slot = integer(&client.call(&["CLUSTER", "KEYSLOT", "{tag}"])?)?;
        let (mut still, mut moved) = (Vec::new(), Vec::new());
        client.call(&["CONFIG", "RESETSTAT"])?;
        for _ in 0..options.runs {
            still.push(cpu_us_of_each(&server, &mut client, options.moves, |_| (slot, 0))?);
            moved.push(cpu_us_of_each(&server, &mut client, options.moves, |at| {
                (slot, 1 - at as u64 % 2)
            })?);
        }
        let [give, adopt, pause] = measured(&mut client)?;
        let us = |value: f64| format!("{value:.1} µs");
        let medians = [give, adopt, give + adopt, pause, median(&moved), median(&still)];
        table.row(&[&[keys.to_string()][..], &medians.map(us)].concat());
    }
    Ok(())
}

/// Medians in microseconds of what the shards' threads measured: giving a slot away, taking it
/// over, and how long it was away.
fn measured(client: &mut Client) -> Outcome<[f64; 3]> {
    let mut median = |name: &str| -> Outcome<f64> {
        let percentiles = info(client, "balancer", &format!("balancer_handover_{name}_usec"))?;
        let median = percentiles.split(',').find_map(|one| one.strip_prefix("p50="));
        Ok(median.ok_or_else(|| format!("no median in {percentiles}"))?.parse()?)
    };
    Ok([median("give")?, median("adopt")?, median("pause")?])
}

fn cpu_us_of_each(
    server: &Server,
    client: &mut Client,
    count: usize,
    mut to: impl FnMut(usize) -> (u64, u64),
) -> Outcome<f64> {
    // From a known place.
    hand_over(client, &[to(1)])?;
    let before = server.cpu_us()?;
    for batch in (0..count).collect::<Vec<_>>().chunks(BATCH) {
        hand_over(client, &batch.iter().map(|at| to(*at)).collect::<Vec<_>>())?;
    }
    Ok((server.cpu_us()? - before) as f64 / count as f64)
}

/// Hands slots over to shards, in one write.
fn hand_over(client: &mut Client, moves: &[(u64, u64)]) -> Outcome<()> {
    let commands: Vec<Vec<String>> = moves
        .iter()
        .map(|(slot, to)| {
            ["DEBUG", "HAND-OVER", &slot.to_string(), &to.to_string()].map(str::to_owned).to_vec()
        })
        .collect();
    for reply in client.pipeline(&commands)? {
        if !matches!(reply, Reply::Simple(_)) {
            return Err(format!("a hand-over is answered {reply:?}").into());
        }
    }
    Ok(())
}

fn throughput(options: &Options) -> Outcome<()> {
    let server = start(options)?;
    fill_benchmark_keys(&server, 100_000, 100)?;
    println!("redis-benchmark beside hand-overs of random slots, {} shards\n", options.shards);
    let table = Table::begin(&[
        "command",
        "pipeline",
        "op/s",
        "op/s beside hand-overs",
        "ratio",
        "hand-overs/s",
    ]);
    let cores = format!("0-{}", thread::available_parallelism()?.get() - 1);
    for &pipeline in &options.pipeline {
        for test in ["get", "set"] {
            let drive = Drive {
                cores: &cores,
                test,
                clients: 50,
                requests: options.requests * u64::from(pipeline),
                keys: 100_000,
                value_bytes: 100,
                pipeline,
            };
            let (mut alone, mut beside, mut ratios, mut rates) = (vec![], vec![], vec![], vec![]);
            for _ in 0..options.runs {
                let without = drive.run(&server)?.ops_per_second;
                let (with, rate) = beside_hand_overs(&drive, &server, options)?;
                alone.push(without);
                beside.push(with);
                ratios.push(with / without);
                rates.push(rate);
            }
            table.row(&[
                test.to_owned(),
                pipeline.to_string(),
                format!("{:.0}", median(&alone)),
                format!("{:.0}", median(&beside)),
                format!("{:.3}", median(&ratios)),
                format!("{:.0}", median(&rates)),
            ]);
        }
    }
    Ok(())
}

/// Throughput, and hand-overs a second.
fn beside_hand_overs(drive: &Drive<'_>, server: &Server, options: &Options) -> Outcome<(f64, f64)> {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let mover = scope
            .spawn(|| keep_moving(server, options.rate, &ended).map_err(|error| error.to_string()));
        let measured = drive.run(server);
        ended.store(true, Ordering::Relaxed);
        let rate = mover.join().map_err(|_| "the mover panicked")??;
        Ok((measured?.ops_per_second, rate))
    })
}

/// Has the server hand random slots over until the load has ended; returns how many a second.
fn keep_moving(server: &Server, rate: usize, ended: &AtomicBool) -> Outcome<f64> {
    let mut client = server.connect()?;
    let start = Instant::now();
    let mut moved = 0;
    while !ended.load(Ordering::Relaxed) {
        moved += integer(&client.call(&["DEBUG", "HAND-OVERS", &rate.to_string(), "0.2"])?)?;
    }
    Ok(moved as f64 / start.elapsed().as_secs_f64())
}
