//! Latency at a fixed rate of writes while the keys become more, and when they do not.

use std::ops::Range;
use std::time::{Duration, Instant};

use ballast_tests::support::Client;
use clap::Args;
use hdrhistogram::Histogram;

use crate::Outcome;
use crate::reply::integer;
use crate::server::{Server, Which, move_to};
use crate::table::Table;

/// Commands are due in groups of a millisecond.
const TICK: Duration = Duration::from_millis(1);
const VALUE: &[u8] = &[b'v'; 100];

#[derive(Args)]
pub(crate) struct Options {
    /// Keys in the end.
    #[arg(long, default_value_t = 4_000_000)]
    keys: u64,
    /// SETs a second.
    #[arg(long, default_value_t = 50_000)]
    rate: u64,
    /// Ballast only.
    #[arg(long)]
    alone: bool,
    /// Servers run ahead of all other programs of the machine (`chrt --fifo`, which takes the
    /// right to do so): what is left is their own doing, and that of the machine itself.
    #[arg(long)]
    realtime: bool,
}

/// A server's slow log keeps what it ran for longer: one millisecond, which Ballast then measures
/// for every command.
const SLOW_US: &str = "999";

pub(crate) fn run(options: &Options) -> Outcome<()> {
    println!(
        "Milliseconds from when a SET was due to its reply: {} a second, {} keys, 100 B values\n",
        options.rate, options.keys
    );
    move_to("1")?;
    let table = Table::begin(&[
        "server",
        "keys",
        "p50",
        "p99",
        "p99.9",
        "median round",
        "p99.99",
        "max",
        "ran over 1 ms",
    ]);
    let wrapper: &[&str] = if options.realtime {
        &["chrt", "--fifo", "1", "taskset", "-c", "0"]
    } else {
        &["taskset", "-c", "0"]
    };
    let servers = [Which::Redis, Which::Ballast { shards: 1 }];
    for which in servers.into_iter().skip(usize::from(options.alone)) {
        for tag in ["", "{tag}"] {
            let arguments = ["--slowlog-log-slower-than", SLOW_US];
            let server = Server::start_under(which, wrapper, &arguments)?;
            let mut client = server.connect()?;
            let (mut new, mut existing) = (Phase::new("new", tag)?, Phase::new("existing", tag)?);
            let name = |number: u64| format!("key:{tag}{number:012}").into_bytes();
            for round in 0..ROUNDS {
                let [start, end] = [round, round + 1].map(|part| options.keys * part / ROUNDS);
                new.round(&mut client, options.rate, start..end, name)?;
                // As many of those that there are by now, in another order.
                let scattered = |number: u64| name(number.wrapping_mul(STEP) % end);
                existing.round(&mut client, options.rate, start..end, scattered)?;
            }
            table.row(&new.row(which.name())?);
            table.row(&existing.row(which.name())?);
        }
    }
    Ok(())
}

/// Writes of new keys and of existing ones take turns, so that both see the same machine.
const ROUNDS: u64 = 16;
/// A prime, to visit keys in an order that is not theirs.
const STEP: u64 = 7_919;

/// One of the two loads on a server, over all rounds.
struct Phase {
    what: String,
    latencies: Histogram<u64>,
    /// The p99.9 of each round, microseconds.
    rounds: Vec<u64>,
    slow: u64,
}

impl Phase {
    fn new(what: &str, tag: &str) -> Outcome<Phase> {
        let what = format!("{what}{}", if tag.is_empty() { "" } else { ", one hash tag" });
        Ok(Phase { what, latencies: histogram()?, rounds: Vec::new(), slow: 0 })
    }

    fn round(
        &mut self,
        client: &mut Client,
        rate: u64,
        numbers: Range<u64>,
        name: impl Fn(u64) -> Vec<u8>,
    ) -> Outcome<()> {
        let latencies = paced(client, rate, numbers, name)?;
        self.rounds.push(latencies.value_at_quantile(0.999));
        self.latencies.add(&latencies)?;
        self.slow += slow_commands(client)?;
        Ok(())
    }

    fn row(&mut self, server: &str) -> Outcome<Vec<String>> {
        let ms = |us: u64| format!("{:.2}", us as f64 / 1000.0);
        let at = |quantile: f64| ms(self.latencies.value_at_quantile(quantile));
        self.rounds.sort_unstable();
        let of_a_round = self.rounds.get(self.rounds.len() / 2).ok_or("no round")?;
        Ok(vec![
            server.to_owned(),
            self.what.clone(),
            at(0.5),
            at(0.99),
            at(0.999),
            ms(*of_a_round),
            at(0.9999),
            ms(self.latencies.max()),
            self.slow.to_string(),
        ])
    }
}

fn histogram() -> Outcome<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

/// Sends what is due every tick and waits for its replies. A tick that begins late because the
/// server held up the one before counts from when it was due.
fn paced(
    client: &mut Client,
    rate: u64,
    numbers: Range<u64>,
    name: impl Fn(u64) -> Vec<u8>,
) -> Outcome<Histogram<u64>> {
    let mut latencies = histogram()?;
    let batch = rate * TICK.as_millis() as u64 / 1000;
    let batch = batch.max(1);
    let start = Instant::now();
    let mut sent = numbers.start;
    let mut ticks = 0;
    while sent < numbers.end {
        let due = start + TICK * ticks;
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        let end = (sent + batch).min(numbers.end);
        let commands: Vec<Vec<Vec<u8>>> =
            (sent..end).map(|number| vec![b"SET".to_vec(), name(number), VALUE.to_vec()]).collect();
        client.pipeline(&commands)?;
        latencies.record_n(due.elapsed().as_micros().max(1) as u64, end - sent)?;
        sent = end;
        ticks += 1;
    }
    Ok(latencies)
}

/// How many commands the server ran for longer than [`SLOW_US`] since it was last asked, up to as
/// many as its slow log keeps.
fn slow_commands(client: &mut Client) -> Outcome<u64> {
    let count = integer(&client.call(&["SLOWLOG", "LEN"])?)?;
    client.call(&["SLOWLOG", "RESET"])?;
    Ok(count)
}
