//! What a connection has said about itself and has begun: selected database, transaction,
//! watched keys, modes. Knows nothing of sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ballast_protocol::{ArgsBuf, Protocol};

use crate::commands::table::Command;
use crate::engine::watchers::DirtyFlag;
use crate::node::blocked::Caller;
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
    /// Set when a watched key has changed.
    pub(crate) dirty: DirtyFlag,
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
            dirty: Arc::new(AtomicBool::new(false)),
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
        self.authenticated && self.transaction.is_none() && self.reply_mode == ReplyMode::On
    }

    /// Whether a watched key has changed.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
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
