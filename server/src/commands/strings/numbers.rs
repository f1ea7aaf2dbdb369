//! Counters: strings that are numbers.

use ballast_protocol::number::{LongDouble, parse_i64};
use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::AddError;

use super::{expiry_of, text_of};
use crate::commands::context::Data;
use crate::commands::table::CommandResult;

pub(super) fn incr(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    add(cx, args.at(1), 1, reply)
}

pub(super) fn decr(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    add(cx, args.at(1), -1, reply)
}

pub(super) fn incrby(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let amount = parse_i64(args.at(2)).ok_or(CommandError::NotInteger)?;
    add(cx, args.at(1), amount, reply)
}

pub(super) fn decrby(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let amount = parse_i64(args.at(2)).ok_or(CommandError::NotInteger)?;
    let Some(amount) = amount.checked_neg() else {
        return Err(CommandError::other("ERR decrement would overflow"));
    };
    add(cx, args.at(1), amount, reply)
}

#[inline]
fn add(cx: &mut Data<'_>, key: &[u8], amount: i64, reply: &mut Reply) -> CommandResult {
    let aux = cx.new_aux();
    let (keyspace, located) = cx.locate(key);
    let sum = keyspace.add(&located, amount, aux).map_err(add_error)?;
    cx.changed(key, "incrby");
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
    let key = args.at(1);
    let aux = cx.new_aux();
    let (keyspace, located) = cx.locate(key);
    let old = match keyspace.find(&located) {
        None => LongDouble::from(0),
        value => {
            let mut digits = itoa::Buffer::new();
            LongDouble::parse(text_of(value, &mut digits)?).ok_or(CommandError::NotFloat)?
        }
    };
    let amount = LongDouble::parse(args.at(2)).ok_or(CommandError::NotFloat)?;
    let new = old.checked_add(amount).ok_or(CommandError::NanOrInfinity)?.to_string();
    let expiry = expiry_of(keyspace, &located);
    // As Redis, it stays a float's text also where that is an integer's.
    keyspace.set_text(&located, new.as_bytes(), expiry, aux);
    cx.changed(key, "incrbyfloat");
    reply.bulk(new.as_bytes());
    Ok(())
}
