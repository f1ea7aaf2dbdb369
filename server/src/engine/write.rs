//! The write guard: the one way in which a key of a slot changes.
//!
//! Whoever changes a key takes a [`Write`] of it and says in the end what has been done. When the
//! guard is dropped, everything that follows from a change has happened: the key's expiry was taken
//! into account before, the slot's bytes are booked, the clients that watch the key fail, those
//! that wait for it are served next, the change is counted, its event is published, and its effect
//! is recorded for those who follow the slot. A consumer of changes that comes later (tracking) has
//! its place in [`Engine::write`] or [`Write::drop`] and nowhere else. While a snapshot walks the
//! slot, the key is saved before its first change.

use ballast_protocol::CommandError;
use ballast_storage::types::{Hash, Limits, List, Set, ZSet};
use ballast_storage::{
    ACCOUNTS, AddError, Collection, Create, Key, Keyspace, Meta, OwnedValue, Removed, Value,
    WrongType,
};

use super::Engine;
use super::effects::{Came, Changed};
use crate::node::effects::Followers;

/// A key with its hash, whose slot is here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Located<'k> {
    /// Its slot, whose box was here when this was made.
    pub(crate) slot: u16,
    /// Its name and hash.
    pub(crate) key: Key<'k>,
}

impl<'k> Located<'k> {
    /// Its name.
    #[inline(always)]
    pub(crate) fn name(&self) -> &'k [u8] {
        self.key.bytes
    }
}

/// What a guard's owner says of the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing was written.
    Untouched,
    /// Something was written, and the owner has not said yet whether it made a difference. Counts
    /// as a change: forgetting to say it makes no watcher miss one.
    Unsaid,
    /// It made no difference.
    Unchanged,
    /// A change, with the name of the event as keyspace notifications have it.
    Changed(&'static str),
}

/// Whether changing a collection in place counts as a use of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    /// It renews the key's place in the eviction order.
    Counts,
    /// `CLIENT NO-TOUCH`, and work that no client asked for.
    Ignored,
}

/// The right to change one key. See the module.
pub(crate) struct Write<'e, 'k> {
    engine: &'e mut Engine,
    slot: u16,
    db: u8,
    key: Key<'k>,
    before_bytes: u64,
    usage: Usage,
    outcome: Outcome,
    /// Somebody wants to know of new keys, and it would be one.
    is_new: bool,
    changed: Changed,
    /// The call that changes it.
    came: Option<Came<'e>>,
}

impl Engine {
    /// The right to change `at` in database `db`.
    #[inline(always)]
    pub(crate) fn write<'e, 'k>(
        &'e mut self,
        db: u8,
        at: Located<'k>,
        usage: Usage,
    ) -> Write<'e, 'k> {
        self.write_for(db, at, usage, None)
    }

    /// [`Self::write`] for a call.
    #[inline(always)]
    pub(crate) fn write_for<'e, 'k>(
        &'e mut self,
        db: u8,
        at: Located<'k>,
        usage: Usage,
        came: Option<Came<'e>>,
    ) -> Write<'e, 'k> {
        let Located { slot, key } = at;
        self.expire_if_due(slot, db, &key);
        let before_bytes = match self.slot(slot) {
            Some(boxed) => {
                let bytes = boxed.data.bytes();
                if boxed.data.is_cut() {
                    self.save_early(slot, db, &key);
                }
                bytes
            }
            None => 0,
        };
        let is_new = self.notifies() && self.would_be_new(slot, db, key.bytes);
        let (outcome, changed) = (Outcome::Untouched, Changed::Value);
        Write { engine: self, slot, db, key, before_bytes, usage, outcome, is_new, changed, came }
    }

    /// A change has been made to `key`: whoever is to be told is told. Answers who follows the
    /// slot.
    #[inline(always)]
    pub(super) fn announce(
        &mut self,
        slot: u16,
        db: u8,
        key: &[u8],
        event: &'static str,
    ) -> Followers {
        self.dirty += 1;
        if self.notifies() {
            self.notify_change(slot, db, key, event);
        }
        let Some(boxed) = self.slots[usize::from(slot)].as_deref_mut() else { return 0 };
        if !boxed.watchers.is_empty() {
            boxed.watchers.touch(db, key);
        }
        let followers = boxed.followers;
        // A blocked command that finds nothing to take goes on waiting.
        if !boxed.waiters.is_empty() && boxed.waiters.mark_ready(db, key) {
            self.ready.push_back(slot);
        }
        followers
    }

    /// Removes a key that no command removes: its time is over, or its room is needed, as `event`
    /// says. False if it does not exist.
    pub(super) fn drop_key(&mut self, slot: u16, db: u8, key: &Key<'_>, event: &str) -> bool {
        if self.slot(slot).is_some_and(|boxed| boxed.data.is_cut()) {
            self.save_early(slot, db, key);
        }
        let Some(boxed) = self.slots[usize::from(slot)].as_deref_mut() else { return false };
        let before_bytes = boxed.data.bytes();
        let keyspace = boxed.data.existing_mut(db);
        let Some(removed) = keyspace.and_then(|keyspace| keyspace.remove(key)) else {
            return false;
        };
        self.garbage.push(removed);
        boxed.watchers.touch(db, key.bytes);
        let followers = boxed.followers;
        self.book(slot, before_bytes);
        if self.notifies() {
            self.notify(db, key.bytes, event);
        }
        if followers != 0 {
            self.record_end((slot, db), followers, key.bytes);
        }
        true
    }

    /// Books what a slot has grown or shrunk by since it had `before_bytes`.
    #[inline(always)]
    pub(super) fn book(&mut self, slot: u16, before_bytes: u64) {
        if ACCOUNTS && let Some(boxed) = self.slots[usize::from(slot)].as_deref_mut() {
            let grown = boxed.data.settle().wrapping_sub(before_bytes);
            self.slots_bytes = self.slots_bytes.wrapping_add(grown);
        }
    }
}

/// Whole databases of a slot.
impl Engine {
    /// Removes all keys of database `db`, or of all, from a slot; they are freed in slices.
    pub(crate) fn flush_slot(&mut self, slot: u16, db: Option<u8>) {
        let Some(boxed) = self.slots[usize::from(slot)].as_deref_mut() else { return };
        if !boxed.watchers.is_empty() {
            boxed.watchers.touch_where(db, |db, key| exists(&boxed.data, db, key));
        }
        let keys = match db {
            Some(db) => boxed.data.keyspace(db).map_or(0, Keyspace::len),
            None => boxed.data.key_count(),
        };
        self.dirty += keys as u64;
        let before_bytes = boxed.data.bytes();
        let flushed = boxed.data.flush(db);
        if flushed.unsaved_len() > 0 {
            self.open_detached(flushed.unsaved_len());
        }
        self.garbage.append(flushed);
        self.book(slot, before_bytes);
    }

    /// Exchanges two databases of a slot.
    pub(crate) fn swap_in_slot(&mut self, slot: u16, first: u8, second: u8) {
        let Some(boxed) = self.slots[usize::from(slot)].as_deref_mut() else { return };
        if !boxed.watchers.is_empty() {
            let either =
                |_, key: &[u8]| exists(&boxed.data, first, key) || exists(&boxed.data, second, key);
            boxed.watchers.touch_where(Some(first), either);
            boxed.watchers.touch_where(Some(second), either);
        }
        let before_bytes = boxed.data.bytes();
        boxed.data.swap(first, second);
        // What was put into the one database may be waited for in the other.
        if boxed.waiters.mark_all_ready() {
            self.ready.push_back(slot);
        }
        self.book(slot, before_bytes);
    }
}

/// Whether a key is in a slot that is here.
pub(super) fn exists_in(slot: Option<&super::slot::Slot>, db: u8, key: &[u8]) -> bool {
    slot.is_some_and(|boxed| exists(&boxed.data, db, key))
}

fn exists(slot: &ballast_storage::Slot, db: u8, key: &[u8]) -> bool {
    slot.keyspace(db).is_some_and(|keys| keys.find(&Key::new(key)).is_some())
}

impl Drop for Write<'_, '_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.outcome == Outcome::Untouched {
            return;
        }
        self.engine.book(self.slot, self.before_bytes);
        match self.outcome {
            Outcome::Untouched | Outcome::Unchanged => {}
            Outcome::Changed(event) => {
                if self.is_new && event != super::events::LOADED {
                    self.engine.notify_new(self.db, self.key.bytes);
                }
                let followers = self.engine.announce(self.slot, self.db, self.key.bytes, event);
                if followers != 0 && event != super::events::LOADED {
                    self.record(followers);
                }
            }
            Outcome::Unsaid => {
                debug_assert!(std::thread::panicking(), "a change has no name");
                self.engine.announce(self.slot, self.db, self.key.bytes, "");
            }
        }
    }
}

/// What has been done.
impl Write<'_, '_> {
    /// The key has been changed: the event's name as keyspace notifications have it, or several
    /// with a blank between.
    #[inline(always)]
    pub(crate) fn changed(mut self, event: &'static str) {
        self.outcome = Outcome::Changed(event);
    }

    /// [`Self::changed`], with a command that makes the same change of the key. Otherwise what the
    /// key holds afterwards is told to those who follow, which may be much more.
    pub(crate) fn changed_by(mut self, event: &'static str, command: &str, arguments: &[&[u8]]) {
        let followers = self.engine.slot(self.slot).map_or(0, |boxed| boxed.followers);
        if followers != 0 {
            let at = (self.slot, self.db);
            let words = [&[command.as_bytes(), self.key.bytes][..], arguments].concat();
            self.engine.record(at, followers, words.into_iter());
            self.changed = Changed::Recorded;
        }
        self.changed(event);
    }

    /// Records what has been done.
    #[cold]
    #[inline(never)]
    fn record(&mut self, followers: Followers) {
        let at = (self.slot, self.db);
        match (self.changed, self.came) {
            (Changed::Recorded, _) => {}
            (_, Some(Came { args, repeats })) if args.len() <= *repeats => {
                self.engine.record(at, followers, args.iter());
            }
            (changed, _) => self.engine.record_state(at, followers, self.key.bytes, changed),
        }
    }

    /// [`Self::changed`] if something was; otherwise what was written made no difference.
    #[inline(always)]
    pub(crate) fn changed_if(mut self, something: bool, event: &'static str) {
        self.outcome = if something { Outcome::Changed(event) } else { Outcome::Unchanged };
    }

    /// [`Self::changed`] if the change succeeded; otherwise what was written made no difference.
    #[inline(always)]
    pub(crate) fn done<R, E>(self, result: Result<R, E>, event: &'static str) -> Result<R, E> {
        self.changed_if(result.is_ok(), event);
        result
    }
}

/// Looking.
impl Write<'_, '_> {
    #[inline(always)]
    fn keyspace(&self) -> Option<&Keyspace> {
        self.engine.slot(self.slot)?.data.keyspace(self.db)
    }

    /// What the key has besides its value.
    #[inline]
    pub(crate) fn meta(&self) -> Option<Meta> {
        self.keyspace()?.meta(&self.key)
    }

    /// When the key expires. Costs nothing where no key does.
    #[inline]
    pub(crate) fn expiry(&self) -> Option<i64> {
        let keyspace = self.keyspace().filter(|keyspace| keyspace.expiring_len() > 0)?;
        keyspace.meta(&self.key)?.expiry
    }

    /// The value.
    #[inline]
    pub(crate) fn value(&self) -> Option<Value<'_>> {
        self.keyspace()?.find(&self.key)
    }
}

/// Changing.
impl Write<'_, '_> {
    /// The keyspace, made if it is not there, for a change that is being made.
    #[inline(always)]
    fn keyspace_mut(&mut self) -> &mut Keyspace {
        self.outcome = Outcome::Unsaid;
        self.changed = Changed::Value;
        let boxed = self.engine.slots[usize::from(self.slot)].as_deref_mut();
        let boxed = boxed.expect("a key is located where its slot is");
        boxed.data.keyspace_mut(self.db)
    }

    /// Sets the key to a string, whatever it held; what it held is freed later if it is large.
    #[inline(always)]
    pub(crate) fn set_string(&mut self, value: &[u8], expiry: Option<i64>) {
        let (key, aux) = (self.key, self.engine.new_aux());
        if let Some(old) = self.keyspace_mut().set_string(&key, value, expiry, aux) {
            self.engine.garbage.push(old);
        }
    }

    /// [`Self::set_string`] that keeps the text also where it is that of an integer.
    pub(crate) fn set_text(&mut self, value: &[u8], expiry: Option<i64>) {
        let (key, aux) = (self.key, self.engine.new_aux());
        self.keyspace_mut().set_text(&key, value, expiry, aux);
    }

    /// Sets the key to a string that is made of bits: no number, though it may look like one.
    pub(crate) fn set_bits(&mut self, bits: &[u8]) {
        if let Some(old) = self.detach() {
            self.engine.garbage.push(old);
        }
        let (key, aux) = (self.key, self.engine.new_aux());
        let done = self.keyspace_mut().set_range(&key, 0, bits, aux);
        debug_assert!(done.is_ok(), "nothing is there");
    }

    /// Appends to the string, and returns its length.
    pub(crate) fn append(&mut self, tail: &[u8]) -> Result<usize, CommandError> {
        let (key, aux) = (self.key, self.engine.new_aux());
        self.or_unchanged(|keyspace| keyspace.append(&key, tail, aux)).map_err(wrong_type)
    }

    /// Overwrites a part of the string, and returns its length.
    pub(crate) fn set_range(&mut self, offset: usize, part: &[u8]) -> Result<usize, CommandError> {
        let (key, aux) = (self.key, self.engine.new_aux());
        self.or_unchanged(|keyspace| keyspace.set_range(&key, offset, part, aux))
            .map_err(wrong_type)
    }

    /// Adds to the integer, and returns the sum.
    #[inline]
    pub(crate) fn add(&mut self, amount: i64) -> Result<i64, AddError> {
        let (key, aux) = (self.key, self.engine.new_aux());
        self.or_unchanged(|keyspace| keyspace.add(&key, amount, aux))
    }

    /// Sets or removes the expiry of a key that exists.
    pub(crate) fn set_expiry(&mut self, expiry: Option<i64>) {
        let key = self.key;
        let is_first = self.outcome == Outcome::Untouched;
        self.keyspace_mut().set_expiry(&key, expiry);
        if is_first {
            self.changed = Changed::Expiry;
        }
    }

    /// Removes the key, and says so. What it held is freed in slices if it is large.
    pub(crate) fn remove(mut self, event: &'static str) -> bool {
        let removed = self.detach();
        let existed = removed.is_some();
        if let Some(removed) = removed {
            self.engine.garbage.push(removed);
        }
        if existed {
            self.changed(event);
        }
        existed
    }

    fn detach(&mut self) -> Option<Removed> {
        let boxed = self.engine.slots[usize::from(self.slot)].as_deref_mut()?;
        let removed = boxed.data.existing_mut(self.db)?.remove(&self.key)?;
        self.outcome = Outcome::Unsaid;
        Some(removed)
    }

    /// Takes the value out, and says that the key is gone.
    pub(crate) fn take(mut self, event: &'static str) -> Option<OwnedValue> {
        let boxed = self.engine.slots[usize::from(self.slot)].as_deref_mut()?;
        let (value, _) = boxed.data.existing_mut(self.db)?.take(&self.key)?;
        self.outcome = Outcome::Unsaid;
        self.changed(event);
        Some(value)
    }

    /// Puts a value in place of any other.
    pub(crate) fn insert(&mut self, value: OwnedValue, expiry: Option<i64>, aux: u32) {
        let key = self.key;
        if let Some(old) = self.keyspace_mut().insert(&key, value, expiry, aux) {
            self.engine.garbage.push(old);
        }
    }

    /// Puts a collection that a command has made in place of any other value.
    pub(crate) fn insert_collection(&mut self, value: Collection) {
        let (key, aux) = (self.key, self.engine.new_aux());
        if let Some(old) = self.keyspace_mut().insert_collection(&key, value, None, aux) {
            self.engine.garbage.push(old);
        }
    }

    /// Gives a string the encoding of those that were written to in place.
    pub(crate) fn make_raw(&mut self) {
        let key = self.key;
        self.keyspace_mut().make_raw(&key);
    }

    /// Changes the list; `None` if it does not exist and may not be made.
    pub(crate) fn list<R>(
        &mut self,
        create: Create,
        f: impl FnOnce(&mut List, &Limits) -> R,
    ) -> Result<Option<R>, CommandError> {
        self.collection(create, |keyspace, key, limits| {
            keyspace.update_list(key, create, |list| f(list, limits))
        })
    }

    /// Changes the hash; `None` if it does not exist and may not be made.
    pub(crate) fn hash<R>(
        &mut self,
        create: Create,
        f: impl FnOnce(&mut Hash, &Limits) -> R,
    ) -> Result<Option<R>, CommandError> {
        self.collection(create, |keyspace, key, limits| {
            keyspace.update_hash(key, create, |hash| f(hash, limits))
        })
    }

    /// Changes the set; `None` if it does not exist and may not be made.
    pub(crate) fn set<R>(
        &mut self,
        create: Create,
        f: impl FnOnce(&mut Set, &Limits) -> R,
    ) -> Result<Option<R>, CommandError> {
        self.collection(create, |keyspace, key, limits| {
            keyspace.update_set(key, create, |set| f(set, limits))
        })
    }

    /// Changes the sorted set; `None` if it does not exist and may not be made.
    pub(crate) fn zset<R>(
        &mut self,
        create: Create,
        f: impl FnOnce(&mut ZSet, &Limits) -> R,
    ) -> Result<Option<R>, CommandError> {
        self.collection(create, |keyspace, key, limits| {
            keyspace.update_zset(key, create, |zset| f(zset, limits))
        })
    }

    /// Lets `change` write to a collection, and keeps the key's place in the eviction order.
    #[inline]
    fn collection<R>(
        &mut self,
        create: Create,
        change: impl FnOnce(&mut Keyspace, &Key<'_>, &Limits) -> Result<Option<R>, WrongType>,
    ) -> Result<Option<R>, CommandError> {
        let (key, db, new_aux) = (self.key, self.db, self.engine.new_aux());
        let touch = (self.usage == Usage::Counts).then(|| self.engine.touch());
        let Engine { slots, limits, .. } = &mut *self.engine;
        let boxed = slots[usize::from(self.slot)].as_deref_mut();
        let boxed = boxed.expect("a key is located where its slot is");
        let keyspace = match create {
            Create::OnlyExisting => match boxed.data.existing_mut(db) {
                Some(keyspace) => keyspace,
                None => return Ok(None),
            },
            Create::IfMissing => boxed.data.keyspace_mut(db),
        };
        self.outcome = Outcome::Unsaid;
        let existed = match touch {
            Some(touch) => keyspace.find_and_touch(&key, |aux| touch.apply(aux)).is_some(),
            None => keyspace.find(&key).is_some(),
        };
        self.changed = Changed::Value;
        let done = change(keyspace, &key, limits);
        if !existed {
            keyspace.touch(&key, new_aux);
        }
        if !matches!(done, Ok(Some(_))) {
            self.outcome = Outcome::Unchanged;
        }
        done.map_err(wrong_type)
    }

    /// A change that its keyspace may refuse as a whole.
    #[inline(always)]
    fn or_unchanged<R, E>(
        &mut self,
        change: impl FnOnce(&mut Keyspace) -> Result<R, E>,
    ) -> Result<R, E> {
        let done = change(self.keyspace_mut());
        if done.is_err() {
            self.outcome = Outcome::Unchanged;
        }
        done
    }
}

fn wrong_type(_: WrongType) -> CommandError {
    CommandError::WrongType
}
