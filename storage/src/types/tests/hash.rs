//! Hashes against a map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{Hash, HashRef, Limits};
use super::{generator, limits, name};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Set(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
    RemoveFirst,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (name(), name()).prop_map(|(field, value)| Step::Set(field, value)),
        2 => name().prop_map(Step::Remove),
        2 => Just(Step::RemoveFirst),
    ];
    prop::collection::vec(step, 0..200)
}

/// The encoding that Redis would report, kept step by step.
fn redis_is_large(model: &Model, limits: &Limits) -> bool {
    let max = limits.hash_listpack_value_max;
    model.len() > limits.hash_listpack_entries_max
        || model.iter().any(|(field, value)| field.len() > max || value.len() > max)
}

fn check(hash: &Hash, model: &Model, seed: u64) {
    let read = hash.as_ref();
    assert_eq!(read.len(), model.len());
    assert_eq!(read.is_empty(), model.is_empty());
    assert_eq!(read.heap_bytes(), read.heap_bytes_walked());
    let mut all = Model::new();
    for (field, value) in read.iter() {
        assert!(all.insert(field.to_vec(), value.to_vec()).is_none());
    }
    assert_eq!(&all, model);
    for (field, value) in model {
        assert!(read.get(field).is_some_and(|found| found.eq_bytes(value)));
        assert!(read.contains(field));
    }
    assert!(!read.contains(b"absent"));
    let mut random = generator(seed);
    for count in [1, model.len() / 4, model.len() / 2, model.len() + 1] {
        let chosen = read.random_distinct(count, &mut random);
        assert_eq!(chosen.len(), count.min(model.len()));
        let distinct: Model = chosen.iter().map(|(f, v)| (f.to_vec(), v.to_vec())).collect();
        assert_eq!(distinct.len(), chosen.len());
        assert!(distinct.iter().all(|(field, value)| model.get(field) == Some(value)));
    }
    let mut repeated = 0;
    read.random_repeated(20, &mut random, &mut |field, value| {
        assert_eq!(model.get(&field.to_vec()), Some(&value.to_vec()));
        repeated += 1;
    });
    assert_eq!(repeated, if model.is_empty() { 0 } else { 20 });
    assert_eq!(read.random(seed).is_none(), model.is_empty());
    let (mut scanned, mut cursor) = (Model::new(), 0);
    loop {
        cursor = read.scan(cursor, 5, &mut |field, value| {
            scanned.insert(field.to_vec(), value.to_vec());
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(&scanned, model);
}

proptest! {
    #[test]
    fn equals_a_map(steps in steps(), limits in limits(), seed: u64) {
        let (mut hash, mut model, mut large) = (Hash::new(), Model::new(), false);
        for step in steps {
            match step {
                Step::Set(field, value) => {
                    let new = hash.set(&field, &value, &limits);
                    prop_assert_eq!(new, model.insert(field, value).is_none());
                    large |= redis_is_large(&model, &limits);
                }
                Step::Remove(field) => {
                    prop_assert_eq!(hash.remove(&field), model.remove(&field).is_some());
                }
                Step::RemoveFirst => {
                    if let Some((field, _)) = model.pop_first() {
                        prop_assert!(hash.remove(&field));
                    }
                }
            }
            prop_assert_eq!(hash.encoding(), if large { "hashtable" } else { "listpack" });
            prop_assert_eq!(hash.heap_bytes(), hash.as_ref().heap_bytes_walked());
            prop_assert_eq!(hash.len(), model.len());
        }
        check(&hash, &model, seed);
        check(&hash.as_ref().to_owned(), &model, seed);
        prop_assert_eq!(hash.as_ref().to_owned().encoding(), hash.encoding());
        while let Some((field, _)) = model.pop_first() {
            prop_assert!(hash.remove(&field));
        }
        prop_assert!(hash.is_empty());
        prop_assert_eq!(hash.heap_bytes(), 0);
        prop_assert!(matches!(hash.as_ref(), HashRef::Packed(bytes) if bytes.len() <= 1));
    }
}

#[test]
fn conversions_are_sticky_as_in_redis() {
    let limits = Limits::default();
    let mut hash = Hash::new();
    for field in 0..512 {
        hash.set(format!("f{field}").as_bytes(), &[b'v'; 64], &limits);
        assert_eq!(hash.encoding(), "listpack");
    }
    assert!(matches!(hash, Hash::Table(_)), "33 KiB are not packed, whatever is reported");
    hash.set(b"f512", b"v", &limits);
    assert_eq!(hash.encoding(), "hashtable");
    for field in 1..513 {
        hash.remove(format!("f{field}").as_bytes());
    }
    assert_eq!((hash.len(), hash.encoding()), (1, "hashtable"));
    assert!(matches!(hash, Hash::Packed(_)));
    let mut hash = Hash::new();
    hash.set(b"f", &[b'v'; 65], &limits);
    assert_eq!(hash.encoding(), "hashtable");
    assert!(matches!(hash, Hash::Packed(_)), "small enough to be packed");
}
