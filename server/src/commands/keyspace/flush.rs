//! Emptying and swapping databases: in every slot at once, which the command has all of.

use ballast_protocol::number::parse_i64;
use ballast_protocol::slot::SLOTS;
use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::Key;

use crate::commands::context::Data;
use crate::commands::table::CommandResult;
use crate::engine::slot::Slot;

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
    for slot in 0..SLOTS {
        let Some(boxed) = cx.engine.slots[usize::from(slot)].as_deref_mut() else { continue };
        if !boxed.watchers.is_empty() {
            boxed.watchers.touch_where(db, |db, key| exists(boxed, db, key));
        }
        let keys = match db {
            Some(db) => boxed.data.keyspace(db).map_or(0, ballast_storage::Keyspace::len),
            None => boxed.data.key_count(),
        };
        cx.engine.dirty += keys as u64;
        cx.engine.garbage.append(boxed.data.flush(db));
    }
}

fn exists(slot: &Slot, db: u8, key: &[u8]) -> bool {
    slot.data.keyspace(db).is_some_and(|keys| keys.find(&Key::new(key)).is_some())
}

pub(super) fn swapdb(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let first = index(args.at(1), "ERR invalid first DB index")?;
    let second = index(args.at(2), "ERR invalid second DB index")?;
    let (first, second) = (database(cx, first)?, database(cx, second)?);
    if first != second {
        for slot in 0..SLOTS {
            swap(cx, slot, first, second);
        }
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

fn database(cx: &Data<'_>, number: i32) -> Result<u8, CommandError> {
    u8::try_from(number)
        .ok()
        .filter(|number| u32::from(*number) < cx.config().databases)
        .ok_or(CommandError::InvalidDatabase)
}

fn swap(cx: &mut Data<'_>, slot: u16, first: u8, second: u8) {
    let Some(boxed) = cx.engine.slots[usize::from(slot)].as_deref_mut() else { return };
    if !boxed.watchers.is_empty() {
        let either = |_, key: &[u8]| exists(boxed, first, key) || exists(boxed, second, key);
        boxed.watchers.touch_where(Some(first), either);
        boxed.watchers.touch_where(Some(second), either);
    }
    boxed.data.swap(first, second);
    // What was put into the one database may be waited for in the other.
    if boxed.waiters.mark_all_ready() {
        cx.engine.ready.push_back(slot);
    }
}
