//! `BALANCER EXPLAIN`: why nothing moves; for a slot also which tag and key weigh most, which
//! takes a walk over the slot's keys and so is done on request only.

use ahash::AHashMap;
use ballast_balancer::explain::{Findings, Subject};
use ballast_balancer::model::{ShardId as Bin, SlotId};
use ballast_protocol::slot::hash_tag;
use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::{Key, Kind};

use super::Words;
use crate::commands::cluster::parse_slot;
use crate::commands::gather::{Gathered, Gathering};
use crate::engine::Engine;
use crate::node::balance::clocks;

/// Keys of a slot that one EXPLAIN looks at.
const KEYS_MAX: usize = 100_000;
/// Hash tags that it tells apart.
const TAGS_MAX: usize = 10_000;

pub(super) fn explain<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let mut words = Words::new(args);
        let mut subject = Subject::Tier;
        if words.take("shard") {
            let shard = words.number()?;
            let shard = u16::try_from(shard)
                .ok()
                .filter(|shard| *shard < cx.node().shards())
                .ok_or_else(|| CommandError::other("ERR No such shard"))?;
            subject = Subject::Shard(Bin(shard));
        } else if words.take("slot") {
            let slot = parse_slot(words.next().ok_or(CommandError::Syntax)?)?;
            subject = Subject::Slot(SlotId(slot));
        }
        words.end()?;
        let mut findings = None;
        if let Subject::Slot(SlotId(slot)) = subject {
            let found = cx.each_shard(move |state| examine(state, slot)).await;
            findings = found.into_iter().flatten().next();
        }
        let shared = &cx.node();
        let answer =
            shared.balance.lock().machine.explain(subject, findings.as_ref(), clocks(shared));
        reply.map(3);
        reply.bulk_str("reason");
        reply.bulk_str(answer.reason.code());
        for (name, lines) in [("facts", &answer.facts), ("suggestions", &answer.suggestions)] {
            reply.bulk_str(name);
            reply.array(lines.len());
            lines.iter().for_each(|line| reply.bulk_str(line));
        }
        Ok(())
    })
}

/// What weighs most in a slot, if it is here.
fn examine(state: &mut Engine, slot: u16) -> Option<Findings> {
    let boxed = state.slot(slot)?;
    let mut tags: AHashMap<&[u8], u64> = AHashMap::new();
    let mut largest: Option<(&[u8], Kind, u64)> = None;
    let mut keys = 0;
    for db in boxed.data.databases() {
        let Some(keyspace) = boxed.data.keyspace(db) else { continue };
        keys += keyspace.len() as u64;
        for entry in keyspace.iter().take(KEYS_MAX) {
            let bytes = keyspace.memory_usage(&Key::new(entry.key)).unwrap_or(0) as u64;
            let tag = hash_tag(entry.key);
            if tag.len() < entry.key.len() && (tags.len() < TAGS_MAX || tags.contains_key(tag)) {
                *tags.entry(tag).or_default() += bytes;
            }
            if largest.is_none_or(|(_, _, most)| bytes > most) {
                largest = Some((entry.key, entry.meta.kind, bytes));
            }
        }
    }
    let shown = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    let tag = tags.into_iter().max_by_key(|(tag, bytes)| (*bytes, std::cmp::Reverse(*tag)));
    Some(Findings {
        largest_tag: tag.map(|(tag, bytes)| (format!("{{{}}}", shown(tag)), bytes)),
        largest_key: largest.map(|(key, kind, bytes)| (shown(key), kind_name(kind), bytes)),
        keys,
        read_mostly: false,
    })
}

/// As `TYPE` answers.
fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "string",
        Kind::List => "list",
        Kind::Hash => "hash",
        Kind::Set => "set",
        Kind::ZSet => "zset",
    }
}
