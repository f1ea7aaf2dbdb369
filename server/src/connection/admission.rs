//! Whether a command may be executed for its session, and now: checked before each that does not go
//! the shortest way.

use ballast_protocol::{Args, CommandError};

use super::batch::Stop;
use crate::commands::debug;
use crate::commands::pubsub::not_while_listening;
use crate::commands::session::{Session, Transaction};
use crate::commands::table::{Command, flag};
use crate::node::modes::Mode;
use crate::shard::ShardState;

/// Flags of a command that reaches for keys, one of which is enough.
const OF_KEYS: u32 = flag::READONLY | flag::WRITE | flag::MAY_REPLICATE;

/// Whether the session may have the command executed. What is refused here counts as rejected.
#[inline]
pub(super) fn check(
    state: &ShardState,
    session: &Session,
    command: &'static Command,
    args: Args<'_>,
) -> Result<(), CommandError> {
    if !command.arity_ok(args.len()) {
        return Err(CommandError::WrongArity(command.full_name.as_str().into()));
    }
    if !session.authenticated && !command.has(flag::NO_AUTH) {
        return Err(CommandError::NoAuth);
    }
    if session.only_listens() && !command.has(flag::LISTENING) {
        return Err(not_while_listening(&command.full_name));
    }
    let may_run = command.has(flag::LOADING) && !command.has(flag::PROTECTED);
    if state.modes.has(Mode::Loading) && !may_run {
        // Redis has DEBUG run: most of what it does here reaches into slots that fill up.
        return Err(CommandError::Loading);
    }
    if session.is_monitor() && command.flags & OF_KEYS != 0 {
        // Redis takes a monitor for a kind of replica.
        return Err(CommandError::other("ERR Replica can't interact with the keyspace"));
    }
    if command.has(flag::PROTECTED) {
        debug::check_allowed(&state.shared, session)?;
    }
    if state.modes.has(Mode::Unsaved)
        && wants_saves(session, command)
        && let Some(why) = state.shared.refuses_writes()
    {
        return Err(CommandError::other(why));
    }
    Ok(())
}

/// Whether a command does not run as long as nothing may be written: who writes, `EXEC` of
/// who writes, and `PING`, by which others see that something is wrong.
#[cold]
fn wants_saves(session: &Session, command: &'static Command) -> bool {
    let writes = |command: &Command| command.has(flag::WRITE);
    let queued = session.transaction.as_ref().filter(|_| command.is_exec());
    let queued = queued.is_some_and(|of| of.commands.iter().any(|of| writes(of.command)));
    writes(command) || command.name == "ping" || queued
}

/// Whether `CLIENT PAUSE` holds the command up: also one that would be queued, as in Redis, and
/// `EXEC` for what is queued. `QUIT` never waits, nor does a monitor, as Redis's replicas.
#[cold]
pub(super) fn pause(
    state: &ShardState,
    session: &Session,
    command: &'static Command,
) -> Option<Stop> {
    let queued = session.transaction.as_ref().filter(|_| command.is_exec());
    let may_write = command.may_write() || queued.is_some_and(Transaction::may_write);
    let until_ms = state.shared.pause.until(state.now_ms, may_write);
    let waits = command.name != "quit" && !session.is_monitor();
    (until_ms.is_some() && waits).then_some(Stop::Pause { may_write })
}
