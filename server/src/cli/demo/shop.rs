//! The shop whose data fills the server: product pages that cluster in categories, carts, and
//! sessions that expire. All of it follows from a seed.

use std::sync::Arc;

use ballast_protocol::slot::key_slot;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::node::router::initial_owner;

/// Sizes of product pages.
const PAGE_BYTES_MIN: usize = 1 << 10;
const PAGE_BYTES_MAX: usize = 20 << 10;
/// A page with its key and the room that the allocator rounds up to, on average.
const PAGE_BYTES_KEPT: f64 = 11_400.0;
/// Part of all capacity that the shop wants for its pages.
const PAGES_FILL: f64 = 0.64;
/// What each shard but the first gets of it, a part of its capacity.
const USUAL_FILL: f64 = 0.36;
/// What the first gets at most.
const FIRST_FILL: f64 = 1.35;
/// With two shards, the second must be emptier for the first to overflow.
const USUAL_FILL_OF_TWO: f64 = 0.16;
/// The shards that get the usual part get a little more or less than that, in turn.
const UNEVEN: [f64; 3] = [-0.06, 0.05, 0.01];
/// Categories on the first shard: so many slots are heavy.
const HEAVY_CATEGORIES: f64 = 300.0;
/// Part of all capacity for carts and sessions.
const VISITORS_FILL: f64 = 0.06;
/// A visitor's cart and session.
const VISITOR_BYTES: f64 = 900.0;

const GOODS: [&str; 12] = [
    "shoes", "lamps", "books", "chairs", "knives", "tents", "pianos", "plants", "bikes", "tea",
    "paint", "clocks",
];

/// One product page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// All pages of a category share the hash tag, so they share a slot.
    pub(super) key: Box<str>,
    pub(super) bytes: u16,
}

/// What the shop sells, and how many visitors it has.
#[derive(Debug)]
pub(super) struct Shop {
    /// In the order in which they are filled: mixed.
    pub(super) pages: Vec<Page>,
    /// The page that everybody wants; its slot is heavy, too.
    pub(super) hot: usize,
    pub(super) visitors: u32,
    pub(super) seed: u64,
}

impl Shop {
    /// A shop that overflows the first of `shards` shards of `capacity_bytes` each, while all
    /// together have room. Slots are owned as after a start: contiguous, of equal number.
    pub(super) fn new(seed: u64, shards: u16, capacity_bytes: u64) -> Arc<Shop> {
        #[allow(clippy::cast_precision_loss, reason = "rough sizes")]
        let capacity = capacity_bytes as f64;
        let mut random = StdRng::seed_from_u64(seed);
        let mut left = wanted_bytes(shards, capacity);
        let pages_each = (left[0] / PAGE_BYTES_KEPT / HEAVY_CATEGORIES).max(1.0);
        let mut pages = Vec::new();
        let mut hot_key = None;
        for number in 0.. {
            if left.iter().all(|bytes| *bytes <= 0.0) {
                break;
            }
            let tag = format!("{{{}-{number}}}", GOODS[number % GOODS.len()]);
            let owner = initial_owner(key_slot(tag.as_bytes()), shards).index();
            if left[owner] <= 0.0 {
                continue;
            }
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive")]
            let count = (pages_each * random.random_range(0.3..1.7)).ceil() as u32;
            for product in 0..count {
                let bytes = random.random_range(PAGE_BYTES_MIN..=PAGE_BYTES_MAX);
                let key = format!("product:{tag}:{product}").into_boxed_str();
                if owner == 0 && hot_key.is_none() {
                    hot_key = Some(key.clone());
                }
                pages.push(Page { key, bytes: u16::try_from(bytes).unwrap_or(u16::MAX) });
                left[owner] -= PAGE_BYTES_KEPT;
            }
        }
        pages.shuffle(&mut random);
        let hot = pages.iter().position(|page| Some(&page.key) == hot_key.as_ref()).unwrap_or(0);
        let visitors = capacity * f64::from(shards) * VISITORS_FILL / VISITOR_BYTES;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let visitors = visitors.max(1.0) as u32;
        Arc::new(Shop { pages, hot, visitors, seed })
    }
}

/// Bytes of pages for each shard.
fn wanted_bytes(shards: u16, capacity: f64) -> Vec<f64> {
    let usual = if shards == 2 { USUAL_FILL_OF_TWO } else { USUAL_FILL };
    let others = f64::from(shards - 1);
    // Not so many that it evicts nearly everything.
    let first = (PAGES_FILL * f64::from(shards) - usual * others).min(FIRST_FILL);
    let fill = |shard: usize| if shard == 0 { first } else { usual + UNEVEN[shard % 3] };
    (0..usize::from(shards)).map(|shard| fill(shard) * capacity).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_shard_overflows_and_all_together_do_not() {
        for shards in 2..=16 {
            let capacity = 8 << 20;
            let shop = Shop::new(1, shards, capacity);
            let mut bytes = vec![0_u64; usize::from(shards)];
            for page in &shop.pages {
                let owner = initial_owner(key_slot(page.key.as_bytes()), shards);
                bytes[owner.index()] += u64::from(page.bytes);
            }
            let total: u64 = bytes.iter().sum();
            assert!(bytes[0] > capacity, "{shards} shards: {bytes:?}");
            assert!(bytes[1..].iter().all(|of| *of < capacity / 2), "{shards} shards: {bytes:?}");
            assert!(total < capacity * u64::from(shards) * 7 / 10, "{shards} shards: {bytes:?}");
        }
    }

    #[test]
    fn a_seed_is_a_shop() {
        let of = |seed| Shop::new(seed, 4, 8 << 20);
        assert_eq!(of(7).pages, of(7).pages);
        assert_ne!(of(7).pages, of(8).pages);
        assert!(of(7).pages[of(7).hot].key.ends_with(":0"));
    }
}
