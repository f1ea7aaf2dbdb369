//! Load: redis-benchmark and what it reports, and a writer of our own for filling.

use std::io;
use std::process::Command;

use ballast_tests::support::{Client, Reply};

use crate::Outcome;
use crate::server::Server;

/// Commands in one write when filling.
const FILL_BATCH: u64 = 1_000;

/// One run of redis-benchmark.
pub(crate) struct Drive<'a> {
    /// The cores that it may use.
    pub(crate) cores: &'a str,
    /// A name that `redis-benchmark -t` knows.
    pub(crate) test: &'a str,
    pub(crate) clients: u32,
    pub(crate) requests: u64,
    pub(crate) keys: u64,
    pub(crate) value_bytes: usize,
    pub(crate) pipeline: u32,
}

/// What came of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) ops_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    /// CPU time of the server for one operation.
    pub(crate) cpu_us: f64,
}

impl Drive<'_> {
    /// Runs it, and reads the server's CPU time before and after.
    pub(crate) fn run(&self, server: &Server) -> Outcome<Measured> {
        let mut command = Command::new("taskset");
        command.args(["-c", self.cores, "redis-benchmark", "--precision", "3"]);
        command.args(["-h", "127.0.0.1", "-p", &server.port().to_string(), "-t", self.test]);
        command.args(["-c", &self.clients.to_string(), "-n", &self.requests.to_string()]);
        command.args(["-r", &self.keys.to_string(), "-d", &self.value_bytes.to_string()]);
        command.args(["-P", &self.pipeline.to_string()]);
        let before = server.cpu_us()?;
        let output = command.output()?;
        let spent = server.cpu_us()? - before;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut measured = parse(&text).ok_or_else(|| {
            let errors = String::from_utf8_lossy(&output.stderr);
            let end: String = text.chars().rev().take(300).collect();
            let end: String = end.chars().rev().collect();
            format!("{}: redis-benchmark -t {}: {end} {errors}", server.name, self.test)
        })?;
        measured.cpu_us = spent as f64 / self.requests as f64;
        Ok(measured)
    }
}

/// Reads the last report in the text: some tests (`lrange_100`) fill first, with a report of it.
fn parse(text: &str) -> Option<Measured> {
    let report = text.rsplit("====== ").next()?;
    let after = |mark: &str| report.split(mark).nth(1);
    let ops_per_second = after("throughput summary: ")?.split_whitespace().next()?.parse().ok()?;
    let summary = after("latency summary (msec):")?.lines().nth(2)?;
    let numbers: Vec<f64> = summary.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let [_average, _min, p50_ms, _p95, p99_ms, _max] = numbers[..] else { return None };
    let percentiles = after("Latency by percentile distribution:")?;
    let p999_ms = percentiles.lines().find_map(|line| {
        let (percent, rest) = line.split_once("% <= ")?;
        let percent: f64 = percent.trim().parse().ok()?;
        (percent >= 99.9).then(|| rest.split_whitespace().next()?.parse().ok())?
    })?;
    Some(Measured { ops_per_second, p50_ms, p99_ms, p999_ms, cpu_us: 0.0 })
}

/// Sends `count` commands, made by `command` from their number, in large writes.
///
/// # Errors
/// An error reply ends the filling.
pub(crate) fn fill(
    client: &mut Client,
    count: u64,
    mut command: impl FnMut(u64) -> Vec<Vec<u8>>,
) -> io::Result<()> {
    let mut next = 0;
    while next < count {
        let end = (next + FILL_BATCH).min(count);
        let batch: Vec<_> = (next..end).map(&mut command).collect();
        for reply in client.pipeline(&batch)? {
            if let Reply::Error(text) = reply {
                return Err(io::Error::other(String::from_utf8_lossy(&text).into_owned()));
            }
        }
        next = end;
    }
    Ok(())
}

/// The keys that redis-benchmark draws from with `-r`.
pub(crate) fn fill_benchmark_keys(
    server: &Server,
    keys: u64,
    value_bytes: usize,
) -> io::Result<()> {
    let value = vec![b'v'; value_bytes];
    fill(&mut server.connect()?, keys, |number| {
        vec![b"SET".to_vec(), format!("key:{number:012}").into_bytes(), value.clone()]
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_last_report_of_redis_benchmark_is_read() {
        let report = [
            "====== GET ======\n  100000 requests completed in 0.90 seconds\n",
            "Latency by percentile distribution:",
            "0.000% <= 0.079 milliseconds (cumulative count 2)",
            "99.805% <= 0.431 milliseconds (cumulative count 99814)",
            "99.902% <= 0.519 milliseconds (cumulative count 99903)\n",
            "Cumulative distribution of latencies:",
            "99.950% <= 0.603 milliseconds (cumulative count 99950)\n",
            "Summary:\n  throughput summary: 111358.58 requests per second",
            "  latency summary (msec):",
            "          avg       min       p50       p95       p99       max",
            "        0.241     0.072     0.239     0.303     0.367     1.007\n",
        ];
        let report = report.join("\n");
        let text = format!("====== LPUSH (needed to benchmark LRANGE) ======\nx\n{report}");
        let measured = parse(&text).expect("a report");
        assert!((measured.ops_per_second - 111_358.58).abs() < 1e-6);
        assert!((measured.p99_ms - 0.367).abs() < 1e-9);
        assert!((measured.p999_ms - 0.519).abs() < 1e-9);
    }
}
