//! Property tests of the keyspace against plain std collections, with the account checked after
//! every step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;
use crate::types::{Element, Limits};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn text(&mut self) -> Vec<u8> {
        match self.below(6) {
            0 => self.next().cast_signed().to_string().into_bytes(),
            1 => self.below(100).to_string().into_bytes(),
            2 => vec![b'x'; self.below(700)],
            _ => format!("text:{}", self.below(1000)).into_bytes(),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Plain {
    Str(Vec<u8>),
    List(VecDeque<Vec<u8>>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
    Set(BTreeSet<Vec<u8>>),
    ZSet(BTreeMap<Vec<u8>, i64>),
}

fn plain(value: Value<'_>) -> Plain {
    match value {
        Value::Int(int) => Plain::Str(int.to_string().into_bytes()),
        Value::Str(bytes) => Plain::Str(bytes.to_vec()),
        Value::List(list) => Plain::List(list.iter().map(Element::to_vec).collect()),
        Value::Hash(hash) => {
            Plain::Hash(hash.iter().map(|(f, v)| (f.to_vec(), v.to_vec())).collect())
        }
        Value::Set(set) => Plain::Set(set.iter().map(Element::to_vec).collect()),
        Value::ZSet(zset) => {
            Plain::ZSet(zset.iter().map(|(e, score)| (e.to_vec(), score as i64)).collect())
        }
    }
}

#[derive(Default)]
struct Pair {
    keyspace: Keyspace,
    model: BTreeMap<Vec<u8>, (Plain, Option<i64>)>,
    limits: Limits,
}

impl Pair {
    fn check_key(&self, bytes: &[u8]) {
        let key = Key::new(bytes);
        let found = self.keyspace.find(&key).map(plain);
        assert_eq!(found.as_ref(), self.model.get(bytes).map(|(value, _)| value));
        let expiry = self.keyspace.meta(&key).and_then(|meta| meta.expiry);
        assert_eq!(expiry, self.model.get(bytes).and_then(|(_, expiry)| *expiry));
    }

    fn check_account(&self) {
        assert_eq!(self.keyspace.heap_bytes(), self.keyspace.heap_bytes_walked());
        assert_eq!(self.keyspace.len(), self.model.len());
        assert!(!self.keyspace.is_empty() || self.keyspace.heap_bytes() == 0);
    }

    /// The value of the model, made if the key is missing; none if it is of another kind.
    fn strings(&mut self, random: &mut Random, bytes: &[u8]) {
        let key = Key::new(bytes);
        let old = match self.model.get(bytes) {
            None => Some(Vec::new()),
            Some((Plain::Str(text), _)) => Some(text.clone()),
            Some(_) => None,
        };
        let expiry = self.model.get(bytes).and_then(|(_, expiry)| *expiry);
        let text = random.text();
        let mut kept = expiry;
        let new = match random.below(4) {
            0 | 1 => {
                let expiry = (random.below(3) == 0).then(|| random.below(1000) as i64);
                self.keyspace.set_string(&key, &text, expiry, 1);
                kept = expiry;
                Some(text)
            }
            2 => {
                let done = self.keyspace.append(&key, &text, 1);
                let new = old.map(|old| [old, text].concat());
                assert_eq!(done.ok(), new.as_ref().map(Vec::len));
                new
            }
            _ => {
                let offset = random.below(400);
                let done = self.keyspace.set_range(&key, offset, &text, 1);
                let new = old.map(|mut old| {
                    old.resize(old.len().max(offset + text.len()), 0);
                    old[offset..offset + text.len()].copy_from_slice(&text);
                    old
                });
                assert_eq!(done.ok(), new.as_ref().map(Vec::len));
                new
            }
        };
        if let Some(new) = new {
            self.model.insert(bytes.to_vec(), (Plain::Str(new), kept));
        }
    }

    fn collections(&mut self, random: &mut Random, bytes: &[u8]) {
        let expiry = self.model.get(bytes).and_then(|(_, expiry)| *expiry);
        let old = self.model.get(bytes).map(|(value, _)| value.clone());
        let count = if random.below(8) == 0 { random.below(400) } else { random.below(4) };
        let removes = random.below(2) == 0;
        let new = match random.below(4) {
            0 => self.list(random, bytes, old.as_ref(), count, removes),
            1 => self.hash(random, bytes, old.as_ref(), count, removes),
            2 => self.set(random, bytes, old.as_ref(), count, removes),
            _ => self.zset(random, bytes, old.as_ref(), count, removes),
        };
        match new {
            Some(Some(new)) => drop(self.model.insert(bytes.to_vec(), (new, expiry))),
            Some(None) => drop(self.model.remove(bytes)),
            None => {}
        }
    }

    fn list(
        &mut self,
        random: &mut Random,
        bytes: &[u8],
        old: Option<&Plain>,
        count: usize,
        removes: bool,
    ) -> Option<Option<Plain>> {
        let mut model = match old {
            None => Some(VecDeque::new()),
            Some(Plain::List(list)) => Some(list.clone()),
            Some(_) => None,
        };
        let limits = &self.limits;
        let done = self.keyspace.update_list(&Key::new(bytes), Create::IfMissing, |list| {
            let model = model.as_mut().expect("of this kind");
            for _ in 0..count {
                if removes {
                    assert_eq!(list.pop_back(limits), model.pop_back());
                } else {
                    let text = random.text();
                    list.push_front(&text, limits);
                    model.push_front(text);
                }
            }
        });
        assert_eq!(done.is_ok(), model.is_some());
        model.map(|model| (!model.is_empty()).then_some(Plain::List(model)))
    }

    fn hash(
        &mut self,
        random: &mut Random,
        bytes: &[u8],
        old: Option<&Plain>,
        count: usize,
        removes: bool,
    ) -> Option<Option<Plain>> {
        let mut model = match old {
            None => Some(BTreeMap::new()),
            Some(Plain::Hash(hash)) => Some(hash.clone()),
            Some(_) => None,
        };
        let limits = &self.limits;
        let done = self.keyspace.update_hash(&Key::new(bytes), Create::IfMissing, |hash| {
            let model = model.as_mut().expect("of this kind");
            for _ in 0..count {
                if removes {
                    let field = model.keys().next().cloned().unwrap_or_default();
                    assert_eq!(hash.remove(&field), model.remove(&field).is_some());
                } else {
                    let (field, value) = (random.text(), random.text());
                    let new = hash.set(&field, &value, limits);
                    assert_eq!(new, model.insert(field, value).is_none());
                }
            }
        });
        assert_eq!(done.is_ok(), model.is_some());
        model.map(|model| (!model.is_empty()).then_some(Plain::Hash(model)))
    }

    fn set(
        &mut self,
        random: &mut Random,
        bytes: &[u8],
        old: Option<&Plain>,
        count: usize,
        removes: bool,
    ) -> Option<Option<Plain>> {
        let mut model = match old {
            None => Some(BTreeSet::new()),
            Some(Plain::Set(set)) => Some(set.clone()),
            Some(_) => None,
        };
        let limits = &self.limits;
        let ints = random.below(2) == 0;
        let done = self.keyspace.update_set(&Key::new(bytes), Create::IfMissing, |set| {
            let model = model.as_mut().expect("of this kind");
            for _ in 0..count {
                if removes {
                    let member = model.first().cloned().unwrap_or_default();
                    assert_eq!(set.remove(&member), model.remove(&member));
                } else {
                    let int = random.below(100_000).to_string().into_bytes();
                    let member = if ints { int } else { random.text() };
                    assert_eq!(set.add(&member, limits), model.insert(member));
                }
            }
        });
        assert_eq!(done.is_ok(), model.is_some());
        model.map(|model| (!model.is_empty()).then_some(Plain::Set(model)))
    }

    fn zset(
        &mut self,
        random: &mut Random,
        bytes: &[u8],
        old: Option<&Plain>,
        count: usize,
        removes: bool,
    ) -> Option<Option<Plain>> {
        let mut model = match old {
            None => Some(BTreeMap::new()),
            Some(Plain::ZSet(zset)) => Some(zset.clone()),
            Some(_) => None,
        };
        let limits = &self.limits;
        let done = self.keyspace.update_zset(&Key::new(bytes), Create::IfMissing, |zset| {
            let model = model.as_mut().expect("of this kind");
            for _ in 0..count {
                if removes {
                    let member = model.keys().next().cloned().unwrap_or_default();
                    assert_eq!(zset.remove(&member).is_some(), model.remove(&member).is_some());
                } else {
                    let (member, score) = (random.text(), random.below(1000) as i64);
                    zset.insert(&member, score as f64, limits);
                    model.insert(member, score);
                }
            }
        });
        assert_eq!(done.is_ok(), model.is_some());
        model.map(|model| (!model.is_empty()).then_some(Plain::ZSet(model)))
    }

    fn others(&mut self, random: &mut Random, bytes: &[u8], garbage: &mut Garbage) {
        let key = Key::new(bytes);
        match random.below(6) {
            0 => {
                if let Some(removed) = self.keyspace.remove(&key) {
                    garbage.push(removed);
                    assert!(self.model.remove(bytes).is_some());
                }
            }
            1 => {
                let expiry = (random.below(2) == 0).then(|| random.below(1000) as i64);
                let done = self.keyspace.set_expiry(&key, expiry);
                assert_eq!(done, self.model.contains_key(bytes));
                if let Some(value) = self.model.get_mut(bytes) {
                    value.1 = expiry;
                }
            }
            2 => {
                let to = format!("key:{}", random.below(40)).into_bytes();
                if let Some((value, expiry)) = self.keyspace.take(&key) {
                    self.keyspace.insert(&Key::new(&to), value, expiry, 2);
                    let moved = self.model.remove(bytes).expect("exists");
                    assert_eq!(moved.1, expiry);
                    self.model.insert(to.clone(), moved);
                }
                self.check_key(&to);
            }
            3 => {
                let to = format!("key:{}", random.below(40)).into_bytes();
                if let Some(value) = self.keyspace.clone_value(&key) {
                    self.keyspace.insert(&Key::new(&to), value, None, 2);
                    let copied = self.model[bytes].0.clone();
                    self.model.insert(to.clone(), (copied, None));
                }
                self.check_key(&to);
            }
            4 => {
                let now = random.below(120) as i64;
                let model = &mut self.model;
                let mut count = 0;
                let gone = self.keyspace.expired_into(now, 10, garbage, &mut |_| (), &mut |key| {
                    let (_, expiry) = model.remove(key).expect("exists");
                    assert!(expiry.expect("expires") <= now);
                    count += 1;
                });
                assert_eq!(gone, count);
            }
            _ => {
                let usage = self.keyspace.memory_usage(&key);
                assert_eq!(usage.is_some(), self.model.contains_key(bytes));
                self.keyspace.touch(&key, 1234);
                let touched = self.keyspace.find_and_touch(&key, |aux| {
                    assert_eq!(aux, 1234);
                    77
                });
                assert_eq!(touched.is_some(), self.model.contains_key(bytes));
                assert!(self.keyspace.meta(&key).is_none_or(|meta| meta.aux == 77));
            }
        }
    }
}

#[test]
fn agrees_with_a_model() {
    for seed in 0..40 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let mut pair = Pair::default();
        let mut garbage = Garbage::default();
        for _ in 0..600 {
            let bytes = format!("key:{}", random.below(40)).into_bytes();
            match random.below(8) {
                0..=2 => pair.strings(&mut random, &bytes),
                3..=5 => pair.collections(&mut random, &bytes),
                _ => pair.others(&mut random, &bytes, &mut garbage),
            }
            garbage.free_some(random.below(20));
            pair.check_key(&bytes);
            pair.check_account();
        }
        for (bytes, _) in std::mem::take(&mut pair.model) {
            assert!(pair.keyspace.remove(&Key::new(&bytes)).is_some());
        }
        pair.check_account();
    }
}

#[test]
fn strings_report_redis_encodings() {
    let mut keyspace = Keyspace::new();
    let key = Key::new(b"k");
    let mut encoding = |value: &[u8]| {
        keyspace.set_string(&key, value, None, 0);
        keyspace.encoding(&key)
    };
    assert_eq!(encoding(b"12"), Some("int"));
    assert_eq!(encoding(b"012"), Some("embstr"));
    assert_eq!(encoding(&[b'a'; 44]), Some("embstr"));
    assert_eq!(encoding(&[b'a'; 45]), Some("raw"));
    assert_eq!(encoding(b"9223372036854775807"), Some("int"));
    assert_eq!(encoding(b"9223372036854775808"), Some("embstr"));
    assert_eq!(keyspace.append(&key, b"", 0), Ok(19));
    assert_eq!(keyspace.encoding(&key), Some("raw"));
    keyspace.set_int(&key, 5, None, 0);
    assert_eq!(keyspace.append(&key, b"6", 0), Ok(2));
    assert_eq!(keyspace.encoding(&key), Some("raw"));
    assert_eq!(keyspace.set_range(&Key::new(b"none"), 5, b"", 0), Ok(0));
    assert!(keyspace.find(&Key::new(b"none")).is_none());
}

#[test]
fn what_grows_once_takes_no_spare_memory() {
    let long = [b'k'; 300];
    for key in [&b"k"[..], &long] {
        for before in [None, Some(&b""[..]), Some(b"7"), Some(&[b's'; 511])] {
            let mut keyspace = Keyspace::new();
            let key = Key::new(key);
            if let Some(before) = before {
                keyspace.set_string(&key, before, None, 0);
            }
            assert_eq!(keyspace.set_range(&key, 99_999, b"x", 0), Ok(100_000));
            let once = keyspace.memory_usage(&key).expect("it was made");
            let mut whole = Keyspace::new();
            whole.set_text(&key, &[b'x'; 100_000], None, 0);
            // A string whose long key is in its block has that block from the start.
            let again = key.bytes.len() > 255 && before.is_some_and(|text| !text.is_empty());
            if !again {
                assert_eq!(Some(once), whole.memory_usage(&key), "{before:?} before");
            }
            assert_eq!(keyspace.append(&key, &[b'y'; 15_000], 0), Ok(115_000));
            let grown = keyspace.memory_usage(&key).expect("it is there");
            assert!(again || grown > 2 * 115_000, "{grown}: it goes on growing");
            assert_eq!(keyspace.heap_bytes(), keyspace.heap_bytes_walked());
        }
    }
}

#[test]
fn a_panic_in_an_update_leaves_the_keyspace_sound() {
    let mut keyspace = Keyspace::new();
    let key = Key::new(b"big");
    let limits = Limits::default();
    keyspace
        .update_set(&key, Create::IfMissing, |set| {
            (0..5000).for_each(|n| _ = set.add(format!("member:{n}").as_bytes(), &limits));
        })
        .expect("a set");
    let update = std::panic::AssertUnwindSafe(|| {
        keyspace.update_set(&key, Create::IfMissing, |_| panic!("in the middle"))
    });
    assert!(std::panic::catch_unwind(update).is_err());
    assert_eq!(keyspace.heap_bytes(), keyspace.heap_bytes_walked());
    assert!(keyspace.remove(&key).is_some());
    assert_eq!(keyspace.heap_bytes(), 0);
}

#[test]
fn large_things_are_freed_in_slices() {
    let limits = Limits::default();
    let mut slot = crate::Slot::new();
    let keyspace = slot.keyspace_mut(0);
    let name = |n: usize| format!("element:{n}").into_bytes();
    let count = 20_000;
    let _ = keyspace.update_set(&Key::new(b"set"), Create::IfMissing, |set| {
        (0..count).for_each(|n| _ = set.add(&name(n), &limits));
    });
    let _ = keyspace.update_hash(&Key::new(b"hash"), Create::IfMissing, |hash| {
        (0..count).for_each(|n| _ = hash.set(&name(n), b"1", &limits));
    });
    let _ = keyspace.update_list(&Key::new(b"list"), Create::IfMissing, |list| {
        (0..count).for_each(|n| list.push_back(&name(n), &limits));
    });
    let _ = keyspace.update_zset(&Key::new(b"zset"), Create::IfMissing, |zset| {
        (0..count).for_each(|n| _ = zset.insert(&name(n), n as f64, &limits));
    });
    for n in 0..5000 {
        keyspace.set_string(&Key::new(&name(n)), b"value", None, 0);
    }
    let mut garbage = Garbage::default();
    garbage.push(keyspace.remove(&Key::new(b"set")).expect("exists"));
    garbage.append(slot.flush(None));
    assert_eq!((slot.bytes(), slot.key_count()), (0, 0));
    let (mut freed, mut slices) = (0, 0);
    while !garbage.is_empty() {
        let part = garbage.free_some(500);
        assert!(part < 6000, "{part} in one slice");
        freed += part;
        slices += 1;
    }
    assert!(freed >= 4 * count + 5003 && slices > 30, "{freed} in {slices}");
}

#[test]
fn few_long_elements_are_freed_later_as_many_short_ones_are() {
    let limits = Limits::default();
    for (bytes, count, freed_later) in [(10, 100, false), (10_000, 100, true), (10, 300, true)] {
        let mut keys = Keyspace::new();
        let key = Key::new(b"set");
        let made = keys.update_set(&key, Create::IfMissing, |set| {
            for at in 0..count {
                set.add(format!("{at:0bytes$}x").as_bytes(), &limits);
            }
        });
        assert_eq!(made, Ok(Some(())));
        let mut garbage = Garbage::default();
        garbage.push(keys.remove(&key).expect("exists"));
        assert_eq!(!garbage.is_empty(), freed_later, "{count} of {bytes}");
    }
}
