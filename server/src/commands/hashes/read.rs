//! Commands that read fields by name, or all of them.

use ballast_protocol::{Args, Reply};
use ballast_storage::types::{Element, HashRef};

use super::write_element;
use crate::commands::context::Data;
use crate::commands::table::CommandResult;

pub(super) fn hget(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let hash = cx.read_hash(cx.key(1)?)?;
    write_value(reply, hash.and_then(|hash| hash.get(args.at(2))));
    Ok(())
}

pub(super) fn hmget(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let hash = cx.read_hash(cx.key(1)?)?;
    let fields = args.from(2);
    reply.array(fields.len());
    for field in fields {
        write_value(reply, hash.and_then(|hash| hash.get(field)));
    }
    Ok(())
}

pub(super) fn hexists(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let hash = cx.read_hash(cx.key(1)?)?;
    reply.integer(i64::from(hash.is_some_and(|hash| hash.contains(args.at(2)))));
    Ok(())
}

pub(super) fn hstrlen(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let hash = cx.read_hash(cx.key(1)?)?;
    let value = hash.and_then(|hash| hash.get(args.at(2)));
    reply.integer(value.map_or(0, Element::len) as i64);
    Ok(())
}

pub(super) fn hlen(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let hash = cx.read_hash(cx.key(1)?)?;
    reply.integer(hash.map_or(0, HashRef::len) as i64);
    Ok(())
}

pub(super) fn hgetall(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let hash = cx.read_hash(cx.key(1)?)?;
    reply.map(hash.map_or(0, HashRef::len));
    for (field, value) in hash.iter().flat_map(|hash| hash.iter()) {
        write_element(reply, field);
        write_element(reply, value);
    }
    Ok(())
}

pub(super) fn hkeys(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let hash = cx.read_hash(cx.key(1)?)?;
    reply.array(hash.map_or(0, HashRef::len));
    for (field, _) in hash.iter().flat_map(|hash| hash.iter()) {
        write_element(reply, field);
    }
    Ok(())
}

pub(super) fn hvals(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let hash = cx.read_hash(cx.key(1)?)?;
    reply.array(hash.map_or(0, HashRef::len));
    for (_, value) in hash.iter().flat_map(|hash| hash.iter()) {
        write_element(reply, value);
    }
    Ok(())
}

#[inline]
fn write_value(reply: &mut Reply, value: Option<Element<'_>>) {
    match value {
        Some(value) => write_element(reply, value),
        None => reply.null(),
    }
}
