//! Commands that read fields by name, or all of them.

use ballast_protocol::{Args, Reply};
use ballast_storage::Value;
use ballast_storage::types::{Element, HashRef};

use super::write_element;
use crate::commands::context::{Data, SHORT_BYTES_MAX};
use crate::commands::table::CommandResult;

pub(super) fn hget(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    write_fields(cx, args.from(2), reply)
}

pub(super) fn hmget(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let fields = args.from(2);
    reply.array(fields.len());
    write_fields(cx, fields, reply)
}

/// Replies with the values of some fields.
#[inline]
fn write_fields(cx: &mut Data<'_>, fields: Args<'_>, reply: &mut Reply) -> CommandResult {
    let key = cx.key(1)?;
    let start = reply.len();
    let hash = cx.read_hash(key)?;
    if write_short(hash, fields, reply, start + SHORT_BYTES_MAX) {
        return Ok(());
    }
    cx.begin_long(1, 0)?;
    reply.truncate(start);
    if let Some(Value::Hash(hash)) = cx.seen(key) {
        write_short(Some(hash), fields, reply, usize::MAX);
    }
    Ok(())
}

/// Writes the values of some fields as long as the reply has at most `end_max` bytes then. False:
/// they have more.
#[inline]
fn write_short(
    hash: Option<HashRef<'_>>,
    fields: Args<'_>,
    reply: &mut Reply,
    end_max: usize,
) -> bool {
    for field in fields {
        match hash.and_then(|hash| hash.get(field)) {
            None => reply.null(),
            Some(Element::Int(number)) => reply.bulk_integer(number),
            Some(Element::Bytes(bytes)) if bytes.len() <= end_max.saturating_sub(reply.len()) => {
                reply.bulk(bytes);
            }
            Some(Element::Bytes(_)) => return false,
        }
    }
    true
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
