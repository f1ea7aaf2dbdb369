//! Lists against a deque.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::{Element, Limits, List, Side, index_range};
use super::{limits, name};

type Model = VecDeque<Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    PushFront(Vec<u8>),
    PushBack(Vec<u8>),
    PopFront(u8),
    PopBack(u8),
    Set(i64, Vec<u8>),
    Insert(bool, Vec<u8>, Vec<u8>),
    InsertAt(prop::sample::Index, Vec<u8>),
    Remove(i64, Vec<u8>),
    Trim(i64, i64),
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        20 => name(),
        1 => (1000usize..5000).prop_map(|len| vec![b'l'; len]),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => value().prop_map(Step::PushFront),
        8 => value().prop_map(Step::PushBack),
        4 => any::<u8>().prop_map(|n| Step::PopFront(n % 4)),
        4 => any::<u8>().prop_map(|n| Step::PopBack(n % 20)),
        2 => (-60i64..60, value()).prop_map(|(at, value)| Step::Set(at, value)),
        1 => (any::<bool>(), name(), value()).prop_map(|(b, p, v)| Step::Insert(b, p, v)),
        3 => (any::<prop::sample::Index>(), value()).prop_map(|(at, v)| Step::InsertAt(at, v)),
        1 => (-3i64..4, name()).prop_map(|(count, value)| Step::Remove(count, value)),
        1 => (-400i64..8, -8i64..400).prop_map(|(start, stop)| Step::Trim(start, stop)),
    ];
    prop::collection::vec(step, 0..400)
}

fn apply(list: &mut List, model: &mut Model, step: Step, limits: &Limits) {
    match step {
        Step::PushFront(value) => {
            list.push_front(&value, limits);
            model.push_front(value);
        }
        Step::PushBack(value) => {
            list.push_back(&value, limits);
            model.push_back(value);
        }
        Step::PopFront(times) => {
            for _ in 0..times {
                assert_eq!(list.pop_front(limits), model.pop_front());
            }
        }
        Step::PopBack(times) => {
            for _ in 0..times {
                assert_eq!(list.pop_back(limits), model.pop_back());
            }
        }
        Step::Set(index, value) => {
            let at = if index < 0 { index + model.len() as i64 } else { index };
            let there = usize::try_from(at).ok().and_then(|at| model.get_mut(at));
            assert_eq!(list.set(index, &value, limits), there.is_some());
            if let Some(there) = there {
                *there = value;
            }
        }
        Step::Insert(before, pivot, value) => {
            let side = if before { Side::Before } else { Side::After };
            let at = model.iter().position(|there| *there == pivot);
            let len = list.insert(side, &pivot, &value, limits);
            if let Some(at) = at {
                model.insert(at + usize::from(!before), value);
            }
            assert_eq!(len, at.map(|_| model.len()));
        }
        Step::InsertAt(index, value) if !model.is_empty() => {
            let pivot = model[index.index(model.len())].clone();
            apply(list, model, Step::Insert(index.index(2) == 0, pivot, value), limits);
        }
        Step::InsertAt(..) => {}
        Step::Remove(count, value) => {
            let mut at: Vec<usize> = (0..model.len()).filter(|&at| model[at] == value).collect();
            if count < 0 {
                at.reverse();
            }
            if count != 0 {
                at.truncate(count.unsigned_abs() as usize);
            }
            at.sort_unstable();
            assert_eq!(list.remove(count, &value, limits), at.len());
            for at in at.into_iter().rev() {
                model.remove(at);
            }
        }
        Step::Trim(start, stop) => {
            list.trim(start, stop, limits);
            let kept = index_range(start, stop, model.len());
            model.truncate(kept.end);
            model.drain(..kept.start);
        }
    }
}

fn positions(model: &Model, value: &[u8], rank: i64, count: usize, maxlen: usize) -> Vec<usize> {
    let maxlen = if maxlen == 0 { usize::MAX } else { maxlen };
    let matching = |at: &usize| model[*at] == value;
    let skip = rank.unsigned_abs() as usize - 1;
    let count = if count == 0 { usize::MAX } else { count };
    let all = 0..model.len();
    if rank > 0 {
        all.take(maxlen).filter(matching).skip(skip).take(count).collect()
    } else {
        all.rev().take(maxlen).filter(matching).skip(skip).take(count).collect()
    }
}

fn check(list: &List, model: &Model) {
    let read = list.as_ref();
    assert_eq!((read.len(), read.is_empty()), (model.len(), model.is_empty()));
    assert_eq!(read.heap_bytes(), read.heap_bytes_walked());
    assert!(read.iter().map(Element::to_vec).eq(model.iter().cloned()));
    for index in -3..model.len() as i64 + 2 {
        let at = if index < 0 { index + model.len() as i64 } else { index };
        let expected = usize::try_from(at).ok().and_then(|at| model.get(at));
        assert_eq!(read.get(index).map(Element::to_vec).as_ref(), expected);
    }
    for (start, stop) in [(0, -1), (3, 40), (-5, -2), (7, 2), (i64::MIN, i64::MAX)] {
        let found: Vec<_> = read.range(start, stop).map(Element::to_vec).collect();
        let range = index_range(start, stop, model.len());
        assert!(found.iter().eq(model.range(range)));
    }
    for value in model.iter().take(2).chain(model.iter().rev().take(2)) {
        for (rank, count, maxlen) in [(1, 0, 0), (-1, 0, 0), (2, 1, 0), (-2, 2, 30), (1, 3, 9)] {
            let found = read.positions(value, rank, count, maxlen);
            assert_eq!(found, positions(model, value, rank, count, maxlen));
        }
    }
}

proptest! {
    #[test]
    fn equals_a_deque(steps in steps(), limits in limits()) {
        let (mut list, mut model) = (List::new(), Model::new());
        for (number, step) in steps.into_iter().enumerate() {
            apply(&mut list, &mut model, step, &limits);
            prop_assert_eq!(list.len(), model.len());
            prop_assert_eq!(list.heap_bytes(), list.as_ref().heap_bytes_walked());
            if number % 16 == 0 {
                check(&list, &model);
            }
        }
        check(&list, &model);
        let mut copy = list.as_ref().to_owned();
        check(&copy, &model);
        prop_assert_eq!(copy.encoding(), list.encoding());
        while let Some(value) = model.pop_back() {
            prop_assert_eq!(list.pop_back(&limits), Some(value));
        }
        prop_assert_eq!(list.pop_back(&limits), None);
        prop_assert_eq!(list.pop_front(&limits), None);
        prop_assert_eq!((list.is_empty(), list.heap_bytes()), (true, 0));
        copy.trim(1, 0, &limits);
        prop_assert_eq!((copy.is_empty(), copy.heap_bytes()), (true, 0));
    }
}

#[test]
fn queues_and_stacks_keep_their_order() {
    let limits = Limits::default();
    let (mut list, mut model) = (List::new(), Model::new());
    for round in 0..20_000u32 {
        let value = format!("job:{round}").into_bytes();
        let step = match round % 7 {
            0..=2 => Step::PushBack(value),
            3 | 4 => Step::PushFront(value),
            5 => Step::PopBack(1),
            _ => Step::PopFront(1),
        };
        apply(&mut list, &mut model, step, &limits);
    }
    check(&list, &model);
    while !model.is_empty() {
        apply(&mut list, &mut model, Step::PopBack(3), &limits);
        apply(&mut list, &mut model, Step::PushBack(b"again".to_vec()), &limits);
        apply(&mut list, &mut model, Step::PopFront(1), &limits);
        apply(&mut list, &mut model, Step::PopBack(1), &limits);
    }
    check(&list, &model);
    assert_eq!(list.heap_bytes(), 0);
}

#[test]
fn long_lists_have_long_chunks() {
    let limits = Limits::default();
    let (mut list, mut model) = (List::new(), Model::new());
    for round in 0..60_000u32 {
        let value = format!("a value of some length:{round}").into_bytes();
        let push = if round % 3 == 0 { Step::PushFront(value) } else { Step::PushBack(value) };
        apply(&mut list, &mut model, push, &limits);
    }
    assert_eq!(list.heap_bytes(), list.as_ref().heap_bytes_walked());
    assert!(list.as_ref().iter().map(Element::to_vec).eq(model.iter().cloned()));
    for index in (0..60_000).step_by(977) {
        assert_eq!(
            list.as_ref().get(index).map(Element::to_vec),
            Some(model[index as usize].clone())
        );
        apply(&mut list, &mut model, Step::Set(index, b"another".to_vec()), &limits);
        apply(
            &mut list,
            &mut model,
            Step::Insert(true, b"another".to_vec(), b"new".to_vec()),
            &limits,
        );
    }
    apply(&mut list, &mut model, Step::Remove(-20, b"another".to_vec()), &limits);
    apply(&mut list, &mut model, Step::Trim(10_000, -10_001), &limits);
    while !model.is_empty() {
        apply(&mut list, &mut model, Step::PopBack(100), &limits);
        apply(&mut list, &mut model, Step::PopFront(30), &limits);
        assert_eq!(list.heap_bytes(), list.as_ref().heap_bytes_walked());
    }
    assert_eq!(list.heap_bytes(), 0);
}

#[test]
fn encodings_are_those_of_redis() {
    let limits = Limits::default();
    let mut list = List::new();
    // A 100-byte string takes 103 bytes in a listpack; 7 more are its frame.
    for _ in 0..79 {
        list.push_back(&[b'x'; 100], &limits);
        assert_eq!(list.encoding(), "listpack");
    }
    list.push_back(&[b'x'; 100], &limits);
    assert_eq!(list.encoding(), "quicklist");
    while list.len() > 39 {
        assert_eq!(list.encoding(), "quicklist");
        list.pop_front(&limits);
    }
    assert_eq!(list.encoding(), "listpack");
    let limits = Limits { list_listpack_size_max: 4, ..limits };
    let mut list = List::new();
    for _ in 0..4 {
        list.push_back(b"x", &limits);
        assert_eq!(list.encoding(), "listpack");
    }
    list.push_front(b"x", &limits);
    assert_eq!(list.encoding(), "quicklist");
    list.trim(0, 2, &limits);
    assert_eq!(list.encoding(), "quicklist");
    list.trim(0, 1, &limits);
    assert_eq!(list.encoding(), "listpack");
}
