//! The log, the slow log, latency and keyspace events.

use crate::config::directive::{Directive, Kind};
use crate::config::settings::{LogLevel, Settings};
use crate::config::value::Value;

const SYSLOG: &str = "the log goes to `logfile` or standard output";
const CRASH_LOG: &str = "a crash is logged by the Rust runtime";

pub(super) const OBSERVING: &[Directive] = &[
    Directive::one_of("loglevel", LogLevel::NAMES, "notice", "How much is logged.")
        .field(|s, v| s.loglevel = LogLevel::named(v.text())),
    Directive::text("logfile", "", "File to log to; empty = standard output.")
        .startup()
        .field(|s, v| s.logfile = v.text_if_any().map(Into::into)),
    Directive::yes_no("syslog-enabled", "no", "Logs to the system log.")
        .startup()
        .without_effect(SYSLOG),
    Directive::text("syslog-ident", "redis", "Name in the system log.")
        .startup()
        .without_effect(SYSLOG),
    Directive::one_of(
        "syslog-facility",
        &["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"],
        "local0",
        "Facility in the system log.",
    )
    .startup()
    .without_effect(SYSLOG),
    Directive::yes_no("hide-user-data-from-log", "no", "Keeps keys and values out of the log.")
        .without_effect("keys and values are never logged"),
    Directive::yes_no("crash-log-enabled", "yes", "Logs a report when the server crashes.")
        .without_effect(CRASH_LOG),
    Directive::yes_no("crash-memcheck-enabled", "yes", "Tests memory when the server crashes.")
        .without_effect(CRASH_LOG),
    Directive::int(
        "slowlog-log-slower-than",
        (-1, i64::MAX),
        "10000",
        "Commands that take longer enter the slow log; -1 = none, 0 = all.",
    )
    .unit("microseconds")
    .field(|s, v| s.slowlog_log_slower_than_us = v.number()),
    Directive::int("slowlog-max-len", (0, i64::MAX), "128", "Most entries of the slow log.")
        .field(|s, v| s.slowlog_max_len = v.number()),
    Directive::int(
        "latency-monitor-threshold",
        (0, i64::MAX),
        "0",
        "Events that take longer are kept for LATENCY; 0 = none.",
    )
    .unit("milliseconds")
    .field(|s, v| s.latency_monitor_threshold_ms = v.number()),
    Directive::yes_no("latency-tracking", "yes", "Keeps a latency histogram per command.")
        .field(|s, v| s.latency_tracking = v.flag()),
    Directive::of(
        "latency-tracking-info-percentiles",
        Kind::Percentiles,
        "50 99 99.9",
        "Percentiles that INFO latencystats shows.",
    )
    .field(store_percentiles),
    Directive::of(
        "notify-keyspace-events",
        Kind::KeyspaceEvents,
        "",
        "Which keyspace events are published; empty = none.",
    )
    .field(|s, v| s.notify_keyspace_events = v.events()),
];

fn store_percentiles(settings: &mut Settings, value: &Value) {
    settings.latency_tracking_info_percentiles =
        value.words().iter().filter_map(|word| word.parse().ok()).collect();
}
