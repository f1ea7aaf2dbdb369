//! The two servers as benches see them: started on chosen cores, with what the kernel counts.

use std::fs;
use std::io;

use ballast_tests::support::{Client, Kind, Process, Target};

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
}

impl Which {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Which::Redis => "redis",
            Which::Ballast { .. } => "ballast",
            Which::Unaccounted { .. } => "unaccounted",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Which::Redis => Kind::Redis,
            Which::Ballast { shards } => Kind::Ballast { shards },
            Which::Unaccounted { shards } => Kind::Unaccounted { shards },
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
        self.process.address().port()
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
