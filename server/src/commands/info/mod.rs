//! `INFO`: Redis's sections and field names, and `# Shards` and `# Balancer`.

mod memory;
mod report;
mod sections;

use ballast_protocol::{Args, Reply};

use self::report::Report;
use super::table::{Definition, Group, Run, flag};
use crate::gather::{Gathered, Gathering};
use crate::shard::ShardState;
use crate::shard::hand_over::HandOverTimes;
use crate::shard::statistics::CommandStatistics;

pub(crate) use self::memory::Memory;
pub(crate) use self::report::{human, process_status, ratio};

pub(crate) static COMMANDS: &[Definition] = &[Definition {
    name: "info",
    arity: -1,
    flags: flag::LOADING | flag::STALE | flag::DANGEROUS,
    run: Run::Gather(info),
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    group: Group::Server,
    summary: "Returns information and statistics about the server.",
    ..Definition::BASE
}];

/// What one shard contributes.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShardFacts {
    pub(crate) slots: usize,
    pub(crate) keys: u64,
    pub(crate) bytes: u64,
    /// Held slots: which, why, for how many milliseconds.
    pub(crate) held: Vec<(u16, &'static str, u64)>,
    pub(crate) databases: Vec<DatabaseFacts>,
    pub(crate) commands: Vec<CommandStatistics>,
    pub(crate) errors: Vec<(String, u64)>,
    pub(crate) dirty: u64,
    pub(crate) hand_overs: Option<Box<HandOverTimes>>,
}

/// Keys of one database.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DatabaseFacts {
    pub(crate) keys: u64,
    pub(crate) expiring: u64,
}

impl ShardFacts {
    /// Looks at a shard; runs on its thread.
    pub(crate) fn of(state: &mut ShardState) -> ShardFacts {
        let mut facts = ShardFacts {
            slots: state.slots.iter().flatten().count() + state.lent.len(),
            bytes: state.owned_bytes(),
            held: held(state),
            databases: vec![DatabaseFacts::default(); 16],
            commands: state.statistics.commands().to_vec(),
            errors: state.statistics.errors().iter().map(|(e, n)| (e.clone(), *n)).collect(),
            dirty: state.dirty,
            hand_overs: state.hand_over_times.clone(),
            keys: 0,
        };
        for boxed in state.slots.iter().flatten() {
            for db in boxed.data.databases() {
                let Some(keyspace) = boxed.data.keyspace(db) else { continue };
                let of = &mut facts.databases[usize::from(db)];
                of.keys += keyspace.len() as u64;
                of.expiring += keyspace.expiring_len() as u64;
                facts.keys += keyspace.len() as u64;
            }
        }
        facts
    }
}

/// The slots that travel with transactions.
fn held(state: &ShardState) -> Vec<(u16, &'static str, u64)> {
    let now_ms = state.shared.clock.mono_ms();
    let age_ms = |since_ms: u64| now_ms.saturating_sub(since_ms);
    state.lent.iter().map(|(slot, lent)| (*slot, lent.reason, age_ms(lent.since_ms))).collect()
}

/// Writes a section.
type Section = fn(&Report, &mut String);

/// All sections: name, whether it is in the default set, and its writer.
const SECTIONS: &[(&str, bool, Section)] = &[
    ("server", true, sections::server),
    ("clients", true, sections::clients),
    ("memory", true, memory::section),
    ("persistence", true, sections::persistence),
    ("stats", true, sections::stats),
    ("replication", true, sections::replication),
    ("cpu", true, sections::cpu),
    ("modules", true, sections::modules),
    ("commandstats", false, sections::commandstats),
    ("errorstats", true, sections::errorstats),
    ("latencystats", false, sections::latencystats),
    ("cluster", true, sections::cluster),
    ("shards", true, sections::shards),
    ("balancer", true, sections::balancer),
    ("keyspace", true, sections::keyspace),
];

fn info<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let wanted: Vec<String> = args
            .from(1)
            .iter()
            .map(|name| String::from_utf8_lossy(name).to_ascii_lowercase())
            .collect();
        let asks = |word: &str| wanted.iter().any(|name| name == word);
        let all = asks("all") || asks("everything");
        let default = wanted.is_empty() || asks("default");
        let facts = cx.each_shard(ShardFacts::of).await;
        let report = Report { shared: cx.shard.shared.clone(), shards: facts };
        let mut text = String::new();
        for (name, in_default, write) in SECTIONS {
            if all || (default && *in_default) || asks(name) {
                if !text.is_empty() {
                    text.push_str("\r\n");
                }
                write(&report, &mut text);
            }
        }
        reply.verbatim("txt", text.as_bytes());
        Ok(())
    })
}
