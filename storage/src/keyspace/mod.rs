//! The keys of one database in one slot, with their values, expiries and exact account.
//!
//! A keyspace is a [`Table`] whose payloads are values: strings, integers and packed collections
//! lie in the table, large collections are owned through a pointer. It has no clock and does not
//! look at expiries by itself; a command asks [`Keyspace::meta`] or [`Keyspace::expiry_min`].
//!
//! Invariant: `owned_bytes` is the sum of the heap of all owned collections, so
//! [`Keyspace::heap_bytes`] is exact after every call.

mod cut;
mod held;
mod number;
#[cfg(test)]
mod tests;
mod update;
mod value;

pub use self::cut::Unsaved;
use self::held::{kind_of, owned_bytes_of, owned_bytes_walked_of, pack_int, tag, value_of};
pub use self::number::AddError;
pub use self::value::{
    Collection, Create, Key, Kind, Meta, OwnedValue, Removed, Sampled, Value, WrongType,
};
use crate::garbage::Garbage;
use crate::table::{Ahead, BLOB_MAX, EntryRef, Layout, NewEntry, Segment, Table};
use crate::types::canonical_int;

/// The longest string; a block also has room for the longest key.
pub const STRING_MAX: usize = BLOB_MAX / 2;
/// Strings up to this length report `embstr`.
const EMBSTR_MAX: usize = 44;

/// The keys of one database in one slot. See the module's documentation.
pub struct Keyspace {
    table: Table,
    owned_bytes: usize,
}

impl Keyspace {
    /// A keyspace without keys and without heap.
    pub const fn new() -> Keyspace {
        Keyspace { table: Table::new(Layout::WITH_AUX), owned_bytes: 0 }
    }

    /// Number of keys.
    #[inline]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are no keys.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Number of keys that expire.
    #[inline]
    pub fn expiring_len(&self) -> usize {
        self.table.expiring_len()
    }

    /// No key expires before this; `i64::MAX` if none does at all.
    #[inline]
    pub fn expiry_min(&self) -> i64 {
        self.table.expiry_min()
    }

    /// Bytes on the heap, exactly; O(1).
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.table.heap_bytes() + self.owned_bytes
    }

    /// [`Keyspace::heap_bytes`] counted anew by walking everything, for the audit.
    pub fn heap_bytes_walked(&self) -> usize {
        let owned: usize = self.table.iter().map(owned_bytes_walked_of).sum();
        self.table.heap_bytes_walked() + owned
    }

    /// The value of a key, expired or not.
    #[inline]
    pub fn find(&self, key: &Key<'_>) -> Option<Value<'_>> {
        self.table.find(key.hash, key.bytes).map(value_of)
    }

    /// As [`Keyspace::find`], changing the access information on the way.
    #[inline(always)]
    pub fn find_and_touch(
        &mut self,
        key: &Key<'_>,
        touch: impl FnOnce(u32) -> u32,
    ) -> Option<Value<'_>> {
        let mut entry = self.table.find_mut(key.hash, key.bytes)?;
        let aux = touch(entry.as_ref().aux());
        entry.set_aux(aux);
        Some(value_of(entry.into_ref()))
    }

    /// What a key has besides its value.
    #[inline]
    pub fn meta(&self, key: &Key<'_>) -> Option<Meta> {
        self.table.find(key.hash, key.bytes).map(meta_of)
    }

    /// Sets the access information of a key.
    #[inline]
    pub fn touch(&mut self, key: &Key<'_>, aux: u32) {
        if let Some(mut entry) = self.table.find_mut(key.hash, key.bytes) {
            entry.set_aux(aux);
        }
    }

    /// Begins to load what a command on a key of this hash will read; see [`Ahead`].
    #[inline(always)]
    pub fn ahead(&self, hash: u64) -> Ahead<'_> {
        self.table.ahead(hash)
    }

    /// The encoding that OBJECT ENCODING reports.
    pub fn encoding(&self, key: &Key<'_>) -> Option<&'static str> {
        let entry = self.table.find(key.hash, key.bytes)?;
        Some(match value_of(entry) {
            Value::Int(_) => "int",
            Value::Str(bytes) if bytes.len() <= EMBSTR_MAX && entry.tag() != tag::RAW => "embstr",
            Value::Str(_) => "raw",
            Value::List(list) => list.encoding(),
            Value::Hash(hash) => hash.encoding(),
            Value::Set(set) => set.encoding(),
            Value::ZSet(zset) => zset.encoding(),
        })
    }

    /// Bytes that a key takes: its entry, its index cell, its own blocks. O(1).
    pub fn memory_usage(&self, key: &Key<'_>) -> Option<usize> {
        let entry = self.table.find(key.hash, key.bytes)?;
        Some(entry.heap_bytes() + owned_bytes_of(entry))
    }

    /// Sets a string, whatever the key held; canonical integers are packed.
    ///
    /// # Panics
    /// If the value is longer than [`STRING_MAX`].
    #[inline]
    pub fn set_string(
        &mut self,
        key: &Key<'_>,
        value: &[u8],
        expiry: Option<i64>,
        aux: u32,
    ) -> Option<Removed> {
        // The shortest integers are a digit, the longest 20 bytes with the sign.
        if value.len() <= 20
            && let Some(int) = canonical_int(value)
        {
            return self.set_int(key, int, expiry, aux);
        }
        self.set_entry(key, NewEntry { tag: tag::STRING, aux, expiry, payload: value })
    }

    /// Sets a string that stays as it is spelled, also if it is an integer.
    ///
    /// # Panics
    /// If the value is longer than [`STRING_MAX`].
    pub fn set_text(
        &mut self,
        key: &Key<'_>,
        value: &[u8],
        expiry: Option<i64>,
        aux: u32,
    ) -> Option<Removed> {
        self.set_entry(key, NewEntry { tag: tag::STRING, aux, expiry, payload: value })
    }

    /// Sets a string that is an integer.
    #[inline]
    pub fn set_int(
        &mut self,
        key: &Key<'_>,
        value: i64,
        expiry: Option<i64>,
        aux: u32,
    ) -> Option<Removed> {
        let mut bytes = [0; 8];
        let payload = pack_int(value, &mut bytes);
        self.set_entry(key, NewEntry { tag: tag::INT, aux, expiry, payload })
    }

    #[inline]
    fn set_entry(&mut self, key: &Key<'_>, new: NewEntry<'_>) -> Option<Removed> {
        assert!(new.payload.len() <= STRING_MAX, "a string of {} bytes", new.payload.len());
        let mut owned = None;
        self.table.upsert_with(key.hash, key.bytes, new, &mut |old| {
            if old.tag() >= tag::OWNED && owned.is_none() {
                let bytes = owned_bytes_of(old);
                // SAFETY: taken once; the entry is overwritten before the table returns.
                owned = unsafe { Collection::of_entry(old) }.map(|taken| (taken, bytes));
            }
        });
        let (taken, bytes) = owned?;
        self.owned_bytes -= bytes;
        Some(Removed(Some(taken)))
    }

    /// Appends to a string, or makes it; returns its length.
    ///
    /// # Errors
    /// If the key holds another kind.
    ///
    /// # Panics
    /// If the string would be longer than [`STRING_MAX`].
    pub fn append(&mut self, key: &Key<'_>, tail: &[u8], aux: u32) -> Result<usize, WrongType> {
        match self.find(key) {
            None => {
                self.set_string(key, tail, None, aux);
                Ok(tail.len())
            }
            Some(Value::Int(_)) => {
                self.spell_out(key);
                self.append(key, tail, aux)
            }
            Some(Value::Str(bytes)) => {
                let len = bytes.len();
                self.write_at(key, len, tail, aux);
                Ok(len + tail.len())
            }
            Some(_) => Err(WrongType),
        }
    }

    /// Overwrites a string from `offset` on, filling with zeros up to there; returns its length.
    /// A missing key with an empty `value` stays missing.
    ///
    /// # Errors
    /// If the key holds another kind.
    ///
    /// # Panics
    /// If the string would be longer than [`STRING_MAX`].
    pub fn set_range(
        &mut self,
        key: &Key<'_>,
        offset: usize,
        value: &[u8],
        aux: u32,
    ) -> Result<usize, WrongType> {
        match self.find(key) {
            None if value.is_empty() => Ok(0),
            None => {
                let entry = NewEntry { tag: tag::RAW, aux, expiry: None, payload: b"" };
                self.set_entry(key, entry);
                self.write_at(key, offset, value, aux);
                Ok(offset + value.len())
            }
            Some(Value::Int(int)) if value.is_empty() => Ok(itoa::Buffer::new().format(int).len()),
            Some(Value::Str(bytes)) if value.is_empty() => Ok(bytes.len()),
            Some(Value::Int(_)) => {
                self.spell_out(key);
                self.set_range(key, offset, value, aux)
            }
            Some(Value::Str(bytes)) => {
                let len = bytes.len().max(offset + value.len());
                self.write_at(key, offset, value, aux);
                Ok(len)
            }
            Some(_) => Err(WrongType),
        }
    }

    /// Writes into a string that is not packed, making it longer if need be.
    fn write_at(&mut self, key: &Key<'_>, offset: usize, value: &[u8], aux: u32) {
        let end = offset.checked_add(value.len()).filter(|end| *end <= STRING_MAX);
        let end = end.expect("the caller keeps to the limit");
        let (hash, key) = (key.hash, key.bytes);
        if let Some(mut entry) = self.table.find_mut(hash, key) {
            entry.set_tag(tag::RAW);
            entry.set_aux(aux);
            if end <= entry.as_ref().payload().len() {
                entry.payload_mut()[offset..end].copy_from_slice(value);
                return;
            }
        }
        if let Some(payload) = self.table.payload_resize(hash, key, end) {
            payload[offset..].copy_from_slice(value);
        }
    }

    /// Makes a string one that [`Self::encoding`] calls raw, as if it had been written to.
    pub fn make_raw(&mut self, key: &Key<'_>) {
        self.spell_out(key);
        if let Some(mut entry) = self.table.find_mut(key.hash, key.bytes)
            && entry.as_ref().tag() == tag::STRING
        {
            entry.set_tag(tag::RAW);
        }
    }

    /// Makes a packed integer a string of its digits.
    fn spell_out(&mut self, key: &Key<'_>) {
        let Some(entry) = self.table.find(key.hash, key.bytes) else { return };
        if let Value::Int(int) = value_of(entry) {
            let (aux, expiry) = (entry.aux(), entry.expiry());
            let mut digits = itoa::Buffer::new();
            let payload = digits.format(int).as_bytes();
            self.table.upsert(
                key.hash,
                key.bytes,
                NewEntry { tag: tag::RAW, aux, expiry, payload },
            );
        }
    }

    /// Sets or clears the expiry of a key; returns whether there is such a key.
    pub fn set_expiry(&mut self, key: &Key<'_>, expiry: Option<i64>) -> bool {
        self.table.set_expiry(key.hash, key.bytes, expiry)
    }

    /// Sets a collection, whatever the key held (RENAME, COPY, RESTORE, …STORE). An empty one
    /// removes the key.
    pub fn insert_collection(
        &mut self,
        key: &Key<'_>,
        value: Collection,
        expiry: Option<i64>,
        aux: u32,
    ) -> Option<Removed> {
        if value.is_empty() {
            return self.remove(key);
        }
        let owned_bytes = value.heap_bytes();
        let form = value.into_form();
        let removed = self.set_entry(key, form.entry(expiry, aux));
        form.finish(&mut self.table, key);
        self.owned_bytes += owned_bytes;
        removed
    }

    /// Sets any value, whatever the key held.
    pub fn insert(
        &mut self,
        key: &Key<'_>,
        value: OwnedValue,
        expiry: Option<i64>,
        aux: u32,
    ) -> Option<Removed> {
        match value {
            OwnedValue::Int(int) => self.set_int(key, int, expiry, aux),
            OwnedValue::Str(bytes) => self.set_text(key, &bytes, expiry, aux),
            OwnedValue::Raw(bytes) => {
                self.set_entry(key, NewEntry { tag: tag::RAW, aux, expiry, payload: &bytes })
            }
            OwnedValue::Collection(value) => self.insert_collection(key, value, expiry, aux),
        }
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &Key<'_>) -> Option<Removed> {
        let owned_bytes = &mut self.owned_bytes;
        self.table.remove(key.hash, key.bytes, |entry| {
            *owned_bytes -= owned_bytes_of(entry);
            // SAFETY: the entry is removed next.
            Removed(unsafe { Collection::of_entry(entry) })
        })
    }

    /// Removes a key and returns its value and expiry.
    pub fn take(&mut self, key: &Key<'_>) -> Option<(OwnedValue, Option<i64>)> {
        let owned_bytes = &mut self.owned_bytes;
        self.table.remove(key.hash, key.bytes, |entry| {
            *owned_bytes -= owned_bytes_of(entry);
            // SAFETY: the entry is removed next.
            let value = match unsafe { Collection::of_entry(entry) } {
                Some(value) => OwnedValue::Collection(value),
                None => OwnedValue::copy_of(entry),
            };
            (value, entry.expiry())
        })
    }

    /// A copy of a key's value.
    pub fn clone_value(&self, key: &Key<'_>) -> Option<OwnedValue> {
        self.table.find(key.hash, key.bytes).map(OwnedValue::copy_of)
    }

    /// Calls `f` with about `count` keys from `cursor` on and returns the cursor to go on with
    /// (48 bits, 0 at the end). A key that is there all the time is returned at least once.
    pub fn scan(&self, cursor: u64, count: usize, f: &mut dyn FnMut(&[u8], Meta)) -> u64 {
        self.table.scan(cursor, count, &mut |entry| f(entry.key(), meta_of(entry)))
    }

    /// A key chosen by `random`, nearly uniformly.
    pub fn sample(&self, random: u64) -> Option<Sampled<'_>> {
        self.table.sample(random).map(sampled)
    }

    /// A key that expires, chosen by `random`.
    pub fn sample_expiring(&self, random: u64) -> Option<Sampled<'_>> {
        self.table.sample_expiring(random).map(sampled)
    }

    /// All keys.
    pub fn iter(&self) -> impl Iterator<Item = Sampled<'_>> {
        self.table.iter().map(sampled)
    }

    /// All keys with their values.
    pub fn iter_values(&self) -> impl Iterator<Item = (Sampled<'_>, Value<'_>)> {
        self.table.iter().map(|entry| (sampled(entry), value_of(entry)))
    }

    /// Removes keys that expire at or before `now_ms`, looking at about `budget` keys at most;
    /// `f` is called with each. Returns how many were removed. Nothing is left to do once
    /// [`Keyspace::expiry_min`] is later than `now_ms`.
    pub fn expired(&mut self, now_ms: i64, budget: usize, f: &mut dyn FnMut(&[u8])) -> usize {
        self.expired_into(now_ms, budget, &mut Garbage::default(), &mut |_| (), f)
    }

    /// As [`Keyspace::expired`], leaving large collections to be freed in slices; what a walk has
    /// not reached yet is shown to `early` first.
    pub fn expired_into(
        &mut self,
        now_ms: i64,
        budget: usize,
        garbage: &mut Garbage,
        early: &mut dyn FnMut(Unsaved<'_>),
        f: &mut dyn FnMut(&[u8]),
    ) -> usize {
        let mut removed = 0;
        let pending = self.table.pending_cut();
        let owned_bytes = &mut self.owned_bytes;
        self.table.expire(now_ms, budget, &mut |entry| {
            if let Some(cut) = pending.filter(|cut| cut.misses(entry)) {
                early(Unsaved::of(cut.name(), entry));
            }
            f(entry.key());
            removed += 1;
            *owned_bytes -= owned_bytes_of(entry);
            // SAFETY: the table removes the entry next.
            garbage.push(Removed(unsafe { Collection::of_entry(entry) }));
        });
        removed
    }

    /// Detaches some of the keys, for freeing a keyspace in slices.
    pub(crate) fn take_some(&mut self, garbage: &mut Garbage) -> Option<usize> {
        let segment = self.table.take_segment()?;
        let len = segment.len();
        if self.owned_bytes > 0 {
            self.take_owned(&segment, garbage);
        }
        Some(len)
    }

    fn take_owned(&mut self, segment: &Segment, garbage: &mut Garbage) {
        for entry in segment.iter() {
            self.owned_bytes -= owned_bytes_of(entry);
            // SAFETY: the segment is dropped by the caller without reading the entry again.
            garbage.push(Removed(unsafe { Collection::of_entry(entry) }));
        }
    }
}

impl Default for Keyspace {
    fn default() -> Keyspace {
        Keyspace::new()
    }
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        if self.owned_bytes > 0 {
            for entry in self.table.iter() {
                // SAFETY: the table is dropped next, without reading its payloads.
                drop(unsafe { Collection::of_entry(entry) });
            }
        }
    }
}

impl std::fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (len, heap_bytes) = (self.len(), self.heap_bytes());
        f.debug_struct("Keyspace").field("len", &len).field("heap_bytes", &heap_bytes).finish()
    }
}

fn meta_of(entry: EntryRef<'_>) -> Meta {
    Meta { kind: kind_of(entry.tag()), expiry: entry.expiry(), aux: entry.aux() }
}

fn sampled(entry: EntryRef<'_>) -> Sampled<'_> {
    Sampled { key: entry.key(), meta: meta_of(entry) }
}
