//! Keys change at random between a cut and the end of its walk: what is emitted is the state at the
//! cut, each key once.

use std::collections::BTreeMap;

use crate::rdb::dump;
use crate::types::Limits;
use crate::{Create, Garbage, Key, Keyspace, OwnedValue, Slot, Unsaved, UnsavedWalk};

/// Database and key → value as `DUMP` has it, and expiry.
type State = BTreeMap<(u8, Vec<u8>), (Vec<u8>, Option<i64>)>;

const DATABASES: usize = 3;

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

struct Run {
    random: Random,
    slot: Slot,
    garbage: Garbage,
    now_ms: i64,
    keys: usize,
    emitted: State,
}

fn note(emitted: &mut State, unsaved: Unsaved<'_>) {
    let at = (unsaved.db, unsaved.key.key.to_vec());
    let value = (dump(unsaved.value), unsaved.key.meta.expiry);
    let before = emitted.insert(at, value);
    assert!(before.is_none(), "key {:?} is emitted twice", unsaved.key.key);
}

fn state(slot: &Slot) -> State {
    let mut all = State::new();
    for db in slot.databases() {
        for (key, value) in slot.keyspace(db).into_iter().flat_map(Keyspace::iter_values) {
            all.insert((db, key.key.to_vec()), (dump(value), key.meta.expiry));
        }
    }
    all
}

impl Run {
    fn db(&mut self) -> u8 {
        self.random.below(DATABASES) as u8
    }

    fn name(&mut self) -> Vec<u8> {
        let number = self.random.below(self.keys);
        let mut name = format!("key {number}").into_bytes();
        // Some keys are longer than an entry takes.
        name.resize(if number.is_multiple_of(17) { 300 } else { name.len() }, b'.');
        name
    }

    /// As the server's guard does before every change.
    fn early(&mut self, db: u8, name: &[u8]) {
        if self.slot.is_cut() {
            let emitted = &mut self.emitted;
            self.slot.save_early(db, &Key::new(name), &mut |unsaved| note(emitted, unsaved));
        }
    }

    fn change(&mut self) {
        let (db, name) = (self.db(), self.name());
        let key = Key::new(&name);
        self.early(db, &name);
        let text = vec![b'x'; [3, 40, 300, 700][self.random.below(4)]];
        let expiry = (self.random.below(3) == 0).then(|| self.now_ms + 50);
        let keys = self.slot.keyspace_mut(db);
        let limits = Limits { set_intset_entries_max: 4, ..Limits::default() };
        let limits = Limits { set_listpack_entries_max: 4, ..limits };
        match self.random.below(9) {
            0 => drop(keys.set_string(&key, &text, expiry, 1)),
            1 => drop(keys.set_string(&key, b"1234", expiry, 2)),
            2 => drop(keys.append(&key, b"more", 3)),
            3 => drop(keys.add(&key, 5, 4)),
            4 => drop(keys.set_expiry(&key, expiry)),
            5 => drop(keys.remove(&key)),
            6 => drop(keys.update_hash(&key, Create::IfMissing, |hash| {
                hash.set(&text, b"value", &limits);
            })),
            7 => keys.make_raw(&key),
            _ => drop(keys.update_set(&key, Create::IfMissing, |set| {
                // Enough that it has a structure of its own.
                (0..9).for_each(|n: i32| {
                    set.add(n.to_string().as_bytes(), &limits);
                });
            })),
        }
    }

    /// Looking changes the access bits.
    fn look(&mut self) {
        let (db, name) = (self.db(), self.name());
        if let Some(keys) = self.slot.existing_mut(db) {
            keys.find_and_touch(&Key::new(&name), |aux| aux + 1);
        }
    }

    fn rename(&mut self) {
        let (from, to, db, other) = (self.name(), self.name(), self.db(), self.db());
        self.early(db, &from);
        self.early(other, &to);
        let taken: Option<(OwnedValue, _)> =
            self.slot.existing_mut(db).and_then(|keys| keys.take(&Key::new(&from)));
        if let Some((value, expiry)) = taken {
            drop(self.slot.keyspace_mut(other).insert(&Key::new(&to), value, expiry, 0));
        }
    }

    fn expire(&mut self) {
        self.now_ms += 20;
        let db = self.db();
        let Run { slot, garbage, emitted, now_ms, .. } = self;
        if let Some(keys) = slot.existing_mut(db) {
            let early = &mut |unsaved: Unsaved<'_>| note(emitted, unsaved);
            keys.expired_into(*now_ms, 20, garbage, early, &mut |_| ());
        }
    }

    fn walk(&mut self) -> bool {
        let emitted = &mut self.emitted;
        let budget = 1 + self.random.below(2000);
        let mut f = |unsaved: Unsaved<'_>| note(emitted, unsaved);
        let detached = self.garbage.walk_unsaved(budget, &mut f);
        self.slot.walk_cut(budget, &mut f) && detached == UnsavedWalk::Nothing
    }

    fn step(&mut self) {
        match self.random.below(400) {
            0 => {
                let (a, b) = (self.db(), self.db());
                self.slot.swap(a, b);
            }
            1 => {
                let db = self.db();
                self.garbage.append(self.slot.flush(Some(db)));
            }
            2 if self.random.below(4) == 0 => self.garbage.append(self.slot.flush(None)),
            3..20 => self.expire(),
            20..60 => self.rename(),
            60..120 => self.look(),
            120..130 => drop(self.garbage.free_some(50)),
            _ => self.change(),
        }
        self.slot.settle();
        assert_eq!(self.slot.bytes(), self.slot.bytes_walked());
    }
}

fn run(seed: u64, keys: usize, steps_between_slices: usize) {
    println!("seed {seed}");
    let mut run = Run {
        random: Random(seed),
        slot: Slot::new(),
        garbage: Garbage::default(),
        now_ms: 0,
        keys,
        emitted: State::new(),
    };
    for _ in 0..4 {
        (0..keys * 2).for_each(|_| run.step());
        let at_cut = state(&run.slot);
        run.slot.cut();
        assert_eq!(run.slot.is_cut(), !at_cut.is_empty());
        loop {
            (0..run.random.below(steps_between_slices + 1)).for_each(|_| run.step());
            if run.walk() {
                break;
            }
        }
        assert!(!run.slot.is_cut() && run.garbage.unsaved_len() == 0);
        let emitted = std::mem::take(&mut run.emitted);
        assert!(emitted == at_cut, "{} keys instead of {}", emitted.len(), at_cut.len());
    }
    run.garbage.append(run.slot.flush(None));
    while !run.garbage.is_empty() {
        run.garbage.free_some(100);
    }
    assert_eq!((run.slot.bytes(), run.garbage.heap_bytes()), (0, 0));
    assert_eq!(run.garbage.unsaved_bytes(), 0);
}

#[test]
fn what_is_emitted_is_the_state_at_the_cut() {
    for seed in 0..6 {
        run(seed, 40, 3);
        run(seed, 300, 60);
    }
}

#[test]
fn a_walk_that_begins_again_emits_nothing_twice() {
    let mut slot = Slot::new();
    for n in 0..2000 {
        slot.keyspace_mut(0).set_string(&Key::new(format!("{n}").as_bytes()), b"v", None, 0);
    }
    slot.cut();
    let mut emitted = 0;
    for _ in 0..10 {
        slot.walk_cut(2000, &mut |_| emitted += 1);
        // Forgets where the walk was.
        slot.swap(0, 1);
    }
    while !slot.walk_cut(2000, &mut |_| emitted += 1) {}
    assert_eq!(emitted, 2000);
}
