//! Where the memory is: `MEMORY`. Nothing is sampled or estimated: a key's bytes are counted by
//! the code that allocates them.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use ballast_protocol::{Args, CommandError, Reply, number};
use ballast_storage::memory;

use super::context::{Data, SessionContext};
use super::help::{self, Help};
use super::info::{Memory, ShardFacts, human, process_status, ratio};
use super::table::{Access, CommandResult, Definition, Group, Run, SECOND, flag};
use crate::commands::gather::{Gathered, Gathering};
use crate::node::Node;

/// A subcommand that asks all shards.
const REPORT: Definition =
    Definition { arity: 2, group: Group::Server, since: "4.0.0", ..Definition::BASE };

pub(crate) static COMMANDS: &[Definition] = &[Definition {
    name: "memory",
    arity: -2,
    run: Run::Container,
    group: Group::Server,
    since: "4.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for memory diagnostics commands.",
    subcommands: &[
        Definition {
            name: "doctor",
            flags: flag::ALL_SLOTS,
            run: Run::Gather(doctor),
            tips: &[
                "nondeterministic_output",
                "request_policy:all_shards",
                "response_policy:special",
            ],
            summary: "Returns a report about memory problems.",
            ..REPORT
        },
        Definition {
            name: "help",
            arity: 2,
            flags: flag::LOADING | flag::STALE,
            run: Run::Session(write_help),
            summary: "Returns helpful text about the different subcommands.",
            ..REPORT
        },
        Definition {
            name: "malloc-stats",
            run: Run::Gather(malloc_stats),
            tips: &[
                "nondeterministic_output",
                "request_policy:all_shards",
                "response_policy:special",
            ],
            summary: "Returns the allocator's statistics.",
            ..REPORT
        },
        Definition {
            name: "purge",
            run: Run::Gather(purge),
            tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
            summary: "Asks the allocator to release memory.",
            ..REPORT
        },
        Definition {
            name: "stats",
            flags: flag::ALL_SLOTS,
            run: Run::Gather(stats),
            tips: &[
                "nondeterministic_output",
                "request_policy:all_shards",
                "response_policy:special",
            ],
            complexity: "O(N) where N is the number of slots",
            summary: "Returns details about memory usage.",
            ..REPORT
        },
        Definition {
            name: "usage",
            syntax: "key [SAMPLES count]",
            arity: -3,
            flags: flag::READONLY,
            keys: SECOND,
            access: &[Access::to("RO")],
            run: Run::Data(usage),
            summary: "Returns the exact bytes that a key and its value take.",
            ..REPORT
        },
    ],
    ..Definition::BASE
}];

const HELP: Help = &[
    ("DOCTOR", &["Return a report about memory problems."]),
    ("MALLOC-STATS", &["Return what the allocator has handed out, by thread."]),
    ("PURGE", &["Return memory that is free to the system."]),
    ("STATS", &["Return where the memory of the server is."]),
    (
        "USAGE <key> [SAMPLES <count>]",
        &[
            "Return the bytes that <key> and its value take. They are counted, not sampled, so",
            "<count> makes no difference.",
        ],
    ),
];

fn usage(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let mut at = 3;
    while let Some(option) = args.get(at) {
        if !option.eq_ignore_ascii_case(b"samples") || at + 1 >= args.len() {
            return Err(CommandError::Syntax);
        }
        let samples = number::parse_i64(args.at(at + 1)).ok_or(CommandError::NotInteger)?;
        if samples < 0 {
            return Err(CommandError::Syntax);
        }
        at += 2;
    }
    let key = cx.key(2)?;
    match cx.keyspace(key).and_then(|keyspace| keyspace.memory_usage(&key.key)) {
        Some(bytes) => reply.integer(i64::try_from(bytes).unwrap_or(i64::MAX)),
        None => reply.null(),
    }
    Ok(())
}

/// A value of `MEMORY STATS`.
enum Figure {
    Integer(i64),
    Share(f64),
}

impl From<u64> for Figure {
    fn from(value: u64) -> Figure {
        Figure::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl Figure {
    fn write(&self, reply: &mut Reply) {
        match self {
            Figure::Integer(value) => reply.integer(*value),
            Figure::Share(value) => reply.double(*value),
        }
    }
}

fn stats<'a>(cx: Gathering<'a>, _: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let shards = ShardFacts::with_keys(&cx).await;
        let figures = figures(cx.node(), &shards);
        reply.map(figures.len() + shards.len());
        for (name, figure) in figures {
            reply.bulk_str(name);
            figure.write(reply);
        }
        for (shard, facts) in shards.iter().enumerate() {
            let pending = cx.node().counters[shard].lazyfree_pending.value();
            reply.bulk_str(&format!("shard.{shard}"));
            let fields: [(&str, Figure); 4] = [
                ("slots.count", (facts.slots as u64).into()),
                ("slots.bytes", facts.bytes.into()),
                ("keys.count", facts.keys.into()),
                ("lazyfree.pending", pending.into()),
            ];
            reply.map(fields.len());
            for (name, figure) in fields {
                reply.bulk_str(name);
                figure.write(reply);
            }
        }
        Ok(())
    })
}

/// Redis's fields; those that mean nothing here are 0.
fn figures(shared: &Node, shards: &[ShardFacts]) -> Vec<(&'static str, Figure)> {
    let slots: u64 = shards.iter().map(|facts| facts.bytes).sum();
    let keys: u64 = shards.iter().map(|facts| facts.keys).sum();
    let memory = Memory::of(shared, slots);
    let rss = process_status("VmRSS");
    let since_start = memory.used.saturating_sub(memory.startup);
    let beyond = |a: u64, b: u64| Figure::from(a.saturating_sub(b));
    vec![
        ("peak.allocated", memory.peak.into()),
        ("total.allocated", memory.used.into()),
        ("startup.allocated", memory.startup.into()),
        ("replication.backlog", 0.into()),
        ("clients.slaves", 0.into()),
        ("clients.normal", memory.clients.into()),
        ("cluster.links", 0.into()),
        ("aof.buffer", 0.into()),
        ("lua.caches", 0.into()),
        ("functions.caches", 0.into()),
        ("overhead.index", memory.index.into()),
        ("overhead.balancer", memory.balancer.into()),
        ("overhead.buffers", memory.buffers.into()),
        ("overhead.other", Figure::Integer(memory.other)),
        ("overhead.total", beyond(memory.used, memory.slots)),
        ("keys.count", keys.into()),
        ("keys.bytes-per-key", slots.checked_div(keys).unwrap_or(0).into()),
        ("dataset.bytes", slots.into()),
        ("dataset.percentage", Figure::Share(ratio(slots, since_start).min(1.0) * 100.0)),
        ("peak.percentage", Figure::Share(ratio(memory.used, memory.peak) * 100.0)),
        ("allocator.allocated", memory.used.into()),
        ("allocator.active", rss.into()),
        ("allocator.resident", rss.into()),
        ("allocator-fragmentation.ratio", Figure::Share(ratio(rss, memory.used))),
        ("allocator-fragmentation.bytes", beyond(rss, memory.used)),
        ("allocator-rss.ratio", Figure::Share(1.0)),
        ("allocator-rss.bytes", 0.into()),
        ("rss-overhead.ratio", Figure::Share(1.0)),
        ("rss-overhead.bytes", 0.into()),
        ("fragmentation", Figure::Share(ratio(rss, memory.used))),
        ("fragmentation.bytes", beyond(rss, memory.used)),
    ]
}

/// Below this there is nothing to diagnose.
const DOCTOR_BYTES_MIN: u64 = 5 << 20;
/// A peak so many times the present use is worth a word.
const PEAK_RATIO: f64 = 1.5;
/// Resident pages per byte in use.
const FRAGMENTATION_RATIO: f64 = 1.4;
/// Fragmentation below this is not worth a word.
const FRAGMENTATION_BYTES_MIN: u64 = 10 << 20;
/// Bytes per connection.
const CLIENT_BYTES_MAX: u64 = 200 << 10;
/// Of the slots' bytes, a shard's part over the mean.
const SHARD_RATIO: f64 = 1.5;

fn doctor<'a>(cx: Gathering<'a>, _: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let shards = ShardFacts::with_keys(&cx).await;
        let found = findings(cx.node(), &shards);
        let mut text = String::new();
        if found.is_empty() {
            text.push_str("No memory problem found.\n");
        }
        for finding in found {
            text.push_str(" * ");
            text.push_str(&finding);
            text.push('\n');
        }
        reply.verbatim("txt", text.as_bytes());
        Ok(())
    })
}

/// What an operator should look at.
fn findings(shared: &Node, shards: &[ShardFacts]) -> Vec<String> {
    let slots: u64 = shards.iter().map(|facts| facts.bytes).sum();
    let memory = Memory::of(shared, slots);
    let rss = process_status("VmRSS");
    let mut found = Vec::new();
    if memory.used.saturating_sub(memory.startup) < DOCTOR_BYTES_MIN {
        let used = human(memory.used);
        return vec![format!("Only {used} are in use: too little to tell a problem by.")];
    }
    if ratio(memory.peak, memory.used) > PEAK_RATIO {
        found.push(format!(
            "Peak: {} were in use at the highest point, {} are now. The allocator may keep part \
             of the difference; MEMORY PURGE returns what is free.",
            human(memory.peak),
            human(memory.used)
        ));
    }
    let wasted = rss.saturating_sub(memory.used);
    if ratio(rss, memory.used) > FRAGMENTATION_RATIO && wasted > FRAGMENTATION_BYTES_MIN {
        found.push(format!(
            "Fragmentation: {} are resident for {} in use.",
            human(rss),
            human(memory.used)
        ));
    }
    let clients = shared.clients.len() as u64;
    if clients > 0 && memory.clients / clients > CLIENT_BYTES_MAX {
        found.push(format!(
            "Client buffers: {clients} connections keep {}; some of them read their replies \
             slowly or send long requests (CLIENT LIST: qbuf, omem).",
            human(memory.clients)
        ));
    }
    let mean = slots / (shards.len() as u64).max(1);
    for (shard, facts) in shards.iter().enumerate() {
        if mean > DOCTOR_BYTES_MIN && ratio(facts.bytes, mean) > SHARD_RATIO {
            found.push(format!(
                "Skew: shard {shard} holds {}, the mean is {}. BALANCER STATUS says what keeps \
                 it there.",
                human(facts.bytes),
                human(mean)
            ));
        }
    }
    found
}

fn malloc_stats<'a>(cx: Gathering<'a>, _: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let threads = cx.each_shard(|_| memory::thread_used_bytes()).await;
        let mut text = format!("allocator: {}\n", memory::ALLOCATOR);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "used: {}", memory::used_bytes());
        let _ = writeln!(text, "peak: {}", memory::peak_bytes());
        let startup = cx.node().startup_bytes.load(Ordering::Relaxed);
        let _ = writeln!(text, "startup: {startup}");
        let _ = writeln!(text, "resident: {}", process_status("VmRSS"));
        text.push_str("allocated minus freed, by shard thread:\n");
        for (shard, bytes) in threads.iter().enumerate() {
            let _ = writeln!(text, "  shard {shard}: {bytes}");
        }
        reply.verbatim("txt", text.as_bytes());
        Ok(())
    })
}

fn purge<'a>(cx: Gathering<'a>, _: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        cx.each_shard(|_| memory::purge()).await;
        reply.ok();
        Ok(())
    })
}

fn write_help(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    help::write("MEMORY", HELP, reply);
    Ok(())
}
