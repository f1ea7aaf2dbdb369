//! Taking the members with the lowest or highest scores, also waiting for them.

use ballast_protocol::{Args, CommandError, Protocol, Reply};
use ballast_storage::types::{Order, ZSet, ZSetRef};
use ballast_storage::{Create, Kind, Value};

use super::arguments::{at_least_one, count, timeout_ms};
use crate::commands::context::{Data, SHORT_BYTES_MAX};
use crate::commands::table::CommandResult;
use crate::engine::waiters::OnTimeout;
use crate::engine::write::Located;

/// Which end of the sorted set is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

impl End {
    /// Named after the command.
    fn event(self) -> &'static str {
        match self {
            End::Min => "zpopmin",
            End::Max => "zpopmax",
        }
    }

    /// `MIN` or `MAX`.
    fn parse(word: &[u8]) -> Option<End> {
        match word.to_ascii_lowercase().as_slice() {
            b"min" => Some(End::Min),
            b"max" => Some(End::Max),
            _ => None,
        }
    }

    /// What the member at this end has at most, in bytes.
    fn member_bytes_max(self, zset: ZSetRef<'_>) -> usize {
        match self {
            End::Min => zset.first_bytes_max(),
            End::Max => zset.last_bytes_max(),
        }
    }

    /// Removes up to `count` members and passes them to `f`, starting at this end.
    fn take(self, zset: &mut ZSet, count: usize, f: &mut dyn FnMut(&[u8], f64)) {
        let len = zset.len();
        let count = count.min(len);
        match self {
            End::Min => {
                zset.remove_ranks(0..count, &mut |member, score| {
                    member.with_bytes(|member| f(member, score));
                });
            }
            End::Max => {
                let ranks = len - count..len;
                for (member, score) in zset.as_ref().range(ranks.clone(), Order::Descending) {
                    member.with_bytes(|member| f(member, score));
                }
                zset.remove_ranks(ranks, &mut |_, _| {});
            }
        }
    }
}

pub(super) fn zpopmin(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    pop(cx, args, End::Min, reply)
}

pub(super) fn zpopmax(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    pop(cx, args, End::Max, reply)
}

fn pop(cx: &mut Data<'_>, args: Args<'_>, end: End, reply: &mut Reply) -> CommandResult {
    if args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let wanted = args.get(2).map(count).transpose()?;
    let key = cx.key(1)?;
    let nested = wanted.is_some() && reply.protocol() == Protocol::Resp3;
    if wanted.is_none()
        && let Some(Value::ZSet(zset)) = cx.peek(key)
        && end.member_bytes_max(zset) > SHORT_BYTES_MAX
    {
        cx.begin_long(0, 0)?;
    }
    let mut write = cx.write(key);
    let popped = write.zset(Create::OnlyExisting, |zset, _| {
        let taken = wanted.unwrap_or(1).min(zset.len());
        reply.array(if nested { taken } else { taken * 2 });
        end.take(zset, taken, &mut |member, score| {
            if nested {
                reply.array(2);
            }
            reply.bulk(member);
            reply.double(score);
        });
        taken
    })?;
    write.changed_if(popped.is_some_and(|taken| taken > 0), end.event());
    if popped.is_none() {
        reply.array(0);
    }
    Ok(())
}

pub(super) fn bzpopmin(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    pop_or_block(cx, args, End::Min, reply)
}

pub(super) fn bzpopmax(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    pop_or_block(cx, args, End::Max, reply)
}

fn pop_or_block(cx: &mut Data<'_>, args: Args<'_>, end: End, reply: &mut Reply) -> CommandResult {
    let last = args.len() - 1;
    let timeout_ms = timeout_ms(args.at(last))?;
    let Some(key) = cx.first_of_kind(1..last, Kind::ZSet)? else {
        cx.block_on((1..last).collect(), timeout_ms, OnTimeout::NullArray);
        return Ok(());
    };
    let mut write = cx.write(key);
    write.zset(Create::OnlyExisting, |zset, _| {
        reply.array(3);
        reply.bulk(key.name());
        end.take(zset, 1, &mut |member, score| {
            reply.bulk(member);
            reply.double(score);
        });
    })?;
    write.changed_by(end.event(), end.event(), &[]);
    Ok(())
}

/// `numkeys key … MIN|MAX [COUNT count]`
struct Choice {
    /// Positions of the keys among the arguments.
    keys: std::ops::Range<usize>,
    end: End,
    count: usize,
}

/// Parses a [`Choice`] whose number of keys is argument `at`.
fn parse_choice(args: Args<'_>, at: usize) -> Result<Choice, CommandError> {
    let keys = at_least_one(args.at(at), "ERR numkeys should be greater than 0")?;
    let first = at + 1;
    let place = first.saturating_add(keys);
    let end = args.get(place).and_then(End::parse).ok_or(CommandError::Syntax)?;
    let mut count = None;
    let mut option = place + 1;
    while let Some(word) = args.get(option) {
        if count.is_some() || !word.eq_ignore_ascii_case(b"count") || option + 1 == args.len() {
            return Err(CommandError::Syntax);
        }
        let text = args.at(option + 1);
        count = Some(at_least_one(text, "ERR count should be greater than 0")?);
        option += 2;
    }
    Ok(Choice { keys: first..place, end, count: count.unwrap_or(1) })
}

pub(super) fn zmpop(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let choice = parse_choice(args, 1)?;
    match cx.first_of_kind(choice.keys.clone(), Kind::ZSet)? {
        Some(key) => pop_many(cx, key, &choice, reply),
        None => {
            reply.null_array();
            Ok(())
        }
    }
}

pub(super) fn bzmpop(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let choice = parse_choice(args, 2)?;
    let timeout_ms = timeout_ms(args.at(1))?;
    match cx.first_of_kind(choice.keys.clone(), Kind::ZSet)? {
        Some(key) => pop_many(cx, key, &choice, reply),
        None => {
            cx.block_on(choice.keys.collect(), timeout_ms, OnTimeout::NullArray);
            Ok(())
        }
    }
}

fn pop_many(
    cx: &mut Data<'_>,
    key: Located<'_>,
    choice: &Choice,
    reply: &mut Reply,
) -> CommandResult {
    let mut write = cx.write(key);
    write.zset(Create::OnlyExisting, |zset, _| {
        let taken = choice.count.min(zset.len());
        reply.array(2);
        reply.bulk(key.name());
        reply.array(taken);
        choice.end.take(zset, taken, &mut |member, score| {
            reply.array(2);
            reply.bulk(member);
            reply.double(score);
        });
    })?;
    let count = choice.count.to_string();
    write.changed_by(choice.end.event(), choice.end.event(), &[count.as_bytes()]);
    Ok(())
}
