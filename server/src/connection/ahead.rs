//! The way of nearly all commands: one key, whose slot is here, and nothing special about the
//! connection. Some of them are parsed before the first is executed, and what their look-ups
//! will read is loaded for all at once: on a data set larger than the processor's caches,
//! waiting for memory is what a pipelined command mostly does.

use ballast_protocol::slot::key_slot;
use ballast_protocol::{ArgRange, Args, Limits, Reply, parse_usual, parse_usual_arguments};
use ballast_storage::Key;
use ballast_storage::memory::prefetch_value;
use ballast_storage::table::Ahead as Look;

use super::REPLY_BYTES;
use super::batch::{Input, Stop};
use crate::commands::context::Routed;
use crate::commands::table::Command;
use crate::session::Session;
use crate::shard::ShardState;
use crate::shard::message::Caller;

/// How many commands are looked at before the first is executed: enough to hide the latency of
/// memory, few enough that what was loaded is still there.
const AHEAD_MAX: usize = 16;
/// Cache lines of a slot's box that a command reads or writes.
const BOX_LINES: usize = 3;

/// Commands that have been parsed and routed, but not executed.
#[derive(Default)]
pub(crate) struct Ahead {
    /// Their arguments, in the bytes from their own first one on.
    ranges: Vec<ArgRange>,
    commands: Vec<Planned>,
    head: Head,
}

/// What the last command began with, up to its key. Commands of one connection mostly begin
/// alike, and then nothing of that is parsed or looked up again.
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

/// One of them.
struct Planned {
    command: &'static Command,
    hash: u64,
    /// Its length in bytes; it begins where the command before it ends.
    bytes: u32,
    slot: u16,
    /// How many ranges are its.
    arguments: u8,
}

/// How far [`Ahead::execute`] came.
enum Progress {
    /// All are executed.
    Done,
    /// A slot has left meanwhile.
    Left,
    /// The replies have to be sent first.
    Full,
}

/// Executes the commands at the front of the input as long as they are plain. What stops it,
/// errors among it, is left to the general way; or the replies have to be sent first.
#[inline(always)]
pub(super) fn run_plain(
    state: &mut ShardState,
    session: &Session,
    input: &mut Input<'_>,
    limits: &Limits,
    reply: &mut Reply,
) -> Option<Stop> {
    if !session.is_plain() || !limits.allow_usual() {
        return None;
    }
    let mut ahead = std::mem::take(&mut state.ahead);
    let stop = loop {
        ahead.look(state, input.bytes, *input.taken);
        if ahead.commands.is_empty() || state.shared.pause.is_set() {
            break None;
        }
        let count = ahead.commands.len();
        if count > 1 {
            ahead.load(state, session.db);
        }
        match ahead.execute(state, session.caller(), input, reply) {
            Progress::Done if count == AHEAD_MAX => {}
            Progress::Done | Progress::Left => break None,
            Progress::Full => break Some(Stop::Flush),
        }
    };
    state.ahead = ahead;
    stop
}

impl Ahead {
    /// Parses and routes what is plain from `at` on.
    #[inline(always)]
    fn look(&mut self, state: &mut ShardState, bytes: &[u8], at: usize) {
        self.ranges.clear();
        self.commands.clear();
        let mut rest = &bytes[at..];
        while self.commands.len() < AHEAD_MAX {
            let first = self.ranges.len();
            let Some((command, consumed)) = self.parse(state, rest) else { return };
            let Some(key) = Args::new(rest, &self.ranges[first..]).get(1) else { return };
            let slot = key_slot(key);
            let Some(boxed) = state.slot(slot) else { return };
            prefetch_value(boxed, BOX_LINES);
            // Nine arguments of 9,999 bytes are the most that is parsed here.
            let (bytes, arguments) = (consumed as u32, (self.ranges.len() - first) as u8);
            let hash = Key::new(key).hash;
            self.commands.push(Planned { command, hash, bytes, slot, arguments });
            rest = &rest[consumed..];
        }
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

    /// Has loaded what the look-ups of all keys will read: one step for all, then the next.
    #[inline(always)]
    fn load(&self, state: &ShardState, db: u8) {
        let mut looks = [Look::default(); AHEAD_MAX];
        for (planned, look) in self.commands.iter().zip(&mut looks) {
            let keys = state.slot(planned.slot).and_then(|boxed| boxed.data.keyspace(db));
            if let Some(keys) = keys {
                *look = keys.ahead(planned.hash);
            }
        }
        let looks = &looks[..self.commands.len()];
        looks.iter().for_each(Look::load_index);
        looks.iter().for_each(Look::load_entry);
    }

    /// Executes them in order.
    #[inline(always)]
    fn execute(
        &self,
        state: &mut ShardState,
        caller: Caller,
        input: &mut Input<'_>,
        reply: &mut Reply,
    ) -> Progress {
        let mut ranges = &self.ranges[..];
        for planned in &self.commands {
            // What a command has woken may have taken the slot of a later one.
            if !state.has(planned.slot) {
                return Progress::Left;
            }
            let (own, others) = ranges.split_at(usize::from(planned.arguments));
            ranges = others;
            let args = Args::new(&input.bytes[*input.taken..], own);
            let Planned { command, slot, hash, .. } = *planned;
            let routed = Routed::hashed(args, slot, hash);
            state.execute_routed(command, routed, args, caller, reply);
            *input.taken += planned.bytes as usize;
            if !state.ready.is_empty() {
                state.serve_ready();
            }
            if reply.len() > REPLY_BYTES {
                return Progress::Full;
            }
        }
        Progress::Done
    }
}
