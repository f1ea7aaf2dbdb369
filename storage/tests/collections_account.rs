//! What collections say they take is what the allocator has handed out for them.

use ballast_storage::memory::{CountingAllocator, thread_used_bytes};
use ballast_storage::table::hash_key;
use ballast_storage::types::{Element, Hash, Limits, List, Set, Side, ZSet};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Bytes that the thread holds, once the hash function has made its keys.
fn start_bytes() -> i64 {
    hash_key(b"");
    thread_used_bytes()
}

/// Bytes that the thread holds more than at `start`.
fn held_since(start: i64) -> usize {
    usize::try_from(thread_used_bytes() - start).expect("nothing else was freed")
}

fn name(number: u64) -> Vec<u8> {
    // A multiplicative hash: an order that is neither ascending nor the same as any other.
    match number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61 {
        0 => number.to_string().into_bytes(),
        1 => vec![b'x'; 40 + (number % 400) as usize],
        _ => format!("member:{number}").into_bytes(),
    }
}

#[test]
fn hashes_and_sets() {
    let limits = Limits::default();
    let start = start_bytes();
    let (mut hash, mut set) = (Hash::new(), Set::new());
    for number in 0..20_000u64 {
        hash.set(&name(number), &name(number / 2), &limits);
        set.add(&name(number), &limits);
        if number % 4 == 3 {
            hash.remove(&name(number / 2));
            set.remove(&name(number / 2));
        }
        if number % 1000 == 999 {
            assert_eq!(held_since(start), hash.heap_bytes() + set.heap_bytes());
        }
    }
    for number in 0..20_000u64 {
        hash.remove(&name(number));
        set.remove(&name(number));
    }
    drop((hash, set));
    assert_eq!(held_since(start), 0);
}

#[test]
fn sorted_sets() {
    let limits = Limits::default();
    let start = start_bytes();
    let mut zset = ZSet::new();
    for number in 0..30_000u64 {
        let score = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50) as f64 / 4.0;
        zset.insert(&name(number % 20_000), score, &limits);
        if number % 4 == 3 {
            zset.remove(&name(number / 2));
        }
        if number % 1000 == 999 {
            assert_eq!(held_since(start), zset.heap_bytes());
        }
    }
    let copy = zset.as_ref().to_owned();
    assert_eq!(held_since(start), zset.heap_bytes() + copy.heap_bytes());
    drop(copy);
    while zset.len() > 200 {
        let middle = zset.len() / 2;
        zset.remove_ranks(middle..middle + 150, &mut |_, _| {});
        assert_eq!(held_since(start), zset.heap_bytes());
    }
    drop(zset);
    assert_eq!(held_since(start), 0);
}

#[test]
fn lists() {
    let limits = Limits::default();
    let start = start_bytes();
    let mut list = List::new();
    for number in 0..20_000u64 {
        match number % 8 {
            0..=2 => list.push_back(&name(number), &limits),
            3..=5 => list.push_front(&name(number), &limits),
            6 => drop((list.pop_front(&limits), list.pop_back(&limits))),
            _ => {
                let pivot = list.as_ref().get(number as i64 % 50).map(Element::to_vec);
                if let Some(pivot) = pivot {
                    list.insert(Side::After, &pivot, &name(number), &limits);
                }
            }
        }
        if number % 1000 == 999 {
            assert_eq!(held_since(start), list.heap_bytes());
        }
    }
    list.remove(0, b"8", &limits);
    list.trim(100, -100, &limits);
    assert_eq!(held_since(start), list.heap_bytes());
    while list.len() > 300 {
        list.pop_front(&limits);
        list.pop_back(&limits);
    }
    assert_eq!(held_since(start), list.heap_bytes());
    drop(list);
    assert_eq!(held_since(start), 0);
}

#[test]
fn freeing_in_slices_gives_everything_back() {
    let limits = Limits::default();
    let start = start_bytes();
    let (mut zset, mut list) = (ZSet::new(), List::new());
    for number in 0..20_000u64 {
        zset.insert(&name(number), number as f64, &limits);
        list.push_back(&name(number), &limits);
    }
    let mut slices = 0;
    while zset.free_some(256) > 0 || list.free_some(256) > 0 {
        slices += 1;
    }
    assert!(slices >= 2 * 20_000 / 512, "{slices} slices");
    assert!(zset.is_empty() && list.is_empty());
    assert_eq!(held_since(start), 0);
}
