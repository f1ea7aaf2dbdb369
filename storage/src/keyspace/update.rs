//! Changes of collections: out of the entry, through the caller's closure, back into the entry.

use std::cell::Cell;

use super::held::{Form, Held, kind_of, tag};
use super::{Create, Key, Keyspace, WrongType};
use crate::types::{Hash, List, Set, ZSet};

/// A scratch buffer that has grown larger is not kept.
const SCRATCH_MAX: usize = 64 << 10;

impl Keyspace {
    /// Changes a list, which is removed if `f` leaves it empty; `None` if the key is missing and
    /// is not to be made.
    ///
    /// # Errors
    /// If the key holds another kind.
    pub fn update_list<R>(
        &mut self,
        key: &Key<'_>,
        create: Create,
        f: impl FnOnce(&mut List) -> R,
    ) -> Result<Option<R>, WrongType> {
        self.update(key, create, tag::LIST, f)
    }

    /// As [`Keyspace::update_list`], for a hash.
    ///
    /// # Errors
    /// If the key holds another kind.
    pub fn update_hash<R>(
        &mut self,
        key: &Key<'_>,
        create: Create,
        f: impl FnOnce(&mut Hash) -> R,
    ) -> Result<Option<R>, WrongType> {
        self.update(key, create, tag::HASH, f)
    }

    /// As [`Keyspace::update_list`], for a set.
    ///
    /// # Errors
    /// If the key holds another kind.
    pub fn update_set<R>(
        &mut self,
        key: &Key<'_>,
        create: Create,
        f: impl FnOnce(&mut Set) -> R,
    ) -> Result<Option<R>, WrongType> {
        self.update(key, create, tag::SET, f)
    }

    /// As [`Keyspace::update_list`], for a sorted set.
    ///
    /// # Errors
    /// If the key holds another kind.
    pub fn update_zset<R>(
        &mut self,
        key: &Key<'_>,
        create: Create,
        f: impl FnOnce(&mut ZSet) -> R,
    ) -> Result<Option<R>, WrongType> {
        self.update(key, create, tag::ZSET, f)
    }

    fn update<T: Held, R>(
        &mut self,
        key: &Key<'_>,
        create: Create,
        empty_tag: u8,
        f: impl FnOnce(&mut T) -> R,
    ) -> Result<Option<R>, WrongType> {
        let Some(mut entry) = self.table.find_mut(key.hash, key.bytes) else {
            if create == Create::OnlyExisting {
                return Ok(None);
            }
            let mut value = T::from_packed(empty_tag, take_scratch());
            let result = f(&mut value);
            if !value.is_vacant() {
                self.store(key, value, None, 0);
            }
            return Ok(Some(result));
        };
        let old_tag = entry.as_ref().tag();
        if kind_of(old_tag) != T::KIND {
            return Err(WrongType);
        }
        let mut value = if old_tag < tag::OWNED {
            let mut bytes = take_scratch();
            bytes.extend_from_slice(entry.as_ref().payload());
            T::from_packed(old_tag, bytes)
        } else {
            // SAFETY: the next lines leave a string of zeros in the entry, so that the structure
            // has one owner also if `f` panics.
            let value = unsafe { T::from_owned(entry.as_ref()) };
            entry.payload_mut().fill(0);
            entry.set_tag(tag::RAW);
            self.owned_bytes -= value.owned_bytes();
            value
        };
        let result = f(&mut value);
        if value.is_vacant() {
            self.table.remove(key.hash, key.bytes, |_| ());
            return Ok(Some(result));
        }
        let owned_bytes = value.owned_bytes();
        let form = value.into_form();
        self.owned_bytes += owned_bytes;
        match form {
            Form::Owned(tag, held) if old_tag >= tag::OWNED => {
                entry.set_pointer(held);
                entry.set_tag(tag);
            }
            Form::Packed(tag, bytes) if entry.as_ref().payload().len() == bytes.len() => {
                entry.set_tag(tag);
                entry.payload_mut().copy_from_slice(&bytes);
                keep_scratch(bytes);
            }
            form => {
                let new = form.entry(entry.as_ref().expiry(), entry.as_ref().aux());
                self.table.upsert(key.hash, key.bytes, new);
                form.finish(&mut self.table, key);
            }
        }
        Ok(Some(result))
    }

    /// Puts a value under a key that owns nothing.
    fn store<T: Held>(&mut self, key: &Key<'_>, value: T, expiry: Option<i64>, aux: u32) {
        self.owned_bytes += value.owned_bytes();
        let form = value.into_form();
        self.table.upsert(key.hash, key.bytes, form.entry(expiry, aux));
        form.finish(&mut self.table, key);
    }
}

thread_local! {
    /// Packed collections are changed in here.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

fn take_scratch() -> Vec<u8> {
    SCRATCH.take()
}

/// Keeps a buffer for the next update.
pub(super) fn keep_scratch(mut bytes: Vec<u8>) {
    if bytes.capacity() <= SCRATCH_MAX {
        bytes.clear();
        SCRATCH.set(bytes);
    }
}
