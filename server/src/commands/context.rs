//! What a handler sees: the keys it names, the session that called it, and nothing of sockets,
//! threads or locks.

use ballast_protocol::slot::key_slot;
use ballast_protocol::{Args, CommandError};
use ballast_storage::types::{HashRef, Limits, ListRef, SetRef, ZSetRef};
use ballast_storage::{Key, Keyspace, Kind, Meta, Value};
use rand::RngExt;

use super::table::{Command, CommandResult, flag};
use crate::commands::session::Session;
use crate::config::Config;
use crate::engine::effects::Came;
use crate::engine::write::{Located, Usage, Write};

use crate::commands::gather::Local;
use crate::engine::waiters::{BlockOn, OnTimeout};
use crate::engine::{Engine, Long, NO_SLOT};
use crate::node::blocked::Caller;

/// A command of constant cost copies at most so many bytes of what its keys hold, and has at most
/// so many bytes of arguments: 64 KiB are copied in about the time that a look-up in cold memory
/// takes. What is longer has its time measured, and is left to the thread of its shard.
pub(crate) const SHORT_BYTES_MAX: usize = 64 << 10;

/// For commands on keys. Runs on the shard that has the boxes of all slots of the command.
pub(crate) struct Data<'a> {
    /// What is inside the slots.
    pub(crate) engine: &'a mut Engine,
    /// On whose behalf.
    pub(crate) caller: Caller,
    /// Which command runs.
    pub(crate) command: &'static Command,
    /// With its arguments.
    args: Args<'a>,
    /// What the dispatcher knows of a key already.
    routed: Routed,
}

/// What has been computed of a command's first key before the command runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Routed {
    /// Its position among the arguments; 0: nothing is known of it.
    at: usize,
    /// Its hash.
    pub(crate) hash: u64,
    /// The slot of the command's first key, or [`NO_SLOT`].
    pub(crate) slot: u16,
    /// The arguments have at most [`SHORT_BYTES_MAX`] bytes.
    pub(crate) is_short: bool,
}

impl Routed {
    /// Nothing is known, or there are no keys.
    pub(crate) const NOWHERE: Routed = Routed::to(NO_SLOT);

    /// A command of short arguments whose first key is in `slot`; nothing else is known of it.
    pub(crate) const fn to(slot: u16) -> Routed {
        Routed { at: 0, hash: 0, slot, is_short: true }
    }

    /// A command whose first key is in `slot`, with what can be computed of it at once.
    #[inline]
    pub(crate) fn of(command: &Command, args: Args<'_>, slot: u16) -> Routed {
        let routed = match args.get(1) {
            Some(key) if command.keys.begins_with_first() => {
                Routed::first(slot, Key::new(key).hash)
            }
            _ => Routed::to(slot),
        };
        routed.with(args)
    }

    /// The same for these arguments, which may be long.
    #[inline]
    pub(crate) fn with(self, args: Args<'_>) -> Routed {
        Routed { is_short: args.span().len() <= SHORT_BYTES_MAX, ..self }
    }

    /// A command of short arguments whose key is argument 1, in `slot` and with this hash.
    #[inline(always)]
    pub(crate) const fn first(slot: u16, hash: u64) -> Routed {
        Routed { at: 1, hash, slot, is_short: true }
    }
}

impl<'a> Data<'a> {
    #[inline(always)]
    pub(crate) fn new(
        engine: &'a mut Engine,
        caller: Caller,
        command: &'static Command,
        args: Args<'a>,
        routed: Routed,
    ) -> Data<'a> {
        Data { engine, caller, command, args, routed }
    }

    /// To be called before more than [`SHORT_BYTES_MAX`] of what a key holds are copied by a
    /// command that is of constant cost otherwise, while it has changed nothing. `hits` and
    /// `misses` are what it has counted so far.
    ///
    /// # Errors
    /// Unless it is known of the call that it takes long: it is executed anew by then, with its
    /// time measured, and if it runs on behalf of the thread that owns the slot, by that thread.
    #[cold]
    #[inline(never)]
    pub(crate) fn begin_long(&mut self, hits: u64, misses: u64) -> CommandResult {
        if self.engine.long == Long::Allowed {
            return Ok(());
        }
        self.engine.counters.keyspace_hits.sub(hits);
        self.engine.counters.keyspace_misses.sub(misses);
        self.engine.long = Long::Met;
        Err(CommandError::other("ERR internal error: a long command was not executed anew"))
    }

    /// The key at position `at` of the arguments, which must be one that the command's
    /// [`KeySpec`](super::table::KeySpec) names: only the slots of those have been fetched.
    ///
    /// # Errors
    /// If its slot is not here: a defect, which the client reads and the log keeps.
    #[inline(always)]
    pub(crate) fn key(&self, at: usize) -> Result<Located<'a>, CommandError> {
        debug_assert!(
            self.command.keys.names(self.args, at),
            "{} has no key at {at}",
            self.command.full_name
        );
        let name = self.args.at(at);
        if at == self.routed.at {
            let key = Key::hashed(name, self.routed.hash);
            return Ok(Located { slot: self.routed.slot, key });
        }
        self.locate(name)
    }

    /// A key that the command makes up itself, having all slots.
    ///
    /// # Errors
    /// As [`Self::key`].
    pub(crate) fn locate<'k>(&self, name: &'k [u8]) -> Result<Located<'k>, CommandError> {
        let slot = key_slot(name);
        if self.engine.has(slot) {
            return Ok(Located { slot, key: Key::new(name) });
        }
        Err(self.engine.unfetched(&self.command.full_name, slot))
    }

    /// Unix milliseconds of the batch that is running.
    #[inline]
    pub(crate) fn now_ms(&self) -> i64 {
        self.engine.now_ms
    }

    /// The configuration.
    #[inline]
    pub(crate) fn config(&self) -> &Config {
        &self.engine.config
    }

    /// The limits of the small encodings.
    #[inline]
    pub(crate) fn limits(&self) -> Limits {
        self.engine.limits.clone()
    }

    /// A random number, from the shard's seeded generator.
    pub(crate) fn random(&mut self) -> u64 {
        self.engine.random.random()
    }

    /// The place in the eviction order of a key that is made now.
    #[inline]
    pub(crate) fn new_aux(&self) -> u32 {
        self.engine.new_aux()
    }

    /// The value of `key` for a reading command: counts a hit or a miss and renews the key's
    /// place in the eviction order.
    pub(crate) fn read(&mut self, key: Located<'_>) -> Option<Value<'_>> {
        self.read_inline(key)
    }

    /// [`Self::read`] for the handlers in which a call counts.
    #[inline(always)]
    pub(crate) fn read_inline(&mut self, key: Located<'_>) -> Option<Value<'_>> {
        self.engine.read(self.caller.db, key, self.caller.no_touch)
    }

    /// The value of `key`, leaving statistics and eviction order alone.
    pub(crate) fn peek(&mut self, key: Located<'_>) -> Option<Value<'_>> {
        self.engine.peek(self.caller.db, key)
    }

    /// What `key` has besides its value, leaving statistics and eviction order alone.
    pub(crate) fn meta(&mut self, key: Located<'_>) -> Option<Meta> {
        self.engine.meta(self.caller.db, key)
    }

    /// The keyspace of `key` to look at, after removing the key if it is expired.
    pub(crate) fn keyspace(&mut self, key: Located<'_>) -> Option<&Keyspace> {
        self.engine.expire_if_due(key.slot, self.caller.db, &key.key);
        self.engine.keyspace(key.slot, self.caller.db)
    }

    /// The value of a key that this command has read already, so that it is not expired: several
    /// such can be looked at side by side.
    pub(crate) fn seen(&self, key: Located<'_>) -> Option<Value<'_>> {
        self.engine.keyspace(key.slot, self.caller.db)?.find(&key.key)
    }

    /// Whether `key` exists.
    pub(crate) fn exists(&mut self, key: Located<'_>) -> bool {
        self.meta(key).is_some()
    }

    /// The list at `key`, for reading.
    pub(crate) fn read_list(
        &mut self,
        key: Located<'_>,
    ) -> Result<Option<ListRef<'_>>, CommandError> {
        match self.read(key) {
            None => Ok(None),
            Some(Value::List(list)) => Ok(Some(list)),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    /// The hash at `key`, for reading.
    pub(crate) fn read_hash(
        &mut self,
        key: Located<'_>,
    ) -> Result<Option<HashRef<'_>>, CommandError> {
        match self.read(key) {
            None => Ok(None),
            Some(Value::Hash(hash)) => Ok(Some(hash)),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    /// The set at `key`, for reading.
    pub(crate) fn read_set(
        &mut self,
        key: Located<'_>,
    ) -> Result<Option<SetRef<'_>>, CommandError> {
        match self.read(key) {
            None => Ok(None),
            Some(Value::Set(set)) => Ok(Some(set)),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    /// The sorted set at `key`, for reading.
    pub(crate) fn read_zset(
        &mut self,
        key: Located<'_>,
    ) -> Result<Option<ZSetRef<'_>>, CommandError> {
        match self.read(key) {
            None => Ok(None),
            Some(Value::ZSet(zset)) => Ok(Some(zset)),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    /// The first of the keys at these positions that holds something. What holds another kind is an
    /// error only if it comes first; what is kept for someone who waits already holds nothing.
    pub(crate) fn first_of_kind(
        &mut self,
        positions: impl Iterator<Item = usize>,
        kind: Kind,
    ) -> Result<Option<Located<'a>>, CommandError> {
        for at in positions {
            let key = self.key(at)?;
            if self.is_spoken_for(key) {
                continue;
            }
            match self.meta(key) {
                None => {}
                Some(meta) if meta.kind == kind => return Ok(Some(key)),
                Some(_) => return Err(CommandError::WrongType),
            }
        }
        Ok(None)
    }

    /// The right to change `key`.
    #[inline(always)]
    pub(crate) fn write<'k>(&mut self, key: Located<'k>) -> Write<'_, 'k> {
        self.write_in(self.caller.db, key)
    }

    /// [`Self::write`] in database `db`.
    #[inline(always)]
    pub(crate) fn write_in<'k>(&mut self, db: u8, key: Located<'k>) -> Write<'_, 'k> {
        let usage = if self.caller.no_touch { Usage::Ignored } else { Usage::Counts };
        let came = Came { args: &self.args, repeats: &self.command.repeats };
        self.engine.write_for(db, key, usage, Some(came))
    }

    /// Whether what `key` has is kept for someone who waits for it already, so that the caller,
    /// which would take it and may wait, has to wait as well.
    pub(crate) fn is_spoken_for(&self, key: Located<'_>) -> bool {
        let boxed = self.engine.slot(key.slot);
        self.command.has(flag::BLOCKING)
            && self.caller.may_block
            && boxed.is_some_and(|boxed| boxed.waiters.is_reserved(self.caller.db, key.name()))
    }

    /// Instead of replying: lets the caller wait until one of the keys at these argument
    /// positions changes; the command is then executed again. A caller that may not
    /// block gets the reply of a timeout; the handler must write nothing either way.
    pub(crate) fn block_on(&mut self, keys: Vec<usize>, timeout_ms: u64, on_timeout: OnTimeout) {
        self.engine.blocked = Some(BlockOn { keys, timeout_ms, on_timeout });
    }
}

/// For commands on the session: runs on the connection's own shard.
pub(crate) struct SessionContext<'a> {
    /// The session.
    pub(crate) session: &'a mut Session,
    /// The connection's shard.
    pub(crate) shard: &'a mut dyn Local,
    /// Which command runs.
    pub(crate) command: &'static Command,
}
