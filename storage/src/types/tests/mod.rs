//! Property tests of the collections against plain models of std.

mod hash;
mod list;
mod set;
mod zset;

use proptest::prelude::*;

use super::Limits;

/// Small limits, so that conversions happen within few steps.
fn limits() -> impl Strategy<Value = Limits> {
    let list = prop_oneof![Just(-2i64), Just(-1), Just(4), Just(40)];
    (0usize..40, 0usize..30, list).prop_map(|(entries, value, list)| Limits {
        hash_listpack_entries_max: entries,
        hash_listpack_value_max: value,
        set_intset_entries_max: entries * 2,
        set_listpack_entries_max: entries,
        set_listpack_value_max: value,
        zset_listpack_entries_max: entries,
        zset_listpack_value_max: value,
        list_listpack_size_max: list,
    })
}

/// Few different names, so that they meet again; some numbers, some long.
fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0u32..60).prop_map(|n| format!("name:{n}").into_bytes()),
        3 => (-20i64..200).prop_map(|n| n.to_string().into_bytes()),
        1 => (0usize..12).prop_map(|n| vec![b'a' + n as u8; n * 37]),
        1 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
    ]
}

/// A generator for what takes random numbers.
fn generator(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
