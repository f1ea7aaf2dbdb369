//! Adding, removing, moving and asking for members.

use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::types::SetRef;
use ballast_storage::{Create, Value};

use super::write_member;
use crate::commands::context::Data;
use crate::commands::keyspace::{ScanOptions, scan_cursor, write_scan};
use crate::commands::table::CommandResult;

pub(super) fn sadd(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let key = cx.key(1)?;
    let members = args.from(2);
    let mut write = cx.write(key);
    let added = write.set(Create::IfMissing, |set, limits| {
        members.iter().filter(|member| set.add(member, limits)).count()
    })?;
    let added = added.unwrap_or(0);
    write.changed_if(added > 0, "sadd");
    reply.integer(added as i64);
    Ok(())
}

pub(super) fn srem(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let key = cx.key(1)?;
    let members = args.from(2);
    let mut write = cx.write(key);
    let removed = write.set(Create::OnlyExisting, |set, _| {
        members.iter().filter(|member| set.remove(member)).count()
    })?;
    let removed = removed.unwrap_or(0);
    write.changed_if(removed > 0, "srem");
    reply.integer(removed as i64);
    Ok(())
}

pub(super) fn scard(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let len = cx.read_set(cx.key(1)?)?.map_or(0, SetRef::len);
    reply.integer(len as i64);
    Ok(())
}

pub(super) fn sismember(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let is_member = cx.read_set(cx.key(1)?)?.is_some_and(|set| set.contains(args.at(2)));
    reply.integer(i64::from(is_member));
    Ok(())
}

pub(super) fn smismember(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let set = cx.read_set(cx.key(1)?)?;
    let members = args.from(2);
    reply.array(members.len());
    for member in members {
        reply.integer(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(())
}

pub(super) fn smembers(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    match cx.read_set(cx.key(1)?)? {
        None => reply.set(0),
        Some(set) => {
            reply.set(set.len());
            set.iter().for_each(|member| write_member(reply, member));
        }
    }
    Ok(())
}

pub(super) fn smove(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let (source, destination, member) = (cx.key(1)?, cx.key(2)?, args.at(3));
    let is_member = match cx.peek(source) {
        // As in Redis: without a source the destination's type does not matter.
        None => {
            reply.integer(0);
            return Ok(());
        }
        Some(Value::Set(set)) => set.contains(member),
        Some(_) => return Err(CommandError::WrongType),
    };
    match cx.peek(destination) {
        None | Some(Value::Set(_)) => {}
        Some(_) => return Err(CommandError::WrongType),
    }
    reply.integer(i64::from(is_member));
    if !is_member || source.name() == destination.name() {
        return Ok(());
    }
    let mut write = cx.write(source);
    write.set(Create::OnlyExisting, |set, _| set.remove(member))?;
    write.changed_by("srem", "SREM", &[member]);
    let mut write = cx.write(destination);
    let added = write.set(Create::IfMissing, |set, limits| set.add(member, limits))?;
    match added {
        Some(true) => write.changed_by("sadd", "SADD", &[member]),
        _ => write.changed_if(false, "sadd"),
    }
    Ok(())
}

pub(super) fn sscan(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let cursor = scan_cursor(args.at(2))?;
    let Some(set) = cx.read_set(cx.key(1)?)? else {
        write_scan(0, 0, Reply::default(), reply);
        return Ok(());
    };
    let options = ScanOptions::of_elements(args.from(3))?;
    let mut members = Reply::new(reply.protocol());
    let mut found = 0;
    let next = set.scan(cursor, options.count, &mut |member| {
        if member.with_bytes(|member| options.takes(member)) {
            write_member(&mut members, member);
            found += 1;
        }
    });
    write_scan(next, found, members, reply);
    Ok(())
}
