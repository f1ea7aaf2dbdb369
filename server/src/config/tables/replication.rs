//! Replicas.

use super::INT_MAX;
use crate::config::directive::{Directive, Kind, Refusal};
use crate::config::value::Value;

const REPLICAS: &str = "replicas are not supported yet";
const NO_REPLICAS: Refusal =
    Refusal::new(REPLICAS, "run a single node and remove the line, or use Redis");

pub(super) const REPLICATION: &[Directive] = &[
    Directive::of("replicaof", Kind::List, "", "Host and port of the primary; empty = none.")
        .aliases(&["slaveof"])
        .startup()
        .check(host_and_port)
        .refused(NO_REPLICAS),
    Directive::text("masterauth", "", "Password for the primary.").secret().refused(NO_REPLICAS),
    Directive::text("masteruser", "", "User name for the primary.").secret().refused(NO_REPLICAS),
    Directive::text("replica-announce-ip", "", "Address that a replica tells the primary.")
        .aliases(&["slave-announce-ip"])
        .without_effect(REPLICAS),
    Directive::int("replica-announce-port", (0, 65535), "0", "Port that a replica tells.")
        .aliases(&["slave-announce-port"])
        .without_effect(REPLICAS),
    Directive::yes_no("replica-announced", "yes", "Shows this replica to Sentinel.")
        .without_effect(REPLICAS),
    Directive::int("replica-priority", (0, INT_MAX), "100", "Rank for promotion by Sentinel.")
        .aliases(&["slave-priority"])
        .without_effect(REPLICAS),
    Directive::yes_no("replica-read-only", "yes", "Refuses writes on a replica.")
        .aliases(&["slave-read-only"])
        .without_effect(REPLICAS),
    Directive::yes_no("replica-serve-stale-data", "yes", "Answers while the primary is away.")
        .aliases(&["slave-serve-stale-data"])
        .without_effect(REPLICAS),
    Directive::yes_no("replica-lazy-flush", "no", "Empties a replica in the background.")
        .aliases(&["slave-lazy-flush"])
        .without_effect(REPLICAS),
    Directive::yes_no("replica-ignore-maxmemory", "yes", "Leaves eviction to the primary.")
        .aliases(&["slave-ignore-maxmemory"])
        .without_effect(REPLICAS),
    Directive::yes_no("replica-ignore-disk-write-errors", "no", "Goes on when the disk fails.")
        .without_effect(REPLICAS),
    Directive::yes_no("close-on-replica-write", "yes", "Closes a link that wrote too much.")
        .hidden()
        .without_effect(REPLICAS),
    Directive::one_of(
        "propagation-error-behavior",
        &["ignore", "panic", "panic-on-replicas"],
        "ignore",
        "What a replica does with a command that fails.",
    )
    .without_effect(REPLICAS),
    Directive::int("min-replicas-to-write", (0, INT_MAX), "0", "Replicas needed for writes.")
        .aliases(&["min-slaves-to-write"])
        .refused(NO_REPLICAS),
    Directive::int("min-replicas-max-lag", (0, INT_MAX), "10", "Lag of a replica that counts.")
        .aliases(&["min-slaves-max-lag"])
        .unit("seconds")
        .without_effect(REPLICAS),
    Directive::bytes(
        "repl-backlog-size",
        (1, i64::MAX as u64),
        "1mb",
        "Memory of recent writes for replicas that come back.",
    )
    .without_effect(REPLICAS),
    Directive::int("repl-backlog-ttl", (0, i64::MAX), "3600", "Keeps the recent writes so long.")
        .unit("seconds")
        .without_effect(REPLICAS),
    Directive::int("repl-timeout", (1, INT_MAX), "60", "Silence after which a link is dead.")
        .unit("seconds")
        .without_effect(REPLICAS),
    Directive::int("repl-ping-replica-period", (1, INT_MAX), "10", "Interval of pings.")
        .aliases(&["repl-ping-slave-period"])
        .unit("seconds")
        .without_effect(REPLICAS),
    Directive::yes_no("repl-disable-tcp-nodelay", "no", "Sends to replicas in larger packets.")
        .without_effect(REPLICAS),
    Directive::yes_no("repl-diskless-sync", "yes", "Sends snapshots without a file.")
        .without_effect(REPLICAS),
    Directive::int("repl-diskless-sync-delay", (0, INT_MAX), "5", "Waits for more replicas.")
        .unit("seconds")
        .without_effect(REPLICAS),
    Directive::int(
        "repl-diskless-sync-max-replicas",
        (0, INT_MAX),
        "0",
        "Replicas after which the wait ends; 0 = the delay alone.",
    )
    .without_effect(REPLICAS),
    Directive::one_of(
        "repl-diskless-load",
        &["disabled", "on-empty-db", "swapdb"],
        "disabled",
        "How a replica loads a snapshot from the link.",
    )
    .without_effect(REPLICAS),
];

/// `host port`; `no one` means none.
fn host_and_port(value: Value) -> Result<Value, String> {
    let port_is_valid = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    match value.words() {
        [] => Ok(value),
        [no, one] if no.eq_ignore_ascii_case("no") && one.eq_ignore_ascii_case("one") => {
            Ok(Value::Words(Vec::new()))
        }
        [_, port] if port_is_valid(port) => Ok(value),
        [_, _] => Err("Invalid master port".into()),
        _ => Err("wrong number of arguments".into()),
    }
}
