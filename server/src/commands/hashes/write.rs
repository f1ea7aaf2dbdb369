//! Commands that change fields.

use ballast_protocol::number::{LongDouble, parse_i64};
use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::Create;

use crate::commands::context::Data;
use crate::commands::table::CommandResult;

pub(super) fn hset(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let added = set_fields(cx, args)?;
    reply.integer(added as i64);
    Ok(())
}

pub(super) fn hmset(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    set_fields(cx, args)?;
    reply.ok();
    Ok(())
}

/// Answers how many of the fields are new.
fn set_fields(cx: &mut Data<'_>, args: Args<'_>) -> Result<usize, CommandError> {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity(cx.command.name.into()));
    }
    let key = cx.key(1)?;
    let mut write = cx.write(key);
    let added = write.hash(Create::IfMissing, |hash, limits| {
        let fields = (2..args.len()).step_by(2);
        fields.filter(|at| hash.set(args.at(*at), args.at(at + 1), limits)).count()
    })?;
    write.changed("hset");
    Ok(added.unwrap_or(0))
}

pub(super) fn hsetnx(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let (key, field) = (cx.key(1)?, args.at(2));
    let mut write = cx.write(key);
    let added = write.hash(Create::IfMissing, |hash, limits| {
        !hash.as_ref().contains(field) && hash.set(field, args.at(3), limits)
    })?;
    let added = added == Some(true);
    write.changed_if(added, "hset");
    reply.integer(i64::from(added));
    Ok(())
}

pub(super) fn hdel(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let key = cx.key(1)?;
    let mut write = cx.write(key);
    let removed = write.hash(Create::OnlyExisting, |hash, _| {
        args.from(2).iter().filter(|field| hash.remove(field)).count()
    })?;
    let removed = removed.unwrap_or(0);
    write.changed_if(removed > 0, "hdel");
    reply.integer(removed as i64);
    Ok(())
}

pub(super) fn hincrby(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let amount = parse_i64(args.at(3)).ok_or(CommandError::NotInteger)?;
    let (key, field) = (cx.key(1)?, args.at(2));
    let mut write = cx.write(key);
    let sum = write.hash(Create::IfMissing, |hash, limits| {
        let old = match hash.as_ref().get(field) {
            None => 0,
            Some(value) => value.as_int().ok_or(CommandError::HashValueNotInteger)?,
        };
        let sum = old.checked_add(amount).ok_or(CommandError::Overflow)?;
        hash.set(field, itoa::Buffer::new().format(sum).as_bytes(), limits);
        Ok::<_, CommandError>(sum)
    })?;
    let sum = write.done(sum.unwrap_or(Ok(amount)), "hincrby")?;
    reply.integer(sum);
    Ok(())
}

pub(super) fn hincrbyfloat(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let amount = LongDouble::parse(args.at(3)).ok_or(CommandError::NotFloat)?;
    if !amount.is_finite() {
        return Err(CommandError::other("ERR value is NaN or Infinity"));
    }
    let (key, field) = (cx.key(1)?, args.at(2));
    let mut write = cx.write(key);
    let sum = write.hash(Create::IfMissing, |hash, limits| {
        let old = match hash.as_ref().get(field) {
            None => LongDouble::from(0),
            Some(value) => {
                value.with_bytes(LongDouble::parse).ok_or(CommandError::HashValueNotFloat)?
            }
        };
        let sum = old.checked_add(amount).ok_or(CommandError::NanOrInfinity)?.to_string();
        hash.set(field, sum.as_bytes(), limits);
        Ok::<_, CommandError>(sum)
    })?;
    let sum = sum.unwrap_or_else(|| Ok(amount.to_string()));
    let sum = match sum {
        Ok(sum) => {
            write.changed_by("hincrbyfloat", "HSET", &[field, sum.as_bytes()]);
            sum
        }
        failed => write.done(failed, "hincrbyfloat")?,
    };
    reply.bulk(sum.as_bytes());
    Ok(())
}
