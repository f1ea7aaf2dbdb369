//! Moving an element from one list to another.

use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::{Create, Value};

use super::End;
use super::arguments::end;
use crate::commands::context::Data;
use crate::commands::table::CommandResult;

pub(super) fn lmove(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let (from, to) = (end(args.at(3))?, end(args.at(4))?);
    match move_element(cx, args, from, to)? {
        Some(value) => reply.bulk(&value),
        None => reply.null(),
    }
    Ok(())
}

pub(super) fn rpoplpush(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    match move_element(cx, args, End::Right, End::Left)? {
        Some(value) => reply.bulk(&value),
        None => reply.null(),
    }
    Ok(())
}

/// Moves an element from the list that is argument 1 to the one that is argument 2; `None` if
/// there is nothing to move. The destination's type matters only if there is.
pub(super) fn move_element(
    cx: &mut Data<'_>,
    args: Args<'_>,
    from: End,
    to: End,
) -> Result<Option<Vec<u8>>, CommandError> {
    let (source, destination) = (args.at(1), args.at(2));
    if cx.is_spoken_for(source) {
        return Ok(None);
    }
    if source == destination {
        let rotated = cx.update_list(source, Create::OnlyExisting, |list, limits| {
            let value = from.pop(list, limits)?;
            to.push(list, &value, limits);
            Some(value)
        })?;
        if rotated.is_some() {
            cx.changed(source, to.push_event());
            cx.ready(source);
        }
        return Ok(rotated.flatten());
    }
    match cx.peek(source) {
        None => return Ok(None),
        Some(Value::List(_)) => {}
        Some(_) => return Err(CommandError::WrongType),
    }
    match cx.peek(destination) {
        None | Some(Value::List(_)) => {}
        Some(_) => return Err(CommandError::WrongType),
    }
    let popped = cx
        .update_list(source, Create::OnlyExisting, |list, limits| from.pop(list, limits))?
        .flatten();
    let Some(value) = popped else { return Ok(None) };
    cx.update_list(destination, Create::IfMissing, |list, limits| to.push(list, &value, limits))?;
    cx.changed(destination, to.push_event());
    cx.ready(destination);
    cx.changed(source, from.pop_event());
    Ok(Some(value))
}
