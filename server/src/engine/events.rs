//! Keyspace notifications: an event of a key becomes messages on channels that are named after the
//! key and after the event, if `notify-keyspace-events` asks for its class.

use super::Engine;
use crate::config::{ClientClass, KeyspaceEvents};
use crate::node::channels::Kind;

/// What a key that was not there before is announced with, beside what was done to it.
const NEW: &str = "new";
/// What separates the events of a change that is several.
const SEPARATOR: char = ' ';

/// What happens to a key when a snapshot is read: nobody is told.
pub(crate) const LOADED: &str = "loaded";

/// The class of an event.
fn class(event: &str) -> KeyspaceEvents {
    match event {
        "del" | "expire" | "persist" | "rename_from" | "rename_to" | "move_from" | "move_to"
        | "copy_to" | "restore" => KeyspaceEvents::GENERIC,
        "set" | "append" | "incrby" | "incrbyfloat" | "setrange" | "setbit" => {
            KeyspaceEvents::STRING
        }
        "lpush" | "rpush" | "lpop" | "rpop" | "linsert" | "lset" | "lrem" | "ltrim"
        | "sortstore" => KeyspaceEvents::LIST,
        "sadd" | "srem" | "spop" | "sinterstore" | "sunionstore" | "sdiffstore" => {
            KeyspaceEvents::SET
        }
        "expired" => KeyspaceEvents::EXPIRED,
        "evicted" => KeyspaceEvents::EVICTED,
        "keymiss" => KeyspaceEvents::KEY_MISS,
        NEW => KeyspaceEvents::NEW,
        _ if event.starts_with('h') => KeyspaceEvents::HASH,
        _ if event.starts_with('z') => KeyspaceEvents::ZSET,
        _ => {
            debug_assert!(event.is_empty(), "the event {event} has no class");
            KeyspaceEvents::GENERIC
        }
    }
}

/// Whether the event itself says that the key is gone.
fn says_gone(event: &str) -> bool {
    matches!(event, "del" | "rename_from" | "move_from" | "expired" | "evicted")
}

impl Engine {
    /// Whether somebody wants to know of anything.
    #[inline(always)]
    pub(super) fn notifies(&self) -> bool {
        !self.notified.is_empty()
    }

    /// Tells of a change, and of the end of a key that has become empty by it.
    #[cold]
    #[inline(never)]
    pub(super) fn notify_change(&mut self, slot: u16, db: u8, key: &[u8], events: &str) {
        for event in events.split(SEPARATOR).filter(|event| !event.is_empty()) {
            self.notify(db, key, event);
            if !says_gone(event) && !super::write::exists_in(self.slot(slot), db, key) {
                self.notify(db, key, "del");
            }
        }
    }

    /// Whether somebody wants to know of new keys, and this would be one.
    #[cold]
    pub(super) fn would_be_new(&self, slot: u16, db: u8, key: &[u8]) -> bool {
        let wanted = self.notified.contains(KeyspaceEvents::NEW);
        wanted && !super::write::exists_in(self.slot(slot), db, key)
    }

    /// Tells of a key that has been made.
    #[cold]
    #[inline(never)]
    pub(super) fn notify_new(&mut self, db: u8, key: &[u8]) {
        self.notify(db, key, NEW);
    }

    /// Counts a look-up that has found nothing.
    #[cold]
    pub(crate) fn count_miss(&mut self, slot: u16, db: u8, key: &[u8]) {
        self.counters.keyspace_misses.add(1);
        if self.notifies() {
            self.notify_miss(slot, db, key);
        }
    }

    /// Tells of a key that was looked up and is not there.
    #[cold]
    #[inline(never)]
    pub(super) fn notify_miss(&mut self, slot: u16, db: u8, key: &[u8]) {
        let wanted = self.notified.contains(KeyspaceEvents::KEY_MISS);
        if wanted && !super::write::exists_in(self.slot(slot), db, key) {
            self.notify(db, key, "keymiss");
        }
    }

    /// Publishes an event.
    #[cold]
    pub(super) fn notify(&mut self, db: u8, key: &[u8], event: &str) {
        if event == LOADED || !self.notified.contains(class(event)) {
            return;
        }
        let limits = &self.config.client_output_buffer_limits;
        let limit_bytes = limits[ClientClass::Pubsub.index()].hard_bytes;
        let publish = |start: &str, end: &[u8], payload: &[u8]| {
            let channel = [format!("{start}@{db}__:").as_bytes(), end].concat();
            let channels = &self.node.channels;
            let told = channels.publish(Kind::Channel, &channel, payload, limit_bytes);
            told.to_wake.iter().for_each(|client| client.wake());
        };
        if self.notified.contains(KeyspaceEvents::KEYSPACE) {
            publish("__keyspace", key, event.as_bytes());
        }
        if self.notified.contains(KeyspaceEvents::KEYEVENT) {
            publish("__keyevent", event.as_bytes(), key);
        }
    }
}
