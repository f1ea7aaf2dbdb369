//! `INFO`: Redis's sections and field names, and `# Shards` and `# Balancer`.

mod memory;
mod report;
mod sections;

use ballast_protocol::slot::SLOTS;
use ballast_protocol::{Args, Reply};
use rand::RngExt;

use self::report::Report;
use super::table::{Definition, Group, Run, flag};
use crate::commands::gather::{Gathered, Gathering, Local};
use crate::engine::Engine;
use crate::engine::hand_over_times::HandOverTimes;
use crate::engine::statistics::CommandStatistics;
use crate::ids::ShardId;

pub(crate) use self::memory::Memory;
pub(crate) use self::report::{human, process_status, ratio};

pub(crate) static COMMANDS: &[Definition] = &[Definition {
    name: "info",
    syntax: "[section [section ...]]",
    arity: -1,
    flags: flag::LOADING | flag::STALE | flag::DANGEROUS | flag::ALL_SLOTS,
    all_slots_if: Some(asks_for_keys),
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
    /// Of some slots, up to [`TTL_SLOTS`] a shard: how many keys there expire, and the sum of the
    /// milliseconds that they have left, by the example of one of each slot.
    pub(crate) ttl_keys: u64,
    pub(crate) ttl_sum_ms: u64,
}

/// How many there are.
const DATABASES: usize = ballast_storage::DATABASES as usize;

/// As many slots give a shard's part of `avg_ttl`.
const TTL_SLOTS: usize = 64;

impl DatabaseFacts {
    /// Adds those of another shard.
    pub(crate) fn add(&mut self, other: &DatabaseFacts) {
        self.keys += other.keys;
        self.expiring += other.expiring;
        self.ttl_keys += other.ttl_keys;
        self.ttl_sum_ms = self.ttl_sum_ms.saturating_add(other.ttl_sum_ms);
    }

    /// Estimate of the milliseconds that a key which expires has left; 0 if none does.
    pub(crate) fn average_ttl_ms(&self) -> u64 {
        self.ttl_sum_ms.checked_div(self.ttl_keys).unwrap_or(0)
    }
}

impl ShardFacts {
    /// Of each shard, but for its keys.
    async fn of_each(cx: &Gathering<'_>) -> Vec<ShardFacts> {
        cx.each_shard(ShardFacts::of).await
    }

    /// Of each shard, with each key counted once, also those in slots that travel meanwhile: they
    /// are waited for.
    pub(crate) async fn with_keys(cx: &Gathering<'_>) -> Vec<ShardFacts> {
        let mut facts = ShardFacts::of_each(cx).await;
        let counted = cx.over_slots(|state, slots| (state.id, databases(state, slots)));
        for (shard, databases) in counted.await {
            let Some(of) = facts.get_mut(shard.index()) else { continue };
            for (sum, part) in of.databases.iter_mut().zip(&databases) {
                sum.add(part);
                of.keys += part.keys;
            }
        }
        facts
    }

    /// All but its keys; runs on the shard's thread.
    fn of(state: &mut dyn Local) -> ShardFacts {
        let router = &state.node.router;
        ShardFacts {
            slots: (0..SLOTS).filter(|slot| router.owner(*slot) == state.id).count(),
            bytes: state.owned_bytes(),
            held: held(state),
            databases: vec![DatabaseFacts::default(); DATABASES],
            commands: state.statistics.commands().to_vec(),
            errors: state.statistics.errors().iter().map(|(e, n)| (e.clone(), *n)).collect(),
            dirty: state.dirty,
            hand_overs: state.hand_over_times.clone(),
            keys: 0,
        }
    }
}

/// What these slots, all of which are here, have in each database.
fn databases(state: &mut Engine, slots: &[u16]) -> Vec<DatabaseFacts> {
    let mut facts = vec![DatabaseFacts::default(); DATABASES];
    let mut sampled = [0; DATABASES];
    let (random, now_ms): (u64, _) = (state.random.random(), state.now_ms);
    // From any slot on, so that each may be among those that are sampled.
    let begin = usize::try_from(random).unwrap_or(0) % slots.len().max(1);
    let (before, from) = slots.split_at(begin);
    for boxed in from.iter().chain(before).filter_map(|slot| state.slot(*slot)) {
        for db in boxed.data().databases() {
            let Some(keyspace) = boxed.data().keyspace(db) else { continue };
            let (of, sampled) = (&mut facts[usize::from(db)], &mut sampled[usize::from(db)]);
            let expiring = keyspace.expiring_len() as u64;
            of.keys += keyspace.len() as u64;
            of.expiring += expiring;
            if expiring > 0
                && *sampled < TTL_SLOTS
                && let Some(expiry) = keyspace.sample_expiring(random).and_then(|s| s.meta.expiry)
            {
                let left_ms = u64::try_from(expiry - now_ms).unwrap_or(0);
                *sampled += 1;
                of.ttl_keys += expiring;
                of.ttl_sum_ms = of.ttl_sum_ms.saturating_add(left_ms.saturating_mul(expiring));
            }
        }
    }
    facts
}

/// The slots that travel with transactions.
fn held(state: &dyn Local) -> Vec<(u16, &'static str, u64)> {
    let now_ms = state.node.clock.mono_ms();
    let age_ms = |since_ms: u64| now_ms.saturating_sub(since_ms);
    state
        .held()
        .into_iter()
        .map(|(slot, reason, since_ms)| (slot, reason, age_ms(since_ms)))
        .collect()
}

/// Writes a section.
type Section = fn(&Report, &mut String);

/// The sections that count keys, for which slots that travel are waited for.
const SECTIONS_OF_KEYS: &[&str] = &["shards", "keyspace"];

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
        let facts = match asks_for_keys(args) {
            true => ShardFacts::with_keys(&cx).await,
            // Who wants to know what holds slots must not wait for them.
            false => ShardFacts::of_each(&cx).await,
        };
        let node = cx.node().clone();
        let waiting = (0..node.shards()).map(|id| cx.threads.waiting(ShardId(id))).collect();
        let report = Report { shared: node, shards: facts, waiting };
        let mut text = String::new();
        for (name, in_default, write) in SECTIONS {
            if is_asked_for(args, name, *in_default) {
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

/// Whether `INFO` with these arguments has a section.
fn is_asked_for(args: Args<'_>, section: &str, in_default: bool) -> bool {
    let asks = |name: &[u8]| args.from(1).iter().any(|word| word.eq_ignore_ascii_case(name));
    let asks_for_default = args.len() == 1 || asks(b"default");
    asks(section.as_bytes())
        || asks_for_default && in_default
        || asks(b"all")
        || asks(b"everything")
}

/// Whether a section that counts keys is asked for.
fn asks_for_keys(args: Args<'_>) -> bool {
    SECTIONS.iter().any(|(name, in_default, _)| {
        SECTIONS_OF_KEYS.contains(name) && is_asked_for(args, name, *in_default)
    })
}
