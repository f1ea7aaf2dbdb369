//! Elements by their index or value: reading, replacing, inserting, removing, finding.

use ballast_protocol::number::parse_i64;
use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::types::{List, Side, index_range};
use ballast_storage::{Create, Value};

use super::arguments::integer;
use super::write_element;
use crate::commands::context::Data;
use crate::commands::table::CommandResult;

pub(super) fn lindex(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let Some(list) = cx.read_list(cx.key(1)?)? else {
        reply.null();
        return Ok(());
    };
    match list.get(integer(args.at(2))?) {
        Some(element) => write_element(reply, element),
        None => reply.null(),
    }
    Ok(())
}

pub(super) fn lset(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let (key, value) = (cx.key(1)?, args.at(3));
    // A missing key and another type come before a wrong index.
    match cx.peek(key) {
        None => return Err(CommandError::NoKey),
        Some(Value::List(_)) => {}
        Some(_) => return Err(CommandError::WrongType),
    }
    let index = integer(args.at(2))?;
    let set = |list: &mut List, limits: &_| list.set(index, value, limits);
    let mut write = cx.write(key);
    let done = write.list(Create::OnlyExisting, set)? == Some(true);
    write.changed_if(done, "lset");
    if !done {
        return Err(CommandError::OutOfRange);
    }
    reply.ok();
    Ok(())
}

pub(super) fn linsert(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let (key, pivot, value) = (cx.key(1)?, args.at(3), args.at(4));
    let side = if args.at(2).eq_ignore_ascii_case(b"before") {
        Side::Before
    } else if args.at(2).eq_ignore_ascii_case(b"after") {
        Side::After
    } else {
        return Err(CommandError::Syntax);
    };
    let mut write = cx.write(key);
    let inserted =
        write.list(Create::OnlyExisting, |list, limits| list.insert(side, pivot, value, limits))?;
    write.changed_if(matches!(inserted, Some(Some(_))), "linsert");
    match inserted {
        None => reply.integer(0),
        Some(None) => reply.integer(-1),
        Some(Some(len)) => reply.integer(len as i64),
    }
    Ok(())
}

pub(super) fn lrange(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let (start, stop) = (integer(args.at(2))?, integer(args.at(3))?);
    let Some(list) = cx.read_list(cx.key(1)?)? else {
        reply.array(0);
        return Ok(());
    };
    reply.array(index_range(start, stop, list.len()).len());
    list.range(start, stop).for_each(|element| write_element(reply, element));
    Ok(())
}

pub(super) fn ltrim(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let key = cx.key(1)?;
    let (start, stop) = (integer(args.at(2))?, integer(args.at(3))?);
    let mut write = cx.write(key);
    let trimmed = write.list(Create::OnlyExisting, |list, limits| {
        list.trim(start, stop, limits);
    })?;
    write.changed_if(trimmed.is_some(), "ltrim");
    reply.ok();
    Ok(())
}

pub(super) fn lrem(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let (key, value) = (cx.key(1)?, args.at(3));
    let count = integer(args.at(2))?;
    let mut write = cx.write(key);
    let removed =
        write.list(Create::OnlyExisting, |list, limits| list.remove(count, value, limits))?;
    let removed = removed.unwrap_or(0);
    write.changed_if(removed > 0, "lrem");
    reply.integer(removed as i64);
    Ok(())
}

pub(super) fn lpos(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let options = PositionOptions::parse(args.from(3))?;
    let count = options.count.unwrap_or(1);
    let positions = match cx.read_list(cx.key(1)?)? {
        Some(list) => list.positions(args.at(2), options.rank, count, options.elements_max),
        None => Vec::new(),
    };
    if options.count.is_some() {
        reply.array(positions.len());
        positions.into_iter().for_each(|position| reply.integer(position as i64));
        return Ok(());
    }
    match positions.first() {
        Some(position) => reply.integer(*position as i64),
        None => reply.null(),
    }
    Ok(())
}

/// `RANK rank COUNT count MAXLEN len`
struct PositionOptions {
    /// From which match on; negative: counted from the last.
    rank: i64,
    /// How many; 0: all.
    count: Option<usize>,
    /// `MAXLEN`: how many elements to look at; 0: all.
    elements_max: usize,
}

impl PositionOptions {
    fn parse(args: Args<'_>) -> Result<PositionOptions, CommandError> {
        let mut options = PositionOptions { rank: 1, count: None, elements_max: 0 };
        for at in (0..args.len()).step_by(2) {
            let value = args.get(at + 1).ok_or(CommandError::Syntax)?;
            let word = args.at(at);
            if word.eq_ignore_ascii_case(b"rank") {
                options.rank = rank(value)?;
            } else if word.eq_ignore_ascii_case(b"count") {
                options.count = Some(not_negative(value, "ERR COUNT can't be negative")?);
            } else if word.eq_ignore_ascii_case(b"maxlen") {
                options.elements_max = not_negative(value, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

fn rank(text: &[u8]) -> Result<i64, CommandError> {
    match integer(text)? {
        0 => Err(CommandError::other(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
             or use negative to start from the end of the list",
        )),
        i64::MIN => Err(CommandError::other(
            "ERR value is out of range, value must between -9223372036854775807 and \
             9223372036854775807",
        )),
        rank => Ok(rank),
    }
}

/// A number that is at least 0; `refusal` is the error's text otherwise.
fn not_negative(text: &[u8], refusal: &'static str) -> Result<usize, CommandError> {
    parse_i64(text)
        .and_then(|number| usize::try_from(number).ok())
        .ok_or(CommandError::other(refusal))
}
