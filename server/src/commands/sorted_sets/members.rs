//! Members and their scores: adding, asking, removing.

use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::Create;
use ballast_storage::types::{Inserted, Limits, Order, ZSet, ZSetRef};
use smallvec::SmallVec;

use super::arguments::score;
use crate::commands::context::Data;
use crate::commands::table::CommandResult;
use crate::engine::write::Located;

/// When `ZADD` changes a score.
#[derive(Clone, Copy, Debug, Default)]
struct Conditions {
    /// `NX`: only new members.
    only_new: bool,
    /// `XX`: only members that are there.
    only_existing: bool,
    /// `GT`: only upwards.
    only_greater: bool,
    /// `LT`: only downwards.
    only_less: bool,
}

impl Conditions {
    fn check(self) -> Result<(), CommandError> {
        let Conditions { only_new, only_existing, only_greater, only_less } = self;
        if only_new && only_existing {
            let text = "ERR XX and NX options at the same time are not compatible";
            return Err(CommandError::other(text));
        }
        if (only_new && (only_greater || only_less)) || (only_greater && only_less) {
            let text = "ERR GT, LT, and/or NX options at the same time are not compatible";
            return Err(CommandError::other(text));
        }
        Ok(())
    }

    /// Whether a member may go from score `old`, if it is there, to `new`.
    fn allow(self, old: Option<f64>, new: f64) -> bool {
        match old {
            None => !self.only_existing,
            Some(old) => {
                !self.only_new
                    && (!self.only_greater || new > old)
                    && (!self.only_less || new < old)
            }
        }
    }

    fn create(self) -> Create {
        if self.only_existing { Create::OnlyExisting } else { Create::IfMissing }
    }
}

/// How many members `ZADD` has added, and how many have another score now.
#[derive(Clone, Copy, Debug, Default)]
struct Changes {
    added: usize,
    updated: usize,
}

pub(super) fn zadd(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let mut conditions = Conditions::default();
    let (mut counts_changed, mut increments) = (false, false);
    let mut at = 2;
    while let Some(word) = args.get(at) {
        match word.to_ascii_lowercase().as_slice() {
            b"nx" => conditions.only_new = true,
            b"xx" => conditions.only_existing = true,
            b"gt" => conditions.only_greater = true,
            b"lt" => conditions.only_less = true,
            b"ch" => counts_changed = true,
            b"incr" => increments = true,
            _ => break,
        }
        at += 1;
    }
    let pairs = args.from(at);
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    conditions.check()?;
    if increments && pairs.len() > 2 {
        let text = "ERR INCR option supports a single increment-element pair";
        return Err(CommandError::other(text));
    }
    if increments {
        let by = score(pairs.at(0))?;
        return increment(cx, cx.key(1)?, pairs.at(1), by, conditions, reply);
    }
    let scores: SmallVec<[f64; 8]> =
        pairs.iter().step_by(2).map(score).collect::<Result<_, _>>()?;
    let members = || pairs.iter().skip(1).step_by(2).zip(scores.iter().copied());
    let key = cx.key(1)?;
    let mut write = cx.write(key);
    let changes = write
        .zset(conditions.create(), |zset, limits| add_all(zset, limits, members(), conditions))?;
    let changes = changes.unwrap_or_default();
    write.changed_if(changes.added + changes.updated > 0, "zadd");
    let counted = if counts_changed { changes.added + changes.updated } else { changes.added };
    reply.integer(counted as i64);
    Ok(())
}

fn add_all<'m>(
    zset: &mut ZSet,
    limits: &Limits,
    members: impl Iterator<Item = (&'m [u8], f64)>,
    conditions: Conditions,
) -> Changes {
    let mut changes = Changes::default();
    let unconditional = conditions.allow(None, 0.0)
        && !(conditions.only_new || conditions.only_greater || conditions.only_less);
    for (member, score) in members {
        if !unconditional && !conditions.allow(zset.as_ref().score(member), score) {
            continue;
        }
        match zset.insert(member, score, limits) {
            Inserted::Added => changes.added += 1,
            Inserted::Updated => changes.updated += 1,
            Inserted::Unchanged => {}
        }
    }
    changes
}

pub(super) fn zincrby(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    // Redis looks for the options of ZADD first, and then misses the score.
    let options: [&[u8]; 6] = [b"nx", b"xx", b"gt", b"lt", b"ch", b"incr"];
    if options.iter().any(|option| args.at(2).eq_ignore_ascii_case(option)) {
        return Err(CommandError::Syntax);
    }
    let by = score(args.at(2))?;
    increment(cx, cx.key(1)?, args.at(3), by, Conditions::default(), reply)
}

/// Adds to a member's score and replies with it, or with null if the conditions refuse.
fn increment(
    cx: &mut Data<'_>,
    key: Located<'_>,
    member: &[u8],
    by: f64,
    conditions: Conditions,
    reply: &mut Reply,
) -> CommandResult {
    let mut write = cx.write(key);
    let outcome = write.zset(conditions.create(), |zset, limits| {
        let old = zset.as_ref().score(member);
        // Nothing is added to nothing: -0 stays -0.
        let new = old.map_or(by, |old| old + by);
        if new.is_nan() {
            return Err(CommandError::other("ERR resulting score is not a number (NaN)"));
        }
        if !conditions.allow(old, new) {
            return Ok(None);
        }
        Ok(Some((new, zset.insert(member, new, limits))))
    })?;
    let outcome = outcome.transpose().map(Option::flatten);
    let is_change = |of: &Option<(f64, Inserted)>| {
        of.is_some_and(|(_, inserted)| inserted != Inserted::Unchanged)
    };
    write.changed_if(outcome.as_ref().is_ok_and(is_change), "zincr");
    match outcome? {
        None => reply.null(),
        Some((new, _)) => reply.double(new),
    }
    Ok(())
}

pub(super) fn zrem(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let key = cx.key(1)?;
    let mut write = cx.write(key);
    let removed = write.zset(Create::OnlyExisting, |zset, _| {
        args.from(2).iter().filter(|member| zset.remove(member).is_some()).count()
    })?;
    let removed = removed.unwrap_or(0);
    write.changed_if(removed > 0, "zrem");
    reply.integer(removed as i64);
    Ok(())
}

pub(super) fn zcard(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let len = cx.read_zset(cx.key(1)?)?.map_or(0, ZSetRef::len);
    reply.integer(len as i64);
    Ok(())
}

pub(super) fn zscore(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let zset = cx.read_zset(cx.key(1)?)?;
    write_score(zset.and_then(|zset| zset.score(args.at(2))), reply);
    Ok(())
}

pub(super) fn zmscore(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let zset = cx.read_zset(cx.key(1)?)?;
    let members = args.from(2);
    reply.array(members.len());
    for member in members.iter() {
        write_score(zset.and_then(|zset| zset.score(member)), reply);
    }
    Ok(())
}

fn write_score(score: Option<f64>, reply: &mut Reply) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

pub(super) fn zrank(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    rank(cx, args, Order::Ascending, reply)
}

pub(super) fn zrevrank(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    rank(cx, args, Order::Descending, reply)
}

fn rank(cx: &mut Data<'_>, args: Args<'_>, order: Order, reply: &mut Reply) -> CommandResult {
    let with_score = match args.get(3) {
        None => false,
        Some(word) if args.len() == 4 && word.eq_ignore_ascii_case(b"withscore") => true,
        Some(_) if args.len() == 4 => return Err(CommandError::Syntax),
        Some(_) => return Err(CommandError::WrongArity(cx.command.full_name.as_str().into())),
    };
    let zset = cx.read_zset(cx.key(1)?)?;
    match zset.and_then(|zset| zset.rank(args.at(2), order)) {
        Some((rank, score)) if with_score => {
            reply.array(2);
            reply.integer(rank as i64);
            reply.double(score);
        }
        Some((rank, _)) => reply.integer(rank as i64),
        None if with_score => reply.null_array(),
        None => reply.null(),
    }
    Ok(())
}
