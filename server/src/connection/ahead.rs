//! The way of nearly all commands: one key, and nothing special about the connection. Some of
//! them are parsed before the first is executed, here or on another shard, and what their
//! look-ups will read is loaded for all at once.

use ballast_protocol::slot::key_slot;
use ballast_protocol::{ArgRange, Args, Limits, Reply, parse_usual, parse_usual_arguments};
use ballast_storage::Key;

use super::REPLY_BYTES;
use super::batch::{Group, Input, Stop, dispatch};
use crate::commands::context::Routed;
use crate::commands::session::Session;
use crate::commands::table::Command;
use crate::shard::ShardState;
use crate::shard::message::Caller;
use crate::shard::prefetch::AHEAD_MAX;

/// Commands that have been parsed and routed, but not executed.
#[derive(Default)]
pub(crate) struct Ahead {
    /// Their arguments, in the bytes from their own first one on.
    ranges: Vec<ArgRange>,
    commands: Vec<Planned>,
    head: Head,
}

/// What the last command of the shard began with, up to its key. Commands mostly begin alike, and
/// then nothing of that is parsed or looked up again.
#[derive(Default)]
struct Head {
    /// The first bytes, and which of them belong to it.
    bytes: u128,
    mask: u128,
    command: Option<&'static Command>,
    /// Where its name is.
    name: ArgRange,
    /// How many arguments the command has.
    arguments: u8,
}

/// A command that has been parsed and routed.
pub(crate) struct Planned {
    command: &'static Command,
    hash: u64,
    /// Its length in bytes; it begins where the command before it ends.
    bytes: u32,
    slot: u16,
    /// How many ranges are its.
    arguments: u8,
}

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
    if !session.is_plain() || !limits.allow_usual() {
        return None;
    }
    let mut ahead = state.ahead.take().unwrap_or_default();
    let stop = loop {
        ahead.look(state, input.bytes, *input.taken);
        if ahead.commands.is_empty() || state.shared.pause.is_set() {
            break None;
        }
        let count = ahead.commands.len();
        if count > 1 {
            let keys = ahead.commands.iter().map(|planned| (planned.slot, planned.hash));
            state.load_keys(session.db, keys);
        }
        if !ahead.execute(state, session.caller(), group, input, reply) {
            break Some(Stop::Flush);
        }
        if count < AHEAD_MAX {
            break None;
        }
    };
    state.ahead = Some(ahead);
    stop
}

/// Looks at the command in these bytes and has its look-up foreseen, unless they are not one plain
/// command on a key that is here, or a quick one on another key. Its arguments are left in
/// `ranges`.
#[inline(always)]
pub(crate) fn foresee(
    state: &mut ShardState,
    db: u8,
    bytes: &[u8],
    ranges: &mut Vec<ArgRange>,
) -> Option<Planned> {
    let mut ahead = state.ahead.take().unwrap_or_default();
    std::mem::swap(&mut ahead.ranges, ranges);
    ahead.ranges.clear();
    let planned = ahead.plan(state, bytes);
    std::mem::swap(&mut ahead.ranges, ranges);
    state.ahead = Some(ahead);
    let planned = planned.filter(|planned| planned.bytes as usize == bytes.len())?;
    if !state.has(planned.slot) && !planned.command.is_quick() {
        return None;
    }
    state.foresee(db, planned.slot, planned.hash);
    Some(planned)
}

impl Planned {
    /// Executes the only command of a batch: where its slot is, if that is possible now.
    #[inline(always)]
    pub(super) fn execute_alone(
        &self,
        state: &mut ShardState,
        caller: Caller,
        group: &mut Group,
        args: Args<'_>,
        reply: &mut Reply,
    ) {
        if state.has(self.slot) || !self.execute_on_behalf(state, caller, group, args, reply) {
            self.execute(state, caller, group, args, reply);
        }
    }

    /// Executes it on the shard of its slot, if that is free and the command is quick.
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
        let routed = Routed::hashed(args, self.slot, self.hash);
        let now_ms = state.now_ms;
        let work = |other: &mut ShardState| {
            if !other.has(self.slot) {
                return false;
            }
            other.begin_batch_at(caller.client, now_ms);
            other.execute_routed(self.command, routed, args, caller, reply);
            other.serve_ready();
            true
        };
        if !self.command.is_quick() || state.on_behalf(owner, work) != Some(true) {
            return false;
        }
        state.counters.commands_elsewhere.add(1);
        group.on_behalf = Some(owner);
        true
    }

    /// Executes it, or collects it for the shard where its slot is.
    #[inline(always)]
    pub(super) fn execute(
        &self,
        state: &mut ShardState,
        caller: Caller,
        group: &mut Group,
        args: Args<'_>,
        reply: &mut Reply,
    ) {
        let routed = Routed::hashed(args, self.slot, self.hash);
        dispatch(state, caller, group, self.command, routed, args, reply);
    }
}

impl Ahead {
    /// Parses and routes what is plain from `at` on.
    #[inline(always)]
    fn look(&mut self, state: &mut ShardState, bytes: &[u8], at: usize) {
        self.ranges.clear();
        self.commands.clear();
        let mut rest = &bytes[at..];
        while self.commands.len() < AHEAD_MAX {
            let Some(planned) = self.plan(state, rest) else { return };
            rest = &rest[planned.bytes as usize..];
            self.commands.push(planned);
        }
    }

    /// Parses and routes the command at the front, if it is plain.
    #[inline(always)]
    fn plan(&mut self, state: &mut ShardState, rest: &[u8]) -> Option<Planned> {
        let first = self.ranges.len();
        let (command, consumed) = self.parse(state, rest)?;
        let key = Args::new(rest, &self.ranges[first..]).get(1)?;
        let slot = key_slot(key);
        state.load_box(slot);
        // Nine arguments of 9,999 bytes are the most that is parsed here.
        let (bytes, arguments) = (consumed as u32, (self.ranges.len() - first) as u8);
        let hash = Key::new(key).hash;
        Some(Planned { command, hash, bytes, slot, arguments })
    }

    /// Parses the command at the front, if it is plain; returns its length in bytes with it.
    #[inline(always)]
    fn parse(&mut self, state: &mut ShardState, rest: &[u8]) -> Option<(&'static Command, usize)> {
        let head = &self.head;
        if let Some(first) = rest.first_chunk()
            && u128::from_le_bytes(*first) & head.mask == head.bytes
            && let Some(command) = head.command
        {
            self.ranges.push(head.name);
            let (at, count) = (head.name.end as usize + 2, usize::from(head.arguments) - 1);
            let consumed = parse_usual_arguments(rest, at, count, &mut self.ranges)?;
            return Some((command, consumed));
        }
        self.parse_new(state, rest)
    }

    /// [`Self::parse`] for a command that begins otherwise than the last one.
    #[inline(never)]
    fn parse_new(
        &mut self,
        state: &mut ShardState,
        rest: &[u8],
    ) -> Option<(&'static Command, usize)> {
        let first = self.ranges.len();
        let consumed = parse_usual(rest, &mut self.ranges)?;
        let args = Args::new(rest, &self.ranges[first..]);
        let command = state.find_command(args.at(0))?;
        if !command.is_plain || !command.arity_ok(args.len()) {
            return None;
        }
        let name = self.ranges[first];
        if let Some(bytes) = rest.first_chunk()
            && name.end as usize + 2 <= size_of::<u128>()
        {
            let mask = u128::MAX >> (8 * (size_of::<u128>() - name.end as usize - 2));
            let bytes = u128::from_le_bytes(*bytes) & mask;
            let arguments = args.len() as u8;
            self.head = Head { bytes, mask, command: Some(command), name, arguments };
        }
        Some((command, consumed))
    }

    /// Executes them in order, or collects them for the shards where their slots are; false if the
    /// replies have to be sent before the rest.
    #[inline(always)]
    fn execute(
        &self,
        state: &mut ShardState,
        caller: Caller,
        group: &mut Group,
        input: &mut Input<'_>,
        reply: &mut Reply,
    ) -> bool {
        let mut ranges = &self.ranges[..];
        for planned in &self.commands {
            let (own, others) = ranges.split_at(usize::from(planned.arguments));
            ranges = others;
            let args = Args::new(&input.bytes[*input.taken..], own);
            planned.execute(state, caller, group, args, reply);
            *input.taken += planned.bytes as usize;
            if reply.len() > REPLY_BYTES || group.local.len() > REPLY_BYTES {
                return false;
            }
        }
        true
    }
}
