//! Hashes: fields with values, packed while small, a table when large.

use std::fmt;

use super::element::Element;
use super::limits::Limits;
use super::member_table::{self, few_and_small, new_table, value_of};
use super::packed::{
    self, Encoded, Items, PACKED_BYTES_AGAIN, PACKED_BYTES_MAX, body, has_marker, read, splice,
};
use super::sample::{Either, Random, distinct_ranks, rank_of};
use crate::memory::good_size;
use crate::table::{Table, hash_key};

/// A field and its value.
pub type Field<'a> = (Element<'a>, Element<'a>);

/// An owned hash.
#[derive(Debug)]
pub enum Hash {
    /// Fields and values in turn, see [`super::packed`].
    Packed(Vec<u8>),
    /// More than the packed form holds.
    Table(Box<HashTable>),
}

/// A hash to read.
#[derive(Clone, Copy, Debug)]
pub enum HashRef<'a> {
    /// Fields and values in turn.
    Packed(&'a [u8]),
    /// More than the packed form holds.
    Table(&'a HashTable),
}

/// A large hash.
pub struct HashTable {
    table: Table,
    /// Redis would still keep it in a listpack.
    reports_listpack: bool,
}

impl Hash {
    /// A hash without fields.
    pub const fn new() -> Hash {
        Hash::Packed(Vec::new())
    }

    /// The hash to read.
    #[inline]
    pub fn as_ref(&self) -> HashRef<'_> {
        match self {
            Hash::Packed(bytes) => HashRef::Packed(bytes),
            Hash::Table(table) => HashRef::Table(table),
        }
    }

    /// Sets `field` to `value`; whether the field is new.
    pub fn set(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> bool {
        let value_max = limits.hash_listpack_value_max;
        let long = field.len() > value_max || value.len() > value_max;
        match self {
            Hash::Packed(bytes) => {
                let (name, content) = (Encoded::of(field), Encoded::of(value));
                let found = packed::find(bytes, body(bytes), 2, &name);
                let mut over = long;
                match found {
                    Ok(at) => {
                        let at = at + name.bytes().len();
                        let old = packed::skip(bytes, at) - at;
                        splice(bytes, at, old, &[content.bytes()]);
                    }
                    Err(len) => {
                        let end = bytes.len();
                        splice(bytes, end, 0, &[name.bytes(), content.bytes()]);
                        over |= len + 1 > limits.hash_listpack_entries_max;
                    }
                }
                if over {
                    packed::mark(bytes);
                }
                if bytes.len() > PACKED_BYTES_MAX {
                    *self = Hash::Table(Box::new(HashTable::from_packed(bytes)));
                }
                found.is_err()
            }
            Hash::Table(hash) => {
                let new = member_table::store(&mut hash.table, field, Element::parse(value));
                if long || hash.table.len() > limits.hash_listpack_entries_max {
                    hash.reports_listpack = false;
                }
                new
            }
        }
    }

    /// Removes `field`; whether it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match self {
            Hash::Packed(bytes) => {
                let Ok(at) = packed::find(bytes, body(bytes), 2, &Encoded::of(field)) else {
                    return false;
                };
                let old = packed::skip_many(bytes, at, 2) - at;
                splice(bytes, at, old, &[]);
                true
            }
            Hash::Table(hash) => {
                let removed = member_table::remove(&mut hash.table, field);
                if removed && let Some(bytes) = hash.to_packed() {
                    *self = Hash::Packed(bytes);
                }
                removed
            }
        }
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.as_ref().len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.as_ref().is_empty()
    }

    /// Bytes of owned heap blocks: see [`HashRef::heap_bytes`].
    pub fn heap_bytes(&self) -> usize {
        self.as_ref().heap_bytes()
    }

    /// The encoding that OBJECT ENCODING reports.
    pub fn encoding(&self) -> &'static str {
        self.as_ref().encoding()
    }
}

impl Default for Hash {
    fn default() -> Hash {
        Hash::new()
    }
}

impl<'a> HashRef<'a> {
    /// Number of fields.
    pub fn len(self) -> usize {
        match self {
            HashRef::Packed(bytes) => packed::count(bytes, body(bytes)) / 2,
            HashRef::Table(hash) => hash.table.len(),
        }
    }

    /// Whether there is no field.
    pub fn is_empty(self) -> bool {
        match self {
            HashRef::Packed(bytes) => bytes.len() == body(bytes),
            HashRef::Table(hash) => hash.table.len() == 0,
        }
    }

    /// The value of `field`.
    pub fn get(self, field: &[u8]) -> Option<Element<'a>> {
        match self {
            HashRef::Packed(bytes) => {
                let name = Encoded::of(field);
                let at = packed::find(bytes, body(bytes), 2, &name).ok()?;
                Some(read(bytes, at + name.bytes().len()).0)
            }
            HashRef::Table(hash) => hash.table.find(hash_key(field), field).map(value_of),
        }
    }

    /// Whether there is this field.
    pub fn contains(self, field: &[u8]) -> bool {
        self.get(field).is_some()
    }

    /// All fields with their values, in no particular order.
    pub fn iter(self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        match self {
            HashRef::Packed(bytes) => Either::Left(Pairs(Items::new(bytes, body(bytes)))),
            HashRef::Table(hash) => Either::Right(
                hash.table.iter().map(|entry| (Element::Bytes(entry.key()), value_of(entry))),
            ),
        }
    }

    /// One field chosen by `random`.
    pub fn random(self, random: u64) -> Option<Field<'a>> {
        match self {
            HashRef::Packed(_) => match self.len() {
                0 => None,
                len => self.iter().nth(rank_of(random, len)),
            },
            HashRef::Table(hash) => hash
                .table
                .sample(random)
                .map(|entry| (Element::Bytes(entry.key()), value_of(entry))),
        }
    }

    /// Up to `count` different fields chosen at random.
    pub fn random_distinct(self, count: usize, random: Random<'_>) -> Vec<Field<'a>> {
        match self {
            HashRef::Packed(_) => {
                let fields: Vec<_> = self.iter().collect();
                let ranks = distinct_ranks(count, fields.len(), random);
                ranks.into_iter().map(|rank| fields[rank]).collect()
            }
            HashRef::Table(hash) => member_table::random_distinct(&hash.table, count, random)
                .into_iter()
                .map(|entry| (Element::Bytes(entry.key()), value_of(entry)))
                .collect(),
        }
    }

    /// Calls `f` with `count` fields chosen at random, each of all.
    pub fn random_repeated(
        self,
        count: usize,
        random: Random<'_>,
        f: &mut dyn FnMut(Element<'a>, Element<'a>),
    ) {
        match self {
            HashRef::Packed(_) => {
                let fields: Vec<_> = self.iter().collect();
                if !fields.is_empty() {
                    for _ in 0..count {
                        let (field, value) = fields[rank_of(random(), fields.len())];
                        f(field, value);
                    }
                }
            }
            HashRef::Table(_) => {
                for _ in 0..count {
                    if let Some((field, value)) = self.random(random()) {
                        f(field, value);
                    }
                }
            }
        }
    }

    /// Calls `f` with about `count` fields from `cursor` on and returns the next cursor, 0 at the
    /// end. A packed hash is returned at once.
    pub fn scan(
        self,
        cursor: u64,
        count: usize,
        f: &mut dyn FnMut(Element<'_>, Element<'_>),
    ) -> u64 {
        match self {
            HashRef::Packed(_) => {
                self.iter().for_each(|(field, value)| f(field, value));
                0
            }
            HashRef::Table(hash) => hash.table.scan(cursor, count, &mut |entry| {
                f(Element::Bytes(entry.key()), value_of(entry));
            }),
        }
    }

    /// Bytes of owned heap blocks, O(1). A packed hash has none: its bytes are its holder's.
    pub fn heap_bytes(self) -> usize {
        match self {
            HashRef::Packed(_) => 0,
            HashRef::Table(hash) => good_size(size_of::<HashTable>()) + hash.table.heap_bytes(),
        }
    }

    /// The same as [`HashRef::heap_bytes`], recomputed by walking.
    pub fn heap_bytes_walked(self) -> usize {
        match self {
            HashRef::Packed(_) => 0,
            HashRef::Table(hash) => {
                good_size(size_of::<HashTable>()) + hash.table.heap_bytes_walked()
            }
        }
    }

    /// The encoding that OBJECT ENCODING reports.
    pub fn encoding(self) -> &'static str {
        let listpack = match self {
            HashRef::Packed(bytes) => !has_marker(bytes),
            HashRef::Table(hash) => hash.reports_listpack,
        };
        if listpack { "listpack" } else { "hashtable" }
    }

    /// A copy that owns its memory.
    pub fn to_owned(self) -> Hash {
        match self {
            HashRef::Packed(bytes) => Hash::Packed(bytes.to_vec()),
            HashRef::Table(hash) => {
                let mut table = new_table();
                for entry in hash.table.iter() {
                    member_table::store(&mut table, entry.key(), value_of(entry));
                }
                Hash::Table(Box::new(HashTable { table, ..*hash }))
            }
        }
    }
}

impl fmt::Debug for HashTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.table.len();
        f.debug_struct("HashTable")
            .field("len", &len)
            .field("reports_listpack", &self.reports_listpack)
            .finish_non_exhaustive()
    }
}

impl HashTable {
    fn from_packed(bytes: &[u8]) -> HashTable {
        let mut table = new_table();
        for (field, value) in Pairs(Items::new(bytes, body(bytes))) {
            field.with_bytes(|field| member_table::store(&mut table, field, value));
        }
        HashTable { table, reports_listpack: !has_marker(bytes) }
    }

    /// The packed form, once little is left.
    fn to_packed(&self) -> Option<Vec<u8>> {
        let entries = few_and_small(&self.table, PACKED_BYTES_AGAIN)?;
        let mut bytes = Vec::new();
        if !self.reports_listpack {
            packed::mark(&mut bytes);
        }
        for entry in entries {
            let end = bytes.len();
            let (field, value) = (Encoded::of(entry.key()), Encoded::element(value_of(entry)));
            splice(&mut bytes, end, 0, &[field.bytes(), value.bytes()]);
        }
        Some(bytes)
    }

    /// The members' table, for freeing it in slices.
    pub fn into_table(self) -> Table {
        self.table
    }
}

/// Elements two by two.
struct Pairs<'a>(Items<'a>);

impl<'a> Iterator for Pairs<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        Some((self.0.next()?, self.0.next()?))
    }
}
