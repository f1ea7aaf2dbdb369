//! The longest single inserts and removals of one table that grows to millions of keys.
//!
//! `cargo run --release -p ballast-storage --example tail`

use std::time::Instant;

use ballast_storage::table::{Layout, NewEntry, Table, hash_key};

#[global_allocator]
static ALLOCATOR: ballast_storage::memory::CountingAllocator =
    ballast_storage::memory::CountingAllocator;

const KEYS: usize = 4_000_000;

fn main() {
    let mut table = Table::new(Layout::WITH_AUX);
    for value_len in [0, 32] {
        let value = vec![b'v'; value_len];
        let entry = NewEntry { tag: 0, aux: 0, expiry: None, payload: &value };
        report("insert", value_len, |key| {
            table.upsert(hash_key(key), key, entry);
        });
        report("remove", value_len, |key| {
            table.remove(hash_key(key), key, |_| ());
        });
    }
}

fn report(what: &str, value_len: usize, mut operation: impl FnMut(&[u8])) {
    let mut nanos: Vec<u32> = Vec::with_capacity(KEYS);
    let start = Instant::now();
    for n in 0..KEYS {
        let key = (n as u64).to_le_bytes();
        let start = Instant::now();
        operation(&key);
        nanos.push(start.elapsed().as_nanos() as u32);
    }
    let mean = start.elapsed().as_nanos() as usize / KEYS;
    nanos.sort_unstable();
    let at = |share: f64| f64::from(nanos[(KEYS as f64 * share) as usize]) / 1000.0;
    println!(
        "{what}, 8 B keys, {value_len} B values: mean {mean} ns, p99 {:.1}, p99.9 {:.1}, \
         p99.99 {:.1}, p99.999 {:.1} µs",
        at(0.99),
        at(0.999),
        at(0.9999),
        at(0.999_99)
    );
}
