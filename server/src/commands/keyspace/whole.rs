//! `DBSIZE`, `KEYS`, `RANDOMKEY`: answers that are put together from all slots.
//!
//! Inside a transaction all slots are here. Outside, each shard answers for its own.

use std::sync::Arc;

use ballast_protocol::glob::glob_match;
use ballast_protocol::slot::SLOTS;
use ballast_protocol::{Args, Reply};
use ballast_storage::{Keyspace, Meta};
use rand::RngExt;

use crate::commands::context::Data;
use crate::commands::gather::{Gathered, Gathering};
use crate::commands::table::CommandResult;
use crate::engine::Engine;

/// Random keys that are tried before an expired one is passed over by a walk.
const RANDOM_TRIES: usize = 32;

/// Runs `work` on every slot, all of which are here.
fn over_held_slots<T>(cx: &mut Data<'_>, work: impl Fn(&mut Engine, &[u16]) -> T) -> T {
    let slots: Vec<u16> = (0..SLOTS).collect();
    work(cx.engine, &slots)
}

/// The keyspaces of `slots` in database `db` that have keys.
fn keyspaces<'s>(state: &'s Engine, slots: &[u16], db: u8) -> impl Iterator<Item = &'s Keyspace> {
    slots
        .iter()
        .filter_map(move |slot| state.slot(*slot)?.data().keyspace(db))
        .filter(|keys| !keys.is_empty())
}

fn is_live(meta: Meta, now_ms: i64) -> bool {
    meta.expiry.is_none_or(|at_ms| at_ms >= now_ms)
}

fn count(state: &Engine, slots: &[u16], db: u8) -> usize {
    keyspaces(state, slots, db).map(Keyspace::len).sum()
}

pub(super) fn dbsize_held(cx: &mut Data<'_>, _args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let db = cx.caller.db;
    let keys = over_held_slots(cx, |state, slots| count(state, slots, db));
    reply.integer(keys as i64);
    Ok(())
}

pub(super) fn dbsize<'a>(
    gathering: Gathering<'a>,
    _args: Args<'a>,
    reply: &'a mut Reply,
) -> Gathered<'a> {
    Box::pin(async move {
        let db = gathering.session.db;
        let parts = gathering.over_slots(move |state, slots| count(state, slots, db)).await;
        reply.integer(parts.into_iter().sum::<usize>() as i64);
        Ok(())
    })
}

/// Keys, each encoded as a bulk string.
struct Found {
    keys: usize,
    encoded: Reply,
}

fn matching(state: &Engine, slots: &[u16], db: u8, pattern: &[u8]) -> Found {
    let mut found = Found { keys: 0, encoded: Reply::default() };
    let everything = pattern == b"*";
    for keyspace in keyspaces(state, slots, db) {
        for entry in keyspace.iter() {
            let matches = everything || glob_match(pattern, entry.key);
            if matches && is_live(entry.meta, state.now_ms) {
                found.encoded.bulk(entry.key);
                found.keys += 1;
            }
        }
    }
    found
}

fn write_found(parts: Vec<Found>, reply: &mut Reply) {
    reply.array(parts.iter().map(|part| part.keys).sum());
    for part in parts {
        reply.append(part.encoded);
    }
}

pub(super) fn keys_held(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let db = cx.caller.db;
    let found = over_held_slots(cx, |state, slots| matching(state, slots, db, args.at(1)));
    write_found(vec![found], reply);
    Ok(())
}

pub(super) fn keys<'a>(
    gathering: Gathering<'a>,
    args: Args<'a>,
    reply: &'a mut Reply,
) -> Gathered<'a> {
    Box::pin(async move {
        let db = gathering.session.db;
        let pattern: Arc<[u8]> = args.at(1).into();
        let work = move |state: &mut Engine, slots: &[u16]| matching(state, slots, db, &pattern);
        write_found(gathering.over_slots(work).await, reply);
        Ok(())
    })
}

/// A key chosen at random from a part of the slots.
struct Candidate {
    /// Among how many.
    keys: usize,
    /// None if all of them are expired.
    key: Option<Vec<u8>>,
}

fn candidate(state: &mut Engine, slots: &[u16], db: u8) -> Candidate {
    let keys = count(state, slots, db);
    for _ in 0..RANDOM_TRIES {
        if keys == 0 {
            break;
        }
        let mut rank = state.random.random_range(0..keys);
        let random = state.random.random();
        let chosen = keyspaces(state, slots, db).find(|keyspace| {
            let here = rank < keyspace.len();
            rank = rank.saturating_sub(keyspace.len());
            here
        });
        let sampled = chosen.and_then(|keyspace| keyspace.sample(random));
        if let Some(sampled) = sampled.filter(|sampled| is_live(sampled.meta, state.now_ms)) {
            return Candidate { keys, key: Some(sampled.key.to_vec()) };
        }
    }
    let live = keyspaces(state, slots, db)
        .flat_map(Keyspace::iter)
        .find(|sampled| is_live(sampled.meta, state.now_ms));
    Candidate { keys, key: live.map(|sampled| sampled.key.to_vec()) }
}

/// One of the candidates, each with the weight of the keys it was chosen from.
fn elect(candidates: Vec<Candidate>, random: u64) -> Option<Vec<u8>> {
    let live = || candidates.iter().filter(|candidate| candidate.key.is_some());
    let total: usize = live().map(|candidate| candidate.keys).sum();
    let mut rank = ((u128::from(random) * total as u128) >> 64) as usize;
    let chosen = live().position(|candidate| {
        let here = rank < candidate.keys;
        rank = rank.saturating_sub(candidate.keys);
        here
    })?;
    candidates.into_iter().filter_map(|candidate| candidate.key).nth(chosen)
}

fn write_key(key: Option<Vec<u8>>, reply: &mut Reply) {
    match key {
        Some(key) => reply.bulk(&key),
        None => reply.null(),
    }
}

pub(super) fn randomkey_held(
    cx: &mut Data<'_>,
    _args: Args<'_>,
    reply: &mut Reply,
) -> CommandResult {
    let db = cx.caller.db;
    write_key(over_held_slots(cx, |state, slots| candidate(state, slots, db)).key, reply);
    Ok(())
}

pub(super) fn randomkey<'a>(
    gathering: Gathering<'a>,
    _args: Args<'a>,
    reply: &'a mut Reply,
) -> Gathered<'a> {
    Box::pin(async move {
        let db = gathering.session.db;
        let work = move |state: &mut Engine, slots: &[u16]| candidate(state, slots, db);
        let candidates = gathering.over_slots(work).await;
        let random = gathering.here(|local| local.random.random());
        write_key(elect(candidates, random), reply);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_elected_by_weight_and_expired_ones_never() {
        let candidates = || {
            let candidate = |keys, key: Option<&[u8]>| Candidate { keys, key: key.map(Into::into) };
            vec![
                candidate(0, None),
                candidate(1, Some(b"a")),
                candidate(5, None),
                candidate(3, Some(b"b")),
            ]
        };
        let elected = |random| elect(candidates(), random).unwrap();
        assert_eq!(elected(0), b"a");
        assert_eq!(elected(u64::MAX / 4 - 1), b"a");
        assert_eq!(elected(u64::MAX / 4 + 2), b"b");
        assert_eq!(elected(u64::MAX), b"b");
        assert_eq!(elect(vec![Candidate { keys: 2, key: None }], 7), None);
        assert_eq!(elect(Vec::new(), 7), None);
    }
}
