//! Going through a sorted set: at random, and in steps with a cursor.

use ballast_protocol::number::DoubleText;
use ballast_protocol::{Args, CommandError, Reply};

use super::{Scores, open_members, write_member};
use crate::commands::arguments::{Companion, Sample, write_repeated};
use crate::commands::context::Data;
use crate::commands::keyspace::{ScanOptions, scan_cursor, write_scan};
use crate::commands::table::CommandResult;

pub(super) fn zrandmember(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let Some(count) = args.get(2) else {
        let random = cx.random();
        match cx.read_zset(cx.key(1)?)?.and_then(|zset| zset.random(random)) {
            Some((member, _)) => member.with_bytes(|member| reply.bulk(member)),
            None => reply.null(),
        }
        return Ok(());
    };
    let count = Sample::parse(count)?;
    let scores = match args.get(3) {
        None => Scores::Without,
        Some(word) if args.len() == 4 && word.eq_ignore_ascii_case(b"withscores") => Scores::With,
        Some(_) => return Err(CommandError::Syntax),
    };
    let companion = if scores == Scores::With { Companion::One } else { Companion::None };
    let sample = Sample::of(count, companion)?;
    let seed = cx.random();
    let mut random = seeded(seed);
    let Some(zset) = cx.read_zset(cx.key(1)?)? else {
        reply.array(0);
        return Ok(());
    };
    match sample {
        Sample::Distinct(wanted) => {
            let members = zset.random_distinct(wanted, &mut random);
            open_members(reply, members.len(), scores);
            for (member, score) in members {
                write_member(reply, member, score, scores);
            }
        }
        Sample::Repeated(wanted) => {
            open_members(reply, wanted, scores);
            write_repeated(wanted, reply, |part, reply| {
                zset.random_repeated(part, &mut random, &mut |member, score| {
                    write_member(reply, member, score, scores);
                });
            })?;
        }
    }
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
    let Some(zset) = cx.read_zset(cx.key(1)?)? else {
        write_scan(0, 0, Reply::default(), reply);
        return Ok(());
    };
    let options = ScanOptions::of_elements(args.from(3))?;
    let mut members = Reply::new(reply.protocol());
    let mut len = 0;
    let next = zset.scan(cursor, options.count, &mut |member, score| {
        member.with_bytes(|member| {
            if options.takes(member) {
                members.bulk(member);
                members.bulk(DoubleText::new(score).as_bytes());
                len += 2;
            }
        });
    });
    write_scan(next, len, members, reply);
    Ok(())
}
