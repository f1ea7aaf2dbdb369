//! Bitmaps: strings seen as arrays of bits, the most significant bit of each byte first.

mod combine;
mod field;
mod search;

use ballast_protocol::number::parse_i64;
use ballast_protocol::{Args, CommandError, Reply};

use super::context::Data;
use super::strings::{string_bytes_max, text_of};
use super::table::{
    ALWAYS, Access, CommandResult, Definition, FEW, Group, KeySpec, ONE, Run, flag,
};

const BASE: Definition = Definition { group: Group::Bitmap, keys: ONE, ..Definition::BASE };

pub(crate) static COMMANDS: &[Definition] = &[
    Definition {
        name: "bitcount",
        syntax: "key [start end [BYTE | BIT]]",
        arity: -2,
        flags: flag::READONLY,
        run: Run::Data(search::bitcount),
        since: "2.6.0",
        complexity: "O(N) in the length of the range",
        summary: "Counts the ones in a string.",
        ..BASE
    },
    Definition {
        name: "bitfield",
        syntax: "key [<GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset \
                 value:integer | INCRBY encoding offset increment>> [...]]",
        arity: -2,
        flags: flag::WRITE | flag::DENYOOM,
        access: &[Access::to("RW access update variable_flags")
            .noted("GET only reads; SET and INCRBY write as well")],
        repeats: ALWAYS,
        run: Run::Data(field::bitfield),
        since: "3.2.0",
        complexity: "O(1) for each integer named",
        summary: "Reads, sets and adds to integers of any width inside a string.",
        ..BASE
    },
    Definition {
        name: "bitfield_ro",
        syntax: "key [GET encoding offset [GET encoding offset ...]]",
        arity: -2,
        flags: flag::READONLY | flag::FAST,
        constant: FEW,
        run: Run::Data(field::bitfield_ro),
        since: "6.0.0",
        complexity: "O(1) for each integer named",
        summary: "Reads integers of any width inside a string.",
        ..BASE
    },
    Definition {
        name: "bitop",
        syntax: "<AND | OR | XOR | NOT> destkey key [key ...]",
        arity: -4,
        flags: flag::WRITE | flag::DENYOOM,
        keys: KeySpec::Range { first: 2, last: -1, step: 1 },
        access: &[Access::to("OW update"), Access::to("RO access")],
        run: Run::Data(combine::bitop),
        since: "2.6.0",
        complexity: "O(N) in the length of the strings",
        summary: "Combines strings bit by bit and stores the result.",
        ..BASE
    },
    Definition {
        name: "bitpos",
        syntax: "key bit [start [end [BYTE | BIT]]]",
        arity: -3,
        flags: flag::READONLY,
        run: Run::Data(search::bitpos),
        since: "2.8.7",
        complexity: "O(N) in the length of the range",
        summary: "Finds the first bit that is one, or zero, in a string.",
        ..BASE
    },
    Definition {
        name: "getbit",
        syntax: "key offset",
        arity: 3,
        flags: flag::READONLY | flag::FAST,
        constant: 3,
        run: Run::Data(getbit),
        since: "2.2.0",
        summary: "Returns one bit of a string.",
        ..BASE
    },
    Definition {
        name: "setbit",
        syntax: "key offset value:integer",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM,
        access: &[Access::to("RW access update")],
        repeats: ALWAYS,
        run: Run::Data(setbit),
        since: "2.2.0",
        summary: "Sets one bit of a string; fills a gap with zeros.",
        ..BASE
    },
];

fn getbit(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let bit = parse_offset(cx, args.at(2), 1)?;
    let mut digits = itoa::Buffer::new();
    let text = text_of(cx.read(cx.key(1)?), &mut digits)?;
    let byte = text.get(byte_of(bit)).copied().unwrap_or(0);
    reply.integer(i64::from(byte & mask_of(bit) != 0));
    Ok(())
}

fn setbit(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let bit = parse_offset(cx, args.at(2), 1)?;
    let on = match args.at(3) {
        b"0" => false,
        b"1" => true,
        _ => return Err(CommandError::other("ERR bit is not an integer or out of range")),
    };
    let key = cx.key(1)?;
    let mut write = cx.write(key);
    let mut digits = itoa::Buffer::new();
    let old = text_of(write.value(), &mut digits)?.get(byte_of(bit)).copied();
    let byte = old.unwrap_or(0);
    let was_on = byte & mask_of(bit) != 0;
    let new = if on { byte | mask_of(bit) } else { byte & !mask_of(bit) };
    // Also where nothing changes: from now on it is kept as bits.
    write.set_range(byte_of(bit), &[new])?;
    write.changed_if(old.is_none() || was_on != on, "setbit");
    reply.integer(i64::from(was_on));
    Ok(())
}

/// The offset of a bit, in units of `scale` bits, inside the longest string allowed.
fn parse_offset(cx: &Data<'_>, text: &[u8], scale: u64) -> Result<u64, CommandError> {
    let offset = parse_i64(text)
        .and_then(|offset| u64::try_from(offset).ok())
        .and_then(|offset| offset.checked_mul(scale))
        .filter(|offset| offset / 8 < string_bytes_max(cx));
    let error = || CommandError::other("ERR bit offset is not an integer or out of range");
    offset.ok_or_else(error)
}

/// Which byte has this bit.
fn byte_of(bit: u64) -> usize {
    (bit / 8) as usize
}

/// The bit in its byte.
fn mask_of(bit: u64) -> u8 {
    0x80 >> (bit % 8)
}
