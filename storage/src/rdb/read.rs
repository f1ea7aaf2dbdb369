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
    Partial::of(kind)?.read_on(input, limits)
}

/// A value of which a part may have been read: for one that comes piece by piece.
#[derive(Debug)]
pub(super) struct Partial {
    kind: u8,
    /// What has been read of a collection that comes element by element, and how many items are
    /// left. `None`: nothing has been read yet.
    begun: Option<(Collection, usize)>,
}

impl Partial {
    /// A value of this type, of which nothing has been read.
    ///
    /// # Errors
    /// If there are no values of this type here.
    pub(super) fn of(kind: u8) -> Result<Partial, Malformed> {
        match kind {
            kind::STRING..=kind::ZSET_2 | kind::HASH_ZIPMAP..=kind::LIST_QUICKLIST => {}
            kind::HASH_LISTPACK..=kind::LIST_QUICKLIST_2 | kind::SET_LISTPACK => {}
            kind::MODULE
            | kind::MODULE_2
            | kind::STREAM_LISTPACKS
            | kind::STREAM_LISTPACKS_2
            | kind::STREAM_LISTPACKS_3 => return Err(Malformed::Unsupported(kind)),
            _ => return Err(Malformed::UnknownType(kind)),
        }
        Ok(Partial { kind, begun: None })
    }

    /// Takes the rest of the value from the front of `input`.
    ///
    /// # Errors
    /// If it is cut off, whole elements have been taken, and this may be called again with what
    /// comes next. Any other error is final.
    pub(super) fn read_on(
        &mut self,
        input: &mut Input<'_>,
        limits: &Limits,
    ) -> Result<OwnedValue, Malformed> {
        let kind = self.kind;
        let Some((empty, bytes_min)) = item_by_item(kind) else {
            return input.attempt(|input| at_once(kind, input, limits));
        };
        if self.begun.is_none() {
            let count = input.attempt(|input| input.count(bytes_min))?;
            self.begun = Some((empty, count));
        }
        let (collection, left) = self.begun.as_mut().expect("it has begun");
        while *left > 0 {
            input.attempt(|input| read_item(collection, kind, input, limits))?;
            *left -= 1;
        }
        let (collection, _) = self.begun.take().expect("it has begun");
        // A quicklist of empty nodes.
        if collection.is_empty() {
            return Err(Malformed::Empty);
        }
        Ok(OwnedValue::Collection(collection))
    }
}

fn empty_list() -> Collection {
    Collection::List(List::new())
}

/// Of a type whose values are a number and so many items: an empty collection, and the least bytes
/// of an item.
fn item_by_item(kind: u8) -> Option<(Collection, usize)> {
    Some(match kind {
        kind::LIST | kind::LIST_QUICKLIST => (empty_list(), 1),
        // A node is a string of a byte and more.
        kind::LIST_QUICKLIST_2 => (empty_list(), 2),
        kind::SET => (Collection::Set(Set::new()), 1),
        kind::HASH => (Collection::Hash(Hash::new()), 2),
        kind::ZSET => (Collection::ZSet(ZSet::new()), 2),
        kind::ZSET_2 => (Collection::ZSet(ZSet::new()), 1 + size_of::<f64>()),
        _ => return None,
    })
}

/// Takes one item. Nothing is put into the collection of one that is cut off.
fn read_item(
    collection: &mut Collection,
    kind: u8,
    input: &mut Input<'_>,
    limits: &Limits,
) -> Result<(), Malformed> {
    match collection {
        Collection::List(list) if kind == kind::LIST => push_all(list, [input.text()], limits),
        Collection::List(list) => push_node(list, kind, input, limits),
        Collection::Set(set) => add(set, &input.text()?, limits),
        Collection::Hash(hash) => set_field(hash, &input.text()?, &input.text()?, limits),
        Collection::ZSet(zset) => {
            let member = input.text()?;
            let score = match kind {
                kind::ZSET_2 => f64::from_le_bytes(input.array()?),
                _ => score_in_text(input)?,
            };
            insert(zset, &member, score, limits)
        }
    }
}

/// A string, or a collection in one blob.
fn at_once(kind: u8, input: &mut Input<'_>, limits: &Limits) -> Result<OwnedValue, Malformed> {
    if kind == kind::STRING {
        return string(input.text()?);
    }
    let blob = input.blob()?;
    let collection = match kind {
        kind::LIST_ZIPLIST => {
            let mut list = List::new();
            push_all(&mut list, ZipList::new(&blob)?, limits)?;
            Collection::List(list)
        }
        kind::SET_INTSET => Collection::Set(set_of(IntSet::new(&blob)?, limits)?),
        kind::SET_LISTPACK => Collection::Set(set_of(Listpack::new(&blob)?, limits)?),
        kind::HASH_ZIPMAP => Collection::Hash(hash_of(ZipMap::new(&blob)?, limits)?),
        kind::HASH_ZIPLIST => Collection::Hash(hash_of(ZipList::new(&blob)?, limits)?),
        kind::HASH_LISTPACK => Collection::Hash(hash_of(Listpack::new(&blob)?, limits)?),
        kind::ZSET_ZIPLIST => Collection::ZSet(sorted_set_of(ZipList::new(&blob)?, limits)?),
        kind::ZSET_LISTPACK => Collection::ZSet(sorted_set_of(Listpack::new(&blob)?, limits)?),
        _ => return Err(Malformed::UnknownType(kind)),
    };
    // A blob without elements.
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

fn set_of<'a>(
    members: impl Iterator<Item = Result<Text<'a>, Malformed>>,
    limits: &Limits,
) -> Result<Set, Malformed> {
    let mut set = Set::new();
    for member in members {
        add(&mut set, &member?, limits)?;
    }
    Ok(set)
}

fn add(set: &mut Set, member: &Text<'_>, limits: &Limits) -> Result<(), Malformed> {
    let new = member.with_bytes(|member| set.add(member, limits));
    if new { Ok(()) } else { Err(Malformed::Duplicate) }
}

fn hash_of<'a>(
    mut texts: impl Iterator<Item = Result<Text<'a>, Malformed>>,
    limits: &Limits,
) -> Result<Hash, Malformed> {
    let mut hash = Hash::new();
    while let Some(field) = texts.next() {
        let (field, value) = (field?, texts.next().ok_or(Malformed::HalfPair)??);
        set_field(&mut hash, &field, &value, limits)?;
    }
    Ok(hash)
}

fn set_field(
    hash: &mut Hash,
    field: &Text<'_>,
    value: &Text<'_>,
    limits: &Limits,
) -> Result<(), Malformed> {
    let new = field.with_bytes(|field| value.with_bytes(|value| hash.set(field, value, limits)));
    if new { Ok(()) } else { Err(Malformed::Duplicate) }
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
