//! What the look-ups of several commands will read is loaded for all of them at once: on a data
//! set larger than the processor's caches, waiting for memory is what a short command mostly
//! does, and each look-up waits three times.

use ballast_storage::memory::prefetch_value;
use ballast_storage::table::Ahead;

use super::Engine;

/// How many commands are looked at before the first is executed: enough to hide the latency of
/// memory, few enough that what was loaded is still there.
pub(crate) const AHEAD_MAX: usize = 16;
/// Cache lines of a slot's box that a command reads or writes.
const BOX_LINES: usize = 3;

impl Engine {
    /// Asks the processor to load a slot's box, if it is here.
    #[inline(always)]
    pub(crate) fn load_box(&self, slot: u16) {
        if let Some(boxed) = self.slot(slot) {
            prefetch_value(boxed, BOX_LINES);
        }
    }

    /// Has loaded what the look-ups of up to [`AHEAD_MAX`] keys will read, each given by its slot
    /// and its hash; their boxes have been asked for. One step for all, then the next.
    #[inline(always)]
    pub(crate) fn load_keys(&self, db: u8, keys: impl Iterator<Item = (u16, u64)>) {
        let mut looks = [Ahead::default(); AHEAD_MAX];
        let mut count = 0;
        for ((slot, hash), look) in keys.zip(&mut looks) {
            let keyspace = self.slot(slot).and_then(|boxed| boxed.data.keyspace(db));
            if let Some(keyspace) = keyspace {
                *look = keyspace.ahead(hash);
            }
            count += 1;
        }
        let looks = &looks[..count];
        looks.iter().for_each(Ahead::load_index);
        looks.iter().for_each(Ahead::load_entry);
    }
}
