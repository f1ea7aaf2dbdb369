//! Counters: strings that are numbers.

use ballast_protocol::number::{LongDouble, parse_i64};
use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::AddError;

use super::text_of;
use crate::commands::context::Data;
use crate::commands::table::CommandResult;
use crate::engine::write::Located;

pub(super) fn incr(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    add(cx, cx.key(1)?, 1, reply)
}

pub(super) fn decr(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    add(cx, cx.key(1)?, -1, reply)
}

pub(super) fn incrby(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let amount = parse_i64(args.at(2)).ok_or(CommandError::NotInteger)?;
    add(cx, cx.key(1)?, amount, reply)
}

pub(super) fn decrby(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let amount = parse_i64(args.at(2)).ok_or(CommandError::NotInteger)?;
    let Some(amount) = amount.checked_neg() else {
        return Err(CommandError::other("ERR decrement would overflow"));
    };
    add(cx, cx.key(1)?, amount, reply)
}

#[inline]
fn add(cx: &mut Data<'_>, key: Located<'_>, amount: i64, reply: &mut Reply) -> CommandResult {
    let mut write = cx.write(key);
    let sum = write.add(amount);
    let sum = write.done(sum, "incrby").map_err(add_error)?;
    reply.integer(sum);
    Ok(())
}

#[cold]
fn add_error(error: AddError) -> CommandError {
    match error {
        AddError::WrongType => CommandError::WrongType,
        AddError::NotInteger => CommandError::NotInteger,
        AddError::Overflow => CommandError::Overflow,
    }
}

pub(super) fn incrbyfloat(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let key = cx.key(1)?;
    let mut write = cx.write(key);
    let old = match write.value() {
        None => LongDouble::from(0),
        value => {
            let mut digits = itoa::Buffer::new();
            LongDouble::parse(text_of(value, &mut digits)?).ok_or(CommandError::NotFloat)?
        }
    };
    let amount = LongDouble::parse(args.at(2)).ok_or(CommandError::NotFloat)?;
    let new = old.checked_add(amount).ok_or(CommandError::NanOrInfinity)?.to_string();
    let expiry = write.expiry();
    // As Redis, it stays a float's text also where that is an integer's.
    write.set_text(new.as_bytes(), expiry);
    write.changed("incrbyfloat");
    reply.bulk(new.as_bytes());
    Ok(())
}
