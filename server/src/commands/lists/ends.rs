//! Pushing to and popping from the ends of a list.

use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::types::ListRef;
use ballast_storage::{Create, Value};

use super::End;
use super::arguments::{Choice, count};
use crate::commands::context::Data;
use crate::commands::table::CommandResult;

pub(super) fn lpush(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    push(cx, args, End::Left, Create::IfMissing, reply)
}

pub(super) fn rpush(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    push(cx, args, End::Right, Create::IfMissing, reply)
}

pub(super) fn lpushx(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    push(cx, args, End::Left, Create::OnlyExisting, reply)
}

pub(super) fn rpushx(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    push(cx, args, End::Right, Create::OnlyExisting, reply)
}

fn push(
    cx: &mut Data<'_>,
    args: Args<'_>,
    end: End,
    create: Create,
    reply: &mut Reply,
) -> CommandResult {
    let key = args.at(1);
    let len = cx.update_list(key, create, |list, limits| {
        for value in args.from(2) {
            end.push(list, value, limits);
        }
        list.len()
    })?;
    if len.is_some() {
        cx.changed(key, end.push_event());
        cx.ready(key);
    }
    reply.integer(len.unwrap_or(0) as i64);
    Ok(())
}

pub(super) fn lpop(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    pop(cx, args, End::Left, reply)
}

pub(super) fn rpop(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    pop(cx, args, End::Right, reply)
}

fn pop(cx: &mut Data<'_>, args: Args<'_>, end: End, reply: &mut Reply) -> CommandResult {
    if args.len() > 3 {
        return Err(CommandError::WrongArity(cx.command.full_name.as_str().into()));
    }
    let key = args.at(1);
    let Some(wanted) = args.get(2).map(count).transpose()? else {
        return match cx
            .update_list(key, Create::OnlyExisting, |list, limits| end.pop(list, limits))?
            .flatten()
        {
            Some(value) => {
                reply.bulk(&value);
                cx.changed(key, end.pop_event());
                Ok(())
            }
            None => {
                reply.null();
                Ok(())
            }
        };
    };
    if wanted == 0 {
        match cx.read_list(key)? {
            Some(_) => reply.array(0),
            None => reply.null_array(),
        }
        return Ok(());
    }
    let popped = cx.update_list(key, Create::OnlyExisting, |list, limits| {
        end.pop_many(list, wanted, limits, reply);
    })?;
    match popped {
        Some(()) => cx.changed(key, end.pop_event()),
        None => reply.null_array(),
    }
    Ok(())
}

pub(super) fn llen(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let len = cx.read_list(args.at(1))?.map_or(0, ListRef::len);
    reply.integer(len as i64);
    Ok(())
}

pub(super) fn lmpop(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let choice = Choice::parse(args, 1)?;
    if !pop_chosen(cx, args, &choice, reply)? {
        reply.null_array();
    }
    Ok(())
}

/// Pops from the first of the chosen keys that is a list and replies; false, without a reply,
/// if there is none.
pub(super) fn pop_chosen(
    cx: &mut Data<'_>,
    args: Args<'_>,
    choice: &Choice,
    reply: &mut Reply,
) -> Result<bool, CommandError> {
    let Some(key) = first_list(cx, choice.keys.clone().map(|at| args.at(at)))? else {
        return Ok(false);
    };
    cx.update_list(key, Create::OnlyExisting, |list, limits| {
        reply.array(2);
        reply.bulk(key);
        choice.end.pop_many(list, choice.count, limits, reply);
    })?;
    cx.changed(key, choice.end.pop_event());
    Ok(true)
}

/// The first of `keys` that exists. What is no list is an error only if it comes first.
pub(super) fn first_list<'k>(
    cx: &mut Data<'_>,
    keys: impl Iterator<Item = &'k [u8]>,
) -> Result<Option<&'k [u8]>, CommandError> {
    for key in keys {
        if cx.is_spoken_for(key) {
            continue;
        }
        match cx.peek(key) {
            None => {}
            Some(Value::List(_)) => return Ok(Some(key)),
            Some(_) => return Err(CommandError::WrongType),
        }
    }
    Ok(None)
}
