//! Emptying and swapping databases: in every slot at once, which the command has all of.

use ballast_protocol::number::parse_i64;
use ballast_protocol::slot::SLOTS;
use ballast_protocol::{Args, CommandError, Reply};

use crate::commands::arguments::existing_database;
use crate::commands::context::Data;
use crate::commands::table::CommandResult;
use crate::files::save;
use crate::ids::ClientId;

pub(super) fn flushdb(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    wait_if_sync(cx, args)?;
    let db = cx.caller.db;
    flush(cx, Some(db));
    reply.ok();
    Ok(())
}

pub(super) fn flushall(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    wait_if_sync(cx, args)?;
    flush(cx, None);
    let (engine, is_asked_for) = (&mut *cx.engine, cx.caller.client != ClientId(0));
    if is_asked_for && !engine.config.save_points.is_empty() {
        // The file is what a restart begins with: it must not bring back what is gone.
        // A failure is in the log.
        let _ = save::save(engine);
    }
    // As in Redis it counts as a change even if there was nothing to remove.
    cx.engine.dirty += 1;
    reply.ok();
    Ok(())
}

/// The keys are gone at once and their memory is freed in slices: with `SYNC` before the reply,
/// with `ASYNC` after it, and with neither as `lazyfree-lazy-user-flush` says.
fn wait_if_sync(cx: &mut Data<'_>, args: Args<'_>) -> CommandResult {
    let is_sync = match args.get(1) {
        None => !cx.config().lazyfree_lazy_user_flush,
        Some(_) if args.len() > 2 => return Err(CommandError::Syntax),
        Some(mode) if mode.eq_ignore_ascii_case(b"sync") => true,
        Some(mode) if mode.eq_ignore_ascii_case(b"async") => false,
        Some(_) => return Err(CommandError::Syntax),
    };
    cx.engine.reply_when_freed |= is_sync;
    Ok(())
}

/// Empties database `db`, or all of them.
fn flush(cx: &mut Data<'_>, db: Option<u8>) {
    (0..SLOTS).for_each(|slot| cx.engine.flush_slot(slot, db));
    match db {
        Some(db) => cx.engine.record_on_all(db, &[b"FLUSHDB"]),
        None => cx.engine.record_on_all(0, &[b"FLUSHALL"]),
    }
}

pub(super) fn swapdb(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let first = index(args.at(1), "ERR invalid first DB index")?;
    let second = index(args.at(2), "ERR invalid second DB index")?;
    let databases = cx.config().databases;
    let (first, second) =
        (existing_database(first, databases)?, existing_database(second, databases)?);
    if first != second {
        for slot in 0..SLOTS {
            cx.engine.swap_in_slot(slot, first, second);
        }
        let words = [first, second].map(|db| db.to_string());
        cx.engine.record_on_all(0, &[b"SWAPDB", words[0].as_bytes(), words[1].as_bytes()]);
    }
    cx.engine.dirty += 1;
    reply.ok();
    Ok(())
}

fn index(text: &[u8], refusal: &'static str) -> Result<i32, CommandError> {
    parse_i64(text)
        .and_then(|number| i32::try_from(number).ok())
        .ok_or(CommandError::other(refusal))
}
