//! Pushing to and popping from the ends of a list.

use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::types::ListRef;
use ballast_storage::{Create, Kind};

use super::End;
use super::arguments::{Choice, count};
use crate::commands::context::{Data, SHORT_BYTES_MAX};
use crate::commands::table::CommandResult;
use crate::engine::write::Located;

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
    let key = cx.key(1)?;
    let mut write = cx.write(key);
    let len = write.list(create, |list, limits| {
        for value in args.from(2) {
            end.push(list, value, limits);
        }
        list.len()
    })?;
    write.changed_if(len.is_some(), end.push_event());
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
    let key = cx.key(1)?;
    let Some(wanted) = args.get(2).map(count).transpose()? else {
        return pop_one(cx, key, end, reply);
    };
    if wanted == 0 {
        match cx.read_list(key)? {
            Some(_) => reply.array(0),
            None => reply.null_array(),
        }
        return Ok(());
    }
    let mut write = cx.write(key);
    let popped = write.list(Create::OnlyExisting, |list, limits| {
        end.pop_many(list, wanted, limits, reply);
    })?;
    write.changed_if(popped.is_some(), end.pop_event());
    if popped.is_none() {
        reply.null_array();
    }
    Ok(())
}

/// Pops one element.
fn pop_one(cx: &mut Data<'_>, key: Located<'_>, end: End, reply: &mut Reply) -> CommandResult {
    let mut bytes_max = SHORT_BYTES_MAX;
    let value = loop {
        let mut write = cx.write(key);
        let popped = write.list(Create::OnlyExisting, |list, limits| {
            let is_short = end.element_bytes_max(list) <= bytes_max;
            is_short.then(|| end.pop(list, limits)).flatten()
        })?;
        let is_long = popped == Some(None);
        let value = popped.flatten();
        write.changed_if(value.is_some(), end.pop_event());
        if !is_long || bytes_max == usize::MAX {
            break value;
        }
        cx.begin_long(0, 0)?;
        bytes_max = usize::MAX;
    };
    match value {
        Some(value) => reply.bulk(&value),
        None => reply.null(),
    }
    Ok(())
}

pub(super) fn llen(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let len = cx.read_list(cx.key(1)?)?.map_or(0, ListRef::len);
    reply.integer(len as i64);
    Ok(())
}

pub(super) fn lmpop(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let choice = Choice::parse(args, 1)?;
    if !pop_chosen(cx, &choice, reply)? {
        reply.null_array();
    }
    Ok(())
}

/// Pops from the first of the chosen keys that is a list and replies; false, without a reply,
/// if there is none.
pub(super) fn pop_chosen(
    cx: &mut Data<'_>,
    choice: &Choice,
    reply: &mut Reply,
) -> Result<bool, CommandError> {
    let Some(key) = cx.first_of_kind(choice.keys.clone(), Kind::List)? else {
        return Ok(false);
    };
    let mut write = cx.write(key);
    write.list(Create::OnlyExisting, |list, limits| {
        reply.array(2);
        reply.bulk(key.name());
        choice.end.pop_many(list, choice.count, limits, reply);
    })?;
    let count = choice.count.to_string();
    write.changed_by(choice.end.pop_event(), choice.end.pop_event(), &[count.as_bytes()]);
    Ok(true)
}
