//! What a handler sees: the keys it names, the session that called it, and nothing of sockets,
//! threads or locks.

use ballast_protocol::slot::key_slot;
use ballast_protocol::{Args, CommandError};
use ballast_storage::types::{Hash, HashRef, Limits, List, ListRef, Set, SetRef, ZSet, ZSetRef};
use ballast_storage::{Create, Key, Keyspace, Value, WrongType};
use rand::RngExt;

use super::table::{Command, flag};
use crate::commands::session::Session;
use crate::config::Config;
use crate::engine::evict::Touch;

use crate::commands::gather::Local;
use crate::engine::waiters::{BlockOn, OnTimeout};
use crate::engine::{Engine, NO_SLOT};
use crate::node::blocked::Caller;

/// For commands on keys. Runs on the shard that has the boxes of all slots of the command.
pub(crate) struct Data<'a> {
    /// What is inside the slots.
    pub(crate) engine: &'a mut Engine,
    /// On whose behalf.
    pub(crate) caller: Caller,
    /// Which command runs.
    pub(crate) command: &'static Command,
    /// The key of which the dispatcher knows something already.
    routed: Routed,
}

/// What has been computed of argument 1, which is mostly the key, before the command runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Routed {
    /// Its address among the arguments: tells it from all others. Null if nothing is known.
    key: *const u8,
    /// Its hash.
    pub(crate) hash: u64,
    /// The slot of the command's first key, or [`NO_SLOT`].
    pub(crate) slot: u16,
}

impl Routed {
    /// Nothing is known, or there are no keys.
    pub(crate) const NOWHERE: Routed = Routed { key: std::ptr::null(), hash: 0, slot: NO_SLOT };

    /// A command whose first key is in `slot`; nothing is known of the key.
    pub(crate) fn somewhere(slot: u16) -> Routed {
        Routed { slot, ..Routed::NOWHERE }
    }

    /// A command whose first key is in `slot`.
    #[inline(always)]
    pub(crate) fn new(args: Args<'_>, slot: u16) -> Routed {
        match args.get(1) {
            Some(key) if slot != NO_SLOT => Routed::hashed(args, slot, Key::new(key).hash),
            _ => Routed { slot, ..Routed::NOWHERE },
        }
    }

    /// A command whose key is argument 1, in `slot` and with this hash.
    #[inline(always)]
    pub(crate) fn hashed(args: Args<'_>, slot: u16, hash: u64) -> Routed {
        let key = args.get(1).map_or(std::ptr::null(), <[u8]>::as_ptr);
        Routed { key, hash, slot }
    }
}

impl<'a> Data<'a> {
    #[inline(always)]
    pub(crate) fn new(
        engine: &'a mut Engine,
        caller: Caller,
        command: &'static Command,
        routed: Routed,
    ) -> Data<'a> {
        Data { engine, caller, command, routed }
    }

    /// What there is to know of a key.
    pub(super) fn routed(&self, key: &[u8]) -> Routed {
        let (slot, hashed) = self.hashed(key);
        Routed { key: key.as_ptr(), hash: hashed.hash, slot }
    }

    /// Is told what is known of the key that the command is going to use.
    #[inline]
    pub(super) fn know(&mut self, routed: Routed) {
        self.routed = routed;
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

    /// The slot of `key`.
    #[inline(always)]
    pub(crate) fn slot_of(&self, key: &[u8]) -> u16 {
        if std::ptr::eq(self.routed.key, key.as_ptr()) { self.routed.slot } else { key_slot(key) }
    }

    /// The slot of `key`, and the key with its hash.
    #[inline(always)]
    fn hashed<'k>(&self, key: &'k [u8]) -> (u16, Key<'k>) {
        let Routed { key: known, hash, slot } = self.routed;
        if std::ptr::eq(known, key.as_ptr()) {
            return (slot, Key::hashed(key, hash));
        }
        (key_slot(key), Key::new(key))
    }

    /// The keyspace of `key` in the caller's database and the hashed key, after removing the key
    /// if it is expired. For what the typed methods below do not offer.
    #[inline]
    pub(crate) fn locate<'s, 'k>(&'s mut self, key: &'k [u8]) -> (&'s mut Keyspace, Key<'k>) {
        let db = self.caller.db;
        self.locate_in(db, key)
    }

    /// [`Self::locate`] in database `db`.
    pub(crate) fn locate_in<'s, 'k>(
        &'s mut self,
        db: u8,
        key: &'k [u8],
    ) -> (&'s mut Keyspace, Key<'k>) {
        let (slot, key) = self.hashed(key);
        self.engine.expire_if_due(slot, db, &key);
        let boxed = self.engine.slots[usize::from(slot)]
            .as_deref_mut()
            .expect("a command runs where its slots are");
        (boxed.data.keyspace_mut(db), key)
    }

    /// [`Self::locate`] for what makes no key: none if the database has no keys in the slot.
    pub(crate) fn look<'s, 'k>(&'s mut self, key: &'k [u8]) -> Option<(&'s mut Keyspace, Key<'k>)> {
        let db = self.caller.db;
        self.look_in(db, key)
    }

    /// [`Self::look`] in database `db`.
    pub(crate) fn look_in<'s, 'k>(
        &'s mut self,
        db: u8,
        key: &'k [u8],
    ) -> Option<(&'s mut Keyspace, Key<'k>)> {
        let (slot, key) = self.hashed(key);
        self.engine.expire_if_due(slot, db, &key);
        let boxed = self.engine.slots[usize::from(slot)].as_deref_mut();
        let data = &mut boxed.expect("a command runs where its slots are").data;
        Some((data.existing_mut(db)?, key))
    }

    /// The value of `key` for a reading command: counts a hit or a miss and renews the key's
    /// place in the eviction order.
    pub(crate) fn read(&mut self, key: &[u8]) -> Option<Value<'_>> {
        self.read_inline(key)
    }

    /// [`Self::read`] for the handlers in which a call counts.
    #[inline(always)]
    pub(crate) fn read_inline(&mut self, key: &[u8]) -> Option<Value<'_>> {
        let (no_touch, db) = (self.caller.no_touch, self.caller.db);
        let (slot, key) = self.hashed(key);
        let keys = self.engine.slot(slot).and_then(|boxed| boxed.data.keyspace(db));
        if keys.is_some_and(|keys| keys.expiry_min() < self.engine.now_ms) {
            self.engine.expire_if_due(slot, db, &key);
        }
        // The usual policies remember the last use: no more than a clock to write.
        let counted = (self.engine.counts_uses && !no_touch).then(|| self.engine.touch());
        let Engine { slots, counters, lru_clock, .. } = &mut *self.engine;
        let boxed =
            slots[usize::from(slot)].as_deref_mut().expect("a command runs where its slots are");
        let keyspace = boxed.data.existing_mut(db);
        let found = keyspace.and_then(|keyspace| match counted {
            None if no_touch => keyspace.find(&key),
            None => keyspace.find_and_touch(&key, |_| *lru_clock),
            Some(touch) => keyspace.find_and_touch(&key, |aux| touch.apply(aux)),
        });
        if found.is_some() {
            counters.keyspace_hits.add(1);
        } else {
            counters.keyspace_misses.add(1);
        }
        found
    }

    /// The value of `key`, leaving statistics and eviction order alone.
    pub(crate) fn peek(&mut self, key: &[u8]) -> Option<Value<'_>> {
        let (keyspace, key) = self.look(key)?;
        keyspace.find(&key)
    }

    /// Whether `key` exists.
    pub(crate) fn exists(&mut self, key: &[u8]) -> bool {
        self.peek(key).is_some()
    }

    /// The list at `key`, for reading.
    pub(crate) fn read_list(&mut self, key: &[u8]) -> Result<Option<ListRef<'_>>, CommandError> {
        match self.read(key) {
            None => Ok(None),
            Some(Value::List(list)) => Ok(Some(list)),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    /// The hash at `key`, for reading.
    pub(crate) fn read_hash(&mut self, key: &[u8]) -> Result<Option<HashRef<'_>>, CommandError> {
        match self.read(key) {
            None => Ok(None),
            Some(Value::Hash(hash)) => Ok(Some(hash)),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    /// The set at `key`, for reading.
    pub(crate) fn read_set(&mut self, key: &[u8]) -> Result<Option<SetRef<'_>>, CommandError> {
        match self.read(key) {
            None => Ok(None),
            Some(Value::Set(set)) => Ok(Some(set)),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    /// The sorted set at `key`, for reading.
    pub(crate) fn read_zset(&mut self, key: &[u8]) -> Result<Option<ZSetRef<'_>>, CommandError> {
        match self.read(key) {
            None => Ok(None),
            Some(Value::ZSet(zset)) => Ok(Some(zset)),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    /// How a write that changes a collection in place counts as an access to its key.
    fn access(&mut self) -> Access {
        let touch = (!self.caller.no_touch).then(|| self.engine.touch());
        Access { touch, new_aux: self.engine.new_aux() }
    }

    /// Changes the list at `key`; `None` if it does not exist and may not be made.
    pub(crate) fn update_list<R>(
        &mut self,
        key: &[u8],
        create: Create,
        f: impl FnOnce(&mut List, &Limits) -> R,
    ) -> Result<Option<R>, CommandError> {
        self.update(key, |keyspace, key, limits| {
            keyspace.update_list(key, create, |list| f(list, limits))
        })
    }

    /// Changes the hash at `key`; `None` if it does not exist and may not be made.
    pub(crate) fn update_hash<R>(
        &mut self,
        key: &[u8],
        create: Create,
        f: impl FnOnce(&mut Hash, &Limits) -> R,
    ) -> Result<Option<R>, CommandError> {
        self.update(key, |keyspace, key, limits| {
            keyspace.update_hash(key, create, |hash| f(hash, limits))
        })
    }

    /// Changes the set at `key`; `None` if it does not exist and may not be made.
    pub(crate) fn update_set<R>(
        &mut self,
        key: &[u8],
        create: Create,
        f: impl FnOnce(&mut Set, &Limits) -> R,
    ) -> Result<Option<R>, CommandError> {
        self.update(key, |keyspace, key, limits| {
            keyspace.update_set(key, create, |set| f(set, limits))
        })
    }

    /// Changes the sorted set at `key`; `None` if it does not exist and may not be made.
    pub(crate) fn update_zset<R>(
        &mut self,
        key: &[u8],
        create: Create,
        f: impl FnOnce(&mut ZSet, &Limits) -> R,
    ) -> Result<Option<R>, CommandError> {
        self.update(key, |keyspace, key, limits| {
            keyspace.update_zset(key, create, |zset| f(zset, limits))
        })
    }

    /// Lets `change` write to `key`, and keeps the key's place in the eviction order.
    #[inline]
    fn update<R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut Keyspace, &Key<'_>, &Limits) -> Result<Option<R>, WrongType>,
    ) -> Result<Option<R>, CommandError> {
        let limits = self.limits();
        let access = self.access();
        let (keyspace, key) = self.locate(key);
        let existed = access.renew(keyspace, &key);
        let done = change(keyspace, &key, &limits).map_err(wrong_type)?;
        access.begin(existed, keyspace, &key);
        Ok(done)
    }

    /// Removes `key`; what it held is freed in slices if it is large.
    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        let removed = self.look(key).and_then(|(keyspace, key)| keyspace.remove(&key));
        match removed {
            Some(removed) => {
                self.engine.garbage.push(removed);
                true
            }
            None => false,
        }
    }

    /// Every handler that has changed `key` says so, with the event's name as keyspace
    /// notifications have it: for `WATCH`, and whoever follows changes.
    #[inline]
    pub(crate) fn changed(&mut self, key: &[u8], event: &'static str) {
        let db = self.caller.db;
        self.changed_in(db, key, event);
    }

    /// [`Self::changed`] in database `db`.
    pub(crate) fn changed_in(&mut self, db: u8, key: &[u8], _event: &'static str) {
        self.engine.dirty += 1;
        let slot = self.slot_of(key);
        if let Some(boxed) = self.engine.slots[usize::from(slot)].as_deref_mut()
            && !boxed.watchers.is_empty()
        {
            boxed.watchers.touch(db, key);
        }
    }

    /// A handler that has put something into `key` which a blocked command may take says so.
    pub(crate) fn ready(&mut self, key: &[u8]) {
        let db = self.caller.db;
        self.ready_in(db, key);
    }

    /// [`Self::ready`] in database `db`.
    pub(crate) fn ready_in(&mut self, db: u8, key: &[u8]) {
        let slot = self.slot_of(key);
        if let Some(boxed) = self.engine.slots[usize::from(slot)].as_deref_mut()
            && !boxed.waiters.is_empty()
            && boxed.waiters.mark_ready(db, key)
        {
            self.engine.ready.push_back(slot);
        }
    }

    /// Whether what `key` has is kept for someone who waits for it already, so that the caller,
    /// which would take it and may wait, has to wait as well.
    pub(crate) fn is_spoken_for(&self, key: &[u8]) -> bool {
        let boxed = self.engine.slot(self.slot_of(key));
        self.command.has(flag::BLOCKING)
            && self.caller.may_block
            && boxed.is_some_and(|boxed| boxed.waiters.is_reserved(self.caller.db, key))
    }

    /// Instead of replying: lets the caller wait until one of the keys at these argument
    /// positions is [`Self::ready`]; the command is then executed again. A caller that may not
    /// block gets the reply of a timeout; the handler must write nothing either way.
    pub(crate) fn block_on(&mut self, keys: Vec<usize>, timeout_ms: u64, on_timeout: OnTimeout) {
        self.engine.blocked = Some(BlockOn { keys, timeout_ms, on_timeout });
    }
}

/// The place in the eviction order of a key that is written to.
struct Access {
    touch: Option<Touch>,
    new_aux: u32,
}

impl Access {
    /// Before the change: renews the place of a key that exists. Answers whether it does.
    #[inline]
    fn renew(&self, keyspace: &mut Keyspace, key: &Key<'_>) -> bool {
        match self.touch {
            Some(touch) => keyspace.find_and_touch(key, |aux| touch.apply(aux)).is_some(),
            None => keyspace.find(key).is_some(),
        }
    }

    /// After the change: gives a key that it has made its first place.
    #[inline]
    fn begin(&self, existed: bool, keyspace: &mut Keyspace, key: &Key<'_>) {
        if !existed {
            keyspace.touch(key, self.new_aux);
        }
    }
}

fn wrong_type(_: WrongType) -> CommandError {
    CommandError::WrongType
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
