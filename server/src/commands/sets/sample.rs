//! Random members, returned or removed.

use ballast_protocol::number::parse_i64;
use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::Create;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::write_member;
use crate::commands::arguments::{Companion, Sample, write_repeated};
use crate::commands::context::{Data, SHORT_BYTES_MAX};
use crate::commands::table::CommandResult;
use crate::engine::write::Located;

pub(super) fn spop(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let key = cx.key(1)?;
    if args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let Some(count) = args.get(2) else {
        return pop_one(cx, key, reply);
    };
    let count = parse_i64(count)
        .and_then(|count| usize::try_from(count).ok())
        .ok_or(CommandError::NotPositive)?;
    let mut random = SmallRng::seed_from_u64(cx.random());
    let mut write = cx.write(key);
    let popped = write.set(Create::OnlyExisting, |set, _| {
        if count == 0 { Vec::new() } else { set.pop_random_many(count, &mut || random.random()) }
    })?;
    let popped = popped.unwrap_or_default();
    if !popped.is_empty() {
        let members: Vec<&[u8]> = popped.iter().map(AsRef::as_ref).collect();
        write.changed_by("spop", "SREM", &members);
    } else {
        write.changed_if(false, "spop");
    }
    reply.set(popped.len());
    popped.iter().for_each(|member| reply.bulk(member));
    Ok(())
}

/// Pops one member.
fn pop_one(cx: &mut Data<'_>, key: Located<'_>, reply: &mut Reply) -> CommandResult {
    let random = cx.random();
    let mut bytes_max = SHORT_BYTES_MAX;
    let popped = loop {
        let mut write = cx.write(key);
        let popped = write.set(Create::OnlyExisting, |set, _| {
            set.pop_random_if(random, |m| m.len() <= bytes_max)
        })?;
        let is_long = popped == Some(None);
        let member = popped.flatten();
        match &member {
            Some(member) => write.changed_by("spop", "SREM", &[member.as_ref()]),
            None => write.changed_if(false, "spop"),
        }
        if !is_long || bytes_max == usize::MAX {
            break member;
        }
        cx.begin_long(0, 0)?;
        bytes_max = usize::MAX;
    };
    match popped {
        Some(member) => reply.bulk(&member),
        None => reply.null(),
    }
    Ok(())
}

pub(super) fn srandmember(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    if args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let Some(count) = args.get(2) else {
        let random = cx.random();
        match cx.read_set(cx.key(1)?)?.and_then(|set| set.random(random)) {
            Some(member) => write_member(reply, member),
            None => reply.null(),
        }
        return Ok(());
    };
    let sample = Sample::of(Sample::parse(count)?, Companion::None)?;
    let mut random = SmallRng::seed_from_u64(cx.random());
    let mut random = || random.random();
    let Some(set) = cx.read_set(cx.key(1)?)? else {
        reply.array(0);
        return Ok(());
    };
    match sample {
        Sample::Distinct(wanted) => {
            let chosen = set.random_distinct(wanted, &mut random);
            reply.array(chosen.len());
            chosen.into_iter().for_each(|member| write_member(reply, member));
        }
        Sample::Repeated(wanted) => {
            reply.array(wanted);
            write_repeated(wanted, reply, |part, reply| {
                set.random_repeated(part, &mut random, &mut |member| write_member(reply, member));
            })?;
        }
    }
    Ok(())
}
