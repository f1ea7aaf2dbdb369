//! Runs a command on the session, whichever way it comes: within a batch, alone, or in a
//! transaction.

use ballast_protocol::{Args, Reply};

use crate::commands::context::{Routed, SessionContext};
use crate::commands::session::Session;
use crate::commands::table::{Command, OnSession};
use crate::node::modes::Mode;
use crate::shard::ShardState;

/// Runs it and books it as any other command.
pub(super) fn run_on_session(
    state: &mut ShardState,
    session: &mut Session,
    (command, run): (&'static Command, OnSession),
    args: Args<'_>,
    reply: &mut Reply,
) {
    let start = reply.len();
    let timed = state.begin_timing(command, Routed::NOWHERE.with(args), args);
    let mut context = SessionContext { session, shard: state, command };
    if let Err(error) = run(&mut context, args, reply) {
        state.failed(command, &error, start, reply);
    }
    state.ran_on_session(command, args, timed);
    if state.modes.has(Mode::Monitored) {
        state.show(command, args, session.client.id, session.db);
    }
    reply.set_protocol(session.protocol);
}
