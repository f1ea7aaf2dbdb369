//! Keys on their way to the thread that writes the file.
//!
//! A chunk is complete in itself: it names the database of its first key. Strings lie in it as they
//! are, with a list of those that may be worth compressing, so that compressing and the checksum
//! are left to who writes.

use std::ops::Range;

use super::super::write::{Sink, length_bytes, write_length};
use super::writer::write_key;
use super::{Access, opcode};
use crate::keyspace::Value;

/// Shorter strings are never compressed.
const FOLDED_MIN: usize = 20;

/// Keys in the form of a file, not compressed.
#[derive(Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    /// Where strings are that may be compressed, without their lengths.
    strings: Vec<Range<usize>>,
    database: Option<u8>,
    keys: u64,
}

impl Chunk {
    /// Without keys, with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Chunk {
        Chunk { bytes: Vec::with_capacity(bytes), ..Chunk::default() }
    }

    /// Adds a key. It expires at `expiry`, in Unix milliseconds.
    pub fn key(
        &mut self,
        database: u8,
        name: &[u8],
        value: Value<'_>,
        expiry: Option<i64>,
        access: Access,
    ) {
        if self.database.replace(database) != Some(database) {
            self.put(&[opcode::DATABASE]);
            write_length(u64::from(database), self);
        }
        write_key(self, name, value, expiry, access);
        self.keys += 1;
    }

    /// Keys in it.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// Bytes of the keys.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no keys.
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// Bytes that it reserves.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.strings.capacity() * size_of::<Range<usize>>()
    }

    /// Gives its content to `to`, with strings apart, so that they may be written in another form.
    pub(super) fn write_to(&self, to: &mut impl Sink) {
        let mut at = 0;
        for text in &self.strings {
            to.put(&self.bytes[at..text.start - length_bytes(text.len() as u64)]);
            to.put_string(&self.bytes[text.clone()]);
            at = text.end;
        }
        to.put(&self.bytes[at..]);
    }
}

impl Sink for Chunk {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn put_string(&mut self, bytes: &[u8]) {
        write_length(bytes.len() as u64, self);
        let start = self.bytes.len();
        self.put(bytes);
        if bytes.len() > FOLDED_MIN {
            self.strings.push(start..self.bytes.len());
        }
    }
}
