//! The two servers as benches see them: started on chosen cores, with what the kernel counts.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::process::Command;

use ballast_tests::support::{Client, Kind, Process, Target};
use clap::Args;

use crate::Outcome;
use crate::reply::info;

/// The kernel counts CPU time in ticks of this many microseconds (`USER_HZ` is 100 everywhere).
const TICK_US: u64 = 10_000;

/// A running server.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    process: Process,
}

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Redis,
    Ballast {
        shards: usize,
    },
    /// Ballast built to keep no accounts.
    Unaccounted {
        shards: usize,
    },
    /// Another build of Ballast, or the same with other directives.
    Reference {
        shards: usize,
    },
}

/// Which servers are measured beside each other.
#[derive(Args)]
pub(crate) struct Pair {
    /// Directives of Ballast, as on its command line.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    directives: String,
    /// Takes the place of redis-server: a Ballast with these directives; the program is
    /// `$BALLAST_REFERENCE`, or the same.
    #[arg(long, allow_hyphen_values = true)]
    reference: Option<String>,
}

impl Pair {
    /// The server that is compared with, and Ballast.
    pub(crate) fn start(&self, shards: usize, cores: &str) -> Outcome<[Server; 2]> {
        let (which, other) = match &self.reference {
            None => (Which::Redis, ""),
            Some(directives) => (Which::Reference { shards }, directives.as_str()),
        };
        let start = |which, directives: &str| {
            Server::start(which, cores, &directives.split_whitespace().collect::<Vec<_>>())
        };
        Ok([start(which, other)?, start(Which::Ballast { shards }, &self.directives)?])
    }
}

/// The cores of a server and of its client, as `taskset -c` takes them: one shard runs on core 0
/// with the client on core 1; more share the cores with the client.
pub(crate) fn cores_of(shards: usize) -> [String; 2] {
    match shards {
        1 => ["0".to_owned(), "1".to_owned()],
        shards => [(); 2].map(|()| format!("0-{}", shards - 1)),
    }
}

/// Moves this process to some cores: beside a server on core 0 a client of ours would measure, in
/// turns and without a notice, what it costs to be on the same core and to wake the other.
pub(crate) fn move_to(cores: &str) -> Outcome<()> {
    let id = std::process::id().to_string();
    let moved = Command::new("taskset").args(["-c", "-p", cores, &id]).output()?;
    if !moved.status.success() {
        return Err(String::from_utf8_lossy(&moved.stderr).trim().to_owned().into());
    }
    Ok(())
}

impl Which {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Which::Redis => "redis",
            Which::Ballast { .. } => "ballast",
            Which::Unaccounted { .. } => "unaccounted",
            Which::Reference { .. } => "reference",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Which::Redis => Kind::Redis,
            Which::Ballast { shards } => Kind::Ballast { shards },
            Which::Unaccounted { shards } => Kind::Unaccounted { shards },
            Which::Reference { shards } => Kind::Reference { shards },
        }
    }
}

impl Server {
    /// Starts a server on the cores named as `taskset -c` takes them.
    pub(crate) fn start(which: Which, cores: &str, args: &[&str]) -> Outcome<Server> {
        Server::start_under(which, &["taskset", "-c", cores], args)
    }

    /// Starts a server under other programs.
    pub(crate) fn start_under(which: Which, wrapper: &[&str], args: &[&str]) -> Outcome<Server> {
        let process = Process::start_under(wrapper, &which.kind(), args)
            .map_err(|error| format!("{} does not start: {error}", which.name()))?;
        Ok(Server { name: which.name(), process })
    }

    pub(crate) fn connect(&self) -> io::Result<Client> {
        self.process.connect()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address().port()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.process.address()
    }

    /// Where it runs; files that it or its wrapper leaves are here until it is dropped.
    pub(crate) fn directory(&self) -> &std::path::Path {
        self.process.directory()
    }

    pub(crate) fn terminate(&mut self) -> io::Result<()> {
        self.process.terminate().map(|_| ())
    }

    /// User and system time so far.
    pub(crate) fn cpu_us(&self) -> Outcome<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // The name in brackets may hold spaces; utime and stime are fields 14 and 15.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: Vec<u64> =
            fields.skip(11).take(2).filter_map(|text| text.parse().ok()).collect();
        Ok(ticks.iter().sum::<u64>() * TICK_US)
    }

    /// Resident memory.
    pub(crate) fn rss_bytes(&self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()).ok_or("no VmRSS")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// `used_memory` of INFO.
    pub(crate) fn used_bytes(&self) -> Outcome<u64> {
        Ok(info(&mut self.connect()?, "memory", "used_memory")?.parse()?)
    }
}
