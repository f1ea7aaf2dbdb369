//! Values into bytes.

use super::kind;
use crate::keyspace::Value;
use crate::types::{Element, canonical_int};

/// Texts up to this length may be integers of 32 bits.
const INT_TEXT_MAX: usize = 11;

/// Appends a value, its type first.
pub fn write_value(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Int(value) => {
            out.push(kind::STRING);
            write_element(Element::Int(value), out);
        }
        Value::Str(bytes) => {
            out.push(kind::STRING);
            write_element(Element::Bytes(bytes), out);
        }
        Value::List(list) => {
            out.push(kind::LIST);
            write_length(list.len() as u64, out);
            list.iter().for_each(|element| write_element(element, out));
        }
        Value::Set(set) => {
            out.push(kind::SET);
            write_length(set.len() as u64, out);
            set.iter().for_each(|member| write_element(member, out));
        }
        Value::Hash(hash) => {
            out.push(kind::HASH);
            write_length(hash.len() as u64, out);
            for (field, value) in hash.iter() {
                write_element(field, out);
                write_element(value, out);
            }
        }
        Value::ZSet(zset) => {
            out.push(kind::ZSET_2);
            write_length(zset.len() as u64, out);
            for (member, score) in zset.iter() {
                write_element(member, out);
                out.extend_from_slice(&score.to_le_bytes());
            }
        }
    }
}

/// A string: as an integer where that is shorter, else its length and its bytes.
fn write_element(element: Element<'_>, out: &mut Vec<u8>) {
    let int = match element {
        Element::Int(value) => Some(value),
        Element::Bytes(bytes) if bytes.len() <= INT_TEXT_MAX => canonical_int(bytes),
        Element::Bytes(_) => None,
    };
    if !int.is_some_and(|value| write_int(value, out)) {
        write_length(element.len() as u64, out);
        element.append_to(out);
    }
}

/// An integer of up to 32 bits; whether it is one.
fn write_int(value: i64, out: &mut Vec<u8>) -> bool {
    if let Ok(value) = i8::try_from(value) {
        out.push(0xc0);
        out.extend_from_slice(&value.to_le_bytes());
    } else if let Ok(value) = i16::try_from(value) {
        out.push(0xc1);
        out.extend_from_slice(&value.to_le_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        out.push(0xc2);
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        return false;
    }
    true
}

/// A length in the shortest of its forms.
fn write_length(len: u64, out: &mut Vec<u8>) {
    match len {
        0..=0x3f => out.push(len as u8),
        0x40..=0x3fff => out.extend_from_slice(&(0x4000 | len as u16).to_be_bytes()),
        0x4000..=0xffff_ffff => {
            out.push(0x80);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
}
