//! The collections: lists, hashes, sets, sorted sets. Pure data structures that know their exact
//! size on the heap; they know nothing of keys, clients or time.
//!
//! A collection is packed into one byte string while it is small, and an owned structure when it
//! is large. Which encoding it reports is a separate matter and follows Redis's directives, see
//! [`limits`].

mod arena;
mod chunk_list;
pub mod element;
pub mod hash;
mod int_set;
pub mod limits;
pub mod list;
mod member_index;
mod member_table;
pub mod packed;
mod ranked_tree;
pub mod sample;
pub mod set;
#[cfg(test)]
mod tests;
pub mod zset;
mod zset_run;

use std::ops::Range;

pub use chunk_list::{ChunkIter, ChunkList};
pub use element::{Element, canonical_int};
pub use hash::{Hash, HashRef, HashTable};
pub use limits::Limits;
pub use list::{List, ListRef, Side};
pub use packed::PACKED_BYTES_MAX;
pub use sample::Random;
pub use set::{Set, SetRef, SetTable};
pub use zset::{Inserted, MemberBound, Order, ScoreBound, ZSet, ZSetIter, ZSetRef, ZSetTree};

/// The positions that `start..=stop` name in a sequence of `len`; negative ones count from the
/// end, what lies outside is cut off (LRANGE, LTRIM, ZRANGE).
pub fn index_range(start: i64, stop: i64, len: usize) -> Range<usize> {
    let from_end = |index: i64| match index {
        ..0 => index.saturating_add(len as i64),
        _ => index,
    };
    let start = from_end(start).max(0) as usize;
    let end = from_end(stop).saturating_add(1).clamp(0, len as i64) as usize;
    if start < end { start..end } else { 0..0 }
}
