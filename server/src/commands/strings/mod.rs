//! Strings: the table, `GET`, and what the parts of the family share.

mod lcs;
mod multiple;
mod numbers;
mod ranges;
mod set;

use std::ops::Range;

use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::{STRING_MAX, Value};

use super::context::{Data, SHORT_BYTES_MAX};
use super::table::{
    ALWAYS, Access, CommandResult, Definition, FEW, Group, KeySpec, ONE, REST, Run, TWO, flag,
};
use crate::engine::write::Located;

/// Keys and values in turn.
const PAIRS: KeySpec = KeySpec::Range { first: 1, last: -1, step: 2 };

const BASE: Definition = Definition { group: Group::String, keys: ONE, ..Definition::BASE };

pub(crate) static COMMANDS: &[Definition] = &[
    Definition {
        name: "append",
        syntax: "key value",
        arity: 3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("RW insert")],
        constant: 3,
        repeats: ALWAYS,
        run: Run::Data(ranges::append),
        since: "2.0.0",
        complexity: "O(1), amortised over the growth of the value",
        summary: "Appends to a string; makes the key if there is none.",
        ..BASE
    },
    Definition {
        name: "decr",
        syntax: "key",
        arity: 2,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("RW access update")],
        constant: 2,
        repeats: ALWAYS,
        run: Run::Data(numbers::decr),
        summary: "Subtracts one from an integer; a missing key counts as 0.",
        ..BASE
    },
    Definition {
        name: "decrby",
        syntax: "key decrement",
        arity: 3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("RW access update")],
        constant: 3,
        repeats: ALWAYS,
        run: Run::Data(numbers::decrby),
        summary: "Subtracts a number from an integer; a missing key counts as 0.",
        ..BASE
    },
    Definition {
        name: "get",
        syntax: "key",
        arity: 2,
        flags: flag::READONLY | flag::FAST,
        constant: 2,
        run: Run::Data(get),
        summary: "Returns the string at a key.",
        ..BASE
    },
    Definition {
        name: "getdel",
        syntax: "key",
        arity: 2,
        flags: flag::WRITE | flag::FAST,
        access: &[Access::to("RW access delete")],
        constant: 2,
        run: Run::Data(getdel),
        since: "6.2.0",
        summary: "Returns the string at a key and deletes the key.",
        ..BASE
    },
    Definition {
        name: "getex",
        syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT \
                 unix-time-milliseconds | PERSIST]",
        arity: -2,
        flags: flag::WRITE | flag::FAST,
        access: &[Access::to("RW access update").noted("UPDATE, as it may change the expiry")],
        constant: 4,
        run: Run::Data(set::getex),
        since: "6.2.0",
        summary: "Returns the string at a key and changes when the key expires.",
        ..BASE
    },
    Definition {
        name: "getrange",
        syntax: "key start end",
        arity: 4,
        flags: flag::READONLY,
        run: Run::Data(ranges::getrange),
        since: "2.4.0",
        complexity: "O(N) in the length of the part",
        summary: "Returns a part of the string at a key.",
        ..BASE
    },
    Definition {
        name: "getset",
        syntax: "key value",
        arity: 3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("RW access update")],
        constant: 3,
        repeats: ALWAYS,
        run: Run::Data(set::getset),
        summary: "Returns the string at a key and sets another.",
        ..BASE
    },
    Definition {
        name: "incr",
        syntax: "key",
        arity: 2,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("RW access update")],
        constant: 2,
        repeats: ALWAYS,
        run: Run::Data(numbers::incr),
        summary: "Adds one to an integer; a missing key counts as 0.",
        ..BASE
    },
    Definition {
        name: "incrby",
        syntax: "key increment",
        arity: 3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("RW access update")],
        constant: 3,
        repeats: ALWAYS,
        run: Run::Data(numbers::incrby),
        summary: "Adds a number to an integer; a missing key counts as 0.",
        ..BASE
    },
    Definition {
        name: "incrbyfloat",
        syntax: "key increment:double",
        arity: 3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("RW access update")],
        constant: 3,
        run: Run::Data(numbers::incrbyfloat),
        since: "2.6.0",
        summary: "Adds to a floating-point number; a missing key counts as 0.",
        ..BASE
    },
    Definition {
        name: "lcs",
        syntax: "key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]",
        arity: -3,
        flags: flag::READONLY,
        keys: TWO,
        run: Run::Data(lcs::lcs),
        since: "7.0.0",
        complexity: "O(N*M) in the lengths of the two strings",
        summary: "Finds the longest subsequence that two strings have in common.",
        ..BASE
    },
    Definition {
        name: "mget",
        syntax: "key [key ...]",
        arity: -2,
        flags: flag::READONLY | flag::FAST,
        keys: REST,
        constant: FEW,
        run: Run::Data(multiple::mget),
        tips: &["request_policy:multi_shard"],
        complexity: "O(N) in the number of keys",
        summary: "Returns the strings at several keys.",
        ..BASE
    },
    Definition {
        name: "mset",
        syntax: "key value [key value ...]",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM,
        keys: PAIRS,
        access: &[Access::to("OW update")],
        run: Run::Data(multiple::mset),
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        since: "1.0.1",
        complexity: "O(N) in the number of keys",
        summary: "Sets several keys to strings at once.",
        ..BASE
    },
    Definition {
        name: "msetnx",
        syntax: "key value [key value ...]",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM,
        keys: PAIRS,
        access: &[Access::to("OW insert")],
        run: Run::Data(multiple::msetnx),
        tips: &["request_policy:multi_shard", "response_policy:agg_min"],
        since: "1.0.1",
        complexity: "O(N) in the number of keys",
        summary: "Sets several keys to strings at once, if none of them exists.",
        ..BASE
    },
    Definition {
        name: "psetex",
        syntax: "key milliseconds value",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM,
        access: &[Access::to("OW update")],
        constant: 4,
        run: Run::Data(set::psetex),
        since: "2.6.0",
        summary: "Sets a key to a string that expires after so many milliseconds.",
        ..BASE
    },
    Definition {
        name: "set",
        syntax: "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds \
                 | PXAT unix-time-milliseconds | KEEPTTL]",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM,
        access: &[Access::to("RW access update variable_flags")
            .noted("RW and ACCESS due to the optional `GET` argument")],
        constant: 7,
        repeats: 3,
        run: Run::Data(set::set),
        summary: "Sets a key to a string, whatever it held before.",
        ..BASE
    },
    Definition {
        name: "setex",
        syntax: "key seconds value",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM,
        access: &[Access::to("OW update")],
        constant: 4,
        run: Run::Data(set::setex),
        since: "2.0.0",
        summary: "Sets a key to a string that expires after so many seconds.",
        ..BASE
    },
    Definition {
        name: "setnx",
        syntax: "key value",
        arity: 3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        access: &[Access::to("OW insert")],
        constant: 3,
        repeats: ALWAYS,
        run: Run::Data(set::setnx),
        summary: "Sets a key to a string, if the key does not exist.",
        ..BASE
    },
    Definition {
        name: "setrange",
        syntax: "key offset value",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM,
        access: &[Access::to("RW update")],
        repeats: ALWAYS,
        run: Run::Data(ranges::setrange),
        since: "2.2.0",
        complexity: "O(1), or O(M) in the length of a long new part",
        summary: "Overwrites a part of the string at a key; fills a gap with zeros.",
        ..BASE
    },
    Definition {
        name: "strlen",
        syntax: "key",
        arity: 2,
        flags: flag::READONLY | flag::FAST,
        access: &[Access::to("RO")],
        constant: 2,
        run: Run::Data(ranges::strlen),
        since: "2.2.0",
        summary: "Returns the length of the string at a key.",
        ..BASE
    },
    Definition {
        name: "substr",
        syntax: "key start end",
        arity: 4,
        flags: flag::READONLY,
        run: Run::Data(ranges::getrange),
        complexity: "O(N) in the length of the part",
        summary: "Returns a part of the string at a key; GETRANGE's old name.",
        ..BASE
    },
];

#[inline]
fn get(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let key = cx.key(1)?;
    match cx.read_inline(key) {
        Some(Value::Str(text)) if text.len() <= SHORT_BYTES_MAX => {
            reply.bulk(text);
            return Ok(());
        }
        Some(Value::Str(_)) => {}
        other => return write_string(reply, other),
    }
    cx.begin_long(1, 0)?;
    write_string(reply, cx.seen(key))
}

fn getdel(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let key = cx.key(1)?;
    if read_string(cx, key, reply)? {
        cx.write(key).remove("del");
    }
    Ok(())
}

/// Replies with the string that a key holds, or null if there is no key; whether there is. Before
/// that, nothing has been changed.
fn read_string(
    cx: &mut Data<'_>,
    key: Located<'_>,
    reply: &mut Reply,
) -> Result<bool, CommandError> {
    let found = cx.read(key);
    let exists = found.is_some();
    if !is_long(found) {
        write_string(reply, found)?;
        return Ok(exists);
    }
    cx.begin_long(1, 0)?;
    write_string(reply, cx.seen(key))?;
    Ok(true)
}

/// Whether this is a string that takes long to be copied.
fn is_long(value: Option<Value<'_>>) -> bool {
    matches!(value, Some(Value::Str(text)) if text.len() > SHORT_BYTES_MAX)
}

/// Replies with the string that a key holds, or null if there is no key.
fn write_string(reply: &mut Reply, value: Option<Value<'_>>) -> CommandResult {
    match value {
        Some(Value::Str(text)) => reply.bulk(text),
        Some(Value::Int(number)) => reply.bulk_integer(number),
        None => reply.null(),
        Some(_) => return Err(CommandError::WrongType),
    }
    Ok(())
}

/// The string that a key holds, empty if there is no key; integers are spelt into `digits`.
pub(super) fn text_of<'v>(
    value: Option<Value<'v>>,
    digits: &'v mut itoa::Buffer,
) -> Result<&'v [u8], CommandError> {
    match value {
        None => Ok(b""),
        Some(Value::Str(text)) => Ok(text),
        Some(Value::Int(number)) => Ok(digits.format(number).as_bytes()),
        Some(_) => Err(CommandError::WrongType),
    }
}

/// Positions `first..=last` of a string of `len`, both counted from the end if negative and
/// moved to the nearest end if outside: the rule of `GETRANGE`, `BITCOUNT` and `BITPOS`.
///
/// In contrast to lists, a `last` before the string names its first position.
pub(super) fn clipped(first: i64, last: i64, len: u64) -> Range<u64> {
    let from_end = |at: i64| match at {
        ..0 => len.saturating_sub(at.unsigned_abs()),
        _ => at.unsigned_abs(),
    };
    let first = from_end(first);
    let end = from_end(last).saturating_add(1).min(len);
    if first < end { first..end } else { 0..0 }
}

/// Whether a range is turned around in a way that makes it empty even where [`clipped`] would
/// move both of its ends to one position.
pub(super) fn reversed(first: i64, last: i64) -> bool {
    first < 0 && last < 0 && first > last
}

/// The longest string that a command may make: `proto-max-bulk-len`, or what the store can hold.
pub(super) fn string_bytes_max(cx: &Data<'_>) -> u64 {
    cx.config().proto_max_bulk_len.min(STRING_MAX as u64)
}

/// Refuses strings that would be too long.
fn check_length(cx: &Data<'_>, len: usize, more: usize) -> CommandResult {
    match len.checked_add(more) {
        Some(total) if total as u64 <= string_bytes_max(cx) => Ok(()),
        _ => Err(CommandError::StringTooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clipped_as_getrange_does() {
        for (first, last, len, range) in [
            (0, -1, 5, 0..5),
            (-3, -2, 5, 2..4),
            (0, -100, 5, 0..1),
            (-100, 3, 5, 0..4),
            (5, 9, 5, 0..0),
            (3, 2, 5, 0..0),
            (-1, -5, 5, 0..0),
            (0, 0, 0, 0..0),
            (i64::MIN, i64::MAX, 5, 0..5),
        ] {
            assert_eq!(clipped(first, last, len), range, "{first} {last} of {len}");
        }
        assert!(reversed(-1, -2) && !reversed(-2, -1) && !reversed(1, -1));
    }
}
