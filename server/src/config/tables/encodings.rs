//! Up to which size collections stay compact, and report the compact encoding.

use super::{INT_MAX, LONG_MAX};
use crate::config::directive::Directive;

pub(super) const ENCODINGS: &[Directive] = &[
    Directive::int(
        "hash-max-listpack-entries",
        (0, i64::MAX),
        "512",
        "Most fields of a compact hash.",
    )
    .aliases(&["hash-max-ziplist-entries"])
    .field(|s, v| s.hash_max_listpack_entries = v.number()),
    Directive::bytes(
        "hash-max-listpack-value",
        (0, LONG_MAX),
        "64",
        "Longest field or value of a compact hash.",
    )
    .aliases(&["hash-max-ziplist-value"])
    .field(|s, v| s.hash_max_listpack_value = v.number()),
    Directive::int(
        "list-max-listpack-size",
        (i32::MIN as i64, INT_MAX),
        "-2",
        "Entries of a list's node, or with -1 to -5 its size from 4 to 64 KiB.",
    )
    .aliases(&["list-max-ziplist-size"])
    .field(|s, v| s.list_max_listpack_size = v.number()),
    Directive::int(
        "list-compress-depth",
        (0, INT_MAX),
        "0",
        "Nodes at each end of a list that stay uncompressed; 0 = no compression.",
    )
    .without_effect("lists are not compressed"),
    Directive::int(
        "set-max-intset-entries",
        (0, i64::MAX),
        "512",
        "Most members of a set of integers.",
    )
    .field(|s, v| s.set_max_intset_entries = v.number()),
    Directive::int(
        "set-max-listpack-entries",
        (0, i64::MAX),
        "128",
        "Most members of a compact set.",
    )
    .field(|s, v| s.set_max_listpack_entries = v.number()),
    Directive::bytes(
        "set-max-listpack-value",
        (0, LONG_MAX),
        "64",
        "Longest member of a compact set.",
    )
    .field(|s, v| s.set_max_listpack_value = v.number()),
    Directive::int(
        "zset-max-listpack-entries",
        (0, i64::MAX),
        "128",
        "Most members of a compact sorted set.",
    )
    .aliases(&["zset-max-ziplist-entries"])
    .field(|s, v| s.zset_max_listpack_entries = v.number()),
    Directive::bytes(
        "zset-max-listpack-value",
        (0, LONG_MAX),
        "64",
        "Longest member of a compact sorted set.",
    )
    .aliases(&["zset-max-ziplist-value"])
    .field(|s, v| s.zset_max_listpack_value = v.number()),
    Directive::bytes(
        "hll-sparse-max-bytes",
        (0, LONG_MAX),
        "3000",
        "Size up to which a HyperLogLog stays sparse.",
    )
    .without_effect("there are no HyperLogLogs yet"),
    Directive::bytes(
        "stream-node-max-bytes",
        (0, LONG_MAX),
        "4096",
        "Most bytes of a stream's node; 0 = unlimited.",
    )
    .without_effect("there are no streams yet"),
    Directive::int(
        "stream-node-max-entries",
        (0, i64::MAX),
        "100",
        "Most entries of a stream's node; 0 = unlimited.",
    )
    .without_effect("there are no streams yet"),
];
