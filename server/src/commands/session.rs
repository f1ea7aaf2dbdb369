//! What a connection has said about itself and has begun: selected database, transaction,
//! watched keys, modes. Knows nothing of sockets.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ballast_protocol::{Args, ArgsBuf, Protocol};
use ballast_storage::memory::good_size;

use crate::commands::table::Command;
use crate::engine::watchers::DirtyFlag;
use crate::node::Node;
use crate::node::blocked::Caller;
use crate::node::channels::{Channels, Kind};
use crate::node::clients::Client;

/// The state of one connection.
pub(crate) struct Session {
    /// What other threads may know of it.
    pub(crate) client: Arc<Client>,
    /// Selected database.
    pub(crate) db: u8,
    /// Version of the replies.
    pub(crate) protocol: Protocol,
    /// Has given the password, or none is needed.
    pub(crate) authenticated: bool,
    /// Between `MULTI` and `EXEC`.
    pub(crate) transaction: Option<Transaction>,
    /// `WATCH`ed keys.
    pub(crate) watching: Vec<WatchedKey>,
    watching_bytes: usize,
    /// Set when a watched key has changed.
    pub(crate) dirty: DirtyFlag,
    /// What it listens to, or is shown; not there if that is nothing.
    subscriptions: Option<Box<Subscriptions>>,
    /// Its transaction is being executed.
    pub(crate) is_executing: bool,
    /// `CLIENT REPLY`.
    pub(crate) reply_mode: ReplyMode,
    /// `CLIENT NO-TOUCH`.
    pub(crate) no_touch: bool,
    /// The connection is to be closed after the reply.
    pub(crate) closing: bool,
}

/// Commands queued since `MULTI`.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// In order.
    pub(crate) commands: Vec<Queued>,
    /// A command could not be queued: `EXEC` is refused.
    pub(crate) failed: bool,
    /// Bytes of the arguments, which count against the query buffer limit.
    pub(crate) bytes: usize,
    /// Bytes of the blocks that hold them.
    blocks_bytes: usize,
}

impl Transaction {
    /// Keeps a command for `EXEC`.
    pub(crate) fn push(&mut self, command: &'static Command, args: Args<'_>) {
        let queued = Queued { command, args: args.to_owned() };
        self.bytes += args.bytes();
        self.blocks_bytes += queued.args.capacities().map(good_size).iter().sum::<usize>();
        self.commands.push(queued);
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.blocks_bytes + good_size(self.commands.capacity() * size_of::<Queued>())
    }

    /// Whether a command of it may change the data set.
    pub(crate) fn may_write(&self) -> bool {
        self.commands.iter().any(|queued| queued.command.may_write())
    }
}

/// A queued command.
pub(crate) struct Queued {
    /// What.
    pub(crate) command: &'static Command,
    /// With its arguments.
    pub(crate) args: ArgsBuf,
}

impl std::fmt::Debug for Queued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.command.name, self.args)
    }
}

/// Bytes of a watched key in the session and in its slot, beside its name in both: the place in the
/// list here; there, the entry and the list of who watches, which has room for four.
const WATCH_BYTES: usize = size_of::<WatchedKey>() + 80 + 32;

/// A key whose changes make `EXEC` fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WatchedKey {
    /// Database.
    pub(crate) db: u8,
    /// Slot.
    pub(crate) slot: u16,
    /// Name.
    pub(crate) key: Vec<u8>,
}

/// Bytes of a subscription beside its name: its places here and with all subscriptions.
const SUBSCRIPTION_BYTES: usize = 160;
/// What is before the bytes of a shared name.
const ARC_BYTES: usize = 2 * size_of::<usize>();

/// What a connection listens to.
#[derive(Debug, Default)]
struct Subscriptions {
    /// By [`Kind`].
    names: [BTreeSet<Arc<[u8]>>; 3],
    /// It is shown all commands.
    monitors: bool,
    /// Of memory, with what others keep for it.
    bytes: usize,
}

impl Subscriptions {
    /// Whether there is none of any kind.
    fn is_none(&self) -> bool {
        self.names.iter().all(BTreeSet::is_empty)
    }

    /// Tells others how many there are of a kind.
    fn publish(&self, kind: Kind, client: &Client) {
        let count = u32::try_from(self.names[kind.index()].len()).unwrap_or(u32::MAX);
        client.subscriptions[kind.index()].store(count, Ordering::Relaxed);
    }
}

/// Whether replies are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReplyMode {
    /// All.
    #[default]
    On,
    /// None until `CLIENT REPLY ON`.
    Off,
    /// Not to this command…
    SkipThis,
    /// …but to the next but one again.
    SkipNext,
}

impl Session {
    pub(crate) fn new(client: Arc<Client>, authenticated: bool) -> Session {
        Session {
            client,
            db: 0,
            protocol: Protocol::Resp2,
            authenticated,
            transaction: None,
            watching: Vec::new(),
            watching_bytes: 0,
            dirty: Arc::new(AtomicBool::new(false)),
            subscriptions: None,
            is_executing: false,
            reply_mode: ReplyMode::On,
            no_touch: false,
            closing: false,
        }
    }

    /// What a command needs to know of the session on any shard.
    #[inline(always)]
    pub(crate) fn caller(&self) -> Caller {
        Caller {
            client: self.client.id,
            db: self.db,
            protocol: self.protocol,
            may_block: true,
            no_touch: self.no_touch,
        }
    }

    /// Whether a command is simply executed and its reply sent.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.authenticated
            && self.transaction.is_none()
            && self.reply_mode == ReplyMode::On
            && self.subscriptions.is_none()
    }

    /// Whether it reads nothing but messages.
    #[inline]
    pub(crate) fn only_listens(&self) -> bool {
        self.is_subscriber() && self.protocol == Protocol::Resp2
    }

    /// Whether it listens to anything.
    #[inline]
    pub(crate) fn is_subscriber(&self) -> bool {
        self.subscriptions.as_ref().is_some_and(|own| !own.is_none())
    }

    /// Whether it is shown all commands.
    #[inline]
    pub(crate) fn is_monitor(&self) -> bool {
        self.subscriptions.as_ref().is_some_and(|own| own.monitors)
    }

    /// Is shown all commands from now on.
    pub(crate) fn begin_monitoring(&mut self, node: &Node) {
        self.subscriptions.get_or_insert_default().monitors = true;
        self.client.monitors.store(true, Ordering::Relaxed);
        node.begin_monitoring(Arc::clone(&self.client));
    }

    fn end_monitoring(&mut self, node: &Node) {
        let Some(own) = self.subscriptions.as_mut().filter(|own| own.monitors) else { return };
        own.monitors = false;
        node.end_monitoring(self.client.id);
        self.client.monitors.store(false, Ordering::Relaxed);
        self.forget_if_none();
    }

    fn forget_if_none(&mut self) {
        self.subscriptions.take_if(|own| own.is_none() && !own.monitors);
    }

    /// Listens to `name`; nothing changes if it did. As [`Self::listens_to`] afterwards.
    pub(crate) fn subscribe(&mut self, channels: &Channels, kind: Kind, name: &[u8]) -> usize {
        let own = self.subscriptions.get_or_insert_default();
        if !own.names[kind.index()].contains(name) {
            let name: Arc<[u8]> = name.into();
            channels.subscribe(kind, &name, &self.client);
            own.bytes += SUBSCRIPTION_BYTES + good_size(name.len() + ARC_BYTES);
            own.names[kind.index()].insert(name);
            own.publish(kind, &self.client);
        }
        self.listens_to(kind)
    }

    /// Listens to `name` no more. As [`Self::listens_to`] afterwards.
    pub(crate) fn unsubscribe(&mut self, channels: &Channels, kind: Kind, name: &[u8]) -> usize {
        if let Some(own) = &mut self.subscriptions
            && own.names[kind.index()].remove(name)
        {
            channels.unsubscribe(kind, name, self.client.id);
            own.bytes -= SUBSCRIPTION_BYTES + good_size(name.len() + ARC_BYTES);
            own.publish(kind, &self.client);
            self.forget_if_none();
        }
        self.listens_to(kind)
    }

    /// What it listens to, of one kind.
    pub(crate) fn subscribed(&self, kind: Kind) -> Vec<Arc<[u8]>> {
        let own = self.subscriptions.as_ref();
        own.map_or_else(Vec::new, |own| own.names[kind.index()].iter().cloned().collect())
    }

    /// How many subscriptions it has of this kind, or of channels and patterns together.
    pub(crate) fn listens_to(&self, kind: Kind) -> usize {
        let Some(own) = &self.subscriptions else { return 0 };
        let len = |kind: Kind| own.names[kind.index()].len();
        match kind {
            Kind::Sharded => len(kind),
            Kind::Channel | Kind::Pattern => len(Kind::Channel) + len(Kind::Pattern),
        }
    }

    /// Listens to nothing any more, and is shown nothing.
    pub(crate) fn unsubscribe_all(&mut self, node: &Node) {
        self.end_monitoring(node);
        for kind in Kind::ALL {
            for name in self.subscribed(kind) {
                self.unsubscribe(&node.channels, kind, &name);
            }
        }
    }

    /// Whether a watched key has changed.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    /// Bytes on the heap of what it has begun: commands queued, keys watched.
    pub(crate) fn heap_bytes(&self) -> usize {
        let queued = self.transaction.as_ref().map_or(0, Transaction::heap_bytes);
        let subscribed = self.subscriptions.as_ref().map_or(0, |own| own.bytes);
        queued + self.watching_bytes + subscribed
    }

    /// Watches more keys.
    pub(crate) fn watch(&mut self, keys: Vec<WatchedKey>) {
        let name = |watched: &WatchedKey| WATCH_BYTES + 2 * good_size(watched.key.len());
        self.watching_bytes += keys.iter().map(name).sum::<usize>();
        self.watching.extend(keys);
        let count = u32::try_from(self.watching.len()).unwrap_or(u32::MAX);
        self.client.watching.store(count, Ordering::Relaxed);
        self.client.dirty.lock().replace(Arc::clone(&self.dirty));
    }

    /// Watches none any more; returns those that it did.
    pub(crate) fn take_watched(&mut self) -> Vec<WatchedKey> {
        self.watching_bytes = 0;
        self.client.watching.store(0, Ordering::Relaxed);
        self.client.dirty.lock().take();
        std::mem::take(&mut self.watching)
    }

    /// A command could not be queued.
    pub(crate) fn fail_transaction(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.failed = true;
        }
    }

    /// Whether the reply to the command that has just run is sent; steps `CLIENT REPLY SKIP` on.
    #[inline]
    pub(crate) fn wants_reply(&mut self) -> bool {
        match self.reply_mode {
            ReplyMode::On => true,
            ReplyMode::Off => false,
            ReplyMode::SkipNext => {
                self.reply_mode = ReplyMode::SkipThis;
                false
            }
            ReplyMode::SkipThis => {
                self.reply_mode = ReplyMode::On;
                false
            }
        }
    }

    /// `RESET`: as a new connection.
    pub(crate) fn reset(&mut self, authenticated: bool) {
        self.db = 0;
        self.protocol = Protocol::Resp2;
        self.authenticated = authenticated;
        self.transaction = None;
        self.reply_mode = ReplyMode::On;
        self.no_touch = false;
        let client = &self.client;
        client.db.store(0, Ordering::Relaxed);
        client.protocol.store(2, Ordering::Relaxed);
        client.queued.store(-1, Ordering::Relaxed);
        client.no_touch.store(false, Ordering::Relaxed);
        client.no_evict.store(false, Ordering::Relaxed);
        *client.labels.lock() = crate::node::clients::Labels::default();
    }
}
