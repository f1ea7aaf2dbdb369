//! Shard threads, databases and what concerns the process as a whole.

use super::INT_MAX;
use crate::config::directive::{Directive, Kind};
use crate::config::settings::{Settings, ShutdownOptions};
use crate::config::value::Value;

/// More shard threads than this no machine needs.
const SHARDS_MAX: i64 = 1024;

/// Bounds that Redis applies to `hz` without an error.
const HZ_MIN: i64 = 1;
const HZ_MAX: i64 = 500;

pub(super) const SHARDS: &[Directive] = &[
    Directive::int("shards", (0, SHARDS_MAX), "0", "Shard threads; 0 = the machine's cores.")
        .startup()
        .field(|s, v| s.shards = shard_count(v.number())),
    Directive::int("databases", (1, INT_MAX), "16", "Databases that SELECT can choose from.")
        .startup()
        .caveat(only_16_databases)
        .field(|s, v| s.databases = v.number::<u32>().min(DATABASES_MAX)),
    Directive::int("hz", (0, INT_MAX), "10", "How often a shard does its periodic work.")
        .unit("per second")
        .check(|value| match value {
            Value::Int(hz) => Ok(Value::Int(hz.clamp(HZ_MIN, HZ_MAX))),
            other => Ok(other),
        })
        .field(|s, v| s.hz = v.number()),
    Directive::yes_no(
        "follow-slots",
        "yes",
        "Moves a connection to the shard that has the slots of all its commands.",
    )
    .field(|s, v| s.follow_slots = v.flag()),
    Directive::yes_no("dynamic-hz", "yes", "Raises `hz` while many clients are connected.")
        .without_effect("periodic work follows the load without it"),
    Directive::int(
        "active-expire-effort",
        (1, 10),
        "1",
        "How hard expired keys are looked for, from 1 (least) to 10.",
    )
    .without_effect("each slot knows its next expiry, so that no effort is spent on a search"),
    Directive::yes_no("activerehashing", "yes", "Rehashes big tables in idle time.")
        .without_effect("tables grow by splitting small segments, there is no long rehash"),
    Directive::int("io-threads", (1, 128), "1", "Threads that read and write sockets.")
        .startup()
        .without_effect("each shard thread serves its own connections; see `shards`"),
    Directive::yes_no("io-threads-do-reads", "no", "Lets I/O threads read and parse.")
        .startup()
        .without_effect("each shard thread serves its own connections; see `shards`"),
];

const DEPLOYMENT: &str = "the process stays in the foreground; run it under a service manager";
const CPU_LIST: &str = "threads are not pinned; use taskset or a service manager";
const DEBUGGING: &str = "it is a switch of Redis's own test suite";

pub(super) const PROCESS: &[Directive] = &[
    Directive::yes_no("daemonize", "no", "Goes to the background at start.")
        .startup()
        .without_effect(DEPLOYMENT),
    Directive::one_of(
        "supervised",
        &["upstart", "systemd", "auto", "no"],
        "no",
        "Tells a service manager when the server is ready.",
    )
    .startup()
    .without_effect("readiness is not signalled"),
    Directive::text("pidfile", "", "File that holds the process id.")
        .startup()
        .field(|s, v| s.pidfile = v.text_if_any().map(Into::into)),
    Directive::int("shutdown-timeout", (0, INT_MAX), "10", "Longest wait for replicas at the end.")
        .unit("seconds")
        .without_effect("there are no replicas yet"),
    shutdown_flags("shutdown-on-sigint", |s, v| s.shutdown_on_sigint = shutdown_options(v)),
    shutdown_flags("shutdown-on-sigterm", |s, v| s.shutdown_on_sigterm = shutdown_options(v)),
    Directive::yes_no("always-show-logo", "no", "Shows a logo at start.")
        .startup()
        .without_effect("there is no logo"),
    Directive::yes_no("set-proc-title", "yes", "Shows the state in the process title.")
        .startup()
        .without_effect("the process title is left alone"),
    Directive::text(
        "proc-title-template",
        "{title} {listen-addr} {server-mode}",
        "How the process title looks.",
    )
    .without_effect("the process title is left alone"),
    Directive::text("locale-collate", "", "Locale of string comparison in Lua.")
        .without_effect("strings compare by their bytes"),
    Directive::yes_no("lua-enable-deprecated-api", "no", "Keeps old Lua functions.")
        .startup()
        .hidden()
        .without_effect("old Lua functions are not offered"),
    Directive::text("server_cpulist", "", "Cores of the server threads.")
        .aliases(&["server-cpulist"])
        .startup()
        .without_effect(CPU_LIST),
    Directive::text("bio_cpulist", "", "Cores of the background threads.")
        .aliases(&["bio-cpulist"])
        .startup()
        .without_effect(CPU_LIST),
    Directive::text("aof_rewrite_cpulist", "", "Cores of the rewriting process.")
        .aliases(&["aof-rewrite-cpulist"])
        .startup()
        .without_effect(CPU_LIST),
    Directive::text("bgsave_cpulist", "", "Cores of the saving process.")
        .aliases(&["bgsave-cpulist"])
        .startup()
        .without_effect(CPU_LIST),
    Directive::one_of(
        "oom-score-adj",
        &["no", "yes", "relative", "absolute"],
        "no",
        "Adjusts which process the kernel ends when memory runs out.",
    )
    .without_effect("the score is left to the service manager"),
    Directive::of(
        "oom-score-adj-values",
        Kind::Numbers { count_min: 3, count_max: 3, min: -2000, max: 2000 },
        "0 200 800",
        "Scores of the primary, the replicas and the background processes.",
    )
    .without_effect("the score is left to the service manager"),
    Directive::yes_no("disable-thp", "yes", "Switches transparent huge pages off.")
        .startup()
        .without_effect("there is no fork that huge pages would slow down"),
    Directive::text("ignore-warnings", "", "Start-up warnings that are ignored.")
        .without_effect("no start-up check stops the server"),
    Directive::int("watchdog-period", (0, INT_MAX), "0", "Logs a stack when a call is slow.")
        .unit("milliseconds")
        .hidden()
        .without_effect(DEBUGGING),
    Directive::yes_no("use-exit-on-panic", "no", "Ends without a core dump.")
        .hidden()
        .without_effect(DEBUGGING),
];

const fn shutdown_flags(name: &'static str, field: fn(&mut Settings, &Value)) -> Directive {
    let names = &["default", "save", "nosave", "now", "force"];
    Directive::of(name, Kind::Flags(names), "default", "How this signal ends the server.")
        .check(not_both_save_and_nosave)
        .field(field)
}

fn shutdown_options(value: &Value) -> ShutdownOptions {
    let has = |flag: &str| value.words().iter().any(|word| word == flag);
    let saves = match (has("save"), has("nosave")) {
        (false, false) => None,
        (saves, _) => Some(saves),
    };
    ShutdownOptions { saves, is_forced: has("force") }
}

fn not_both_save_and_nosave(value: Value) -> Result<Value, String> {
    let has = |flag: &str| value.words().iter().any(|word| word == flag);
    if has("save") && has("nosave") {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
    }
    Ok(value)
}

/// Databases are keyspaces inside a slot, and a slot has room for 16.
const DATABASES_MAX: u32 = 16;

fn only_16_databases(value: &Value) -> Option<String> {
    let too_many = value.number::<u32>() > DATABASES_MAX;
    too_many.then(|| format!("there are only {DATABASES_MAX} databases"))
}

fn shard_count(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        shards => shards,
    }
}
