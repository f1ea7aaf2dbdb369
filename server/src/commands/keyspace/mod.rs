//! Whole databases: the table of the family. What its commands do is in the modules below.

mod flush;
mod scan;
mod whole;

pub(crate) use self::scan::{ScanOptions, scan_cursor, write_scan};
use super::table::{Definition, Group, Run, flag};

pub(crate) static COMMANDS: &[Definition] = &[
    Definition {
        name: "dbsize",
        arity: 1,
        flags: flag::READONLY | flag::FAST | flag::ALL_SLOTS | flag::KEYSPACE,
        run: Run::Spread(whole::dbsize_held, whole::dbsize),
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        group: Group::Server,
        summary: "Returns the number of keys in the database.",
        ..Definition::BASE
    },
    Definition {
        name: "flushall",
        syntax: "[ASYNC | SYNC]",
        arity: -1,
        flags: flag::WRITE | flag::ALL_SLOTS | flag::KEYSPACE | flag::DANGEROUS,
        run: Run::Data(flush::flushall),
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        complexity: "O(1); the memory is freed afterwards",
        group: Group::Server,
        summary: "Removes all keys of all databases.",
        ..Definition::BASE
    },
    Definition {
        name: "flushdb",
        syntax: "[ASYNC | SYNC]",
        arity: -1,
        flags: flag::WRITE | flag::ALL_SLOTS | flag::KEYSPACE | flag::DANGEROUS,
        run: Run::Data(flush::flushdb),
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        complexity: "O(1); the memory is freed afterwards",
        group: Group::Server,
        summary: "Removes all keys of the database.",
        ..Definition::BASE
    },
    Definition {
        name: "keys",
        syntax: "pattern",
        arity: 2,
        flags: flag::READONLY | flag::ALL_SLOTS | flag::DANGEROUS,
        run: Run::Spread(whole::keys_held, whole::keys),
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        complexity: "O(N) with N being the number of keys in the database",
        summary: "Returns all keys that match a pattern.",
        ..Definition::BASE
    },
    Definition {
        name: "randomkey",
        arity: 1,
        flags: flag::READONLY | flag::ALL_SLOTS,
        run: Run::Spread(whole::randomkey_held, whole::randomkey),
        tips: &["request_policy:all_shards", "nondeterministic_output"],
        summary: "Returns a random key of the database.",
        ..Definition::BASE
    },
    Definition {
        name: "scan",
        syntax: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        arity: -2,
        flags: flag::READONLY | flag::ALL_SLOTS,
        run: Run::Spread(scan::scan_held, scan::scan),
        tips: &["nondeterministic_output", "request_policy:special"],
        since: "2.8.0",
        complexity: "O(1) for every call, O(N) for a complete iteration",
        summary: "Iterates over the keys of the database.",
        ..Definition::BASE
    },
    Definition {
        name: "swapdb",
        syntax: "index1 index2",
        arity: 3,
        flags: flag::WRITE | flag::FAST | flag::ALL_SLOTS | flag::KEYSPACE | flag::DANGEROUS,
        run: Run::Data(flush::swapdb),
        since: "4.0.0",
        group: Group::Server,
        summary: "Swaps two databases.",
        ..Definition::BASE
    },
];
