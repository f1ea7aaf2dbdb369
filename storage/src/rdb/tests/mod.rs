//! Tests of the whole codec: what is written comes back, every encoding of Redis is read, and
//! what is broken is refused without harm.

mod build;
mod encodings;
mod file;
mod hostile;
mod round_trip;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Input, Malformed, read_value, write_value};
use crate::keyspace::{Collection, Key, Keyspace, OwnedValue, Value};
use crate::types::{Element, Hash, Limits, List, Set, ZSet, canonical_int};

/// A value without its representation.
#[derive(Clone, Debug, PartialEq)]
enum Model {
    String(Vec<u8>),
    List(Vec<Vec<u8>>),
    Set(BTreeSet<Vec<u8>>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
    ZSet(BTreeMap<Vec<u8>, f64>),
}

impl Model {
    fn of(value: Value<'_>) -> Model {
        match value {
            Value::Int(value) => Model::String(value.to_string().into_bytes()),
            Value::Str(bytes) => Model::String(bytes.to_vec()),
            Value::List(list) => Model::List(list.iter().map(Element::to_vec).collect()),
            Value::Set(set) => Model::Set(set.iter().map(Element::to_vec).collect()),
            Value::Hash(hash) => Model::Hash(
                hash.iter().map(|(field, value)| (field.to_vec(), value.to_vec())).collect(),
            ),
            Value::ZSet(zset) => {
                Model::ZSet(zset.iter().map(|(member, score)| (member.to_vec(), score)).collect())
            }
        }
    }

    /// Made by the operations that commands use.
    fn build(&self, limits: &Limits) -> OwnedValue {
        OwnedValue::Collection(match self {
            // As SET keeps it.
            Model::String(bytes) => {
                return match canonical_int(bytes) {
                    Some(int) => OwnedValue::Int(int),
                    None => OwnedValue::Str(bytes.clone()),
                };
            }
            Model::List(elements) => {
                let mut list = List::new();
                elements.iter().for_each(|element| list.push_back(element, limits));
                Collection::List(list)
            }
            Model::Set(members) => {
                let mut set = Set::new();
                members.iter().for_each(|member| assert!(set.add(member, limits)));
                Collection::Set(set)
            }
            Model::Hash(fields) => {
                let mut hash = Hash::new();
                for (field, value) in fields {
                    hash.set(field, value, limits);
                }
                Collection::Hash(hash)
            }
            Model::ZSet(members) => {
                let mut zset = ZSet::new();
                for (member, score) in members {
                    zset.insert(member, *score, limits);
                }
                Collection::ZSet(zset)
            }
        })
    }
}

/// Puts `value` under a key, checks the account, and calls `f` with what is kept.
fn kept<R>(value: OwnedValue, f: impl FnOnce(Value<'_>) -> R) -> R {
    let mut keyspace = Keyspace::new();
    let key = Key::new(b"key");
    keyspace.insert(&key, value, None, 0);
    assert_eq!(keyspace.heap_bytes(), keyspace.heap_bytes_walked());
    f(keyspace.find(&key).expect("it is not empty"))
}

/// The one value that `bytes` are.
fn read(bytes: &[u8], limits: &Limits) -> Result<OwnedValue, Malformed> {
    let mut input = Input::new(bytes);
    let value = read_value(&mut input, limits)?;
    if input.is_empty() { Ok(value) } else { Err(Malformed::Surplus) }
}

fn read_model(bytes: &[u8]) -> Result<Model, Malformed> {
    read(bytes, &Limits::default()).map(|value| kept(value, Model::of))
}

fn written(value: Value<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_value(value, &mut bytes);
    bytes
}

/// Integers of every width, short and long texts, any bytes.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (any::<i64>(), 0u32..64)
            .prop_map(|(value, shift)| (value >> shift).to_string().into_bytes()),
        4 => (0u32..5000).prop_map(|number| format!("name:{number}").into_bytes()),
        2 => prop::collection::vec(any::<u8>(), 0..100),
        1 => (any::<u8>(), 0usize..6000).prop_map(|(byte, len)| vec![byte; len]),
        1 => prop::sample::select(vec![&b"-0"[..], b"007", b"+1", b"99999999999999999999", b""])
            .prop_map(<[u8]>::to_vec),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => any::<i32>().prop_map(f64::from),
        2 => any::<f64>().prop_filter("no score", |score| !score.is_nan()),
        1 => prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, 0.1, 1e300, 1.5]),
    ]
}

/// Any value but an empty collection.
fn model() -> impl Strategy<Value = Model> {
    let len = || prop_oneof![4 => 1usize..30, 1 => 30usize..700];
    prop_oneof![
        text().prop_map(Model::String),
        len().prop_flat_map(|len| prop::collection::vec(text(), len)).prop_map(Model::List),
        len()
            .prop_flat_map(|len| prop::collection::vec(text(), len))
            .prop_map(|members| Model::Set(members.into_iter().collect())),
        prop::collection::btree_set(
            (-70_000i64..70_000).prop_map(|v| v.to_string().into()),
            1..900
        )
        .prop_map(Model::Set),
        len()
            .prop_flat_map(|len| prop::collection::vec((text(), text()), len))
            .prop_map(|fields| Model::Hash(fields.into_iter().collect())),
        len()
            .prop_flat_map(|len| prop::collection::vec((text(), score()), len))
            .prop_map(|members| Model::ZSet(members.into_iter().collect())),
    ]
}
