//! Latency at a fixed rate of writes while the keys become more, and when they do not.

use std::time::{Duration, Instant};

use ballast_tests::support::Client;
use clap::Args;
use hdrhistogram::Histogram;

use crate::Outcome;
use crate::reply::integer;
use crate::server::{Server, Which};
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
    let table =
        Table::begin(&["server", "keys", "p50", "p99", "p99.9", "p99.99", "max", "ran over 1 ms"]);
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
            for (what, spread) in [("new", 0), ("existing", 7_919)] {
                // A step coprime to the count visits every key once, in another order.
                let name = |number: u64| {
                    let number = if spread == 0 { number } else { number * spread % options.keys };
                    format!("key:{tag}{number:012}").into_bytes()
                };
                let latencies = paced(&mut client, options, name)?;
                let what = format!("{what}{}", if tag.is_empty() { "" } else { ", one hash tag" });
                let slow = slow_commands(&mut client)?;
                table.row(&row(which.name(), &what, &latencies, slow));
            }
        }
    }
    Ok(())
}

/// Sends what is due every tick and waits for its replies. A tick that begins late because the
/// server held up the one before counts from when it was due.
fn paced(
    client: &mut Client,
    options: &Options,
    name: impl Fn(u64) -> Vec<u8>,
) -> Outcome<Histogram<u64>> {
    let mut latencies = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
    let batch = options.rate * TICK.as_millis() as u64 / 1000;
    let batch = batch.max(1);
    let start = Instant::now();
    let mut sent = 0;
    let mut ticks = 0;
    while sent < options.keys {
        let due = start + TICK * ticks;
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        let end = (sent + batch).min(options.keys);
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

fn row(server: &str, keys: &str, latencies: &Histogram<u64>, slow: u64) -> Vec<String> {
    let at =
        |quantile: f64| format!("{:.2}", latencies.value_at_quantile(quantile) as f64 / 1000.0);
    vec![
        server.to_owned(),
        keys.to_owned(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(0.9999),
        format!("{:.2}", latencies.max() as f64 / 1000.0),
        slow.to_string(),
    ]
}
