//! What big hashes and big sets share: a [`Table`] of members, with values kept as elements.

use std::collections::HashSet;

use smallvec::SmallVec;

use super::element::Element;
use super::packed::{int_from_le, int_width};
use super::sample::{Random, select};
use crate::table::{EntryRef, Layout, NewEntry, Table, hash_key};

/// Tags of entries: how the payload is to be read.
const TAG_BYTES: u8 = 0;
const TAG_INT: u8 = 1;

/// A table of the collection's members without LRU bits.
pub(crate) fn new_table() -> Table {
    Table::new(Layout::PLAIN)
}

/// The value of an entry.
#[inline]
pub(crate) fn value_of(entry: EntryRef<'_>) -> Element<'_> {
    match entry.tag() {
        TAG_INT => Element::Int(int_from_le(entry.payload())),
        _ => Element::Bytes(entry.payload()),
    }
}

/// Stores `value` under `member`; whether the member is new.
pub(crate) fn store(table: &mut Table, member: &[u8], value: Element<'_>) -> bool {
    let hash = hash_key(member);
    let wide;
    let (tag, payload) = match value {
        Element::Int(value) => {
            wide = value.to_le_bytes();
            (TAG_INT, &wide[..int_width(value)])
        }
        Element::Bytes(bytes) => (TAG_BYTES, bytes),
    };
    table.upsert(hash, member, NewEntry { tag, aux: 0, expiry: None, payload })
}

/// Removes `member`; whether it was there.
pub(crate) fn remove(table: &mut Table, member: &[u8]) -> bool {
    table.remove(hash_key(member), member, |_| ()).is_some()
}

/// Up to `count` different entries, chosen at random.
pub(crate) fn random_distinct<'a>(
    table: &'a Table,
    count: usize,
    random: Random<'_>,
) -> Vec<EntryRef<'a>> {
    let len = table.len();
    if count >= len {
        return table.iter().collect();
    }
    if count > len / 3 {
        return select(count, len, table.iter(), random);
    }
    let mut seen: HashSet<&[u8]> = HashSet::with_capacity(count);
    let mut chosen = Vec::with_capacity(count);
    // At most a third of the entries is wanted, so a try is new with probability 2/3.
    for _ in 0..count.saturating_mul(64) {
        if chosen.len() == count {
            return chosen;
        }
        if let Some(entry) = table.sample(random())
            && seen.insert(entry.key())
        {
            chosen.push(entry);
        }
    }
    select(count, len, table.iter(), random)
}

/// Entries few and small enough to be packed again, or `None`.
pub(crate) fn few_and_small(
    table: &Table,
    bytes_max: usize,
) -> Option<SmallVec<[EntryRef<'_>; 16]>> {
    const HEADERS: usize = 4;
    if table.len() > 16 {
        return None;
    }
    let entries: SmallVec<[EntryRef<'_>; 16]> = table.iter().collect();
    let bytes: usize = entries.iter().map(|e| e.key().len() + e.payload().len() + HEADERS).sum();
    (bytes <= bytes_max).then_some(entries)
}
