//! Single operations in long loops, for callgrind.
//!
//! `valgrind --tool=callgrind --toggle-collect='*measured*' target/release/examples/ops find`
//! with one of: find, miss, overwrite, insert, remove, grow, baseline, set, get.

use std::hint::black_box;

use ballast_storage::table::{Layout, NewEntry, Table, hash_key};
use ballast_storage::{Key, Keyspace};

#[global_allocator]
static ALLOCATOR: ballast_storage::memory::CountingAllocator =
    ballast_storage::memory::CountingAllocator;

const TABLES: usize = 1000;
const KEYS: usize = 150;
const VALUE: [u8; 32] = [b'v'; 32];

fn main() {
    let what = std::env::args().nth(1).unwrap_or_default();
    let keys: Vec<[u8; 16]> = (0..TABLES * KEYS).map(key).collect();
    let missing: Vec<[u8; 16]> = (0..TABLES * KEYS).map(|n| key(n + TABLES * KEYS)).collect();
    let operations = keys.len();
    if what == "set" || what == "get" {
        let mut keyspaces: Vec<Keyspace> = (0..TABLES).map(|_| Keyspace::new()).collect();
        for (n, key) in keys.iter().enumerate() {
            keyspaces[n % TABLES].set_string(&Key::new(key), &VALUE, None, 1);
        }
        if what == "set" {
            measured_set(&mut keyspaces, &keys);
        } else {
            measured_get(&mut keyspaces, &keys);
        }
    } else {
        let mut tables: Vec<Table> = (0..TABLES).map(|_| Table::new(Layout::WITH_AUX)).collect();
        if what == "grow" {
            measured_grow(&mut tables[0], &keys);
        } else if what == "insert" {
            measured_upsert(&mut tables, &keys);
        } else {
            measured_prepare(&mut tables, &keys);
            match what.as_str() {
                "find" => measured_find(&tables, &keys),
                "miss" => measured_find(&tables, &missing),
                "overwrite" => measured_upsert(&mut tables, &keys),
                "remove" => measured_remove(&mut tables, &keys),
                _ => measured_baseline(&keys),
            }
        }
    }
    println!("{operations} operations");
}

fn key(n: usize) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let mut rest = n;
    for digit in key.iter_mut().rev().take(12) {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

fn new_entry() -> NewEntry<'static> {
    NewEntry { tag: 1, aux: 2, expiry: None, payload: &VALUE }
}

fn measured_prepare(tables: &mut [Table], keys: &[[u8; 16]]) {
    for (n, key) in keys.iter().enumerate() {
        tables[n % TABLES].upsert(hash_key(key), key, new_entry());
    }
}

#[inline(never)]
fn measured_baseline(keys: &[[u8; 16]]) {
    for key in keys {
        black_box(hash_key(black_box(key)));
    }
}

#[inline(never)]
fn measured_find(tables: &[Table], keys: &[[u8; 16]]) {
    let mut table = 0;
    for key in keys {
        let key: &[u8] = black_box(key);
        black_box(tables[table].find(hash_key(key), key));
        table = if table + 1 == TABLES { 0 } else { table + 1 };
    }
}

#[inline(never)]
fn measured_upsert(tables: &mut [Table], keys: &[[u8; 16]]) {
    let mut table = 0;
    for key in keys {
        let key: &[u8] = black_box(key);
        black_box(tables[table].upsert(hash_key(key), key, new_entry()));
        table = if table + 1 == TABLES { 0 } else { table + 1 };
    }
}

#[inline(never)]
fn measured_grow(table: &mut Table, keys: &[[u8; 16]]) {
    for key in keys {
        let key: &[u8] = black_box(key);
        black_box(table.upsert(hash_key(key), key, new_entry()));
    }
}

#[inline(never)]
fn measured_remove(tables: &mut [Table], keys: &[[u8; 16]]) {
    let mut table = 0;
    for key in keys {
        let key: &[u8] = black_box(key);
        black_box(tables[table].remove(hash_key(key), key, |_| ()));
        table = if table + 1 == TABLES { 0 } else { table + 1 };
    }
}

#[inline(never)]
fn measured_set(keyspaces: &mut [Keyspace], keys: &[[u8; 16]]) {
    let mut table = 0;
    for key in keys {
        let key = Key::new(black_box(key));
        black_box(keyspaces[table].set_string(&key, black_box(&VALUE), None, 3).is_some());
        table = if table + 1 == TABLES { 0 } else { table + 1 };
    }
}

#[inline(never)]
fn measured_get(keyspaces: &mut [Keyspace], keys: &[[u8; 16]]) {
    let mut table = 0;
    for key in keys {
        let key = Key::new(black_box(key));
        black_box(keyspaces[table].find_and_touch(&key, |aux| aux + 1));
        table = if table + 1 == TABLES { 0 } else { table + 1 };
    }
}
