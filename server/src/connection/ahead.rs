//! The way of nearly all commands: one key, and nothing special about the connection. Some of
//! them are looked at before the first is executed, here or on another shard, and what their
//! look-ups will read is loaded for all at once.

use ballast_protocol::{ArgRange, Args, Limits, Reply};

use super::batch::{Group, Input, Stop, dispatch};
use crate::commands::REPLY_BYTES;
use crate::commands::context::{Routed, SHORT_BYTES_MAX};
use crate::commands::execute::Ran;
use crate::commands::session::Session;
use crate::engine::prefetch::AHEAD_MAX;
use crate::node::blocked::Caller;
use crate::shard::ShardState;
use crate::shard::lookahead::{Lookahead, Planned};

/// Executes the commands at the front of the input as long as they are plain. What stops it,
/// errors among it, is left to the general way; or the replies have to be sent first.
#[inline(always)]
pub(super) fn run_plain(
    state: &mut ShardState,
    session: &Session,
    group: &mut Group,
    input: &mut Input<'_>,
    limits: &Limits,
    reply: &mut Reply,
) -> Option<Stop> {
    if !session.is_plain() || !limits.allow_usual() || !state.modes.is_usual() {
        return None;
    }
    let mut ahead = state.lookahead.take().unwrap_or_default();
    let stop = loop {
        ahead.look(state, input.bytes, *input.taken);
        if ahead.commands.is_empty() || state.shared.pause.is_set() {
            break None;
        }
        let count = ahead.commands.len();
        if let Some(last) = ahead.commands.last() {
            session.client.runs(last.command.id);
        }
        if count > 1 {
            let keys = ahead.commands.iter().map(|planned| (planned.slot, planned.hash));
            state.load_keys(session.db, keys);
        }
        group.last_slot = ahead.commands.last().map(|planned| planned.slot);
        let stop = execute(&ahead, state, session.caller(), group, input, reply);
        if stop.is_some() {
            break stop;
        }
        if count < AHEAD_MAX {
            break None;
        }
    };
    state.lookahead = Some(ahead);
    stop
}

/// Looks at the command in these bytes and has its look-up foreseen, unless they are not one plain
/// command on a key that is here, or one of constant cost on another key. Its arguments are left in
/// `ranges`.
#[inline(always)]
pub(crate) fn foresee(
    state: &mut ShardState,
    db: u8,
    bytes: &[u8],
    ranges: &mut Vec<ArgRange>,
) -> Option<Planned> {
    let mut ahead = state.lookahead.take().unwrap_or_default();
    std::mem::swap(&mut ahead.ranges, ranges);
    ahead.ranges.clear();
    let planned = ahead.plan(state, bytes);
    std::mem::swap(&mut ahead.ranges, ranges);
    state.lookahead = Some(ahead);
    let planned = planned.filter(|planned| planned.bytes as usize == bytes.len())?;
    if !state.has(planned.slot) && !planned.is_constant() {
        return None;
    }
    state.foresee(db, planned.slot, planned.hash);
    Some(planned)
}

impl Planned {
    /// Whether its cost has a small bound, as far as the arguments tell.
    #[inline(always)]
    fn is_constant(&self) -> bool {
        self.command.is_constant(self.arguments.into()) && self.bytes as usize <= SHORT_BYTES_MAX
    }

    /// Executes the only command of a batch: where its slot is, if that is possible now. False: it
    /// has to wait for memory.
    #[inline(always)]
    pub(super) fn execute_alone(
        &self,
        state: &mut ShardState,
        caller: Caller,
        group: &mut Group,
        args: Args<'_>,
        reply: &mut Reply,
    ) -> bool {
        if state.has(self.slot) || !self.execute_on_behalf(state, caller, group, args, reply) {
            return self.execute(state, caller, group, args, reply);
        }
        true
    }

    /// Executes it on the shard of its slot, if that is free and the command's cost is constant.
    /// False: nothing has been done.
    #[inline(never)]
    fn execute_on_behalf(
        &self,
        state: &mut ShardState,
        caller: Caller,
        group: &mut Group,
        args: Args<'_>,
        reply: &mut Reply,
    ) -> bool {
        let owner = state.shared.router.owner(self.slot);
        let routed = Routed::first(self.slot, self.hash);
        let now_ms = state.now_ms;
        let work = |other: &mut ShardState| {
            if !other.has(self.slot) {
                return false;
            }
            other.begin_batch_at(caller.client, now_ms);
            if other.postpones(self.command) {
                return false;
            }
            other.on_behalf = true;
            let ran = other.execute_routed(self.command, routed, args, caller, reply);
            other.on_behalf = false;
            if ran == Ran::Left {
                other.left = false;
                return false;
            }
            other.count_guest(self.slot);
            other.serve_ready();
            true
        };
        if !self.is_constant() || state.on_behalf(owner, work) != Some(true) {
            return false;
        }
        state.counters.commands_elsewhere.add(1);
        group.on_behalf = Some(owner);
        true
    }

    /// Executes it, or collects it for the shard where its slot is. False: it has to wait for
    /// memory.
    #[inline(always)]
    pub(super) fn execute(
        &self,
        state: &mut ShardState,
        caller: Caller,
        group: &mut Group,
        args: Args<'_>,
        reply: &mut Reply,
    ) -> bool {
        let routed = Routed::first(self.slot, self.hash);
        dispatch(state, caller, group, self.command, routed, args, reply)
    }
}

/// Executes what has been looked at in order, or collects it for the shards where the slots are,
/// unless something has to be done before the rest.
#[inline(always)]
fn execute(
    ahead: &Lookahead,
    state: &mut ShardState,
    caller: Caller,
    group: &mut Group,
    input: &mut Input<'_>,
    reply: &mut Reply,
) -> Option<Stop> {
    let mut ranges = &ahead.ranges[..];
    for planned in &ahead.commands {
        let (own, others) = ranges.split_at(usize::from(planned.arguments));
        ranges = others;
        let args = Args::new(&input.bytes[*input.taken..], own);
        if !planned.execute(state, caller, group, args, reply) {
            return Some(Stop::Room);
        }
        *input.taken += planned.bytes as usize;
        if reply.len() > REPLY_BYTES || group.local_bytes > REPLY_BYTES {
            return Some(Stop::Flush);
        }
    }
    None
}
