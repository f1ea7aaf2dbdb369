//! Commands that have been received and not executed: which they are, and where their keys are. As
//! much as a batch begins with plain commands, they are parsed and routed before the first is
//! executed.

use ballast_protocol::slot::key_slot;
use ballast_protocol::{ArgRange, Args, parse_usual, parse_usual_arguments};
use ballast_storage::Key;

use super::ShardState;
use crate::commands::table::Command;
use crate::engine::prefetch::AHEAD_MAX;

/// Commands that have been parsed and routed, but not executed.
#[derive(Default)]
pub(crate) struct Lookahead {
    /// Their arguments, in the bytes from their own first one on.
    pub(crate) ranges: Vec<ArgRange>,
    pub(crate) commands: Vec<Planned>,
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
    pub(crate) command: &'static Command,
    pub(crate) hash: u64,
    /// Its length in bytes; it begins where the command before it ends.
    pub(crate) bytes: u32,
    pub(crate) slot: u16,
    /// How many ranges are its.
    pub(crate) arguments: u8,
}

impl Lookahead {
    /// Parses and routes what is plain from `at` on.
    #[inline(always)]
    pub(crate) fn look(&mut self, state: &mut ShardState, bytes: &[u8], at: usize) {
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
    pub(crate) fn plan(&mut self, state: &mut ShardState, rest: &[u8]) -> Option<Planned> {
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
}
