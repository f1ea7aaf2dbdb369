//! What a command *is*: its name, arity, flags, keys, documentation and handler, defined once.
//! Lookup, arity check, routing, `COMMAND …` and the documentation derive from it.

use std::ops::Deref;

use ballast_protocol::error::CommandError;
use ballast_protocol::slot::SLOTS;
use ballast_protocol::{Args, Reply, number};

use crate::ids::CommandId;
use crate::node::latency::Event;

use super::context::{Data, SessionContext};
pub(crate) use super::key_spec::{Access, KeySpec, ONE, REST, SECOND, TWO};

/// What handlers return: the reply has been written, or the error is to be.
pub(crate) type CommandResult = Result<(), CommandError>;

/// The handler of a command on the session.
pub(crate) type OnSession = fn(&mut SessionContext<'_>, Args<'_>, &mut Reply) -> CommandResult;

/// Bits of [`Command::flags`], named as `COMMAND INFO` names them.
pub(crate) mod flag {
    /// May change the data set.
    pub(crate) const WRITE: u32 = 1;
    /// Reads the data set only.
    pub(crate) const READONLY: u32 = 1 << 1;
    /// Refused when memory is over its limit.
    pub(crate) const DENYOOM: u32 = 1 << 2;
    /// Administrative.
    pub(crate) const ADMIN: u32 = 1 << 3;
    /// Publish/subscribe.
    pub(crate) const PUBSUB: u32 = 1 << 4;
    /// Not from scripts.
    pub(crate) const NOSCRIPT: u32 = 1 << 5;
    /// May block the connection.
    pub(crate) const BLOCKING: u32 = 1 << 6;
    /// Allowed while loading.
    pub(crate) const LOADING: u32 = 1 << 7;
    /// Allowed on a stale replica.
    pub(crate) const STALE: u32 = 1 << 8;
    /// Not shown by `MONITOR`.
    pub(crate) const SKIP_MONITOR: u32 = 1 << 9;
    /// Not kept by `SLOWLOG`.
    pub(crate) const SKIP_SLOWLOG: u32 = 1 << 10;
    /// `fast` as Redis means it, for `COMMAND INFO`, ACL categories and the latency monitor's
    /// events. It says nothing of what a call costs (`LPOP key 1000000` is fast): see
    /// [`Definition::constant`](super::Definition).
    pub(crate) const FAST: u32 = 1 << 11;
    /// Allowed before authentication.
    pub(crate) const NO_AUTH: u32 = 1 << 12;
    /// The positions of the keys depend on the arguments.
    pub(crate) const MOVABLEKEYS: u32 = 1 << 13;
    /// Acts at once also between `MULTI` and `EXEC`, instead of being queued.
    pub(crate) const AT_ONCE: u32 = 1 << 14;
    /// Refused inside `MULTI`; by its handler, so it acts at once there.
    pub(crate) const NO_MULTI: u32 = 1 << 15;
    /// Allowed while a script is busy.
    pub(crate) const ALLOW_BUSY: u32 = 1 << 16;
    /// What the client reads of it is a message for each channel, no reply.
    pub(crate) const MESSAGES: u32 = 1 << 17;
    /// Allowed also for a client that listens and speaks version 2 of the protocol: there, nothing
    /// tells a reply from a message.
    pub(crate) const LISTENING: u32 = 1 << 21;
    /// Category @dangerous.
    pub(crate) const DANGEROUS: u32 = 1 << 18;
    /// Category @keyspace though it is not of the generic group.
    pub(crate) const KEYSPACE: u32 = 1 << 19;
    /// Works on every key of the database, so it needs all slots (in a transaction all of them
    /// are held), unless [`Definition::all_slots_if`](super::Definition) refuses them.
    pub(crate) const ALL_SLOTS: u32 = 1 << 20;
    /// Changes nothing in the data set, or only how it is kept, but replicas must know of it
    /// (`PFCOUNT`, `PUBLISH`, scripts).
    pub(crate) const MAY_REPLICATE: u32 = 1 << 23;
    /// Not even for who reads the old data set while a new one is loaded beside it, as Redis's
    /// replicas do. Nothing here does.
    pub(crate) const NO_ASYNC_LOADING: u32 = 1 << 24;
    /// Only for whom `enable-debug-command` allows it.
    pub(crate) const PROTECTED: u32 = 1 << 22;
}

/// As [`Definition::constant`]: the command's name, its key and eight more arguments, each of
/// which costs a step.
pub(crate) const FEW: u8 = 10;

/// As [`Definition::repeats`]: with any arguments.
pub(crate) const ALWAYS: usize = usize::MAX;

/// The group in which the command is documented; also its main ACL category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Keys of any type.
    Generic,
    /// Strings.
    String,
    /// Strings as arrays of bits.
    Bitmap,
    /// Lists.
    List,
    /// Hashes.
    Hash,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Publish and subscribe.
    PubSub,
    /// Connections.
    Connection,
    /// The server itself.
    Server,
    /// Transactions.
    Transactions,
    /// Cluster.
    Cluster,
}

impl Group {
    /// The name in `COMMAND DOCS`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::Bitmap => "bitmap",
            Group::List => "list",
            Group::Hash => "hash",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::PubSub => "pubsub",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Transactions => "transactions",
            Group::Cluster => "cluster",
        }
    }
}

/// A step of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// `MULTI`
    Multi,
    /// `EXEC`
    Exec,
    /// `DISCARD`
    Discard,
    /// `WATCH`
    Watch,
    /// `UNWATCH`
    Unwatch,
    /// `RESET`
    Reset,
}

/// Who runs the command, and what it sees.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// On the shard that has all of its keys' slots.
    Data(fn(&mut Data<'_>, Args<'_>, &mut Reply) -> CommandResult),
    /// On the connection's own shard, with the session.
    Session(OnSession),
    /// By the connection, which asks other threads for a part of the answer.
    Gather(crate::commands::gather::Gather),
    /// Likewise, but inside a transaction, which has all slots, on the keys themselves.
    Spread(
        fn(&mut Data<'_>, Args<'_>, &mut Reply) -> CommandResult,
        crate::commands::gather::Gather,
    ),
    /// A step of `MULTI` … `EXEC`.
    Transaction(Step),
    /// A container: the second word names one of [`Command::subcommands`].
    Container,
}

/// How a family defines a command.
pub(crate) struct Definition {
    /// In lower case; of a subcommand only its own word.
    pub(crate) name: &'static str,
    /// Number of arguments with the name; negative: at least so many.
    pub(crate) arity: i16,
    /// Its arguments, in the notation of [`syntax`](super::syntax).
    pub(crate) syntax: &'static str,
    /// Bits of [`flag`].
    pub(crate) flags: u32,
    /// Where its keys are.
    pub(crate) keys: KeySpec,
    /// Names that are no keys, but have slots as keys do: sharded channels.
    pub(crate) channels: KeySpec,
    /// What it does to the keys, an entry per key specification of `COMMAND INFO`; empty: it
    /// reads them.
    pub(crate) access: &'static [Access],
    /// ACL categories instead of the one that follows from the group.
    pub(crate) categories: Option<&'static [&'static str]>,
    /// Hints for clients and proxies that `COMMAND INFO` gives.
    pub(crate) tips: &'static [&'static str],
    /// Of a command with [`flag::ALL_SLOTS`] that needs them only with some arguments: whether
    /// these are such. Without, the slots of `keys` are enough.
    pub(crate) all_slots_if: Option<fn(Args<'_>) -> bool>,
    /// Which argument is the number of a slot that it looks into.
    pub(crate) slot_at: Option<usize>,
    /// With up to so many arguments, the name among them, a call has a small bound on its cost,
    /// whatever its keys hold; 0: never. It may look up and change a few elements, in steps that
    /// grow with the logarithm of a collection's size at most, and detach what is freed later. What
    /// it copies is not in the bound by itself: where that may be long, the handler checks
    /// [`SHORT_BYTES_MAX`](super::context::SHORT_BYTES_MAX) and calls
    /// [`Data::begin_long`](super::context::Data::begin_long).
    ///
    /// Such calls are timed by sampling, and those on keys may run on behalf of another shard's
    /// thread.
    pub(crate) constant: u8,
    /// With up to so many arguments, the name among them, a call changes one key, in one go, and
    /// does the same when it is repeated on a key in the same state, whatever the time: it is its
    /// own effect. 0: never.
    pub(crate) repeats: usize,
    /// Its handler.
    pub(crate) run: Run,
    /// Its group.
    pub(crate) group: Group,
    /// Version of Redis that has it first.
    pub(crate) since: &'static str,
    /// Time complexity.
    pub(crate) complexity: &'static str,
    /// One line.
    pub(crate) summary: &'static str,
    /// Of a container.
    pub(crate) subcommands: &'static [Definition],
}

/// A command of the running process: its definition and its place among all.
pub(crate) struct Command {
    definition: &'static Definition,
    /// The definition's, at hand for the hot path, as the five behind it.
    pub(crate) flags: u32,
    pub(crate) repeats: usize,
    pub(crate) constant: u8,
    pub(crate) run: Run,
    pub(crate) keys: KeySpec,
    pub(crate) arity: i16,
    /// Its one key is the first argument, and it runs wherever that key is: the usual command.
    pub(crate) is_plain: bool,
    /// Its name has other bytes than letters, which [`Name`] may take for others.
    odd_name: bool,
    /// Its name, if [`Name`] tells it from all others; otherwise a name that nothing has.
    packed_name: Name,
    /// With the container's name before it: `config|get`.
    pub(crate) full_name: String,
    /// Its place among all, subcommands among them.
    pub(crate) id: CommandId,
    subcommands: Vec<Command>,
}

impl Deref for Command {
    type Target = Definition;

    #[inline]
    fn deref(&self) -> &Definition {
        self.definition
    }
}

impl Command {
    fn new(definition: &'static Definition, container: Option<&str>, next: &mut usize) -> Command {
        let full_name = match container {
            Some(container) => format!("{container}|{}", definition.name),
            None => definition.name.to_owned(),
        };
        let index = *next;
        *next += 1;
        let subs = definition.subcommands.iter();
        let subcommands = subs.map(|sub| Command::new(sub, Some(definition.name), next)).collect();
        let odd_name = !definition.name.bytes().all(|byte| byte.is_ascii_lowercase());
        Command {
            definition,
            flags: definition.flags,
            repeats: definition.repeats,
            constant: definition.constant,
            run: definition.run,
            keys: definition.keys,
            arity: definition.arity,
            is_plain: matches!(definition.run, Run::Data(_))
                && definition.keys.is_first_only()
                && definition.flags & (flag::BLOCKING | flag::ALL_SLOTS | flag::AT_ONCE) == 0,
            odd_name,
            packed_name: if odd_name || definition.name.len() > 16 {
                Name::EMPTY
            } else {
                Name::of(definition.name.as_bytes())
            },
            full_name,
            id: CommandId(u16::try_from(index).expect("some hundred commands")),
            subcommands,
        }
    }

    /// Whether all bits of `flags` are set.
    #[inline(always)]
    pub(crate) fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    /// Whether it ends a transaction by executing it.
    pub(crate) fn is_exec(&self) -> bool {
        matches!(self.run, Run::Transaction(Step::Exec))
    }

    /// Whether `CLIENT PAUSE … WRITE` holds it up.
    pub(crate) fn may_write(&self) -> bool {
        self.flags & (flag::WRITE | flag::MAY_REPLICATE) != 0
    }

    /// Whether a call with `count` arguments, the name among them, has a small bound on its cost
    /// if they are short: see [`Definition::constant`].
    #[inline(always)]
    pub(crate) fn is_constant(&self, count: usize) -> bool {
        count <= usize::from(self.constant)
    }

    /// Whether `count` arguments, the name among them, are allowed.
    #[inline(always)]
    pub(crate) fn arity_ok(&self, count: usize) -> bool {
        let wanted = usize::from(self.arity.unsigned_abs());
        if self.arity >= 0 { count == wanted } else { count >= wanted }
    }

    /// Whether `name` is certainly this command's: only said of short names of letters.
    #[inline(always)]
    pub(crate) fn is_named(&self, name: Name) -> bool {
        self.packed_name == name
    }

    /// Whether it reaches keys that `keys` does not name, so that it needs all slots.
    #[inline]
    pub(crate) fn needs_all_slots(&self, args: Args<'_>) -> bool {
        self.has(flag::ALL_SLOTS) && self.all_slots_if.is_none_or(|needs| needs(args))
    }

    /// The slot that it looks into and its arguments name by its number.
    pub(crate) fn slot(&self, args: Args<'_>) -> Option<u16> {
        let slot = number::parse_i64(args.get(self.slot_at?)?)?;
        u16::try_from(slot).ok().filter(|slot| *slot < SLOTS)
    }

    /// As what the latency monitor counts it.
    pub(crate) fn event(&self) -> Event {
        if self.has(flag::FAST) { Event::FastCommand } else { Event::Command }
    }

    /// The subcommands of a container.
    pub(crate) fn subcommands(&self) -> &[Command] {
        &self.subcommands
    }

    /// The subcommand called `name`, in any case.
    pub(crate) fn subcommand(&self, name: &[u8]) -> Option<&Command> {
        self.subcommands.iter().find(|sub| sub.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

impl Definition {
    /// What most commands have in common: `Definition { name: …, ..Definition::BASE }`.
    pub(crate) const BASE: Definition = Definition {
        name: "",
        arity: 1,
        syntax: "",
        flags: 0,
        keys: KeySpec::None,
        channels: KeySpec::None,
        access: &[],
        categories: None,
        tips: &[],
        all_slots_if: None,
        slot_at: None,
        constant: 0,
        repeats: 0,
        run: Run::Container,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "",
        subcommands: &[],
    };
}

/// All commands by name.
pub(crate) struct Table {
    /// In the order of their names.
    commands: Vec<Command>,
    cells: Box<[Cell]>,
    count: usize,
}

/// A cell of the lookup table: a name, as [`Name`] packs it, and its place in `commands`.
#[derive(Clone, Copy)]
struct Cell {
    name: Name,
    place: u16,
}

/// Cells of the lookup table: a power of two, several times the number of commands.
const CELLS: usize = 2048;

/// The first and the last eight bytes of a name in lower case, and its length. For names of
/// letters and up to 16 bytes it is the name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    head: u64,
    tail: u64,
    len: usize,
}

impl Name {
    const EMPTY: Name = Name { head: 1, tail: 0, len: 0 };

    #[inline(always)]
    pub(crate) fn of(name: &[u8]) -> Name {
        const LOWER: u64 = 0x2020_2020_2020_2020;
        let (head, tail) = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
            (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
            _ => (short_word(name), 0),
        };
        Name { head: head | LOWER, tail: tail | LOWER, len: name.len() }
    }

    /// Where the search for the name begins.
    #[inline(always)]
    fn home(self) -> usize {
        let mixed = self.head ^ self.tail.rotate_left(29) ^ self.len as u64;
        let mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        usize::try_from(mixed >> 53).expect("eleven bits")
    }
}

/// Fewer than eight bytes in one word, so that words of one length differ if the bytes do.
#[inline(always)]
fn short_word(name: &[u8]) -> u64 {
    if let (Some(head), Some(tail)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        u64::from(u32::from_le_bytes(*head)) | u64::from(u32::from_le_bytes(*tail)) << 32
    } else {
        match *name {
            [a, b, c] => u64::from(a) << 16 | u64::from(b) << 8 | u64::from(c),
            _ => name.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        }
    }
}

impl Table {
    /// Builds the lookup table of `families`.
    ///
    /// # Panics
    /// If two commands have one name: a defect of the table.
    pub(crate) fn new(families: &[&'static [Definition]]) -> Table {
        let mut definitions: Vec<&'static Definition> =
            families.iter().flat_map(|family| family.iter()).collect();
        definitions.sort_by_key(|definition| definition.name);
        let mut count = 0;
        let commands: Vec<Command> = definitions
            .into_iter()
            .map(|definition| Command::new(definition, None, &mut count))
            .collect();
        let mut cells = vec![Cell { name: Name::EMPTY, place: 0 }; CELLS].into_boxed_slice();
        for (place, command) in commands.iter().enumerate() {
            let name = Name::of(command.name.as_bytes());
            let mut at = name.home();
            while cells[at].name.len != 0 {
                assert!(cells[at].name != name, "{} is defined twice", command.name);
                at = (at + 1) % CELLS;
            }
            let place = u16::try_from(place).expect("some hundred commands");
            cells[at] = Cell { name, place };
        }
        Table { commands, cells, count }
    }

    /// The command called `name`, in any case.
    #[inline]
    pub(crate) fn find(&self, name: &[u8]) -> Option<&Command> {
        let packed = Name::of(name);
        let mut at = packed.home();
        loop {
            let cell = &self.cells[at];
            if cell.name == packed && packed.len != 0 {
                let command = &self.commands[usize::from(cell.place)];
                let exact = packed.len > 16 || command.odd_name;
                return (!exact || command.name.as_bytes().eq_ignore_ascii_case(name))
                    .then_some(command);
            }
            if cell.name.len == 0 {
                return None;
            }
            at = (at + 1) % CELLS;
        }
    }

    /// All commands in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Command> {
        self.commands.iter()
    }

    /// Commands and subcommands, in the order of [`Command::id`].
    pub(crate) fn with_subcommands(&self) -> impl Iterator<Item = &Command> {
        self.commands
            .iter()
            .flat_map(|command| std::iter::once(command).chain(&command.subcommands))
    }

    /// The command of that number.
    pub(crate) fn by_id(&self, id: CommandId) -> Option<&Command> {
        // They are numbered in the order of their names, each before its subcommands.
        let next = self.commands.partition_point(|command| command.id <= id);
        let command = self.commands.get(next.checked_sub(1)?)?;
        match id.index() - command.id.index() {
            0 => Some(command),
            sub => command.subcommands.get(sub - 1),
        }
    }

    /// How many commands there are, without subcommands.
    pub(crate) fn len(&self) -> usize {
        self.commands.len()
    }

    /// How many with subcommands.
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use crate::ids::CommandId;

    #[test]
    fn names_are_found_in_any_case_and_nothing_else_is() {
        for command in table().iter() {
            for name in [command.name.to_owned(), command.name.to_uppercase()] {
                let found = table().find(name.as_bytes()).expect("it is in the table");
                assert_eq!(found.name, command.name);
            }
            let longer = format!("{}x", command.name);
            assert!(table().find(longer.as_bytes()).is_none_or(|other| other.name == longer));
        }
        for name in ["", " ", "ge", "gett", "g\0t", "get ", "\u{7}et", "sort\u{7f}ro"] {
            assert!(table().find(name.as_bytes()).is_none(), "{name:?}");
        }
    }

    #[test]
    fn each_command_is_found_by_its_number() {
        let table = crate::commands::table();
        for (at, command) in table.with_subcommands().enumerate() {
            assert_eq!(command.id.index(), at, "{}", command.full_name);
            let found = table.by_id(command.id).expect("it is in the table");
            assert_eq!(found.full_name, command.full_name);
        }
        let beyond = CommandId(u16::try_from(table.count()).expect("some hundred"));
        assert!(table.by_id(beyond).is_none());
    }
}
