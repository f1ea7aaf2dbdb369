//! What the server says about itself: `INFO` and `BALANCER`, over a connection like anybody's.

use std::io;
use std::net::SocketAddr;

use super::wire::{Wire, field, items, number, text};

/// One shard at one moment; counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ShardReading {
    pub(super) bytes: u64,
    pub(super) slots: u64,
    pub(super) commands: u64,
    pub(super) evicted: u64,
    pub(super) handed_over: u64,
    pub(super) adopted: u64,
    /// Points of a core, averaged by the balancer.
    pub(super) cpu: f64,
}

/// The server at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reading {
    /// Milliseconds since the demo began.
    pub(super) at_ms: u64,
    /// What one shard may hold.
    pub(super) capacity: u64,
    pub(super) shards: Vec<ShardReading>,
    pub(super) mode: String,
    pub(super) state: String,
    pub(super) reason: String,
    pub(super) window_open: bool,
    pub(super) windows: String,
    pub(super) queued_moves: u64,
    pub(super) queued_bytes: u64,
    pub(super) moves: u64,
    pub(super) moved_bytes: u64,
    pub(super) failed_moves: u64,
}

impl Reading {
    /// What the shard's bytes are of its capacity.
    pub(super) fn fill(&self, shard: &ShardReading) -> f64 {
        ratio(shard.bytes, self.capacity)
    }

    /// The fullest shard less the emptiest, points of capacity.
    pub(super) fn spread(&self) -> f64 {
        let fills = || self.shards.iter().map(|shard| self.fill(shard));
        let spread = fills().fold(0.0, f64::max) - fills().fold(f64::INFINITY, f64::min);
        spread.max(0.0) * 100.0
    }

    /// Keys evicted by all shards.
    pub(super) fn evicted(&self) -> u64 {
        self.shards.iter().map(|shard| shard.evicted).sum()
    }

    /// Takes in the text of `INFO memory shards balancer`.
    fn read_info(&mut self, info: &str) {
        for line in info.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            let count = || value.parse().unwrap_or(0);
            match name {
                "maxmemory_per_shard" => self.capacity = count(),
                "balancer_thread_mode" => value.clone_into(&mut self.mode),
                "balancer_thread_state" => value.clone_into(&mut self.state),
                "balancer_thread_reason" => value.clone_into(&mut self.reason),
                "balancer_window_open" => self.window_open = value == "1",
                "balancer_queued_moves" => self.queued_moves = count(),
                "balancer_queued_bytes" => self.queued_bytes = count(),
                "balancer_moves" => self.moves = count(),
                "balancer_moved_bytes" => self.moved_bytes = count(),
                "balancer_failed_moves" => self.failed_moves = count(),
                _ if value.contains("slots=") => self.shards.push(shard(value)),
                _ => {}
            }
        }
    }
}

/// `slots=4096,keys=…`
fn shard(fields: &str) -> ShardReading {
    let mut shard = ShardReading::default();
    for pair in fields.split(',') {
        let Some((name, value)) = pair.split_once('=') else { continue };
        let value = value.parse().unwrap_or(0);
        match name {
            "bytes" => shard.bytes = value,
            "slots" => shard.slots = value,
            "commands" => shard.commands = value,
            "evicted" => shard.evicted = value,
            "handed_over" => shard.handed_over = value,
            "adopted" => shard.adopted = value,
            _ => {}
        }
    }
    shard
}

/// A plan, as `BALANCER PLAN` answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PlanReading {
    pub(super) slots: u64,
    pub(super) bytes: u64,
    pub(super) lower_bound: u64,
    /// Points.
    pub(super) spread_before: f64,
    /// Points.
    pub(super) spread_after: f64,
    /// From, to, slots, bytes.
    pub(super) flows: Vec<(u16, u16, u64, u64)>,
    /// What else the balancer has to say.
    pub(super) notes: Vec<String>,
}

/// The operator's connection.
#[derive(Debug)]
pub(super) struct Operator {
    wire: Wire,
}

impl Operator {
    pub(super) async fn connect(address: SocketAddr) -> io::Result<Operator> {
        Ok(Operator { wire: Wire::connect(address).await? })
    }

    /// Looks at everything.
    pub(super) async fn read(&mut self, at_ms: u64) -> io::Result<Reading> {
        let mut reading = Reading { at_ms, ..Reading::default() };
        let info = self.wire.ask(&["INFO", "memory", "shards", "balancer"]).await?;
        reading.read_info(&text(&info));
        let status = self.wire.ask(&["BALANCER", "STATUS"]).await?;
        let shards = items(field(&status, "shards"));
        for (shard, status) in reading.shards.iter_mut().zip(shards) {
            shard.cpu = number(field(status, "cpu"));
        }
        let windows = self.wire.ask(&["CONFIG", "GET", "balancer-windows"]).await?;
        reading.windows = text(field(&windows, "balancer-windows"));
        Ok(reading)
    }

    /// What would be moved now.
    pub(super) async fn plan(&mut self) -> io::Result<PlanReading> {
        let reply = self.wire.ask(&["BALANCER", "PLAN"]).await?;
        let figure = |name| number(field(&reply, name));
        let mut plan = PlanReading {
            slots: whole(figure("slots")),
            bytes: whole(figure("bytes")),
            lower_bound: whole(figure("lower-bound")),
            spread_before: figure("spread-before"),
            spread_after: figure("spread-after"),
            flows: Vec::new(),
            notes: items(field(&reply, "notes")).iter().map(text).collect(),
        };
        let mut flows = std::collections::BTreeMap::new();
        for step in items(field(&reply, "moves")) {
            let end = |name| u16::try_from(whole(number(field(step, name)))).unwrap_or(u16::MAX);
            let flow = flows.entry((end("from"), end("to"))).or_insert((0_u64, 0_u64));
            flow.0 += slots_of(&text(field(step, "slots")));
            flow.1 += whole(number(field(step, "bytes")));
        }
        plan.flows =
            flows.into_iter().map(|((f, t), (slots, bytes))| (f, t, slots, bytes)).collect();
        Ok(plan)
    }

    /// Slots and bytes that were handed over at once so that a full shard need not evict, beside
    /// any plan.
    pub(super) async fn relief(&mut self) -> io::Result<(u64, u64)> {
        let reply = self.wire.ask(&["BALANCER", "HISTORY"]).await?;
        let mut relief = (0, 0);
        for record in items(&reply) {
            if text(field(record, "trigger")) == "relief" {
                relief.0 += whole(number(field(record, "moves")));
                relief.1 += whole(number(field(record, "bytes")));
            }
        }
        Ok(relief)
    }

    /// `CONFIG SET`.
    pub(super) async fn set(&mut self, directive: &str, value: &str) -> io::Result<()> {
        self.wire.ask(&["CONFIG", "SET", directive, value]).await.map(drop)
    }
}

/// `part / whole`; 0 if there is no whole.
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "figures to be shown")]
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn whole(number: f64) -> u64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let whole = number.max(0.0) as u64;
    whole
}

/// How many slots `12` or `12-30` are.
fn slots_of(range: &str) -> u64 {
    let mut ends = range.splitn(2, '-').map(|end| end.parse::<u64>().unwrap_or(0));
    let first = ends.next().unwrap_or(0);
    ends.next().unwrap_or(first).saturating_sub(first) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read() {
        let mut reading = Reading::default();
        reading.read_info(
            "# Memory\r\nmaxmemory_per_shard:1000\r\n\r\n# Shards\r\nshards:2\r\n\
             shard0:slots=8192,ranges=1,keys=3,bytes=990,clients=1,commands=70,cpu_us=0,\
             evicted=5,expired=0,handed_over=0,adopted=0,held=0,mailbox=0\r\n\
             shard1:slots=8192,ranges=1,keys=3,bytes=440,clients=1,commands=7,cpu_us=0,\
             evicted=0,expired=0,handed_over=2,adopted=1,held=0,mailbox=0\r\n\
             # Balancer\r\nbalancer_thread_state:queued\r\nbalancer_window_open:0\r\n\
             balancer_queued_moves:12\r\n",
        );
        assert_eq!(reading.shards.len(), 2);
        assert_eq!((reading.shards[0].evicted, reading.shards[1].adopted), (5, 1));
        assert!((reading.spread() - 55.0).abs() < 1e-9);
        assert_eq!((reading.state.as_str(), reading.queued_moves), ("queued", 12));
        assert!(!reading.window_open);
    }

    #[test]
    fn ranges_of_slots_are_counted() {
        assert_eq!((slots_of("12"), slots_of("12-30")), (1, 19));
    }
}
