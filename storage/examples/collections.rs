//! What collections take: bytes of the packed payload of small ones, bytes per element of large
//! ones, next to the bytes that were put in.
//!
//! `cargo run --release -p ballast-storage --example collections`

use ballast_storage::types::{Hash, Limits, List, Set, ZSet};
use ballast_storage::{Create, Key, Keyspace};

/// The packed bytes of a collection, if it is packed.
macro_rules! as_packed {
    ($kind:ident, $collection:expr) => {
        match $collection {
            $kind::Packed(bytes) => Some(&bytes[..]),
            _ => None,
        }
    };
}
/// A packed form: what the keyspace stores as the key's payload.
fn packed_len(name: &str, packed: Option<&[u8]>, content: usize) {
    match packed {
        Some(bytes) => {
            let over = bytes.len() as i64 - content as i64;
            println!("{name:<34} {content:>8} {:>8} {over:>+8}", bytes.len());
        }
        None => println!("{name:<34} is not packed"),
    }
}

/// A large form: bytes per element.
fn large(name: &str, heap: usize, count: usize, content: usize) {
    let (content, each) = (content as f64 / count as f64, heap as f64 / count as f64);
    println!("{name:<34} {content:>8.1} {each:>8.1} {:>+8.1}", each - content);
}

fn small_ones(limits: &Limits) {
    println!("{:<34} {:>8} {:>8} {:>8}", "one packed collection", "content", "payload", "over");
    let (mut hash, mut content) = (Hash::new(), 0);
    for number in 0..10 {
        let (field, value) = (format!("field:{number}"), format!("value:{number:04}"));
        content += field.len() + value.len();
        hash.set(field.as_bytes(), value.as_bytes(), limits);
    }
    packed_len("hash of 10 fields", as_packed!(Hash, &hash), content);
    let (mut zset, mut content) = (ZSet::new(), 0);
    for number in 0..20 {
        let member = format!("member:{number:02}");
        content += member.len() + size_of::<f64>();
        zset.insert(member.as_bytes(), f64::from(number * 100), limits);
    }
    packed_len("sorted set of 20", as_packed!(ZSet, &zset), content);
    let (mut list, mut set, mut ints) = (List::new(), Set::new(), Set::new());
    for number in 0..20 {
        let text = format!("value:{number:04}");
        list.push_back(text.as_bytes(), limits);
        set.add(text.as_bytes(), limits);
        ints.add((123_456 + number * 31_337).to_string().as_bytes(), limits);
    }
    packed_len("list of 20 of 10 bytes", as_packed!(List, &list), 200);
    packed_len("set of 20 of 10 bytes", as_packed!(Set, &set), 200);
    let ints = match &ints {
        Set::Ints(bytes) => Some(&bytes[..]),
        _ => None,
    };
    packed_len("set of 20 integers of 6 digits", ints, 120);
}

fn large_ones(limits: &Limits) {
    const COUNT: usize = 100_000;
    println!("\n{:<34} {:>8} {:>8} {:>8}", "bytes per element", "content", "heap", "over");
    let (mut hash, mut set, mut ints, mut list) =
        (Hash::new(), Set::new(), Set::new(), List::new());
    let (mut random, mut ascending) = (ZSet::new(), ZSet::new());
    for number in 0..COUNT {
        let text = format!("value:{number:06}");
        hash.set(text.as_bytes(), text.as_bytes(), limits);
        set.add(text.as_bytes(), limits);
        ints.add((number * 7 + 1_000_000).to_string().as_bytes(), limits);
        list.push_back(text.as_bytes(), limits);
        let score = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        random.insert(text.as_bytes(), score as f64, limits);
        ascending.insert(text.as_bytes(), (1_700_000_000 + number) as f64, limits);
    }
    large("hash, fields and values of 12", hash.heap_bytes(), COUNT, 24 * COUNT);
    large("set, members of 12", set.heap_bytes(), COUNT, 12 * COUNT);
    large("set, integers of 7 digits", ints.heap_bytes(), COUNT, 7 * COUNT);
    large("list, elements of 12", list.heap_bytes(), COUNT, 12 * COUNT);
    large("sorted set of 12, random scores", random.heap_bytes(), COUNT, 20 * COUNT);
    large("sorted set of 12, ascending scores", ascending.heap_bytes(), COUNT, 20 * COUNT);
}

/// Bytes of whole keys of a keyspace, per key, without the bytes of keys and content.
fn whole_keys(name: &str, content: usize, fill: impl Fn(&mut Keyspace, &Key<'_>)) {
    // As many as a slot has when a million keys lie in all slots.
    const KEYS: usize = 61;
    let mut keyspace = Keyspace::new();
    let mut key_bytes = 0;
    for number in 0..KEYS {
        let key = format!("key:{number:06}");
        key_bytes += key.len();
        fill(&mut keyspace, &Key::new(key.as_bytes()));
    }
    let over = keyspace.heap_bytes() as i64 - (key_bytes + content * KEYS) as i64;
    println!("{name:<34} {:>+8.1}", over as f64 / KEYS as f64);
}

/// The same small collections in a keyspace: what a key takes besides its name and content. A
/// score counts as 8 bytes, so integer scores can make it negative.
fn keys(limits: &Limits) {
    println!("\n{:<34} {:>8}", "whole keys, 61 to a keyspace", "over");
    const VALUE: &[u8] = b"0123456789";
    whole_keys("hash of 10 fields", 170, |keyspace, key| {
        for number in 0..10 {
            let field = format!("field:{number}");
            let set = |hash: &mut Hash| hash.set(field.as_bytes(), b"value:0123", limits);
            keyspace.update_hash(key, Create::IfMissing, set).expect("a hash");
        }
    });
    whole_keys("sorted set of 20", 340, |keyspace, key| {
        for number in 0..20 {
            let member = format!("member:{number:02}");
            let score = f64::from(number * 100);
            let insert = |zset: &mut ZSet| zset.insert(member.as_bytes(), score, limits);
            keyspace.update_zset(key, Create::IfMissing, insert).expect("a sorted set");
        }
    });
    whole_keys("set of 20 integers of 6 digits", 120, |keyspace, key| {
        for number in 0..20 {
            let member = (123_456 + number * 31_337).to_string();
            let add = |set: &mut Set| set.add(member.as_bytes(), limits);
            keyspace.update_set(key, Create::IfMissing, add).expect("a set");
        }
    });
    whole_keys("list of 20 of 10 bytes", 200, |keyspace, key| {
        for _ in 0..20 {
            let push = |list: &mut List| list.push_back(VALUE, limits);
            keyspace.update_list(key, Create::IfMissing, push).expect("a list");
        }
    });
    whole_keys("set of 20 of 10 bytes", 200, |keyspace, key| {
        for number in 0..20 {
            let member = format!("value:{number:04}");
            let add = |set: &mut Set| set.add(member.as_bytes(), limits);
            keyspace.update_set(key, Create::IfMissing, add).expect("a set");
        }
    });
}

fn main() {
    let limits = Limits::default();
    small_ones(&limits);
    large_ones(&limits);
    keys(&limits);
}
