//! Popping and moving that waits for a list to get elements. Each of these commands is executed
//! again when one of the lists that it waits for has got some, so it does nothing before it
//! blocks.

use ballast_protocol::{Args, Reply};
use ballast_storage::{Create, Kind};

use super::End;
use super::arguments::{Choice, end, timeout_ms};
use super::ends::pop_chosen;
use super::moves::move_element;
use crate::commands::context::Data;
use crate::commands::table::CommandResult;
use crate::engine::waiters::OnTimeout;

pub(super) fn blpop(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    pop_or_block(cx, args, End::Left, reply)
}

pub(super) fn brpop(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    pop_or_block(cx, args, End::Right, reply)
}

fn pop_or_block(cx: &mut Data<'_>, args: Args<'_>, end: End, reply: &mut Reply) -> CommandResult {
    let last = args.len() - 1;
    let timeout_ms = timeout_ms(args.at(last))?;
    let Some(key) = cx.first_of_kind(1..last, Kind::List)? else {
        cx.block_on((1..last).collect(), timeout_ms, OnTimeout::NullArray);
        return Ok(());
    };
    let mut write = cx.write(key);
    let value = write.list(Create::OnlyExisting, |list, limits| end.pop(list, limits))?;
    write.changed(end.pop_event());
    reply.array(2);
    reply.bulk(key.name());
    reply.bulk(&value.flatten().unwrap_or_default());
    Ok(())
}

pub(super) fn blmpop(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let choice = Choice::parse(args, 2)?;
    let timeout_ms = timeout_ms(args.at(1))?;
    if !pop_chosen(cx, &choice, reply)? {
        cx.block_on(choice.keys.collect(), timeout_ms, OnTimeout::NullArray);
    }
    Ok(())
}

pub(super) fn blmove(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let (from, to) = (end(args.at(3))?, end(args.at(4))?);
    let timeout_ms = timeout_ms(args.at(5))?;
    move_or_block(cx, from, to, timeout_ms, reply)
}

pub(super) fn brpoplpush(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let timeout_ms = timeout_ms(args.at(3))?;
    move_or_block(cx, End::Right, End::Left, timeout_ms, reply)
}

fn move_or_block(
    cx: &mut Data<'_>,
    from: End,
    to: End,
    timeout_ms: u64,
    reply: &mut Reply,
) -> CommandResult {
    let Some(value) = move_element(cx, from, to)? else {
        // As in Redis: the end of a wait is a null array, no element at once is a null string.
        let on_timeout = if cx.caller.may_block { OnTimeout::NullArray } else { OnTimeout::Null };
        cx.block_on(vec![1], timeout_ms, on_timeout);
        return Ok(());
    };
    reply.bulk(&value);
    Ok(())
}
