//! `DEBUG DIGEST`: Redis's signature of a data set, so that two servers can be compared.
//!
//! Every key has a chained SHA-1 over its name, type and value; those of one database are
//! combined by exclusive or, so no order matters. Members of sets, hashes and sorted sets are
//! combined likewise within their value. Keys whose time is over do not count.

use std::fmt::Write;

use ballast_protocol::Reply;
use ballast_protocol::number::format_f64;
use ballast_protocol::slot::key_slot;
use ballast_storage::types::Element;
use ballast_storage::{Key, Meta, Value};
use sha1::{Digest as _, Sha1};

use crate::engine::Engine;

/// A signature, or a part of one.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Digest([u8; 20]);

impl Digest {
    /// Combines with the hash of `bytes`, whatever the order.
    fn xor(&mut self, bytes: &[u8]) {
        let hash = Sha1::digest(bytes);
        self.0.iter_mut().zip(hash).for_each(|(own, other)| *own ^= other);
    }

    /// Combines with the hash of `bytes`, minding the order.
    fn mix(&mut self, bytes: &[u8]) {
        self.xor(bytes);
        self.0 = Sha1::digest(self.0).into();
    }

    fn mix_element(&mut self, element: Element<'_>) {
        element.with_bytes(|bytes| self.mix(bytes));
    }

    /// Combines with another part.
    fn add(&mut self, other: Digest) {
        self.0.iter_mut().zip(other.0).for_each(|(own, other)| *own ^= other);
    }

    /// Combines with a value and its expiry.
    fn mix_value(&mut self, value: Value<'_>, expires: bool) {
        self.mix(&kind_number(value).to_be_bytes());
        match value {
            Value::Int(int) => self.mix_element(Element::Int(int)),
            Value::Str(bytes) => self.mix(bytes),
            Value::List(list) => list.iter().for_each(|element| self.mix_element(element)),
            Value::Set(set) => {
                for member in set.iter() {
                    member.with_bytes(|bytes| self.xor(bytes));
                }
            }
            Value::Hash(hash) => {
                for (field, value) in hash.iter() {
                    self.xor_pair(field, |pair| pair.mix_element(value));
                }
            }
            Value::ZSet(zset) => {
                for (member, score) in zset.iter() {
                    self.xor_pair(member, |pair| pair.mix(format_f64(score).as_bytes()));
                }
            }
        }
        if expires {
            self.xor(b"!!expire!!");
        }
    }

    fn xor_pair(&mut self, first: Element<'_>, second: impl FnOnce(&mut Digest)) {
        let mut pair = Digest::default();
        pair.mix_element(first);
        second(&mut pair);
        self.xor(&pair.0);
    }
}

/// The type's number in Redis.
fn kind_number(value: Value<'_>) -> u32 {
    match value {
        Value::Int(_) | Value::Str(_) => 0,
        Value::List(_) => 1,
        Value::Set(_) => 2,
        Value::ZSet(_) => 3,
        Value::Hash(_) => 4,
    }
}

fn is_over(meta: Meta, now_ms: i64) -> bool {
    meta.expiry.is_some_and(|expiry| expiry < now_ms)
}

/// The signatures of a slot's databases that have keys.
pub(super) fn of_slot(state: &mut Engine, slot: u16) -> Vec<(u8, Digest)> {
    let now_ms = state.now_ms;
    let Some(boxed) = state.slot(slot) else { return Vec::new() };
    let mut found = Vec::new();
    for db in boxed.data().databases() {
        let mut digest = None;
        let keyspace = boxed.data().keyspace(db);
        for (sampled, value) in keyspace.iter().flat_map(|keyspace| keyspace.iter_values()) {
            if is_over(sampled.meta, now_ms) {
                continue;
            }
            let mut one = Digest::default();
            one.mix(sampled.key);
            one.mix_value(value, sampled.meta.expiry.is_some());
            digest.get_or_insert(Digest::default()).xor(&one.0);
        }
        found.extend(digest.map(|digest| (db, digest)));
    }
    found
}

/// The signature of a value; zeros if there is none.
pub(super) fn of_key(state: &mut Engine, db: u8, key: &[u8]) -> Digest {
    let slot = key_slot(key);
    state.expire_key(slot, db, key);
    let keyspace = state.slot(slot).and_then(|boxed| boxed.data().keyspace(db));
    let mut digest = Digest::default();
    if let Some(keyspace) = keyspace {
        let key = Key::new(key);
        if let (Some(meta), Some(value)) = (keyspace.meta(&key), keyspace.find(&key)) {
            digest.mix_value(value, meta.expiry.is_some());
        }
    }
    digest
}

/// Replies the signature of all slots.
pub(super) fn write<'a>(slots: impl Iterator<Item = &'a Vec<(u8, Digest)>>, reply: &mut Reply) {
    let mut databases = [None; ballast_storage::DATABASES as usize];
    for (db, digest) in slots.flatten() {
        databases[usize::from(*db)].get_or_insert(Digest::default()).add(*digest);
    }
    let mut all = Digest::default();
    for (db, digest) in (0_u32..).zip(databases) {
        if let Some(digest) = digest {
            all.mix(&db.to_be_bytes());
            all.add(digest);
        }
    }
    reply.simple(&hex(&all));
}

/// 40 hexadecimal digits.
pub(super) fn hex(digest: &Digest) -> String {
    let mut text = String::with_capacity(40);
    for byte in digest.0 {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_redis_for_a_string() {
        // `SET a 1`, `DEBUG DIGEST-VALUE a` of redis-server 7.0.15.
        let mut digest = Digest::default();
        digest.mix_value(Value::Int(1), false);
        assert_eq!(hex(&digest), "b4fc66738120fba0b5aa500ab5c2bf89cea1c5da");
    }
}
