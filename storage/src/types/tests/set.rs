//! Sets against a sorted set.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::{Element, Limits, Set, canonical_int};
use super::{generator, limits, name};

type Model = BTreeSet<Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Add(Vec<u8>),
    Remove(Vec<u8>),
    RemoveFirst,
    Pop(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = (-100i64..900).prop_map(|n| n.to_string().into_bytes());
    let member = prop_oneof![number.clone(), name()];
    let step = |member: BoxedStrategy<Vec<u8>>| {
        let step = prop_oneof![
            6 => member.clone().prop_map(Step::Add),
            1 => member.prop_map(Step::Remove),
            1 => Just(Step::RemoveFirst),
            1 => any::<u64>().prop_map(Step::Pop),
        ];
        prop::collection::vec(step, 0..250)
    };
    (step(number.boxed()), step(member.boxed())).prop_map(|(a, b)| [a, b].concat())
}

/// Redis 7.2's `setTypeAdd`, as far as the encoding goes.
fn redis_encoding(before: &str, model: &Model, member: &[u8], limits: &Limits) -> &'static str {
    let number = canonical_int(member).is_some();
    let fits = |bytes: usize| {
        model.len() < limits.set_listpack_entries_max && bytes <= limits.set_listpack_value_max
    };
    let longest = model.iter().map(Vec::len).max().unwrap_or(0);
    match before {
        _ if model.is_empty() && number && limits.set_intset_entries_max > 0 => "intset",
        _ if model.is_empty() && fits(member.len()) => "listpack",
        "intset" if number && model.len() < limits.set_intset_entries_max => "intset",
        "intset" if !number && fits(member.len().max(longest)) => "listpack",
        "listpack" if fits(member.len()) => "listpack",
        _ => "hashtable",
    }
}

fn check(set: &Set, model: &Model, seed: u64) {
    let read = set.as_ref();
    assert_eq!((read.len(), read.is_empty()), (model.len(), model.is_empty()));
    assert_eq!(read.heap_bytes(), read.heap_bytes_walked());
    let all: Vec<_> = read.iter().map(Element::to_vec).collect();
    assert_eq!(all.len(), model.len());
    assert_eq!(&all.into_iter().collect::<Model>(), model);
    assert!(model.iter().all(|member| read.contains(member)));
    assert!(model.iter().all(|member| read.contains_element(Element::parse(member))));
    assert!(!read.contains(b"absent") && !read.contains(b"100000"));
    let mut random = generator(seed);
    for count in [1, model.len() / 4, model.len() / 2, model.len() + 1] {
        let chosen = read.random_distinct(count, &mut random);
        assert_eq!(chosen.len(), count.min(model.len()));
        let distinct: Model = chosen.into_iter().map(Element::to_vec).collect();
        assert_eq!(distinct.len(), count.min(model.len()));
        assert!(distinct.is_subset(model));
    }
    let mut repeated = 0;
    read.random_repeated(20, &mut random, &mut |member| {
        assert!(model.contains(&member.to_vec()));
        repeated += 1;
    });
    assert_eq!(repeated, if model.is_empty() { 0 } else { 20 });
    let (mut scanned, mut cursor) = (Model::new(), 0);
    loop {
        cursor = read.scan(cursor, 5, &mut |member| {
            scanned.insert(member.to_vec());
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(&scanned, model);
}

proptest! {
    #[test]
    fn equals_a_sorted_set(steps in steps(), limits in limits(), seed: u64) {
        let (mut set, mut model, mut encoding) = (Set::new(), Model::new(), "listpack");
        for step in steps {
            match step {
                Step::Add(member) => {
                    if !model.contains(&member) {
                        encoding = redis_encoding(encoding, &model, &member, &limits);
                    }
                    prop_assert_eq!(set.add(&member, &limits), model.insert(member));
                    prop_assert_eq!(set.encoding(), encoding);
                }
                Step::Remove(member) => {
                    prop_assert_eq!(set.remove(&member), model.remove(&member));
                }
                Step::RemoveFirst => {
                    if let Some(member) = model.pop_first() {
                        prop_assert!(set.remove(&member));
                    }
                }
                Step::Pop(random) => match set.pop_random(random) {
                    Some(member) => prop_assert!(model.remove(&member)),
                    None => prop_assert!(model.is_empty()),
                },
            }
            if model.is_empty() {
                // The key is gone; the next member makes another set.
                prop_assert_eq!(set.heap_bytes(), 0);
                set = Set::new();
            }
            prop_assert_eq!(set.heap_bytes(), set.as_ref().heap_bytes_walked());
            prop_assert_eq!(set.len(), model.len());
        }
        check(&set, &model, seed);
        check(&set.as_ref().to_owned(), &model, seed);
        let popped = set.pop_random_many(model.len() / 2, &mut generator(seed));
        prop_assert_eq!(popped.len(), model.len() / 2);
        prop_assert!(popped.iter().all(|member| model.remove(member)));
        check(&set, &model, seed);
        let popped = set.pop_random_many(usize::MAX, &mut generator(seed));
        prop_assert_eq!(popped.into_iter().collect::<Model>(), model);
        prop_assert!(set.is_empty());
        prop_assert_eq!(set.heap_bytes(), 0);
    }
}

#[test]
fn encodings_are_those_of_redis() {
    let limits = Limits::default();
    let mut set = Set::new();
    for member in 0..512 {
        set.add(member.to_string().as_bytes(), &limits);
        assert_eq!(set.encoding(), "intset");
    }
    set.add(b"512", &limits);
    assert_eq!(set.encoding(), "hashtable");
    let mut set = Set::new();
    set.add(b"1", &limits);
    set.add(b"one", &limits);
    assert_eq!(set.encoding(), "listpack");
    set.add(&[b'x'; 64], &limits);
    assert_eq!(set.encoding(), "listpack");
    set.add(&[b'x'; 65], &limits);
    assert_eq!(set.encoding(), "hashtable");
    let mut set = Set::new();
    for member in 0..128 {
        set.add(format!("m{member}").as_bytes(), &limits);
        assert_eq!(set.encoding(), "listpack");
    }
    set.add(b"m128", &limits);
    assert_eq!(set.encoding(), "hashtable");
    let mut set = Set::new();
    for member in 0..128 {
        set.add(member.to_string().as_bytes(), &limits);
    }
    set.add(b"one too many", &limits);
    assert_eq!(set.encoding(), "hashtable");
}
