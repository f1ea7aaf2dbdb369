//! Several strings in one command.

use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::Value;

use super::store;
use crate::commands::context::Data;
use crate::commands::many_keys::ManyKeys;
use crate::commands::table::CommandResult;

pub(super) fn mget(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    reply.array(args.len() - 1);
    let mut keys = ManyKeys::new(args, 1);
    while let Some(at) = keys.next(cx) {
        match cx.read(args.at(at)) {
            Some(Value::Str(text)) => reply.bulk(text),
            Some(Value::Int(number)) => reply.bulk_integer(number),
            _ => reply.null(),
        }
    }
    Ok(())
}

pub(super) fn mset(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    check_pairs(cx, args)?;
    store_pairs(cx, args);
    reply.ok();
    Ok(())
}

pub(super) fn msetnx(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    check_pairs(cx, args)?;
    let absent = (1..args.len()).step_by(2).all(|at| !cx.exists(args.at(at)));
    if absent {
        store_pairs(cx, args);
    }
    reply.integer(i64::from(absent));
    Ok(())
}

/// Each key needs its value.
fn check_pairs(cx: &Data<'_>, args: Args<'_>) -> CommandResult {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity(cx.command.name.into()));
    }
    Ok(())
}

fn store_pairs(cx: &mut Data<'_>, args: Args<'_>) {
    let mut keys = ManyKeys::new(args, 2);
    while let Some(at) = keys.next(cx) {
        let key = args.at(at);
        store(cx, key, args.at(at + 1), None);
        cx.changed(key, "set");
    }
}
