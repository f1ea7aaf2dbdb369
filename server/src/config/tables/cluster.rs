//! The node's place in a cluster.

use super::INT_MAX;
use crate::config::directive::{Directive, Refusal};
use crate::config::value::Value;

const NO_CLUSTER: &str = "there is no cluster yet";
const RAFT: &str = "the cluster agrees by Raft, which has no such choice";
const REPLICAS: &str = "replicas are not supported yet";

pub(super) const CLUSTER: &[Directive] = &[
    Directive::yes_no("cluster-enabled", "no", "Starts as a node of a cluster.")
        .startup()
        .refused(Refusal::new(
            "there is no cluster yet",
            "start one node with `cluster-enabled no`; `shards` spreads it over the cores",
        ))
        .read_early(|s, v| s.cluster_enabled = v.flag()),
    Directive::text("cluster-config-file", "nodes.conf", "File of the cluster's state.")
        .startup()
        .without_effect(NO_CLUSTER),
    Directive::int("cluster-node-timeout", (0, i64::MAX), "15000", "Silence that means down.")
        .unit("milliseconds")
        .without_effect(NO_CLUSTER),
    Directive::int("cluster-port", (0, 65535), "0", "Port of the bus; 0 = port + 10000.")
        .startup()
        .without_effect(NO_CLUSTER),
    Directive::text("cluster-announce-ip", "", "Address that clients and nodes are told.")
        .without_effect(NO_CLUSTER),
    Directive::int("cluster-announce-port", (0, 65535), "0", "Port that clients are told.")
        .without_effect(NO_CLUSTER),
    Directive::int("cluster-announce-tls-port", (0, 65535), "0", "TLS port that is told.")
        .without_effect("TLS is not supported yet"),
    Directive::int("cluster-announce-bus-port", (0, 65535), "0", "Bus port that is told.")
        .without_effect(NO_CLUSTER),
    Directive::text("cluster-announce-hostname", "", "Host name that clients are told.")
        .check(host_name)
        .without_effect(NO_CLUSTER),
    Directive::text("cluster-announce-human-nodename", "", "Name of the node in logs.")
        .check(node_name)
        .without_effect(NO_CLUSTER),
    Directive::one_of(
        "cluster-preferred-endpoint-type",
        &["ip", "hostname", "unknown-endpoint"],
        "ip",
        "What clients are told to connect to.",
    )
    .without_effect("clients are told the address"),
    Directive::yes_no(
        "cluster-require-full-coverage",
        "yes",
        "Answers nothing while a slot has no owner.",
    )
    .without_effect(NO_CLUSTER),
    Directive::yes_no("cluster-allow-reads-when-down", "no", "Answers reads while down.")
        .without_effect(NO_CLUSTER),
    Directive::yes_no(
        "cluster-allow-pubsubshard-when-down",
        "yes",
        "Serves sharded pub/sub while down.",
    )
    .without_effect("sharded pub/sub follows the slots"),
    Directive::bytes(
        "cluster-link-sendbuf-limit",
        (0, u64::MAX),
        "0",
        "Most bytes waiting for another node; 0 = unlimited.",
    )
    .without_effect("links between nodes have limits of their own"),
    Directive::int("cluster-migration-barrier", (0, INT_MAX), "1", "Replicas a primary keeps.")
        .without_effect(REPLICAS),
    Directive::yes_no("cluster-allow-replica-migration", "yes", "Lets replicas move.")
        .without_effect(REPLICAS),
    Directive::int(
        "cluster-replica-validity-factor",
        (0, INT_MAX),
        "10",
        "How old a replica's data may be for promotion.",
    )
    .aliases(&["cluster-slave-validity-factor"])
    .without_effect(RAFT),
    Directive::yes_no("cluster-replica-no-failover", "no", "Never promotes this replica.")
        .aliases(&["cluster-slave-no-failover"])
        .without_effect(REPLICAS),
];

fn host_name(value: Value) -> Result<Value, String> {
    let valid = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '.';
    if value.text().len() >= HOST_NAME_LEN_MAX {
        return Err(format!("Hostnames must be less than {HOST_NAME_LEN_MAX} characters"));
    }
    if !value.text().chars().all(valid) {
        return Err("Hostnames may only contain alphanumeric characters, hyphens or dots".into());
    }
    Ok(value)
}

const HOST_NAME_LEN_MAX: usize = 256;

fn node_name(value: Value) -> Result<Value, String> {
    let valid = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    if !value.text().chars().all(valid) || value.text().len() >= HOST_NAME_LEN_MAX {
        return Err("Announced human node name contained invalid character".into());
    }
    Ok(value)
}
