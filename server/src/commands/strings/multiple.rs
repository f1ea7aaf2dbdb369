//! Several strings in one command.

use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::Value;

use super::{is_long, write_string};
use crate::commands::context::Data;
use crate::commands::many_keys::ManyKeys;
use crate::commands::table::CommandResult;

pub(super) fn mget(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    reply.array(args.len() - 1);
    let (mut hits, mut misses) = (0, 0);
    let mut keys = ManyKeys::new(args, 1);
    while let Some(key) = keys.next(cx)? {
        let value = cx.read(key.located);
        hits += u64::from(value.is_some());
        misses += u64::from(value.is_none());
        if is_long(value) {
            cx.begin_long(hits, misses)?;
            write_string(reply, cx.seen(key.located))?;
            continue;
        }
        match value {
            Some(Value::Str(text)) => reply.bulk(text),
            Some(Value::Int(number)) => reply.bulk_integer(number),
            _ => reply.null(),
        }
    }
    Ok(())
}

pub(super) fn mset(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    check_pairs(cx, args)?;
    store_pairs(cx, args)?;
    reply.ok();
    Ok(())
}

pub(super) fn msetnx(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    check_pairs(cx, args)?;
    let mut absent = true;
    for at in (1..args.len()).step_by(2) {
        absent &= !cx.exists(cx.key(at)?);
    }
    if absent {
        store_pairs(cx, args)?;
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

fn store_pairs(cx: &mut Data<'_>, args: Args<'_>) -> CommandResult {
    let mut keys = ManyKeys::new(args, 2);
    while let Some(key) = keys.next(cx)? {
        let mut write = cx.write(key.located);
        write.set_string(args.at(key.at + 1), None);
        write.changed("set");
    }
    Ok(())
}
