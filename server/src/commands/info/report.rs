//! What the sections of `INFO` are written from.

use std::sync::Arc;

use super::ShardFacts;
use crate::node::Node;

/// The process and the shards' contributions.
pub(crate) struct Report {
    pub(crate) shared: Arc<Node>,
    pub(crate) shards: Vec<ShardFacts>,
    /// Messages that wait for each shard.
    pub(crate) waiting: Vec<usize>,
}

/// Appends lines `name:value`.
macro_rules! fields {
    ($text:expr, $($name:literal: $value:expr),* $(,)?) => {
        $(
            $text.push_str(concat!($name, ":"));
            $text.push_str(&$value.to_string());
            $text.push_str("\r\n");
        )*
    };
}
pub(crate) use fields;

/// Bytes as people read them, in Redis's way.
pub(crate) fn human(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
    let value = bytes as f64;
    match bytes {
        0..1024 => format!("{bytes}B"),
        1024..0x10_0000 => format!("{:.2}K", value / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.2}M", value / f64::from(1 << 20)),
        _ => format!("{:.2}G", value / f64::from(1 << 30)),
    }
}

/// `part / whole`, 0 if there is no whole.
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
    let (part, whole) = (part as f64, whole as f64);
    if whole == 0.0 { 0.0 } else { part / whole }
}

/// A field of `/proc/self/status` in bytes.
pub(crate) fn process_status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

/// User and system CPU seconds of the process.
pub(crate) fn cpu_seconds() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    match ticks[..] {
        [user, system] => (user / 100.0, system / 100.0),
        _ => (0.0, 0.0),
    }
}

/// Memory of the machine in bytes.
pub(crate) fn machine_memory() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    info.lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}
