//! What the balancer is for: a data set whose first tenth of the slots holds nearly all bytes,
//! levelled over the shards of one server; and what is evicted without it.

use std::thread;
use std::time::{Duration, Instant};

use ballast_protocol::slot::{SLOTS, key_slot};
use ballast_tests::support::{Client, Reply};
use clap::Args;

use crate::Outcome;
use crate::load::fill;
use crate::reply::{field, info, integer, text};
use crate::server::{Server, Which};
use crate::table::Table;

/// The slots with large values end before this one: a tenth of all.
const LARGE_SLOTS_END: u16 = SLOTS / 10;
/// How often the balancer is asked whether it is done.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Args)]
pub(crate) struct Options {
    /// Shard threads.
    #[arg(long, default_value_t = 4)]
    shards: usize,
    /// Keys.
    #[arg(long, default_value_t = 300_000)]
    keys: u64,
    /// Bytes of a value in the first tenth of the slots.
    #[arg(long, default_value_t = 10_000)]
    large: usize,
    /// Bytes of all other values.
    #[arg(long, default_value_t = 100)]
    small: usize,
    /// `maxmemory` for the second part, in times what the data need: all of it fits, but the
    /// shard with the large values has only its share.
    #[arg(long, default_value_t = 1.5)]
    room: f64,
    /// The longest to wait for a level server.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    if options.shards < 2 {
        return Err("there is nothing to level with one shard".into());
    }
    println!(
        "{} shards, {} keys: {} B in slots 0-{}, {} B in the others\n",
        options.shards,
        options.keys,
        options.large,
        LARGE_SLOTS_END - 1,
        options.small
    );
    let used = level(options)?;
    println!();
    evictions(options, (used as f64 * options.room) as u64)
}

/// Lets the balancer loose on a full server; returns its `used_memory`.
fn level(options: &Options) -> Outcome<u64> {
    let server = start(options, &["--balancer-thread-mode", "off"])?;
    let mut client = server.connect()?;
    write_keys(&mut client, options)?;
    // At the balancer's next look.
    let limit = Duration::from_secs(options.seconds);
    let bytes = options.keys * options.small as u64;
    let seen = |client: &mut _| Ok(Skyline::now(client)?.bytes.iter().sum::<u64>() >= bytes);
    wait("seen", limit, &mut client, seen)?;
    let before = Skyline::now(&mut client)?;
    expect_ok(&client.call(&["CONFIG", "SET", "balancer-thread-mode", "auto"])?)?;
    let start = Instant::now();
    let level =
        |client: &mut _| Ok(!Skyline::now(client)?.is_busy && !Run::all(client)?.is_empty());
    wait("level", limit, &mut client, level)?;
    let (took, after) = (start.elapsed(), Skyline::now(&mut client)?);
    let table = Table::begin(&["", "fullest ÷ mean", "spread, points of capacity"]);
    for (name, skyline) in [("before", &before), ("after", &after)] {
        table.row(&[
            name.to_owned(),
            format!("{:.3}", skyline.fullest_over_mean()),
            format!("{:.2}", skyline.spread),
        ]);
    }
    println!();
    let table = Table::begin(&["plan", "moves", "bytes", "lower bound", "bytes ÷ bound"]);
    for run in Run::all(&mut client)? {
        table.row(&[
            run.id.to_string(),
            run.moves.to_string(),
            run.bytes.to_string(),
            run.lower_bound.to_string(),
            format!("{:.3}", run.bytes as f64 / run.lower_bound as f64),
        ]);
    }
    let reversals = info(&mut client, "balancer", "balancer_reversals")?;
    println!("\n{:.1} s from switching it on; {reversals} reversals", took.as_secs_f64());
    server.used_bytes()
}

/// Asks the server until it is `done`.
fn wait(
    what: &str,
    limit: Duration,
    client: &mut Client,
    done: impl Fn(&mut Client) -> Outcome<bool>,
) -> Outcome<()> {
    let start = Instant::now();
    while !done(client)? {
        if start.elapsed() > limit {
            return Err(format!("not {what} after {} s", limit.as_secs()).into());
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Fills a server whose fullest shard would overflow, with the balancer off and on.
fn evictions(options: &Options, maxmemory: u64) -> Outcome<()> {
    println!("The same keys written into a server with maxmemory {maxmemory}, allkeys-lru\n");
    let table = Table::begin(&["balancer", "evicted keys", "keys left"]);
    for mode in ["off", "auto"] {
        let maxmemory = maxmemory.to_string();
        let args = ["--maxmemory", &maxmemory, "--maxmemory-policy", "allkeys-lru"];
        // Each shard is held to its share, as nodes of a cluster are.
        let apart = ["--maxmemory-shard-percent", "100", "--balancer-thread-mode", mode];
        let args = [&args[..], &apart].concat();
        let server = start(options, &args)?;
        let mut client = server.connect()?;
        write_keys(&mut client, options)?;
        let left = integer(&client.call(&["DBSIZE"])?)?;
        let evicted = info(&mut client, "stats", "evicted_keys")?;
        table.row(&[mode.to_owned(), evicted.to_string(), left.to_string()]);
    }
    Ok(())
}

fn start(options: &Options, args: &[&str]) -> Outcome<Server> {
    let cores = format!("0-{}", thread::available_parallelism()?.get() - 1);
    Server::start(Which::Ballast { shards: options.shards }, &cores, args)
}

fn write_keys(client: &mut Client, options: &Options) -> Outcome<()> {
    let [large, small] = [options.large, options.small].map(|bytes| vec![b'v'; bytes]);
    fill(client, options.keys, |number| {
        let key = format!("key:{number:012}").into_bytes();
        let value = if key_slot(&key) < LARGE_SLOTS_END { &large } else { &small };
        vec![b"SET".to_vec(), key, value.clone()]
    })?;
    Ok(())
}

/// What `BALANCER STATUS` says of the shards.
struct Skyline {
    /// Of each shard.
    bytes: Vec<u64>,
    /// Between the fullest and the emptiest.
    spread: f64,
    /// A plan is under way, or may be about to be.
    is_busy: bool,
}

impl Skyline {
    fn now(client: &mut Client) -> Outcome<Skyline> {
        let status = client.call(&["BALANCER", "STATUS"])?;
        let Reply::Array(shards) = field(&status, "shards")? else {
            return Err("BALANCER STATUS names no shards".into());
        };
        let bytes = shards.iter().map(|shard| integer(field(shard, "bytes")?));
        let state = text(field(&status, "state")?)?;
        Ok(Skyline {
            bytes: bytes.collect::<Outcome<_>>()?,
            spread: text(field(field(&status, "memory")?, "spread")?)?.parse()?,
            is_busy: state != "idle" || integer(field(&status, "in-flight-moves")?)? > 0,
        })
    }

    fn fullest_over_mean(&self) -> f64 {
        let fullest = self.bytes.iter().max().copied().unwrap_or(0) as f64;
        fullest * self.bytes.len() as f64 / self.bytes.iter().sum::<u64>() as f64
    }
}

/// A plan that was carried out, as `BALANCER HISTORY` has it.
struct Run {
    id: u64,
    moves: u64,
    bytes: u64,
    lower_bound: u64,
}

impl Run {
    /// The oldest first.
    fn all(client: &mut Client) -> Outcome<Vec<Run>> {
        let Reply::Array(records) = client.call(&["BALANCER", "HISTORY"])? else {
            return Err("BALANCER HISTORY is no list".into());
        };
        let number = |record, name| integer(field(record, name)?);
        records
            .iter()
            .rev()
            .map(|record| {
                Ok(Run {
                    id: number(record, "id")?,
                    moves: number(record, "moves")?,
                    bytes: number(record, "bytes")?,
                    lower_bound: number(record, "lower-bound")?,
                })
            })
            .collect()
    }
}

fn expect_ok(reply: &Reply) -> Outcome<()> {
    match reply {
        Reply::Simple(_) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}
