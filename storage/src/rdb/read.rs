//! Bytes into values: every type, element by element into our own collections.

use ballast_protocol::number::parse_f64;

use super::input::{Input, Malformed, Text};
use super::int_set::IntSet;
use super::kind;
use super::listpack::Listpack;
use super::zip_list::ZipList;
use super::zip_map::ZipMap;
use crate::keyspace::{Collection, OwnedValue};
use crate::types::{Element, Hash, Inserted, Limits, List, Set, ZSet, canonical_int};

/// Takes one value, its type first, from the front of `input`.
///
/// Collections report the encoding that they would have if commands had made them under `limits`.
///
/// # Errors
/// If what begins there is no value; how much of it has been taken is then not defined.
pub fn read_value(input: &mut Input<'_>, limits: &Limits) -> Result<OwnedValue, Malformed> {
    input.begin_value();
    let kind = input.byte()?;
    let collection = match kind {
        kind::STRING => return string(input.text()?),
        kind::LIST | kind::LIST_ZIPLIST | kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => {
            Collection::List(list(kind, input, limits)?)
        }
        kind::SET | kind::SET_INTSET | kind::SET_LISTPACK => {
            Collection::Set(set(kind, input, limits)?)
        }
        kind::HASH | kind::HASH_ZIPMAP | kind::HASH_ZIPLIST | kind::HASH_LISTPACK => {
            Collection::Hash(hash(kind, input, limits)?)
        }
        kind::ZSET | kind::ZSET_2 | kind::ZSET_ZIPLIST | kind::ZSET_LISTPACK => {
            Collection::ZSet(sorted_set(kind, input, limits)?)
        }
        kind::MODULE
        | kind::MODULE_2
        | kind::STREAM_LISTPACKS
        | kind::STREAM_LISTPACKS_2
        | kind::STREAM_LISTPACKS_3 => return Err(Malformed::Unsupported(kind)),
        _ => return Err(Malformed::UnknownType(kind)),
    };
    // A quicklist of empty nodes, a blob without elements.
    if collection.is_empty() {
        return Err(Malformed::Empty);
    }
    Ok(OwnedValue::Collection(collection))
}

fn string(text: Text<'_>) -> Result<OwnedValue, Malformed> {
    Ok(match text {
        Text::Int(value) => OwnedValue::Int(value),
        Text::Plain(bytes) => match canonical_int(bytes) {
            Some(value) => OwnedValue::Int(value),
            None => OwnedValue::Str(bytes.to_vec()),
        },
        Text::Inflated(bytes) => OwnedValue::Str(bytes),
    })
}

/// As many strings as were counted.
struct Strings<'i, 'a> {
    input: &'i mut Input<'a>,
    left: usize,
}

impl<'i, 'a> Strings<'i, 'a> {
    /// The strings of items that follow their number; each item is so many strings.
    fn counted(input: &'i mut Input<'a>, per_item: usize) -> Result<Self, Malformed> {
        let left = input.count(per_item)?.saturating_mul(per_item);
        Ok(Strings { input, left })
    }
}

impl<'a> Iterator for Strings<'_, 'a> {
    type Item = Result<Text<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.input.text())
    }
}

fn list(kind: u8, input: &mut Input<'_>, limits: &Limits) -> Result<List, Malformed> {
    let mut list = List::new();
    match kind {
        kind::LIST => push_all(&mut list, Strings::counted(input, 1)?, limits)?,
        kind::LIST_ZIPLIST => push_all(&mut list, ZipList::new(&input.blob()?)?, limits)?,
        _ => {
            // A node is a string of a byte and more.
            for _ in 0..input.count(2)? {
                push_node(&mut list, kind, input, limits)?;
            }
        }
    }
    Ok(list)
}

/// In front of a node: it is one element, or a listpack.
const NODE_PLAIN: u64 = 1;
const NODE_PACKED: u64 = 2;

fn push_node(
    list: &mut List,
    kind: u8,
    input: &mut Input<'_>,
    limits: &Limits,
) -> Result<(), Malformed> {
    if kind == kind::LIST_QUICKLIST {
        return push_all(list, ZipList::new(&input.blob()?)?, limits);
    }
    match input.length()? {
        NODE_PLAIN => {
            let text = input.text()?;
            if text.element().is_empty() {
                return Err(Malformed::Packed);
            }
            push_all(list, [Ok(text)], limits)
        }
        NODE_PACKED => push_all(list, Listpack::new(&input.blob()?)?, limits),
        _ => Err(Malformed::Packed),
    }
}

fn push_all<'a>(
    list: &mut List,
    elements: impl IntoIterator<Item = Result<Text<'a>, Malformed>>,
    limits: &Limits,
) -> Result<(), Malformed> {
    for element in elements {
        element?.with_bytes(|element| list.push_back(element, limits));
    }
    Ok(())
}

fn set(kind: u8, input: &mut Input<'_>, limits: &Limits) -> Result<Set, Malformed> {
    match kind {
        kind::SET => set_of(Strings::counted(input, 1)?, limits),
        kind::SET_INTSET => set_of(IntSet::new(&input.blob()?)?, limits),
        _ => set_of(Listpack::new(&input.blob()?)?, limits),
    }
}

fn set_of<'a>(
    members: impl Iterator<Item = Result<Text<'a>, Malformed>>,
    limits: &Limits,
) -> Result<Set, Malformed> {
    let mut set = Set::new();
    for member in members {
        if !member?.with_bytes(|member| set.add(member, limits)) {
            return Err(Malformed::Duplicate);
        }
    }
    Ok(set)
}

fn hash(kind: u8, input: &mut Input<'_>, limits: &Limits) -> Result<Hash, Malformed> {
    match kind {
        kind::HASH => hash_of(Strings::counted(input, 2)?, limits),
        kind::HASH_ZIPMAP => hash_of(ZipMap::new(&input.blob()?)?, limits),
        kind::HASH_ZIPLIST => hash_of(ZipList::new(&input.blob()?)?, limits),
        _ => hash_of(Listpack::new(&input.blob()?)?, limits),
    }
}

fn hash_of<'a>(
    mut texts: impl Iterator<Item = Result<Text<'a>, Malformed>>,
    limits: &Limits,
) -> Result<Hash, Malformed> {
    let mut hash = Hash::new();
    while let Some(field) = texts.next() {
        let (field, value) = (field?, texts.next().ok_or(Malformed::HalfPair)??);
        let new =
            field.with_bytes(|field| value.with_bytes(|value| hash.set(field, value, limits)));
        if !new {
            return Err(Malformed::Duplicate);
        }
    }
    Ok(hash)
}

fn sorted_set(kind: u8, input: &mut Input<'_>, limits: &Limits) -> Result<ZSet, Malformed> {
    match kind {
        kind::ZSET_ZIPLIST => sorted_set_of(ZipList::new(&input.blob()?)?, limits),
        kind::ZSET_LISTPACK => sorted_set_of(Listpack::new(&input.blob()?)?, limits),
        _ => {
            let score_bytes_min = if kind == kind::ZSET_2 { size_of::<f64>() } else { 1 };
            let mut zset = ZSet::new();
            for _ in 0..input.count(1 + score_bytes_min)? {
                let member = input.text()?;
                let score = match kind {
                    kind::ZSET_2 => f64::from_le_bytes(input.array()?),
                    _ => score_in_text(input)?,
                };
                insert(&mut zset, &member, score, limits)?;
            }
            Ok(zset)
        }
    }
}

fn sorted_set_of<'a>(
    mut texts: impl Iterator<Item = Result<Text<'a>, Malformed>>,
    limits: &Limits,
) -> Result<ZSet, Malformed> {
    let mut zset = ZSet::new();
    while let Some(member) = texts.next() {
        let (member, score) = (member?, texts.next().ok_or(Malformed::HalfPair)??);
        let score = match score.element() {
            Element::Int(value) => value as f64,
            Element::Bytes(text) => parse_f64(text).ok_or(Malformed::Score)?,
        };
        insert(&mut zset, &member, score, limits)?;
    }
    Ok(zset)
}

fn insert(
    zset: &mut ZSet,
    member: &Text<'_>,
    score: f64,
    limits: &Limits,
) -> Result<(), Malformed> {
    if score.is_nan() {
        return Err(Malformed::Score);
    }
    match member.with_bytes(|member| zset.insert(member, score, limits)) {
        Inserted::Added => Ok(()),
        Inserted::Updated | Inserted::Unchanged => Err(Malformed::Duplicate),
    }
}

/// The score of a sorted set of old: a length and so many characters, or one of three values.
fn score_in_text(input: &mut Input<'_>) -> Result<f64, Malformed> {
    match input.byte()? {
        253 => Err(Malformed::Score),
        254 => Ok(f64::INFINITY),
        255 => Ok(f64::NEG_INFINITY),
        len => parse_f64(input.bytes(usize::from(len))?).ok_or(Malformed::Score),
    }
}
