//! Moving an element from one list to another.

use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::{Create, Value};

use super::End;
use super::arguments::end;
use crate::commands::context::Data;
use crate::commands::table::CommandResult;

pub(super) fn lmove(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let (from, to) = (end(args.at(3))?, end(args.at(4))?);
    match move_element(cx, from, to)? {
        Some(value) => reply.bulk(&value),
        None => reply.null(),
    }
    Ok(())
}

pub(super) fn rpoplpush(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    match move_element(cx, End::Right, End::Left)? {
        Some(value) => reply.bulk(&value),
        None => reply.null(),
    }
    Ok(())
}

/// Moves an element from the list that is argument 1 to the one that is argument 2; `None` if
/// there is nothing to move. The destination's type matters only if there is.
pub(super) fn move_element(
    cx: &mut Data<'_>,
    from: End,
    to: End,
) -> Result<Option<Vec<u8>>, CommandError> {
    let (source, destination) = (cx.key(1)?, cx.key(2)?);
    if cx.is_spoken_for(source) {
        return Ok(None);
    }
    if source.name() == destination.name() {
        let mut write = cx.write(source);
        let rotated = write.list(Create::OnlyExisting, |list, limits| {
            let value = from.pop(list, limits)?;
            to.push(list, &value, limits);
            Some(value)
        })?;
        match rotated {
            Some(_) => {
                let arguments: [&[u8]; 3] = [source.name(), from.word(), to.word()];
                write.changed_by(to.push_event(), "LMOVE", &arguments);
            }
            None => write.changed_if(false, to.push_event()),
        }
        return Ok(rotated.flatten());
    }
    let value = match cx.peek(source) {
        None => return Ok(None),
        Some(Value::List(list)) => from.look(list),
        Some(_) => return Err(CommandError::WrongType),
    };
    match cx.peek(destination) {
        None | Some(Value::List(_)) => {}
        Some(_) => return Err(CommandError::WrongType),
    }
    let Some(value) = value else { return Ok(None) };
    // In Redis's order: who follows changes sees the push first.
    let mut write = cx.write(destination);
    write.list(Create::IfMissing, |list, limits| to.push(list, &value, limits))?;
    write.changed_by(to.push_event(), to.push_event(), &[&value]);
    let mut write = cx.write(source);
    write.list(Create::OnlyExisting, |list, limits| from.pop(list, limits))?;
    write.changed_by(from.pop_event(), from.pop_event(), &[]);
    Ok(Some(value))
}
