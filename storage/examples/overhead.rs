//! Bytes that a key costs beyond its own and its value's, in 16,384 slots.
//!
//! `cargo run --release -p ballast-storage --example overhead`

use ballast_storage::memory::{CountingAllocator, thread_used_bytes};
use ballast_storage::{Key, Slot};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const SLOTS: usize = 16_384;
const STEP: usize = 250_000;

struct Case {
    name: &'static str,
    value_len: usize,
    expiry: Option<i64>,
    keys: usize,
}

fn main() {
    let cases = [
        Case { name: "32 B values", value_len: 32, expiry: None, keys: 4_000_000 },
        Case {
            name: "32 B values, with expiry",
            value_len: 32,
            expiry: Some(1 << 41),
            keys: 4_000_000,
        },
        Case { name: "1 KiB values", value_len: 1024, expiry: None, keys: 2_000_000 },
        Case { name: "200 B values", value_len: 200, expiry: None, keys: 2_000_000 },
        Case { name: "8 B values", value_len: 8, expiry: None, keys: 4_000_000 },
    ];
    for case in cases {
        measure(&case);
    }
}

fn measure(case: &Case) {
    println!("{}: 16 B keys, overhead in bytes per key", case.name);
    let before = thread_used_bytes();
    let mut slots: Vec<Slot> = (0..SLOTS).map(|_| Slot::new()).collect();
    let value = vec![b'v'; case.value_len];
    let (mut sum, mut worst, mut count) = (0.0, 0.0_f64, 0);
    for n in 1..=case.keys {
        let name = format!("key:{n:012}");
        let key = Key::new(name.as_bytes());
        // The slots of Redis are as good as random; so are these bits, which tables do not use
        // first.
        let slot = (key.hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50) as usize;
        slots[slot].keyspace_mut(0).set_string(&key, &value, case.expiry, 1);
        if n % STEP == 0 && n >= 1_000_000 {
            let used = (thread_used_bytes() - before) as usize;
            let accounted: u64 = slots.iter().map(Slot::bytes).sum();
            let overhead = used as f64 / n as f64 - (16 + case.value_len) as f64;
            let unexplained = used as i64 - accounted as i64;
            println!("  {n:>8} keys {overhead:6.2}  (not of the slots: {unexplained} B)");
            (sum, worst, count) = (sum + overhead, worst.max(overhead), count + 1);
        }
    }
    println!("  mean {:.2}, worst {worst:.2}", sum / f64::from(count));
}
