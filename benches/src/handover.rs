//! What a hand-over of a slot between shards costs: the threads' time for one, whatever is in the
//! slot, and the throughput that is left while thousands a second take place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ballast_tests::support::{Client, Reply};
use clap::Args;

use crate::Outcome;
use crate::load::{Drive, fill, fill_benchmark_keys};
use crate::server::{Server, Which};
use crate::table::{Table, median};

const SLOTS: u64 = 16_384;
/// Hand-overs in one write.
const BATCH: usize = 100;
/// How often a write is due while there is load.
const TICK: Duration = Duration::from_millis(10);

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
    /// Requests to hand a slot over a second beside the load; with two shards half of them find
    /// it where it is to go.
    #[arg(long, default_value_t = 14_000)]
    rate: usize,
    /// Connections that ask for them: each waits for one before the next, in line with the load.
    #[arg(long, default_value_t = 8)]
    movers: usize,
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

/// One slot to and fro, against the same command when the slot is there already: both are a
/// message to the owner and an answer, so the difference is the hand-over.
fn time_of_one(options: &Options) -> Outcome<()> {
    println!(
        "CPU time of the server for a hand-over of one slot, {} of them a run\n",
        options.moves
    );
    let table = Table::begin(&[
        "keys in the slot",
        "request, nothing to move",
        "request, moved",
        "hand-over",
    ]);
    for keys in [1, options.keys] {
        let server = start(options)?;
        let mut client = server.connect()?;
        fill(&mut client, keys, |number| {
            vec![b"SET".to_vec(), format!("{{tag}}{number}").into_bytes(), b"v".to_vec()]
        })?;
        let slot = integer(&client.call(&["CLUSTER", "KEYSLOT", "{tag}"])?)?;
        let (mut still, mut moved) = (Vec::new(), Vec::new());
        for _ in 0..options.runs {
            still.push(cpu_us_of_each(&server, &mut client, options.moves, |_| (slot, 0))?);
            moved.push(cpu_us_of_each(&server, &mut client, options.moves, |at| {
                (slot, 1 - at as u64 % 2)
            })?);
        }
        let (still_us, moved_us) = (median(&still), median(&moved));
        table.row(&[
            keys.to_string(),
            format!("{still_us:.1} µs"),
            format!("{moved_us:.1} µs"),
            format!("{:.1} µs", moved_us - still_us),
        ]);
    }
    Ok(())
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
        let ended = &ended;
        let movers: Vec<_> = (0..options.movers)
            .map(|mover| {
                let moving = move || keep_moving(server, options, mover, ended);
                scope.spawn(move || moving().map_err(|error| error.to_string()))
            })
            .collect();
        let measured = drive.run(server);
        ended.store(true, Ordering::Relaxed);
        let mut rate = 0.0;
        for mover in movers {
            rate += mover.join().map_err(|_| "a mover panicked")??;
        }
        Ok((measured?.ops_per_second, rate))
    })
}

/// Hands random slots over at the rate that is wanted, until the load has ended.
fn keep_moving(
    server: &Server,
    options: &Options,
    mover: usize,
    ended: &AtomicBool,
) -> Outcome<f64> {
    let mut client = server.connect()?;
    let ticks_a_second = (1_000 / TICK.as_millis()) as usize;
    let start = Instant::now();
    let (mut moved, mut ticks, mut number) = (0, 0, mover as u64);
    while !ended.load(Ordering::Relaxed) {
        let moves: Vec<(u64, u64)> = (0..options.rate.div_ceil(ticks_a_second * options.movers))
            .map(|_| {
                // A linear congruential generator is random enough for which slot goes where.
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let random = number >> 33;
                (random % SLOTS, random / SLOTS % options.shards as u64)
            })
            .collect();
        hand_over(&mut client, &moves)?;
        moved += moves.len();
        ticks += 1;
        thread::sleep((start + TICK * ticks).saturating_duration_since(Instant::now()));
    }
    // A slot that is drawn for the shard it is on stays where it is.
    let really = moved as f64 * (options.shards - 1) as f64 / options.shards as f64;
    Ok(really / start.elapsed().as_secs_f64())
}

fn integer(reply: &Reply) -> Outcome<u64> {
    match reply {
        Reply::Integer(value) => Ok(u64::try_from(*value)?),
        other => Err(format!("no number: {other:?}").into()),
    }
}
