//! A server with nothing to do.

use std::thread;
use std::time::Duration;

use clap::Args;

use crate::Outcome;
use crate::server::{Server, Which};
use crate::table::Table;

#[derive(Args)]
pub(crate) struct Options {
    /// How long to look.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Shard threads of Ballast.
    #[arg(long, default_value_t = 1)]
    shards: usize,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    println!("An idle server over {} s\n", options.seconds);
    let table = Table::begin(&["server", "CPU %", "RSS MiB", "used KiB"]);
    for which in [Which::Redis, Which::Ballast { shards: options.shards }] {
        let server = Server::start(which, "0,1", &[])?;
        let before = server.cpu_us()?;
        thread::sleep(Duration::from_secs(options.seconds));
        let spent = (server.cpu_us()? - before) as f64 / (options.seconds as f64 * 1e6);
        table.row(&[
            which.name().to_owned(),
            format!("{:.2}", spent * 100.0),
            format!("{:.1}", server.rss_bytes()? as f64 / f64::from(1 << 20)),
            (server.used_bytes()? >> 10).to_string(),
        ]);
    }
    Ok(())
}
