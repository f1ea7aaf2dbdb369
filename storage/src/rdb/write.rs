//! Values into bytes.

use super::kind;
use crate::keyspace::Value;
use crate::types::{Element, canonical_int};

/// Texts up to this length may be integers of 32 bits.
const INT_TEXT_MAX: usize = 11;

/// What values are written to.
pub(super) trait Sink {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]);

    /// Appends a string that is not written as an integer.
    fn put_string(&mut self, bytes: &[u8]) {
        write_length(bytes.len() as u64, self);
        self.put(bytes);
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Appends a value, its type first.
pub fn write_value(value: Value<'_>, out: &mut Vec<u8>) {
    out.push(kind_of(value));
    write_content(value, out);
}

/// The type of what [`write_content`] writes.
pub(super) fn kind_of(value: Value<'_>) -> u8 {
    match value {
        Value::Int(_) | Value::Str(_) => kind::STRING,
        Value::List(_) => kind::LIST,
        Value::Set(_) => kind::SET,
        Value::Hash(_) => kind::HASH,
        Value::ZSet(_) => kind::ZSET_2,
    }
}

/// Appends a value without its type.
pub(super) fn write_content<S: Sink>(value: Value<'_>, out: &mut S) {
    match value {
        Value::Int(value) => write_element(Element::Int(value), out),
        Value::Str(bytes) => write_element(Element::Bytes(bytes), out),
        Value::List(list) => {
            write_length(list.len() as u64, out);
            list.iter().for_each(|element| write_element(element, out));
        }
        Value::Set(set) => {
            write_length(set.len() as u64, out);
            set.iter().for_each(|member| write_element(member, out));
        }
        Value::Hash(hash) => {
            write_length(hash.len() as u64, out);
            for (field, value) in hash.iter() {
                write_element(field, out);
                write_element(value, out);
            }
        }
        Value::ZSet(zset) => {
            write_length(zset.len() as u64, out);
            for (member, score) in zset.iter() {
                write_element(member, out);
                out.put(&score.to_le_bytes());
            }
        }
    }
}

/// A string: as an integer where that is shorter, else its length and its bytes.
pub(super) fn write_element<S: Sink>(element: Element<'_>, out: &mut S) {
    let int = match element {
        Element::Int(value) => Some(value),
        Element::Bytes(bytes) if bytes.len() <= INT_TEXT_MAX => canonical_int(bytes),
        Element::Bytes(_) => None,
    };
    if !int.is_some_and(|value| write_int(value, out)) {
        element.with_bytes(|bytes| out.put_string(bytes));
    }
}

/// An integer of up to 32 bits; whether it is one.
fn write_int<S: Sink>(value: i64, out: &mut S) -> bool {
    if let Ok(value) = i8::try_from(value) {
        out.put(&[0xc0]);
        out.put(&value.to_le_bytes());
    } else if let Ok(value) = i16::try_from(value) {
        out.put(&[0xc1]);
        out.put(&value.to_le_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        out.put(&[0xc2]);
        out.put(&value.to_le_bytes());
    } else {
        return false;
    }
    true
}

/// How many bytes [`write_length`] writes.
pub(super) fn length_bytes(len: u64) -> usize {
    match len {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0xffff_ffff => 5,
        _ => 9,
    }
}

/// A length in the shortest of its forms.
pub(super) fn write_length<S: Sink + ?Sized>(len: u64, out: &mut S) {
    match len {
        0..=0x3f => out.put(&[len as u8]),
        0x40..=0x3fff => out.put(&(0x4000 | len as u16).to_be_bytes()),
        0x4000..=0xffff_ffff => {
            out.put(&[0x80]);
            out.put(&(len as u32).to_be_bytes());
        }
        _ => {
            out.put(&[0x81]);
            out.put(&len.to_be_bytes());
        }
    }
}
