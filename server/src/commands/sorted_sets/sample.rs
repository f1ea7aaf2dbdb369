//! Going through a sorted set: at random, and in steps with a cursor.

use ballast_protocol::glob::glob_match;
use ballast_protocol::number::DoubleText;
use ballast_protocol::{Args, CommandError, Reply};

use super::arguments::integer;
use super::{Scores, open_members, write_member};
use crate::commands::context::Data;
use crate::commands::keyspace::{ScanOptions, scan_cursor};
use crate::commands::table::CommandResult;

/// Members that one `ZRANDMEMBER` with a negative count returns at most; Redis knows no limit
/// but its memory.
const REPEATED_MAX: usize = 1 << 27;

pub(super) fn zrandmember(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let Some(count) = args.get(2) else {
        let random = cx.random();
        match cx.read_zset(args.at(1))?.and_then(|zset| zset.random(random)) {
            Some((member, _)) => member.with_bytes(|member| reply.bulk(member)),
            None => reply.null(),
        }
        return Ok(());
    };
    let count = integer(count)?;
    let scores = match args.get(3) {
        None => Scores::Without,
        Some(word) if args.len() == 4 && word.eq_ignore_ascii_case(b"withscores") => Scores::With,
        Some(_) => return Err(CommandError::Syntax),
    };
    if count == i64::MIN || (scores == Scores::With && count.unsigned_abs() > i64::MAX as u64 / 2) {
        return Err(CommandError::ValueOutOfRange);
    }
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let seed = cx.random();
    let mut random = seeded(seed);
    let Some(zset) = cx.read_zset(args.at(1))? else {
        reply.array(0);
        return Ok(());
    };
    if count >= 0 {
        let members = zset.random_distinct(wanted, &mut random);
        open_members(reply, members.len(), scores);
        for (member, score) in members {
            write_member(reply, member, score, scores);
        }
        return Ok(());
    }
    if wanted > REPEATED_MAX {
        return Err(CommandError::ValueOutOfRange);
    }
    open_members(reply, wanted, scores);
    zset.random_repeated(wanted, &mut random, &mut |member, score| {
        write_member(reply, member, score, scores);
    });
    Ok(())
}

/// A generator for as long as the shard's own is borrowed with the key.
fn seeded(seed: u64) -> impl FnMut() -> u64 {
    use rand::{Rng as _, SeedableRng as _};
    let mut generator = rand::rngs::SmallRng::seed_from_u64(seed);
    move || generator.next_u64()
}

pub(super) fn zscan(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let cursor = scan_cursor(args.at(2))?;
    let Some(zset) = cx.read_zset(args.at(1))? else {
        reply.array(2);
        reply.bulk(b"0");
        reply.array(0);
        return Ok(());
    };
    let options = ScanOptions::parse(args.from(3))?;
    if options.kind.is_some() {
        return Err(CommandError::Syntax);
    }
    let mut members = Reply::new(reply.protocol());
    let mut len = 0;
    let next = zset.scan(cursor, options.count, &mut |member, score| {
        member.with_bytes(|member| {
            if options.pattern.is_none_or(|pattern| glob_match(pattern, member)) {
                members.bulk(member);
                members.bulk(DoubleText::new(score).as_bytes());
                len += 2;
            }
        });
    });
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    reply.array(len);
    reply.raw(members.as_bytes());
    Ok(())
}
