//! What the balancer may do, and when. The values are read by name by the code that builds the
//! balancer's policy; the pairs are `start stop`, `shards nodes` or `fast slow`.

use crate::config::directive::{Directive, Kind};
use crate::config::value::Value;

pub(super) const BALANCER: &[Directive] = &[
    one_of("balancer-thread-mode", MODES, "auto", "What is done between the shards of a node."),
    one_of("balancer-node-mode", MODES, "auto", "What is done between nodes."),
    text(
        "balancer-windows",
        "always",
        "When slots may move, as `mon-fri 22:00-06:00; sat,sun 00:00-24:00`, always or never.",
    ),
    text("balancer-thread-windows", "inherit", "The same between shards; inherit = as above."),
    text("balancer-timezone", "UTC", "IANA time zone of the windows."),
    text("balancer-blackout", "", "Dates and ranges of dates without moves."),
    one_of(
        "balancer-window-close",
        &["finish", "pause", "abort"],
        "finish",
        "What happens to running moves when a window closes.",
    ),
    count("balancer-window-grace", "600", "How long `finish` may overrun.").unit("seconds"),
    falling("balancer-thread-memory", "10 5", "Spread of memory between shards: start, stop."),
    falling("balancer-thread-load", "10 5", "Spread of load between shards: start, stop."),
    falling("balancer-node-memory", "10 5", "Spread of memory between nodes: start, stop."),
    falling("balancer-node-load", "20 10", "Spread of load between nodes; 0 0 = memory only."),
    percent("balancer-load-min", "30", "No move for load while the hottest is below this."),
    percent("balancer-min-gain", "1", "Plans that gain less are not started."),
    Directive::int("balancer-confirm", (1, COUNT_MAX), "3", "Evaluations before a plan starts.")
        .read_by_name(),
    pair("balancer-interval", 1, "5 60", "Time between evaluations: shards, nodes.")
        .unit("seconds"),
    pair("balancer-load-window", 1, "15 120", "Averages of load: fast, slow.").unit("seconds"),
    pair("balancer-slot-cooldown", 0, "60 3600", "Rest of a moved slot: shards, nodes.")
        .unit("seconds"),
    Directive::int("balancer-thread-batch", (1, 16384), "64", "Slots moved in one round.")
        .read_by_name(),
    pair("balancer-node-concurrency", 1, "2 1", "Moves at a time: in the cluster, per node."),
    bytes("balancer-node-bandwidth", "64mb", "Bytes a second per node; 0 = unlimited."),
    bytes("balancer-node-chunk", "64mb", "Whole slots of this size are one step of a move."),
    bytes("balancer-node-bytes-per-window", "0", "Most bytes moved per window; 0 = unlimited."),
    count("balancer-latency-guard", "0", "p99 above which moves slow down; 0 = off.")
        .unit("milliseconds"),
    percent("balancer-target-fill", "85", "How full a move may make its target."),
    one_of(
        "balancer-emergency",
        &["off", "thread", "all"],
        "thread",
        "What may move outside windows when a shard is almost full.",
    ),
    falling("balancer-emergency-fill", "95 90", "Fill of an emergency: start, stop."),
    count("balancer-max-ranges", "0", "Most slot ranges of the cluster; 0 = 16 per node + 64."),
    bytes("balancer-capacity", "0", "Capacity of this node; 0 = maxmemory."),
    count("balancer-weight", "100", "Share of this node; 0 = accepts no slot."),
    count("balancer-plan-ttl", "900", "Age at which an approved plan lapses.").unit("seconds"),
    count("balancer-history-len", "128", "Plans that BALANCER HISTORY remembers."),
];

const MODES: &[&str] = &["off", "dryrun", "manual", "auto"];
const COUNT_MAX: i64 = u32::MAX as i64;

const fn one_of(
    name: &'static str,
    names: &'static [&'static str],
    default: &'static str,
    doc: &'static str,
) -> Directive {
    Directive::one_of(name, names, default, doc).read_by_name()
}

const fn text(name: &'static str, default: &'static str, doc: &'static str) -> Directive {
    Directive::text(name, default, doc).read_by_name()
}

const fn count(name: &'static str, default: &'static str, doc: &'static str) -> Directive {
    Directive::int(name, (0, COUNT_MAX), default, doc).read_by_name()
}

const fn percent(name: &'static str, default: &'static str, doc: &'static str) -> Directive {
    Directive::int(name, (0, 100), default, doc).unit("percent").read_by_name()
}

const fn bytes(name: &'static str, default: &'static str, doc: &'static str) -> Directive {
    Directive::bytes(name, (0, u64::MAX), default, doc).read_by_name()
}

const fn pair(name: &'static str, min: i64, default: &'static str, doc: &'static str) -> Directive {
    let kind = Kind::Numbers { count_min: 2, count_max: 2, min, max: COUNT_MAX };
    Directive::of(name, kind, default, doc).read_by_name()
}

/// Two percentages of which the second is lower; `0 0` switches the metric off.
const fn falling(name: &'static str, default: &'static str, doc: &'static str) -> Directive {
    let kind = Kind::Numbers { count_min: 2, count_max: 2, min: 0, max: 100 };
    Directive::of(name, kind, default, doc).unit("percent").check(stop_below_start).read_by_name()
}

fn stop_below_start(value: Value) -> Result<Value, String> {
    let numbers: Vec<i64> = value.words().iter().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [0, 0] => Ok(value),
        [start, stop] if stop < start => Ok(value),
        _ => Err("the second number (stop) must be below the first (start)".into()),
    }
}
