//! `CLUSTER`, as far as a single node needs it: slots and their statistics.

use ballast_protocol::slot::{SLOTS, key_slot};
use ballast_protocol::{Args, CommandError, Reply, number};

use super::context::SessionContext;
use super::table::{CommandResult, Definition, Group, Run, flag};
use crate::commands::gather::{Gathered, Gathering};
use crate::engine::Engine;
use crate::engine::slot::Work;

const ADMIN: u32 = flag::ADMIN | flag::STALE;
/// Changes what the node knows of its cluster.
const CHANGES: u32 = ADMIN | flag::NO_ASYNC_LOADING;
const READS: u32 = flag::STALE;

/// A subcommand that needs a cluster, and so is refused by a node that is none.
const fn clustered(name: &'static str, arity: i16, syntax: &'static str, flags: u32) -> Definition {
    Definition {
        name,
        arity,
        syntax,
        flags,
        run: Run::Session(refuse),
        group: Group::Cluster,
        since: "3.0.0",
        summary: "Refused: this node is not part of a cluster.",
        ..Definition::BASE
    }
}

/// [`clustered`], for one whose answers differ from time to time.
const fn varying(name: &'static str, arity: i16, syntax: &'static str, flags: u32) -> Definition {
    Definition { tips: &["nondeterministic_output"], ..clustered(name, arity, syntax, flags) }
}

/// `READONLY` and its like: about a connection to a node of a cluster.
const fn of_connection(name: &'static str, flags: u32) -> Definition {
    Definition { categories: Some(&["@connection"]), constant: 1, ..clustered(name, 1, "", flags) }
}

pub(crate) static COMMANDS: &[Definition] = &[CLUSTER, ASKING, READONLY, READWRITE];

const ASKING: Definition = of_connection("asking", flag::FAST);
const READONLY: Definition = of_connection("readonly", flag::LOADING | flag::STALE | flag::FAST);
const READWRITE: Definition = of_connection("readwrite", flag::LOADING | flag::STALE | flag::FAST);

const CLUSTER: Definition = Definition {
    name: "cluster",
    arity: -2,
    run: Run::Container,
    group: Group::Cluster,
    since: "3.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for Redis Cluster commands.",
    subcommands: &[
        clustered("addslots", -3, "slot [slot ...]", CHANGES),
        clustered("addslotsrange", -4, "start-slot end-slot [start-slot end-slot ...]", CHANGES),
        varying("bumpepoch", 2, "", CHANGES),
        varying("count-failure-reports", 3, "node-id", ADMIN),
        clustered("delslots", -3, "slot [slot ...]", CHANGES),
        clustered("delslotsrange", -4, "start-slot end-slot [start-slot end-slot ...]", CHANGES),
        clustered("failover", -2, "[FORCE | TAKEOVER]", CHANGES),
        clustered("flushslots", 2, "", CHANGES),
        clustered("forget", 3, "node-id", CHANGES),
        varying("info", 2, "", READS),
        varying("links", 2, "", READS),
        clustered("meet", -4, "ip port [cluster_bus_port]", CHANGES),
        clustered("myid", 2, "", READS),
        varying("nodes", 2, "", READS),
        varying("replicas", 3, "node-id", ADMIN),
        clustered("replicate", 3, "node-id", CHANGES),
        clustered("reset", -2, "[HARD | SOFT]", ADMIN | flag::NOSCRIPT),
        clustered("saveconfig", 2, "", CHANGES),
        clustered("set-config-epoch", 3, "config-epoch", CHANGES),
        clustered(
            "setslot",
            -4,
            "slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>",
            CHANGES,
        ),
        varying("shards", 2, "", READS),
        varying("slaves", 3, "node-id", ADMIN),
        varying("slots", 2, "", READS),
        Definition {
            name: "countkeysinslot",
            syntax: "slot",
            arity: 3,
            flags: flag::STALE,
            slot_at: Some(2),
            run: Run::Gather(count_keys),
            group: Group::Cluster,
            since: "3.0.0",
            summary: "Returns the number of keys in a hash slot.",
            ..Definition::BASE
        },
        Definition {
            name: "getkeysinslot",
            syntax: "slot count",
            arity: 4,
            flags: flag::STALE,
            slot_at: Some(2),
            run: Run::Gather(keys_in_slot),
            tips: &["nondeterministic_output"],
            group: Group::Cluster,
            since: "3.0.0",
            complexity: "O(N) where N is the number of requested keys",
            summary: "Returns the key names in a hash slot.",
            ..Definition::BASE
        },
        Definition {
            name: "help",
            arity: 2,
            flags: flag::LOADING | flag::STALE,
            run: Run::Session(help),
            group: Group::Cluster,
            since: "5.0.0",
            summary: "Returns helpful text about the different subcommands.",
            ..Definition::BASE
        },
        Definition {
            name: "keyslot",
            syntax: "key:string",
            arity: 3,
            flags: flag::STALE,
            run: Run::Session(slot_of_key),
            group: Group::Cluster,
            since: "3.0.0",
            complexity: "O(N) where N is the number of bytes in the key",
            summary: "Returns the hash slot for a key.",
            ..Definition::BASE
        },
        Definition {
            name: "slot-stats",
            syntax: "<SLOTSRANGE start-slot end-slot | ORDERBY metric [LIMIT limit] [ASC | DESC]>",
            arity: -4,
            flags: flag::STALE | flag::LOADING | flag::ALL_SLOTS,
            run: Run::Gather(slot_stats),
            group: Group::Cluster,
            since: "8.2.0",
            complexity: "O(N) where N is the number of slots, or O(N log N) with ORDERBY",
            summary: "Returns key count, bytes, CPU time and network traffic of slots.",
            ..Definition::BASE
        },
    ],
    ..Definition::BASE
};

fn refuse(_: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply) -> CommandResult {
    Err(CommandError::other("ERR This instance has cluster support disabled"))
}

/// A slot number as an argument.
pub(crate) fn parse_slot(text: &[u8]) -> Result<u16, CommandError> {
    number::parse_i64(text)
        .and_then(|slot| u16::try_from(slot).ok())
        .filter(|slot| *slot < SLOTS)
        .ok_or_else(|| CommandError::other("ERR Invalid or out of range slot"))
}

fn slot_of_key(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    reply.integer(i64::from(key_slot(args.at(2))));
    Ok(())
}

fn count_keys<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let slot = number::parse_i64(args.at(2)).ok_or(CommandError::NotInteger)?;
        let slot = u16::try_from(slot)
            .ok()
            .filter(|slot| *slot < SLOTS)
            .ok_or_else(|| CommandError::other("ERR Invalid slot"))?;
        let counted = cx.on_slot(slot, move |state| {
            let keyspace = state.slot(slot).and_then(|boxed| boxed.data().keyspace(0));
            keyspace.map_or(0, ballast_storage::Keyspace::len)
        });
        let count = counted.await.unwrap_or(0);
        reply.integer(i64::try_from(count).unwrap_or(i64::MAX));
        Ok(())
    })
}

fn keys_in_slot<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let slot = number::parse_i64(args.at(2)).ok_or(CommandError::NotInteger)?;
        let count = number::parse_i64(args.at(3)).ok_or(CommandError::NotInteger)?;
        let slot = u16::try_from(slot).ok().filter(|slot| *slot < SLOTS);
        let (Some(slot), Ok(count)) = (slot, usize::try_from(count)) else {
            return Err(CommandError::other("ERR Invalid slot or number of keys"));
        };
        let listed = cx.on_slot(slot, move |state| {
            let keyspace = state.slot(slot).and_then(|boxed| boxed.data().keyspace(0));
            keyspace.map_or_else(Vec::new, |keyspace| {
                keyspace.iter().take(count).map(|entry| entry.key.to_vec()).collect()
            })
        });
        let keys: Vec<Vec<u8>> = listed.await.unwrap_or_default();
        reply.array(keys.len());
        for key in keys {
            reply.bulk(&key);
        }
        Ok(())
    })
}

/// One line of `CLUSTER SLOT-STATS`.
#[derive(Clone, Copy, Debug, Default)]
struct SlotStatistics {
    slot: u16,
    keys: u64,
    bytes: u64,
    work: Work,
}

/// Reads a metric.
type Metric = fn(&SlotStatistics) -> u64;

/// The metrics in the order in which Redis 8 replies them.
const METRICS: [(&str, Metric); 5] = [
    ("key-count", |of| of.keys),
    ("memory-bytes", |of| of.bytes),
    ("cpu-usec", |of| of.work.cpu_ns / 1000),
    ("network-bytes-in", |of| of.work.net_in_bytes),
    ("network-bytes-out", |of| of.work.net_out_bytes),
];

impl SlotStatistics {
    /// Of a slot that is here.
    fn of(state: &Engine, slot: u16) -> Option<SlotStatistics> {
        let boxed = state.slot(slot)?;
        Some(SlotStatistics {
            slot,
            keys: boxed.data().key_count() as u64,
            bytes: boxed.data().bytes(),
            work: boxed.work,
        })
    }
}

/// What `CLUSTER SLOT-STATS` asks for.
struct Query {
    first: u16,
    last: u16,
    order: Option<(Metric, Direction)>,
    limit: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ascending,
    Descending,
}

impl Query {
    fn parse(args: Args<'_>) -> Result<Query, CommandError> {
        if args.at(2).eq_ignore_ascii_case(b"slotsrange") && args.len() == 5 {
            let (first, last) = (parse_slot(args.at(3))?, parse_slot(args.at(4))?);
            if first > last {
                return Err(CommandError::other(format!(
                    "ERR Start slot number {first} is greater than end slot number {last}"
                )));
            }
            return Ok(Query { first, last, order: None, limit: usize::MAX });
        }
        if !args.at(2).eq_ignore_ascii_case(b"orderby") {
            return Err(CommandError::Syntax);
        }
        let metric = METRICS
            .iter()
            .find(|(name, _)| args.at(3).eq_ignore_ascii_case(name.as_bytes()))
            .ok_or_else(|| CommandError::other("ERR Unrecognized sort metric for ORDERBY."))?;
        let (mut limit, mut direction) = (None, None);
        let mut at = 4;
        let twice = || CommandError::other("ERR Multiple filters of the same type are disallowed.");
        while let Some(word) = args.get(at) {
            if word.eq_ignore_ascii_case(b"limit") && at + 1 < args.len() {
                let value = number::parse_i64(args.at(at + 1))
                    .and_then(|value| usize::try_from(value).ok())
                    .filter(|value| (1..=usize::from(SLOTS)).contains(value));
                let value = value.ok_or_else(|| {
                    CommandError::other(
                        "ERR Limit has to lie in between 1 and 16384 (maximum number of slots).",
                    )
                })?;
                if limit.replace(value).is_some() {
                    return Err(twice());
                }
                at += 2;
                continue;
            }
            let wanted = if word.eq_ignore_ascii_case(b"asc") {
                Direction::Ascending
            } else if word.eq_ignore_ascii_case(b"desc") {
                Direction::Descending
            } else {
                return Err(CommandError::Syntax);
            };
            if direction.replace(wanted).is_some() {
                return Err(twice());
            }
            at += 1;
        }
        Ok(Query {
            first: 0,
            last: SLOTS - 1,
            order: Some((metric.1, direction.unwrap_or(Direction::Descending))),
            limit: limit.unwrap_or(usize::from(SLOTS)),
        })
    }
}

fn slot_stats<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let query = Query::parse(args)?;
        let (first, last) = (query.first, query.last);
        let parts = cx.over_slots(move |state, slots| {
            let asked = slots.iter().filter(|slot| (first..=last).contains(*slot));
            asked.filter_map(|slot| SlotStatistics::of(state, *slot)).collect::<Vec<_>>()
        });
        let mut slots: Vec<SlotStatistics> = parts.await.into_iter().flatten().collect();
        slots.sort_by_key(|of| of.slot);
        if let Some((metric, direction)) = query.order {
            slots.sort_by(|a, b| match direction {
                Direction::Ascending => metric(a).cmp(&metric(b)),
                Direction::Descending => metric(b).cmp(&metric(a)),
            });
        }
        slots.truncate(query.limit);
        reply.array(slots.len());
        for of in &slots {
            reply.array(2);
            reply.integer(i64::from(of.slot));
            reply.map(METRICS.len());
            for (name, metric) in METRICS {
                reply.bulk_str(name);
                reply.integer(i64::try_from(metric(of)).unwrap_or(i64::MAX));
            }
        }
        Ok(())
    })
}

fn help(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    super::help::write("CLUSTER", super::help::CLUSTER, reply);
    Ok(())
}
