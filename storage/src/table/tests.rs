//! Property tests of the table against a `BTreeMap`, with the account checked at every step.

use std::collections::{BTreeMap, BTreeSet};

use super::{INLINE_MAX, KEY_INLINE_MAX, Layout, NewEntry, Table, hash_key};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Model {
    tag: u8,
    aux: u32,
    expiry: Option<i64>,
    payload: Vec<u8>,
}

struct Pair {
    table: Table,
    model: BTreeMap<Vec<u8>, Model>,
    has_aux: bool,
}

impl Pair {
    fn new(layout: Layout) -> Pair {
        let has_aux = layout == Layout::WITH_AUX;
        Pair { table: Table::new(layout), model: BTreeMap::new(), has_aux }
    }

    fn upsert(&mut self, key: &[u8], new: &Model) {
        let entry =
            NewEntry { tag: new.tag, aux: new.aux, expiry: new.expiry, payload: &new.payload };
        let mut kept = new.clone();
        if !self.has_aux {
            kept.aux = 0;
        }
        let was_new = self.table.upsert(hash_key(key), key, entry);
        assert_eq!(was_new, self.model.insert(key.to_vec(), kept).is_none());
    }

    fn remove(&mut self, key: &[u8]) {
        let found = self.table.remove(hash_key(key), key, |entry| entry.payload().to_vec());
        assert_eq!(found, self.model.remove(key).map(|model| model.payload));
    }

    fn check_key(&self, key: &[u8]) {
        // Hints may be given for keys that do not exist, too.
        let ahead = self.table.ahead(hash_key(key));
        ahead.load_index();
        ahead.load_entry();
        let found = self.table.find(hash_key(key), key).map(|entry| {
            assert_eq!(entry.key(), key);
            Model {
                tag: entry.tag(),
                aux: entry.aux(),
                expiry: entry.expiry(),
                payload: entry.payload().to_vec(),
            }
        });
        assert_eq!(found.as_ref(), self.model.get(key));
    }

    fn check_account(&self) {
        assert_eq!(self.table.heap_bytes(), self.table.heap_bytes_walked());
        assert_eq!(self.table.len(), self.model.len());
        let min = self.model.values().filter_map(|m| m.expiry).min().unwrap_or(i64::MAX);
        assert!(self.table.expiry_min() <= min);
        if self.table.expiring_len() == 0 {
            assert_eq!(self.table.expiry_min(), i64::MAX);
        }
        assert!(!self.table.is_empty() || self.table.heap_bytes() == 0);
    }

    fn check_all(&self) {
        self.check_account();
        for key in self.model.keys() {
            self.check_key(key);
        }
        let keys: BTreeSet<&[u8]> = self.table.iter().map(|entry| entry.key()).collect();
        assert_eq!(self.table.iter().count(), self.model.len());
        assert!(keys.iter().copied().eq(self.model.keys().map(Vec::as_slice)));
        let hashes = self.table.iter().map(|entry| hash_key(entry.key()) >> 32);
        assert!(hashes.is_sorted_by_key(|hash| hash >> 16));
    }
}

fn random_key(random: &mut Random, space: usize) -> Vec<u8> {
    let n = random.below(space);
    match n % 50 {
        0 if n == 0 => Vec::new(),
        1 => format!("{n:0300}").into_bytes(),
        2 => format!("{n:0255}").into_bytes(),
        3 => format!("{n:0256}").into_bytes(),
        _ => format!("key:{n}").into_bytes(),
    }
}

fn random_model(random: &mut Random) -> Model {
    let len = match random.below(20) {
        0 => INLINE_MAX,
        1 => INLINE_MAX + 1,
        2 => random.below(3000),
        3 => random.below(INLINE_MAX + 1),
        _ => random.below(40),
    };
    Model {
        tag: random.below(16) as u8,
        aux: random.below(1 << 24) as u32,
        expiry: (random.below(3) == 0).then(|| random.below(1000) as i64),
        payload: random.bytes(len),
    }
}

fn resize(pair: &mut Pair, random: &mut Random, key: &[u8]) {
    let grow = random.below(600);
    let old = pair.model.get(key).map_or(0, |model| model.payload.len());
    let len = if random.below(4) == 0 { random.below(old + 1) } else { old + grow };
    let payload = pair.table.payload_resize(hash_key(key), key, len);
    let model = pair.model.get_mut(key);
    assert_eq!(payload.is_some(), model.is_some());
    if let (Some(payload), Some(model)) = (payload, model) {
        model.payload.resize(len, 0);
        assert_eq!(payload, model.payload);
        payload.fill(7);
        model.payload.fill(7);
    }
}

fn step(pair: &mut Pair, random: &mut Random, space: usize, removals: usize) {
    let key = random_key(random, space);
    match random.below(10 + removals) {
        0..=4 => {
            let model = random_model(random);
            pair.upsert(&key, &model);
        }
        5 => resize(pair, random, &key),
        6 => {
            let expiry = (random.below(2) == 0).then(|| random.below(1000) as i64);
            let done = pair.table.set_expiry(hash_key(&key), &key, expiry);
            assert_eq!(done, pair.model.contains_key(&key));
            if let Some(model) = pair.model.get_mut(&key) {
                model.expiry = expiry;
            }
        }
        7 => {
            let found = pair.table.find_mut(hash_key(&key), &key);
            if let (Some(mut entry), Some(model)) = (found, pair.model.get_mut(&key)) {
                entry.set_tag(9);
                entry.set_aux(77);
                entry.payload_mut().reverse();
                assert_eq!(entry.as_ref().payload().len(), model.payload.len());
                model.tag = 9;
                model.aux = if pair.has_aux { 77 } else { 0 };
                model.payload.reverse();
            }
        }
        8 => {
            // The same length again, as counters and sessions are overwritten.
            if let Some(mut model) = pair.model.get(&key).cloned() {
                model.payload.iter_mut().for_each(|byte| *byte ^= 1);
                pair.upsert(&key, &model);
            }
        }
        _ => pair.remove(&key),
    }
    pair.check_key(&key);
}

fn run(seed: u64, layout: Layout, space: usize, steps: usize) {
    println!("seed {seed} space {space}");
    let mut random = Random(seed);
    let mut pair = Pair::new(layout);
    for removals in [0, 20, 1, 40] {
        for n in 0..steps {
            step(&mut pair, &mut random, space, removals);
            if space <= 200 || n % 64 == 0 {
                pair.check_account();
            }
        }
        pair.check_all();
    }
    let keys: Vec<_> = pair.model.keys().cloned().collect();
    for (n, key) in keys.iter().enumerate() {
        pair.remove(key);
        if n % 16 == 0 {
            pair.check_account();
        }
    }
    pair.check_account();
    assert_eq!(pair.table.heap_bytes(), 0);
}

#[test]
fn agrees_with_a_model() {
    for seed in 0..20 {
        run(seed, Layout::WITH_AUX, 10, 300);
        run(seed, Layout::PLAIN, 150, 1500);
    }
    for seed in 20..23 {
        run(seed, Layout::WITH_AUX, 3000, 12_000);
        run(seed, Layout::PLAIN, 20_000, 40_000);
    }
}

#[test]
fn a_large_table_splits_and_collapses() {
    let mut pair = Pair::new(Layout::PLAIN);
    let model = Model { tag: 1, aux: 0, expiry: None, payload: vec![5; 20] };
    let count = 300_000;
    for n in 0..count {
        pair.upsert(format!("{n}").as_bytes(), &model);
    }
    pair.check_account();
    // More than one level of the directory, by making the segments of a range deep.
    for n in (0..count).rev() {
        pair.remove(format!("{n}").as_bytes());
        if n % 10_000 == 0 {
            pair.check_account();
        }
    }
    assert_eq!(pair.table.heap_bytes(), 0);
}

/// As when a table is copied: the keys come in the order of their hashes.
#[test]
fn keys_in_the_order_of_their_hashes_split_as_often_as_they_must() {
    for (len, payload_len) in [(120_000, 0), (60_000, 12), (20_000, 100), (8_000, INLINE_MAX)] {
        let mut keys: Vec<Vec<u8>> = (0..len).map(|n| format!("key:{n}").into_bytes()).collect();
        keys.sort_by_key(|key| hash_key(key));
        let payload = vec![b'x'; payload_len];
        let filled = |keys: &mut dyn Iterator<Item = &Vec<u8>>| {
            let mut table = Table::new(Layout::PLAIN);
            for (index, key) in keys.enumerate() {
                let new = NewEntry { tag: 0, aux: 0, expiry: None, payload: &payload };
                assert!(table.upsert(hash_key(key), key, new));
                if index % 5000 == 0 {
                    assert_eq!(table.heap_bytes(), table.heap_bytes_walked());
                }
            }
            assert_eq!(table.heap_bytes(), table.heap_bytes_walked());
            assert_eq!(table.len(), len);
            table.heap_bytes()
        };
        let ascending = filled(&mut keys.iter());
        let descending = filled(&mut keys.iter().rev());
        // From the middle to both ends.
        let (low, high) = keys.split_at(len / 2);
        let outwards = filled(&mut low.iter().rev().zip(high).flat_map(|(low, high)| [low, high]));
        // The other table's order is no reason to take much more than for any order.
        let any = filled(&mut (0..len).map(|n| &keys[n * 7919 % len]));
        for bytes in [ascending, descending, outwards] {
            assert!(bytes < any * 5 / 4, "{bytes} instead of {any} for {len} of {payload_len}");
        }
    }
}

#[test]
fn scan_returns_what_stays() {
    for seed in 0..30 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let mut pair = Pair::new(Layout::WITH_AUX);
        let model = Model { tag: 0, aux: 0, expiry: None, payload: vec![1; 30] };
        let stay = 1 + random.below(3000);
        let mut others = random.below(20_000);
        for n in 0..stay {
            pair.upsert(format!("stay:{n}").as_bytes(), &model);
        }
        for n in 0..others {
            pair.upsert(format!("other:{n}").as_bytes(), &model);
        }
        let growing = seed % 2 == 0;
        let (mut cursor, mut seen, mut calls) = (0, BTreeSet::new(), 0);
        loop {
            let count = 1 + random.below(40);
            let mut emitted = 0;
            cursor = pair.table.scan(cursor, count, &mut |entry| {
                seen.insert(entry.key().to_vec());
                emitted += 1;
            });
            assert!(cursor < 1 << 48 && emitted <= count + 8);
            calls += 1;
            assert!(calls < 200_000, "the scan ends");
            if cursor == 0 {
                break;
            }
            for _ in 0..random.below(60) {
                if growing && calls < 500 {
                    pair.upsert(format!("other:{others}").as_bytes(), &model);
                    others += 1;
                } else if others > 0 {
                    others -= 1;
                    pair.remove(format!("other:{others}").as_bytes());
                }
            }
        }
        for n in 0..stay {
            assert!(seen.contains(format!("stay:{n}").as_bytes()), "stay:{n}");
        }
    }
}

#[test]
fn a_scan_without_changes_returns_everything_once() {
    let mut pair = Pair::new(Layout::PLAIN);
    let model = Model { tag: 0, aux: 0, expiry: None, payload: vec![1; 8] };
    for n in 0..10_000 {
        pair.upsert(format!("{n}").as_bytes(), &model);
    }
    let (mut cursor, mut seen) = (0, Vec::new());
    loop {
        cursor = pair.table.scan(cursor, 10, &mut |entry| seen.push(entry.key().to_vec()));
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen.len(), 10_000);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>().len(), 10_000);
}

#[test]
fn samples_are_nearly_uniform() {
    for count in [1, 3, 50, 5000] {
        let mut random = Random(count as u64);
        let mut pair = Pair::new(Layout::PLAIN);
        let model = Model { tag: 0, aux: 0, expiry: None, payload: vec![1; 30] };
        for n in 0..count {
            pair.upsert(format!("{n}").as_bytes(), &model);
        }
        let mut counts = BTreeMap::new();
        for _ in 0..count * 100 {
            let entry = pair.table.sample(random.next()).expect("not empty");
            *counts.entry(entry.key().to_vec()).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), count, "every entry can be chosen");
        assert!(*counts.values().max().expect("some") < 100 * 3);
        assert!(*counts.values().min().expect("some") > 100 / 4);
    }
    assert!(Table::new(Layout::PLAIN).sample(1).is_none());
}

#[test]
fn expiry_removes_what_is_due_and_tightens_the_bound() {
    for seed in 0..12 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let mut pair = Pair::new(Layout::WITH_AUX);
        for n in 0..random.below(8000) {
            let model = Model { payload: vec![3; 20], ..random_model(&mut random) };
            pair.upsert(format!("{n}").as_bytes(), &model);
        }
        for now in (0..1100).step_by(90) {
            loop {
                let mut gone = Vec::new();
                let budget = 1 + random.below(500);
                let ended = pair.table.expire(now, budget, &mut |entry| {
                    gone.push((entry.key().to_vec(), entry.expiry()));
                });
                for (key, expiry) in gone {
                    assert!(expiry.expect("has one") <= now);
                    assert!(pair.model.remove(&key).is_some());
                }
                pair.check_account();
                // Writes between the slices of a walk must not be forgotten by the bound.
                let key = format!("late:{}", random.below(50)).into_bytes();
                let model = random_model(&mut random);
                pair.upsert(&key, &model);
                pair.check_account();
                if ended && pair.table.expiry_min() > now {
                    break;
                }
            }
            let due = pair.model.values().filter(|m| m.expiry.is_some_and(|e| e <= now)).count();
            assert_eq!(due, 0, "at {now}");
        }
        pair.check_all();
    }
}

#[test]
fn segments_can_be_taken_one_by_one() {
    for count in [0_usize, 1, 100, 40_000] {
        let mut pair = Pair::new(Layout::PLAIN);
        let mut random = Random(1);
        for n in 0..count {
            let model = random_model(&mut random);
            pair.upsert(format!("{n}").as_bytes(), &model);
        }
        let mut taken = 0;
        while let Some(segment) = pair.table.take_segment() {
            taken += segment.len();
            assert_eq!(segment.iter().count(), segment.len());
            drop(segment);
            assert_eq!(pair.table.heap_bytes(), pair.table.heap_bytes_walked());
            assert_eq!(pair.table.iter().count(), pair.table.len());
        }
        assert_eq!((taken, pair.table.heap_bytes(), pair.table.len()), (count, 0, 0));
        assert_eq!(pair.table.expiry_min(), i64::MAX);
    }
}

#[test]
fn a_table_with_holes_still_works() {
    let mut pair = Pair::new(Layout::PLAIN);
    let model = Model { tag: 0, aux: 0, expiry: Some(5), payload: vec![1; 30] };
    for n in 0..10_000 {
        pair.upsert(format!("{n}").as_bytes(), &model);
    }
    for _ in 0..5 {
        for entry in pair.table.take_segment().expect("there are many").iter() {
            pair.model.remove(entry.key());
        }
    }
    pair.check_all();
    for n in 0..10_000 {
        pair.upsert(format!("{n}").as_bytes(), &model);
        pair.upsert(format!("again:{n}").as_bytes(), &model);
    }
    pair.check_all();
    assert!(pair.table.sample(0).is_some());
    let keys: Vec<_> = pair.model.keys().cloned().collect();
    for key in keys {
        pair.remove(&key);
    }
    assert_eq!(pair.table.heap_bytes(), 0);
}

#[test]
fn appending_is_amortised_and_counted() {
    let mut table = Table::new(Layout::WITH_AUX);
    let key = b"log";
    let hash = hash_key(key);
    table.upsert(hash, key, NewEntry { tag: 0, aux: 0, expiry: None, payload: b"" });
    let (mut len, mut moves, mut heap) = (0, 0, 0);
    while len < 3 << 20 {
        len += 700;
        table.payload_resize(hash, key, len).expect("exists")[len - 1] = 1;
        if table.heap_bytes() != heap {
            heap = table.heap_bytes();
            moves += 1;
        }
    }
    assert_eq!(heap, table.heap_bytes_walked());
    assert!(moves < 25, "{moves} moves");
    let entry = table.find(hash, key).expect("exists");
    assert_eq!(entry.payload().iter().map(|b| *b as usize).sum::<usize>(), len / 700);
    assert!(KEY_INLINE_MAX < len && entry.heap_bytes() >= len);
}
