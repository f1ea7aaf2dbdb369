//! What weighs most in a slot: all its keys, or a sample of them that is even over the whole slot,
//! a thousand at a time, so that nobody waits for it.

use std::collections::VecDeque;
use std::time::Duration;

use ahash::AHashMap;
use ballast_balancer::explain::Findings;
use ballast_protocol::slot::hash_tag;
use ballast_storage::{Key, Keyspace, Kind};
use tokio::sync::oneshot;

use crate::commands::gather::{Gathering, Local};
use crate::commands::keys::kind_name;
use crate::engine::slot::Slot;

/// A slot with at most so many keys is looked at as a whole.
const KEYS_ALL_MAX: usize = 400_000;
/// Of one with more keys, so many places…
const PLACES: usize = 2_000;
/// …and so many keys from each place on.
const KEYS_PER_PLACE: usize = 100;
/// Keys looked at between two turns of everybody else: some tenths of a millisecond.
const KEYS_PER_SLICE: usize = 1_000;
/// Hash tags that are told apart. When there are more, the lightest are forgotten.
const TAGS_MAX: usize = 10_000;
/// Bits of a cursor over a keyspace.
const CURSOR_BITS: u32 = 48;
/// How long a slot may be held by transactions before the look at it is given up.
pub(super) const HELD_MAX: Duration = Duration::from_secs(1);

/// Looks at a slot wherever it is; `None` if a transaction holds it for long.
pub(super) async fn survey(cx: &Gathering<'_>, slot: u16) -> Option<Findings> {
    let mut survey = Survey::default();
    loop {
        let (sender, receiver) = oneshot::channel();
        let visit = move |local: &mut dyn Local| {
            if let Some(boxed) = local.slot(slot) {
                survey.look(boxed);
            }
            // Whoever asked may have given up.
            let _ = sender.send(survey);
        };
        cx.threads.visit(slot, Box::new(visit));
        survey = tokio::time::timeout(HELD_MAX, receiver).await.ok()?.ok()?;
        if survey.is_done() {
            return Some(survey.findings());
        }
        // Where the slot is on the connection's own shard, nothing else would let others on.
        tokio::task::yield_now().await;
    }
}

/// A look at a slot's keys, as far as it has come.
#[derive(Default)]
struct Survey {
    has_begun: bool,
    /// Where to look next.
    places: VecDeque<Place>,
    /// The slot's, when it began.
    keys: usize,
    bytes: u64,
    looked_at: usize,
    /// Bytes of the keys looked at.
    seen_bytes: u64,
    tags: AHashMap<Vec<u8>, u64>,
    largest: Option<(Vec<u8>, Kind, u64)>,
}

/// A position in a keyspace.
#[derive(Clone, Copy)]
struct Place {
    db: u8,
    cursor: u64,
    extent: Extent,
}

/// How far to look from there.
#[derive(Clone, Copy)]
enum Extent {
    ToTheEnd,
    Some,
}

impl Survey {
    /// Looks at some more keys.
    fn look(&mut self, boxed: &Slot) {
        if !self.has_begun {
            self.begin(boxed);
        }
        let mut left = KEYS_PER_SLICE;
        while left > 0
            && let Some(place) = self.places.pop_front()
        {
            let Some(keyspace) = boxed.data().keyspace(place.db) else { continue };
            let (before, count) = match place.extent {
                Extent::ToTheEnd => (self.looked_at, left),
                Extent::Some => (self.looked_at, KEYS_PER_PLACE),
            };
            let next = keyspace.scan(place.cursor, count, &mut |key, meta| {
                self.key(keyspace, key, meta.kind);
            });
            // Empty segments are work as well.
            left = left.saturating_sub((self.looked_at - before).max(count / 8).max(1));
            if matches!(place.extent, Extent::ToTheEnd) && next != 0 {
                self.places.push_front(Place { cursor: next, ..place });
            }
        }
    }

    /// Chooses the places, in proportion to the databases' keys.
    fn begin(&mut self, boxed: &Slot) {
        self.has_begun = true;
        (self.keys, self.bytes) = (boxed.data().key_count(), boxed.data().bytes());
        for db in boxed.data().databases() {
            let keys = boxed.data().keyspace(db).map_or(0, Keyspace::len);
            if self.keys <= KEYS_ALL_MAX {
                self.places.push_back(Place { db, cursor: 0, extent: Extent::ToTheEnd });
                continue;
            }
            let places = (PLACES * keys).div_ceil(self.keys) as u64;
            let cursor = |at: u64| ((u128::from(at) << CURSOR_BITS) / u128::from(places)) as u64;
            self.places.extend((0..places).map(|at| Place {
                db,
                cursor: cursor(at),
                extent: Extent::Some,
            }));
        }
    }

    fn key(&mut self, keyspace: &Keyspace, key: &[u8], kind: Kind) {
        let bytes = keyspace.memory_usage(&Key::new(key)).unwrap_or(0) as u64;
        self.looked_at += 1;
        self.seen_bytes += bytes;
        let tag = hash_tag(key);
        if tag.len() < key.len() {
            self.tag(tag, bytes);
        }
        if self.largest.as_ref().is_none_or(|(_, _, most)| bytes > *most) {
            self.largest = Some((key.to_vec(), kind, bytes));
        }
    }

    fn tag(&mut self, tag: &[u8], bytes: u64) {
        if let Some(sum) = self.tags.get_mut(tag) {
            *sum += bytes;
            return;
        }
        if self.tags.len() >= TAGS_MAX {
            // At most half of them have so much.
            let least = 2 * self.seen_bytes / TAGS_MAX as u64;
            self.tags.retain(|_, sum| *sum > least);
        }
        self.tags.insert(tag.to_vec(), bytes);
    }

    fn is_done(&self) -> bool {
        self.places.is_empty()
    }

    fn findings(self) -> Findings {
        let shown = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let tag = self.tags.iter().max_by_key(|(tag, bytes)| (**bytes, std::cmp::Reverse(*tag)));
        #[allow(clippy::cast_precision_loss, reason = "a part")]
        let part = |bytes: u64| bytes as f64 / self.seen_bytes.max(1) as f64;
        Findings {
            bytes: self.bytes,
            largest_tag: tag.map(|(tag, bytes)| (shown(tag), part(*bytes))),
            largest_key: self
                .largest
                .as_ref()
                .map(|(key, kind, bytes)| (shown(key), kind_name(*kind), *bytes)),
            keys: self.keys as u64,
            looked_at: self.looked_at.min(self.keys) as u64,
            read_mostly: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(keys: impl Iterator<Item = (u8, String, usize)>) -> Slot {
        let mut slot = Slot::default();
        for (db, key, bytes) in keys {
            let value = vec![b'v'; bytes];
            slot.data_mut().keyspace_mut(db).set_string(&Key::new(key.as_bytes()), &value, None, 0);
        }
        slot
    }

    fn look(slot: &Slot) -> Findings {
        let mut survey = Survey::default();
        while {
            let before = survey.looked_at;
            survey.look(slot);
            let looked_at = survey.looked_at - before;
            assert!(looked_at <= 2 * KEYS_PER_SLICE, "{looked_at} keys in a slice");
            !survey.is_done()
        } {}
        survey.findings()
    }

    /// A tag that is all of a slot with 2 M keys was said to be 5 % of it.
    #[test]
    fn a_tag_of_millions_of_keys_has_its_whole_part() {
        let found = look(&filled((0..2_000_000).map(|n| (0, format!("{{hot}}:{n}"), 8))));
        let (tag, part) = found.largest_tag.unwrap();
        assert_eq!(tag, "hot");
        assert!(part > 0.999, "{part}");
        assert_eq!(found.keys, 2_000_000);
        assert!((150_000..=250_000).contains(&found.looked_at), "{}", found.looked_at);
    }

    #[test]
    fn parts_are_those_of_the_bytes_of_all_databases() {
        for scale in [1, 20] {
            let keys = (0..40_000 * scale).map(|n| match n % 4 {
                0 => (0, format!("{{a}}{n}"), 100),
                1 => (3, format!("{{a}}{n}"), 100),
                2 => (0, format!("{{b}}{n}"), 300),
                _ => (0, format!("plain{n}"), 10),
            });
            let found = look(&filled(keys));
            let (tag, part) = found.largest_tag.unwrap();
            // 300 of 510 bytes, and what each key takes besides.
            assert_eq!(tag, "b");
            assert!((part - 0.52).abs() < 0.05, "{part}");
            assert!((found.bytes as f64) > 0.0 && found.looked_at <= found.keys);
        }
    }

    /// Ten thousand small tags before it do not hide the large one.
    #[test]
    fn a_heavy_tag_among_many_is_found() {
        let tags = (0..30_000).map(|n| (0, format!("{{t{n}}}x"), 10));
        let heavy = (0..30_000).map(|n| (0, format!("{{heavy}}{n}"), 10));
        let found = look(&filled(tags.chain(heavy)));
        let (tag, part) = found.largest_tag.unwrap();
        assert_eq!(tag, "heavy");
        assert!((part - 0.5).abs() < 0.05, "{part}");
        assert_eq!(found.looked_at, 60_000);
    }

    #[test]
    fn an_empty_slot_has_nothing_in_it() {
        let found = look(&Slot::default());
        assert_eq!((found.keys, found.largest_tag, found.largest_key), (0, None, None));
    }
}
