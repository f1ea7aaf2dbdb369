//! The one table of directives: name, default, documentation, how to parse and to render.

use super::value::{
    PolicyError, choice, length, number, pair, points, render_points, render_size,
    render_threshold, size, threshold, threshold_or_none,
};
use super::{Emergency, Mode, PerTier, Policy, ThreadWindows, WindowClose};
use crate::window::{parse_blackout, parse_windows, parse_zone, render_blackout, render_windows};

/// Longest time that a directive can name: ten years.
const SECONDS_MAX: u64 = 10 * 366 * 86_400;

const MODES: [&str; 4] = ["off", "dryrun", "manual", "auto"];
const MODE_VALUES: [Mode; 4] = [Mode::Off, Mode::Dryrun, Mode::Manual, Mode::Auto];
const CLOSES: [&str; 3] = ["finish", "pause", "abort"];
const CLOSE_VALUES: [WindowClose; 3] =
    [WindowClose::Finish, WindowClose::Pause, WindowClose::Abort];
const EMERGENCIES: [&str; 3] = ["off", "thread", "all"];
const EMERGENCY_VALUES: [Emergency; 3] = [Emergency::Off, Emergency::Thread, Emergency::All];

/// One directive of the configuration file.
#[derive(Debug)]
pub struct Directive {
    /// Its name, `balancer-…`.
    pub name: &'static str,
    /// Its default, as text.
    pub default: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Sets it from its text.
    pub parse: fn(&mut Policy, &str) -> Result<(), PolicyError>,
    /// Its text.
    pub render: fn(&Policy) -> String,
}

/// All directives, in the order of the documentation.
pub static DIRECTIVES: &[Directive] = &[
    Directive {
        name: "balancer-thread-mode",
        default: "auto",
        doc: "What the thread tier does on its own: off, dryrun, manual or auto.",
        parse: |p, v| {
            p.thread_mode = MODE_VALUES[choice(v, &MODES)?];
            Ok(())
        },
        render: |p| MODES[p.thread_mode as usize].to_owned(),
    },
    Directive {
        name: "balancer-node-mode",
        default: "auto",
        doc: "What the node tier does on its own: off, dryrun, manual or auto.",
        parse: |p, v| {
            p.node_mode = MODE_VALUES[choice(v, &MODES)?];
            Ok(())
        },
        render: |p| MODES[p.node_mode as usize].to_owned(),
    },
    Directive {
        name: "balancer-windows",
        default: "always",
        doc: "When work may start: always, never, or windows such as \
              \"mon-fri 22:00-06:00; sat,sun 00:00-24:00\".",
        parse: |p, v| {
            p.windows = parse_windows(v)?;
            Ok(())
        },
        render: |p| render_windows(&p.windows),
    },
    Directive {
        name: "balancer-thread-windows",
        default: "inherit",
        doc: "Windows of the thread tier: inherit, always, or windows.",
        parse: |p, v| {
            p.thread_windows = thread_windows(v)?;
            Ok(())
        },
        render: |p| render_thread_windows(&p.thread_windows),
    },
    Directive {
        name: "balancer-timezone",
        default: "UTC",
        doc: "IANA time zone of windows that name none; never the zone of the host.",
        parse: |p, v| {
            p.timezone = parse_zone(v)?;
            Ok(())
        },
        render: |p| p.timezone.iana_name().unwrap_or("UTC").to_owned(),
    },
    Directive {
        name: "balancer-blackout",
        default: "",
        doc: "Local dates on which nothing starts: \"2026-11-27..2026-11-30, 2026-12-24\".",
        parse: |p, v| {
            p.blackout = parse_blackout(v)?;
            Ok(())
        },
        render: |p| render_blackout(&p.blackout),
    },
    Directive {
        name: "balancer-window-close",
        default: "finish",
        doc: "What running node moves do when the window closes: finish, pause or abort.",
        parse: |p, v| {
            p.window_close = CLOSE_VALUES[choice(v, &CLOSES)?];
            Ok(())
        },
        render: |p| CLOSES[p.window_close as usize].to_owned(),
    },
    Directive {
        name: "balancer-window-grace",
        default: "600",
        doc: "Seconds a running node move may overrun the window before it is aborted.",
        parse: |p, v| {
            p.window_grace_s = number(v, 0, SECONDS_MAX)?;
            Ok(())
        },
        render: |p| p.window_grace_s.to_string(),
    },
    Directive {
        name: "balancer-thread-memory",
        default: "10 5",
        doc: "Thread tier, memory spread: start and stop, points of capacity.",
        parse: |p, v| {
            p.thread_memory = threshold(v)?;
            Ok(())
        },
        render: |p| render_threshold(p.thread_memory),
    },
    Directive {
        name: "balancer-thread-load",
        default: "10 5",
        doc: "Thread tier, load spread: start and stop, points of a thread's share of a core; \
              0 0 = memory only.",
        parse: |p, v| {
            p.thread_load = threshold_or_none(v)?;
            Ok(())
        },
        render: |p| render_threshold(p.thread_load),
    },
    Directive {
        name: "balancer-node-memory",
        default: "10 5",
        doc: "Node tier, memory spread: start and stop, points of capacity.",
        parse: |p, v| {
            p.node_memory = threshold(v)?;
            Ok(())
        },
        render: |p| render_threshold(p.node_memory),
    },
    Directive {
        name: "balancer-node-load",
        default: "20 10",
        doc: "Node tier, load spread: start and stop, points; 0 0 = memory only.",
        parse: |p, v| {
            p.node_load = threshold_or_none(v)?;
            Ok(())
        },
        render: |p| render_threshold(p.node_load),
    },
    Directive {
        name: "balancer-load-min",
        default: "30",
        doc: "Load is left alone while the busiest shard is below this per cent.",
        parse: |p, v| {
            p.load_min = points(v)?;
            Ok(())
        },
        render: |p| render_points(p.load_min),
    },
    Directive {
        name: "balancer-min-gain",
        default: "1",
        doc: "Points; plans that gain less are not started.",
        parse: |p, v| {
            p.min_gain = points(v)?;
            Ok(())
        },
        render: |p| render_points(p.min_gain),
    },
    Directive {
        name: "balancer-confirm",
        default: "3",
        doc: "Evaluations in a row over the start threshold before a plan starts.",
        parse: |p, v| {
            p.confirm = u32::try_from(number(v, 1, 1_000)?).unwrap_or(1);
            Ok(())
        },
        render: |p| p.confirm.to_string(),
    },
    Directive {
        name: "balancer-interval",
        default: "5 60",
        doc: "Seconds between evaluations: thread tier, node tier.",
        parse: |p, v| {
            p.interval_s = per_tier(v, 1, SECONDS_MAX)?;
            Ok(())
        },
        render: |p| render_per_tier(p.interval_s),
    },
    Directive {
        name: "balancer-load-window",
        default: "15 120",
        doc: "Seconds of the fast and the slow load average; eight times as long in the node tier.",
        parse: |p, v| {
            (p.load_window_fast_s, p.load_window_slow_s) = rising(v)?;
            Ok(())
        },
        render: |p| format!("{} {}", p.load_window_fast_s, p.load_window_slow_s),
    },
    Directive {
        name: "balancer-slot-cooldown",
        default: "60 3600",
        doc: "Seconds a moved slot stays where it is: thread tier, node tier.",
        parse: |p, v| {
            p.slot_cooldown_s = per_tier(v, 0, SECONDS_MAX)?;
            Ok(())
        },
        render: |p| render_per_tier(p.slot_cooldown_s),
    },
    Directive {
        name: "balancer-thread-batch",
        default: "64",
        doc: "Thread tier: slots handed over at a time; a plan's batches follow at once.",
        parse: |p, v| {
            p.thread_batch = length(v, 1, 16384)?;
            Ok(())
        },
        render: |p| p.thread_batch.to_string(),
    },
    Directive {
        name: "balancer-node-concurrency",
        default: "2 1",
        doc: "Node moves at a time: in the cluster, and per node and direction.",
        parse: |p, v| {
            (p.node_concurrency_cluster, p.node_concurrency_direction) = lengths(v, 1, 1_000)?;
            Ok(())
        },
        render: |p| format!("{} {}", p.node_concurrency_cluster, p.node_concurrency_direction),
    },
    Directive {
        name: "balancer-node-bandwidth",
        default: "64mb",
        doc: "Bytes a second of one node move; 0 = unlimited.",
        parse: |p, v| {
            p.node_bandwidth = size(v, 0)?;
            Ok(())
        },
        render: |p| render_size(p.node_bandwidth),
    },
    Directive {
        name: "balancer-node-chunk",
        default: "64mb",
        doc: "Bytes of whole slots that are committed together, at least one slot.",
        parse: |p, v| {
            p.node_chunk = size(v, 1)?;
            Ok(())
        },
        render: |p| render_size(p.node_chunk),
    },
    Directive {
        name: "balancer-node-bytes-per-window",
        default: "0",
        doc: "Bytes that node moves may start in one window; 0 = unlimited.",
        parse: |p, v| {
            p.node_bytes_per_window = size(v, 0)?;
            Ok(())
        },
        render: |p| render_size(p.node_bytes_per_window),
    },
    Directive {
        name: "balancer-latency-guard",
        default: "0",
        doc: "Milliseconds, 99th percentile: above it node moves run at half the rate; 0 = off.",
        parse: |p, v| {
            p.latency_guard_ms = number(v, 0, SECONDS_MAX)?;
            Ok(())
        },
        render: |p| p.latency_guard_ms.to_string(),
    },
    Directive {
        name: "balancer-target-fill",
        default: "85",
        doc: "Per cent of its capacity that a target may reach, moves in flight included.",
        parse: |p, v| {
            p.target_fill = positive_points(v)?;
            Ok(())
        },
        render: |p| render_points(p.target_fill),
    },
    Directive {
        name: "balancer-emergency",
        default: "thread",
        doc: "What may act outside windows when a shard is nearly full: off, thread or all.",
        parse: |p, v| {
            p.emergency = EMERGENCY_VALUES[choice(v, &EMERGENCIES)?];
            Ok(())
        },
        render: |p| EMERGENCIES[p.emergency as usize].to_owned(),
    },
    Directive {
        name: "balancer-emergency-fill",
        default: "95 90",
        doc: "Per cent of capacity at which an emergency starts and stops.",
        parse: |p, v| {
            p.emergency_fill = threshold(v)?;
            Ok(())
        },
        render: |p| render_threshold(p.emergency_fill),
    },
    Directive {
        name: "balancer-max-ranges",
        default: "0",
        doc: "Ranges the slot map may be cut into; 0 = 16 * nodes + 64.",
        parse: |p, v| {
            p.max_ranges = length(v, 0, 16384)?;
            Ok(())
        },
        render: |p| p.max_ranges.to_string(),
    },
    Directive {
        name: "balancer-capacity",
        default: "0",
        doc: "Bytes that count as full for this node; 0 = maxmemory, or the memory of the machine.",
        parse: |p, v| {
            p.capacity = size(v, 0)?;
            Ok(())
        },
        render: |p| render_size(p.capacity),
    },
    Directive {
        name: "balancer-weight",
        default: "100",
        doc: "Share of this node, per cent of its capacity; 0 = accepts nothing.",
        parse: |p, v| {
            p.weight = number(v, 0, 10_000)?;
            Ok(())
        },
        render: |p| p.weight.to_string(),
    },
    Directive {
        name: "balancer-plan-ttl",
        default: "900",
        doc: "Seconds after which a plan can no longer be applied.",
        parse: |p, v| {
            p.plan_ttl_s = number(v, 1, SECONDS_MAX)?;
            Ok(())
        },
        render: |p| p.plan_ttl_s.to_string(),
    },
    Directive {
        name: "balancer-history-len",
        default: "128",
        doc: "Entries that BALANCER HISTORY keeps.",
        parse: |p, v| {
            p.history_len = length(v, 1, 65536)?;
            Ok(())
        },
        render: |p| p.history_len.to_string(),
    },
];

/// The directive of that name, in any case.
pub(crate) fn find(name: &str) -> Result<&'static Directive, PolicyError> {
    DIRECTIVES
        .iter()
        .find(|directive| directive.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| PolicyError::Unknown(name.to_owned()))
}

fn thread_windows(value: &str) -> Result<ThreadWindows, PolicyError> {
    if value.eq_ignore_ascii_case("inherit") {
        return Ok(ThreadWindows::Inherit);
    }
    Ok(ThreadWindows::Own(parse_windows(value)?))
}

fn render_thread_windows(windows: &ThreadWindows) -> String {
    match windows {
        ThreadWindows::Inherit => "inherit".into(),
        ThreadWindows::Own(windows) => render_windows(windows),
    }
}

fn per_tier(value: &str, min: u64, max: u64) -> Result<PerTier, PolicyError> {
    let (thread, node) = pair(value)?;
    Ok(PerTier { thread: number(thread, min, max)?, node: number(node, min, max)? })
}

fn render_per_tier(value: PerTier) -> String {
    format!("{} {}", value.thread, value.node)
}

fn lengths(value: &str, min: usize, max: usize) -> Result<(usize, usize), PolicyError> {
    let (first, second) = pair(value)?;
    Ok((length(first, min, max)?, length(second, min, max)?))
}

/// Two times, the first not longer than the second.
fn rising(value: &str) -> Result<(u64, u64), PolicyError> {
    let (fast, slow) = pair(value)?;
    let slow = number(slow, 1, SECONDS_MAX)?;
    Ok((number(fast, 1, slow)?, slow))
}

fn positive_points(value: &str) -> Result<f64, PolicyError> {
    let parsed = points(value)?;
    if parsed > 0.0 {
        Ok(parsed)
    } else {
        Err(PolicyError::Number { value: value.to_owned(), min: 1, max: 100 })
    }
}
