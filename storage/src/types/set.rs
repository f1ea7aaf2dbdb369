//! Sets: sorted integers or packed members while small, a table when large.

use std::fmt;

use super::element::{Element, canonical_int, int_text_len};
use super::int_set::{self, INTS_BYTES_MAX};
use super::limits::Limits;
use super::member_table::{self, few_and_small, new_table};
use super::packed::{
    self, Encoded, Items, PACKED_BYTES_AGAIN, PACKED_BYTES_MAX, body, has_marker, splice,
};
use super::sample::{Either, Random, distinct_ranks, rank_of};
use crate::memory::good_size;
use crate::table::{Table, hash_key};

/// An owned set.
#[derive(Debug)]
pub enum Set {
    /// Members one after the other, see [`super::packed`].
    Packed(Vec<u8>),
    /// Sorted integers of one width.
    Ints(Vec<u8>),
    /// More than the small forms hold.
    Table(Box<SetTable>),
}

/// A set to read.
#[derive(Clone, Copy, Debug)]
pub enum SetRef<'a> {
    /// Members one after the other.
    Packed(&'a [u8]),
    /// Sorted integers of one width.
    Ints(&'a [u8]),
    /// More than the small forms hold.
    Table(&'a SetTable),
}

/// A large set.
pub struct SetTable {
    table: Table,
    reported: Reported,
}

/// What Redis would hold the set in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reported {
    Intset,
    Listpack,
    Hashtable,
}

impl Set {
    /// A set without members.
    pub const fn new() -> Set {
        Set::Packed(Vec::new())
    }

    /// The set to read.
    #[inline]
    pub fn as_ref(&self) -> SetRef<'_> {
        match self {
            Set::Packed(bytes) => SetRef::Packed(bytes),
            Set::Ints(bytes) => SetRef::Ints(bytes),
            Set::Table(table) => SetRef::Table(table),
        }
    }

    /// Adds `member`; whether it is new.
    pub fn add(&mut self, member: &[u8], limits: &Limits) -> bool {
        match self {
            Set::Packed(bytes)
                if bytes.is_empty()
                    && limits.set_intset_entries_max > 0
                    && canonical_int(member).is_some() =>
            {
                *self = Set::Ints(std::mem::take(bytes));
                self.add(member, limits)
            }
            Set::Packed(bytes) => {
                let name = Encoded::of(member);
                let Err(len) = packed::find(bytes, body(bytes), 1, &name) else {
                    return false;
                };
                let end = bytes.len();
                splice(bytes, end, 0, &[name.bytes()]);
                if !fits_listpack(len, member.len(), limits) {
                    packed::mark(bytes);
                }
                if bytes.len() > PACKED_BYTES_MAX {
                    self.become_table();
                }
                true
            }
            Set::Ints(bytes) => match canonical_int(member) {
                Some(value) => {
                    let new = int_set::insert(bytes, value);
                    let over = int_set::len(bytes) > limits.set_intset_entries_max;
                    if new && (over || bytes.len() > INTS_BYTES_MAX) {
                        self.become_table();
                        if over {
                            self.report(Reported::Hashtable);
                        }
                    }
                    new
                }
                None => {
                    self.ints_become_packed(member, limits);
                    self.add(member, limits)
                }
            },
            Set::Table(set) => set.add(member, limits),
        }
    }

    /// Removes `member`; whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Set::Packed(bytes) => {
                let Ok(at) = packed::find(bytes, body(bytes), 1, &Encoded::of(member)) else {
                    return false;
                };
                let old = packed::skip(bytes, at) - at;
                splice(bytes, at, old, &[]);
                true
            }
            Set::Ints(bytes) => {
                let rank = canonical_int(member).and_then(|v| int_set::search(bytes, v).ok());
                if let Some(rank) = rank {
                    int_set::remove_at(bytes, rank);
                }
                rank.is_some()
            }
            Set::Table(set) => {
                let removed = member_table::remove(&mut set.table, member);
                if removed && let Some(small) = set.to_small() {
                    *self = small;
                }
                removed
            }
        }
    }

    /// Removes one member chosen by `random` and returns it.
    pub fn pop_random(&mut self, random: u64) -> Option<Vec<u8>> {
        self.pop_random_if(random, |_| true)
    }

    /// [`Set::pop_random`] if the member that is chosen is `wanted`.
    pub fn pop_random_if(
        &mut self,
        random: u64,
        wanted: impl FnOnce(Element<'_>) -> bool,
    ) -> Option<Vec<u8>> {
        let member = self.as_ref().random(random).filter(|member| wanted(*member))?.to_vec();
        self.remove(&member);
        Some(member)
    }

    /// Removes up to `count` members chosen at random and returns them.
    pub fn pop_random_many(&mut self, count: usize, random: Random<'_>) -> Vec<Vec<u8>> {
        let chosen = self.as_ref().random_distinct(count, random);
        let chosen: Vec<_> = chosen.into_iter().map(Element::to_vec).collect();
        if chosen.len() == self.len() {
            *self = Set::new();
        } else {
            for member in &chosen {
                self.remove(member);
            }
        }
        chosen
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.as_ref().len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.as_ref().is_empty()
    }

    /// Bytes of owned heap blocks: see [`SetRef::heap_bytes`].
    pub fn heap_bytes(&self) -> usize {
        self.as_ref().heap_bytes()
    }

    /// The encoding that OBJECT ENCODING reports.
    pub fn encoding(&self) -> &'static str {
        self.as_ref().encoding()
    }

    fn become_table(&mut self) {
        let reported = self.as_ref().reported();
        let mut table = new_table();
        for member in self.as_ref().iter() {
            member.with_bytes(|member| {
                member_table::store(&mut table, member, Element::Bytes(b""));
            });
        }
        *self = Set::Table(Box::new(SetTable { table, reported }));
    }

    fn report(&mut self, reported: Reported) {
        if let Set::Table(set) = self {
            set.reported = reported;
        }
    }

    /// Leaves the integer form because `member`, which is none, comes in.
    fn ints_become_packed(&mut self, member: &[u8], limits: &Limits) {
        let Set::Ints(ints) = self else {
            return;
        };
        let len = int_set::len(ints);
        let longest = if len == 0 {
            0
        } else {
            let (min, max) = (int_set::value(ints, 0), int_set::value(ints, len - 1));
            int_text_len(min).max(int_text_len(max))
        };
        let listpack = fits_listpack(len, member.len().max(longest), limits);
        let mut bytes = Vec::new();
        if !listpack {
            packed::mark(&mut bytes);
        }
        for value in int_set::iter(ints) {
            bytes.extend_from_slice(Encoded::element(Element::Int(value)).bytes());
        }
        *self = Set::Packed(bytes);
    }
}

impl Default for Set {
    fn default() -> Set {
        Set::new()
    }
}

impl<'a> SetRef<'a> {
    /// Number of members.
    pub fn len(self) -> usize {
        match self {
            SetRef::Packed(bytes) => packed::count(bytes, body(bytes)),
            SetRef::Ints(bytes) => int_set::len(bytes),
            SetRef::Table(set) => set.table.len(),
        }
    }

    /// Whether there is no member.
    pub fn is_empty(self) -> bool {
        match self {
            SetRef::Packed(bytes) => bytes.len() == body(bytes),
            SetRef::Ints(bytes) => bytes.is_empty(),
            SetRef::Table(set) => set.table.len() == 0,
        }
    }

    /// Whether `member` is in the set.
    pub fn contains(self, member: &[u8]) -> bool {
        match self {
            SetRef::Packed(bytes) => {
                packed::find(bytes, body(bytes), 1, &Encoded::of(member)).is_ok()
            }
            SetRef::Ints(bytes) => {
                canonical_int(member).is_some_and(|value| int_set::search(bytes, value).is_ok())
            }
            SetRef::Table(set) => set.table.find(hash_key(member), member).is_some(),
        }
    }

    /// The same as [`SetRef::contains`] for an element that was read from another collection.
    pub fn contains_element(self, member: Element<'_>) -> bool {
        match (self, member) {
            (SetRef::Ints(bytes), Element::Int(value)) => int_set::search(bytes, value).is_ok(),
            _ => member.with_bytes(|member| self.contains(member)),
        }
    }

    /// All members; ascending if they are sorted integers, else in no particular order.
    pub fn iter(self) -> impl Iterator<Item = Element<'a>> + use<'a> {
        match self {
            SetRef::Packed(bytes) => Either::Left(Items::new(bytes, body(bytes))),
            SetRef::Ints(bytes) => {
                Either::Right(Either::Left(int_set::iter(bytes).map(Element::Int)))
            }
            SetRef::Table(set) => Either::Right(Either::Right(
                set.table.iter().map(|entry| Element::Bytes(entry.key())),
            )),
        }
    }

    /// One member chosen by `random`.
    pub fn random(self, random: u64) -> Option<Element<'a>> {
        match self {
            SetRef::Table(set) => set.table.sample(random).map(|entry| Element::Bytes(entry.key())),
            _ if self.is_empty() => None,
            SetRef::Ints(bytes) => {
                let rank = rank_of(random, int_set::len(bytes));
                Some(Element::Int(int_set::value(bytes, rank)))
            }
            SetRef::Packed(_) => self.iter().nth(rank_of(random, self.len())),
        }
    }

    /// Up to `count` different members chosen at random.
    pub fn random_distinct(self, count: usize, random: Random<'_>) -> Vec<Element<'a>> {
        match self {
            SetRef::Table(set) => member_table::random_distinct(&set.table, count, random)
                .into_iter()
                .map(|entry| Element::Bytes(entry.key()))
                .collect(),
            _ => {
                let members: Vec<_> = self.iter().collect();
                let ranks = distinct_ranks(count, members.len(), random);
                ranks.into_iter().map(|rank| members[rank]).collect()
            }
        }
    }

    /// Calls `f` with `count` members chosen at random, each of all.
    pub fn random_repeated(self, count: usize, random: Random<'_>, f: &mut dyn FnMut(Element<'a>)) {
        match self {
            SetRef::Packed(_) => {
                let members: Vec<_> = self.iter().collect();
                if !members.is_empty() {
                    for _ in 0..count {
                        f(members[rank_of(random(), members.len())]);
                    }
                }
            }
            _ => {
                for _ in 0..count {
                    if let Some(member) = self.random(random()) {
                        f(member);
                    }
                }
            }
        }
    }

    /// Calls `f` with about `count` members from `cursor` on and returns the next cursor, 0 at
    /// the end. A small set is returned at once.
    pub fn scan(self, cursor: u64, count: usize, f: &mut dyn FnMut(Element<'_>)) -> u64 {
        match self {
            SetRef::Table(set) => {
                set.table.scan(cursor, count, &mut |entry| f(Element::Bytes(entry.key())))
            }
            _ => {
                self.iter().for_each(f);
                0
            }
        }
    }

    /// Bytes of owned heap blocks, O(1). A small set has none: its bytes are its holder's.
    pub fn heap_bytes(self) -> usize {
        match self {
            SetRef::Table(set) => good_size(size_of::<SetTable>()) + set.table.heap_bytes(),
            _ => 0,
        }
    }

    /// The same as [`SetRef::heap_bytes`], recomputed by walking.
    pub fn heap_bytes_walked(self) -> usize {
        match self {
            SetRef::Table(set) => good_size(size_of::<SetTable>()) + set.table.heap_bytes_walked(),
            _ => 0,
        }
    }

    /// The encoding that OBJECT ENCODING reports.
    pub fn encoding(self) -> &'static str {
        match self.reported() {
            Reported::Intset => "intset",
            Reported::Listpack => "listpack",
            Reported::Hashtable => "hashtable",
        }
    }

    /// A copy that owns its memory.
    pub fn to_owned(self) -> Set {
        match self {
            SetRef::Packed(bytes) => Set::Packed(bytes.to_vec()),
            SetRef::Ints(bytes) => Set::Ints(bytes.to_vec()),
            SetRef::Table(set) => {
                let mut table = new_table();
                for entry in set.table.iter() {
                    member_table::store(&mut table, entry.key(), Element::Bytes(b""));
                }
                Set::Table(Box::new(SetTable { table, reported: set.reported }))
            }
        }
    }

    fn reported(self) -> Reported {
        match self {
            SetRef::Packed(bytes) if has_marker(bytes) => Reported::Hashtable,
            SetRef::Packed(_) => Reported::Listpack,
            SetRef::Ints(_) => Reported::Intset,
            SetRef::Table(set) => set.reported,
        }
    }
}

impl fmt::Debug for SetTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.table.len();
        f.debug_struct("SetTable")
            .field("len", &len)
            .field("reported", &self.reported)
            .finish_non_exhaustive()
    }
}

impl SetTable {
    fn add(&mut self, member: &[u8], limits: &Limits) -> bool {
        let len = self.table.len();
        if !member_table::store(&mut self.table, member, Element::Bytes(b"")) {
            return false;
        }
        self.reported = match self.reported {
            Reported::Intset if canonical_int(member).is_some() => {
                if len < limits.set_intset_entries_max {
                    Reported::Intset
                } else {
                    Reported::Hashtable
                }
            }
            Reported::Intset | Reported::Listpack if fits_listpack(len, member.len(), limits) => {
                Reported::Listpack
            }
            _ => Reported::Hashtable,
        };
        true
    }

    /// The small form, once little is left.
    fn to_small(&self) -> Option<Set> {
        let entries = few_and_small(&self.table, PACKED_BYTES_AGAIN)?;
        let mut bytes = Vec::new();
        if self.reported == Reported::Intset {
            for value in entries.iter().filter_map(|entry| canonical_int(entry.key())) {
                int_set::insert(&mut bytes, value);
            }
            return Some(Set::Ints(bytes));
        }
        if self.reported == Reported::Hashtable {
            packed::mark(&mut bytes);
        }
        for entry in entries {
            bytes.extend_from_slice(Encoded::of(entry.key()).bytes());
        }
        Some(Set::Packed(bytes))
    }

    /// The members' table, for freeing it in slices.
    pub fn into_table(self) -> Table {
        self.table
    }
}

/// Whether Redis keeps a listpack of `len` members when one more of `bytes` comes in.
fn fits_listpack(len: usize, bytes: usize, limits: &Limits) -> bool {
    len < limits.set_listpack_entries_max && bytes <= limits.set_listpack_value_max
}
