//! Keys and values as the keyspace takes and returns them.

use super::held::{tag, value_of};
use crate::table::{EntryRef, hash_key};
use crate::types::{Hash, HashRef, List, ListRef, Set, SetRef, ZSet, ZSetRef};

/// A value to read.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A string that is a canonical decimal integer.
    Int(i64),
    /// Any other string.
    Str(&'a [u8]),
    /// A list.
    List(ListRef<'a>),
    /// A hash.
    Hash(HashRef<'a>),
    /// A set.
    Set(SetRef<'a>),
    /// A sorted set.
    ZSet(ZSetRef<'a>),
}

/// A key with its hash, which is computed once per command.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The key.
    pub bytes: &'a [u8],
    /// `hash_key(bytes)`.
    pub hash: u64,
}

impl<'a> Key<'a> {
    /// Hashes a key.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Key<'a> {
        Key { bytes, hash: hash_key(bytes) }
    }

    /// A key whose hash is known: `hash` is what [`Key::new`] computed of the same bytes.
    #[inline(always)]
    pub fn hashed(bytes: &'a [u8], hash: u64) -> Key<'a> {
        debug_assert_eq!(hash, hash_key(bytes));
        Key { bytes, hash }
    }
}

/// The key holds a value of another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongType;

/// Whether an update makes a missing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// A missing key starts empty.
    IfMissing,
    /// A missing key is left alone.
    OnlyExisting,
}

/// The kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes or an integer.
    String,
    /// A list.
    List,
    /// A hash.
    Hash,
    /// A set.
    Set,
    /// A sorted set.
    ZSet,
}

/// What a key has besides its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The kind of its value.
    pub kind: Kind,
    /// Unix milliseconds.
    pub expiry: Option<i64>,
    /// 24 bits, see [`crate::eviction`].
    pub aux: u32,
}

/// A collection of any kind.
#[derive(Debug)]
pub enum Collection {
    /// A list.
    List(List),
    /// A hash.
    Hash(Hash),
    /// A set.
    Set(Set),
    /// A sorted set.
    ZSet(ZSet),
}

/// A value that has left its keyspace, or never was in one.
#[derive(Debug)]
pub enum OwnedValue {
    /// An integer.
    Int(i64),
    /// A string, which stays as it is spelled, also if it is an integer.
    Str(Vec<u8>),
    /// A string that reports `raw` whatever its length.
    Raw(Vec<u8>),
    /// Anything else.
    Collection(Collection),
}

/// What a removed key leaves to be freed: dropped, or given to a [`Garbage`](crate::Garbage).
#[derive(Debug)]
pub struct Removed(pub(crate) Option<Collection>);

/// A key met on a walk.
#[derive(Clone, Copy, Debug)]
pub struct Sampled<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The rest of it but the value.
    pub meta: Meta,
}

impl Collection {
    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        match self {
            Collection::List(list) => list.is_empty(),
            Collection::Hash(hash) => hash.is_empty(),
            Collection::Set(set) => set.is_empty(),
            Collection::ZSet(zset) => zset.is_empty(),
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Collection::List(list) => list.len(),
            Collection::Hash(hash) => hash.len(),
            Collection::Set(set) => set.len(),
            Collection::ZSet(zset) => zset.len(),
        }
    }

    /// Bytes of its heap blocks; 0 while it is packed.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Collection::List(list) => list.heap_bytes(),
            Collection::Hash(hash) => hash.heap_bytes(),
            Collection::Set(set) => set.heap_bytes(),
            Collection::ZSet(zset) => zset.heap_bytes(),
        }
    }
}

impl OwnedValue {
    /// A copy of an entry's value that owns its memory.
    pub(super) fn copy_of(entry: EntryRef<'_>) -> OwnedValue {
        OwnedValue::Collection(match value_of(entry) {
            Value::Int(int) => return OwnedValue::Int(int),
            Value::Str(bytes) if entry.tag() == tag::RAW => {
                return OwnedValue::Raw(bytes.to_vec());
            }
            Value::Str(bytes) => return OwnedValue::Str(bytes.to_vec()),
            Value::List(list) => Collection::List(list.to_owned()),
            Value::Hash(hash) => Collection::Hash(hash.to_owned()),
            Value::Set(set) => Collection::Set(set.to_owned()),
            Value::ZSet(zset) => Collection::ZSet(zset.to_owned()),
        })
    }
}
