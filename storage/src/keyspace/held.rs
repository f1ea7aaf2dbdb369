//! How a value lies in an entry of the keyspace's table: the form that the tag names, and the
//! structures that an entry owns through a pointer in its payload.
//!
//! Invariant: the payload of an entry with an owning tag is the pointer of a box that nothing else
//! owns. Who overwrites or removes such an entry takes the box out first
//! ([`Collection::of_entry`]).

use std::ptr::NonNull;

use crate::table::{EntryRef, NewEntry, POINTER_LEN, Table};
use crate::types::{
    ChunkList, Hash, HashRef, HashTable, List, ListRef, Set, SetRef, SetTable, ZSet, ZSetRef,
    ZSetTree,
};

use super::update::keep_scratch;
use super::{Collection, Key, Kind, Value};

/// The tags of entries.
pub(super) mod tag {
    /// The bytes of a string.
    pub(crate) const STRING: u8 = 0;
    /// A canonical integer in 1, 2, 4 or 8 bytes.
    pub(crate) const INT: u8 = 1;
    /// A string that reports `raw` whatever its length.
    pub(crate) const RAW: u8 = 2;
    pub(crate) const LIST: u8 = 3;
    pub(crate) const HASH: u8 = 4;
    pub(crate) const SET: u8 = 5;
    pub(crate) const INTS: u8 = 6;
    pub(crate) const ZSET: u8 = 7;
    /// From here on the payload is the pointer of a box.
    pub(crate) const OWNED: u8 = 8;
    pub(crate) const LIST_CHUNKS: u8 = 8;
    pub(crate) const HASH_TABLE: u8 = 9;
    pub(crate) const SET_TABLE: u8 = 10;
    pub(crate) const ZSET_TREE: u8 = 11;
}

/// What goes into an entry: a tag with the packed bytes, or with the pointer of a box given up.
pub(super) enum Form {
    Packed(u8, Vec<u8>),
    Owned(u8, NonNull<()>),
}

impl Form {
    /// The entry to store. For what is owned it has room for the pointer: a string of zeros, which
    /// anyone may read until [`Form::finish`].
    pub(super) fn entry(&self, expiry: Option<i64>, aux: u32) -> NewEntry<'_> {
        match self {
            Form::Packed(tag, bytes) => NewEntry { tag: *tag, aux, expiry, payload: bytes },
            Form::Owned(..) => NewEntry { tag: tag::RAW, aux, expiry, payload: &[0; POINTER_LEN] },
        }
    }

    /// Gives what is owned to the entry, which [`Form::entry`] has made; keeps the buffer of what
    /// is packed for the next update.
    pub(super) fn finish(self, table: &mut Table, key: &Key<'_>) {
        match self {
            Form::Packed(_, bytes) => keep_scratch(bytes),
            Form::Owned(tag, held) => {
                let mut entry = table.find_mut(key.hash, key.bytes).expect("it was just stored");
                entry.set_pointer(held);
                entry.set_tag(tag);
            }
        }
    }
}

fn give_up<T>(tag: u8, held: Box<T>) -> Form {
    Form::Owned(tag, NonNull::from(Box::leak(held)).cast())
}

/// A type of collection: between its owned form and an entry.
pub(super) trait Held: Sized {
    /// What entries of this type hold.
    const KIND: Kind;

    fn from_packed(tag: u8, bytes: Vec<u8>) -> Self;

    /// Takes the box out of an entry.
    ///
    /// # Safety
    /// The entry has an owning tag of this type, and is given another payload, or removed, before
    /// anything reads it.
    unsafe fn from_owned(entry: EntryRef<'_>) -> Self;

    fn into_form(self) -> Form;

    fn is_vacant(&self) -> bool;

    /// Bytes outside the entry.
    fn owned_bytes(&self) -> usize;
}

macro_rules! held {
    ($type:ident, $kind:ident, $owned:ident: $structure:ident = $owned_tag:ident,
     $($packed:ident = $packed_tag:ident),+) => {
        impl Held for $type {
            const KIND: Kind = Kind::$kind;

            fn from_packed(tag: u8, bytes: Vec<u8>) -> $type {
                match tag {
                    $(tag::$packed_tag => $type::$packed(bytes),)+
                    _ => unreachable!("the tag is of this kind"),
                }
            }

            unsafe fn from_owned(entry: EntryRef<'_>) -> $type {
                // SAFETY: the tag says what the pointer is of, and the caller that nobody else
                // takes it.
                $type::$owned(unsafe { Box::from_raw(entry.pointer().cast::<$structure>()) })
            }

            fn into_form(self) -> Form {
                match self {
                    $($type::$packed(bytes) => Form::Packed(tag::$packed_tag, bytes),)+
                    $type::$owned(held) => give_up(tag::$owned_tag, held),
                }
            }

            fn is_vacant(&self) -> bool {
                self.is_empty()
            }

            fn owned_bytes(&self) -> usize {
                self.heap_bytes()
            }
        }
    };
}

held!(List, List, Chunks: ChunkList = LIST_CHUNKS, Packed = LIST);
held!(Hash, Hash, Table: HashTable = HASH_TABLE, Packed = HASH);
held!(Set, Set, Table: SetTable = SET_TABLE, Packed = SET, Ints = INTS);
held!(ZSet, ZSet, Tree: ZSetTree = ZSET_TREE, Packed = ZSET);

/// The kind that a tag says.
#[inline]
pub(super) fn kind_of(tag: u8) -> Kind {
    match tag {
        tag::LIST | tag::LIST_CHUNKS => Kind::List,
        tag::HASH | tag::HASH_TABLE => Kind::Hash,
        tag::SET | tag::INTS | tag::SET_TABLE => Kind::Set,
        tag::ZSET | tag::ZSET_TREE => Kind::ZSet,
        _ => Kind::String,
    }
}

/// The value of an entry, to read.
#[inline(always)]
pub(super) fn value_of(entry: EntryRef<'_>) -> Value<'_> {
    let payload = entry.payload();
    match entry.tag() {
        tag::STRING | tag::RAW => Value::Str(payload),
        tag::INT => Value::Int(unpack_int(payload)),
        tag::LIST => Value::List(ListRef::Packed(payload)),
        tag::HASH => Value::Hash(HashRef::Packed(payload)),
        tag::SET => Value::Set(SetRef::Packed(payload)),
        tag::INTS => Value::Set(SetRef::Ints(payload)),
        tag::ZSET => Value::ZSet(ZSetRef::Packed(payload)),
        _ => owned_value_of(entry),
    }
}

#[inline(never)]
fn owned_value_of(entry: EntryRef<'_>) -> Value<'_> {
    let held = entry.pointer();
    // SAFETY: the tag says what the pointer is of; the box lives as long as its entry, and is
    // changed only through the keyspace held mutably.
    unsafe {
        match entry.tag() {
            tag::LIST_CHUNKS => Value::List(ListRef::Chunks(&*held.cast())),
            tag::HASH_TABLE => Value::Hash(HashRef::Table(&*held.cast())),
            tag::SET_TABLE => Value::Set(SetRef::Table(&*held.cast())),
            tag::ZSET_TREE => Value::ZSet(ZSetRef::Tree(&*held.cast())),
            _ => unreachable!("no other tags are written"),
        }
    }
}

/// Bytes that an entry owns outside of the table.
#[inline]
pub(super) fn owned_bytes_of(entry: EntryRef<'_>) -> usize {
    if entry.tag() < tag::OWNED {
        return 0;
    }
    match value_of(entry) {
        Value::List(list) => list.heap_bytes(),
        Value::Hash(hash) => hash.heap_bytes(),
        Value::Set(set) => set.heap_bytes(),
        Value::ZSet(zset) => zset.heap_bytes(),
        Value::Int(_) | Value::Str(_) => 0,
    }
}

/// [`owned_bytes_of`], recomputed by walking.
pub(super) fn owned_bytes_walked_of(entry: EntryRef<'_>) -> usize {
    match value_of(entry) {
        Value::List(list) => list.heap_bytes_walked(),
        Value::Hash(hash) => hash.heap_bytes_walked(),
        Value::Set(set) => set.heap_bytes_walked(),
        Value::ZSet(zset) => zset.heap_bytes_walked(),
        Value::Int(_) | Value::Str(_) => 0,
    }
}

impl Collection {
    /// Takes what an entry owns out of it, if it owns something.
    ///
    /// # Safety
    /// The entry is given another payload, or removed, before anything reads it.
    pub(super) unsafe fn of_entry(entry: EntryRef<'_>) -> Option<Collection> {
        // SAFETY: the tag says what the entry owns, and the caller that nobody else takes it.
        unsafe {
            Some(match entry.tag() {
                tag::LIST_CHUNKS => Collection::List(List::from_owned(entry)),
                tag::HASH_TABLE => Collection::Hash(Hash::from_owned(entry)),
                tag::SET_TABLE => Collection::Set(Set::from_owned(entry)),
                tag::ZSET_TREE => Collection::ZSet(ZSet::from_owned(entry)),
                _ => return None,
            })
        }
    }

    pub(super) fn into_form(self) -> Form {
        match self {
            Collection::List(list) => list.into_form(),
            Collection::Hash(hash) => hash.into_form(),
            Collection::Set(set) => set.into_form(),
            Collection::ZSet(zset) => zset.into_form(),
        }
    }
}

/// The bytes of an integer: the shortest of 1, 2, 4 or 8, little endian.
#[inline]
pub(super) fn pack_int(value: i64, bytes: &mut [u8; 8]) -> &[u8] {
    *bytes = value.to_le_bytes();
    let len = if value == i64::from(value as i8) {
        1
    } else if value == i64::from(value as i16) {
        2
    } else if value == i64::from(value as i32) {
        4
    } else {
        8
    };
    &bytes[..len]
}

#[inline]
pub(super) fn unpack_int(bytes: &[u8]) -> i64 {
    match *bytes {
        [a] => i64::from(a as i8),
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        _ => i64::from_le_bytes(bytes.try_into().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_take_the_least_bytes() {
        let all = (0..63).flat_map(|b| [1_i64 << b, (1 << b) - 1, -(1 << b), -(1 << b) - 1]);
        for value in all.chain([i64::MIN, i64::MAX]) {
            assert_eq!(unpack_int(pack_int(value, &mut [0; 8])), value);
        }
        assert_eq!(pack_int(-128, &mut [0; 8]).len(), 1);
        assert_eq!(pack_int(128, &mut [0; 8]).len(), 2);
    }
}
