//! A batch: what one read of a socket brought. Commands whose slot is here run at once, in
//! place; those of other shards are collected, one message per shard. What can do neither (it
//! blocks, it needs slots of several shards, it asks all threads) is a barrier: it runs alone,
//! after everything before it.

use std::sync::atomic::Ordering::Relaxed;

use ballast_protocol::slot::key_slot;
use ballast_protocol::{ArgRange, Args, ArgsBuf, CommandError, Parsed, Reply, RequestParser};
use smallvec::SmallVec;

use super::admission::{check, pause};
use super::on_session::run_on_session;
use super::transaction::unwatch_all;
use super::{ahead, limits};
use crate::commands::REPLY_BYTES;
use crate::commands::context::{Routed, SHORT_BYTES_MAX};
use crate::commands::session::Session;
use crate::commands::table::{Command, KeySpec, Run, flag};
use crate::engine::NO_SLOT;
use crate::ids::ShardId;
use crate::node::blocked::Caller;
use crate::node::modes::Mode;
use crate::shard::ShardState;
use crate::shard::borrowing::Slots;
use crate::shard::lookahead::Planned;
use crate::shard::message::{Place, RemoteBatch, Replies};

/// Of `\r\n`, behind the last argument.
const LINE_END_BYTES: usize = 2;

/// The bytes of a batch and how far they are executed.
pub(crate) struct Input<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) taken: &'a mut usize,
    pub(crate) parser: &'a mut RequestParser,
    pub(crate) ranges: &'a mut Vec<ArgRange>,
}

/// Why a run over a batch ended.
pub(crate) enum Stop {
    /// No complete command is left.
    Empty {
        /// Bytes there must be before the next command can be complete.
        needed: usize,
    },
    /// Wait for the other shards, then go on.
    Again,
    /// Send the replies, then go on.
    Flush,
    /// Let others have their turns, then go on: there is no memory yet for the next command.
    Room,
    /// Send the replies and wait for the end of `CLIENT PAUSE`, then go on.
    Pause {
        /// Whether a pause of writing commands matters.
        may_write: bool,
    },
    /// Run this alone, then go on.
    Barrier(Box<Barrier>),
    /// The connection is at its end.
    Close(&'static str),
}

/// A command that runs alone.
pub(crate) struct Barrier {
    pub(crate) command: &'static Command,
    pub(crate) args: ArgsBuf,
    /// The slots of its keys, ascending.
    pub(crate) slots: Slots,
}

/// What of a batch other shards are executing, and where its replies belong.
#[derive(Default)]
pub(crate) struct Group {
    /// At most one per shard.
    pub(crate) outgoing: SmallVec<[(ShardId, Box<RemoteBatch>); 4]>,
    /// The order of the replies, and those of commands that ran here meanwhile.
    pub(crate) replies: Replies,
    /// Of those the ones that are not in one block.
    pub(crate) long: Vec<Reply>,
    /// Bytes of all of them.
    pub(crate) local_bytes: usize,
    /// The slot of the last command, here or elsewhere.
    pub(crate) last_slot: Option<u16>,
    /// The only batch takes over what was received, as its only command is long and the last: so
    /// many bytes from the command on.
    pub(crate) moved: Option<usize>,
    /// The shard on which the only command of a batch was executed without sending it there.
    pub(crate) on_behalf: Option<ShardId>,
}

impl Group {
    /// Takes over all that was received, if its only command is to travel without a copy. True if
    /// it has: nothing is left.
    pub(crate) fn take_over(&mut self, received: &mut Vec<u8>) -> bool {
        match (self.moved.take(), self.outgoing.first_mut()) {
            (Some(bytes), Some((_, batch))) => {
                let start = received.len() - bytes;
                batch.own(std::mem::take(received), start);
                true
            }
            _ => false,
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.outgoing.is_empty()
    }
}

/// What to do after a command.
enum Next {
    Go,
    Stop(Stop),
}

/// Runs over the batch as far as it goes without waiting.
pub(crate) fn run(
    state: &mut ShardState,
    session: &mut Session,
    group: &mut Group,
    input: &mut Input<'_>,
    reply: &mut Reply,
) -> Stop {
    begin(state, session, reply);
    let bulk_max = usize::try_from(state.config.proto_max_bulk_len).unwrap_or(usize::MAX);
    let bulk_max = bulk_max.min(ballast_storage::STRING_MAX);
    let mut request_limits = limits(bulk_max, session.authenticated);
    loop {
        if !input.parser.is_inside() {
            let stop = ahead::run_plain(state, session, group, input, &request_limits, reply);
            if let Some(stop) = stop {
                return stop;
            }
            if *input.taken == input.bytes.len() {
                return Stop::Empty { needed: 1 };
            }
            if session.is_monitor() {
                show_replied(state, session, reply);
            }
        }
        let rest = &input.bytes[*input.taken..];
        let consumed;
        let next = match input.parser.parse(rest, &request_limits, input.ranges) {
            Ok(Parsed::Complete { consumed: bytes }) => {
                consumed = bytes;
                step(state, session, group, Args::new(rest, input.ranges), reply)
            }
            Ok(Parsed::Inline { consumed: bytes, args }) => {
                consumed = bytes;
                let args = ArgsBuf::new(args);
                step(state, session, group, args.view(), reply)
            }
            Ok(Parsed::Empty { consumed: bytes }) => {
                consumed = bytes;
                Next::Go
            }
            Ok(Parsed::Incomplete { needed }) => return Stop::Empty { needed },
            Err(error) => {
                if !group.is_empty() {
                    // The replies before it come first; the parser fails again afterwards.
                    return Stop::Again;
                }
                let start = reply.len();
                reply.error(format_args!("ERR {error}"));
                state.counters.error_replies.add(1);
                after_reply(session, reply, start);
                return Stop::Close("of a protocol error");
            }
        };
        if let Next::Stop(stop @ (Stop::Again | Stop::Room | Stop::Pause { .. })) = next {
            return stop;
        }
        *input.taken += consumed;
        match next {
            Next::Go => {}
            Next::Stop(stop) => return stop,
        }
        if reply.len() > REPLY_BYTES || group.local_bytes > REPLY_BYTES {
            return Stop::Flush;
        }
        request_limits.authenticated = session.authenticated;
        if session.closing {
            return Stop::Flush;
        }
    }
}

/// Runs over a batch of one command, which was foreseen.
#[inline(always)]
pub(crate) fn run_foreseen(
    state: &mut ShardState,
    session: &mut Session,
    group: &mut Group,
    planned: &Planned,
    input: &mut Input<'_>,
    reply: &mut Reply,
) -> Stop {
    begin(state, session, reply);
    if state.shared.pause.is_set() || !state.modes.is_usual() {
        return run(state, session, group, input, reply);
    }
    session.client.runs(planned.command.id);
    let args = Args::new(input.bytes, input.ranges);
    group.last_slot = Some(planned.slot);
    if !planned.execute_alone(state, session.caller(), group, args, reply) {
        return Stop::Room;
    }
    *input.taken = input.bytes.len();
    Stop::Empty { needed: 1 }
}

/// Begins a batch: reads the clock, takes over a changed configuration.
#[inline(always)]
fn begin(state: &mut ShardState, session: &Session, reply: &mut Reply) {
    state.begin_batch(session.client.id);
    session.client.last_ms.store(state.now_ms, Relaxed);
    reply.set_protocol(session.protocol);
}

/// One command. `Stop::Again` leaves it untouched for after the group, `Stop::Pause` for after the
/// pause.
#[inline(never)]
fn step(
    state: &mut ShardState,
    session: &mut Session,
    group: &mut Group,
    args: Args<'_>,
    reply: &mut Reply,
) -> Next {
    let command = match state.find_command(args.at(0)) {
        Some(command) => match refine(command, args) {
            Ok(command) => command,
            Err(error) => {
                // As Redis: what names no subcommand counts for no command.
                let command = (args.len() == 1).then_some(command);
                return refuse(state, session, group, command, &error, reply);
            }
        },
        None => return unknown(state, session, group, args, reply),
    };
    session.client.runs(command.id);
    if state.modes.has(Mode::Monitored) && !group.is_empty() {
        // Others are shown the commands as they are executed: one after the other.
        return Next::Stop(Stop::Again);
    }
    if let Err(error) = check(state, session, command, args) {
        return refuse(state, session, group, Some(command), &error, reply);
    }
    if state.shared.pause.is_set()
        && let Some(pause) = pause(state, session, command)
    {
        return Next::Stop(pause);
    }
    if session.transaction.is_some() && !command.has(flag::AT_ONCE) {
        return queue(state, session, group, command, args, reply);
    }
    match command.run {
        Run::Data(_) => data(state, session, group, command, args, reply),
        Run::Session(run) if group.is_empty() => {
            let start = reply.len();
            run_on_session(state, session, (command, run), args, reply);
            if command.has(flag::MESSAGES) {
                // Messages are no replies, and come also when those are off.
                session.wants_reply();
            } else {
                after_reply(session, reply, start);
            }
            Next::Go
        }
        Run::Session(_) => Next::Stop(Stop::Again),
        Run::Gather(_) | Run::Spread(..) | Run::Transaction(_) | Run::Container => {
            barrier(group, command, args, command.keys.slots(args))
        }
    }
}

/// Puts the commands of a monitor itself behind their replies.
#[cold]
fn show_replied(state: &ShardState, session: &mut Session, reply: &mut Reply) {
    if session.client.is_pushed() && state.node.channels.take(&session.client, reply).is_err() {
        session.closing = true;
    }
}

/// A container's subcommand.
#[inline]
fn refine(command: &'static Command, args: Args<'_>) -> Result<&'static Command, CommandError> {
    if !matches!(command.run, Run::Container) {
        return Ok(command);
    }
    let Some(name) = args.get(1) else {
        // Only `COMMAND` means something without a subcommand.
        return command
            .subcommand(b"")
            .ok_or_else(|| CommandError::WrongArity(command.name.into()));
    };
    command.subcommand(name).ok_or_else(|| CommandError::unknown_subcommand(command.name, name))
}

/// A command on keys: here, on another shard, or on several.
fn data(
    state: &mut ShardState,
    session: &mut Session,
    group: &mut Group,
    command: &'static Command,
    args: Args<'_>,
    reply: &mut Reply,
) -> Next {
    if command.has(flag::BLOCKING) || command.needs_all_slots(args) {
        return barrier(group, command, args, command.keys.slots(args));
    }
    let slot = match slot_span(command.keys, args) {
        Span::None => NO_SLOT,
        Span::One(slot) => slot,
        Span::Many(slots) => {
            return wide(state, session, group, command, slots, args, reply);
        }
    };
    let is_elsewhere = slot != NO_SLOT && !state.has(slot);
    if is_elsewhere && session.reply_mode != crate::commands::session::ReplyMode::On {
        return barrier(group, command, args, SmallVec::from_slice(&[slot]));
    }
    if slot != NO_SLOT {
        group.last_slot = Some(slot);
    }
    let (start, routed) = (reply.len(), Routed::of(command, args, slot));
    if !dispatch(state, session.caller(), group, command, routed, args, reply) {
        return Next::Stop(Stop::Room);
    }
    after_reply(session, reply, start);
    Next::Go
}

/// A command with keys in several slots: here or on another shard, if all are there, and otherwise
/// alone.
fn wide(
    state: &mut ShardState,
    session: &mut Session,
    group: &mut Group,
    command: &'static Command,
    slots: Slots,
    args: Args<'_>,
    reply: &mut Reply,
) -> Next {
    slots.iter().for_each(|slot| state.load_box(*slot));
    let caller = session.caller();
    if group.is_empty() && slots.iter().all(|slot| state.has(*slot)) {
        if state.postpones(command) {
            return Next::Stop(Stop::Room);
        }
        let start = reply.len();
        state.execute_slots(command, &slots, slots[0], args, caller, reply);
        group.last_slot = Some(slots[0]);
        after_reply(session, reply, start);
        if !state.ready.is_empty() {
            state.serve_ready();
        }
        return Next::Go;
    }
    let keeper = state.keeper(slots[0]);
    let wants_reply = session.reply_mode == crate::commands::session::ReplyMode::On;
    if !wants_reply
        || keeper == state.id
        || slots[1..].iter().any(|slot| state.keeper(*slot) != keeper)
    {
        return barrier(group, command, args, slots);
    }
    let at = outgoing(state, caller, group, keeper);
    group.outgoing[at].1.push_wide(command, &slots, args);
    Next::Go
}

/// Runs a command whose keys are in one slot, or that has none: at once if the slot is here, and
/// otherwise on its shard, which only a connection that wants all replies may ask for. False: it
/// has to wait for memory.
#[inline(always)]
pub(super) fn dispatch(
    state: &mut ShardState,
    caller: Caller,
    group: &mut Group,
    command: &'static Command,
    routed: Routed,
    args: Args<'_>,
    reply: &mut Reply,
) -> bool {
    if routed.slot != NO_SLOT && !state.has(routed.slot) {
        collect(state, caller, group, command, routed, args);
        return true;
    }
    if state.postpones(command) {
        return false;
    }
    if group.is_empty() {
        state.execute_routed(command, routed, args, caller, reply);
    } else {
        local_amid_group(state, caller, group, command, routed, args);
    }
    if !state.ready.is_empty() {
        state.serve_ready();
    }
    true
}

/// Runs a command here while others of its batch are collected for other shards.
#[inline(never)]
fn local_amid_group(
    state: &mut ShardState,
    caller: Caller,
    group: &mut Group,
    command: &'static Command,
    routed: Routed,
    args: Args<'_>,
) {
    let mut reply = Reply::new(caller.protocol);
    reply.resume(std::mem::take(&mut group.replies.local));
    let start = reply.len();
    state.execute_routed(command, routed, args, caller, &mut reply);
    group.local_bytes += reply.len() - start;
    if reply.contiguous().is_some() {
        group.replies.order.push(Place::Local(reply.len()));
    } else {
        group.replies.order.push(Place::Long);
        group.long.push(reply.split_off(start));
    }
    group.replies.local = reply.take();
}

/// Puts a command into the message for its slot's shard.
#[inline(never)]
fn collect(
    state: &mut ShardState,
    caller: Caller,
    group: &mut Group,
    command: &'static Command,
    routed: Routed,
    args: Args<'_>,
) {
    let is_first = group.is_empty();
    let at = outgoing(state, caller, group, state.keeper(routed.slot));
    let batch = &mut group.outgoing[at].1;
    let (received, span) = (args.buffer().len(), args.span());
    let is_last = received - span.end as usize == LINE_END_BYTES;
    if is_first && is_last && span.len() > SHORT_BYTES_MAX {
        // A copy would take as much memory again.
        batch.push_long(command, routed, args);
        group.moved = Some(received);
    } else {
        batch.push(command, routed, args);
    }
}

/// The message to the shard that keeps the slots of the next command, which is about to be put
/// there. They may move before further commands on them are collected: `Group::settle` sees it.
fn outgoing(state: &mut ShardState, caller: Caller, group: &mut Group, keeper: ShardId) -> usize {
    if group.is_empty() {
        group.replies = state.spares.replies();
    }
    let at = match group.outgoing.iter().position(|(to, _)| *to == keeper) {
        Some(at) => at,
        None => {
            let token = state.waits.open();
            let batch = state.spare_batch(token, caller);
            group.outgoing.push((keeper, batch));
            group.outgoing.len() - 1
        }
    };
    group.replies.order.push(Place::Remote(at));
    state.counters.commands_elsewhere.add(1);
    at
}

/// Keeps a command, whose keys are in `slots`, for running it alone, once everything before it is
/// done.
#[cold]
fn barrier(group: &Group, command: &'static Command, args: Args<'_>, slots: Slots) -> Next {
    if !group.is_empty() {
        return Next::Stop(Stop::Again);
    }
    Next::Stop(Stop::Barrier(Box::new(Barrier { command, args: args.to_owned(), slots })))
}

/// Keeps a command for `EXEC`.
#[cold]
fn queue(
    state: &mut ShardState,
    session: &mut Session,
    group: &Group,
    command: &'static Command,
    args: Args<'_>,
    reply: &mut Reply,
) -> Next {
    debug_assert!(group.is_empty(), "MULTI is a barrier");
    // Also a command that needs none itself: what is queued takes memory.
    if state.must_wait_for_room() {
        return Next::Stop(Stop::Room);
    }
    if !state.make_room() {
        return refuse(state, session, group, Some(command), &CommandError::Oom, reply);
    }
    let start = reply.len();
    if let Some(transaction) = &mut session.transaction {
        transaction.push(command, args);
        let queued = i64::try_from(transaction.commands.len()).unwrap_or(i64::MAX);
        session.client.queued.store(queued, Relaxed);
    }
    reply.simple("QUEUED");
    after_reply(session, reply, start);
    Next::Go
}

/// Answers a command that does not run at all.
#[cold]
fn refuse(
    state: &mut ShardState,
    session: &mut Session,
    group: &Group,
    command: Option<&'static Command>,
    error: &CommandError,
    reply: &mut Reply,
) -> Next {
    if !group.is_empty() {
        return Next::Stop(Stop::Again);
    }
    let is_exec = command.is_some_and(Command::is_exec);
    let start = reply.len();
    if is_exec {
        // As Redis: a malformed EXEC ends the transaction, if there is one, and the watches.
        session.transaction = None;
        unwatch_all(state, session);
        session.client.queued.store(-1, Relaxed);
        let text = error.to_string();
        let why = text.strip_prefix("ERR ").unwrap_or(&text);
        reply.error(format_args!("EXECABORT Transaction discarded because of: {why}"));
    } else {
        session.fail_transaction();
        reply.command_error(error);
    }
    state.count_error(error);
    if let Some(command) = command {
        state.statistics.rejected(command.id);
    }
    after_reply(session, reply, start);
    Next::Go
}

#[cold]
fn unknown(
    state: &mut ShardState,
    session: &mut Session,
    group: &Group,
    args: Args<'_>,
    reply: &mut Reply,
) -> Next {
    session.client.runs_unknown();
    // As Redis: a browser, or a page that makes one talk to us, must not get a command through.
    let name = args.at(0);
    if name.eq_ignore_ascii_case(b"host:") || name.eq_ignore_ascii_case(b"post") {
        return Next::Stop(Stop::Close(
            "it speaks HTTP: possible SECURITY ATTACK detected, somebody is sending POST or \
             Host: commands; this is likely due to cross protocol scripting",
        ));
    }
    let error = CommandError::unknown_command(args);
    refuse(state, session, group, None, &error, reply)
}

/// Drops the reply if the client does not want it.
#[inline]
fn after_reply(session: &mut Session, reply: &mut Reply, start: usize) {
    if session.reply_mode != crate::commands::session::ReplyMode::On && !session.wants_reply() {
        reply.truncate(start);
    }
}

/// The slots of a command's keys.
enum Span {
    None,
    One(u16),
    Many(Slots),
}

#[inline]
fn slot_span(keys: KeySpec, args: Args<'_>) -> Span {
    if let KeySpec::Range { first: 1, last: 1, .. } = keys
        && let Some(key) = args.get(1)
    {
        return Span::One(key_slot(key));
    }
    let slots = keys.slots(args);
    match slots.len() {
        0 => Span::None,
        1 => Span::One(slots[0]),
        _ => Span::Many(slots),
    }
}
