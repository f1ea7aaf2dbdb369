//! Sorted sets against a map of scores.

use std::collections::BTreeMap;
use std::ops::Range;

use proptest::prelude::*;

use super::super::zset::{limited, ranks_by_index};
use super::super::{Inserted, Limits, MemberBound, Order, ScoreBound, ZSet};
use super::{generator, limits, name};

#[derive(Clone, Debug)]
enum Step {
    Insert(Vec<u8>, f64),
    Remove(Vec<u8>),
    RemoveRanks(u8, u8),
    PopMin,
    PopMax,
}

/// Members and scores, by member; `sorted` gives them in order.
#[derive(Default)]
struct Model(BTreeMap<Vec<u8>, f64>);

impl Model {
    fn sorted(&self) -> Vec<(Vec<u8>, f64)> {
        let mut all: Vec<_> = self.0.iter().map(|(m, &s)| (m.clone(), s)).collect();
        all.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
        all
    }
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-6i32..20).prop_map(f64::from),
        2 => (0i32..9).prop_map(|n| f64::from(n) / 4.0),
        1 => (0i32..9).prop_map(|n| f64::from(n) / 10.0),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
        1 => Just(-0.0),
        1 => (0i64..1 << 50).prop_map(|n| n as f64),
    ]
}

fn steps(len: Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    let member = prop_oneof![name(), (0u32..900).prop_map(|n| format!("m{n}").into_bytes())];
    let step = prop_oneof![
        14 => (member.clone(), score()).prop_map(|(member, score)| Step::Insert(member, score)),
        3 => member.prop_map(Step::Remove),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(at, n)| Step::RemoveRanks(at, n % 32)),
        1 => Just(Step::PopMin),
        1 => Just(Step::PopMax),
    ];
    prop::collection::vec(step, len)
}

fn apply(zset: &mut ZSet, model: &mut Model, step: Step, limits: &Limits) {
    match step {
        Step::Insert(member, score) => {
            let expected = match model.0.get(&member) {
                None => Inserted::Added,
                Some(old) if *old == score => Inserted::Unchanged,
                Some(_) => Inserted::Updated,
            };
            assert_eq!(zset.insert(&member, score, limits), expected);
            if expected != Inserted::Unchanged {
                model.0.insert(member, score);
            }
        }
        Step::Remove(member) => {
            assert_eq!(zset.remove(&member), model.0.remove(&member));
        }
        Step::RemoveRanks(start, count) => {
            let range = start as usize..start as usize + count as usize;
            let mut removed = Vec::new();
            let count = zset.remove_ranks(range.clone(), &mut |member, score| {
                removed.push((member.to_vec(), score));
            });
            let sorted = model.sorted();
            let end = range.end.min(sorted.len());
            let expected = &sorted[range.start.min(end)..end];
            assert_eq!((count, &removed[..]), (expected.len(), expected));
            for (member, _) in removed {
                model.0.remove(&member);
            }
        }
        Step::PopMin | Step::PopMax => {
            let mut sorted = model.sorted();
            let (popped, expected) = match step {
                Step::PopMin => (zset.pop_min(), (!sorted.is_empty()).then(|| sorted.remove(0))),
                _ => (zset.pop_max(), sorted.pop()),
            };
            assert_eq!(popped, expected);
            if let Some((member, _)) = popped {
                model.0.remove(&member);
            }
        }
    }
}

fn check_ranges(zset: &ZSet, sorted: &[(Vec<u8>, f64)], seed: u64) {
    let read = zset.as_ref();
    let mut random = generator(seed);
    let pairs = |ranks: Range<usize>, order| -> Vec<(Vec<u8>, f64)> {
        read.range(ranks, order).map(|(member, score)| (member.to_vec(), score)).collect()
    };
    assert_eq!(pairs(0..usize::MAX, Order::Ascending), sorted);
    let reversed: Vec<_> = sorted.iter().rev().cloned().collect();
    assert_eq!(pairs(0..usize::MAX, Order::Descending), reversed);
    for _ in 0..8 {
        let len = sorted.len() as u64 + 2;
        let (start, stop) = ((random() % len) as i64, (random() % len) as i64);
        let (start, stop) = (start - (random() % len) as i64, stop - (random() % 3) as i64);
        let ascending = super::super::index_range(start, stop, sorted.len());
        let found =
            pairs(ranks_by_index(start, stop, sorted.len(), Order::Ascending), Order::Ascending);
        assert_eq!(found, sorted[ascending.clone()]);
        let ranks = ranks_by_index(start, stop, sorted.len(), Order::Descending);
        assert_eq!(pairs(ranks, Order::Descending), reversed[ascending]);
        let pick =
            |random: u64| sorted.get(random as usize % (sorted.len() + 1)).map_or(3.5, |p| p.1);
        let (min, max) = (pick(random()), pick(random()));
        for (low, high) in [
            (ScoreBound::Included(min), ScoreBound::Included(max)),
            (ScoreBound::Excluded(min), ScoreBound::Included(max)),
            (ScoreBound::Included(min), ScoreBound::Excluded(max)),
            (ScoreBound::Excluded(min), ScoreBound::Excluded(max)),
        ] {
            let above = |score: f64| match low {
                ScoreBound::Included(min) => score >= min,
                ScoreBound::Excluded(min) => score > min,
            };
            let below = |score: f64| match high {
                ScoreBound::Included(max) => score <= max,
                ScoreBound::Excluded(max) => score < max,
            };
            let ranks = read.ranks_by_score(low, high);
            let expected: Vec<_> = sorted
                .iter()
                .filter(|(_, score)| above(*score) && below(*score))
                .cloned()
                .collect();
            assert_eq!(ranks.len(), expected.len());
            assert_eq!(pairs(ranks.clone(), Order::Ascending), expected);
            let part = limited(ranks.clone(), 1, 3, Order::Ascending);
            let limit: Vec<_> = expected.iter().skip(1).take(3).cloned().collect();
            assert_eq!(pairs(part, Order::Ascending), limit);
            let part = limited(ranks, 2, 2, Order::Descending);
            let limit: Vec<_> = expected.iter().rev().skip(2).take(2).cloned().collect();
            assert_eq!(pairs(part, Order::Descending), limit);
        }
    }
}

fn check(zset: &ZSet, model: &Model, seed: u64) {
    let (read, sorted) = (zset.as_ref(), model.sorted());
    assert_eq!((read.len(), read.is_empty()), (sorted.len(), sorted.is_empty()));
    assert_eq!(read.heap_bytes(), read.heap_bytes_walked());
    for (rank, (member, score)) in sorted.iter().enumerate() {
        assert_eq!(read.score(member), Some(*score));
        assert_eq!(read.rank(member, Order::Ascending), Some((rank, *score)));
        let back = sorted.len() - 1 - rank;
        assert_eq!(read.rank(member, Order::Descending), Some((back, *score)));
    }
    assert_eq!(read.score(b"absent"), None);
    assert_eq!(read.rank(b"absent", Order::Ascending), None);
    check_ranges(zset, &sorted, seed);
    let mut random = generator(seed);
    for count in [1, sorted.len() / 40, sorted.len() / 2, sorted.len() + 1] {
        let chosen = read.random_distinct(count, &mut random);
        let distinct: BTreeMap<_, _> = chosen.iter().map(|(m, s)| (m.to_vec(), *s)).collect();
        assert_eq!(distinct.len(), count.min(sorted.len()));
        assert!(distinct.iter().all(|(member, score)| model.0.get(member) == Some(score)));
    }
    let (mut scanned, mut cursor) = (BTreeMap::new(), 0);
    loop {
        cursor = read.scan(cursor, 9, &mut |member, score| {
            scanned.insert(member.to_vec(), score);
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(scanned, model.0);
    if let ZSet::Tree(tree) = zset {
        tree.check();
    }
}

proptest! {
    #[test]
    fn equals_a_sorted_map(steps in steps(0..250), limits in limits(), seed: u64) {
        let (mut zset, mut model, mut large) = (ZSet::new(), Model::default(), false);
        for step in steps {
            let before = model.0.len();
            let added = match &step {
                Step::Insert(member, _) => member.len(),
                _ => 0,
            };
            apply(&mut zset, &mut model, step, &limits);
            if model.0.len() > before {
                large |= model.0.len() > limits.zset_listpack_entries_max
                    || added > limits.zset_listpack_value_max;
            }
            prop_assert_eq!(zset.encoding(), if large { "skiplist" } else { "listpack" });
            prop_assert_eq!(zset.heap_bytes(), zset.as_ref().heap_bytes_walked());
            if let ZSet::Tree(tree) = &zset {
                tree.check();
            }
        }
        check(&zset, &model, seed);
        check(&zset.as_ref().to_owned(), &model, seed);
        while !model.0.is_empty() {
            apply(&mut zset, &mut model, Step::PopMax, &limits);
        }
        prop_assert_eq!((zset.is_empty(), zset.heap_bytes()), (true, 0));
    }

    #[test]
    fn members_of_one_score_are_ranges_of_bytes(
        names in prop::collection::btree_set(name(), 0..300),
        bounds in prop::collection::vec((name(), name()), 1..20),
    ) {
        let (mut zset, limits) = (ZSet::new(), Limits::default());
        for member in &names {
            zset.insert(member, 7.0, &limits);
        }
        let read = zset.as_ref();
        let found = |min, max| -> Vec<Vec<u8>> {
            let ranks = read.ranks_by_member(min, max);
            read.range(ranks, Order::Ascending).map(|(member, _)| member.to_vec()).collect()
        };
        use MemberBound::{Excluded, Highest, Included, Lowest};
        for (a, b) in &bounds {
            let model = |f: &dyn Fn(&Vec<u8>) -> bool| -> Vec<Vec<u8>> {
                names.iter().filter(|member| f(member)).cloned().collect()
            };
            prop_assert_eq!(found(Lowest, Highest), model(&|_| true));
            prop_assert_eq!(found(Highest, Lowest), model(&|_| false));
            prop_assert_eq!(found(Lowest, Included(a)), model(&|m| m <= a));
            prop_assert_eq!(found(Lowest, Excluded(a)), model(&|m| m < a));
            prop_assert_eq!(found(Included(a), Highest), model(&|m| m >= a));
            prop_assert_eq!(found(Excluded(a), Included(b)), model(&|m| m > a && m <= b));
            prop_assert_eq!(found(Included(a), Excluded(b)), model(&|m| m >= a && m < b));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn large_trees_keep_their_shape(
        seed: u64,
        count in 500usize..6000,
        ties in 1u64..2000,
        ascending: bool,
    ) {
        let limits = Limits::default();
        let mut random = generator(seed);
        let (mut zset, mut model) = (ZSet::new(), Model::default());
        for number in 0..count {
            let score = if ascending { number as u64 } else { random() % ties };
            let member = format!("member:{}", random() % 8000).into_bytes();
            apply(&mut zset, &mut model, Step::Insert(member, score as f64), &limits);
        }
        check(&zset, &model, seed);
        for _ in 0..count / 20 {
            let (start, many) = (random() as u8, (random() % 24) as u8);
            apply(&mut zset, &mut model, Step::RemoveRanks(start, many), &limits);
            let member = format!("member:{}", random() % 8000).into_bytes();
            apply(&mut zset, &mut model, Step::Remove(member), &limits);
        }
        check(&zset, &model, seed);
        for (number, (member, _)) in model.sorted().into_iter().enumerate() {
            apply(&mut zset, &mut model, Step::Remove(member), &limits);
            if number % 512 == 0 {
                check(&zset, &model, seed);
            }
        }
        prop_assert_eq!((zset.is_empty(), zset.heap_bytes()), (true, 0));
    }
}

#[test]
fn negative_zero_is_known_to_skiplists_only() {
    let limits = Limits::default();
    let is_negative = |zset: &ZSet| zset.as_ref().score(b"m").is_some_and(f64::is_sign_negative);
    let mut zset = ZSet::new();
    assert_eq!(zset.insert(b"m", -0.0, &limits), Inserted::Added);
    assert!(!is_negative(&zset));
    zset.insert(&[b'x'; 65], 1.0, &limits);
    assert_eq!(zset.encoding(), "skiplist");
    assert_eq!(zset.insert(b"m", -0.0, &limits), Inserted::Unchanged);
    assert_eq!(zset.insert(b"m", 2.0, &limits), Inserted::Updated);
    assert_eq!(zset.insert(b"m", -0.0, &limits), Inserted::Updated);
    assert!(is_negative(&zset));
    assert_eq!(zset.as_ref().rank(b"m", Order::Ascending), Some((0, 0.0)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn scans_return_what_stays(seed: u64, count in 200usize..3000, churn in 1usize..40) {
        let limits = Limits::default();
        let mut random = generator(seed);
        let mut zset = ZSet::new();
        let stay = |number: usize| format!("stay:{number}").into_bytes();
        for number in 0..count {
            zset.insert(&stay(number), (random() % 50) as f64, &limits);
        }
        let mut seen = vec![false; count];
        let (mut cursor, mut others) = (0, 0u64);
        let grows = seed % 2 == 0;
        for number in 0..if grows { 0 } else { 4 * count as u64 } {
            zset.insert(format!("go:{number}").as_bytes(), (random() % 50) as f64, &limits);
        }
        loop {
            cursor = zset.as_ref().scan(cursor, 10, &mut |member, _| {
                let name = String::from_utf8(member.to_vec()).unwrap();
                if let Some(number) = name.strip_prefix("stay:") {
                    seen[number.parse::<usize>().unwrap()] = true;
                }
            });
            if cursor == 0 {
                break;
            }
            // Splits or joins leaves and segments between two steps, and moves what stays.
            for _ in 0..churn {
                let name = format!("go:{others}").into_bytes();
                others += 1;
                if grows && others < 20_000 {
                    zset.insert(&name, (random() % 50) as f64, &limits);
                } else {
                    zset.remove(&name);
                }
                let moved = random() as usize % count;
                zset.insert(&stay(moved), (random() % 50) as f64, &limits);
            }
        }
        prop_assert!(seen.iter().all(|seen| *seen));
    }
}
