//! `SCAN`: a walk over the slots in their order, and in each over its keys in the order of their
//! hashes.
//!
//! Invariant: the cursor is a slot and a position in it, both independent of which shard the
//! slot is on. So every key that is there from the first call to the last is returned at least
//! once, though slots move between the shards meanwhile.

use std::sync::Arc;

use ballast_protocol::glob::glob_match;
use ballast_protocol::number::{parse_i64, parse_u64};
use ballast_protocol::slot::SLOTS;
use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::Kind;

use crate::commands::context::Data;
use crate::commands::gather::{Gathered, Gathering};
use crate::commands::keys::kind_name;
use crate::commands::table::CommandResult;
use crate::engine::Engine;

/// `COUNT` where it is not given.
const COUNT: usize = 10;
/// Bits of the slot in a cursor, below those of the position.
const SLOT_BITS: u32 = 14;
/// Bits of a position in a slot.
const POSITION_BITS: u32 = 48;
/// Shards that one call asks at most, where slots of different shards alternate.
const HOPS_MAX: usize = 256;
/// Steps without a key that one shard takes through thinly filled keyspaces for one call.
const EMPTY_STEPS_MAX: usize = 64;

/// `MATCH`, `COUNT` and `TYPE` of the `SCAN` family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScanOptions<'a> {
    /// Only what matches; `None`: everything.
    pub(crate) pattern: Option<&'a [u8]>,
    /// About how many elements to look at.
    pub(crate) count: usize,
    /// Only keys of the type of this name.
    pub(crate) kind: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    /// Parses the arguments behind the cursor.
    pub(crate) fn parse(args: Args<'a>) -> Result<ScanOptions<'a>, CommandError> {
        let mut options = ScanOptions { pattern: None, count: COUNT, kind: None };
        let mut at = 0;
        while let Some(word) = args.get(at) {
            let value = args.get(at + 1).ok_or(CommandError::Syntax)?;
            match word.to_ascii_lowercase().as_slice() {
                b"match" => options.pattern = (value != b"*").then_some(value),
                b"count" => {
                    let count = parse_i64(value).ok_or(CommandError::NotInteger)?;
                    options.count = usize::try_from(count)
                        .ok()
                        .filter(|count| *count > 0)
                        .ok_or(CommandError::Syntax)?;
                }
                b"type" => options.kind = Some(value),
                _ => return Err(CommandError::Syntax),
            }
            at += 2;
        }
        Ok(options)
    }

    /// [`Self::parse`] for the elements of one key, which are all of one type.
    pub(crate) fn of_elements(args: Args<'a>) -> Result<ScanOptions<'a>, CommandError> {
        let options = ScanOptions::parse(args)?;
        if options.kind.is_some() { Err(CommandError::Syntax) } else { Ok(options) }
    }

    /// Whether an element of this name is wanted.
    pub(crate) fn takes(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob_match(pattern, name))
    }
}

/// Writes the reply of a scan: the next cursor, and the `len` items that `found` has.
pub(crate) fn write_scan(next: u64, len: usize, found: Reply, reply: &mut Reply) {
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    reply.array(len);
    reply.append(found);
}

/// Parses a cursor as C's `strtoul` does, as Redis: nothing is 0, there may be a sign, and a NUL
/// is the end.
pub(crate) fn scan_cursor(text: &[u8]) -> Result<u64, CommandError> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let (negative, digits) = match text {
        [] => return Ok(0),
        [sign @ (b'+' | b'-'), digits @ ..] => (*sign == b'-', digits),
        digits => (false, digits),
    };
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let number = match &digits[zeros..] {
        [] if zeros > 0 => 0,
        digits => parse_u64(digits).ok_or(CommandError::InvalidCursor)?,
    };
    Ok(if negative { number.wrapping_neg() } else { number })
}

/// Where a walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    slot: u16,
    position: u64,
}

impl Cursor {
    /// Any number is some cursor: bits that none has are left out.
    fn decode(number: u64) -> Cursor {
        let slot = (number & (u64::from(SLOTS) - 1)) as u16;
        let position = (number >> SLOT_BITS) & ((1 << POSITION_BITS) - 1);
        Cursor { slot, position }
    }

    /// 0 only for the start of the first slot.
    fn encode(self) -> u64 {
        debug_assert!(self.position < 1 << POSITION_BITS && self.slot < SLOTS);
        self.position << SLOT_BITS | u64::from(self.slot)
    }

    /// The start of the next slot; none behind the last.
    fn next_slot(self) -> Option<Cursor> {
        let slot = self.slot + 1;
        (slot < SLOTS).then_some(Cursor { slot, position: 0 })
    }
}

/// What a walk looks for.
struct Query {
    db: u8,
    pattern: Option<Vec<u8>>,
    kind: Option<Vec<u8>>,
    count: usize,
}

impl Query {
    fn parse(args: Args<'_>, db: u8) -> Result<Query, CommandError> {
        let options = ScanOptions::parse(args.from(2))?;
        Ok(Query {
            db,
            pattern: options.pattern.map(<[u8]>::to_vec),
            kind: options.kind.map(<[u8]>::to_vec),
            count: options.count,
        })
    }

    fn takes(&self, key: &[u8], kind: Kind) -> bool {
        let name = |wanted: &Vec<u8>| wanted.eq_ignore_ascii_case(kind_name(kind).as_bytes());
        self.kind.as_ref().is_none_or(name)
            && self.pattern.as_ref().is_none_or(|pattern| glob_match(pattern, key))
    }
}

/// What a shard found on its part of a walk.
struct Stretch {
    /// Keys looked at.
    seen: usize,
    /// Keys found.
    found: usize,
    /// The keys found, each as a bulk string.
    encoded: Reply,
    /// Where to go on; `None` at the end of the database.
    next: Option<Cursor>,
    /// It stopped only because the next slot is not here.
    away: bool,
}

impl Stretch {
    fn new() -> Stretch {
        Stretch { seen: 0, found: 0, encoded: Reply::default(), next: None, away: false }
    }
}

/// Walks from `start` over the slots that are here, until `wanted` keys have been looked at.
fn walk(state: &Engine, query: &Query, start: Cursor, wanted: usize) -> Stretch {
    let mut stretch = Stretch::new();
    let mut at = start;
    let mut empty_steps = 0;
    loop {
        let Some(slot) = state.slot(at.slot) else {
            return Stretch { next: Some(at), away: true, ..stretch };
        };
        if stretch.seen >= wanted || empty_steps >= EMPTY_STEPS_MAX {
            return Stretch { next: Some(at), ..stretch };
        }
        let keyspace = slot.data().keyspace(query.db).filter(|keys| !keys.is_empty());
        if let Some(keyspace) = keyspace {
            let before = stretch.seen;
            let left = wanted - before;
            at.position = keyspace.scan(at.position, left, &mut |key, meta| {
                stretch.seen += 1;
                let live = meta.expiry.is_none_or(|at_ms| at_ms >= state.now_ms);
                if live && query.takes(key, meta.kind) {
                    stretch.encoded.bulk(key);
                    stretch.found += 1;
                }
            });
            empty_steps += usize::from(stretch.seen == before);
        }
        if keyspace.is_none() || at.position == 0 {
            match at.next_slot() {
                Some(next) => at = next,
                None => return stretch,
            }
        }
    }
}

fn write(stretches: Vec<Stretch>, next: Option<Cursor>, reply: &mut Reply) {
    reply.array(2);
    let cursor = next.map_or(0, Cursor::encode);
    reply.bulk(itoa::Buffer::new().format(cursor).as_bytes());
    reply.array(stretches.iter().map(|stretch| stretch.found).sum());
    for stretch in stretches {
        reply.append(stretch.encoded);
    }
}

pub(super) fn scan_held(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let start = Cursor::decode(scan_cursor(args.at(1))?);
    let query = Query::parse(args, cx.caller.db)?;
    let stretch = walk(cx.engine, &query, start, query.count);
    let next = stretch.next;
    write(vec![stretch], next, reply);
    Ok(())
}

pub(super) fn scan<'a>(
    gathering: Gathering<'a>,
    args: Args<'a>,
    reply: &'a mut Reply,
) -> Gathered<'a> {
    Box::pin(async move {
        let start = Cursor::decode(scan_cursor(args.at(1))?);
        let query = Arc::new(Query::parse(args, gathering.session.db)?);
        let (stretches, next) = walk_shards(&gathering, &query, start).await?;
        write(stretches, next, reply);
        Ok(())
    })
}

/// Walks from shard to shard, always asking the owner of the cursor's slot.
async fn walk_shards(
    gathering: &Gathering<'_>,
    query: &Arc<Query>,
    start: Cursor,
) -> Result<(Vec<Stretch>, Option<Cursor>), CommandError> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut at = start;
    let mut wanted = query.count;
    loop {
        let query = Arc::clone(query);
        let answer = gathering.on_slot(at.slot, move |state| walk(state, &query, at, wanted));
        let Some(stretch) = answer.await else {
            return Err(CommandError::other("ERR the server is shutting down"));
        };
        let Some(next) = stretch.next else {
            stretches.push(stretch);
            return Ok((stretches, None));
        };
        let goes_on = stretch.away && stretch.seen < wanted && stretches.len() < HOPS_MAX;
        wanted = wanted.saturating_sub(stretch.seen);
        at = next;
        stretches.push(stretch);
        if !goes_on {
            return Ok((stretches, Some(next)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use ballast_protocol::slot::key_slot;
    use ballast_storage::Key;
    use proptest::prelude::*;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::engine::write::{Located, Usage, Write};
    use crate::ids::ShardId;
    use crate::log::Log;
    use crate::shard::Shard;
    use crate::shard::message::Message;
    use crate::shard::shared::Shared;

    const SHARDS: u16 = 3;

    fn shards() -> Vec<Shard> {
        let mut config = Config::default();
        config.preset("shards", &SHARDS.to_string()).expect("a number of shards");
        let shared = Shared::new(config, Clock::manual(1_000).0, Log::in_memory(), 1);
        (0..SHARDS).map(|id| Shard::new(ShardId(id), Arc::clone(&shared))).collect()
    }

    /// Moves a slot to another shard, mailbox included.
    fn hand_over(shards: &[Shard], slot: u16, to: ShardId) {
        let owner = shards[0].shared.router.owner(slot);
        shards[owner.index()].state().hand_over(slot, to);
        if let Some(Message::Adopt(slot, boxed, since)) =
            shards[0].shared.mailboxes[to.index()].pop()
        {
            shards[to.index()].state().adopt(slot, boxed, since);
        }
    }

    /// Lets `change` write to a key on its owner.
    fn change(shards: &[Shard], name: &[u8], change: impl FnOnce(Write<'_, '_>)) {
        let slot = key_slot(name);
        let mut state = shards[shards[0].shared.router.owner(slot).index()].state();
        change(state.write(0, Located { slot, key: Key::new(name) }, Usage::Ignored));
    }

    fn put(shards: &[Shard], key: &[u8], expiry: Option<i64>) {
        change(shards, key, |mut write| {
            write.set_string(b"v", expiry);
            write.changed("set");
        });
    }

    fn remove(shards: &[Shard], key: &[u8]) {
        change(shards, key, |write| {
            write.remove("del");
        });
    }

    /// The bulk strings of a reply.
    fn keys_of(encoded: &Reply) -> Vec<Vec<u8>> {
        let encoded = encoded.to_vec();
        let text = encoded.split(|byte| *byte == b'\n');
        let lines: Vec<&[u8]> = text.map(<[u8]>::trim_ascii_end).collect();
        lines.chunks_exact(2).map(|pair| pair[1].to_vec()).collect()
    }

    /// Goes through everything, changing something between the calls.
    fn scan_all(shards: &[Shard], count: usize, mut between: impl FnMut(&[Shard])) -> Vec<Vec<u8>> {
        let query = Query { db: 0, pattern: None, kind: None, count };
        let mut found = Vec::new();
        let mut at = Cursor::decode(0);
        loop {
            let owner = shards[0].shared.router.owner(at.slot);
            let stretch = walk(&shards[owner.index()].state(), &query, at, count);
            found.extend(keys_of(&stretch.encoded));
            match stretch.next {
                Some(next) => at = Cursor::decode(next.encode()),
                None => return found,
            }
            between(shards);
        }
    }

    #[test]
    fn expired_keys_are_not_shown() {
        let shards = shards();
        put(&shards, b"over", Some(999));
        put(&shards, b"lives", Some(1_000));
        assert_eq!(scan_all(&shards, 10, |_| {}), [b"lives"]);
    }

    #[test]
    fn thinly_filled_slots_are_skipped_until_the_count_is_reached() {
        let shards = shards();
        (0..3_000).for_each(|number: u32| put(&shards, number.to_string().as_bytes(), None));
        let mut calls = 0;
        let found = scan_all(&shards, 1_000_000, |_| calls += 1);
        assert_eq!((found.len(), calls), (3_000, usize::from(SHARDS) - 1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn what_stays_is_found_though_slots_move(seed: u64, count in 5usize..400) {
            let shards = shards();
            let mut random = SmallRng::seed_from_u64(seed);
            let name = |number: u32| match number % 3 {
                0 => format!("{{one}}{number}").into_bytes(),
                _ => format!("key:{number}").into_bytes(),
            };
            let stays: HashSet<Vec<u8>> = (0..1_000).map(name).collect();
            stays.iter().for_each(|key| put(&shards, key, None));
            let found = scan_all(&shards, count, |shards| {
                for _ in 0..20 {
                    let slot = match random.random_range(0..10) {
                        0 => key_slot(b"one"),
                        _ => random.random_range(0..SLOTS),
                    };
                    hand_over(shards, slot, ShardId(random.random_range(0..SHARDS)));
                    let passing = name(random.random_range(10_000..10_400));
                    if random.random_bool(0.5) {
                        put(shards, &passing, None);
                    } else {
                        remove(shards, &passing);
                    }
                }
            });
            let found: HashSet<Vec<u8>> = found.into_iter().collect();
            prop_assert!(stays.is_subset(&found));
        }
    }

    #[test]
    fn only_the_start_is_zero() {
        assert_eq!(Cursor { slot: 0, position: 0 }.encode(), 0);
        assert_ne!(Cursor { slot: 1, position: 0 }.encode(), 0);
        assert_ne!(Cursor { slot: 0, position: 1 }.encode(), 0);
        let last = Cursor { slot: SLOTS - 1, position: 0 };
        assert_eq!(last.next_slot(), None);
    }

    #[test]
    fn cursors_are_unsigned_numbers() {
        assert_eq!(scan_cursor(b"0"), Ok(0));
        assert_eq!(scan_cursor(b"007"), Ok(7));
        assert_eq!(scan_cursor(b"18446744073709551615"), Ok(u64::MAX));
        assert_eq!(scan_cursor(b""), Ok(0));
        assert_eq!(scan_cursor(b"+5"), Ok(5));
        assert_eq!(scan_cursor(b"-1"), Ok(u64::MAX));
        for text in ["x", "1x", " 1", "+", "--1", "+-1", "18446744073709551616"] {
            assert_eq!(scan_cursor(text.as_bytes()), Err(CommandError::InvalidCursor), "{text}");
        }
    }

    proptest! {
        #[test]
        fn cursors_round_trip(slot in 0..SLOTS, position in 0..1u64 << POSITION_BITS) {
            let cursor = Cursor { slot, position };
            prop_assert_eq!(Cursor::decode(cursor.encode()), cursor);
        }

        #[test]
        fn any_number_is_a_cursor(number: u64) {
            let cursor = Cursor::decode(number);
            prop_assert!(cursor.slot < SLOTS);
            prop_assert_eq!(Cursor::decode(cursor.encode()), cursor);
        }
    }
}
