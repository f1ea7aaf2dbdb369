//! Looking at keys: what is over is removed first, hits and misses are counted, and a use renews
//! the key's place in the eviction order.

use ballast_storage::{Keyspace, Meta, Value};

use super::Engine;
use super::write::Located;

impl Engine {
    /// The keys of a database in a slot that is here.
    #[inline]
    pub(crate) fn keyspace(&self, slot: u16, db: u8) -> Option<&Keyspace> {
        self.slot(slot)?.data.keyspace(db)
    }

    /// The value of a key for a reading command: counts a hit or a miss and, unless the client
    /// leaves that alone (`no_touch`), renews the key's place in the eviction order.
    #[inline(always)]
    pub(crate) fn read(&mut self, db: u8, at: Located<'_>, no_touch: bool) -> Option<Value<'_>> {
        let Located { slot, key } = at;
        self.expire_if_due(slot, db, &key);
        if self.notifies() {
            self.notify_miss(slot, db, key.bytes);
        }
        // The usual policies remember the last use: no more than a clock to write.
        let counted = (self.counts_uses && !no_touch).then(|| self.touch());
        let Engine { slots, counters, lru_clock, .. } = self;
        let boxed = slots[usize::from(slot)].as_deref_mut();
        let keyspace = boxed.and_then(|boxed| boxed.data.existing_mut(db));
        let found = keyspace.and_then(|keyspace| match counted {
            None if no_touch => keyspace.find(&key),
            None => keyspace.find_and_touch(&key, |_| *lru_clock),
            Some(touch) => keyspace.find_and_touch(&key, |aux| touch.apply(aux)),
        });
        if found.is_some() {
            counters.keyspace_hits.add(1);
        } else {
            counters.keyspace_misses.add(1);
        }
        found
    }

    /// The value of a key, leaving statistics and eviction order alone.
    #[inline]
    pub(crate) fn peek(&mut self, db: u8, at: Located<'_>) -> Option<Value<'_>> {
        self.expire_if_due(at.slot, db, &at.key);
        self.keyspace(at.slot, db)?.find(&at.key)
    }

    /// What a key has besides its value, leaving statistics and eviction order alone.
    #[inline]
    pub(crate) fn meta(&mut self, db: u8, at: Located<'_>) -> Option<Meta> {
        self.expire_if_due(at.slot, db, &at.key);
        self.keyspace(at.slot, db)?.meta(&at.key)
    }
}
