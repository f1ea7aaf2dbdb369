//! The account against the allocator: what the structures say they hold is what the thread holds.

use ballast_storage::memory::{CountingAllocator, thread_used_bytes};
use ballast_storage::table::{Layout, NewEntry, Table, hash_key};
use ballast_storage::types::Limits;
use ballast_storage::{Create, Garbage, Key, Keyspace, Slot};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

#[test]
fn a_table_holds_what_it_says() {
    hash_key(b"makes the keys of the hash");
    for seed in 0..10 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let mut table = Table::new(Layout::WITH_AUX);
        let value = vec![7; 4000];
        let mut key = Vec::with_capacity(1000);
        let before = thread_used_bytes();
        for step in 0..40_000 {
            let n = random.below(6000);
            key.clear();
            key.extend_from_slice(&n.to_le_bytes());
            if n.is_multiple_of(40) {
                key.resize(300, 0);
            }
            let hash = hash_key(&key);
            let shrinks = step / 10_000 % 2;
            match random.below(8) + shrinks * 4 {
                0..=4 => {
                    let len = if random.below(20) == 0 { random.below(4000) } else { 32 };
                    let expiry = (random.below(4) == 0).then_some(9);
                    let entry = NewEntry { tag: 0, aux: 0, expiry, payload: &value[..len] };
                    table.upsert(hash, &key, entry);
                }
                5 => drop(table.payload_resize(hash, &key, random.below(2000)).map(|_| ())),
                _ => drop(table.remove(hash, &key, |_| ())),
            }
            assert_eq!(thread_used_bytes() - before, table.heap_bytes() as i64, "step {step}");
        }
        drop(table);
        assert_eq!(thread_used_bytes(), before);
    }
}

/// A step on a random key; what it leaves is freed in the caller's garbage.
fn step(slot: &mut Slot, random: &mut Random, limits: &Limits, garbage: &mut Garbage) {
    let name = random.below(60).to_le_bytes();
    let key = Key::new(&name);
    let db = if random.below(4) == 0 { 1 + random.below(15) as u8 } else { 0 };
    match random.below(400) {
        0 => return slot.swap(db, random.below(16) as u8),
        1 => return garbage.append(slot.flush(Some(db))),
        _ => {}
    }
    let keyspace = slot.keyspace_mut(db);
    let text = vec![b't'; random.below(64)];
    match random.below(9) {
        0 => garbage.push_some(keyspace.set_string(&key, &text, None, 0)),
        1 => drop(keyspace.append(&key, &text, 0)),
        7 => {
            if let Some((value, expiry)) = keyspace.take(&key) {
                let to = random.below(60).to_le_bytes();
                garbage.push_some(keyspace.insert(&Key::new(&to), value, expiry, 0));
            }
        }
        8 => garbage.push_some(keyspace.remove(&key)),
        _ => update(keyspace, &key, random, limits),
    }
}

/// Adds to a collection of a random kind, or removes from it.
fn update(keyspace: &mut Keyspace, key: &Key<'_>, random: &mut Random, limits: &Limits) {
    let times = if random.below(10) == 0 { 200 } else { 2 };
    let removes = random.below(3) == 0;
    let mut members = Vec::new();
    for _ in 0..times {
        let mut member = (random.below(3000) as u32).to_le_bytes().to_vec();
        member.resize(4 + random.below(60), 0);
        members.push(member);
    }
    let members = members.iter().map(Vec::as_slice);
    match random.below(4) {
        0 => drop(keyspace.update_hash(key, Create::IfMissing, |hash| {
            members.for_each(|member| {
                _ = if removes { hash.remove(member) } else { hash.set(member, b"value", limits) };
            });
        })),
        1 => drop(keyspace.update_set(key, Create::IfMissing, |set| {
            members.for_each(|member| {
                _ = if removes { set.remove(member) } else { set.add(member, limits) };
            });
        })),
        2 => drop(keyspace.update_list(key, Create::IfMissing, |list| {
            members.for_each(|member| {
                if removes { drop(list.pop_front(limits)) } else { list.push_back(member, limits) }
            });
        })),
        _ => drop(keyspace.update_zset(key, Create::IfMissing, |zset| {
            members.for_each(|member| {
                if removes {
                    zset.pop_min();
                } else {
                    zset.insert(member, f64::from(member[0]), limits);
                }
            });
        })),
    }
}

trait PushSome {
    fn push_some(&mut self, removed: Option<ballast_storage::Removed>);
}

impl PushSome for Garbage {
    fn push_some(&mut self, removed: Option<ballast_storage::Removed>) {
        if let Some(removed) = removed {
            self.push(removed);
        }
    }
}

#[test]
fn a_slot_holds_what_it_says() {
    let limits = Limits::default();
    for seed in 0..8 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let mut slot = Slot::new();
        let mut garbage = Garbage::default();
        // The buffers that updates reuse are the thread's: what they hold is known when the slot
        // is empty, and they do not change while only counted.
        for round in 0..40 {
            for _ in 0..100 {
                step(&mut slot, &mut random, &limits, &mut garbage);
                assert_eq!(slot.settle(), slot.bytes());
                let empty = |db: &u8| slot.keyspace(*db).is_none_or(Keyspace::is_empty);
                assert_eq!(slot.databases().skip(1).find(empty), None);
            }
            while !garbage.is_empty() {
                garbage.free_some(1000);
            }
            let bytes = slot.bytes();
            assert_eq!(bytes, slot.bytes_walked(), "round {round}");
            let before = thread_used_bytes();
            drop(std::mem::take(&mut slot));
            assert_eq!(before - thread_used_bytes(), bytes as i64, "round {round}");
            // Grown on over the next rounds from an empty slot, or from a filled one.
            for _ in 0..random.below(2000) {
                step(&mut slot, &mut random, &limits, &mut garbage);
            }
        }
        drop(slot.flush(None));
        assert_eq!(slot.bytes(), 0);
    }
}

#[test]
fn garbage_holds_what_it_says_until_it_is_freed() {
    let limits = Limits::default();
    hash_key(b"makes the keys of the hash");
    let members: Vec<Vec<u8>> = (0..3000).map(|n| format!("member:{n:05}").into_bytes()).collect();
    let fill = |keyspace: &mut Keyspace, name: &str| {
        let keys: Vec<String> = (0..4).map(|kind| format!("{name}{kind}")).collect();
        for member in &members {
            let create = Create::IfMissing;
            let key = |kind: usize| Key::new(keys[kind].as_bytes());
            _ = keyspace.update_hash(&key(0), create, |hash| hash.set(member, b"v", &limits));
            _ = keyspace.update_set(&key(1), create, |set| set.add(member, &limits));
            _ = keyspace.update_list(&key(2), create, |list| list.push_back(member, &limits));
            _ = keyspace.update_zset(&key(3), create, |zset| zset.insert(member, 1.0, &limits));
        }
    };
    // What updates reuse is the thread's.
    fill(&mut Keyspace::new(), "warm");
    let before = thread_used_bytes();
    let mut slot = Slot::new();
    let mut garbage = Garbage::default();
    fill(slot.keyspace_mut(0), "removed");
    for kind in 0..4 {
        let removed = slot.keyspace_mut(0).remove(&Key::new(format!("removed{kind}").as_bytes()));
        garbage.push(removed.expect("it is there"));
    }
    fill(slot.keyspace_mut(0), "flushed");
    garbage.append(slot.flush(None));
    let held =
        |garbage: &Garbage| assert_eq!(thread_used_bytes() - before, garbage.heap_bytes() as i64);
    held(&garbage);
    assert!(garbage.heap_bytes() > 8 * 3000 * 12);
    while !garbage.is_empty() {
        garbage.free_some(100);
        held(&garbage);
    }
    assert_eq!(garbage.heap_bytes(), 0);
}
