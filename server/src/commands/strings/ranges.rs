//! Parts of strings.

use ballast_protocol::number::parse_i64;
use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::Value;
use ballast_storage::types::Element;

use super::{check_length, clipped, reversed, text_of};
use crate::commands::context::{Data, SHORT_BYTES_MAX};
use crate::commands::table::CommandResult;

pub(super) fn append(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let (key, tail) = (cx.key(1)?, args.at(2));
    let len = len_of(cx.peek(key))?.unwrap_or(0);
    check_length(cx, len, tail.len())?;
    if len > SHORT_BYTES_MAX {
        // It is copied whenever its block is full.
        cx.begin_long(0, 0)?;
    }
    let mut write = cx.write(key);
    let len = write.append(tail)?;
    write.changed("append");
    reply.integer(len as i64);
    Ok(())
}

pub(super) fn strlen(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let len = len_of(cx.read(cx.key(1)?))?.unwrap_or(0);
    reply.integer(len as i64);
    Ok(())
}

pub(super) fn getrange(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let first = parse_i64(args.at(2)).ok_or(CommandError::NotInteger)?;
    let last = parse_i64(args.at(3)).ok_or(CommandError::NotInteger)?;
    let mut digits = itoa::Buffer::new();
    let text = text_of(cx.read(cx.key(1)?), &mut digits)?;
    let range = clipped(first, last, text.len() as u64);
    if reversed(first, last) {
        reply.bulk(b"");
    } else {
        reply.bulk(&text[range.start as usize..range.end as usize]);
    }
    Ok(())
}

pub(super) fn setrange(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let offset = parse_i64(args.at(2)).ok_or(CommandError::NotInteger)?;
    let Ok(offset) = usize::try_from(offset) else {
        return Err(CommandError::other("ERR offset is out of range"));
    };
    let (key, part) = (cx.key(1)?, args.at(3));
    let len = len_of(cx.peek(key))?;
    if part.is_empty() {
        reply.integer(len.unwrap_or(0) as i64);
        return Ok(());
    }
    check_length(cx, offset, part.len())?;
    let mut write = cx.write(key);
    let len = write.set_range(offset, part)?;
    write.changed("setrange");
    reply.integer(len as i64);
    Ok(())
}

/// The length of the string that a key holds, if there is the key.
fn len_of(value: Option<Value<'_>>) -> Result<Option<usize>, CommandError> {
    match value {
        None => Ok(None),
        Some(Value::Str(text)) => Ok(Some(text.len())),
        Some(Value::Int(number)) => Ok(Some(Element::Int(number).len())),
        Some(_) => Err(CommandError::WrongType),
    }
}
