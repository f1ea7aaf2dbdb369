//! What shards say to each other.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use ballast_protocol::{ArgRange, Args, Reply};
use ballast_storage::memory::good_size;

use super::serve_blocked::ReadyKey;
use super::{Shard, ShardState, places};
use crate::commands::context::{Routed, SHORT_BYTES_MAX};
use crate::commands::table::Command;
use crate::engine::slot::Slot;
use crate::ids::ShardId;
use crate::node::blocked::{Caller, Token};
use crate::node::clients::Client;

/// A message in a shard's mailbox.
pub(crate) enum Message {
    /// Commands of a connection of another shard; comes back as `BatchDone`.
    Batch(Box<RemoteBatch>),
    /// The batch as far as it was executed.
    BatchDone(Box<RemoteBatch>),
    /// A transaction that travels and collects the slots it needs.
    Hold(Box<Hold>),
    /// Boxes that a transaction has done with, back to the shard that lent them.
    Return(places::Part<Box<Slot>>),
    /// A hand-over: the receiver owns the slot from now on. With when it began.
    Adopt(u16, Box<Slot>, Instant),
    /// A blocked connection goes on with this reply.
    Unblocked(Token, Vec<u8>),
    /// Work of the control thread or of a gathering connection.
    Call(Box<dyn FnOnce(&mut ShardState) + Send>),
    /// A task to begin on the shard's thread: a connection to serve.
    Task(Box<dyn FnOnce(Rc<Shard>) + Send>),
    /// Connections that something has been pushed to; as a rule of this shard.
    Wake(Vec<Arc<Client>>),
    /// Close the connections and end the thread.
    Stop,
}

/// Commands of one connection for one shard, in order, with their replies.
pub(crate) struct RemoteBatch {
    /// The connection's shard.
    pub(crate) origin: ShardId,
    /// The connection's wait.
    pub(crate) token: Token,
    /// For whom.
    pub(crate) caller: Caller,
    /// The arguments' bytes.
    pub(crate) bytes: Vec<u8>,
    /// Where in `bytes` the arguments of all commands are.
    pub(crate) ranges: Vec<ArgRange>,
    /// The commands.
    pub(crate) commands: Vec<RemoteCommand>,
    /// The slots of those with keys in several.
    pub(crate) slots: Vec<u16>,
    /// How many of `commands` have been executed. Fewer than all in an answer: the slot of the
    /// next one has moved, ask the router again.
    pub(crate) done: usize,
    /// The replies, one behind the other.
    pub(crate) replies: Vec<u8>,
    /// The last reply, if it is a long one; it has no part in `replies` then.
    pub(crate) long_reply: Option<Reply>,
    /// Where each reply ends, from that of command `first_reply` on.
    pub(crate) ends: Vec<usize>,
    /// The replies before this one have been taken.
    pub(crate) first_reply: usize,
    /// How many of its bytes count as its shard's.
    pub(super) counted_bytes: u64,
}

impl RemoteCommand {
    /// Whether its keys are in several slots.
    #[inline(always)]
    pub(crate) fn is_wide(&self) -> bool {
        self.slots.0 < self.slots.1
    }
}

/// One command of a [`RemoteBatch`].
#[derive(Clone, Copy)]
pub(crate) struct RemoteCommand {
    /// What.
    pub(crate) command: &'static Command,
    /// The slot of all its keys; the first one, if they are in several.
    pub(crate) slot: u16,
    /// Its slots among the batch's, if they are several; else nothing.
    slots: (u32, u32),
    /// What is known of its first key.
    pub(crate) routed: Routed,
    /// First of its `ranges`.
    pub(crate) first: usize,
    /// One past the last of its `ranges`.
    pub(crate) end: usize,
}

impl RemoteBatch {
    pub(crate) fn new(origin: ShardId, token: Token, caller: Caller) -> RemoteBatch {
        RemoteBatch {
            origin,
            token,
            caller,
            bytes: Vec::new(),
            ranges: Vec::new(),
            commands: Vec::new(),
            slots: Vec::new(),
            done: 0,
            replies: Vec::new(),
            long_reply: None,
            ends: Vec::new(),
            first_reply: 0,
            counted_bytes: 0,
        }
    }

    /// Appends a command with a copy of its arguments and what is between them: it is the size of
    /// the request as well.
    pub(crate) fn push(&mut self, command: &'static Command, routed: Routed, args: Args<'_>) {
        let first = self.ranges.len();
        let span = args.span();
        self.bytes.extend_from_slice(&args.buffer()[span.range()]);
        // Where the copy begins: its end is checked to be an offset, so all of it is.
        let start = offset(self.bytes.len()) - (span.end - span.start);
        let moved = |range: &ArgRange| {
            ArgRange::new(range.start - span.start + start, range.end - span.start + start)
        };
        self.ranges.extend(args.ranges().iter().map(moved));
        let slot = routed.slot;
        let (slots, end) = ((0, 0), self.ranges.len());
        self.commands.push(RemoteCommand { command, slot, slots, routed, first, end });
    }

    /// [`Self::push`] without a copy, into an empty batch: where the arguments are in what
    /// [`Self::own`] is given next.
    pub(crate) fn push_long(&mut self, command: &'static Command, routed: Routed, args: Args<'_>) {
        debug_assert!(self.bytes.is_empty() && self.commands.is_empty());
        self.ranges.extend_from_slice(args.ranges());
        let (slot, slots, end) = (routed.slot, (0, 0), self.ranges.len());
        self.commands.push(RemoteCommand { command, slot, slots, routed, first: 0, end });
    }

    /// Takes over a buffer in which the arguments of the only command begin at `start`.
    pub(crate) fn own(&mut self, bytes: Vec<u8>, start: usize) {
        self.bytes = bytes;
        // As in `push`: the end is an offset, so all is.
        let start = offset(self.bytes.len()) - offset(self.bytes.len() - start);
        for range in &mut self.ranges {
            *range = ArgRange::new(range.start + start, range.end + start);
        }
    }

    /// [`Self::push`] of a command with keys in several slots.
    pub(crate) fn push_wide(&mut self, command: &'static Command, slots: &[u16], args: Args<'_>) {
        self.push(command, Routed::to(slots[0]), args);
        let first = offset(self.slots.len());
        self.slots.extend_from_slice(slots);
        if let Some(pushed) = self.commands.last_mut() {
            pushed.slots = (first, offset(self.slots.len()));
        }
    }

    /// The slots of command `at`, ascending.
    pub(crate) fn slots(&self, at: usize) -> &[u16] {
        let RemoteCommand { slot, slots: (first, end), .. } = &self.commands[at];
        if first == end {
            std::slice::from_ref(slot)
        } else {
            &self.slots[*first as usize..*end as usize]
        }
    }

    /// Bytes on the heap, its own box among them, but not the arguments of a long command: its
    /// client counts them.
    pub(super) fn own_bytes(&self) -> usize {
        let arguments = if self.is_long() { 0 } else { good_size(self.bytes.capacity()) };
        good_size(size_of::<RemoteBatch>())
            + arguments
            + good_size(self.ranges.capacity() * size_of::<ArgRange>())
            + good_size(self.commands.capacity() * size_of::<RemoteCommand>())
            + good_size(self.slots.capacity() * size_of::<u16>())
            + good_size(self.replies.capacity())
            + good_size(self.ends.capacity() * size_of::<usize>())
    }

    /// Whether what it holds counts as its client's.
    pub(crate) fn is_long(&self) -> bool {
        self.bytes.len() > SHORT_BYTES_MAX
    }

    /// Empties it for another use.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ranges.clear();
        self.commands.clear();
        self.slots.clear();
        self.replies.clear();
        self.long_reply = None;
        self.ends.clear();
        self.done = 0;
        self.first_reply = 0;
    }

    /// The arguments of command `at`.
    pub(crate) fn args(&self, at: usize) -> Args<'_> {
        let command = &self.commands[at];
        Args::new(&self.bytes, &self.ranges[command.first..command.end])
    }

    /// What is known of the key of command `at`.
    #[inline]
    pub(crate) fn routed(&self, at: usize) -> Routed {
        self.commands[at].routed
    }

    /// The reply to command `at`, which must be done.
    pub(crate) fn reply(&self, at: usize) -> &[u8] {
        let at = at - self.first_reply;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.replies[start..self.ends[at]]
    }

    /// All replies so far have been taken.
    pub(crate) fn forget_replies(&mut self) {
        self.replies.clear();
        self.long_reply = None;
        self.ends.clear();
        self.first_reply = self.done;
    }

    /// An empty batch in the place of this one.
    pub(crate) fn stand_in(&self) -> RemoteBatch {
        RemoteBatch::new(self.origin, self.token, self.caller)
    }
}

/// Replies to what one connection has sent, while other shards execute a part of it.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    /// Where they are, in the order of their commands.
    pub(crate) order: Vec<Place>,
    /// Those of commands that ran on the connection's own shard.
    pub(crate) local: Vec<u8>,
    /// How many of its bytes count as the shard's.
    pub(super) counted_bytes: u64,
}

/// Where the next reply is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// In [`Replies::local`], up to there.
    Local(usize),
    /// The next one of those that are not in one block.
    Long,
    /// The next one of this batch of the connection's.
    Remote(usize),
}

impl Replies {
    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        good_size(self.order.capacity() * size_of::<Place>()) + good_size(self.local.capacity())
    }

    /// Empties it for another use.
    pub(crate) fn clear(&mut self) {
        self.order.clear();
        self.local.clear();
    }
}

/// A hold of the server.
pub(crate) type Hold = places::Hold<Box<Slot>, Purpose>;

/// What a [`Hold`] is for.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// A connection of the origin executes when it is woken.
    Connection(Token),
    /// The first command that waits for a key which became ready is executed.
    Serve(ReadyKey),
}

/// Offsets fit: a batch holds what one connection has sent, and that is limited to less.
fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("a batch is below 4 GiB")
}
